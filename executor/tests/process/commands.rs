//! The command line: what each command does, prints and answers.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use compliance_protocol::evidence::SignedBundle;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::site::{Courier, Site, eventually};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn enrol_makes_keys_that_only_the_owner_reads_and_prints_what_the_control_plane_needs() {
    let site = Site::bare();
    let output = site.run(&["enrol"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let printed = stdout(&output);
    assert!(printed.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{printed}");
    assert!(printed.contains("-----BEGIN PUBLIC KEY-----") && !printed.contains("PRIVATE"));
    for (name, expected) in
        [("tls.key", 0o600), ("evidence.key", 0o600), ("tls.csr", 0o644), ("evidence.pub", 0o644)]
    {
        assert_eq!(mode(&site.path("data").join(name)), expected, "{name}");
    }
    assert_eq!(mode(&site.path("data")), 0o700);
    let written = fs::read_to_string(site.path("data/tls.csr")).unwrap()
        + &fs::read_to_string(site.path("data/evidence.pub")).unwrap();
    assert_eq!(printed, written);
}

#[test]
fn a_second_enrolment_is_refused_and_changes_nothing() {
    let site = Site::new();
    let all = || -> Vec<Vec<u8>> {
        let names = ["tls.key", "tls.csr", "evidence.key", "evidence.pub", "ledger.db"];
        names.iter().map(|name| fs::read(site.path("data").join(name)).unwrap()).collect()
    };
    let before = all();
    let output = site.run(&["enrol"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    assert!(stderr(&output).contains("is there already: this appliance is enrolled"), "{output:?}");
    assert_eq!(all(), before);
}

/// What `executor.toml` says of activations, with this in place of the helper.
fn activation(helper: &str) -> String {
    let programs = ["systemctl", "systemd_run", "nix_store", "nix_env", "nix"];
    let programs: Vec<_> = programs.iter().map(|name| format!("{name} = '/bin/sh'\n")).collect();
    format!(
        "[activation]\n{}helper = '{helper}'\nroots = '/var/lib/roots'\nboot = '/boot'\n\
         boot_loader = {{ type = 'grub', configuration = '/boot/grub/grub.cfg' }}\n\
         profile = '/nix/var/nix/profiles/system'\nfolder = '/run/compliance'\n",
        programs.concat()
    )
}

#[test]
fn without_the_programs_that_activations_need_it_does_not_start_and_says_which() {
    let site = Site::new();
    let uid = nix::unistd::getuid().as_raw();
    let configure = |helper: &str| {
        site.write("executor.toml", (site.config(uid) + &activation(helper)).as_bytes());
    };
    configure("/usr/bin/compliance-executor");
    let output = site.run(&["check-config"]);
    assert_eq!(code(&output), 2, "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("`activation.helper` is /usr/bin/compliance-executor"), "{said}");
    let helper = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-none/bin/compliance-executor";
    configure(helper);
    assert_eq!(code(&site.run(&["check-config"])), 0, "the names are well");
    let output = site.run(&["serve"]);
    assert_eq!(code(&output), 2, "{output:?}");
    let said = stderr(&output);
    assert!(said.contains(&format!("`activation.helper` is {helper}: not there")), "{said}");
}

#[test]
fn nothing_else_works_before_enrolment_and_leaves_no_ledger() {
    let site = Site::bare();
    let trust = compliance_signing::sign(&site.plane.trust, &[&site.plane.keys.root]).unwrap();
    site.write("trust.dsse.json", &trust);
    for command in [
        &["serve"][..],
        &["check"],
        &["export", "out"],
        &["pause", "--for", "1h"],
        &["reset-clock"],
    ] {
        let output = site.run(command);
        assert_eq!(code(&output), 2, "{command:?}: {output:?}");
        assert!(!site.path("data/ledger.db").exists(), "{command:?}");
    }
    assert_eq!(code(&site.run(&["enrol"])), 0);
}

#[test]
fn an_evidence_key_that_cannot_be_read_stops_it_and_is_never_made_anew() {
    type Spoil = fn(&Path);
    let spoils: [(Spoil, &str); 3] = [
        (|key| fs::remove_file(key).unwrap(), "No such file"),
        (|key| fs::write(key, "not a key").unwrap(), "not an Ed25519 private key"),
        (|key| fs::write(key, vec![0; 100_000]).unwrap(), "larger than"),
    ];
    for (spoil, why) in spoils {
        let site = Site::new();
        let key = site.path("data/evidence.key");
        spoil(&key);
        let before = fs::read(&key).ok();
        let output = site.run(&["serve"]);
        assert_eq!(code(&output), 2, "{output:?}");
        let said = stderr(&output);
        assert!(said.contains("evidence.key") && said.contains(why), "{said}");
        assert_eq!(fs::read(&key).ok(), before, "nothing is made in its place");
        assert!(!site.path("socket").exists());
    }
}

#[test]
fn the_evidence_key_is_read_from_where_the_configuration_says_and_nowhere_else() {
    let site = Site::new();
    let elsewhere = site.path("secrets/evidence");
    let text = site.config(nix::unistd::getuid().as_raw());
    let text = format!("evidence_key = '{}'\n{text}", elsewhere.display());
    site.write("executor.toml", text.as_bytes());
    let made = fs::read(site.path("data/evidence.key")).unwrap();
    for command in [&["serve"][..], &["pause", "--for", "1h"]] {
        let output = site.run(command);
        assert_eq!(code(&output), 2, "{output:?}");
        let said = stderr(&output);
        assert!(
            said.contains("cannot read the evidence key") && said.contains("secrets"),
            "{said}"
        );
        assert!(said.contains("Restore it"), "{said}");
    }
    assert!(!elsewhere.exists(), "nothing is made in its place");
    fs::create_dir(site.path("secrets")).unwrap();
    fs::rename(site.path("data/evidence.key"), &elsewhere).unwrap();
    drop(site.serve());
    assert_eq!(code(&site.run(&["pause", "--for", "1h"])), 0);
    let output = site.run(&["enrol"]);
    assert_eq!(code(&output), 2, "an enrolled appliance is not enrolled again: {output:?}");
    assert_eq!(fs::read(&elsewhere).unwrap(), made);
    assert!(!site.path("data/evidence.key").exists());
}

#[test]
fn enrol_makes_the_evidence_key_in_the_data_directory_only_and_not_where_one_is_used_already() {
    let site = Site::bare();
    let elsewhere = site.path("evidence");
    let text = site.config(nix::unistd::getuid().as_raw());
    let text = format!("evidence_key = '{}'\n{text}", elsewhere.display());
    site.write("executor.toml", text.as_bytes());
    site.write("evidence", b"a key");
    let output = site.run(&["enrol"]);
    assert_eq!(code(&output), 2, "{output:?}");
    assert!(stderr(&output).contains("evidence is there already"), "{output:?}");
    assert!(!site.path("data").exists());
    fs::remove_file(&elsewhere).unwrap();
    assert_eq!(code(&site.run(&["enrol"])), 0);
    assert_eq!(mode(&site.path("data/evidence.key")), 0o600);
    assert!(!elsewhere.exists());
}

#[test]
fn a_key_that_the_trust_file_does_not_name_stops_it() {
    let site = Site::new();
    let other = compliance_signing::PrivateKey::from_seed(&[80; 32]).unwrap();
    site.write("data/evidence.key", other.to_pem().unwrap().as_bytes());
    let output = site.run(&["serve"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("names another evidence key"), "{output:?}");
}

#[test]
fn check_config_names_the_nearest_field_and_says_what_contradicts() {
    let site = Site::new();
    let output = site.run(&["check-config"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("is valid"));
    let config = site.config(0);
    for (change, said) in [
        (
            config.replace("round_interval_ms", "round_intervall_ms"),
            "unknown field `round_intervall_ms`, did you mean `round_interval_ms`?",
        ),
        (config.replace("backups = 'order'", "backup = 'order'"), "did you mean `backups`?"),
        (config.replace("backups = 'order'", "backups = 'ordre'"), "did you mean `order`?"),
        (
            config.clone() + "[[window]]\nstart = '02:00'\nlength = 60\nzone = 'UTC'\n",
            "unknown field `length`, did you mean `length_min`?",
        ),
        (config.replace("mode = 'direct'", "mode = 'reseller'"), "needs `reseller"),
        (config.replace("= 200", "= 100"), "at least 200"),
        (config.clone() + "limits.backups.per_day = 0\n", "`per_day` is 0: write 1 to 24"),
        (config.clone() + "limits.backups.per_day = 25\n", "`per_day` is 25: write 1 to 24"),
        (config.clone() + "limits.encryption.per_day = 2\n", "unknown field `encryption`"),
        ("retention_days = 29\n".to_owned() + &config, "`retention_days` is at least 30"),
        ("reboots = 'window'\n".to_owned() + &config, "`order` or `never`"),
        (config.replace("site = 'clinic-042'", "site = 'Clinic'"), "1 to 63 of a-z"),
        (config.replace("agent_uid = 0\n", ""), "agent_uid"),
    ] {
        assert_ne!(change, config);
        site.write("executor.toml", change.as_bytes());
        let output = site.run(&["check-config"]);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
}

#[test]
fn a_command_line_that_is_no_command_says_what_there_is() {
    let site = Site::new();
    for bad in [
        &["dance"][..],
        &["serve", "--loud"],
        &["pause", "--for", "1 fortnight"],
        &["pause", "--for", "8d"],
        &["pause"],
        &["export"],
    ] {
        let output = site.run(bad);
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{bad:?}");
        assert!(stderr(&output).starts_with("compliance-executor: "), "{bad:?}: {output:?}");
    }
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_compliance-executor"))
        .arg("help")
        .output()
        .unwrap();
    assert_eq!(code(&help), 0);
    for command in ["serve", "check", "capture", "enrol"] {
        assert!(stdout(&help).contains(&format!("\n  {command} --config FILE")), "{command}");
    }
}

#[test]
fn check_prints_each_check_changes_nothing_and_is_1_while_anything_is_not_seen_to_be_well() {
    let site = Site::new();
    let before = fs::read(site.path("data/ledger.db")).unwrap();
    let output = site.run(&["check"]);
    assert_eq!(code(&output), 1, "there is no such unit here, or no systemd to ask: {output:?}");
    let table = stdout(&output);
    assert_eq!(table.lines().count(), 7, "{table}");
    assert!(table.starts_with("CHECK"), "{table}");
    assert_eq!(table.matches("not applicable").count(), 4, "{table}");
    let services = table.lines().find(|line| line.starts_with("services")).unwrap();
    assert!(services.contains("UNKNOWN") || services.contains("DRIFTED"), "{table}");
    // Without the time, how old a backup is cannot be said.
    let well = if compliance_clock::read().synchronised { "compliant" } else { "UNKNOWN" };
    let backups = table.lines().find(|line| line.starts_with("backups")).unwrap();
    assert!(backups.contains(well), "{table}");
    fs::remove_file(site.path("job/records.tar")).unwrap();
    let output = site.run(&["check", "--json"]);
    assert_eq!(code(&output), 1);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let backups =
        json["checks"].as_array().unwrap().iter().find(|c| c["check"] == "backups").unwrap();
    assert_eq!(
        (&backups["state"], &backups["findings"][0]["actual"]),
        (&"drifted".into(), &"it is gone".into())
    );
    assert_eq!(fs::read(site.path("data/ledger.db")).unwrap(), before);
    assert_eq!(site.starts(), 0);
}

#[test]
fn export_writes_every_bundle_with_its_signatures_and_receipts() {
    let mut site = Site::new();
    let form = site.issue();
    let running = site.serve();
    let mut courier = Courier::connect(&site);
    courier.poll(&site);
    eventually("the order's end", || (site.about(&form).len() == 1).then_some(()));
    courier.upload(&mut site);
    drop(running);
    let out = site.path("out");
    let output = site.run(&["export", out.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{output:?}");
    let evidence = site.evidence();
    assert!(stdout(&output).contains(&format!("{} bundles", evidence.len())), "{output:?}");
    assert!(out.join("evidence.pub").exists() && out.join("checkpoint.vkey").exists());
    for bundle in &evidence {
        let stem = out.join(bundle.folder()).join(bundle.file_stem());
        let read = |ending: &str| fs::read(format!("{}{ending}", stem.display()));
        let signed = SignedBundle {
            json: read(".json").unwrap().into(),
            sig: read(".json.sig").unwrap().into(),
            dsse: read(".dsse.json").unwrap().into(),
        };
        let key = &site.plane.trust.roles.evidence;
        assert_eq!(signed.verify(key).unwrap().bundle(), bundle);
        let arrived = site.plane.stored.iter().any(|stored| stored.id == bundle.id);
        assert_eq!(read(".tlog-proof").is_ok(), arrived);
    }
    let again = site.run(&["export", out.to_str().unwrap()]);
    assert_eq!(code(&again), 2);
    assert!(stderr(&again).contains("is not empty"), "{again:?}");
}

#[test]
fn an_export_beside_a_ledger_that_was_moved_aside_says_that_it_is_not_all() {
    let site = Site::new();
    drop(site.serve());
    let bytes = fs::read(site.path("data/ledger.db")).unwrap();
    site.write("data/ledger.db", &bytes[..bytes.len() / 2]);
    let _ = fs::remove_file(site.path("data/ledger.db-wal"));
    let running = site.serve();
    assert_eq!(site.evidence()[0].reason, "ledger_new");
    drop(running);
    let output = site.run(&["export", site.path("out").to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("a damaged ledger lies in"), "{output:?}");
}

#[test]
fn pause_and_reset_clock_leave_evidence_beside_a_running_executor() {
    let site = Site::new();
    let _running = site.serve();
    let output = site.run(&["pause", "--for", "2h"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("nothing is healed without an order until"));
    let output = site.run(&["reset-clock"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let mut courier = Courier::connect(&site);
    let why = || {
        let status = courier.status();
        status.gates.into_iter().find(|gate| gate.why.contains("paused until"))
    };
    eventually("the pause in the executor's status", why);
    let reasons: BTreeSet<_> = site.evidence().into_iter().map(|bundle| bundle.reason).collect();
    assert!(reasons.contains("paused") && reasons.contains("clock_reset"), "{reasons:?}");
}

#[test]
fn a_second_executor_does_not_start_beside_the_first() {
    let site = Site::new();
    let running = site.serve();
    let output = site.run(&["serve"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("already"), "{output:?}");
    Courier::connect(&site).status();
    drop(running);
    drop(site.serve());
}

#[test]
fn sigterm_and_sigint_end_it_with_0_also_while_a_job_runs() {
    for (signal, busy) in
        [(Signal::SIGTERM, false), (Signal::SIGINT, false), (Signal::SIGTERM, true)]
    {
        let mut site = Site::new();
        let mut running = site.serve();
        if busy {
            site.hold("begun");
            site.issue();
            Courier::connect(&site).poll(&site);
            site.wait_for_job("begun");
        }
        kill(running.pid(), signal).unwrap();
        assert_eq!(running.exit(), Some(0), "{signal}, busy {busy}");
        site.let_go("begun");
    }
}

#[test]
fn a_job_can_be_asked_to_end_although_the_executor_blocks_signals() {
    let mut site = Site::new();
    let script = "#!/bin/sh\nwhile read -r line; do case $line in SigBlk:*) echo \"$line\" ;; esac; done \
                  < /proc/self/status > \"${0%/*}/blocked\"\n";
    site.write("job/run", script.as_bytes());
    let form = site.issue();
    let _running = site.serve();
    Courier::connect(&site).poll(&site);
    eventually("the order's end", || (site.about(&form).len() == 1).then_some(()));
    let blocked = fs::read_to_string(site.path("job/blocked")).unwrap();
    assert_eq!(blocked.trim(), "SigBlk:\t0000000000000000");
}
