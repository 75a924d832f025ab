//! The logging check, round after round, on a journald that a test sets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod journald;
mod rounds;

use compliance_checks::capture::Captured;
use compliance_checks::command::Output;
use compliance_checks::logging::{Logging, LoggingBaseline, capture};
use compliance_checks::{HostError, Verdict};
use compliance_testkit::host::{FakeHost, unit};
use journald::{Machine, State};
use proptest::prelude::*;
use rounds::{Rounds, drifts, faults, is_unknown};
use serde_json::{Value, json};

const SHIP: &str = "vector.service";

type Logs = Rounds<Logging, Machine>;

fn logs(expected: &Value) -> Logs {
    Rounds::new("logging", expected)
}

/// With the first canary found.
fn settled() -> Logs {
    let mut logs = logs(&json!({}));
    assert_eq!(logs.after(0), Verdict::Compliant);
    logs
}

#[test]
fn a_baseline_has_defaults_and_refuses_what_it_does_not_know() {
    let written: LoggingBaseline = serde_json::from_value(json!({})).unwrap();
    assert_eq!(written, LoggingBaseline::default());
    assert!(written.persistent && written.clock_synchronised && written.forwarders.is_empty());
    let numbers = (written.canary_minutes, written.canary_limit_s, written.max_gap_minutes);
    assert_eq!(numbers, (5, 10, 15));
    assert!(serde_json::from_value::<LoggingBaseline>(json!({ "canary": 5 })).is_err());
}

#[test]
fn a_journal_that_records_is_compliant_from_its_first_canary() {
    let mut logs = settled();
    let report = logs.report_after(15);
    assert_eq!(report.verdict, Verdict::Compliant);
    assert_eq!(report.facts["canary_age_s"], 15);
    assert_eq!(report.facts["last_entry_at"], "2026-11-20T12:25:54.990Z");
    assert_eq!(report.facts["persistent"], true);
}

#[test]
fn a_canary_is_written_every_five_minutes_and_looked_for_by_one_program() {
    let mut logs = settled();
    for _ in 0..240 {
        assert_eq!(logs.after(15), Verdict::Compliant);
    }
    let canaries = logs.host.written();
    assert_eq!(canaries.len(), 13, "one, and twelve in an hour");
    assert_eq!(logs.host.runs().len(), 13, "nothing runs in the rounds in between");
    let argv = logs.host.runs().pop().unwrap();
    assert_eq!(
        argv,
        [
            "/usr/bin/journalctl".to_owned(),
            "--output=json".to_owned(),
            "--no-pager".to_owned(),
            "--lines=1".to_owned(),
            "--output-fields=COMPLIANCE_CANARY".to_owned(),
            "--directory=/var/log/journal".to_owned(),
            format!("COMPLIANCE_CANARY={}", canaries[12]),
        ]
    );
    let mut distinct = canaries.clone();
    distinct.dedup();
    assert_eq!(distinct, canaries, "no number is used twice");
}

#[test]
fn an_entry_says_what_it_is() {
    let logs = settled();
    let entry = logs.host.entries().pop().unwrap();
    let keys: Vec<_> = entry.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        ["MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "COMPLIANCE_CANARY"]
    );
    assert_eq!(entry[1].1, "885dea0d638f4880819781abf64a1bd4");
}

#[test]
fn the_first_canary_on_its_way_is_never_green() {
    let mut logs = logs(&json!({}));
    logs.host.set(State::Hung);
    is_unknown(&logs.after(0), "the first canary is on its way");
    is_unknown(&logs.after(5), "the first canary is on its way");
    logs.host.set(State::Works);
    assert_eq!(logs.after(4), Verdict::Compliant);
}

#[test]
fn a_journal_that_drops_entries_is_drift_after_the_limit() {
    let mut logs = settled();
    logs.host.set(State::Drops);
    // Until the next canary is due the last one stands for the journal.
    assert_eq!(logs.after(285), Verdict::Compliant);
    assert_eq!(logs.after(15), Verdict::Compliant);
    drifts(&logs.after(15), "journal", "canary not found");
    drifts(&logs.after(15), "journal", "canary not found");
    // Repaired: the very next round shows it.
    logs.host.set(State::Works);
    assert_eq!(logs.after(15), Verdict::Compliant);
}

#[test]
fn a_slow_journal_is_waited_for_until_the_limit_over_rounds() {
    let mut logs = logs(&json!({ "canary_limit_s": 60 }));
    logs.host.set(State::Hung);
    for _ in 0..4 {
        is_unknown(&logs.after(14), "on its way");
    }
    logs.host.set(State::Works);
    assert_eq!(logs.after(14), Verdict::Compliant);
    assert_eq!(logs.host.written().len(), 1);
}

#[test]
fn a_journal_that_is_late_is_found_after_it_was_asked_to_catch_up() {
    let mut logs = logs(&json!({}));
    logs.host.set(State::Late);
    assert_eq!(logs.after(0), Verdict::Compliant);
    let third = |argv: &Vec<String>| argv[1].clone();
    let runs: Vec<_> = logs.host.runs().iter().map(third).collect();
    assert_eq!(runs, ["--output=json", "--sync", "--output=json"]);
}

#[test]
fn a_journal_kept_in_memory_is_drift_when_it_should_be_on_disk() {
    let mut logs = settled();
    logs.host.fake.remove("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal");
    drifts(&logs.after(15), "journal storage", "there is no such folder");

    let mut logs = settled();
    logs.host.set(State::Volatile);
    drifts(&logs.after(300), "journal", "entries do not get there");
    logs.host.set(State::Works);
    assert_eq!(logs.after(15), Verdict::Compliant);

    let mut memory_is_fine = self::logs(&json!({ "persistent": false }));
    memory_is_fine.host.set(State::Volatile);
    assert_eq!(memory_is_fine.after(0), Verdict::Compliant);
    assert_eq!(memory_is_fine.host.runs().len(), 1);
    memory_is_fine.host.fake.set_files(compliance_testkit::host::Files::from([(
        "/usr/bin/journalctl".to_owned(),
        Ok(Vec::new()),
    )]));
    assert_eq!(memory_is_fine.after(15), Verdict::Compliant);
}

#[test]
fn another_machines_folder_does_not_count() {
    let mut logs = settled();
    logs.host.fake.write("/etc/machine-id", "ffffffffffffffffffffffffffffffff\n");
    drifts(&logs.after(15), "journal storage", "there is no such folder");
}

#[test]
fn a_journal_that_takes_no_entries_is_unknown_and_after_the_gap_drift() {
    let mut logs = settled();
    logs.host.set(State::Gone);
    for _ in 0..59 {
        let verdict = logs.after(15);
        assert!(!matches!(verdict, Verdict::Drifted(_)), "{verdict:?}");
    }
    is_unknown(&logs.after(15), "journald is not installed");
    let actual = "no canary could be written; the last that was found is 15 min 15 s old";
    drifts(&logs.after(15), "journal", actual);
}

#[test]
fn no_journal_at_all_is_unknown() {
    let mut logs = logs(&json!({}));
    logs.host.set(State::Gone);
    for _ in 0..100 {
        is_unknown(&logs.after(60), "journald is not installed");
    }
    let mut bare: Rounds<Logging> = Rounds::new("logging", &json!({ "clock_synchronised": false }));
    is_unknown(&bare.after(0), "there is no journal here");
    let in_memory = json!({ "clock_synchronised": false, "persistent": false });
    let mut bare: Rounds<Logging> = Rounds::new("logging", &in_memory);
    is_unknown(&bare.after(0), "journald is not installed");
    bare.host.set_journal(None);
    is_unknown(&bare.after(0), "journalctl is not installed");
}

/// Answers of a journalctl that does not do its work.
fn bad_answers() -> Vec<Result<Output, HostError>> {
    let output = |code, stdout: &str, stderr: &str| {
        Ok(Output { code, stdout: stdout.into(), stderr: stderr.into() })
    };
    let hint = "Hint: You are currently not seeing messages from other users and the system.\n";
    let denied = "No journal files were opened due to insufficient permissions.\n";
    let other = r#"{"COMPLIANCE_CANARY":"00","__REALTIME_TIMESTAMP":"1795177554990078"}"#;
    let mut answers: Vec<_> = faults().into_iter().map(Err).collect();
    answers.extend([
        output(Some(1), "", denied),
        output(Some(0), "", hint),
        output(Some(0), "\u{fffd}\u{1}{", ""),
        output(Some(0), r#"{"MESSAGE":"x"}"#, ""),
        output(Some(0), r#"{"COMPLIANCE_CANARY":"%","__REALTIME_TIMESTAMP":"soon"}"#, ""),
        output(Some(0), other, ""),
        output(Some(1), "", "Failed to open files: Input/output error"),
        output(None, "", ""),
    ]);
    answers
}

#[test]
fn a_journalctl_that_does_not_do_its_work_is_unknown_and_never_drift() {
    for answer in bad_answers() {
        let mut first = logs(&json!({}));
        first.host.answer_with(Some(answer.clone()));
        for _ in 0..100 {
            let verdict = first.after(60);
            assert!(matches!(verdict, Verdict::Unknown(_)), "{answer:?}: {verdict:?}");
            assert!(!verdict.why().contains("COMPLIANCE_CANARY"), "{verdict:?}");
        }
        let mut later = settled();
        later.host.answer_with(Some(answer.clone()));
        assert_eq!(later.after(285), Verdict::Compliant, "no canary is due yet");
        for _ in 0..100 {
            let verdict = later.after(60);
            assert!(matches!(verdict, Verdict::Unknown(_)), "{answer:?}: {verdict:?}");
        }
        // Able to look again.
        later.host.answer_with(None);
        assert_eq!(later.after(15), Verdict::Compliant);
    }
}

#[test]
fn a_loss_stays_a_loss_while_nobody_can_look() {
    let mut logs = settled();
    logs.host.set(State::Drops);
    logs.after(300);
    drifts(&logs.after(15), "journal", "canary not found");
    logs.host.answer_with(Some(Err(HostError::Denied("x".to_owned()))));
    drifts(&logs.after(15), "journal", "canary not found");
}

#[test]
fn a_folder_that_cannot_be_read_is_unknown() {
    let mut logs = settled();
    logs.host.fake.fail("/etc/machine-id", HostError::Denied("/etc/machine-id".to_owned()));
    is_unknown(&logs.after(15), "no permission to read /etc/machine-id");
}

#[test]
fn rounds_that_did_not_run_are_no_gap_of_the_journal() {
    let mut logs = settled();
    assert_eq!(logs.after(2 * 3600), Verdict::Compliant);
    logs.host.set(State::Hung);
    is_unknown(
        &logs.after(3600),
        "a canary is on its way; the last that was found is 1 h 0 min old",
    );
}

#[test]
fn a_forwarder_that_is_down_is_drift() {
    let mut logs = logs(&json!({ "forwarders": [SHIP] }));
    let set = |logs: &Logs, active: &str| {
        logs.host.fake.set_units(Ok(vec![unit(SHIP, "loaded", active, "x")]));
    };
    set(&logs, "active");
    assert_eq!(logs.after(0), Verdict::Compliant);
    set(&logs, "failed");
    drifts(&logs.after(15), SHIP, "failed (x)");
    set(&logs, "activating");
    is_unknown(&logs.after(15), "vector.service is still activating");
    drifts(&logs.after(120), SHIP, "activating (x) for 2 min 0 s");
    logs.host.fake.set_units(Ok(vec![]));
    drifts(&logs.after(15), SHIP, "there is no such unit");
    for error in faults() {
        logs.host.fake.set_units(Err(error.clone()));
        is_unknown(&logs.after(15), &error.to_string());
    }
}

#[test]
fn a_clock_that_is_not_synchronised_is_drift_once_it_had_time() {
    let mut logs = logs(&json!({}));
    logs.uptime = compliance_protocol::time::Span::from_secs(20);
    logs.host.fake.set_synchronised(false);
    is_unknown(&logs.after(15), "the clock is not synchronised yet");
    drifts(&logs.after(600), "clock", "not synchronised");
    logs.host.fake.set_synchronised(true);
    assert_eq!(logs.after(15), Verdict::Compliant);

    let mut nobody_asked = self::logs(&json!({ "clock_synchronised": false }));
    nobody_asked.host.fake.set_synchronised(false);
    assert_eq!(nobody_asked.after(0), Verdict::Compliant);
}

#[test]
fn a_canary_is_written_at_least_as_often_as_a_gap_would_be_drift() {
    let mut logs = logs(&json!({ "canary_minutes": 60, "max_gap_minutes": 2 }));
    for _ in 0..100 {
        assert_eq!(logs.after(15), Verdict::Compliant);
    }
}

#[test]
fn a_machine_is_captured_as_it_logs_now() {
    let machine = Machine::default();
    machine.fake.set_units(Ok(vec![
        unit(SHIP, "loaded", "active", "running"),
        unit("rsyslog.service", "loaded", "inactive", "dead"),
    ]));
    let Captured { expected, remarks } = capture(&machine);
    let captured = expected.unwrap();
    assert!(remarks.is_empty(), "{remarks:?}");
    assert_eq!(captured.forwarders, [SHIP.parse().unwrap()]);
    assert_eq!(
        captured,
        LoggingBaseline { forwarders: captured.forwarders.clone(), ..LoggingBaseline::default() }
    );
    assert_eq!(capture(&FakeHost::default()), Captured::nothing("systemd is not installed"));
}

#[test]
fn what_is_weak_about_how_a_machine_logs_is_captured_and_told() {
    let host = FakeHost::default();
    host.set_units(Ok(Vec::new()));
    let Captured { expected, remarks } = capture(&host);
    let expected = expected.unwrap();
    assert!(!expected.persistent && !expected.clock_synchronised);
    let told = |what: &str| remarks.iter().any(|remark| remark.contains(what));
    assert!(told("in memory only") && told("not synchronised") && told("nothing that is known"));
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(vec![
        State::Works,
        State::Works,
        State::Late,
        State::Drops,
        State::Hung,
        State::Gone,
        State::Volatile,
    ])
}

proptest! {
    /// What the check may say follows from what the journal did with the canaries.
    #[test]
    fn compliant_only_while_a_canary_found_on_disk_is_young(
        history in prop::collection::vec((state(), 1_i64..30), 1..10), blind in 0_usize..20,
    ) {
        let mut logs = logs(&json!({}));
        let mut written = Vec::new();
        for (round, (state, rounds)) in history.iter().enumerate() {
            logs.host.set(*state);
            let denied = Err(HostError::Denied("x".to_owned()));
            logs.host.answer_with((round == blind).then_some(denied));
            for _ in 0..*rounds {
                let verdict = logs.after(15);
                let now = logs.uptime.as_millis();
                written.extend(logs.host.written().drain(written.len()..).map(|id| (id, now)));
                let young = |(id, at): &(String, i64)| {
                    now - at <= 15 * 60_000 && logs.host.is_on_disk(id)
                };
                prop_assert!(verdict != Verdict::Compliant || written.iter().any(young));
            }
        }
        // From any past, a journal that works is compliant two rounds later.
        logs.host.set(State::Works);
        logs.host.answer_with(None);
        logs.after(15);
        prop_assert_eq!(logs.after(15), Verdict::Compliant);
    }

    #[test]
    fn a_journal_that_works_however_late_never_drifts(
        history in prop::collection::vec((any::<bool>(), 1_i64..100), 1..100),
    ) {
        let mut logs = logs(&json!({}));
        for (late, seconds) in history {
            logs.host.set(if late { State::Late } else { State::Works });
            prop_assert_eq!(logs.after(seconds), Verdict::Compliant);
        }
    }

    /// At most a canary's interval and its limit later, and the round's.
    #[test]
    fn a_journal_that_drops_everything_is_found_out(seconds in 1_i64..60, before in 0_i64..30) {
        let mut logs = settled();
        for _ in 0..before {
            logs.after(seconds);
        }
        logs.host.set(State::Drops);
        let rounds = (300 + 10) / seconds + 2;
        let drifted = (0..rounds).any(|_| matches!(logs.after(seconds), Verdict::Drifted(_)));
        prop_assert!(drifted);
    }
}
