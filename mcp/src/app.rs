//! What all requests share: the keys, the store, and the edge to time and randomness.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compliance_daemon::files;
use compliance_protocol::key::{KeySet, PublicKey};
use compliance_protocol::name::Tenant;
use compliance_protocol::time::Timestamp;
use compliance_protocol::tlog::{VerifierKey, VerifierKeyError};
use compliance_protocol::trust::Trust;
use compliance_signing::{PrivateKey, PrivateKeyError};

use crate::config::Config;
use crate::console::session::Sessions;
use crate::log;
use crate::presence::Presence;
use crate::problem::Problem;
use crate::store::{SiteRow, Store, StoreError, View};

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Gives 32 random bytes that nobody can guess.
pub type Random = Arc<dyn Fn() -> Result<[u8; 32], String> + Send + Sync>;

/// Random bytes of the kernel.
pub fn random() -> Random {
    Arc::new(|| {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    })
}

/// The largest key file that is read, in bytes.
const MAX_KEY_FILE: usize = 16 * 1024;

/// The control plane, without its listeners.
pub struct App {
    /// Whose sites these are.
    pub tenant: Tenant,
    /// Who signs each site's first trust file.
    pub root: KeySet,
    /// Signs feed heads.
    pub feed_key: PrivateKey,
    /// Names and verifies the evidence log.
    pub log: VerifierKey,
    /// When an appliance shall poll again, in seconds.
    pub poll_after_s: u32,
    /// Everything that is kept.
    pub store: Store,
    /// Says what time it is.
    pub now: Clock,
    /// Gives random bytes.
    pub random: Random,
    pub(crate) presence: Presence,
    pub(crate) sessions: Sessions,
}

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A key file cannot be read.
    #[error("cannot read the key {path}: {source}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key file holds no key.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PrivateKeyError,
    },
    /// The configuration names no usable set of root keys.
    #[error("{0}")]
    Root(String),
    /// The log cannot have this name.
    #[error("log_origin: {0}")]
    Origin(#[from] VerifierKeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The two keys of `config`, feed and checkpoint.
pub fn keys(config: &Config) -> Result<(PrivateKey, PrivateKey), OpenError> {
    Ok((private_key(&config.feed_key)?, private_key(&config.checkpoint_key)?))
}

impl App {
    /// Opens keys and store as `config` says.
    pub fn open(config: &Config, now: Clock, random: Random) -> Result<Self, OpenError> {
        let (feed_key, checkpoint_key) = keys(config)?;
        let (log, sign) = log::signer(&config.log_origin, checkpoint_key)?;
        Ok(Self {
            tenant: config.tenant.clone(),
            root: config.root_keys().map_err(OpenError::Root)?,
            feed_key,
            log,
            poll_after_s: config.poll_after_s,
            store: Store::open(&config.data_dir, sign)?,
            now,
            random,
            presence: Presence::default(),
            sessions: Sessions::default(),
        })
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Runs `work`, which may read the database, where it holds no other request up.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&app))
            .await
            .map_err(|_| Problem::unavailable("the request was broken off; try again"))?
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the control plane of {}", self.tenant)
    }
}

/// The trust file of a site. Its signatures were checked by the way it came in.
pub fn trust(view: &View<'_>, site: &SiteRow) -> Result<Trust, StoreError> {
    read(&view.trust_envelope(site)?)
}

/// All trust files that a site ever had here, the newest first.
pub(crate) fn trusts(view: &View<'_>, site: &SiteRow) -> Result<Vec<Trust>, StoreError> {
    view.trust_envelopes(site)?.iter().map(|envelope| read(envelope)).collect()
}

fn read(envelope: &[u8]) -> Result<Trust, StoreError> {
    Trust::first(envelope)
        .map(compliance_protocol::envelope::Verified::into_value)
        .map_err(|_| StoreError::Damaged("a site's trust file does not verify"))
}

/// Whether two sets have the same keys and threshold, in whatever order.
pub(crate) fn same_keys(one: &KeySet, other: &KeySet) -> bool {
    let sorted = |set: &KeySet| {
        let mut keys: Vec<_> = set.keys().iter().map(PublicKey::as_bytes).copied().collect();
        keys.sort_unstable();
        keys
    };
    one.threshold() == other.threshold() && sorted(one) == sorted(other)
}

fn private_key(path: &Path) -> Result<PrivateKey, OpenError> {
    let pem = files::read_text(path, MAX_KEY_FILE)
        .map_err(|source| OpenError::KeyFile { path: path.to_owned(), source })?;
    PrivateKey::from_pem(&pem).map_err(|source| OpenError::Key { path: path.to_owned(), source })
}
