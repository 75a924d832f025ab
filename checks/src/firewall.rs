//! `firewall`: the ruleset is the baseline's.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, Report, Verdict};

/// What the firewall check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallBaseline {
    /// The digest of the canonical ruleset.
    pub sha256: compliance_protocol::digest::Digest,
    /// The ruleset, as `nft -f` loads it.
    pub ruleset: String,
}

/// The check.
#[derive(Debug, Default)]
pub struct Firewall;

impl Check for Firewall {
    fn id(&self) -> CheckId {
        CheckId::Firewall
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _host: &dyn Host, _baseline: &Baseline, _about: &Circumstances) -> Report {
        Report::new(self.id(), self.version(), Verdict::Unknown("not built yet".to_owned()))
    }
}
