//! PROTOCOL "trusted now": which of the kernel and the feed is believed, and when nobody is.

use compliance_protocol::clock::{
    ClockDoubt, ClockReading, ClockSource, HeadMark, MAX_JUMP, TrustedNow, stepped_back,
    trusted_now,
};
use compliance_protocol::time::{Span, Timestamp};
use proptest::prelude::*;

use crate::given::at;

const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;
const BOOT: Span = Span::from_secs(5000);

/// The true time in these tests.
fn now() -> Timestamp {
    at("2026-11-20T12:00:00.000Z")
}

fn secs(from_now: i64) -> Timestamp {
    now().plus(Span::from_secs(from_now))
}

fn kernel(synchronised: bool, off_by: i64) -> ClockReading {
    ClockReading { wall: secs(off_by), boottime: BOOT, synchronised, offset_ms: 0, max_error_ms: 0 }
}

/// A head that was verified 40 s ago and makes the feed say that it is now plus `off_by` seconds.
#[allow(clippy::unnecessary_wraps, reason = "the table also has None in its column")]
fn feed(off_by: i64) -> Option<HeadMark> {
    let ticket_boottime = Span::from_millis(BOOT.as_millis() - 40_000);
    Some(HeadMark { issued_at: secs(off_by - 40), ticket_boottime })
}

/// A high-water mark so many seconds from now.
#[allow(clippy::unnecessary_wraps, reason = "the table also has None in its column")]
fn mark(off_by: i64) -> Option<Timestamp> {
    Some(secs(off_by))
}

/// Expected: by the kernel or the feed, so many seconds from now; or a doubt.
fn by(source: ClockSource, off_by: i64) -> TrustedNow {
    TrustedNow::Known { at: secs(off_by), source }
}

const NO_SOURCE: TrustedNow = TrustedNow::Unknown(ClockDoubt::NoSource);
const JUMP: TrustedNow = TrustedNow::Unknown(ClockDoubt::Jump);

#[test]
fn the_table() {
    use ClockSource::{Feed, Kernel};
    // synchronised?, kernel is off by, the feed, the high-water mark -> what is believed
    let table = [
        // The kernel when it is synchronised; the feed is not asked.
        (true, 0, None, None, by(Kernel, 0)),
        (true, 0, feed(0), mark(-60), by(Kernel, 0)),
        (true, 0, feed(200), mark(-60), by(Kernel, 0)),
        (true, 0, feed(10 * YEAR), mark(-60), by(Kernel, 0)),
        (true, 0, feed(-10 * YEAR), mark(-60), by(Kernel, 0)),
        // Not synchronised: the feed, however wrong the kernel's clock is.
        (false, 0, feed(0), mark(-60), by(Feed, 0)),
        (false, DAY, feed(0), mark(-60), by(Feed, 0)),
        (false, -DAY, feed(0), mark(-60), by(Feed, 0)),
        (false, 10 * YEAR, feed(0), mark(-60), by(Feed, 0)),
        (false, -10 * YEAR, feed(0), mark(-60), by(Feed, 0)),
        (false, 0, feed(0), None, by(Feed, 0)),
        // The feed is never below the mark.
        (false, 0, feed(-10), mark(0), by(Feed, 0)),
        (false, 0, feed(-DAY), mark(-60), by(Feed, -60)),
        (false, 0, feed(-10 * YEAR), mark(-60), by(Feed, -60)),
        // Nobody: read-only work and local healing go on, orders wait.
        (false, 0, None, mark(-60), NO_SOURCE),
        (false, 0, None, None, NO_SOURCE),
        // Synchronised, but behind the mark by over 60 s: the kernel is not believed.
        (true, -60, None, mark(0), by(Kernel, -60)),
        (true, -61, None, mark(0), NO_SOURCE),
        (true, -DAY, None, mark(0), NO_SOURCE),
        (true, -10 * YEAR, None, mark(0), NO_SOURCE),
        (true, -DAY, feed(0), mark(0), by(Feed, 0)),
        // A mark that is ahead of both is wrong: somebody once believed a time to come.
        (true, 0, feed(0), mark(DAY), by(Kernel, 0)),
        (true, 0, feed(300), mark(10 * YEAR), by(Kernel, 0)),
        (true, 0, feed(301), mark(DAY), by(Feed, DAY)),
        (true, -10 * YEAR, feed(0), mark(-60), by(Feed, 0)),
        // Forward by over 24 h: both must say so.
        (true, DAY, None, mark(0), by(Kernel, DAY)),
        (true, DAY + 1, None, mark(0), JUMP),
        (true, 10 * YEAR, None, mark(0), JUMP),
        (false, 0, feed(DAY), mark(0), by(Feed, DAY)),
        (false, 0, feed(DAY + 1), mark(0), JUMP),
        (false, 0, feed(10 * YEAR), mark(0), JUMP),
        (true, 10 * YEAR, feed(10 * YEAR), mark(0), by(Kernel, 10 * YEAR)),
        (true, 10 * YEAR, feed(10 * YEAR + 300), mark(0), by(Kernel, 10 * YEAR)),
        (true, 10 * YEAR, feed(10 * YEAR + 301), mark(0), JUMP),
        (true, 10 * YEAR, feed(0), mark(0), by(Feed, 0)),
        (false, 10 * YEAR, feed(10 * YEAR), mark(0), JUMP),
        // A box that was off for weeks, with a synchronised clock and a fresh head.
        (true, 0, feed(0), mark(-40 * DAY), by(Kernel, 0)),
        (true, 0, None, mark(-40 * DAY), JUMP),
    ];
    for (row, (synchronised, off_by, head, high_water, expected)) in table.into_iter().enumerate() {
        let got = trusted_now(kernel(synchronised, off_by), head, high_water);
        assert_eq!(got, expected, "row {row}");
    }
}

#[test]
fn the_feeds_time_goes_on_with_boottime_also_through_suspend() {
    let mut reading = kernel(false, -10 * YEAR);
    for later in [0, 1, 60, DAY] {
        reading.boottime = Span::from_millis(BOOT.as_millis() + later * 1000);
        assert_eq!(trusted_now(reading, feed(0), mark(0)), by(ClockSource::Feed, later));
    }
}

#[test]
fn a_boottime_before_the_tickets_does_not_turn_time_back() {
    let mut reading = kernel(false, 0);
    reading.boottime = Span::ZERO;
    let TrustedNow::Known { at, .. } = trusted_now(reading, feed(0), mark(-60)) else { panic!() };
    assert!(at >= secs(-60));
}

#[test]
fn a_step_back_is_over_60_s_behind_the_mark() {
    for (off_by, back) in [(0, false), (-60, false), (-61, true), (-DAY, true), (DAY, false)] {
        assert_eq!(stepped_back(kernel(true, off_by), mark(0)), back, "{off_by}");
        assert!(!stepped_back(kernel(true, off_by), None));
    }
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (-10 * YEAR..10 * YEAR).prop_map(secs),
        (-2 * DAY..2 * DAY).prop_map(secs),
        (-120_i64..120).prop_map(secs),
        any::<i64>().prop_map(Timestamp::from_millis),
    ]
}

fn any_span() -> impl Strategy<Value = Span> {
    prop_oneof![0..100_000_000_i64, any::<i64>()].prop_map(Span::from_millis)
}

fn any_reading() -> impl Strategy<Value = ClockReading> {
    (any_time(), any_span(), any::<bool>()).prop_map(|(wall, boottime, synchronised)| {
        ClockReading { wall, boottime, synchronised, offset_ms: 0, max_error_ms: 0 }
    })
}

fn any_head() -> impl Strategy<Value = Option<HeadMark>> {
    prop::option::of((any_time(), any_span())).prop_map(|head| {
        head.map(|(issued_at, ticket_boottime)| HeadMark { issued_at, ticket_boottime })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_believed_keeps_to_the_mark(
        reading in any_reading(), head in any_head(), mark in prop::option::of(any_time()),
    ) {
        let believed = trusted_now(reading, head, mark);
        if head.is_none() && !reading.synchronised {
            prop_assert_eq!(believed, NO_SOURCE);
        }
        let TrustedNow::Known { at, source } = believed else { return Ok(()) };
        prop_assert!(source != ClockSource::None);
        if let (ClockSource::Feed, Some(mark)) = (source, mark) {
            prop_assert!(at >= mark, "{at} is below the mark {mark}");
        }
        if let Some(mark) = mark {
            let alone = mark.since(at) <= Span::from_secs(60);
            prop_assert!(alone || head.is_some(), "{at} is far below the mark {mark}");
            if at.since(mark) > MAX_JUMP {
                prop_assert!(reading.synchronised && head.is_some(), "only both may jump");
            }
        }
        if source == ClockSource::Kernel {
            prop_assert!(reading.synchronised && at == reading.wall);
        }
    }

    #[test]
    fn an_unsynchronised_clock_has_no_say(
        reading in any_reading(), wall in any_time(), head in any_head(), mark in prop::option::of(any_time()),
    ) {
        let reading = ClockReading { synchronised: false, ..reading };
        let other = ClockReading { wall, ..reading };
        prop_assert_eq!(trusted_now(reading, head, mark), trusted_now(other, head, mark));
    }
}
