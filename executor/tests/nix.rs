//! Activations on a machine: systemd, Nix and the real executor, which is told by the test's courier. `.ci/nix`
//! boots a machine for each of these tests; anywhere else they say `skipped`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    missing_docs
)]

#[path = "nix/machine.rs"]
mod machine;
#[path = "process/site.rs"]
#[allow(dead_code)] // It is shared with the tests of the process.
mod site;
#[path = "nix/substituter.rs"]
mod substituter;

use compliance_protocol::evidence::Bundle;
use serde_json::json;

use machine::{
    PROFILE, assert_all_is, build, by_hand, configure_nix, derivation_of, executor, has_firmware,
    on_the_machine, path_of, pinned_flake, run, switch_has_begun, tried_next,
};
use substituter::Key;

fn outcome(bundle: &Bundle) -> (&str, &str) {
    (bundle.outcome.code(), &bundle.reason)
}

#[test]
fn an_update_proves_itself_before_it_boots_and_is_rolled_back_by_order() {
    on_the_machine(|machine| {
        let one = build("one");
        let before = executor();
        let end = machine.order_system("two");
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
        let steps: Vec<_> = end.actions.iter().map(|step| step.name.as_str()).collect();
        for step in [
            "realise",
            "switch_check",
            "dry_activate",
            "arm_deadman",
            "set_profile",
            "install_boot",
        ] {
            assert!(steps.contains(&step), "{step}: {steps:?}");
        }
        assert_all_is("two");
        assert_ne!(executor(), before, "the switch restarted the executor");
        let end = machine.order(&json!({ "type": "rollback_system", "store_path": one }));
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_failing_activation_is_reverted_and_not_tried_again_for_a_day() {
    on_the_machine(|machine| {
        let path = build("refuses");
        let action = machine.activate(&path);
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("reverted", "switch_failed"), "{end:#?}");
        assert!(end.rollback.performed && end.rollback.to == Some(build("one")), "{end:#?}");
        assert_all_is("one");
        let again = machine.issue(&action);
        let held = machine.deferral_of(&again);
        assert_eq!(outcome(&held), ("deferred", "quarantined"), "{held:#?}");
        let end = machine.order_system("two");
        assert_eq!(outcome(&end), ("success", "activated"), "another one is: {end:#?}");
        assert_all_is("two");
    });
}

#[test]
fn an_activation_script_that_fails_half_way_is_reverted_although_the_system_runs() {
    on_the_machine(|machine| {
        let end = machine.order_system("stumbles");
        assert_eq!(outcome(&end), ("reverted", "switch_cut_short"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn an_activation_script_that_fails_is_found_out_where_the_switch_blames_a_unit() {
    on_the_machine(|machine| {
        let end = machine.order_system("hides");
        assert_eq!(outcome(&end), ("reverted", "switch_cut_short"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_failing_unit_is_reverted() {
    on_the_machine(|machine| {
        let end = machine.order_system("broken");
        assert_eq!(outcome(&end), ("reverted", "worse_than_before"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_unit_that_fails_during_the_soak_is_reverted() {
    on_the_machine(|machine| {
        let end = machine.order_system("sickens");
        assert_eq!(outcome(&end), ("reverted", "worse_than_before"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_unit_that_only_stops_is_reverted_although_nothing_failed() {
    on_the_machine(|machine| {
        let end = machine.order_system("stops");
        assert_eq!(outcome(&end), ("reverted", "worse_than_before"), "{end:#?}");
        assert!(end.detail.contains("second.service: not active any more"), "{}", end.detail);
        assert_all_is("one");
    });
}

#[test]
fn a_unit_that_fails_and_is_started_again_and_again_is_reverted() {
    on_the_machine(|machine| {
        let end = machine.order_system("loops");
        assert_eq!(outcome(&end), ("reverted", "worse_than_before"), "{end:#?}");
        assert!(end.detail.contains("unit second.service"), "{}", end.detail);
        assert_all_is("one");
    });
}

#[test]
fn a_switch_that_says_it_went_well_and_did_nothing_is_no_success() {
    on_the_machine(|machine| {
        let end = machine.order_system("lies");
        assert_eq!(outcome(&end), ("reverted", "switch_failed"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_switch_that_hangs_and_does_not_heed_the_end_of_its_time_is_reverted() {
    on_the_machine(|machine| {
        let end = machine.order_system("hangs");
        assert_eq!(outcome(&end), ("reverted", "switch_failed"), "not the dead-man: {end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn an_executor_that_is_killed_amid_the_switch_goes_on_where_it_was() {
    on_the_machine(|machine| {
        let path = build("slow");
        let action = machine.activate(&path);
        let form = machine.issue(&action);
        machine.wait_until("the switch", |machine| {
            machine.poll();
            switch_has_begun().then_some(())
        });
        run("/usr/bin/kill", &["-KILL", &executor()]);
        let end = machine.end_of(&form);
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
        assert_all_is("slow");
    });
}

#[test]
fn when_the_executor_is_dead_with_the_new_system_the_dead_man_brings_the_old_one_back() {
    on_the_machine(|machine| {
        let end = machine.order_system("headless");
        assert_eq!(outcome(&end), ("reverted", "deadman"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_system_with_another_kernel_is_refused_where_the_boot_loader_cannot_try_it_once() {
    on_the_machine(|machine| {
        let end = machine.order_system("other-kernel");
        assert_eq!(outcome(&end), ("rejected", "loader_cannot_try_once"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_system_with_another_kernel_is_to_be_tried_once_and_what_boots_stays() {
    on_the_machine(|machine| {
        has_firmware();
        let path = build("other-kernel");
        let action = machine.activate(&path);
        machine.issue(&action);
        machine.wait_until("the restart", |machine| {
            machine.poll();
            std::fs::exists("/run/told-to-reboot").unwrap().then_some(())
        });
        assert_eq!(tried_next(), path);
        let guard = std::fs::read_to_string("/var/lib/compliance/trial").unwrap();
        assert!(guard.contains("--class=reboot") && guard.contains(&path), "{guard}");
        assert_all_is("one");
        assert_eq!(machine.status().unwrap().activation.unwrap().phase, "rebooting");
    });
}

#[test]
fn a_store_path_with_other_contents_than_ordered_is_refused() {
    on_the_machine(|machine| {
        let two = build("two");
        let three = build("three");
        let mut action = machine.activate(&two);
        action["nar_hash"] = machine.activate(&three)["nar_hash"].clone();
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("failed", "not_realised"), "{end:#?}");
        assert_all_is("one");
    });
}

#[test]
fn a_pinned_flake_is_built_on_the_machine_and_must_give_the_path_of_the_order() {
    on_the_machine(|machine| {
        let three = build("three");
        let two = path_of("two");
        let mut action = machine.activate(&three);
        action["flake"] = format!("{}#two", pinned_flake()).into();
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("failed", "other_store_path"), "{end:#?}");
        assert_all_is("one");
        action = machine.activate(&two);
        run("/usr/bin/nix-store", &["--delete", &two]);
        action["flake"] = format!("{}#two", pinned_flake()).into();
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
        assert!(end.actions.iter().any(|step| step.name == "build"), "{end:#?}");
        assert_all_is("two");
    });
}

/// Whether a unit that is confined as the executor's is can connect to the substituter.
fn a_confined_unit_connects() -> bool {
    let confined = "RestrictAddressFamilies=AF_UNIX AF_NETLINK";
    let properties = run("/usr/bin/systemctl", &["cat", "compliance-executor.service"]).stdout;
    assert!(String::from_utf8(properties).unwrap().contains(confined));
    let connect = "exec 3<>/dev/tcp/127.0.0.1/8099";
    let unit = ["--wait", "--quiet", "--collect", "-p", confined, "/usr/bin/bash", "-c", connect];
    let free = ["--wait", "--quiet", "--collect", "/usr/bin/bash", "-c", connect];
    run("/usr/bin/systemd-run", &free);
    std::process::Command::new("/usr/bin/systemd-run").args(unit).status().unwrap().success()
}

#[test]
fn an_executor_without_a_network_gets_a_system_from_a_substituter_with_a_known_signature_only() {
    on_the_machine(|machine| {
        substituter::serve();
        assert!(!a_confined_unit_connects());
        let key = Key::generate("test-1");
        let path = build("three");
        let action = machine.activate(&path);
        substituter::take(&path, Some(&key));
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("failed", "not_realised"), "nobody knows the key: {end:#?}");
        assert_all_is("one");
        configure_nix(&key.public);
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
        let restarts = end.pre["plan"]["units"]["restart"].to_string();
        assert!(restarts.contains("toy.service"), "{:#?}", end.pre);
        assert_all_is("three");
    });
}

#[test]
fn a_system_that_nobody_signed_does_not_run_although_nix_is_configured_to_take_it() {
    on_the_machine(|machine| {
        substituter::serve();
        let [known, unknown] = ["known-1", "unknown-1"].map(Key::generate);
        configure_nix(&format!("{}\nrequire-sigs = false", known.public));
        for (system, key) in [("two", None), ("three", Some(&unknown))] {
            let path = build(system);
            let action = machine.activate(&path);
            substituter::take(&path, key);
            for time in ["fetched", "there already"] {
                let end = machine.order(&action);
                assert_eq!(outcome(&end), ("failed", "not_signed"), "{system}, {time}: {end:#?}");
                let ran = end.actions.iter().any(|step| step.name == "switch_check");
                assert!(!ran, "nothing of it runs: {end:#?}");
            }
            assert!(std::fs::exists(&path).unwrap(), "the daemon took it");
            assert_all_is("one");
        }
        let path = build("slow");
        let action = machine.activate(&path);
        substituter::take(&path, Some(&known));
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
    });
}

#[test]
fn a_system_that_was_this_machines_own_needs_no_signature_to_be_gone_back_to() {
    on_the_machine(|machine| {
        substituter::serve();
        let path = build("two");
        substituter::take(&path, None);
        // As an image brings it.
        substituter::bring_unsigned(&path);
        let back = machine.activate(&path);
        let end = machine.order(&back);
        assert_eq!(outcome(&end), ("failed", "not_signed"), "it never was: {end:#?}");
        for system in [&path, &build("one")] {
            run("/usr/bin/nix-env", &["-p", PROFILE, "--set", system]);
        }
        let end = machine.order(&back);
        assert_eq!(outcome(&end), ("success", "activated"), "{end:#?}");
        assert_all_is("two");
    });
}

#[test]
fn a_system_that_there_is_no_room_for_is_not_fetched() {
    on_the_machine(|machine| {
        substituter::serve();
        let key = Key::generate("test-1");
        configure_nix(&key.public);
        let path = build("three");
        let action = machine.activate(&path);
        substituter::take(&path, Some(&key));
        substituter::claim_size(&path, 1 << 50);
        let form = machine.issue(&action);
        let held = machine.deferral_of(&form);
        assert_eq!(outcome(&held), ("deferred", "no_space"), "{held:#?}");
        let needed = held.pre["plan"]["store"]["needed"].as_u64().unwrap();
        assert!(needed > 1 << 50, "{needed}");
        assert!(!std::fs::exists(&path).unwrap(), "it was not fetched");
    });
}

#[test]
fn nothing_is_built_for_a_store_path() {
    on_the_machine(|machine| {
        let output = path_of("three");
        let deriver = derivation_of("three");
        let action = machine.activate(&deriver);
        let end = machine.order(&action);
        assert_eq!(outcome(&end), ("failed", "not_realised"), "{end:#?}");
        assert!(!std::fs::exists(&output).unwrap(), "{output} was built");
        build("three");
        assert!(std::fs::exists(&output).unwrap(), "it could have been");
    });
}

#[test]
fn a_system_with_which_a_probe_of_the_owners_fails_is_reverted() {
    on_the_machine(|machine| {
        let end = machine.order_system("useless");
        assert_eq!(outcome(&end), ("reverted", "worse_than_before"), "{end:#?}");
        assert!(end.detail.contains("probe probe.service"), "{}", end.detail);
        assert_all_is("one");
    });
}

#[test]
fn while_somebody_switches_an_activation_waits() {
    on_the_machine(|machine| {
        let path = build("two");
        let action = machine.activate(&path);
        by_hand(&["/usr/bin/sleep", "60"]);
        let form = machine.issue(&action);
        let held = machine.deferral_of(&form);
        assert_eq!(outcome(&held), ("deferred", "somebody_switches"), "{held:#?}");
        assert_all_is("one");
    });
}

#[test]
fn who_switches_to_a_third_system_during_the_soak_is_not_fought() {
    on_the_machine(|machine| {
        let two = build("two");
        let three = build("three");
        let action = machine.activate(&two);
        let form = machine.issue(&action);
        machine.wait_until("the soak", |machine| {
            machine.poll();
            let activation = machine.status()?.activation?;
            (activation.phase == "proving").then_some(())
        });
        run("/usr/bin/nix-env", &["-p", PROFILE, "--set", &three]);
        by_hand(&[&format!("{three}/bin/switch-to-configuration"), "switch"]);
        let end = machine.end_of(&form);
        assert_eq!(outcome(&end), ("failed", "superseded"), "{end:#?}");
        assert_all_is("three");
    });
}
