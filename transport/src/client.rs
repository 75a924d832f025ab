//! One client: it asks, within a deadline, and takes an answer that fits.

use std::time::Duration;

use compliance_protocol::time::Timestamp;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::error::Error;
use crate::tls::{self, Identity, IdentityError};

/// What is waited for and read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the connection, over all the addresses of a name.
    pub connect: Duration,
    /// For everything from the name to the last byte of the answer.
    pub total: Duration,
    /// The answer's body, in bytes.
    pub body: usize,
}

impl Default for Limits {
    /// 10 s to connect, 30 s in all, 1 MiB.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(30),
            body: compliance_protocol::wire::MAX_BODY,
        }
    }
}

/// What is sent along with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The media type.
    pub content_type: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Body {
    /// JSON.
    pub fn json(bytes: Vec<u8>) -> Self {
        Self { content_type: "application/json", bytes }
    }
}

/// What the server answered; any status, redirects included, is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, complete, as it was sent.
    pub body: Vec<u8>,
}

/// Asks servers of one authority, as one identity, and keeps one connection alive between requests.
#[derive(Debug, Clone)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limits: Limits,
}

impl Client {
    /// Certificates are checked for the time that `clock` says; while it says `None` nobody is trusted.
    pub fn new<C>(identity: Identity, clock: C, limits: Limits) -> Result<Self, IdentityError>
    where
        C: Fn() -> Option<Timestamp> + Send + Sync + 'static,
    {
        let connector = tls::connector(identity, clock, limits.connect)?;
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(1)
            .http1_max_headers(MAX_HEADERS)
            .http1_max_buf_size(MAX_HEAD)
            .build(connector);
        Ok(Self { http, limits })
    }

    /// Sends one request and reads its whole answer. Must be called within a tokio runtime.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        body: Option<Body>,
    ) -> Result<Response, Error> {
        let (request, host) = build(method, url, body)?;
        let answered = tokio::time::timeout(self.limits.total, self.exchange(request, &host));
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { host, after: self.limits.total }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, host: &str) -> Result<Response, Error> {
        let answer =
            self.http.request(request).await.map_err(|e| Error::of(&e, host, &self.limits))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, self.limits.body)
            .collect()
            .await
            .map_err(|error| Error::of(error.as_ref(), host, &self.limits))?;
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes().into() })
    }
}

/// Longer than a poll's interval with its jitter, so that polls share a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 32 * 1024;
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("compliance-appliance/", env!("CARGO_PKG_VERSION")));

/// The request, and the host and port it goes to.
fn build(
    method: Method,
    url: &str,
    body: Option<Body>,
) -> Result<(Request<Full<Bytes>>, String), Error> {
    let unusable = |detail: String| Error::Url { url: url.to_owned(), detail };
    let uri: Uri = url.parse().map_err(|error| unusable(format!("{error}")))?;
    if uri.scheme_str() != Some("https") {
        return Err(unusable("only https is spoken".to_owned()));
    }
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut request = Request::builder().method(method).uri(uri).header(USER_AGENT, AGENT);
    if let Some(body) = &body {
        request = request.header(CONTENT_TYPE, body.content_type);
    }
    let bytes = body.map(|body| Bytes::from(body.bytes)).unwrap_or_default();
    let request = request.body(Full::new(bytes)).map_err(|error| unusable(error.to_string()))?;
    Ok((request, host))
}
