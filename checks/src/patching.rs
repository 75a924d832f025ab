//! `patching`: the running system is the expected one, the profile's, young enough, and booted.

mod capture;
mod facts;
mod judge;

use compliance_protocol::evidence::System;
use serde::{Deserialize, Serialize};

pub use capture::capture;
pub use facts::{Facts, Generation, Pending, RUNNING, gather};
pub use judge::judge;

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, Report, Verdict};

/// What the patching check expects. Which system, is what was activated last and proven, and not written
/// here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchingBaseline {
    /// How old the running generation may be, in days.
    #[serde(default = "default_max_age_d")]
    pub max_age_d: u32,
    /// How long a reboot may be pending, in days.
    #[serde(default = "default_max_reboot_pending_d")]
    pub max_reboot_pending_d: u32,
}

impl Default for PatchingBaseline {
    fn default() -> Self {
        Self {
            max_age_d: default_max_age_d(),
            max_reboot_pending_d: default_max_reboot_pending_d(),
        }
    }
}

/// The check.
#[derive(Debug)]
pub struct Patching;

impl Check for Patching {
    fn id(&self) -> CheckId {
        CheckId::Patching
    }

    fn version(&self) -> u32 {
        2
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report {
        let Some(expected) = baseline.patching.expected() else {
            let why = "the baseline does not say how old a system may be".to_owned();
            return Report::new(self.id(), self.version(), Verdict::Unknown(why));
        };
        let facts = gather(host);
        let system = about.expected_system.as_ref();
        let verdict = judge(expected, &facts, system, about.now, about.uptime);
        Report { check: self.id(), version: self.version(), verdict, facts: facts.to_json() }
    }
}

/// The system as each bundle names it. What cannot be seen is left out.
pub fn system(host: &dyn Host) -> System {
    facts::system(host)
}

const fn default_max_age_d() -> u32 {
    30
}

const fn default_max_reboot_pending_d() -> u32 {
    7
}
