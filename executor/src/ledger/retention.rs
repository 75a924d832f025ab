//! Pruning: what need not be kept any longer leaves the ledger, always from the beginning of its oldest chain.

use compliance_protocol::clock::ClockSource;
use compliance_protocol::digest::Digest;
use compliance_protocol::name::Id;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Deserialize;

use super::{Ledger, LedgerError, Tx};
use crate::retention::{Kept, last_to_prune};

/// The beginning of a chain that is to be pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The chain.
    pub chain: Id,
    /// The sequence of its first bundle that is here.
    pub first: u64,
    /// The sequence of the last one that is pruned.
    pub last: u64,
    /// The digest of that.
    pub last_sha256: Digest,
}

impl Prefix {
    /// How many bundles these are.
    pub fn count(&self) -> u64 {
        self.last + 1 - self.first
    }
}

impl Ledger {
    /// The beginning of the oldest chain that need not be kept any longer: what was made before `cutoff` and has
    /// its receipt, at most so many bundles. The newest bundle of all is not among them.
    pub fn to_prune(&self, cutoff: Timestamp, most: u64) -> Result<Option<Prefix>, LedgerError> {
        let sql = "SELECT ledger_id, sequence FROM bundles ORDER BY n LIMIT 1";
        let oldest = self
            .db
            .prepare_cached(sql)?
            .query_row([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)));
        let Some((chain, first)) = oldest.optional()? else { return Ok(None) };
        let sql = "SELECT sequence, sha256, receipt IS NOT NULL, json FROM bundles \
                   WHERE ledger_id = ?1 AND n < (SELECT max(n) FROM bundles) ORDER BY sequence LIMIT ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        let oldest = statement.query_and_then(params![chain, most], kept)?;
        let Some(last) = last_to_prune(oldest, cutoff)? else { return Ok(None) };
        let chain = chain.parse().map_err(|_| LedgerError::Unreadable("chain id"))?;
        Ok(Some(Prefix { chain, first, last: last.sequence, last_sha256: last.sha256 }))
    }
}

impl Tx<'_> {
    /// Prunes what [`Ledger::to_prune`] found.
    pub fn prune(&self, prefix: &Prefix) -> Result<(), LedgerError> {
        let sql = "DELETE FROM bundles WHERE ledger_id = ?1 AND sequence <= ?2";
        self.tx.prepare_cached(sql)?.execute(params![prefix.chain.to_string(), prefix.last])?;
        Ok(())
    }
}

/// What a bundle says of when it was made.
#[derive(Deserialize)]
struct Made {
    finished_at: Timestamp,
    clock: Clock,
}

#[derive(Deserialize)]
struct Clock {
    source: ClockSource,
}

fn kept(row: &Row<'_>) -> Result<Kept, LedgerError> {
    let json: Vec<u8> = row.get(3)?;
    let made: Option<Made> = serde_json::from_slice(&json).ok();
    let known = made.filter(|made| made.clock.source != ClockSource::None);
    Ok(Kept {
        sequence: row.get(0)?,
        sha256: Digest::from_bytes(row.get(1)?),
        has_receipt: row.get(2)?,
        made_at: known.map(|made| made.finished_at),
    })
}
