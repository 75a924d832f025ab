//! An engine on a fake host, with a fake control plane and a clock that the test moves.
#![allow(dead_code)] // Each test file uses what it needs.

use std::path::PathBuf;
use std::sync::Arc;

use compliance_checks::baseline::Baseline;
use compliance_executor::config::Heal;
use compliance_executor::effect::{Tools, perform};
use compliance_executor::engine::{Engine, Job, Machine, Parts};
use compliance_executor::evidence::Author;
use compliance_executor::ledger::Ledger;
use compliance_executor::observe::observe;
use compliance_protocol::clock::ClockReading;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Envelope;
use compliance_protocol::evidence::{Bundle, Chain, Mode, Outcome, SignedBundle};
use compliance_protocol::feed::Ticket;
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::name::Id;
use compliance_protocol::status::Status;
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::window::{Window, Windows};
use compliance_testkit::host::{job_status, silent_success};
use compliance_testkit::keys::{ARCHIVE, BACKUP_PROGRAM, MACHINE_ID, STATUS_FILE};
use compliance_testkit::{FakeHost, FakePlane, Keys, OrderForm, T0};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) plane: FakePlane,
    pub(crate) reading: ClockReading,
    pub(crate) boot: u8,
    pub(crate) windows: Windows,
    pub(crate) heal: Heal,
    pub(crate) dir: TempDir,
}

impl Rig {
    /// An enrolled appliance with a fresh backup, a synchronised clock at [`T0`] and a window that is
    /// closed until 02:00 UTC.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            heal: Heal::default(),
            windows: Windows::new(vec![Window::new(&[], "02:00", 120, "UTC").unwrap()]).unwrap(),
            synchronised: true,
        };
        change(&mut setup);
        let dir = tempfile::tempdir().unwrap();
        let reading = ClockReading {
            wall: T0,
            boottime: Span::from_secs(1000),
            synchronised: setup.synchronised,
            offset_ms: 1,
            max_error_ms: 10,
        };
        enrolled(&dir.path().join("ledger.db"));
        let host = Arc::new(FakeHost::default());
        install_backup(&host, T0.plus(Span::from_hours(-1)));
        Self {
            engine: start(&dir.path().join("ledger.db"), reading, 1, &setup.windows, &setup.heal),
            host,
            plane: FakePlane::default(),
            reading,
            boot: 1,
            windows: setup.windows,
            heal: setup.heal,
            dir,
        }
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    /// The same ledger in a new process, in the same boot.
    pub(crate) fn restart(&mut self) {
        self.engine =
            start(&self.ledger_path(), self.reading, self.boot, &self.windows, &self.heal);
    }

    pub(crate) fn pass(&mut self, span: Span) {
        self.reading.wall = self.reading.wall.plus(span);
        self.reading.boottime =
            Span::from_millis(self.reading.boottime.as_millis() + span.as_millis());
    }

    pub(crate) fn handle(&mut self, request: Request) -> Answer {
        self.engine.handle(request, self.reading).unwrap()
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        match self.handle(Request::Ticket {}) {
            Answer::Ticket { ticket } => ticket,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.handle(Request::Status {}) {
            Answer::Status { status } => *status,
            other => panic!("{other:?}"),
        }
    }

    /// One poll: a ticket, a good head, the open orders; and what they set off.
    pub(crate) fn poll(&mut self) {
        let ticket = self.ticket();
        let answer = self.plane.answer(&ticket, self.reading.wall);
        assert_eq!(self.handle(answer), Answer::Feed { fresh: true });
        self.settle();
    }

    /// One poll by a courier that hands in these bytes in place of the orders.
    pub(crate) fn poll_with(&mut self, orders: Vec<Vec<u8>>) {
        let ticket = self.ticket();
        let head = self.plane.head(&ticket, self.reading.wall);
        let answer = self.plane.answer_with(&head, &ticket, orders);
        assert_eq!(self.handle(answer), Answer::Feed { fresh: true });
        self.settle();
    }

    /// Carries all pending evidence to the control plane and its receipts back.
    pub(crate) fn upload(&mut self) -> u64 {
        let mut sum = 0;
        loop {
            let bundles = self.pending();
            if bundles.is_empty() {
                return sum;
            }
            let log_size = self.ticket().log_size;
            let receipts = self.plane.upload(&bundles, log_size);
            match self.handle(receipts) {
                Answer::Receipts { recorded } => {
                    assert!(recorded > 0, "no receipt was taken");
                    sum += recorded;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn pending(&mut self) -> Vec<SignedBundle> {
        match self.handle(Request::Pending { bytes: 1 << 20 }) {
            Answer::Pending { bundles } => bundles,
            other => panic!("{other:?}"),
        }
    }

    /// Does what the engine asks for until it asks for nothing more; rounds that are due included.
    pub(crate) fn settle(&mut self) {
        self.engine.tick(self.reading).unwrap();
        while self.step() {}
    }

    /// Does the jobs asked for so far; whether there were any.
    pub(crate) fn step(&mut self) -> bool {
        let jobs = self.engine.take_jobs();
        let any = !jobs.is_empty();
        for job in jobs {
            self.run(job);
        }
        any
    }

    pub(crate) fn run(&mut self, job: Job) {
        match job {
            Job::Round(round) => {
                let baseline: Result<&Baseline, &str> =
                    round.baseline.as_deref().map_err(String::as_str);
                let observed = observe(&*self.host, baseline, round.now);
                self.engine.round_done(&round, &observed, self.reading).unwrap();
            }
            Job::Effect(permit) => {
                let tools = Tools { systemctl: Some("/bin/systemctl".parse().unwrap()) };
                let uptime = self.reading.boottime;
                let performed = perform(permit, &*self.host, &tools, &|| uptime);
                self.engine.effect_done(performed, self.reading);
            }
        }
    }

    /// All evidence, verified and in one chain.
    pub(crate) fn evidence(&self) -> Vec<Bundle> {
        evidence_in(&self.ledger_path())
    }

    /// The evidence about an order.
    pub(crate) fn about(&self, form: &OrderForm) -> Vec<(Outcome, String)> {
        let about = |bundle: &Bundle| bundle.trigger.order_sha256 == Some(form.sha256());
        let all = self.evidence().into_iter().filter(about);
        all.map(|bundle| (bundle.outcome, bundle.reason)).collect()
    }

    /// Outcome and reason of all evidence, rounds and first states left out.
    pub(crate) fn story(&self) -> Vec<(Outcome, String)> {
        let plain = ["round", "unknown", "compliant"];
        let all = self.evidence().into_iter().filter(|b| !plain.contains(&b.reason.as_str()));
        all.map(|bundle| (bundle.outcome, bundle.reason)).collect()
    }

    /// How often the backup program was run.
    pub(crate) fn backups_run(&self) -> usize {
        self.host.runs().iter().filter(|argv| argv[0] == BACKUP_PROGRAM).count()
    }

    /// Makes the newest backup that old.
    pub(crate) fn age_backup(&self, age: Span) {
        let at = Timestamp::from_millis(self.reading.wall.as_millis() - age.as_millis());
        self.host.write(STATUS_FILE, job_status(at, ARCHIVE, b"archive"));
    }

    /// Lets the backup program do this, with the time at which it is done.
    pub(crate) fn backup_does(&self, at: Timestamp, ends_well: bool) {
        install_program(&self.host, at, ends_well);
    }
}

pub(crate) struct Setup {
    pub(crate) heal: Heal,
    pub(crate) windows: Windows,
    pub(crate) synchronised: bool,
}

/// All evidence of the ledger at `path`, verified and in one chain.
pub(crate) fn evidence_in(path: &std::path::Path) -> Vec<Bundle> {
    let key = Keys::default().evidence.public();
    let mut chain = Chain::new();
    let mut all = Vec::new();
    Ledger::read(path)
        .unwrap()
        .each_bundle(|stored| {
            let verified = stored.signed.verify(&key).expect("each bundle verifies");
            chain.follow(&verified).expect("the chain has no gap and no fork");
            all.push(verified.bundle().clone());
            Ok::<_, compliance_executor::ledger::LedgerError>(())
        })
        .unwrap();
    all
}

pub(crate) fn action(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn run_backup() -> Value {
    action(r#"{"type":"run_backup","job":"records"}"#)
}

pub(crate) fn run_checks() -> Value {
    action(r#"{"type":"run_checks"}"#)
}

pub(crate) fn restart_frontdesk() -> Value {
    action(r#"{"type":"restart_service","unit":"clinic-frontdesk.service"}"#)
}

fn enrolled(path: &std::path::Path) {
    Ledger::open(path, Id::new(T0, [9; 10]), Span::ZERO).unwrap();
}

pub(crate) fn install_backup(host: &Arc<FakeHost>, finished: Timestamp) {
    host.write(ARCHIVE, b"archive");
    host.write(STATUS_FILE, job_status(finished, ARCHIVE, b"archive"));
    install_program(host, T0, true);
}

fn install_program(host: &FakeHost, at: Timestamp, ends_well: bool) {
    host.install(
        BACKUP_PROGRAM,
        Box::new(move |files| {
            if ends_well {
                files.insert(ARCHIVE.to_owned(), Ok(b"archive 2".to_vec()));
                let status = job_status(at, ARCHIVE, b"archive 2");
                files.insert(STATUS_FILE.to_owned(), Ok(status));
            }
            silent_success()
        }),
    );
}

pub(crate) fn start(
    path: &std::path::Path,
    reading: ClockReading,
    boot: u8,
    windows: &Windows,
    heal: &Heal,
) -> Engine {
    let keys = Keys::default();
    let trust = keys.trust();
    let baseline = Envelope::parse(&keys.signed_baseline()).unwrap();
    let mut counter = 0_u64;
    let salt = reading.boottime.as_millis();
    let parts = Parts {
        author: Author {
            tenant: trust.tenant.clone(),
            site: trust.site.clone(),
            epoch: trust.epoch,
            mode: Mode::Direct,
            reseller: None,
            boot_id: format!("00000000-0000-4000-8000-0000000000{boot:02x}").parse().unwrap(),
            key: keys.evidence,
        },
        baseline: baseline.open(&trust.roles.baseline).map_err(|error| error.to_string()),
        trust,
        machine: Machine {
            running: None,
            machine_id_sha256: Some(Digest::of(MACHINE_ID.as_bytes())),
        },
        windows: windows.clone(),
        heal: heal.clone(),
        round_interval: Span::from_secs(15),
        ledger: Ledger::open(path, Id::new(T0, [8; 10]), Span::ZERO).unwrap(),
        // Different in each call and each start, the same in each run.
        random: Box::new(move |buffer| {
            counter += 1;
            let seed = [counter.to_le_bytes(), salt.to_le_bytes()].concat();
            let digest = Digest::of(&seed);
            for (to, from) in buffer.iter_mut().zip(digest.as_bytes()) {
                *to = *from;
            }
        }),
    };
    Engine::start(parts, reading).unwrap()
}
