//! Systems that failed lately.

use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// A system that failed is left alone for so long.
pub const QUARANTINE: Span = Span::from_hours(24);

/// The systems that failed lately, by the machine's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quarantine(Vec<Quarantined>);

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
    pub fn with(self, system: StorePath, now: Timestamp) -> Self {
        let until = now.plus(QUARANTINE);
        let others = self.0.into_iter().filter(|it| it.system != system && it.until > now);
        Self(others.chain([Quarantined { system: system.clone(), until }]).collect())
    }

    /// Until when `system` is left alone. A clock that was set back does not make that longer than it was.
    pub fn until(&self, system: &StorePath, now: Timestamp) -> Option<Timestamp> {
        let it = self.0.iter().find(|it| it.system == *system)?;
        let until = it.until.min(now.plus(QUARANTINE));
        (now < until).then_some(until)
    }
}
