//! Recording a scenario: what the log held, what the host was like, and what had been promised, at each
//! call of the engine and at each step of an effect.

use std::sync::{Arc, Mutex};

use compliance_executor::effect::{Tools, perform};
use compliance_executor::engine::Job as EngineJob;
use compliance_executor::ledger::{IntentTrigger, Ledger};
use compliance_executor::retention::LEAST_DAYS;
use compliance_protocol::clock::ClockReading;
use compliance_protocol::evidence::SignedBundle;
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::{Files, job_status, silent_success};
use compliance_testkit::keys::{ARCHIVE, BACKUP_PROGRAM, STATUS_FILE};
use compliance_testkit::{FakeHost, FakePlane, OrderForm};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::common::{Rig, SYSTEMCTL, Setup, restart_frontdesk, run_backup, run_checks};
use crate::scenario::{Job, Step};

/// What was recorded.
pub(crate) struct Recording {
    /// The ledger before the scenario.
    pub(crate) base: Vec<u8>,
    /// Its write-ahead log afterwards.
    pub(crate) wal: Vec<u8>,
    pub(crate) setup: Setup,
    pub(crate) forms: Vec<OrderForm>,
    pub(crate) handed_out: Vec<SignedBundle>,
    /// Ids and receipts that the executor had said it recorded.
    pub(crate) receipts: Vec<(String, String)>,
    /// What was started: by which order, or by a drift.
    pub(crate) starts: Vec<Option<u64>>,
    /// How often evidence was pruned.
    pub(crate) pruned: usize,
    moments: Vec<Moment>,
}

/// How things stood at one moment; the numbers say how much of the recording's lists there was.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) what: String,
    pub(crate) wal: usize,
    pub(crate) files: Files,
    pub(crate) plane: FakePlane,
    pub(crate) reading: ClockReading,
    pub(crate) forms: usize,
    pub(crate) handed_out: usize,
    pub(crate) receipts: usize,
    pub(crate) starts: usize,
    /// How far the effect is that was started last.
    pub(crate) phase: Phase,
    pub(crate) ends_well: bool,
}

/// How far an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has changed nothing yet.
    Begun,
    /// It has changed something, not all.
    Half,
    /// It has changed all that it changes.
    Done,
}

impl Recording {
    /// How things may have stood when a cut left that much of the log: all that was recorded at that
    /// length, and the call during which it was reached.
    pub(crate) fn moments_at(&self, wal: usize) -> Vec<&Moment> {
        let mut found: Vec<&Moment> = self.moments.iter().filter(|m| m.wal == wal).collect();
        if found.is_empty() {
            found.extend(self.moments.iter().rfind(|m| m.wal < wal));
        }
        assert!(!found.is_empty(), "each cut is at or in something");
        found
    }
}

/// Plays a scenario and records it.
pub(crate) fn record(steps: &[Step]) -> Recording {
    let mut recorder = Recorder::new();
    for step in steps {
        recorder.play(step);
    }
    recorder.finish()
}

struct Recorder {
    rig: Rig,
    base: Vec<u8>,
    program: Arc<Mutex<Program>>,
    recording: Recording,
    baseline: u64,
    phase: Phase,
    /// Keeps SQLite from moving the log's frames into the file.
    _reader: Connection,
}

/// What the backup program does, and what it did in its last run.
pub(crate) struct Program {
    pub(crate) now: Timestamp,
    pub(crate) ends_well: bool,
    steps: Vec<(Phase, Files)>,
}

/// Installs a backup program that leaves its archive first and its status afterwards.
pub(crate) fn install(host: &FakeHost, program: &Arc<Mutex<Program>>) {
    let program = Arc::clone(program);
    host.install(
        BACKUP_PROGRAM,
        Box::new(move |files| {
            let mut program = program.lock().unwrap();
            // Each run is a little later than the one before.
            program.now = program.now.plus(Span::from_millis(1));
            if !program.ends_well {
                program.steps = vec![(Phase::Begun, files.clone())];
                return silent_success()
                    .map(|o| compliance_checks::command::Output { code: Some(1), ..o });
            }
            let archive = format!("archive of {}", program.now).into_bytes();
            program.steps = vec![(Phase::Begun, files.clone())];
            files.insert(ARCHIVE.to_owned(), Ok(archive.clone()));
            program.steps.push((Phase::Half, files.clone()));
            files.insert(STATUS_FILE.to_owned(), Ok(job_status(program.now, ARCHIVE, &archive)));
            program.steps.push((Phase::Done, files.clone()));
            silent_success()
        }),
    );
    host.install(SYSTEMCTL, Box::new(|_| silent_success()));
}

impl Program {
    pub(crate) fn new(now: Timestamp, ends_well: bool) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { now, ends_well, steps: Vec::new() }))
    }
}

impl Recorder {
    fn new() -> Self {
        // The engine that made the ledger is gone, and with it the log.
        let made = rig();
        let (dir, base) = (crate::common::temp_dir(), made.dir.path().join("ledger.db"));
        let setup = made.setup;
        drop(made.engine);
        let base = std::fs::read(base).unwrap();
        std::fs::write(dir.path().join("ledger.db"), &base).unwrap();
        let reader = reader(&dir.path().join("ledger.db"));
        let mut rig = rig();
        rig.with_ledger(dir);
        let program = Program::new(rig.reading.wall, true);
        install(&rig.host, &program);
        let recording = Recording {
            base: Vec::new(),
            wal: Vec::new(),
            setup,
            forms: Vec::new(),
            handed_out: Vec::new(),
            receipts: Vec::new(),
            starts: Vec::new(),
            pruned: 0,
            moments: Vec::new(),
        };
        let mut recorder = Self {
            rig,
            base,
            program,
            recording,
            baseline: 1,
            phase: Phase::Begun,
            _reader: reader,
        };
        recorder.note("the beginning");
        recorder.recording.moments[0].wal = 0;
        recorder.note("the first start");
        recorder
    }

    fn finish(self) -> Recording {
        let dir = self.rig.dir.path();
        assert_eq!(std::fs::read(dir.join("ledger.db")).unwrap(), self.base, "all is in the log");
        let wal = std::fs::read(dir.join("ledger.db-wal")).unwrap();
        let pruned = self.rig.plane.stored.iter().filter(|it| it.reason == "pruned").count();
        Recording { base: self.base, wal, pruned, ..self.recording }
    }

    fn note(&mut self, what: &str) {
        let files = self.rig.host.files();
        self.note_files(what, files);
    }

    fn note_files(&mut self, what: &str, files: Files) {
        let phase = self.phase;
        let wal = self.rig.dir.path().join("ledger.db-wal").metadata().map_or(0, |meta| meta.len());
        self.recording.moments.push(Moment {
            what: format!("{what}, the last effect {phase:?}"),
            wal: usize::try_from(wal).unwrap(),
            files,
            plane: self.rig.plane.clone(),
            reading: self.rig.reading,
            forms: self.recording.forms.len(),
            handed_out: self.recording.handed_out.len(),
            receipts: self.recording.receipts.len(),
            starts: self.recording.starts.len(),
            phase,
            ends_well: self.program.lock().unwrap().ends_well,
        });
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Issue(job) => self.issue(*job),
            Step::Withdraw => self.rig.plane.open.clear(),
            Step::Poll => self.poll(Vec::new()),
            Step::Junk => {
                self.poll(vec![format!("junk {}", self.recording.moments.len()).into_bytes()]);
            }
            Step::Upload => self.upload(true),
            Step::LoseAnswer => self.upload(false),
            Step::Pass(span) => {
                self.rig.pass(*span);
                self.program.lock().unwrap().now = self.rig.reading.wall;
            }
            Step::Settle => {}
            Step::Ages => {
                let at = self.rig.reading.wall.plus(Span::from_hours(-50));
                self.rig.host.write(ARCHIVE, b"old");
                self.rig.host.write(STATUS_FILE, job_status(at, ARCHIVE, b"old"));
            }
            Step::Takes(well) => self.program.lock().unwrap().ends_well = *well,
            Step::Restart => self.rig.restart(),
        }
        self.note(&format!("{step:?}"));
        if matches!(step, Step::Poll | Step::Junk | Step::Settle | Step::Restart) {
            self.settle();
        }
    }

    fn issue(&mut self, job: Job) {
        let now = self.rig.reading.wall;
        let sequence = self.recording.forms.len() as u64 + 1;
        let form = OrderForm::new(sequence, &self.action(job)).issued(now);
        let form = self.recording.forms.last().into_iter().fold(form, OrderForm::after);
        let form = match job {
            Job::Expired => form.issued(now.plus(Span::from_hours(-1))),
            Job::Restart => form.with("start_before", now.plus(Span::from_hours(40)).to_string()),
            _ => form,
        };
        self.recording.forms.push(form.clone());
        self.rig.plane.issue(form);
    }

    fn action(&mut self, job: Job) -> Value {
        match job {
            Job::Backup | Job::Expired => run_backup(),
            Job::Look => run_checks(),
            Job::Restart => restart_frontdesk(),
            Job::Pause => {
                let until = self.rig.reading.wall.plus(Span::from_secs(60));
                json!({ "type": "pause_healing", "until": until })
            }
            Job::Baseline => {
                self.baseline += 1;
                let mut baseline = self.rig.plane.keys.baseline();
                baseline.version = self.baseline;
                let signed = compliance_signing::sign(&baseline, &[&self.rig.plane.keys.baseline]);
                let envelope: Value = serde_json::from_slice(&signed.unwrap()).unwrap();
                json!({ "type": "update_baseline", "envelope": envelope })
            }
            Job::Unlisted => json!({ "type": "run_backup", "job": "papers" }),
            Job::Forbidden => json!({ "type": "reboot" }),
        }
    }

    fn handle(&mut self, what: &str, request: Request) -> Answer {
        let answer = self.rig.handle(request);
        self.note(what);
        answer
    }

    fn poll(&mut self, more: Vec<Vec<u8>>) {
        let ticket = self.rig.ticket();
        let open = self.rig.plane.open.iter().filter(|(form, _)| form.sequence() > ticket.after);
        let orders = more.into_iter().chain(open.map(|(_, bytes)| bytes.clone())).collect();
        let head = self.rig.plane.head(&ticket, self.rig.reading.wall);
        let answer = self.rig.plane.answer_with(&head, &ticket, orders);
        let answer = self.handle("a feed", answer);
        assert!(matches!(answer, Answer::Feed { fresh: true, .. }));
    }

    fn upload(&mut self, receipts_arrive: bool) {
        let Answer::Pending { bundles } = self.rig.handle(Request::Pending { bytes: 1 << 20 })
        else {
            panic!("the executor says what is pending")
        };
        self.recording.handed_out.extend(bundles.iter().cloned());
        self.note("evidence was handed out");
        let log_size = self.rig.ticket().log_size;
        let request = self.rig.plane.upload(&bundles, log_size);
        self.note("evidence was stored");
        if !receipts_arrive || bundles.is_empty() {
            return;
        }
        let Request::Receipts { results, .. } = &request else { panic!("{request:?}") };
        let kept = results.iter().map(|r| (r.id.unwrap().to_string(), r.receipt.clone().unwrap()));
        let kept: Vec<_> = kept.collect();
        match self.rig.handle(request) {
            Answer::Receipts { recorded, .. } => assert_eq!(recorded, kept.len() as u64),
            other => panic!("{other:?}"),
        }
        self.recording.receipts.extend(kept);
        self.note("receipts were recorded");
    }

    /// Does what is due, noting each step.
    fn settle(&mut self) {
        self.rig.engine.tick(self.rig.reading).unwrap();
        self.note("a tick");
        loop {
            let jobs = self.rig.engine.take_jobs();
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                self.run(job);
            }
        }
    }

    fn run(&mut self, job: EngineJob) {
        match job {
            EngineJob::Round(_) | EngineJob::LookAround => {
                self.rig.run(job);
                self.note("a look");
            }
            EngineJob::Effect(permit) => {
                let by = under_way(&self.rig);
                self.note("an effect is about to begin");
                self.recording.starts.push(by);
                self.phase = Phase::Begun;
                self.note("an effect begins");
                let tools = Tools {
                    systemctl: Some(SYSTEMCTL.parse().unwrap()),
                    undo_dir: std::env::temp_dir(),
                    switching: None,
                    fills_sets: None,
                };
                let uptime = self.rig.reading.boottime;
                let performed = perform(permit, &*self.rig.host, &tools, &|| uptime);
                let steps = std::mem::take(&mut self.program.lock().unwrap().steps);
                for (phase, files) in steps {
                    self.phase = phase;
                    self.note_files("an effect", files);
                }
                self.phase = Phase::Done;
                self.rig.engine.effect_done(performed, self.rig.reading).unwrap();
                self.note("an effect has ended");
            }
        }
    }
}

/// Whose intent for an effect is on the disk: the one on whose authority it is about to begin.
pub(crate) fn under_way(rig: &Rig) -> Option<u64> {
    let open = Ledger::read(&rig.ledger_path()).unwrap().open_intents().unwrap();
    let mut effects = open.into_iter().filter(|(_, intent)| intent.effect.is_some());
    let (_, intent) = effects.next().expect("the intent is on the disk before the effect");
    assert!(effects.next().is_none(), "one effect at a time");
    match intent.trigger {
        IntentTrigger::Order { sequence, .. } => Some(sequence),
        IntentTrigger::Drift => None,
    }
}

/// An appliance that forgets soon.
fn rig() -> Rig {
    Rig::with(|setup| setup.retention_days = LEAST_DAYS)
}

fn reader(path: &std::path::Path) -> Connection {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; BEGIN").unwrap();
    db.query_row("SELECT count(*) FROM ledgers", [], |_| Ok(())).unwrap();
    db
}
