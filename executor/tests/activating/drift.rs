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

/// Lets that system be the last that was activated and proven, and patching be looked at.
pub(super) fn expect(site: &mut Site, system: &str) {
    let mut ledger = Ledger::join(&site.rig.ledger_path()).unwrap();
    ledger.commit(|tx| tx.set_fact(Fact::ExpectedSystem, system)).unwrap();
    drop(ledger);
    site.rig.restart();
    // It begins only when the control plane was heard of.
    site.rig.poll();
}
