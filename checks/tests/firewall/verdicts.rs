//! Each verdict of the check, and how it is come by.

use std::time::Duration;

use compliance_checks::baseline::Baseline;
use compliance_checks::capture::Captured;
use compliance_checks::firewall::{
    ChainOutline, Facts, Firewall, FirewallBaseline, Outline, capture, judge,
};
use compliance_checks::host::RulesetChange;
use compliance_checks::{Check as _, Circumstances, HostError, Verdict};
use compliance_protocol::clock::{ClockDoubt, TrustedNow};
use compliance_protocol::digest::Digest;
use compliance_protocol::time::Span;
use compliance_testkit::FakeHost;
use serde_json::json;

use super::fixtures::*;

const NOW: Span = Span::from_hours(1);

fn later(secs: i64) -> Span {
    Span::from_millis(NOW.as_millis() + Span::from_secs(secs).as_millis())
}

fn look(host: &FakeHost, expected: &FirewallBaseline) -> Facts {
    Firewall::default().gather(host, expected, NOW)
}

/// The verdict on `listing` by the baseline of `expected`.
fn verdict(expected: &str, listing: &str) -> Verdict {
    let expected = baseline(expected);
    judge(&expected, &look(&host(listing), &expected))
}

/// The findings, each as `subject: expected -> actual`.
fn found(expected: &str, listing: &str) -> Vec<String> {
    let verdict = verdict(expected, listing);
    assert!(matches!(verdict, Verdict::Drifted(_)), "{verdict:?}");
    let words = verdict.findings().iter();
    words.map(|f| format!("{}: {} -> {}", f.subject, f.expected, f.actual)).collect()
}

/// GATEWAY with each `(from, to)` replaced.
fn gateway(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(GATEWAY.to_owned(), |listing, (from, to)| {
        assert!(listing.contains(from), "{from}");
        listing.replacen(from, to, 1)
    })
}

#[test]
fn the_ruleset_of_the_baseline_is_compliant() {
    for listing in
        [NIXOS, NIXOS_NEWER, GATEWAY, GATEWAY_NEWER, FAIL2BAN, NETDEV_NEWER, DORMANT, DOCUMENTED]
    {
        assert_eq!(verdict(listing, listing), Verdict::Compliant);
    }
}

#[test]
fn what_differs_is_said_in_words() {
    let policy = gateway(&[(r#""policy": "drop""#, r#""policy": "accept""#)]);
    assert_eq!(found(GATEWAY, &policy), ["inet filter/input: policy drop -> policy accept"]);

    let hook = gateway(&[(r#""hook": "forward", "prio": -1"#, r#""hook": "forward", "prio": -5"#)]);
    assert_eq!(
        found(GATEWAY, &hook),
        ["inet filter/forward: filter hook forward priority -1 -> filter hook forward priority -5"]
    );

    let element = gateway(&[(r#""192.168.1.5""#, r#""192.168.1.6""#)]);
    let differs = "it differs in its declaration or its elements";
    assert_eq!(
        found(GATEWAY, &element),
        [format!("inet filter set clinic: as in the baseline -> {differs}")]
    );

    let rule = gateway(&[(
        r#""op": "==", "left": {"payload": {"protocol": "icmp", "field": "type"}}"#,
        r#""op": "!=", "left": {"payload": {"protocol": "icmp", "field": "type"}}"#,
    )]);
    assert_eq!(found(GATEWAY, &rule), ["inet filter/input: its 18 rules -> rule 11 is another"]);

    let mut fewer: serde_json::Value = serde_json::from_str(GATEWAY).unwrap();
    let objects = fewer["nftables"].as_array_mut().unwrap();
    let first = objects.iter().position(|o| o["rule"]["chain"] == "guest").unwrap();
    let gone = objects.remove(first + 1);
    assert_eq!(
        found(GATEWAY, &fewer.to_string()),
        ["inet filter/guest: its 3 rules -> rule 2 is missing"]
    );
    let objects = fewer["nftables"].as_array_mut().unwrap();
    objects.insert(first, gone);
    assert_eq!(
        found(GATEWAY, &fewer.to_string()),
        ["inet filter/guest: its 3 rules -> rules 1 to 2 are in another order"]
    );

    let flags = DORMANT.replace(r#", "flags": "dormant""#, "");
    assert_eq!(found(&flags, DORMANT), ["ip asleep: no flags -> the flags dormant"]);

    let flowtable = DOCUMENTED.replace(r#"["lan0", "wan0"]"#, r#"["lan0"]"#);
    assert_eq!(
        found(DOCUMENTED, &flowtable),
        [format!("inet fast flowtable ft: as in the baseline -> {differs}")]
    );
}

#[test]
fn a_missing_table_and_a_table_that_is_not_named_are_drift() {
    let alone = without_table(FAIL2BAN, "inet", "f2b-table");
    assert_eq!(found(FAIL2BAN, &alone), ["inet f2b-table: the table -> it is missing"]);
    assert_eq!(
        found(&alone, FAIL2BAN),
        ["inet f2b-table: no such table: the baseline does not name it -> \
          a table with 2 rules, filter hook input priority -1"]
    );
    // The named tables are judged by themselves.
    let expected = baseline(&alone);
    let facts = look(&host(FAIL2BAN), &expected);
    assert_eq!(facts.ruleset.unwrap().sha256, expected.sha256);
}

#[test]
fn what_the_outline_does_not_hold_is_still_drift() {
    let chain = gateway(&[(r#""policy": "drop""#, r#""flags": "offload", "policy": "drop""#)]);
    let words = found(GATEWAY, &chain);
    assert!(words.len() == 1 && words[0].starts_with("the ruleset: SHA-256 "), "{words:?}");
}

#[test]
fn many_differences_are_counted_not_listed() {
    let expected = baseline(GATEWAY);
    let mut facts = look(&host(GATEWAY), &expected);
    let seen = facts.ruleset.as_mut().unwrap();
    seen.sha256 = Digest::of(b"another");
    let table = seen.tables.values_mut().next().unwrap();
    table.chains.clear();
    for n in 0..30 {
        table.chains.insert(format!("chain{n:02}"), ChainOutline::default());
    }
    let verdict = judge(&expected, &facts);
    assert_eq!(verdict.findings().len(), 20);
    assert!(verdict.findings()[19].actual.ends_with("; and 14 more differences"), "{verdict:?}");
}

#[test]
fn each_way_of_not_knowing_is_unknown() {
    let expected = baseline(GATEWAY);
    let nft = || "nft".to_owned();
    let limit = Duration::from_secs(3);
    for (answer, words) in [
        (
            failed(Some(1), "netlink: Error: cache initialization failed: Operation not permitted"),
            "no permission to read the ruleset",
        ),
        (failed(Some(1), "something else"), "nft: it ended with code 1"),
        (failed(None, ""), "nft: a signal ended it"),
        (Err(HostError::TimedOut { what: nft(), limit }), "nft did not answer within 3s"),
        (Err(HostError::TooLarge { what: nft(), limit: 9 }), "nft is larger than 9 bytes"),
        (Err(HostError::ToolMissing(nft())), "nft is not installed"),
        (Err(HostError::Denied(nft())), "no permission to read nft"),
        (printed(""), "nft's listing cannot be read: it is not JSON from line 1, column 0 on"),
        (
            printed(&GATEWAY[..5000]),
            "nft's listing cannot be read: it is not JSON from line 1, column 5000 on",
        ),
        (
            printed("{}"),
            "nft's listing cannot be read: it is not what nft -j prints: \
            it is not an object with the one field nftables, a list",
        ),
    ] {
        let host = host(GATEWAY);
        install(&host, vec![answer]);
        let verdict = judge(&expected, &look(&host, &expected));
        assert_eq!(verdict, Verdict::Unknown(words.to_owned()));
    }
    let bare = FakeHost::default();
    bare.set_ruleset(Ok(1), &[]);
    let verdict = judge(&expected, &look(&bare, &expected));
    assert_eq!(verdict, Verdict::Unknown("nft is not installed".to_owned()));
    bare.fail(NFT, HostError::Denied(NFT.to_owned()));
    let verdict = judge(&expected, &look(&bare, &expected));
    assert_eq!(verdict, Verdict::Unknown(format!("no permission to read {NFT}")));
}

#[test]
fn a_baseline_without_tables_judges_nothing() {
    let expected = FirewallBaseline { tables: Outline::new(), ..baseline(GATEWAY) };
    let verdict = judge(&expected, &look(&host(GATEWAY), &expected));
    assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
}

#[test]
fn what_nft_does_not_print_is_doubt_unless_there_is_drift() {
    let why = |listing: &str| verdict(listing, listing).why().to_owned();
    assert_eq!(
        why(DOCKER),
        "nft 1.0.6 does not print the iptables extension in rule 1 of ip filter/DOCKER-FORWARD and 3 more, \
         so nobody can say whether it changed"
    );
    assert_eq!(
        why(NETDEV),
        "nft 1.0.6 does not print the devices of inet early/ingress and 1 more, \
         so nobody can say whether it changed"
    );
    let drift = NETDEV.replacen(r#""policy": "accept""#, r#""policy": "drop""#, 1);
    assert_eq!(found(NETDEV, &drift), ["inet early/ingress: policy accept -> policy drop"]);
}

/// How often nft was run.
fn runs(host: &FakeHost) -> usize {
    host.runs().len()
}

#[test]
fn nft_is_run_when_the_generation_moved_and_once_an_hour() {
    let (expected, host) = (baseline(GATEWAY), host(GATEWAY));
    let mut check = Firewall::default();
    let mut at = |secs| {
        check.gather(&host, &expected, later(secs)).ruleset.unwrap();
        runs(&host)
    };
    assert_eq!((at(0), at(15), at(3599)), (1, 1, 1));
    assert_eq!((at(3600), at(3615)), (2, 2));
    host.set_ruleset(Ok(2), &[]);
    assert_eq!((at(3630), at(3645)), (3, 3));
    // An earlier uptime is another boot of a machine that slept: nothing is taken on trust.
    assert_eq!(at(0), 4);
    assert_eq!(host.runs()[0], [NFT, "-j", "-s", "-n", "list", "ruleset"]);
}

#[test]
fn another_baseline_is_judged_by_a_new_look() {
    let host = host(FAIL2BAN);
    let mut check = Firewall::default();
    let both = baseline(FAIL2BAN);
    let one = baseline(&without_table(FAIL2BAN, "inet", "f2b-table"));
    assert_eq!(judge(&both, &check.gather(&host, &both, NOW)), Verdict::Compliant);
    let verdict = judge(&one, &check.gather(&host, &one, NOW));
    assert_eq!(verdict.findings().len(), 1);
    assert_eq!(runs(&host), 2);
}

#[test]
fn without_a_generation_each_round_looks() {
    let (expected, host) = (baseline(GATEWAY), host(GATEWAY));
    host.set_ruleset(Err(HostError::Denied("the ruleset's generation".to_owned())), &[]);
    let mut check = Firewall::default();
    for round in 1..4 {
        let facts = check.gather(&host, &expected, NOW);
        assert_eq!(judge(&expected, &facts), Verdict::Compliant);
        assert_eq!(runs(&host), round);
    }
}

#[test]
fn after_a_look_that_failed_the_next_round_looks_again() {
    let (expected, host) = (baseline(GATEWAY), host(GATEWAY));
    install(&host, vec![printed(GATEWAY), failed(None, ""), printed(GATEWAY)]);
    let mut check = Firewall::default();
    let mut round = || judge(&expected, &check.gather(&host, &expected, NOW));
    assert_eq!(round(), Verdict::Compliant);
    host.set_ruleset(Ok(2), &[]);
    assert!(matches!(round(), Verdict::Unknown(_)));
    assert_eq!(round(), Verdict::Compliant);
}

#[test]
fn a_ruleset_that_changes_while_it_is_read_is_read_once_more() {
    let expected = baseline(GATEWAY);
    let host = host(GATEWAY);
    let mut check = Firewall::default();
    host.queue_generations(&[1, 2, 2]);
    let facts = check.gather(&host, &expected, NOW);
    assert_eq!((judge(&expected, &facts), facts.generation), (Verdict::Compliant, Ok(2)));
    assert_eq!(runs(&host), 2);

    host.queue_generations(&[3, 4, 5]);
    let verdict = judge(&expected, &check.gather(&host, &expected, NOW));
    assert_eq!(verdict.why(), "the ruleset: it changed twice while it was read");
    assert_eq!(runs(&host), 4);
}

fn nft(pid: u32) -> RulesetChange {
    RulesetChange { pid, comm: "nft".to_owned() }
}

#[test]
fn who_made_the_change_is_in_the_finding_and_stays_there() {
    let (expected, host) = (baseline(GATEWAY), host(GATEWAY));
    let policy = gateway(&[(r#""policy": "drop""#, r#""policy": "accept""#)]);
    let mut check = Firewall::default();
    let mut round = || {
        let facts = check.gather(&host, &expected, NOW);
        (judge(&expected, &facts), facts.changed_by)
    };
    assert_eq!(round(), (Verdict::Compliant, vec![]));

    // What changed nothing here is not held against anybody.
    host.set_ruleset(Ok(2), &[nft(4000)]);
    assert_eq!(round(), (Verdict::Compliant, vec![]));

    install(&host, vec![printed(&policy)]);
    host.set_ruleset(Ok(3), &[nft(4711), nft(4711)]);
    let (verdict, by) = round();
    assert_eq!(verdict.findings()[0].actual, "policy accept, by nft (pid 4711)");
    assert_eq!(by, [nft(4711)]);

    // Neither a quiet round nor somebody else's harmless change says otherwise.
    assert_eq!(round(), (verdict.clone(), by.clone()));
    host.set_ruleset(Ok(4), &[nft(5000)]);
    assert_eq!(round(), (verdict, by));

    install(&host, vec![printed(GATEWAY)]);
    host.set_ruleset(Ok(5), &[nft(5001)]);
    assert_eq!(round().0, Verdict::Compliant);
}

#[test]
fn a_name_that_a_process_gave_itself_is_made_plain() {
    let (expected, host) = (baseline(FAIL2BAN), host(GATEWAY));
    let odd = RulesetChange { pid: 7, comm: "\u{1b}[2Jé\n".to_owned() };
    let lost = RulesetChange { pid: 0, comm: String::new() };
    host.set_ruleset(Ok(1), &[odd, lost, nft(1), nft(2), nft(3)]);
    let verdict = judge(&expected, &look(&host, &expected));
    let by =
        "by ?[2J?? (pid 7) or a process that the kernel could not name or nft (pid 1) and 2 more";
    assert!(verdict.findings()[0].actual.ends_with(by), "{verdict:?}");
}

#[test]
fn a_report_holds_no_rule_and_no_address() {
    let site = |firewall: &FirewallBaseline| -> Baseline {
        let none = json!({ "not_applicable": "a test" });
        serde_json::from_value(json!({
            "version": 1, "tenant": "acme", "site": "clinic",
            "bound_to": { "machine_id_sha256": Digest::of(b"machine") },
            "patching": none, "services": none, "backups": none, "logging": none, "encryption": none,
            "firewall": firewall,
        }))
        .unwrap()
    };
    let about = Circumstances {
        now: TrustedNow::Unknown(ClockDoubt::NoSource),
        uptime: NOW,
        expected_system: None,
        nonce: [0; 16],
    };
    for (expected, listing) in
        [(GATEWAY, FAIL2BAN), (FAIL2BAN, GATEWAY), (NIXOS, DOCKER), (GATEWAY, &GATEWAY[..99])]
    {
        let report = Firewall::default().run(&host(listing), &site(&baseline(expected)), &about);
        let text = format!("{:?} {}", report.verdict, serde_json::Value::from(report.facts));
        for secret in
            ["10.20.", "203.0.113", "192.0.2", "172.", "8443", "established", "saddr", "refused"]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn what_is_captured_is_compliant_at_once() {
    let host = host(GATEWAY);
    let text = include_str!("../fixtures/firewall/gateway.nft");
    install(&host, vec![printed(GATEWAY), printed(text), printed(GATEWAY)]);
    let Captured { expected, remarks } = capture(&host);
    let captured = expected.unwrap();
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].starts_with("inet filter @knocked is filled"), "{remarks:?}");
    assert_eq!(captured.dynamic_accepts, ["inet filter @knocked"]);
    assert!(!captured.exclusive);
    assert_eq!(captured.tables.len(), 3);
    let verdict = judge(&captured, &look(&host, &captured));
    assert_eq!(verdict, Verdict::Compliant);
    let text = toml::to_string(&captured).unwrap();
    assert_eq!(toml::from_str::<FirewallBaseline>(&text).unwrap(), captured);
}

#[test]
fn a_machine_without_a_ruleset_is_not_captured() {
    let host = host(r#"{"nftables":[{"metainfo":{"version":"1.0.6","json_schema_version":1}}]}"#);
    assert_eq!(capture(&host), Captured::nothing(&HostError::NotFound("a ruleset".to_owned())));
    host.set_ruleset(Err(HostError::Denied("x".to_owned())), &[]);
    install(&host, vec![failed(Some(1), "Operation not permitted")]);
    assert_eq!(capture(&host), Captured::nothing(&HostError::Denied("the ruleset".to_owned())));
}
