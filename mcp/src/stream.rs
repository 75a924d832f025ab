//! A stream of server-sent events: what changes, until whoever listens goes, may no longer, or the server ends.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::changes::{Heard, Watcher};

/// When nothing changed for this long, something is sent all the same: both ends learn whether the other is there.
const BEAT: Duration = Duration::from_secs(15);

/// How long whoever listens may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Events that may wait to be sent.
const QUEUE: usize = 16;

/// How long a browser waits before it connects anew, in milliseconds.
const RETRY_MS: u32 = 2000;

/// Streams what `watcher` hears, as long as `may` says that the listener still may.
pub(crate) fn open(watcher: Watcher, may: impl Fn() -> bool + Send + 'static) -> Response {
    let (events, queue) = mpsc::channel(QUEUE);
    tokio::spawn(pump(watcher, may, events));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy in front shall not wait for more.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(Events(queue))).into_response()
}

async fn pump(mut watcher: Watcher, may: impl Fn() -> bool, events: mpsc::Sender<Bytes>) {
    let mut next = format!("retry: {RETRY_MS}\n\n");
    loop {
        if !may() {
            send(&events, "event: end\ndata: {}\n\n".to_owned()).await;
            return;
        }
        if !send(&events, next).await {
            return;
        }
        let heard = tokio::select! {
            heard = timeout(BEAT, watcher.next()) => heard,
            () = events.closed() => return,
        };
        next = match heard {
            Ok(Some(heard)) => event(&heard),
            Ok(None) => return,
            Err(_) => ":\n\n".to_owned(),
        };
    }
}

/// False when nobody takes it.
async fn send(events: &mpsc::Sender<Bytes>, text: String) -> bool {
    timeout(PATIENCE, events.send(text.into())).await.is_ok_and(|sent| sent.is_ok())
}

fn event(heard: &Heard) -> String {
    let mut text = String::new();
    let written = match heard {
        Heard::Change(change) => match serde_json::to_string(change) {
            Ok(data) => write!(text, "event: change\ndata: {data}\n\n"),
            Err(_) => Ok(()),
        },
        Heard::Missed => write!(text, "event: missed\ndata: {{}}\n\n"),
    };
    debug_assert!(written.is_ok(), "a string takes what is written");
    text
}

/// The stream's body.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}
