//! Restarts of the machine by order: announced in evidence, and judged by the boot that follows.

use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::time::Span;

use super::Engine;
use super::conclude::finish;
use super::doing::Doing;
use crate::effect::{Effect, Performed};
use crate::evidence::Moment;
use crate::ledger::{Intent, IntentId, LedgerError};

/// A machine that was told to restart goes down within this time.
const GOES_DOWN: Span = Span::from_secs(600);

/// Whether the machine was told to go down, so that nothing is left to be seen in this boot.
pub(super) fn is_under_way(what: &Intent, performed: &Performed) -> bool {
    what.effect == Some(Effect::Reboot) && performed.failure.is_none()
}

impl Engine {
    /// Says so before it is done: what is silent for some minutes then is silent for a reason.
    pub(super) fn announce_reboot(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let trigger = Trigger::of(TriggerKind::Event);
        let detail = "the machine is about to restart";
        let draft = self.draft(trigger, Outcome::Alert, "reboot_announced", detail, moment);
        self.record(moment, |tx, author| tx.append(author, draft))
    }

    /// After a start of the executor: the boot tells whether the machine has restarted.
    pub(super) fn take_up_reboot(
        &mut self,
        intent: IntentId,
        what: Intent,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let doing = Doing::interrupted(intent, what, moment);
        if doing.what.boot_id == self.author.boot_id {
            // It may be going down just now; it is not told twice.
            self.doing = Some(doing);
            return Ok(());
        }
        let expected = self.expected_system.as_ref().filter(|_| self.machine.running.is_some());
        match (&self.machine.running, expected) {
            (Some(running), Some(expected)) if running != expected => {
                let detail =
                    format!("the machine has restarted, and runs {running} instead of {expected}");
                self.conclude_reboot(doing, Outcome::Failed, "booted_other_system", detail, moment)
            }
            _ => {
                let detail = "the machine has restarted".to_owned();
                self.conclude_reboot(doing, Outcome::Success, "rebooted", detail, moment)
            }
        }
    }

    /// A machine that does not go down is no longer waited for.
    pub(super) fn reboot_overdue(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let now = moment.reading.boottime.as_millis();
        let overdue = |doing: &mut Doing| {
            let waited = now - doing.started.reading.boottime.as_millis();
            let told = doing.performed.is_some() || doing.after_crash;
            doing.what.effect == Some(Effect::Reboot) && told && waited >= GOES_DOWN.as_millis()
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
