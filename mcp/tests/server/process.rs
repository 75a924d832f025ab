//! One control plane as a process in its own folder, with the offline keys of its tenant.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use compliance_mcp::app::Random;
use compliance_mcp::config::Config;
use compliance_mcp::console::Extension;
use compliance_mcp::serve;
use compliance_pki::Authority;
use compliance_protocol::digest::Digest;
use compliance_protocol::key::KeySet;
use compliance_protocol::name::{Carrier, Id, Operator, Site};
use compliance_protocol::order::{Action, Order, When};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_signing::{PrivateKey, sign};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::bundles::evidence_key;
pub use crate::bundles::{now, tenant};
use crate::client::Credentials;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// The offline keys of the tenant.
pub struct Keys {
    pub root: PrivateKey,
    pub orders: Vec<PrivateKey>,
    pub baseline: PrivateKey,
}

impl Keys {
    fn new() -> Self {
        let key = |seed| PrivateKey::from_seed(&[seed; 32]).unwrap();
        Self { root: key(1), orders: vec![key(2), key(3)], baseline: key(4) }
    }
}

pub struct Mcp {
    folder: tempfile::TempDir,
    child: Child,
    logs: Logs,
    listening: Value,
    pub keys: Keys,
    pub authority: Authority,
}

impl Mcp {
    /// A new control plane, running. What is in `offline` is taken away before it starts.
    pub fn start() -> Self {
        let keys = Keys::new();
        let folder = tempfile::tempdir().unwrap();
        let root_pub = folder.path().join("root.pub");
        std::fs::write(&root_pub, keys.root.public().to_pem().unwrap()).unwrap();
        let dir = folder.path().join("mcp");
        let made = init(&dir, &root_pub);
        assert!(made.status.success(), "{made:?}");
        let config = std::fs::read_to_string(dir.join("mcp.toml")).unwrap();
        let config = ["0.0.0.0:8443", "127.0.0.1:8444", "127.0.0.1:8445"]
            .iter()
            .fold(config, |config, address| config.replace(address, "127.0.0.1:0"));
        std::fs::write(dir.join("mcp.toml"), config).unwrap();
        std::fs::rename(dir.join("offline"), folder.path().join("offline")).unwrap();
        let offline = |name| std::fs::read_to_string(folder.path().join("offline").join(name));
        let authority =
            Authority::from_pem(&offline("ca.pem").unwrap(), &offline("ca.key").unwrap()).unwrap();
        let (child, logs) = spawn(&dir);
        let mut mcp = Self { child, logs, listening: Value::Null, keys, authority, folder };
        mcp.wait_until_ready();
        mcp
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("mcp")
    }

    pub fn address(&self, listener: &str) -> String {
        self.listening[listener].as_str().unwrap().to_owned()
    }

    /// Kills the process as a power cut would, and starts it again.
    pub fn crash_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(self.dir().join("data/listening.json")).unwrap();
        self.start_again();
    }

    /// Stops the process as systemd does, expects that it ends well, and starts it again.
    pub fn restart(&mut self) {
        self.terminate();
        assert!(self.child.wait().unwrap().success());
        assert!(!self.dir().join("data/listening.json").exists());
        self.start_again();
    }

    pub fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Ends the process, and serves from the same folder in this one, with an extension of the console, until what
    /// is returned is dropped.
    pub async fn extend(&mut self, extension: Extension) -> oneshot::Sender<()> {
        self.terminate();
        assert_eq!(self.wait(), 0);
        let config = Config::read(&self.dir().join("mcp.toml")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let random: Random = Arc::new(|| Ok([0x5a; 32]));
        tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            serve::run(&config, Arc::new(now), random, stop, Some(extension)).await.unwrap();
        });
        let file = self.dir().join("data/listening.json");
        tokio::time::timeout(PATIENCE, async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        self.listening = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        stop
    }

    /// The exit code, once the process has ended.
    pub fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    /// Waits for a line of the log that has all of `parts`.
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        self.logs.wait_for(parts)
    }

    /// The operator that `init` made.
    pub fn operator(&self) -> Credentials {
        let read =
            |name| std::fs::read_to_string(self.folder.path().join("offline").join(name)).unwrap();
        Credentials { cert: read("operator-admin.pem"), key: read("operator-admin.key") }
    }

    pub fn another_operator(&self, name: &str) -> Credentials {
        let name: Operator = name.parse().unwrap();
        let issued = self.authority.issue_operator(&tenant(), &name, [9; 16], now()).unwrap();
        Credentials { cert: issued.cert_pem, key: issued.key_pem }
    }

    pub fn carrier(&self, name: &str) -> Credentials {
        let name: Carrier = name.parse().unwrap();
        let issued = self.authority.issue_carrier(&tenant(), &name, [6; 16], now()).unwrap();
        Credentials { cert: issued.cert_pem, key: issued.key_pem }
    }

    /// An appliance's certificate, valid from `at` on.
    pub fn appliance_at(&self, site: &str, at: Timestamp) -> Credentials {
        let key = tls_key(site);
        let csr = compliance_pki::csr(&key).unwrap();
        let site: Site = site.parse().unwrap();
        let cert = self.authority.issue_site(&csr, &tenant(), &site, [7; 16], at).unwrap();
        Credentials { cert, key }
    }

    pub fn appliance(&self, site: &str) -> Credentials {
        self.appliance_at(site, now())
    }

    /// The log that receipts are verified against.
    pub fn log(&self) -> VerifierKey {
        VerifierKey::new("127.0.0.1/acme", self.public("checkpoint")).unwrap()
    }

    pub fn public(&self, name: &str) -> compliance_protocol::key::PublicKey {
        let path = self.dir().join(format!("keys/{name}.pub"));
        compliance_protocol::key::PublicKey::from_pem(&std::fs::read_to_string(path).unwrap())
            .unwrap()
    }

    /// What an appliance at `site` trusts.
    pub fn trust(&self, site: &str) -> Trust {
        let one = |key: &PrivateKey| KeySet::new(vec![key.public()], 1).unwrap();
        let orders = self.keys.orders.iter().map(PrivateKey::public).collect();
        let log = self.log();
        Trust {
            version: 1,
            tenant: tenant(),
            site: site.parse().unwrap(),
            epoch: 1,
            roles: Roles {
                root: one(&self.keys.root),
                orders: OrderKeys { any: KeySet::new(orders, 1).unwrap(), threshold_now: 2 },
                baseline: one(&self.keys.baseline),
                feed: KeySet::new(vec![self.public("feed")], 1).unwrap(),
                checkpoint: log.key().clone(),
                evidence: evidence_key(site).public(),
            },
            log,
        }
    }

    pub fn signed_trust(&self, site: &str) -> Vec<u8> {
        sign(&self.trust(site), &[&self.keys.root]).unwrap()
    }

    pub fn signed(&self, order: &Order) -> Vec<u8> {
        sign(order, &[&self.keys.orders[0]]).unwrap()
    }

    fn start_again(&mut self) {
        (self.child, self.logs) = spawn(&self.dir());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        self.wait_for_log(&["ready"]);
        let text = std::fs::read(self.dir().join("data/listening.json")).unwrap();
        self.listening = serde_json::from_slice(&text).unwrap();
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An order for `site`, not signed yet.
pub fn new_order(site: &str, sequence: u64, previous: Option<Digest>) -> Order {
    let issued_at = now();
    Order {
        id: Id::new(issued_at, [u8::try_from(sequence % 256).unwrap(); 10]),
        tenant: tenant(),
        site: site.parse().unwrap(),
        epoch: 1,
        sequence,
        previous_sha256: previous,
        issued_at,
        not_before: None,
        expires_at: issued_at.plus(Span::from_secs(900)),
        start_before: None,
        action: Action::RunChecks {},
        when: When::Window,
        max_runtime_s: 300,
        reason: "a test".to_owned(),
        ticket: None,
        approvals: Vec::new(),
    }
}

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_compliance-mcp"))
}

pub fn init(dir: &Path, root_pub: &Path) -> Output {
    binary()
        .args(["init", "--tenant", "acme", "--name", "127.0.0.1", "--name", "localhost"])
        .arg("--dir")
        .arg(dir)
        .arg("--root-pub")
        .arg(root_pub)
        .output()
        .unwrap()
}

/// The TLS key of the appliance at `site`, PEM.
pub fn tls_key(site: &str) -> String {
    let seed = Digest::of(format!("tls of {site}").as_bytes());
    PrivateKey::from_seed(seed.as_bytes()).unwrap().to_pem().unwrap().to_string()
}

fn spawn(dir: &Path) -> (Child, Logs) {
    let mut child = binary()
        .arg("serve")
        .arg("--config")
        .arg(dir.join("mcp.toml"))
        .env_remove("JOURNAL_STREAM")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let logs = Logs::follow(child.stderr.take().unwrap());
    (child, logs)
}

/// The lines of a process's stderr.
struct Logs(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Logs {
    fn follow(stderr: impl std::io::Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                theirs.0.lock().unwrap().lines.push(line);
                theirs.1.notify_all();
            }
            theirs.0.lock().unwrap().ended = true;
            theirs.1.notify_all();
        });
        Self(shared)
    }

    fn wait_for(&self, parts: &[&str]) -> String {
        let found = |lines: &Lines| {
            lines.lines.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned()
        };
        let (lock, changed) = &*self.0;
        let (lines, _) = changed
            .wait_timeout_while(lock.lock().unwrap(), PATIENCE, |lines| {
                !lines.ended && found(lines).is_none()
            })
            .unwrap();
        found(&lines).unwrap_or_else(|| panic!("no line with {parts:?} in {:#?}", lines.lines))
    }
}
