//! Trust file and baseline: which of those at hand is in force, and whether an offered one may follow.

use compliance_checks::baseline::{Baseline, Binding};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{Envelope, Verified};
use compliance_protocol::name::StorePath;
use compliance_protocol::trust::Trust;

use crate::ledger::{Document, Ledger, LedgerError};

/// What a baseline may be bound to.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The running NixOS system.
    pub running: Option<StorePath>,
    /// The system that the profile names.
    pub profile: Option<StorePath>,
    /// The digest of the machine id's text.
    pub machine_id_sha256: Option<Digest>,
}

/// A signed document with the exact bytes that are kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered<T> {
    /// Its envelope.
    pub bytes: Vec<u8>,
    /// What the envelope was verified to hold.
    pub verified: Verified<T>,
}

/// The trust file in force: the highest version wins, whether it came with the closure or by order.
pub fn trust_in_force(closure: Trust, ledger: &Ledger) -> Result<Trust, LedgerError> {
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
pub fn baseline_in_force(
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

/// The baseline in `envelope`, if a `baseline` key signed it for this site and for what runs here now; else
/// why not.
pub(crate) fn open_baseline(
    envelope: &Envelope,
    trust: &Trust,
    machine: &Machine,
) -> Result<Verified<Baseline>, String> {
    let baseline = open_for_site(envelope, trust)?;
    if machine.is(&baseline.value().bound_to) {
        Ok(baseline)
    } else {
        Err("the baseline belongs to another system".to_owned())
    }
}

/// The baseline in `envelope`, if a `baseline` key signed it for this site, whatever it is bound to.
pub(crate) fn open_for_site(
    envelope: &Envelope,
    trust: &Trust,
) -> Result<Verified<Baseline>, String> {
    let baseline = envelope
        .open::<Baseline>(&trust.roles.baseline)
        .map_err(|error| format!("the baseline: {error}"))?;
    let value = baseline.value();
    if (&value.tenant, &value.site) != (&trust.tenant, &trust.site) {
        return Err(format!("the baseline is for {}/{}", value.tenant, value.site));
    }
    Ok(baseline)
}

/// Whether the ledger keeps the baseline with this digest for that system.
pub(crate) fn is_kept_for(
    system: &StorePath,
    sha256: Digest,
    ledger: &Ledger,
    trust: &Trust,
) -> Result<bool, LedgerError> {
    let is_it = |bytes: &Vec<u8>| {
        let opened = Envelope::parse(bytes).ok().and_then(|it| open_for_site(&it, trust).ok());
        opened.is_some_and(|baseline| {
            baseline.payload_sha256() == sha256
                && baseline.value().bound_to == Binding::System(system.clone())
        })
    };
    Ok(ledger.documents(Document::Baseline)?.iter().any(is_it))
}

impl Machine {
    /// Whether this is what a baseline is bound to.
    pub(crate) fn is(&self, bound_to: &Binding) -> bool {
        match bound_to {
            Binding::System(path) => self.running.as_ref() == Some(path),
            Binding::MachineIdSha256(digest) => self.machine_id_sha256 == Some(*digest),
        }
    }

    /// Whether what is bound so may come to be in force here: another system can be activated, but this is
    /// no other machine.
    pub(crate) fn may_become(&self, bound_to: &Binding) -> bool {
        self.is(bound_to) || (self.running.is_some() && matches!(bound_to, Binding::System(_)))
    }
}
