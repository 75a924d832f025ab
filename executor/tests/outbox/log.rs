//! The control plane's evidence log: that it only grows, seen from the appliance.

use std::sync::Arc;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::Span;
use compliance_signing::{PrivateKey, sign};
use compliance_testkit::{FakePlane, Keys, OrderForm};
use serde_json::{Value, json};

use crate::common::{Rig, outcome, run_checks};

/// An appliance whose evidence has arrived, in a log with that of others.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.plane.grow(5);
    rig.poll();
    rig.upload();
    rig.poll();
    assert_eq!(rig.ticket().log_size, rig.plane.stored.len() as u64 + 5);
    rig
}

/// Something is put into evidence.
fn leave_evidence(rig: &mut Rig) {
    rig.pass(Span::from_hours(1));
    rig.settle();
    assert!(!rig.pending().is_empty());
}

fn accused(rig: &Rig) -> usize {
    rig.because("history_rewritten").len()
}

fn unproven(rig: &Rig) -> usize {
    rig.because("log_not_proven").len()
}

/// An upload whose answer asks for a proof from where the last ticket stood, as a slow courier's may.
fn upload_from(rig: &mut Rig, log_size: u64) -> u64 {
    let bundles = rig.pending();
    let request = rig.plane.upload(&bundles, log_size);
    match rig.handle(request) {
        Answer::Receipts { recorded, .. } => recorded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn honest_growth_between_poll_and_upload_raises_no_alarm() {
    let mut rig = rig();
    for _ in 0..3 {
        leave_evidence(&mut rig);
        let before = rig.ticket().log_size;
        rig.plane.grow(3);
        rig.poll();
        rig.plane.grow(3);
        // The proof runs from before the poll: it shows nothing, and nobody is accused for it.
        assert_eq!(upload_from(&mut rig, before), 0);
        assert!(rig.upload() > 0);
        rig.plane.grow(2);
    }
    rig.poll();
    assert_eq!((accused(&rig), unproven(&rig)), (0, 0));
    assert!(rig.pending().is_empty());
}

#[test]
fn the_answers_say_from_where_the_next_proof_is_wanted() {
    let mut rig = rig();
    rig.plane.grow(3);
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    let grown = ticket.log_size + 3;
    assert_eq!(rig.handle(answer), Answer::Feed { fresh: true, log_size: grown });
    leave_evidence(&mut rig);
    let bundles = rig.pending();
    let request = rig.plane.upload(&bundles, grown);
    let log_size = grown + bundles.len() as u64;
    assert_eq!(rig.handle(request), Answer::Receipts { recorded: bundles.len() as u64, log_size });
}

#[test]
fn a_log_that_shrank_is_reported_once_and_uploading_goes_on() {
    let mut rig = rig();
    let old = rig.plane.clone();
    rig.plane.grow(10);
    rig.poll();
    rig.plane = old;
    for _ in 0..3 {
        rig.poll();
        leave_evidence(&mut rig);
        rig.upload();
    }
    rig.restart();
    rig.poll();
    assert_eq!(accused(&rig), 1);
    assert_eq!(rig.because("history_rewritten")[0].outcome, Outcome::Alert);
    assert!(rig.pending().is_empty(), "receipts of the log as it is now are taken");
    // Honest from here on, and accused again if it does it again.
    rig.plane.grow(2);
    rig.poll();
    assert_eq!((accused(&rig), unproven(&rig)), (1, 0));
    let old = rig.plane.clone();
    rig.plane.grow(1);
    rig.poll();
    rig.plane = old;
    rig.poll();
    assert_eq!(accused(&rig), 2);
}

#[test]
fn a_log_of_the_same_size_with_another_content_is_reported_once() {
    let mut rig = rig();
    let mut other = FakePlane::default();
    other.grow(usize::try_from(rig.ticket().log_size).unwrap());
    rig.plane = other;
    rig.poll();
    rig.poll();
    assert_eq!(accused(&rig), 1);
}

#[test]
fn a_log_that_forked_and_grew_is_reported_as_not_proven_and_gives_no_receipts() {
    let mut rig = rig();
    let mut other = FakePlane::default();
    other.grow(usize::try_from(rig.ticket().log_size).unwrap() + 4);
    let honest = std::mem::replace(&mut rig.plane, other);
    leave_evidence(&mut rig);
    rig.poll();
    rig.poll();
    assert_eq!(unproven(&rig), 1, "once for the same state of the log");
    let from = rig.ticket().log_size;
    assert_eq!(upload_from(&mut rig, from), 0);
    assert!(!rig.pending().is_empty());
    // The one that was verified before is still followed.
    rig.plane = honest;
    rig.poll();
    assert!(rig.upload() > 0);
    assert_eq!((accused(&rig), unproven(&rig)), (0, 1));
}

type Change = fn(String, &mut String, &mut Vec<Digest>);

#[test]
fn what_a_courier_does_to_checkpoints_and_proofs_accuses_nobody() {
    let mut rig = rig();
    let old = rig.plane.checkpoint();
    rig.plane.grow(3);
    rig.poll();
    leave_evidence(&mut rig);
    let changes: [Change; 4] = [
        |old, checkpoint, _| *checkpoint = old,
        |_, checkpoint, _| checkpoint.clear(),
        |_, _, consistency| consistency.clear(),
        |_, _, consistency| consistency.push(Digest::of(b"x")),
    ];
    for change in changes {
        // In the answer to an upload …
        let from = rig.ticket().log_size;
        let bundles = rig.pending();
        let Request::Receipts { results, mut checkpoint, mut consistency } =
            rig.plane.upload(&bundles, from)
        else {
            panic!("the plane answers an upload")
        };
        change(old.clone(), &mut checkpoint, &mut consistency);
        let answer = rig.handle(Request::Receipts { results, checkpoint, consistency });
        assert_eq!(answer, Answer::Receipts { recorded: 0, log_size: from });
        // … and in that to a poll.
        let ticket = rig.ticket();
        let Request::Feed { head, orders, mut checkpoint, mut consistency } =
            rig.plane.answer(&ticket, rig.reading.wall)
        else {
            panic!("the plane answers a poll")
        };
        change(old.clone(), &mut checkpoint, &mut consistency);
        rig.handle(Request::Feed { head, orders, checkpoint, consistency });
        assert_eq!(rig.ticket().log_size, from);
    }
    assert_eq!(accused(&rig), 0);
    rig.poll();
    assert!(rig.upload() > 0);
    assert_eq!(accused(&rig), 0);
}

#[test]
fn a_checkpoint_of_another_key_or_log_is_not_followed() {
    for other_key in [true, false] {
        let mut rig = rig();
        let size = rig.ticket().log_size;
        let mut other = rig.plane.clone();
        if other_key {
            let checkpoint = PrivateKey::from_seed(&[70; 32]).unwrap();
            other.keys = Arc::new(Keys { checkpoint, ..Keys::default() });
        } else {
            let key = other.keys.checkpoint.public();
            let name = "mcp.acme.example/other";
            other.trust.log = compliance_protocol::tlog::VerifierKey::new(name, key).unwrap();
        }
        other.grow(3);
        rig.plane = other;
        rig.poll();
        assert_eq!((rig.ticket().log_size, accused(&rig), unproven(&rig)), (size, 0, 1));
    }
}

#[test]
fn the_log_that_a_new_trust_file_names_is_followed_from_its_beginning() {
    let mut rig = rig();
    let key = PrivateKey::from_seed(&[71; 32]).unwrap();
    let mut next = rig.plane.keys.trust();
    next.version = 2;
    next.roles.checkpoint = key.public();
    next.log = compliance_protocol::tlog::VerifierKey::new(next.log.name(), key.public()).unwrap();
    let envelope = sign(&next, &[&rig.plane.keys.root]).unwrap();
    let envelope: Value = serde_json::from_slice(&envelope).unwrap();
    let update = OrderForm::new(1, &json!({ "type": "update_trust", "envelope": envelope }));
    rig.plane.issue(update.clone());
    rig.poll();
    assert_eq!(rig.about(&update), [outcome(Outcome::Success, "trust_updated")]);
    let mut plane = FakePlane::default();
    plane.keys = Arc::new(Keys { checkpoint: key, ..Keys::default() });
    rig.plane = plane;
    rig.poll();
    leave_evidence(&mut rig);
    assert!(rig.upload() > 0);
    rig.poll();
    assert_eq!(rig.ticket().log_size, rig.plane.stored.len() as u64);
    assert_eq!((accused(&rig), unproven(&rig)), (0, 0));
}

#[test]
fn a_trust_file_with_the_same_log_forgets_nothing_of_it() {
    let mut rig = rig();
    let size = rig.ticket().log_size;
    let mut next = rig.plane.keys.trust();
    next.version = 2;
    let envelope = sign(&next, &[&rig.plane.keys.root]).unwrap();
    let envelope: Value = serde_json::from_slice(&envelope).unwrap();
    rig.plane.issue(OrderForm::new(1, &json!({ "type": "update_trust", "envelope": envelope })));
    rig.poll();
    assert_eq!(rig.because("trust_updated").len(), 1);
    assert_eq!(rig.ticket().log_size, size);
}

#[test]
fn a_head_that_is_refused_says_nothing_about_the_log() {
    let mut rig = rig();
    let size = rig.ticket().log_size;
    let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
    let ticket = rig.ticket();
    let mut head = rig.plane.head(&ticket, rig.reading.wall);
    head.log.size = 1;
    let Request::Feed { orders, checkpoint, consistency, .. } =
        rig.plane.answer(&ticket, rig.reading.wall)
    else {
        panic!("the plane answers a poll")
    };
    let head = sign(&head, &[&stranger]).unwrap().into();
    rig.handle(Request::Feed { head, orders, checkpoint, consistency });
    assert_eq!((rig.ticket().log_size, accused(&rig)), (size, 0));
}

#[test]
fn an_empty_log_is_extended_by_every_log() {
    let mut rig = Rig::new();
    rig.poll();
    rig.plane.grow(7);
    rig.plane.issue(OrderForm::new(1, &run_checks()));
    rig.poll();
    assert_eq!((rig.ticket().log_size, accused(&rig), unproven(&rig)), (7, 0, 0));
}
