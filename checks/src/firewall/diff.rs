//! What differs between two outlines, in words: names of tables, chains and sets, hooks, policies and the
//! numbers of rules, never a rule.

use std::collections::{BTreeMap, BTreeSet};

use compliance_protocol::evidence::Finding;

use super::name::{TableName, shown};
use super::outline::{ChainOutline, Fingerprint, Outline, TableOutline};

/// What differs in the tables that `expected` names.
pub(super) fn differences(expected: &Outline, found: &Outline) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, table) in expected {
        match found.get(name) {
            None => findings.push(finding(name.to_string(), "the table", "it is missing")),
            Some(found) => in_table(name, table, found, &mut findings),
        }
    }
    findings
}

/// That a table which the baseline does not name is there.
pub(super) fn foreign(name: &TableName, table: &TableOutline) -> Finding {
    let hooks: BTreeSet<_> =
        table.chains.values().filter_map(|chain| chain.base.as_deref()).collect();
    let rules: usize = table.chains.values().map(|chain| chain.rules.len()).sum();
    let mut actual = format!("a table with {}", counted(rules, "rule"));
    for hook in hooks.iter().take(MAX_HOOKS) {
        actual = format!("{actual}, {}", shown(hook));
    }
    if hooks.len() > MAX_HOOKS {
        actual = format!("{actual} and {}", counted(hooks.len() - MAX_HOOKS, "more hook"));
    }
    finding(name.to_string(), "no such table: the baseline does not name it", &actual)
}

const MAX_HOOKS: usize = 4;

fn in_table(
    name: &TableName,
    expected: &TableOutline,
    found: &TableOutline,
    findings: &mut Vec<Finding>,
) {
    if expected.flags != found.flags {
        findings.push(finding(name.to_string(), &flags(expected), &flags(found)));
    }
    let names: BTreeSet<_> = expected.chains.keys().chain(found.chains.keys()).collect();
    for chain in names {
        let subject = format!("{name}/{}", shown(chain));
        match (expected.chains.get(chain), found.chains.get(chain)) {
            (Some(expected), Some(found)) => in_chain(&subject, expected, found, findings),
            (Some(_), None) => findings.push(finding(subject, "the chain", "it is missing")),
            (None, found) => {
                let base = found.and_then(|chain| chain.base.as_deref());
                let what = format!("a chain at {}", base.map_or_else(|| "no hook".into(), shown));
                findings.push(finding(subject, "no such chain", &what));
            }
        }
    }
    in_objects(name, expected, found, findings);
}

fn in_chain(
    subject: &str,
    expected: &ChainOutline,
    found: &ChainOutline,
    findings: &mut Vec<Finding>,
) {
    let mut differ = |expected: &str, actual: &str| {
        findings.push(finding(subject.to_owned(), expected, actual));
    };
    let base = |chain: &ChainOutline| chain.base.as_deref().map_or_else(|| "no hook".into(), shown);
    if expected.base != found.base {
        differ(&base(expected), &base(found));
    }
    if expected.policy != found.policy {
        let policy = |chain: &ChainOutline| match &chain.policy {
            Some(policy) => format!("policy {}", shown(policy)),
            None => "no policy".to_owned(),
        };
        differ(&policy(expected), &policy(found));
    }
    if let Some(actual) = in_rules(&expected.rules, &found.rules) {
        differ(&format!("its {}", counted(expected.rules.len(), "rule")), &actual);
    }
}

/// What happened to the rules of a chain, by their numbers from 1.
fn in_rules(expected: &[Fingerprint], found: &[Fingerprint]) -> Option<String> {
    let same = |(a, b): &(&Fingerprint, &Fingerprint)| a == b;
    let head = expected.iter().zip(found).take_while(same).count();
    let (expected, found) = (expected.get(head..)?, found.get(head..)?);
    let tail = expected.iter().rev().zip(found.iter().rev()).take_while(same).count();
    let gone = expected.get(..expected.len() - tail)?;
    let new = found.get(..found.len() - tail)?;
    let at = |count: usize| match count {
        1 => format!("rule {}", head + 1),
        _ => format!("rules {} to {}", head + 1, head + count),
    };
    let verb = |count: usize| if count == 1 { "is" } else { "are" };
    let sorted = |rules: &[Fingerprint]| {
        let mut rules = rules.to_vec();
        rules.sort_unstable();
        rules
    };
    match (gone.len(), new.len()) {
        (0, 0) => None,
        (gone, 0) => Some(format!("{} {} missing", at(gone), verb(gone))),
        (0, new) if head == 0 => Some(format!("{} at the beginning", counted(new, "more rule"))),
        (0, new) => Some(format!("{} after rule {head}", counted(new, "more rule"))),
        (1, 1) => Some(format!("{} is another", at(1))),
        (count, _) if sorted(gone) == sorted(new) => {
            Some(format!("{} are in another order", at(count)))
        }
        (was, is) => {
            let verb = verb(was);
            Some(format!("{} {verb} replaced by {}", at(was), counted(is, "other rule")))
        }
    }
}

fn in_objects(
    table: &TableName,
    expected: &TableOutline,
    found: &TableOutline,
    findings: &mut Vec<Finding>,
) {
    let (expected, found): (&BTreeMap<_, _>, &BTreeMap<_, _>) = (&expected.objects, &found.objects);
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (expected, actual) = match (expected.get(name), found.get(name)) {
            (Some(expected), Some(found)) if expected == found => continue,
            (Some(_), Some(_)) => {
                ("as in the baseline", "it differs in its declaration or its elements")
            }
            (Some(_), None) => ("as in the baseline", "it is missing"),
            (None, _) => ("no such object", "it is there"),
        };
        findings.push(finding(format!("{table} {}", shown(name)), expected, actual));
    }
}

fn flags(table: &TableOutline) -> String {
    if table.flags.is_empty() {
        "no flags".to_owned()
    } else {
        format!("the flags {}", shown(&table.flags.join(", ")))
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn finding(subject: String, expected: &str, actual: &str) -> Finding {
    Finding { subject, expected: expected.to_owned(), actual: actual.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(names: &str) -> Vec<Fingerprint> {
        names.chars().map(|c| format!("{:016x}", u32::from(c)).try_into().unwrap()).collect()
    }

    #[test]
    fn what_happened_to_rules_is_said_by_number() {
        for (expected, found, words) in [
            ("abc", "abc", None),
            ("abc", "ac", Some("rule 2 is missing")),
            ("abcde", "ae", Some("rules 2 to 4 are missing")),
            ("abc", "abcxy", Some("2 more rules after rule 3")),
            ("abc", "xabc", Some("1 more rule at the beginning")),
            ("abc", "axc", Some("rule 2 is another")),
            ("abc", "acb", Some("rules 2 to 3 are in another order")),
            ("abc", "axyc", Some("rule 2 is replaced by 2 other rules")),
            ("abcd", "axd", Some("rules 2 to 3 are replaced by 1 other rule")),
            ("aa", "a", Some("rule 2 is missing")),
            ("", "a", Some("1 more rule at the beginning")),
        ] {
            let said = in_rules(&rules(expected), &rules(found));
            assert_eq!(said.as_deref(), words, "{expected} {found}");
        }
    }
}
