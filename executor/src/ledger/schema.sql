-- The ledger, version 1. Migrations only add: an older executor may have to open a newer ledger.

CREATE TABLE ledgers (               -- chain identities; the newest is the current one
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE bundles (               -- evidence, exactly as signed
    n           INTEGER PRIMARY KEY, -- in the order made, over all chains
    ledger_id   TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    sha256      BLOB NOT NULL,
    json        BLOB NOT NULL,
    sig         BLOB NOT NULL,
    dsse        BLOB NOT NULL,
    receipt     TEXT,                -- a verified tlog-proof
    refused     TEXT,                -- why the control plane did not take it, as the agent said
    refused_ms  INTEGER,             -- when it said so last: it is offered again a day later
    UNIQUE (ledger_id, sequence)
) STRICT;
CREATE INDEX bundles_pending ON bundles (n) WHERE receipt IS NULL;

CREATE TABLE orders (                -- each consumed sequence, with the exact envelope
    epoch          INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    id             TEXT NOT NULL,
    payload_sha256 BLOB NOT NULL,
    envelope       BLOB NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('waiting', 'started', 'done')),
    accepted       INTEGER NOT NULL CHECK (accepted IN (0, 1)), -- its time was checked on arrival
    hold           TEXT,             -- why it waits, as last put into evidence
    retry_after    TEXT,
    PRIMARY KEY (epoch, sequence)
) STRICT;
CREATE INDEX orders_open ON orders (sequence) WHERE state <> 'done';
CREATE UNIQUE INDEX orders_id ON orders (id);

CREATE TABLE intents (               -- what is being done, written before it is
    n           INTEGER PRIMARY KEY,
    json        TEXT NOT NULL
) STRICT;

CREATE TABLE heals (                 -- attempts at healing without an order, for rate limits
    n           INTEGER PRIMARY KEY,
    subject     TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    healed      INTEGER NOT NULL CHECK (healed IN (0, 1))
) STRICT;
CREATE INDEX heals_subject ON heals (subject, at_ms);

CREATE TABLE refusals (              -- digests of what is put into evidence once, and a few times an hour at most
    digest      BLOB PRIMARY KEY,
    source      TEXT NOT NULL CHECK (source IN ('handed', 'head')),
    at_ms       INTEGER NOT NULL
) STRICT;
CREATE INDEX refusals_at ON refusals (source, at_ms);

CREATE TABLE states (                -- each check's state as last put into evidence
    check_id    TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    since       TEXT NOT NULL
) STRICT;

CREATE TABLE documents (             -- trust files and baselines that came by order
    kind        TEXT NOT NULL CHECK (kind IN ('trust', 'baseline')),
    version     INTEGER NOT NULL,
    envelope    BLOB NOT NULL,
    PRIMARY KEY (kind, version)
) STRICT;

CREATE TABLE facts (                 -- single values: high_water, pause_until, log_size, log_root, ...
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL
) STRICT;
