//! DSSE: the published encoding, both base64 alphabets, and no tamper outside the payload that has an
//! effect.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use compliance_protocol::envelope::{Envelope, EnvelopeError, MAX_ENVELOPE, Payload as _, pae};
use compliance_protocol::order::Order;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::given::{key, keys, order, order_envelope, order_with};

/// The payload that `envelope` yields when two of the keys 10, 11, 12 must have signed it.
fn opened(envelope: &[u8]) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(envelope).ok()?;
    Some(envelope.verify(Order::TYPE, &keys(&[10, 11, 12], 2)).ok()?.into_value())
}

fn untouched() -> Vec<u8> {
    order_envelope(&order(), &[10, 12])
}

fn as_json(envelope: &[u8]) -> Value {
    serde_json::from_slice(envelope).unwrap()
}

fn as_bytes(envelope: &Value) -> Vec<u8> {
    serde_json::to_vec(envelope).unwrap()
}

/// DSSE v1.0.2, protocol.md, "Signature Definition" and its test vector.
#[test]
fn the_encoding_that_is_signed_is_the_one_published() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    // Lengths are of bytes: é is two of them.
    assert_eq!(pae("\u{e9}", "\u{20ac}".as_bytes()), "DSSEv1 2 \u{e9} 3 \u{20ac}".as_bytes());
}

#[test]
fn two_different_pairs_of_type_and_payload_are_never_encoded_alike() {
    // Without the lengths all of these would be "a b c".
    let all = [pae("a", b"b c"), pae("a b", b"c"), pae("a b c", b""), pae("", b"a b c")];
    for (i, one) in all.iter().enumerate() {
        assert!(!all[i + 1..].contains(one));
    }
}

#[test]
fn standard_and_url_safe_base64_are_both_read() {
    // Bytes whose base64 differs between the alphabets, in payload and signature.
    let payload = json!("\u{fb}\u{ff}\u{3ff}???>>>");
    let standard = order_envelope(&payload, &[10, 12]);
    let mut safe = as_json(&standard);
    let recode = |text: &Value| URL_SAFE.encode(STANDARD.decode(text.as_str().unwrap()).unwrap());
    safe["payload"] = recode(&safe["payload"]).into();
    for i in 0..2 {
        safe["signatures"][i]["sig"] = recode(&safe["signatures"][i]["sig"]).into();
    }
    assert_ne!(safe, as_json(&standard), "the vector must differ between the alphabets");
    assert!(opened(&standard).is_some());
    assert_eq!(opened(&as_bytes(&safe)), opened(&standard));
}

#[test]
fn base64_has_one_spelling_within_an_alphabet() {
    for bad in ["YQ", "YR==", "YQ===", "YQ= =", "Y Q==", "YQ==\n", "+_==", "YQ.="] {
        let mut envelope = as_json(&untouched());
        envelope["payload"] = bad.into();
        let error = Envelope::parse(&as_bytes(&envelope));
        assert!(matches!(error, Err(EnvelopeError::Base64)), "{bad}: {error:?}");
    }
}

#[test]
fn an_envelope_over_the_bound_is_not_parsed() {
    let mut bytes = untouched();
    bytes.resize(MAX_ENVELOPE, b' ');
    assert_eq!(opened(&bytes), opened(&untouched()));
    bytes.push(b' ');
    assert!(matches!(Envelope::parse(&bytes), Err(EnvelopeError::Size(n)) if n == bytes.len()));
}

#[test]
fn a_payload_signed_as_one_type_is_not_taken_as_another() {
    let payload = compliance_protocol::json::to_canonical(&order()).unwrap();
    let signers = [&key(10), &key(12)];
    let other =
        compliance_signing::seal("application/vnd.in-toto+json", payload, &signers).unwrap();
    assert_eq!(opened(&other), None);
    let mut relabelled = as_json(&other);
    relabelled["payloadType"] = Order::TYPE.into();
    assert_eq!(opened(&as_bytes(&relabelled)), None);
}

#[test]
fn a_changed_or_removed_keyid_changes_nothing() {
    let good = untouched();
    for keyid in [json!(""), json!("0000"), json!(null), json!("\u{1f600}")] {
        let mut envelope = as_json(&good);
        envelope["signatures"][0]["keyid"] = keyid;
        assert_eq!(opened(&as_bytes(&envelope)), opened(&good));
    }
    let mut swapped = as_json(&good);
    let first = swapped["signatures"][0]["keyid"].take();
    let second = swapped["signatures"][1]["keyid"].take();
    swapped["signatures"][0]["keyid"] = second;
    swapped["signatures"][1]["keyid"] = first;
    assert_eq!(opened(&as_bytes(&swapped)), opened(&good));
    let mut bare = as_json(&good);
    bare["signatures"][0].as_object_mut().unwrap().remove("keyid");
    assert_eq!(opened(&as_bytes(&bare)), opened(&good));
}

#[test]
fn an_unknown_or_duplicate_field_outside_the_payload_is_refused() {
    let good = String::from_utf8(untouched()).unwrap();
    let payload = format!(r#""payload":{},"#, as_json(good.as_bytes())["payload"]);
    for (from, to) in [
        ("{\"payload\"", "{\"action\":\"reboot\",\"payload\""),
        ("\"keyid\"", "\"action\":1,\"keyid\""),
        (payload.as_str(), &payload.repeat(2)),
        ("\"sig\"", "\"sig\":\"\",\"sig\""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from} is in the envelope");
        assert!(matches!(Envelope::parse(bad.as_bytes()), Err(EnvelopeError::Shape(_))), "{bad}");
    }
}

#[test]
fn no_single_flipped_bit_yields_another_payload() {
    let good = untouched();
    let expected = opened(&good);
    assert!(expected.is_some());
    let mut without_effect = 0;
    for i in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[i] ^= 1 << bit;
            let got = opened(&bad);
            assert!(got.is_none() || got == expected, "byte {i}, bit {bit}");
            without_effect += usize::from(got.is_some());
        }
    }
    // Only the two key ids, 64 characters each, can be changed without effect, and a letter's case
    // where one of the two alphabets of base64 is concerned never.
    assert!((1..=2 * 64 * 8).contains(&without_effect), "{without_effect}");
}

/// Something done to an envelope outside its payload.
#[derive(Debug, Clone)]
enum Tamper {
    Add(String, Value),
    Remove(usize),
    Rename(usize, String),
    Duplicate(usize, Option<Value>),
    Replace(usize, Value),
    Reverse,
}

fn any_tamper() -> impl Strategy<Value = Tamper> {
    let name = prop_oneof![
        "payload|payloadType|signatures|keyid|sig|action|Payload|payload_type|order|_type"
            .prop_map(|s| s),
        ".{0,8}",
    ];
    prop_oneof![
        (name.clone(), any_value()).prop_map(|(name, value)| Tamper::Add(name, value)),
        (0..4_usize).prop_map(Tamper::Remove),
        (0..4_usize, name).prop_map(|(i, name)| Tamper::Rename(i, name)),
        (0..4_usize, prop::option::of(any_value())).prop_map(|(i, v)| Tamper::Duplicate(i, v)),
        (0..4_usize, any_value()).prop_map(|(i, v)| Tamper::Replace(i, v)),
        Just(Tamper::Reverse),
    ]
}

/// A value that an attacker may find useful, among others the payload of another order of the same site.
fn any_value() -> impl Strategy<Value = Value> {
    let other = order_with("action", json!({ "type": "reboot" }));
    let forged = as_json(&order_envelope(&other, &[77, 78]));
    prop_oneof![
        Just(forged["payload"].clone()),
        Just(forged["signatures"].clone()),
        Just(forged["signatures"][0].clone()),
        Just(forged["signatures"][0]["sig"].clone()),
        Just(other),
        Just(json!(Order::TYPE)),
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        any::<i64>().prop_map(Value::from),
        ".{0,16}".prop_map(Value::from),
    ]
}

/// The envelope as text, with `tamper` done to the envelope itself (`None`) or one of its signatures.
fn tampered(good: &Value, place: Option<usize>, tamper: &Tamper) -> Vec<u8> {
    let object = |value: &Value, change: bool| -> String {
        let mut fields: Vec<(String, Value)> =
            value.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        if change {
            apply(&mut fields, tamper);
        }
        let fields = fields.iter().map(|(k, v)| format!("{}:{v}", json!(k)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let Some(place) = place else { return object(good, true).into_bytes() };
    let signatures = good["signatures"].as_array().unwrap().iter().enumerate();
    let signatures: Vec<_> = signatures.map(|(i, s)| object(s, i == place)).collect();
    let mut envelope = good.clone();
    envelope["signatures"] = json!("SIGNATURES");
    let list = format!("[{}]", signatures.join(","));
    envelope.to_string().replacen("\"SIGNATURES\"", &list, 1).into_bytes()
}

fn apply(fields: &mut Vec<(String, Value)>, tamper: &Tamper) {
    let count = fields.len();
    match tamper {
        Tamper::Add(name, value) => fields.push((name.clone(), value.clone())),
        Tamper::Remove(i) => drop(fields.remove(i % count)),
        Tamper::Rename(i, name) => fields[i % count].0.clone_from(name),
        Tamper::Duplicate(i, value) => {
            let (name, same) = fields[i % count].clone();
            fields.insert(0, (name, value.clone().unwrap_or(same)));
        }
        Tamper::Replace(i, value) => fields[i % count].1.clone_from(value),
        Tamper::Reverse => fields.reverse(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_field_added_removed_renamed_or_duplicated_yields_no_other_payload(
        place in prop::option::of(0..2_usize), first in any_tamper(), second in prop::option::of(any_tamper()),
    ) {
        let good = untouched();
        let expected = opened(&good);
        let mut bad = tampered(&as_json(&good), place, &first);
        if let (Some(second), Ok(once)) = (&second, serde_json::from_slice::<Value>(&bad)) {
            bad = tampered(&once, None, second);
        }
        let got = opened(&bad);
        prop_assert!(got.is_none() || got == expected, "{}", String::from_utf8_lossy(&bad));
    }

    #[test]
    fn arbitrary_bytes_are_an_error_or_an_envelope_but_never_a_payload(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        prop_assert_eq!(opened(&bytes), None);
    }

    #[test]
    fn a_piece_cut_out_of_or_put_into_an_envelope_yields_no_other_payload(
        start in any::<prop::sample::Index>(), length in 0..40_usize, piece in ".{0,12}",
    ) {
        let good = untouched();
        let start = start.index(good.len());
        let end = (start + length).min(good.len());
        let bad = [&good[..start], piece.as_bytes(), &good[end..]].concat();
        let got = opened(&bad);
        prop_assert!(got.is_none() || got == opened(&good), "{}", String::from_utf8_lossy(&bad));
    }
}
