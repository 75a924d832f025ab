//! A control plane in this process, with a certificate for a carrier and for appliances.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use compliance_mcp::app::Random;
use compliance_mcp::{config, init, serve};
use compliance_pki::Authority;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::key::{KeySet, PublicKey};
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_protocol::wire::Upload;
use compliance_signing::{PrivateKey, sign};
use compliance_transport::{Body, Client, Identity, Limits, Method, Response};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::bundles::{Ledger, evidence_key, now, tenant};
use crate::server::{PATIENCE, quoted};

pub struct Plane {
    folder: tempfile::TempDir,
    authority: Authority,
    operator: Client,
    carrier: Client,
    listening: Value,
    sites: BTreeMap<String, (Ledger, Client)>,
    // The server ends when this goes.
    _stop: oneshot::Sender<()>,
}

impl Plane {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("mcp");
        let root_pub = folder.path().join("root.pub");
        std::fs::write(&root_pub, root().public().to_pem().unwrap()).unwrap();
        let request = init::Request {
            folder: dir.clone(),
            tenant: tenant(),
            names: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
            root_pubs: vec![root_pub],
            root_threshold: 1,
        };
        init::init(&request, now(), &random()).unwrap();
        let mut config = config::Config::read(&dir.join("mcp.toml")).unwrap();
        for listen in [&mut config.listen, &mut config.operator.listen, &mut config.console.listen]
        {
            *listen = "127.0.0.1:0".parse().unwrap();
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let file = config.data_dir.join(serve::LISTENING_FILE);
        tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            serve::run(&config, Arc::new(now), random(), stop, None).await.unwrap();
        });
        let read = |name: &str| std::fs::read_to_string(dir.join("offline").join(name)).unwrap();
        let authority = Authority::from_pem(&read("ca.pem"), &read("ca.key")).unwrap();
        let issued =
            authority.issue_carrier(&tenant(), &"nats".parse().unwrap(), [9; 16], now()).unwrap();
        for (name, text) in [("nats.pem", &issued.cert_pem), ("nats.key", &issued.key_pem)] {
            std::fs::write(folder.path().join(name), text.as_bytes()).unwrap();
        }
        let operator = client(&authority, &read("operator-admin.pem"), &read("operator-admin.key"));
        let carrier = client(&authority, &issued.cert_pem, &issued.key_pem);
        let listening = until(|| serde_json::from_slice(&std::fs::read(&file).ok()?).ok()).await;
        Self {
            folder,
            authority,
            operator,
            carrier,
            listening,
            sites: BTreeMap::new(),
            _stop: stop,
        }
    }

    /// The configuration of a carrier with these settings of NATS.
    pub fn carrier(&self, nats: &str) -> PathBuf {
        let text = format!(
            "mcp = \"https://{}\"\nca = {}\ncert = \"nats.pem\"\nkey = \"nats.key\"\n[nats]\n{nats}",
            self.address("operator"),
            quoted(&self.ca())
        );
        let path = self.folder.path().join(format!("{}.toml", Digest::of(text.as_bytes())));
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("mcp/tls/ca.pem")
    }

    /// A certificate for a server at localhost.
    pub fn server_certificate(&self) -> (PathBuf, PathBuf) {
        let issued =
            self.authority.issue_server(&["localhost".to_owned()], [8; 16], now()).unwrap();
        let file = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text.as_bytes()).unwrap();
            path
        };
        (file("broker.pem", &issued.cert_pem), file("broker.key", &issued.key_pem))
    }

    /// Uploads so many bundles that end so.
    pub async fn upload(&mut self, site: &str, count: usize, outcome: Outcome) {
        if !self.sites.contains_key(site) {
            self.register(site).await;
        }
        let url = format!("https://{}/api/v1/evidence?log=0", self.address("appliance"));
        let (ledger, appliance) = self.sites.get_mut(site).unwrap();
        let bundles = (0..count)
            .map(|_| {
                let mut bundle = ledger.bundle();
                bundle.outcome = outcome;
                ledger.append(&bundle)
            })
            .collect();
        let body = Body::json(serde_json::to_vec(&Upload { bundles }).unwrap());
        expect_success(&appliance.request(Method::POST, &url, Some(body)).await.unwrap());
    }

    /// The events that the carrier has not acknowledged.
    pub async fn waiting(&self) -> Vec<Value> {
        self.events("").await
    }

    /// As after a restore of an older database.
    pub fn forget_what_was_acknowledged(&self) {
        let file = self.folder.path().join("mcp/data/mcp.sqlite");
        let database = rusqlite::Connection::open(file).unwrap();
        database.execute("DELETE FROM carriers", ()).unwrap();
    }

    pub async fn all_events(&self) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |event| event["event"].as_u64().unwrap());
            let page = self.events(&format!("?after={after}")).await;
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    pub async fn wait_until_carried(&self) {
        let carried = async {
            while !self.waiting().await.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, carried).await.expect("events are carried");
    }
}

impl Plane {
    fn address(&self, listener: &str) -> &str {
        self.listening[listener].as_str().unwrap()
    }

    async fn events(&self, query: &str) -> Vec<Value> {
        let url = format!("https://{}/api/v1/events{query}", self.address("operator"));
        let answer = self.carrier.request(Method::GET, &url, None).await.unwrap();
        expect_success(&answer);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["events"].as_array().unwrap().clone()
    }

    async fn register(&mut self, site: &str) {
        let url = format!("https://{}/api/v1/sites/{site}", self.address("operator"));
        let trust = Body::json(sign(&self.trust(site), &[&root()]).unwrap());
        expect_success(&self.operator.request(Method::PUT, &url, Some(trust)).await.unwrap());
        let seed = *Digest::of(site.as_bytes()).as_bytes();
        let key = PrivateKey::from_seed(&seed).unwrap().to_pem().unwrap();
        let csr = compliance_pki::csr(&key).unwrap();
        let name = site.parse().unwrap();
        let cert = self.authority.issue_site(&csr, &tenant(), &name, [7; 16], now()).unwrap();
        let appliance = client(&self.authority, &cert, &key);
        self.sites.insert(site.to_owned(), (Ledger::new(site), appliance));
    }

    fn trust(&self, site: &str) -> Trust {
        let public = |name: &str| {
            let path = self.folder.path().join(format!("mcp/keys/{name}.pub"));
            PublicKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        let one = |key: PublicKey| KeySet::new(vec![key], 1).unwrap();
        let log = VerifierKey::new("127.0.0.1/acme", public("checkpoint")).unwrap();
        let other = |seed: u8| PrivateKey::from_seed(&[seed; 32]).unwrap().public();
        Trust {
            version: 1,
            tenant: tenant(),
            site: site.parse().unwrap(),
            epoch: 1,
            roles: Roles {
                root: one(root().public()),
                orders: OrderKeys { any: one(other(2)), threshold_now: 1 },
                baseline: one(other(4)),
                feed: one(public("feed")),
                checkpoint: log.key().clone(),
                evidence: evidence_key(site).public(),
            },
            log,
        }
    }
}

fn root() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32]).unwrap()
}

/// Random enough for serial numbers and keys of one test.
fn random() -> Random {
    let count = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move || {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(*Digest::of(format!("{count} of {:?}", now()).as_bytes()).as_bytes())
    })
}

fn client(authority: &Authority, cert: &str, key: &str) -> Client {
    let ca = authority.cert_pem();
    let identity = Identity::from_pem(ca.as_bytes(), cert.as_bytes(), key.as_bytes()).unwrap();
    let limits = Limits { body: 8 * 1024 * 1024, ..Limits::default() };
    Client::new(identity, || Some(now()), limits).unwrap()
}

fn expect_success(answer: &Response) {
    assert!(answer.status.is_success(), "{}", String::from_utf8_lossy(&answer.body));
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it comes")
}
