//! `mcp.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use compliance_daemon::config::ConfigError;
use compliance_daemon::log::{Format, Level};
use compliance_protocol::key::{KeySet, PublicKey};
use compliance_protocol::name::Tenant;
use serde::Deserialize;

/// The control plane's configuration. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose sites these are.
    pub tenant: Tenant,
    /// Where the database and `listening.json` are.
    pub data_dir: PathBuf,
    /// Where appliances connect.
    pub listen: SocketAddr,
    /// When an appliance shall poll again, in seconds.
    #[serde(default = "default_poll_after")]
    pub poll_after_s: u32,
    /// The origin line of the evidence log (C2SP tlog-checkpoint).
    pub log_origin: String,
    /// The private key that signs feed heads, PKCS#8 PEM.
    pub feed_key: PathBuf,
    /// The private key that signs checkpoints of the evidence log, PKCS#8 PEM.
    pub checkpoint_key: PathBuf,
    /// The offline keys that sign trust files.
    pub root: Root,
    /// Certificates.
    pub tls: Tls,
    /// The operators' listener.
    #[serde(default)]
    pub operator: Operator,
    /// The browser's listener.
    #[serde(default)]
    pub console: Console,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// `[root]`: the public keys that sign each site's first trust file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The keys, each 64 hexadecimal digits.
    pub keys: Vec<PublicKey>,
    /// How many must sign.
    pub threshold: usize,
}

/// `[tls]`: who the server is, and whose clients it takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS#8 PEM.
    pub key: PathBuf,
    /// The tenant's authority, PEM: who has no certificate of it gets nothing.
    pub client_ca: PathBuf,
}

/// `[operator]`: the listener for `compliancectl`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Operator {
    /// Where.
    pub listen: SocketAddr,
}

/// `[console]`: the listener for a browser. It speaks plain HTTP, therefore on loopback only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Where; a loopback address.
    pub listen: SocketAddr,
    /// How a browser reaches it when a TLS proxy stands in front, such as `https://mcp.example`.
    pub public_url: Option<String>,
}

/// `[log]`: what goes to stderr or journald.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// How it is written on stderr.
    pub format: Format,
}

impl Default for Operator {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8444)) }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8445)), public_url: None }
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = compliance_daemon::config::read(path)?;
        config.check().map_err(|detail| ConfigError::Invalid { path: path.to_owned(), detail })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        for relative in [
            &mut config.data_dir,
            &mut config.feed_key,
            &mut config.checkpoint_key,
            &mut config.tls.certificate,
            &mut config.tls.key,
            &mut config.tls.client_ca,
        ] {
            *relative = folder.join(&*relative);
        }
        Ok(config)
    }

    /// The offline keys that sign each site's first trust file, as a set.
    pub fn root_keys(&self) -> Result<KeySet, String> {
        KeySet::new(self.root.keys.clone(), self.root.threshold)
            .map_err(|error| format!("[root]: {error}"))
    }

    fn check(&self) -> Result<(), String> {
        self.root_keys()?;
        if !self.console.listen.ip().is_loopback() {
            return Err(format!(
                "[console] listen = \"{}\": the console speaks plain HTTP, so it listens on a loopback address only; \
                 put a TLS proxy in front and name it in public_url",
                self.console.listen
            ));
        }
        let public = self.console.public_url.as_deref();
        if public.is_some_and(|url| !url.starts_with("https://") && !is_loopback(url)) {
            return Err(
                "[console] public_url starts with https://: the link to it lets a browser in; \
                        plain http:// is for 127.0.0.1, [::1] and localhost only"
                    .to_owned(),
            );
        }
        if !(5..=3600).contains(&self.poll_after_s) {
            return Err("poll_after_s is from 5 to 3600: appliances clamp it to that".to_owned());
        }
        Ok(())
    }
}

fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
        let port = authority.strip_prefix(host);
        port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    })
}

fn default_poll_after() -> u32 {
    60
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn read(extra: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.toml");
        let text = format!(
            "tenant = \"acme\"\ndata_dir = \"data\"\nlisten = \"127.0.0.1:0\"\nlog_origin = \"mcp.example/acme\"\n\
             feed_key = \"/k/feed.key\"\ncheckpoint_key = \"k\"\n[root]\nkeys = [\"{KEY}\"]\nthreshold = 1\n\
             [tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"\n{extra}"
        );
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map(|mut config| {
            config.data_dir = config.data_dir.strip_prefix(dir.path()).unwrap().to_owned();
            config
        })
    }

    #[test]
    fn defaults_are_loopback_and_paths_are_relative_to_the_file() {
        let config = read("").unwrap();
        assert_eq!(config.operator.listen.to_string(), "127.0.0.1:8444");
        assert_eq!(config.console.listen.to_string(), "127.0.0.1:8445");
        assert_eq!(config.data_dir, Path::new("data"));
        assert_eq!(config.feed_key, Path::new("/k/feed.key"));
        assert_eq!(config.poll_after_s, 60);
    }

    #[test]
    fn a_console_beyond_loopback_is_refused() {
        let error = read("[console]\nlisten = \"0.0.0.0:8445\"\n").unwrap_err().to_string();
        assert!(error.contains("loopback"), "{error}");
    }

    #[test]
    fn a_browser_is_sent_over_plain_http_to_this_machine_only() {
        let with = |url: &str| read(&format!("[console]\npublic_url = \"{url}\"\n")).is_ok();
        assert!(
            with("https://mcp.example") && with("http://localhost:8445") && with("http://[::1]/x")
        );
        assert!(
            !with("http://mcp.example") && !with("http://localhost.example") && !with("ftp://x")
        );
        assert!(!with("http://localhost@mcp.example/"));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_name() {
        for (extra, nearest) in [
            ("[log]\nlevl = \"info\"\n", "level"),
            ("[log]\nlevel = \"inof\"\n", "info"),
            ("[operator]\nlisen = \"127.0.0.1:8444\"\n", "listen"),
            ("[consol]\n", "console"),
        ] {
            let error = read(extra).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
        }
    }
}
