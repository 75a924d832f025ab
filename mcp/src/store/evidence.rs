//! Evidence: each bundle's exact bytes, its place in its chain, and its leaf in the log.

use std::collections::BTreeMap;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, Outcome, SignedBundle, State};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::row::{digest, int, number, parsed, time};
use super::sites::state_code;
use super::{SiteRow, StoreError, Terminal, Tx, View};

/// A bundle for the store. Its signatures and its site were checked.
#[derive(Debug)]
pub struct NewBundle<'a> {
    /// What it says.
    pub bundle: &'a Bundle,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Its bytes.
    pub files: &'a SignedBundle,
    /// What it says about checks.
    pub states: BTreeMap<&'a str, State>,
}

/// The place of a bundle in its chain, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nobody, and its neighbours fit.
    Free,
    /// The same bundle, as this leaf.
    Same(u64),
    /// Another bundle; or a neighbour says that another belongs here.
    Fork,
}

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

/// Bundles of a chain that are not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The ledger.
    pub ledger_id: Id,
    /// The first that is missing.
    pub from: u64,
    /// The last that is missing.
    pub to: u64,
}

/// The most gaps that are listed.
const MAX_GAPS: i64 = 20;

const COLUMNS: &str =
    "leaf, sites.name, ledgers.epoch, ledger_id, sequence, id, outcome, check_id, reason,
     detail, finished_at, received_at, sha256, order_id";
const TABLES: &str =
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

    /// The newest evidence of one site, before leaf `before` if that is given, the newest first.
    pub fn newest_evidence(
        &self,
        site: &SiteRow,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<EvidenceRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE evidence.site = ?1 AND leaf < ?2
             ORDER BY leaf DESC LIMIT ?3"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let key = params![site.key, before.map_or(i64::MAX, int), limit];
        let rows = statement.query_map(key, evidence_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
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

    /// Where a site's evidence stands: the highest sequence of the newest ledger of its current epoch.
    pub fn evidence_head(&self, site: &SiteRow) -> Result<Option<EvidenceHead>, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT ledger_id, head_sequence, head_sha256 FROM ledgers
                 WHERE site = ?1 AND epoch = ?2 ORDER BY ledger DESC LIMIT 1",
            )?
            .query_row(params![site.key, int(site.epoch)], |row| {
                Ok(EvidenceHead {
                    ledger_id: parsed(row, 0)?,
                    sequence: number(row, 1)?,
                    sha256: digest(row, 2)?,
                })
            })
            .optional()?)
    }

    /// How many bundles of a site are here.
    pub fn count_bundles(&self, site: &SiteRow) -> Result<u64, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT coalesce(sum(bundles), 0) FROM ledgers WHERE site = ?1")?
            .query_row([site.key], |row| number(row, 0))?)
    }

    /// What is missing in the chains of a site, at most 20 ranges.
    pub fn gaps(&self, site: &SiteRow) -> Result<Vec<Gap>, StoreError> {
        // Only chains that have fewer bundles than their head says are walked.
        let mut statement = self.connection.prepare_cached(
            "SELECT ledger_id, before + 1, sequence - 1 FROM (
                 SELECT ledger_id, sequence,
                        lag(sequence, 1, 0) OVER (PARTITION BY ledger ORDER BY sequence) AS before
                 FROM ledgers JOIN evidence USING (ledger)
                 WHERE ledgers.site = ?1 AND bundles < head_sequence)
             WHERE sequence > before + 1 LIMIT ?2",
        )?;
        let rows = statement.query_map(params![site.key, MAX_GAPS], |row| {
            Ok(Gap { ledger_id: parsed(row, 0)?, from: number(row, 1)?, to: number(row, 2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Who has the place in the chain that a bundle claims.
    pub fn place(&self, site: &SiteRow, new: &NewBundle<'_>) -> Result<Place, StoreError> {
        let bundle = new.bundle;
        let Some(ledger) = self.ledger(site, bundle)? else { return Ok(Place::Free) };
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, leaf, sha256, previous_sha256 FROM evidence
             WHERE ledger = ?1 AND sequence BETWEEN ?2 - 1 AND ?2 + 1",
        )?;
        let mut rows = statement.query(params![ledger, int(bundle.sequence)])?;
        while let Some(row) = rows.next()? {
            let (sequence, sha256) = (number(row, 0)?, digest(row, 2)?);
            let previous = row.get::<_, Option<[u8; 32]>>(3)?.map(Digest::from_bytes);
            let fits = if sequence < bundle.sequence {
                bundle.previous_sha256 == Some(sha256)
            } else if sequence > bundle.sequence {
                previous == Some(new.sha256)
            } else if sha256 == new.sha256 {
                return Ok(Place::Same(number(row, 1)?));
            } else {
                false
            };
            if !fits {
                return Ok(Place::Fork);
            }
        }
        Ok(Place::Free)
    }

    fn ledger(&self, site: &SiteRow, bundle: &Bundle) -> Result<Option<i64>, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT ledger FROM ledgers WHERE site = ?1 AND epoch = ?2 AND ledger_id = ?3",
            )?
            .query_row(params![site.key, int(bundle.epoch), bundle.ledger_id.to_string()], |row| {
                row.get(0)
            })
            .optional()?)
    }
}

impl Tx<'_> {
    /// Stores a bundle at a free place, appends it to the log and records what it says. Returns its leaf.
    pub fn insert_bundle(
        &self,
        site: &SiteRow,
        new: &NewBundle<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let ledger = self.extend_ledger(site, new)?;
        let leaf = self.append_leaf(new.files.json.as_slice())?;
        self.insert_evidence(site, ledger, leaf, new, now)?;
        let bundle = new.bundle;
        if bundle.epoch == site.epoch {
            self.record_states(site, ledger, new, now)?;
        }
        let trigger = &bundle.trigger;
        if let (Some(id), Some(payload_sha256), true) =
            (trigger.order_id, trigger.order_sha256, bundle.outcome.is_terminal())
        {
            let (outcome, reason) = (bundle.outcome, bundle.reason.as_str());
            self.end_order(site, &Terminal { id, payload_sha256, outcome, reason })?;
        }
        Ok(leaf)
    }

    /// Counts the bundle in its chain, which begins with it if it is the first.
    fn extend_ledger(&self, site: &SiteRow, new: &NewBundle<'_>) -> Result<i64, StoreError> {
        let bundle = new.bundle;
        Ok(self
            .connection()
            .prepare_cached(
                "INSERT INTO ledgers (site, epoch, ledger_id, bundles, head_sequence, head_sha256,
                     last_order_sequence)
                 VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6)
                 ON CONFLICT (site, epoch, ledger_id) DO UPDATE SET
                     bundles = bundles + 1,
                     head_sha256 = iif(?4 > head_sequence, ?5, head_sha256),
                     head_sequence = max(head_sequence, ?4),
                     last_order_sequence = max(last_order_sequence, ?6)
                 RETURNING ledger",
            )?
            .query_row(
                params![
                    site.key,
                    int(bundle.epoch),
                    bundle.ledger_id.to_string(),
                    int(bundle.sequence),
                    new.sha256.as_bytes(),
                    int(bundle.last_order_sequence),
                ],
                |row| row.get(0),
            )?)
    }

    fn insert_evidence(
        &self,
        site: &SiteRow,
        ledger: i64,
        leaf: u64,
        new: &NewBundle<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let bundle = new.bundle;
        self.connection()
            .prepare_cached(
                "INSERT INTO evidence (leaf, site, ledger, sequence, sha256, previous_sha256, id,
                     outcome, check_id, reason, detail, finished_at, received_at, order_id,
                     order_sequence, order_sha256, json, sig, dsse)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                     ?18, ?19)",
            )?
            .execute(params![
                int(leaf),
                site.key,
                ledger,
                int(bundle.sequence),
                new.sha256.as_bytes(),
                bundle.previous_sha256.as_ref().map(Digest::as_bytes),
                bundle.id.to_string(),
                bundle.outcome.code(),
                bundle.check,
                bundle.reason,
                bundle.detail,
                bundle.finished_at.as_millis(),
                now.as_millis(),
                bundle.trigger.order_id.map(String::from),
                bundle.trigger.order_sequence.map(int),
                bundle.trigger.order_sha256.as_ref().map(Digest::as_bytes),
                new.files.json.as_slice(),
                new.files.sig.as_slice(),
                new.files.dsse.as_slice(),
            ])?;
        Ok(())
    }

    fn record_states(
        &self,
        site: &SiteRow,
        ledger: i64,
        new: &NewBundle<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO check_states (site, check_id, state, outcome, at, received_at, epoch, ledger,
                 sequence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (site, check_id) DO UPDATE SET
                 state = excluded.state, outcome = excluded.outcome, at = excluded.at,
                 received_at = excluded.received_at, epoch = excluded.epoch,
                 ledger = excluded.ledger, sequence = excluded.sequence
             WHERE (excluded.epoch, excluded.ledger, excluded.sequence) > (epoch, ledger, sequence)",
        )?;
        let bundle = new.bundle;
        for (check, state) in &new.states {
            statement.execute(params![
                site.key,
                check,
                state_code(*state),
                bundle.outcome.code(),
                bundle.finished_at.as_millis(),
                now.as_millis(),
                int(bundle.epoch),
                ledger,
                int(bundle.sequence),
            ])?;
        }
        Ok(())
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

fn evidence_row(row: &Row<'_>) -> rusqlite::Result<EvidenceRow> {
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
