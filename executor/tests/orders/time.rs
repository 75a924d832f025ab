//! Orders and the time: which clock counts, and what happens while none does.

use compliance_protocol::clock::ClockSource;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::{OrderForm, T0};

use crate::common::{Rig, outcome, restart_frontdesk, run_backup, run_checks};

/// A machine whose kernel does not say that its clock is synchronised.
fn unsynchronised() -> Rig {
    Rig::with(|setup| setup.synchronised = false)
}

/// The polls of a control plane that says it is this late.
fn poll_at(rig: &mut Rig, now: Timestamp) {
    let orders = rig.plane.open.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert!(rig.poll_changed(orders, |head| head.issued_at = now));
}

#[test]
fn the_heads_time_carries_orders_where_the_kernel_clock_is_not_synchronised() {
    let mut rig = unsynchronised();
    rig.reading.wall = Timestamp::from_millis(0); // woke up in 1970
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    poll_at(&mut rig, T0);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
    let bundle = rig.because("done").pop().unwrap();
    assert_eq!((bundle.clock.source, bundle.clock.synchronised), (ClockSource::Feed, false));
    assert_eq!(bundle.started_at, T0);
}

#[test]
fn the_heads_time_goes_on_with_boottime() {
    let mut rig = unsynchronised();
    rig.plane.issue(OrderForm::new(1, &run_checks()));
    poll_at(&mut rig, T0);
    let form = OrderForm::new(2, &run_checks()).after(&OrderForm::new(1, &run_checks()));
    rig.plane.issue(form.clone());
    // Between the ticket and its head 50 s pass, and the order expires within them.
    let form_ends = T0.plus(Span::from_secs(900));
    let ticket = rig.ticket();
    rig.pass(Span::from_secs(50));
    let mut head = rig.plane.head(&ticket, rig.reading.wall);
    head.issued_at = form_ends.plus(Span::from_secs(-50));
    let orders = rig.plane.open.iter().map(|(_, bytes)| bytes.clone()).collect();
    rig.handle(rig.plane.answer_with(&head, &ticket, orders));
    rig.settle();
    assert_eq!(rig.about(&form), [outcome(Outcome::Expired, "expired")]);
}

#[test]
fn the_kernel_clock_counts_where_it_is_synchronised_whatever_the_head_says() {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &run_checks());
    rig.plane.issue(form.clone());
    poll_at(&mut rig, T0.plus(Span::from_hours(2)));
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "checked")]);
    assert_eq!(rig.because("checked")[0].clock.source, ClockSource::Kernel);
}

/// A machine that trusted its clock once, and then lost a day and more, so that one source is not enough.
fn doubtful() -> Rig {
    let mut rig = unsynchronised();
    poll_at(&mut rig, T0);
    rig.round();
    // Something leaves evidence, and with it the time mark.
    rig.host.remove(compliance_testkit::keys::ARCHIVE);
    rig.settle();
    rig.round();
    rig.pass(Span::from_hours(30));
    rig.reboot();
    rig
}

#[test]
fn while_the_time_is_unknown_an_order_is_deferred_and_then_carried_out() {
    let mut rig = doubtful();
    let form = OrderForm::new(1, &run_checks()).issued(rig.reading.wall);
    rig.plane.issue(form.clone());
    rig.poll();
    rig.poll();
    rig.round();
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "clock_unknown")]);
    assert_eq!(rig.ticket().after, 1, "its sequence is consumed");
    assert!(rig.because("clock_unknown")[0].retry_after.is_some());
    rig.reading.synchronised = true; // Now two sources say the same.
    rig.settle();
    let story = [outcome(Outcome::Deferred, "clock_unknown"), outcome(Outcome::Success, "checked")];
    assert_eq!(rig.about(&form), story);
}

#[test]
fn while_the_time_is_unknown_an_order_is_deferred_and_expires_when_it_comes_too_late() {
    let mut rig = doubtful();
    let form = OrderForm::new(1, &run_backup()).issued(rig.reading.wall);
    rig.plane.issue(form.clone());
    rig.poll();
    rig.pass(Span::from_secs(900));
    rig.settle();
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "clock_unknown")]);
    rig.reading.synchronised = true;
    rig.settle();
    let story = [outcome(Outcome::Deferred, "clock_unknown"), outcome(Outcome::Expired, "expired")];
    assert_eq!(rig.about(&form), story);
    assert_eq!(rig.because("expired")[0].trigger.order_id, Some(form.id()));
}

#[test]
fn an_accepted_order_does_not_start_while_the_time_is_unknown() {
    let mut rig = unsynchronised();
    let form =
        OrderForm::new(1, &restart_frontdesk()).with("start_before", "2026-12-01T00:00:00.000Z");
    rig.plane.issue(form.clone());
    poll_at(&mut rig, T0);
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "outside_window")]);
    // In the window, but the process that had the head's time is gone.
    rig.pass(Span::from_hours(17));
    rig.restart();
    rig.settle();
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Deferred, "clock_unknown")));
    let now = rig.reading.wall;
    poll_at(&mut rig, now);
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Success, "done")));
}

#[test]
fn one_source_does_not_carry_the_time_over_more_than_a_day() {
    let mut rig = unsynchronised();
    rig.plane.issue(OrderForm::new(1, &run_checks()));
    poll_at(&mut rig, T0);
    let mark = rig.because("checked")[0].finished_at;
    let late = mark.plus(Span::from_millis(24 * 3_600_000 + 1));
    let form = OrderForm::new(2, &run_checks()).after(&OrderForm::new(1, &run_checks()));
    let form = form.issued(late);
    rig.plane.issue(form.clone());
    poll_at(&mut rig, late);
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "clock_unknown")]);
}

#[test]
fn a_clock_set_back_is_flagged_and_an_old_order_does_not_come_to_life() {
    let mut rig = Rig::new();
    rig.plane.issue(OrderForm::new(1, &run_checks()));
    rig.poll();
    rig.pass(Span::from_hours(2));
    rig.settle(); // the hourly summary marks the time
    rig.reading.wall = T0;
    let form = OrderForm::new(2, &run_backup()).after(&OrderForm::new(1, &run_checks()));
    rig.plane.issue(form.clone());
    let bytes = rig.plane.open.last().unwrap().1.clone();
    let later = T0.plus(Span::from_hours(2));
    assert!(rig.poll_changed(vec![bytes], |head| head.issued_at = later));
    assert_eq!(rig.about(&form), [outcome(Outcome::Expired, "expired")]);
    let bundle = rig.because("expired").pop().unwrap();
    assert!(bundle.clock.stepped_back);
    assert_eq!(bundle.clock.source, ClockSource::Feed);
    assert!(bundle.finished_at >= T0.plus(Span::from_hours(2)), "never below the mark");
}

#[test]
fn a_clock_that_stepped_back_is_reported_once_until_it_is_right_again() {
    let mut rig = Rig::new();
    rig.poll();
    rig.pass(Span::from_hours(2));
    rig.settle();
    let right = rig.reading.wall;
    for reports in 1..=2 {
        rig.reading.wall = T0;
        rig.settle();
        rig.round();
        assert_eq!(rig.because("clock_stepped_back").len(), reports);
        rig.reading.wall = right;
        rig.settle();
    }
    assert_eq!(rig.because("clock_stepped_back")[0].outcome, Outcome::Alert);
}

#[test]
fn a_step_back_of_a_minute_is_borne() {
    let mut rig = Rig::new();
    rig.plane.issue(OrderForm::new(1, &run_checks()));
    rig.poll();
    rig.reading.wall = T0.plus(Span::from_secs(-60));
    let form = OrderForm::new(2, &run_checks()).after(&OrderForm::new(1, &run_checks()));
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "checked")]);
    assert!(!rig.because("checked")[1].clock.stepped_back);
}

/// A machine whose ledger is gone.
fn without_ledger() -> Rig {
    let mut rig = unsynchronised();
    rig.settle();
    rig.dir = crate::common::temp_dir();
    rig.restart();
    rig
}

#[test]
fn after_a_lost_ledger_the_heads_time_does_not_count() {
    let mut rig = without_ledger();
    assert_eq!(rig.because("ledger_new").len(), 1);
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    rig.poll();
    rig.restart();
    rig.poll();
    rig.reboot();
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "clock_unknown")]);
    assert_eq!(rig.backups_run(), 0);
    assert_eq!(rig.because("ledger_new").len(), 1, "reported once");
}

#[test]
fn once_the_kernel_has_vouched_the_heads_time_counts_again() {
    let mut rig = without_ledger();
    rig.reading.synchronised = true;
    rig.settle();
    rig.reading.synchronised = false;
    rig.pass(Span::from_secs(60));
    let next = OrderForm::new(1, &run_checks()).issued(rig.reading.wall);
    rig.plane.issue(next.clone());
    rig.restart();
    rig.poll();
    assert_eq!(rig.about(&next), [outcome(Outcome::Success, "checked")]);
}

#[test]
fn a_new_ledger_on_a_machine_with_a_synchronised_clock_takes_orders_issued_from_then_on() {
    let mut rig = without_ledger();
    rig.reading.synchronised = true;
    let forgotten = OrderForm::new(1, &run_backup());
    rig.plane.issue(forgotten.clone());
    rig.poll();
    assert_eq!(rig.about(&forgotten), [outcome(Outcome::Rejected, "policy")]);
    rig.pass(Span::from_secs(1));
    let form = OrderForm::new(2, &run_backup()).after(&forgotten).issued(rig.reading.wall);
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}
