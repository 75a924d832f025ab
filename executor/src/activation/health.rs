//! Whether things are worse than before.

use std::collections::BTreeSet;

use compliance_checks::host::UnitState;
use compliance_checks::{CheckId, Report, Verdict};
use serde::{Deserialize, Serialize};

/// How a machine is, so that it can be compared with how it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// What is wrong: `services: nginx.service`, `unit cron.service`, `backups: unknown`.
    wrong: BTreeSet<String>,
    /// The units that the running system wants and that are active.
    up: BTreeSet<String>,
    /// Those that it wants and that are not.
    down: BTreeSet<String>,
}

impl Health {
    /// A machine with these complaints.
    pub fn of(complaints: impl IntoIterator<Item = String>) -> Self {
        Self { wrong: complaints.into_iter().collect(), ..Self::default() }
    }

    /// What the units say, of which the running system `wanted` these to be started.
    ///
    /// One that is started again and again is as good as failed. One that is not wanted may come and go: a
    /// socket, a timer or the bus starts it.
    pub fn of_units(units: &[UnitState], wanted: &BTreeSet<String>) -> Self {
        let fails = |unit: &&UnitState| unit.active == "failed" || unit.sub == "auto-restart";
        let failing: BTreeSet<_> = units.iter().filter(fails).map(|it| it.unit.clone()).collect();
        let active = units.iter().filter(|it| matches!(&*it.active, "active" | "reloading"));
        let active: BTreeSet<_> = active.map(|it| it.unit.clone()).collect();
        Self {
            wrong: failing.iter().map(|unit| format!("unit {unit}")).collect(),
            up: wanted.intersection(&active).cloned().collect(),
            down: wanted.difference(&active).filter(|it| !failing.contains(*it)).cloned().collect(),
        }
    }

    /// What the checks complain about. Patching is left out: that the running system and the profile differ is
    /// what an activation is.
    pub fn of_checks(reports: &[&Report]) -> Self {
        let reports = reports.iter().filter(|report| report.check != CheckId::Patching);
        Self::of(reports.flat_map(|report| complaints(report)))
    }

    /// With what `other` says, too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        self.up.extend(other.up);
        self.down.extend(other.down);
        self
    }

    /// What is wrong now and was not `before`; also what was active, and is still wanted, and is not active
    /// any more.
    pub fn worse_than(&self, before: &Self) -> Vec<String> {
        let stopped = self.down.intersection(&before.up);
        let stopped = stopped.map(|unit| format!("unit {unit}: not active any more"));
        self.wrong.difference(&before.wrong).cloned().chain(stopped).collect()
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

    fn units(states: &[(&str, &str, &str)]) -> Health {
        let state = |(unit, active, sub): &(&str, &str, &str)| UnitState {
            unit: (*unit).to_owned(),
            load: "loaded".to_owned(),
            active: (*active).to_owned(),
            sub: (*sub).to_owned(),
            job: String::new(),
            kind: String::new(),
            result: String::new(),
            restarts: 0,
        };
        let wanted = ["ssh.service", "job.service", "gone.service"].map(str::to_owned);
        let wanted = wanted.into_iter().filter(|it| states.iter().any(|(unit, ..)| unit == it));
        Health::of_units(&states.iter().map(state).collect::<Vec<_>>(), &wanted.collect())
    }

    #[test]
    fn a_unit_that_is_wanted_and_was_active_and_is_not_any_more_is_worse() {
        let up = units(&[("ssh.service", "active", "running")]);
        for (active, sub) in [("inactive", "dead"), ("activating", "start")] {
            let now = units(&[("ssh.service", active, sub)]);
            assert_eq!(now.worse_than(&up), ["unit ssh.service: not active any more"]);
            assert!(now.worse_than(&now).is_empty(), "it was not active before");
        }
        assert!(units(&[]).worse_than(&up).is_empty(), "the new system does not want it");
        assert!(units(&[("ssh.service", "reloading", "reload")]).worse_than(&up).is_empty());
    }

    #[test]
    fn what_nobody_wants_started_comes_and_goes() {
        let up = units(&[("on-demand.service", "active", "running")]);
        assert!(units(&[("on-demand.service", "inactive", "dead")]).worse_than(&up).is_empty());
    }

    #[test]
    fn a_unit_that_is_started_again_and_again_is_as_good_as_failed() {
        let up = units(&[("ssh.service", "active", "running")]);
        let failed = units(&[("ssh.service", "failed", "failed")]);
        let again = units(&[("ssh.service", "activating", "auto-restart")]);
        for now in [&failed, &again] {
            assert_eq!(now.worse_than(&up), ["unit ssh.service"]);
        }
        assert!(again.worse_than(&failed).is_empty() && failed.worse_than(&again).is_empty());
    }
}
