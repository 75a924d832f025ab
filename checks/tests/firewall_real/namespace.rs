//! A network namespace for a test, and nft inside it.

use std::io::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the check finds it on Debian.
const NFT: &str = "/usr/sbin/nft";
const INSIDE: &str = "COMPLIANCE_TEST_IN_NAMESPACE";

/// Puts the nft of the search path where the check looks for it, and what it cannot do without. The arguments are that
/// program, and a command.
const PLACE: &str = r#"mount -t tmpfs tmpfs /bin && ln -s "$0" /bin/nft || exit
[ -e /etc/protocols ] || { mount -t tmpfs tmpfs /etc && printf 'tcp 6\nudp 17\n' >/etc/protocols; } || exit
exec "$@""#;

/// The PID namespace whose numbers the kernel gives.
const FIRST: &str = "pid:[4026531836]";

/// Runs `body` in a new network namespace: this very test, started again.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    alone_with(test, &[], body);
}

/// The same, started through `wrapper`.
pub(crate) fn alone_with(test: &str, wrapper: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let Some(nft) = program() else {
        return skipped(test, "there is no nft: install nftables");
    };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net"]);
        if nft != Path::new(NFT) {
            command.args(["--mount", "sh", "-c", PLACE]).arg(&nft);
        }
        command.args(wrapper);
        command
    };
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return skipped(test, String::from_utf8_lossy(&output.stderr).trim());
        }
        Err(_) => return skipped(test, "there is no unshare: install util-linux"),
    }
    let status = unshare()
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its namespace");
}

/// The nft of Debian, or else the first of the search path.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("nft"));
    std::iter::once(PathBuf::from(NFT)).chain(found).find(|file| file.is_file())
}

/// Says so past the test harness, which keeps what a test prints to itself when it ends well.
pub(crate) fn skipped(what: &str, why: &str) {
    let line = format!("skipped: {what}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Whether the kernel may mean this process. In a PID namespace, such as that of Nix's sandbox, it tells another number
/// than is seen there.
pub(crate) fn is(told: u32, pid: u32) -> bool {
    let here = std::fs::read_link("/proc/self/ns/pid").unwrap();
    told == pid || (here != Path::new(FIRST) && told != 0)
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
    let mut child = Command::new(program().unwrap())
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
    let output = Command::new(program().unwrap()).args(arguments).output().unwrap();
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
