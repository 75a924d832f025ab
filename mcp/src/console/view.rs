//! How pages write states, outcomes and times.

use compliance_protocol::evidence::{Outcome, State};
use compliance_protocol::time::Timestamp;

/// A mark that says its meaning by shape and by text; colour only repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The shape.
    pub(super) shape: &'static str,
    /// The text.
    pub(super) text: &'static str,
    /// The style's class.
    pub(super) class: &'static str,
}

const fn mark(shape: &'static str, text: &'static str, class: &'static str) -> Mark {
    Mark { shape, text, class }
}

/// The mark of a state.
pub(super) const fn state(state: State) -> Mark {
    match state {
        State::Compliant => mark("●", "compliant", "good"),
        State::Drifted => mark("▲", "drifted", "bad"),
        State::Unknown => mark("◇", "unknown", "unsure"),
        State::NotApplicable => mark("–", "not applicable", "quiet"),
    }
}

/// The mark of an outcome.
pub(super) const fn outcome(outcome: Outcome) -> Mark {
    match outcome {
        Outcome::Success => mark("●", "success", "good"),
        Outcome::Failed => mark("✖", "failed", "bad"),
        Outcome::Reverted => mark("↶", "reverted", "bad"),
        Outcome::Deferred => mark("◷", "deferred", "unsure"),
        Outcome::Alert => mark("▲", "alert", "bad"),
        Outcome::Rejected => mark("⊘", "rejected", "unsure"),
        Outcome::Expired => mark("⊗", "expired", "unsure"),
    }
}

/// The worst of a site's states. No state, or none that was looked at, is unknown, never green.
pub(super) fn worst(states: impl Iterator<Item = State>) -> State {
    let badness = |state: &State| match state {
        State::NotApplicable => 0,
        State::Compliant => 1,
        State::Unknown => 2,
        State::Drifted => 3,
    };
    states.max_by_key(badness).filter(|worst| badness(worst) > 0).unwrap_or(State::Unknown)
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
}

/// The time `at`, seen from `now`.
pub(super) fn when(at: Timestamp, now: Timestamp) -> When {
    let exact = at.to_string();
    let text = exact.replace('T', " ").chars().take(19).chain(" UTC".chars()).collect();
    let distance =
        if at <= now { format!("{} ago", now.since(at)) } else { format!("in {}", at.since(now)) };
    When { exact, text, distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_states_and_only_inapplicable_ones_are_not_green() {
        let worst = |states: &[State]| worst(states.iter().copied());
        assert_eq!(worst(&[]), State::Unknown);
        assert_eq!(worst(&[State::NotApplicable]), State::Unknown);
        assert_eq!(worst(&[State::Compliant, State::NotApplicable]), State::Compliant);
        assert_eq!(worst(&[State::Compliant, State::Unknown]), State::Unknown);
        assert_eq!(worst(&[State::Unknown, State::Drifted]), State::Drifted);
    }

    #[test]
    fn a_time_is_written_in_utc_with_its_distance() {
        let at = Timestamp::from_millis(1_795_167_671_000);
        let now = Timestamp::from_millis(1_795_167_671_000 + 90_000);
        let shown = when(at, now);
        assert_eq!(shown.text, "2026-11-20 09:41:11 UTC");
        assert_eq!(shown.distance, "1 min 30 s ago");
        assert_eq!(when(now, at).distance, "in 1 min 30 s");
    }
}
