//! The tables, and how a connection is set up. Migrations only add.

use rusqlite::{Connection, OptionalExtension as _};

use super::StoreError;

/// The schema that this release writes; `PRAGMA user_version`.
const VERSION: i64 = 1;

/// Sets the connection up for writing, and makes the tables of a new file.
pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA busy_timeout = 5000;
         PRAGMA cache_size = -16384;",
    )?;
    connection.set_prepared_statement_cache_capacity(128);
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).optional()?.unwrap_or(0);
    match found {
        0 => connection.execute_batch(TABLES)?,
        VERSION => (),
        _ => return Err(StoreError::Newer { found, known: VERSION }),
    }
    Ok(connection.execute_batch(INDEXES)?)
}

/// Indexes that came after their tables. Any release that knows the tables can do with or without them.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS evidence_by_check ON evidence (ledger, check_id, sequence);
CREATE INDEX IF NOT EXISTS evidence_by_outcome ON evidence (ledger, outcome, sequence);
";

/// Times are milliseconds since 1970, digests 32 bytes, ids and names their text.
const TABLES: &str = "
BEGIN;

CREATE TABLE sites (
    site          INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    epoch         INTEGER NOT NULL,
    trust_version INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    last_seen     INTEGER,
    last_head_at  INTEGER
) STRICT;

CREATE TABLE trust_files (
    site     INTEGER NOT NULL REFERENCES sites,
    version  INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    taken_at INTEGER NOT NULL,
    PRIMARY KEY (site, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    site           INTEGER NOT NULL REFERENCES sites,
    epoch          INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    id             TEXT NOT NULL,
    payload_sha256 BLOB NOT NULL,
    envelope       BLOB NOT NULL,
    action         TEXT NOT NULL,
    starts         TEXT NOT NULL CHECK (starts IN ('window', 'now')),
    issued_at      INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    pushed_at      INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('open', 'done', 'withdrawn')),
    outcome        TEXT,
    reason         TEXT,
    PRIMARY KEY (site, epoch, sequence)
) STRICT;
CREATE INDEX orders_open ON orders (site, epoch, sequence) WHERE state = 'open';
CREATE INDEX orders_by_payload ON orders (site, payload_sha256);

-- One row a chain. Its number grows with the chain's first arrival: the greatest is the newest ledger.
CREATE TABLE ledgers (
    ledger              INTEGER PRIMARY KEY,
    site                INTEGER NOT NULL REFERENCES sites,
    epoch               INTEGER NOT NULL,
    ledger_id           TEXT NOT NULL,
    bundles             INTEGER NOT NULL,
    head_sequence       INTEGER NOT NULL,
    head_sha256         BLOB NOT NULL,
    last_order_sequence INTEGER NOT NULL,
    UNIQUE (site, epoch, ledger_id)
) STRICT;
CREATE INDEX ledgers_newest ON ledgers (site, epoch, ledger);

-- The leaf's number in the evidence log is the row's number. Rows are never changed.
CREATE TABLE evidence (
    leaf            INTEGER PRIMARY KEY,
    site            INTEGER NOT NULL REFERENCES sites,
    ledger          INTEGER NOT NULL REFERENCES ledgers,
    sequence        INTEGER NOT NULL,
    sha256          BLOB NOT NULL,
    previous_sha256 BLOB,
    id              TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    check_id        TEXT,
    reason          TEXT NOT NULL,
    detail          TEXT NOT NULL,
    finished_at     INTEGER NOT NULL,
    received_at     INTEGER NOT NULL,
    order_id        TEXT,
    order_sequence  INTEGER,
    order_sha256    BLOB,
    json            BLOB NOT NULL,
    sig             BLOB NOT NULL,
    dsse            BLOB NOT NULL,
    UNIQUE (ledger, sequence)
) STRICT;
CREATE INDEX evidence_by_site ON evidence (site, leaf);
CREATE INDEX evidence_by_order ON evidence (site, order_sequence) WHERE order_sequence IS NOT NULL;
CREATE TRIGGER evidence_is_kept BEFORE DELETE ON evidence
    BEGIN SELECT RAISE(ABORT, 'evidence is never deleted'); END;
CREATE TRIGGER evidence_is_not_changed BEFORE UPDATE ON evidence
    BEGIN SELECT RAISE(ABORT, 'evidence is never changed'); END;

-- The hashes of complete subtrees of the log, by their place in the order in which they are completed.
CREATE TABLE nodes (
    place INTEGER PRIMARY KEY,
    hash  BLOB NOT NULL
) STRICT;

-- One row: the size of the log and its signed checkpoint, as of the last transaction that appended.
CREATE TABLE log_head (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint TEXT NOT NULL
) STRICT;

-- What each check found last; a bundle of an older ledger or sequence changes nothing.
CREATE TABLE check_states (
    site        INTEGER NOT NULL REFERENCES sites,
    check_id    TEXT NOT NULL,
    state       TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    at          INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    ledger      INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    PRIMARY KEY (site, check_id)
) STRICT, WITHOUT ROWID;

-- An appliance's request for a new certificate, and the answer once an operator has put it.
CREATE TABLE certificates (
    site         INTEGER PRIMARY KEY REFERENCES sites,
    request      TEXT NOT NULL,
    public_key   BLOB NOT NULL,
    requested_at INTEGER NOT NULL,
    certificate  TEXT
) STRICT;

PRAGMA user_version = 1;
COMMIT;
";
