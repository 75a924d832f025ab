//! Observing: a round of the six checks, and the proof that it was just made.

use std::sync::Arc;
use std::time::Duration;

use compliance_checks::baseline::Baseline;
use compliance_checks::{Checks, Circumstances, Host, Report};

/// What a check found in a round of this process's own. Only an [`Observer`] makes one: a remedy cannot
/// rest on what anybody else claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed(Report);

impl Observed {
    /// What the check found.
    pub fn report(&self) -> &Report {
        &self.0
    }
}

/// Runs rounds of the six checks.
#[derive(Debug, Default)]
pub struct Observer(Checks);

/// A round ends by then, whatever hangs.
const LIMIT: Duration = Duration::from_secs(8);

impl Observer {
    /// Runs the six checks. `baseline` is the one in force, or why there is none.
    pub fn observe(
        &mut self,
        host: &Arc<dyn Host>,
        baseline: Result<&Arc<Baseline>, &str>,
        about: &Circumstances,
    ) -> Vec<Observed> {
        self.0.round(host, baseline, about, LIMIT).into_iter().map(Observed).collect()
    }
}
