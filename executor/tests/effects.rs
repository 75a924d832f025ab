//! What is done to the host: which programs, with which arguments and limits, and what is recorded of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::time::Duration;

use common::{Rig, SYSTEMCTL, Setup, action, outcome, restart_frontdesk, run_backup};
use compliance_checks::HostError;
use compliance_checks::backups::{BackupJob, BackupsBaseline, Run};
use compliance_checks::baseline::Section;
use compliance_checks::command::Output;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, MAX_BUNDLE, Outcome, StepResult};
use compliance_protocol::time::Span;
use compliance_testkit::OrderForm;
use compliance_testkit::host::silent_success;
use compliance_testkit::keys::BACKUP_PROGRAM;
use serde_json::json;

fn backups(setup: &mut Setup) -> &mut BackupsBaseline {
    match &mut setup.baseline.as_mut().unwrap().backups {
        Section::Expected(backups) => backups,
        Section::NotApplicable(_) => panic!("there are backups"),
    }
}

/// Carries out an order in the window; the bundle about how it ended.
fn carry_out(rig: &mut Rig, form: &OrderForm) -> Bundle {
    rig.settle();
    let bytes = form.sign(&rig.plane.both_order_keys());
    rig.plane.open.push((form.clone(), bytes));
    rig.poll();
    let about = |b: &Bundle| b.trigger.order_sha256 == Some(form.sha256());
    let mut all: Vec<_> = rig.evidence().into_iter().filter(about).collect();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_backup_runs_its_argv_for_as_long_as_baseline_and_order_both_allow() {
    for (by_order, limit) in [(300, 300), (86_400, 600)] {
        let mut rig = Rig::with(|setup| {
            let argv = vec![BACKUP_PROGRAM.to_owned(), "--to".to_owned(), "a b; c".to_owned()];
            backups(setup).jobs[0].run = Run::Argv(argv.try_into().unwrap());
        });
        let form = OrderForm::new(1, &run_backup()).with("max_runtime_s", by_order);
        assert_eq!(carry_out(&mut rig, &form).outcome, Outcome::Success);
        assert_eq!(rig.host.runs(), [[BACKUP_PROGRAM, "--to", "a b; c"]]);
        assert_eq!(rig.host.commands()[0].limit, Duration::from_secs(limit));
    }
}

#[test]
fn a_backup_that_is_a_unit_is_started_by_systemd() {
    let unit = |setup: &mut Setup| {
        backups(setup).jobs[0].run = Run::Unit("backup-records.service".parse().unwrap());
    };
    let mut rig = Rig::with(unit);
    let bundle = carry_out(&mut rig, &OrderForm::new(1, &run_backup()));
    assert_eq!((bundle.outcome, bundle.reason.as_str()), (Outcome::Failed, "not_healed"));
    assert_eq!(rig.host.runs(), [[SYSTEMCTL, "--quiet", "start", "--", "backup-records.service"]]);
    assert_eq!(bundle.actions[0].name, "start_unit");
}

#[test]
fn a_restart_asks_systemd_afterwards_whether_the_unit_is_active() {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &restart_frontdesk()).with("when", "now");
    let bundle = carry_out(&mut rig, &form);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
    let unit = "clinic-frontdesk.service";
    assert_eq!(
        rig.host.runs(),
        [
            [SYSTEMCTL, "--quiet", "restart", "--", unit],
            [SYSTEMCTL, "--quiet", "is-active", "--", unit]
        ]
    );
    let steps: Vec<_> =
        bundle.actions.iter().map(|a| (a.name.as_str(), a.target.as_str())).collect();
    assert_eq!(steps, [("restart_unit", unit), ("unit_is_active", unit)]);
}

type Ends = fn() -> Result<Output, HostError>;

/// The given run of systemd's command line ends so.
fn systemctl(rig: &Rig, nth: usize, ends: Ends) {
    let mut run = 0;
    rig.host.install(
        SYSTEMCTL,
        Box::new(move |_| {
            run += 1;
            if run == nth { ends() } else { silent_success() }
        }),
    );
}

#[test]
fn after_a_step_that_failed_none_follows_and_the_reason_is_named() {
    let cases: [(usize, Ends, usize, StepResult, &str); 4] = [
        (
            1,
            || silent_success().map(|o| Output { code: Some(5), ..o }),
            1,
            StepResult::Failed,
            "code 5",
        ),
        (
            1,
            || silent_success().map(|o| Output { code: None, ..o }),
            1,
            StepResult::Failed,
            "signal",
        ),
        (
            2,
            || silent_success().map(|o| Output { code: Some(3), ..o }),
            2,
            StepResult::Failed,
            "unit_is_active",
        ),
        (
            1,
            || Err(HostError::TimedOut { what: "x".to_owned(), limit: Duration::from_mins(5) }),
            1,
            StepResult::TimedOut,
            "did not answer within",
        ),
    ];
    for (nth, ends, steps, result, why) in cases {
        let mut rig = Rig::new();
        systemctl(&rig, nth, ends);
        let bundle =
            carry_out(&mut rig, &OrderForm::new(1, &restart_frontdesk()).with("when", "now"));
        assert_eq!((bundle.outcome, bundle.reason.as_str()), (Outcome::Failed, "action_failed"));
        assert_eq!(bundle.actions.len(), steps, "{why}");
        assert_eq!(bundle.actions.last().unwrap().result, result, "{why}");
        assert!(bundle.detail.contains(why), "{why}: {}", bundle.detail);
    }
}

#[test]
fn of_what_a_program_prints_only_digest_and_length_leave() {
    let mut rig = Rig::new();
    let secret = "patient Jane Roe";
    rig.host.install(
        BACKUP_PROGRAM,
        Box::new(move |_| {
            let text = secret.as_bytes().to_vec();
            Ok(Output { code: Some(1), stdout: text, stderr: b"!".to_vec() })
        }),
    );
    let bundle = carry_out(&mut rig, &OrderForm::new(1, &run_backup()));
    let printed = format!("{secret}!");
    assert_eq!(bundle.actions[0].output_sha256, Digest::of(printed.as_bytes()));
    assert_eq!(bundle.actions[0].output_bytes, printed.len() as u64);
    let all = rig.pending();
    assert!(all.iter().all(|b| !String::from_utf8_lossy(b.json.as_slice()).contains("Jane Roe")));
}

#[test]
fn what_a_status_file_holds_leaves_only_where_it_is_a_status() {
    let mut rig = Rig::new();
    rig.settle();
    let text = json!({ "finished_at": "2026-11-20T09:41:11.000Z", "patient": "Jane Roe" });
    rig.host.write(compliance_testkit::keys::STATUS_FILE, text.to_string());
    rig.round();
    let told = rig.because("unknown");
    assert_eq!(told.last().unwrap().check.as_deref(), Some("backups"));
    let told = serde_json::to_string(&told).unwrap();
    assert!(!told.contains("Jane Roe"), "{told}");
}

#[test]
fn a_bundle_whose_facts_are_too_many_leaves_them_out_and_says_so() {
    let mut rig = Rig::with(|setup| {
        let jobs = &mut backups(setup).jobs;
        // Each is stale, and nobody ever tested a restore of it.
        let like = BackupJob { restore_test_max_age_d: Some(90), ..jobs[0].clone() };
        let job = |n: u32| BackupJob { name: format!("r{n}").parse().unwrap(), ..like.clone() };
        jobs.extend((0..800).map(job));
        setup.heal.backups = compliance_executor::config::HealMode::Order;
    });
    rig.age_backup(Span::from_hours(50));
    rig.settle();
    let bundle = rig.because("drift").pop().expect("it is told all the same");
    assert!(bundle.detail.contains("could not be written down"), "{}", bundle.detail);
    assert!(bundle.findings.is_empty() && bundle.post.is_empty());
    assert!(rig.pending().iter().all(|b| b.json.as_slice().len() <= MAX_BUNDLE));
    let sent = rig.status().pending_bundles;
    assert_eq!(rig.upload(), sent);
}

#[test]
fn the_one_thing_that_is_done_is_what_the_signed_order_says() {
    // An order for a job whose name is another's prefix runs that job and no other.
    let mut rig = Rig::with(|setup| {
        let jobs = &mut backups(setup).jobs;
        let other = BackupJob {
            name: "record".parse().unwrap(),
            run: Run::Argv(vec!["/usr/bin/other".to_owned()].try_into().unwrap()),
            ..jobs[0].clone()
        };
        jobs.insert(0, other);
    });
    rig.host.install("/usr/bin/other", Box::new(|_| silent_success()));
    carry_out(&mut rig, &OrderForm::new(1, &run_backup()));
    assert_eq!(rig.host.runs(), [[BACKUP_PROGRAM]]);
    let form = OrderForm::new(2, &action(r#"{"type":"run_backup","job":"record"}"#));
    let form = form.after(&OrderForm::new(1, &run_backup()));
    carry_out(&mut rig, &form);
    assert_eq!(rig.ran("/usr/bin/other"), 1);
}
