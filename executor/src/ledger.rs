//! The ledger: everything the executor remembers, in one SQLite file (WAL, `synchronous=FULL`).
//!
//! State and the evidence of it change in one transaction ([`Ledger::commit`]): after a power cut
//! there is either both or neither.

mod facts;
mod heals;
mod intents;
mod orders;
mod outbox;
mod retention;
mod states;

pub use facts::{Fact, LogHead};
pub use heals::Source;
pub use intents::{Intent, IntentId, OnRecord, Trigger as IntentTrigger};
pub use orders::{OrderRow, OrderState};
pub use outbox::{MAX_PENDING, StoredBundle};
pub use retention::Prefix;
pub use states::Document;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use compliance_checks::CheckId;
use compliance_protocol::digest::Digest;
use compliance_protocol::json::JsonError;
use compliance_protocol::name::Id;
use compliance_protocol::time::Span;
use compliance_protocol::trust::Trust;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::evidence::{Author, Draft, Place};

const VERSION: i64 = 1;

const SCHEMA: &str = include_str!("ledger/schema.sql");

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite's own words.
    #[error("the ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// There is none.
    #[error(
        "there is no ledger {0}: enrol this appliance first, with `compliance-executor enrol --config FILE`"
    )]
    Missing(PathBuf),
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
    /// There was none: this one is new.
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
    /// one; `boottime` names a damaged file that is moved aside. A ledger counts as new until
    /// [`Fact::New`] is cleared, when that was reported or is as it should be.
    pub fn open(path: &Path, fresh: Id, boottime: Span) -> Result<(Self, Opened), LedgerError> {
        let there = file_len(path) > 0;
        if !there && file_len(&beside(path, "-wal")) == 0 {
            return Self::create(path, fresh, Opened::Absent);
        }
        // SQLite would delete the write-ahead log of a file that is gone or empty.
        let opened = if there { Self::connect(path) } else { Err(damage().into()) };
        match opened {
            Ok(ledger) => {
                let opened = ledger.opened()?;
                Ok((ledger, opened))
            }
            Err(error) if is_damage(&error) => {
                tracing::error!(%error, path = %path.display(), "the ledger is damaged; it is moved aside");
                move_aside(path, boottime)?;
                Self::create(path, fresh, Opened::Damaged)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the ledger at `path` beside the process that keeps it: it must be there and whole, and
    /// nothing is repaired.
    pub fn join(path: &Path) -> Result<Self, LedgerError> {
        Self::attach(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens the ledger at `path` for reading only; it must be there.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        Self::attach(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// The identity of the current chain.
    pub fn chain(&self) -> Id {
        self.chain
    }

    /// Changes the ledger in one transaction, which is on disk when this returns.
    pub fn commit<T>(
        &mut self,
        change: impl FnOnce(&Tx<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let tx = Tx {
            chain: Cell::new(self.chain),
            tx: self.db.transaction_with_behavior(TransactionBehavior::Immediate)?,
        };
        let result = change(&tx)?;
        let Tx { tx, chain } = tx;
        tx.commit()?;
        self.chain = chain.get();
        Ok(result)
    }

    fn attach(path: &Path, how: OpenFlags) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing(path.to_owned()));
        }
        let db = Connection::open_with_flags(path, how)?;
        db.pragma_update(None, "synchronous", "FULL")?;
        let chain = newest_chain(&db)?;
        Ok(Self { db, chain })
    }

    fn connect(path: &Path) -> Result<Self, LedgerError> {
        let db = connection(path)?;
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            1.. if version > VERSION + 1 => return Err(LedgerError::Newer(version)),
            1.. => {}
            _ => return Err(damage().into()),
        }
        // The whole file; and the indices by which it is found that a sequence was consumed.
        for check in ["quick_check", "integrity_check(orders)"] {
            let found: String = db.query_row(&format!("PRAGMA {check}"), [], |row| row.get(0))?;
            if found != "ok" {
                return Err(damage().into());
            }
        }
        let chain = newest_chain(&db)?;
        let ledger = Self { db, chain };
        // What a newer release wrote and this one cannot read is no damage.
        if version <= VERSION {
            ledger.look_through()?;
        }
        Ok(ledger)
    }

    fn create(path: &Path, fresh: Id, why: Opened) -> Result<(Self, Opened), LedgerError> {
        let db = connection(path)?;
        let mut ledger = Self { db, chain: fresh };
        ledger.commit(|tx| {
            tx.tx.execute_batch(SCHEMA)?;
            tx.tx.pragma_update(None, "user_version", VERSION)?;
            tx.start_chain(fresh)?;
            tx.set_fact(Fact::New, why.name())
        })?;
        Ok((ledger, why))
    }

    /// Whether a newer release has written to it: a rollback brings an older one back to the same ledger.
    /// A release raises the schema version before it writes anything that the one before cannot read.
    fn is_newer(&self) -> Result<bool, LedgerError> {
        let version: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(version > VERSION)
    }

    fn opened(&self) -> Result<Opened, LedgerError> {
        Ok(self.fact(Fact::New)?.unwrap_or(Opened::Found))
    }

    /// Reads what the engine will read, so that a damaged value is found now and not amid something.
    fn look_through(&self) -> Result<(), LedgerError> {
        let fresh = Connection::open_in_memory()?;
        fresh.execute_batch(SCHEMA)?;
        if schema(&self.db)? != schema(&fresh)? {
            return Err(LedgerError::Unreadable("table"));
        }
        self.opened()?;
        self.facts_are_readable()?;
        self.evidence_head()?;
        self.open_orders()?;
        self.open_intents()?;
        for check in CheckId::ALL {
            self.state(check)?;
        }
        for envelope in self.documents(Document::Trust)? {
            Trust::first(&envelope).map_err(|_| LedgerError::Unreadable("trust file"))?;
        }
        Ok(())
    }
}

impl Opened {
    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Damaged => "damaged",
        }
    }
}

impl FromStr for Opened {
    type Err = LedgerError;

    fn from_str(name: &str) -> Result<Self, LedgerError> {
        [Self::Absent, Self::Damaged]
            .into_iter()
            .find(|opened| opened.name() == name)
            .ok_or(LedgerError::Unreadable("mark of a new ledger"))
    }
}

/// A transaction in progress.
#[derive(Debug)]
pub struct Tx<'a> {
    tx: Transaction<'a>,
    chain: Cell<Id>,
}

impl Tx<'_> {
    /// Starts a new chain in the same ledger.
    pub fn start_chain(&self, fresh: Id) -> Result<(), LedgerError> {
        self.tx.execute("INSERT INTO ledgers (id) VALUES (?1)", [fresh.to_string()])?;
        self.chain.set(fresh);
        Ok(())
    }

    /// Signs `draft` as the next bundle of the chain. A chain is of one epoch: the first bundle of
    /// another begins a new chain.
    pub fn append(&self, author: &Author, draft: Draft) -> Result<(), LedgerError> {
        let mut last = self.last_bundle()?;
        if last.as_ref().is_some_and(|last| last.epoch != author.epoch) {
            self.start_chain(draft.id())?;
            last = None;
        }
        let sequence = last.as_ref().map_or(1, |last| last.sequence + 1);
        let previous = last.map(|last| last.sha256);
        let last_order = self.last_sequence(author.epoch)?;
        let chain = self.chain.get();
        let place = Place { ledger_id: chain, sequence, previous_sha256: previous };
        let (bundle, signed) = author.sign(draft, place, last_order)?;
        tracing::info!(
            sequence,
            outcome = bundle.outcome.code(),
            check = bundle.check.as_deref().unwrap_or("-"),
            reason = bundle.reason,
            "evidence"
        );
        self.tx
            .prepare_cached(
                "INSERT INTO bundles (ledger_id, epoch, sequence, id, sha256, json, sig, dsse) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                chain.to_string(),
                author.epoch,
                sequence,
                bundle.id.to_string(),
                Digest::of(signed.json.as_slice()).as_bytes(),
                signed.json.as_slice(),
                signed.sig.as_slice(),
                signed.dsse.as_slice(),
            ])?;
        Ok(())
    }

    fn last_bundle(&self) -> Result<Option<Last>, LedgerError> {
        let sql = "SELECT epoch, sequence, sha256 FROM bundles WHERE ledger_id = ?1 \
                   ORDER BY sequence DESC LIMIT 1";
        let last = self.tx.prepare_cached(sql)?.query_row([self.chain.get().to_string()], |row| {
            let sha256 = Digest::from_bytes(row.get(2)?);
            Ok(Last { epoch: row.get(0)?, sequence: row.get(1)?, sha256 })
        });
        Ok(last.optional()?)
    }
}

struct Last {
    epoch: u64,
    sequence: u64,
    sha256: Digest,
}

fn connection(path: &Path) -> Result<Connection, LedgerError> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -256)?;
    Ok(db)
}

/// The statements that made the tables.
fn schema(db: &Connection) -> Result<Vec<Option<String>>, LedgerError> {
    let mut statement = db.prepare("SELECT sql FROM sqlite_schema ORDER BY type, name")?;
    let all = statement.query_map([], |row| row.get(0))?;
    Ok(all.collect::<Result<_, _>>()?)
}

fn newest_chain(db: &Connection) -> Result<Id, LedgerError> {
    let newest = "SELECT id FROM ledgers ORDER BY n DESC LIMIT 1";
    let chain: Option<String> = db.query_row(newest, [], |row| row.get(0)).optional()?;
    chain.and_then(|id| id.parse().ok()).ok_or(LedgerError::Unreadable("chain id"))
}

/// Whether it is the file that is at fault: what SQLite calls so, and a value that is not what was written.
fn is_damage(error: &LedgerError) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    match error {
        LedgerError::Sqlite(error) => match error.sqlite_error_code() {
            // SQLite's plain "error" is what it says when a table of ours is not there.
            Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | Unknown),
            None => true,
        },
        LedgerError::Unreadable(_) => true,
        LedgerError::Evidence(_)
        | LedgerError::Missing(_)
        | LedgerError::Newer(_)
        | LedgerError::Aside { .. } => false,
    }
}

fn damage() -> rusqlite::Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(corrupt, Some("the file is not as it was written".to_owned()))
}

/// Renames a damaged ledger with its write-ahead log; nothing is deleted.
fn move_aside(path: &Path, boottime: Span) -> Result<(), LedgerError> {
    for suffix in ["", "-wal", "-shm"] {
        let from = beside(path, suffix);
        let to = beside(path, &format!(".damaged-{}{suffix}", boottime.as_millis()));
        match std::fs::rename(&from, &to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(LedgerError::Aside { path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}
