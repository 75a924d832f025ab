//! What the control plane keeps, in one SQLite file; nothing outside this folder knows that it is SQLite.
//!
//! Reads go through a few connections, each a [`View`] of one moment. Writes go through one thread, which
//! commits what came in together as one transaction ([`Tx`]) and answers only when that is on disk.

mod certificates;
mod chain;
mod evidence;
mod log;
mod orders;
mod outbox;
mod pages;
mod readers;
mod row;
mod schema;
mod sites;
mod writer;

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use compliance_protocol::digest::Digest;
use rusqlite::Connection;

pub use certificates::CertificateRow;
pub use chain::{Gap, NewBundle, Place};
pub use evidence::{EvidenceFiles, EvidenceRow};
pub use log::{LogHead, Nodes};
pub use orders::{NewOrder, OpenRow, OrderRow, OrderState, Terminal};
pub use outbox::{Event, EventKind, EventOf, OrderChange};
pub use pages::{BoardRow, Filter, OrderLine};
pub use sites::{CheckRow, Issued, SiteRow};
pub use writer::Tx;

use crate::changes::Changes;

use readers::Readers;
use writer::Writer;

/// The database's file in the data folder.
const FILE: &str = "mcp.sqlite";

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file or folder of the store.
    #[error("the data folder {path} cannot be used: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another server has the data folder open.
    #[error("another compliance-mcp uses the data folder {0}; stop it first")]
    Busy(PathBuf),
    /// The database was made by a newer release.
    #[error(
        "the database has schema {found}, this release knows up to {known}; run the newer release"
    )]
    Newer {
        /// In the file.
        found: i64,
        /// Of this release.
        known: i64,
    },
    /// Something stored is not what was stored.
    #[error("the database is damaged: {0}; restore a backup")]
    Damaged(&'static str),
    /// What was asked could not be committed with the others of its batch.
    #[error("the write was not committed: {0}")]
    NotCommitted(String),
    /// The checkpoint could not be signed.
    #[error("the checkpoint of the evidence log could not be made: {0}")]
    Checkpoint(String),
    /// The writing thread took nothing more, or gave the batch up before it came to this write.
    #[error("nothing was written: the server is stopping, or its database failed; try again later")]
    Closed,
}

/// Signs the checkpoint of a log of this size and root.
pub type SignCheckpoint = Box<dyn Fn(u64, Digest) -> Result<String, String> + Send>;

/// The store.
#[derive(Debug)]
pub struct Store {
    readers: Readers,
    writer: Writer,
    changes: Changes,
    // Held, not read: who has the lock has the data folder.
    _lock: File,
}

impl Store {
    /// Opens the store in `folder`, which is made if need be. `sign` signs the checkpoints of its log.
    pub fn open(folder: &Path, sign: SignCheckpoint) -> Result<Self, StoreError> {
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let connection = Connection::open(&path)?;
        schema::prepare(&connection)?;
        let changes = Changes::default();
        let writer = Writer::start(connection, sign, changes.clone())?;
        Ok(Self { readers: Readers::open(&path)?, writer, changes, _lock: lock })
    }

    /// Reads at one moment: what other connections commit meanwhile is not seen. It blocks.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.readers.read(work)
    }

    /// Writes, and returns once it is on disk. An error of `work` undoes what `work` did, and only that.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.write(work).await
    }

    /// Where it is told what was committed.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Ends the writing thread after what it was given; later writes are refused.
    pub fn close(&self) {
        self.writer.close();
    }
}

/// What can be read.
#[derive(Debug)]
pub struct View<'c> {
    connection: &'c Connection,
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let unusable = |source| StoreError::Folder { path: folder.to_owned(), source };
    // What sites do is nobody's business but the server's.
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
    let lock = File::create(folder.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}
