//! Activating a system by order, on a fake host with the real engine, ledger and evidence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "activating/deadman.rs"]
mod deadman;
#[path = "activating/drift.rs"]
mod drift;
#[path = "activating/later.rs"]
mod later;
#[path = "activating/meanwhile.rs"]
mod meanwhile;
#[path = "activating/plan.rs"]
mod plan;
#[path = "activating/prepare.rs"]
mod prepare;
#[path = "activating/restart.rs"]
mod restart;
#[path = "activating/rollback.rs"]
mod rollback;
#[path = "activating/trial.rs"]
mod trial;

mod common;

use std::sync::{Arc, Mutex};

use common::{Rig, Setup, outcome};
use compliance_checks::HostError;
use compliance_checks::baseline::{Baseline, Binding, Section};
use compliance_checks::command::Output;
use compliance_checks::patching::PatchingBaseline;
use compliance_executor::activation::{Decision, Limits};
use compliance_executor::config::{BootLoader, HealMode, Reboots, Source, Switching};
use compliance_executor::decision::decide;
use compliance_executor::ledger::{Fact, Ledger};
use compliance_executor::switched;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, Outcome};
use compliance_protocol::name::Id;
use compliance_protocol::time::Span;
use compliance_protocol::window::{Window, Windows};
use compliance_testkit::host::unit;
use compliance_testkit::keys::STATUS_FILE;
use compliance_testkit::{FakeHost, Keys, OrderForm, T0};
use tempfile::TempDir;

const OLD: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-old";
const NEXT: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-next";
const PROFILE: &str = "/nix/var/nix/profiles/system";

/// What cannot be said by links: the boot default, the dead-man, failed units, and how switches go.
#[derive(Default)]
struct Machine {
    boots: String,
    deadman: Option<String>,
    failed: Vec<&'static str>,
    stopped: Option<&'static str>,
    /// This unit fails with the new system.
    next_fails: Option<&'static str>,
    /// This unit is not active any more with the new system, and did not fail.
    next_stops: Option<&'static str>,
    /// The switch claims success and does nothing.
    switch_lies: bool,
    /// The switch leaves no word of how it ended.
    switch_is_silent: bool,
    /// What the boot loader is to try once.
    once: Option<String>,
    profile_stuck: bool,
}

struct Site {
    rig: Rig,
    machine: Arc<Mutex<Machine>>,
    folder: TempDir,
}

fn said(text: impl Into<Vec<u8>>) -> Output {
    Output { code: Some(0), stdout: text.into(), stderr: Vec::new() }
}

impl Site {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let folder = TempDir::new().unwrap();
        let switching = switching(folder.path().to_str().unwrap());
        let rig = Rig::with(|setup| {
            let window = Window::new(&[], "09:00", 120, "UTC").unwrap();
            setup.windows = Windows::new(vec![window]).unwrap();
            setup.switching = Some(switching);
            // What is wrong with the units here is not healed meanwhile.
            setup.heal.services = HealMode::Never;
            setup.baseline = Ok(baseline());
            change(setup);
        });
        let machine = Arc::new(Mutex::new(Machine { boots: OLD.to_owned(), ..Machine::default() }));
        furnish(&rig.host, &machine);
        // Where the next system looks for the guard of a trial boot.
        let place = folder.path().join("trial");
        let marker = format!("{NEXT}/etc/compliance/trial-boot");
        rig.host.write(&marker, place.to_str().unwrap());
        Self { rig, machine, folder }
    }

    fn order(&mut self, form: OrderForm) -> OrderForm {
        self.rig.plane.issue(form.clone());
        self.rig.poll();
        form
    }

    /// Lets minutes pass, with a poll in each, until there is nothing to be done for the order.
    fn minutes(&mut self, n: usize) {
        for _ in 0..n {
            for _ in 0..6 {
                self.rig.pass(Span::from_secs(10));
                self.rig.settle();
            }
            self.rig.poll();
        }
    }

    fn links(&self) -> [String; 3] {
        let link = |path: &str| {
            use compliance_checks::Host as _;
            self.rig.host.resolve(&path.parse().unwrap()).unwrap().to_string()
        };
        [link("/run/current-system"), link(PROFILE), self.machine.lock().unwrap().boots.clone()]
    }

    fn last(&self, form: &OrderForm) -> Bundle {
        let about = |bundle: &Bundle| bundle.trigger.order_sha256 == Some(form.sha256());
        self.rig.evidence().into_iter().rfind(about).unwrap()
    }
}

fn switching(folder: &str) -> Switching {
    let path = |text: &str| text.parse().unwrap();
    Switching {
        systemctl: path("/old/systemctl"),
        systemd_run: path("/old/systemd-run"),
        nix_store: path("/old/nix-store"),
        nix_env: path("/old/nix-env"),
        nix: path("/old/nix"),
        helper: path("/old/compliance-executor"),
        roots: path(&format!("{folder}/gcroots")),
        boot: path("/boot"),
        boot_loader: BootLoader::SystemdBoot { bootctl: path("/old/bootctl") },
        profile: path(PROFILE),
        source: Source::default(),
        folder: path(folder),
        probes: Vec::new(),
        limits: Limits::default(),
    }
}

/// A baseline that is bound to the machine, whatever system runs.
fn baseline() -> Baseline {
    let patching = PatchingBaseline { max_age_d: 3650, max_reboot_pending_d: 3650 };
    Baseline { patching: Section::Expected(patching), ..Keys::default().baseline() }
}

fn digest(baseline: &Baseline) -> Digest {
    Digest::of(&compliance_protocol::json::to_canonical(baseline).unwrap())
}

fn activate(sequence: u64) -> OrderForm {
    activate_with(sequence, &baseline())
}

fn activate_with(sequence: u64, baseline: &Baseline) -> OrderForm {
    let action = serde_json::json!({
        "type": "activate_system",
        "store_path": NEXT,
        "nar_hash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "baseline_sha256": digest(baseline),
        "flake": null,
    });
    OrderForm::new(sequence, &action).with("max_runtime_s", 3600)
}

/// The same order, of a system that is built on the machine.
fn from_a_flake(mut form: OrderForm) -> OrderForm {
    form.0["action"]["flake"] = format!("github:acme/clinics/{}#x", "0".repeat(40)).into();
    form
}

/// Files, links and programs of a NixOS machine, as far as an activation touches them.
fn furnish(host: &FakeHost, machine: &Arc<Mutex<Machine>>) {
    for link in ["/run/current-system", "/run/booted-system", PROFILE] {
        host.link(link, OLD, T0);
    }
    // What the systems want to be started.
    let wants = "/run/current-system/etc/systemd/system/multi-user.target.wants";
    for name in ["clinic-frontdesk.service", "nginx.service"] {
        host.write(&format!("{wants}/{name}"), "");
    }
    for system in [NEXT, "/run/booted-system"] {
        for name in ["kernel", "initrd", "kernel-modules"] {
            host.link(&format!("{system}/{name}"), &format!("/nix/store/{name}"), T0);
        }
        host.write(&format!("{system}/kernel-params"), "quiet");
        host.write(&format!("{system}/init-interface-version"), "1");
    }
    host.write(&format!("{NEXT}/nixos-version"), "26.11");
    host.write(&format!("{NEXT}/etc/systemd/system/compliance-executor.service"), "");
    show_units(host, &machine.lock().unwrap());
    host.set_free("/nix/store", 2 << 30);
    host.set_free("/boot", 64 << 20);
    host.install_deed(
        "/old/nix-store",
        Box::new(|_, arguments| {
            Ok(said(match arguments[1].as_str() {
                "--hash" => format!("{}\n", prepare::HASH),
                "--requisites" => prepare::systems_of(arguments),
                _ => String::new(),
            }))
        }),
    );
    host.install_deed("/old/nix", Box::new(|_, _| Ok(said(""))));
    host.install_deed(
        &format!("{NEXT}/bin/switch-to-configuration"),
        Box::new(|_, _| Ok(said("would restart: nginx.service"))),
    );
    let deed = |path: &str, what: fn(&FakeHost, &mut Machine, &[String]) -> Output| {
        let machine = Arc::clone(machine);
        host.install_deed(
            path,
            Box::new(move |host, arguments| {
                Ok(what(host, &mut machine.lock().unwrap(), arguments))
            }),
        );
    };
    deed("/old/bootctl", trial::bootctl);
    deed("/old/nix-env", |host, machine, arguments| {
        if !machine.profile_stuck {
            host.link(&arguments[1], &arguments[3], T0);
        }
        said("")
    });
    deed("/old/systemctl", |host, machine, _| {
        machine.deadman = None;
        show_units(host, machine);
        said("")
    });
    deed("/old/systemd-run", systemd_run);
}

fn systemd_run(host: &FakeHost, machine: &mut Machine, arguments: &[String]) -> Output {
    let last = arguments.iter().find_map(|it| it.strip_prefix("--property=ExecStopPost="));
    if let Some(last) = last.filter(|_| !machine.switch_is_silent) {
        let [.., folder, id, system] = &last.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{last}")
        };
        let system = system.parse().unwrap();
        switched::write(folder.as_ref(), id.parse().unwrap(), "exited-0", &system, host).unwrap();
    }
    let [program, verb] = &arguments[arguments.len() - 2..] else { panic!("{arguments:?}") };
    let system = program.strip_suffix("/bin/switch-to-configuration").unwrap_or_default();
    match verb.as_str() {
        "test" if machine.switch_lies && system == NEXT => {}
        "test" => {
            host.link("/run/current-system", system, T0);
            let with_next = |unit: Option<&'static str>| unit.filter(|_| system == NEXT);
            machine.failed = with_next(machine.next_fails).into_iter().collect();
            machine.stopped = with_next(machine.next_stops);
        }
        "boot" => system.clone_into(&mut machine.boots),
        _ => machine.deadman = arguments[0].strip_prefix("--unit=").map(str::to_owned),
    }
    show_units(host, machine);
    said("")
}

fn show_units(host: &FakeHost, machine: &Machine) {
    let timer = machine
        .deadman
        .iter()
        .map(|name| unit(&format!("{name}.timer"), "loaded", "active", "waiting"));
    let failed = machine.failed.iter().map(|name| unit(name, "loaded", "failed", "failed"));
    let well = ["clinic-frontdesk.service", "nginx.service", "multi-user.target"].map(|name| {
        let (active, sub) = if machine.stopped == Some(name) {
            ("inactive", "dead")
        } else {
            ("active", "running")
        };
        unit(name, "loaded", active, sub)
    });
    let well = well.into_iter().filter(|it| !machine.failed.contains(&it.unit.as_str()));
    host.set_units(Ok(timer.chain(failed).chain(well).collect()));
}

fn ran(site: &Site, name: &str) -> usize {
    site.rig.host.runs().iter().filter(|argv| argv.iter().any(|part| part.ends_with(name))).count()
}

/// How the machine was told to restart, each time.
fn restarts(site: &Site) -> Vec<Vec<String>> {
    let runs = site.rig.host.runs();
    runs.into_iter().filter(|argv| argv.iter().any(|part| part == "reboot")).collect()
}

#[test]
fn a_system_brings_the_baseline_that_was_kept_for_it() {
    let mut site = Site::new();
    let bound_to = Binding::System(NEXT.parse().unwrap());
    let next = Baseline { version: 2, bound_to, ..baseline() };
    let early = site.order(activate_with(1, &next));
    assert_eq!(site.rig.about(&early), [outcome(Outcome::Rejected, "bad_parameter")]);

    let envelope = compliance_signing::sign(&next, &[&Keys::default().baseline]).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let action = serde_json::json!({ "type": "update_baseline", "envelope": envelope });
    let kept = site.order(OrderForm::new(2, &action).after(&early));
    assert_eq!(site.rig.about(&kept), [outcome(Outcome::Success, "baseline_kept")]);
    let judged_by = |site: &Site| site.rig.evidence().iter().rev().find_map(|b| b.baseline_sha256);
    assert_eq!(judged_by(&site), Some(digest(&baseline())));

    let form = site.order(activate_with(3, &next).after(&kept));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    site.rig.host.fail(STATUS_FILE, HostError::Denied("x".to_owned()));
    site.minutes(1);
    assert_eq!(judged_by(&site), Some(digest(&next)));
}

#[test]
fn a_system_is_tested_proven_and_only_then_what_boots() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    assert_eq!(site.links(), [NEXT, OLD, OLD], "it runs, and what boots is unchanged");
    assert!(site.machine.lock().unwrap().deadman.is_some(), "the dead-man is armed");
    let status = site.rig.status().activation.unwrap();
    assert_eq!((status.phase.as_str(), status.since), ("proving", T0));
    assert_eq!(status.deadman_at, Some(T0.plus(Span::from_secs(1500))));
    assert!(status.waits_for.contains("0 of 2 feed heads"), "{}", status.waits_for);
    assert_eq!(site.rig.status().doing, Some(format!("activation of {NEXT}")));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
    assert!(site.machine.lock().unwrap().deadman.is_none(), "the dead-man is called off");
    let bundle = site.last(&form);
    let names: Vec<_> = bundle.actions.iter().map(|action| action.name.as_str()).collect();
    let steps = [
        "realise",
        "query_hash",
        "verify_signatures",
        "root_previous",
        "switch_check",
        "dry_activate",
        "arm_deadman",
        "switch_test",
        "disarm_deadman",
        "set_profile",
        "install_boot",
    ];
    assert_eq!(names, steps);
    assert_eq!((&bundle.pre["running"], &bundle.post["boots"]), (&OLD.into(), &NEXT.into()));
}

#[test]
fn a_system_that_makes_a_unit_fail_is_taken_back_and_left_alone_for_a_day() {
    let mut site = Site::new();
    site.machine.lock().unwrap().next_fails = Some("nginx.service");
    let form = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "worse_than_before")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    assert!(site.machine.lock().unwrap().deadman.is_none());
    let again = site.order(activate(2).after(&form).issued(site.rig.reading.wall));
    assert_eq!(site.rig.about(&again), [outcome(Outcome::Deferred, "quarantined")]);
}

#[test]
fn a_switch_that_claims_success_and_does_nothing_is_not_believed() {
    let mut site = Site::new();
    site.machine.lock().unwrap().switch_lies = true;
    let form = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "switch_failed")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_unit_that_is_stopped_with_the_new_system_is_worse_although_it_did_not_fail() {
    let mut site = Site::new();
    site.machine.lock().unwrap().next_stops = Some("nginx.service");
    let form = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "worse_than_before")]);
    assert!(site.last(&form).detail.contains("nginx.service: not active any more"));
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_switch_that_leaves_no_word_of_how_it_ended_is_not_taken_for_a_good_one() {
    let mut site = Site::new();
    site.machine.lock().unwrap().switch_is_silent = true;
    let form = site.order(activate(1));
    site.minutes(14);
    assert_eq!(site.rig.about(&form), [], "it may come yet");
    site.minutes(6);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "switch_unaccounted")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_profile_that_cannot_be_set_takes_the_proven_system_back() {
    let mut site = Site::new();
    site.machine.lock().unwrap().profile_stuck = true;
    let form = site.order(activate(1));
    site.minutes(5);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "not_persisted")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_restart_of_the_executor_amid_the_proof_is_nothing_special() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    site.minutes(1);
    site.rig.restart();
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    assert_eq!(ran(&site, "/bin/switch-to-configuration"), 4, "check, dry-activate, test, boot");
}

#[test]
fn a_power_cut_before_the_proof_is_the_rollback() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    site.rig.host.link("/run/current-system", OLD, T0);
    site.machine.lock().unwrap().deadman = None;
    show_units(&site.rig.host, &site.machine.lock().unwrap());
    site.rig.reboot();
    site.rig.settle();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "interrupted")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    assert_eq!(ran(&site, "/bin/switch-to-configuration"), 3, "nothing is switched any more");
}

#[test]
fn without_the_control_plane_it_is_taken_back_and_not_blamed() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    for _ in 0..30 {
        site.rig.pass(Span::from_secs(60));
        site.rig.settle();
    }
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "no_connection")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    let again = site.order(activate(2).after(&form).issued(site.rig.reading.wall));
    assert_ne!(site.rig.about(&again), [outcome(Outcome::Deferred, "quarantined")]);
}

#[test]
fn what_the_dead_man_has_decided_is_not_overridden() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    let deadman = site.machine.lock().unwrap().deadman.clone().unwrap();
    let id: Id = deadman.strip_prefix("compliance-deadman-").unwrap().parse().unwrap();
    decide(site.folder.path(), id, Decision::Undo).unwrap();
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "deadman")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_third_system_is_left_as_it_is() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    let other = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-other";
    site.rig.host.link("/run/current-system", other, T0);
    site.minutes(2);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "superseded")]);
    assert_eq!(site.links(), [other, OLD, OLD]);
    assert!(site.machine.lock().unwrap().deadman.is_none());
}

#[test]
fn an_order_without_time_for_soak_dead_man_and_undo_is_a_bad_parameter() {
    let mut site = Site::new();
    let form = site.order(activate(1).with("max_runtime_s", 2519));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "bad_parameter")]);
    assert_eq!(site.rig.host.runs().len(), 0);
}

#[test]
fn another_nar_hash_than_ordered_is_not_activated() {
    let mut site = Site::new();
    let other = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let mut form = activate(1);
    form.0["action"]["nar_hash"] = other.into();
    let form = site.order(form);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "not_realised")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_system_that_has_to_be_booted_is_refused_by_a_loader_that_cannot_try_once() {
    let mut site = Site::new();
    site.rig.host.link(&format!("{NEXT}/kernel"), "/nix/store/kernel-newer", T0);
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "loader_cannot_try_once")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn a_scheduled_shutdown_defers_it_with_one_bundle_until_it_is_over() {
    let mut site = Site::new();
    site.rig.host.write("/run/systemd/shutdown/scheduled", "");
    let form = site.order(activate(1).with("start_before", "2026-11-25T00:00:00.000Z"));
    site.minutes(12);
    let deferred = outcome(Outcome::Deferred, "shutdown_scheduled");
    assert_eq!(site.rig.about(&form), std::slice::from_ref(&deferred));
    site.rig.host.remove("/run/systemd/shutdown/scheduled");
    site.minutes(12);
    assert_eq!(site.rig.about(&form), [deferred, outcome(Outcome::Success, "activated")]);
}
