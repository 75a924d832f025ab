//! From what happened to a bundle that can be signed.

use compliance_checks::mapping::{MAPPING_VERSION, controls};
use compliance_checks::{CheckId, Report};
use compliance_protocol::clock::{ClockEvidence, ClockReading, ClockSource, TrustedNow};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Payload as _;
use compliance_protocol::evidence::{
    ActionRecord, Bundle, BundleType, Finding, MAX_BUNDLE, Mode, Outcome, Rollback, SignedBundle,
    Software, State, System, Trigger,
};
use compliance_protocol::gate::Gate;
use compliance_protocol::json::JsonError;
use compliance_protocol::name::{BootId, Id, Site, Tenant};
use compliance_protocol::order::Order;
use compliance_protocol::time::{Span, Timestamp};
use compliance_signing::PrivateKey;
use serde_json::{Map, Value};

/// Who makes evidence: the appliance, with its key.
#[derive(Debug)]
pub struct Author {
    /// The site's evidence key.
    pub key: PrivateKey,
    /// The tenant.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// How the appliance is sold.
    pub mode: Mode,
    /// The reseller, in reseller mode.
    pub reseller: Option<String>,
    /// This boot.
    pub boot_id: BootId,
    /// The system as it was seen last.
    pub system: System,
}

/// One moment: what the clocks said, and what time it was as far as can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The kernel's clocks.
    pub reading: ClockReading,
    /// The trusted time.
    pub now: TrustedNow,
    /// The clock was behind the latest time ever trusted.
    pub stepped_back: bool,
}

impl Moment {
    /// The time to write down: the trusted one, else the machine's, which is then flagged.
    pub fn stamp(&self) -> Timestamp {
        self.now.at().unwrap_or(self.reading.wall)
    }

    /// The moment that was at `at`, by the clocks of this one.
    #[must_use]
    pub fn back_at(self, at: Timestamp) -> Self {
        let ago = self.stamp().since(at);
        let boottime = Span::from_millis(self.reading.boottime.as_millis() - ago.as_millis());
        let now = match self.now {
            TrustedNow::Known { source, .. } => TrustedNow::Known { at, source },
            unknown @ TrustedNow::Unknown(_) => unknown,
        };
        Self { reading: ClockReading { wall: at, boottime, ..self.reading }, now, ..self }
    }

    /// The clock as evidence shows it.
    pub fn clock(&self) -> ClockEvidence {
        ClockEvidence {
            synchronised: self.reading.synchronised,
            source: match self.now {
                TrustedNow::Known { source, .. } => source,
                TrustedNow::Unknown(_) => ClockSource::None,
            },
            offset_ms: self.reading.offset_ms,
            max_error_ms: self.reading.max_error_ms,
            stepped_back: self.stepped_back,
        }
    }
}

/// What happened, before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    id: Id,
    trigger: Trigger,
    started: Moment,
    finished: Moment,
    baseline_sha256: Option<Digest>,
    check: Option<(CheckId, u32)>,
    state: Option<State>,
    findings: Vec<Finding>,
    pre: Map<String, Value>,
    actions: Vec<ActionRecord>,
    post: Map<String, Value>,
    gates: Vec<Gate>,
    outcome: Outcome,
    reason: String,
    detail: String,
    retry_after: Option<Timestamp>,
    rollback: Rollback,
}

impl Draft {
    /// Something that happened at `at`, with a random part for its id.
    pub fn new(
        trigger: Trigger,
        outcome: Outcome,
        reason: &str,
        detail: impl Into<String>,
        at: Moment,
        random: [u8; 10],
    ) -> Self {
        let detail: String = detail.into();
        Self {
            id: Id::new(at.stamp(), random),
            trigger,
            started: at,
            finished: at,
            baseline_sha256: None,
            check: None,
            state: None,
            findings: Vec::new(),
            pre: Map::new(),
            actions: Vec::new(),
            post: Map::new(),
            gates: Vec::new(),
            outcome,
            reason: reason.to_owned(),
            detail: detail.chars().take(500).collect(),
            retry_after: None,
            rollback: Rollback::default(),
        }
    }

    /// The id of the bundle that it becomes.
    pub fn id(&self) -> Id {
        self.id
    }

    /// It began earlier.
    #[must_use]
    pub fn since(self, started: Moment) -> Self {
        Self { started, ..self }
    }

    /// It is about what a check found.
    #[must_use]
    pub fn about(self, report: &Report, baseline_sha256: Option<Digest>) -> Self {
        Self {
            baseline_sha256,
            check: Some((report.check, report.version)),
            state: Some(report.verdict.state()),
            findings: report.verdict.findings().to_vec(),
            post: report.facts.clone(),
            ..self
        }
    }

    /// What was wrong, if it is not what the check found last.
    #[must_use]
    pub fn findings(self, findings: Vec<Finding>) -> Self {
        Self { findings, ..self }
    }

    /// The facts before.
    #[must_use]
    pub fn pre(self, pre: Map<String, Value>) -> Self {
        Self { pre, ..self }
    }

    /// The facts after.
    #[must_use]
    pub fn post(self, post: Map<String, Value>) -> Self {
        Self { post, ..self }
    }

    /// What was done.
    #[must_use]
    pub fn actions(self, actions: Vec<ActionRecord>) -> Self {
        Self { actions, ..self }
    }

    /// The gates that were asked.
    #[must_use]
    pub fn gates(self, gates: Vec<Gate>) -> Self {
        Self { gates, ..self }
    }

    /// Without the facts.
    fn bare(self) -> Self {
        let detail = format!("{} (the facts could not be written down)", self.detail);
        Self {
            findings: Vec::new(),
            pre: Map::new(),
            post: Map::new(),
            detail: detail.chars().take(500).collect(),
            ..self
        }
    }

    /// When it is tried again.
    #[must_use]
    pub fn retry_after(self, at: Timestamp) -> Self {
        Self { retry_after: Some(at), ..self }
    }

    /// What there was to go back to, and whether that was done.
    #[must_use]
    pub fn rollback(self, rollback: Rollback) -> Self {
        Self { rollback, ..self }
    }
}

/// A place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The chain.
    pub ledger_id: Id,
    /// The sequence.
    pub sequence: u64,
    /// The digest of the bundle before.
    pub previous_sha256: Option<Digest>,
}

impl Author {
    /// The signed bundle that `draft` becomes at its place in the chain. Facts that cannot be written down,
    /// or are too many, are left out and that is said: what happened must leave evidence whatever a host
    /// may hold.
    pub fn sign(
        &self,
        draft: Draft,
        place: Place,
        last_order_sequence: u64,
    ) -> Result<(Bundle, SignedBundle), JsonError> {
        let bare = draft.clone().bare();
        let bundle = self.bundle(draft, place, last_order_sequence);
        match compliance_signing::sign_bundle(&bundle, &self.key) {
            Ok(signed) if signed.json.as_slice().len() <= MAX_BUNDLE => Ok((bundle, signed)),
            refused => {
                let why = refused.err().map_or_else(|| "too large".to_owned(), |e| e.to_string());
                tracing::error!(
                    why,
                    "facts are left out of the evidence: they cannot be written down"
                );
                let bundle = self.bundle(bare, place, last_order_sequence);
                let signed = compliance_signing::sign_bundle(&bundle, &self.key)?;
                Ok((bundle, signed))
            }
        }
    }

    fn bundle(&self, draft: Draft, place: Place, last_order_sequence: u64) -> Bundle {
        let Place { ledger_id, sequence, previous_sha256 } = place;
        let lasted = draft.finished.reading.boottime.as_millis()
            - draft.started.reading.boottime.as_millis();
        Bundle {
            bundle_type: BundleType::V1,
            id: draft.id,
            ledger_id,
            sequence,
            previous_sha256,
            tenant: self.tenant.clone(),
            site: self.site.clone(),
            epoch: self.epoch,
            mode: self.mode,
            reseller: self.reseller.clone(),
            boot_id: self.boot_id.clone(),
            key_id: self.key.public().id(),
            accepts: vec![Order::TYPE.to_owned()],
            started_at: draft.started.stamp(),
            finished_at: draft.finished.stamp(),
            duration_ms: u64::try_from(lasted).unwrap_or(0),
            clock: draft.finished.clock(),
            trigger: draft.trigger,
            last_order_sequence,
            check: draft.check.map(|(check, _)| check.name().to_owned()),
            check_version: draft.check.map(|(_, version)| version),
            mapping_version: MAPPING_VERSION,
            controls: draft.check.map(|(check, _)| controls(check)).unwrap_or_default(),
            baseline_sha256: draft.baseline_sha256,
            state: draft.state,
            findings: draft.findings,
            pre: draft.pre,
            actions: draft.actions,
            post: draft.post,
            gates: draft.gates,
            outcome: draft.outcome,
            reason: draft.reason,
            detail: draft.detail,
            retry_after: draft.retry_after,
            rollback: draft.rollback,
            system: self.system.clone(),
            software: Software { version: env!("CARGO_PKG_VERSION").to_owned() },
        }
    }
}
