//! Receipts, and the control plane's evidence log: that it only grows.

use std::cmp::Ordering;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Finding, Outcome, Trigger, TriggerKind};
use compliance_protocol::name::Id;
use compliance_protocol::tlog::{
    SignedCheckpoint, TlogProof, VerifiedCheckpoint, verify_consistency,
};
use compliance_protocol::wire::{UploadResult, UploadStatus};

use super::Engine;
use crate::evidence::Moment;
use crate::ledger::{Fact, LedgerError, LogHead, MAX_PENDING};

impl Engine {
    /// Follows the evidence log to a newer checkpoint, if it extends the last one; else reports, once,
    /// that the control plane has rewritten history.
    pub(super) fn follow_log(
        &mut self,
        checkpoint: &str,
        consistency: &[Digest],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let log = &self.trust.log;
        let verified =
            SignedCheckpoint::parse(checkpoint).and_then(|note| note.verify(log, log.name()));
        let next = match verified {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "the checkpoint is not taken");
                return Ok(());
            }
        };
        let Some(head) = self.ledger.log_head()? else { return self.keep_log_head(&next, moment) };
        match extends(head, &next, consistency) {
            Ok(()) => self.keep_log_head(&next, moment),
            Err(_) if self.extends_the_tickets_log(head, &next, consistency) => Ok(()),
            Err(why) => self.report_rewritten(&next, why, moment),
        }
    }

    /// The proof runs from the size in the ticket, and an answer since may have moved us on: a larger
    /// checkpoint that extends that log is no fault, and the next poll's proof runs from where we are.
    fn extends_the_tickets_log(
        &self,
        head: LogHead,
        next: &VerifiedCheckpoint,
        consistency: &[Digest],
    ) -> bool {
        next.size() > head.size
            && match self.log_base {
                None => true, // Every log extends the empty one.
                Some(base) => base.size < head.size && extends(base, next, consistency).is_ok(),
            }
    }

    /// Keeps the receipts that verify; how many there were.
    pub(super) fn take_receipts(
        &mut self,
        results: &[UploadResult],
        moment: Moment,
    ) -> Result<u64, LedgerError> {
        let mut kept = Vec::new();
        let mut refused = Vec::new();
        for result in results.iter().take(MAX_PENDING) {
            let Some(id) = result.id else { continue };
            match (result.status, &result.receipt) {
                (UploadStatus::Refused, _) => {
                    if let Some(before) = self.ledger.refused_before(id)? {
                        let why = result.reason.as_deref().unwrap_or("no reason given");
                        refused.push(Refused { id, why, before });
                    }
                }
                (_, Some(receipt)) if self.receipt_holds(id, receipt)? => kept.push((id, receipt)),
                (_, _) => {
                    tracing::warn!(%id, "a receipt does not verify; the bundle stays in the queue");
                }
            }
        }
        self.note_refused(&refused, moment)?;
        if kept.is_empty() {
            return Ok(0);
        }
        self.record(moment, |tx, _| {
            let recorded = kept.iter().map(|(id, receipt)| tx.keep_receipt(*id, receipt));
            recorded.map(|new| new.map(u64::from)).sum()
        })
    }

    fn receipt_holds(&self, id: Id, receipt: &str) -> Result<bool, LedgerError> {
        let Some(stored) = self.ledger.bundle(id)? else { return Ok(false) };
        let log = &self.trust.log;
        Ok(TlogProof::parse(receipt)
            .and_then(|proof| proof.verify(stored.signed.json.as_slice(), log, log.name()))
            .is_ok())
    }

    fn keep_log_head(
        &mut self,
        next: &VerifiedCheckpoint,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let (size, root) = (next.size(), next.root());
        if self.ledger.log_head()? == Some(LogHead { size, root }) || size == 0 {
            return Ok(());
        }
        self.record(moment, |tx, _| {
            tx.set_fact(Fact::LogSize, &size.to_string())?;
            tx.set_fact(Fact::LogRoot, &root.to_string())
        })
    }

    fn report_rewritten(
        &mut self,
        next: &VerifiedCheckpoint,
        why: &str,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        if self.ledger.fact::<Digest>(Fact::LogRewritten)?.is_some() {
            return Ok(());
        }
        let detail = format!("the control plane's evidence log {why}");
        let trigger = Trigger::of(TriggerKind::Event);
        let draft = self.draft(trigger, Outcome::Alert, "history_rewritten", detail, moment);
        self.record(moment, |tx, author| {
            tx.set_fact(Fact::LogRewritten, &next.root().to_string())?;
            tx.append(author, draft)
        })
    }

    /// Marks what the control plane does not take, and reports it once. Such a report that is not taken
    /// in its turn is not reported: there would be no end to it.
    fn note_refused(&mut self, refused: &[Refused<'_>], moment: Moment) -> Result<(), LedgerError> {
        let mut findings = Vec::new();
        for Refused { id, why, .. } in refused.iter().filter(|refused| !refused.before) {
            if self.ledger.reason(*id)?.as_deref() != Some(REPORT) {
                let why = why.chars().filter(|c| !c.is_control()).take(200).collect();
                let expected = "taken by the control plane".to_owned();
                findings.push(Finding { subject: format!("bundle {id}"), expected, actual: why });
            }
        }
        let detail = format!("the control plane does not take {} bundles", findings.len());
        let trigger = Trigger::of(TriggerKind::Event);
        let report = (!findings.is_empty()).then(|| {
            self.draft(trigger, Outcome::Alert, REPORT, detail, moment).findings(findings)
        });
        if refused.is_empty() {
            return Ok(());
        }
        self.record(moment, |tx, author| {
            for Refused { id, why, .. } in refused {
                tx.mark_refused(*id, why, moment.reading.wall)?;
            }
            report.map_or(Ok(()), |draft| tx.append(author, draft))
        })
    }
}

/// A bundle that the agent says was not taken.
struct Refused<'a> {
    id: Id,
    why: &'a str,
    /// It said so before.
    before: bool,
}

/// The reason of the alert about bundles that the control plane does not take.
const REPORT: &str = "evidence_refused";

/// Whether the log of `next` is that of `head`, grown.
fn extends(
    head: LogHead,
    next: &VerifiedCheckpoint,
    consistency: &[Digest],
) -> Result<(), &'static str> {
    match next.size().cmp(&head.size) {
        Ordering::Less => Err("shrank"),
        Ordering::Equal if next.root() == head.root => Ok(()),
        Ordering::Equal => Err("has another content of the same size"),
        Ordering::Greater => {
            verify_consistency(head.size, &head.root, next.size(), &next.root(), consistency)
                .map_err(|_| "is not shown to extend the one verified before")
        }
    }
}
