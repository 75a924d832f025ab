//! `patching`: the running system is the expected one, and young enough.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, Report, Verdict};

/// What the patching check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchingBaseline {
    /// How old the running generation may be, in days.
    pub max_age_d: u32,
    /// How long a reboot may be pending, in days.
    pub max_reboot_pending_d: u32,
}

/// The check.
#[derive(Debug)]
pub struct Patching;

impl Check for Patching {
    fn id(&self) -> CheckId {
        CheckId::Patching
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _host: &dyn Host, _baseline: &Baseline, _about: &Circumstances) -> Report {
        Report::new(self.id(), self.version(), Verdict::Unknown("not built yet".to_owned()))
    }
}
