//! The evidence log: its signed checkpoint, and the hashes of its complete subtrees.

use std::cell::RefCell;
use std::collections::HashMap;

use compliance_protocol::digest::Digest;
use compliance_protocol::tlog;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::row::{digest, int, number};
use super::{SignCheckpoint, StoreError, View};

/// The evidence log at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// The number of leaves.
    pub size: u64,
    /// The root of its tree.
    pub root: Digest,
    /// The signed checkpoint at that size, a C2SP signed note.
    pub checkpoint: String,
}

/// Reads nodes, each from the database at most once: the proofs of one request share most of theirs.
#[derive(Debug)]
pub struct Nodes<'c> {
    connection: &'c Connection,
    known: RefCell<HashMap<u64, Digest>>,
}

impl View<'_> {
    /// The evidence log at the view's moment.
    pub fn log_head(&self) -> Result<LogHead, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT size, root, checkpoint FROM log_head")?
            .query_row([], |row| {
                let root = Digest::from_bytes(row.get(1)?);
                Ok(LogHead { size: number(row, 0)?, root, checkpoint: row.get(2)? })
            })?)
    }

    /// A reader of the evidence log's nodes.
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes::of(self.connection)
    }
}

impl<'c> Nodes<'c> {
    pub(super) fn of(connection: &'c Connection) -> Self {
        Self { connection, known: RefCell::new(HashMap::new()) }
    }

    /// The hash of node `index` of `level`, as [`compliance_protocol::tlog`] addresses it.
    pub fn read(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let place = place(level, index);
        if let Some(hash) = self.known.borrow().get(&place) {
            return Ok(*hash);
        }
        let hash = self
            .connection
            .prepare_cached("SELECT hash FROM nodes WHERE place = ?1")?
            .query_row(params![int(place)], |row| digest(row, 0))
            .optional()?
            .ok_or(StoreError::Damaged("a node of the evidence log is missing"))?;
        self.known.borrow_mut().insert(place, hash);
        Ok(hash)
    }

    pub(super) fn insert(&self, level: u8, index: u64, hash: Digest) -> Result<(), StoreError> {
        let place = place(level, index);
        self.connection
            .prepare_cached("INSERT INTO nodes (place, hash) VALUES (?1, ?2)")?
            .execute(params![int(place), hash.as_bytes()])?;
        self.known.borrow_mut().insert(place, hash);
        Ok(())
    }

    /// Forgets what it read or wrote, after some of it was undone.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
    }
}

/// The number of leaves.
pub(super) fn size(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(max(leaf), -1) + 1 FROM evidence";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| number(row, 0))?)
}

/// Signs and stores the checkpoint of a log of `size` leaves.
pub(super) fn seal(nodes: &Nodes<'_>, size: u64, sign: &SignCheckpoint) -> Result<(), StoreError> {
    let root = tlog::root(size, |level, index| nodes.read(level, index))?;
    let checkpoint = sign(size, root).map_err(StoreError::Checkpoint)?;
    nodes
        .connection
        .prepare_cached(
            "INSERT OR REPLACE INTO log_head (one, size, root, checkpoint) VALUES (1, ?1, ?2, ?3)",
        )?
        .execute(params![int(size), root.as_bytes(), checkpoint])?;
    Ok(())
}

/// The place of a node in the order in which nodes are completed, which makes inserts appends. It is
/// `StoredHashIndex` of Go's `sumdb/tlog`.
fn place(level: u8, index: u64) -> u64 {
    let mut leaf = index;
    for _ in 0..level {
        leaf = leaf * 2 + 1;
    }
    let mut place = u64::from(level);
    while leaf > 0 {
        place += leaf;
        leaf >>= 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_protocol::tlog::{leaf_hash, stored_hashes};

    #[test]
    fn nodes_are_placed_without_gaps_in_the_order_in_which_they_are_completed() {
        let mut next = 0;
        for size in 0..1000 {
            let completed =
                stored_hashes::<()>(size, leaf_hash(b""), |_, _| Ok(leaf_hash(b""))).unwrap();
            for (level, index, _) in completed {
                assert_eq!(place(level, index), next, "({level}, {index})");
                next += 1;
            }
        }
    }
}
