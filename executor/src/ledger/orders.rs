//! Orders: which sequences were consumed, by which bytes, and what became of them.

use compliance_protocol::digest::Digest;
use compliance_protocol::name::Id;
use compliance_protocol::order::OrderHeader;
use compliance_protocol::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Ledger, LedgerError, Tx};
use crate::admit::Seen;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// To be started when its gates open.
    Waiting,
    /// Started; an intent says with what.
    Started,
    /// It has its one terminal outcome.
    Done,
}

impl OrderState {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Started => "started",
            Self::Done => "done",
        }
    }
}

/// An order that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its epoch.
    pub epoch: u64,
    /// Its sequence.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
    /// The digest of its payload.
    pub payload_sha256: Digest,
    /// Its exact envelope.
    pub envelope: Vec<u8>,
    /// Whether it was started.
    pub started: bool,
    /// Its time was checked on arrival; if not, the time was not known then.
    pub accepted: bool,
    /// Why it waits, as last put into evidence.
    pub hold: Option<String>,
    /// When it is tried again, as last put into evidence.
    pub retry_after: Option<Timestamp>,
}

impl Ledger {
    /// The highest sequence consumed in `epoch`; 0 before the first.
    pub fn last_sequence(&self, epoch: u64) -> Result<u64, LedgerError> {
        last_sequence(&self.db, epoch)
    }

    /// What admission needs to know about the past.
    pub fn seen(&self, epoch: u64) -> Result<Seen<'_>, LedgerError> {
        let last = self.last_sequence(epoch)?;
        Ok(Seen {
            last,
            payload_at: Box::new(move |sequence| {
                let sql = "SELECT payload_sha256 FROM orders WHERE epoch = ?1 AND sequence = ?2";
                let row =
                    self.db.query_row(sql, params![epoch, sequence], |row| row.get(0)).optional();
                row.map(|found| found.map(Digest::from_bytes)).map_err(LedgerError::from)
            }),
            knows_id: Box::new(move |id| {
                let sql = "SELECT 1 FROM orders WHERE id = ?1";
                let row = self.db.query_row(sql, [id.to_string()], |_| Ok(())).optional();
                row.map(|found| found.is_some()).map_err(LedgerError::from)
            }),
        })
    }

    /// Whether no order is open and nothing under way.
    pub fn is_quiet(&self) -> Result<bool, LedgerError> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM orders WHERE state <> 'done') \
                   AND NOT EXISTS (SELECT 1 FROM intents)";
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The orders that are not done, in ascending sequence.
    pub fn open_orders(&self) -> Result<Vec<OrderRow>, LedgerError> {
        let sql = "SELECT epoch, sequence, id, payload_sha256, envelope, state, accepted, hold, retry_after \
                   FROM orders WHERE state <> 'done' ORDER BY sequence";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_and_then([], order_row)?;
        rows.collect()
    }
}

impl Tx<'_> {
    /// The highest sequence consumed in `epoch`; 0 before the first.
    pub fn last_sequence(&self, epoch: u64) -> Result<u64, LedgerError> {
        last_sequence(&self.tx, epoch)
    }

    /// Consumes an order's sequence. It can be done once: a second time is an error of SQLite's.
    pub fn consume(
        &self,
        header: &OrderHeader,
        payload_sha256: Digest,
        envelope: &[u8],
        state: OrderState,
        accepted: bool,
    ) -> Result<(), LedgerError> {
        let sql = "INSERT INTO orders (epoch, sequence, id, payload_sha256, envelope, state, accepted) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.tx.prepare_cached(sql)?.execute(params![
            header.epoch,
            header.sequence,
            header.id.to_string(),
            payload_sha256.as_bytes(),
            envelope,
            state.name(),
            accepted,
        ])?;
        Ok(())
    }

    /// Moves an order on.
    pub fn set_order(
        &self,
        epoch: u64,
        sequence: u64,
        state: OrderState,
    ) -> Result<(), LedgerError> {
        let sql = "UPDATE orders SET state = ?3 WHERE epoch = ?1 AND sequence = ?2";
        self.tx.execute(sql, params![epoch, sequence, state.name()])?;
        Ok(())
    }

    /// Remembers that an order's time was checked.
    pub fn set_accepted(&self, epoch: u64, sequence: u64) -> Result<(), LedgerError> {
        let sql = "UPDATE orders SET accepted = 1 WHERE epoch = ?1 AND sequence = ?2";
        self.tx.execute(sql, params![epoch, sequence])?;
        Ok(())
    }

    /// Remembers why an order waits, so that it is put into evidence once.
    pub fn hold_order(
        &self,
        epoch: u64,
        sequence: u64,
        hold: &str,
        retry_after: Timestamp,
    ) -> Result<(), LedgerError> {
        let sql =
            "UPDATE orders SET hold = ?3, retry_after = ?4 WHERE epoch = ?1 AND sequence = ?2";
        self.tx.execute(sql, params![epoch, sequence, hold, retry_after.to_string()])?;
        Ok(())
    }
}

fn last_sequence(db: &Connection, epoch: u64) -> Result<u64, LedgerError> {
    let sql = "SELECT coalesce(max(sequence), 0) FROM orders WHERE epoch = ?1";
    Ok(db.prepare_cached(sql)?.query_row([epoch], |row| row.get(0))?)
}

fn order_row(row: &Row<'_>) -> Result<OrderRow, LedgerError> {
    let id: String = row.get(2)?;
    let state: String = row.get(5)?;
    let retry_after: Option<String> = row.get(8)?;
    Ok(OrderRow {
        epoch: row.get(0)?,
        sequence: row.get(1)?,
        id: id.parse().map_err(|_| LedgerError::Unreadable("order id"))?,
        payload_sha256: Digest::from_bytes(row.get(3)?),
        envelope: row.get(4)?,
        started: state == OrderState::Started.name(),
        accepted: row.get(6)?,
        hold: row.get(7)?,
        retry_after: retry_after.and_then(|text| text.parse().ok()),
    })
}
