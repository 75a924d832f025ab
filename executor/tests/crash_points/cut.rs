//! The prefixes of the write-ahead log that a power cut can leave.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::path::Path;

use compliance_protocol::digest::Digest;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::common::temp_dir;
use crate::record::{Moment, Recording};

/// A cut: what the disk holds, and how things stood.
#[derive(Clone)]
pub(crate) struct Cut<'a> {
    /// How much of the log is on the disk.
    pub(crate) wal: usize,
    /// How things stood.
    pub(crate) moment: &'a Moment,
    /// The machine was restarted, too.
    pub(crate) next_boot: bool,
}

impl fmt::Debug for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wal, moment, next_boot } = self;
        write!(f, "{wal} bytes of the log, {}, next boot {next_boot}", moment.what)
    }
}

/// All prefixes, and those of them that differ in what the disk or the host holds. That the others hold
/// the same as one of these is checked here.
pub(crate) fn cuts(recording: &Recording) -> (usize, Vec<Cut<'_>>) {
    let commits = commits(&recording.wal);
    let mut distinct = Vec::new();
    for wal in &commits {
        for (n, moment) in recording.moments_at(*wal).into_iter().enumerate() {
            let next_boot = (distinct.len() + n) % 2 == 1;
            distinct.push(Cut { wal: *wal, moment, next_boot });
        }
    }
    let torn = torn_cuts(&recording.wal, &commits);
    let mut known: Option<(usize, Digest)> = None;
    for wal in &torn {
        let whole = *commits.iter().rev().find(|commit| *commit <= wal).unwrap();
        if known.is_none_or(|(at, _)| at != whole) {
            known = Some((whole, contents(recording, whole)));
        }
        assert_eq!(Some((whole, contents(recording, *wal))), known, "a torn commit is no commit");
    }
    (commits.len() + torn.len(), distinct)
}

const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

/// The lengths of the log after each commit: a frame that ends one says how large the file is then
/// (<https://sqlite.org/fileformat2.html#walformat>).
fn commits(wal: &[u8]) -> Vec<usize> {
    assert_eq!((wal.len() - HEADER) % FRAME, 0, "whole frames of one page size");
    let ends = (HEADER..wal.len()).step_by(FRAME);
    let ends = ends.filter(|at| wal[at + 4..at + 8] != [0; 4]).map(|at| at + FRAME);
    [0].into_iter().chain(ends).collect()
}

/// Every other frame boundary, and for each frame a place inside it.
fn torn_cuts(wal: &[u8], commits: &[usize]) -> Vec<usize> {
    let commits: BTreeSet<_> = commits.iter().collect();
    let boundaries = (HEADER..=wal.len()).step_by(FRAME);
    let inside = (HEADER..wal.len()).step_by(FRAME).enumerate();
    let inside = inside.map(|(n, at)| at + [1, 12, 24, 25, 2000, FRAME - 1][n % 6]);
    let mut all: Vec<_> = boundaries.chain(inside).filter(|at| !commits.contains(at)).collect();
    all.sort_unstable();
    all
}

/// A folder with the ledger as a cut leaves it.
pub(crate) fn disk(recording: &Recording, wal: usize) -> TempDir {
    let dir = temp_dir();
    std::fs::write(dir.path().join("ledger.db"), &recording.base).unwrap();
    std::fs::write(dir.path().join("ledger.db-wal"), &recording.wal[..wal]).unwrap();
    dir
}

/// The digest of all that the ledger holds after a cut.
fn contents(recording: &Recording, wal: usize) -> Digest {
    let dir = disk(recording, wal);
    Digest::of(dump(&dir.path().join("ledger.db")).as_bytes())
}

fn dump(path: &Path) -> String {
    let db = Connection::open(path).unwrap();
    let mut text = String::new();
    for table in [
        "ledgers",
        "bundles",
        "orders",
        "intents",
        "heals",
        "refusals",
        "states",
        "documents",
        "facts",
    ] {
        let mut statement = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                write!(text, "{:?}|", row.get_ref(column).unwrap()).unwrap();
            }
        }
    }
    text
}
