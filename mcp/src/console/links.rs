//! Where the console is, for one-time links and cookies.

use std::net::SocketAddr;
use std::sync::Arc;

use super::session::SESSION_LIFE;

/// The cookie that holds a session's secret.
pub(super) const COOKIE: &str = "session";

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

    /// The cookie of a session.
    pub(super) fn cookie(&self, secret: &str) -> String {
        self.set_cookie(secret, SESSION_LIFE.as_millis() / 1000)
    }

    /// The cookie that ends the one of a session.
    pub(super) fn no_cookie(&self) -> String {
        self.set_cookie("", 0)
    }

    /// It is for TLS only where browsers reach the console by TLS.
    fn set_cookie(&self, value: &str, age: i64) -> String {
        let secure = if self.base.starts_with("https://") { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
    }
}
