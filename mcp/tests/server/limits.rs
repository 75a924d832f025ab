//! What is refused before it is parsed.

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bundles::Ledger;
use crate::client::{Credentials, request};
use crate::process::Mcp;

/// The first line of the answer to a request that says how long its body will be, and sends none of it.
async fn announce(
    mcp: &Mcp,
    listener: &str,
    who: &Credentials,
    request: &str,
    length: usize,
) -> String {
    let mut tls = mcp.connect(listener, Some(who), &TLS13).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let mcp = Mcp::start();
    let (appliance, operator) = (mcp.register("clinic-a").await, mcp.operator());
    for (listener, who, request, limit) in [
        ("appliance", &appliance, "POST /api/v1/evidence", 1024 * 1024),
        ("appliance", &appliance, "POST /api/v1/certificate", 16 * 1024),
        ("operator", &operator, "POST /api/v1/sites/clinic-a/orders", 256 * 1024),
        ("operator", &operator, "PUT /api/v1/sites/clinic-a", 256 * 1024),
        ("operator", &operator, "PUT /api/v1/sites/clinic-a/certificate", 64 * 1024),
    ] {
        let answer = announce(&mcp, listener, who, request, limit + 1).await;
        assert_eq!(answer, "HTTP/1.1 413", "{request}");
    }
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_refused_without_being_parsed() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut tls = mcp.connect("appliance", Some(&appliance), &TLS13).await.unwrap();
    let head = "POST /api/v1/evidence HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    tls.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'{'; 0x10000], b"\r\n"].concat();
    for _ in 0..16 {
        tls.write_all(&chunk).await.unwrap();
    }
    // One byte too many, and no end.
    tls.write_all(b"1\r\n{\r\n").await.unwrap();
    let mut answer = vec![0; 64];
    tls.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn an_encoded_body_is_not_decoded() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let tls = mcp.connect("appliance", Some(&appliance), &TLS13).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    let reply = request(tls, Method::POST, "/api/v1/evidence", headers, "x").await.unwrap();
    reply.problem(415, "encoded");
}

#[tokio::test]
async fn an_upload_holds_at_most_64_bundles() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundles = ledger.make(65);
    mcp.upload_raw(&appliance, bundles.clone(), 0).await.problem(400, "bad-request");
    bundles.pop();
    let reply = mcp.upload_raw(&appliance, bundles, 0).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_with_a_reason() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let call = async |method, path: &str, body: &'static str| {
        mcp.call("appliance", &appliance, method, path, body).await
    };
    for path in [
        "/api/v1/orders",
        "/api/v1/orders?after=-1&nonce=000102030405060708090a0b0c0d0e0f&log=0",
        "/api/v1/orders?after=0&nonce=00&log=0",
        "/api/v1/orders?after=0&nonce=000102030405060708090A0B0C0D0E0F&log=0",
    ] {
        call(Method::GET, path, "").await.problem(400, "bad-request");
    }
    for body in ["", "{}", "{\"bundles\":[],\"more\":1}", "{\"bundles\":[{}]}"] {
        call(Method::POST, "/api/v1/evidence", body).await.problem(400, "bad-request");
    }
    call(Method::GET, "/api/v1/sites", "").await.problem(404, "not-found");
    call(Method::DELETE, "/api/v1/orders", "").await.problem(405, "method");
}
