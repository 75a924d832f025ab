//! The services check, round after round.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod rounds;

use compliance_checks::capture::Captured;
use compliance_checks::host::UnitState;
use compliance_checks::linux::units::decode;
use compliance_checks::services::{Services, ServicesBaseline, capture};
use compliance_checks::{HostError, Verdict};
use compliance_testkit::host::{FakeHost, unit};
use proptest::prelude::*;
use rounds::{Rounds, drifts, faults, is_unknown};
use serde_json::json;

const WEB: &str = "clinic-web.service";
const JOB: &str = "clinic-job.service";

fn web(units: Vec<UnitState>) -> Rounds<Services> {
    let rounds: Rounds<Services> = Rounds::new("services", &json!({ "units": [{ "unit": WEB }] }));
    rounds.host.set_units(Ok(units));
    rounds
}

fn running(name: &str) -> UnitState {
    unit(name, "loaded", "active", "running")
}

fn web_is(load: &str, active: &str, sub: &str) -> Verdict {
    web(vec![unit(WEB, load, active, sub)]).after(0)
}

fn oneshot(active: &str, sub: &str, result: &str) -> UnitState {
    let unit = unit(WEB, "loaded", active, sub);
    UnitState { kind: "oneshot".to_owned(), result: result.to_owned(), ..unit }
}

fn failed(name: &str) -> UnitState {
    UnitState { result: "exit-code".to_owned(), ..unit(name, "loaded", "failed", "failed") }
}

fn restarted(times: u32) -> UnitState {
    UnitState { restarts: times, ..running(WEB) }
}

#[test]
fn a_baseline_has_defaults_and_refuses_what_it_does_not_know() {
    let written: ServicesBaseline =
        serde_json::from_value(json!({ "units": [{ "unit": WEB }] })).unwrap();
    assert_eq!((written.flap_restarts, written.flap_minutes), (3, 10));
    assert!(written.ignore_failed.is_empty());
    assert_eq!((written.units[0].disruptive, written.units[0].start_limit_s), (false, 90));
    let unknown = json!({ "units": [], "flap_seconds": 3 });
    assert!(serde_json::from_value::<ServicesBaseline>(unknown).is_err());
}

#[test]
fn a_critical_unit_that_is_up_is_compliant() {
    for (active, sub) in [
        ("active", "running"),
        ("active", "exited"),
        ("active", "listening"),
        ("active", "mounted"),
        ("reloading", "reload"),
        ("refreshing", "refresh"),
    ] {
        assert_eq!(web_is("loaded", active, sub), Verdict::Compliant, "{active}");
    }
}

#[test]
fn a_critical_unit_that_is_down_missing_or_masked_is_drift() {
    for (load, active, sub, actual) in [
        ("loaded", "inactive", "dead", "inactive (dead)"),
        ("loaded", "failed", "failed", "failed (failed)"),
        ("loaded", "maintenance", "cleaning", "maintenance (cleaning)"),
        ("not-found", "inactive", "dead", "there is no such unit"),
        ("masked", "inactive", "dead", "masked"),
        ("masked", "active", "running", "masked"),
        ("bad-setting", "inactive", "dead", "its unit file cannot be loaded"),
        ("error", "inactive", "dead", "its unit file cannot be loaded"),
    ] {
        drifts(&web_is(load, active, sub), WEB, actual);
    }
    // systemd that has never heard of it says so, too.
    drifts(&web(vec![]).after(0), WEB, "there is no such unit");
    let mut rounds = web(vec![failed(WEB)]);
    let verdict = rounds.after(0);
    drifts(&verdict, WEB, "failed (failed, exit-code)");
    assert_eq!(verdict.findings().len(), 1, "a critical unit is not counted as a failed one again");
}

#[test]
fn a_oneshot_is_judged_by_its_result() {
    for (active, sub, result, compliant) in [
        ("active", "exited", "success", true),
        ("inactive", "dead", "success", true),
        ("activating", "start", "success", true),
        ("inactive", "dead", "exit-code", false),
        ("failed", "failed", "timeout", false),
    ] {
        let verdict = web(vec![oneshot(active, sub, result)]).after(0);
        assert_eq!(verdict == Verdict::Compliant, compliant, "{active} {result}: {verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Drifted(_)), !compliant, "{active} {result}");
    }
    // One that failed and is about to be tried again does not run.
    let verdict = web(vec![oneshot("activating", "auto-restart", "exit-code")]).after(0);
    is_unknown(&verdict, "still activating");
}

#[test]
fn a_unit_that_is_starting_is_unknown_and_after_its_limit_drift() {
    for (active, sub) in [("activating", "start-pre"), ("deactivating", "stop-sigterm")] {
        let mut rounds = web(vec![unit(WEB, "loaded", active, sub)]);
        is_unknown(&rounds.after(0), &format!("{WEB} is still {active}"));
        is_unknown(&rounds.after(90), "still");
        drifts(&rounds.after(15), WEB, &format!("{active} ({sub}) for 1 min 45 s"));
        // It came up: the time begins anew.
        rounds.host.set_units(Ok(vec![running(WEB)]));
        assert_eq!(rounds.after(15), Verdict::Compliant);
        rounds.host.set_units(Ok(vec![unit(WEB, "loaded", active, sub)]));
        is_unknown(&rounds.after(15), "still");
    }
}

#[test]
fn a_unit_that_waits_for_its_turn_at_boot_is_unknown_and_after_its_limit_drift() {
    let waiting = UnitState { job: "start".to_owned(), ..unit(WEB, "loaded", "inactive", "dead") };
    let mut rounds = web(vec![waiting.clone()]);
    is_unknown(&rounds.after(0), "clinic-web.service waits to be started");
    is_unknown(&rounds.after(90), "waits");
    drifts(&rounds.after(1), WEB, "inactive (dead) for 1 min 31 s");
    // A job that stops it is no excuse.
    rounds.host.set_units(Ok(vec![UnitState { job: "stop".to_owned(), ..waiting }]));
    drifts(&rounds.after(1), WEB, "inactive (dead)");
}

#[test]
fn a_oneshot_may_run_as_long_as_its_limit_says() {
    let limit = json!({ "units": [{ "unit": WEB, "start_limit_s": 7200 }] });
    let mut rounds: Rounds<Services> = Rounds::new("services", &limit);
    rounds.host.set_units(Ok(vec![oneshot("activating", "start", "success")]));
    assert_eq!(rounds.after(0), Verdict::Compliant);
    assert_eq!(rounds.after(7200), Verdict::Compliant);
    drifts(&rounds.after(60), WEB, "activating (start) for 2 h 1 min");
}

#[test]
fn automatic_restarts_within_the_time_are_flapping() {
    let mut rounds = web(vec![restarted(7)]);
    // What was before the executor started is not held against it.
    assert_eq!(rounds.after(0), Verdict::Compliant);
    rounds.host.set_units(Ok(vec![restarted(9)]));
    assert_eq!(rounds.after(60), Verdict::Compliant);
    rounds.host.set_units(Ok(vec![restarted(10)]));
    drifts(&rounds.after(60), WEB, "3 restarts");
    // Ten minutes after the first of them.
    drifts(&rounds.after(8 * 60), WEB, "3 restarts");
    assert_eq!(rounds.after(2 * 60), Verdict::Compliant);
}

#[test]
fn a_restart_counts_for_exactly_the_time() {
    let mut rounds = web(vec![restarted(0)]);
    assert_eq!(rounds.after(0), Verdict::Compliant);
    rounds.host.set_units(Ok(vec![restarted(3)]));
    drifts(&rounds.after(15), WEB, "3 restarts");
    drifts(&rounds.after(599), WEB, "3 restarts");
    assert_eq!(rounds.after(1), Verdict::Compliant);
}

#[test]
fn a_start_by_hand_is_no_flapping() {
    let mut rounds = web(vec![restarted(2)]);
    for restarts in [2, 0, 1, 0, 2, 0, 2, 0] {
        rounds.host.set_units(Ok(vec![restarted(restarts)]));
        assert_eq!(rounds.after(15), Verdict::Compliant, "{restarts}");
    }
}

#[test]
fn a_failed_unit_that_nobody_named_is_drift() {
    let mut rounds = web(vec![running(WEB), failed("nightly.service"), failed("x.timer")]);
    let verdict = rounds.after(0);
    drifts(&verdict, "nightly.service", "failed");
    drifts(&verdict, "x.timer", "failed");
    assert_eq!(rounds.report_after(15).facts["failed"], 2);
}

#[test]
fn of_a_failed_unit_only_what_the_system_configures_is_said() {
    let rounds = |units: Vec<UnitState>| {
        let mut rounds = web(units);
        rounds.host.write("/run/systemd/transient/export-mueller.service", "");
        rounds
            .host
            .fail("/run/systemd/transient/secret.service", HostError::Denied("x".to_owned()));
        rounds.after(0)
    };
    let units = [
        "labels@mueller-anna.service",
        "labels@meier.service",
        "export-mueller.service",
        "secret.service",
        "mnt-patients\\x2dmueller.mount",
        "session-mueller.scope",
        "mueller anna.service",
        "mueller",
    ];
    let verdict = rounds([running(WEB)].into_iter().chain(units.map(failed)).collect());
    drifts(&verdict, "labels@.service", "2 failed");
    drifts(&verdict, "a transient service unit", "3 failed");
    drifts(&verdict, "a mount unit", "failed");
    drifts(&verdict, "a scope unit", "failed");
    drifts(&verdict, "a unit", "failed");
    let said = format!("{verdict:?}");
    assert!(!said.contains("mueller") && !said.contains("meier"), "{said}");
}

#[test]
fn findings_about_failed_units_are_bounded() {
    let many = (0..500).map(|n| failed(&format!("job{n:03}.service")));
    let verdict = web([running(WEB)].into_iter().chain(many).collect()).after(0);
    assert_eq!(verdict.findings().len(), 17);
    drifts(&verdict, "further units", "484 failed");
}

#[test]
fn what_may_fail_may_fail() {
    let part = json!({
        "units": [{ "unit": WEB }],
        "ignore_failed": ["nightly.service", "labels@.service", JOB],
    });
    let mut rounds: Rounds<Services> = Rounds::new("services", &part);
    let units = ["nightly.service", "labels@mueller.service", JOB].map(failed);
    rounds.host.set_units(Ok([running(WEB)].into_iter().chain(units).collect()));
    assert_eq!(rounds.after(0), Verdict::Compliant);
}

#[test]
fn each_way_of_not_knowing_is_unknown() {
    for error in faults() {
        let mut rounds = web(vec![running(WEB)]);
        rounds.host.set_units(Err(error.clone()));
        is_unknown(&rounds.after(0), &error.to_string());
    }
    // No systemd at all.
    let mut bare: Rounds<Services> =
        Rounds::new("services", &json!({ "units": [{ "unit": WEB }] }));
    is_unknown(&bare.after(0), "systemd is not installed");
    // States that a later systemd may have.
    is_unknown(&web_is("loaded", "sleeping", "rem"), "does not know");
    is_unknown(&web_is("stub", "active", "running"), "neither loaded nor missing");
    // A baseline that asks for nothing.
    let mut empty: Rounds<Services> = Rounds::new("services", &json!({ "units": [] }));
    empty.host.set_units(Ok(vec![running(WEB)]));
    is_unknown(&empty.after(0), "names no critical unit");
    empty.host.set_units(Ok(vec![failed("x.service")]));
    drifts(&empty.after(0), "x.service", "failed");
}

#[test]
fn one_unit_in_doubt_is_never_hidden_by_one_that_is_well() {
    let part = json!({ "units": [{ "unit": WEB }, { "unit": JOB }] });
    let mut rounds: Rounds<Services> = Rounds::new("services", &part);
    rounds.host.set_units(Ok(vec![running(WEB), unit(JOB, "loaded", "activating", "start")]));
    is_unknown(&rounds.after(0), JOB);
    rounds.host.set_units(Ok(vec![failed(WEB), unit(JOB, "loaded", "activating", "start")]));
    drifts(&rounds.after(0), WEB, "failed (failed, exit-code)");
}

#[test]
fn words_that_systemd_does_not_use_do_not_leave() {
    let report = web(vec![unit(WEB, "loaded", "active", "Mueller, Anna")]).report_after(0);
    assert_eq!(
        report.facts["units"][WEB],
        json!({ "active": "active", "sub": "?", "restarts": 0 })
    );
    let mut rounds = web(vec![oneshot("failed", "failed", "Mueller, Anna")]);
    drifts(&rounds.after(0), WEB, "failed (failed, ?)");
}

/// A recorded answer of systemd 257 with one unit in each state.
fn recorded() -> FakeHost {
    let body = include_bytes!("fixtures/services/list-units.bin");
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let mut message = vec![b'l', 2, 1, 1];
    message.extend(length);
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    let host = FakeHost::default();
    host.set_units(Ok(decode(&message).unwrap()));
    host.write("/run/systemd/transient/export-mueller.service", "");
    host
}

#[test]
fn a_real_machine_is_captured_without_what_comes_and_goes() {
    let Captured { expected, remarks } = capture(&recorded());
    let captured = expected.unwrap();
    let names: Vec<_> = captured.units.iter().map(|unit| unit.unit.as_str()).collect();
    assert_eq!(
        names,
        [
            "clinic-once.service",
            "clinic-web.service",
            "dbus.service",
            "systemd-journald.service",
            "systemd-logind.service",
        ]
    );
    assert!(captured.ignore_failed.is_empty(), "what has failed is for a person to look at");
    let failed = "clinic-broken.service: failed right now. Repair it, or name it in ignore_failed";
    assert!(remarks.contains(&failed.to_owned()), "{remarks:?}");
    assert!(!remarks.concat().contains("mueller"), "names that anybody could make up stay out");
    assert_eq!(capture(&FakeHost::default()), Captured::nothing("systemd is not installed"));
}

#[test]
fn a_real_machine_drifts_by_its_failed_units_alone() {
    let mut rounds: Rounds<Services> =
        Rounds::new("services", &json!({ "units": [{ "unit": WEB }] }));
    rounds.host = recorded();
    let verdict = rounds.after(0);
    let subjects: Vec<_> = verdict.findings().iter().map(|f| f.subject.as_str()).collect();
    let broken = ["a transient service unit", "clinic-broken.service", "clinic-jobfail.service"];
    assert_eq!(subjects, [&broken[..], &["clinic-patient@.service"]].concat());
}

/// What may happen to the one critical unit in a round.
#[derive(Debug, Clone, Copy)]
enum Event {
    Nothing,
    Reload,
    StartByHand,
    AutomaticRestart,
    Stop,
    Fail,
    OtherFails,
    OtherIsReset,
}

fn harmless() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Nothing),
        2 => Just(Event::Reload),
        1 => Just(Event::StartByHand),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => harmless(),
        1 => Just(Event::AutomaticRestart),
        1 => Just(Event::Stop),
        1 => Just(Event::Fail),
        1 => Just(Event::OtherFails),
        1 => Just(Event::OtherIsReset),
    ]
}

/// The model: what the host is in now, and the times of its automatic restarts since the last start by hand.
struct Model {
    active: &'static str,
    restarts: u32,
    restarted_at: Vec<i64>,
    other_failed: bool,
}

impl Model {
    fn step(&mut self, event: Event, now: i64) {
        match event {
            Event::Reload if self.active == "active" => self.active = "reloading",
            Event::Nothing | Event::Reload => {}
            Event::StartByHand => {
                (self.active, self.restarts) = ("active", 0);
                self.restarted_at.clear();
            }
            Event::AutomaticRestart => {
                self.active = "active";
                self.restarts += 1;
                self.restarted_at.push(now);
            }
            Event::Stop => self.active = "inactive",
            Event::Fail => self.active = "failed",
            Event::OtherFails => self.other_failed = true,
            Event::OtherIsReset => self.other_failed = false,
        }
    }

    fn units(&self) -> Vec<UnitState> {
        let state = unit(WEB, "loaded", self.active, "x");
        let other = self.other_failed.then(|| failed("other.service"));
        [UnitState { restarts: self.restarts, ..state }].into_iter().chain(other).collect()
    }

    fn is_well(&self, now: i64) -> bool {
        let recent = self.restarted_at.iter().filter(|at| now - **at < 600).count();
        matches!(self.active, "active" | "reloading") && !self.other_failed && recent < 3
    }
}

fn history(events: &[(Event, i64)]) -> Vec<(Verdict, bool)> {
    let mut model =
        Model { active: "active", restarts: 0, restarted_at: Vec::new(), other_failed: false };
    let mut rounds = web(model.units());
    assert_eq!(rounds.after(0), Verdict::Compliant);
    let mut now = 0;
    let step = |(event, seconds): &(Event, i64)| {
        now += seconds;
        model.step(*event, now);
        rounds.host.set_units(Ok(model.units()));
        (rounds.after(*seconds), model.is_well(now))
    };
    events.iter().map(step).collect()
}

proptest! {
    #[test]
    fn any_history_is_compliant_exactly_when_the_model_is_well(
        events in prop::collection::vec((any_event(), 1_i64..200), 0..60),
    ) {
        for (round, (verdict, well)) in history(&events).into_iter().enumerate() {
            prop_assert_eq!(verdict == Verdict::Compliant, well, "round {}: {:?}", round, verdict);
            prop_assert_eq!(matches!(verdict, Verdict::Drifted(_)), !well);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn harmless_histories_never_drift(
        events in prop::collection::vec((harmless(), 1_i64..200), 0..60),
    ) {
        for (verdict, _) in history(&events) {
            prop_assert_eq!(verdict, Verdict::Compliant);
        }
    }
}
