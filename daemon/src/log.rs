//! Logging: to journald where it listens, else to stderr.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::journal::Journal;

pub use crate::journal::Flush;

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only what needs somebody.
    Error,
    /// Also what may.
    Warn,
    /// Also what was done.
    #[default]
    Info,
    /// Also how.
    Debug,
}

/// How logs on stderr are written; journald has its own form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// A JSON document a line.
    Json,
}

/// Sends this process's logs to journald if systemd started it, else to stderr.
///
/// journald is used when `JOURNAL_STREAM` is set (systemd.exec(5)): then stderr is the journal anyway,
/// and the native protocol keeps the levels. Keep what this gives until the process ends.
#[must_use]
pub fn start(identifier: &str, level: Level, format: Format) -> Flush {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let registry = tracing_subscriber::registry().with(level);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| Journal::new(identifier).ok());
    let flush = Flush::of(journal.as_ref());
    let stderr =
        || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A second start in one process, as in tests, keeps the first subscriber.
    let _ = match (journal, format) {
        (Some(journal), _) => registry.with(journal).try_init(),
        (None, Format::Json) => registry.with(stderr().json()).try_init(),
        (None, Format::Text) => registry.with(stderr().with_ansi(false)).try_init(),
    };
    flush
}
