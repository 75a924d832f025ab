//! Drift and healing without an order: what is healed, how it is judged, when it is left alone, and what is
//! put into evidence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use common::{ROUND, Rig, Setup, outcome, run_backup};
use compliance_checks::HostError;
use compliance_checks::backups::{BackupJob, Run};
use compliance_checks::baseline::Section;
use compliance_executor::config::HealMode;
use compliance_executor::reserve::Space;
use compliance_protocol::evidence::{Bundle, Outcome, State, StepResult, TriggerKind};
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::{job_status, silent_success};
use compliance_testkit::keys::{ARCHIVE, BACKUP_PROGRAM, STATUS_FILE};
use compliance_testkit::{OrderForm, T0};

/// An appliance that has seen its backup well.
fn settled() -> Rig {
    settled_with(|_| ())
}

fn settled_with(setup: impl FnOnce(&mut Setup)) -> Rig {
    let mut rig = Rig::with(setup);
    rig.host.set_units(Err(HostError::ToolMissing("systemd".to_owned())));
    rig.settle();
    assert_eq!(rig.because("compliant").len(), 1);
    rig
}

fn mode(mode: HealMode) -> impl FnOnce(&mut Setup) {
    move |setup| setup.heal.backups = mode
}

/// The backup goes stale; a round looks.
fn goes_stale(rig: &mut Rig) {
    rig.age_backup(Span::from_hours(50));
    rig.backup_does(rig.reading.wall.plus(ROUND), true);
    rig.round();
}

/// The program ends with this code and changes nothing.
fn ends_with(rig: &Rig, code: i32) {
    let ended = move || {
        silent_success().map(|o| compliance_checks::command::Output { code: Some(code), ..o })
    };
    rig.host.install(BACKUP_PROGRAM, Box::new(move |_| ended()));
}

/// Lets so long pass, looking at each interval or, over hours, each minute.
fn pass(rig: &mut Rig, span: Span) {
    let step = if span > Span::from_hours(1) { Span::from_secs(60) } else { ROUND };
    for _ in 0..span.as_millis() / step.as_millis() {
        rig.pass(step);
        rig.settle();
    }
}

fn heals(rig: &Rig) -> Vec<Bundle> {
    let mut all = rig.evidence();
    all.retain(|bundle| !bundle.actions.is_empty());
    all
}

#[test]
fn a_stale_backup_is_run_and_the_bundle_shows_before_what_was_done_and_after() {
    let mut rig = settled();
    goes_stale(&mut rig);
    assert_eq!(rig.story(), [outcome(Outcome::Success, "done")]);
    let bundle = heals(&rig).pop().unwrap();
    assert_eq!(bundle.trigger.kind, TriggerKind::Schedule);
    assert_eq!((bundle.check.as_deref(), bundle.state), (Some("backups"), Some(State::Compliant)));
    assert_eq!(bundle.findings[0].actual, "it is 2 d 2 h old");
    assert_eq!((bundle.actions.len(), bundle.actions[0].result), (1, StepResult::Done));
    assert_eq!(
        (bundle.actions[0].name.as_str(), bundle.actions[0].target.as_str()),
        ("run_backup", "records")
    );
    assert_ne!(bundle.pre["records"]["finished_at"], bundle.post["records"]["finished_at"]);
    assert!(
        bundle.gates.iter().all(compliance_protocol::gate::Gate::is_open)
            && bundle.gates.len() == 5
    );
    assert!(bundle.baseline_sha256.is_some() && !bundle.controls.is_empty());
}

#[test]
fn a_job_that_fails_is_failed_whatever_the_backup_looks_like() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    ends_with(&rig, 3);
    rig.round();
    assert_eq!(rig.story(), [outcome(Outcome::Failed, "action_failed")]);
    let bundle = heals(&rig).pop().unwrap();
    assert_eq!(bundle.actions[0].result, StepResult::Failed);
    assert_eq!(bundle.state, Some(State::Drifted));
    assert!(bundle.detail.contains("code 3"), "{}", bundle.detail);
}

#[test]
fn a_job_that_ends_well_and_leaves_the_drift_has_not_healed() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    ends_with(&rig, 0);
    rig.round();
    assert_eq!(rig.story(), [outcome(Outcome::Failed, "not_healed")]);
}

#[test]
fn a_backup_that_is_replaced_by_an_older_one_has_not_healed() {
    let mut rig = settled();
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    // Fresh enough to be compliant, but older than the one that was there.
    rig.backup_does(T0.plus(Span::from_hours(-20)), true);
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Failed, "not_healed")]);
}

#[test]
fn a_job_that_cannot_be_started_has_failed() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    let missing = || Err(HostError::ToolMissing(BACKUP_PROGRAM.to_owned()));
    rig.host.install(BACKUP_PROGRAM, Box::new(move |_| missing()));
    rig.round();
    assert_eq!(rig.story(), [outcome(Outcome::Failed, "action_failed")]);
}

#[test]
fn a_job_that_runs_too_long_is_marked_as_timed_out() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    let late = || {
        let limit = std::time::Duration::from_mins(10);
        Err(HostError::TimedOut { what: BACKUP_PROGRAM.to_owned(), limit })
    };
    rig.host.install(BACKUP_PROGRAM, Box::new(move |_| late()));
    rig.round();
    assert_eq!(heals(&rig)[0].actions[0].result, StepResult::TimedOut);
}

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
fn an_overdue_restore_test_is_one_alert_and_runs_no_backup() {
    let mut rig = Rig::with(|setup| {
        let baseline = setup.baseline.as_mut().unwrap();
        let Section::Expected(backups) = &mut baseline.backups else { panic!("there are backups") };
        backups.jobs[0].restore_test_max_age_d = Some(90);
    });
    pass(&mut rig, Span::from_hours(1));
    assert_eq!(rig.story(), [outcome(Outcome::Alert, "drift")]);
    assert_eq!(rig.because("drift")[0].findings[0].subject, "records: restore test");
    assert_eq!(rig.backups_run(), 0);
    // The backup itself is healed all the same.
    goes_stale(&mut rig);
    assert_eq!(rig.story()[1], outcome(Outcome::Success, "done"));
    assert_eq!(rig.backups_run(), 1);
}

#[test]
fn unknown_is_never_healed_and_told_once() {
    let mut rig = settled();
    let errors = [
        HostError::Denied("x".to_owned()),
        HostError::Io { what: "x".to_owned(), why: "input/output error".to_owned() },
        HostError::Garbage { what: "x".to_owned(), why: "not JSON".to_owned() },
    ];
    for error in errors {
        rig.host.fail(STATUS_FILE, error);
        pass(&mut rig, Span::from_secs(120));
    }
    rig.host.write(STATUS_FILE, b"{".to_vec());
    pass(&mut rig, Span::from_secs(120));
    assert_eq!(rig.backups_run(), 0);
    let about_backups = |b: &Bundle| b.check.as_deref() == Some("backups") && b.reason == "unknown";
    let told: Vec<_> = rig.evidence().into_iter().filter(about_backups).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].outcome, told[0].state), (Outcome::Alert, Some(State::Unknown)));
}

#[test]
fn without_a_baseline_everything_is_unknown_and_nothing_is_healed() {
    let mut rig = Rig::with(|setup| setup.baseline = Err("there is none".to_owned()));
    rig.host.remove(STATUS_FILE);
    rig.settle();
    pass(&mut rig, Span::from_secs(120));
    assert_eq!(rig.backups_run(), 0);
    assert!(rig.status().checks.iter().all(|check| check.state == State::Unknown));
    assert_eq!(rig.because("unknown").len(), 6);
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
fn changes_are_recorded_once_and_not_at_each_round() {
    let mut rig = settled_with(mode(HealMode::Never));
    goes_stale(&mut rig);
    pass(&mut rig, Span::from_secs(600));
    rig.restart();
    rig.reboot();
    pass(&mut rig, Span::from_secs(600));
    assert_eq!(rig.because("drift").len(), 1, "getting older is no change");
    rig.age_backup(Span::from_hours(1));
    pass(&mut rig, Span::from_secs(600));
    assert_eq!(rig.because("compliant").len(), 2);
    rig.host.remove(ARCHIVE);
    pass(&mut rig, Span::from_secs(600));
    rig.host.write(ARCHIVE, b"other".to_vec());
    pass(&mut rig, Span::from_secs(600));
    assert_eq!(rig.because("drift").len(), 3, "gone, and then of another length");
}

#[test]
fn a_summary_is_left_each_hour_and_with_each_change() {
    let mut rig = settled_with(mode(HealMode::Never));
    assert_eq!(rig.because("round").len(), 1, "with the first look");
    pass(&mut rig, Span::from_hours(1));
    let summaries = rig.because("round");
    assert_eq!(summaries.len(), 2);
    let post = &summaries[1].post;
    assert_eq!(post["rounds"], 240);
    assert_eq!(post["max_gap_ms"], ROUND.as_millis());
    assert_eq!(
        (&post["first"], &post["last"]),
        (&T0.to_string().into(), &rig.reading.wall.to_string().into())
    );
    let states = post["states"].as_object().unwrap();
    assert_eq!((states.len(), states["backups"].as_str()), (6, Some("compliant")));
    // A gap shows: the machine was off for ten minutes.
    rig.pass(Span::from_secs(600));
    goes_stale(&mut rig);
    let summaries = rig.because("round");
    assert_eq!(summaries.len(), 3);
    assert_eq!(summaries[2].post["max_gap_ms"], 600_000 + ROUND.as_millis());
    assert_eq!(summaries[2].post["states"]["backups"], "drifted");
}

const PAPERS: [&str; 3] =
    ["/usr/bin/backup-papers", "/var/backup/papers.json", "/var/backup/papers.tar"];

/// A second job, `papers`, whose archive is well.
fn two_jobs(setup: &mut Setup) {
    let baseline = setup.baseline.as_mut().unwrap();
    let Section::Expected(backups) = &mut baseline.backups else { panic!("there are backups") };
    let papers = BackupJob {
        name: "papers".parse().unwrap(),
        status_file: PAPERS[1].parse().unwrap(),
        run: Run::Argv(vec![PAPERS[0].to_owned()].try_into().unwrap()),
        ..backups.jobs[0].clone()
    };
    backups.jobs.push(papers);
}

fn write_papers(rig: &Rig, at: Timestamp) {
    rig.host.write(PAPERS[2], b"papers");
    rig.host.write(PAPERS[1], job_status(at, PAPERS[2], b"papers"));
    rig.host.install(
        PAPERS[0],
        Box::new(move |files| {
            files.insert(PAPERS[2].to_owned(), Ok(b"papers".to_vec()));
            let status = job_status(at.plus(Span::from_hours(1)), PAPERS[2], b"papers");
            files.insert(PAPERS[1].to_owned(), Ok(status));
            silent_success()
        }),
    );
}

fn with_two_jobs(change: impl FnOnce(&mut Setup)) -> Rig {
    let mut rig = Rig::with(|setup| {
        two_jobs(setup);
        change(setup);
    });
    write_papers(&rig, T0.plus(Span::from_hours(-1)));
    rig.settle();
    rig
}

#[test]
fn two_drifted_jobs_are_healed_one_after_the_other_without_another_round() {
    let mut rig = with_two_jobs(|_| ());
    rig.age_backup(Span::from_hours(50));
    rig.host.remove(PAPERS[2]);
    rig.backup_does(T0.plus(ROUND), true);
    rig.round();
    let done = outcome(Outcome::Success, "done");
    // The first ends with its own job well, while the other still is not.
    assert_eq!(rig.story(), [done.clone(), done]);
    let heals = heals(&rig);
    assert_eq!(heals[0].state, Some(State::Drifted));
    assert_eq!((heals[0].findings.len(), heals[0].findings[0].subject.as_str()), (1, "records"));
    assert_eq!(
        (heals[1].state, heals[1].findings[0].subject.as_str()),
        (Some(State::Compliant), "papers")
    );
    assert_eq!((rig.backups_run(), rig.ran(PAPERS[0])), (1, 1));
}

#[test]
fn a_job_that_cannot_be_healed_holds_no_other_up() {
    let mut rig = with_two_jobs(|_| ());
    rig.age_backup(Span::from_hours(50));
    ends_with(&rig, 1);
    rig.host.remove(PAPERS[2]);
    rig.round();
    assert_eq!((rig.backups_run(), rig.ran(PAPERS[0])), (1, 1));
    pass(&mut rig, Span::from_hours(1));
    assert_eq!(rig.because("breaker_open").len(), 1);
    rig.host.remove(PAPERS[2]);
    rig.round();
    assert_eq!(rig.ran(PAPERS[0]), 2);
}

#[test]
fn a_bundle_about_one_job_hides_no_drift_of_another() {
    let mut rig = with_two_jobs(mode(HealMode::Order));
    assert!(rig.because("drift").is_empty());
    // While an order runs the one job, the other's archive goes away.
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    rig.host.remove(PAPERS[2]);
    rig.backup_does(T0, true);
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    while rig.step() {}
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
    let drift = rig.because("drift").pop().expect("the other job's drift is told");
    assert_eq!(drift.findings[0].subject, "papers");
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

#[test]
fn a_heal_that_a_crash_interrupted_counts_and_is_not_begun_again_at_once() {
    for (written, told) in [
        (true, outcome(Outcome::Success, "recovered")),
        (false, outcome(Outcome::Failed, "interrupted")),
    ] {
        let mut rig = settled();
        rig.age_backup(Span::from_hours(50));
        rig.pass(ROUND);
        rig.engine.tick(rig.reading).unwrap();
        rig.step();
        let jobs = rig.engine.take_jobs();
        assert!(matches!(jobs[..], [compliance_executor::engine::Job::Effect(_)]), "{jobs:?}");
        if written {
            rig.host.write(STATUS_FILE, job_status(rig.reading.wall, ARCHIVE, b"archive"));
        }
        rig.restart();
        rig.settle();
        assert_eq!(rig.story(), [told]);
        rig.round();
        assert_eq!(rig.backups_run(), 0, "not begun again within the backing off");
    }
}

#[test]
fn what_a_crash_interrupted_is_judged_once_the_time_is_known_and_at_the_latest_after_ten_minutes() {
    for comes in [true, false] {
        let mut rig = settled();
        rig.age_backup(Span::from_hours(50));
        rig.pass(ROUND);
        rig.engine.tick(rig.reading).unwrap();
        rig.step();
        assert_eq!(rig.engine.take_jobs().len(), 1, "a heal is about to begin");
        rig.host.write(STATUS_FILE, job_status(rig.reading.wall, ARCHIVE, b"archive"));
        rig.reading.synchronised = false;
        rig.reboot();
        rig.settle();
        pass(&mut rig, Span::from_secs(300));
        assert!(heals_or_crashes(&rig).is_empty(), "how old the backup is cannot be said yet");
        assert_eq!(rig.status().doing.as_deref(), Some("backup records"));
        rig.reading.synchronised = comes;
        pass(&mut rig, Span::from_secs(600));
        let expected = if comes {
            outcome(Outcome::Success, "recovered")
        } else {
            outcome(Outcome::Failed, "interrupted")
        };
        assert_eq!(heals_or_crashes(&rig), [expected]);
        assert_eq!(rig.backups_run(), 0);
    }
}

fn heals_or_crashes(rig: &Rig) -> Vec<(Outcome, String)> {
    let reasons = ["recovered", "interrupted", "done", "not_healed"];
    let mut story = rig.story();
    story.retain(|(_, reason)| reasons.contains(&reason.as_str()));
    story
}

#[test]
fn rounds_that_take_longer_than_their_interval_do_not_pile_up() {
    let mut rig = settled();
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    let slow = rig.engine.take_jobs();
    assert_eq!(slow.len(), 1);
    for _ in 0..10 {
        rig.pass(ROUND);
        rig.engine.tick(rig.reading).unwrap();
    }
    assert!(rig.engine.take_jobs().is_empty());
    for job in slow {
        rig.run(job);
    }
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    assert_eq!(rig.engine.take_jobs().len(), 1);
}

#[test]
fn a_hint_during_a_slow_round_brings_the_next_one_forward_when_that_has_ended() {
    let mut rig = settled();
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    let slow = rig.engine.take_jobs();
    rig.engine.hint(Err("it is not there".to_owned()), rig.reading).unwrap();
    rig.pass(Span::from_secs(5));
    rig.engine.tick(rig.reading).unwrap();
    assert!(rig.engine.take_jobs().is_empty(), "the slow round is still under way");
    for job in slow {
        rig.run(job);
    }
    rig.pass(Span::from_secs(1));
    rig.engine.tick(rig.reading).unwrap();
    assert_eq!(rig.engine.take_jobs().len(), 1);
}

#[test]
fn a_round_that_was_judged_by_a_replaced_baseline_heals_nothing() {
    let mut rig = settled();
    rig.age_backup(Span::from_hours(50));
    rig.pass(ROUND);
    rig.engine.tick(rig.reading).unwrap();
    let old = rig.engine.take_jobs();
    // Meanwhile a baseline comes that allows a week.
    let mut baseline = rig.plane.keys.baseline();
    baseline.version = 2;
    if let Section::Expected(backups) = &mut baseline.backups {
        backups.jobs[0].max_age_h = 168;
    }
    let envelope = compliance_signing::sign(&baseline, &[&rig.plane.keys.baseline]).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let update = serde_json::json!({ "type": "update_baseline", "envelope": envelope });
    rig.plane.issue(OrderForm::new(1, &update));
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    for job in old {
        rig.run(job);
    }
    rig.settle();
    assert_eq!(rig.backups_run(), 0);
    assert_eq!(rig.because("baseline_updated").len(), 1);
    assert!(rig.because("drift").is_empty());
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
