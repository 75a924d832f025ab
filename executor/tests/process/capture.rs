//! This very machine is captured, the baseline signed, and the machine checked by it at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use compliance_checks::CheckId;
use compliance_checks::baseline::{Baseline, Binding};
use compliance_checks::linux::LinuxHost;
use compliance_checks::patching;
use compliance_protocol::digest::Digest;
use serde_json::Value;

use crate::site::{MACHINE_ID, Site, eventually, skipped};

/// What `capture` prints.
fn capture(site: &Site) -> (String, Baseline) {
    let output = site.run(&["capture"]);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let baseline = compliance_daemon::config::parse(&text).unwrap();
    (text, baseline)
}

/// What the comments say that each check finds now: in one line, with all reasons.
fn said(text: &str) -> BTreeMap<&'static str, String> {
    let of = |check: CheckId| {
        let title = format!("# {}: ", check.name().to_uppercase());
        let lines = text[text.find(&title).unwrap()..].lines();
        let comment: Vec<_> = lines
            .take_while(|line| line.starts_with('#'))
            .flat_map(|line| line[1..].split_whitespace())
            .collect();
        let comment = comment.join(" ");
        (check.name(), comment[comment.find("Now: ").unwrap()..].to_owned())
    };
    CheckId::ALL.into_iter().map(of).collect()
}

#[test]
fn this_machine_captured_signed_and_checked_is_what_capture_said_it_is() {
    let site = Site::new();
    let (text, baseline) = capture(&site);
    assert_eq!(baseline.version, 2, "one more than the one that is in force");
    if !Path::new("/run/current-system").exists() {
        let this = Binding::MachineIdSha256(Digest::of(MACHINE_ID.as_bytes()));
        assert_eq!(baseline.bound_to, this);
        assert!(baseline.patching.expected().is_some(), "not applicable is for a person to say");
    }
    let signed = compliance_signing::sign(&baseline, &[&site.plane.keys.baseline]).unwrap();
    site.write("baseline.dsse.json", &signed);
    let output = site.run(&["check", "--json"]);
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checked = checked["checks"].as_array().unwrap();
    assert_eq!(checked.len(), 6);
    let said = said(&text);
    for check in checked {
        let said = &said[check["check"].as_str().unwrap()];
        match check["state"].as_str().unwrap() {
            "compliant" => assert!(said.starts_with("Now: compliant"), "{check} {said}"),
            "unknown" => {
                let why = check["why"].as_str().unwrap();
                assert!(said.starts_with(&format!("Now: UNKNOWN: {why}")), "{check} {said}");
            }
            "drifted" => {
                assert!(said.starts_with("Now: DRIFTED: "), "{check} {said}");
                for finding in check["findings"].as_array().unwrap() {
                    assert!(said.contains(finding["subject"].as_str().unwrap()), "{check} {said}");
                }
            }
            other => panic!("nobody wrote that it is {other}: {check}"),
        }
    }
    let green = checked.iter().all(|check| check["state"] == "compliant");
    assert_eq!(output.status.code(), Some(i32::from(!green)));
    let table = site.run(&["check"]);
    assert!(String::from_utf8(table.stdout).unwrap().starts_with("CHECK"));
}

#[test]
fn a_box_that_is_not_enrolled_is_captured_and_left_as_it_is() {
    let site = Site::bare();
    fs::remove_file(site.path("baseline.dsse.json")).unwrap();
    let names = || {
        let names = fs::read_dir(site.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let (text, baseline) = capture(&site);
    assert_eq!(baseline.version, 1);
    assert!(text.contains("no signed baseline is known here"), "{text}");
    assert_eq!(names(), before);
}

#[test]
fn a_machine_that_nothing_tells_from_others_is_not_captured() {
    let site = Site::bare();
    fs::remove_file(site.path("machine-id")).unwrap();
    if Path::new("/run/current-system").exists() {
        let test = "a_machine_that_nothing_tells_from_others_is_not_captured";
        return skipped(test, "its NixOS system tells it from others");
    }
    let output = site.run(&["capture"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("machine-id says which machine this is"), "{said}");
}

#[test]
fn each_bundle_names_the_system_of_this_machine() {
    let site = Site::new();
    let _running = site.serve();
    let evidence = eventually("the first round", || {
        let evidence = site.evidence();
        evidence.iter().any(|bundle| bundle.reason == "round").then_some(evidence)
    });
    let system = patching::system(&LinuxHost::default());
    assert!(evidence.iter().all(|bundle| bundle.system == system), "{system:?}");
}
