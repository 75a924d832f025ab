//! What was pruned: an appliance keeps evidence for a time, and what it lets go then is itself evidence.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Outcome, VerifiedBundle};
use crate::digest::Digest;
use crate::name::Id;

/// The beginning of a chain that is no longer on the appliance. It is the `post` of the bundle that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The ledger whose chain it is: the bundle's own, or an earlier one.
    pub ledger_id: Id,
    /// The first sequence that was pruned with it; those before were pruned earlier.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many these are.
    pub count: u64,
    /// The digest of the last: what is left of the chain begins with the bundle that names it.
    pub last_sha256: Digest,
    /// For how many days evidence is kept.
    pub retention_days: u16,
}

impl Pruned {
    /// The reason of the bundle that says so.
    pub const REASON: &'static str = "pruned";

    /// What `bundle` says was pruned, if that is what it is about.
    pub fn of(bundle: &VerifiedBundle) -> Option<Self> {
        let bundle = bundle.bundle();
        let is_it = bundle.outcome == Outcome::Success && bundle.reason == Self::REASON;
        let post = is_it.then(|| Value::Object(bundle.post.clone()))?;
        serde_json::from_value(post).ok()
    }

    /// Whether a chain may begin with `first`: all before it were pruned, up to the one that it names.
    pub fn precedes(&self, first: &VerifiedBundle) -> bool {
        let bundle = first.bundle();
        (self.ledger_id, self.last.checked_add(1), Some(self.last_sha256))
            == (bundle.ledger_id, Some(bundle.sequence), bundle.previous_sha256)
    }

    /// The facts of the bundle that says so.
    pub fn facts(&self) -> Map<String, Value> {
        serde_json::to_value(self).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default()
    }
}
