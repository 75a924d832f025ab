//! Who a client is: what its certificate says, and nothing else.

use compliance_pki::Identity;
use compliance_protocol::name::Tenant;
use compliance_protocol::time::{Span, Timestamp};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A client whose certificate was verified in the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// The end of its certificate. A connection may outlive it; what it may do does not.
    pub valid_until: Timestamp,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The certificate's key (`SubjectPublicKeyInfo`, DER).
    pub key: Vec<u8>,
}

/// Why a certificate of the right authority names nobody that is let in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not X.509.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// No URI, or several.
    #[error("the certificate names {0} URIs; a client's names exactly one")]
    Uris(usize),
    /// The URI names no site, operator or carrier.
    #[error("the certificate's URI {0:?} names no site, operator or carrier")]
    Unexpected(String),
    /// Another tenant's.
    #[error("the certificate is of the tenant {0}")]
    OtherTenant(Tenant),
}

impl Peer {
    /// Reads a verified certificate. It must be of `tenant`.
    pub fn of(certificate: &[u8], tenant: &Tenant) -> Result<Self, IdentityError> {
        let (_, x509) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
        let uri = only_uri(&x509)?;
        let identity: Identity =
            uri.parse().map_err(|_| IdentityError::Unexpected(uri.chars().take(200).collect()))?;
        if identity.tenant() != tenant {
            return Err(IdentityError::OtherTenant(identity.tenant().clone()));
        }
        let ends = Span::from_secs(x509.validity().not_after.timestamp());
        Ok(Self {
            identity,
            valid_until: Timestamp::from_millis(ends.as_millis()),
            certificate: certificate.to_vec(),
            key: x509.public_key().raw.to_vec(),
        })
    }
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let uris: Vec<_> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    match uris[..] {
        [uri] => Ok(uri),
        _ => Err(IdentityError::Uris(uris.len())),
    }
}
