//! Restarts of the machine by order: who else is at it, and what runs afterwards.

use super::*;

use crate::common::ROUND;

pub(super) fn reboot() -> OrderForm {
    OrderForm::new(1, &serde_json::json!({ "type": "reboot" }))
}

fn waits(form: OrderForm) -> OrderForm {
    form.with("start_before", "2026-11-25T00:00:00.000Z")
}

#[test]
fn a_reboot_is_announced_done_once_and_judged_by_the_boot_that_follows() {
    let mut site = Site::new();
    let form = site.order(reboot());
    assert_eq!(site.rig.because("reboot_announced").len(), 1);
    assert_eq!(site.rig.about(&form), [], "it is not over before the machine has booted");
    site.rig.restart();
    site.rig.settle();
    assert_eq!(restarts(&site).len(), 1, "a restart of the executor tells it no second time");
    site.rig.reboot();
    site.rig.settle();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "rebooted")]);
    assert_eq!(restarts(&site).len(), 1);
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
    assert_eq!(restarts(&site).len(), 0);
}

#[test]
fn a_restart_waits_while_anybody_else_is_at_the_machine() {
    let active = |name: &str| unit(name, "loaded", "active", "running");
    let switch = vec![active("nixos-rebuild-switch-to-configuration.service")];
    let deadman = vec![active("compliance-deadman-0193.timer")];
    for (units, reason) in [
        (Some(Ok(switch)), "somebody_switches"),
        (Some(Ok(deadman)), "somebody_switches"),
        (Some(Err(HostError::ToolMissing("systemd".to_owned()))), "somebody_switches"),
        (None, "shutdown_scheduled"),
    ] {
        let mut site = Site::new();
        match units {
            Some(units) => site.rig.host.set_units(units),
            None => site.rig.host.write("/run/systemd/shutdown/scheduled", ""),
        }
        let form = site.order(waits(reboot()));
        let deferred = outcome(Outcome::Deferred, reason);
        assert_eq!(site.rig.about(&form), std::slice::from_ref(&deferred));
        site.minutes(3);
        assert_eq!(site.rig.about(&form), [deferred], "once");
        assert!(site.rig.because("reboot_announced").is_empty());
        site.rig.host.remove("/run/systemd/shutdown/scheduled");
        show_units(&site.rig.host, &site.machine.lock().unwrap());
        site.minutes(1);
        assert_eq!(restarts(&site).len(), 1, "{reason}");
        assert_eq!(site.rig.because("reboot_announced").len(), 1);
    }
}

#[test]
fn of_two_orders_to_restart_one_does_it_and_neither_asks_without_end() {
    let mut site = Site::new();
    site.rig.host.write("/run/systemd/shutdown/scheduled", "");
    let first = site.order(waits(reboot()));
    let second = reboot().with("sequence", 2).with("id", activate(2).id().to_string());
    let second = site.order(waits(second.after(&first)));
    site.minutes(1);
    for form in [&first, &second] {
        let deferred = outcome(Outcome::Deferred, "shutdown_scheduled");
        assert_eq!(site.rig.about(form), [deferred]);
    }
    site.rig.host.remove("/run/systemd/shutdown/scheduled");
    site.minutes(1);
    assert_eq!(restarts(&site).len(), 1);
    assert_eq!(site.rig.about(&second)[1..], [outcome(Outcome::Deferred, "busy")]);
}

#[test]
fn a_restart_waits_while_a_system_is_activated() {
    let mut site = Site::new();
    let form = site.order(activate(1));
    let restart = reboot().with("sequence", 2).with("id", activate(2).id().to_string());
    let restart = site.order(waits(restart.after(&form)));
    assert_eq!(site.rig.about(&restart), [outcome(Outcome::Deferred, "busy")]);
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    assert_eq!(restarts(&site).len(), 1);
}

/// The machine has restarted by order; it is expected to run that system.
fn restarted(expected: &str) -> (Site, OrderForm) {
    let mut site = Site::new();
    let mut ledger = Ledger::join(&site.rig.ledger_path()).unwrap();
    ledger.commit(|tx| tx.set_fact(Fact::ExpectedSystem, expected)).unwrap();
    drop(ledger);
    site.rig.restart();
    let form = site.order(reboot());
    assert_eq!(restarts(&site).len(), 1);
    site.rig.reboot();
    (site, form)
}

#[test]
fn a_restart_ends_with_what_a_round_of_checks_sees_after_it() {
    let (mut site, form) = restarted(OLD);
    assert_eq!(site.rig.about(&form), [], "nobody has looked yet");
    site.rig.settle();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "rebooted")]);
    let post = site.last(&form).post;
    assert_eq!(post["running"], OLD);
    assert_eq!(post["states"].as_object().unwrap().len(), 6);
}

#[test]
fn another_system_than_expected_after_it_is_no_success() {
    let (mut site, form) = restarted(NEXT);
    site.rig.settle();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "booted_other_system")]);
}

#[test]
fn a_system_that_cannot_be_seen_after_it_is_waited_for_and_then_no_success() {
    for seen_at_last in [true, false] {
        let (mut site, form) = restarted(OLD);
        site.rig.host.unlink("/run/current-system");
        site.rig.settle();
        site.minutes(9);
        assert_eq!(site.rig.about(&form), [], "it may be seen yet");
        if seen_at_last {
            site.rig.host.link("/run/current-system", OLD, T0);
        }
        for _ in 0..8 {
            site.rig.pass(ROUND);
            site.rig.settle();
        }
        let expected = if seen_at_last {
            outcome(Outcome::Success, "rebooted")
        } else {
            outcome(Outcome::Failed, "booted_unseen")
        };
        assert_eq!(site.rig.about(&form), [expected]);
    }
}

#[test]
fn where_the_machine_is_never_restarted_an_order_to_is_refused() {
    let mut site = Site::with(|setup| setup.reboots = Reboots::Never);
    let form = site.order(reboot());
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "policy")]);
    let why = site.last(&form).detail;
    assert_eq!(why, "here the machine is never restarted, not by order either");
    assert_eq!(restarts(&site).len(), 0);
}
