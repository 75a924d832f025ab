//! `nats.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_daemon::config::ConfigError;
use compliance_daemon::log::{Format, Level};
use serde::Deserialize;

/// What `nats.toml` says. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The control plane's listener for operators, `https://HOST:PORT`.
    pub mcp: String,
    /// The tenant's authority, PEM.
    pub ca: PathBuf,
    /// The carrier's certificate, PEM. By its name the control plane knows how far events were brought.
    pub cert: PathBuf,
    /// Its key, PKCS#8 PEM.
    pub key: PathBuf,
    /// Where events go.
    pub nats: Nats,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// `[nats]`: the broker and its stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// `tls://HOST[:PORT]`; on a loopback address also `nats://HOST[:PORT]`.
    pub server: String,
    /// The only authority whose brokers are trusted, PEM.
    pub ca: Option<PathBuf>,
    /// The user's name; goes with `password_file`.
    pub user: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
    /// The file with a token, in place of a user.
    pub token_file: Option<PathBuf>,
    /// The stream; made if it is not there.
    #[serde(default = "default_stream")]
    pub stream: String,
    /// For how long the stream knows the ids of its messages, in seconds: what is brought again within it is not
    /// stored again. The stream may have a longer one.
    #[serde(default = "default_window")]
    pub duplicate_window_s: u32,
}

/// How much is logged, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// How, on stderr.
    pub format: Format,
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = compliance_daemon::config::read(path)?;
        config.check().map_err(|detail| ConfigError::Invalid { path: path.to_owned(), detail })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let nats = &mut config.nats;
        let optional = [&mut nats.ca, &mut nats.password_file, &mut nats.token_file];
        let paths = [&mut config.ca, &mut config.cert, &mut config.key];
        for relative in paths.into_iter().chain(optional.into_iter().flatten()) {
            *relative = folder.join(&*relative);
        }
        Ok(config)
    }

    fn check(&mut self) -> Result<(), String> {
        self.mcp = self.mcp.trim_end_matches('/').to_owned();
        if !self.mcp.starts_with("https://") {
            return Err("mcp is written https://HOST:PORT".to_owned());
        }
        self.nats.check()
    }
}

impl Nats {
    /// For how long the stream has to know the ids of its messages.
    pub fn duplicate_window(&self) -> Duration {
        Duration::from_secs(self.duplicate_window_s.into())
    }

    fn check(&self) -> Result<(), String> {
        let address =
            match (self.server.strip_prefix("tls://"), self.server.strip_prefix("nats://")) {
                (Some(address), _) if self.ca.is_some() => address,
                (Some(_), _) => {
                    return Err("[nats] ca names the authority of a tls:// server".to_owned());
                }
                (_, Some(address)) if is_loopback(address) => address,
                (_, Some(_)) => {
                    return Err(
                        "[nats] server: plain nats:// is for 127.0.0.1, [::1] and localhost only; \
                            write tls://HOST:PORT"
                            .to_owned(),
                    );
                }
                _ => return Err("[nats] server is written tls://HOST:PORT".to_owned()),
            };
        if address.is_empty() || address.contains(['@', '/', '?', '#']) {
            return Err("[nats] server names a host and a port and nothing else; \
                        a password is in password_file"
                .to_owned());
        }
        let (user, password) = (self.user.is_some(), self.password_file.is_some());
        if user != password || (user && self.token_file.is_some()) {
            return Err(
                "[nats] takes user with password_file, or token_file, or neither".to_owned()
            );
        }
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if !(1..=64).contains(&self.stream.len()) || !self.stream.bytes().all(named) {
            return Err("[nats] stream is a name of letters, digits, - and _".to_owned());
        }
        if !(1..=MAX_WINDOW_S).contains(&self.duplicate_window_s) {
            return Err(format!("[nats] duplicate_window_s is from 1 to {MAX_WINDOW_S}"));
        }
        Ok(())
    }
}

/// JetStream keeps the ids in memory.
const MAX_WINDOW_S: u32 = 90 * 86_400;

fn is_loopback(address: &str) -> bool {
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
        let port = address.strip_prefix(host);
        port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    })
}

fn default_stream() -> String {
    "COMPLIANCE".to_owned()
}

fn default_window() -> u32 {
    7 * 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(nats: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nats.toml");
        let text = format!(
            "mcp = \"https://mcp.example:8444/\"\nca = \"ca.pem\"\ncert = \"c.pem\"\nkey = \"/k\"\n[nats]\n{nats}"
        );
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|error| error.to_string()).map(|mut config| {
            config.ca = config.ca.strip_prefix(dir.path()).unwrap().to_owned();
            config
        })
    }

    #[test]
    fn paths_are_relative_to_the_file_and_the_stream_remembers_for_a_week() {
        let config = read("server = \"tls://n:4222\"\nca = \"/ca\"\n").unwrap();
        assert_eq!(
            (config.ca.as_path(), config.key.as_path()),
            (Path::new("ca.pem"), Path::new("/k"))
        );
        assert_eq!(config.mcp, "https://mcp.example:8444");
        assert_eq!(config.nats.stream, "COMPLIANCE");
        assert_eq!(config.nats.duplicate_window().as_secs(), 604_800);
    }

    #[test]
    fn beyond_loopback_nothing_is_said_without_tls() {
        let taken = |server: &str| read(&format!("server = \"{server}\"\n")).is_ok();
        assert!(
            taken("nats://127.0.0.1:4222") && taken("nats://localhost") && taken("nats://[::1]:1")
        );
        assert!(
            !taken("nats://nats:4222") && !taken("nats://127.0.0.1.example") && !taken("nats:4222")
        );
        assert!(!taken("nats://localhost@example") && !taken("ws://localhost"));
        let error = read("server = \"tls://nats:4222\"\n").unwrap_err();
        assert!(error.contains("[nats] ca"), "{error}");
    }

    #[test]
    fn one_way_to_log_in_is_taken_and_no_password_in_the_address() {
        let with = |more: &str| read(&format!("server = \"nats://localhost\"\n{more}")).is_ok();
        assert!(with("user = \"u\"\npassword_file = \"p\"\n") && with("token_file = \"t\"\n"));
        assert!(!with("user = \"u\"\n") && !with("password_file = \"p\"\n"));
        assert!(!with("user = \"u\"\npassword_file = \"p\"\ntoken_file = \"t\"\n"));
        assert!(read("server = \"tls://u:p@nats\"\nca = \"c\"\n").is_err());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = read("server = \"nats://localhost\"\ntoken_fiel = \"t\"\n").unwrap_err();
        assert!(error.contains("did you mean `token_file`?"), "{error}");
    }
}
