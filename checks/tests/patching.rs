//! The patching check, on links as NixOS makes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod rounds;

use compliance_checks::capture::Captured;
use compliance_checks::patching::{
    Facts, Generation, Patching, PatchingBaseline, Pending, capture, gather, judge, system,
};
use compliance_checks::{HostError, Verdict};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::FakeHost;
use proptest::prelude::*;
use rounds::{Rounds, at, drifts, faults, is_unknown, no_time};
use serde_json::json;

const RUNNING: &str = "/run/current-system";
const BOOTED: &str = "/run/booted-system";
const PROFILE: &str = "/nix/var/nix/profiles/system";

/// The closure of generation `number`, as text.
fn closure(number: u64) -> String {
    format!("/nix/store/{number:032}-nixos-system-clinic-26.05")
}

fn path(number: u64) -> StorePath {
    closure(number).parse().unwrap()
}

/// What happens to a NixOS machine.
struct Nixos<'a>(&'a FakeHost);

impl Nixos<'_> {
    /// Adds a generation to the profile, made so many hours from now, with this kernel.
    fn install(&self, number: u64, hours: i64, kernel: &str) {
        self.generation(number, hours, kernel);
        self.set_profile(number, hours);
    }

    fn generation(&self, number: u64, hours: i64, kernel: &str) {
        let system = closure(number);
        self.0.link(&format!("{PROFILE}-{number}-link"), &system, at(hours));
        for part in ["kernel", "initrd", "kernel-modules"] {
            let store = format!("/nix/store/{:032}-{part}-{kernel}", 0);
            self.0.link(&format!("{system}/{part}"), &store, at(hours));
        }
        self.0.write(&format!("{system}/kernel-params"), format!("loglevel=4 k={kernel}"));
    }

    fn set_profile(&self, number: u64, hours: i64) {
        self.0.link(PROFILE, &format!("system-{number}-link"), at(hours));
    }

    fn activate(&self, number: u64, hours: i64) {
        self.0.link(RUNNING, &closure(number), at(hours));
    }

    fn boot(&self, number: u64, hours: i64) {
        self.0.link(BOOTED, &closure(number), at(hours));
        self.activate(number, hours);
    }
}

/// Generation 42, installed five hours ago, booted four hours ago, and expected.
fn machine() -> Rounds<Patching> {
    let mut rounds = Rounds::of(Patching, "patching", &json!({}));
    let nixos = Nixos(&rounds.host);
    nixos.install(42, -5, "6.12.1");
    nixos.boot(42, -4);
    rounds.expected_system = Some(path(42));
    rounds
}

fn after(events: impl FnOnce(&Nixos<'_>)) -> Verdict {
    let mut rounds = machine();
    events(&Nixos(&rounds.host));
    rounds.after(0)
}

#[test]
fn a_baseline_has_defaults_and_refuses_what_it_does_not_know() {
    let written: PatchingBaseline = serde_json::from_value(json!({})).unwrap();
    assert_eq!(written, PatchingBaseline { max_age_d: 30, max_reboot_pending_d: 7 });
    assert_eq!(written, PatchingBaseline::default());
    assert!(serde_json::from_value::<PatchingBaseline>(json!({ "age": 3 })).is_err());
}

#[test]
fn the_expected_system_booted_and_young_is_compliant() {
    let report = machine().report_after(0);
    assert_eq!(report.verdict, Verdict::Compliant);
    assert_eq!(
        serde_json::Value::from(report.facts),
        json!({
            "running": closure(42), "booted": closure(42), "profile": closure(42),
            "generation": 42, "generation_made_at": at(-5),
        })
    );
}

#[test]
fn without_an_expected_system_the_profile_says_what_should_run() {
    let mut rounds = machine();
    rounds.expected_system = None;
    assert_eq!(rounds.after(0), Verdict::Compliant);
    Nixos(&rounds.host).activate(43, 0);
    assert!(matches!(rounds.after(0), Verdict::Drifted(_)));
}

/// What the finding about the profile says of how it came.
#[track_caller]
fn diverges(verdict: &Verdict, expected: u64, actual: u64, how: &str) {
    let finding = verdict.findings().iter().find(|finding| finding.subject == PROFILE);
    let finding = finding.unwrap_or_else(|| panic!("{verdict:?}"));
    assert_eq!(finding.expected, format!("the running system, {}", closure(expected)));
    assert_eq!(finding.actual, format!("{}: {how}", closure(actual)));
}

#[test]
fn a_half_done_activation_is_told_apart_from_a_manual_test() {
    let half_done = after(|nixos| nixos.install(43, -1, "6.12.1"));
    diverges(
        &half_done,
        42,
        43,
        "installed after the running system was activated: an activation that was not finished, \
         or that waits for a boot",
    );
    assert_eq!(half_done.findings().len(), 1, "what runs is still what is expected");

    let test = after(|nixos| nixos.activate(43, -1));
    let how = "installed, but another system was activated since, without being installed (test)";
    diverges(&test, 43, 42, how);
    drifts(&test, RUNNING, &closure(43));

    let other_boot = after(|nixos| nixos.boot(41, -1));
    diverges(&other_boot, 41, 42, "installed, but another generation was booted");
    drifts(&other_boot, RUNNING, &closure(41));

    let switched = after(|nixos| {
        nixos.install(43, -1, "6.12.1");
        nixos.activate(43, -1);
    });
    drifts(&switched, RUNNING, &closure(43));
    assert_eq!(switched.findings().len(), 1, "whole, only not the expected one");
}

#[test]
fn a_generation_is_too_old_from_its_own_date_on() {
    let mut rounds = machine();
    rounds.host.unlink(PROFILE);
    Nixos(&rounds.host).install(42, -30 * 24, "6.12.1");
    assert_eq!(rounds.after(0), Verdict::Compliant);
    drifts(&rounds.after(1), RUNNING, "generation 42 is 30 d 0 h old");
    // Rolled back to and activated today, it is as old as it is.
    let rolled_back = after(|nixos| {
        nixos.generation(42, -40 * 24, "6.12.1");
        nixos.set_profile(42, 0);
    });
    drifts(&rolled_back, RUNNING, "generation 42 is 40 d 0 h old");
    let future = after(|nixos| nixos.generation(42, 2, "6.12.1"));
    drifts(&future, RUNNING, "generation 42 is from the future");
}

#[test]
fn a_reboot_may_be_pending_for_a_while() {
    let mut rounds = machine();
    let nixos = Nixos(&rounds.host);
    nixos.install(43, -2, "6.12.2");
    nixos.activate(43, -2);
    rounds.expected_system = Some(path(43));
    let report = rounds.report_after(0);
    assert_eq!(report.verdict, Verdict::Compliant);
    assert_eq!(
        report.facts["reboot_pending"],
        json!(["kernel", "initrd", "kernel modules", "kernel parameters"])
    );
    assert_eq!(report.facts["reboot_pending_since"], json!(at(-2)));
    let all = "kernel, initrd, kernel modules, kernel parameters";
    drifts(&rounds.after(7 * 24 * 3600), RUNNING, &format!("pending for 7 d 2 h: {all}"));
}

#[test]
fn a_switch_in_between_does_not_start_the_wait_for_a_reboot_anew() {
    let verdict = after(|nixos| {
        nixos.generation(40, -400, "6.12.2"); // Before the booted one: another matter.
        nixos.generation(42, -300, "6.12.1");
        nixos.generation(43, -200, "6.12.2");
        nixos.generation(44, -100, "6.12.2");
        nixos.install(45, -1, "6.12.3");
        nixos.boot(42, -290);
        nixos.activate(45, -1);
    });
    let all = "kernel, initrd, kernel modules, kernel parameters";
    drifts(&verdict, RUNNING, &format!("pending for 8 d 8 h: {all}"));
}

/// Generation 45 runs, made yesterday with another kernel than what was booted 20 d ago; all generations
/// from the booted one up to `gone` were deleted.
fn collected(gone: u64) -> Rounds<Patching> {
    let mut rounds = machine();
    let nixos = Nixos(&rounds.host);
    nixos.generation(41, -600, "6.12.0");
    nixos.generation(42, -500, "6.12.1");
    nixos.generation(43, -400, "6.12.2");
    nixos.generation(44, -200, "6.12.2");
    nixos.install(45, -24, "6.12.3");
    nixos.boot(42, -480);
    nixos.activate(45, -24);
    for number in 41..=gone {
        rounds.host.unlink(&format!("{PROFILE}-{number}-link"));
    }
    rounds.expected_system = Some(path(45));
    rounds.uptime = Span::from_hours(480);
    rounds
}

#[test]
fn a_reboot_is_never_fine_because_the_generations_since_which_it_is_pending_were_deleted() {
    is_unknown(&collected(44).after(0), "the generations since are deleted");
    let all = "kernel, initrd, kernel modules, kernel parameters";
    drifts(&collected(43).after(0), RUNNING, &format!("pending for at least 8 d 8 h: {all}"));
    drifts(&collected(42).after(0), RUNNING, &format!("pending for at least 16 d 16 h: {all}"));
    drifts(&collected(41).after(0), RUNNING, &format!("pending for 16 d 16 h: {all}"));
    let facts = collected(44).report_after(0).facts;
    assert!(!facts.contains_key("reboot_pending_since"), "{facts:?}");
    assert_eq!(facts["reboot_pending_at_least_since"], json!(at(-24)));
}

#[test]
fn no_reboot_is_pending_for_longer_than_the_machine_is_up() {
    let mut rounds = collected(44);
    rounds.uptime = Span::from_hours(7 * 24);
    assert_eq!(rounds.after(0), Verdict::Compliant);
    is_unknown(&rounds.after(1), "the generations since are deleted");
}

#[test]
fn more_generations_than_are_looked_at_hide_no_reboot() {
    let mut rounds = machine();
    let nixos = Nixos(&rounds.host);
    for number in 43..=142 {
        nixos.generation(number, -24, "6.12.2");
    }
    nixos.set_profile(142, -24);
    nixos.activate(142, -24);
    rounds.expected_system = Some(path(142));
    assert_eq!(rounds.after(0), Verdict::Compliant);
    rounds.uptime = Span::from_hours(8 * 24);
    is_unknown(&rounds.after(0), "the generations since are deleted");
}

#[test]
fn what_was_booted_before_the_first_generation_was_made_is_since_then() {
    let mut rounds = machine();
    rounds.host.unlink(&format!("{PROFILE}-42-link"));
    let nixos = Nixos(&rounds.host);
    nixos.install(1, -24, "6.12.2");
    nixos.activate(1, -24);
    rounds.expected_system = Some(path(1));
    rounds.uptime = Span::from_hours(30 * 24);
    assert_eq!(rounds.after(0), Verdict::Compliant);
}

#[test]
fn what_only_a_switch_brings_in_needs_no_reboot() {
    let mut rounds = machine();
    let nixos = Nixos(&rounds.host);
    nixos.install(43, -2, "6.12.1");
    nixos.activate(43, -2);
    rounds.expected_system = Some(path(43));
    let report = rounds.report_after(24 * 20 * 3600);
    assert_eq!(report.verdict, Verdict::Compliant);
    assert!(!report.facts.contains_key("reboot_pending"));
    rounds.host.write(&format!("{}/kernel-params", closure(43)), "loglevel=7 k=6.12.1");
    drifts(&rounds.after(0), RUNNING, "pending for 20 d 2 h: kernel parameters");
}

#[test]
fn a_system_without_a_kernel_is_compared_too() {
    let mut rounds = machine();
    for number in [42, 43] {
        rounds.host.remove(&format!("{}/kernel-params", closure(number)));
    }
    let nixos = Nixos(&rounds.host);
    nixos.install(43, -2, "6.12.1");
    nixos.activate(43, -2);
    rounds.host.remove(&format!("{}/kernel-params", closure(43)));
    rounds.expected_system = Some(path(43));
    assert_eq!(rounds.after(0), Verdict::Compliant);
}

#[test]
fn a_machine_that_is_not_nixos_is_unknown_until_the_baseline_says_so() {
    let mut bare = Rounds::<Patching>::of(Patching, "patching", &json!({}));
    is_unknown(&bare.after(0), "this machine is not NixOS: declare patching not_applicable");
    assert_eq!(capture(&bare.host), Captured::nothing("this machine is not NixOS"));
}

#[test]
fn a_machine_is_captured_with_the_usual_limits_and_what_is_not_in_order_right_now() {
    let machine = machine();
    let usual = Ok(PatchingBaseline::default());
    let captured = capture(&machine.host);
    assert_eq!(captured, Captured { expected: usual.clone(), remarks: Vec::new() });
    Nixos(&machine.host).install(43, 0, "6.12.2");
    let Captured { expected, remarks } = capture(&machine.host);
    assert_eq!(expected, usual);
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(remarks[0].contains(&format!("the system profile names {}", closure(43))));
    assert!(remarks[1].starts_with("a reboot is pending: kernel"), "{remarks:?}");
}

fn facts() -> Facts {
    let host = machine().host;
    gather(&host)
}

fn judged(change: impl FnOnce(&mut Facts), now: TrustedNow) -> Verdict {
    let mut facts = facts();
    change(&mut facts);
    judge(&PatchingBaseline::default(), &facts, Some(&path(42)), now, Span::ZERO)
}

fn known() -> TrustedNow {
    TrustedNow::Known { at: at(0), source: ClockSource::Kernel }
}

#[test]
fn each_way_of_not_knowing_is_unknown() {
    for error in faults() {
        let fails: [fn(&mut Facts, HostError); 4] = [
            |facts, error| facts.running = Err(error),
            |facts, error| facts.profile = Err(error),
            |facts, error| facts.generation = Err(error),
            |facts, error| facts.reboot = Err(error),
        ];
        for fail in fails {
            is_unknown(&judged(|facts| fail(facts, error.clone()), known()), &error.to_string());
        }
    }
    is_unknown(&judged(|_| (), no_time()), "the time is not known");
    let undated = Generation { number: 42, made_at: Timestamp::from_millis(1000) };
    is_unknown(&judged(|facts| facts.generation = Ok(undated), known()), "carries no date");
    for link in [PROFILE, BOOTED, "/nix/var/nix/profiles/system-42-link"] {
        let mut rounds = machine();
        rounds.host.unlink(link);
        assert!(matches!(rounds.after(0), Verdict::Unknown(_)), "{link}");
    }
    let mut odd = machine();
    odd.host.link(RUNNING, "/home/somebody", at(0));
    is_unknown(&odd.after(0), "it does not lead to a store path");
    odd.host.link(RUNNING, &closure(42), at(0));
    odd.host.link(PROFILE, &closure(42), at(0));
    is_unknown(&odd.after(0), "it does not lead to a generation");
    for error in
        [HostError::Denied("x".to_owned()), HostError::TooLarge { what: "x".to_owned(), limit: 1 }]
    {
        let mut rounds = machine();
        Nixos(&rounds.host).install(43, -1, "6.12.1");
        Nixos(&rounds.host).activate(43, -1);
        rounds.expected_system = Some(path(43));
        rounds.host.fail(&format!("{}/kernel-params", closure(42)), error.clone());
        is_unknown(&rounds.after(0), &error.to_string());
    }
}

#[test]
fn what_is_wrong_at_any_time_is_drift_without_knowing_the_time() {
    let mut rounds = machine();
    rounds.now = no_time();
    Nixos(&rounds.host).activate(43, -1);
    drifts(&rounds.after(0), RUNNING, &closure(43));
}

#[test]
fn link_times_that_cannot_be_read_leave_the_drift_and_take_the_explanation() {
    let denied = || Err(HostError::Denied("x".to_owned()));
    let verdict = judged(
        |facts| {
            facts.profile = Ok(path(43));
            facts.activated_at = denied();
        },
        known(),
    );
    diverges(&verdict, 42, 43, "installed, but not what runs");
}

#[test]
fn bundles_name_the_system() {
    let host = machine().host;
    host.write(&format!("{}/nixos-version", closure(42)), "26.05.20261101.abc123\n");
    let seen = system(&host);
    assert_eq!((seen.running, seen.booted), (Some(path(42)), Some(path(42))));
    assert_eq!(seen.generation, Some(42));
    assert_eq!(seen.revision.as_deref(), Some("26.05.20261101.abc123"));
    host.write(&format!("{}/configuration-revision", closure(42)), "0123abcd");
    assert_eq!(system(&host).revision.as_deref(), Some("0123abcd"));
    host.write(&format!("{}/configuration-revision", closure(42)), "a text\nof lines");
    assert_eq!(system(&host).revision.as_deref(), Some("26.05.20261101.abc123"));
    assert_eq!(system(&FakeHost::default()), compliance_protocol::evidence::System::default());
}

/// What an operator may do to a machine, and time.
#[derive(Debug, Clone, Copy)]
enum Event {
    Install { new_kernel: bool },
    Activate,
    ActivateByHand,
    Reboot,
    Wait(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => any::<bool>().prop_map(|new_kernel| Event::Install { new_kernel }),
        3 => Just(Event::Activate),
        1 => Just(Event::ActivateByHand),
        2 => Just(Event::Reboot),
        4 => (1_i64..300).prop_map(Event::Wait),
    ]
}

/// The model: generations by number with kernel and hour, and which runs.
struct Model {
    generations: Vec<(u64, u32, i64)>,
    running: u64,
    booted: (u64, u32),
    hour: i64,
}

impl Model {
    fn newest(&self) -> (u64, u32, i64) {
        *self.generations.last().unwrap()
    }

    fn apply(&mut self, event: Event, nixos: &Nixos<'_>) {
        let (number, kernel, _) = self.newest();
        match event {
            Event::Install { new_kernel } => {
                let kernel = kernel + u32::from(new_kernel);
                nixos.install(number + 1, self.hour, &kernel.to_string());
                self.generations.push((number + 1, kernel, self.hour));
            }
            Event::Activate => {
                nixos.activate(number, self.hour);
                self.running = number;
            }
            Event::ActivateByHand => {
                nixos.activate(1_000_000, self.hour);
                self.running = 1_000_000;
            }
            Event::Reboot => {
                nixos.boot(number, self.hour);
                (self.running, self.booted) = (number, (number, kernel));
            }
            Event::Wait(hours) => self.hour += hours,
        }
    }

    fn is_well(&self) -> bool {
        let (number, _, made) = self.newest();
        let since_boot = self.generations.iter().rev();
        let pending = since_boot.take_while(|(_, kernel, _)| *kernel != self.booted.1).last();
        let overdue = pending.is_some_and(|(.., made)| self.hour - made > 7 * 24);
        self.running == number && self.hour - made <= 30 * 24 && !overdue
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn any_history_is_compliant_exactly_when_the_model_is_well(
        events in prop::collection::vec(event(), 0..40),
    ) {
        let host = FakeHost::default();
        let nixos = Nixos(&host);
        nixos.install(1, 0, "1");
        nixos.boot(1, 0);
        let mut model = Model { generations: vec![(1, 1, 0)], running: 1, booted: (1, 1), hour: 0 };
        for event in events {
            model.apply(event, &nixos);
            let now = TrustedNow::Known { at: at(model.hour), source: ClockSource::Kernel };
            let verdict = judge(&PatchingBaseline::default(), &gather(&host), None, now, Span::from_hours(10_000));
            prop_assert_eq!(verdict == Verdict::Compliant, model.is_well(), "{:?} {:?}", event, verdict);
            prop_assert_eq!(matches!(verdict, Verdict::Drifted(_)), !model.is_well());
        }
    }

    #[test]
    fn a_system_is_compliant_exactly_within_its_limits(
        age_h in -100_i64..2000, pending_h in 0_i64..400, days in 0_u32..60,
    ) {
        let facts = Facts {
            generation: Ok(Generation { number: 42, made_at: at(-age_h) }),
            reboot: Ok(Some(Pending {
                parts: vec!["kernel"],
                since: at(-pending_h),
                since_is_known: true,
            })),
            ..facts()
        };
        let baseline = PatchingBaseline { max_age_d: days, max_reboot_pending_d: days / 4 };
        let verdict = judge(&baseline, &facts, Some(&path(42)), known(), Span::from_hours(10_000));
        let within = |hours, days: u32| Span::from_hours(hours) <= Span::from_hours(24 * i64::from(days));
        let well = age_h >= 0 && within(age_h, days) && within(pending_h, days / 4);
        prop_assert_eq!(verdict == Verdict::Compliant, well, "{:?}", verdict);
    }
}
