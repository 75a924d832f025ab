//! Evidence as it is listed and shown: rows, and each bundle's exact bytes.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::row::{digest, int, number, parsed, time};
use super::{SiteRow, StoreError, View};

/// A bundle as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceRow {
    /// Its leaf in the log; lists are paged by it.
    #[serde(skip)]
    pub leaf: u64,
    /// The site.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// The ledger that made it.
    pub ledger_id: Id,
    /// Its place in the chain.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
    /// How it ended.
    pub outcome: Outcome,
    /// The check it is about.
    pub check: Option<String>,
    /// Why, machine-readable.
    pub reason: String,
    /// Why, in one sentence.
    pub detail: String,
    /// When it ended, by the appliance's clock.
    pub finished_at: Timestamp,
    /// When it came, by our clock.
    pub received_at: Timestamp,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// The order that it is about.
    pub order_id: Option<Id>,
}

/// A bundle's exact bytes.
#[derive(Debug, Clone)]
pub struct EvidenceFiles {
    /// Its leaf in the log.
    pub leaf: u64,
    /// The bundle.
    pub json: Vec<u8>,
    /// Its raw signature.
    pub sig: Vec<u8>,
    /// Its envelope.
    pub dsse: Vec<u8>,
}

pub(super) const COLUMNS: &str =
    "leaf, sites.name, ledgers.epoch, ledger_id, sequence, id, outcome, check_id, reason,
     detail, finished_at, received_at, sha256, order_id";
pub(super) const TABLES: &str =
    "evidence JOIN ledgers USING (ledger) JOIN sites ON sites.site = evidence.site";

impl View<'_> {
    /// Evidence after leaf `after`, ascending; of one site or of all.
    pub fn evidence(
        &self,
        site: Option<&SiteRow>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<EvidenceRow>, StoreError> {
        let of = if site.is_some() { "evidence.site = ?1" } else { "?1 IS NULL" };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE {of} AND leaf > ?2 ORDER BY leaf LIMIT ?3"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let key = params![site.map(|site| site.key), after.map_or(-1, int), limit];
        let rows = statement.query_map(key, evidence_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The bundle that is this leaf of the log.
    pub(super) fn evidence_at(&self, leaf: u64) -> Result<EvidenceRow, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE leaf = ?1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([int(leaf)], evidence_row)?)
    }

    /// One bundle with its bytes. Of two epochs with one ledger id, which no honest box makes, the newer.
    pub fn evidence_files(
        &self,
        site: &SiteRow,
        ledger_id: Id,
        sequence: u64,
    ) -> Result<Option<(EvidenceRow, EvidenceFiles)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, json, sig, dsse FROM {TABLES}
             WHERE ledgers.site = ?1 AND ledger_id = ?2 AND sequence = ?3
             ORDER BY ledgers.epoch DESC LIMIT 1"
        );
        let key = params![site.key, ledger_id.to_string(), int(sequence)];
        let row = |row: &Row<'_>| {
            let listed = evidence_row(row)?;
            let (json, sig, dsse) = (row.get(14)?, row.get(15)?, row.get(16)?);
            Ok((EvidenceFiles { leaf: listed.leaf, json, sig, dsse }, listed))
        };
        let found = self.connection.prepare_cached(&sql)?.query_row(key, row).optional()?;
        Ok(found.map(|(files, listed)| (listed, files)))
    }
}

/// An outcome that we wrote ourselves; what is none would be a failure, never green.
pub(super) fn outcome_of(text: &str) -> Outcome {
    match text {
        "success" => Outcome::Success,
        "reverted" => Outcome::Reverted,
        "deferred" => Outcome::Deferred,
        "alert" => Outcome::Alert,
        "rejected" => Outcome::Rejected,
        "expired" => Outcome::Expired,
        _ => Outcome::Failed,
    }
}

pub(super) fn evidence_row(row: &Row<'_>) -> rusqlite::Result<EvidenceRow> {
    let order_id = row.get::<_, Option<String>>(13)?;
    Ok(EvidenceRow {
        leaf: number(row, 0)?,
        site: parsed(row, 1)?,
        epoch: number(row, 2)?,
        ledger_id: parsed(row, 3)?,
        sequence: number(row, 4)?,
        id: parsed(row, 5)?,
        outcome: outcome_of(&row.get::<_, String>(6)?),
        check: row.get(7)?,
        reason: row.get(8)?,
        detail: row.get(9)?,
        finished_at: time(row, 10)?,
        received_at: time(row, 11)?,
        sha256: digest(row, 12)?,
        order_id: order_id.and_then(|id| id.parse().ok()),
    })
}
