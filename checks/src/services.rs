//! `services`: critical units are active, nothing has failed, nothing flaps.

mod capture;
mod failed;
mod standing;
mod watch;

use compliance_protocol::name::UnitName;
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use capture::capture;
pub use failed::{Failed, said};
pub use standing::{Standing, restart_may_help, standing};
pub(crate) use watch::Watch;

use crate::baseline::Baseline;
use crate::host::UnitState;
use crate::{Check, CheckId, Circumstances, Host, HostError, Report, Verdict};
use standing::{flapping, word};

/// What the services check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesBaseline {
    /// The units that must be active.
    pub units: Vec<CriticalUnit>,
    /// Units that may have failed; a template such as `job@.service` means all its instances.
    #[serde(default)]
    pub ignore_failed: Vec<UnitName>,
    /// So many automatic restarts of a critical unit within `flap_minutes` are too many; at least 1.
    #[serde(default = "default_flap_restarts")]
    pub flap_restarts: u32,
    /// The time within which restarts are counted, in minutes.
    #[serde(default = "default_flap_minutes")]
    pub flap_minutes: u32,
}

/// A unit that must be active. A oneshot may also have ended with success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticalUnit {
    /// The unit.
    pub unit: UnitName,
    /// Restarting it interrupts people: it waits for the maintenance window.
    #[serde(default)]
    pub disruptive: bool,
    /// How long it may be starting or stopping, in seconds; for a oneshot: how long it may run.
    #[serde(default = "default_start_limit_s")]
    pub start_limit_s: u32,
}

impl CriticalUnit {
    /// A unit that may be restarted at any time, with the usual limit.
    pub fn new(unit: UnitName) -> Self {
        Self { unit, disruptive: false, start_limit_s: default_start_limit_s() }
    }
}

impl ServicesBaseline {
    /// These units and the usual limits.
    pub fn new(units: Vec<CriticalUnit>) -> Self {
        Self {
            units,
            ignore_failed: Vec::new(),
            flap_restarts: default_flap_restarts(),
            flap_minutes: default_flap_minutes(),
        }
    }
}

/// The check, with what it saw of each critical unit before.
#[derive(Debug, Default)]
pub struct Services {
    watch: Watch,
}

impl Check for Services {
    fn id(&self) -> CheckId {
        CheckId::Services
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report {
        let Some(expected) = baseline.services.expected() else {
            let why = "the baseline does not say which units are critical".to_owned();
            return Report::new(self.id(), self.version(), Verdict::Unknown(why));
        };
        let facts = gather(host, expected, &mut self.watch, about.uptime);
        let verdict = match &facts {
            Ok(facts) => judge(expected, facts),
            Err(error) => Verdict::Unknown(error.to_string()),
        };
        let facts = facts.map(|facts| facts.to_json()).unwrap_or_default();
        Report { check: self.id(), version: self.version(), verdict, facts }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The critical units, in the baseline's order.
    pub critical: Vec<Critical>,
    /// All other units that have failed and may not.
    pub failed: Failed,
}

/// What was seen of a critical unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Critical {
    /// Its state; `None` if systemd said nothing about it.
    pub state: Option<UnitState>,
    /// How long it has been seen starting or stopping, without having been anything else in between.
    pub busy_for: Span,
    /// How often it was restarted automatically, as far as that was seen, within `flap_minutes`.
    pub restarts: u32,
}

/// Looks at all units.
pub fn gather(
    host: &dyn Host,
    expected: &ServicesBaseline,
    watch: &mut Watch,
    uptime: Span,
) -> Result<Facts, HostError> {
    let names: Vec<_> = expected.units.iter().map(|unit| unit.unit.clone()).collect();
    let units = host.units(&names)?;
    let window = Span::from_secs(60 * i64::from(expected.flap_minutes));
    watch.see(&names, &units, uptime, window);
    let critical = names.iter().map(|name| Critical {
        state: units.iter().find(|unit| unit.unit == name.as_str()).cloned(),
        busy_for: watch.busy_for(name, uptime),
        restarts: watch.restarts(name),
    });
    let critical = critical.collect();
    let failed = Failed::of(host, &units, |unit| {
        names.iter().chain(&expected.ignore_failed).any(|name| covers(name, unit))
    });
    Ok(Facts { critical, failed })
}

/// Judges all units: any drift is drift; else any doubt is doubt; no critical unit at all is doubt.
pub fn judge(expected: &ServicesBaseline, facts: &Facts) -> Verdict {
    let mut findings = Vec::new();
    let mut doubts = Vec::new();
    for (unit, seen) in expected.units.iter().zip(&facts.critical) {
        match standing(unit, seen.state.as_ref(), seen.busy_for) {
            Standing::Well => {}
            Standing::Wrong(finding) => findings.push(finding),
            Standing::Unclear(why) => doubts.push(why),
        }
        let most = expected.flap_restarts.max(1);
        if seen.restarts >= most {
            findings.push(flapping(unit, seen.restarts, most, expected.flap_minutes));
        }
    }
    findings.extend(facts.failed.findings());
    match (findings.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Drifted(findings),
        (true, false) => Verdict::Unknown(doubts.join("; ")),
        (true, true) if expected.units.is_empty() => Verdict::Unknown(
            "the baseline names no critical unit, nor says why there is none".to_owned(),
        ),
        (true, true) => Verdict::Compliant,
    }
}

/// Whether `name` is this unit, or the template of it.
fn covers(name: &UnitName, unit: &str) -> bool {
    let template = || failed::template(unit).is_some_and(|template| template == name.as_str());
    name.as_str() == unit || template()
}

impl Facts {
    fn to_json(&self) -> Map<String, Value> {
        let units = self.critical.iter().filter_map(|seen| {
            let unit = seen.state.as_ref()?;
            let (active, sub) = (word(&unit.active), word(&unit.sub));
            let facts = json!({ "active": active, "sub": sub, "restarts": seen.restarts });
            Some((unit.unit.clone(), facts))
        });
        let mut facts = Map::new();
        facts.insert("units".to_owned(), Value::Object(units.collect()));
        facts.insert("failed".to_owned(), json!(self.failed.count()));
        facts
    }
}

const fn default_flap_restarts() -> u32 {
    3
}

const fn default_flap_minutes() -> u32 {
    10
}

const fn default_start_limit_s() -> u32 {
    90
}
