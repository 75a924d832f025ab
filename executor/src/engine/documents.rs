//! Trust file and baseline: taking them up at the start, and taking newer ones by order.

use std::sync::Arc;

use compliance_checks::baseline::{Baseline, Binding};
use compliance_protocol::envelope::{Envelope, Verified};
use compliance_protocol::evidence::Outcome;
use compliance_protocol::order::{Refusal, inner_envelope};
use compliance_protocol::trust::Trust;
use serde_json::Value;

use super::{Engine, InForce, Machine};
use crate::evidence::Moment;
use crate::ledger::{Document, Fact, Ledger, LedgerError, OrderRow, OrderState};

/// The trust file in force: the highest version wins, whether it came with the closure or by order.
pub(crate) fn trust_in_force(closure: Trust, ledger: &Ledger) -> Result<Trust, LedgerError> {
    let mut newest = closure;
    for envelope in ledger.documents(Document::Trust)? {
        let kept = Trust::first(&envelope)
            .map_err(|_| LedgerError::Unreadable("trust file"))?
            .into_value();
        let ours = (&kept.tenant, &kept.site) == (&newest.tenant, &newest.site);
        if ours && kept.version > newest.version {
            newest = kept;
        }
    }
    Ok(newest)
}

/// The baseline in force: the highest version that belongs to this machine wins, whether it came with the
/// closure or by order; or why there is none.
pub(crate) fn baseline_in_force(
    closure: Result<Vec<u8>, String>,
    ledger: &Ledger,
    trust: &Trust,
    machine: &Machine,
) -> Result<Result<Verified<Baseline>, String>, LedgerError> {
    let read = |bytes: &[u8]| {
        let envelope = Envelope::parse(bytes).map_err(|error| format!("the baseline: {error}"))?;
        open_baseline(&envelope, trust, machine)
    };
    let mut found = closure.and_then(|bytes| read(&bytes));
    for envelope in ledger.documents(Document::Baseline)? {
        match (read(&envelope), &found) {
            (Ok(kept), Ok(newest)) if kept.value().version <= newest.value().version => {}
            (Ok(kept), _) => found = Ok(kept),
            (Err(_), _) => {} // It belongs to another system, which a rollback may bring back.
        }
    }
    Ok(found)
}

fn open_baseline(
    envelope: &Envelope,
    trust: &Trust,
    machine: &Machine,
) -> Result<Verified<Baseline>, String> {
    let baseline = envelope
        .open::<Baseline>(&trust.roles.baseline)
        .map_err(|error| format!("the baseline: {error}"))?;
    let value = baseline.value();
    if (&value.tenant, &value.site) != (&trust.tenant, &trust.site) {
        return Err(format!("the baseline is for {}/{}", value.tenant, value.site));
    }
    let here = match &value.bound_to {
        Binding::System(path) => machine.running.as_ref() == Some(path),
        Binding::MachineIdSha256(digest) => machine.machine_id_sha256 == Some(*digest),
    };
    if here { Ok(baseline) } else { Err("the baseline belongs to another system".to_owned()) }
}

impl Engine {
    /// The closure's baseline was replaced on disk, or became unreadable.
    pub(super) fn reread_baseline(
        &mut self,
        closure: Result<Vec<u8>, String>,
    ) -> Result<(), LedgerError> {
        let found = baseline_in_force(closure, &self.ledger, &self.trust, &self.machine)?;
        self.baseline = found.map(in_force);
        Ok(())
    }

    pub(super) fn take_baseline(
        &mut self,
        row: &OrderRow,
        envelope: &Value,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let taken = inner_envelope(envelope)
            .map_err(|_| "it is not an envelope".to_owned())
            .and_then(|envelope| {
                Ok((to_bytes(&envelope)?, open_baseline(&envelope, &self.trust, &self.machine)?))
            });
        let (bytes, baseline) = match taken {
            Ok(taken) => taken,
            Err(why) => {
                return self.end(row, Outcome::Rejected, Refusal::BadParameter.code(), why, moment);
            }
        };
        let offered = baseline.value().version;
        let held = self.baseline.as_ref().map_or(0, |in_force| in_force.baseline.version);
        if offered <= held {
            let why = format!("baseline version {offered} is not newer than version {held}");
            return self.end(row, Outcome::Rejected, Refusal::Policy.code(), why, moment);
        }
        let detail = format!("baseline version {offered} is in force");
        let draft = self.order_draft(row, Outcome::Success, "baseline_updated", detail, moment);
        self.record(moment, |tx, author| {
            tx.keep_document(Document::Baseline, offered, &bytes)?;
            tx.set_order(row.epoch, row.sequence, OrderState::Done)?;
            tx.append(author, draft)
        })?;
        self.baseline = Ok(in_force(baseline));
        self.ask_for_round(Vec::new(), moment);
        Ok(())
    }

    pub(super) fn take_trust(
        &mut self,
        row: &OrderRow,
        envelope: &Value,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let taken = inner_envelope(envelope)
            .map_err(|_| "it is not an envelope".to_owned())
            .and_then(|envelope| to_bytes(&envelope))
            .and_then(|bytes| {
                let next = self.trust.next(&bytes).map_err(|error| error.to_string())?;
                Ok((bytes, next.into_value()))
            });
        let (bytes, next) = match taken {
            Ok(taken) => taken,
            Err(why) => {
                return self.end(row, Outcome::Rejected, Refusal::Policy.code(), why, moment);
            }
        };
        if next.roles.evidence != self.author.key.public() {
            let why = "it names another evidence key than this appliance's".to_owned();
            return self.end(row, Outcome::Rejected, Refusal::Policy.code(), why, moment);
        }
        let detail = format!("trust file version {} is in force", next.version);
        let draft = self.order_draft(row, Outcome::Success, "trust_updated", detail, moment);
        self.record(moment, |tx, author| {
            tx.keep_document(Document::Trust, next.version, &bytes)?;
            // The log that this file names is believed from here on, whatever the last one did.
            for fact in [Fact::LogSize, Fact::LogRoot, Fact::LogRewritten] {
                tx.clear_fact(fact)?;
            }
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

fn to_bytes(envelope: &Envelope) -> Result<Vec<u8>, String> {
    envelope.to_json().map_err(|error| error.to_string())
}
