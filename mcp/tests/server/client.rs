//! A client that can be whoever it likes.

use std::sync::Arc;

use compliance_pki::SITE_LIFE;
use compliance_protocol::evidence::SignedBundle;
use compliance_protocol::time::Span;
use compliance_protocol::wire::{Upload, UploadAnswer};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::{Mcp, now, tenant, tls_key};

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Credentials {
    pub cert: String,
    pub key: String,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Expects a problem of this status and kind; returns its detail.
    pub fn problem(&self, status: u16, kind: &str) -> String {
        let problem = self.json();
        assert_eq!(self.status.as_u16(), status, "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(
            problem["type"],
            format!("urn:compliance-appliance:problem:{kind}"),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Mcp {
    /// One request to a TLS listener over a connection of its own.
    pub async fn call(
        &self,
        listener: &str,
        who: &Credentials,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Reply {
        let tls = self.connect(listener, Some(who), &TLS13).await.unwrap();
        request(tls, method, path, HeaderMap::new(), body).await.unwrap()
    }

    pub async fn operate(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        self.call("operator", &self.operator(), method, path, body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let reply = self.operate(Method::GET, path, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()
    }

    /// Registers a site and returns its appliance's certificate.
    pub async fn register(&self, site: &str) -> Credentials {
        let path = format!("/api/v1/sites/{site}");
        let reply = self.operate(Method::PUT, &path, self.signed_trust(site)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        self.appliance(site)
    }

    /// The certificate of an appliance that ends in so many days.
    pub fn ending_in(&self, site: &str, days: i64) -> Credentials {
        let key = tls_key(site);
        let days = Span::from_hours(days * 24);
        let issued = now().plus(Span::from_millis(days.as_millis() - SITE_LIFE.as_millis()));
        let name = site.parse().unwrap();
        let request = compliance_pki::csr(&key).unwrap();
        let cert = self.authority.issue_site(&request, &tenant(), &name, [9; 16], issued).unwrap();
        Credentials { cert, key }
    }

    pub async fn poll(&self, who: &Credentials, after: u64, log: u64) -> Reply {
        let path = format!(
            "/api/v1/orders?after={after}&nonce=000102030405060708090a0b0c0d0e0f&log={log}"
        );
        self.call("appliance", who, Method::GET, &path, "").await
    }

    /// A poll that says how many bundles wait.
    pub async fn poll_with(&self, who: &Credentials, pending: u64) -> Reply {
        let nonce = "000102030405060708090a0b0c0d0e0f";
        let path = format!("/api/v1/orders?after=0&nonce={nonce}&log=0&pending={pending}");
        self.call("appliance", who, Method::GET, &path, "").await
    }

    pub async fn upload_raw(
        &self,
        who: &Credentials,
        bundles: Vec<SignedBundle>,
        log: u64,
    ) -> Reply {
        let body = serde_json::to_vec(&Upload { bundles }).unwrap();
        let path = format!("/api/v1/evidence?log={log}");
        self.call("appliance", who, Method::POST, &path, body).await
    }

    pub async fn upload(
        &self,
        who: &Credentials,
        bundles: &[SignedBundle],
        log: u64,
    ) -> UploadAnswer {
        let reply = self.upload_raw(who, bundles.to_vec(), log).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// Shakes hands as `who` with exactly this version of TLS.
    pub async fn connect(
        &self,
        listener: &str,
        who: Option<&Credentials>,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.cert_pem().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match who {
            None => config.with_no_client_auth(),
            Some(who) => config
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(who.cert.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(who.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        let tcp = TcpStream::connect(self.address(listener)).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// What a client gets that must get nothing: an error, in the handshake or right after it, since in
    /// TLS 1.3 a client is done before the server has looked at its certificate.
    pub async fn gets_nothing(&self, listener: &str, who: Option<&Credentials>) {
        let Ok(tls) = self.connect(listener, who, &TLS13).await else { return };
        let answer = request(tls, Method::GET, "/api/v1/health", HeaderMap::new(), "").await;
        assert!(answer.is_err(), "{answer:?}");
    }

    /// One plain request to the console.
    pub async fn browse(&self, path: &str, cookie: Option<&str>) -> Reply {
        let cookie = cookie.map(|cookie| ("cookie", cookie));
        self.ask_console(Method::GET, path, cookie.as_slice(), "").await
    }

    /// A form that is posted to the console.
    pub async fn post_form(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        form: &str,
    ) -> Reply {
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        let headers = [headers, &[form_type]].concat();
        self.ask_console(Method::POST, path, &headers, form).await
    }

    /// One plain request to the console, with these headers.
    pub async fn ask_console(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Reply {
        let tcp = TcpStream::connect(self.address("console")).await.unwrap();
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        request(tcp, method, path, headers.collect(), body.to_owned()).await.unwrap()
    }
}

pub async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: impl Into<Bytes>,
) -> hyper::Result<Reply> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1");
    request.headers_mut().unwrap().extend(headers);
    let answer = sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(Reply { status, headers, body })
}
