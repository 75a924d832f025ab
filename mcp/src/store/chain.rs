//! Chains of evidence: where a bundle belongs, what is missing, and how one more is stored.

use std::collections::BTreeMap;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Bundle, SignedBundle, State};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::Id;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;

use super::row::{digest, int, number, parsed};
use super::sites::state_code;
use super::{SiteRow, StoreError, Terminal, Tx, View};
use crate::changes::What;

/// As many checks as an appliance of a later release may have; what it names beyond is not kept as a state.
const MAX_CHECKS: i64 = 16;

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

impl View<'_> {
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
        self.bundle_was_stored(leaf, bundle.outcome)?;
        if bundle.epoch == site.epoch {
            self.record_states(site, ledger, new, now)?;
        }
        let trigger = &bundle.trigger;
        if let (Some(id), Some(payload_sha256), true) =
            (trigger.order_id, trigger.order_sha256, bundle.outcome.is_terminal())
        {
            let (outcome, reason) = (bundle.outcome, bundle.reason.as_str());
            self.end_order(site, &Terminal { id, payload_sha256, outcome, reason }, now)?;
        }
        self.changed(&site.name, What::Evidence);
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
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
             WHERE ?2 IN (SELECT check_id FROM check_states WHERE site = ?1)
                 OR (SELECT count(*) FROM check_states WHERE site = ?1) < ?10
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
                MAX_CHECKS,
            ])?;
        }
        Ok(())
    }
}
