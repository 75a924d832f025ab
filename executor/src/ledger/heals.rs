//! Attempts at healing and refusals of what was no order: what rate limits are counted from.

use compliance_protocol::digest::Digest;
use compliance_protocol::time::{Span, Timestamp};
use rusqlite::params;

use super::{Fact, Ledger, LedgerError, Tx};
use crate::gates::Attempt;

/// Where something came from that is put into evidence a few times an hour at most. Each source has its own
/// share: what anybody can make must not crowd out what a verified feed head shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Bytes that the agent handed over.
    Handed,
    /// A feed head that verified.
    Head,
}

impl Source {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Handed, Self::Head];

    fn name(self) -> &'static str {
        match self {
            Self::Handed => "handed",
            Self::Head => "head",
        }
    }
}

const TWO_DAYS: Span = Span::from_hours(48);
const HOUR: Span = Span::from_hours(1);

impl Ledger {
    /// The attempts at healing `subject` in the two days before `now`, oldest first.
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

    /// Whether this was recorded before.
    pub fn is_recorded(&self, digest: Digest) -> Result<bool, LedgerError> {
        let sql = "SELECT 1 FROM refusals WHERE digest = ?1";
        Ok(self.db.prepare_cached(sql)?.exists([digest.as_bytes()])?)
    }

    /// How much was recorded from there in the hour before `now`.
    pub fn recorded(&self, source: Source, now: Timestamp) -> Result<u64, LedgerError> {
        self.date_back("refusals", now)?;
        let sql = "SELECT count(*) FROM refusals WHERE source = ?1 AND at_ms > ?2";
        let since = now.plus(Span::from_millis(-HOUR.as_millis())).as_millis();
        let which = params![source.name(), since];
        Ok(self.db.prepare_cached(sql)?.query_row(which, |row| row.get(0))?)
    }

    /// What is dated in the future was counted by a clock that has been set back since. It counts as of
    /// now: neither is the limit wiped, nor does it last until that future comes. So `now` must not be the
    /// reading of a clock that is itself behind.
    fn date_back(&self, table: &str, now: Timestamp) -> Result<(), LedgerError> {
        let sql = format!("UPDATE {table} SET at_ms = ?1 WHERE at_ms > ?1");
        self.db.prepare_cached(&sql)?.execute([now.as_millis()])?;
        Ok(())
    }
}

impl Tx<'_> {
    /// Counts an attempt. Where its clock and the latest time ever trusted differ, either may be wrong: it
    /// is dated by the later, which the next look dates back, and what is old for both is forgotten.
    pub fn count_attempt(&self, subject: &str, attempt: Attempt) -> Result<(), LedgerError> {
        let mark = self.fact(Fact::HighWater)?.unwrap_or(attempt.at);
        let (earlier, later) = (attempt.at.min(mark), attempt.at.max(mark));
        let since = earlier.plus(Span::from_millis(-TWO_DAYS.as_millis())).as_millis();
        self.tx.execute("DELETE FROM heals WHERE at_ms <= ?1", [since])?;
        self.tx.execute(
            "INSERT INTO heals (subject, at_ms, healed) VALUES (?1, ?2, ?3)",
            params![subject, later.as_millis(), attempt.healed],
        )?;
        Ok(())
    }

    /// Remembers what was recorded, for a week, so that the same is recorded once.
    pub fn count_refusal(
        &self,
        digest: Digest,
        source: Source,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let since = now.plus(Span::from_hours(-7 * 24)).as_millis();
        self.tx.execute("DELETE FROM refusals WHERE at_ms <= ?1", [since])?;
        self.tx.execute(
            "INSERT OR REPLACE INTO refusals (digest, source, at_ms) VALUES (?1, ?2, ?3)",
            params![digest.as_bytes(), source.name(), now.as_millis()],
        )?;
        Ok(())
    }
}
