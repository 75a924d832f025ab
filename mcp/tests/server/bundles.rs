//! Evidence as an appliance would make it.

use compliance_protocol::clock::{ClockEvidence, ClockSource};
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{
    Bundle, BundleType, Mode, Outcome, Rollback, SignedBundle, Software, State, System, Trigger,
    TriggerKind,
};
use compliance_protocol::name::{Id, Tenant};
use compliance_protocol::time::Timestamp;
use compliance_signing::{PrivateKey, sign_bundle};
use serde_json::Map;

pub fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

pub fn now() -> Timestamp {
    compliance_clock::wall()
}

/// The evidence key of the appliance at `site`.
pub fn evidence_key(site: &str) -> PrivateKey {
    PrivateKey::from_seed(Digest::of(site.as_bytes()).as_bytes()).unwrap()
}

/// The ledger of an appliance.
pub struct Ledger {
    pub key: PrivateKey,
    pub site: String,
    pub id: Id,
    pub next: u64,
    pub previous: Option<Digest>,
}

impl Ledger {
    pub fn new(site: &str) -> Self {
        Self::with_id(site, 1)
    }

    pub fn with_id(site: &str, number: u8) -> Self {
        let id = Id::new(now(), [number; 10]);
        let key = evidence_key(site);
        Self { key, site: site.to_owned(), id, next: 1, previous: None }
    }

    /// The next bundle, not signed: a look at the backups that found nothing wrong.
    pub fn bundle(&self) -> Bundle {
        let at = now();
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.next.to_be_bytes());
        Bundle {
            bundle_type: BundleType::V1,
            id: Id::new(at, random),
            ledger_id: self.id,
            sequence: self.next,
            previous_sha256: self.previous,
            tenant: tenant(),
            site: self.site.parse().unwrap(),
            epoch: 1,
            mode: Mode::Direct,
            reseller: None,
            boot_id: "5a3e1c9e-9f0b-4c8c-a5f5-3f1f0a6f6c11".parse().unwrap(),
            key_id: self.key.public().id(),
            accepts: Vec::new(),
            started_at: at,
            finished_at: at,
            duration_ms: 12,
            clock: ClockEvidence {
                synchronised: true,
                source: ClockSource::Kernel,
                offset_ms: 0,
                max_error_ms: 1,
                stepped_back: false,
            },
            trigger: Trigger::of(TriggerKind::Schedule),
            last_order_sequence: 0,
            check: Some("backups".to_owned()),
            check_version: Some(1),
            mapping_version: 1,
            controls: Vec::new(),
            baseline_sha256: None,
            state: Some(State::Compliant),
            findings: Vec::new(),
            pre: Map::new(),
            actions: Vec::new(),
            post: Map::new(),
            gates: Vec::new(),
            outcome: Outcome::Success,
            reason: "compliant".to_owned(),
            detail: "Every backup is fresh.".to_owned(),
            retry_after: None,
            rollback: Rollback::default(),
            system: System::default(),
            software: Software { version: "0.1.0".to_owned() },
        }
    }

    /// Signs `bundle` and goes on after it.
    pub fn append(&mut self, bundle: &Bundle) -> SignedBundle {
        let signed = sign_bundle(bundle, &self.key).unwrap();
        self.next = bundle.sequence + 1;
        self.previous = Some(Digest::of(signed.json.as_slice()));
        signed
    }

    /// The next `count` bundles.
    pub fn make(&mut self, count: usize) -> Vec<SignedBundle> {
        (0..count)
            .map(|_| {
                let bundle = self.bundle();
                self.append(&bundle)
            })
            .collect()
    }
}
