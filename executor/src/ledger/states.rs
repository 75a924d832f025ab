//! Each check's state as last put into evidence, and documents that came by order.

use compliance_checks::CheckId;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{Ledger, LedgerError, Tx};

/// A kind of signed document that is replaced by order, with versions that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The baseline.
    Baseline,
    /// The trust file.
    Trust,
}

impl Document {
    fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Trust => "trust",
        }
    }
}

impl Ledger {
    /// The fingerprint last put into evidence, and since when the check has been in that state.
    pub fn state(&self, check: CheckId) -> Result<Option<(String, Timestamp)>, LedgerError> {
        let sql = "SELECT fingerprint, since FROM states WHERE check_id = ?1";
        let row = self.db.prepare_cached(sql)?.query_row([check.name()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        });
        row.optional()?
            .map(|(print, since)| {
                let since = since.parse().map_err(|_| LedgerError::Unreadable("time"))?;
                Ok((print, since))
            })
            .transpose()
    }

    /// The highest version kept of that kind; 0 when there is none.
    pub fn newest_version(&self, kind: Document) -> Result<u64, LedgerError> {
        let sql = "SELECT coalesce(max(version), 0) FROM documents WHERE kind = ?1";
        Ok(self.db.query_row(sql, [kind.name()], |row| row.get(0))?)
    }

    /// All envelopes of that kind, in ascending version.
    pub fn documents(&self, kind: Document) -> Result<Vec<Vec<u8>>, LedgerError> {
        let sql = "SELECT envelope FROM documents WHERE kind = ?1 ORDER BY version";
        let mut statement = self.db.prepare(sql)?;
        let rows = statement.query_map([kind.name()], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Tx<'_> {
    /// Remembers the state that is put into evidence.
    pub fn set_state(
        &self,
        check: CheckId,
        fingerprint: &str,
        since: Timestamp,
    ) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO states (check_id, fingerprint, since) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![check.name(), fingerprint, since.to_string()])?;
        Ok(())
    }

    /// Keeps a document that came by order.
    pub fn keep_document(
        &self,
        kind: Document,
        version: u64,
        envelope: &[u8],
    ) -> Result<(), LedgerError> {
        self.tx.execute(
            "INSERT INTO documents (kind, version, envelope) VALUES (?1, ?2, ?3)",
            params![kind.name(), version, envelope],
        )?;
        Ok(())
    }
}
