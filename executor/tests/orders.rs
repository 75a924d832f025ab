//! Orders: what is refused and why, what is done, and that each has one terminal outcome.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;
#[path = "orders/documents.rs"]
mod documents;
#[path = "orders/flood.rs"]
mod flood;
#[path = "orders/handover.rs"]
mod handover;
#[path = "orders/precedence.rs"]
mod precedence;
#[path = "orders/refusals.rs"]
mod refusals;
#[path = "orders/tickets.rs"]
mod tickets;
#[path = "orders/time.rs"]
mod time;
#[path = "orders/waiting.rs"]
mod waiting;

use common::{Rig, restart_frontdesk, run_backup, run_checks};
use compliance_protocol::evidence::Outcome;
use compliance_testkit::OrderForm;

#[test]
fn a_good_order_is_executed_and_leaves_success() {
    let mut rig = Rig::new();
    let order = OrderForm::new(1, &run_backup());
    rig.plane.issue(order.clone());
    rig.poll();
    assert_eq!(rig.about(&order), [(Outcome::Success, "done".to_owned())]);
    assert_eq!(rig.backups_run(), 1);
}

#[test]
fn the_same_bytes_again_start_nothing_and_leave_nothing() {
    let mut rig = Rig::new();
    let order = OrderForm::new(1, &run_backup());
    rig.plane.issue(order.clone());
    let bytes = rig.plane.open[0].1.clone();
    rig.poll();
    let before = rig.evidence().len();
    rig.poll_with(vec![bytes]);
    assert_eq!(rig.backups_run(), 1);
    assert_eq!(rig.about(&order).len(), 1);
    assert_eq!(rig.evidence().len(), before);
}

#[test]
fn a_look_is_an_order_too() {
    let mut rig = Rig::new();
    let order = OrderForm::new(1, &run_checks());
    rig.plane.issue(order.clone());
    rig.poll();
    assert_eq!(rig.about(&order), [(Outcome::Success, "checked".to_owned())]);
}

#[test]
fn something_disruptive_outside_the_window_is_deferred_once_with_the_next_opening() {
    let mut rig = Rig::new();
    let order =
        OrderForm::new(1, &restart_frontdesk()).with("start_before", "2026-12-01T00:00:00.000Z");
    rig.plane.issue(order.clone());
    rig.poll();
    rig.poll();
    let deferred: Vec<_> =
        rig.evidence().into_iter().filter(|b| b.outcome == Outcome::Deferred).collect();
    assert_eq!(deferred.len(), 1);
    assert_eq!(deferred[0].reason, "outside_window");
    assert_eq!(deferred[0].retry_after.unwrap().to_string(), "2026-11-21T02:00:00.000Z");
    let status = rig.status();
    assert_eq!(status.waiting.len(), 1);
    assert!(status.why_not_now[0].contains("opens at"), "{:?}", status.why_not_now);
}
