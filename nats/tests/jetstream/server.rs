//! A `nats-server` with JetStream, in a folder of its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use futures_util::StreamExt as _;

use crate::plane::Plane;

/// On Debian; elsewhere by the search path.
const DEBIAN: &str = "/usr/sbin/nats-server";
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Whether there is no `nats-server`; then it is said past the test harness, which keeps what a test prints to itself.
pub fn is_missing(test: &str) -> bool {
    let missing = command().arg("--version").output().is_err();
    if missing {
        let line = format!("skipped: {test}: there is no nats-server: install nats-server\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    missing
}

/// To what the carrier publishes.
const CARRIER: [&str; 3] =
    ["compliance.>", "$JS.API.STREAM.INFO.COMPLIANCE", "$JS.API.STREAM.CREATE.COMPLIANCE"];
/// To what `tickets` publishes.
const TICKETS: [&str; 5] = [
    "$JS.API.STREAM.INFO.COMPLIANCE",
    "$JS.API.CONSUMER.INFO.COMPLIANCE.tickets",
    "$JS.API.CONSUMER.CREATE.COMPLIANCE.tickets.>",
    "$JS.API.CONSUMER.MSG.NEXT.COMPLIANCE.tickets",
    "$JS.ACK.COMPLIANCE.tickets.>",
];

pub struct Server {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
    config: String,
}

/// A message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub subject: String,
    pub payload: String,
}

impl Server {
    pub fn start() -> Self {
        Self::start_as(String::new())
    }

    /// With a certificate of the tenant's authority, for a user with a password.
    pub fn start_with_tls(plane: &Plane) -> Self {
        let (cert, key) = plane.server_certificate();
        Self::start_as(format!(
            "tls {{ cert_file: {}, key_file: {} }}\n\
             authorization {{ user: carrier, password: \"correct horse\" }}\n",
            quoted(&cert),
            quoted(&key)
        ))
    }

    /// Whose users `carrier` and `tickets` may do what docs/OPERATIONS.md says that they need, and nothing else.
    pub fn start_with_permissions() -> Self {
        let user = |name: &str, publish: &[&str]| {
            format!(
                "{{ user: {name}, password: secret, permissions: {{ publish: {publish:?}, subscribe: [\"_INBOX.>\"] }} }}"
            )
        };
        Self::start_as(format!(
            "authorization {{ users: [ {{ user: admin, password: admin }}, {}, {} ] }}\nno_auth_user: admin\n",
            user("carrier", &CARRIER),
            user("tickets", &TICKETS)
        ))
    }

    /// The settings of one that logs in as `user` with the password `secret`.
    pub fn as_user(&self, user: &str) -> String {
        let file = self.folder.path().join("secret");
        std::fs::write(&file, "secret\n").unwrap();
        format!("{}user = \"{user}\"\npassword_file = {}\n", self.plain(), quoted(&file))
    }

    /// The settings of a carrier that speaks plainly.
    pub fn plain(&self) -> String {
        format!("server = \"nats://127.0.0.1:{}\"\n", self.port)
    }

    /// The settings of a carrier that speaks TLS, with this password.
    pub fn tls(&self, plane: &Plane, password: &str) -> String {
        let file = self.folder.path().join(format!("password-{}", password.len()));
        std::fs::write(&file, format!("{password}\n")).unwrap();
        format!(
            "server = \"tls://localhost:{}\"\nca = {}\nuser = \"carrier\"\npassword_file = {}\n",
            self.port,
            quoted(&plane.ca()),
            quoted(&file)
        )
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same port, with what is on its disk.
    pub fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), self.port, &self.config).0;
    }

    pub async fn jetstream(&self) -> Context {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await.unwrap();
        jetstream::new(client)
    }

    pub async fn wait_for_messages(&self, count: usize) {
        let enough = async {
            while self.count().await < u64::try_from(count).unwrap() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("messages arrive");
    }

    /// Waits until this consumer of the stream has acknowledged so many messages, and has no other.
    pub async fn wait_until_acknowledged(&self, consumer: &str, count: u64) {
        let stream = self.jetstream().await.get_stream("COMPLIANCE").await.unwrap();
        let done = async {
            loop {
                let info = stream.consumer_info(consumer).await.unwrap();
                if info.delivered.consumer_sequence == count && info.num_ack_pending == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.expect("what was printed is acknowledged");
    }

    async fn count(&self) -> u64 {
        match self.jetstream().await.get_stream("COMPLIANCE").await {
            Ok(stream) => stream.cached_info().state.messages,
            Err(_) => 0,
        }
    }

    /// Everything in the stream, by message id; no id is there twice.
    pub async fn messages(&self) -> BTreeMap<String, Stored> {
        let stream = self.jetstream().await.get_stream("COMPLIANCE").await.unwrap();
        let count = usize::try_from(stream.cached_info().state.messages).unwrap();
        let everything = jetstream::consumer::pull::OrderedConfig::default();
        let messages = stream.create_consumer(everything).await.unwrap().messages().await.unwrap();
        let mut found = BTreeMap::new();
        let mut messages = messages.take(count);
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let id = message.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap().to_string();
            let payload = String::from_utf8(message.payload.to_vec()).unwrap();
            let stored = Stored { subject: message.subject.to_string(), payload };
            assert_eq!(found.insert(id, stored), None, "this is stored twice");
        }
        found
    }
}

impl Server {
    fn start_as(config: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = spawn(folder.path(), 0, &config);
        Self { folder, child, port, config }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path as NATS's configuration and TOML take it.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn command() -> Command {
    let debian = Path::new(DEBIAN).exists();
    Command::new(if debian { DEBIAN } else { "nats-server" })
}

/// Starts the server and waits until it says where it listens; port 0 is any.
fn spawn(folder: &Path, port: u16, config: &str) -> (Child, u16) {
    let listen = if port == 0 { -1 } else { i32::from(port) };
    let ports = folder.join("ports");
    let _ = std::fs::remove_dir_all(&ports);
    std::fs::create_dir(&ports).unwrap();
    let text = format!(
        "listen: \"127.0.0.1:{listen}\"\njetstream {{ store_dir: {} }}\nports_file_dir: {}\n{config}",
        quoted(&folder.join("store")),
        quoted(&ports)
    );
    std::fs::write(folder.join("nats.conf"), text).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut child = command()
        .arg("--config")
        .arg(folder.join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let file = ports.join(format!("nats-server_{}.ports", child.id()));
    for _ in 0..3000 {
        let text = std::fs::read(&file).unwrap_or_default();
        if let Ok(ports) = serde_json::from_slice::<serde_json::Value>(&text) {
            let url = ports["nats"][0].as_str().or_else(|| ports["tls"][0].as_str()).unwrap();
            return (child, url.rsplit(':').next().unwrap().parse().unwrap());
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{}", std::fs::read_to_string(folder.join("log")).unwrap());
}
