//! The trust file: which keys speak for which role at one site.

use serde::{Deserialize, Serialize};

use crate::envelope::{Envelope, EnvelopeError, OpenError, Payload, Verified};
use crate::key::{KeySet, PublicKey};
use crate::name::{Site, Tenant};
use crate::tlog::{VerifierKey, VerifierKeyError};

/// What one appliance trusts, signed by `root`. Versions only grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TrustJson", into = "TrustJson")]
pub struct Trust {
    /// Starts at 1; each later file is one more.
    pub version: u64,
    /// The tenant that the site belongs to.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// Counts the enrolments of the site: an order of an earlier appliance is not for this one.
    pub epoch: u64,
    /// The keys.
    pub roles: Roles,
    /// The evidence log: its origin, and the `checkpoint` key. In JSON only the origin, `log_origin`.
    pub log: VerifierKey,
}

/// The keys of each role. No key has two roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Sign trust files.
    pub root: KeySet,
    /// Sign orders.
    pub orders: OrderKeys,
    /// Sign baselines.
    pub baseline: KeySet,
    /// Sign feed heads.
    pub feed: KeySet,
    /// Signs the evidence log's checkpoints.
    pub checkpoint: PublicKey,
    /// Signs this site's evidence.
    pub evidence: PublicKey,
}

/// The keys that sign orders, with a second threshold for orders that override the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderKeys {
    /// The keys and how many must sign any order.
    pub any: KeySet,
    /// How many must sign an order with `when: now`.
    pub threshold_now: usize,
}

impl Payload for Trust {
    const TYPE: &'static str = "application/vnd.compliance.trust.v1+json";
}

/// Why a trust file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The bytes are not an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The root signatures do not hold, or the payload is not a trust file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The root keys in the file did not sign it.
    #[error("the trust file is not signed by the root keys that it names: {0}")]
    NotSelfSigned(#[source] crate::envelope::SignatureError),
    /// Not the next version.
    #[error("trust file version {offered} does not follow version {held}")]
    Version {
        /// The version in hand.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// For another tenant or site.
    #[error("the trust file is for {tenant}/{site}")]
    Elsewhere {
        /// The tenant named.
        tenant: Tenant,
        /// The site named.
        site: Site,
    },
}

/// What a trust file says that cannot be.
#[derive(Debug, thiserror::Error)]
enum NotATrust {
    #[error(
        "each key has one role, 1 <= threshold <= threshold_now <= keys, version and epoch start at 1"
    )]
    Roles,
    #[error("log_origin: {0}")]
    Origin(#[from] VerifierKeyError),
}

impl Trust {
    /// Reads a trust file that came by a trusted way (the system closure): it must be signed by the
    /// root keys that it names itself, which catches damage, not an attacker.
    pub fn first(bytes: &[u8]) -> Result<Verified<Self>, TrustError> {
        let envelope = Envelope::parse(bytes)?;
        // The root keys come from the file; everything is read again from what they verified.
        let root = envelope.peek::<Self>()?.roles.root;
        Ok(envelope.open::<Self>(&root)?)
    }

    /// Takes the next trust file, N → N+1: signed by the root thresholds of both this file and the
    /// next one.
    pub fn next(&self, bytes: &[u8]) -> Result<Verified<Self>, TrustError> {
        let envelope = Envelope::parse(bytes)?;
        let next = envelope.open::<Self>(&self.roles.root)?;
        let offered = next.value();
        envelope.verify(Self::TYPE, &offered.roles.root).map_err(TrustError::NotSelfSigned)?;
        if (&offered.tenant, &offered.site) != (&self.tenant, &self.site) {
            let (tenant, site) = (offered.tenant.clone(), offered.site.clone());
            return Err(TrustError::Elsewhere { tenant, site });
        }
        if self.version.checked_add(1) != Some(offered.version) || offered.epoch < self.epoch {
            return Err(TrustError::Version { held: self.version, offered: offered.version });
        }
        Ok(next)
    }
}

impl Roles {
    fn each(&self) -> impl Iterator<Item = &PublicKey> {
        let sets = [&self.root, &self.orders.any, &self.baseline, &self.feed];
        sets.into_iter().flat_map(KeySet::keys).chain([&self.checkpoint, &self.evidence])
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustJson {
    version: u64,
    tenant: Tenant,
    site: Site,
    epoch: u64,
    roles: Roles,
    log_origin: String,
}

impl TryFrom<TrustJson> for Trust {
    type Error = NotATrust;

    fn try_from(json: TrustJson) -> Result<Self, NotATrust> {
        let TrustJson { version, tenant, site, epoch, roles, log_origin } = json;
        let distinct: std::collections::BTreeSet<_> =
            roles.each().map(PublicKey::as_bytes).collect();
        let now = roles.orders.threshold_now;
        let now_fits =
            (roles.orders.any.threshold()..=roles.orders.any.keys().len()).contains(&now);
        if distinct.len() != roles.each().count() || !now_fits || version == 0 || epoch == 0 {
            return Err(NotATrust::Roles);
        }
        let log = VerifierKey::new(&log_origin, roles.checkpoint.clone())?;
        Ok(Self { version, tenant, site, epoch, roles, log })
    }
}

impl From<Trust> for TrustJson {
    fn from(trust: Trust) -> Self {
        let Trust { version, tenant, site, epoch, roles, log } = trust;
        Self { version, tenant, site, epoch, roles, log_origin: log.name().to_owned() }
    }
}
