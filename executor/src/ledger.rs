//! The ledger: everything the executor remembers, in one SQLite file (WAL, `synchronous=FULL`).
//!
//! State and the evidence of it change in one transaction ([`Ledger::commit`]): after a power cut
//! there is either both or neither.

mod facts;
mod heals;
mod intents;
mod orders;
mod outbox;
mod states;

pub use facts::{Fact, LogHead};
pub use intents::{Intent, IntentId, Trigger as IntentTrigger};
pub use orders::{OrderRow, OrderState};
pub use outbox::StoredBundle;
pub use states::Document;

use std::path::{Path, PathBuf};

use compliance_protocol::digest::Digest;
use compliance_protocol::json::JsonError;
use compliance_protocol::name::Id;
use compliance_protocol::time::Span;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::evidence::{Author, Draft};

const VERSION: i64 = 1;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite's own words.
    #[error("the ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A bundle that cannot be written as canonical JSON.
    #[error("evidence could not be written: {0}")]
    Evidence(#[from] JsonError),
    /// A row that this release cannot read.
    #[error("the ledger holds a {0} that this release cannot read")]
    Unreadable(&'static str),
    /// Made by a release two or more schema versions newer.
    #[error("the ledger has schema version {0}, this release reads up to {max}: install the release that wrote it", max = VERSION + 1)]
    Newer(i64),
    /// The file could not be moved aside.
    #[error("the ledger {path} is damaged and could not be moved aside: {source}")]
    Aside {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// How a ledger came to be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It was there and is whole.
    Found,
    /// There was none.
    Absent,
    /// It was damaged; it was renamed aside, and this one is new.
    Damaged,
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    db: Connection,
    chain: Id,
}

impl Ledger {
    /// Opens the ledger at `path`, or makes one. `fresh` identifies the new chain, if there is to be
    /// one; `boottime` names a damaged file that is moved aside.
    pub fn open(path: &Path, fresh: Id, boottime: Span) -> Result<(Self, Opened), LedgerError> {
        let existed = path.exists();
        match Self::connect(path, fresh) {
            Ok(ledger) => Ok((ledger, if existed { Opened::Found } else { Opened::Absent })),
            Err(LedgerError::Sqlite(error)) if existed && is_damage(&error) => {
                tracing::error!(%error, path = %path.display(), "the ledger is damaged; it is moved aside");
                move_aside(path, boottime)?;
                Ok((Self::connect(path, fresh)?, Opened::Damaged))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the ledger at `path` for reading only; it must be there.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let chain = newest_chain(&db)?.ok_or(LedgerError::Unreadable("chain id"))?;
        Ok(Self { db, chain })
    }

    /// The identity of the current chain.
    pub fn chain(&self) -> Id {
        self.chain
    }

    /// Starts a new chain in the same ledger: its past was lost, but orders and evidence are kept.
    pub fn start_chain(&mut self, fresh: Id) -> Result<(), LedgerError> {
        self.db.execute("INSERT INTO ledgers (id) VALUES (?1)", [fresh.to_string()])?;
        self.chain = fresh;
        Ok(())
    }

    /// Changes the ledger in one transaction, which is on disk when this returns.
    pub fn commit<T>(
        &mut self,
        change: impl FnOnce(&Tx<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let tx = Tx {
            chain: self.chain,
            tx: self.db.transaction_with_behavior(TransactionBehavior::Immediate)?,
        };
        let result = change(&tx)?;
        tx.tx.commit()?;
        Ok(result)
    }

    fn connect(path: &Path, fresh: Id) -> Result<Self, LedgerError> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "cache_size", -256)?;
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > VERSION + 1 {
            return Err(LedgerError::Newer(version));
        }
        if version == 0 {
            let schema = include_str!("ledger/schema.sql");
            db.execute_batch(&format!(
                "BEGIN IMMEDIATE; {schema} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
        }
        let check: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        if check != "ok" {
            return Err(damage().into());
        }
        if let Some(chain) = newest_chain(&db)? {
            return Ok(Self { db, chain });
        }
        let mut ledger = Self { db, chain: fresh };
        ledger.start_chain(fresh)?;
        Ok(ledger)
    }
}

/// A transaction in progress.
#[derive(Debug)]
pub struct Tx<'a> {
    tx: Transaction<'a>,
    chain: Id,
}

impl Tx<'_> {
    /// Signs `draft` as the next bundle of the chain.
    pub fn append(&self, author: &Author, draft: Draft) -> Result<(), LedgerError> {
        let last = "SELECT sequence, sha256 FROM bundles WHERE ledger_id = ?1 ORDER BY sequence DESC LIMIT 1";
        let last: Option<(u64, [u8; 32])> = self
            .tx
            .prepare_cached(last)?
            .query_row([self.chain.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let sequence = last.map_or(1, |(sequence, _)| sequence + 1);
        let previous = last.map(|(_, sha256)| Digest::from_bytes(sha256));
        let last_order = self.last_sequence(author.epoch)?;
        let bundle = author.bundle(draft, self.chain, sequence, previous, last_order);
        let signed = compliance_signing::sign_bundle(&bundle, &author.key)?;
        tracing::info!(
            sequence,
            outcome = bundle.outcome.code(),
            check = bundle.check.as_deref().unwrap_or("-"),
            reason = bundle.reason,
            "evidence"
        );
        self.tx
            .prepare_cached(
                "INSERT INTO bundles (ledger_id, sequence, id, sha256, json, sig, dsse) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                self.chain.to_string(),
                sequence,
                bundle.id.to_string(),
                Digest::of(signed.json.as_slice()).as_bytes(),
                signed.json.as_slice(),
                signed.sig.as_slice(),
                signed.dsse.as_slice(),
            ])?;
        Ok(())
    }
}

fn newest_chain(db: &Connection) -> Result<Option<Id>, LedgerError> {
    let newest = "SELECT id FROM ledgers ORDER BY n DESC LIMIT 1";
    let chain: Option<String> = db.query_row(newest, [], |row| row.get(0)).optional()?;
    chain.map(|id| id.parse().map_err(|_| LedgerError::Unreadable("chain id"))).transpose()
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn damage() -> rusqlite::Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(corrupt, Some("quick_check found damage".to_owned()))
}

/// Renames a damaged ledger with its write-ahead log; nothing is deleted.
fn move_aside(path: &Path, boottime: Span) -> Result<(), LedgerError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let mut to = path.as_os_str().to_owned();
        to.push(format!(".damaged-{}{suffix}", boottime.as_millis()));
        match std::fs::rename(&from, &to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(LedgerError::Aside { path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}
