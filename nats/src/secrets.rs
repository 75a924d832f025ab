//! How we show the broker who we are, and know who it is; the one file that names rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::ConnectOptions;
use compliance_daemon::files;
use rustls::crypto::aws_lc_rs;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::Nats;

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 256 * 1024;

/// Why the broker cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{0} is empty; write the password or token into it")]
    Empty(PathBuf),
    /// No authority to trust.
    #[error("{path} cannot be used: {detail}; it must hold at least one CERTIFICATE")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Reads what `nats` names. A plain connection has a TLS configuration too, one that trusts nobody: a broker
/// that asks for TLS must be named with tls://.
pub fn options(nats: &Nats) -> Result<ConnectOptions, SecretError> {
    let options = ConnectOptions::new()
        .tls_client_config(tls(nats.ca.as_deref())?)
        .require_tls(nats.server.starts_with("tls://"));
    Ok(match (&nats.user, &nats.password_file, &nats.token_file) {
        (Some(user), Some(file), _) => options.user_and_password(user.clone(), secret(file)?),
        (_, _, Some(file)) => options.token(secret(file)?),
        _ => options,
    })
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, SecretError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let unusable = |detail| SecretError::Authority { path: path.to_owned(), detail };
        let pem = read(path)?;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("there is none".to_owned()));
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn secret(path: &Path) -> Result<String, SecretError> {
    let secret = read(path)?.trim().to_owned();
    if secret.is_empty() { Err(SecretError::Empty(path.to_owned())) } else { Ok(secret) }
}

fn read(path: &Path) -> Result<String, SecretError> {
    files::read_text(path, MAX_FILE)
        .map_err(|source| SecretError::Read { path: path.to_owned(), source })
}
