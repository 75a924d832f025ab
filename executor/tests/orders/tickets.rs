//! Tickets and feed heads: one head for one ticket, of this boot, within a minute.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::feed::{FeedHead, Ticket};
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::Span;
use compliance_signing::{PrivateKey, seal, sign};
use compliance_testkit::{FakePlane, OrderForm};

use crate::common::{Rig, outcome, run_backup};

fn rig() -> (Rig, OrderForm) {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    rig.settle();
    (rig, form)
}

fn feed(rig: &mut Rig, request: Request) -> bool {
    let fresh = match rig.handle(request) {
        Answer::Feed { fresh, .. } => fresh,
        other => panic!("{other:?}"),
    };
    rig.settle();
    fresh
}

/// The plane's answer with this envelope for a head.
fn with_head(rig: &Rig, ticket: &Ticket, envelope: Vec<u8>) -> Request {
    match rig.plane.answer(ticket, rig.reading.wall) {
        Request::Feed { orders, checkpoint, consistency, .. } => {
            Request::Feed { head: envelope.into(), orders, checkpoint, consistency }
        }
        other => panic!("{other:?}"),
    }
}

fn assert_refused(mut rig: Rig, form: &OrderForm, request: Request, why: &str) {
    assert!(!feed(&mut rig, request), "{why}");
    assert!(rig.about(form).is_empty(), "{why}: no order is taken");
    let alerts = rig.because("feed_refused");
    assert_eq!(alerts.len(), 1, "{why}");
    assert_eq!((alerts[0].outcome, alerts[0].trigger.order_id), (Outcome::Alert, None));
    assert!(alerts[0].detail.contains(why), "{why}: {}", alerts[0].detail);
    assert_eq!(rig.status().last_head_at, None);
    rig.poll();
    assert_eq!(rig.about(form), [outcome(Outcome::Success, "done")], "{why}: a good one is");
}

#[test]
fn a_ticket_lives_for_a_minute_of_boottime() {
    for (seconds, fresh) in [(60, true), (61, false)] {
        let (mut rig, _) = rig();
        let ticket = rig.ticket();
        let answer = rig.plane.answer(&ticket, rig.reading.wall);
        rig.pass(Span::from_secs(seconds));
        assert_eq!(feed(&mut rig, answer), fresh, "{seconds} s");
    }
}

#[test]
fn setting_the_wall_clock_back_does_not_lengthen_a_tickets_life() {
    let (mut rig, form) = rig();
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    let wall = rig.reading.wall;
    rig.pass(Span::from_secs(61));
    rig.reading.wall = wall;
    assert_refused(rig, &form, answer, "outstanding ticket");
}

#[test]
fn one_ticket_is_outstanding_the_newest() {
    let (mut rig, form) = rig();
    let old = rig.ticket();
    let answer = rig.plane.answer(&old, rig.reading.wall);
    rig.ticket();
    assert_refused(rig, &form, answer, "outstanding ticket");
}

#[test]
fn the_first_head_that_verifies_uses_the_ticket_up() {
    let (mut rig, form) = rig();
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    assert!(feed(&mut rig, answer.clone()));
    assert!(!feed(&mut rig, answer));
    assert_eq!(rig.because("feed_refused").len(), 1);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}

#[test]
fn a_head_that_does_not_verify_leaves_the_ticket_for_one_that_does() {
    let (mut rig, form) = rig();
    let ticket = rig.ticket();
    let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
    let head = rig.plane.head(&ticket, rig.reading.wall);
    let forged = with_head(&rig, &ticket, sign(&head, &[&stranger]).unwrap());
    let good = rig.plane.answer(&ticket, rig.reading.wall);
    assert!(!feed(&mut rig, forged));
    assert!(rig.about(&form).is_empty());
    assert!(feed(&mut rig, good));
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}

#[test]
fn a_ticket_is_worth_nothing_in_another_process_or_boot() {
    for boot in [false, true] {
        let (mut rig, form) = rig();
        let ticket = rig.ticket();
        let answer = rig.plane.answer(&ticket, rig.reading.wall);
        if boot {
            rig.reboot();
        } else {
            rig.restart();
        }
        assert_refused(rig, &form, answer, "no ticket is outstanding");
    }
}

#[test]
fn no_head_is_taken_that_nobody_asked_for() {
    let (mut rig, form) = rig();
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.restart();
    assert_refused(rig, &form, answer, "no ticket is outstanding");
}

#[test]
fn a_head_is_signed_by_the_feed_key() {
    for role in ["orders", "root", "baseline", "checkpoint", "evidence"] {
        let (mut rig, form) = rig();
        let ticket = rig.ticket();
        let head = rig.plane.head(&ticket, rig.reading.wall);
        let keys = &rig.plane.keys;
        let key = match role {
            "orders" => &keys.orders[0],
            "root" => &keys.root,
            "baseline" => &keys.baseline,
            "checkpoint" => &keys.checkpoint,
            _ => &keys.evidence,
        };
        let request = with_head(&rig, &ticket, sign(&head, &[key]).unwrap());
        assert_refused(rig, &form, request, "no trusted key signed");
    }
}

fn assert_changed_head_refused(change: impl FnOnce(&mut FeedHead), why: &str) {
    let (mut rig, form) = rig();
    let ticket = rig.ticket();
    let mut head = rig.plane.head(&ticket, rig.reading.wall);
    change(&mut head);
    let orders = rig.plane.open.iter().map(|(_, bytes)| bytes.clone()).collect();
    let request = rig.plane.answer_with(&head, &ticket, orders);
    assert_refused(rig, &form, request, why);
}

#[test]
fn a_head_for_another_tenant_site_or_enrolment_is_refused() {
    let why = "for another appliance";
    assert_changed_head_refused(|head| head.tenant = "acme2".parse().unwrap(), why);
    assert_changed_head_refused(|head| head.site = "clinic-043".parse().unwrap(), why);
    assert_changed_head_refused(|head| head.epoch = 2, why);
}

#[test]
fn a_head_with_another_nonce_is_refused() {
    let other = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_changed_head_refused(|head| head.nonce = other, "outstanding ticket");
}

#[test]
fn a_head_whose_list_is_not_ascending_or_too_long_is_refused() {
    let why = "not in ascending order, or too long";
    let of = |sequences: Vec<u64>| {
        move |head: &mut FeedHead| {
            let like = head.open[0].clone();
            let open = sequences.into_iter().map(|sequence| {
                let mut open = like.clone();
                open.sequence = sequence;
                open
            });
            head.open = open.collect();
        }
    };
    assert_changed_head_refused(of(vec![2, 1]), why);
    assert_changed_head_refused(of(vec![1, 1]), why);
    assert_changed_head_refused(of((1..=33).collect()), why);
}

#[test]
fn a_head_that_is_no_envelope_no_head_or_not_canonical_is_refused() {
    for kind in ["garbage", "an order", "pretty"] {
        let (mut rig, form) = rig();
        let ticket = rig.ticket();
        let head = rig.plane.head(&ticket, rig.reading.wall);
        let feed = &rig.plane.keys.feed;
        let type_of_heads = "application/vnd.compliance.feed.v1+json";
        let (bytes, why) = match kind {
            "garbage" => (b"{}".to_vec(), "not a DSSE envelope"),
            "an order" => (form.sign(&[feed]), "the envelope holds"),
            _ => {
                let pretty = serde_json::to_vec_pretty(&head).unwrap();
                (seal(type_of_heads, pretty, &[feed]).unwrap(), "canonical")
            }
        };
        let request = with_head(&rig, &ticket, bytes);
        assert_refused(rig, &form, request, why);
    }
}

#[test]
fn nonces_do_not_repeat() {
    let mut rig = Rig::new();
    let mut seen = std::collections::HashSet::new();
    assert!((0..100).all(|_| seen.insert(rig.ticket().nonce)));
}

#[test]
fn a_ticket_says_where_the_executor_stands() {
    let (mut rig, form) = rig();
    let ticket = rig.ticket();
    assert_eq!((ticket.after, ticket.log_size, ticket.time), (0, 0, rig.reading.wall));
    rig.poll();
    rig.upload();
    let ticket = rig.ticket();
    assert_eq!(ticket.after, form.sequence());
    assert_eq!(ticket.log_size, rig.plane.stored.len() as u64);
    // A machine that wakes up in 1970 can still check the server's certificate.
    let latest = rig.reading.wall;
    rig.reading.wall = compliance_protocol::time::Timestamp::from_millis(0);
    rig.reading.synchronised = false;
    rig.reboot();
    assert!(rig.ticket().time.since(latest) >= Span::from_secs(-60), "{}", rig.ticket().time);
}

#[test]
fn a_head_without_orders_is_as_good_as_one_with() {
    let mut rig = Rig::new();
    rig.plane = FakePlane::default();
    rig.poll();
    assert_eq!(rig.status().last_head_at, Some(rig.reading.wall));
}
