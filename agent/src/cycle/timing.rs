//! How long to wait. Randomness is a parameter.

use compliance_protocol::time::Span;

use crate::config::PollJitter;

/// A hint of the control plane's is kept within these.
pub const HINTS: (Span, Span) = (Span::from_secs(5), Span::from_hours(1));

/// No failure makes the wait longer than this, unless the poll interval is.
pub const MAX_BACKOFF: Span = Span::from_secs(15 * 60);

/// The first wait for an executor that does not answer: it is near, and asking it costs nothing.
const NEAR: Span = Span::from_secs(1);

/// The control plane's wish in seconds, within bounds. An interval below the bounds is a demonstration's
/// or a test's, and nobody steers that one.
pub fn hinted(interval: Span, hint: Option<u32>) -> Option<Span> {
    let hint = Span::from_secs(i64::from(hint?));
    (interval >= HINTS.0).then(|| hint.clamp(HINTS.0, HINTS.1))
}

/// The interval, more or less its jitter.
pub fn jittered(interval: Span, jitter: PollJitter, random: u64) -> Span {
    let (ms, most) = (interval.as_millis(), jitter.of(interval).as_millis());
    between(ms.saturating_sub(most), ms.saturating_add(most), random)
}

/// After `failures` failed polls in a row, the first of them included: anything up to a bound that
/// doubles each time. Not less than a tenth of the interval, so that bad luck does not hammer.
pub fn backed_off(interval: Span, failures: u32, random: u64) -> Span {
    let ceiling = doubled(interval, failures).min(MAX_BACKOFF).max(interval);
    between(interval.as_millis() / 10, ceiling.as_millis(), random)
}

/// The same for an executor that does not answer: from a second up to the interval.
pub fn backed_off_near(interval: Span, failures: u32, random: u64) -> Span {
    let first = NEAR.min(interval);
    let ceiling = doubled(first, failures).min(interval);
    between(first.as_millis() / 10, ceiling.as_millis(), random)
}

fn doubled(first: Span, failures: u32) -> Span {
    let factor = 1_i64.checked_shl(failures.saturating_sub(1).min(32)).unwrap_or(i64::MAX);
    Span::from_millis(first.as_millis().saturating_mul(factor))
}

/// Uniform from `low` to `high` milliseconds, both included.
fn between(low: i64, high: i64, random: u64) -> Span {
    let choices = i128::from(high) - i128::from(low) + 1;
    let offset = (i128::from(random) * choices) >> 64;
    Span::from_millis(low.saturating_add(i64::try_from(offset).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Span = Span::from_secs(60);

    #[test]
    fn jitter_reaches_both_its_ends_and_nothing_beyond() {
        for (percent, soonest, latest) in [(0, 60, 60), (10, 54, 66), (50, 30, 90)] {
            let jitter = PollJitter::try_from(percent).unwrap();
            assert_eq!(jittered(MINUTE, jitter, 0), Span::from_secs(soonest));
            assert_eq!(jittered(MINUTE, jitter, u64::MAX), Span::from_secs(latest));
        }
    }

    #[test]
    fn backoff_doubles_from_the_interval_up_to_a_quarter_of_an_hour() {
        let most = |failures| backed_off(MINUTE, failures, u64::MAX).as_millis() / 60_000;
        assert_eq!([1, 2, 3, 4, 5, 6, u32::MAX].map(most), [1, 2, 4, 8, 15, 15, 15]);
        assert_eq!(backed_off(MINUTE, 9, 0), Span::from_secs(6));
    }

    #[test]
    fn an_interval_beyond_the_longest_backoff_is_kept() {
        let hour = Span::from_hours(1);
        assert_eq!(backed_off(hour, 4, u64::MAX), hour);
    }

    #[test]
    fn an_executor_that_is_away_is_asked_again_soon() {
        let most = |failures| backed_off_near(MINUTE, failures, u64::MAX).as_millis() / 1000;
        assert_eq!([1, 2, 3, 7, 40].map(most), [1, 2, 4, 60, 60]);
        assert_eq!(backed_off_near(Span::from_millis(200), 5, u64::MAX), Span::from_millis(200));
    }

    #[test]
    fn hints_stay_within_bounds_and_do_not_steer_a_demonstration() {
        let hint = |seconds| hinted(MINUTE, Some(seconds));
        assert_eq!(hint(0), Some(Span::from_secs(5)));
        assert_eq!(hint(90), Some(Span::from_secs(90)));
        assert_eq!(hint(u32::MAX), Some(Span::from_hours(1)));
        assert_eq!(hinted(MINUTE, None), None);
        assert_eq!(hinted(Span::from_millis(200), Some(60)), None);
    }
}
