//! How long each part of an activation may take.

use compliance_protocol::time::Span;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Class;
use super::trial::GOES_DOWN;

/// Between the last question and the first effect.
pub(super) const START_SLACK: Span = Span::from_secs(120);

/// The least that an order has to allow for fetching, and for asking the new system what it would do.
const PREPARING: Span = Span::from_secs(60);

/// Between the latest end of the proof and the dead-man.
pub(super) const MARGIN: Span = Span::from_secs(60);

/// How long each part may take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// One switch, forward or back; systemd ends it then.
    pub switch_s: u32,
    /// What is worse than before this long after a switch, or after a boot, may still settle.
    pub settle_s: u32,
    /// The new system is watched at least this long.
    pub soak_s: u32,
    /// The dead-man undoes this long after it was armed.
    pub deadman_s: u32,
    /// So many looks in a row must find nothing worse.
    pub looks: u8,
    /// So many feed heads must be verified for tickets given after the switch.
    pub heads: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { switch_s: 900, settle_s: 30, soak_s: 120, deadman_s: 1500, looks: 4, heads: 2 }
    }
}

/// Limits that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// The dead-man would act amid the proof.
    #[error(
        "the dead-man's {deadman_s} s must be more than {needed_s} s, which one switch, settling and the soak may take: raise `deadman_s` or lower the others"
    )]
    DeadManTooEarly {
        /// After how long it acts.
        deadman_s: u32,
        /// What it has to be more than.
        needed_s: i64,
    },
    /// Nothing would have to be proven.
    #[error("`looks` and `heads` must be at least 1: a system that nobody looked at is not proven")]
    NothingToProve,
    /// The order allows less time than soak, dead-man and undo may take.
    #[error(
        "`max_runtime_s` is {given_s}; asking, soak, dead-man and undo may take up to {needed_s} s, and fetching the system comes on top"
    )]
    TooShort {
        /// What the order allows.
        given_s: u32,
        /// What it may take.
        needed_s: i64,
    },
}

impl Limits {
    /// Whether they fit each other.
    pub fn check(&self) -> Result<(), LimitsError> {
        let needed = self.switch().plus(self.settle()).plus(self.soak()).plus(MARGIN);
        let needed_s = seconds(needed);
        if i64::from(self.deadman_s) <= needed_s {
            return Err(LimitsError::DeadManTooEarly { deadman_s: self.deadman_s, needed_s });
        }
        if self.looks == 0 || self.heads == 0 {
            return Err(LimitsError::NothingToProve);
        }
        Ok(())
    }

    /// Whether an order that allows `max_runtime_s` leaves time for the worst case. How long fetching takes,
    /// nobody knows before: when the system is here, it is asked again.
    pub fn fit(&self, max_runtime_s: u32) -> Result<(), LimitsError> {
        let needed_s = seconds(self.needed().plus(PREPARING));
        if i64::from(max_runtime_s) < needed_s {
            return Err(LimitsError::TooShort { given_s: max_runtime_s, needed_s });
        }
        Ok(())
    }

    /// From the last question to the end of the dead-man's undo: so long the window must stay open.
    pub fn needed(&self) -> Span {
        START_SLACK.plus(self.deadman()).plus(self.switch())
    }

    /// The same for a system that is switched to, or booted: there and back, and with a guard that acts last.
    pub fn needed_for(&self, class: Class) -> Span {
        match class {
            Class::Live => self.needed(),
            Class::Reboot => self.needed().plus(GOES_DOWN).plus(GOES_DOWN).plus(GOES_DOWN),
        }
    }

    /// See [`Limits::switch_s`].
    pub fn switch(&self) -> Span {
        Span::from_secs(self.switch_s.into())
    }

    /// See [`Limits::settle_s`].
    pub fn settle(&self) -> Span {
        Span::from_secs(self.settle_s.into())
    }

    /// See [`Limits::soak_s`].
    pub fn soak(&self) -> Span {
        Span::from_secs(self.soak_s.into())
    }

    /// See [`Limits::deadman_s`].
    pub fn deadman(&self) -> Span {
        Span::from_secs(self.deadman_s.into())
    }
}

/// Reads limits that were stored, perhaps by a later release: what that knew besides is left out. In a
/// configuration it would be a mistake.
pub(super) fn stored<'de, D: Deserializer<'de>>(from: D) -> Result<Limits, D::Error> {
    let mut read = Value::deserialize(from)?;
    let known = serde_json::to_value(Limits::default()).map_err(D::Error::custom)?;
    if let Some(fields) = read.as_object_mut() {
        fields.retain(|name, _| known.get(name).is_some());
    }
    serde_json::from_value(read).map_err(D::Error::custom)
}

fn seconds(span: Span) -> i64 {
    span.as_millis() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_and_need_less_than_the_shortest_usual_window() {
        let limits = Limits::default();
        limits.check().unwrap();
        assert!(limits.needed() < Span::from_hours(1), "{}", limits.needed());
    }

    #[test]
    fn a_dead_man_that_would_act_amid_the_proof_is_refused() {
        let limits = Limits { deadman_s: 900 + 30 + 120 + 60, ..Limits::default() };
        let error = limits.check().unwrap_err();
        assert_eq!(error, LimitsError::DeadManTooEarly { deadman_s: 1110, needed_s: 1110 });
        assert!(Limits { deadman_s: 1111, ..limits }.check().is_ok());
    }

    #[test]
    fn an_order_must_leave_time_for_soak_dead_man_and_undo() {
        let limits = Limits::default();
        assert!(limits.fit(2580).is_ok());
        let short = limits.fit(2579).unwrap_err();
        assert_eq!(short, LimitsError::TooShort { given_s: 2579, needed_s: 2580 });
    }

    #[test]
    fn a_proof_of_nothing_is_refused() {
        for nothing in
            [Limits { looks: 0, ..Limits::default() }, Limits { heads: 0, ..Limits::default() }]
        {
            assert_eq!(nothing.check(), Err(LimitsError::NothingToProve));
        }
    }

    #[test]
    fn what_they_do_not_know_is_refused_in_a_configuration_and_left_out_of_what_was_stored() {
        let json = r#"{ "switch_s": 7, "mood_s": 1 }"#;
        assert!(serde_json::from_str::<Limits>(json).is_err());
        let read = stored(&mut serde_json::Deserializer::from_str(json)).unwrap();
        assert_eq!(read, Limits { switch_s: 7, ..Limits::default() });
    }
}
