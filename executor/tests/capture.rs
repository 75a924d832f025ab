//! A host is captured, the baseline signed, and the host checked by it at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;
#[path = "../../checks/tests/scenes/mod.rs"]
mod scenes;

use std::sync::Arc;

use compliance_checks::baseline::{Baseline, Binding};
use compliance_checks::command::Output;
use compliance_checks::{CheckId, Circumstances, Host, Report, Verdict};
use compliance_executor::capture::{Whose, capture};
use compliance_executor::documents::{Machine, baseline_in_force};
use compliance_executor::ledger::Ledger;
use compliance_executor::observe::{Observed, Observer};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;
use compliance_testkit::host::{job_status, unit};
use compliance_testkit::{FakeHost, Keys, T0};
use scenes::scene;

const SYSTEM: &str = "/nix/store/00000000000000000000000000000042-nixos-system-clinic-26.05";
const NFT: &str = "/usr/sbin/nft";

/// A NixOS machine on which all is well: two services, a backup, a firewall, a journal, LUKS2.
fn clinic() -> FakeHost {
    let host = scene("luks-lvm");
    let made = T0.plus(Span::from_hours(-5));
    let profile = "/nix/var/nix/profiles/system";
    for link in ["/run/current-system", "/run/booted-system"] {
        host.link(link, SYSTEM, made);
    }
    host.link(profile, "system-42-link", made);
    host.link(&format!("{profile}-42-link"), SYSTEM, made);
    host.set_units(Ok(vec![
        unit("clinic-frontdesk.service", "loaded", "active", "running"),
        unit("vector.service", "loaded", "active", "running"),
        unit("backup-records.service", "loaded", "inactive", "dead"),
    ]));
    host.write("/var/backup/records.tar", "archive");
    host.write("/var/backup/records.json", job_status(made, "/var/backup/records.tar", b"archive"));
    install_nft(&host);
    host.write("/etc/machine-id", "00000000000000000000000000000042\n");
    host.write("/var/log/journal/00000000000000000000000000000042/system.journal", "");
    host.write("/usr/bin/journalctl", "");
    host.set_journal(None);
    host.set_synchronised(true);
    host
}

/// Its second answer is the one for people.
fn install_nft(host: &FakeHost) {
    let json = include_str!("../../checks/tests/fixtures/firewall/gateway.1.0.6.json");
    let text = include_str!("../../checks/tests/fixtures/firewall/gateway.nft");
    let mut answers = [json, text].into_iter();
    host.write(NFT, "");
    host.install(
        NFT,
        Box::new(move |_| {
            let stdout = answers.next().unwrap_or(json).as_bytes().to_vec();
            Ok(Output { code: Some(0), stdout, stderr: Vec::new() })
        }),
    );
    host.set_ruleset(Ok(7), &[]);
}

fn system() -> StorePath {
    SYSTEM.parse().unwrap()
}

fn about() -> Circumstances {
    Circumstances {
        now: TrustedNow::Known { at: T0, source: ClockSource::Kernel },
        uptime: Span::from_hours(1),
        expected_system: None,
        nonce: [7; 16],
    }
}

/// What is captured of a host after version 4 of its site's baseline.
fn captured(host: FakeHost) -> (Arc<dyn Host>, String) {
    let trust = Keys::default().trust();
    let whose = Whose {
        tenant: trust.tenant,
        site: trust.site,
        bound_to: Binding::System(system()),
        newest_version: Some(4),
    };
    let host: Arc<dyn Host> = Arc::new(host);
    let text = capture(&host, &whose, &about()).unwrap();
    (host, text)
}

fn parsed(text: &str) -> Baseline {
    compliance_daemon::config::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Signs what was captured as it is, brings it in force, and checks the host by it.
fn signed_and_checked(host: &Arc<dyn Host>, text: &str) -> Vec<Report> {
    let keys = Keys::default();
    let signed = compliance_signing::sign(&parsed(text), &[&keys.baseline]).unwrap();
    let dir = common::temp_dir();
    let path = dir.path().join("ledger.db");
    common::enrol(&path);
    let ledger = Ledger::read(&path).unwrap();
    let machine = Machine { running: Some(system()), ..Machine::default() };
    let in_force = baseline_in_force(Ok(signed), &ledger, &keys.trust(), &machine).unwrap();
    let baseline = Arc::new(in_force.unwrap().into_value());
    let observed = Observer::default().observe(host, Ok(&baseline), &about());
    observed.iter().map(Observed::report).cloned().collect()
}

/// The comments of a check's section, in one line.
fn comments(text: &str, check: CheckId) -> String {
    let title = format!("# {}: ", check.name().to_uppercase());
    let begin = text.find(&title).unwrap();
    let lines = text[begin..].lines().take_while(|line| line.starts_with('#'));
    let words: Vec<_> = lines.flat_map(|line| line[1..].split_whitespace()).collect();
    words.join(" ")
}

#[test]
fn a_host_that_is_captured_signed_and_checked_again_is_compliant_in_all_six() {
    let (host, text) = captured(clinic());
    for check in CheckId::ALL {
        let comments = comments(&text, check);
        assert!(comments.contains("Now: compliant"), "{comments}");
        assert!(!comments.contains("Not captured"), "{comments}");
    }
    let baseline = parsed(&text);
    assert_eq!((baseline.version, baseline.bound_to), (5, Binding::System(system())));
    let reports = signed_and_checked(&host, &text);
    assert_eq!(reports.len(), 6);
    for report in reports {
        assert_eq!(report.verdict, Verdict::Compliant, "{:?}", report.check);
    }
}

#[test]
fn the_ruleset_is_captured_as_it_can_be_read_and_what_is_weak_about_it_is_told() {
    let (_, text) = captured(clinic());
    let told = comments(&text, CheckId::Firewall);
    assert!(told.contains("Look: inet filter @knocked is filled while packets pass"), "{told}");
    assert!(!text.contains("\\t") && !text.contains("\\n"), "it is read by a person");
    let baseline = parsed(&text);
    let firewall = baseline.firewall.expected().unwrap();
    assert!(firewall.ruleset.contains("table inet filter {\n"), "{}", firewall.ruleset);
    assert_eq!(firewall.dynamic_accepts, ["inet filter @knocked"]);
}

#[test]
fn what_cannot_be_captured_is_never_compliant_and_says_so_before_and_after() {
    let (host, text) = captured(FakeHost::default());
    for report in signed_and_checked(&host, &text) {
        let told = comments(&text, report.check);
        assert!(told.contains("Not captured:") && told.contains("not_applicable ="), "{told}");
        match report.verdict {
            Verdict::Unknown(why) => assert!(told.contains(&format!("Now: UNKNOWN: {why}"))),
            Verdict::Drifted(findings) => {
                for finding in findings {
                    let said = format!("Now: DRIFTED: {}: {}", finding.subject, finding.actual);
                    assert!(told.contains(&said), "{told}");
                }
            }
            green => panic!("{:?} is {green:?}", report.check),
        }
    }
}

#[test]
fn no_section_is_not_applicable_until_a_person_writes_that() {
    let (_, text) = captured(FakeHost::default());
    let table: toml::Table = text.parse().unwrap();
    for check in CheckId::ALL {
        assert!(table[check.name()].get("not_applicable").is_none(), "{check}");
    }
    // The two lines of the comment, put in the section's place.
    let begin = text.find("[patching]\nmax_age_d").unwrap();
    let end = begin + text[begin..].find("\n\n").unwrap();
    let lines = text.lines().skip_while(|line| *line != "#   [patching]").take(2);
    let confirmed: Vec<_> = lines.map(|line| line.trim_start_matches(['#', ' '])).collect();
    let text = format!("{}{}{}", &text[..begin], confirmed.join("\n"), &text[end..]);
    assert!(parsed(&text).patching.expected().is_none(), "{text}");
}

#[test]
fn what_is_wrong_with_a_host_right_now_is_told_and_not_called_right() {
    let host = clinic();
    let mut units = host.units(&[]).unwrap();
    units.push(unit("nightly-report.service", "loaded", "failed", "failed"));
    units.push(unit("labels@mueller.service", "loaded", "failed", "failed"));
    host.set_units(Ok(units));
    host.remove("/var/log/journal/00000000000000000000000000000042/system.journal");
    host.remove("/var/backup/records.tar");
    let (_, text) = captured(host);
    let services = comments(&text, CheckId::Services);
    assert!(services.contains("Look: nightly-report.service: failed right now"), "{services}");
    assert!(services.contains("Now: DRIFTED: nightly-report.service: failed"), "{services}");
    assert!(!text.contains("mueller"), "what anybody could have made up stays on the machine");
    let logging = comments(&text, CheckId::Logging);
    assert!(logging.contains("Look: the journal is kept in memory only"), "{logging}");
    let backups = comments(&text, CheckId::Backups);
    assert!(backups.contains("Now: DRIFTED: records: it is gone"), "{backups}");
    assert!(parsed(&text).services.expected().unwrap().ignore_failed.is_empty());
}

#[test]
fn each_key_of_each_section_is_explained() {
    let (_, text) = captured(clinic());
    let table: toml::Table = text.parse().unwrap();
    for check in CheckId::ALL {
        let comments = comments(&text, check);
        let mut keys = Vec::new();
        keys_within(&table[check.name()], &mut keys);
        for key in keys {
            assert!(comments.contains(&format!(" {key} ")), "{check} does not explain {key}");
        }
    }
}

/// All keys, less what the ruleset's outline is made of.
fn keys_within(value: &toml::Value, keys: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                keys.push(key.clone());
                if key != "tables" {
                    keys_within(value, keys);
                }
            }
        }
        toml::Value::Array(all) => all.iter().for_each(|value| keys_within(value, keys)),
        _ => {}
    }
}
