//! An appliance in a folder: configuration, keys, a backup job that the test can stop, and the courier's
//! side of the socket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use compliance_checks::backups::{BackupJob, BackupsBaseline, Run};
use compliance_checks::baseline::{Baseline, Binding, Section};
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, SignedBundle};
use compliance_protocol::feed::Ticket;
use compliance_protocol::key::PublicKey;
use compliance_protocol::local::{self, Answer, Request};
use compliance_protocol::status::Status;
use compliance_testkit::{FakePlane, OrderForm};
use serde_json::Value;
use tempfile::TempDir;

/// What tells the machine from others, where it is not NixOS.
pub(crate) const MACHINE_ID: &str = "00000000000000000000000000000042";

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `wanted` is there.
pub(crate) fn eventually<T>(what: &str, wanted: impl FnMut() -> Option<T>) -> T {
    within_patience(wanted).unwrap_or_else(|| panic!("{what} did not happen within {PATIENCE:?}"))
}

/// As [`eventually`], for who can say more about what did not happen.
pub(crate) fn within_patience<T>(mut wanted: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(found) = wanted() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Says so past the test harness, which keeps what a test prints to itself when it ends well.
pub(crate) fn skipped(test: &str, why: &str) {
    std::io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes()).unwrap();
}

/// Runs a program that was written just now. While another thread of this process forks, its child holds
/// the file open for writing for a moment, and the kernel does not start such a file.
pub(crate) fn run_fresh(command: &mut Command) -> Output {
    eventually("the program's start", || match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
        ended => Some(ended.unwrap()),
    })
}

/// The backup job, after the line that says where its programs are. It leaves a line for each start; at each stage
/// whose file is there it waits until the file is gone.
const JOB: &str = r#"cd "$(dirname "$0")" || exit 1
hold() { echo $$ > "at-$1"; while [ -e "hold-$1" ]; do sleep 0.01; done; }
echo start >> starts
hold begun
date +%s%N > records.tar
hold half
sum=$(sha256sum records.tar | cut -d ' ' -f 1)
at=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
printf '{"finished_at":"%s","artefact":"%s","bytes":%s,"sha256":"%s"}' \
    "$at" "$PWD/records.tar" "$(wc -c < records.tar)" "$sum" > records.new
mv records.new records.json
hold done
"#;

/// An appliance in a folder.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) plane: FakePlane,
    last: Option<OrderForm>,
}

/// A running executor, killed when dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    /// Its exit code, when it ends by itself.
    pub(crate) fn exit(&mut self) -> Option<i32> {
        eventually("the executor's end", || self.0.try_wait().unwrap()).code()
    }
}

impl Site {
    /// An enrolled appliance with a fresh backup, that heals by order only.
    pub(crate) fn new() -> Self {
        let mut site = Self::bare();
        let output = site.run(&["enrol", "--json"]);
        assert!(output.status.success(), "{output:?}");
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let evidence = PublicKey::from_pem(made["evidence_pub"].as_str().unwrap()).unwrap();
        site.plane.trust.roles.evidence = evidence;
        let root = &site.plane.keys.root;
        let trust = compliance_signing::sign(&site.plane.trust, &[root]).unwrap();
        site.write("trust.dsse.json", &trust);
        assert!(run_fresh(&mut Command::new(site.path("job/run"))).status.success());
        fs::remove_file(site.path("job/starts")).unwrap();
        site
    }

    /// An appliance that is not enrolled and trusts nobody.
    pub(crate) fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir, plane: FakePlane::default(), last: None };
        fs::create_dir(site.path("job")).unwrap();
        let path = std::env::var("PATH").unwrap();
        site.write("job/run", format!("#!/bin/sh\nPATH='{path}'\n{JOB}").as_bytes());
        fs::set_permissions(site.path("job/run"), fs::Permissions::from_mode(0o755)).unwrap();
        site.write("machine-id", format!("{MACHINE_ID}\n").as_bytes());
        site.write("executor.toml", site.config(nix::unistd::getuid().as_raw()).as_bytes());
        site.write_baseline(&site.baseline());
        site
    }

    pub(crate) fn config(&self, agent_uid: u32) -> String {
        let dir = self.dir.path().display();
        format!(
            "tenant = 'acme'\nsite = 'clinic-042'\nmode = 'direct'\ndata_dir = '{dir}/data'\n\
             socket = '{dir}/socket'\nagent_uid = {agent_uid}\ntrust = '{dir}/trust.dsse.json'\n\
             baseline = '{dir}/baseline.dsse.json'\nmachine_id = '{dir}/machine-id'\n\
             round_interval_ms = 200\n[heal]\nbackups = 'order'\n"
        )
    }

    /// The baseline: of the plane's keys, with the job of this folder.
    pub(crate) fn baseline(&self) -> Baseline {
        let keys = &self.plane.keys;
        let mut baseline = keys.baseline();
        baseline.bound_to = Binding::MachineIdSha256(Digest::of(MACHINE_ID.as_bytes()));
        let path = |name| self.path(name).to_str().unwrap().to_owned();
        let job = |like: &BackupJob| BackupJob {
            status_file: path("job/records.json").parse().unwrap(),
            run: Run::Argv(vec![path("job/run")].try_into().unwrap()),
            ..like.clone()
        };
        if let Section::Expected(BackupsBaseline { jobs }) = &mut baseline.backups {
            jobs[0] = job(&jobs[0]);
        }
        baseline
    }

    pub(crate) fn write_baseline(&self, baseline: &Baseline) {
        let signed = compliance_signing::sign(baseline, &[&self.plane.keys.baseline]).unwrap();
        self.write("baseline.dsse.json", &signed);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compliance-executor"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("executor.toml"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `serve` and waits until it answers.
    pub(crate) fn serve(&self) -> Running {
        let log = fs::File::create(self.path("serve.log")).unwrap();
        let child = self.command(&["serve"]).stderr(log).spawn().unwrap();
        let running = Running(child);
        let answer = within_patience(|| {
            let mut courier = Courier::try_connect(&self.path("socket")).ok()?;
            courier.try_ask(&Request::Status {}).ok()
        });
        let log = || fs::read_to_string(self.path("serve.log")).unwrap_or_default();
        assert!(answer.is_some(), "the executor does not answer: {}", log());
        running
    }

    /// How often the job was started.
    pub(crate) fn starts(&self) -> usize {
        fs::read_to_string(self.path("job/starts")).unwrap_or_default().lines().count()
    }

    /// Makes the job wait at this stage, until it is let go.
    pub(crate) fn hold(&self, stage: &str) {
        self.write(&format!("job/hold-{stage}"), b"");
        let _ = fs::remove_file(self.path(&format!("job/at-{stage}")));
    }

    pub(crate) fn wait_for_job(&self, stage: &str) {
        let at = self.path(&format!("job/at-{stage}"));
        eventually("the job's stage", || at.exists().then_some(()));
    }

    /// Lets the job go, and waits until it has ended.
    pub(crate) fn let_go(&self, stage: &str) {
        let _ = fs::remove_file(self.path(&format!("job/hold-{stage}")));
        let Ok(pid) = fs::read_to_string(self.path(&format!("job/at-{stage}"))) else { return };
        let process = Path::new("/proc").join(pid.trim()).join("cmdline");
        eventually("the job's end", || {
            let cmdline = fs::read(&process).unwrap_or_default();
            (!String::from_utf8_lossy(&cmdline).contains("job/run")).then_some(())
        });
    }

    /// The control plane issues the next order: run the backup.
    pub(crate) fn issue(&mut self) -> OrderForm {
        self.issue_action(&serde_json::json!({ "type": "run_backup", "job": "records" }))
    }

    /// The control plane issues the next order.
    pub(crate) fn issue_action(&mut self, action: &Value) -> OrderForm {
        let sequence = self.last.as_ref().map_or(1, |last| last.sequence() + 1);
        let form = OrderForm::new(sequence, action).issued(compliance_clock::wall());
        // A system that has to be booted takes two restarts at most.
        let takes_long = action["type"] == "activate_system";
        let form = if takes_long { form.with("max_runtime_s", 7200) } else { form };
        let form = self.last.iter().fold(form, OrderForm::after);
        self.plane.issue(form.clone());
        self.last = Some(form.clone());
        form
    }

    /// All evidence about an order, from the ledger.
    pub(crate) fn about(&self, form: &OrderForm) -> Vec<(String, String)> {
        let sha256 = Some(form.sha256());
        let about = self.evidence().into_iter().filter(|b| b.trigger.order_sha256 == sha256);
        about.map(|b| (b.outcome.code().to_owned(), b.reason)).collect()
    }

    /// All evidence, from the ledger, verified and in chain.
    pub(crate) fn evidence(&self) -> Vec<Bundle> {
        let ledger =
            compliance_executor::ledger::Ledger::read(&self.path("data/ledger.db")).unwrap();
        let (mut chain, mut all) = (compliance_protocol::evidence::Chain::new(), Vec::new());
        let key = &self.plane.trust.roles.evidence;
        ledger
            .each_bundle(|stored| {
                let verified = compliance_testkit::evidence::verified(&stored.signed, key);
                chain.follow(&verified).unwrap();
                all.push(verified.bundle().clone());
                Ok::<_, compliance_executor::ledger::LedgerError>(())
            })
            .unwrap();
        all
    }
}

/// The courier's side of the socket.
pub(crate) struct Courier(pub(crate) UnixStream);

impl Courier {
    pub(crate) fn connect(site: &Site) -> Self {
        Self::try_connect(&site.path("socket")).unwrap()
    }

    pub(crate) fn try_connect(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    pub(crate) fn try_ask(&mut self, request: &Request) -> std::io::Result<Answer> {
        self.0.write_all(&local::encode(request).unwrap())?;
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let mut prefix = [0; 4];
        self.0.read_exact(&mut prefix)?;
        let mut json = vec![0; local::frame_size(prefix).unwrap()];
        self.0.read_exact(&mut json)?;
        Ok(local::decode(&json).unwrap())
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        self.try_ask(request).unwrap()
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.ask(&Request::Status {}) {
            Answer::Status { status } => *status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        match self.ask(&Request::Ticket {}) {
            Answer::Ticket { ticket } => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// A poll: what the control plane answers to a fresh ticket.
    pub(crate) fn feed(&mut self, site: &Site) -> Request {
        let ticket = self.ticket();
        site.plane.answer(&ticket, compliance_clock::wall())
    }

    pub(crate) fn poll(&mut self, site: &Site) {
        let feed = self.feed(site);
        let answer = self.ask(&feed);
        assert!(matches!(answer, Answer::Feed { fresh: true, .. }), "{answer:?}");
    }

    pub(crate) fn pending(&mut self) -> Vec<SignedBundle> {
        match self.ask(&Request::Pending { bytes: 1 << 20 }) {
            Answer::Pending { bundles } => bundles,
            other => panic!("{other:?}"),
        }
    }

    /// Carries pending evidence out and receipts back.
    pub(crate) fn upload(&mut self, site: &mut Site) {
        let bundles = self.pending();
        let log_size = self.ticket().log_size;
        let receipts = site.plane.upload(&bundles, log_size);
        let answer = self.ask(&receipts);
        let all = bundles.len() as u64;
        assert!(
            matches!(answer, Answer::Receipts { recorded, .. } if recorded == all),
            "{answer:?}"
        );
    }
}
