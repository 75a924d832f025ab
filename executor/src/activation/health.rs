//! Whether things are worse than before.

use std::collections::BTreeSet;

use compliance_checks::host::UnitState;
use compliance_checks::{CheckId, Report, Verdict};
use serde::{Deserialize, Serialize};

/// What is wrong with a machine, as a set of complaints that can be compared: `services: nginx.service`,
/// `unit cron.service`, `backups: unknown`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health(BTreeSet<String>);

impl Health {
    /// A machine with these complaints.
    pub fn of(complaints: impl IntoIterator<Item = String>) -> Self {
        Self(complaints.into_iter().collect())
    }

    /// What units and checks complain about. Patching is left out: that the running system and the profile
    /// differ is what an activation is.
    pub fn seen(units: &[UnitState], reports: &[&Report]) -> Self {
        let units = units.iter().filter(|unit| unit.active == "failed");
        let units = units.map(|unit| format!("unit {}", unit.unit));
        let reports = reports.iter().filter(|report| report.check != CheckId::Patching);
        Self(units.chain(reports.flat_map(|report| complaints(report))).collect())
    }

    /// With what `other` complains about, too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What is wrong now and was not `before`.
    pub fn worse_than(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

fn complaints(report: &Report) -> Vec<String> {
    let check = report.check;
    match &report.verdict {
        Verdict::Compliant | Verdict::NotApplicable(_) => Vec::new(),
        Verdict::Drifted(findings) => {
            findings.iter().map(|finding| format!("{check}: {}", finding.subject)).collect()
        }
        Verdict::Unknown(_) => vec![format!("{check}: unknown")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_what_was_not_wrong_before() {
        let health = |wrong: &[&str]| Health::of(wrong.iter().map(|&what| what.to_owned()));
        let before = health(&["unit old.service", "backups: records"]);
        assert!(health(&["backups: records"]).worse_than(&before).is_empty());
        let now = health(&["unit old.service", "unit new.service"]);
        assert_eq!(now.worse_than(&before), ["unit new.service"]);
        assert_eq!(health(&["backups: unknown"]).worse_than(&before), ["backups: unknown"]);
    }
}
