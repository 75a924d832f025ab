//! The absences that hold the architecture up: what is in nobody's dependency tree, and what is in
//! nobody's source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages whose binaries are shipped.
const SHIPPED: [&str; 5] = [
    "compliance-agent",
    "compliance-executor",
    "compliance-mcp",
    "compliance-nats",
    "compliancectl",
];

/// Folders of the shipped code that runs on an appliance.
const ON_THE_APPLIANCE: [&str; 8] =
    ["agent", "checks", "clock", "daemon", "executor", "protocol", "signing", "transport"];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names of all packages that `package` depends on by `edges`, itself included.
fn tree(package: &str, edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package, "--edges", edges])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> =
        lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(package), "{package} is in its own tree: {names:?}");
    names
}

/// Fails when one of `absent` is in `package`'s tree; a name that ends in `*` stands for all that
/// begin so.
fn assert_absent(package: &str, edges: &str, absent: &[&str]) {
    let is = |name: &str, rule: &str| {
        rule.strip_suffix('*').map_or(name == rule, |start| name.starts_with(start))
    };
    let tree = tree(package, edges);
    let found: Vec<_> = tree
        .iter()
        .filter(|name| *name != package && absent.iter().any(|rule| is(name, rule)))
        .collect();
    assert!(
        found.is_empty(),
        "{package} must not depend on {found:?} (cargo tree -i shows by what)"
    );
}

/// The Rust files under `folder`, with their text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(workspace()).unwrap().to_owned(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&workspace().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// The folders of the workspace's packages.
fn members() -> Vec<String> {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let list = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    list.split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .filter(|n| !n.is_empty())
        .collect()
}

/// The lines of `folder`'s sources, without comments, that contain one of `words`.
fn lines_with(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(folder) {
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_executor_speaks_neither_http_nor_tls_and_has_no_resolver() {
    let absent = [
        "hyper*",
        "http",
        "rustls",
        "reqwest",
        "tokio*",
        "axum",
        "hickory*",
        "native-tls",
        "openssl",
    ];
    assert_absent("compliance-executor", "normal", &absent);
}

#[test]
fn the_agent_has_no_database_and_nothing_that_signs() {
    let absent =
        ["rusqlite", "libsqlite3-sys", "compliance-signing", "compliance-checks", "compliance-pki"];
    assert_absent("compliance-agent", "normal", &absent);
}

#[test]
fn the_contract_depends_on_nothing_of_ours_and_on_no_runtime() {
    let absent = ["compliance-*", "tokio*", "rustls", "rusqlite", "nix"];
    assert_absent("compliance-protocol", "normal", &absent);
}

#[test]
fn no_shipped_binary_holds_a_fake_or_a_part_of_the_demonstration() {
    for package in SHIPPED {
        let absent = ["compliance-testkit", "compliance-demo", "proptest"];
        assert_absent(package, "normal,build", &absent);
    }
}

#[test]
fn agent_executor_and_control_plane_never_link_each_other() {
    let parts = ["compliance-agent", "compliance-executor", "compliance-mcp"];
    for package in parts {
        let others: Vec<_> = parts.into_iter().filter(|other| *other != package).collect();
        assert_absent(package, "normal,build,dev", &others);
    }
}

#[test]
fn nats_is_in_the_carriers_tree_only_and_the_carrier_has_neither_database_nor_anything_that_signs()
{
    for package in SHIPPED.into_iter().filter(|package| *package != "compliance-nats") {
        assert_absent(package, "normal,build", &["compliance-nats", "async-nats"]);
    }
    let absent = ["compliance-mcp", "rusqlite", "libsqlite3-sys", "compliance-signing", "nkeys"];
    assert_absent("compliance-nats", "normal,build", &absent);
}

#[test]
fn one_crate_only_has_unsafe_code_and_there_it_is_one_function() {
    let unsafe_code =
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code"];
    for folder in members() {
        let found = lines_with(&folder, &unsafe_code);
        // This file names the words itself.
        let found: Vec<_> = found.iter().filter(|line| !line.starts_with(file!())).collect();
        if folder == "clock" {
            let allowed = found.iter().filter(|line| line.contains("allow(unsafe_code")).count();
            assert_eq!(allowed, 1, "docs/adr/0002-one-unsafe-call.md allows one: {found:#?}");
        } else {
            assert!(found.is_empty(), "unsafe code belongs into clock/: {found:#?}");
        }
    }
}

#[test]
fn every_other_package_takes_the_workspaces_lints() {
    for folder in members().iter().filter(|folder| *folder != "clock") {
        let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}/Cargo.toml");
    }
}

#[test]
fn nothing_on_the_appliance_can_listen_on_a_network() {
    for folder in ON_THE_APPLIANCE {
        let found =
            lines_with(&format!("{folder}/src"), &["TcpListener", "UdpSocket", "TcpSocket"]);
        assert!(found.is_empty(), "nothing on the appliance listens: {found:#?}");
    }
}

#[test]
fn nothing_shipped_names_a_way_to_turn_verification_off() {
    let words = [
        ".dangerous()",
        "dangerous_configuration",
        "danger_accept",
        "insecure",
        "skip_verif",
        "no_verify",
    ];
    for folder in members().iter().filter(|folder| *folder != "xtask") {
        let found = lines_with(&format!("{folder}/src"), &words);
        assert!(found.is_empty(), "there is no insecure switch: {found:#?}");
    }
}
