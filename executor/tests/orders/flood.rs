//! What is no order of ours is recorded once, and at most ten times an hour.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::local::{Answer, Connectivity, ConnectivityCause, Request};
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::OrderForm;

use crate::common::{Rig, outcome, run_backup};

fn junk(n: usize) -> Vec<u8> {
    format!("junk {n}").into_bytes()
}

fn rejected(rig: &Rig) -> usize {
    rig.because("malformed").len()
}

#[test]
fn the_same_bytes_are_recorded_once_for_a_week() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.poll_with(vec![junk(1), junk(1)]);
        rig.pass(Span::from_hours(2));
    }
    assert_eq!(rejected(&rig), 1);
    rig.restart();
    rig.poll_with(vec![junk(1)]);
    assert_eq!(rejected(&rig), 1, "in another process too");
}

#[test]
fn ten_an_hour_and_then_their_number_once_the_hour_has_room() {
    let mut rig = Rig::new();
    rig.poll_with((0..25).map(junk).collect());
    assert_eq!(rejected(&rig), 10);
    for n in 25..32 {
        rig.poll_with(vec![junk(n)]);
    }
    assert_eq!(rejected(&rig), 10);
    assert!(rig.because("rejections_suppressed").is_empty());
    rig.restart();
    rig.pass(Span::from_hours(1));
    rig.settle();
    let alerts = rig.because("rejections_suppressed");
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].outcome, Outcome::Alert);
    assert_eq!(alerts[0].findings[0].actual, "22 more");
    rig.poll_with(vec![junk(99)]);
    assert_eq!(rejected(&rig), 11);
    rig.pass(Span::from_hours(2));
    rig.settle();
    assert_eq!(rig.because("rejections_suppressed").len(), 1);
}

#[test]
fn a_flood_holds_no_good_order_up() {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    let mut orders: Vec<_> = (0..31).map(junk).collect();
    orders.push(rig.plane.open[0].1.clone());
    rig.poll_with(orders);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}

#[test]
fn a_flood_crowds_out_nothing_that_a_verified_head_shows() {
    let mut rig = Rig::new();
    rig.plane.grow(5);
    rig.poll();
    rig.poll_with((0..32).map(junk).collect());
    rig.plane = compliance_testkit::FakePlane::default();
    assert!(rig.poll_changed(vec![junk(50)], |head| head.highest_sequence = 3));
    assert_eq!(rig.because("history_rewritten").len(), 1);
    assert_eq!(rig.because("order_gap").len(), 1);
    assert_eq!(rejected(&rig), 10);
}

#[test]
fn refused_orders_that_consume_their_sequence_are_recorded_however_many() {
    let mut rig = Rig::new();
    rig.poll_with((0..32).map(junk).collect());
    let expired = |sequence| {
        let at = rig.reading.wall.plus(Span::from_hours(-1));
        OrderForm::new(sequence, &run_backup()).issued(at)
    };
    let mut forms: Vec<OrderForm> = vec![expired(1)];
    for sequence in 2..=20 {
        forms.push(expired(sequence).after(forms.last().unwrap()));
    }
    for form in &forms {
        rig.plane.issue(form.clone());
    }
    rig.poll();
    assert!(forms.iter().all(|form| rig.about(form) == [outcome(Outcome::Expired, "expired")]));
}

#[test]
fn what_the_agent_claims_about_its_connection_is_recorded_as_its_claim_ten_times_an_hour() {
    use Connectivity::{Lost, Restored};
    let mut rig = Rig::new();
    let claim = |rig: &mut Rig, connectivity| {
        let cause = ConnectivityCause::Dns;
        assert_eq!(rig.handle(Request::Event { connectivity, cause }), Answer::Event {});
    };
    claim(&mut rig, Lost);
    claim(&mut rig, Lost);
    let told = rig.because("connectivity_lost");
    assert_eq!((told.len(), told[0].outcome), (1, Outcome::Alert));
    assert_eq!((&told[0].post["source"], &told[0].post["cause"]), (&"agent".into(), &"dns".into()));
    for _ in 0..20 {
        claim(&mut rig, Restored);
        claim(&mut rig, Lost);
    }
    let all = |rig: &Rig| {
        rig.because("connectivity_lost").len() + rig.because("connectivity_restored").len()
    };
    assert_eq!(all(&rig), 10);
    rig.pass(Span::from_hours(1));
    claim(&mut rig, Restored);
    claim(&mut rig, Lost);
    assert_eq!(all(&rig), 11, "a claim is recorded when it is another than the last recorded");
}

#[test]
fn a_clock_that_was_far_ahead_and_is_set_right_does_not_silence_refusals_for_long() {
    let mut rig = Rig::with(|setup| setup.synchronised = false);
    let wall = rig.reading.wall;
    rig.reading.wall = wall.plus(Span::from_hours(24 * 365 * 4));
    let ticket = rig.ticket();
    let answer =
        rig.plane.answer_with(&rig.plane.head(&ticket, wall), &ticket, (0..12).map(junk).collect());
    rig.handle(answer);
    rig.settle();
    assert_eq!(rejected(&rig), 10);
    rig.reading.wall = wall;
    rig.settle();
    rig.pass(Span::from_hours(1));
    rig.settle();
    assert_eq!(rig.because("rejections_suppressed").len(), 1);
    rig.poll_with(vec![junk(50)]);
    assert_eq!(rejected(&rig), 11);
}

#[test]
fn a_clock_that_starts_in_1970_wipes_neither_what_was_refused_nor_how_often() {
    let mut rig = Rig::new();
    rig.poll_with((0..10).map(junk).collect());
    let right = rig.reading.wall;
    rig.reading.synchronised = false;
    rig.reading.wall = Timestamp::from_millis(0);
    rig.reboot();
    rig.settle();
    let ticket = rig.ticket();
    let none = rig.plane.answer_with(&rig.plane.head(&ticket, right), &ticket, vec![junk(10)]);
    rig.handle(none);
    rig.reading.synchronised = true;
    rig.reading.wall = right.plus(Span::from_secs(60));
    rig.settle();
    rig.poll_with((0..15).map(junk).collect());
    assert_eq!(rejected(&rig), 10);
    rig.pass(Span::from_hours(1));
    rig.settle();
    rig.poll_with((0..16).map(junk).collect());
    assert_eq!(rejected(&rig), 16, "an hour is over, and those of before are known");
}
