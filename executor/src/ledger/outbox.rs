//! The outbox: evidence that has no receipt yet, and receipts.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::SignedBundle;
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::Id;
use compliance_protocol::time::{Span, Timestamp};
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Ledger, LedgerError, Tx};

/// The most bundles that one answer to `Pending` carries, and one upload.
pub const MAX_PENDING: usize = 64;

/// How long a bundle that was refused is not offered again.
const OFFER_AGAIN: Span = Span::from_hours(24);

/// A bundle as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// The exact bytes.
    pub signed: SignedBundle,
    /// The verified receipt, a tlog-proof.
    pub receipt: Option<String>,
}

impl Ledger {
    /// Bundles without a receipt, oldest first: at least one if there is any, and more up to `bytes`. What
    /// was refused comes last, and not within a day of that by the machine's clock: the agent says what
    /// was refused, and must be able to delay no bundle for ever.
    pub fn pending(&self, bytes: u64, wall: Timestamp) -> Result<Vec<SignedBundle>, LedgerError> {
        let sql = "SELECT json, sig, dsse, NULL FROM bundles WHERE receipt IS NULL \
                   AND (refused IS NULL OR abs(refused_ms - ?1) >= ?2) \
                   ORDER BY refused IS NOT NULL, n LIMIT ?3";
        let mut statement = self.db.prepare_cached(sql)?;
        let which = params![wall.as_millis(), OFFER_AGAIN.as_millis(), MAX_PENDING];
        let mut rows = statement.query_and_then(which, stored)?;
        let mut left = bytes;
        let mut batch = Vec::new();
        while let Some(StoredBundle { signed, .. }) = rows.next().transpose()? {
            // In JSON each byte takes a third more.
            let size = (signed.json.as_slice().len() + signed.dsse.as_slice().len() + 300) * 4 / 3;
            let Some(rest) = left.checked_sub(size as u64) else {
                if batch.is_empty() {
                    batch.push(signed);
                }
                break;
            };
            left = rest;
            batch.push(signed);
        }
        Ok(batch)
    }

    /// Whether that bundle has no receipt, and if so, whether it was refused before.
    pub fn refused_before(&self, id: Id) -> Result<Option<bool>, LedgerError> {
        let sql = "SELECT refused IS NOT NULL FROM bundles WHERE id = ?1 AND receipt IS NULL";
        let row = self.db.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get(0));
        Ok(row.optional()?)
    }

    /// The reason in the bundle of that id.
    pub fn reason(&self, id: Id) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT CAST(json AS TEXT) ->> '$.reason' FROM bundles WHERE id = ?1";
        let reason = self.db.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get(0));
        Ok(reason.optional()?)
    }

    /// How many bundles have no receipt.
    pub fn pending_count(&self) -> Result<u64, LedgerError> {
        let sql = "SELECT count(*) FROM bundles WHERE receipt IS NULL AND refused IS NULL";
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The bundle of that id.
    pub fn bundle(&self, id: Id) -> Result<Option<StoredBundle>, LedgerError> {
        let sql = "SELECT json, sig, dsse, receipt FROM bundles WHERE id = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query_and_then([id.to_string()], stored)?;
        rows.next().transpose()
    }

    /// Each bundle, in the order made.
    pub fn each_bundle<E: From<LedgerError>>(
        &self,
        mut take: impl FnMut(StoredBundle) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT json, sig, dsse, receipt FROM bundles ORDER BY n";
        let mut statement = self.db.prepare(sql).map_err(LedgerError::from)?;
        let rows = statement.query_and_then([], stored).map_err(LedgerError::from)?;
        for row in rows {
            take(row?)?;
        }
        Ok(())
    }

    /// Where the current chain stands.
    pub fn evidence_head(&self) -> Result<Option<EvidenceHead>, LedgerError> {
        let sql = "SELECT sequence, sha256 FROM bundles WHERE ledger_id = ?1 ORDER BY sequence DESC LIMIT 1";
        let head = self.db.prepare_cached(sql)?.query_row([self.chain().to_string()], |row| {
            let sha256 = Digest::from_bytes(row.get(1)?);
            Ok(EvidenceHead { ledger_id: self.chain(), sequence: row.get(0)?, sha256 })
        });
        Ok(head.optional()?)
    }

    /// Whether evidence that the control plane received from here last is not in this ledger: another
    /// bundle or none stands at its place, or its whole chain is unknown although the current one has
    /// arrived there.
    pub fn lacks(&self, theirs: &EvidenceHead) -> Result<bool, LedgerError> {
        let chain = theirs.ledger_id.to_string();
        let sql = "SELECT sha256 FROM bundles WHERE ledger_id = ?1 AND sequence = ?2";
        let at = params![chain, theirs.sequence];
        let ours = self.db.prepare_cached(sql)?.query_row(at, |row| row.get(0)).optional()?;
        if ours.map(Digest::from_bytes) == Some(theirs.sha256) {
            return Ok(false);
        }
        // What was pruned had a receipt, and is followed by what is here.
        let later = "SELECT 1 FROM bundles WHERE ledger_id = ?1 AND sequence > ?2 LIMIT 1";
        if ours.is_none() && self.db.prepare_cached(later)?.exists(at)? {
            return Ok(false);
        }
        let asked = |sql, chain: &str| self.db.prepare_cached(sql)?.exists([chain]);
        let known = asked("SELECT 1 FROM ledgers WHERE id = ?1", &chain)?;
        let arrived = "SELECT 1 FROM bundles WHERE ledger_id = ?1 AND receipt IS NOT NULL LIMIT 1";
        let current = self.chain().to_string();
        Ok(if known { chain == current } else { asked(arrived, &current)? })
    }
}

impl Tx<'_> {
    /// Keeps the verified receipt of a bundle; the first one stays.
    pub fn keep_receipt(&self, id: Id, receipt: &str) -> Result<bool, LedgerError> {
        let sql = "UPDATE bundles SET receipt = ?2 WHERE id = ?1 AND receipt IS NULL";
        Ok(self.tx.prepare_cached(sql)?.execute(params![id.to_string(), receipt])? == 1)
    }

    /// Marks a bundle that the control plane does not take: it stays here and is offered again a day later.
    pub fn mark_refused(&self, id: Id, why: &str, wall: Timestamp) -> Result<(), LedgerError> {
        let sql =
            "UPDATE bundles SET refused = ?2, refused_ms = ?3 WHERE id = ?1 AND receipt IS NULL";
        self.tx.prepare_cached(sql)?.execute(params![id.to_string(), why, wall.as_millis()])?;
        Ok(())
    }
}

fn stored(row: &Row<'_>) -> Result<StoredBundle, LedgerError> {
    let bytes = |column| Ok::<_, LedgerError>(row.get::<_, Vec<u8>>(column)?.into());
    let signed = SignedBundle { json: bytes(0)?, sig: bytes(1)?, dsse: bytes(2)? };
    Ok(StoredBundle { signed, receipt: row.get(3)? })
}
