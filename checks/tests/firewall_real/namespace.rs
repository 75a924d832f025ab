//! A network namespace for a test, and nft inside it.

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

const NFT: &str = "/usr/sbin/nft";
const INSIDE: &str = "COMPLIANCE_TEST_IN_NAMESPACE";

/// Runs `body` in a new network namespace: this very test, started again.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    alone_with(test, &[], body);
}

/// The same, started through `wrapper`.
pub(crate) fn alone_with(test: &str, wrapper: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !std::path::Path::new(NFT).exists() {
        return skipped(test, &format!("{NFT} is not there: install nftables"));
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net"]).args(wrapper);
        command
    };
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return skipped(test, String::from_utf8_lossy(&output.stderr).trim());
        }
        Err(error) => return skipped(test, &format!("unshare: {error}")),
    }
    let status = unshare()
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its namespace");
}

/// Says so past the test harness, which keeps what a test prints to itself when it ends well.
pub(crate) fn skipped(what: &str, why: &str) {
    let line = format!("skipped: {what}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Has nft carry out a script in one transaction, and gives its process id.
pub(crate) fn nft(script: &str) -> u32 {
    try_nft(script).unwrap_or_else(|error| panic!("{error:.2000}\n{script:.2000}"))
}

/// Whether nft refuses a script.
pub(crate) fn nft_fails(script: &str) -> bool {
    try_nft(script).is_err()
}

/// Has nft carry out a script; an error is what it said.
pub(crate) fn try_nft(script: &str) -> Result<u32, String> {
    let mut child = Command::new(NFT)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(pid) } else { Err(said) }
}

/// What nft prints.
pub(crate) fn run_nft(arguments: &[&str]) -> String {
    let output = Command::new(NFT).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Sends packets over the loopback interface, to pass or not to pass.
pub(crate) fn traffic(port: u16) {
    static UP: std::sync::Once = std::sync::Once::new();
    UP.call_once(|| {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..8 {
        let _ = socket.send_to(&[n; 100], ("127.0.0.1", port));
    }
}
