//! How pages write states, outcomes and times.

use compliance_protocol::clock::{ClockEvidence, ClockSource};
use compliance_protocol::evidence::{Outcome, State, StepResult};
use compliance_protocol::gate::GateState;
use compliance_protocol::time::{Span, Timestamp};

use crate::fleet::Standing;
use crate::store::OrderState;

/// A mark that says its meaning by shape and by text; colour only repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The symbol, one of the layout's.
    pub(super) shape: &'static str,
    /// The text.
    pub(super) text: &'static str,
    /// The style's class.
    pub(super) class: &'static str,
}

const fn mark(shape: &'static str, text: &'static str, class: &'static str) -> Mark {
    Mark { shape, text, class }
}

/// The mark of what is known of a check now.
pub(super) const fn standing(standing: Standing) -> Mark {
    match standing {
        Standing::Stale => mark("stale", "no fresh data", "stale"),
        Standing::Compliant => state(State::Compliant),
        Standing::Drifted => state(State::Drifted),
        Standing::Unknown => state(State::Unknown),
        Standing::NotApplicable => state(State::NotApplicable),
    }
}

/// The mark of a state that was reported.
pub(super) const fn state(state: State) -> Mark {
    match state {
        State::Compliant => mark("good", "compliant", "good"),
        State::Drifted => mark("drifted", "drifted", "bad"),
        State::Unknown => mark("unknown", "unknown", "unsure"),
        State::NotApplicable => mark("none", "not applicable", "quiet"),
    }
}

/// The mark of an outcome.
pub(super) const fn outcome(outcome: Outcome) -> Mark {
    match outcome {
        Outcome::Success => mark("good", "success", "good"),
        Outcome::Failed => mark("failed", "failed", "bad"),
        Outcome::Reverted => mark("reverted", "reverted", "bad"),
        Outcome::Deferred => mark("deferred", "deferred", "unsure"),
        Outcome::Alert => mark("drifted", "alert", "bad"),
        Outcome::Rejected => mark("rejected", "rejected", "unsure"),
        Outcome::Expired => mark("expired", "expired", "unsure"),
    }
}

/// The mark of a gate's answer.
pub(super) const fn gate(state: GateState) -> Mark {
    match state {
        GateState::Open => mark("good", "open", "good"),
        GateState::Closed => mark("closed", "closed", "unsure"),
        GateState::Unknown => mark("unknown", "unknown", "unsure"),
    }
}

/// The mark of how a step went.
pub(super) const fn step(result: StepResult) -> Mark {
    match result {
        StepResult::Done => mark("good", "done", "good"),
        StepResult::Failed => mark("failed", "failed", "bad"),
        StepResult::TimedOut => mark("failed", "timed out", "bad"),
        StepResult::Would => mark("none", "would have been done", "quiet"),
    }
}

/// The mark of an appliance's clock, as its newest bundle says, if that is news.
pub(super) const fn clock(clock: &ClockEvidence, is_news: bool) -> Mark {
    match clock.source {
        _ if !is_news => mark("stale", "no fresh data", "stale"),
        ClockSource::Kernel if clock.synchronised => mark("good", "synchronised", "good"),
        ClockSource::Kernel | ClockSource::Feed => mark("unknown", "not synchronised", "unsure"),
        ClockSource::None => mark("failed", "not trusted", "bad"),
    }
}

/// The mark of what became of an order whose time may be `over`.
pub(super) const fn order(state: OrderState, over: bool) -> Mark {
    match state {
        // An appliance that heard of it says that it expired.
        OrderState::Open if over => mark("unknown", "no answer", "unsure"),
        OrderState::Open => mark("deferred", "open", "unsure"),
        OrderState::Done => mark("done", "done", "quiet"),
        OrderState::Withdrawn => mark("none", "withdrawn", "quiet"),
    }
}

/// A time for people and, exactly, for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    /// RFC 3339.
    pub(super) exact: String,
    /// Date and time of day, UTC.
    pub(super) text: String,
    /// How long ago, or how far ahead.
    pub(super) distance: String,
    /// The same in its largest unit.
    pub(super) short: String,
}

/// The time `at`, seen from `now`. The console's script writes distances likewise.
pub(super) fn when(at: Timestamp, now: Timestamp) -> When {
    let exact = at.to_string();
    let text = exact.replace('T', " ").chars().take(19).chain(" UTC".chars()).collect();
    let span = if at <= now { now.since(at) } else { at.since(now) };
    let distance = if at <= now { format!("{span} ago") } else { format!("in {span}") };
    When { exact, text, distance, short: short(span) }
}

/// A span in its largest unit.
fn short(span: Span) -> String {
    let seconds = span.as_millis() / 1000;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_its_distance() {
        let at = Timestamp::from_millis(1_795_167_671_000);
        let now = Timestamp::from_millis(1_795_167_671_000 + 90_000);
        let shown = when(at, now);
        assert_eq!(shown.text, "2026-11-20 09:41:11 UTC");
        assert_eq!(shown.distance, "1 min 30 s ago");
        assert_eq!(shown.short, "1 min");
        assert_eq!(when(now, at).distance, "in 1 min 30 s");
    }
}
