//! The engine: what the executor decides and remembers. It waits for nothing and touches no host:
//! events come in with the moment they happened, and what is to be done comes out as [`Job`]s.

mod activation;
mod conclude;
mod connectivity;
mod documents;
mod doing;
mod feed;
mod loss;
mod orders;
mod outbox;
mod reboot;
mod retention;
mod rounds;
mod status;
mod systems;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use compliance_checks::Report;
use compliance_checks::baseline::Baseline;
use compliance_protocol::clock::{ClockReading, HeadMark, stepped_back, trusted_now};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Verified;
use compliance_protocol::evidence::{Outcome, System, Trigger, TriggerKind};
use compliance_protocol::feed::Nonce;
use compliance_protocol::local::{Answer, Connectivity, Request};
use compliance_protocol::name::{Id, StorePath};
use compliance_protocol::status::CheckStatus;
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::Trust;
use compliance_protocol::window::Windows;

use crate::activation::{Limits, Proven};
use crate::authorise::{Circumstances, Permit};
use crate::config::{Heal, Reboots, Source};
use crate::documents::Machine;
use crate::evidence::{Author, Draft, Moment};
use crate::ledger::{Fact, Intent, IntentId, Ledger, LedgerError, Opened, Tx};
use crate::observe::Observed;
use crate::reserve::Space;
use doing::Doing;

/// Something to be done outside the engine.
#[derive(Debug)]
pub enum Job {
    /// Run the six checks, and hand the result to [`Engine::round_done`].
    Round(RoundJob),
    /// Do this to the host, and hand the result to [`Engine::effect_done`].
    Effect(Permit),
    /// Look whether anybody else is at the machine, and hand the gates to [`Engine::looked_around`].
    LookAround,
}

/// A round to be run.
#[derive(Debug, Clone)]
pub struct RoundJob {
    /// The baseline in force, or why there is none.
    pub baseline: Result<Arc<Baseline>, String>,
    /// What the checks cannot see on the host.
    pub about: compliance_checks::Circumstances,
    /// When it was asked for.
    pub asked: Moment,
    /// Which baseline that is.
    sha256: Option<Digest>,
    /// The intents that this round concludes.
    concludes: Vec<IntentId>,
}

/// What the engine is made of.
pub struct Parts {
    /// Who makes evidence.
    pub author: Author,
    /// The trust file in force.
    pub trust: Trust,
    /// The baseline in force, or why there is none.
    pub baseline: Result<Verified<Baseline>, String>,
    /// What identifies this machine.
    pub machine: Machine,
    /// The maintenance windows.
    pub windows: Windows,
    /// The healing policy.
    pub heal: Heal,
    /// How long the parts of an activation may take; `None` where systems are not activated.
    pub limits: Option<Limits>,
    /// Where systems come from.
    pub source: Source,
    /// Whether the machine is restarted.
    pub reboots: Reboots,
    /// Nothing is changed; what would be is recorded.
    pub dry_run: bool,
    /// How often the checks run.
    pub round_interval: Span,
    /// For how many days evidence is kept.
    pub retention_days: u16,
    /// The ledger, and how it came to be open.
    pub ledger: (Ledger, Opened),
    /// Fills a buffer with random bytes.
    pub random: Random,
}

/// A source of random bytes.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// The executor's mind.
pub struct Engine {
    author: Author,
    trust: Trust,
    baseline: Result<InForce, String>,
    machine: Machine,
    expected_system: Option<StorePath>,
    proven: Proven,
    windows: Windows,
    heal: Heal,
    limits: Option<Limits>,
    source: Source,
    reboots: Reboots,
    dry_run: bool,
    disk_full: bool,
    disk_full_reported: bool,
    round_interval: Span,
    retention_days: u16,
    /// When to look again what need not be kept any longer.
    next_pruning: Span,
    ledger: Ledger,
    random: Random,
    high_water: Option<Timestamp>,
    kernel_clock_only: bool,
    ticket: Option<Outstanding>,
    head: Option<HeadMark>,
    doing: Option<Doing>,
    activating: Option<activation::Activating>,
    /// Why an activation that nobody ordered was deferred, and when it is tried again, by `CLOCK_BOOTTIME`.
    deferred_drift: Option<(String, Span)>,
    /// What a look around was asked for and has seen, for the restart that waits for it.
    around: reboot::Around,
    /// Since when each look found the baseline's ruleset in force, by `CLOCK_BOOTTIME`.
    ruleset_since: Option<Span>,
    /// What the next round concludes, since the last could not.
    unjudged: Option<IntentId>,
    looking: Vec<(IntentId, Intent, Moment)>,
    board: Vec<CheckStatus>,
    rounds: rounds::Summary,
    next_round: Span,
    rounds_under_way: u32,
    /// A hint came that no round has followed yet.
    hinted: bool,
    events: VecDeque<Span>,
    connectivity: Option<Connectivity>,
    step_reported: bool,
    jobs: Vec<Job>,
}

struct InForce {
    baseline: Arc<Baseline>,
    sha256: Digest,
}

struct Outstanding {
    nonce: Nonce,
    given: Span,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("site", &self.author.site).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("site", &self.author.site).finish_non_exhaustive()
    }
}

impl Engine {
    /// Takes up where the ledger left off: what a crash interrupted is concluded by looking, never
    /// started again.
    pub fn start(parts: Parts, reading: ClockReading) -> Result<Self, LedgerError> {
        let (ledger, opened) = parts.ledger;
        let mut engine = Self {
            high_water: ledger.fact(Fact::HighWater)?,
            kernel_clock_only: ledger.fact::<u8>(Fact::KernelClockOnly)?.is_some(),
            author: parts.author,
            trust: parts.trust,
            baseline: parts.baseline.map(documents::in_force),
            expected_system: ledger.fact(Fact::ExpectedSystem)?,
            proven: ledger.proven()?,
            machine: parts.machine,
            windows: parts.windows,
            heal: parts.heal,
            limits: parts.limits,
            source: parts.source,
            reboots: parts.reboots,
            dry_run: parts.dry_run,
            disk_full: false,
            disk_full_reported: false,
            round_interval: parts.round_interval,
            retention_days: parts.retention_days,
            next_pruning: Span::ZERO,
            ledger,
            random: parts.random,
            ticket: None,
            head: None,
            doing: None,
            activating: None,
            deferred_drift: None,
            around: reboot::Around::NotAsked,
            ruleset_since: None,
            unjudged: None,
            looking: Vec::new(),
            board: Vec::new(),
            rounds: rounds::Summary::default(),
            next_round: Span::ZERO,
            rounds_under_way: 0,
            hinted: false,
            events: VecDeque::new(),
            connectivity: None,
            step_reported: false,
            jobs: Vec::new(),
        };
        let moment = engine.moment(reading);
        engine.report_new_ledger(opened, moment)?;
        engine.adopt_system(moment)?;
        engine.take_up_intents(moment)?;
        Ok(engine)
    }

    /// Answers the agent.
    pub fn handle(
        &mut self,
        request: Request,
        reading: ClockReading,
    ) -> Result<Answer, LedgerError> {
        let moment = self.moment(reading);
        self.settle_doubt(moment)?;
        match request {
            Request::Ticket {} => self.give_ticket(moment),
            Request::Feed { head, orders, checkpoint, consistency } => {
                let followed = self.trust.log.clone();
                let fresh = self.take_feed(head.as_slice(), &orders, moment)?;
                // An order may have brought a trust file that names another log than this answer's.
                if let Some(log) = fresh.filter(|_| self.trust.log == followed) {
                    self.follow_head(log, &checkpoint, &consistency, self.moment(reading))?;
                }
                Ok(Answer::Feed { fresh: fresh.is_some(), log_size: self.log_size()? })
            }
            Request::Pending { bytes } => {
                let wall = moment.reading.wall;
                Ok(Answer::Pending { bundles: self.ledger.pending(bytes.min(MAX_BATCH), wall)? })
            }
            Request::Receipts { results, checkpoint, consistency } => {
                let accepted = self.follow_upload(&checkpoint, &consistency, moment)?;
                let recorded = self.take_receipts(&results, accepted.as_ref(), moment)?;
                Ok(Answer::Receipts { recorded, log_size: self.log_size()? })
            }
            Request::Event { connectivity, cause } => {
                self.note_connectivity(connectivity, cause, moment)?;
                Ok(Answer::Event {})
            }
            Request::Status {} => Ok(Answer::Status { status: Box::new(self.status(moment)?) }),
        }
    }

    /// Lets time pass: starts the next round when it is due and none is under way, and looks at the
    /// orders that wait. Returns when to call again, by `CLOCK_BOOTTIME`.
    pub fn tick(&mut self, reading: ClockReading) -> Result<Span, LedgerError> {
        // A person at the box may have reset it.
        self.high_water = self.ledger.fact(Fact::HighWater)?;
        let moment = self.moment(reading);
        self.settle_doubt(moment)?;
        self.report_step(moment)?;
        if reading.boottime >= self.next_round {
            self.next_round = after(reading.boottime, self.round_interval);
            // Rounds that take longer than their interval do not pile up.
            if self.rounds_under_way == 0 {
                self.hinted = false;
                let concludes = self.unjudged.take().into_iter().collect();
                self.ask_for_round(concludes, moment);
            }
        }
        let due = self.wait_on(moment);
        self.go_on_waiting(moment)?;
        self.reboot_overdue(moment)?;
        self.consider_orders(moment)?;
        self.report_suppressed(moment)?;
        self.prune(moment)?;
        let due = due.into_iter().chain(self.activation_wakes());
        Ok(due.fold(self.next_round.min(after(reading.boottime, WAKE)), Span::min))
    }

    /// The system was seen like this, with the round that ends now: evidence from here on names it. Another
    /// system than before has another baseline: `closure_baseline` reads the one that it brought.
    pub fn system_seen(
        &mut self,
        system: System,
        closure_baseline: &dyn Fn() -> Result<Vec<u8>, String>,
    ) -> Result<(), LedgerError> {
        let is_new = system.running != self.author.system.running;
        self.author.system = system;
        if is_new {
            self.machine.running = self.author.system.running.clone();
            self.reread_baseline(closure_baseline())?;
        }
        Ok(())
    }

    /// The disk was seen to have room, or none: that is reported once until it has some again. On a full
    /// one there may be no room for that either, and then it is said later.
    pub fn space_seen(&mut self, space: Space, reading: ClockReading) {
        self.disk_full = space == Space::Full;
        self.disk_full_reported &= self.disk_full;
        if !self.disk_full || self.disk_full_reported {
            return;
        }
        let moment = self.moment(reading);
        let detail =
            "the disk with the ledger is full: what is going on is ended, and nothing new is begun";
        let trigger = Trigger::of(TriggerKind::Event);
        let draft = self.draft(trigger, Outcome::Alert, "disk_full", detail, moment);
        match self.record(moment, |tx, author| tx.append(author, draft)) {
            Ok(()) => self.disk_full_reported = true,
            Err(error) => tracing::error!(%error, "the disk is full, and that cannot be recorded"),
        }
    }

    /// A round has ended.
    pub fn round_done(
        &mut self,
        round: &RoundJob,
        observed: &[Observed],
        reading: ClockReading,
    ) -> Result<(), LedgerError> {
        let moment = self.moment(reading);
        self.rounds_under_way = self.rounds_under_way.saturating_sub(1);
        // What it was a hint of may have come too late for this round.
        if self.hinted {
            self.bring_round_forward(reading);
        }
        self.conclude(round, observed, moment)?;
        // One that was judged by an older baseline says nothing any more; another was asked for since.
        if round.sha256 == self.baseline_sha256() {
            self.take_round(observed, moment)?;
        }
        // What the round's end has freed may start at once.
        self.consider_orders(moment)
    }

    /// What is to be done now.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Something that the checks look at may have changed: the next round is due at once, but not within
    /// a quarter of a second of the last hint. It is a hint, never a fact.
    pub fn hint(
        &mut self,
        closure_baseline: Result<Vec<u8>, String>,
        reading: ClockReading,
    ) -> Result<(), LedgerError> {
        self.reread_baseline(closure_baseline)?;
        self.hinted = true;
        self.bring_round_forward(reading);
        Ok(())
    }

    fn bring_round_forward(&mut self, reading: ClockReading) {
        self.next_round = self.next_round.min(after(reading.boottime, HINT_DELAY));
    }

    /// The files and links that are worth a look when they change: the given ones, and what the baseline
    /// in force makes the checks look at.
    pub fn watched(&self, given: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let in_force = self.baseline.as_ref().ok();
        let jobs = in_force.map(|in_force| in_force.baseline.backup_jobs()).unwrap_or_default();
        let status_files = jobs.iter().map(|job| PathBuf::from(job.status_file.as_str()));
        given.iter().cloned().chain(status_files).collect()
    }

    fn ask_for_round(&mut self, concludes: Vec<IntentId>, moment: Moment) {
        let baseline =
            self.baseline.as_ref().map(|b| Arc::clone(&b.baseline)).map_err(Clone::clone);
        let mut nonce = [0; 16];
        (self.random)(&mut nonce);
        let about = compliance_checks::Circumstances {
            now: moment.now,
            uptime: moment.reading.boottime,
            expected_system: self.expected_system.clone(),
            nonce,
        };
        let sha256 = self.baseline_sha256();
        self.jobs.push(Job::Round(RoundJob { baseline, about, asked: moment, sha256, concludes }));
        self.rounds_under_way += 1;
    }

    /// Commits a change together with its evidence and the latest trusted time.
    fn record<T>(
        &mut self,
        moment: Moment,
        change: impl FnOnce(&Tx<'_>, &Author) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let later = moment.now.at().filter(|at| self.high_water.is_none_or(|mark| *at > mark));
        let author = &self.author;
        let result = self.ledger.commit(|tx| {
            if let Some(at) = later {
                tx.set_fact(Fact::HighWater, &at.to_string())?;
            }
            change(tx, author)
        })?;
        self.high_water = later.or(self.high_water);
        Ok(result)
    }

    /// A clock behind the latest time ever trusted is reported, once until it is right again.
    fn report_step(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let before = std::mem::replace(&mut self.step_reported, moment.stepped_back);
        if before || !moment.stepped_back {
            return Ok(());
        }
        let detail = "the machine's clock is behind the latest time that was ever trusted";
        let trigger = Trigger::of(TriggerKind::Event);
        let draft = self.draft(trigger, Outcome::Alert, "clock_stepped_back", detail, moment);
        self.record(moment, |tx, author| tx.append(author, draft))
    }

    fn log_size(&self) -> Result<u64, LedgerError> {
        Ok(self.ledger.log_head()?.map_or(0, |head| head.size))
    }

    fn draft(
        &mut self,
        trigger: Trigger,
        outcome: Outcome,
        reason: &str,
        detail: impl Into<String>,
        moment: Moment,
    ) -> Draft {
        let mut random = [0; 10];
        (self.random)(&mut random);
        Draft::new(trigger, outcome, reason, detail, moment, random)
    }

    fn fresh_id(&mut self, moment: Moment) -> Id {
        let mut random = [0; 10];
        (self.random)(&mut random);
        Id::new(moment.stamp(), random)
    }

    fn moment(&self, reading: ClockReading) -> Moment {
        let mark = self.head.filter(|_| !self.kernel_clock_only);
        Moment {
            reading,
            now: trusted_now(reading, mark, self.high_water),
            stepped_back: stepped_back(reading, self.high_water),
        }
    }

    fn circumstances<'a>(&'a self, doing: Option<&'a str>, moment: Moment) -> Circumstances<'a> {
        Circumstances {
            trust: &self.trust,
            machine: &self.machine,
            baseline: self.baseline.as_ref().ok().map(|held| (&*held.baseline, held.sha256)),
            heal: &self.heal,
            limits: self.limits,
            source: self.source,
            reboots: self.reboots,
            dry_run: self.dry_run,
            disk_full: self.disk_full,
            windows: &self.windows,
            doing,
            activating: self.activated_system(),
            proven: &self.proven,
            now: moment.now,
            wall: moment.reading.wall,
        }
    }

    fn baseline_sha256(&self) -> Option<Digest> {
        self.baseline.as_ref().ok().map(|in_force| in_force.sha256)
    }
}

/// Orders that wait are looked at this often, however seldom the checks run.
const WAKE: Span = Span::from_secs(60);

fn after(boottime: Span, span: Span) -> Span {
    Span::from_millis(boottime.as_millis().saturating_add(span.as_millis()))
}
/// Changes that come together are looked at once.
const HINT_DELAY: Span = Span::from_millis(250);

/// The most that one answer to [`Request::Pending`] carries, in bytes of JSON.
const MAX_BATCH: u64 = 768 * 1024;

/// The facts of one check's report, for `pre`.
fn facts_of(report: Option<&Report>) -> serde_json::Map<String, serde_json::Value> {
    report.map(|report| report.facts.clone()).unwrap_or_default()
}
