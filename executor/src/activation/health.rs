//! Whether things are worse than before.

use std::collections::{BTreeMap, BTreeSet};

use compliance_checks::host::UnitState;
use compliance_checks::{CheckId, Report, Verdict};
use serde::{Deserialize, Serialize};

use crate::guard;

/// How a machine is, so that it can be compared with how it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// What is wrong: `services: nginx.service`, `unit cron.service`.
    wrong: BTreeSet<String>,
    /// What may be: a unit that is started once more, a check that cannot look.
    doubtful: BTreeSet<String>,
    /// What was wrong, or perhaps wrong, at an earlier look and was well at this one.
    earlier: BTreeSet<String>,
    /// The units that the running system wants and that run.
    up: BTreeSet<String>,
    /// Those that it wants and that do not run.
    down: BTreeSet<String>,
    /// Those that it wants and that are on their way.
    coming: BTreeSet<String>,
    /// How often each of them was started again by itself.
    restarts: BTreeMap<String, u32>,
}

/// What is wrong and was not before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worse {
    /// What is.
    pub certain: Vec<String>,
    /// What may turn out well, or not.
    pub doubtful: Vec<String>,
}

impl Worse {
    /// Nothing is worse, nor may be.
    pub fn is_nothing(&self) -> bool {
        self.certain.is_empty() && self.doubtful.is_empty()
    }

    /// All of it.
    pub fn all(self) -> Vec<String> {
        [self.certain, self.doubtful].concat()
    }
}

/// The units that the running system wants to be started, each with the targets that want it.
pub type Wanted = BTreeMap<String, BTreeSet<String>>;

/// What a boot or a switch goes through; other targets come and go with devices.
const STAGES: [&str; 4] =
    ["sysinit.target", "local-fs.target", "basic.target", "multi-user.target"];

impl Health {
    /// A machine with these complaints.
    pub fn of(complaints: impl IntoIterator<Item = String>) -> Self {
        Self { wrong: complaints.into_iter().collect(), ..Self::default() }
    }

    /// What the units say, of which the running system wants these to be started. `said` is what may be said of
    /// a unit that is not well.
    ///
    /// What is not wanted, or by no target that is active or on its way, may come and go; also what a socket, a
    /// timer or a path of its own name starts, and what ends and then counts as active (its condition may not
    /// hold the next time).
    pub fn of_units(units: &[UnitState], wanted: &Wanted, said: &dyn Fn(&str) -> String) -> Self {
        let states: BTreeMap<_, _> = units.iter().map(|it| (it.unit.as_str(), it)).collect();
        let is_active = |name: &str| states.get(name).is_some_and(|it| it.active == "active");
        let pulls =
            |name: &str| is_active(name) || states.get(name).is_some_and(|it| !it.job.is_empty());
        let starter = |name: &str| {
            let stem = name.strip_suffix(".service").unwrap_or(name);
            ["socket", "timer", "path"].iter().any(|kind| is_active(&format!("{stem}.{kind}")))
        };
        let mut health = Self::default();
        for unit in units {
            let complaint = || format!("unit {}", said(&unit.unit));
            match (unit.active.as_str(), unit.sub.as_str()) {
                ("failed", _) => _ = health.wrong.insert(complaint()),
                (_, "auto-restart") => _ = health.doubtful.insert(complaint()),
                _ => {}
            }
            let mut by = wanted.get(&unit.unit).into_iter().flatten();
            let is_wanted = STAGES.contains(&&*unit.unit) || by.any(|target| pulls(target));
            if unit.unit == guard::UNIT || !is_wanted {
                continue;
            }
            let place = match (unit.active.as_str(), unit.sub.as_str()) {
                (_, "exited" | "auto-restart") | ("failed", _) => continue,
                ("active" | "reloading", _) => &mut health.up,
                ("inactive", _) if unit.job.is_empty() && starter(&unit.unit) => continue,
                ("inactive", _) if unit.job.is_empty() => &mut health.down,
                _ => &mut health.coming,
            };
            place.insert(unit.unit.clone());
        }
        health
    }

    /// What the checks complain about. Patching is left out: that the running system and the profile differ is
    /// what an activation is.
    pub fn of_checks(reports: &[&Report]) -> Self {
        let mut health = Self::default();
        for report in reports.iter().filter(|report| report.check != CheckId::Patching) {
            let check = report.check;
            match &report.verdict {
                Verdict::Compliant | Verdict::NotApplicable(_) => {}
                Verdict::Drifted(findings) => {
                    let wrong = findings.iter().map(|it| format!("{check}: {}", it.subject));
                    health.wrong.extend(wrong);
                }
                Verdict::Unknown(_) => _ = health.doubtful.insert(format!("{check}: unknown")),
            }
        }
        health
    }

    /// With how often these units were started again by themselves.
    #[must_use]
    pub fn with_restarts(mut self, units: &[UnitState]) -> Self {
        let counted = units.iter().filter(|unit| unit.restarts > 0);
        self.restarts = counted.map(|unit| (unit.unit.clone(), unit.restarts)).collect();
        self
    }

    /// How often each unit that is wanted was started again by itself.
    pub fn restarts(&self) -> &BTreeMap<String, u32> {
        &self.restarts
    }

    /// The units that are wanted and run.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        self.up.iter().map(String::as_str)
    }

    /// What was started again by itself since `then`.
    pub fn restarted_since(&self, then: &BTreeMap<String, u32>) -> Vec<String> {
        let grew = |unit: &&String, now: u32| now > then.get(*unit).copied().unwrap_or(0);
        let again = self.restarts.iter().filter(|(unit, now)| grew(unit, **now));
        again.map(|(unit, _)| format!("unit {unit}: started again by itself")).collect()
    }

    /// What may be said: nothing of it names what the configuration does not.
    pub fn complaints(&self) -> Vec<&str> {
        self.wrong.iter().chain(&self.doubtful).map(String::as_str).collect()
    }

    /// With what `other` says, too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        self.doubtful.extend(other.doubtful);
        self.earlier.extend(other.earlier);
        self.restarts.extend(other.restarts);
        self.up.extend(other.up);
        self.down.extend(other.down);
        self.coming.extend(other.coming);
        self
    }

    /// With the complaints of an earlier look: what fails now and then may fail again for no new reason.
    #[must_use]
    pub fn with_complaints_of(mut self, earlier: &Self) -> Self {
        self.earlier.extend(earlier.wrong.iter().chain(&earlier.doubtful).cloned());
        self
    }

    /// What is wrong now and was not `before`; also what ran, and is still wanted, and does not run any more.
    pub fn worse_than(&self, before: &Self) -> Worse {
        let is_new =
            |what: &&String| !before.wrong.contains(*what) && !before.doubtful.contains(*what);
        let stopped = self.down.intersection(&before.up);
        let stopped = stopped.map(|unit| format!("unit {unit}: not active any more"));
        let coming = self.coming.intersection(&before.up);
        let coming = coming.map(|unit| format!("unit {unit}: not active yet"));
        let (again, wrong): (Vec<_>, Vec<_>) =
            self.wrong.iter().filter(is_new).cloned().partition(|it| before.earlier.contains(it));
        let doubtful = self.doubtful.iter().filter(is_new).cloned();
        Worse {
            certain: wrong.into_iter().chain(stopped).collect(),
            doubtful: doubtful.chain(coming).chain(again).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_what_was_not_wrong_before() {
        let health = |wrong: &[&str]| Health::of(wrong.iter().map(|&what| what.to_owned()));
        let before = health(&["unit old.service", "backups: records"]);
        assert!(health(&["backups: records"]).worse_than(&before).is_nothing());
        let now = health(&["unit old.service", "unit new.service"]);
        assert_eq!(now.worse_than(&before).certain, ["unit new.service"]);
        let at_times = health(&[]).with_complaints_of(&before);
        let again = before.worse_than(&at_times);
        assert!(again.certain.is_empty() && again.doubtful.len() == 2, "it was well before");
    }

    fn state(unit: &str) -> UnitState {
        UnitState {
            unit: unit.to_owned(),
            load: "loaded".to_owned(),
            active: "active".to_owned(),
            sub: "running".to_owned(),
            job: String::new(),
            kind: String::new(),
            result: String::new(),
            restarts: 0,
        }
    }

    /// A machine whose active target wants `ssh.service`, and whose inactive one wants `dongle.service`.
    fn units(states: &[(&str, &str, &str)]) -> Health {
        let state = |(unit, active, sub): &(&str, &str, &str)| UnitState {
            active: (*active).to_owned(),
            sub: (*sub).to_owned(),
            job: if *sub == "waits" { "start".to_owned() } else { String::new() },
            ..state(unit)
        };
        let by = |target: &str| BTreeSet::from([target.to_owned()]);
        let wanted = [
            ("ssh.service", "multi-user.target"),
            ("dongle.service", "bluetooth.target"),
            (guard::UNIT, "multi-user.target"),
        ];
        let wanted = wanted.map(|(unit, target)| (unit.to_owned(), by(target)));
        let targets = [("multi-user.target", "active", "active")];
        let given = states.iter().any(|(unit, ..)| *unit == "multi-user.target");
        let targets = targets.iter().filter(|_| !given);
        let states: Vec<_> = states.iter().chain(targets).map(state).collect();
        Health::of_units(&states, &wanted.into(), &str::to_owned)
    }

    #[test]
    fn a_unit_that_is_wanted_and_ran_and_does_not_any_more_is_worse() {
        let up = units(&[("ssh.service", "active", "running")]);
        let down = units(&[("ssh.service", "inactive", "dead")]);
        assert_eq!(down.worse_than(&up).certain, ["unit ssh.service: not active any more"]);
        assert!(down.worse_than(&down).is_nothing(), "it did not run before");
        assert!(units(&[]).worse_than(&up).is_nothing(), "the new system has none");
        assert!(units(&[("ssh.service", "reloading", "reload")]).worse_than(&up).is_nothing());
    }

    #[test]
    fn a_boot_that_does_not_end_is_doubtful_and_what_it_wants_is_looked_at() {
        let up = units(&[("ssh.service", "active", "running")]);
        let stuck =
            [("multi-user.target", "inactive", "waits"), ("ssh.service", "inactive", "dead")];
        let worse = units(&stuck).worse_than(&up);
        assert_eq!(worse.certain, ["unit ssh.service: not active any more"]);
        assert_eq!(worse.doubtful, ["unit multi-user.target: not active yet"]);
        let ended = units(&[("multi-user.target", "inactive", "dead")]).worse_than(&up);
        assert_eq!(ended.certain, ["unit multi-user.target: not active any more"]);
    }

    #[test]
    fn what_is_started_again_between_two_looks_is_seen() {
        let look = |restarts: u32| {
            let unit = UnitState { restarts, ..state("ssh.service") };
            Health::default().with_restarts(&[unit])
        };
        assert_eq!(look(3).restarted_since(look(3).restarts()), [""; 0]);
        let again = look(4).restarted_since(look(3).restarts());
        assert_eq!(again, ["unit ssh.service: started again by itself"]);
    }

    #[test]
    fn a_unit_that_is_on_its_way_is_doubtful() {
        let up = units(&[("ssh.service", "active", "running")]);
        for (active, sub) in [("activating", "start"), ("inactive", "waits")] {
            let worse = units(&[("ssh.service", active, sub)]).worse_than(&up);
            assert_eq!(worse.doubtful, ["unit ssh.service: not active yet"]);
            assert!(worse.certain.is_empty());
        }
    }

    #[test]
    fn what_nobody_wants_to_run_comes_and_goes() {
        let ran = [
            ("on-demand.service", "active", "running"),
            ("dongle.service", "active", "running"),
            ("ssh.service", "active", "exited"),
            (guard::UNIT, "active", "running"),
        ];
        let gone = ran.map(|(unit, ..)| (unit, "inactive", "dead"));
        assert!(units(&gone).worse_than(&units(&ran)).is_nothing());
        let up = units(&[("ssh.service", "active", "running")]);
        let idle = [("ssh.service", "inactive", "dead"), ("ssh.socket", "active", "listening")];
        assert!(units(&idle).worse_than(&up).is_nothing(), "its socket starts it");
    }

    #[test]
    fn a_unit_that_is_started_again_and_again_is_doubtful_and_a_failed_one_is_not() {
        let up = units(&[("ssh.service", "active", "running")]);
        let failed = units(&[("ssh.service", "failed", "failed")]);
        let again = units(&[("ssh.service", "activating", "auto-restart")]);
        assert_eq!(failed.worse_than(&up).certain, ["unit ssh.service"]);
        assert_eq!(again.worse_than(&up).doubtful, ["unit ssh.service"]);
        assert!(again.worse_than(&failed).is_nothing() && failed.worse_than(&again).is_nothing());
    }
}
