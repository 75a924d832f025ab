//! Going back by order: to what has proven itself here, and to nothing else.

use super::*;

fn back_to(sequence: u64, system: &str) -> OrderForm {
    let action = serde_json::json!({ "type": "rollback_system", "store_path": system });
    OrderForm::new(sequence, &action).with("max_runtime_s", 3600)
}

/// What the machine was set up with is what the executor adopted at its first start.
fn adopted() -> Site {
    let mut site = Site::new();
    let mut ledger = Ledger::join(&site.rig.ledger_path()).unwrap();
    ledger.commit(|tx| tx.set_fact(Fact::ExpectedSystem, OLD)).unwrap();
    drop(ledger);
    site.rig.restart();
    site
}

#[test]
fn a_system_that_never_proved_itself_here_is_not_gone_back_to() {
    let mut site = adopted();
    let form = site.order(back_to(1, NEXT));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "policy")]);
    assert!(site.last(&form).detail.contains(NEXT), "{}", site.last(&form).detail);
    assert_eq!(ran(&site, "nix-store"), 0);
}

#[test]
fn nor_is_one_that_was_taken_back() {
    let mut site = adopted();
    site.machine.lock().unwrap().next_fails = Some("nginx.service");
    let failed = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&failed), [outcome(Outcome::Reverted, "worse_than_before")]);
    let form = site.order(back_to(2, NEXT).after(&failed).issued(site.rig.reading.wall));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "policy")]);
}

#[test]
fn what_was_adopted_or_activated_is_gone_back_to_also_by_another_process() {
    let mut site = adopted();
    let there = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&there), [outcome(Outcome::Success, "activated")]);
    // The fake machine asks the system that is switched to what it would do, and whether it has to be booted.
    for name in ["kernel", "initrd", "kernel-modules"] {
        site.rig.host.link(&format!("{OLD}/{name}"), &format!("/nix/store/{name}"), T0);
    }
    site.rig.host.write(&format!("{OLD}/kernel-params"), "quiet");
    site.rig.host.write(&format!("{OLD}/init-interface-version"), "1");
    site.rig.host.write(&format!("{OLD}/nixos-version"), "26.05");
    let unit = "etc/systemd/system/compliance-executor.service";
    site.rig.host.write(&format!("{OLD}/{unit}"), "");
    let program = format!("{OLD}/bin/switch-to-configuration");
    site.rig.host.install_deed(&program, Box::new(|_, _| Ok(said(""))));
    site.rig.restart();
    let back = site.order(back_to(2, OLD).after(&there).issued(site.rig.reading.wall));
    site.minutes(4);
    assert_eq!(site.rig.about(&back), [outcome(Outcome::Success, "activated")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn what_has_proven_itself_and_is_nowhere_to_be_had_any_more_is_refused_with_that_reason() {
    let mut site = adopted();
    let there = site.order(activate(1));
    site.minutes(4);
    let gone = |asked: &[String]| {
        let only_asked = asked.iter().any(|part| part == "--dry-run");
        Ok(Output { code: Some(i32::from(!only_asked)), ..said("") })
    };
    site.rig.host.install_deed("/old/nix-store", Box::new(move |_, asked| gone(asked)));
    let back = site.order(back_to(2, OLD).after(&there).issued(site.rig.reading.wall));
    assert_eq!(site.rig.about(&back), [outcome(Outcome::Failed, "not_realised")]);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
}
