//! The clock for certificates: the ticket's time, going on with `CLOCK_BOOTTIME`.

use std::sync::atomic::{AtomicI64, Ordering};

use compliance_protocol::time::{Span, Timestamp};

/// The time since the last ticket, which the executor knows better than this machine's wall clock may:
/// a machine that wakes up in 1970 can still check a certificate.
#[derive(Debug)]
pub struct TicketClock {
    /// Milliseconds from `CLOCK_BOOTTIME` to the time of day; [`UNSET`] before the first ticket.
    offset: AtomicI64,
}

const UNSET: i64 = i64::MIN;

impl TicketClock {
    /// A clock that nobody has set.
    pub const fn unset() -> Self {
        Self { offset: AtomicI64::new(UNSET) }
    }

    /// It is `time` now, when `CLOCK_BOOTTIME` says `boottime`.
    pub fn set(&self, time: Timestamp, boottime: Span) {
        let offset = time.as_millis().saturating_sub(boottime.as_millis());
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The time when `CLOCK_BOOTTIME` says `boottime`, if the clock was ever set.
    pub fn at(&self, boottime: Span) -> Option<Timestamp> {
        match self.offset.load(Ordering::Relaxed) {
            UNSET => None,
            offset => Some(Timestamp::from_millis(offset.saturating_add(boottime.as_millis()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_ticket_nobody_knows_the_time() {
        assert_eq!(TicketClock::unset().at(Span::from_secs(9)), None);
    }

    #[test]
    fn the_tickets_time_goes_on_with_boottime_and_the_next_ticket_replaces_it() {
        let clock = TicketClock::unset();
        let ticket = Timestamp::from_millis(1_795_167_671_000);
        clock.set(ticket, Span::from_secs(10));
        assert_eq!(clock.at(Span::from_secs(70)), Some(ticket.plus(Span::from_secs(60))));
        clock.set(ticket, Span::from_secs(100));
        assert_eq!(clock.at(Span::from_secs(101)), Some(ticket.plus(Span::from_secs(1))));
    }
}
