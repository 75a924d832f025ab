//! A ledger whose past is lost: new, damaged, or set back.

use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::Id;

use super::Engine;
use crate::evidence::Moment;
use crate::gates::Attempt;
use crate::ledger::{Fact, LedgerError, Opened};

/// What "the ledger was set back" is counted by.
const SET_BACK: &str = "ledger:set_back";

/// So often in two days that begins a new chain: only the control plane says so, and were it lying it could
/// make us begin one at each poll.
const MAX_SET_BACKS: usize = 10;

impl Engine {
    /// Says how the ledger came to be open, if it is not the one that was here before.
    pub(super) fn report_new_ledger(
        &mut self,
        opened: Opened,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let detail = match opened {
            Opened::Found => return Ok(()),
            Opened::Absent => "there was no ledger; this is a new one",
            Opened::Damaged => "the ledger was damaged and moved aside; this is a new one",
        };
        self.report_new_chain(detail, None, moment)
    }

    /// The past is lost, in part or whole: from here on orders need a clock that the kernel vouches for.
    /// `fresh` is the new chain, unless the ledger has begun it already.
    fn report_new_chain(
        &mut self,
        detail: &str,
        fresh: Option<Id>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        self.kernel_clock_only = true;
        let moment = self.moment(moment.reading);
        let at = self.limits_now(moment);
        let trigger = Trigger::of(TriggerKind::Boot);
        let draft = self.draft(trigger, Outcome::Alert, "ledger_new", detail, moment);
        self.record(moment, |tx, author| {
            if let Some(fresh) = fresh {
                tx.start_chain(fresh)?;
                tx.count_attempt(SET_BACK, Attempt { at, healed: true })?;
            }
            tx.clear_fact(Fact::New)?;
            tx.set_fact(Fact::KernelClockOnly, "1")?;
            tx.append(author, draft)
        })
    }

    /// As soon as the kernel vouches for the time, orders are taken again: those issued from then on.
    pub(super) fn settle_doubt(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let TrustedNow::Known { at, source: ClockSource::Kernel } = moment.now else {
            return Ok(());
        };
        if !self.kernel_clock_only {
            return Ok(());
        }
        self.record(moment, |tx, _| {
            tx.set_fact(Fact::OrdersAfter, &at.to_string())?;
            tx.clear_fact(Fact::KernelClockOnly)
        })?;
        self.kernel_clock_only = false;
        Ok(())
    }

    /// The control plane holds evidence of ours that this ledger does not: it was set back.
    pub(super) fn notice_rollback(
        &mut self,
        theirs: Option<&EvidenceHead>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let Some(theirs) = theirs else { return Ok(()) };
        if !self.ledger.lacks(theirs)? {
            return Ok(());
        }
        if self.ledger.attempts(SET_BACK, self.limits_now(moment))?.len() >= MAX_SET_BACKS {
            self.kernel_clock_only = true;
            return self.record(moment, |tx, _| tx.set_fact(Fact::KernelClockOnly, "1"));
        }
        let fresh = self.fresh_id(moment);
        let detail = "the control plane holds evidence that this ledger does not: it was set back";
        self.report_new_chain(detail, Some(fresh), moment)
    }
}
