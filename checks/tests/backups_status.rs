//! The scripts in `backup-status/` write what the backups check reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods)] // They are run as a job's unit runs them.

mod given;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use compliance_checks::backups::{Backups, JobStatus};
use compliance_checks::linux::LinuxHost;
use compliance_checks::{Check, Circumstances, Verdict};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::time::{Span, Timestamp};
use serde_json::json;
use tempfile::TempDir;

/// A folder with a status file, a folder of programs, and an environment.
struct Site {
    dir: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/record"), "a record").unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let env = vec![
            ("PATH", format!("{}:{}", at("bin"), std::env::var("PATH").unwrap())),
            ("HOME", at("home")),
            ("RESTIC_REPOSITORY", at("restic")),
            ("RESTIC_PASSWORD", "x".to_owned()),
            ("BORG_REPO", at("borg")),
            ("BORG_PASSPHRASE", "x".to_owned()),
        ];
        Self { dir, env }
    }

    /// Puts a program in place of the real one.
    fn fake(&self, name: &str, script: &str) {
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value))).output().unwrap()
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backup-status").join(name);
        self.run(script.to_str().unwrap(), arguments)
    }

    fn status_file(&self) -> PathBuf {
        self.dir.path().join("records.json")
    }

    fn status(&self) -> JobStatus {
        serde_json::from_slice(&fs::read(self.status_file()).unwrap()).unwrap()
    }

    /// What the check says of the job, an hour after the newest backup.
    fn verdict(&self) -> Verdict {
        let baseline = given::baseline(&json!({ "backups": { "jobs": [{
            "name": "records",
            "status_file": self.status_file(),
            "run": { "unit": "backup-records.service" },
        }] } }));
        let now = self.status().finished_at.plus(Span::from_hours(1));
        let about = Circumstances {
            now: TrustedNow::Known { at: now, source: ClockSource::Kernel },
            uptime: Span::ZERO,
            expected_system: None,
            nonce: [0; 16],
        };
        Backups::default().run(&LinuxHost::default(), &baseline, &about).verdict
    }

    /// The files beside the status file that belong to it.
    fn left(&self) -> usize {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("records.json")).count()
    }
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
fn fails(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(why), "{output:?}");
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const SNAPSHOTS: &str = r#"[
    {"time":"2026-11-19T23:30:00.123456789-05:00","paths":["/srv/\"time\":\"x"],"hostname":"a","id":"1"},
    {"time":"2026-11-20T05:00:00+01:00","paths":["/srv"],"hostname":"b","id":"2"}]"#;

const ARCHIVE: &str = r#"{"archives": [{"command_line": ["borg", "create", "::\"end\": \"x\""],
    "end": "2026-11-20T04:30:00.000000", "name": "records-1", "start": "2026-11-20T04:00:00.000000"}]}"#;

#[test]
fn the_newest_snapshot_of_restic_becomes_the_status_in_utc() {
    let site = Site::new();
    site.fake("restic", &format!("cat <<'END'\n{SNAPSHOTS}\nEND"));
    succeeds(&site.script("restic.sh", &["backed-up", "records.json"]));
    let status = site.status();
    assert_eq!(status.finished_at, at("2026-11-20T04:30:00.123Z"));
    assert_eq!(status.restore_tested_at, None);
    assert_eq!(site.verdict(), Verdict::Compliant);
}

#[test]
fn the_newest_archive_of_borg_becomes_the_status() {
    let site = Site::new();
    site.fake("borg", &format!("[ \"$TZ\" = UTC ] && cat <<'END'\n{ARCHIVE}\nEND"));
    succeeds(&site.script("borg.sh", &["backed-up", "records.json"]));
    assert_eq!(site.status().finished_at, at("2026-11-20T04:30:00.000Z"));
    assert_eq!(site.verdict(), Verdict::Compliant);
}

#[test]
fn a_later_backup_takes_the_place_of_an_earlier_one_and_keeps_when_a_restore_was_tested() {
    let site = Site::new();
    site.fake("restic", &format!("cat <<'END'\n{SNAPSHOTS}\nEND"));
    succeeds(&site.script("restic.sh", &["backed-up", "records.json"]));
    site.fake("restic", "echo back >\"${6}/record\"");
    succeeds(&site.script("restic.sh", &["restore-test", "records.json"]));
    let tested = site.status().restore_tested_at.unwrap();
    assert_eq!(site.verdict(), Verdict::Compliant);

    let later = SNAPSHOTS.replace("2026-11-20T05:00", "2026-11-21T05:00");
    site.fake("restic", &format!("cat <<'END'\n{later}\nEND"));
    succeeds(&site.script("restic.sh", &["backed-up", "records.json"]));
    let status = site.status();
    assert_eq!(status.finished_at, at("2026-11-21T04:00:00.000Z"));
    assert_eq!(status.restore_tested_at, Some(tested));
    assert_eq!((site.verdict(), site.left()), (Verdict::Compliant, 2));
}

#[test]
fn filters_reach_the_tool() {
    let site = Site::new();
    site.fake("restic", &format!("echo \"$*\" >arguments; cat <<'END'\n{SNAPSHOTS}\nEND"));
    succeeds(&site.script("restic.sh", &["backed-up", "records.json", "--host", "a b"]));
    let arguments = fs::read_to_string(site.dir.path().join("arguments")).unwrap();
    assert_eq!(arguments, "snapshots --json --latest 1 --host a b\n");
}

#[test]
fn options_reach_every_call_of_restic_and_filters_the_list_alone() {
    let mut site = Site::new();
    site.env.push(("CHECK", "1".to_owned()));
    site.fake(
        "restic",
        &format!("printf '<%s>' \"$@\" >>arguments; cat <<'END'\n{SNAPSHOTS}\nEND"),
    );
    let option = "sftp.command=ssh -i key";
    let arguments = ["backed-up", "records.json", "--tag", "a b", "--", "-o", option];
    succeeds(&site.script("restic.sh", &arguments));
    let arguments = fs::read_to_string(site.dir.path().join("arguments")).unwrap();
    assert_eq!(
        arguments,
        format!(
            "<check><--quiet><-o><{option}><snapshots><--json><--latest><1><--tag><a b><-o><{option}>"
        )
    );
}

#[test]
fn nothing_is_written_when_there_is_no_good_backup_to_tell_of() {
    for (script, tool) in [("restic.sh", "restic"), ("borg.sh", "borg")] {
        let site = Site::new();
        for (fake, why) in [
            ("echo no repository >&2; exit 1", "cannot be"),
            ("echo '[]'", "there is no"),
            ("echo '{\"archives\":[]}'", "there is no"),
            ("echo garbage", "there is no"),
        ] {
            site.fake(tool, fake);
            fails(&site.script(script, &["backed-up", "records.json"]), why);
        }
        assert_eq!(site.left(), 0, "{script}");
        fails(&site.script(script, &["restore-test", "records.json"]), "no backup was recorded");
        fails(&site.script(script, &["backed-up"]), "usage");
        fails(&site.script(script, &["else", "records.json"]), "usage");
    }
}

#[test]
fn a_failed_check_of_the_repository_leaves_the_old_status() {
    for (script, tool, good) in [("restic.sh", "restic", SNAPSHOTS), ("borg.sh", "borg", ARCHIVE)] {
        let mut site = Site::new();
        site.fake(tool, &format!("[ \"$1\" != check ] && cat <<'END'\n{good}\nEND"));
        succeeds(&site.script(script, &["backed-up", "records.json"]));
        let before = fs::read(site.status_file()).unwrap();
        site.env.push(("CHECK", "1".to_owned()));
        fails(&site.script(script, &["backed-up", "records.json"]), "does not pass its check");
        assert_eq!(fs::read(site.status_file()).unwrap(), before);
    }
}

#[test]
fn a_restore_that_brings_nothing_back_is_not_a_tested_restore() {
    let site = Site::new();
    site.fake("restic", &format!("cat <<'END'\n{SNAPSHOTS}\nEND"));
    succeeds(&site.script("restic.sh", &["backed-up", "records.json"]));
    for (fake, why) in [("exit 0", "nothing was restored"), ("exit 1", "the restore failed")] {
        site.fake("restic", fake);
        fails(&site.script("restic.sh", &["restore-test", "records.json"]), why);
    }
    let artefact = site.status().artefact;
    fs::write(artefact.as_str(), "another").unwrap();
    site.fake("restic", "echo back >\"${6}/record\"");
    fails(&site.script("restic.sh", &["restore-test", "records.json"]), "not the one");
    assert_eq!(site.status().restore_tested_at, None);
}

#[test]
#[ignore = "needs restic"]
fn a_real_restic_repository_is_told_of_and_restored_from() {
    let site = Site::new();
    succeeds(&site.run("restic", &["init"]));
    succeeds(&site.run("restic", &["backup", "data"]));
    succeeds(&site.script("restic.sh", &["backed-up", "records.json"]));
    succeeds(&site.script("restic.sh", &["restore-test", "records.json", "--include", "record"]));
    assert!(site.status().restore_tested_at.is_some());
    assert_eq!(site.verdict(), Verdict::Compliant);
}

#[test]
#[ignore = "needs borg"]
fn a_real_borg_repository_is_told_of_and_restored_from() {
    let site = Site::new();
    succeeds(&site.run("borg", &["init", "--encryption", "repokey"]));
    succeeds(&site.run("borg", &["create", "::records-1", "data"]));
    succeeds(
        &site.script("borg.sh", &["backed-up", "records.json", "--glob-archives", "records-*"]),
    );
    succeeds(&site.script("borg.sh", &["restore-test", "records.json", "data/record"]));
    assert!(site.status().restore_tested_at.is_some());
    assert_eq!(site.verdict(), Verdict::Compliant);
}
