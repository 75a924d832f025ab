//! What the documents promise: the two commands, links that lead somewhere, a line for every reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

/// All documents of the repository: at its top, and anywhere under `docs/`.
fn documents() -> Vec<PathBuf> {
    fn walk(folder: &Path, deep: bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && deep {
                walk(&path, deep, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(workspace(), false, &mut found);
    walk(&workspace().join("docs"), true, &mut found);
    found
}

/// The targets of `[text](target)` in a document, outside code.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let lines = text.lines().filter(|line| {
        in_code ^= line.trim_start().starts_with("```");
        !in_code
    });
    let prose: Vec<_> = lines.map(|line| line.split('`').step_by(2).collect::<String>()).collect();
    prose
        .iter()
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()))
        .collect()
}

#[test]
fn the_first_screen_of_the_readme_has_the_two_commands() {
    let readme = read("README.md");
    let first_screen: Vec<_> = readme.lines().take(30).map(str::trim).collect();
    for command in ["cargo demo", "cargo test --workspace"] {
        assert!(first_screen.contains(&command), "{command} stands on a line of its own");
    }
}

#[test]
fn every_relative_link_leads_to_a_file() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{}: {link} leads nowhere", document.display());
        }
    }
}

#[test]
fn every_decision_record_has_a_number_of_its_own() {
    let names = fs::read_dir(workspace().join("docs/adr")).unwrap();
    let mut numbers: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap()[..4].parse::<u32>().unwrap())
        .collect();
    numbers.sort_unstable();
    let expected: Vec<_> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn operations_explains_every_reason_for_which_an_order_is_refused() {
    let source = read("protocol/src/order.rs");
    let (_, codes) = source.split_once("pub fn code(self)").unwrap();
    let (codes, _) = codes.split_once("\n}").unwrap();
    let codes: Vec<_> = codes.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(codes.len(), 15, "{codes:?}");
    let operations = read("docs/OPERATIONS.md");
    for code in codes {
        assert!(operations.contains(&format!("| `{code}` |")), "{code} has a row in a table");
    }
}
