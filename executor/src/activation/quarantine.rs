//! Systems that failed lately.

use std::str::FromStr;

use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// A system that failed is left alone for so long.
pub const QUARANTINE: Span = Span::from_hours(24);

/// The systems that failed lately, by the machine's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quarantine(Vec<Quarantined>);

impl FromStr for Quarantine {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(json)
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The system.
    pub system: StorePath,
    /// Until when.
    pub until: Timestamp,
}

impl Quarantine {
    /// With `system` too, from `now` on, and without those whose time is over.
    #[must_use]
    pub fn with(self, system: &StorePath, now: Timestamp) -> Self {
        let until = now.plus(QUARANTINE);
        let others = self.0.into_iter().filter(|it| it.system != *system && it.until > now);
        Self(others.chain([Quarantined { system: system.clone(), until }]).collect())
    }

    /// Until when `system` is left alone. A clock that was set back does not make that longer than it was.
    pub fn until(&self, system: &StorePath, now: Timestamp) -> Option<Timestamp> {
        let it = self.0.iter().find(|it| it.system == *system)?;
        let until = it.until.min(now.plus(QUARANTINE));
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_795_167_671_000);

    fn system(name: &str) -> StorePath {
        format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}").parse().unwrap()
    }

    fn at(hours: i64) -> Timestamp {
        T.plus(Span::from_hours(hours))
    }

    #[test]
    fn a_system_is_left_alone_for_a_day_and_others_are_not() {
        let quarantine = Quarantine::default().with(&system("a"), T);
        assert_eq!(quarantine.until(&system("a"), at(23)), Some(at(24)));
        assert_eq!(quarantine.until(&system("a"), at(24)), None);
        assert_eq!(quarantine.until(&system("b"), T), None);
    }

    #[test]
    fn what_is_over_is_forgotten_and_what_fails_again_begins_anew() {
        let quarantine = Quarantine::default().with(&system("a"), T).with(&system("b"), at(20));
        let again = quarantine.with(&system("b"), at(30));
        assert_eq!(again, Quarantine::default().with(&system("b"), at(30)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_it_no_longer_than_a_day() {
        let quarantine = Quarantine::default().with(&system("a"), at(1000));
        assert_eq!(quarantine.until(&system("a"), T), Some(at(24)));
    }
}
