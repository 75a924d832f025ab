//! Each rule of PROTOCOL §2 broken by itself: the reason, the one bundle, and whether the sequence is
//! consumed.

use base64_text::{decode, encode};
use compliance_protocol::envelope::MAX_ENVELOPE;
use compliance_protocol::evidence::{Bundle, Outcome};
use compliance_protocol::key::KeySet;
use compliance_protocol::order::Order;
use compliance_signing::{PrivateKey, seal};
use compliance_testkit::{Keys, OrderForm, T0};
use serde_json::{Value, json};

use crate::common::{Rig, Setup, action, restart_frontdesk, run_backup, run_checks};

/// Base64 by way of the type that carries bytes in JSON.
mod base64_text {
    use compliance_protocol::bytes::Bytes;

    pub(super) fn encode(bytes: &[u8]) -> String {
        Bytes::from(bytes.to_vec()).into()
    }

    pub(super) fn decode(text: &str) -> Vec<u8> {
        Bytes::try_from(text.to_owned()).unwrap().into_vec()
    }
}

/// Hands in `bytes` while the head lists `listed`, twice. It must leave one bundle and no effect.
fn refused(rig: &mut Rig, listed: &OrderForm, bytes: &[u8]) -> Bundle {
    rig.settle();
    let before = rig.evidence().len();
    rig.plane.open.push((listed.clone(), bytes.to_vec()));
    for _ in 0..2 {
        rig.poll_with(vec![bytes.to_vec()]);
    }
    let runs = rig.host.runs();
    assert!(runs.is_empty(), "{runs:?}");
    let mut new = rig.evidence().split_off(before);
    new.retain(|bundle| bundle.reason != "order_gap");
    assert_eq!(new.len(), 1, "one bundle for the same bytes: {new:?}");
    new.remove(0)
}

/// That `bundle` refuses bytes which are no order here, for `reason`, and that order 1 can still come.
fn assert_not_consumed(mut rig: Rig, bundle: &Bundle, reason: &str) {
    assert_eq!((bundle.outcome, bundle.reason.as_str()), (Outcome::Rejected, reason));
    assert_eq!((bundle.trigger.order_id, bundle.trigger.order_sequence), (None, None));
    assert!(bundle.trigger.order_sha256.is_some(), "its digest is recorded");
    assert_eq!((bundle.last_order_sequence, rig.ticket().after), (0, 0));
    let good = OrderForm::new(1, &run_checks()).with("reason", "the good one");
    rig.plane.open = vec![(good.clone(), sign(&rig, &good))];
    rig.poll();
    assert_eq!(rig.about(&good), [(Outcome::Success, "checked".to_owned())]);
}

/// That `bundle` refuses order `form` for `reason`, and that its sequence is gone.
fn assert_consumed(
    mut rig: Rig,
    bundle: &Bundle,
    form: &OrderForm,
    outcome: Outcome,
    reason: &str,
) {
    assert_eq!((bundle.outcome, bundle.reason.as_str()), (outcome, reason), "{bundle:?}");
    assert_eq!(bundle.trigger.order_id, Some(form.id()));
    assert_eq!(bundle.trigger.order_sequence, Some(form.sequence()));
    assert_eq!(bundle.trigger.order_sha256, Some(form.sha256()));
    assert_eq!(bundle.last_order_sequence, form.sequence());
    assert_eq!(rig.ticket().after, form.sequence());
    let again = OrderForm::new(form.sequence(), &run_checks()).with("reason", "the good one");
    rig.plane.open = vec![(again.clone(), sign(&rig, &again))];
    rig.poll_with(vec![sign(&rig, &again)]);
    assert_eq!(rig.about(&again), [(Outcome::Rejected, "sequence_reused".to_owned())]);
}

/// A good order's envelope, signed by as many keys as any order needs.
fn sign(rig: &Rig, form: &OrderForm) -> Vec<u8> {
    let keys: Vec<_> = rig.plane.keys.orders.iter().collect();
    form.sign(&keys[..rig.plane.trust.roles.orders.any.threshold()])
}

fn good() -> OrderForm {
    OrderForm::new(1, &run_backup())
}

fn refuse_bytes(bytes: impl FnOnce(&Rig) -> Vec<u8>, reason: &str) {
    let mut rig = Rig::new();
    let bytes = bytes(&rig);
    let bundle = refused(&mut rig, &good(), &bytes);
    assert_not_consumed(rig, &bundle, reason);
}

/// Changes a good order's envelope, outside the payload.
fn refuse_outer(change: impl FnOnce(&mut Value), reason: &str) {
    let outer = |rig: &Rig| {
        let mut outer: Value = serde_json::from_slice(&sign(rig, &good())).unwrap();
        change(&mut outer);
        serde_json::to_vec(&outer).unwrap()
    };
    refuse_bytes(outer, reason);
}

/// Signs these bytes as an order's payload.
fn refuse_payload(payload: Vec<u8>, reason: &str) {
    let sealed = |rig: &Rig| seal(Order::TYPE_NAME, payload, &[&rig.plane.keys.orders[0]]).unwrap();
    refuse_bytes(sealed, reason);
}

/// A signed order of ours that is not carried out.
fn refuse_order(form: &OrderForm, outcome: Outcome, reason: &str) {
    refuse_order_with(|_| (), form, outcome, reason);
}

fn refuse_order_with(
    setup: impl FnOnce(&mut Setup),
    form: &OrderForm,
    outcome: Outcome,
    reason: &str,
) {
    let mut rig = Rig::with(setup);
    let bytes = sign(&rig, form);
    let bundle = refused(&mut rig, form, &bytes);
    assert_consumed(rig, &bundle, form, outcome, reason);
}

trait TypeName {
    const TYPE_NAME: &'static str;
}

impl TypeName for Order {
    const TYPE_NAME: &'static str = <Self as compliance_protocol::envelope::Payload>::TYPE;
}

#[test]
fn size_an_envelope_over_the_bound_is_not_even_parsed() {
    let padded = |rig: &Rig| {
        let mut bytes = sign(rig, &good());
        bytes.resize(MAX_ENVELOPE + 1, b' ');
        bytes
    };
    refuse_bytes(padded, "size");
}

#[test]
fn size_an_envelope_at_the_bound_is_read() {
    let mut rig = Rig::new();
    let mut bytes = sign(&rig, &good());
    bytes.resize(MAX_ENVELOPE, b' ');
    rig.plane.open.push((good(), bytes));
    rig.poll();
    assert_eq!(rig.about(&good()), [(Outcome::Success, "done".to_owned())]);
}

#[test]
fn malformed_not_json() {
    refuse_bytes(|_| b"once upon a time".to_vec(), "malformed");
}

#[test]
fn malformed_an_unknown_field_in_the_envelope() {
    refuse_outer(|outer| outer["note"] = "urgent".into(), "malformed");
}

#[test]
fn malformed_an_unknown_field_in_a_signature() {
    refuse_outer(|outer| outer["signatures"][0]["cert"] = Value::Null, "malformed");
}

#[test]
fn malformed_a_missing_field() {
    refuse_outer(|outer| drop(outer.as_object_mut().unwrap().remove("payloadType")), "malformed");
}

#[test]
fn malformed_a_duplicate_field() {
    let duplicate = |rig: &Rig| {
        let text = String::from_utf8(sign(rig, &good())).unwrap();
        let kind = r#""payloadType":"application/vnd.compliance.order.v1+json","#;
        assert!(text.contains(kind), "{text}");
        text.replace(kind, &kind.repeat(2)).into_bytes()
    };
    refuse_bytes(duplicate, "malformed");
}

#[test]
fn malformed_a_payload_that_is_not_base64() {
    refuse_outer(|outer| outer["payload"] = "%".into(), "malformed");
}

#[test]
fn malformed_more_signatures_than_any_role_has_keys() {
    let many = |outer: &mut Value| {
        outer["signatures"] = vec![outer["signatures"][0].clone(); 17].into();
    };
    refuse_outer(many, "malformed");
}

#[test]
fn malformed_signed_but_as_something_else() {
    let other = |rig: &Rig| {
        let kind = "application/vnd.compliance.baseline.v1+json";
        seal(kind, good().payload(), &[&rig.plane.keys.orders[0]]).unwrap()
    };
    refuse_bytes(other, "malformed");
}

#[test]
fn malformed_a_signed_payload_that_is_not_canonical() {
    refuse_payload(serde_json::to_vec_pretty(&good().0).unwrap(), "malformed");
}

#[test]
fn malformed_a_signed_payload_with_a_duplicate_field() {
    let text = String::from_utf8(good().payload()).unwrap();
    refuse_payload(text.replacen('{', r#"{"epoch":1,"#, 1).into_bytes(), "malformed");
}

#[test]
fn malformed_a_signed_payload_with_a_number_that_parsers_read_differently() {
    for bad in ["1.0", "9007199254740993", "1e0"] {
        let text = String::from_utf8(good().payload()).unwrap();
        let text = text.replace(r#""epoch":1,"#, &format!(r#""epoch":{bad},"#));
        assert_ne!(text.as_bytes(), good().payload());
        refuse_payload(text.into_bytes(), "malformed");
    }
}

#[test]
fn malformed_a_header_field_that_is_missing_or_of_another_kind() {
    for (field, bad) in [
        ("id", json!("0193")),
        ("tenant", json!("ACME")),
        ("site", json!(42)),
        ("epoch", json!("1")),
        ("sequence", json!(-1)),
        ("previous_sha256", json!("abc")),
        ("issued_at", json!("2026-11-20T09:41:11Z")),
        ("not_before", json!(0)),
        ("expires_at", Value::Null),
        ("action", json!("run_checks")),
    ] {
        refuse_payload(good().with(field, bad).payload(), "malformed");
        let mut without = good();
        without.0.as_object_mut().unwrap().remove(field);
        // A field that may be null may also be left out of the header, but not of the order.
        if !["previous_sha256", "not_before"].contains(&field) {
            refuse_payload(without.payload(), "malformed");
        }
    }
}

#[test]
fn bad_signature_by_a_key_that_nobody_trusts() {
    let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
    refuse_bytes(|_| good().sign(&[&stranger]), "bad_signature");
}

#[test]
fn bad_signature_by_a_trusted_key_of_another_role() {
    for role in ["root", "baseline", "feed", "checkpoint", "evidence"] {
        let by = |rig: &Rig| {
            let Keys { root, baseline, feed, checkpoint, evidence, .. } = &*rig.plane.keys;
            let key = match role {
                "root" => root,
                "baseline" => baseline,
                "feed" => feed,
                "checkpoint" => checkpoint,
                _ => evidence,
            };
            good().sign(&[key])
        };
        refuse_bytes(by, "bad_signature");
    }
}

#[test]
fn bad_signature_over_other_bytes() {
    let swap = |outer: &mut Value| {
        let payload = decode(outer["payload"].as_str().unwrap());
        let text = String::from_utf8(payload).unwrap().replace("records", "reports");
        outer["payload"] = encode(text.as_bytes()).into();
    };
    refuse_outer(swap, "bad_signature");
}

#[test]
fn bad_signature_none_at_all() {
    refuse_outer(|outer| outer["signatures"] = json!([]), "bad_signature");
}

#[test]
fn threshold_one_key_where_two_must_sign_and_one_key_twice_is_one_key() {
    for twice in [false, true] {
        let mut rig = Rig::with(two_of_two);
        let keys = Keys::default();
        let signers = if twice { vec![&keys.orders[0]; 2] } else { vec![&keys.orders[0]] };
        let bundle = refused(&mut rig, &good(), &good().sign(&signers));
        assert_not_consumed(rig, &bundle, "threshold");
    }
}

fn two_of_two(setup: &mut Setup) {
    let any = &mut setup.trust.roles.orders.any;
    *any = KeySet::new(any.keys().to_vec(), 2).unwrap();
}

#[test]
fn wrong_tenant() {
    refuse_payload(good().with("tenant", "acme2").payload(), "wrong_tenant");
}

#[test]
fn wrong_site() {
    refuse_payload(good().with("site", "clinic-043").payload(), "wrong_site");
}

#[test]
fn wrong_epoch_of_an_earlier_and_of_a_later_enrolment() {
    for epoch in [0, 2] {
        refuse_payload(good().with("epoch", epoch).payload(), "wrong_epoch");
    }
}

/// An appliance that has carried out orders 1 and 5.
fn experienced() -> (Rig, OrderForm, OrderForm) {
    let mut rig = Rig::new();
    let (one, five) = (OrderForm::new(1, &run_checks()), OrderForm::new(5, &run_checks()));
    for form in [&one, &five] {
        rig.plane.issue(form.clone());
        rig.poll();
    }
    rig.plane.open.clear();
    (rig, one, five)
}

fn refuse_place(form: impl FnOnce(&OrderForm, &OrderForm) -> OrderForm, reason: &str) {
    let (mut rig, one, five) = experienced();
    let form = form(&one, &five);
    let bytes = sign(&rig, &form);
    let bundle = refused(&mut rig, &form, &bytes);
    assert_eq!((bundle.outcome, bundle.reason.as_str()), (Outcome::Rejected, reason));
    assert_eq!((bundle.trigger.order_id, bundle.trigger.order_sequence), (None, None));
    assert_eq!(bundle.trigger.order_sha256, Some(form.sha256()));
    assert_eq!((bundle.last_order_sequence, rig.ticket().after), (5, 5));
    // Nothing is consumed: order 6 can still come.
    let six = OrderForm::new(6, &run_checks()).after(&five).with("reason", "the good one");
    rig.plane.open = vec![(six.clone(), sign(&rig, &six))];
    rig.poll();
    assert_eq!(rig.about(&six), [(Outcome::Success, "checked".to_owned())]);
}

#[test]
fn sequence_reused_other_bytes_for_a_sequence_that_was_consumed() {
    refuse_place(|_, _| OrderForm::new(5, &run_backup()), "sequence_reused");
    refuse_place(|_, _| OrderForm::new(1, &run_backup()), "sequence_reused");
}

#[test]
fn sequence_reused_the_order_before_is_another_than_the_one_consumed() {
    refuse_place(|one, _| OrderForm::new(6, &run_backup()).after(one), "sequence_reused");
    // That there was none before is as wrong.
    refuse_place(|_, _| OrderForm::new(6, &run_backup()), "sequence_reused");
    // In the gap, too.
    refuse_place(|_, five| OrderForm::new(2, &run_backup()).after(five), "sequence_reused");
}

#[test]
fn replayed_a_past_sequence_that_was_never_consumed() {
    refuse_place(|_, _| OrderForm::new(4, &run_backup()), "replayed");
    refuse_place(|one, _| OrderForm::new(2, &run_backup()).after(one), "replayed");
    refuse_place(|_, _| OrderForm::new(0, &run_backup()), "replayed");
}

#[test]
fn replayed_an_id_that_was_consumed_under_another_sequence() {
    let again = |one: &OrderForm, five: &OrderForm| {
        OrderForm::new(6, &run_backup()).after(five).with("id", one.id().to_string())
    };
    refuse_place(again, "replayed");
}

#[test]
fn policy_a_jump_of_over_a_thousand_consumes_nothing_and_one_of_a_thousand_is_taken() {
    refuse_place(|_, _| OrderForm::new(1006, &run_backup()), "policy");
    refuse_place(|_, _| OrderForm::new((1 << 53) - 1, &run_backup()), "policy");
    let (mut rig, _, _) = experienced();
    let far = OrderForm::new(1005, &run_checks());
    rig.plane.issue(far.clone());
    rig.poll();
    assert_eq!(rig.about(&far), [(Outcome::Success, "checked".to_owned())]);
}

#[test]
fn not_listed_whether_the_head_lists_nothing_or_something_like_it() {
    type Change = fn(&mut compliance_protocol::feed::OpenOrder);
    let changes: [Option<Change>; 4] = [
        None,
        Some(|open| open.sequence = 2),
        Some(|open| open.id = OrderForm::new(7, &run_backup()).id()),
        Some(|open| open.payload_sha256 = OrderForm::new(7, &run_backup()).sha256()),
    ];
    for change in changes {
        let mut rig = Rig::new();
        rig.plane.issue(good());
        rig.settle();
        let bytes = sign(&rig, &good());
        let fresh = rig.poll_changed(vec![bytes], |head| match change {
            Some(change) => change(&mut head.open[0]),
            None => head.open.clear(),
        });
        assert!(fresh);
        let bundle = rig.evidence().pop().unwrap();
        assert_consumed(rig, &bundle, &good(), Outcome::Rejected, "not_listed");
    }
}

fn at(offset_ms: i64) -> String {
    T0.plus(compliance_protocol::time::Span::from_millis(offset_ms)).to_string()
}

#[test]
fn not_yet_valid_before_not_before() {
    let form = good().with("not_before", at(1));
    refuse_order(&form, Outcome::Rejected, "not_yet_valid");
}

#[test]
fn not_yet_valid_issued_more_than_a_minute_in_the_future() {
    let form = good().with("issued_at", at(60_001));
    refuse_order(&form, Outcome::Rejected, "not_yet_valid");
}

#[test]
fn an_order_is_valid_at_not_before_and_a_minute_ahead_of_its_issue() {
    let form = good().with("issued_at", at(60_000)).with("not_before", at(0));
    let mut rig = Rig::new();
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [(Outcome::Success, "done".to_owned())]);
}

#[test]
fn expired_at_the_very_millisecond_and_the_outcome_says_so() {
    let form = good().with("issued_at", at(-900_000)).with("expires_at", at(0));
    refuse_order(&form, Outcome::Expired, "expired");
    let form = good().with("issued_at", at(-900_000)).with("expires_at", at(1));
    let mut rig = Rig::new();
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [(Outcome::Success, "done".to_owned())]);
}

#[test]
fn unknown_action_is_refused_by_id_and_not_ignored() {
    let form = OrderForm::new(1, &action(r#"{"type":"defragment","disk":"C:"}"#));
    refuse_order(&form, Outcome::Rejected, "unknown_action");
}

#[test]
fn bad_parameter_what_the_baseline_does_not_list() {
    let job = OrderForm::new(1, &action(r#"{"type":"run_backup","job":"reports"}"#));
    let unit = action(r#"{"type":"restart_service","unit":"sshd.service"}"#);
    for form in [job, OrderForm::new(1, &unit)] {
        refuse_order(&form, Outcome::Rejected, "bad_parameter");
    }
}

#[test]
fn bad_parameter_what_is_missing_unknown_or_of_another_kind_in_the_action() {
    for bad in [
        r#"{"type":"run_backup"}"#,
        r#"{"type":"run_backup","job":null}"#,
        r#"{"type":"run_backup","job":"records","force":true}"#,
        r#"{"type":"run_backup","job":"../records"}"#,
        r#"{"type":"restart_service","unit":"--now"}"#,
        r#"{"type":"run_checks","quick":true}"#,
        r#"{"type":"pause_healing","until":"tomorrow"}"#,
    ] {
        refuse_order(&OrderForm::new(1, &action(bad)), Outcome::Rejected, "bad_parameter");
    }
}

#[test]
fn bad_parameter_what_is_unknown_missing_or_out_of_bounds_in_the_order() {
    let day = 86_400_000;
    let mut missing = good();
    missing.0.as_object_mut().unwrap().remove("approvals");
    for form in [
        good().with("priority", 1),
        missing,
        good().with("when", "soon"),
        good().with("max_runtime_s", 0),
        good().with("max_runtime_s", 86_401),
        good().with("reason", "x".repeat(1001)),
        good().with("ticket", "x".repeat(201)),
        good().with("approvals", json!(["me"])),
        good().with("expires_at", at(14 * day + 1)),
        good().with("start_before", at(14 * day + 1)),
        good().with("start_before", at(899_999)), // before it expires
    ] {
        refuse_order(&form, Outcome::Rejected, "bad_parameter");
    }
}

#[test]
fn bad_parameter_start_before_is_for_orders_that_wait_for_the_window() {
    let mut rig = Rig::new();
    let form = good().with("when", "now").with("start_before", at(900_000));
    let bytes = form.sign(&rig.plane.both_order_keys());
    let bundle = refused(&mut rig, &form, &bytes);
    assert_consumed(rig, &bundle, &form, Outcome::Rejected, "bad_parameter");
}

#[test]
fn bad_parameter_a_pause_of_more_than_a_week() {
    let week = 7 * 86_400_000;
    let pause = |ms| json!({ "type": "pause_healing", "until": at(ms) });
    let form = OrderForm::new(1, &pause(week + 1));
    refuse_order(&form, Outcome::Rejected, "bad_parameter");
    let form = OrderForm::new(1, &pause(week));
    let mut rig = Rig::new();
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [(Outcome::Success, "paused".to_owned())]);
}

#[test]
fn policy_too_few_keys_to_override_the_window() {
    let form = OrderForm::new(1, &restart_frontdesk()).with("when", "now");
    refuse_order(&form, Outcome::Rejected, "policy");
    let mut rig = Rig::new();
    let bytes = form.sign(&rig.plane.both_order_keys());
    rig.plane.open.push((form.clone(), bytes));
    rig.poll();
    assert_eq!(rig.about(&form), [(Outcome::Success, "done".to_owned())], "two keys may");
}

#[test]
fn policy_systems_are_not_activated_where_the_configuration_does_not_say_how() {
    let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-a-25.11";
    let digest = "0".repeat(64);
    for action in [
        json!({ "type": "rollback_system", "store_path": path }),
        json!({ "type": "activate_system", "store_path": path, "baseline_sha256": digest,
                "nar_hash": format!("sha256-{}=", "A".repeat(43)), "flake": null }),
    ] {
        refuse_order(&OrderForm::new(1, &action), Outcome::Rejected, "policy");
    }
}

#[test]
fn policy_nothing_is_changed_without_a_baseline() {
    for action in [run_backup(), restart_frontdesk()] {
        let none = |setup: &mut Setup| setup.baseline = Err("there is none".to_owned());
        refuse_order_with(none, &OrderForm::new(1, &action), Outcome::Rejected, "policy");
    }
}
