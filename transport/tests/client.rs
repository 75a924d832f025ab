//! The client against a real rustls server on loopback.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use compliance_protocol::time::Timestamp;
use compliance_transport::{
    Body, Client, Error, Identity, IdentityError, Limits, Method, Response,
};
use rustls::version::{TLS12, TLS13};
use support::{Answers, Asked, Authority, IN_2026, Pair, Server, answer};

/// The authority, one server of it on loopback, and one client of it.
struct Loopback {
    authority: Authority,
    client: Pair,
    server: Server,
}

impl Loopback {
    async fn start(answers: impl Answers) -> Self {
        let authority = Authority::new();
        let server =
            Server::start(&authority, &authority.server("localhost"), &TLS13, answers).await;
        Self { client: authority.client(), server, authority }
    }

    fn client(&self) -> Client {
        client_at(&self.authority, &self.client, Some(IN_2026))
    }

    async fn get(&self) -> Result<Response, Error> {
        get(&self.client(), &self.server.url("/x")).await
    }
}

fn client_at(trusted: &Authority, pair: &Pair, ms: Option<i64>) -> Client {
    let limits = Limits { body: 1000, ..Limits::default() };
    Client::new(identity(trusted, pair), move || ms.map(Timestamp::from_millis), limits).unwrap()
}

fn identity(trusted: &Authority, pair: &Pair) -> Identity {
    let (ca, certificate) = (trusted.certificate.as_bytes(), pair.certificate.as_bytes());
    Identity::from_pem(ca, certificate, pair.key.as_bytes()).unwrap()
}

async fn get(client: &Client, url: &str) -> Result<Response, Error> {
    client.request(Method::GET, url, None).await
}

fn hello(_: &Asked) -> Vec<u8> {
    answer("200 OK", "x-y: z\r\n", b"hello")
}

fn tls_detail(result: Result<Response, Error>) -> String {
    match result {
        Err(Error::Tls { detail, .. }) => detail,
        other => panic!("expected a TLS error, got {other:?}"),
    }
}

#[tokio::test]
async fn an_answer_has_its_status_headers_and_body() {
    let loopback = Loopback::start(hello).await;
    let answer = loopback.get().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(answer.headers.get("x-y").unwrap(), "z");
}

#[tokio::test]
async fn a_body_arrives_whole_and_with_its_type() {
    let echo = |asked: &Asked| {
        assert!(asked.head.starts_with("post /x http/1.1"), "{}", asked.head);
        assert!(asked.head.contains("content-type: application/json"), "{}", asked.head);
        answer("200 OK", "", &asked.body)
    };
    let loopback = Loopback::start(echo).await;
    let body = Some(Body::json(b"{}".to_vec()));
    let request = loopback.client().request(Method::POST, &loopback.server.url("/x"), body).await;
    assert_eq!(request.unwrap().body, b"{}");
}

#[tokio::test]
async fn requests_share_connections() {
    let loopback = Loopback::start(hello).await;
    let client = loopback.client();
    for _ in 0..10 {
        get(&client, &loopback.server.url("/")).await.unwrap();
    }
    assert_eq!(loopback.server.requests.load(Ordering::SeqCst), 10);
    // A connection may not be back in the pool when the next request comes at once.
    assert!(loopback.server.connections.load(Ordering::SeqCst) < 10);
}

#[tokio::test]
async fn a_server_of_another_authority_of_the_same_name_gets_no_request() {
    let loopback = Loopback::start(hello).await;
    let client = client_at(&Authority::new(), &loopback.client, Some(IN_2026));
    let detail = tls_detail(get(&client, &loopback.server.url("/")).await);
    assert!(detail.contains("invalid peer certificate"), "{detail}");
    assert_eq!(loopback.server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_of_another_name_gets_no_request() {
    let authority = Authority::new();
    let server = Server::start(&authority, &authority.server("elsewhere"), &TLS13, hello).await;
    let client = client_at(&authority, &authority.client(), Some(IN_2026));
    let detail = tls_detail(get(&client, &server.url("/")).await);
    assert!(detail.contains("not valid for name"), "{detail}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_of_tls_1_2_gets_no_request() {
    let authority = Authority::new();
    let server = Server::start(&authority, &authority.server("localhost"), &TLS12, hello).await;
    let client = client_at(&authority, &authority.client(), Some(IN_2026));
    let detail = tls_detail(get(&client, &server.url("/")).await);
    assert!(detail.contains("ProtocolVersion"), "{detail}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_given_clock_decides_whether_a_certificate_has_expired() {
    let loopback = Loopback::start(hello).await;
    let url = loopback.server.url("/");
    let at = |ms| client_at(&loopback.authority, &loopback.client, ms);
    let in_2028 = IN_2026 + 2 * 365 * 86_400_000;
    assert!(tls_detail(get(&at(Some(in_2028)), &url).await).contains("expired"));
    assert!(tls_detail(get(&at(Some(0)), &url).await).contains("not valid yet"));
    assert_eq!(loopback.server.requests.load(Ordering::SeqCst), 0);
    assert!(get(&at(Some(IN_2026)), &url).await.is_ok());
}

#[test]
fn a_certificate_would_be_taken_only_of_the_same_authority_and_while_it_is_valid() {
    let (authority, other) = (Authority::new(), Authority::new());
    let at = |ms| Timestamp::from_millis(ms);
    let own = identity(&authority, &authority.client());
    own.would_be_taken(at(IN_2026)).unwrap();
    for ms in [0, IN_2026 + 2 * 365 * 86_400_000] {
        assert!(own.would_be_taken(at(ms)).is_err());
    }
    assert!(identity(&authority, &other.client()).would_be_taken(at(IN_2026)).is_err());
    assert!(
        identity(&authority, &authority.server("localhost")).would_be_taken(at(IN_2026)).is_err()
    );
}

#[tokio::test]
async fn without_a_time_nobody_is_trusted() {
    let loopback = Loopback::start(hello).await;
    let client = client_at(&loopback.authority, &loopback.client, None);
    assert!(tls_detail(get(&client, &loopback.server.url("/")).await).contains("time"));
}

#[tokio::test]
async fn a_client_whom_the_server_does_not_trust_is_told_so() {
    let loopback = Loopback::start(hello).await;
    let stranger = client_at(&loopback.authority, &Authority::new().client(), Some(IN_2026));
    let answer = get(&stranger, &loopback.server.url("/")).await;
    // The server's alert races with its closing of the connection.
    assert!(matches!(answer, Err(Error::Tls { .. } | Error::Connect { .. })), "{answer:?}");
    assert_eq!(loopback.server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_left_at_the_deadline() {
    let loopback = Loopback::start(|_: &Asked| Vec::new()).await;
    let began = tokio::time::Instant::now();
    let answer = loopback.get().await;
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    assert!(began.elapsed() <= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_left_at_the_deadline() {
    let loopback =
        Loopback::start(|_: &Asked| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab".to_vec())
            .await;
    let answer = loopback.get().await;
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_dropped() {
    for (size, fits) in [(1000, true), (1001, false)] {
        let loopback =
            Loopback::start(move |_: &Asked| answer("200 OK", "", &vec![b'x'; size])).await;
        match loopback.get().await {
            Ok(answer) => assert!(fits && answer.body.len() == size),
            Err(Error::TooLarge { limit: 1000, .. }) => assert!(!fits),
            Err(other) => panic!("{size}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_body_without_an_announced_end_is_limited_too() {
    let chunked = |_: &Asked| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..20 {
            answer.extend_from_slice(b"64\r\n");
            answer.extend_from_slice(&[b'x'; 100]);
            answer.extend_from_slice(b"\r\n");
        }
        answer
    };
    let loopback = Loopback::start(chunked).await;
    assert!(matches!(loopback.get().await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn a_compressed_body_stays_as_it_is() {
    let loopback =
        Loopback::start(|_: &Asked| answer("200 OK", "content-encoding: gzip\r\n", b"\x1f\x8b..."))
            .await;
    assert_eq!(loopback.get().await.unwrap().body, b"\x1f\x8b...");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let loopback =
        Loopback::start(|_: &Asked| answer("302 Found", "location: /elsewhere\r\n", b"")).await;
    assert_eq!(loopback.get().await.unwrap().status.as_u16(), 302);
    assert_eq!(loopback.server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let loopback = Loopback::start(|_: &Asked| b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()).await;
    assert!(matches!(loopback.get().await, Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn a_server_that_is_away_and_a_name_that_is_none_are_told_apart() {
    let loopback = Loopback::start(hello).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = get(&loopback.client(), &format!("https://{free}/")).await;
    assert!(matches!(away, Err(Error::Connect { .. })), "{away:?}");
    let nowhere = get(&loopback.client(), "https://nowhere.invalid/").await;
    assert!(matches!(nowhere, Err(Error::Dns { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn only_https_is_spoken() {
    let loopback = Loopback::start(hello).await;
    for url in ["http://localhost/", "ftp://localhost/", "/x", "localhost", "https://", ""] {
        let answer = get(&loopback.client(), url).await;
        assert!(matches!(answer, Err(Error::Url { .. })), "{url}: {answer:?}");
    }
}

#[test]
fn an_identity_that_cannot_be_used_says_which_part_of_it() {
    let (authority, other) = (Authority::new(), Authority::new().client());
    let pair = authority.client();
    let (ca, certificate, key) =
        (authority.certificate.as_bytes(), pair.certificate.as_bytes(), pair.key.as_bytes());
    let read = Identity::from_pem;
    assert!(matches!(read(b"", certificate, key), Err(IdentityError::Authority(_))));
    assert!(matches!(read(ca, b"", key), Err(IdentityError::Certificate(_))));
    assert!(matches!(read(ca, certificate, certificate), Err(IdentityError::Key(_))));
    let mixed = read(ca, certificate, other.key.as_bytes()).unwrap();
    let refused = Client::new(mixed, || None, Limits::default());
    assert!(matches!(refused, Err(IdentityError::Pair(_))));
}

#[test]
fn an_identity_is_read_from_files_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.client();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, certificate) =
        (put("ca.pem", &authority.certificate), put("tls.pem", &pair.certificate));
    let key = put("tls.key", &pair.key);
    assert!(Identity::read(&ca, &certificate, &key).is_ok());
    let missing = Identity::read(&ca, &certificate, &dir.path().join("none.key"));
    assert!(missing.unwrap_err().to_string().contains("none.key"));
}
