//! Restarts of the machine by order: begun when nobody else is at it, announced in evidence, and judged by the
//! boot that follows and by what a round of checks sees then.

use compliance_protocol::clock::ClockReading;
use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::gate::Gate;
use compliance_protocol::time::Span;
use serde_json::{Map, Value, json};

use super::conclude::{finish, is_soon_after};
use super::doing::Doing;
use super::{Engine, Job};
use crate::authorise::Permit;
use crate::effect::{Effect, Performed};
use crate::evidence::Moment;
use crate::ledger::{Intent, IntentId, LedgerError, OrderRow};

/// A machine that was told to restart goes down within this time.
const GOES_DOWN: Span = Span::from_secs(600);

/// A look whether anybody else is at the machine. It counts for the moment at which it comes.
pub(super) enum Around {
    NotAsked,
    Asked,
    Seen(Vec<Gate>),
}

/// Whether the machine was told to go down, so that nothing is left to be seen in this boot.
pub(super) fn is_under_way(what: &Intent, performed: &Performed) -> bool {
    what.effect == Some(Effect::Reboot) && performed.failure.is_none()
}

impl Engine {
    /// What a look around has seen.
    pub fn looked_around(
        &mut self,
        gates: Vec<Gate>,
        reading: ClockReading,
    ) -> Result<(), LedgerError> {
        let moment = self.moment(reading);
        self.around = Around::Seen(gates);
        self.consider_orders(moment)?;
        self.around = Around::NotAsked;
        Ok(())
    }

    /// The gates for `permit`. Those of a restart need a look around first; nothing while that is under way, or
    /// where it holds the order up.
    pub(super) fn with_look_around(
        &mut self,
        row: &OrderRow,
        permit: &Permit,
        mut gates: Vec<Gate>,
        moment: Moment,
    ) -> Result<Option<Vec<Gate>>, LedgerError> {
        if permit.effect() != &Effect::Reboot {
            return Ok(Some(gates));
        }
        match &self.around {
            Around::Seen(seen) => gates.extend(seen.clone()),
            Around::Asked => return Ok(None),
            Around::NotAsked => {
                self.around = Around::Asked;
                self.jobs.push(Job::LookAround);
                return Ok(None);
            }
        }
        if gates.iter().all(Gate::is_open) {
            return Ok(Some(gates));
        }
        self.hold(row, gates, moment)?;
        Ok(None)
    }

    /// Says so before it is done: what is silent for some minutes then is silent for a reason.
    pub(super) fn announce_reboot(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let trigger = Trigger::of(TriggerKind::Event);
        let detail = "the machine is about to restart";
        let draft = self.draft(trigger, Outcome::Alert, "reboot_announced", detail, moment);
        self.record(moment, |tx, author| tx.append(author, draft))
    }

    /// After a start of the executor: the boot tells whether the machine has restarted. If so, a round of checks
    /// is to conclude it.
    pub(super) fn take_up_reboot(
        &mut self,
        intent: IntentId,
        what: Intent,
        moment: Moment,
    ) -> bool {
        // In the same boot it may be going down just now; it is not told twice.
        let has_booted = what.boot_id != self.author.boot_id;
        self.doing = Some(Doing::interrupted(intent, what, moment));
        has_booted
    }

    /// Whether the machine has restarted by this.
    pub(super) fn has_rebooted(&self, what: &Intent) -> bool {
        what.effect == Some(Effect::Reboot) && what.boot_id != self.author.boot_id
    }

    /// Whether it was just restarted, and it cannot be seen yet which system runs.
    pub(super) fn is_unseen(&self, doing: &Doing, moment: Moment) -> bool {
        let unseen = self.expected_system.is_some() && self.author.system.running.is_none();
        unseen && self.has_rebooted(&doing.what) && is_soon_after(doing.started, moment)
    }

    /// How a restart has ended, by the system that runs now.
    pub(super) fn judge_reboot(&self) -> (Outcome, &'static str, String) {
        match (&self.author.system.running, &self.expected_system) {
            (None, Some(expected)) => {
                let detail = format!(
                    "the machine has restarted, and it cannot be seen whether {expected} runs"
                );
                (Outcome::Failed, "booted_unseen", detail)
            }
            (Some(running), Some(expected)) if running != expected => {
                let detail =
                    format!("the machine has restarted, and runs {running} instead of {expected}");
                (Outcome::Failed, "booted_other_system", detail)
            }
            _ => (Outcome::Success, "rebooted", "the machine has restarted".to_owned()),
        }
    }

    /// How things are after a restart: the six states, and which system runs.
    pub(super) fn after_reboot(&self, states: Value) -> Map<String, Value> {
        let running = json!(self.author.system.running);
        Map::from_iter([("states".to_owned(), states), ("running".to_owned(), running)])
    }

    /// A machine that does not go down is no longer waited for.
    pub(super) fn reboot_overdue(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let now = moment.reading.boottime.as_millis();
        let this_boot = self.author.boot_id.clone();
        let overdue = |doing: &mut Doing| {
            let waited = now - doing.started.reading.boottime.as_millis();
            let told = doing.performed.is_some() || doing.after_crash;
            let is_up =
                doing.what.effect == Some(Effect::Reboot) && doing.what.boot_id == this_boot;
            is_up && told && waited >= GOES_DOWN.as_millis()
        };
        let Some(doing) = self.doing.take_if(overdue) else { return Ok(()) };
        let detail = format!("the machine did not go down within {GOES_DOWN}");
        self.conclude_reboot(doing, Outcome::Failed, "not_rebooted", detail, moment)
    }

    fn conclude_reboot(
        &mut self,
        doing: Doing,
        outcome: Outcome,
        reason: &str,
        detail: String,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let Doing { intent, what, started, performed, .. } = doing;
        let actions = performed.map(|performed| performed.actions).unwrap_or_default();
        let draft = self
            .draft(what.trigger.evidence(), outcome, reason, detail, moment)
            .since(started)
            .pre(what.pre.clone())
            .gates(what.gates.clone())
            .actions(actions);
        self.record(moment, |tx, author| {
            finish(tx, intent, &what)?;
            tx.append(author, draft)
        })
    }
}
