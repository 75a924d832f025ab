//! The backups check from round to round.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod given;

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use compliance_checks::backups::{Backups, BackupsBaseline, capture};
use compliance_checks::baseline::Baseline;
use compliance_checks::linux::LinuxHost;
use compliance_checks::{Check, Circumstances, HostError, Report, Verdict};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::{FakeHost, job_status, unit};
use serde_json::json;

const MIB: usize = 1024 * 1024;

fn at(hours: i64) -> Timestamp {
    Timestamp::from_millis(1_795_167_671_000).plus(Span::from_hours(hours))
}

fn about(now: Timestamp) -> Circumstances {
    Circumstances {
        now: TrustedNow::Known { at: now, source: ClockSource::Kernel },
        uptime: Span::ZERO,
        expected_system: None,
        nonce: [0; 16],
    }
}

fn baseline(names: &[&str], folder: &str) -> Baseline {
    let job = |name: &&str| {
        json!({
            "name": name,
            "status_file": format!("{folder}/{name}.json"),
            "run": { "unit": format!("backup-{name}.service") },
        })
    };
    let jobs: Vec<_> = names.iter().map(job).collect();
    given::baseline(&json!({ "backups": { "jobs": jobs } }))
}

fn back_up(host: &FakeHost, name: &str, finished_at: Timestamp, archive: &[u8]) {
    let path = format!("/var/backup/{name}.tar");
    host.write(&path, archive);
    host.write(&format!("/var/backup/{name}.json"), job_status(finished_at, &path, archive));
}

fn is_unknown(report: &Report) -> bool {
    matches!(report.verdict, Verdict::Unknown(_))
}

#[test]
fn a_large_archive_is_read_in_several_rounds_and_is_unknown_until_then() {
    let host = FakeHost::default();
    let baseline = baseline(&["records"], "/var/backup");
    back_up(&host, "records", at(0), &vec![1; 150 * MIB]);
    let mut check = Backups::default();
    let mut run = || check.run(&host, &baseline, &about(at(1)));
    let percents: Vec<_> = (0..2).map(|_| run().facts["records"]["read_percent"].clone()).collect();
    assert_eq!(percents, [42, 85]);
    assert_eq!(run().verdict, Verdict::Compliant);
}

#[test]
fn a_new_archive_makes_no_unknown_while_the_last_good_one_is_fresh_and_is_found_out_if_bad() {
    let host = FakeHost::default();
    let baseline = baseline(&["records"], "/var/backup");
    let mut check = Backups::default();
    back_up(&host, "records", at(0), &[1]);
    assert_eq!(check.run(&host, &baseline, &about(at(1))).verdict, Verdict::Compliant);
    back_up(&host, "records", at(24), &vec![2; 100 * MIB]);
    let reading = check.run(&host, &baseline, &about(at(24)));
    assert_eq!(reading.facts["records"]["read_percent"], 64);
    assert_eq!(reading.verdict, Verdict::Compliant);
    // Of the same length, so that only reading it tells.
    host.write("/var/backup/records.tar", vec![3; 100 * MIB]);
    assert_eq!(check.run(&host, &baseline, &about(at(24))).verdict, Verdict::Compliant);
    let read = check.run(&host, &baseline, &about(at(24)));
    assert!(matches!(read.verdict, Verdict::Drifted(_)), "{read:?}");
    // Another process has seen no good one.
    back_up(&host, "records", at(24), &vec![4; 100 * MIB]);
    assert!(is_unknown(&Backups::default().run(&host, &baseline, &about(at(24)))));
}

#[test]
fn an_archive_that_never_stays_the_same_starves_no_other() {
    let host = FakeHost::default();
    let baseline = baseline(&["restless", "records"], "/var/backup");
    back_up(&host, "records", at(0), &vec![1; 60 * MIB]);
    let mut check = Backups::default();
    for round in 0..2 {
        back_up(&host, "restless", at(0), &vec![round; 100 * MIB]);
        let facts = check.run(&host, &baseline, &about(at(1))).facts;
        assert_eq!(facts["records"].get("sha256").is_some(), round == 1, "{facts:?}");
    }
}

#[test]
fn each_way_of_not_knowing_is_unknown() {
    let what = || "x".to_owned();
    let errors = [
        HostError::Denied(what()),
        HostError::TooLarge { what: what(), limit: 1 },
        HostError::TimedOut { what: what(), limit: Duration::from_secs(1) },
        HostError::ToolMissing(what()),
        HostError::Garbage { what: what(), why: what() },
        HostError::Io { what: what(), why: what() },
    ];
    let baseline = baseline(&["records"], "/var/backup");
    for path in ["/var/backup/records.json", "/var/backup/records.tar"] {
        for error in &errors {
            let host = FakeHost::default();
            back_up(&host, "records", at(0), b"archive");
            host.fail(path, error.clone());
            let report = Backups::default().run(&host, &baseline, &about(at(1)));
            assert!(is_unknown(&report), "{path}, {error}: {report:?}");
        }
    }
    let long = vec![b' '; 65 * 1024];
    let garbage: [&[u8]; 4] = [b"", b"garbage", b"{\"finished_at\":1}", &long];
    for bytes in garbage {
        let host = FakeHost::default();
        back_up(&host, "records", at(0), b"archive");
        host.write("/var/backup/records.json", bytes);
        assert!(is_unknown(&Backups::default().run(&host, &baseline, &about(at(1)))));
    }
}

#[test]
fn a_backup_that_ends_during_a_round_is_no_drift() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap().to_owned();
    let baseline = baseline(&["records"], &folder);
    let back_up = move |n: u32| {
        let archive = |n: u32| format!("{folder}/records-{n}.tar");
        let bytes = n.to_le_bytes().repeat(100);
        fs::write(archive(n), &bytes).unwrap();
        let status = format!("{folder}/records.json");
        fs::write(format!("{status}.new"), job_status(at(0), &archive(n), &bytes)).unwrap();
        fs::rename(format!("{status}.new"), status).unwrap();
        if n > 0 {
            fs::remove_file(archive(n - 1)).unwrap();
        }
    };
    back_up(0);
    let (start, started) = mpsc::sync_channel(0);
    let job = std::thread::spawn(move || (1..).zip(started).for_each(|(n, ())| back_up(n)));
    let (host, mut check) = (LinuxHost::default(), Backups::default());
    for round in 0..1000 {
        start.send(()).unwrap();
        let verdict = check.run(&host, &baseline, &about(at(1))).verdict;
        assert_eq!(verdict, Verdict::Compliant, "round {round}");
    }
    drop(start);
    job.join().unwrap();
}

#[test]
fn a_job_is_captured_whose_unit_systemd_has_not_loaded() {
    let host = FakeHost::default();
    host.set_units(Ok(Vec::new()));
    host.set_unloaded(vec![unit("backup-records.service", "loaded", "inactive", "dead")]);
    let at = Timestamp::from_millis(0);
    host.write("/var/backup/records.json", job_status(at, "/var/backup/records.tar", b"x"));
    let captured = capture(&host).expected.unwrap();
    let run = serde_json::to_value(&captured.jobs[0].run).unwrap();
    assert_eq!(run, json!({ "unit": "backup-records.service" }));
}

#[test]
fn an_archive_that_a_link_leads_out_of_its_folder_is_not_looked_at() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let real = dir.path().join("real");
    let folder = dir.path().join("backup");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &folder).unwrap();
    let in_folder = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let baseline = baseline(&["records"], folder.to_str().unwrap());
    let look = |artefact: &str| {
        fs::write(in_folder("records.json"), job_status(at(0), artefact, b"secret")).unwrap();
        Backups::default().run(&LinuxHost::default(), &baseline, &about(at(1)))
    };

    fs::write(outside.path().join("shadow"), b"secret").unwrap();
    std::os::unix::fs::symlink(outside.path().join("shadow"), in_folder("records.tar")).unwrap();
    std::os::unix::fs::symlink(outside.path(), in_folder("sub")).unwrap();
    for artefact in ["records.tar", "sub/shadow"] {
        let report = look(&in_folder(artefact));
        assert!(is_unknown(&report), "{artefact}: {report:?}");
        assert!(report.verdict.why().contains("outside the folder"), "{report:?}");
        let facts = report.facts["records"].as_object().unwrap();
        assert!(!facts.contains_key("bytes") && !facts.contains_key("sha256"), "{facts:?}");
    }

    // A link within the folder, and one to the folder, are the operator's.
    fs::write(real.join("records-1.tar"), b"secret").unwrap();
    std::os::unix::fs::symlink("records-1.tar", in_folder("newest.tar")).unwrap();
    for artefact in ["records-1.tar", "newest.tar"] {
        assert_eq!(look(&in_folder(artefact)).verdict, Verdict::Compliant, "{artefact}");
    }
}

#[test]
fn jobs_are_captured_by_their_status_file_and_their_unit_and_the_rest_is_told() {
    let host = FakeHost::default();
    let oneshot = |name| unit(name, "loaded", "inactive", "dead");
    host.set_units(Ok([
        "backup-records.service",
        "restic-backups-scans.service",
        "borgbackup-job-db.service",
    ]
    .map(oneshot)
    .to_vec()));
    let at = Timestamp::from_millis(0);
    host.write("/var/backup/records.json", job_status(at, "/var/backup/records.tar", b"x"));
    host.write("/var/backup/old.json", job_status(at, "/var/backup/old.tar", b"x"));
    host.write("/var/backup/notes.json", "{}");
    host.write("/var/lib/backup/scans.json", job_status(at, "/srv/restic/manifest", b"x"));
    let captured = capture(&host);
    let expected: BackupsBaseline = serde_json::from_value(json!({ "jobs": [
        {
            "name": "records",
            "status_file": "/var/backup/records.json",
            "run": { "unit": "backup-records.service" },
        },
        {
            "name": "scans",
            "status_file": "/var/lib/backup/scans.json",
            "archive_dir": "/srv/restic",
            "run": { "unit": "restic-backups-scans.service" },
        },
    ] }))
    .unwrap();
    assert_eq!(captured.expected, Ok(expected));
    let told = captured.remarks.join("\n");
    assert!(told.contains("/var/backup/old.json tells of a backup, but no unit"), "{told}");
    assert!(told.contains("borgbackup-job-db.service seems to make backups, but none"), "{told}");
    assert!(told.contains("that a restore of scans was ever tested is not recorded"), "{told}");
    assert!(!told.contains("notes"), "{told}");
    let nothing = capture(&FakeHost::default());
    assert!(nothing.expected.unwrap_err().starts_with("no backup job was found"));
}
