//! New certificates for appliances whose old one ends. There is no authority's key in this process: a
//! request waits until an operator puts the certificate that was issued for it elsewhere.

use std::sync::Arc;

use compliance_pki::Identity;
use compliance_protocol::key::PublicKey;
use compliance_protocol::name::{Site, Tenant};
use compliance_protocol::time::{Span, Timestamp};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use crate::app::App;
use crate::identity::Peer;
use crate::problem::Problem;
use crate::tls::{self, Tls};

/// A new certificate may be asked for this long before the old one ends.
pub const DUE: Span = Span::from_hours(30 * 24);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The certificate in use is good for longer than [`DUE`].
    NotDue,
    /// It waits for an operator.
    Pending,
    /// The new certificate, PEM.
    Ready(String),
}

/// Takes the request of the appliance at `peer`, which must be for the key that it holds already.
pub async fn renew(
    app: &Arc<App>,
    site: &Site,
    peer: &Peer,
    request: String,
) -> Result<Renewal, Problem> {
    let key = requested_key(&request)?;
    if key.spki != peer.key {
        return Err(Problem::refused(
            "other_key",
            "the request is for another key than the one of the certificate in use; enrol again for a new key",
        ));
    }
    let (site, tenant, now) = (site.clone(), app.tenant.clone(), app.now());
    let peer_until = peer.valid_until;
    app.store
        .write(move |tx| {
            let row = tx.site(&site)?.ok_or_else(|| Problem::not_found("the site is gone"))?;
            let before = tx.certificate(&row)?.filter(|c| c.public_key == *key.key.as_bytes());
            match before.map(|before| before.certificate) {
                // One that ends no later than what is in use answered an earlier request.
                Some(Some(pem)) if ends(&pem, &tenant).is_some_and(|end| end > peer_until) => {
                    Ok(Renewal::Ready(pem))
                }
                Some(None) => Ok(Renewal::Pending),
                _ if peer_until > now.plus(DUE) => Ok(Renewal::NotDue),
                _ => {
                    tx.request_certificate(&row, &request, &key.key, now)?;
                    tracing::info!(%site, "a new certificate is asked for");
                    Ok(Renewal::Pending)
                }
            }
        })
        .await
}

/// Stores the certificate that was issued for the pending request of `site`.
pub async fn answer(app: &Arc<App>, tls: &Tls, site: &Site, pem: String) -> Result<(), Problem> {
    let refused = |detail: &str| Problem::refused("certificate", detail);
    let der = first_certificate(&pem).ok_or_else(|| refused("this is not a PEM certificate"))?;
    tls.would_take(&der).map_err(|error| refused(&format!("it would not be taken: {error}")))?;
    let peer = Peer::of(&der, &app.tenant).map_err(|error| refused(&error.to_string()))?;
    if !matches!(&peer.identity, Identity::Site { site: named, .. } if named == site) {
        return Err(refused(&format!("it is for {}", peer.identity)));
    }
    let site = site.clone();
    app.store
        .write(move |tx| {
            let nothing = || Problem::not_found(format!("the site {site} asks for no certificate"));
            let row = tx.site(&site)?.ok_or_else(nothing)?;
            let pending = tx.certificate(&row)?.ok_or_else(nothing)?;
            let asked = requested_key(&pending.request)?;
            if asked.spki != peer.key {
                return Err(Problem::refused(
                    "certificate",
                    "it is for another key than the request's",
                ));
            }
            Ok(tx.answer_certificate(&row, &pem)?)
        })
        .await
}

struct RequestedKey {
    spki: Vec<u8>,
    key: PublicKey,
}

/// The key of a request whose own signature holds: who sent it has the private half.
fn requested_key(pem: &str) -> Result<RequestedKey, Problem> {
    let refused = || {
        Problem::refused("malformed", "this is not a PEM certificate request for an Ed25519 key")
    };
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|_| refused())?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|_| refused())?;
    let info = &request.certification_request_info;
    let raw = &info.subject_pki.subject_public_key.data;
    let key: &[u8; 32] = raw.as_ref().try_into().map_err(|_| refused())?;
    let key = PublicKey::from_bytes(key).map_err(|_| refused())?;
    if !key.verifies(info.raw, &request.signature_value.data) {
        return Err(refused());
    }
    Ok(RequestedKey { spki: info.subject_pki.raw.to_vec(), key })
}

/// When the certificate ends.
fn ends(pem: &str, tenant: &Tenant) -> Option<Timestamp> {
    Some(Peer::of(&first_certificate(pem)?, tenant).ok()?.valid_until)
}

fn first_certificate(pem: &str) -> Option<Vec<u8>> {
    tls::certificates_in(pem.as_bytes()).ok()?.into_iter().next()
}
