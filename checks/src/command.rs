//! The one module that starts programs: an absolute path, an argument vector, an empty environment, a
//! time limit, an output cap. No shell.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use compliance_protocol::name::AbsPath;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::host::HostError;

/// An argument vector whose first part is an absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Argv {
    program: AbsPath,
    arguments: Vec<String>,
}

/// The list is not an argument vector that we run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an argv is 1 to 64 strings without NUL, 32 KiB in all, the first an absolute path: no shell finds it"
)]
pub struct NotAnArgv;

impl TryFrom<Vec<String>> for Argv {
    type Error = NotAnArgv;

    fn try_from(parts: Vec<String>) -> Result<Self, NotAnArgv> {
        let bytes: usize = parts.iter().map(String::len).sum();
        let fits =
            parts.len() <= 64 && bytes <= 32 * 1024 && !parts.iter().any(|p| p.contains('\0'));
        let mut parts = parts.into_iter();
        let program = parts.next().and_then(|first| first.parse().ok());
        match program {
            Some(program) if fits => Ok(Self { program, arguments: parts.collect() }),
            _ => Err(NotAnArgv),
        }
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        std::iter::once(argv.program.into()).chain(argv.arguments).collect()
    }
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What to run.
    pub argv: Argv,
    /// What it reads on stdin.
    pub input: Vec<u8>,
    /// How long it may take before its whole process group is killed.
    pub limit: Duration,
    /// How many bytes it may print on each of stdout and stderr before it is killed.
    pub output_cap: usize,
}

/// What a program that ended by itself left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: Vec<u8>,
    /// What it printed on stderr.
    pub stderr: Vec<u8>,
}

enum End {
    Exited,
    Overflow,
}

struct Stream {
    is_stdout: bool,
    bytes: Vec<u8>,
}

/// Runs `command` in a process group of its own. Over its time or its cap, the group is killed.
pub fn run(command: &Command) -> Result<Output, HostError> {
    let what = command.argv.program.to_string();
    let mut child = spawn(&command.argv).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => HostError::ToolMissing(what.clone()),
        _ => HostError::from_io(&what, &error),
    })?;
    feed(&mut child, command.input.clone());
    let (ends, ended) = mpsc::channel();
    let streams = watch_output(&mut child, command.output_cap, &ends);
    let pid = watch_exit(&child, ends);
    let end = match ended.recv_timeout(command.limit) {
        Ok(End::Exited) => Ok(()),
        Ok(End::Overflow) => {
            Err(HostError::TooLarge { what: what.clone(), limit: command.output_cap })
        }
        Err(_) => Err(HostError::TimedOut { what: what.clone(), limit: command.limit }),
    };
    // The child is not reaped yet, so its group's number cannot have been given to anybody else.
    let _ = killpg(pid, Signal::SIGKILL);
    let status = child.wait().map_err(|error| HostError::from_io(&what, &error))?;
    let (mut stdout, mut stderr) = (None, None);
    // With the group dead its pipes close at once, unless somebody who left the group holds them.
    while let Ok(stream) = streams.recv_timeout(GRACE) {
        *(if stream.is_stdout { &mut stdout } else { &mut stderr }) = Some(stream.bytes);
    }
    if ended.try_iter().any(|late| matches!(late, End::Overflow)) {
        return Err(HostError::TooLarge { what, limit: command.output_cap });
    }
    end?;
    // What did not arrive is not empty: nobody knows what it says.
    let held = || HostError::Io { what, why: HELD.to_owned() };
    let (stdout, stderr) = stdout.zip(stderr).ok_or_else(held)?;
    Ok(Output { code: status.code(), stdout, stderr })
}

const HELD: &str = "it ended, but a process that it left behind holds its output open";

const GRACE: Duration = Duration::from_secs(1);

/// A child inherits which signals its parent blocks, and one that blocks SIGTERM can neither be asked to
/// end nor end its own children so. For the moment of the start this thread blocks none; a signal that
/// comes just then ends this process, as a crash would.
fn spawn(argv: &Argv) -> std::io::Result<Child> {
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let child = start(argv);
    blocked.thread_set_mask()?;
    child
}

#[allow(clippy::disallowed_methods)] // This is the one module that may.
fn start(argv: &Argv) -> std::io::Result<Child> {
    std::process::Command::new(argv.program.as_str())
        .args(&argv.arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Writes all of `input` to the child's stdin and closes it. A child that reads none of it ends all the same.
fn feed(child: &mut Child, input: Vec<u8>) {
    if let Some(mut pipe) = child.stdin.take().filter(|_| !input.is_empty()) {
        thread::spawn(move || pipe.write_all(&input));
    }
}

/// Reads both streams to their ends or one byte past the cap.
fn watch_output(child: &mut Child, cap: usize, ends: &Sender<End>) -> Receiver<Stream> {
    let (sender, streams) = mpsc::channel();
    let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    for (is_stdout, pipe) in [(true, stdout), (false, stderr)] {
        let (Some(pipe), sender, ends) = (pipe, sender.clone(), ends.clone()) else { continue };
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
            let _ = pipe.take(limit).read_to_end(&mut bytes);
            if bytes.len() > cap {
                let _ = ends.send(End::Overflow);
            }
            let _ = sender.send(Stream { is_stdout, bytes });
        });
    }
    streams
}

/// Sends [`End::Exited`] when the child has ended, without reaping it.
fn watch_exit(child: &Child, ends: Sender<End>) -> Pid {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    thread::spawn(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), flags) == Err(nix::errno::Errno::EINTR) {}
        let _ = ends.send(End::Exited);
    });
    pid
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    fn sh(script: &str, limit_ms: u64, output_cap: usize) -> Result<Output, HostError> {
        let argv = Argv::try_from(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]);
        let limit = Duration::from_millis(limit_ms);
        run(&Command { argv: argv.unwrap(), input: Vec::new(), limit, output_cap })
    }

    #[test]
    fn a_program_gets_an_empty_environment_and_its_output_and_code_come_back() {
        let output =
            sh("echo out; echo err >&2; echo \"${HOME-none}\"; exit 3", 10_000, 1000).unwrap();
        assert_eq!(output.code, Some(3));
        assert_eq!(output.stdout, b"out\nnone\n");
        assert_eq!(output.stderr, b"err\n");
    }

    #[test]
    fn a_program_blocks_no_signal_although_its_parent_does() {
        let mut some = SigSet::empty();
        some.add(Signal::SIGTERM);
        let before = some.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        let output =
            sh("while read -r line; do echo \"$line\"; done < /proc/self/status", 10_000, 9999);
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
        before.thread_set_mask().unwrap();
        let status = String::from_utf8(output.unwrap().stdout).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        assert_eq!(blocked.trim(), "0000000000000000");
    }

    #[test]
    fn a_program_over_its_time_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("read -r _ < {0} & read -r _ < {0}", fifo.display());
        let error = sh(&script, 100, 1000).unwrap_err();
        assert!(matches!(error, HostError::TimedOut { .. }), "{error}");
        // Nobody holds the pipe any more: a non-blocking writer finds no reader.
        let open = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(&fifo);
        assert_eq!(open.unwrap_err().raw_os_error(), Some(nix::libc::ENXIO));
    }

    #[test]
    fn output_that_somebody_who_left_the_group_holds_back_is_not_an_empty_answer() {
        let dir = tempfile::tempdir().unwrap();
        let [left, end] = ["left", "end"].map(|name| dir.path().join(name));
        for fifo in [&left, &end] {
            nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        // Held open both ways, so that neither end of it waits for the other.
        let mut release = std::fs::OpenOptions::new().read(true).write(true).open(&end).unwrap();
        let (left, end) = (left.display(), end.display());
        let path = std::env::var("PATH").unwrap();
        let holder = format!("PATH='{path}' setsid sh -c 'echo > {left}; read -r _ < {end}'");
        let answer = sh(&format!("echo answer; {holder} & read -r _ < {left}"), 10_000, 1000);
        release.write_all(b"\n").unwrap();
        assert!(matches!(answer, Err(HostError::Io { .. })), "{answer:?}");
    }

    #[test]
    fn a_program_that_prints_too_much_is_killed() {
        let error = sh("while :; do echo xxxxxxxxxxxxxxxx; done", 10_000, 1000).unwrap_err();
        assert_eq!(error, HostError::TooLarge { what: "/bin/sh".to_owned(), limit: 1000 });
    }

    #[test]
    fn a_missing_program_is_named() {
        let argv = Argv::try_from(vec!["/nonexistent/tool".to_owned()]).unwrap();
        let command = Command { argv, input: Vec::new(), limit: GRACE, output_cap: 10 };
        assert_eq!(run(&command), Err(HostError::ToolMissing("/nonexistent/tool".to_owned())));
    }

    #[test]
    fn an_argv_needs_an_absolute_program() {
        for bad in [
            vec![],
            vec!["tar".to_owned()],
            vec!["/bin/../x".to_owned()],
            vec!["/x".to_owned(), "\0".to_owned()],
        ] {
            assert_eq!(Argv::try_from(bad), Err(NotAnArgv));
        }
    }
}
