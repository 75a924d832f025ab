//! Attempts at healing and refusals of what was no order: what rate limits are counted from.

use compliance_protocol::digest::Digest;
use compliance_protocol::time::{Span, Timestamp};
use rusqlite::params;

use super::{Ledger, LedgerError, Tx};
use crate::gates::Attempt;

const TWO_DAYS: Span = Span::from_hours(48);
const HOUR: Span = Span::from_hours(1);

impl Ledger {
    /// The attempts at healing `subject` in the last two days by the machine's clock, oldest first.
    pub fn attempts(&self, subject: &str, now: Timestamp) -> Result<Vec<Attempt>, LedgerError> {
        let sql = "SELECT at_ms, healed FROM heals WHERE subject = ?1 AND at_ms > ?2 ORDER BY n";
        self.date_back("heals", now)?;
        let since = now.plus(Span::from_millis(-TWO_DAYS.as_millis())).as_millis();
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map(params![subject, since], |row| {
            Ok(Attempt { at: Timestamp::from_millis(row.get(0)?), healed: row.get(1)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether these bytes were refused and recorded before, and how many others were in the last hour.
    pub fn refusals(&self, digest: Digest, now: Timestamp) -> Result<(bool, u64), LedgerError> {
        self.date_back("refusals", now)?;
        let known = "SELECT count(*) FROM refusals WHERE digest = ?1";
        let known: u64 = self.db.query_row(known, [digest.as_bytes()], |row| row.get(0))?;
        let recent = "SELECT count(*) FROM refusals WHERE at_ms > ?1";
        let since = now.plus(Span::from_millis(-HOUR.as_millis())).as_millis();
        Ok((known > 0, self.db.query_row(recent, [since], |row| row.get(0))?))
    }

    /// What is dated in the future was counted by a clock that has been set back since. It counts as of
    /// now: neither is the limit wiped, nor does it last until that future comes.
    fn date_back(&self, table: &str, now: Timestamp) -> Result<(), LedgerError> {
        let sql = format!("UPDATE {table} SET at_ms = ?1 WHERE at_ms > ?1");
        self.db.prepare_cached(&sql)?.execute([now.as_millis()])?;
        Ok(())
    }
}

impl Tx<'_> {
    /// Counts an attempt.
    pub fn count_attempt(&self, subject: &str, attempt: Attempt) -> Result<(), LedgerError> {
        let since = attempt.at.plus(Span::from_millis(-TWO_DAYS.as_millis())).as_millis();
        self.tx.execute("DELETE FROM heals WHERE at_ms <= ?1", [since])?;
        self.tx.execute(
            "INSERT INTO heals (subject, at_ms, healed) VALUES (?1, ?2, ?3)",
            params![subject, attempt.at.as_millis(), attempt.healed],
        )?;
        Ok(())
    }

    /// Remembers what was refused, for a week, so that the same bytes are recorded once.
    pub fn count_refusal(&self, digest: Digest, now: Timestamp) -> Result<(), LedgerError> {
        let since = now.plus(Span::from_hours(-7 * 24)).as_millis();
        self.tx.execute("DELETE FROM refusals WHERE at_ms <= ?1", [since])?;
        self.tx.execute(
            "INSERT OR REPLACE INTO refusals (digest, at_ms) VALUES (?1, ?2)",
            params![digest.as_bytes(), now.as_millis()],
        )?;
        Ok(())
    }
}
