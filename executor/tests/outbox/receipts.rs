//! What is pending, what a receipt must prove, and what becomes of bundles that are not taken.

use std::sync::Arc;

use compliance_protocol::evidence::{Outcome, SignedBundle};
use compliance_protocol::local::{Answer, MAX_FRAME, Request, encode};
use compliance_protocol::time::Span;
use compliance_protocol::tlog::{TlogProof, VerifierKey};
use compliance_protocol::wire::{UploadResult, UploadStatus};
use compliance_signing::PrivateKey;
use compliance_testkit::{FakePlane, Keys, OrderForm};

use crate::common::{Rig, run_backup, run_checks};

/// An appliance with some evidence that nobody has yet.
fn rig() -> (Rig, Vec<SignedBundle>) {
    let mut rig = Rig::new();
    rig.settle();
    let pending = rig.pending();
    assert!(pending.len() > 5);
    (rig, pending)
}

/// The plane's answer to an upload of these bundles.
fn answer(plane: &mut FakePlane, bundles: &[SignedBundle]) -> Vec<UploadResult> {
    match plane.upload(bundles, 0) {
        Request::Receipts { results, .. } => results,
        other => panic!("{other:?}"),
    }
}

/// Hands these results to the executor; how many receipts it recorded.
fn hand_in(rig: &mut Rig, results: Vec<UploadResult>) -> u64 {
    let Request::Receipts { checkpoint, consistency, .. } = rig.plane.upload(&[], 0) else {
        panic!("the plane answers an upload")
    };
    match rig.handle(Request::Receipts { results, checkpoint, consistency }) {
        Answer::Receipts { recorded, .. } => recorded,
        other => panic!("{other:?}"),
    }
}

fn ids(bundles: &[SignedBundle]) -> Vec<String> {
    let id = |b: &SignedBundle| {
        let json: serde_json::Value = serde_json::from_slice(b.json.as_slice()).unwrap();
        json["id"].as_str().unwrap().to_owned()
    };
    bundles.iter().map(id).collect()
}

#[test]
fn evidence_is_pending_in_chain_order_until_its_receipt_is_recorded() {
    let (mut rig, pending) = rig();
    let sequences: Vec<u64> = pending
        .iter()
        .map(|b| serde_json::from_slice::<serde_json::Value>(b.json.as_slice()).unwrap())
        .map(|json| json["sequence"].as_u64().unwrap())
        .collect();
    assert!(sequences.iter().zip(1..).all(|(sequence, n)| *sequence == n), "{sequences:?}");
    assert_eq!(rig.status().pending_bundles, pending.len() as u64);
    assert_eq!(rig.pending(), pending, "asking takes nothing away");
    assert_eq!(rig.upload(), pending.len() as u64);
    assert_eq!((rig.pending().len(), rig.status().pending_bundles), (0, 0));
    rig.restart();
    assert!(rig.pending().is_empty());
    assert_eq!(rig.plane.stored.len(), pending.len());
}

#[test]
fn when_the_answer_to_an_upload_is_lost_it_is_uploaded_again_and_nothing_is_there_twice() {
    let (mut rig, pending) = rig();
    let _lost = answer(&mut rig.plane, &pending);
    rig.restart();
    assert_eq!(rig.pending(), pending);
    let again = answer(&mut rig.plane, &pending);
    assert!(again.iter().all(|result| result.status == UploadStatus::Duplicate));
    assert_eq!(hand_in(&mut rig, again), pending.len() as u64);
    assert_eq!(rig.plane.stored.len(), pending.len());
    assert!(rig.because("history_rewritten").is_empty());
}

#[test]
fn the_first_receipt_stays() {
    let (mut rig, pending) = rig();
    let first = answer(&mut rig.plane, &pending[..1]);
    assert_eq!(hand_in(&mut rig, first.clone()), 1);
    let later = answer(&mut rig.plane, &pending[..1]);
    assert_eq!(hand_in(&mut rig, later), 0);
    assert_eq!(hand_in(&mut rig, first), 0);
}

/// That none of these results is recorded, that the bundles stay, and that good receipts still come in.
fn assert_none_recorded(
    mut rig: Rig,
    pending: &[SignedBundle],
    results: Vec<UploadResult>,
    what: &str,
) {
    assert_eq!(hand_in(&mut rig, results), 0, "{what}");
    assert_eq!(rig.pending(), pending, "{what}");
    let good = answer(&mut rig.plane, pending);
    assert_eq!(hand_in(&mut rig, good), pending.len() as u64, "{what}");
}

fn change(results: &mut [UploadResult], change: impl Fn(&mut TlogProof)) {
    for result in results {
        let mut proof = TlogProof::parse(result.receipt.as_ref().unwrap()).unwrap();
        change(&mut proof);
        result.receipt = Some(proof.to_string());
    }
}

#[test]
fn a_receipt_that_does_not_prove_this_bundle_in_this_log_is_not_recorded() {
    type Change = fn(&mut Vec<UploadResult>);
    let changes: [(&str, Change); 7] = [
        ("another leaf", |all| {
            change(all, |proof| proof.index ^= 1);
        }),
        ("a hash that is not there", |all| {
            change(all, |proof| proof.path.truncate(proof.path.len().saturating_sub(1)));
        }),
        ("a hash too many", |all| change(all, |proof| proof.path.push(proof.path[0]))),
        ("an index beyond the log", |all| change(all, |proof| proof.index += 1000)),
        ("no receipt", |all| all.iter_mut().for_each(|r| r.receipt = None)),
        ("garbage", |all| {
            for result in all {
                result.receipt = Some("c2sp.org/tlog-proof@v1".to_owned());
            }
        }),
        ("another's receipt", |all| {
            let mut receipts: Vec<_> = all.iter().map(|r| r.receipt.clone()).collect();
            receipts.rotate_left(1);
            all.iter_mut().zip(receipts).for_each(|(r, receipt)| r.receipt = receipt);
        }),
    ];
    for (what, change) in changes {
        let (mut rig, pending) = rig();
        let mut results = answer(&mut rig.plane, &pending);
        change(&mut results);
        assert_none_recorded(rig, &pending, results, what);
    }
}

#[test]
fn a_receipt_of_another_key_or_log_is_not_recorded() {
    let (rig_one, pending) = rig();
    let mut other = FakePlane::default();
    other.keys =
        Arc::new(Keys { checkpoint: PrivateKey::from_seed(&[70; 32]).unwrap(), ..Keys::default() });
    let results = answer(&mut other, &pending);
    assert_none_recorded(rig_one, &pending, results, "another key");
    let (rig_two, pending) = rig();
    let mut other = FakePlane::default();
    other.trust.log =
        VerifierKey::new("mcp.acme.example/other", other.keys.checkpoint.public()).unwrap();
    let results = answer(&mut other, &pending);
    assert_none_recorded(rig_two, &pending, results, "another log's origin");
}

#[test]
fn one_bad_receipt_keeps_no_other_out() {
    let (mut rig, pending) = rig();
    let mut results = answer(&mut rig.plane, &pending);
    results[2].receipt = Some("nonsense".to_owned());
    results[3].id = None;
    results.push(UploadResult {
        id: Some(OrderForm::new(1, &run_checks()).id()),
        ..results[0].clone()
    });
    assert_eq!(hand_in(&mut rig, results), pending.len() as u64 - 2);
    assert_eq!(ids(&rig.pending()), ids(&pending[2..4]));
}

fn refuse(results: &mut [UploadResult], which: &[usize]) {
    for i in which {
        results[*i].status = UploadStatus::Refused;
        results[*i].receipt = None;
        results[*i].reason = Some("the chain\nforks\u{7f} here".to_owned());
    }
}

#[test]
fn bundles_that_are_refused_are_reported_once_and_hold_no_other_up() {
    let (mut rig, pending) = rig();
    let mut results = answer(&mut rig.plane, &pending);
    refuse(&mut results, &[1, 3]);
    assert_eq!(hand_in(&mut rig, results.clone()), pending.len() as u64 - 2);
    hand_in(&mut rig, results);
    rig.restart();
    let alerts = rig.because("evidence_refused");
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].outcome, alerts[0].findings.len()), (Outcome::Alert, 2));
    assert!(alerts[0].findings[0].subject.contains(&ids(&pending)[1]));
    assert_eq!(alerts[0].findings[0].actual, "the chainforks here");
    // What is left is the report itself. It goes out; the refused ones stay here.
    assert_eq!(rig.upload(), 1);
    assert!(rig.pending().is_empty());
    assert_eq!(rig.evidence().len(), pending.len() + 1, "and nothing is deleted");
}

#[test]
fn a_report_that_is_refused_in_its_turn_is_not_reported() {
    let (mut rig, mut pending) = rig();
    for _ in 0..5 {
        let mut results = answer(&mut FakePlane::default(), &pending);
        let all: Vec<_> = (0..results.len()).collect();
        refuse(&mut results, &all);
        hand_in(&mut rig, results);
        pending = rig.pending();
    }
    assert_eq!(rig.because("evidence_refused").len(), 1);
    assert!(pending.is_empty());
}

#[test]
fn what_was_refused_is_offered_again_after_a_day() {
    let (mut rig, pending) = rig();
    let mut results = answer(&mut FakePlane::default(), &pending);
    let all: Vec<_> = (0..results.len()).collect();
    refuse(&mut results, &all);
    hand_in(&mut rig, results);
    assert_eq!(rig.upload(), 1, "the report");
    rig.reading.wall = rig.reading.wall.plus(Span::from_hours(24));
    assert_eq!(rig.pending(), pending);
    assert_eq!(rig.upload(), pending.len() as u64);
    assert_eq!(rig.because("evidence_refused").len(), 1);
}

#[test]
fn a_receipt_outweighs_a_refusal() {
    let (mut rig, pending) = rig();
    let good = answer(&mut rig.plane, &pending);
    let mut bad = good.clone();
    refuse(&mut bad, &[0]);
    hand_in(&mut rig, bad);
    assert_eq!(hand_in(&mut rig, good.clone()), 1);
    let mut bad = good;
    refuse(&mut bad, &[1]);
    hand_in(&mut rig, bad);
    assert_eq!(rig.because("evidence_refused").len(), 1, "only of what had no receipt");
}

#[test]
fn an_answer_to_pending_is_bounded_and_never_empty_while_something_waits() {
    let (mut rig, _) = rig();
    let mut last: Option<OrderForm> = None;
    for sequence in 1..=120 {
        let form = OrderForm::new(sequence, &run_backup()).with("max_runtime_s", 0);
        let form = last.iter().fold(form, OrderForm::after);
        rig.plane.open = vec![];
        rig.plane.issue(form.clone());
        rig.poll();
        last = Some(form);
    }
    let all = rig.status().pending_bundles;
    assert!(all > 120);
    let asked = |rig: &mut Rig, bytes| match rig.handle(Request::Pending { bytes }) {
        answer @ Answer::Pending { .. } => answer,
        other => panic!("{other:?}"),
    };
    let count = |answer: &Answer| match answer {
        Answer::Pending { bundles } => bundles.len(),
        _ => 0,
    };
    assert_eq!(count(&asked(&mut rig, 0)), 1);
    let some = asked(&mut rig, 50_000);
    assert!(encode(&some).unwrap().len() <= 50_000 && count(&some) > 2);
    let most = asked(&mut rig, u64::MAX);
    assert!(encode(&most).unwrap().len() <= MAX_FRAME);
    assert!((10..=64).contains(&count(&most)), "{}", count(&most));
    assert_eq!(rig.upload(), all, "in as many turns as it takes");
}
