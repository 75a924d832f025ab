//! Trust files, baselines and pauses that come by order.

use std::sync::Arc;

use compliance_checks::baseline::{Baseline, Binding};
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::key::KeySet;
use compliance_protocol::local::Answer;
use compliance_protocol::name::Id;
use compliance_protocol::time::Span;
use compliance_protocol::trust::Trust;
use compliance_signing::{PrivateKey, sign};
use compliance_testkit::{Keys, OrderForm, T0};
use serde_json::{Value, json};

use crate::common::{Rig, outcome, run_backup, run_checks};

fn update(kind: &str, envelope: &[u8]) -> Value {
    let envelope: Value = serde_json::from_slice(envelope).unwrap();
    json!({ "type": kind, "envelope": envelope })
}

/// The next order with this action, carried to the appliance; what became of it.
fn ordered(rig: &mut Rig, last: &mut Option<OrderForm>, action: &Value) -> Vec<(Outcome, String)> {
    let sequence = rig.ticket().after + 1;
    let mut form = OrderForm::new(sequence, action).issued(rig.reading.wall);
    let epoch = rig.plane.trust.epoch;
    let mut random = [0; 10];
    random[0] = u8::try_from(epoch).unwrap();
    random[9] = u8::try_from(sequence).unwrap();
    form = form.with("epoch", epoch).with("id", Id::new(T0, random).to_string());
    if let Some(last) = last.as_ref().filter(|last| last.sequence() + 1 == sequence) {
        form = form.after(last);
    }
    rig.plane.issue(form.clone());
    rig.poll();
    rig.plane.open.clear();
    *last = Some(form.clone());
    rig.about(&form)
}

fn next_trust(change: impl FnOnce(&mut Trust)) -> Trust {
    let mut trust = Keys::default().trust();
    trust.version = 2;
    change(&mut trust);
    trust
}

fn take_trust(rig: &mut Rig, trust: &Trust, roots: &[&PrivateKey]) -> Vec<(Outcome, String)> {
    ordered(rig, &mut None, &update("update_trust", &sign(trust, roots).unwrap()))
}

#[test]
fn the_next_trust_file_is_in_force_at_once_and_after_a_restart() {
    let mut rig = Rig::new();
    let feed = PrivateKey::from_seed(&[50; 32]).unwrap();
    let next = next_trust(|trust| {
        trust.roles.feed = KeySet::new(vec![feed.public()], 1).unwrap();
    });
    let root = Keys::default().root;
    assert_eq!(take_trust(&mut rig, &next, &[&root]), [outcome(Outcome::Success, "trust_updated")]);
    for _ in 0..2 {
        assert!(!rig.poll_changed(Vec::new(), |_| ()), "the old feed key counts no more");
        let ticket = rig.ticket();
        let head = rig.plane.head(&ticket, rig.reading.wall);
        let feed = PrivateKey::from_seed(&[50; 32]).unwrap();
        let keys = Arc::new(Keys { feed, ..Keys::default() });
        let old = std::mem::replace(&mut rig.plane.keys, keys);
        let answer = rig.plane.answer_with(&head, &ticket, Vec::new());
        let answer = rig.handle(answer);
        assert!(matches!(answer, Answer::Feed { fresh: true, .. }), "{answer:?}");
        rig.plane.keys = old;
        rig.restart(); // with the closure that still brings version 1
    }
}

#[test]
fn a_trust_file_that_does_not_follow_is_refused_and_changes_nothing() {
    let keys = Keys::default();
    let stranger = PrivateKey::from_seed(&[60; 32]).unwrap();
    let cases: Vec<(Trust, &PrivateKey, &str)> = vec![
        (next_trust(|t| t.version = 1), &keys.root, "policy"),
        (next_trust(|t| t.version = 3), &keys.root, "policy"),
        (next_trust(|_| ()), &stranger, "bad_parameter"),
        (next_trust(|_| ()), &keys.orders[0], "bad_parameter"),
        (next_trust(|t| t.site = "clinic-043".parse().unwrap()), &keys.root, "bad_parameter"),
        (next_trust(|t| t.tenant = "acme2".parse().unwrap()), &keys.root, "bad_parameter"),
        (next_trust(|t| t.roles.evidence = stranger.public()), &keys.root, "policy"),
        // Signed by the old root, but not by the new one that it names.
        (
            next_trust(|t| t.roles.root = KeySet::new(vec![stranger.public()], 1).unwrap()),
            &keys.root,
            "bad_parameter",
        ),
    ];
    for (trust, root, reason) in cases {
        let mut rig = Rig::new();
        let told = take_trust(&mut rig, &trust, &[root]);
        assert_eq!(told, [outcome(Outcome::Rejected, reason)], "{trust:?}");
        rig.restart();
        rig.poll();
        assert_eq!(rig.status().epoch, 1);
    }
}

#[test]
fn a_new_root_takes_over_when_both_have_signed() {
    let mut rig = Rig::new();
    let (old, new) = (Keys::default().root, PrivateKey::from_seed(&[61; 32]).unwrap());
    let root = KeySet::new(vec![new.public()], 1).unwrap();
    let second = next_trust(|trust| trust.roles.root = root.clone());
    let told = take_trust(&mut rig, &second, &[&old, &new]);
    assert_eq!(told, [outcome(Outcome::Success, "trust_updated")]);
    let third = next_trust(|trust| (trust.version, trust.roles.root) = (3, root));
    rig.restart();
    let by_old = update("update_trust", &sign(&third, &[&old]).unwrap());
    let by_new = update("update_trust", &sign(&third, &[&new]).unwrap());
    let mut last = None;
    // Order 1 was another one than this test's `last`; a gap frees from naming it.
    let mut form = OrderForm::new(3, &by_old);
    rig.plane.issue(form.clone());
    rig.poll();
    rig.plane.open.clear();
    assert_eq!(rig.about(&form), [outcome(Outcome::Rejected, "bad_parameter")]);
    last.get_or_insert(form);
    assert_eq!(ordered(&mut rig, &mut last, &by_new), [outcome(Outcome::Success, "trust_updated")]);
    form = last.unwrap();
    assert_eq!(form.sequence(), 4);
}

#[test]
fn a_trust_file_of_the_next_epoch_begins_orders_and_evidence_anew() {
    let mut rig = Rig::new();
    let root = Keys::default().root;
    let next = next_trust(|trust| trust.epoch = 2);
    assert_eq!(take_trust(&mut rig, &next, &[&root]), [outcome(Outcome::Success, "trust_updated")]);
    assert_eq!(rig.ticket().after, 0, "sequences begin again");
    rig.plane.trust = next;
    let mut last = None;
    assert_eq!(ordered(&mut rig, &mut last, &run_checks()), [outcome(Outcome::Success, "checked")]);
    rig.restart();
    let told = ordered(&mut rig, &mut last, &run_backup());
    assert_eq!(told, [outcome(Outcome::Success, "done")]);
    // `evidence` follows the chains: the new epoch has its own, from 1.
    let all = rig.evidence();
    let first = all.iter().find(|bundle| bundle.epoch == 2).unwrap();
    assert_eq!((first.sequence, first.previous_sha256), (1, None));
    assert_eq!(rig.upload(), all.len() as u64);
    rig.poll();
    assert!(rig.because("ledger_new").is_empty(), "nothing was lost");
}

#[test]
fn an_order_of_the_epoch_before_that_still_waits_is_refused() {
    let mut rig = Rig::new();
    let waits = OrderForm::new(1, &crate::common::restart_frontdesk())
        .with("start_before", "2026-12-01T00:00:00.000Z");
    rig.plane.issue(waits.clone());
    rig.poll();
    let root = Keys::default().root;
    let next = next_trust(|trust| trust.epoch = 2);
    let action = update("update_trust", &sign(&next, &[&root]).unwrap());
    rig.plane.issue(OrderForm::new(2, &action).after(&waits));
    rig.poll();
    rig.settle();
    assert_eq!(rig.about(&waits).last(), Some(&outcome(Outcome::Rejected, "wrong_epoch")));
}

fn next_baseline(change: impl FnOnce(&mut Baseline)) -> Baseline {
    let mut baseline = Keys::default().baseline();
    baseline.version = 2;
    change(&mut baseline);
    baseline
}

fn take_baseline(rig: &mut Rig, baseline: &Baseline, key: &PrivateKey) -> Vec<(Outcome, String)> {
    ordered(rig, &mut None, &update("update_baseline", &sign(baseline, &[key]).unwrap()))
}

/// A baseline that lets the backup grow older than it is.
fn strict(version: u64) -> Baseline {
    let text = serde_json::to_string(&next_baseline(|b| b.version = version)).unwrap();
    serde_json::from_str(&text.replace(r#""max_age_h":48"#, r#""max_age_h":0"#)).unwrap()
}

#[test]
fn a_newer_baseline_is_in_force_at_once_and_after_a_restart() {
    let mut rig =
        Rig::with(|setup| setup.heal.backups = compliance_executor::config::HealMode::Never);
    rig.settle();
    let told = take_baseline(&mut rig, &strict(2), &Keys::default().baseline);
    assert_eq!(told, [outcome(Outcome::Success, "baseline_updated")]);
    let drift = rig.because("drift").pop().expect("judged by the new one without waiting");
    let payload = Digest::of(&compliance_protocol::json::to_canonical(&strict(2)).unwrap());
    assert_eq!(drift.baseline_sha256, Some(payload));
    rig.restart();
    rig.round();
    let compliant = rig.because("compliant");
    let backups = compliant.iter().filter(|bundle| bundle.check.as_deref() == Some("backups"));
    assert_eq!(backups.count(), 1, "the old one does not come back");
}

#[test]
fn a_baseline_that_does_not_follow_or_is_for_another_machine_is_refused() {
    let keys = Keys::default();
    let elsewhere = Binding::MachineIdSha256(Digest::of(b"another machine"));
    let system = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-a-25.11";
    let system = Binding::System(system.parse().unwrap());
    let cases: Vec<(Baseline, &PrivateKey, &str)> = vec![
        (next_baseline(|b| b.version = 1), &keys.baseline, "policy"),
        (next_baseline(|b| b.version = 0), &keys.baseline, "policy"),
        (next_baseline(|_| ()), &keys.orders[0], "bad_parameter"),
        (
            next_baseline(|b| b.site = "clinic-043".parse().unwrap()),
            &keys.baseline,
            "bad_parameter",
        ),
        (next_baseline(|b| b.tenant = "acme2".parse().unwrap()), &keys.baseline, "bad_parameter"),
        (next_baseline(|b| b.bound_to = elsewhere), &keys.baseline, "bad_parameter"),
        (next_baseline(|b| b.bound_to = system), &keys.baseline, "bad_parameter"),
    ];
    for (baseline, key, reason) in cases {
        let mut rig = Rig::new();
        let told = take_baseline(&mut rig, &baseline, key);
        assert_eq!(told, [outcome(Outcome::Rejected, reason)], "{baseline:?}");
    }
}

#[test]
fn what_an_update_holds_must_be_an_envelope() {
    for kind in ["update_baseline", "update_trust"] {
        for bad in
            [json!({}), json!(1), json!({ "payload": "%", "payloadType": "x", "signatures": [] })]
        {
            let mut rig = Rig::new();
            let action = json!({ "type": kind, "envelope": bad });
            let told = ordered(&mut rig, &mut None, &action);
            assert_eq!(told, [outcome(Outcome::Rejected, "bad_parameter")], "{action}");
        }
    }
}

#[test]
fn a_machine_without_a_baseline_takes_its_first_by_order() {
    let mut rig = Rig::with(|setup| setup.baseline = Err("there is none".to_owned()));
    rig.settle();
    let told = take_baseline(&mut rig, &next_baseline(|_| ()), &Keys::default().baseline);
    assert_eq!(told, [outcome(Outcome::Success, "baseline_updated")]);
    let state = rig.status().checks.into_iter().find(|check| check.check == "backups").unwrap();
    assert_eq!(state.state, compliance_protocol::evidence::State::Compliant);
}

#[test]
fn a_baseline_version_is_used_once_at_a_site_also_for_another_system() {
    let mut rig = Rig::new();
    let mut last = None;
    let signed = |b: &Baseline| sign(b, &[&Keys::default().baseline]).unwrap();
    let two = update("update_baseline", &signed(&next_baseline(|_| ())));
    assert_eq!(ordered(&mut rig, &mut last, &two), [outcome(Outcome::Success, "baseline_updated")]);
    // The same machine id, other content, the same version.
    let other = update("update_baseline", &signed(&strict(2)));
    assert_eq!(ordered(&mut rig, &mut last, &other), [outcome(Outcome::Rejected, "policy")]);
    // The closure's baseline is of another tenant now, so that none is in force here but the kept one.
    rig.setup.baseline = Err("there is none".to_owned());
    rig.restart();
    rig.settle();
    assert_eq!(ordered(&mut rig, &mut last, &other), [outcome(Outcome::Rejected, "policy")]);
}

#[test]
fn an_order_for_a_job_of_the_new_baseline_is_judged_by_a_look_with_it() {
    let mut rig = Rig::new();
    let text = serde_json::to_string(&next_baseline(|_| ())).unwrap();
    let renamed: Baseline =
        serde_json::from_str(&text.replace(r#""name":"records""#, r#""name":"papers""#)).unwrap();
    let signed = sign(&renamed, &[&Keys::default().baseline]).unwrap();
    let first = OrderForm::new(1, &update("update_baseline", &signed));
    let job = json!({ "type": "run_backup", "job": "papers" });
    let second = OrderForm::new(2, &job).after(&first);
    // The job ends well and writes nothing new.
    rig.backup_does(T0, false);
    rig.settle();
    rig.plane.issue(first.clone());
    rig.plane.issue(second.clone());
    rig.poll();
    assert_eq!(rig.about(&first), [outcome(Outcome::Success, "baseline_updated")]);
    assert_eq!(rig.about(&second), [outcome(Outcome::Failed, "not_healed")]);
    let bundle = rig.because("not_healed").pop().unwrap();
    assert!(bundle.pre["papers"]["finished_at"].is_string(), "{:?}", bundle.pre);
}

#[test]
fn a_pause_holds_heals_until_it_is_over_and_no_order() {
    let mut rig = Rig::new();
    let until = T0.plus(Span::from_hours(2));
    let mut last = None;
    let pause = json!({ "type": "pause_healing", "until": until });
    assert_eq!(ordered(&mut rig, &mut last, &pause), [outcome(Outcome::Success, "paused")]);
    rig.age_backup(Span::from_hours(50));
    rig.round();
    assert_eq!(rig.backups_run(), 0);
    let waits = rig.because("drift").pop().unwrap();
    assert_eq!((waits.outcome, waits.retry_after), (Outcome::Deferred, Some(until)));
    rig.restart();
    rig.round();
    assert_eq!(rig.backups_run(), 0, "in another process too");
    rig.backup_does(rig.reading.wall, true);
    assert_eq!(ordered(&mut rig, &mut last, &run_backup()), [outcome(Outcome::Success, "done")]);
    rig.pass(Span::from_hours(2));
    rig.age_backup(Span::from_hours(50));
    rig.settle();
    assert_eq!(rig.backups_run(), 2, "the pause is over");
}

#[test]
fn a_pause_counts_by_the_heads_time_where_the_wall_clock_is_wrong() {
    let years = Span::from_hours(24 * 365 * 5);
    for wrong in [years, Span::from_millis(-years.as_millis())] {
        let mut rig = Rig::with(|setup| setup.synchronised = false);
        rig.reading.wall = T0.plus(wrong);
        let pause = json!({ "type": "pause_healing", "until": T0.plus(Span::from_hours(2)) });
        let form = OrderForm::new(1, &pause);
        rig.plane.issue(form.clone());
        let orders = rig.plane.open.iter().map(|(_, bytes)| bytes.clone()).collect();
        assert!(rig.poll_changed(orders, |head| head.issued_at = T0));
        assert_eq!(rig.about(&form), [outcome(Outcome::Success, "paused")]);
        rig.host.remove(compliance_testkit::keys::ARCHIVE);
        rig.round();
        assert_eq!(rig.backups_run(), 0);
        rig.pass(Span::from_hours(2));
        rig.settle();
        assert_eq!(rig.backups_run(), 1);
    }
}
