//! Taking a newer trust file or baseline by order.

use std::sync::Arc;

use compliance_checks::baseline::{Baseline, Binding};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Verified;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::StorePath;
use compliance_protocol::order::Refusal;
use compliance_protocol::trust::Trust;

use super::{Engine, InForce};
use crate::documents::{Offered, baseline_in_force, is_kept_for};
use crate::evidence::Moment;
use crate::ledger::{Document, Fact, LedgerError, OrderRow, OrderState};

/// What is known of the evidence log that a trust file names.
const LOG_FACTS: [Fact; 3] = [Fact::LogSize, Fact::LogRoot, Fact::LogRewritten];

impl Engine {
    /// The closure's baseline was replaced on disk, or became unreadable.
    pub(super) fn reread_baseline(
        &mut self,
        closure: Result<Vec<u8>, String>,
    ) -> Result<(), LedgerError> {
        let found = baseline_in_force(closure, &self.ledger, &self.trust, &self.machine)?;
        let found = found.map(in_force);
        let sha256 = |baseline: &Result<InForce, String>| baseline.as_ref().ok().map(|b| b.sha256);
        if sha256(&found) != sha256(&self.baseline) {
            self.rounds.forget();
            self.ruleset_since = None;
        }
        self.baseline = found;
        Ok(())
    }

    pub(super) fn take_baseline(
        &mut self,
        row: &OrderRow,
        offered: Offered<Baseline>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let version = offered.verified.value().version;
        // One that was kept for another system of this machine counts too: versions are the site's.
        let kept = self.ledger.newest_version(Document::Baseline)?;
        let held = self.baseline.as_ref().map_or(kept, |held| kept.max(held.baseline.version));
        if version <= held {
            let why = format!("baseline version {version} is not newer than version {held}");
            return self.end(row, Outcome::Rejected, Refusal::Policy.code(), why, moment);
        }
        let bound_to = &offered.verified.value().bound_to;
        let here = self.machine.is(bound_to);
        let (reason, detail) = match bound_to {
            Binding::System(system) if !here => {
                let detail = format!("baseline version {version} is kept for {system}");
                ("baseline_kept", detail)
            }
            _ => ("baseline_updated", format!("baseline version {version} is in force")),
        };
        let draft = self.order_draft(row, Outcome::Success, reason, detail, moment);
        self.record(moment, |tx, author| {
            tx.keep_document(Document::Baseline, version, &offered.bytes)?;
            tx.set_order(row.epoch, row.sequence, OrderState::Done)?;
            tx.append(author, draft)
        })?;
        if !here {
            return Ok(());
        }
        self.baseline = Ok(in_force(offered.verified));
        self.rounds.forget();
        self.ruleset_since = None;
        self.ask_for_round(Vec::new(), moment);
        Ok(())
    }

    /// Whether the baseline with this digest will be in force once `system` runs.
    pub(super) fn has_baseline_for(
        &self,
        system: &StorePath,
        sha256: Digest,
    ) -> Result<bool, LedgerError> {
        // One that is bound to the machine goes for all its systems.
        let stays = self.baseline.as_ref().is_ok_and(|held| {
            let same = Binding::System(system.clone()) == held.baseline.bound_to;
            held.sha256 == sha256
                && (same || matches!(held.baseline.bound_to, Binding::MachineIdSha256(_)))
        });
        Ok(stays || is_kept_for(system, sha256, &self.ledger, &self.trust)?)
    }

    pub(super) fn take_trust(
        &mut self,
        row: &OrderRow,
        offered: Offered<Trust>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let next = offered.verified.into_value();
        if next.roles.evidence != self.author.key.public() {
            let why = "it names another evidence key than this appliance's".to_owned();
            return self.end(row, Outcome::Rejected, Refusal::Policy.code(), why, moment);
        }
        let detail = format!("trust file version {} is in force", next.version);
        let draft = self.order_draft(row, Outcome::Success, "trust_updated", detail, moment);
        let followed = self.trust.log.clone();
        self.record(moment, |tx, author| {
            tx.keep_document(Document::Trust, next.version, &offered.bytes)?;
            // Another log is followed from its own beginning; the same one from where it was.
            let facts = if next.log == followed { &[][..] } else { &LOG_FACTS[..] };
            facts.iter().try_for_each(|fact| tx.clear_fact(*fact))?;
            tx.set_order(row.epoch, row.sequence, OrderState::Done)?;
            tx.append(author, draft)
        })?;
        self.author.epoch = next.epoch;
        self.trust = next;
        Ok(())
    }
}

pub(super) fn in_force(baseline: Verified<Baseline>) -> InForce {
    InForce { sha256: baseline.payload_sha256(), baseline: Arc::new(baseline.into_value()) }
}
