//! Each bundle names the system that it was made on, as the rounds see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use common::Rig;
use compliance_protocol::evidence::System;
use compliance_testkit::{FakeHost, T0};

fn closure(number: u64) -> String {
    format!("/nix/store/{number:032}-nixos-system-clinic-26.05")
}

/// Generation `running` runs, and `booted` was booted.
fn nixos(host: &FakeHost, booted: u64, running: u64) {
    let profile = "/nix/var/nix/profiles/system";
    host.link("/run/booted-system", &closure(booted), T0);
    host.link("/run/current-system", &closure(running), T0);
    host.link(profile, &format!("system-{running}-link"), T0);
    host.link(&format!("{profile}-{running}-link"), &closure(running), T0);
    host.write(&format!("{}/configuration-revision", closure(running)), format!("rev-{running}\n"));
}

fn system(booted: u64, running: u64) -> System {
    System {
        running: Some(closure(running).parse().unwrap()),
        booted: Some(closure(booted).parse().unwrap()),
        generation: Some(running),
        revision: Some(format!("rev-{running}")),
    }
}

#[test]
fn a_bundle_names_the_system_that_the_last_round_saw() {
    let mut rig = Rig::new();
    nixos(&rig.host, 41, 41);
    rig.settle();
    assert_eq!(rig.because("round").last().unwrap().system, system(41, 41));
    nixos(&rig.host, 41, 42);
    rig.age_backup(compliance_protocol::time::Span::from_hours(99));
    rig.round();
    let last = rig.evidence().pop().unwrap();
    assert_eq!(last.system, system(41, 42), "{}", last.reason);
}

#[test]
fn on_a_machine_that_is_not_nixos_a_bundle_names_no_system() {
    let mut rig = Rig::new();
    rig.settle();
    let evidence = rig.evidence();
    assert!(!evidence.is_empty());
    for bundle in evidence {
        let json = serde_json::to_value(&bundle).unwrap();
        let null = serde_json::json!({
            "running": null, "booted": null, "generation": null, "revision": null,
        });
        assert_eq!(json["system"], null, "{}", bundle.reason);
    }
}
