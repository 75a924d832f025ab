//! What the agent leaves on disk about itself, for `status` and `health`.

use std::path::Path;

use compliance_daemon::files;
use compliance_protocol::local::ConnectivityCause;
use compliance_protocol::name::BootId;
use compliance_protocol::status::Status;
use compliance_protocol::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::McpUrl;

/// The state file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The agent's version.
    pub version: String,
    /// The control plane that it polls.
    pub mcp_url: McpUrl,
    /// The boot in which it runs; its `boottime_ms` mean nothing in another.
    pub boot_id: BootId,
    /// When the agent started.
    pub started: Moment,
    /// When this was written.
    pub written: Moment,
    /// How polling goes.
    pub polls: Polls,
    /// What the executor said last.
    pub executor: Option<Seen>,
    /// Whether it answered all that it was asked in the last cycle.
    pub executor_answers: bool,
}

/// A moment by both clocks: one to show, one to count with, since the time of day may step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The time of day, as far as this machine knows it.
    pub at: Timestamp,
    /// `CLOCK_BOOTTIME`.
    #[serde(rename = "boottime_ms")]
    pub boottime: Span,
}

impl Moment {
    /// How long before `later` this was; negative when it is still to come.
    #[must_use]
    pub fn until(self, later: Self) -> Span {
        Span::from_millis(later.boottime.as_millis().saturating_sub(self.boottime.as_millis()))
    }

    /// This moment moved by `span`.
    #[must_use]
    pub fn plus(self, span: Span) -> Self {
        let boottime = self.boottime.as_millis().saturating_add(span.as_millis());
        Self { at: self.at.plus(span), boottime: Span::from_millis(boottime) }
    }
}

/// How polling goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polls {
    /// The interval that is kept at present, the control plane's wish included.
    #[serde(rename = "interval_ms")]
    pub interval: Span,
    /// When the control plane was last asked.
    pub last: Option<Moment>,
    /// When it last answered with a head that the executor verified.
    pub last_success: Option<Moment>,
    /// How many cycles in a row have failed.
    pub failures: u32,
    /// Why the last of them failed.
    pub last_failure: Option<Failure>,
    /// When the next poll is due; `None` once the agent has stopped.
    pub next: Option<Moment>,
}

/// Why a cycle failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub cause: Cause,
    /// Why, in one sentence.
    pub detail: String,
}

impl Failure {
    /// A failure whose `detail` may come from elsewhere: kept short, and fit for a terminal.
    pub fn new(cause: Cause, detail: &str) -> Self {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Self { cause, detail: detail.chars().map(printable).take(MAX_DETAIL).collect() }
    }
}

const MAX_DETAIL: usize = 400;

/// Where a cycle failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No connection to the control plane.
    Connect,
    /// Its name did not resolve.
    Dns,
    /// The executor did not answer, or could not do what was asked.
    Executor,
    /// The executor does not accept what the control plane answered.
    Refused,
    /// The control plane answered with an error, or with what is no answer.
    Server,
    /// No answer of the control plane's in time.
    Timeout,
    /// No trust between us and the control plane.
    Tls,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Dns,
        Self::Executor,
        Self::Refused,
        Self::Server,
        Self::Timeout,
        Self::Tls,
    ];

    /// Its name, as in the state file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Executor => "executor",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
        }
    }

    /// The same, as the executor is told.
    pub fn connectivity(self) -> ConnectivityCause {
        match self {
            Self::Connect => ConnectivityCause::Connect,
            Self::Dns => ConnectivityCause::Dns,
            Self::Server => ConnectivityCause::Server,
            Self::Timeout => ConnectivityCause::Timeout,
            Self::Tls => ConnectivityCause::Tls,
            Self::Executor | Self::Refused => ConnectivityCause::None,
        }
    }
}

/// What the executor said, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub when: Moment,
    /// What.
    pub status: Status,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}; the agent writes it after its first poll, so see whether it runs"
    )]
    Read {
        /// The state file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not a report.
    #[error("{path} is not a report of this version's agent: {source}")]
    Shape {
        /// The state file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Report {
    /// Reads the state file.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let bytes = files::read(path, MAX_REPORT)
            .map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ReportError::Shape { path: path.to_owned(), source })
    }

    /// Replaces the state file, for everyone to read.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        files::replace(path, &serde_json::to_vec(self)?, 0o644)
    }

    /// One line for `systemctl status`.
    pub fn line(&self) -> String {
        let queue = self.executor.as_ref().map_or(0, |seen| seen.status.pending_bundles);
        let outcome = match &self.polls.last_failure {
            None => "polling".to_owned(),
            Some(failure) => {
                format!("failing ({} in a row): {}", self.polls.failures, failure.detail)
            }
        };
        let next = match self.polls.next {
            Some(next) => format!("next poll in {}", self.written.until(next)),
            None => "stopped".to_owned(),
        };
        format!("{outcome}; {next}; {queue} bundles queued")
    }

    /// How old this is at `now`; `None` when it is from another boot.
    pub fn age(&self, now: Moment, boot_id: &BootId) -> Option<Span> {
        (self.boot_id == *boot_id).then(|| self.written.until(now))
    }
}

/// The largest state file that is read: the executor's status is most of it.
const MAX_REPORT: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_short_and_does_not_steer_a_terminal() {
        let failure = Failure::new(Cause::Server, &format!("\x1b[2J{}", "x".repeat(1000)));
        assert_eq!(failure.detail.chars().count(), MAX_DETAIL);
        assert!(!failure.detail.contains('\x1b'));
    }

    #[test]
    fn a_cause_has_one_name_everywhere() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
    }

    #[test]
    fn ages_are_counted_on_a_clock_that_does_not_step() {
        let moment = |at, boottime| Moment {
            at: Timestamp::from_millis(at),
            boottime: Span::from_millis(boottime),
        };
        let woke_in_1970 = moment(0, 1000);
        assert_eq!(woke_in_1970.until(moment(1_795_167_671_000, 4000)), Span::from_secs(3));
        assert_eq!(woke_in_1970.plus(Span::from_secs(1)), moment(1000, 2000));
    }
}
