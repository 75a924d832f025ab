//! Starting processes: the one place in this crate that does. Each has an absolute path and its own log
//! file, and none outlives the demonstration.
#![allow(clippy::disallowed_methods)] // This is the module that the lint asks for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::failure::Failure;

/// A process that was asked to stop is killed when it takes longer.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The three processes, as far as they run.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub(super) mcp: Option<Process>,
    pub(super) executor: Option<Process>,
    pub(super) agent: Option<Process>,
}

impl Cast {
    /// Fails if one that should run has ended.
    pub(super) fn all_run(&self) -> Result<(), Failure> {
        let mut running = [&self.mcp, &self.executor, &self.agent].into_iter().flatten();
        running.try_for_each(Process::runs)
    }

    /// Stops all that run, the agent first.
    pub(super) async fn stop(&mut self) {
        let running = [self.agent.take(), self.executor.take(), self.mcp.take()];
        for process in running.into_iter().flatten() {
            // One that does not stop is killed when it is dropped.
            let _ = process.stop().await;
        }
    }
}

/// A process that runs until it is stopped, or at the latest until this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `program`; what it prints goes to the end of the file `log`.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Self, Failure> {
        let failed = |source| Failure::Start { program: program.display().to_string(), source };
        let log = append(log).map_err(failed)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Ctrl-C reaches the demonstration alone, which then stops them in its order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self { name, child: Mutex::new(child) })
    }

    fn runs(&self) -> Result<(), Failure> {
        match self.child().try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(Failure::Ended { program: self.name, status: status.to_string() })
            }
            Err(source) => Err(Failure::Start { program: self.name.to_owned(), source }),
        }
    }

    /// Asks it to stop with SIGTERM, and waits for its end; it must end well.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        // Of a process that has ended already, the id may be another's by now.
        self.runs()?;
        let failed = |source| Failure::Start { program: self.name.to_owned(), source };
        let id = i32::try_from(self.child().id());
        let id = id.map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
        kill(Pid::from_raw(id), Signal::SIGTERM).map_err(|errno| failed(errno.into()))?;
        let ended = async {
            loop {
                if let Some(status) = self.child().try_wait().map_err(failed)? {
                    return Ok(status);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(STOP_LIMIT, ended).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                Err(Failure::Ended { program: self.name, status: status.to_string() })
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout {
                what: format!("the end of {}", self.name),
                limit: STOP_LIMIT,
            }),
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `stop` it has been waited for, and neither does anything.
        let _ = self.child().kill();
        let _ = self.child().wait();
    }
}

/// What a program that was run to its end did.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) code: Option<i32>,
    pub(super) status: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program to its end. `None` if there is no such program.
pub(super) fn run(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
) -> Result<Option<Finished>, Failure> {
    let failed = |source| Failure::Start { program: program.display().to_string(), source };
    let started = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = match started {
        Ok(child) => child.wait_with_output().map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    Ok(Some(Finished {
        code: output.status.code(),
        status: output.status.to_string(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }))
}

/// Runs a program that must be there and must succeed.
pub(super) fn run_well(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
) -> Result<Finished, Failure> {
    let name = program.display().to_string();
    match run(program, arguments, folder)? {
        None => Err(Failure::Start { program: name, source: io::ErrorKind::NotFound.into() }),
        Some(done) if done.code == Some(0) => Ok(done),
        Some(done) => Err(Failure::Failed {
            program: name,
            status: done.status,
            said: done.stderr.trim().to_owned(),
        }),
    }
}

/// The binaries, which lie beside this one.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) mcp: PathBuf,
    pub(super) executor: PathBuf,
    pub(super) agent: PathBuf,
}

impl Binaries {
    /// Finds them.
    pub(super) fn find() -> Result<Self, Failure> {
        let this = std::env::current_exe()
            .map_err(|source| Failure::Start { program: "compliancectl".to_owned(), source })?;
        let folder = this.parent().unwrap_or_else(|| Path::new("/"));
        let find = |program: &'static str| {
            let path = folder.join(program);
            let missing = Failure::Missing { program, folder: folder.to_owned() };
            if path.is_file() { Ok(path) } else { Err(missing) }
        };
        Ok(Self {
            mcp: find("compliance-mcp")?,
            executor: find("compliance-executor")?,
            agent: find("compliance-agent")?,
        })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
