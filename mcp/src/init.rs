//! `init`: everything that a new control plane needs, in one new folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use compliance_daemon::files;
use compliance_pki::{Authority, Issued, PkiError};
use compliance_protocol::key::{KeyError, KeySet, PublicKey};
use compliance_protocol::name::{NotAName, Tenant};
use compliance_protocol::time::Timestamp;
use compliance_protocol::tlog::{VerifierKey, VerifierKeyError};
use compliance_signing::{PrivateKey, PrivateKeyError};

use crate::app::Random;

const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
const MAX_KEY_FILE: usize = 16 * 1024;

/// What `init` is told.
#[derive(Debug, Clone)]
pub struct Request {
    /// The new folder, or an empty one.
    pub folder: PathBuf,
    /// Whose sites these will be.
    pub tenant: Tenant,
    /// The names and addresses that appliances and operators reach the server by.
    pub names: Vec<String>,
    /// The files of the root public keys, SPKI PEM.
    pub root_pubs: Vec<PathBuf>,
    /// How many of them must sign a site's first trust file.
    pub root_threshold: usize,
}

/// Why the folder was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something in the folder already.
    #[error("{0} is not empty; `init` makes a new control plane and never changes one")]
    NotEmpty(PathBuf),
    /// A file or folder.
    #[error("cannot write {path}: {source}")]
    Write {
        /// It.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A root key cannot be read.
    #[error("cannot read the root key {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A root key is none.
    #[error("{path}: {source}")]
    RootKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// The root keys and their threshold do not fit.
    #[error("the root keys: {0}")]
    RootSet(#[source] KeyError),
    /// No name was given.
    #[error("give at least one --name by which appliances reach the server")]
    NoName,
    /// The first name cannot name the log.
    #[error("the evidence log cannot be named after the first --name: {0}")]
    Origin(#[from] VerifierKeyError),
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// A public key could not be written down.
    #[error(transparent)]
    PublicKey(#[from] KeyError),
    /// The operator's name.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

/// Makes the folder. What is in its `offline` belongs on another medium: the server never opens it.
pub fn init(request: &Request, now: Timestamp, random: &Random) -> Result<(), InitError> {
    let root = root_keys(request)?;
    let name = request.names.first().ok_or(InitError::NoName)?;
    let origin = format!("{name}/{}", request.tenant);
    let (feed, checkpoint) = (new_key(random)?, new_key(random)?);
    VerifierKey::new(&origin, checkpoint.public())?;

    let authority = Authority::generate(&request.tenant, serial(random)?, now)?;
    let server = authority.issue_server(&request.names, serial(random)?, now)?;
    let admin = "admin".parse()?;
    let operator = authority.issue_operator(&request.tenant, &admin, serial(random)?, now)?;

    let folder = Folder::new(&request.folder)?;
    for part in ["tls", "keys", "offline"] {
        folder.make(part)?;
    }
    folder.write("tls/ca.pem", authority.cert_pem(), PUBLIC)?;
    folder.pair("tls/server", &server)?;
    folder.key("keys/feed", &feed)?;
    folder.key("keys/checkpoint", &checkpoint)?;
    folder.write("offline/ca.pem", authority.cert_pem(), PUBLIC)?;
    folder.write("offline/ca.key", authority.key_pem(), PRIVATE)?;
    folder.pair("offline/operator-admin", &operator)?;
    // Last, so that a folder with a configuration is a whole one.
    folder.write("mcp.toml", &configuration(&request.tenant, &origin, &root), PUBLIC)
}

fn root_keys(request: &Request) -> Result<KeySet, InitError> {
    let read = |path: &PathBuf| {
        let pem = files::read_text(path, MAX_KEY_FILE)
            .map_err(|source| InitError::Read { path: path.clone(), source })?;
        PublicKey::from_pem(&pem)
            .map_err(|source| InitError::RootKey { path: path.clone(), source })
    };
    let keys = request.root_pubs.iter().map(read).collect::<Result<_, _>>()?;
    KeySet::new(keys, request.root_threshold).map_err(InitError::RootSet)
}

fn new_key(random: &Random) -> Result<PrivateKey, InitError> {
    Ok(PrivateKey::from_seed(&random().map_err(InitError::Random)?)?)
}

fn serial(random: &Random) -> Result<[u8; 16], InitError> {
    let [serial @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
        random().map_err(InitError::Random)?;
    Ok(serial)
}

fn configuration(tenant: &Tenant, origin: &str, root: &KeySet) -> String {
    let keys: Vec<_> = root.keys().iter().map(|key| format!("\"{key}\"")).collect();
    format!(
        r#"# The control plane of {tenant}. Relative paths are relative to this file's folder.
tenant = "{tenant}"
data_dir = "data"
listen = "0.0.0.0:8443"
poll_after_s = 60
log_origin = "{origin}"
feed_key = "keys/feed.key"
checkpoint_key = "keys/checkpoint.key"

# The offline keys that sign each site's trust file.
[root]
keys = [{keys}]
threshold = {threshold}

[tls]
certificate = "tls/server.pem"
key = "tls/server.key"
client_ca = "tls/ca.pem"

[operator]
listen = "127.0.0.1:8444"

# Plain HTTP for a browser, on loopback only; put a TLS proxy in front to reach it from elsewhere.
[console]
listen = "127.0.0.1:8445"

[log]
level = "info"
format = "text"
"#,
        keys = keys.join(", "),
        threshold = root.threshold(),
    )
}

/// The new folder.
struct Folder<'a>(&'a Path);

impl<'a> Folder<'a> {
    fn new(path: &'a Path) -> Result<Self, InitError> {
        let failed = |source| InitError::Write { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(InitError::NotEmpty(path.to_owned()));
        }
        Ok(Self(path))
    }

    fn make(&self, name: &str) -> Result<(), InitError> {
        let path = self.0.join(name);
        fs::create_dir(&path).map_err(|source| InitError::Write { path, source })
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), InitError> {
        let path = self.0.join(name);
        files::create(&path, text.as_bytes(), mode)
            .map_err(|source| InitError::Write { path, source })
    }

    fn key(&self, name: &str, key: &PrivateKey) -> Result<(), InitError> {
        self.write(&format!("{name}.key"), &key.to_pem()?, PRIVATE)?;
        self.write(&format!("{name}.pub"), &key.public().to_pem()?, PUBLIC)
    }

    fn pair(&self, name: &str, issued: &Issued) -> Result<(), InitError> {
        self.write(&format!("{name}.pem"), &issued.cert_pem, PUBLIC)?;
        self.write(&format!("{name}.key"), &issued.key_pem, PRIVATE)
    }
}
