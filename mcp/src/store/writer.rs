//! The thread that writes: it commits what came in together, and answers when that is on disk.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use compliance_protocol::name::Site;
use compliance_protocol::tlog;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::log::{self, Nodes};
use super::{SignCheckpoint, StoreError, View};
use crate::changes::{Change, Changes, What};

/// Writes that may wait; further ones wait for a place.
const QUEUE: usize = 256;
/// Writes that are committed together at most, so that the first of them does not wait long.
const BATCH: usize = 64;

/// Does its part of the transaction; what it returns is called after the commit.
type Job = Box<dyn FnOnce(&Tx<'_>) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Result<(), String>)>;

#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread, once the log's checkpoint is signed by the key and name that are in use now.
    pub(super) fn start(
        connection: Connection,
        sign: SignCheckpoint,
        changes: Changes,
    ) -> Result<Self, StoreError> {
        log::seal(&Nodes::of(&connection), log::size(&connection)?, &sign)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || run(&connection, &sign, &changes, queue))
            .map_err(|_| StoreError::Closed)?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn write<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let result = tx.undoable(work);
            Box::new(move |committed| {
                let committed = committed.map_err(|error| StoreError::NotCommitted(error).into());
                // Whoever asked may have gone away; what was written stays written.
                let _ = tell.send(committed.and(result));
            })
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jobs = jobs.ok_or(StoreError::Closed)?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        told.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writing thread ended in a panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The open transaction. Everything of [`View`] reads in it.
#[derive(Debug)]
pub struct Tx<'c> {
    view: View<'c>,
    nodes: Nodes<'c>,
    size: Cell<u64>,
    changes: RefCell<Vec<Change>>,
}

impl<'c> Deref for Tx<'c> {
    type Target = View<'c>;

    fn deref(&self) -> &View<'c> {
        &self.view
    }
}

impl<'c> Tx<'c> {
    fn begin(connection: &'c Connection) -> Result<Self, StoreError> {
        execute(connection, "BEGIN IMMEDIATE")?;
        let size = log::size(connection)?;
        Ok(Self {
            view: View { connection },
            nodes: Nodes::of(connection),
            size: Cell::new(size),
            changes: RefCell::default(),
        })
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.view.connection
    }

    /// Has whoever watches told of a change, once it is committed.
    pub(super) fn changed(&self, site: &Site, what: What) {
        let change = Change { site: site.clone(), what };
        let mut changes = self.changes.borrow_mut();
        if !changes.contains(&change) {
            changes.push(change);
        }
    }

    /// Appends a leaf to the evidence log and returns its number.
    pub(super) fn append_leaf(&self, entry: &[u8]) -> Result<u64, StoreError> {
        let leaf = self.size.get();
        let read = |level, index| self.nodes.read(level, index);
        for (level, index, hash) in tlog::stored_hashes(leaf, tlog::leaf_hash(entry), read)? {
            self.nodes.insert(level, index, hash)?;
        }
        self.size.set(leaf + 1);
        Ok(leaf)
    }

    /// Undoes what `work` did if it fails, and nothing of the others in this transaction.
    fn undoable<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let size = self.size.get();
        execute(self.connection(), "SAVEPOINT job")?;
        let result = work(self);
        if result.is_err() {
            execute(self.connection(), "ROLLBACK TO job")?;
            self.nodes.forget();
            self.size.set(size);
        }
        execute(self.connection(), "RELEASE job")?;
        result
    }
}

fn run(
    connection: &Connection,
    sign: &SignCheckpoint,
    changes: &Changes,
    mut queue: mpsc::Receiver<Job>,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        let mut replies = Vec::with_capacity(jobs.len());
        let committed = commit(connection, sign, jobs, &mut replies);
        if let Err(error) = &committed {
            tracing::error!(%error, "nothing of this batch was committed");
            // Outside a transaction this fails, and then there is nothing to undo.
            let _ = connection.execute_batch("ROLLBACK");
        }
        let committed = committed.map_err(|error| error.to_string());
        for reply in replies {
            reply(committed.as_ref().map(|_| ()).map_err(Clone::clone));
        }
        committed.into_iter().flatten().for_each(|change| changes.tell(change));
    }
}

/// One transaction for all of `jobs`, and one checkpoint. Returns what it changed.
fn commit(
    connection: &Connection,
    sign: &SignCheckpoint,
    jobs: Vec<Job>,
    replies: &mut Vec<Reply>,
) -> Result<Vec<Change>, StoreError> {
    let tx = Tx::begin(connection)?;
    let before = tx.size.get();
    for job in jobs {
        // A full disk ends the transaction by itself; the next job must not begin one of its own.
        if connection.is_autocommit() {
            return Err(StoreError::NotCommitted("the transaction was ended".to_owned()));
        }
        replies.push(job(&tx));
    }
    let size = tx.size.get();
    if size > before {
        log::seal(&tx.nodes, size, sign)?;
    }
    execute(connection, "COMMIT")?;
    Ok(tx.changes.take())
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
