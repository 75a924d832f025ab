//! Orders as a test writes them.

use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Payload as _;
use compliance_protocol::json;
use compliance_protocol::name::Id;
use compliance_protocol::order::Order;
use compliance_protocol::time::{Span, Timestamp};
use compliance_signing::PrivateKey;
use serde_json::{Value, json};

use crate::T0;

/// An order as JSON, so that a test can also write what a good signer would not.
#[derive(Debug, Clone)]
pub struct OrderForm(pub Value);

impl OrderForm {
    /// A good order for `acme/clinic-042`, epoch 1: issued at [`T0`], for 900 s, `when: window`.
    pub fn new(sequence: u64, action: &Value) -> Self {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&sequence.to_be_bytes());
        Self(json!({
            "id": Id::new(T0, random),
            "tenant": "acme",
            "site": "clinic-042",
            "epoch": 1,
            "sequence": sequence,
            "previous_sha256": null,
            "issued_at": T0,
            "not_before": null,
            "expires_at": T0.plus(Span::from_secs(900)),
            "start_before": null,
            "action": action,
            "when": "window",
            "max_runtime_s": 300,
            "reason": "a test",
            "ticket": null,
            "approvals": [],
        }))
    }

    /// Sets one field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    /// Issued at `at`, for 900 s.
    #[must_use]
    pub fn issued(self, at: Timestamp) -> Self {
        let expires = at.plus(Span::from_secs(900)).to_string();
        self.with("issued_at", at.to_string()).with("expires_at", expires)
    }

    /// Follows the order `before`.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        self.with("previous_sha256", before.sha256().to_string())
    }

    /// The digest of its payload.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.payload())
    }

    /// Its canonical payload.
    pub fn payload(&self) -> Vec<u8> {
        json::to_canonical(&self.0).unwrap()
    }

    /// Its sequence.
    pub fn sequence(&self) -> u64 {
        self.0["sequence"].as_u64().unwrap()
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.0["id"].as_str().unwrap().parse().unwrap()
    }

    /// Signed by each of `keys`, as an envelope.
    pub fn sign(&self, keys: &[&PrivateKey]) -> Vec<u8> {
        compliance_signing::seal(Order::TYPE, self.payload(), keys).unwrap()
    }
}
