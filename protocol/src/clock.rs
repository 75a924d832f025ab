//! *Trusted now*: what time it is, as far as this machine can know.

use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp};

/// A clock further behind the high-water mark than this is reported.
pub const STEP_TOLERANCE: Span = Span::from_secs(60);

/// A jump forward beyond this needs both sources.
pub const MAX_JUMP: Span = Span::from_hours(24);

/// What the kernel's clocks say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// `CLOCK_REALTIME`.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`: counts through suspend, never steps.
    pub boottime: Span,
    /// Whether the kernel says that `wall` is synchronised (adjtimex(2), not `STA_UNSYNC`).
    pub synchronised: bool,
    /// The kernel's estimate of its offset, in milliseconds.
    pub offset_ms: i64,
    /// The kernel's bound of its error, in milliseconds.
    pub max_error_ms: i64,
}

/// The last feed head that verified in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadMark {
    /// The head's `issued_at`.
    pub issued_at: Timestamp,
    /// `CLOCK_BOOTTIME` when its ticket was given: the head was made after that.
    pub ticket_boottime: Span,
}

/// What time it is, or that nobody can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedNow {
    /// It is this time.
    Known {
        /// The time.
        at: Timestamp,
        /// Who says so.
        source: ClockSource,
    },
    /// Nobody can say.
    Unknown(ClockDoubt),
}

/// Who says what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The kernel's clock, which is synchronised.
    Kernel,
    /// The last verified feed head, plus the time since.
    Feed,
    /// Nobody.
    None,
}

/// Why nobody can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockDoubt {
    /// The kernel's clock is not synchronised, or behind the high-water mark, and no feed head was
    /// verified in this boot.
    NoSource,
    /// The only source jumped more than [`MAX_JUMP`] beyond the high-water mark.
    Jump,
}

impl TrustedNow {
    /// The time, if it is known.
    pub fn at(self) -> Option<Timestamp> {
        match self {
            Self::Known { at, .. } => Some(at),
            Self::Unknown(_) => None,
        }
    }
}

/// Decides what time it is (PROTOCOL §2, *trusted now*).
///
/// `high_water` is the latest time that the ledger ever trusted. A kernel clock that is behind it, or more
/// than [`MAX_JUMP`] ahead of it, counts only where a feed head agrees with it.
pub fn trusted_now(
    reading: ClockReading,
    head: Option<HeadMark>,
    high_water: Option<Timestamp>,
) -> TrustedNow {
    let feed = head.map(|mark| mark.now(reading.boottime));
    let jumped = |at: Timestamp| high_water.is_some_and(|mark| at.since(mark) > MAX_JUMP);
    let near = |at: Timestamp| reading.wall.since(at).as_millis().abs() <= MAX_SKEW_MS;
    let agree = reading.synchronised && feed.is_some_and(near);
    let alone = reading.synchronised && !stepped_back(reading, high_water) && !jumped(reading.wall);
    if agree || alone {
        return TrustedNow::Known { at: reading.wall, source: ClockSource::Kernel };
    }
    match feed {
        Some(at) if !jumped(at) => {
            let at = high_water.map_or(at, |mark| mark.max(at));
            TrustedNow::Known { at, source: ClockSource::Feed }
        }
        None if !reading.synchronised || !jumped(reading.wall) => {
            TrustedNow::Unknown(ClockDoubt::NoSource)
        }
        _ => TrustedNow::Unknown(ClockDoubt::Jump),
    }
}

/// Whether the kernel's clock is behind the high-water mark by more than [`STEP_TOLERANCE`].
pub fn stepped_back(reading: ClockReading, high_water: Option<Timestamp>) -> bool {
    high_water.is_some_and(|mark| mark.since(reading.wall) > STEP_TOLERANCE)
}

const MAX_SKEW_MS: i64 = 5 * 60 * 1000;

impl HeadMark {
    /// The time by this mark. The head was made after its ticket was given, so the time since the
    /// ticket is a little too much: an order looks at most one poll older than it is, never younger.
    fn now(self, boottime: Span) -> Timestamp {
        let since = boottime.as_millis().saturating_sub(self.ticket_boottime.as_millis());
        self.issued_at.plus(Span::from_millis(since))
    }
}

/// The clock as a bundle of evidence shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockEvidence {
    /// Whether the kernel said that its clock was synchronised.
    pub synchronised: bool,
    /// Who said what time it was.
    pub source: ClockSource,
    /// The kernel's estimate of its offset, in milliseconds.
    pub offset_ms: i64,
    /// The kernel's bound of its error, in milliseconds.
    pub max_error_ms: i64,
    /// Whether the clock was behind the latest time ever trusted.
    pub stepped_back: bool,
}
