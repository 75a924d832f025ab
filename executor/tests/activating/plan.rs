//! What the new system is asked before anything is done to the running one.

use super::*;

/// What the new system's program ends with when it is asked this.
fn answers(site: &Site, answer: fn(&str) -> i32) {
    site.rig.host.install_deed(
        &format!("{NEXT}/bin/switch-to-configuration"),
        Box::new(move |_, arguments| {
            Ok(Output { code: Some(answer(&arguments[0])), ..said("no") })
        }),
    );
}

fn waits(form: OrderForm) -> OrderForm {
    form.with("start_before", "2026-11-25T00:00:00.000Z")
}

fn asked(site: &Site) -> Vec<String> {
    let program = format!("{NEXT}/bin/switch-to-configuration");
    let runs = site.rig.host.runs().into_iter().filter(|argv| argv[0] == program);
    runs.map(|argv| argv[1].clone()).collect()
}

#[test]
fn a_lock_that_somebody_else_holds_while_it_is_asked_is_waited_for() {
    let mut site = Site::new();
    answers(&site, |_| 11);
    let form = site.order(waits(activate(1)));
    let deferred = outcome(Outcome::Deferred, "somebody_switches");
    assert_eq!(site.rig.about(&form), std::slice::from_ref(&deferred));
    answers(&site, |_| 0);
    site.minutes(10);
    assert_eq!(site.rig.about(&form), [deferred, outcome(Outcome::Success, "activated")]);
}

#[test]
fn what_fails_while_somebody_switches_is_asked_again() {
    for question in ["check", "dry-activate"] {
        let mut site = Site::new();
        site.rig.host.install_deed(
            &format!("{NEXT}/bin/switch-to-configuration"),
            Box::new(move |host, arguments| {
                let unit = "nixos-rebuild-switch-to-configuration.service";
                host.set_units(Ok(vec![unit_of(unit)]));
                let code = i32::from(arguments[0] == question);
                Ok(Output { code: Some(code), ..said("") })
            }),
        );
        let form = site.order(waits(activate(1)));
        let deferred = outcome(Outcome::Deferred, "somebody_switches");
        assert_eq!(site.rig.about(&form), [deferred], "{question}");
    }
}

fn unit_of(name: &str) -> compliance_checks::host::UnitState {
    unit(name, "loaded", "active", "running")
}

#[test]
fn a_system_that_says_no_itself_has_failed() {
    for (answer, reason) in [
        ((|_| 1) as fn(&str) -> i32, "check_failed"),
        (|question| i32::from(question != "check"), "dry_activate_failed"),
    ] {
        let mut site = Site::new();
        answers(&site, answer);
        let form = site.order(activate(1));
        assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, reason)]);
    }
}

#[test]
fn a_system_that_has_to_be_booted_is_not_asked_whether_it_can_be_switched_to() {
    let mut site = Site::new();
    site.rig.host.link(&format!("{NEXT}/kernel"), "/nix/store/kernel-newer", T0);
    // An inhibitor forbids the switch, and `dry-activate` stops where the first process would be another one.
    answers(&site, |question| if question == "check" { 1 } else { 100 });
    let form = site.order(activate(1));
    assert_eq!(asked(&site), ["dry-activate"]);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "loader_cannot_try_once")]);
}
