//! What Prometheus is told: the text as it is, and what a strict reader makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

use std::collections::BTreeMap;

use compliance_agent::metrics::text;
use compliance_agent::report::{Cause, Failure, Moment, Polls, Report, Seen};
use compliance_protocol::evidence::State;
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::status::{ActivationStatus, CheckStatus, Status};
use compliance_protocol::time::{Span, Timestamp};
use proptest::prelude::*;
use support::{TODAY, status};

const MINUTE: i64 = 60;

fn moment(seconds: i64) -> Moment {
    let since = Span::from_secs(seconds);
    Moment { at: TODAY.plus(since), boottime: since }
}

fn at(seconds: i64) -> Timestamp {
    moment(seconds).at
}

fn check(name: &str, state: State, looked: i64) -> CheckStatus {
    CheckStatus {
        check: name.to_owned(),
        state,
        at: at(looked),
        since: TODAY,
        findings: Vec::new(),
        why: String::new(),
    }
}

/// A report of now, which is 0: all well, and the executor answered a second ago with `status`.
fn report(status: Option<Status>) -> Report {
    Report {
        version: "0.1.0".to_owned(),
        mcp_url: "https://mcp".to_owned().try_into().unwrap(),
        boot_id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        started: moment(-9000),
        written: moment(0),
        polls: Polls {
            interval: Span::from_secs(MINUTE),
            last: Some(moment(-2)),
            last_success: Some(moment(-2)),
            failures: 0,
            last_failure: None,
            next: Some(moment(MINUTE)),
        },
        executor_answers: status.is_some(),
        executor: status.map(|status| Seen { when: moment(-1), status }),
    }
}

/// Each check in another state, healing paused, a system being activated, a full disk, and no control plane.
fn eventful() -> Report {
    let paused = Gate::closed(GateName::Pause, "healing is paused", Some(at(4 * 3600)));
    let activation = ActivationStatus {
        system: "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-x".parse().unwrap(),
        phase: "proving".to_owned(),
        since: at(-MINUTE),
        waits_for: "a look".to_owned(),
        deadman_at: None,
    };
    let mut report = report(Some(Status {
        checks: vec![
            check("patching", State::Unknown, -5),
            check("services", State::Drifted, -5),
            check("backups", State::NotApplicable, -5),
            check("firewall", State::Compliant, -5),
            check("logging", State::Compliant, -20 * MINUTE),
        ],
        gates: vec![paused, Gate::closed(GateName::Space, "the disk is full", None)],
        activation: Some(activation),
        at: at(-1),
        ..status(21)
    }));
    report.polls.last_success = Some(moment(-10 * MINUTE));
    report.polls.failures = 3;
    report.polls.last_failure = Some(Failure::new(Cause::Dns, "no such name"));
    report
}

type Samples = BTreeMap<BTreeMap<String, String>, i64>;

/// Reads a text as strictly as anybody does, and panics on what is not as it must be.
fn parsed(text: &str) -> BTreeMap<String, Samples> {
    let mut families = BTreeMap::new();
    let mut lines = text.strip_suffix('\n').expect("the last line ends").split('\n').peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(name.starts_with("compliance_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(!help.is_empty() && !help.contains('\\'), "{help}");
        assert_eq!(lines.next().unwrap(), format!("# TYPE {name} gauge"));
        let mut samples = Samples::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (labels, value) = sample(line.strip_prefix(name).expect("a sample of this family"));
            assert_eq!(samples.insert(labels, value), None, "{line} is there twice");
        }
        assert!(!samples.is_empty(), "{name} has no sample");
        assert!(families.insert(name.to_owned(), samples).is_none(), "{name} is there twice");
    }
    families
}

/// What follows the name: labels, and a whole number without a time.
fn sample(mut rest: &str) -> (BTreeMap<String, String>, i64) {
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (name, quoted) = rest.split_once("=\"").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
            let (value, behind) = unquoted(quoted);
            assert_eq!(labels.insert(name.to_owned(), value), None, "{name} is there twice");
            match behind.strip_prefix(',') {
                Some(more) => rest = more,
                None => break rest = behind.strip_prefix('}').unwrap(),
            }
        }
    }
    (labels, rest.strip_prefix(' ').unwrap().parse().unwrap())
}

/// A label's value, up to its closing quote, and what is behind that.
fn unquoted(quoted: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next().expect("a closing quote") {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(match chars.next().unwrap() {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                other => panic!("\\{other} is no escape"),
            }),
            plain => value.push(plain),
        }
    }
}

/// The value of a family without labels; `None` where it is left out.
fn value(report: &Report, name: &str) -> Option<i64> {
    parsed(&text(report)).get(name).map(|samples| samples[&BTreeMap::new()])
}

/// The state of each check. Exactly one of the five is 1.
fn states(report: &Report) -> BTreeMap<String, String> {
    let families = parsed(&text(report));
    let mut states = BTreeMap::new();
    let mut counts = BTreeMap::<_, usize>::new();
    for (labels, value) in families.get("compliance_check_state").into_iter().flatten() {
        *counts.entry(labels["check"].clone()).or_default() += 1;
        if *value == 1 {
            let before = states.insert(labels["check"].clone(), labels["state"].clone());
            assert_eq!(before, None, "one state at a time");
        } else {
            assert_eq!(*value, 0);
        }
    }
    assert!(states.keys().eq(counts.keys()) && counts.values().all(|count| *count == 5));
    states
}

#[test]
fn the_text_is_as_it_is_documented() {
    let text = text(&eventful());
    assert_eq!(text, include_str!("metrics.prom"), "is:\n{text}");
    assert_eq!(parsed(&text).len(), 11);
}

#[test]
fn every_metric_is_in_the_manual() {
    let manual = include_str!("../../docs/OPERATIONS.md");
    for name in parsed(&text(&eventful())).keys() {
        assert!(manual.contains(&format!("| `{name}`")), "{name}");
    }
}

#[test]
fn an_executor_that_never_spoke_leaves_nothing_that_reads_as_good() {
    let mut report = report(None);
    report.polls.last_success = None;
    let names: Vec<_> = parsed(&text(&report)).into_keys().collect();
    let agents = [
        "compliance_build_info",
        "compliance_checks_oldest_look_timestamp_seconds",
        "compliance_executor_reachable",
        "compliance_poll_consecutive_failures",
        "compliance_poll_last_success_timestamp_seconds",
        "compliance_report_timestamp_seconds",
    ];
    assert_eq!(names, agents);
    for never in &agents[1..3] {
        assert_eq!(value(&report, never), Some(0), "{never}");
    }
    assert_eq!(value(&report, agents[4]), Some(0));
}

#[test]
fn what_was_said_over_a_quarter_of_an_hour_ago_is_stale_or_left_out() {
    let mut report = eventful();
    report.executor_answers = false;
    let away = |report: &mut Report, seconds: i64| {
        report.executor.as_mut().unwrap().when = moment(-seconds);
    };
    away(&mut report, 15 * MINUTE);
    assert_eq!(states(&report)["firewall"], "compliant");
    assert_eq!(value(&report, "compliance_activation_under_way"), Some(1));
    away(&mut report, 15 * MINUTE + 1);
    assert!(states(&report).values().all(|state| state == "stale"));
    for said in [
        "compliance_activation_under_way",
        "compliance_evidence_pending_bundles",
        "compliance_healing_paused_until_timestamp_seconds",
        "compliance_ledger_disk_full",
    ] {
        assert_eq!(value(&report, said), None, "{said}");
    }
}

#[test]
fn a_check_that_does_not_look_any_more_is_stale_also_when_the_clock_stepped_back() {
    for (looked, is) in [
        (-15 * MINUTE, "compliant"),
        (-15 * MINUTE - 1, "stale"),
        (1, "compliant"),
        (86_400, "stale"),
    ] {
        let checks = vec![check("backups", State::Compliant, looked)];
        let report = report(Some(Status { checks, ..status(0) }));
        assert_eq!(states(&report)["backups"], is, "{looked}");
    }
}

#[test]
fn the_oldest_look_counts() {
    let checks = [-5, -300, -20].map(|looked| check(&looked.to_string(), State::Unknown, looked));
    let report = report(Some(Status { checks: checks.to_vec(), ..status(0) }));
    let oldest = value(&report, "compliance_checks_oldest_look_timestamp_seconds");
    assert_eq!(oldest, Some(at(-300).as_millis() / 1000));
}

#[test]
fn a_gate_that_nobody_could_ask_is_left_out_and_an_open_one_is_zero() {
    let names =
        ["compliance_healing_paused_until_timestamp_seconds", "compliance_ledger_disk_full"];
    for (gate, expected) in
        [(Gate::open as fn(GateName, &'static str) -> Gate, Some(0)), (Gate::unknown, None)]
    {
        let gates = [GateName::Pause, GateName::Space].map(|name| gate(name, "")).to_vec();
        let report = report(Some(Status { gates, ..status(0) }));
        assert_eq!(names.map(|name| value(&report, name)), [expected; 2]);
    }
    let without = report(Some(status(0)));
    assert_eq!(names.map(|name| value(&without, name)), [None; 2]);
}

/// Anything, and often what the format has a meaning for.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[\\"\n{},= #a]{0,8}"#]
}

proptest! {
    #[test]
    fn whatever_the_executor_calls_things_the_text_holds_it_unchanged(
        checks in proptest::collection::btree_set(word(), 0..4),
        version in word(),
        pending: u64,
        clock in any::<i32>().prop_map(i64::from),
    ) {
        let board = checks.iter().map(|name| check(name, State::Drifted, 0)).collect();
        let mut report = report(Some(Status { checks: board, version: version.clone(), ..status(pending) }));
        report.written.at = Timestamp::from_millis(clock);
        let families = parsed(&text(&report));
        let said: Vec<_> = states(&report).into_keys().collect();
        prop_assert_eq!(said, checks.into_iter().collect::<Vec<_>>());
        let versions = families["compliance_build_info"].keys().map(|labels| &labels["version"]);
        prop_assert!(versions.into_iter().any(|is| *is == version));
        prop_assert_eq!(value(&report, "compliance_report_timestamp_seconds"), Some(clock.div_euclid(1000)));
    }
}
