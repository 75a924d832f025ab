//! Whether one unit is as it should be.

use compliance_protocol::evidence::Finding;
use compliance_protocol::time::Span;

use super::CriticalUnit;
use super::watch::is_busy;
use crate::host::UnitState;

/// Whether a unit is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Well,
    /// It is not.
    Wrong(Finding),
    /// That cannot be said, and why.
    Unclear(String),
}

/// How a unit stands that has been seen starting or stopping for `busy_for`.
pub fn standing(unit: &CriticalUnit, state: Option<&UnitState>, busy_for: Span) -> Standing {
    let name = &unit.unit;
    let Some(state) = state else {
        return Standing::Unclear(format!("systemd said nothing about {name}"));
    };
    let oneshot = state.kind == "oneshot";
    let expected = if oneshot { "active, or ended with success" } else { "active" };
    let wrong = |actual: String| {
        let (subject, expected) = (name.to_string(), expected.to_owned());
        Standing::Wrong(Finding { subject, expected, actual })
    };
    let (active, sub) = (word(&state.active), word(&state.sub));
    match &*state.load {
        "loaded" => {}
        "not-found" => return wrong(NO_UNIT.to_owned()),
        "masked" => return wrong(MASKED.to_owned()),
        "bad-setting" | "error" => return wrong(UNLOADABLE.to_owned()),
        _ => return Standing::Unclear(format!("{name} is neither loaded nor missing")),
    }
    match &*state.active {
        "active" | "reloading" | "refreshing" => Standing::Well,
        _ if is_busy(state) => match while_busy(unit, state, busy_for) {
            Busy::TooLong => wrong(format!("{active} ({sub}) for {busy_for}")),
            Busy::Works => Standing::Well,
            Busy::Unclear(what) => Standing::Unclear(format!("{name} {what}")),
        },
        "inactive" if oneshot && state.result == "success" => Standing::Well,
        "inactive" | "failed" | "maintenance" if matches!(&*state.result, "" | "success") => {
            wrong(format!("{active} ({sub})"))
        }
        "inactive" | "failed" | "maintenance" => {
            wrong(format!("{active} ({sub}, {})", word(&state.result)))
        }
        _ => Standing::Unclear(format!("{name} is in a state that this version does not know")),
    }
}

/// The finding that systemd restarted a unit too often.
pub(super) fn flapping(unit: &CriticalUnit, restarts: u32, most: u32, minutes: u32) -> Finding {
    Finding {
        subject: unit.unit.to_string(),
        expected: format!("{FEWER} {most} automatic restarts within {minutes} min"),
        actual: format!("{restarts} restarts"),
    }
}

/// Whether a restart may help the unit that `finding` is about: not one that systemd restarts all the time, which
/// it would only interrupt once more, nor one that cannot be started.
pub fn restart_may_help(finding: &Finding) -> bool {
    let flaps = finding.expected.starts_with(FEWER);
    !flaps && ![NO_UNIT, MASKED, UNLOADABLE].contains(&&*finding.actual)
}

const NO_UNIT: &str = "there is no such unit";
const MASKED: &str = "masked";
const UNLOADABLE: &str = "its unit file cannot be loaded";
const FEWER: &str = "fewer than";

enum Busy {
    TooLong,
    Works,
    Unclear(String),
}

fn while_busy(unit: &CriticalUnit, state: &UnitState, busy_for: Span) -> Busy {
    if busy_for > Span::from_secs(i64::from(unit.start_limit_s)) {
        return Busy::TooLong;
    }
    match &*state.active {
        "inactive" | "failed" => Busy::Unclear("waits to be started".to_owned()),
        // A oneshot that runs does what it should; one that systemd is about to try again has failed.
        _ if state.kind == "oneshot" && state.sub.starts_with("start") => Busy::Works,
        active => Busy::Unclear(format!("is still {}", word(active))),
    }
}

/// A word of systemd's, if it is one: nothing else leaves.
pub(super) fn word(text: &str) -> &str {
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(plain) { text } else { "?" }
}
