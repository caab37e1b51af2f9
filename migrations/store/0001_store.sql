-- The daemon's own database. Nobody else opens it; its schema is free to change, forward only.
-- Times are Unix milliseconds, UTC. States: 0 queued, 1 submitting, 2 waiting, 3 in_doubt; from 4 on a job has ended:
-- 4 succeeded, 5 failed, 6 cancelled, 7 expired, 8 rejected.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Hot rows: what the life of a job depends on. Bodies lie apart.
CREATE TABLE jobs (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    kind             TEXT    NOT NULL,
    account          TEXT    NOT NULL,
    traits           INTEGER NOT NULL,
    state            INTEGER NOT NULL CHECK (state BETWEEN 0 AND 8),
    priority         INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    due_at           INTEGER,
    deadline         INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    dedupe_key       TEXT,
    tag              TEXT,
    remote_id        TEXT,
    attempt          TEXT,
    turn             INTEGER NOT NULL DEFAULT 0,
    submissions      INTEGER NOT NULL DEFAULT 0,
    polls            INTEGER NOT NULL DEFAULT 0,
    errors           INTEGER NOT NULL DEFAULT 0,
    absences         INTEGER NOT NULL DEFAULT 0,
    doubt_since      INTEGER,
    memo             TEXT,
    seen             TEXT,
    reason_code      TEXT,
    reason           TEXT,
    created_at       INTEGER NOT NULL,
    submitted_at     INTEGER,
    updated_at       INTEGER NOT NULL,
    finished_at      INTEGER,
    mailbox_uid      TEXT,
    retry_of         INTEGER,
    CHECK ((state >= 4) = (finished_at IS NOT NULL)),
    CHECK (state < 4 OR due_at IS NULL)
) STRICT;

-- What is due, one index for each lane. SQLite uses a partial index only where the query repeats its condition.
CREATE INDEX jobs_submit_due ON jobs (account, priority, due_at) WHERE state = 0 AND due_at IS NOT NULL;
CREATE INDEX jobs_free_due   ON jobs (account, due_at) WHERE state IN (2, 3) AND due_at IS NOT NULL;
CREATE INDEX jobs_deadline   ON jobs (deadline) WHERE deadline IS NOT NULL AND state IN (0, 2);
CREATE UNIQUE INDEX jobs_dedupe ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND state < 4;
CREATE INDEX jobs_dedupe_history ON jobs (dedupe_key, id) WHERE dedupe_key IS NOT NULL;
CREATE INDEX jobs_tag        ON jobs (tag, id) WHERE tag IS NOT NULL;
-- Every state but the one that most jobs end in.
CREATE INDEX jobs_state      ON jobs (state, id) WHERE state <> 4;
CREATE INDEX jobs_finished   ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE bodies (
    job_id      INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    params      TEXT NOT NULL,
    -- SHA-256 of params as they were taken in: what is sent must be what was ordered.
    params_hash TEXT NOT NULL,
    partial     TEXT,
    result      TEXT
) STRICT;

-- The ledger: one row for each submit that may cost money, written before the first byte leaves.
CREATE TABLE attempts (
    token        TEXT    NOT NULL PRIMARY KEY,
    job_id       INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    request_hash TEXT    NOT NULL,
    epoch        INTEGER NOT NULL,
    intent_at    INTEGER NOT NULL,
    -- Its answer was lost.
    unclear_at   INTEGER,
    ended_at     INTEGER,
    -- How it ended, by evidence: not_sent, accepted, refused, absent, operator.
    outcome      TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempts_open ON attempts (job_id) WHERE outcome IS NULL;
CREATE INDEX attempts_job ON attempts (job_id, intent_at);

CREATE TABLE observations (
    id          INTEGER PRIMARY KEY,
    job_id      INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at          INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    data        TEXT    NOT NULL,
    raw         TEXT    NOT NULL
) STRICT;
CREATE INDEX observations_job ON observations (job_id, id);

CREATE TABLE events (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    type        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    job_id      INTEGER,
    account     TEXT,
    -- Of events of mailbox rows: the row, and the event's number there.
    uid         TEXT,
    mailbox_seq INTEGER,
    data        TEXT    NOT NULL
) STRICT;
CREATE INDEX events_job ON events (job_id, seq) WHERE job_id IS NOT NULL;
CREATE UNIQUE INDEX events_mailbox ON events (mailbox_seq) WHERE mailbox_seq IS NOT NULL;

CREATE TABLE calls (
    id      INTEGER PRIMARY KEY,
    account TEXT    NOT NULL,
    call    TEXT,
    op      TEXT    NOT NULL,
    job_id  INTEGER,
    jobs    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    took    INTEGER NOT NULL,
    status  INTEGER,
    outcome TEXT    NOT NULL,
    note    TEXT
) STRICT;
CREATE INDEX calls_job ON calls (job_id, id) WHERE job_id IS NOT NULL;

CREATE TABLE accounts (
    name    TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    data    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Kept by deltas in the transaction that moves a job; nothing counts rows.
CREATE TABLE counters (
    account TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    state   INTEGER NOT NULL,
    jobs    INTEGER NOT NULL,
    PRIMARY KEY (account, kind, state)
) STRICT, WITHOUT ROWID;

-- Every mailbox row that was ever taken, by its token: none is taken twice, not even out of an old copy of the file.
CREATE TABLE mailbox_rows (
    uid     TEXT    NOT NULL PRIMARY KEY,
    -- The job; of a duplicate the first one; none of a rejected row.
    job_id  INTEGER,
    -- Set where the row was rejected.
    code    TEXT,
    message TEXT,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Calendar work that was done: once for each fire time.
CREATE TABLE firings (
    schedule TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (schedule, at)
) STRICT, WITHOUT ROWID;
