//! `agent.toml`.

use std::path::{Path, PathBuf};

use compliance_daemon::log::{Format, Level};
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/compliance/agent.toml";

/// What `agent.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The control plane: `https://HOST[:PORT]`.
    pub mcp_url: McpUrl,
    /// The executor's Unix socket.
    pub socket: PathBuf,
    /// The user that must be at its other end; root unless set.
    #[serde(default)]
    pub executor_uid: u32,
    /// Who we are, and whose servers we trust.
    pub tls: Tls,
    /// How often to poll, in milliseconds.
    #[serde(default)]
    pub poll_interval_ms: PollInterval,
    /// How much sooner or later a poll may come, in percent of the interval.
    #[serde(default)]
    pub poll_jitter_percent: PollJitter,
    /// Where the report for `status` and `health` is left.
    pub state_file: PathBuf,
    /// Where the report for Prometheus is left; nowhere unless set.
    #[serde(default)]
    pub metrics_file: Option<MetricsFile>,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// Who we are, and whose servers we trust; PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The only authority whose servers are trusted.
    pub ca: PathBuf,
    /// Our certificate, with its chain if it has one.
    pub certificate: PathBuf,
    /// Its key, PKCS#8.
    pub key: PathBuf,
}

/// How much is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// How, on stderr.
    pub format: Format,
}

/// The control plane's address: `https://HOST[:PORT]`, nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct McpUrl(String);

impl McpUrl {
    /// The address of `path`, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

/// The text is not the address of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a control plane's address is written https://HOST or https://HOST:PORT, with nothing behind it"
)]
pub struct NotAnMcpUrl;

impl TryFrom<String> for McpUrl {
    type Error = NotAnMcpUrl;

    fn try_from(text: String) -> Result<Self, NotAnMcpUrl> {
        let text = text.strip_suffix('/').unwrap_or(&text);
        let host = text.strip_prefix("https://").ok_or(NotAnMcpUrl)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(NotAnMcpUrl);
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<McpUrl> for String {
    fn from(url: McpUrl) -> Self {
        url.0
    }
}

/// How often to poll: 200 ms to one hour, one minute unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct PollInterval(u32);

impl PollInterval {
    const MIN_MS: u32 = 200;
    const MAX_MS: u32 = 3_600_000;

    /// The interval.
    pub fn span(self) -> Span {
        Span::from_millis(i64::from(self.0))
    }
}

impl Default for PollInterval {
    fn default() -> Self {
        Self(60_000)
    }
}

/// The number is not an interval between polls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a poll interval is {} to {} milliseconds", PollInterval::MIN_MS, PollInterval::MAX_MS)]
pub struct NotAnInterval;

impl TryFrom<u32> for PollInterval {
    type Error = NotAnInterval;

    fn try_from(ms: u32) -> Result<Self, NotAnInterval> {
        if (Self::MIN_MS..=Self::MAX_MS).contains(&ms) { Ok(Self(ms)) } else { Err(NotAnInterval) }
    }
}

/// How much sooner or later than its interval a poll may come: 0 to 50 percent, 10 unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct PollJitter(u8);

impl PollJitter {
    const MAX_PERCENT: u8 = 50;

    /// So much of `interval`, to either side.
    pub fn of(self, interval: Span) -> Span {
        Span::from_millis(interval.as_millis().saturating_mul(i64::from(self.0)) / 100)
    }
}

impl Default for PollJitter {
    fn default() -> Self {
        Self(10)
    }
}

/// The number is not a jitter of polls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a poll's jitter is 0 to {} percent of the interval", PollJitter::MAX_PERCENT)]
pub struct NotAJitter;

impl TryFrom<u8> for PollJitter {
    type Error = NotAJitter;

    fn try_from(percent: u8) -> Result<Self, NotAJitter> {
        if percent <= Self::MAX_PERCENT { Ok(Self(percent)) } else { Err(NotAJitter) }
    }
}

/// The path of a file that the node exporter's textfile collector reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct MetricsFile(PathBuf);

impl MetricsFile {
    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The path is not one that the collector reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a metrics file is named SOMETHING.prom: the node exporter's textfile collector reads no other"
)]
pub struct NotAMetricsFile;

impl TryFrom<PathBuf> for MetricsFile {
    type Error = NotAMetricsFile;

    fn try_from(path: PathBuf) -> Result<Self, NotAMetricsFile> {
        let named = path.extension().is_some_and(|extension| extension == "prom");
        if named { Ok(Self(path)) } else { Err(NotAMetricsFile) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_daemon::config::parse;

    const LEAST: &str = r#"
        mcp_url = "https://mcp.example:8443/"
        socket = "/run/compliance/executor.sock"
        state_file = "/run/compliance-agent/state.json"
        tls = { ca = "ca.pem", certificate = "tls.pem", key = "tls.key" }
    "#;

    #[test]
    fn the_least_configuration_has_safe_defaults() {
        let config: Config = parse(LEAST).unwrap();
        assert_eq!(config.mcp_url.join("/x"), "https://mcp.example:8443/x");
        assert_eq!(config.executor_uid, 0);
        assert_eq!(config.poll_interval_ms.span(), Span::from_secs(60));
        assert_eq!(config.poll_jitter_percent.of(Span::from_secs(60)), Span::from_secs(6));
        assert_eq!(config.metrics_file, None);
    }

    #[test]
    fn an_interval_outside_of_its_bounds_is_refused() {
        for (ms, good) in [(199, false), (200, true), (3_600_000, true), (3_600_001, false)] {
            let text = format!("poll_interval_ms = {ms}\n{LEAST}");
            assert_eq!(parse::<Config>(&text).is_ok(), good, "{ms}");
        }
    }

    #[test]
    fn a_jitter_outside_of_its_bounds_is_refused() {
        for (percent, good) in [(-1, false), (0, true), (50, true), (51, false), (256, false)] {
            let text = format!("poll_jitter_percent = {percent}\n{LEAST}");
            assert_eq!(parse::<Config>(&text).is_ok(), good, "{percent}");
        }
    }

    #[test]
    fn a_metrics_file_has_the_name_that_the_collector_looks_for() {
        let parsed = |path| parse::<Config>(&format!("metrics_file = {path:?}\n{LEAST}"));
        let config = parsed("/var/lib/metrics/compliance.prom").unwrap();
        let path = Path::new("/var/lib/metrics/compliance.prom");
        assert_eq!(config.metrics_file.unwrap().path(), path);
        for bad in
            ["", "/var/lib/metrics", "/metrics/.prom", "/metrics/prom", "/metrics/x.prom.new"]
        {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains("SOMETHING.prom"), "{bad}: {error}");
        }
    }

    #[test]
    fn an_address_is_https_with_nothing_behind_it() {
        for good in ["https://mcp", "https://mcp:8443", "https://[::1]:8443/", "https://10.0.0.1"] {
            assert!(McpUrl::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in
            ["http://mcp", "mcp", "https://", "https://mcp/x", "https://a@mcp", "https://mcp?x"]
        {
            assert_eq!(McpUrl::try_from(bad.to_owned()), Err(NotAnMcpUrl), "{bad}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_pointed_out() {
        for (text, nearest) in [
            (format!("poll_interval_s = 60\n{LEAST}"), "poll_interval_ms"),
            (LEAST.replace("certificate", "certificat"), "certificate"),
            (format!("{LEAST}\n[log]\nfromat = \"json\""), "format"),
            (format!("{LEAST}\n[log]\nlevel = \"infos\""), "info"),
        ] {
            let error = parse::<Config>(&text).unwrap_err();
            assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
        }
    }
}
