//! How a received order is read: the header first, then a closed set of actions, all within bounds.

use compliance_protocol::order::{Action, DEFAULT_TTL, Order, Refusal, inner_envelope};
use compliance_protocol::time::Span;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::given::{at, keys, order, order_envelope, order_with};

fn read(payload: &Value) -> Result<Order, Refusal> {
    let envelope = compliance_protocol::envelope::Envelope::parse(&order_envelope(payload, &[10]));
    let verified =
        envelope.unwrap().verify("application/vnd.compliance.order.v1+json", &keys(&[10], 1));
    verified.unwrap().order().map(compliance_protocol::envelope::Verified::into_value)
}

fn read_action(action: Value) -> Result<Action, Refusal> {
    read(&order_with("action", action)).map(|order| order.action)
}

const STORE_PATH: &str = "/nix/store/0c5b7zk0hfjzvn8xlmlg0mmcmbp3vbcb-nixos-system-clinic-26.05";

/// One good example of every action.
fn actions() -> Vec<Value> {
    let digest = "0".repeat(64);
    let nar_hash = format!("sha256-{}=", "A".repeat(43));
    let envelope = serde_json::from_slice::<Value>(&order_envelope(&order(), &[10])).unwrap();
    vec![
        json!({ "type": "activate_system", "store_path": STORE_PATH, "nar_hash": nar_hash,
                "baseline_sha256": digest, "flake": "github:acme/clinics/0123456789abcdef0123456789abcdef01234567#clinic-042" }),
        json!({ "type": "pause_healing", "until": "2026-11-21T00:00:00.000Z" }),
        json!({ "type": "reboot" }),
        json!({ "type": "restore_firewall", "baseline_sha256": digest }),
        json!({ "type": "restart_service", "unit": "nginx.service" }),
        json!({ "type": "rollback_system", "store_path": STORE_PATH }),
        json!({ "type": "run_backup", "job": "nightly" }),
        json!({ "type": "run_checks" }),
        json!({ "type": "update_baseline", "envelope": envelope }),
        json!({ "type": "update_trust", "envelope": envelope }),
    ]
}

#[test]
fn every_action_is_read_and_named() {
    let read: Vec<_> = actions().into_iter().map(|a| read_action(a).unwrap().name()).collect();
    assert_eq!(read, Action::NAMES);
}

#[test]
fn every_action_is_written_as_it_was_read() {
    for action in actions() {
        let read = read_action(action.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), action);
    }
}

#[test]
fn an_unknown_action_is_refused_as_such_but_its_order_can_still_be_named() {
    for name in ["wipe_disk", "", "Reboot", "reboot ", "run_checks\0"] {
        let payload = order_with("action", json!({ "type": name, "anything": [1] }));
        assert_eq!(read(&payload), Err(Refusal::UnknownAction), "{name:?}");
    }
    let mut newer = order_with("action", json!({ "type": "wipe_disk" }));
    newer["of_a_later_version"] = json!(true);
    let envelope = compliance_protocol::envelope::Envelope::parse(&order_envelope(&newer, &[10]));
    let verified =
        envelope.unwrap().verify("application/vnd.compliance.order.v1+json", &keys(&[10], 1));
    let header = verified.unwrap().order_header().unwrap();
    assert_eq!((header.sequence, header.action.name.as_str()), (17, "wipe_disk"));
}

#[test]
fn a_field_that_an_action_does_not_have_is_refused_for_every_action() {
    for mut action in actions() {
        action["shell"] = json!("rm -rf /");
        assert_eq!(read_action(action.clone()), Err(Refusal::BadParameter), "{action}");
    }
}

#[test]
fn a_field_that_an_action_needs_is_missed_for_every_action() {
    for action in actions() {
        for field in
            action.as_object().unwrap().keys().filter(|field| *field != "type" && *field != "flake")
        {
            let mut bad = action.clone();
            bad.as_object_mut().unwrap().remove(field);
            assert_eq!(read_action(bad), Err(Refusal::BadParameter), "{action} without {field}");
            let mut bad = action.clone();
            bad[field] = json!(null);
            if field != "envelope" {
                assert_eq!(
                    read_action(bad),
                    Err(Refusal::BadParameter),
                    "{action} with null {field}"
                );
            }
        }
    }
}

#[test]
fn a_parameter_that_is_not_a_name_of_its_kind_is_refused() {
    for (kind, field, value) in [
        ("restart_service", "unit", json!("nginx")),
        ("restart_service", "unit", json!("-H.service")),
        ("restart_service", "unit", json!("../x.service")),
        ("restart_service", "unit", json!(7)),
        ("run_backup", "job", json!("nightly; reboot")),
        ("run_backup", "job", json!("Nightly")),
        ("rollback_system", "store_path", json!("/nix/store/../../bin")),
        ("rollback_system", "store_path", json!(format!("{STORE_PATH}/bin/x"))),
        ("activate_system", "nar_hash", json!("sha256-short")),
        ("activate_system", "flake", json!("github:acme/clinics#unpinned")),
        ("activate_system", "flake", json!("github:acme/clinics?rev=0123abc#clinic-042")),
        ("activate_system", "flake", json!("--impure?rev=1")),
        ("restore_firewall", "baseline_sha256", json!("A".repeat(64))),
        ("pause_healing", "until", json!("tomorrow")),
        ("pause_healing", "until", json!("2026-11-21T00:00:00Z")),
    ] {
        let mut bad = actions().into_iter().find(|action| action["type"] == kind).unwrap();
        bad[field] = value;
        assert_eq!(read_action(bad.clone()), Err(Refusal::BadParameter), "{bad}");
    }
}

#[test]
fn an_unknown_field_of_the_order_is_refused() {
    for field in ["shell", "Action", "unit", "target_appliance_id"] {
        assert_eq!(read(&order_with(field, json!(1))), Err(Refusal::BadParameter), "{field}");
    }
}

#[test]
fn a_header_that_is_missing_or_misshapen_is_malformed_and_anything_else_a_bad_parameter() {
    for field in ["id", "tenant", "site", "epoch", "sequence", "issued_at", "expires_at", "action"]
    {
        for bad in [json!(null), json!({}), json!(-1), json!("?")] {
            assert_eq!(
                read(&order_with(field, bad.clone())),
                Err(Refusal::Malformed),
                "{field}: {bad}"
            );
        }
        let mut without = order();
        without.as_object_mut().unwrap().remove(field);
        assert_eq!(read(&without), Err(Refusal::Malformed), "without {field}");
    }
    for field in ["when", "max_runtime_s", "reason", "approvals"] {
        for bad in [json!(null), json!({}), json!(-1)] {
            assert_eq!(
                read(&order_with(field, bad.clone())),
                Err(Refusal::BadParameter),
                "{field}: {bad}"
            );
        }
    }
}

#[test]
fn an_approval_is_refused_since_none_is_defined() {
    for approval in [json!("alice"), json!({}), json!(null), json!([])] {
        let payload = order_with("approvals", json!([approval]));
        assert_eq!(read(&payload), Err(Refusal::BadParameter), "{payload}");
    }
}

#[test]
fn an_order_lives_900_s_unless_it_says_otherwise_and_14_days_at_most() {
    let issued = at("2026-11-20T09:41:11.000Z");
    assert_eq!(issued.plus(DEFAULT_TTL), at("2026-11-20T09:56:11.000Z"));
    let last = "2026-12-04T09:41:11.000Z";
    assert_eq!(issued.plus(Span::from_hours(14 * 24)), at(last));
    for (field, value, fits) in [
        ("expires_at", last, true),
        ("expires_at", "2026-12-04T09:41:11.001Z", false),
        ("expires_at", "2026-11-20T09:41:11.001Z", true),
        ("expires_at", "2026-11-20T09:41:11.000Z", false),
        ("expires_at", "2026-11-20T09:41:10.999Z", false),
        ("start_before", last, true),
        ("start_before", "2026-12-04T09:41:11.001Z", false),
        ("start_before", "2026-11-20T09:56:11.000Z", true),
        ("start_before", "2026-11-20T09:56:10.999Z", false),
        ("not_before", "2026-11-20T09:56:10.999Z", true),
        ("not_before", "2026-11-20T09:56:11.000Z", false),
        ("not_before", "1970-01-01T00:00:00.000Z", true),
    ] {
        let expected = if fits { Ok(()) } else { Err(Refusal::BadParameter) };
        assert_eq!(read(&order_with(field, json!(value))).map(drop), expected, "{field} {value}");
    }
}

#[test]
fn a_later_start_is_only_for_orders_that_wait_for_the_window() {
    let mut payload = order_with("start_before", json!("2026-11-21T09:41:11.000Z"));
    assert_eq!(read(&payload).unwrap().start_by(), at("2026-11-21T09:41:11.000Z"));
    payload["when"] = json!("now");
    assert_eq!(read(&payload), Err(Refusal::BadParameter));
    payload["start_before"] = json!(null);
    assert_eq!(read(&payload).unwrap().start_by(), at("2026-11-20T09:56:11.000Z"));
}

#[test]
fn run_time_and_texts_are_bounded() {
    for (field, value, fits) in [
        ("max_runtime_s", json!(1), true),
        ("max_runtime_s", json!(86_400), true),
        ("max_runtime_s", json!(0), false),
        ("max_runtime_s", json!(86_401), false),
        ("max_runtime_s", json!(1_u64 << 40), false),
        ("reason", json!("x".repeat(1000)), true),
        ("reason", json!("x".repeat(1001)), false),
        ("ticket", json!("x".repeat(200)), true),
        ("ticket", json!("x".repeat(201)), false),
    ] {
        let expected = if fits { Ok(()) } else { Err(Refusal::BadParameter) };
        assert_eq!(read(&order_with(field, value)).map(drop), expected, "{field}");
    }
}

#[test]
fn an_inner_envelope_must_be_an_envelope() {
    assert!(inner_envelope(&actions()[8]["envelope"]).is_ok());
    for bad in [
        json!(null),
        json!("text"),
        json!({}),
        json!({ "payload": "", "payloadType": "" }),
        json!(1.5),
    ] {
        assert_eq!(inner_envelope(&bad), Err(Refusal::BadParameter), "{bad}");
    }
}

#[test]
fn refusals_stand_in_the_order_in_which_they_are_checked() {
    use Refusal as R;
    let order = [
        R::Size,
        R::Malformed,
        R::BadSignature,
        R::Threshold,
        R::WrongTenant,
        R::WrongSite,
        R::WrongEpoch,
        R::SequenceReused,
        R::Replayed,
        R::NotListed,
        R::NotYetValid,
        R::Expired,
        R::UnknownAction,
        R::BadParameter,
        R::Policy,
    ];
    assert!(order.is_sorted());
    for refusal in order {
        assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.code());
    }
}

proptest! {
    #[test]
    fn an_order_that_is_read_is_written_back_byte_for_byte(
        sequence in 1..1_u64 << 53, reason in ".{0,40}", action in prop::sample::select(actions()),
    ) {
        let mut payload = order_with("action", action);
        payload["sequence"] = json!(sequence);
        payload["reason"] = json!(reason);
        prop_assert_eq!(serde_json::to_value(read(&payload).unwrap()).unwrap(), payload);
    }

    #[test]
    fn a_field_more_or_less_is_never_read_as_a_valid_order_with_another_action(
        name in "[a-z_]{1,12}", value in prop_oneof![Just(json!(null)), Just(json!("reboot")), Just(json!({"type": "reboot"}))],
    ) {
        prop_assume!(order().get(&name).is_none());
        prop_assert_eq!(read(&order_with(&name, value.clone())), Err(Refusal::BadParameter));
        let mut action = json!({ "type": "run_checks" });
        if name != "type" {
            action[&name] = value;
            prop_assert_eq!(read_action(action), Err(Refusal::BadParameter));
        }
    }
}
