//! Why a site does not act now, as its newest evidence says.

use compliance_protocol::time::Timestamp;

use super::super::gates::{self, Gate};
use super::super::view::{self, When};
use super::{Known, Link, Stored, link};
use crate::fleet::Standing;
use crate::store::OrderState;

pub(super) struct Waiting {
    /// What waits: a check or an order.
    pub(super) what: String,
    pub(super) detail: String,
    pub(super) bundle: Link,
    pub(super) at: When,
    pub(super) retry_after: Option<When>,
    pub(super) gates: Vec<Gate>,
}

/// The newest bundle that says why something was not done, if that is still to be done.
pub(super) fn why(known: &Known, now: Timestamp) -> Option<Waiting> {
    let deferred = known.deferred.iter().filter(|deferred| still_waits(known, deferred, now));
    let drifted = known.cells.iter().zip(&known.of_checks);
    let drifted = drifted.filter(|(cell, _)| cell.standing == Standing::Drifted);
    let closed = drifted
        .filter_map(|(_, stored)| stored.as_ref())
        .filter(|stored| stored.bundle.gates.iter().any(|gate| !gate.is_open()));
    let newest = deferred.chain(closed).max_by_key(|stored| stored.row.leaf)?;
    Some(waiting(newest, now))
}

/// Whether what was deferred is still to be done: the order is open, or the check is not as it should be.
fn still_waits(known: &Known, deferred: &Stored, now: Timestamp) -> bool {
    let bundle = &deferred.bundle;
    if let Some(id) = bundle.trigger.order_id {
        let order = known.orders.iter().find(|line| line.row.id == id);
        return order.is_some_and(|line| line.row.state == OrderState::Open);
    }
    match &bundle.check {
        Some(check) => {
            let cell = known.cells.iter().find(|cell| cell.check == *check);
            cell.is_some_and(|cell| cell.standing >= Standing::Stale)
        }
        None => bundle.retry_after.is_some_and(|at| at > now),
    }
}

fn waiting(stored: &Stored, now: Timestamp) -> Waiting {
    let Stored { row, bundle } = stored;
    let what = match (&bundle.check, bundle.trigger.order_sequence) {
        (_, Some(sequence)) => format!("order {sequence}"),
        (Some(check), None) => check.clone(),
        (None, None) => bundle.reason.clone(),
    };
    Waiting {
        what,
        detail: bundle.detail.clone(),
        bundle: link(row),
        at: view::when(row.finished_at, now),
        retry_after: bundle.retry_after.map(|at| view::when(at, now)),
        gates: gates::all(&bundle.gates, now),
    }
}
