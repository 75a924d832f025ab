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

#[path = "healing/clock.rs"]
mod clock;
#[path = "healing/limits.rs"]
mod limits;
#[path = "healing/rounds.rs"]
mod rounds;

use common::{ROUND, Rig, Setup, outcome, run_backup};
use compliance_checks::HostError;
use compliance_checks::backups::{BackupJob, Run};
use compliance_checks::baseline::Section;
use compliance_executor::config::{FailuresPerDay, HealLimit, HealMode};
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
