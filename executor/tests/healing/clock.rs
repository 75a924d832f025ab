//! Healing by a clock that is wrong, or that nobody knows to be right.

use super::*;

#[test]
fn a_clock_that_was_far_ahead_and_is_set_right_does_not_stop_healing_for_long() {
    let mut rig = Rig::with(|setup| setup.synchronised = false);
    rig.settle();
    let wall = rig.reading.wall;
    rig.host.remove(ARCHIVE);
    ends_with(&rig, 1);
    rig.reading.wall = wall.plus(Span::from_hours(24 * 365 * 4));
    pass(&mut rig, Span::from_hours(1));
    assert_eq!(rig.backups_run(), 3);
    rig.reading.wall = wall;
    pass(&mut rig, Span::from_hours(23));
    assert_eq!(rig.backups_run(), 3, "the breaker holds for a day");
    pass(&mut rig, Span::from_hours(2));
    assert!(rig.backups_run() > 3, "and not for years");
}

/// A machine whose backup failed three times on a clock that the kernel vouched for.
fn broken_off() -> Rig {
    let mut rig = settled();
    rig.host.remove(ARCHIVE);
    ends_with(&rig, 1);
    pass(&mut rig, Span::from_hours(2));
    assert_eq!(rig.backups_run(), 3);
    rig
}

#[test]
fn a_clock_that_starts_in_1970_wipes_no_breaker() {
    let mut rig = broken_off();
    let right = rig.reading.wall;
    rig.reading.synchronised = false;
    rig.reading.wall = Timestamp::from_millis(0);
    rig.reboot();
    pass(&mut rig, Span::from_secs(300));
    assert_eq!(rig.backups_run(), 3, "nor is it open while nobody knows the time");
    rig.reading.synchronised = true;
    rig.reading.wall = right.plus(Span::from_secs(300));
    pass(&mut rig, Span::from_hours(20));
    assert_eq!(rig.backups_run(), 3);
    pass(&mut rig, Span::from_hours(4));
    assert!(rig.backups_run() > 3, "a day is over");
}

#[test]
fn what_failed_in_1970_counts_and_is_over_a_day_after_the_time_is_known() {
    let mut rig = settled();
    let right = rig.reading.wall;
    rig.reading.synchronised = false;
    rig.reading.wall = Timestamp::from_millis(0);
    rig.reboot();
    rig.host.remove(ARCHIVE);
    ends_with(&rig, 1);
    rig.round();
    assert_eq!(rig.backups_run(), 1);
    rig.reading.synchronised = true;
    rig.reading.wall = right.plus(Span::from_secs(60));
    pass(&mut rig, Span::from_hours(20));
    assert_eq!(rig.backups_run(), 3);
    pass(&mut rig, Span::from_hours(8));
    assert!(rig.backups_run() > 3);
}

#[test]
fn a_breaker_holds_for_a_day_where_the_feed_knows_the_time_and_the_machine_does_not() {
    for years in [-10, 10] {
        let mut rig = Rig::with(|setup| setup.synchronised = false);
        rig.poll();
        assert!(rig.poll_changed(Vec::new(), |_| ()), "the mark is right");
        rig.round();
        rig.reading.wall = T0.plus(Span::from_hours(years * 365 * 24));
        rig.host.remove(ARCHIVE);
        ends_with(&rig, 1);
        pass(&mut rig, Span::from_hours(22));
        assert_eq!(rig.backups_run(), 3, "{years} years off");
        pass(&mut rig, Span::from_hours(4));
        assert!(rig.backups_run() > 3, "{years} years off");
    }
}

#[test]
fn a_mark_that_is_years_ahead_makes_no_breaker_last_until_then() {
    let mut rig = Rig::with(|_| ());
    rig.reading.wall = T0.plus(Span::from_hours(4 * 365 * 24));
    rig.settle();
    rig.round();
    // Set right; the control plane agrees, so the mark is wrong.
    rig.reading.wall = T0;
    assert!(rig.poll_changed(Vec::new(), |_| ()));
    rig.host.remove(ARCHIVE);
    ends_with(&rig, 1);
    pass(&mut rig, Span::from_hours(22));
    assert_eq!(rig.backups_run(), 3);
    pass(&mut rig, Span::from_hours(4));
    assert!(rig.backups_run() > 3);
}

#[test]
fn a_pause_outlasts_a_clock_that_starts_in_1970() {
    let mut rig = settled();
    let right = rig.reading.wall;
    let until = right.plus(Span::from_hours(5 * 24));
    let mut beside = compliance_executor::ledger::Ledger::join(&rig.ledger_path()).unwrap();
    beside
        .commit(|tx| tx.set_fact(compliance_executor::ledger::Fact::PauseUntil, &until.to_string()))
        .unwrap();
    rig.reading.synchronised = false;
    rig.reading.wall = Timestamp::from_millis(0);
    rig.reboot();
    rig.host.remove(ARCHIVE);
    pass(&mut rig, Span::from_secs(60));
    rig.reading.synchronised = true;
    rig.reading.wall = right.plus(Span::from_secs(60));
    pass(&mut rig, Span::from_hours(20));
    assert_eq!(rig.backups_run(), 0);
}

#[test]
fn a_pause_that_a_clock_far_ahead_has_set_ends_within_a_week() {
    let mut rig = settled();
    let until = T0.plus(Span::from_hours(24 * 365 * 4));
    let mut beside = compliance_executor::ledger::Ledger::join(&rig.ledger_path()).unwrap();
    beside
        .commit(|tx| tx.set_fact(compliance_executor::ledger::Fact::PauseUntil, &until.to_string()))
        .unwrap();
    rig.host.remove(ARCHIVE);
    rig.round();
    for _ in 0..7 * 24 {
        assert_eq!(rig.backups_run(), 0);
        rig.pass(Span::from_hours(1));
        rig.settle();
    }
    assert_eq!(rig.backups_run(), 1);
}

#[test]
fn what_needs_no_time_is_healed_while_nobody_knows_it() {
    let mut rig = Rig::with(|setup| setup.synchronised = false);
    rig.settle();
    assert_eq!(rig.backups_run(), 0, "how old it is cannot be said");
    rig.host.remove(ARCHIVE);
    rig.backup_does(rig.reading.wall, true);
    rig.round();
    assert_eq!(rig.backups_run(), 1);
    let bundle = heals(&rig).pop().unwrap();
    // The job has run; that the backup is as it should be cannot be seen without the time.
    assert_eq!((bundle.outcome, bundle.reason.as_str()), (Outcome::Failed, "not_healed"));
    assert_eq!(bundle.state, Some(State::Unknown));
    assert_eq!(bundle.post["records"]["bytes"], "9");
    rig.pass(Span::from_hours(1));
    rig.settle();
    assert_eq!(rig.backups_run(), 1, "unknown is not healed");
}
