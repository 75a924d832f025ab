//! Why the demonstration could not go on.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::Directory;
use crate::Error;

/// So many lines of a log are shown.
const TAIL: usize = 8;

/// Why the demonstration could not go on. That something did not hold is no failure: it is shown.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something that a command of this program does as well.
    #[error(transparent)]
    Command(#[from] Error),
    /// A binary is not beside this one.
    #[error(
        "{program} is not in {folder}: build all of them (`cargo build --workspace`), or use `cargo demo`"
    )]
    Missing {
        /// The binary.
        program: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A process cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A process that should run has ended.
    #[error("{program} has ended by itself ({status})")]
    Ended {
        /// The program.
        program: &'static str,
        /// How.
        status: String,
    },
    /// A process that should succeed has not.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// The program.
        program: String,
        /// How.
        status: String,
        /// What it said.
        said: String,
    },
    /// Something that should happen did not.
    #[error("{what} did not happen within {} s", limit.as_secs())]
    Timeout {
        /// What should happen.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The executor's socket does not answer as it should.
    #[error("the executor's socket: {0}")]
    Socket(String),
    /// A file of the demonstration's own.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Something is not as the demonstration made it.
    #[error("{0}")]
    Unexpected(String),
    /// Somebody asked for the end.
    #[error("interrupted; its processes are stopped")]
    Interrupted,
    /// One of the above, with what the processes logged last.
    #[error("{failure}\n{logs}everything is in {root}")]
    Logged {
        /// What failed.
        failure: Box<Self>,
        /// File names and last lines.
        logs: String,
        /// The demonstration's directory.
        root: String,
    },
}

impl Failure {
    /// The same with the names and last lines of the processes' logs.
    pub(super) fn with_logs(self, dir: &Directory) -> Self {
        if matches!(self, Self::Interrupted) {
            return self;
        }
        let logs = dir.logs().into_iter().filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty())?;
            let lines: Vec<_> = text.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(TAIL)..)?.join("\n  ");
            Some(format!("{}\n  {tail}\n", path.display()))
        });
        let (logs, root) = (logs.collect(), dir.root().display().to_string());
        Self::Logged { failure: Box::new(self), logs, root }
    }
}
