//! `logging`: the journal records, keeps, and forwards.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, Report, Verdict};

/// What the logging check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggingBaseline {
    /// Units that forward the journal.
    pub forwarders: Vec<compliance_protocol::name::UnitName>,
}

/// The check.
#[derive(Debug, Default)]
pub struct Logging;

impl Check for Logging {
    fn id(&self) -> CheckId {
        CheckId::Logging
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _host: &dyn Host, _baseline: &Baseline, _about: &Circumstances) -> Report {
        Report::new(self.id(), self.version(), Verdict::Unknown("not built yet".to_owned()))
    }
}
