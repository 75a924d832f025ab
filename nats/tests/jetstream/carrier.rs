//! `compliance-nats` as a process, and what it must have achieved.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::plane::Plane;
use crate::server::{PATIENCE, Server};

pub struct Process {
    child: Child,
    output: Receiver<String>,
    log: Receiver<String>,
}

impl Process {
    pub fn start(what: &str, config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_compliance-nats"))
            .args([what, "--config"])
            .arg(config)
            .env_remove("JOURNAL_STREAM")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        Self { child, output, log }
    }

    /// The exit code after a stop as systemd does it.
    pub fn terminate(mut self) -> i32 {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn next_line(&self) -> String {
        self.output.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for a line of the log that has all of `parts`.
    pub fn wait_for_log(&self, parts: &[&str]) {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {parts:?}"));
            if parts.iter().all(|part| line.contains(part)) {
                return;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The stream holds what the control plane's events say, each once, byte for byte, under its subject.
pub async fn expect_all_once(plane: &Plane, server: &Server) {
    let events = plane.all_events().await;
    let stored = server.messages().await;
    assert_eq!(stored.len(), events.len());
    for event in events {
        let part = |name: &str| event[name].as_str().unwrap().to_owned();
        let message = &stored[&part("message_id")];
        let subject = format!("compliance.acme.{}.{}", part("site"), part("kind"));
        assert_eq!(message.subject, subject);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&message.payload).unwrap(), event);
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = channel();
    std::thread::spawn(move || {
        for read in BufReader::new(from).lines().map_while(Result::ok) {
            if line.send(read).is_err() {
                return;
            }
        }
    });
    lines
}
