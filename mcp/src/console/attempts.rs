//! How often somebody may try to log in, all together: everybody comes from loopback.

use std::sync::{Mutex, PoisonError};

use compliance_protocol::time::{Span, Timestamp};

/// One more try every so long …
const EVERY: Span = Span::from_secs(6);
/// … and as many at once.
const AT_ONCE: i64 = 10;

/// The tries so far, as the time when all of them are forgotten.
#[derive(Debug)]
pub(super) struct Attempts(Mutex<Timestamp>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_millis(0)))
    }
}

impl Attempts {
    /// Counts a try; or says how long nobody may.
    pub(super) fn begin(&self, now: Timestamp) -> Result<(), Span> {
        let all = Span::from_millis(EVERY.as_millis() * AT_ONCE);
        let mut forgotten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Also after the clock was set back, nobody waits for longer than it takes to forget all.
        let after = (*forgotten).clamp(now, now.plus(all)).plus(EVERY);
        let too_long = after.since(now.plus(all));
        if too_long > Span::ZERO {
            return Err(too_long);
        }
        *forgotten = after;
        Ok(())
    }

    /// The last try was none: it was right.
    pub(super) fn was_right(&self) {
        let mut forgotten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten = forgotten.plus(Span::from_millis(-EVERY.as_millis()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_at_once_and_then_one_every_six_seconds() {
        let attempts = Attempts::default();
        let now = Timestamp::from_millis(1_795_167_671_000);
        let later = |seconds| now.plus(Span::from_secs(seconds));
        assert!((0..10).all(|_| attempts.begin(now).is_ok()));
        assert_eq!(attempts.begin(now), Err(Span::from_secs(6)));
        assert_eq!(attempts.begin(later(5)), Err(Span::from_secs(1)));
        assert_eq!(attempts.begin(later(6)), Ok(()));
        assert!(attempts.begin(later(6)).is_err());
        assert!((0..10).all(|_| attempts.begin(later(3600)).is_ok()));
        assert!(attempts.begin(later(3600)).is_err());
    }

    #[test]
    fn what_was_right_does_not_count() {
        let attempts = Attempts::default();
        let now = Timestamp::from_millis(1_795_167_671_000);
        for _ in 0..100 {
            attempts.begin(now).unwrap();
            attempts.was_right();
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_long() {
        let attempts = Attempts::default();
        let now = Timestamp::from_millis(1_795_167_671_000);
        assert!((0..10).all(|_| attempts.begin(now).is_ok()));
        let before = now.plus(Span::from_hours(-10));
        assert_eq!(attempts.begin(before), Err(EVERY));
        assert!(attempts.begin(before.plus(EVERY)).is_err());
    }
}
