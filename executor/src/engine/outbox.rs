//! Receipts, and the control plane's evidence log: that it only grows.

use std::cmp::Ordering;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Finding, Outcome, Trigger, TriggerKind};
use compliance_protocol::feed::LogState;
use compliance_protocol::name::Id;
use compliance_protocol::tlog::{
    SignedCheckpoint, TlogProof, VerifiedCheckpoint, verify_consistency,
};
use compliance_protocol::wire::{UploadResult, UploadStatus};

use super::Engine;
use crate::evidence::Moment;
use crate::ledger::{Fact, LedgerError, LogHead, MAX_PENDING};

impl Engine {
    /// Follows the evidence log to where a fresh feed head says it stands. When it shrank, or has another
    /// content of the same size, the control plane has rewritten history: that is reported, and from here
    /// on the new log is followed.
    pub(super) fn follow_head(
        &mut self,
        log: LogState,
        checkpoint: &str,
        consistency: &[Digest],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let held = self.ledger.log_head()?;
        let rewritten = held.is_some_and(|held| {
            log.size < held.size || (log.size == held.size && log.root != held.root)
        });
        if rewritten {
            let digest = Digest::of(format!("rewritten {} {}", log.size, log.root).as_bytes());
            let detail =
                "the control plane's evidence log shrank, or has another content than before";
            self.refuse("history_rewritten", detail, digest, Outcome::Alert, moment)?;
            return self.keep_log_head(log, true, moment);
        }
        let shown = self
            .verify_checkpoint(checkpoint)
            .filter(|shown| (shown.size(), shown.root()) == (log.size, log.root));
        match held {
            Some(held) if log.size == held.size => Ok(()),
            _ if shown.is_none_or(|shown| !extends(held, &shown, consistency)) => {
                let digest = Digest::of(format!("unproven {} {}", log.size, log.root).as_bytes());
                let detail = "the evidence log is not shown to extend the one verified before";
                self.refuse("log_not_proven", detail, digest, Outcome::Alert, moment)
            }
            _ => self.keep_log_head(log, false, moment),
        }
    }

    /// Follows the evidence log to the checkpoint of an upload's answer, if that is shown to extend what
    /// was verified; the checkpoint, if so. An answer cannot be shown to be fresh, so nothing is reported.
    pub(super) fn follow_upload(
        &mut self,
        checkpoint: &str,
        consistency: &[Digest],
        moment: Moment,
    ) -> Result<Option<VerifiedCheckpoint>, LedgerError> {
        let held = self.ledger.log_head()?;
        let next = self.verify_checkpoint(checkpoint);
        let next = next.filter(|next| extends(held, next, consistency));
        if let Some(next) = &next {
            let log = LogState { size: next.size(), root: next.root() };
            self.keep_log_head(log, false, moment)?;
        }
        Ok(next)
    }

    fn verify_checkpoint(&self, checkpoint: &str) -> Option<VerifiedCheckpoint> {
        let log = &self.trust.log;
        SignedCheckpoint::parse(checkpoint)
            .and_then(|note| note.verify(log, log.name()))
            .inspect_err(|error| tracing::warn!(%error, "the checkpoint is not taken"))
            .ok()
    }

    /// Keeps the receipts that verify in the log of `accepted`; how many there were. A receipt in a tree
    /// that nobody else is shown would be worth nothing.
    pub(super) fn take_receipts(
        &mut self,
        results: &[UploadResult],
        accepted: Option<&VerifiedCheckpoint>,
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
                (_, Some(receipt)) if self.receipt_holds(id, receipt, accepted)? => {
                    kept.push((id, receipt));
                }
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

    fn receipt_holds(
        &self,
        id: Id,
        receipt: &str,
        accepted: Option<&VerifiedCheckpoint>,
    ) -> Result<bool, LedgerError> {
        let Some(stored) = self.ledger.bundle(id)? else { return Ok(false) };
        let log = &self.trust.log;
        let within = TlogProof::parse(receipt)
            .and_then(|proof| proof.verify(stored.signed.json.as_slice(), log, log.name()));
        Ok(within.is_ok_and(|within| Some(&within) == accepted))
    }

    fn keep_log_head(
        &mut self,
        log: LogState,
        rewritten: bool,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        if self.ledger.log_head()? == Some(LogHead { size: log.size, root: log.root }) {
            return Ok(());
        }
        self.record(moment, |tx, _| {
            if rewritten {
                tx.set_fact(Fact::LogRewritten, &log.root.to_string())?;
            }
            tx.set_fact(Fact::LogSize, &log.size.to_string())?;
            tx.set_fact(Fact::LogRoot, &log.root.to_string())
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

/// Whether the log of `next` is that of `held`, the same or grown. Every log extends the empty one.
fn extends(held: Option<LogHead>, next: &VerifiedCheckpoint, consistency: &[Digest]) -> bool {
    let Some(held) = held.filter(|held| held.size > 0) else { return true };
    match next.size().cmp(&held.size) {
        Ordering::Less => false,
        Ordering::Equal => next.root() == held.root,
        Ordering::Greater => {
            verify_consistency(held.size, &held.root, next.size(), &next.root(), consistency)
                .is_ok()
        }
    }
}
