//! The trust file: only N → N+1, signed by the old and the new root, for this site, one role a key.

use compliance_protocol::envelope::Payload as _;
use compliance_protocol::trust::{Trust, TrustError};
use compliance_signing::{PrivateKey, seal};
use serde_json::{Value, json};

use crate::given::{key, keys, public, trust};

fn signed(payload: &Value, seeds: &[u8]) -> Vec<u8> {
    let signers: Vec<_> = seeds.iter().map(|seed| key(*seed)).collect();
    let signers: Vec<&PrivateKey> = signers.iter().collect();
    let payload = compliance_protocol::json::to_canonical(payload).unwrap();
    seal(Trust::TYPE, payload, &signers).unwrap()
}

fn payload(trust: &Trust) -> Value {
    serde_json::to_value(trust).unwrap()
}

#[test]
fn the_first_is_signed_by_the_root_keys_that_it_names() {
    let first = payload(&trust(1));
    assert_eq!(Trust::first(&signed(&first, &[1, 2])).unwrap().value(), &trust(1));
    for seeds in [&[1][..], &[1, 1], &[77, 78], &[10, 11], &[]] {
        assert!(Trust::first(&signed(&first, seeds)).is_err(), "{seeds:?}");
    }
}

#[test]
fn the_next_version_is_taken_and_none_else() {
    let held = trust(7);
    for (version, taken) in
        [(8, true), (7, false), (6, false), (1, false), (9, false), (u64::MAX >> 11, false)]
    {
        let next = signed(&payload(&trust(version)), &[1, 2]);
        let result = held.next(&next);
        assert_eq!(result.is_ok(), taken, "{version}: {result:?}");
        let refused =
            matches!(result, Err(TrustError::Version { held: 7, offered }) if offered == version);
        assert!(taken || refused, "{version}");
    }
}

#[test]
fn a_new_root_is_taken_when_the_old_and_the_new_threshold_signed() {
    let mut next = trust(2);
    next.roles.root = keys(&[3, 4, 5], 2);
    let offered = |seeds: &[u8]| trust(1).next(&signed(&payload(&next), seeds));
    assert!(offered(&[1, 2, 4, 5]).is_ok());
    assert!(offered(&[1, 3, 4]).is_ok(), "a key that stays counts for both");
    assert!(matches!(offered(&[4, 5]), Err(TrustError::Open(_))), "only the new");
    assert!(matches!(offered(&[1, 2]), Err(TrustError::NotSelfSigned(_))), "only the old");
    assert!(matches!(offered(&[3, 4]), Err(TrustError::Open(_))), "one of the old");
    assert!(matches!(offered(&[1, 2, 5]), Err(TrustError::NotSelfSigned(_))), "one of the new");
}

#[test]
fn after_a_rotation_the_old_root_signs_nothing_more() {
    let mut second = trust(2);
    second.roles.root = keys(&[4, 5], 2);
    let second = trust(1).next(&signed(&payload(&second), &[1, 2, 4, 5])).unwrap().into_value();
    assert!(second.next(&signed(&payload(&trust(3)), &[1, 2])).is_err());
}

#[test]
fn another_sites_or_tenants_file_or_an_earlier_epoch_is_refused() {
    let held = trust(1);
    for (field, value) in [("site", json!("clinic-043")), ("tenant", json!("other"))] {
        let mut next = payload(&trust(2));
        next[field] = value;
        let result = held.next(&signed(&next, &[1, 2]));
        assert!(matches!(result, Err(TrustError::Elsewhere { .. })), "{field}: {result:?}");
    }
    let mut later = trust(1);
    later.epoch = 3;
    let mut next = trust(2);
    for (epoch, taken) in [(2, false), (3, true), (4, true)] {
        next.epoch = epoch;
        assert_eq!(later.next(&signed(&payload(&next), &[1, 2])).is_ok(), taken, "{epoch}");
    }
}

#[test]
fn a_key_has_one_role() {
    let good = payload(&trust(2));
    let pointers = [
        "/roles/root/keys/0",
        "/roles/orders/any/keys/0",
        "/roles/baseline/keys/0",
        "/roles/feed/keys/0",
        "/roles/checkpoint",
        "/roles/evidence",
    ];
    for (i, from) in pointers.iter().enumerate() {
        for to in &pointers[i + 1..] {
            let mut bad = good.clone();
            *bad.pointer_mut(to).unwrap() = good.pointer(from).unwrap().clone();
            let result = trust(1).next(&signed(&bad, &[1, 2, 3]));
            assert!(matches!(result, Err(TrustError::Open(_))), "{from} as {to}: {result:?}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_although_root_signed_it() {
    let weak = "0".repeat(64);
    let long: Vec<_> = (100..117).map(public).collect();
    for (pointer, value) in [
        ("/version", json!(0)),
        ("/epoch", json!(0)),
        ("/roles/evidence", json!(weak)),
        ("/roles/feed/keys/0", json!(weak)),
        ("/roles/feed/keys", json!([])),
        ("/roles/feed/keys", json!(long)),
        ("/roles/feed/threshold", json!(0)),
        ("/roles/feed/threshold", json!(2)),
        ("/roles/orders/threshold_now", json!(0)),
        ("/roles/orders/threshold_now", json!(3)),
        ("/roles/orders", json!({ "any": trust(1).roles.orders.any })),
        ("/roles/feed/keys/0", json!(public(30).to_string().to_uppercase())),
        ("/log_origin", json!("")),
        ("/log_origin", json!("two words")),
        ("/site", json!("Clinic")),
        ("/roles/auditor", json!(public(60))),
        ("/comment", json!("hello")),
    ] {
        let mut bad = payload(&trust(2));
        if let Some(place) = bad.pointer_mut(pointer) {
            *place = value;
        } else {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            bad.pointer_mut(parent).unwrap()[field] = value;
        }
        assert!(trust(1).next(&signed(&bad, &[1, 2, 3])).is_err(), "{pointer}: {bad}");
        assert!(Trust::first(&signed(&bad, &[1, 2, 3])).is_err(), "{pointer}: {bad}");
    }
}

#[test]
fn an_order_now_may_ask_for_more_signers_but_never_for_fewer() {
    let mut bad = payload(&trust(2));
    bad["roles"]["orders"]["any"]["threshold"] = json!(2);
    bad["roles"]["orders"]["threshold_now"] = json!(1);
    assert!(trust(1).next(&signed(&bad, &[1, 2])).is_err());
}
