//! A ledger whose past is lost: new, damaged, or set back.

use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::Id;

use super::Engine;
use crate::evidence::Moment;
use crate::ledger::{Fact, LedgerError, Opened};

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
        let trigger = Trigger::of(TriggerKind::Boot);
        let draft = self.draft(trigger, Outcome::Alert, "ledger_new", detail, moment);
        self.record(moment, |tx, author| {
            fresh.map_or(Ok(()), |fresh| tx.start_chain(fresh))?;
            tx.clear_fact(Fact::New)?;
            tx.set_fact(Fact::KernelClockOnly, "1")?;
            tx.append(author, draft)
        })
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
        let fresh = self.fresh_id(moment);
        let detail = "the control plane holds evidence that this ledger does not: it was set back";
        self.report_new_chain(detail, Some(fresh), moment)
    }
}
