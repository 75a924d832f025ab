//! A ledger that was set back: the control plane knows more of it than it does itself.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::time::Span;
use compliance_testkit::OrderForm;

use crate::common::{Rig, outcome, run_backup, run_checks};

/// An appliance whose ledger was replaced by a copy from before an order.
fn set_back(synchronised: bool) -> (Rig, OrderForm) {
    let mut rig = Rig::with(|setup| setup.synchronised = synchronised);
    rig.poll();
    rig.upload();
    let old = rig.copy_ledger();
    let form = OrderForm::new(1, &run_checks());
    rig.plane.issue(form.clone());
    rig.poll();
    rig.upload();
    assert!(rig.plane.open.is_empty());
    rig.with_ledger(old);
    (rig, form)
}

#[test]
fn a_ledger_that_was_set_back_begins_a_new_chain_and_says_so_once() {
    let (mut rig, _) = set_back(true);
    assert!(rig.because("ledger_new").is_empty(), "nobody has told it yet");
    rig.poll();
    let alerts = rig.because("ledger_new");
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].outcome, alerts[0].sequence), (Outcome::Alert, 1));
    assert_eq!(alerts[0].previous_sha256, None);
    rig.poll();
    rig.upload();
    rig.poll();
    rig.restart();
    rig.poll();
    assert_eq!(rig.because("ledger_new").len(), 1);
    let chains: std::collections::BTreeSet<_> =
        rig.evidence().iter().map(|b| b.ledger_id).collect();
    assert_eq!(chains.len(), 2);
}

#[test]
fn after_it_was_set_back_orders_wait_for_the_kernel_clock_from_that_very_poll_on() {
    let (mut rig, _) = set_back(false);
    let form = OrderForm::new(2, &run_backup());
    rig.plane.issue(form.clone());
    rig.poll();
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "clock_unknown")]);
    assert_eq!(rig.backups_run(), 0);
    rig.reading.synchronised = true;
    rig.settle();
    // Whether it was carried out before is not known any more.
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Rejected, "policy")));
    assert_eq!(rig.backups_run(), 0);
}

#[test]
fn an_order_that_the_ledger_has_forgotten_is_not_carried_out_a_second_time() {
    for synchronised in [true, false] {
        let mut rig = Rig::with(|setup| setup.synchronised = synchronised);
        rig.poll();
        let old = rig.copy_ledger();
        rig.pass(Span::from_hours(1));
        rig.settle();
        rig.upload(); // the hourly summary, which the copy does not have
        let form = OrderForm::new(1, &run_backup()).issued(rig.reading.wall);
        rig.plane.issue(form.clone());
        rig.poll();
        assert_eq!(rig.backups_run(), 1);
        // What came of it never arrived, so the control plane still lists it.
        rig.with_ledger(old);
        for _ in 0..3 {
            rig.pass(Span::from_secs(15));
            rig.poll();
        }
        rig.reading.synchronised = true;
        rig.settle();
        rig.poll();
        assert_eq!(rig.backups_run(), 1);
        assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Rejected, "policy")));
    }
}

#[test]
fn a_control_plane_that_keeps_saying_so_gets_ten_chains_and_no_order_through() {
    let mut rig = Rig::new();
    rig.poll();
    rig.upload();
    for n in 0..30 {
        let lie = |head: &mut compliance_protocol::feed::FeedHead| {
            if let Some(evidence) = &mut head.evidence_head {
                evidence.sequence += 1000;
            }
        };
        let form = OrderForm::new(n + 1, &run_backup()).issued(rig.reading.wall);
        let bytes = form.sign(&[&rig.plane.keys.orders[0]]);
        rig.plane.open = vec![(form, bytes.clone())];
        assert!(rig.poll_changed(vec![bytes], lie));
        rig.upload();
        rig.pass(Span::from_secs(60));
    }
    assert_eq!(rig.because("ledger_new").len(), 10);
    assert_eq!(rig.backups_run(), 0);
}

#[test]
fn it_is_noticed_too_when_the_old_copy_has_grown_past_the_place_that_was_lost() {
    let (mut rig, _) = set_back(true);
    let theirs = rig.plane.evidence_head().unwrap();
    while rig.status().evidence_head.unwrap().sequence <= theirs.sequence {
        rig.pass(Span::from_hours(1));
        rig.settle();
    }
    rig.poll();
    assert_eq!(rig.because("ledger_new").len(), 1);
}

#[test]
fn it_is_noticed_too_when_the_copy_is_from_before_a_new_chain() {
    let mut rig = Rig::new();
    rig.poll();
    rig.upload();
    let (oldest, old) = (rig.copy_ledger(), rig.copy_ledger());
    rig.pass(Span::from_hours(1));
    rig.settle();
    rig.upload();
    rig.with_ledger(old);
    rig.poll();
    rig.upload();
    assert_eq!(rig.because("ledger_new").len(), 1);
    // The second time, the copy knows nothing of the chain that the control plane last heard of.
    rig.with_ledger(oldest);
    rig.poll();
    assert_eq!(rig.because("ledger_new").len(), 1);
}

#[test]
fn a_control_plane_that_is_behind_is_no_loss() {
    let mut rig = Rig::new();
    rig.poll();
    rig.upload();
    for _ in 0..3 {
        rig.pass(Span::from_hours(1));
        rig.settle();
        rig.poll();
    }
    assert!(rig.because("ledger_new").is_empty());
    // Nor is one that has lost its own database.
    rig.plane = compliance_testkit::FakePlane::default();
    rig.poll();
    assert!(rig.because("ledger_new").is_empty());
}

#[test]
fn evidence_from_before_and_after_goes_out_and_a_fork_is_refused_and_reported() {
    let (mut rig, _) = set_back(true);
    rig.pass(Span::from_hours(1));
    rig.settle(); // one more bundle at a place that the control plane has another for
    rig.poll();
    let chains: Vec<_> = rig.evidence().iter().map(|b| (b.ledger_id, b.sequence)).collect();
    assert!(chains.windows(2).any(|two| two[0].0 != two[1].0), "{chains:?}");
    assert!(rig.upload() > 0);
    assert_eq!(rig.status().pending_bundles, 0);
}
