//! What changes, as a stream.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bundles::Ledger;
use crate::client::Credentials;
use crate::process::{Mcp, PATIENCE, new_order};

/// A stream that is being read.
struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    /// Opens `/events`; its status, if it is none.
    async fn open(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        cookie: &str,
    ) -> Result<Self, StatusCode> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/events").header("host", "localhost").header("cookie", cookie);
        let answer =
            sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Ok(Self { body: answer.into_body(), text: String::new() })
    }

    /// Reads on until all of `parts` were there; without any, to the end.
    async fn until(&mut self, parts: &[&str]) {
        while parts.is_empty() || !parts.iter().all(|part| self.text.contains(part)) {
            let frame = timeout(PATIENCE, self.body.frame()).await;
            match frame.unwrap_or_else(|_| panic!("no {parts:?} in {}", self.text)) {
                Some(Ok(frame)) => {
                    self.text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
                }
                Some(Err(error)) => panic!("the stream broke off: {error}"),
                None if parts.is_empty() => return,
                None => panic!("the stream ended without {parts:?}: {}", self.text),
            }
        }
    }
}

impl Mcp {
    async fn stream(&self, session: &str) -> Result<Stream, StatusCode> {
        Stream::open(TcpStream::connect(self.address("console")).await.unwrap(), session).await
    }

    async fn operator_stream(&self, who: &Credentials) -> Result<Stream, StatusCode> {
        Stream::open(self.connect("operator", Some(who), &TLS13).await.unwrap(), "").await
    }
}

#[tokio::test]
async fn what_is_committed_and_who_was_heard_of_is_told() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let session = mcp.session().await;
    let mut streams =
        [mcp.stream(&session).await.unwrap(), mcp.operator_stream(&mcp.operator()).await.unwrap()];
    for stream in &mut streams {
        stream.until(&["retry: 2000\n\n"]).await;
    }
    mcp.upload(&appliance, &Ledger::new("clinic-a").make(2), 0).await;
    let order = mcp.signed(&new_order("clinic-a", 1, None));
    mcp.operate(Method::POST, "/api/v1/sites/clinic-a/orders", order).await;
    mcp.register("clinic-b").await;
    for stream in &mut streams {
        stream
            .until(&[
                "event: change\ndata: {\"site\":\"clinic-a\",\"what\":\"seen\",\"at\":\"2",
                "event: change\ndata: {\"site\":\"clinic-a\",\"what\":\"evidence\"}\n\n",
                "event: change\ndata: {\"site\":\"clinic-a\",\"what\":\"orders\"}\n\n",
                "event: change\ndata: {\"site\":\"clinic-b\",\"what\":\"site\"}\n\n",
            ])
            .await;
        assert_eq!(stream.text.matches("evidence").count(), 1, "one upload is one change");
    }
}

#[tokio::test]
async fn a_stream_is_for_sessions_and_ends_with_them() {
    let mcp = Mcp::start();
    for cookie in ["", "compliance_console=00"] {
        assert_eq!(mcp.stream(cookie).await.err(), Some(StatusCode::UNAUTHORIZED));
    }
    let (session, other) = (mcp.session().await, mcp.session().await);
    let mut streams = [
        mcp.stream(&session).await.unwrap(),
        mcp.stream(&session).await.unwrap(),
        mcp.stream(&session).await.unwrap(),
        mcp.stream(&session).await.unwrap(),
    ];
    assert_eq!(mcp.stream(&session).await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
    let mut others = mcp.stream(&other).await.unwrap();
    let token = mcp.token(&session).await;
    let form = format!("csrf={token}");
    mcp.post_form("/logout", &[("cookie", &session)], &form).await;
    mcp.register("clinic-a").await;
    for stream in &mut streams {
        stream.until(&[]).await;
        assert!(stream.text.ends_with("event: end\ndata: {}\n\n"), "{}", stream.text);
        assert!(!stream.text.contains("clinic-a"));
    }
    others.until(&["clinic-a"]).await;
}

#[tokio::test]
async fn a_place_is_free_again_when_its_page_is_closed() {
    let mcp = Mcp::start();
    let session = mcp.session().await;
    for _ in 0..12 {
        let open = async || {
            loop {
                if let Ok(stream) = mcp.stream(&session).await {
                    return stream;
                }
            }
        };
        timeout(PATIENCE, open()).await.unwrap().until(&["retry"]).await;
    }
}

#[tokio::test]
async fn open_streams_do_not_hold_up_a_stop() {
    let mut mcp = Mcp::start();
    let session = mcp.session().await;
    let mut streams =
        [mcp.stream(&session).await.unwrap(), mcp.operator_stream(&mcp.operator()).await.unwrap()];
    mcp.terminate();
    for stream in &mut streams {
        stream.until(&[]).await;
    }
    assert_eq!(mcp.wait(), 0);
}

#[tokio::test]
async fn no_appliance_gets_a_stream() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    assert_eq!(mcp.operator_stream(&appliance).await.err(), Some(StatusCode::FORBIDDEN));
    let reply = mcp.call("appliance", &appliance, Method::GET, "/events", "").await;
    reply.problem(404, "not-found");
}
