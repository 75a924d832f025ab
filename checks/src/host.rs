//! The host as checks and remedies see it. `LinuxHost` is the real one.

use std::time::Duration;

use compliance_protocol::digest::Digest;
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::{Command, Output};

/// What can be asked of the host. Nothing but [`Host::run`] can change it, and that only by what it runs;
/// [`Host::log`] adds one entry to the journal.
pub trait Host: Send + Sync {
    /// The file at `path`, links followed.
    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError>;

    /// The contents of the file at `path`, at most `limit` bytes; a longer one is an error.
    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError>;

    /// The first `length` bytes of the file or device at `path`.
    fn read_head(&self, path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError>;

    /// The digest of the file at `path` as it is now, which may be large: each call reads at most `budget`
    /// bytes and takes them off it, and the next one goes on. A file that has not changed is read whole
    /// again once a day. No link in `path` is followed.
    fn sha256(&self, path: &AbsPath, budget: &mut u64) -> Result<Hashing, HostError>;

    /// Where the link at `path` leads in the end.
    fn resolve(&self, path: &AbsPath) -> Result<AbsPath, HostError>;

    /// When the link at `path` itself was made.
    fn link_time(&self, path: &AbsPath) -> Result<Timestamp, HostError>;

    /// The target of the link at `path`, as it is written there.
    fn read_link(&self, path: &AbsPath) -> Result<String, HostError>;

    /// The names in the folder at `path`, sorted, at most 10,000.
    fn list(&self, path: &AbsPath) -> Result<Vec<String>, HostError>;

    /// How many bytes an unprivileged program could still write to the file system that holds `path`.
    fn free_bytes(&self, path: &AbsPath) -> Result<u64, HostError>;

    /// The states of the `named` units, whether systemd has loaded them or not, and of at least all others
    /// that have failed.
    fn units(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError>;

    /// The states of all units that systemd has loaded; this costs it some milliseconds.
    fn all_units(&self) -> Result<Vec<UnitState>, HostError> {
        self.units(&[])
    }

    /// The kernel's number of the current ruleset; it grows with each transaction (`NFT_MSG_GETGEN`).
    fn ruleset_generation(&self) -> Result<u32, HostError>;

    /// Which processes changed the ruleset since this was last asked, as the kernel named them.
    fn ruleset_changes(&self) -> Vec<RulesetChange>;

    /// Writes one entry to the journal, over its native socket.
    fn log(&self, fields: &[(&str, &str)]) -> Result<(), HostError>;

    /// Whether the kernel's clock is synchronised.
    fn clock_synchronised(&self) -> bool;

    /// Runs a program to its end or its limit.
    fn run(&self, command: &Command) -> Result<Output, HostError>;
}

/// How far the digest of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// The digest of the file as it is now.
    Done(Digest),
    /// The file is being read, and so much of it was, in percent.
    Reading(u8),
}

/// What the kernel says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// A regular file, not a folder, device or socket.
    pub regular: bool,
    /// The number of the device that a device node is for, as [`FileStat::dev`] counts; 0 otherwise.
    pub rdev: u64,
}

/// What systemd says about a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// The unit.
    pub unit: String,
    /// `LoadState`: `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// The job that is queued for it: `start`, `stop`, ...; empty if none is.
    pub job: String,
    /// `Type` of a service, empty otherwise; asked only of named units that are not active.
    pub kind: String,
    /// `Result` of a service, empty otherwise; asked only of named units that are not active.
    pub result: String,
    /// `NRestarts` of a service; asked of named units only.
    pub restarts: u32,
}

/// A process that changed the ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesetChange {
    /// Its process id; 0 when the kernel's notice of it was lost.
    pub pid: u32,
    /// Its name, as the kernel keeps it (at most 15 bytes).
    pub comm: String,
}

/// Why the host gave no answer. All but [`HostError::NotFound`] mean: could not look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no such file. Whether that is drift or doubt is for the check to say.
    #[error("{0} is not there")]
    NotFound(String),
    /// Not allowed to look.
    #[error("no permission to read {0}")]
    Denied(String),
    /// More than what was asked for.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// No answer in time.
    #[error("{what} did not answer within {limit:?}")]
    TimedOut {
        /// What.
        what: String,
        /// The time limit.
        limit: Duration,
    },
    /// The tool or service that would answer is not there.
    #[error("{0} is not installed")]
    ToolMissing(String),
    /// An answer that cannot be read.
    #[error("{what} cannot be read: {why}")]
    Garbage {
        /// What.
        what: String,
        /// Why, without its contents.
        why: String,
    },
    /// Any other error of the operating system.
    #[error("{what}: {why}")]
    Io {
        /// What.
        what: String,
        /// The system's words.
        why: String,
    },
}

impl HostError {
    /// The same error about `what`: for evidence, which names nothing that the baseline does not name.
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        let what = what.to_owned();
        match self {
            Self::NotFound(_) => Self::NotFound(what),
            Self::Denied(_) => Self::Denied(what),
            Self::TooLarge { limit, .. } => Self::TooLarge { what, limit },
            Self::TimedOut { limit, .. } => Self::TimedOut { what, limit },
            Self::ToolMissing(_) => Self::ToolMissing(what),
            Self::Garbage { why, .. } => Self::Garbage { what, why },
            Self::Io { why, .. } => Self::Io { what, why },
        }
    }

    /// Names what the operating system refused.
    pub fn from_io(what: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        match error.kind() {
            NotFound | NotADirectory => Self::NotFound(what.to_owned()),
            PermissionDenied => Self::Denied(what.to_owned()),
            _ => Self::Io { what: what.to_owned(), why: error.to_string() },
        }
    }
}
