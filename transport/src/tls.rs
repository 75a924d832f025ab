//! Everything that names rustls: its next release moves providers to crates of their own.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compliance_protocol::time::Timestamp;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

/// Who we are, and whose servers we trust.
pub struct Identity {
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// Why an [`Identity`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No certificate to trust.
    #[error("the authority's PEM cannot be used: {0}; it must hold at least one CERTIFICATE")]
    Authority(String),
    /// No certificate to show.
    #[error(
        "the client certificate's PEM cannot be used: {0}; it must hold at least one CERTIFICATE"
    )]
    Certificate(String),
    /// No key to prove it with.
    #[error("the private key's PEM cannot be used: {0}; it must hold one PKCS#8 PRIVATE KEY")]
    Key(String),
    /// Servers of the authority would refuse it.
    #[error("a server of this authority would not take the certificate: {0}")]
    NotTaken(String),
    /// The key and the certificate are not of one pair, or not of a kind that TLS 1.3 signs with.
    #[error("the client certificate and the private key cannot be used together: {0}")]
    Pair(String),
}

impl Identity {
    /// Reads the authority's certificates, the client certificate with its chain, and its PKCS#8 key,
    /// each from a PEM file.
    pub fn read(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|source| IdentityError::Read { path: path.to_owned(), source })
        };
        Self::from_pem(&read(authority)?, &read(certificate)?, &read(key)?)
    }

    /// As [`Identity::read`], from the files' contents.
    pub fn from_pem(
        authority: &[u8],
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(authority).map_err(IdentityError::Authority)? {
            roots.add(root).map_err(|error| IdentityError::Authority(error.to_string()))?;
        }
        Ok(Self {
            roots,
            chain: certificates(certificate).map_err(IdentityError::Certificate)?,
            key: PrivatePkcs8KeyDer::from_pem_slice(key)
                .map_err(|error| IdentityError::Key(error.to_string()))?,
        })
    }
}

impl Identity {
    /// Whether a server of the same authority would take this certificate at `at`, as it would judge it.
    pub fn would_be_taken(&self, at: Timestamp) -> Result<(), IdentityError> {
        let refused = |why: String| IdentityError::NotTaken(why);
        let [certificate, chain @ ..] = &self.chain[..] else {
            return Err(refused("there is none".to_owned()));
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots.clone()), provider)
                .build()
                .map_err(|error| refused(error.to_string()))?;
        let at = u64::try_from(at.as_millis()).map_err(|error| refused(error.to_string()))?;
        let at = UnixTime::since_unix_epoch(Duration::from_millis(at));
        match verifier.verify_client_cert(certificate, chain, at) {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// Connects to `https` only, with TLS 1.3 only, as `identity`; `clock` says when certificates are checked.
pub(crate) fn connector<C>(
    identity: Identity,
    clock: C,
    connect_within: Duration,
) -> Result<HttpsConnector<HttpConnector>, IdentityError>
where
    C: Fn() -> Option<Timestamp> + Send + Sync + 'static,
{
    let Identity { roots, chain, key } = identity;
    let pair = |error: rustls::Error| IdentityError::Pair(error.to_string());
    // The provider is named, since `ClientConfig::builder` panics where a build has two of them.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(pair)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
        .map_err(pair)?;
    // Resuming skips the certificates, and a connection that is kept alive needs no resumption.
    config.resumption = Resumption::disabled();

    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_within));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .wrap_connector(tcp))
}

/// What TLS says went wrong, if `error` comes from it.
pub(crate) fn failure(error: &(dyn StdError + 'static)) -> Option<String> {
    error.downcast_ref::<rustls::Error>().map(ToString::to_string)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is none".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

struct Clock<C>(C);

impl<C: Fn() -> Option<Timestamp> + Send + Sync> TimeProvider for Clock<C> {
    /// `None`, and so no connection, when nobody knows the time.
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from((self.0)()?.as_millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

impl<C> fmt::Debug for Clock<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
