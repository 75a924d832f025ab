//! Where the console is, for one-time links and cookies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::session::SESSION_LIFE;

/// The cookie that holds a session's secret. To cookies all ports of a host are one, so it has a name that no other
/// program on an operator's loopback uses.
pub(super) const COOKIE: &str = "compliance_console";

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

    /// Whether who names this host means us: by loopback, at whatever port a tunnel has, or by the public name. Any
    /// other name was made to lead here, by somebody whose pages the browser then takes for ours.
    pub(super) fn are_of(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let public = self.base.split_once("://").map_or("", |(_, rest)| rest);
        let public = without_port(public.split('/').next().unwrap_or_default());
        address.is_ok_and(|address| address.is_loopback())
            || ["localhost", public].iter().any(|ours| ours.eq_ignore_ascii_case(name))
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

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_by_loopback_or_by_the_public_name() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8445));
        let public = Links::new(Some("https://console.msp.example/"), address);
        for ours in
            ["console.msp.example", "Console.MSP.example:443", "localhost:1", "127.0.0.2", "[::1]"]
        {
            assert!(public.are_of(ours), "{ours}");
        }
        for other in
            ["", ":443", "msp.example", "console.msp.example.evil", "10.0.0.1:8445", "[::2]"]
        {
            assert!(!public.are_of(other), "{other}");
        }
        assert!(!Links::new(None, address).are_of("console.msp.example"));
    }
}
