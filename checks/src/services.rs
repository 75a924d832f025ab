//! `services`: critical units are active, nothing has failed, nothing flaps.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, Report, Verdict};

/// What the services check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesBaseline {
    /// The units that must be active.
    pub units: Vec<CriticalUnit>,
}

/// A unit that must be active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticalUnit {
    /// The unit.
    pub unit: compliance_protocol::name::UnitName,
    /// Restarting it interrupts people: it waits for the maintenance window.
    #[serde(default)]
    pub disruptive: bool,
}

/// The check.
#[derive(Debug, Default)]
pub struct Services;

impl Check for Services {
    fn id(&self) -> CheckId {
        CheckId::Services
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _host: &dyn Host, _baseline: &Baseline, _about: &Circumstances) -> Report {
        Report::new(self.id(), self.version(), Verdict::Unknown("not built yet".to_owned()))
    }
}
