//! A TLS server on loopback that is told what to say, and the certificates for both sides.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificates in these tests hold in 2026 and not outside of it.
pub const IN_2026: i64 = 1_780_000_000_000;

/// A certificate and its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// An authority.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = params(&[], "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn server(&self, name: &str) -> Pair {
        self.issue(params(&[name], "server"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self) -> Pair {
        self.issue(params(&[], "client"), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Pair {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        roots
    }
}

fn params(names: &[&str], common: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(1_798_761_600).unwrap();
    params
}

/// A request as it came.
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
}

/// What is sent for a request; by saying nothing, that nothing ever is. It may block.
pub trait Answers: Fn(&Asked) -> Vec<u8> + Send + Sync + 'static {}

impl<A: Fn(&Asked) -> Vec<u8> + Send + Sync + 'static> Answers for A {}

/// A TLS server, until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Server {
    pub async fn start(
        authority: &Authority,
        pair: &Pair,
        version: &'static SupportedProtocolVersion,
        answers: impl Answers,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, authority, pair, version, answers)
    }

    pub fn start_on(
        listener: TcpListener,
        authority: &Authority,
        pair: &Pair,
        version: &'static SupportedProtocolVersion,
        answers: impl Answers,
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(authority, pair, version)));
        let address = listener.local_addr().unwrap();
        let (requests, connections) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (requests.clone(), connections.clone());
        let answers = Arc::new(answers);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut conversations = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, answers, counters) =
                    (acceptor.clone(), answers.clone(), counters.clone());
                conversations.spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    counters.1.fetch_add(1, Ordering::SeqCst);
                    let _ = converse(stream, answers, &counters.0).await;
                });
            }
        });
        Self { address, requests, connections, _accepting: accepting }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

fn config(
    authority: &Authority,
    pair: &Pair,
    version: &'static SupportedProtocolVersion,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider.clone())
            .build()
            .unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap()
}

/// Reads requests, one after the other, and writes what `answers` says.
async fn converse<A: Answers>(
    mut stream: TlsStream<TcpStream>,
    answers: Arc<A>,
    requests: &AtomicUsize,
) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        requests.fetch_add(1, Ordering::SeqCst);
        let (answers, asked) = (answers.clone(), Asked { head, body });
        let answer = tokio::task::spawn_blocking(move || answers(&asked)).await.unwrap();
        if answer.is_empty() {
            return std::future::pending().await;
        }
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}

/// An answer with this status line, these header lines and this body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len())
            .into_bytes();
    answer.extend_from_slice(body);
    answer
}
