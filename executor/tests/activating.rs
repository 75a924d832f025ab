//! Activating a system by order, on a fake host with the real engine, ledger and evidence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::sync::{Arc, Mutex};

use common::{Rig, Setup, outcome};
use compliance_checks::baseline::Section;
use compliance_checks::command::Output;
use compliance_checks::patching::PatchingBaseline;
use compliance_executor::activation::{Decision, Limits};
use compliance_executor::config::{BootLoader, HealMode, Switching};
use compliance_executor::decision::{decide, decided};
use compliance_executor::ledger::{Fact, Ledger};
use compliance_executor::undo::{Undoing, Undone, undo};
use compliance_protocol::evidence::{Bundle, Outcome};
use compliance_protocol::name::Id;
use compliance_protocol::time::Span;
use compliance_protocol::window::{Window, Windows};
use compliance_testkit::host::unit;
use compliance_testkit::{FakeHost, OrderForm, T0};
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
    /// This unit fails with the new system.
    next_fails: Option<&'static str>,
    /// The switch claims success and does nothing.
    switch_lies: bool,
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
            let patching = PatchingBaseline { max_age_d: 3650, max_reboot_pending_d: 3650 };
            setup.baseline.as_mut().unwrap().patching = Section::Expected(patching);
            change(setup);
        });
        let machine = Arc::new(Mutex::new(Machine { boots: OLD.to_owned(), ..Machine::default() }));
        furnish(&rig.host, &machine);
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
        nix: None,
        helper: path("/old/compliance-executor"),
        roots: path("/var/lib/compliance/gcroots"),
        boot: path("/boot"),
        boot_loader: BootLoader::SystemdBoot { bootctl: path("/old/bootctl") },
        profile: path(PROFILE),
        folder: path(folder),
        limits: Limits::default(),
    }
}

fn activate(sequence: u64) -> OrderForm {
    let action = serde_json::json!({
        "type": "activate_system",
        "store_path": NEXT,
        "nar_hash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "baseline_sha256": "00".repeat(32),
        "flake": null,
    });
    OrderForm::new(sequence, &action).with("max_runtime_s", 3600)
}

/// Files, links and programs of a NixOS machine, as far as an activation touches them.
fn furnish(host: &FakeHost, machine: &Arc<Mutex<Machine>>) {
    for link in ["/run/current-system", "/run/booted-system", PROFILE] {
        host.link(link, OLD, T0);
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
    host.write("/usr/bin/df", "");
    show_units(host, &machine.lock().unwrap());
    host.install_deed("/usr/bin/df", Box::new(|_, _| Ok(said("Avail\n99999999999\n"))));
    host.install_deed(
        "/old/nix-store",
        Box::new(|_, arguments| {
            let asked = arguments[0] == "--query";
            let hash = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\n";
            Ok(said(if asked { hash } else { "" }))
        }),
    );
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
    deed("/old/bootctl", |_, machine, _| {
        let options = format!("init={}/init quiet", machine.boots);
        said(serde_json::json!([{ "options": options, "isDefault": true }]).to_string())
    });
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
    let [program, verb] = &arguments[arguments.len() - 2..] else { panic!("{arguments:?}") };
    let system = program.strip_suffix("/bin/switch-to-configuration").unwrap_or_default();
    match verb.as_str() {
        "test" if machine.switch_lies && system == NEXT => {}
        "test" => {
            host.link("/run/current-system", system, T0);
            machine.failed = machine.next_fails.into_iter().filter(|_| system == NEXT).collect();
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
    let well = unit("clinic-frontdesk.service", "loaded", "active", "running");
    host.set_units(Ok(timer.chain(failed).chain([well]).collect()));
}

fn ran(site: &Site, name: &str) -> usize {
    site.rig.host.runs().iter().filter(|argv| argv.iter().any(|part| part.ends_with(name))).count()
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

fn reboot() -> OrderForm {
    OrderForm::new(1, &serde_json::json!({ "type": "reboot" }))
}

#[test]
fn a_reboot_is_announced_done_once_and_judged_by_the_boot_that_follows() {
    let mut site = Site::new();
    let form = site.order(reboot());
    assert_eq!(site.rig.because("reboot_announced").len(), 1);
    assert_eq!(site.rig.about(&form), [], "it is not over before the machine has booted");
    site.rig.restart();
    site.rig.settle();
    assert_eq!(ran(&site, "reboot"), 1, "a restart of the executor tells it no second time");
    site.rig.reboot();
    site.rig.settle();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "rebooted")]);
    assert_eq!(ran(&site, "reboot"), 1);
}

#[test]
fn a_machine_that_does_not_go_down_is_not_waited_for_without_end() {
    let mut site = Site::new();
    let form = site.order(reboot());
    site.minutes(9);
    assert_eq!(site.rig.about(&form), []);
    site.minutes(2);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "not_rebooted")]);
}

#[test]
fn a_reboot_waits_for_the_window() {
    let mut site = Site::new();
    site.rig.pass(Span::from_hours(2));
    let form = site.order(reboot().issued(site.rig.reading.wall));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Deferred, "outside_window")]);
    assert_eq!(ran(&site, "reboot"), 0);
}

#[test]
fn where_the_policy_says_auto_the_expected_system_is_activated_without_an_order() {
    let mut site = Site::with(|setup| setup.heal.patching = HealMode::Auto);
    expect(&mut site, NEXT);
    site.minutes(1);
    assert_eq!(site.links(), [NEXT, OLD, OLD]);
    site.minutes(4);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
    let bundle = site.rig.because("activated").pop().unwrap();
    assert_eq!((bundle.outcome, bundle.trigger.order_id), (Outcome::Success, None));
}

#[test]
fn where_it_says_order_it_is_not() {
    let mut site = Site::new();
    expect(&mut site, NEXT);
    site.minutes(2);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    assert!(!site.rig.because("drift").is_empty());
}

/// Lets that system be the last that was activated and proven, and patching be looked at.
fn expect(site: &mut Site, system: &str) {
    let mut ledger = Ledger::join(&site.rig.ledger_path()).unwrap();
    ledger.commit(|tx| tx.set_fact(Fact::ExpectedSystem, system)).unwrap();
    drop(ledger);
    site.rig.restart();
    // It begins only when the control plane was heard of.
    site.rig.poll();
}

fn undoing(site: &Site) -> Undoing {
    Undoing {
        activation: Id::new(T0, [3; 10]),
        before: OLD.parse().unwrap(),
        next: NEXT.parse().unwrap(),
        systemd_run: "/old/systemd-run".parse().unwrap(),
        switch_s: 900,
        folder: site.folder.path().to_str().unwrap().parse().unwrap(),
    }
}

#[test]
fn the_dead_man_goes_back_and_a_second_time_does_no_harm() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    let order = undoing(&site);
    for _ in 0..2 {
        assert_eq!(undo(&order, &*site.rig.host, &mut |_| ()), Undone::Back);
        assert_eq!(site.links(), [OLD, OLD, OLD]);
    }
    assert_eq!(decided(site.folder.path(), order.activation).unwrap(), Some(Decision::Undo));
}

#[test]
fn the_dead_man_leaves_what_is_proven_and_what_somebody_else_chose() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x", T0);
    let order = undoing(&site);
    assert_eq!(undo(&order, &*site.rig.host, &mut |_| ()), Undone::Left);
    site.rig.host.link("/run/current-system", NEXT, T0);
    let proven = Undoing { activation: Id::new(T0, [4; 10]), ..order };
    decide(site.folder.path(), proven.activation, Decision::Proven).unwrap();
    assert_eq!(undo(&proven, &*site.rig.host, &mut |_| ()), Undone::Left);
    assert_eq!(site.links()[0], NEXT);
}

#[test]
fn the_dead_man_tries_again_while_somebody_switches() {
    let site = Site::new();
    site.rig.host.link("/run/current-system", NEXT, T0);
    let refused = Arc::new(Mutex::new(3));
    let left = Arc::clone(&refused);
    site.rig.host.install_deed(
        "/old/systemd-run",
        Box::new(move |host, arguments| {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Ok(Output { code: Some(1), ..said("") });
            }
            assert!(arguments.iter().any(|part| part == "test"));
            host.link("/run/current-system", OLD, T0);
            Ok(said(""))
        }),
    );
    let mut waited = 0;
    assert_eq!(undo(&undoing(&site), &*site.rig.host, &mut |_| waited += 1), Undone::Back);
    assert_eq!(waited, 3);
}

#[test]
fn what_the_dead_man_is_armed_with_reads_back() {
    let order = undoing(&Site::new());
    assert_eq!(Undoing::parse(&order.arguments()).unwrap(), order);
    let error = Undoing::parse(&order.arguments()[1..]).unwrap_err().to_string();
    assert!(error.contains("--activation=VALUE"), "{error}");
}
