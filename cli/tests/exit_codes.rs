//! What scripts rely on: exit codes, and one JSON document on stdout.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn compliancectl(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compliancectl"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

fn code(folder: &Path, arguments: &[&str]) -> Option<i32> {
    compliancectl(folder, arguments).status.code()
}

#[test]
fn a_key_is_made_once_and_never_again() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["key", "generate", "--role", "orders", "--out", ".", "--json"];
    let output = compliancectl(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(0));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made.get("role").unwrap(), "orders");
    let key = fs::read(dir.path().join("orders.key")).unwrap();
    assert_eq!(code(dir.path(), &arguments), Some(2));
    assert_eq!(fs::read(dir.path().join("orders.key")).unwrap(), key);
}

#[test]
fn verification_ends_with_1_when_it_does_not_hold_and_2_when_nobody_could_look() {
    let dir = tempfile::tempdir().unwrap();
    code(dir.path(), &["key", "generate", "--role", "orders", "--out", "."]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::write(dir.path().join("x.json"), "{}").unwrap();
    let verify = |path: &str| code(dir.path(), &["verify", path, "--key", "orders.pub"]);
    assert_eq!(verify("empty"), Some(1));
    assert_eq!(verify("x.json"), Some(1));
    assert_eq!(verify("nothing-here"), Some(2));
    assert_eq!(code(dir.path(), &["verify", "x.json", "--key", "x.json"]), Some(2), "no key");
    assert_eq!(code(dir.path(), &["verify", "x.json"]), Some(2), "no key given");
    assert_eq!(code(dir.path(), &["verify"]), Some(2), "nothing to verify");
    let head = ["verify", "empty", "--key", "orders.pub", "--head", "21"];
    assert_eq!(code(dir.path(), &head), Some(2), "a head without its digest");
}

#[test]
fn what_cannot_be_reached_or_understood_ends_with_2_and_says_so_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in
        [&["fleet"][..], &["order", "list"], &["status", "clinic-042"], &["nonsense"], &[]]
    {
        let output = compliancectl(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}
