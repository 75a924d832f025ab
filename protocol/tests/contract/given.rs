//! What the tests start from: keys, an order, a trust file, a bundle; all valid.

use compliance_protocol::clock::{ClockEvidence, ClockSource};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Payload as _;
use compliance_protocol::evidence::{
    Bundle, BundleType, Mode, Outcome, Rollback, Software, State, System, Trigger, TriggerKind,
};
use compliance_protocol::json;
use compliance_protocol::key::{KeySet, PublicKey};
use compliance_protocol::name::Id;
use compliance_protocol::order::Order;
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_signing::{PrivateKey, seal};
use serde_json::{Value, json};

/// The key that this number makes; different numbers, different keys.
pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32]).unwrap()
}

pub(crate) fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// The keys of these numbers, of which `threshold` must sign.
pub(crate) fn keys(seeds: &[u8], threshold: usize) -> KeySet {
    KeySet::new(seeds.iter().map(|seed| public(*seed)).collect(), threshold).unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn id(n: u8) -> Id {
    Id::new(at("2026-11-20T09:00:00.000Z").plus(Span::from_secs(n.into())), [n; 10])
}

/// An order's payload, with every field.
pub(crate) fn order() -> Value {
    json!({
        "id": id(1), "tenant": "acme", "site": "clinic-042", "epoch": 1, "sequence": 17,
        "previous_sha256": Digest::of(b"order 16"),
        "issued_at": "2026-11-20T09:41:11.000Z", "not_before": null,
        "expires_at": "2026-11-20T09:56:11.000Z", "start_before": null,
        "action": { "type": "run_backup", "job": "nightly" }, "when": "window", "max_runtime_s": 300,
        "reason": "the archive is stale", "ticket": null, "approvals": [],
    })
}

/// An order's payload with one field set to something else.
pub(crate) fn order_with(field: &str, value: Value) -> Value {
    let mut order = order();
    order[field] = value;
    order
}

/// `payload` in an order's envelope, signed with the keys of these numbers.
pub(crate) fn order_envelope(payload: &Value, seeds: &[u8]) -> Vec<u8> {
    let signers: Vec<_> = seeds.iter().map(|seed| key(*seed)).collect();
    let signers: Vec<_> = signers.iter().collect();
    seal(Order::TYPE, json::to_canonical(payload).unwrap(), &signers).unwrap()
}

/// A trust file: root 2 of keys 1 to 3, and one key for each other role.
pub(crate) fn trust(version: u64) -> Trust {
    Trust {
        version,
        tenant: "acme".parse().unwrap(),
        site: "clinic-042".parse().unwrap(),
        epoch: 1,
        roles: Roles {
            root: keys(&[1, 2, 3], 2),
            orders: OrderKeys { any: keys(&[10, 11], 1), threshold_now: 2 },
            baseline: keys(&[20], 1),
            feed: keys(&[30], 1),
            checkpoint: public(40),
            evidence: public(50),
        },
        log: VerifierKey::new("mcp.example/evidence-log/2026", public(40)).unwrap(),
    }
}

/// The bundle at `sequence` of a ledger, after a bundle of this digest.
pub(crate) fn bundle(sequence: u64, previous_sha256: Option<Digest>) -> Bundle {
    let began = at("2026-11-20T09:41:11.000Z").plus(Span::from_secs(sequence.try_into().unwrap()));
    Bundle {
        bundle_type: BundleType::V1,
        id: Id::new(began, [9; 10]),
        ledger_id: id(200),
        sequence,
        previous_sha256,
        tenant: "acme".parse().unwrap(),
        site: "clinic-042".parse().unwrap(),
        epoch: 1,
        mode: Mode::Direct,
        reseller: None,
        boot_id: "3f2b8c1e-0000-4000-8000-000000000001".parse().unwrap(),
        key_id: public(50).id(),
        accepts: vec![Order::TYPE.to_owned()],
        started_at: began,
        finished_at: began.plus(Span::from_millis(812)),
        duration_ms: 812,
        clock: ClockEvidence {
            synchronised: true,
            source: ClockSource::Kernel,
            offset_ms: -3,
            max_error_ms: 21,
            stepped_back: false,
        },
        trigger: Trigger::of(TriggerKind::Schedule),
        last_order_sequence: 17,
        check: Some("backups".to_owned()),
        check_version: Some(1),
        mapping_version: 1,
        controls: vec![],
        baseline_sha256: Some(Digest::of(b"baseline")),
        state: Some(State::Compliant),
        findings: vec![],
        pre: serde_json::Map::new(),
        actions: vec![],
        post: serde_json::Map::new(),
        gates: vec![],
        outcome: Outcome::Success,
        reason: "healed".to_owned(),
        detail: "The backup ran, and its archive is fresh.".to_owned(),
        retry_after: None,
        rollback: Rollback::default(),
        system: System::default(),
        software: Software { version: "0.1.0".to_owned() },
    }
}
