//! Points in time and spans, in milliseconds. Nothing here reads a clock: time is always a parameter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time, in whole milliseconds since 1970-01-01T00:00:00Z.
///
/// In text RFC 3339 in UTC with exactly three decimals: `2026-11-20T09:41:11.000Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    const MIN_MS: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00.000Z
    const MAX_MS: i64 = 253_402_207_200_000; // 9999-12-30T22:00:00.000Z, the last that jiff reads from milliseconds

    /// The point `ms` milliseconds after the epoch, clamped to the years 0000 to 9999.
    pub const fn from_millis(ms: i64) -> Self {
        if ms < Self::MIN_MS {
            Self(Self::MIN_MS)
        } else if ms > Self::MAX_MS {
            Self(Self::MAX_MS)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This point moved by `span`, clamped to the years 0000 to 9999.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` to this point; negative when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in milliseconds; may be negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `ms` milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// `secs` seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// `hours` hours of 3,600 seconds.
    pub const fn from_hours(hours: i64) -> Self {
        Self::from_secs(hours.saturating_mul(3600))
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This much and `more`; the ends of the range are not passed.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl fmt::Display for Span {
    /// Written for people: the two largest units, such as `3 d 4 h` or `850 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ms = self.0.unsigned_abs();
        let [secs, mins, hours, days] = [1000, 60_000, 3_600_000, 86_400_000].map(|unit| ms / unit);
        match () {
            () if days > 0 => write!(f, "{sign}{days} d {} h", hours % 24),
            () if hours > 0 => write!(f, "{sign}{hours} h {} min", mins % 60),
            () if mins > 0 => write!(f, "{sign}{mins} min {} s", secs % 60),
            () if secs > 0 => write!(f, "{sign}{secs} s"),
            () => write!(f, "{sign}{ms} ms"),
        }
    }
}

/// The text is not RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time is written in UTC with milliseconds, such as 2026-11-20T09:41:11.000Z")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        let at: jiff::Timestamp = text.parse().map_err(|_| NotATimestamp)?;
        let parsed = Self::from_millis(at.as_millisecond());
        // One spelling only: what is signed must have one canonical form.
        if parsed.to_string() == text { Ok(parsed) } else { Err(NotATimestamp) }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NotATimestamp;

    fn try_from(text: String) -> Result<Self, NotATimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(at: Timestamp) -> Self {
        at.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The clamp in `from_millis` keeps this within jiff's own range.
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{at:.3}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_spelling() {
        let at: Timestamp = "2026-11-20T09:41:11.000Z".parse().unwrap();
        assert_eq!(at.as_millis(), 1_795_167_671_000);
        assert_eq!(at.to_string(), "2026-11-20T09:41:11.000Z");
        for bad in [
            "2026-11-20T09:41:11Z",
            "2026-11-20T09:41:11.0000Z",
            "2026-11-20T09:41:11.000+00:00",
            "2026-11-20t09:41:11.000z",
            "2026-11-20 09:41:11.000Z",
            "2026-11-20T09:41:60.000Z",
            "",
        ] {
            assert_eq!(bad.parse::<Timestamp>(), Err(NotATimestamp), "{bad}");
        }
    }

    #[test]
    fn arithmetic_stays_in_the_years_that_can_be_written() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.to_string(), "9999-12-30T22:00:00.000Z");
        assert_eq!(end.plus(Span::from_hours(1)), end);
        assert_eq!(Timestamp::from_millis(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_span_is_written_for_people() {
        assert_eq!(Span::from_hours(76).to_string(), "3 d 4 h");
        assert_eq!(Span::from_millis(850).to_string(), "850 ms");
        assert_eq!(Span::from_secs(-61).to_string(), "-1 min 1 s");
    }
}
