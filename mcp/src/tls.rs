//! TLS 1.3 with required client certificates. All that names rustls is here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compliance_protocol::time::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::app::Clock;
use crate::config;

/// A connection after the handshake.
pub type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// Why the server cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not what it should be.
    #[error("{path} is not a PEM {what}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        source: rustls_pki_types::pem::Error,
    },
    /// The client authority's certificate cannot be trusted.
    #[error("the authority in [tls] client_ca cannot be used: {0}")]
    Authority(String),
    /// Certificate and key do not work together.
    #[error("the certificate and key in [tls] cannot be used: {0}")]
    Server(#[from] rustls::Error),
}

/// Takes connections of the tenant's clients, and of nobody else.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    clients: Arc<dyn ClientCertVerifier>,
    now: Clock,
}

impl Tls {
    /// Reads the certificates and the key of `files`.
    pub fn new(files: &config::Tls, now: Clock) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&files.client_ca)? {
            authorities.add(authority).map_err(|error| TlsError::Authority(error.to_string()))?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(
            Arc::new(authorities),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| TlsError::Authority(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
            path: files.key.clone(),
            what: "private key",
            source,
        })?;
        let time = Arc::new(Time(Arc::clone(&now)));
        let mut server = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::<dyn ClientCertVerifier>::clone(&clients))
            .with_single_cert(certificates(&files.certificate)?, key)?;
        // A resumed session would not look at the client's certificate again.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), clients, now })
    }

    /// Shakes hands. Returns the connection and the client's verified certificate.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<(Stream, Vec<u8>)> {
        let stream = self.acceptor.accept(tcp).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = chain.first().map(|first| first.as_ref().to_vec());
        let certificate = certificate.ok_or_else(|| {
            io::Error::new(io::ErrorKind::PermissionDenied, "no client certificate")
        })?;
        Ok((stream, certificate))
    }

    /// Whether a handshake would take this client certificate, DER, now.
    pub fn would_take(&self, certificate: &[u8]) -> Result<(), String> {
        let now = unix_time((self.now)());
        self.clients
            .verify_client_cert(&CertificateDer::from(certificate), &[], now)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS 1.3 with required client certificates")
    }
}

/// The certificates in a PEM text, DER.
pub fn certificates_in(pem: &[u8]) -> Result<Vec<Vec<u8>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).map(|c| c.map(|c| c.as_ref().to_vec())).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), what: "certificate", source };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// Our clock as rustls asks for it.
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time((self.0)()))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's clock")
    }
}

fn unix_time(at: Timestamp) -> UnixTime {
    let ms = u64::try_from(at.as_millis()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_millis(ms))
}
