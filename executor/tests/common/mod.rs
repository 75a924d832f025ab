//! An engine on a fake host, with a fake control plane and a clock that the test moves.
#![allow(dead_code)] // Each test file uses what it needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use compliance_checks::baseline::Baseline;
use compliance_checks::{Host, patching};
use compliance_executor::config::{Heal, Reboots, Switching};
use compliance_executor::documents::{Machine, baseline_in_force, trust_in_force};
use compliance_executor::effect::{Tools, look_around, perform};
use compliance_executor::engine::{Engine, Job, Parts, Random};
use compliance_executor::evidence::Author;
use compliance_executor::ledger::{Fact, Ledger, LedgerError};
use compliance_executor::observe::Observer;
use compliance_executor::retention::DEFAULT_DAYS;
use compliance_protocol::clock::ClockReading;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{
    Bundle, Chain, ChainBreak, Mode, Outcome, Pruned, SignedBundle, System, VerifiedBundle,
};
use compliance_protocol::feed::{FeedHead, Ticket};
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::name::{Id, UnitName};
use compliance_protocol::status::Status;
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::Trust;
use compliance_protocol::window::{Window, Windows};
use compliance_testkit::evidence::verified;
use compliance_testkit::host::{job_status, silent_success, unit};
use compliance_testkit::keys::{ARCHIVE, BACKUP_PROGRAM, MACHINE_ID, STATUS_FILE};
use compliance_testkit::{FakeHost, FakePlane, Keys, OrderForm, T0};
use serde_json::Value;
use tempfile::TempDir;

/// What stands for systemd's command line.
pub(crate) const SYSTEMCTL: &str = "/bin/systemctl";

/// The unit that the baseline lists.
pub(crate) const UNIT: &str = "clinic-frontdesk.service";

/// The time between two rounds.
pub(crate) const ROUND: Span = Span::from_secs(15);

pub(crate) struct Rig {
    pub(crate) observer: Observer,
    pub(crate) engine: Engine,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) plane: FakePlane,
    pub(crate) reading: ClockReading,
    pub(crate) boot: u8,
    starts: u64,
    pub(crate) setup: Setup,
    pub(crate) dir: TempDir,
}

/// How the appliance is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) heal: Heal,
    pub(crate) reboots: Reboots,
    pub(crate) retention_days: u16,
    pub(crate) dry_run: bool,
    pub(crate) windows: Windows,
    pub(crate) synchronised: bool,
    /// What the system closure brings.
    pub(crate) trust: Trust,
    pub(crate) baseline: Result<Baseline, String>,
    /// How systems are activated, if they are.
    pub(crate) switching: Option<Switching>,
    /// The unit that fills the ruleset's sets.
    pub(crate) fills_sets: Option<UnitName>,
}

impl Rig {
    /// An enrolled appliance with a fresh backup, a synchronised clock at [`T0`] and a window that is
    /// closed until 02:00 UTC.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let keys = Keys::default();
        let mut setup = Setup {
            heal: Heal { settle_s: 0, ..Heal::default() },
            reboots: Reboots::Order,
            retention_days: DEFAULT_DAYS,
            dry_run: false,
            windows: Windows::new(vec![Window::new(&[], "02:00", 120, "UTC").unwrap()]).unwrap(),
            synchronised: true,
            trust: keys.trust(),
            baseline: Ok(keys.baseline()),
            switching: None,
            fills_sets: None,
        };
        change(&mut setup);
        let dir = temp_dir();
        let reading = ClockReading {
            wall: T0,
            boottime: Span::from_secs(1000),
            synchronised: setup.synchronised,
            offset_ms: 1,
            max_error_ms: 10,
        };
        enrol(&dir.path().join("ledger.db"));
        let mut plane = FakePlane::default();
        plane.trust = setup.trust.clone();
        let rig = Self::on(dir, setup, plane, reading, 1, 0);
        install_backup(&rig.host, T0.plus(Span::from_hours(-1)));
        rig.host.install(SYSTEMCTL, Box::new(|_| silent_success()));
        rig.host.set_units(Ok(vec![unit(UNIT, "loaded", "active", "running")]));
        rig
    }

    /// An appliance with the ledger in `dir`, on a host on which there is nothing; `salt` is another one
    /// for each start of the same ledger.
    pub(crate) fn on(
        dir: TempDir,
        setup: Setup,
        plane: FakePlane,
        reading: ClockReading,
        boot: u8,
        salt: u64,
    ) -> Self {
        let engine = start(&dir.path().join("ledger.db"), reading, boot, &setup, salt);
        let host = Arc::new(FakeHost::default());
        let observer = Observer::default();
        Self { observer, engine, host, plane, reading, boot, starts: salt, setup, dir }
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    /// The same ledger in a new process, in the same boot.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        self.engine = start(&self.ledger_path(), self.reading, self.boot, &self.setup, self.starts);
    }

    /// A copy of the ledger as it is now, with its write-ahead log.
    pub(crate) fn copy_ledger(&self) -> TempDir {
        let copy = temp_dir();
        for name in ["ledger.db", "ledger.db-wal"] {
            let from = self.dir.path().join(name);
            if from.exists() {
                std::fs::copy(from, copy.path().join(name)).unwrap();
            }
        }
        copy
    }

    /// The same machine with another ledger, such as an older copy of its own.
    pub(crate) fn with_ledger(&mut self, ledger: TempDir) {
        self.dir = ledger;
        self.restart();
    }

    /// The same ledger after the machine was restarted.
    pub(crate) fn reboot(&mut self) {
        self.boot += 1;
        self.reading.boottime = Span::from_secs(30);
        self.restart();
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
        assert!(matches!(self.handle(answer), Answer::Feed { fresh: true, .. }));
        self.settle();
    }

    /// One poll by a courier that hands in these bytes in place of the orders.
    pub(crate) fn poll_with(&mut self, orders: Vec<Vec<u8>>) {
        assert!(self.poll_changed(orders, |_| ()), "the head is fresh");
    }

    /// One poll of a control plane that signs a changed head; whether the head was taken.
    pub(crate) fn poll_changed(
        &mut self,
        orders: Vec<Vec<u8>>,
        change: impl FnOnce(&mut FeedHead),
    ) -> bool {
        let ticket = self.ticket();
        let mut head = self.plane.head(&ticket, self.reading.wall);
        change(&mut head);
        let answer = self.plane.answer_with(&head, &ticket, orders);
        let fresh = matches!(self.handle(answer), Answer::Feed { fresh: true, .. });
        self.settle();
        fresh
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
                Answer::Receipts { recorded, .. } => {
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

    /// Lets one interval pass, and does what is due then.
    pub(crate) fn round(&mut self) {
        self.pass(ROUND);
        self.settle();
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
                let baseline = round.baseline.as_ref().map_err(String::as_str);
                let host: Arc<dyn Host> = self.host.clone();
                let observed = self.observer.observe(&host, baseline, &round.about);
                let closure = signed_closure(&self.setup);
                let system = patching::system(&*self.host);
                self.engine.system_seen(system, &|| closure.clone()).unwrap();
                self.engine.round_done(&round, &observed, self.reading).unwrap();
            }
            Job::Effect(permit) => {
                let tools = Tools {
                    systemctl: Some(SYSTEMCTL.parse().unwrap()),
                    undo_dir: self.dir.path().to_owned(),
                    switching: self.setup.switching.clone(),
                    fills_sets: self.setup.fills_sets.clone(),
                };
                let uptime = self.reading.boottime;
                let performed = perform(permit, &*self.host, &tools, &|| uptime);
                self.engine.effect_done(performed, self.reading).unwrap();
            }
            Job::LookAround => {
                self.engine.looked_around(look_around(&*self.host), self.reading).unwrap();
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
        told(self.evidence().into_iter().filter(about))
    }

    /// Outcome and reason of all evidence, rounds and first states left out.
    pub(crate) fn story(&self) -> Vec<(Outcome, String)> {
        told(self.evidence().into_iter().filter(|b| !is_plain(b)))
    }

    /// The evidence with that reason.
    pub(crate) fn because(&self, reason: &str) -> Vec<Bundle> {
        self.evidence().into_iter().filter(|bundle| bundle.reason == reason).collect()
    }

    /// How often the backup program was run.
    pub(crate) fn backups_run(&self) -> usize {
        self.ran(BACKUP_PROGRAM)
    }

    /// How often that program was run.
    pub(crate) fn ran(&self, program: &str) -> usize {
        self.host.runs().iter().filter(|argv| argv[0] == program).count()
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

/// An order that a test refers to by its outcome.
pub(crate) fn outcome(outcome: Outcome, reason: &str) -> (Outcome, String) {
    (outcome, reason.to_owned())
}

fn told(bundles: impl Iterator<Item = Bundle>) -> Vec<(Outcome, String)> {
    bundles.map(|bundle| (bundle.outcome, bundle.reason)).collect()
}

/// Summaries of rounds, and first states that are as they should be, do not apply, or cannot be seen.
fn is_plain(bundle: &Bundle) -> bool {
    ["round", "unknown", "compliant", "not_applicable"].contains(&bundle.reason.as_str())
}

/// All evidence of the ledger at `path`, verified and in chains that are whole, or begin where evidence says that
/// the rest was pruned.
pub(crate) fn evidence_in(path: &Path) -> Vec<Bundle> {
    let key = Keys::default().evidence.public();
    let mut chain = Chain::new();
    let (mut all, mut begun, mut pruned) = (Vec::new(), Vec::new(), Vec::new());
    Ledger::read(path)
        .unwrap()
        .each_bundle(|stored| {
            let verified = verified(&stored.signed, &key);
            match chain.follow(&verified) {
                Err(ChainBreak::Missing { from: 1, .. }) => begun.push(verified.clone()),
                followed => followed.expect("the chain has no gap and no fork"),
            }
            pruned.extend(Pruned::of(&verified));
            all.push(verified.bundle().clone());
            Ok::<_, LedgerError>(())
        })
        .unwrap();
    let is_explained = |first: &VerifiedBundle| pruned.iter().any(|it| it.precedes(first));
    assert!(begun.iter().all(is_explained), "what is missing was pruned: {pruned:?}");
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

/// A folder in memory where the machine has one: what is tested is what the ledger does, not the disk.
pub(crate) fn temp_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

pub(crate) fn enrol(path: &Path) {
    let (mut ledger, _) = Ledger::open(path, Id::new(T0, [9; 10]), Span::ZERO).unwrap();
    ledger.commit(|tx| tx.clear_fact(Fact::New)).unwrap();
}

pub(crate) fn install_backup(host: &FakeHost, finished: Timestamp) {
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

/// The engine on the ledger at `path`; `salt` is another one for each start of the same ledger.
pub(crate) fn start(
    path: &Path,
    reading: ClockReading,
    boot: u8,
    setup: &Setup,
    salt: u64,
) -> Engine {
    try_start(path, reading, boot, setup, salt).unwrap()
}

/// As [`start`]; why not, if the ledger cannot be used.
pub(crate) fn try_start(
    path: &Path,
    reading: ClockReading,
    boot: u8,
    setup: &Setup,
    salt: u64,
) -> Result<Engine, LedgerError> {
    let keys = Keys::default();
    let mut random = random(salt);
    let mut fresh = [0; 10];
    random(&mut fresh);
    let ledger = Ledger::open(path, Id::new(reading.wall, fresh), reading.boottime)?;
    let trust = trust_in_force(setup.trust.clone(), &ledger.0)?;
    let machine = Machine {
        running: None,
        profile: None,
        machine_id_sha256: Some(Digest::of(MACHINE_ID.as_bytes())),
    };
    let closure = signed_closure(setup);
    let parts = Parts {
        author: Author {
            tenant: trust.tenant.clone(),
            site: trust.site.clone(),
            epoch: trust.epoch,
            mode: Mode::Direct,
            reseller: None,
            system: System::default(),
            boot_id: format!("00000000-0000-4000-8000-0000000000{boot:02x}").parse().unwrap(),
            key: keys.evidence,
        },
        baseline: baseline_in_force(closure, &ledger.0, &trust, &machine)?,
        trust,
        machine,
        windows: setup.windows.clone(),
        heal: setup.heal.clone(),
        limits: setup.switching.as_ref().map(|switching| switching.limits),
        source: setup.switching.as_ref().map(|switching| switching.source).unwrap_or_default(),
        reboots: setup.reboots,
        dry_run: setup.dry_run,
        round_interval: ROUND,
        retention_days: setup.retention_days,
        ledger,
        random,
    };
    Engine::start(parts, reading)
}

/// The baseline that the system closure brings.
fn signed_closure(setup: &Setup) -> Result<Vec<u8>, String> {
    let keys = Keys::default();
    let closure = setup.baseline.as_ref().map_err(Clone::clone);
    closure.map(|baseline| compliance_signing::sign(baseline, &[&keys.baseline]).unwrap())
}

/// Different in each call and for each salt, the same in each run.
pub(crate) fn random(salt: u64) -> Random {
    let mut counter = 0_u64;
    Box::new(move |buffer| {
        counter += 1;
        let seed = [counter.to_le_bytes(), salt.to_le_bytes()].concat();
        let digest = Digest::of(&seed);
        for (to, from) in buffer.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
    })
}
