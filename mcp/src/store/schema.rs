//! The tables, and how a connection is set up. Migrations only add.

use rusqlite::{Connection, OptionalExtension as _};

use super::StoreError;

/// The schema that this release writes; `PRAGMA user_version`.
const VERSION: i64 = 2;

/// The newest schema that this release opens, and leaves as it is: whoever goes back to it finds what the next one made.
const NEXT: i64 = VERSION + 1;

/// Sets the connection up for writing, makes the tables of a new file, and adds what an older one lacks.
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
    // Each step is a transaction that ends with the version it made: one that is cut off begins again.
    let steps: &[&str] = match found {
        0 => &[TABLES, OUTBOX],
        1 => &[OUTBOX],
        VERSION..=NEXT => &[],
        _ => return Err(StoreError::Newer { found, known: NEXT }),
    };
    steps.iter().try_for_each(|step| connection.execute_batch(step))?;
    Ok(connection.execute_batch(INDEXES)?)
}

/// Indexes that came after their tables. Any release that knows the tables can do with or without them. The summary
/// of a round, which is most of what comes, is in neither: it is about no check, and a success.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS evidence_by_check ON evidence (ledger, check_id, sequence)
    WHERE check_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS evidence_by_outcome ON evidence (ledger, outcome, sequence)
    WHERE outcome <> 'success';
";

/// Version 1. Times are milliseconds since 1970, digests 32 bytes, ids and names their text.
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

/// Version 2: what happened, in the order of commits, for those who carry it elsewhere. An event only points at
/// what it is about, which stays, so that events can stay as well. Triggers write those of orders, whichever
/// code changes one; on evidence a trigger would cost 14 µs a bundle, for its journal, and an insert costs 3.
const OUTBOX: &str = "
BEGIN;

-- When the order was withdrawn, or its outcome recorded.
ALTER TABLE orders ADD COLUMN changed_at INTEGER;

CREATE TABLE events (
    event    INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL CHECK (kind IN ('evidence', 'alert', 'order')),
    leaf     INTEGER,
    site     INTEGER,
    epoch    INTEGER,
    sequence INTEGER,
    state    TEXT,
    outcome  TEXT,
    at       INTEGER,
    FOREIGN KEY (site, epoch, sequence) REFERENCES orders
) STRICT;
CREATE TRIGGER events_are_kept BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;

CREATE TRIGGER a_new_order_is_an_event AFTER INSERT ON orders BEGIN
    INSERT INTO events (kind, site, epoch, sequence, state, outcome, at)
        VALUES ('order', new.site, new.epoch, new.sequence, new.state, new.outcome, new.pushed_at);
END;
CREATE TRIGGER a_changed_order_is_an_event AFTER UPDATE OF state, outcome ON orders
    WHEN new.state IS NOT old.state OR new.outcome IS NOT old.outcome BEGIN
    INSERT INTO events (kind, site, epoch, sequence, state, outcome, at)
        VALUES ('order', new.site, new.epoch, new.sequence, new.state, new.outcome, new.changed_at);
END;

-- How far each carrier has brought events to where they go.
CREATE TABLE carriers (
    name         TEXT PRIMARY KEY,
    acknowledged INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
COMMIT;
";

#[cfg(test)]
mod tests {
    use super::*;

    /// A database as version 1 left it: a site with one order that is open, and one bundle.
    fn version_1() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection
            .execute_batch(
                "INSERT INTO sites VALUES (1, 'clinic-a', 1, 1, 0, NULL, NULL);
                 INSERT INTO orders VALUES (1, 1, 1, 'id', x'00', x'00', 'reboot', 'now', 0, 0, 0, 'open', NULL, NULL);
                 INSERT INTO ledgers VALUES (1, 1, 1, 'ledger', 1, 1, x'00', 0);",
            )
            .unwrap();
        store_bundle(&connection, 0);
        connection
    }

    fn store_bundle(connection: &Connection, leaf: i64) {
        let sql = "INSERT INTO evidence VALUES (?1, 1, 1, ?1 + 1, x'00', NULL, 'id', 'alert', NULL, 'r', 'd', 0, 0,
                       NULL, NULL, NULL, x'00', x'00', x'00')";
        connection.execute(sql, [leaf]).unwrap();
    }

    /// Number, kind, leaf, state and time of each event.
    type Row = (i64, String, Option<i64>, Option<String>, Option<i64>);

    fn events(connection: &Connection) -> Vec<Row> {
        let sql = "SELECT event, kind, leaf, state, at FROM events ORDER BY event";
        let mut statement = connection.prepare(sql).unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn version(connection: &Connection) -> i64 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_database_of_version_1_is_migrated_and_what_happens_from_then_on_is_an_event() {
        let connection = version_1();
        assert_eq!(version(&connection), 1);
        prepare(&connection).unwrap();
        assert_eq!(version(&connection), VERSION);
        assert_eq!(events(&connection), []);
        store_bundle(&connection, 1);
        connection.execute("UPDATE orders SET state = 'withdrawn', changed_at = 7", []).unwrap();
        connection.execute("UPDATE orders SET state = 'withdrawn', changed_at = 8", []).unwrap();
        let word = |word: &str| Some(word.to_owned());
        let expected = [(1, "order".to_owned(), None, word("withdrawn"), Some(7))];
        assert_eq!(events(&connection), expected);
        let kept: i64 =
            connection.query_row("SELECT count(*) FROM evidence", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 2);
        // Opened once more, it is left as it is.
        prepare(&connection).unwrap();
        assert_eq!(events(&connection), expected);
    }

    #[test]
    fn a_migration_that_is_cut_off_leaves_version_1_and_begins_again() {
        let connection = version_1();
        let half = OUTBOX.split_once("CREATE TABLE carriers").unwrap().0;
        connection.execute_batch(half).unwrap();
        connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!(version(&connection), 1);
        prepare(&connection).unwrap();
        assert_eq!(version(&connection), VERSION);
    }

    #[test]
    fn what_the_next_release_has_added_is_left_as_it_is_and_the_one_after_that_is_not_opened() {
        let connection = Connection::open_in_memory().unwrap();
        prepare(&connection).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        prepare(&connection).unwrap();
        assert_eq!(version(&connection), VERSION + 1);
        connection.pragma_update(None, "user_version", VERSION + 2).unwrap();
        assert!(matches!(prepare(&connection), Err(StoreError::Newer { .. })));
    }

    #[test]
    fn events_are_neither_changed_nor_deleted() {
        let connection = version_1();
        prepare(&connection).unwrap();
        connection.execute("INSERT INTO events (kind, leaf) VALUES ('evidence', 0)", []).unwrap();
        assert!(connection.execute("DELETE FROM events", []).is_err());
        assert!(connection.execute("UPDATE events SET kind = 'alert'", []).is_err());
    }
}
