//! Which of the orders handed over are taken, and in which order.

use compliance_protocol::evidence::Outcome;
use compliance_signing::PrivateKey;
use compliance_testkit::{OrderForm, T0};

use crate::common::{Rig, outcome, run_backup, run_checks};

/// Orders 1 to `n`, each after the one before, all issued.
fn issue(rig: &mut Rig, n: u64) -> Vec<OrderForm> {
    let mut forms: Vec<OrderForm> = Vec::new();
    for sequence in 1..=n {
        let form = OrderForm::new(sequence, &run_checks());
        let form = match forms.last() {
            Some(before) => form.after(before),
            None => form,
        };
        rig.plane.issue(form.clone());
        forms.push(form);
    }
    forms
}

fn bytes(rig: &Rig, which: &[usize]) -> Vec<Vec<u8>> {
    which.iter().map(|i| rig.plane.open[*i].1.clone()).collect()
}

#[test]
fn orders_are_taken_in_ascending_sequence_however_they_are_handed_over() {
    let mut rig = Rig::new();
    let forms = issue(&mut rig, 3);
    let orders = bytes(&rig, &[2, 0, 1]);
    rig.poll_with(orders);
    let order: Vec<_> =
        rig.evidence().into_iter().filter_map(|b| b.trigger.order_sequence).collect();
    assert_eq!(order, [1, 2, 3]);
    assert!(forms.iter().all(|form| rig.about(form) == [outcome(Outcome::Success, "checked")]));
    assert!(rig.because("order_gap").is_empty());
}

#[test]
fn without_a_lower_one_that_the_head_lists_none_is_taken() {
    for which in [&[1][..], &[2], &[0, 2], &[1, 2]] {
        let mut rig = Rig::new();
        let forms = issue(&mut rig, 3);
        let orders = bytes(&rig, which);
        rig.poll_with(orders);
        assert_eq!(rig.ticket().after, 0, "{which:?}: nothing was consumed");
        let alerts = rig.because("incomplete_handover");
        assert_eq!(alerts.len(), 1);
        assert_eq!((alerts[0].outcome, alerts[0].trigger.order_id), (Outcome::Alert, None));
        assert!(forms.iter().all(|form| rig.about(form).is_empty()));
        // Handed over whole, they are carried out: what was held back was delayed, no more.
        rig.poll();
        assert!(forms.iter().all(|form| rig.about(form) == [outcome(Outcome::Success, "checked")]));
    }
}

#[test]
fn holding_back_the_highest_ones_holds_back_nothing_else() {
    let mut rig = Rig::new();
    let forms = issue(&mut rig, 3);
    let orders = bytes(&rig, &[0, 1]);
    rig.poll_with(orders);
    assert_eq!(rig.ticket().after, 2);
    assert!(rig.because("incomplete_handover").is_empty());
    rig.poll();
    assert_eq!(rig.about(&forms[2]), [outcome(Outcome::Success, "checked")]);
}

#[test]
fn a_lower_one_that_was_garbled_on_the_way_is_one_that_did_not_come() {
    type Garble = fn(&mut Vec<u8>);
    let flip: Garble = |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    // The payload as it was, under no signature that counts: the courier may not choose which of the
    // orders are carried out.
    let forge: Garble = |bytes| {
        let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
        *bytes = OrderForm::new(1, &run_checks()).sign(&[&stranger]);
    };
    for garble in [flip, forge] {
        let mut rig = Rig::new();
        let forms = issue(&mut rig, 2);
        let mut orders = bytes(&rig, &[0, 1]);
        garble(&mut orders[0]);
        rig.poll_with(orders);
        assert_eq!(rig.ticket().after, 0);
        assert_eq!(rig.because("incomplete_handover").len(), 1);
        rig.poll();
        assert!(
            forms
                .iter()
                .all(|form| rig.about(form).contains(&outcome(Outcome::Success, "checked")))
        );
    }
}

#[test]
fn a_lower_one_that_is_signed_and_not_for_this_site_holds_no_other_up() {
    let mut rig = Rig::new();
    let astray = OrderForm::new(1, &run_checks()).with("site", "clinic-043");
    let form = OrderForm::new(2, &run_checks());
    rig.plane.issue(astray.clone());
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&astray), [outcome(Outcome::Rejected, "wrong_site")]);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "checked")]);
}

#[test]
fn a_lower_one_that_was_consumed_before_need_not_come_again() {
    let mut rig = Rig::new();
    issue(&mut rig, 2);
    let orders = bytes(&rig, &[0]);
    rig.poll_with(orders);
    let orders = bytes(&rig, &[1]);
    rig.poll_with(orders);
    assert_eq!(rig.ticket().after, 2);
    assert!(rig.because("incomplete_handover").is_empty());
}

#[test]
fn what_the_head_itself_skips_is_named_by_its_range() {
    let mut rig = Rig::new();
    let one = OrderForm::new(1, &run_checks());
    rig.plane.issue(one.clone());
    rig.poll();
    rig.plane.open.clear();
    let six = OrderForm::new(6, &run_checks());
    rig.plane.issue(six.clone());
    rig.poll();
    let alerts = rig.because("order_gap");
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].outcome, Outcome::Alert);
    assert!(alerts[0].detail.contains("orders 2 to 5 "), "{}", alerts[0].detail);
    assert_eq!(rig.about(&six), [outcome(Outcome::Success, "checked")]);
    // In the chain the gap stands where the sequence was consumed: before the order's own evidence.
    let own = rig.because("checked").pop().unwrap();
    assert!(alerts[0].sequence < own.sequence);
}

#[test]
fn a_gap_shows_without_any_order_and_is_told_once() {
    let mut rig = Rig::new();
    let two = OrderForm::new(2, &run_checks());
    rig.plane.issue(two.clone());
    for _ in 0..3 {
        assert!(rig.poll_changed(Vec::new(), |head| head.highest_sequence = 4));
    }
    let alerts = rig.because("order_gap");
    let told: Vec<_> = alerts.iter().map(|bundle| bundle.detail.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("orders 1 to 1 ") && told[1].contains("orders 3 to 4 "), "{told:?}");
}

#[test]
fn an_order_that_is_newer_than_the_head_is_refused_and_consumes_nothing() {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &run_checks());
    rig.plane.issue(form.clone());
    let orders = bytes(&rig, &[0]);
    assert!(rig.poll_changed(orders, |head| {
        head.open.clear();
        head.highest_sequence = 0;
    }));
    assert_eq!(rig.about(&form), [outcome(Outcome::Rejected, "not_listed")]);
    assert_eq!(rig.ticket().after, 0);
    rig.poll();
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Success, "checked")));
}

#[test]
fn two_orders_for_one_sequence_in_one_answer_are_one_order_and_one_refusal() {
    let mut rig = Rig::new();
    let (one, other) = (OrderForm::new(1, &run_backup()), OrderForm::new(1, &run_checks()));
    rig.plane.issue(one.clone());
    let forged = other.sign(&[&rig.plane.keys.orders[1]]);
    let orders = vec![rig.plane.open[0].1.clone(), forged];
    rig.poll_with(orders);
    assert_eq!(rig.about(&one), [outcome(Outcome::Success, "done")]);
    assert_eq!(rig.about(&other), [outcome(Outcome::Rejected, "sequence_reused")]);
    assert_eq!(rig.backups_run(), 1);
}

#[test]
fn the_same_order_in_an_envelope_with_another_keyid_is_the_same_order() {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    let text = String::from_utf8(rig.plane.open[0].1.clone()).unwrap();
    let keyid = rig.plane.keys.orders[0].public().id().to_string();
    let other = rig.plane.keys.orders[1].public().id().to_string();
    let changed = text.replace(&keyid, &other);
    assert_ne!(text, changed);
    // Brought in place of the good one it is carried out as the good one; brought after it, a no-op.
    rig.poll_with(vec![changed.into_bytes()]);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
    let before = rig.evidence().len();
    rig.poll_with(vec![text.into_bytes()]);
    assert_eq!((rig.backups_run(), rig.evidence().len()), (1, before));
}

#[test]
fn orders_are_taken_again_from_where_the_control_plane_stands() {
    let mut rig = Rig::new();
    let forms = issue(&mut rig, 3);
    rig.poll();
    rig.upload();
    assert!(rig.plane.open.is_empty(), "each has its terminal evidence");
    rig.restart();
    assert_eq!(rig.ticket().after, 3);
    let four = OrderForm::new(4, &run_backup()).after(&forms[2]).issued(T0);
    rig.plane.issue(four.clone());
    rig.poll();
    assert_eq!(rig.about(&four), [outcome(Outcome::Success, "done")]);
}

#[test]
fn an_answer_with_more_orders_than_the_bound_is_read_up_to_it() {
    let mut rig = Rig::new();
    let forms = issue(&mut rig, 33);
    let all: Vec<_> = (0..33).collect();
    let orders = bytes(&rig, &all);
    assert!(rig.poll_changed(orders, |head| head.open.truncate(32)));
    assert_eq!(rig.ticket().after, 32);
    assert!(rig.about(&forms[32]).is_empty());
}
