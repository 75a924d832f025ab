//! Orders as they were pushed, and what became of them.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::feed::MAX_OPEN;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::order::When;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::evidence::outcome_of;
use super::row::{digest, int, number, parsed, time};
use super::{SiteRow, StoreError, Tx, View};
use crate::changes::What;

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Listed in every feed head until its terminal evidence is here.
    Open,
    /// Its terminal evidence is here.
    Done,
    /// An operator took it back, or the site was enrolled anew.
    Withdrawn,
}

impl OrderState {
    /// The state as the API writes it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// An order for the store. Its signatures were checked.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Its place.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
    /// The digest of the signed payload.
    pub payload_sha256: Digest,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// The name of its action.
    pub action: &'static str,
    /// When it may start.
    pub when: When,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// To be accepted by then.
    pub expires_at: Timestamp,
}

/// An order without its envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderRow {
    /// The site it is for.
    pub site: Site,
    /// The enrolment it is for.
    pub epoch: u64,
    /// Its place.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
    /// The name of its action.
    pub action: String,
    /// `window` or `now`.
    pub when: String,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// To be accepted by then.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: OrderState,
    /// How it ended, by the appliance's evidence.
    pub outcome: Option<Outcome>,
    /// Why, machine-readable, by the same.
    pub reason: Option<String>,
}

/// An open order, as a poll needs it.
#[derive(Debug, Clone)]
pub struct OpenRow {
    /// Its place.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
    /// The digest of the signed payload.
    pub payload_sha256: Digest,
    /// The envelope, for those that are to be handed over.
    pub envelope: Option<String>,
}

/// Evidence of how an order ended.
#[derive(Debug)]
pub struct Terminal<'a> {
    /// The order's id.
    pub id: Id,
    /// The digest of its payload.
    pub payload_sha256: Digest,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, machine-readable.
    pub reason: &'a str,
}

pub(super) const COLUMNS: &str =
    "sites.name, orders.epoch, orders.sequence, orders.id, action, starts, issued_at, expires_at,
     state, orders.outcome, orders.reason";

impl View<'_> {
    /// The open orders of a site in its current epoch, in ascending sequence, at most [`MAX_OPEN`];
    /// with their envelopes those after `after`.
    pub fn open_orders(&self, site: &SiteRow, after: u64) -> Result<Vec<OpenRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, id, payload_sha256,
                    CASE WHEN sequence > ?3 THEN CAST(envelope AS TEXT) END
             FROM orders WHERE site = ?1 AND epoch = ?2 AND state = 'open'
             ORDER BY sequence LIMIT ?4",
        )?;
        let most = i64::try_from(MAX_OPEN).unwrap_or(i64::MAX);
        let key = params![site.key, int(site.epoch), int(after), most];
        let rows = statement.query_map(key, |row| {
            Ok(OpenRow {
                sequence: number(row, 0)?,
                id: parsed(row, 1)?,
                payload_sha256: digest(row, 2)?,
                envelope: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many orders of a site are open.
    pub fn count_open(&self, site: &SiteRow) -> Result<usize, StoreError> {
        let count = self
            .connection
            .prepare_cached(
                "SELECT count(*) FROM orders WHERE site = ?1 AND epoch = ?2 AND state = 'open'",
            )?
            .query_row(params![site.key, int(site.epoch)], |row| number(row, 0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The newest orders, of one site or of all; the newest first.
    pub fn orders(&self, site: Option<&SiteRow>, limit: u32) -> Result<Vec<OrderRow>, StoreError> {
        let of = match site {
            Some(_) => "WHERE site = ?1 ORDER BY orders.epoch DESC, sequence DESC",
            None => "WHERE ?1 IS NULL ORDER BY orders.rowid DESC",
        };
        let sql = format!("SELECT {COLUMNS} FROM orders JOIN sites USING (site) {of} LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![site.map(|site| site.key), limit], order_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One order of a site's current epoch, with its envelope.
    pub fn order(
        &self,
        site: &SiteRow,
        sequence: u64,
    ) -> Result<Option<(OrderRow, Vec<u8>)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, envelope FROM orders JOIN sites USING (site)
             WHERE site = ?1 AND orders.epoch = ?2 AND sequence = ?3"
        );
        let key = params![site.key, int(site.epoch), int(sequence)];
        let row = |row: &Row<'_>| Ok((order_row(row)?, row.get(11)?));
        Ok(self.connection.prepare_cached(&sql)?.query_row(key, row).optional()?)
    }

    /// The order at this place, of whichever epoch, with the digest of its payload.
    pub(super) fn order_at(
        &self,
        site: i64,
        epoch: u64,
        sequence: u64,
    ) -> Result<(OrderRow, Digest), StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, payload_sha256 FROM orders JOIN sites USING (site)
             WHERE site = ?1 AND orders.epoch = ?2 AND sequence = ?3"
        );
        let key = params![site, int(epoch), int(sequence)];
        let row = |row: &Row<'_>| Ok((order_row(row)?, digest(row, 11)?));
        Ok(self.connection.prepare_cached(&sql)?.query_row(key, row)?)
    }

    /// The payload digest of an order of which only evidence is here.
    pub(super) fn order_in_evidence(
        &self,
        site: &SiteRow,
        sequence: u64,
    ) -> Result<Option<Digest>, StoreError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT order_sha256 FROM evidence JOIN ledgers USING (ledger)
                 WHERE evidence.site = ?1 AND order_sequence = ?2 AND epoch = ?3
                   AND order_id IS NOT NULL AND order_sha256 IS NOT NULL
                 ORDER BY leaf LIMIT 1",
            )?
            .query_row(params![site.key, int(sequence), int(site.epoch)], |row| digest(row, 0))
            .optional()?;
        Ok(found)
    }
}

impl Tx<'_> {
    /// Stores an order as open.
    pub fn insert_order(
        &self,
        site: &SiteRow,
        order: &NewOrder,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let starts = match order.when {
            When::Window => "window",
            When::Now => "now",
        };
        self.connection()
            .prepare_cached(
                "INSERT INTO orders (site, epoch, sequence, id, payload_sha256, envelope, action,
                     starts, issued_at, expires_at, pushed_at, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'open')",
            )?
            .execute(params![
                site.key,
                int(site.epoch),
                int(order.sequence),
                order.id.to_string(),
                order.payload_sha256.as_bytes(),
                order.envelope,
                order.action,
                starts,
                order.issued_at.as_millis(),
                order.expires_at.as_millis(),
                now.as_millis(),
            ])?;
        self.changed(&site.name, What::Orders);
        Ok(())
    }

    /// Takes an open order back; false when it is not open.
    pub fn withdraw_order(
        &self,
        site: &SiteRow,
        sequence: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .connection()
            .prepare_cached(
                "UPDATE orders SET state = 'withdrawn', changed_at = ?4
                 WHERE site = ?1 AND epoch = ?2 AND sequence = ?3 AND state = 'open'",
            )?
            .execute(params![site.key, int(site.epoch), int(sequence), now.as_millis()])?;
        if changed == 1 {
            self.changed(&site.name, What::Orders);
        }
        Ok(changed == 1)
    }

    /// Records how an order ended; the first terminal outcome stays. One that was withdrawn and then
    /// expired, as it must, stays withdrawn; one that was done before the withdrawal came is done.
    pub(super) fn end_order(
        &self,
        site: &SiteRow,
        end: &Terminal<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "UPDATE orders SET outcome = ?4, reason = ?5, changed_at = ?6,
                     state = CASE WHEN state = 'withdrawn' AND ?4 = 'expired' THEN state ELSE 'done' END
                 WHERE site = ?1 AND payload_sha256 = ?2 AND id = ?3 AND outcome IS NULL",
            )?
            .execute(params![
                site.key,
                end.payload_sha256.as_bytes(),
                end.id.to_string(),
                end.outcome.code(),
                end.reason,
                now.as_millis(),
            ])?;
        Ok(())
    }
}

/// A state that we wrote ourselves.
pub(super) fn state_of(text: &str) -> OrderState {
    match text {
        "open" => OrderState::Open,
        "done" => OrderState::Done,
        _ => OrderState::Withdrawn,
    }
}

pub(super) fn order_row(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    Ok(OrderRow {
        site: parsed(row, 0)?,
        epoch: number(row, 1)?,
        sequence: number(row, 2)?,
        id: parsed(row, 3)?,
        action: row.get(4)?,
        when: row.get(5)?,
        issued_at: time(row, 6)?,
        expires_at: time(row, 7)?,
        state: state_of(&row.get::<_, String>(8)?),
        outcome: row.get::<_, Option<String>>(9)?.as_deref().map(outcome_of),
        reason: row.get(10)?,
    })
}
