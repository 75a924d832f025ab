//! Activating without an order: back to the system that is expected.

use super::*;

#[test]
fn where_the_policy_says_auto_the_expected_system_is_activated_without_an_order() {
    let mut site = Site::with(|setup| setup.heal.patching = HealMode::Auto);
    expect(&mut site, NEXT);
    site.minutes(1);
    assert_eq!(site.links(), [NEXT, OLD, OLD]);
    site.minutes(4);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
    let bundle = site.rig.because("activated").pop().unwrap();
    assert_eq!((bundle.outcome, bundle.trigger.order_id), (Outcome::Success, None));
}

#[test]
fn where_it_says_order_it_is_not() {
    let mut site = Site::new();
    expect(&mut site, NEXT);
    site.minutes(2);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    assert!(!site.rig.because("drift").is_empty());
}

#[test]
fn one_that_is_deferred_was_not_tried_it_is_told_once_and_begun_when_it_can_be() {
    let mut site = Site::with(|setup| setup.heal.patching = HealMode::Auto);
    let mut told = Vec::new();
    expect_unheard(&mut site, NEXT);
    for _ in 0..6 * 25 {
        site.rig.pass(Span::from_secs(10));
        site.rig.settle();
        told = site.rig.because("not_connected");
    }
    let outcomes: Vec<_> = told.iter().map(|bundle| bundle.outcome).collect();
    assert_eq!(outcomes, [Outcome::Deferred]);
    assert!(site.rig.because("breaker_open").is_empty());
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    site.rig.poll();
    site.minutes(12);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
}

/// Lets that system be the last that was activated and proven, and patching be looked at.
pub(super) fn expect(site: &mut Site, system: &str) {
    expect_unheard(site, system);
    // It begins only when the control plane was heard of.
    site.rig.poll();
}

/// The same, and the control plane was not heard of since.
fn expect_unheard(site: &mut Site, system: &str) {
    let mut ledger = Ledger::join(&site.rig.ledger_path()).unwrap();
    ledger.commit(|tx| tx.set_fact(Fact::ExpectedSystem, system)).unwrap();
    drop(ledger);
    site.rig.restart();
}
