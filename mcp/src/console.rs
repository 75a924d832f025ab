//! The console: plain pages for a browser, without scripts. Who comes with a one-time link gets a session.

mod pages;
pub(crate) mod session;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// Where the console is, for one-time links.
#[derive(Debug, Clone)]
pub struct Links {
    base: Arc<str>,
}

impl Links {
    /// The console at `public_url`, or else at `address`.
    pub fn new(public_url: Option<&str>, address: SocketAddr) -> Self {
        let base = match public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        };
        Self { base: base.into() }
    }

    /// The link that `token` is taken at.
    pub(crate) fn to(&self, token: &str) -> String {
        format!("{}/enter/{token}", self.base)
    }

    /// Whether browsers reach the console over TLS only.
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https://")
    }
}

/// The console's routes.
pub fn routes(app: Arc<App>, links: Links) -> Router {
    pages::routes(app, links)
}
