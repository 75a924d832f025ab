//! The agent's own binary, with a folder of its own, an executor and a control plane that are played.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rustls::version::TLS13;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::DEADLINE;
use super::executor::{Executor, Ledger};
use super::tls::{Answers, Authority, IN_2026, Pair, Server};
use compliance_agent::report::Report;
use compliance_protocol::time::Timestamp;

/// All that one agent needs.
pub struct Site {
    pub dir: TempDir,
    pub ledger: Arc<Mutex<Ledger>>,
    authority: Authority,
    server: Pair,
    port: u16,
}

impl Site {
    /// A site whose control plane is not there yet.
    pub async fn new(pending: u8) -> Self {
        let authority = Authority::new();
        let port = free().await.local_addr().unwrap().port();
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            ledger: Ledger::new(Timestamp::from_millis(IN_2026), pending),
            server: authority.server("localhost"),
            authority,
            port,
        };
        let client = site.authority.client();
        site.put("ca.pem", &site.authority.certificate);
        site.put("tls.pem", &client.certificate);
        site.put("tls.key", &client.key);
        site.put("agent.toml", &site.config(geteuid().as_raw()));
        site
    }

    pub fn config(&self, executor_uid: u32) -> String {
        let path = |name: &str| format!("{:?}", self.path(name).to_str().unwrap());
        format!(
            "mcp_url = \"https://localhost:{}\"\nsocket = {}\nexecutor_uid = {executor_uid}\n\
             state_file = {}\npoll_interval_ms = 200\n\
             tls = {{ ca = {}, certificate = {}, key = {} }}\n",
            self.port,
            path("executor.sock"),
            path("state.json"),
            path("ca.pem"),
            path("tls.pem"),
            path("tls.key"),
        )
    }

    pub fn config_with_metrics(&self, file: &Path) -> String {
        format!("metrics_file = \"{}\"\n{}", file.display(), self.config(geteuid().as_raw()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn executor(&self) -> Executor {
        Executor::start(&self.path("executor.sock"), &self.ledger)
    }

    /// Starts the control plane, always on the same port.
    pub async fn control_plane(&self, answers: impl Answers) -> Server {
        let bound = async {
            loop {
                // The one before may still be letting go of it.
                match TcpListener::bind(("127.0.0.1", self.port)).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let listener = tokio::time::timeout(DEADLINE, bound).await.expect("the port is free");
        Server::start_on(listener, &self.authority, &self.server, &TLS13, answers)
    }

    pub fn run(&self) -> Agent {
        let mut command = self.command("run");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Agent(Some(command.spawn().unwrap()))
    }

    /// Runs one of the other commands to its end.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        self.command(command).args(rest).output().unwrap()
    }

    /// The state file, as soon as it is as `wanted`.
    pub async fn report(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let found = async {
            loop {
                match Report::read(&self.path("state.json")) {
                    Ok(report) if wanted(&report) => return report,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("such a report before the deadline")
    }

    fn command(&self, command: &str) -> Command {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_compliance-agent"));
        agent.env_clear().arg(command).arg("--config").arg(self.path("agent.toml"));
        agent
    }
}

async fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A running agent, killed when it is dropped.
pub struct Agent(Option<Child>);

impl Agent {
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().try_into().unwrap()), signal).unwrap();
    }

    /// Signals it, and waits until it says that it was asked to stop: what comes after that comes after the signal.
    pub async fn asked_to_stop(mut self, signal: Signal) -> Self {
        self.signal(signal);
        let mut child = self.0.take().unwrap();
        let heard = tokio::task::spawn_blocking(move || {
            let (mut log, mut byte) = (Vec::new(), [0]);
            while !log.ends_with(b"asked to stop") {
                child.stderr.as_mut().unwrap().read_exact(&mut byte).unwrap();
                log.push(byte[0]);
            }
            child
        });
        let heard = tokio::time::timeout(DEADLINE, heard).await.expect("it says so in time");
        self.0 = Some(heard.unwrap());
        self
    }

    /// How it ended, and what of its log was not read yet.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let child = self.0.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output =
            tokio::time::timeout(DEADLINE, ended).await.expect("ends before the deadline").unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    pub async fn stopped(self) -> (ExitStatus, String) {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether the process holds a socket that listens on a network: the kernel's own list of them, and the
/// process's own sockets.
pub fn listens(process: u32) -> bool {
    let descriptors =
        std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd")).unwrap();
    let sockets: Vec<String> = descriptors
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    assert!(!sockets.is_empty(), "a process that polls has sockets");
    let listed = ["tcp", "tcp6", "udp", "udp6"].map(|table| {
        std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default()
    });
    // Column 3 is the state, 0A is LISTEN and 07 an unconnected UDP socket; column 9 is the inode.
    listed.iter().flat_map(|table| table.lines().skip(1)).any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let state = columns.get(3).copied().unwrap_or_default();
        let inode = columns.get(9).copied().unwrap_or_default();
        matches!(state, "0A" | "07") && sockets.iter().any(|socket| socket == inode)
    })
}
