//! A system that has to be booted: the boot loader tries it once.

use std::path::PathBuf;

use super::*;
use compliance_executor::guard::Guard;

const VARIABLES: &str = "/sys/firmware/efi/efivars";
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// systemd-boot's command line, with an entry for each system that has one.
pub(super) fn bootctl(host: &FakeHost, machine: &mut Machine, arguments: &[String]) -> Output {
    let once = format!("{VARIABLES}/LoaderEntryOneShot-{VENDOR}");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["set-oneshot", ""] => {
            host.remove(&once);
            machine.once = None;
        }
        ["set-oneshot", entry] => {
            let text = entry.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            host.write(&once, [7, 0, 0, 0].into_iter().chain(text).collect::<Vec<_>>());
            machine.once = Some(entry.to_owned());
        }
        _ => {}
    }
    let default = machine.once.clone().unwrap_or_else(|| entry_of(&machine.boots));
    host.write("/boot/loader/loader.conf", format!("default {}\n", entry_of(&machine.boots)));
    let entry = |system: &str| {
        let options = format!("init={system}/init quiet");
        let is_default = entry_of(system) == default;
        serde_json::json!({ "id": entry_of(system), "options": options, "isDefault": is_default })
    };
    said(serde_json::json!([entry(OLD), entry(NEXT)]).to_string())
}

fn entry_of(system: &str) -> String {
    format!("{}.conf", system.rsplit_once('-').unwrap().1)
}

/// Its kernel is another one, and the boot loader can try it once.
fn has_to_be_booted() -> Site {
    has_to_be_booted_where(|_| ())
}

fn has_to_be_booted_where(change: impl FnOnce(&mut Setup)) -> Site {
    let site = Site::with(change);
    site.rig.host.link(&format!("{NEXT}/kernel"), "/nix/store/kernel-newer", T0);
    let features = [7, 0, 0, 0].into_iter().chain((1_u64 << 3).to_le_bytes()).collect::<Vec<_>>();
    site.rig.host.write(&format!("{VARIABLES}/LoaderFeatures-{VENDOR}"), features);
    site
}

/// It may take longer: there and back are a restart each.
fn trial(sequence: u64) -> OrderForm {
    activate(sequence).with("max_runtime_s", 4400)
}

fn guard_place(site: &Site) -> PathBuf {
    site.folder.path().join("trial")
}

/// The machine restarts: the boot loader takes what it is to try, once.
fn boots(site: &mut Site, comes_up: bool) {
    let once = {
        let mut machine = site.machine.lock().unwrap();
        machine.deadman = None;
        machine.once.take()
    };
    site.rig.host.remove(&format!("{VARIABLES}/LoaderEntryOneShot-{VENDOR}"));
    let tried = once.filter(|_| comes_up).map(|_| NEXT);
    for link in ["/run/current-system", "/run/booted-system"] {
        site.rig.host.link(link, tried.unwrap_or(OLD), T0);
    }
    show_units(&site.rig.host, &site.machine.lock().unwrap());
    site.rig.reboot();
    site.rig.settle();
    site.rig.poll();
}

#[test]
fn it_is_tried_once_proven_and_only_then_what_boots() {
    let mut site = has_to_be_booted();
    let form = site.order(trial(1));
    assert_eq!(restarts(&site).len(), 1);
    assert_eq!(site.machine.lock().unwrap().once.as_deref(), Some("next.conf"));
    assert_eq!(site.links(), [OLD, OLD, OLD], "what boots by default is unchanged");
    assert_eq!(site.rig.status().activation.unwrap().phase, "rebooting");
    let guard = Guard::take(&guard_place(&site)).unwrap().unwrap();
    assert_eq!((guard.order.before.as_str(), guard.order.next.as_str()), (OLD, NEXT));
    assert_eq!(guard.after_s, 1500 + 600, "the executor's own dead-man acts before it");
    boots(&mut site, true);
    assert_eq!(site.links(), [NEXT, OLD, OLD]);
    assert!(site.machine.lock().unwrap().deadman.is_some(), "the dead-man is armed");
    site.minutes(5);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
    assert_eq!(restarts(&site).len(), 1);
    assert_eq!(site.rig.because("reboot_announced").len(), 1);
}

#[test]
fn one_that_does_not_come_up_is_followed_by_the_one_before_and_left_alone_for_a_day() {
    let mut site = has_to_be_booted();
    let form = site.order(trial(1));
    boots(&mut site, false);
    site.minutes(2);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "trial_boot_failed")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    let again = site.order(trial(2).after(&form).issued(site.rig.reading.wall));
    assert_eq!(site.rig.about(&again), [outcome(Outcome::Deferred, "quarantined")]);
}

#[test]
fn one_that_is_worse_is_undone_by_a_boot() {
    let mut site = has_to_be_booted();
    let form = site.order(trial(1));
    site.machine.lock().unwrap().failed = vec!["nginx.service"];
    boots(&mut site, true);
    site.minutes(2);
    assert_eq!(restarts(&site).len(), 2, "{:#?}", site.rig.status().activation);
    site.machine.lock().unwrap().failed = Vec::new();
    boots(&mut site, true);
    site.minutes(2);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "worse_than_before")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn an_order_must_allow_for_both_restarts() {
    let mut site = has_to_be_booted();
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "max_runtime")]);
    assert_eq!(restarts(&site).len(), 0);
}

#[test]
fn where_the_machine_is_never_restarted_it_is_refused_and_nothing_was_done() {
    let mut site = has_to_be_booted_where(|setup| setup.reboots = Reboots::Never);
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "policy")]);
    let why = site.last(&form).detail;
    assert_eq!(why, "this system has to be booted, and here the machine is never restarted");
    assert_eq!((restarts(&site).len(), site.links()), (0, [OLD, OLD, OLD].map(str::to_owned)));
    assert_eq!(Guard::take(&guard_place(&site)).unwrap(), None);
    assert!(site.machine.lock().unwrap().once.is_none());
}

#[test]
fn where_the_machine_is_never_restarted_one_that_can_be_switched_to_is() {
    let mut site = Site::with(|setup| setup.reboots = Reboots::Never);
    let form = site.order(activate(1));
    site.minutes(5);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn without_a_unit_that_takes_up_the_guard_nothing_is_booted() {
    let mut site = has_to_be_booted();
    site.rig.host.remove(&format!("{NEXT}/etc/compliance/trial-boot"));
    let form = site.order(trial(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "no_guard_inside")]);
    assert_eq!(restarts(&site).len(), 0);
}

#[test]
fn a_default_that_somebody_pinned_is_not_fought() {
    let mut site = has_to_be_booted();
    let pin: Vec<_> = [7, 0, 0, 0].into_iter().chain(*b"o\0l\0d\0\0\0").collect();
    site.rig.host.write(&format!("{VARIABLES}/LoaderEntryDefault-{VENDOR}"), pin);
    let form = site.order(trial(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "boot_default_pinned")]);
}

#[test]
fn a_boot_loader_that_does_not_take_it_is_not_trusted_with_a_restart() {
    let mut site = has_to_be_booted();
    site.rig.host.install_deed(
        "/old/bootctl",
        Box::new(|_, _| {
            let options = format!("init={OLD}/init quiet");
            Ok(said(serde_json::json!([{ "options": options, "isDefault": true }]).to_string()))
        }),
    );
    let form = site.order(trial(1));
    site.minutes(3);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "not_staged")]);
    assert_eq!(Guard::take(&guard_place(&site)).unwrap(), None, "nothing is left for a later boot");
    assert_eq!((restarts(&site).len(), site.links()), (0, [OLD, OLD, OLD].map(str::to_owned)));
}
