//! Observing: a round of the six checks, and the proof that it was just made.

use compliance_checks::baseline::Baseline;
use compliance_checks::{Host, Report, round};
use compliance_protocol::clock::TrustedNow;

/// What a check found in a round of this process's own. Only [`observe`] makes one: a remedy cannot rest
/// on what anybody else claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed(Report);

impl Observed {
    /// What the check found.
    pub fn report(&self) -> &Report {
        &self.0
    }
}

/// Runs the six checks. `baseline` is the one in force, or why there is none.
pub fn observe(
    host: &dyn Host,
    baseline: Result<&Baseline, &str>,
    now: TrustedNow,
) -> Vec<Observed> {
    round(host, baseline, now).into_iter().map(Observed).collect()
}
