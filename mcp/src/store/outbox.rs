//! The outbox: what happened, in the order of commits, for whoever carries it elsewhere.
//!
//! Rows are written in the transaction that stores a bundle, and by triggers of the schema when an order changes.
//! They point at bundles and orders, which stay, and so do they: nothing is trimmed, each carrier has a mark of
//! its own, and one that comes later begins where events began.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::Carrier;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::evidence::outcome_of;
use super::orders::state_of;
use super::row::{int, number, time};
use super::{EvidenceRow, OrderRow, OrderState, StoreError, Tx, View};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number; it grows with the commits.
    pub number: u64,
    /// Which kind of event it is.
    pub kind: EventKind,
    /// What happened.
    pub of: EventOf,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A bundle was stored.
    Evidence,
    /// The bundle says that a person should look: its outcome is `alert`, `failed`, `reverted` or `rejected`.
    Alert,
    /// An order was pushed, ended or withdrawn.
    Order,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EventOf {
    /// A bundle.
    Bundle(EvidenceRow),
    /// An order.
    Order(OrderChange),
}

/// An order as it was after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderChange {
    /// The order, with state and outcome as of then.
    #[serde(flatten)]
    pub order: OrderRow,
    /// The digest of its payload.
    pub payload_sha256: Digest,
    /// When it changed, by our clock.
    pub at: Timestamp,
}

/// A row: where to look.
#[derive(Clone, Copy)]
enum Pointer {
    Bundle {
        kind: EventKind,
        leaf: u64,
    },
    Order {
        site: i64,
        epoch: u64,
        sequence: u64,
        state: OrderState,
        outcome: Option<Outcome>,
        at: Timestamp,
    },
}

impl View<'_> {
    /// Events after number `after`, ascending.
    pub fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT event, kind, leaf, site, epoch, sequence, state, outcome, at FROM events
             WHERE event > ?1 ORDER BY event LIMIT ?2",
        )?;
        let rows = statement
            .query_map(params![int(after), limit], |row| Ok((number(row, 0)?, pointer(row)?)))?;
        rows.map(|row| {
            let (number, pointer) = row?;
            let (kind, of) = self.followed(pointer)?;
            Ok(Event { number, kind, of })
        })
        .collect()
    }

    /// The number of the newest event; 0 before the first.
    pub fn last_event(&self) -> Result<u64, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT coalesce(max(event), 0) FROM events")?
            .query_row([], |row| number(row, 0))?)
    }

    /// The last event that this carrier has brought to where it goes; 0 before the first.
    pub fn acknowledged(&self, carrier: &Carrier) -> Result<u64, StoreError> {
        let mark = self
            .connection
            .prepare_cached("SELECT acknowledged FROM carriers WHERE name = ?1")?
            .query_row([carrier.as_str()], |row| number(row, 0))
            .optional()?;
        Ok(mark.unwrap_or(0))
    }

    fn followed(&self, pointer: Pointer) -> Result<(EventKind, EventOf), StoreError> {
        match pointer {
            Pointer::Bundle { kind, leaf } => Ok((kind, EventOf::Bundle(self.evidence_at(leaf)?))),
            Pointer::Order { site, epoch, sequence, state, outcome, at } => {
                let (now, payload_sha256) = self.order_at(site, epoch, sequence)?;
                // An outcome and its reason are recorded together, and once.
                let reason = now.reason.filter(|_| outcome.is_some());
                let order = OrderRow { state, outcome, reason, ..now };
                Ok((EventKind::Order, EventOf::Order(OrderChange { order, payload_sha256, at })))
            }
        }
    }
}

impl Tx<'_> {
    /// Has it told that a bundle was stored as this leaf.
    pub(super) fn bundle_was_stored(&self, leaf: u64, outcome: Outcome) -> Result<(), StoreError> {
        let mut event =
            self.connection().prepare_cached("INSERT INTO events (kind, leaf) VALUES (?1, ?2)")?;
        event.execute(params!["evidence", int(leaf)])?;
        if wants_a_person(outcome) {
            event.execute(params!["alert", int(leaf)])?;
        }
        Ok(())
    }

    /// Records that `carrier` has brought the events through `through` to where they go. A mark does not go back.
    pub fn acknowledge(&self, carrier: &Carrier, through: u64) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "INSERT INTO carriers (name, acknowledged) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET acknowledged = max(acknowledged, ?2)",
            )?
            .execute(params![carrier.as_str(), int(through)])?;
        Ok(())
    }
}

/// What healed by itself, waits or expired does not.
fn wants_a_person(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Alert | Outcome::Failed | Outcome::Reverted | Outcome::Rejected => true,
        Outcome::Success | Outcome::Deferred | Outcome::Expired => false,
    }
}

fn pointer(row: &Row<'_>) -> rusqlite::Result<Pointer> {
    let kind = match row.get::<_, String>(1)?.as_str() {
        "evidence" => EventKind::Evidence,
        "alert" => EventKind::Alert,
        _ => EventKind::Order,
    };
    if kind != EventKind::Order {
        return Ok(Pointer::Bundle { kind, leaf: number(row, 2)? });
    }
    Ok(Pointer::Order {
        site: row.get(3)?,
        epoch: number(row, 4)?,
        sequence: number(row, 5)?,
        state: state_of(&row.get::<_, String>(6)?),
        outcome: row.get::<_, Option<String>>(7)?.as_deref().map(outcome_of),
        at: time(row, 8)?,
    })
}
