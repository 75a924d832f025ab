//! How often something is healed, and when it is not.

use super::*;

#[test]
fn failures_back_off_and_three_of_them_are_one_alert_and_silence_until_the_next_day() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    ends_with(&rig, 1);
    let started = rig.reading.boottime;
    pass(&mut rig, Span::from_hours(3));
    let failed = outcome(Outcome::Failed, "action_failed");
    let alert = outcome(Outcome::Alert, "breaker_open");
    let day = [failed.clone(), failed.clone(), failed.clone(), alert.clone()];
    assert_eq!(rig.story(), day);
    let at: Vec<_> = heals(&rig).iter().map(|bundle| bundle.finished_at).collect();
    let (first, second) = (at[1].since(at[0]), at[2].since(at[1]));
    assert!(first >= Span::from_secs(120) && second >= Span::from_secs(240), "{first} {second}");
    // To the end of the day there is nothing but the hourly summaries, also in another process.
    rig.restart();
    pass(&mut rig, Span::from_hours(20));
    assert_eq!(rig.story(), day);
    let opens = rig.because("breaker_open")[0].gates.iter().find_map(|gate| gate.until).unwrap();
    assert_eq!(opens, at[2].plus(Span::from_hours(24)));
    // The next day it is tried again, as often, and reported once.
    pass(&mut rig, Span::from_hours(4));
    assert_eq!(rig.story()[4..], [failed.clone(), failed.clone(), failed, alert]);
    assert!(
        rig.reading.boottime.as_millis() - started.as_millis() < Span::from_hours(28).as_millis()
    );
}

#[test]
fn a_success_ends_the_backing_off() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    ends_with(&rig, 1);
    rig.round();
    rig.pass(Span::from_secs(120));
    goes_stale(&mut rig);
    assert_eq!(rig.story().last(), Some(&outcome(Outcome::Success, "done")));
    rig.pass(Span::from_secs(60));
    goes_stale(&mut rig);
    assert_eq!(rig.backups_run(), 3);
}

#[test]
fn the_same_thing_is_not_healed_twice_within_the_least_interval() {
    let mut rig = settled();
    goes_stale(&mut rig);
    goes_stale(&mut rig);
    assert_eq!(rig.backups_run(), 1);
    let waits = rig.because("drift").pop().unwrap();
    assert_eq!(waits.outcome, Outcome::Deferred);
    pass(&mut rig, Span::from_secs(60));
    assert_eq!(rig.backups_run(), 2);
}

#[test]
fn what_may_be_healed_by_order_only_or_never_is_one_alert() {
    let by_order = outcome(Outcome::Success, "done");
    let by_nobody = outcome(Outcome::Rejected, "policy");
    for (heal, expected) in [(HealMode::Order, by_order), (HealMode::Never, by_nobody)] {
        let mut rig = settled_with(mode(heal));
        goes_stale(&mut rig);
        pass(&mut rig, Span::from_secs(300));
        assert_eq!(rig.story(), [outcome(Outcome::Alert, "drift")]);
        assert_eq!(rig.backups_run(), 0);
        let form = OrderForm::new(1, &run_backup());
        rig.plane.issue(form.clone());
        rig.backup_does(rig.reading.wall, true);
        rig.poll();
        assert_eq!(rig.about(&form), [expected]);
    }
}

#[test]
fn a_pause_at_the_box_defers_once_and_ends_by_itself() {
    let mut rig = settled();
    let until = T0.plus(Span::from_hours(1));
    let path = rig.ledger_path();
    let mut beside = compliance_executor::ledger::Ledger::join(&path).unwrap();
    beside
        .commit(|tx| tx.set_fact(compliance_executor::ledger::Fact::PauseUntil, &until.to_string()))
        .unwrap();
    rig.age_backup(Span::from_hours(50));
    rig.backup_does(until, true);
    pass(&mut rig, Span::from_secs(3600 - 60));
    assert_eq!(rig.story(), [outcome(Outcome::Deferred, "drift")]);
    assert_eq!(rig.because("drift")[0].retry_after, Some(until));
    pass(&mut rig, Span::from_secs(60));
    assert_eq!(rig.backups_run(), 1);
}

#[test]
fn on_a_full_disk_nothing_is_begun_until_there_is_room_again() {
    let mut rig = settled();
    for _ in 0..2 {
        rig.engine.space_seen(Space::Full, rig.reading);
    }
    goes_stale(&mut rig);
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(
        rig.story(),
        [
            outcome(Outcome::Alert, "disk_full"),
            outcome(Outcome::Deferred, "drift"),
            outcome(Outcome::Deferred, "no_space")
        ]
    );
    assert_eq!(rig.backups_run(), 0);
    rig.engine.space_seen(Space::Enough, rig.reading);
    rig.round();
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Success, "done")));
}

#[test]
fn a_check_with_limits_of_its_own_is_healed_as_often_as_those_say() {
    let own = |per_day: u64| HealLimit {
        min_interval_s: Some(600),
        per_day: FailuresPerDay::try_from(per_day).unwrap(),
    };
    for per_day in [1, 5] {
        let mut rig = settled_with(|setup| setup.heal.limits.backups = own(per_day));
        rig.age_backup(Span::from_hours(50));
        ends_with(&rig, 1);
        pass(&mut rig, Span::from_hours(8));
        let mut told = vec![outcome(Outcome::Failed, "action_failed"); per_day.try_into().unwrap()];
        if per_day > 1 {
            // Each failure doubles the wait that follows it.
            let at: Vec<_> = heals(&rig).iter().map(|bundle| bundle.finished_at).collect();
            let waits: Vec<_> = at.windows(2).map(|two| two[1].since(two[0])).collect();
            let least = [1200, 2400, 4800, 9600].map(Span::from_secs);
            assert!(waits.iter().zip(least).all(|(wait, least)| *wait >= least), "{waits:?}");
        }
        told.push(outcome(Outcome::Alert, "breaker_open"));
        assert_eq!(rig.story(), told);
        let why = &rig.because("breaker_open")[0].detail;
        assert!(why.starts_with(&format!("failed heals within a day: {per_day};")), "{why}");
    }
}

#[test]
fn the_limits_of_one_check_are_not_those_of_another() {
    let mut rig = settled_with(|setup| {
        setup.heal.limits.services =
            HealLimit { min_interval_s: Some(7200), per_day: FailuresPerDay::try_from(1).unwrap() };
    });
    goes_stale(&mut rig);
    rig.pass(Span::from_secs(60));
    goes_stale(&mut rig);
    assert_eq!(rig.backups_run(), 2);
}
