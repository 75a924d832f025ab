//! Sites: what is trusted at each, when it was seen, and what its checks found last.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Outcome, State};
use compliance_protocol::name::Site;
use compliance_protocol::order::MAX_JUMP;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use super::evidence::outcome_of;
use super::row::{digest, int, number, parsed, time, time_or_null};
use super::{StoreError, Tx, View};
use crate::changes::What;

/// One site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRow {
    /// Its number in this store.
    pub key: i64,
    /// Its name.
    pub name: Site,
    /// The enrolment.
    pub epoch: u64,
    /// The version of its newest trust file.
    pub trust_version: u64,
    /// When its first trust file was put here.
    pub registered_at: Timestamp,
    /// When it was last heard of, as of the last time that this was written down.
    pub last_seen: Option<Timestamp>,
    /// When it was last given a feed head, likewise.
    pub last_head_at: Option<Timestamp>,
}

/// What one check found last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    /// The check.
    pub check: String,
    /// What it found.
    pub state: State,
    /// How the bundle that says so ended.
    pub outcome: Outcome,
    /// When it looked, by the appliance's clock.
    pub at: Timestamp,
    /// When the bundle came, by our clock.
    pub received_at: Timestamp,
}

/// The orders issued to a site so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The highest sequence, here or in signed evidence; 0 before the first.
    pub highest: u64,
    /// That order's payload digest, if it is known.
    pub payload_sha256: Option<Digest>,
}

const COLUMNS: &str = "site, name, epoch, trust_version, registered_at, last_seen, last_head_at";

impl View<'_> {
    /// The site of this name.
    pub fn site(&self, name: &Site) -> Result<Option<SiteRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sites WHERE name = ?1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([name.as_str()], site_row).optional()?)
    }

    /// All sites by name.
    pub fn sites(&self) -> Result<Vec<SiteRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sites ORDER BY name");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], site_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest trust file of a site, an envelope whose signatures were checked when it was put.
    pub fn trust_envelope(&self, site: &SiteRow) -> Result<Vec<u8>, StoreError> {
        self.connection
            .prepare_cached("SELECT envelope FROM trust_files WHERE site = ?1 AND version = ?2")?
            .query_row(params![site.key, int(site.trust_version)], |row| row.get(0))
            .optional()?
            .ok_or(StoreError::Damaged("a site has no trust file"))
    }

    /// All trust files that a site ever had, the newest first, likewise.
    pub fn trust_envelopes(&self, site: &SiteRow) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT envelope FROM trust_files WHERE site = ?1 ORDER BY version DESC",
        )?;
        let rows = statement.query_map([site.key], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What each check of a site found last, by the check's name.
    pub fn check_states(&self, site: &SiteRow) -> Result<Vec<CheckRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT check_id, state, outcome, at, received_at FROM check_states
             WHERE site = ?1 ORDER BY check_id",
        )?;
        let rows = statement.query_map([site.key], |row| check_row(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The orders issued to a site in its current epoch: the highest of what is here and of what its
    /// signed evidence says, so that a restored backup reuses no sequence. Evidence is believed as far as an
    /// appliance takes a jump: one that lies cannot use up all sequences of its site.
    pub fn issued(&self, site: &SiteRow) -> Result<Issued, StoreError> {
        let key = params![site.key, int(site.epoch)];
        let here = self
            .connection
            .prepare_cached(
                "SELECT sequence, payload_sha256 FROM orders WHERE site = ?1 AND epoch = ?2
                 ORDER BY sequence DESC LIMIT 1",
            )?
            .query_row(key, |row| Ok((number(row, 0)?, digest(row, 1)?)))
            .optional()?;
        let signed = self
            .connection
            .prepare_cached(
                "SELECT coalesce(max(last_order_sequence), 0) FROM ledgers
                 WHERE site = ?1 AND epoch = ?2",
            )?
            .query_row(key, |row| number(row, 0))?;
        let signed = signed.min(here.map_or(0, |(sequence, _)| sequence) + MAX_JUMP);
        match here {
            Some((sequence, payload)) if sequence >= signed => {
                Ok(Issued { highest: sequence, payload_sha256: Some(payload) })
            }
            _ => Ok(Issued {
                highest: signed,
                payload_sha256: self.order_in_evidence(site, signed)?,
            }),
        }
    }
}

impl Tx<'_> {
    /// Registers a site with its first trust file.
    pub fn register_site(
        &self,
        name: &Site,
        epoch: u64,
        version: u64,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "INSERT INTO sites (name, epoch, trust_version, registered_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![name.as_str(), int(epoch), int(version), now.as_millis()])?;
        let key = self.connection().last_insert_rowid();
        self.changed(name, What::Site);
        self.insert_trust(key, version, envelope, now)
    }

    /// Takes a site's next trust file. In a new epoch the orders of the old one are withdrawn, and what the old
    /// machine's checks found says nothing of the new one.
    pub fn replace_trust(
        &self,
        site: &SiteRow,
        epoch: u64,
        version: u64,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.insert_trust(site.key, version, envelope, now)?;
        self.connection()
            .prepare_cached("UPDATE sites SET epoch = ?2, trust_version = ?3 WHERE site = ?1")?
            .execute(params![site.key, int(epoch), int(version)])?;
        self.connection()
            .prepare_cached(
                "UPDATE orders SET state = 'withdrawn', changed_at = ?3
                 WHERE site = ?1 AND epoch < ?2 AND state = 'open'",
            )?
            .execute(params![site.key, int(epoch), now.as_millis()])?;
        self.connection()
            .prepare_cached("DELETE FROM check_states WHERE site = ?1 AND epoch < ?2")?
            .execute(params![site.key, int(epoch)])?;
        self.changed(&site.name, What::Site);
        Ok(())
    }

    /// Writes down when a site was last heard of.
    pub fn seen(
        &self,
        site: &Site,
        last_seen: Timestamp,
        last_head_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "UPDATE sites SET last_seen = ?2, last_head_at = coalesce(?3, last_head_at)
                 WHERE name = ?1",
            )?
            .execute(params![
                site.as_str(),
                last_seen.as_millis(),
                last_head_at.map(Timestamp::as_millis)
            ])?;
        Ok(())
    }

    fn insert_trust(
        &self,
        site: i64,
        version: u64,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "INSERT INTO trust_files (site, version, envelope, taken_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![site, int(version), envelope, now.as_millis()])?;
        Ok(())
    }
}

/// A state as bundles write it.
pub(super) fn state_code(state: State) -> &'static str {
    match state {
        State::Compliant => "compliant",
        State::Drifted => "drifted",
        State::Unknown => "unknown",
        State::NotApplicable => "not_applicable",
    }
}

/// What is not a state is unknown, never green.
fn state_of(text: &str) -> State {
    match text {
        "compliant" => State::Compliant,
        "drifted" => State::Drifted,
        "not_applicable" => State::NotApplicable,
        _ => State::Unknown,
    }
}

/// The columns `check_id, state, outcome, at, received_at`, the first of which is `at`.
pub(super) fn check_row(row: &Row<'_>, at: usize) -> rusqlite::Result<CheckRow> {
    Ok(CheckRow {
        check: row.get(at)?,
        state: state_of(&row.get::<_, String>(at + 1)?),
        outcome: outcome_of(&row.get::<_, String>(at + 2)?),
        at: time(row, at + 3)?,
        received_at: time(row, at + 4)?,
    })
}

fn site_row(row: &Row<'_>) -> rusqlite::Result<SiteRow> {
    Ok(SiteRow {
        key: row.get(0)?,
        name: parsed(row, 1)?,
        epoch: number(row, 2)?,
        trust_version: number(row, 3)?,
        registered_at: time(row, 4)?,
        last_seen: time_or_null(row, 5)?,
        last_head_at: time_or_null(row, 6)?,
    })
}
