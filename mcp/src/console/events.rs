//! `/events`: what changes, for pages that keep themselves up to date.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::Failure;
use super::frame::cookie;
use crate::app::App;
use crate::stream;

pub(super) async fn events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let secret = cookie(&headers).ok_or(Failure::NoSession)?.to_owned();
    let watcher = app.store.changes().watch();
    let open = OpenStream::begin(app, secret)?;
    Ok(stream::open(watcher, move || open.may_go_on()))
}

/// One of a session's streams, for as long as this lives.
struct OpenStream {
    app: Arc<App>,
    secret: String,
}

impl OpenStream {
    fn begin(app: Arc<App>, secret: String) -> Result<Self, Failure> {
        if app.sessions.begin_stream(&secret) {
            Ok(Self { app, secret })
        } else {
            Err(Failure::TooManyStreams)
        }
    }

    fn may_go_on(&self) -> bool {
        self.app.sessions.who(&self.secret, self.app.now()).is_some()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.app.sessions.end_stream(&self.secret);
    }
}
