//! The checks that are still to come: each says so, and is unknown.

use compliance_protocol::clock::TrustedNow;

use crate::baseline::Baseline;
use crate::{Check, CheckId, Host, Report, Verdict};

pub(crate) struct Upcoming(pub(crate) CheckId);

impl Check for Upcoming {
    fn id(&self) -> CheckId {
        self.0
    }

    fn version(&self) -> u32 {
        0
    }

    fn run(&self, _host: &dyn Host, _baseline: &Baseline, _now: TrustedNow) -> Report {
        Report::new(self.0, 0, Verdict::Unknown("not built yet".to_owned()))
    }
}
