//! What holds of the cycle whatever both sides say, and whenever they say it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

use compliance_agent::config::PollJitter;
use compliance_agent::cycle::timing::{
    HINTS, MAX_BACKOFF, backed_off, backed_off_near, hinted, jittered,
};
use compliance_agent::cycle::{Action, Event, Work};
use compliance_agent::report::Cause;
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::Span;
use proptest::prelude::*;
use support::{
    Courier, TODAY, bundle, ok, pending, poll_answer, recorded, reply, status_answer, ticket,
    unreached, upload_answer,
};

/// How one piece of work may end.
#[derive(Debug, Clone)]
enum Ending {
    /// As it should.
    Well,
    /// With an empty or negative answer, where there is one.
    Empty,
    /// With an answer to another question, or one that is none.
    Wrong,
    /// Without an answer.
    Silent,
    /// With an error, and perhaps a wish when to come again.
    Error(Option<u32>),
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        6 => Just(Ending::Well),
        2 => Just(Ending::Empty),
        1 => Just(Ending::Wrong),
        1 => Just(Ending::Silent),
        1 => proptest::option::of(any::<u32>()).prop_map(Ending::Error),
    ]
}

fn event(work: &Work, ending: &Ending) -> Event {
    match (work, ending) {
        (Work::Wait(_), _) => Event::Woke,
        (Work::Ask(_), Ending::Silent) => Event::Unanswered("away".to_owned()),
        (Work::Ask(_), Ending::Error(_)) => {
            Event::Answered(Answer::Error { detail: "no".to_owned() })
        }
        (Work::Ask(Request::Event { .. }), Ending::Wrong) => {
            Event::Answered(Answer::Feed { fresh: true, log_size: 0 })
        }
        (Work::Ask(_), Ending::Wrong) | (Work::Ask(Request::Event { .. }), _) => {
            Event::Answered(Answer::Event {})
        }
        (Work::Ask(Request::Ticket {}), _) => {
            Event::Answered(Answer::Ticket { ticket: ticket(TODAY) })
        }
        (Work::Ask(Request::Feed { .. }), ending) => {
            Event::Answered(Answer::Feed { fresh: matches!(ending, Ending::Well), log_size: 0 })
        }
        (Work::Ask(Request::Pending { .. }), Ending::Well) => pending(vec![bundle(1)]),
        (Work::Ask(Request::Pending { .. }), _) => pending(Vec::new()),
        (Work::Ask(Request::Receipts { .. }), ending) => {
            recorded(u64::from(matches!(ending, Ending::Well)))
        }
        (Work::Ask(Request::Status {}), _) => status_answer(),
        (Work::Send(_), Ending::Silent) => unreached(Cause::Timeout),
        (Work::Send(_), Ending::Error(wish)) => reply(503, *wish, ""),
        (Work::Send(_), Ending::Wrong) => ok("garbage"),
        (Work::Send(call), _) if call.body.is_some() => ok(&upload_answer(1)),
        (Work::Send(_), _) => ok(&poll_answer(60)),
    }
}

/// The one piece of work among `actions`, if there is one; never two.
fn begun(actions: &[Action]) -> Option<Work> {
    let mut work = actions.iter().filter_map(|action| match action {
        Action::Begin(work) => Some(work.clone()),
        _ => None,
    });
    let first = work.next();
    assert_eq!(work.next(), None, "one piece of work at a time");
    first
}

/// A jitter that may be configured, with its percentage.
fn jitter() -> impl Strategy<Value = (PollJitter, i64)> {
    (0_u8..=50).prop_map(|percent| (PollJitter::try_from(percent).unwrap(), percent.into()))
}

fn is_poll(work: &Work) -> bool {
    matches!(work, Work::Send(call) if call.body.is_none())
}

/// Whether this hands an answer of the control plane's to the executor.
fn delivers(work: &Work) -> bool {
    matches!(work, Work::Ask(Request::Feed { .. } | Request::Receipts { .. }))
}

proptest! {
    #[test]
    fn whatever_happens_work_goes_on_one_piece_at_a_time_and_each_poll_has_its_ticket(
        interval_ms in 200_i64..3_600_000,
        endings in proptest::collection::vec((ending(), any::<u64>()), 1..200),
    ) {
        let mut courier = Courier::new(Span::from_millis(interval_ms));
        let mut work = courier.work(Event::Woke);
        let (mut tickets, mut polls) = (1, 0);
        for (ending, random) in endings {
            courier.random = random;
            let event = event(&work, &ending);
            let received = matches!(&event, Event::Responded(reply) if reply.status == 200 && reply.body != b"garbage");
            let next = begun(&courier.take(event)).expect("there is always something to do next");
            let permitted = work == Work::Ask(Request::Ticket {});
            prop_assert!(permitted || !is_poll(&next));
            // What is handed in comes straight from an answer of the control plane.
            if delivers(&next) {
                prop_assert!(received && matches!(work, Work::Send(_)));
            }
            tickets += u32::from(next == Work::Ask(Request::Ticket {}));
            polls += u32::from(is_poll(&next));
            prop_assert!(polls <= tickets);
            work = next;
        }
    }

    #[test]
    fn every_cycle_ends_with_one_wait_that_is_within_its_bounds_and_saves_its_report(
        interval_ms in 200_i64..3_600_000,
        (jitter, percent) in jitter(),
        endings in proptest::collection::vec((ending(), any::<u64>()), 1..200),
    ) {
        let interval = Span::from_millis(interval_ms);
        let longest = interval.max(HINTS.1).as_millis() * (100 + percent) / 100;
        let mut courier = Courier::jittered(interval, jitter);
        let mut work = courier.work(Event::Woke);
        for (ending, random) in endings {
            courier.random = random;
            let failed_before = courier.state().polls().failures;
            let actions = courier.take(event(&work, &ending));
            work = begun(&actions).expect("there is always something to do next");
            prop_assert_eq!(matches!(work, Work::Wait(_)), actions.contains(&Action::Save));
            if let Work::Wait(span) = work {
                prop_assert!(span > Span::ZERO && span.as_millis() <= longest, "{span:?}");
                let failed = courier.state().polls().failures;
                prop_assert!(failed == 0 || failed == failed_before + 1);
                prop_assert_eq!(failed == 0, courier.state().polls().last_failure.is_none());
            }
        }
    }

    #[test]
    fn after_stop_nothing_is_sent_and_the_end_comes_within_two_pieces_of_work(
        endings in proptest::collection::vec(ending(), 0..60),
        last in proptest::collection::vec(ending(), 2),
    ) {
        let mut courier = Courier::new(Span::from_secs(60));
        let mut work = courier.work(Event::Woke);
        for ending in endings {
            work = begun(&courier.take(event(&work, &ending))).expect("work goes on");
        }
        let mut actions = courier.take(Event::Stop);
        for ending in last {
            if actions.contains(&Action::Exit) {
                break;
            }
            prop_assert!(courier.take(Event::Stop).is_empty(), "asking twice changes nothing");
            actions = courier.take(event(&work, &ending));
            if let Some(next) = begun(&actions) {
                prop_assert!(delivers(&next), "{:?}", next);
                work = next;
            }
        }
        prop_assert!(actions.contains(&Action::Exit) && begun(&actions).is_none());
        prop_assert!(courier.take(Event::Woke).is_empty());
    }

    #[test]
    fn an_event_that_ends_nothing_changes_nothing(ending in ending()) {
        let mut courier = Courier::new(Span::from_secs(60));
        let work = courier.work(Event::Woke);
        prop_assert!(courier.take(Event::Woke).is_empty());
        prop_assert!(courier.take(ok(&poll_answer(1))).is_empty());
        prop_assert!(courier.take(unreached(Cause::Dns)).is_empty());
        prop_assert!(begun(&courier.take(event(&work, &ending))).is_some());
    }

    #[test]
    fn jitter_is_what_is_configured_at_most_and_no_wait_is_none(
        interval_ms in 200_i64..3_600_000, (jitter, percent) in jitter(), random: u64,
    ) {
        let interval = Span::from_millis(interval_ms);
        let wait = jittered(interval, jitter, random).as_millis();
        prop_assert!(wait > 0 && (wait - interval_ms).abs() * 100 <= interval_ms * percent);
        let ends = [0, u64::MAX].map(|random| jittered(interval, jitter, random).as_millis());
        prop_assert_eq!(ends[0] + ends[1], 2 * interval_ms, "as much either way");
        prop_assert!(percent == 0 || ends[0] < interval_ms);
    }

    #[test]
    fn backoff_never_exceeds_its_bound_and_its_bound_never_shrinks(
        interval_ms in 200_i64..3_600_000, failures in 1_u32..100, random: u64,
    ) {
        let interval = Span::from_millis(interval_ms);
        let wait = backed_off(interval, failures, random);
        prop_assert!(wait.as_millis() >= interval_ms / 10 && wait <= MAX_BACKOFF.max(interval));
        let most = |failures| backed_off(interval, failures, u64::MAX);
        prop_assert!(wait <= most(failures) && most(failures) <= most(failures + 1));
        let near = backed_off_near(interval, failures, random);
        prop_assert!(near > Span::ZERO && near <= interval);
    }

    #[test]
    fn hints_are_clamped(interval_ms in 5_000_i64..3_600_000, hint: u32) {
        let wish = hinted(Span::from_millis(interval_ms), Some(hint)).unwrap();
        prop_assert!((HINTS.0..=HINTS.1).contains(&wish));
    }
}
