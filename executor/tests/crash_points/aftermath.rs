//! What an executor makes of what a power cut left, and whether that is right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use compliance_executor::effect::{Tools, perform};
use compliance_executor::engine::Job as EngineJob;
use compliance_executor::ledger::{IntentTrigger, Ledger, LedgerError, StoredBundle};
use compliance_protocol::evidence::{Bundle, Outcome};
use compliance_protocol::local::Answer;
use compliance_protocol::time::Span;
use compliance_testkit::OrderForm;
use compliance_testkit::host::job_status;
use compliance_testkit::keys::{ARCHIVE, STATUS_FILE};
use tempfile::TempDir;

use crate::common::{Rig, SYSTEMCTL};
use crate::cut::{Cut, disk};
use crate::record::{Phase, Program, Recording, install, under_way};

/// Starts an executor after `cut`, lets it and the control plane work until every order must have ended,
/// and judges.
pub(crate) fn judge(recording: &Recording, cut: &Cut<'_>) {
    let dir = disk(recording, cut.wal);
    let interrupted = interrupted(&dir.path().join("ledger.db"));
    let mut after = After::new(dir, recording, cut);
    after.settle();
    if !interrupted.is_empty() && cut.moment.phase != Phase::Done && !cut.next_boot {
        // The program was not killed with the executor, and ends only now.
        after.program_ends();
    }
    after.rig.reading.synchronised = true;
    for span in [20, 1200, 17 * 3600, 24 * 3600] {
        after.pass(Span::from_secs(span));
        after.cycle();
    }
    let here = after.rig.evidence();
    assert_eq!(after.rig.status().pending_bundles, 0, "all evidence arrives");
    // What was pruned is not here any more.
    let evidence = after.rig.plane.stored.clone();
    let kept = evidence.iter().rev().take(here.len()).rev();
    assert!(kept.eq(&here), "what is here is the end of what arrived");
    nothing_reported_is_lost(recording, cut, &after.rig);
    each_order_ended_once(&recording.forms[..cut.moment.forms], &evidence);
    each_order_started_once(recording, cut, &after.starts, &evidence);
    for sequence in interrupted {
        was_judged_by_looking(sequence, recording, cut, &evidence);
    }
    assert!(evidence.iter().all(|bundle| bundle.reason != "ledger_new"), "no past is lost");
    assert!(after.rig.plane.open.is_empty(), "the control plane waits for no order any more");
}

struct After {
    rig: Rig,
    starts: Vec<Option<u64>>,
    program: Arc<Mutex<Program>>,
}

impl After {
    fn new(dir: TempDir, recording: &Recording, cut: &Cut<'_>) -> Self {
        let moment = cut.moment;
        let mut reading = moment.reading;
        if cut.next_boot {
            // Its clock is not synchronised yet.
            reading.boottime = Span::from_secs(30);
            reading.synchronised = false;
        }
        // Other ids than those of the executor that was cut off.
        let (boot, salt) = (1 + u8::from(cut.next_boot), 100);
        let setup = recording.setup.clone();
        let rig = Rig::on(dir, setup, moment.plane.clone(), reading, boot, salt);
        rig.host.set_files(moment.files.clone());
        let now = moment.reading.wall.plus(Span::from_millis(100));
        let program = Program::new(now, moment.ends_well);
        install(&rig.host, &program);
        Self { rig, starts: Vec::new(), program }
    }

    fn program_ends(&self) {
        let now = self.program.lock().unwrap().now;
        self.rig.host.write(ARCHIVE, b"late");
        self.rig.host.write(STATUS_FILE, job_status(now, ARCHIVE, b"late"));
    }

    fn pass(&mut self, span: Span) {
        self.rig.pass(span);
        self.program.lock().unwrap().now = self.rig.reading.wall;
    }

    /// A poll, what it sets off, and an upload.
    fn cycle(&mut self) {
        self.settle();
        let ticket = self.rig.ticket();
        let answer = self.rig.plane.answer(&ticket, self.rig.reading.wall);
        assert!(matches!(self.rig.handle(answer), Answer::Feed { fresh: true, .. }));
        self.settle();
        self.rig.upload();
    }

    fn settle(&mut self) {
        self.rig.engine.tick(self.rig.reading).unwrap();
        loop {
            let jobs = self.rig.engine.take_jobs();
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                match job {
                    EngineJob::Round(_) | EngineJob::LookAround => self.rig.run(job),
                    EngineJob::Effect(permit) => {
                        self.starts.push(under_way(&self.rig));
                        let tools = Tools {
                            systemctl: Some(SYSTEMCTL.parse().unwrap()),
                            undo_dir: std::env::temp_dir(),
                            switching: None,
                            fills_sets: None,
                        };
                        let uptime = self.rig.reading.boottime;
                        let performed = perform(permit, &*self.rig.host, &tools, &|| uptime);
                        self.rig.engine.effect_done(performed, self.rig.reading).unwrap();
                    }
                }
            }
        }
    }
}

/// The orders whose effect had been begun, as far as the disk knows, and not concluded.
fn interrupted(path: &Path) -> Vec<u64> {
    let open = Ledger::read(path).unwrap().open_intents().unwrap();
    let begun = open.into_iter().filter(|(_, intent)| intent.effect.is_some());
    begun
        .filter_map(|(_, intent)| match intent.trigger {
            IntentTrigger::Order { sequence, .. } => Some(sequence),
            IntentTrigger::Drift => None,
        })
        .collect()
}

/// Evidence that had been handed out, and receipts that had been said to be recorded, are still there.
fn nothing_reported_is_lost(recording: &Recording, cut: &Cut<'_>, rig: &Rig) {
    let mut stored = BTreeMap::new();
    let each = |bundle: StoredBundle| {
        let json: serde_json::Value =
            serde_json::from_slice(bundle.signed.json.as_slice()).unwrap();
        stored.insert(json["id"].as_str().unwrap().to_owned(), bundle);
        Ok::<_, LedgerError>(())
    };
    Ledger::read(&rig.ledger_path()).unwrap().each_bundle(each).unwrap();
    let first = rig.evidence()[0].sequence;
    let arrived = &rig.plane.stored;
    let pruned = arrived.iter().filter(|bundle| bundle.sequence < first);
    let pruned: BTreeSet<_> = pruned.map(|bundle| bundle.id.to_string()).collect();
    for bundle in &recording.handed_out[..cut.moment.handed_out] {
        let kept = stored.values().filter(|kept| kept.signed == *bundle).count();
        let json: serde_json::Value = serde_json::from_slice(bundle.json.as_slice()).unwrap();
        let was_pruned = pruned.contains(json["id"].as_str().unwrap());
        assert_eq!(kept, usize::from(!was_pruned), "what was handed out is there byte for byte");
    }
    for (id, receipt) in &recording.receipts[..cut.moment.receipts] {
        if !pruned.contains(id) {
            assert_eq!(stored[id].receipt.as_ref(), Some(receipt), "a recorded receipt is there");
        }
    }
}

fn about<'a>(form: &OrderForm, evidence: &'a [Bundle]) -> Vec<&'a Bundle> {
    let sha256 = form.sha256();
    evidence.iter().filter(|bundle| bundle.trigger.order_sha256 == Some(sha256)).collect()
}

fn each_order_ended_once(forms: &[OrderForm], evidence: &[Bundle]) {
    for form in forms {
        let about = about(form, evidence);
        let told: Vec<_> = about.iter().map(|b| (b.outcome, b.reason.as_str())).collect();
        let terminal = about.iter().filter(|bundle| bundle.outcome.is_terminal()).count();
        // One that was taken back before it ever arrived leaves nothing.
        let never_came = told.is_empty()
            && evidence
                .iter()
                .any(|b| b.reason == "order_gap" || b.last_order_sequence < form.sequence());
        assert!(terminal == 1 || never_came, "order {}: {told:?}", form.sequence());
        let last = about.last().is_none_or(|bundle| bundle.outcome.is_terminal());
        assert!(last, "order {}: nothing follows its end: {told:?}", form.sequence());
    }
}

/// Before the cut and after it together, and never without evidence of what came of it.
fn each_order_started_once(
    recording: &Recording,
    cut: &Cut<'_>,
    after: &[Option<u64>],
    evidence: &[Bundle],
) {
    let before = &recording.starts[..cut.moment.starts];
    for form in &recording.forms[..cut.moment.forms] {
        let by = |starts: &[Option<u64>]| {
            starts.iter().filter(|start| **start == Some(form.sequence())).count()
        };
        let started = by(before) + by(after);
        assert!(started <= 1, "order {} was started {started} times", form.sequence());
        for bundle in about(form, evidence) {
            let refused = [Outcome::Rejected, Outcome::Expired].contains(&bundle.outcome);
            assert!(!(refused && started > 0), "order {} was started and refused", form.sequence());
            if bundle.outcome == Outcome::Success && bundle.check.is_some() {
                assert_eq!(started, 1, "order {} has a success and no start", form.sequence());
            }
        }
    }
}

/// The order whose effect was under way is concluded by how the host was found.
fn was_judged_by_looking(sequence: u64, recording: &Recording, cut: &Cut<'_>, evidence: &[Bundle]) {
    let ended = evidence
        .iter()
        .filter(|b| b.trigger.order_sequence == Some(sequence) && b.outcome.is_terminal());
    let ended: Vec<_> = ended.map(|b| (b.outcome, b.reason.as_str(), b.check.as_deref())).collect();
    let begun = recording.starts[..cut.moment.starts].last() == Some(&Some(sequence));
    let well = begun && cut.moment.phase == Phase::Done && cut.moment.ends_well;
    let expected = match ended[0].2 {
        Some("backups") if well => (Outcome::Success, "recovered"),
        _ => (Outcome::Failed, "interrupted"),
    };
    assert_eq!((ended[0].0, ended[0].1), expected, "order {sequence}, {:?}", cut.moment.phase);
}
