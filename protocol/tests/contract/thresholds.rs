//! A threshold counts different keys, not signatures.

use compliance_protocol::envelope::{Envelope, EnvelopeError, Payload as _, SignatureError};
use compliance_protocol::key::{KeyError, KeySet, MAX_KEYS};
use compliance_protocol::order::Order;
use serde_json::{Value, json};

use crate::given::{keys, order, order_envelope, public};

fn signers(envelope: &[u8], keys: &KeySet) -> Result<usize, SignatureError> {
    Envelope::parse(envelope).unwrap().verify(Order::TYPE, keys).map(|verified| verified.signers())
}

/// An envelope with these signatures of another, by index.
fn with_signatures(envelope: &[u8], picked: &[usize]) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(envelope).unwrap();
    let all = json["signatures"].clone();
    json["signatures"] = picked.iter().map(|i| all[*i].clone()).collect();
    serde_json::to_vec(&json).unwrap()
}

#[test]
fn two_of_three_is_two_different_keys() {
    let three = keys(&[1, 2, 3], 2);
    assert_eq!(signers(&order_envelope(&order(), &[1, 3]), &three), Ok(2));
    assert_eq!(signers(&order_envelope(&order(), &[3, 2, 1]), &three), Ok(3));
    let few = Err(SignatureError::Threshold { signers: 1, threshold: 2 });
    assert_eq!(signers(&order_envelope(&order(), &[1]), &three), few);
    assert_eq!(signers(&order_envelope(&order(), &[1, 77]), &three), few);
    assert_eq!(
        signers(&order_envelope(&order(), &[77, 78]), &three),
        Err(SignatureError::BadSignature)
    );
}

#[test]
fn a_signature_or_a_key_given_twice_counts_once() {
    let few = Err(SignatureError::Threshold { signers: 1, threshold: 2 });
    let one = order_envelope(&order(), &[1]);
    assert_eq!(signers(&with_signatures(&one, &[0, 0]), &keys(&[1, 2], 2)), few);
    assert_eq!(signers(&order_envelope(&order(), &[1, 1]), &keys(&[1, 2], 2)), few);
    // Nor does another key id make it another key.
    let mut json: Value = serde_json::from_slice(&with_signatures(&one, &[0, 0])).unwrap();
    json["signatures"][1]["keyid"] = json!(public(2).id());
    assert_eq!(signers(&serde_json::to_vec(&json).unwrap(), &keys(&[1, 2], 2)), few);
}

#[test]
fn no_signature_at_all_is_a_bad_signature() {
    let none = with_signatures(&order_envelope(&order(), &[1]), &[]);
    assert_eq!(signers(&none, &keys(&[1], 1)), Err(SignatureError::BadSignature));
}

#[test]
fn sixteen_signatures_are_read_and_seventeen_are_not() {
    let one = order_envelope(&order(), &[1]);
    assert_eq!(signers(&with_signatures(&one, &[0; MAX_KEYS]), &keys(&[1], 1)), Ok(1));
    let error = Envelope::parse(&with_signatures(&one, &[0; MAX_KEYS + 1]));
    assert!(matches!(error, Err(EnvelopeError::Signatures(17))), "{error:?}");
}

#[test]
fn a_set_has_1_to_16_different_keys_and_a_threshold_they_can_meet() {
    let set = |seeds: &[u8], threshold| {
        KeySet::new(seeds.iter().map(|seed| public(*seed)).collect(), threshold)
    };
    let sixteen: Vec<u8> = (1..=16).collect();
    assert!(set(&sixteen, 16).is_ok());
    let seventeen: Vec<u8> = (1..=17).collect();
    for (seeds, threshold) in [
        (&[][..], 0),
        (&[], 1),
        (&[1], 0),
        (&[1], 2),
        (&[1, 1], 1),
        (&[1, 2, 1], 2),
        (&seventeen, 1),
    ] {
        assert_eq!(set(seeds, threshold), Err(KeyError::BadSet), "{seeds:?} {threshold}");
    }
    let same = format!(r#"{{"keys":["{0}","{0}"],"threshold":2}}"#, public(1));
    assert!(serde_json::from_str::<KeySet>(&same).is_err());
}
