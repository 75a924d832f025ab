//! The gates: each answers open, closed or unknown; all must be open before anything is done. Pure.

use compliance_checks::CheckId;
use compliance_protocol::clock::TrustedNow;
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::window::{WindowState, Windows};

use crate::config::{Heal, HealMode, RateLimit};

/// How the sentence of a breaker begins that has tripped.
const TRIPPED: &str = "failed heals within a day: ";

const DAY: Span = Span::from_hours(24);

/// One attempt at healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// Whether it healed.
    pub healed: bool,
}

/// Whether the maintenance window is open; a clock that nobody trusts leaves it unknown.
pub fn window(windows: &Windows, now: TrustedNow) -> Gate {
    let Some(now) = now.at() else {
        return Gate::unknown(GateName::Window, "nobody knows the time");
    };
    match windows.state(now) {
        WindowState::Open { until } => {
            Gate::open(GateName::Window, format!("the maintenance window is open until {until}"))
        }
        WindowState::Closed { next: Some(next) } => {
            let why = format!("the maintenance window opens at {next}");
            Gate::closed(GateName::Window, why, Some(next))
        }
        WindowState::Closed { next: None } => {
            Gate::closed(GateName::Window, "this site has no maintenance window", None)
        }
    }
}

/// Whether the maintenance window is open, and stays so for as long as `needed`.
pub fn window_for(windows: &Windows, now: TrustedNow, needed: Span) -> Gate {
    let gate = window(windows, now);
    match now.at().map(|now| (now, windows.state(now))) {
        Some((now, WindowState::Open { until })) if until.since(now) < needed => {
            let next = windows.state(until);
            let next = if let WindowState::Closed { next } = next { next } else { None };
            let why = format!("the maintenance window ends at {until}, and this may take {needed}");
            Gate::closed(GateName::Window, why, next)
        }
        _ => gate,
    }
}

/// Whether this system is left alone, because it failed lately.
pub fn quarantine(until: Option<Timestamp>) -> Gate {
    match until {
        Some(until) => {
            let why = format!("this system failed and is left alone until {until}");
            Gate::closed(GateName::Quarantine, why, Some(until))
        }
        None => Gate::open(GateName::Quarantine, "this system did not fail lately"),
    }
}

/// Whether the time is trusted.
pub fn clock(now: TrustedNow) -> Gate {
    match now.at() {
        Some(_) => Gate::open(GateName::Clock, "the time is trusted"),
        None => Gate::unknown(GateName::Clock, "nobody knows the time"),
    }
}

/// Whether the disk has room: on a full one only what is going on is ended.
pub fn space(disk_full: bool) -> Gate {
    if disk_full {
        Gate::closed(GateName::Space, "the disk is full: nothing new is begun", None)
    } else {
        Gate::open(GateName::Space, "the disk has room")
    }
}

/// Whether something else is being done.
pub fn busy(doing: Option<&str>) -> Gate {
    match doing {
        None => Gate::open(GateName::Busy, "nothing else is being done"),
        Some(what) => Gate::closed(GateName::Busy, format!("{what} is under way"), None),
    }
}

/// Whether healing is paused. `now` is the trusted time or, since a pause must also end without one, the
/// machine's.
pub fn pause(until: Option<Timestamp>, now: Timestamp) -> Gate {
    match until {
        Some(until) if now < until => {
            Gate::closed(GateName::Pause, format!("healing is paused until {until}"), Some(until))
        }
        _ => Gate::open(GateName::Pause, "healing is not paused"),
    }
}

/// Whether the policy lets this check heal on its own.
pub fn policy(heal: &Heal, check: CheckId) -> Gate {
    match heal.mode(check) {
        HealMode::Auto => {
            Gate::open(GateName::Policy, format!("{check} is healed without an order"))
        }
        HealMode::Order => {
            Gate::closed(GateName::Policy, format!("{check} is healed by order only"), None)
        }
        HealMode::Never => Gate::closed(GateName::Policy, format!("{check} is never healed"), None),
    }
}

/// Whether the attempts of the last two days, oldest first, leave room for one more: exponential backoff
/// after failures; and after so many of them within a day none for a day.
pub fn rate(attempts: &[Attempt], limit: RateLimit, now: Timestamp) -> Gate {
    let failures: Vec<_> = attempts.iter().filter(|attempt| !attempt.healed).collect();
    let tripped = failures.windows(limit.failures_per_day.max(1)).rev().find_map(|some| {
        let (first, last) = (some.first()?, some.last()?);
        (last.at.since(first.at) < DAY).then(|| last.at.plus(DAY))
    });
    if let Some(until) = tripped.filter(|until| now < *until) {
        let why = format!("{TRIPPED}{}; somebody must look", limit.failures_per_day);
        return Gate::closed(GateName::Rate, why, Some(until));
    }
    let in_a_row = attempts.iter().rev().take_while(|attempt| !attempt.healed).count();
    let wait = limit.min_interval.as_millis().saturating_mul(1 << in_a_row.min(16));
    let next = attempts.last().map(|last| last.at.plus(Span::from_millis(wait)));
    match next {
        Some(next) if now < next => {
            Gate::closed(GateName::Rate, format!("the next attempt is due at {next}"), Some(next))
        }
        _ => Gate::open(GateName::Rate, "no recent attempt"),
    }
}

/// Whether it is the breaker that closes this gate.
pub fn is_breaker(gate: &Gate) -> bool {
    gate.gate == GateName::Rate && !gate.is_open() && gate.why.starts_with(TRIPPED)
}

/// Why something waits, by the first closed gate, as the documentation names it.
pub fn hold_reason(gates: &[Gate]) -> &'static str {
    match gates.iter().find(|gate| !gate.is_open()).map(|gate| gate.gate) {
        Some(GateName::Clock) => "clock_unknown",
        Some(GateName::Window) => "outside_window",
        Some(GateName::Busy) => "busy",
        Some(GateName::Head) => "not_connected",
        Some(GateName::Pause) => "paused",
        Some(GateName::Policy) => "policy",
        Some(GateName::Quarantine) => "quarantined",
        Some(GateName::Shutdown) => "shutdown_scheduled",
        Some(GateName::Space) => "no_space",
        Some(GateName::Switch) => "somebody_switches",
        Some(GateName::Rate) | None => "rate_limited",
    }
}

/// When the closed gates may all be open, if they say.
pub fn opens(gates: &[Gate]) -> Option<Timestamp> {
    gates.iter().filter(|gate| !gate.is_open()).filter_map(|gate| gate.until).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_protocol::clock::{ClockDoubt, ClockSource};
    use compliance_protocol::gate::GateState;

    const T: Timestamp = Timestamp::from_millis(1_795_167_671_000);

    fn after(secs: i64) -> Timestamp {
        T.plus(Span::from_secs(secs))
    }

    fn limit(failures_per_day: usize) -> RateLimit {
        RateLimit { min_interval: Span::from_secs(60), failures_per_day }
    }

    fn attempts(outcomes: &[(i64, bool)]) -> Vec<Attempt> {
        outcomes
            .iter()
            .map(|(secs, healed)| Attempt { at: after(*secs), healed: *healed })
            .collect()
    }

    #[test]
    fn without_a_trusted_time_the_window_is_unknown_which_is_not_open() {
        let gate = window(&Windows::default(), TrustedNow::Unknown(ClockDoubt::NoSource));
        assert_eq!(gate.state, GateState::Unknown);
        assert!(!gate.is_open() && !clock(TrustedNow::Unknown(ClockDoubt::Jump)).is_open());
    }

    #[test]
    fn a_site_without_a_window_never_opens() {
        let now = TrustedNow::Known { at: T, source: ClockSource::Kernel };
        let gate = window(&Windows::default(), now);
        assert_eq!((gate.state, gate.until), (GateState::Closed, None));
    }

    #[test]
    fn failures_back_off_exponentially_and_a_success_resets_it() {
        let next = |outcomes: &[(i64, bool)]| rate(&attempts(outcomes), limit(3), after(10)).until;
        assert_eq!(next(&[]), None);
        assert_eq!(next(&[(0, true)]), Some(after(60)));
        assert_eq!(next(&[(0, false)]), Some(after(120)));
        assert_eq!(next(&[(0, false), (9, false)]), Some(after(9 + 240)));
        assert_eq!(next(&[(0, false), (9, true)]), Some(after(9 + 60)));
    }

    #[test]
    fn three_failures_in_a_day_trip_the_breaker_for_a_day_and_then_three_more_may_be_made() {
        let mut all = attempts(&[(0, false), (200, false), (900, false)]);
        let gate = rate(&all, limit(3), after(87_299));
        assert_eq!((gate.is_open(), gate.until), (false, Some(after(900 + 86_400))));
        assert!(rate(&all, limit(3), after(87_300)).is_open());
        all.extend(attempts(&[(87_300, false), (90_000, false)]));
        let gate = rate(&all, limit(3), after(90_001));
        assert!(!is_breaker(&gate), "{gate:?}");
        all.extend(attempts(&[(95_000, false)]));
        assert_eq!(rate(&all, limit(3), after(95_001)).until, Some(after(95_000 + 86_400)));
    }

    #[test]
    fn failures_that_are_not_within_one_day_do_not_trip_the_breaker() {
        let spread = attempts(&[(0, false), (50_000, false), (86_400, false)]);
        assert!(!is_breaker(&rate(&spread, limit(3), after(86_401))));
    }

    #[test]
    fn a_check_may_have_a_breaker_of_its_own() {
        let all = attempts(&[(0, false), (200, false), (900, false)]);
        let trips = |failures| is_breaker(&rate(&all, limit(failures), after(901)));
        assert_eq!([1, 3, 4, 24].map(trips), [true, true, false, false]);
    }

    #[test]
    fn a_pause_ends_by_itself() {
        assert!(!pause(Some(after(60)), T).is_open());
        assert!(pause(Some(after(60)), after(60)).is_open());
        assert!(pause(None, T).is_open());
    }
}
