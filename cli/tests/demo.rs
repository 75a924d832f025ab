//! The demonstration, as a user starts it, with the binaries of this build.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::process::Command;

use compliance_protocol::evidence::export::Part;
use serde_json::Value;
use support::compliancectl;

mod support;

fn rows(told: &Value) -> impl Iterator<Item = &Value> {
    told["steps"].as_array().unwrap().iter().flat_map(|step| step["checks"].as_array().unwrap())
}

/// Processes of which the command line names something below `folder`.
fn processes_about(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

#[test]
fn the_whole_story_holds_and_leaves_nothing_behind_but_its_directory() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("demo");
    let output =
        Command::new(compliancectl()).args(["demo", "--json", "--dir"]).arg(&dir).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!(told["verdict"], "holds");
    assert_eq!(told["directory"], dir.to_str().unwrap());
    assert!(told["duration_ms"].as_i64().unwrap() < 20_000, "{}", told["duration_ms"]);
    let numbers: Vec<_> =
        told["steps"].as_array().unwrap().iter().map(|s| s["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=7).map(Some).collect::<Vec<_>>());

    let actual = |check: &str| {
        let row = rows(&told).find(|row| row["check"] == check);
        row.unwrap_or_else(|| panic!("no {check}"))["actual"].as_str().unwrap().to_owned()
    };
    for (check, wanted) in [
        ("a good order", "success: done"),
        ("forged signature", "rejected: bad_signature"),
        ("expired", "expired"),
        ("replayed: withdrawn, brought late", "rejected: replayed"),
        ("replayed: executed before", "nothing happens"),
        ("for another site", "rejected: wrong_site"),
        ("unknown field outside", "rejected: malformed"),
        ("changed keyid", "success: done"),
        ("remedy", "run_backup records done"),
        ("after", "compliant"),
    ] {
        assert_eq!(actual(check), wanted, "{check}");
    }
    assert!(actual("restart").starts_with("deferred until 20"), "{}", actual("restart"));

    let proof = &told["proof"];
    assert_eq!(proof["bundles"], proof["receipts"]);
    assert!(proof["openssl"].as_str().unwrap().starts_with("openssl pkeyutl -verify "));
    assert!(proof["console"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let head = proof["heads"][0].as_str().unwrap();
    verifies_again(&dir, Path::new(proof["evidence"].as_str().unwrap()), head);
    assert_eq!(processes_about(&dir), Vec::<String>::new());
}

/// The export holds up to the operator's own `verify`, and no longer when one byte of it is changed, its
/// newest bundle is missing, or its receipts are.
fn verifies_again(dir: &Path, evidence: &Path, head: &str) {
    let verify = |options: &[&str]| {
        let mut verify = Command::new(env!("CARGO_BIN_EXE_compliancectl"));
        verify.arg("verify").arg(evidence).arg("--trust").arg(dir.join("site/trust.dsse.json"));
        verify.args(options).output().unwrap().status.code()
    };
    let head = ["--head", head];
    assert_eq!(verify(&head), Some(0));
    let mut folder = evidence.to_owned();
    while let Some(below) = fs::read_dir(&folder).unwrap().flatten().find(|e| e.path().is_dir()) {
        folder = below.path();
    }
    let is_bundle = |name: &str| matches!(Part::of_name(name), Some((_, Part::Json)));
    let files = || fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
    let bundle = files().find(|path| is_bundle(path.to_str().unwrap())).unwrap();
    let bytes = fs::read(&bundle).unwrap();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    fs::write(&bundle, changed).unwrap();
    assert_eq!(verify(&[]), Some(1));
    fs::write(&bundle, bytes).unwrap();

    let digits = |path: &Path| path.file_name().unwrap().to_str().unwrap()[..8].to_owned();
    let newest = files().map(|path| digits(&path)).max().unwrap();
    files().filter(|path| digits(path) == newest).for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!((verify(&head), verify(&[])), (Some(1), Some(0)), "the newest bundle is missing");
    let receipts = files().filter(|path| path.extension().is_some_and(|end| end == "tlog-proof"));
    receipts.for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(verify(&[]), Some(1), "the receipts are missing");
}

#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("mine"), "x").unwrap();
    let output =
        Command::new(compliancectl()).args(["demo", "--dir"]).arg(temp.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}
