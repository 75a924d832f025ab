//! Asking for a new certificate before the old one ends. The key stays: what is sent is the request that the
//! appliance made for it when it was enrolled.

use std::path::{Path, PathBuf};

use compliance_daemon::files;
use compliance_transport::{Body, Client, Error, IdentityError, Limits, Method};

use crate::certificate::{InUse, MAX};
use crate::config::Config;

/// Where certificates are asked for.
const PATH: &str = "/api/v1/certificate";

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The certificate in use is good for longer than 30 days, by the control plane's clock.
    NotDue,
    /// Somebody with the authority's key has to answer; ask again later.
    Pending,
    /// The new certificate is there.
    Written,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The request cannot be read.
    #[error(
        "cannot read the certificate request {path}: {source}; `compliance-executor enrol` made it"
    )]
    Request {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What we have cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The control plane cannot be reached.
    #[error(transparent)]
    Unreached(#[from] Error),
    /// It refuses.
    #[error("the control plane answers {status}: {detail}")]
    Refused {
        /// The status.
        status: u16,
        /// What it says, shortened.
        detail: String,
    },
    /// What it sent is of no use, or a trap.
    #[error(
        "the control plane sent a certificate that is not put in place: {0}; the one in use stays. Ask the operator who answered with `compliancectl site renew`"
    )]
    Unfit(#[source] IdentityError),
    /// The new certificate cannot be written, or one from before not be removed.
    #[error("cannot write or remove {path}, the received certificate: {source}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Sends the certificate request in the file `request`, and writes the certificate to the file `into` once there
/// is one. Server certificates are checked by the machine's own clock.
pub async fn renew(config: &Config, request: &Path, into: &Path) -> Result<Renewed, RenewError> {
    let held = InUse::read(&config.tls)?;
    let clock = || Some(compliance_clock::wall());
    let client = Client::new(held.identity()?, clock, Limits::default())?;
    let bytes = files::read(request, MAX)
        .map_err(|source| RenewError::Request { path: request.to_owned(), source })?;
    let body = Body { content_type: "application/pkcs10", bytes };
    let answer = client.request(Method::POST, &config.mcp_url.join(PATH), Some(body)).await?;
    match answer.status.as_u16() {
        // One that was fetched once, before an enrolment perhaps, is of no use any more.
        204 => remove(into, Renewed::NotDue),
        202 => remove(into, Renewed::Pending),
        200 => {
            let now = compliance_clock::wall();
            held.may_become(&answer.body, now).map_err(RenewError::Unfit)?;
            files::replace(into, &answer.body, 0o644).map_err(|source| write(into, source))?;
            Ok(Renewed::Written)
        }
        status => {
            let text = String::from_utf8_lossy(&answer.body);
            Err(RenewError::Refused { status, detail: text.chars().take(300).collect() })
        }
    }
}

fn remove(into: &Path, renewed: Renewed) -> Result<Renewed, RenewError> {
    files::remove(into).map(|()| renewed).map_err(|source| write(into, source))
}

fn write(into: &Path, source: std::io::Error) -> RenewError {
    RenewError::Write { path: into.to_owned(), source }
}
