-- The mailbox: the file that other programs insert into and read. Its named columns are a public interface.
--
-- Defaults, checks and triggers run inside the other program's SQLite: nothing newer than 3.37 (STRICT) stands here.
-- Times are Unix milliseconds, UTC.

CREATE TABLE jobs (
    -- Numbers are given by the mailbox and never twice, not even after the file was lost.
    id               INTEGER PRIMARY KEY AUTOINCREMENT,

    -- Written by whoever orders.
    uid              TEXT    NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
    kind             TEXT    NOT NULL,
    params           TEXT    NOT NULL DEFAULT '{}',
    account          TEXT,
    dedupe_key       TEXT,
    priority         INTEGER NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    not_before       INTEGER,
    deadline         INTEGER,
    tag              TEXT,
    -- The one column to update: 1 = stop this job as soon as its state allows.
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),

    -- Written back by opros.
    state            TEXT    NOT NULL DEFAULT 'new' CHECK (state IN
        ('new', 'queued', 'submitting', 'waiting', 'in_doubt', 'succeeded', 'failed', 'cancelled', 'expired', 'rejected')),
    job_id           INTEGER,
    remote_id        TEXT,
    error_code       TEXT,
    error            TEXT,
    result           TEXT,
    updated_at       INTEGER,
    finished_at      INTEGER
) STRICT;

CREATE UNIQUE INDEX jobs_dedupe ON jobs (dedupe_key)
    WHERE dedupe_key IS NOT NULL AND state IN ('new', 'queued', 'submitting', 'waiting', 'in_doubt');
CREATE INDEX jobs_new ON jobs (id) WHERE state = 'new';
CREATE INDEX jobs_unfinished ON jobs (id) WHERE state IN ('queued', 'submitting', 'waiting', 'in_doubt');
CREATE INDEX jobs_cancel ON jobs (id)
    WHERE cancel_requested = 1 AND state IN ('queued', 'submitting', 'waiting', 'in_doubt');
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- The events of the jobs above, numbered without gaps: remember the last seq that was read, ask for what is greater.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY,
    job      INTEGER,
    type     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    data     TEXT    NOT NULL,
    event_id TEXT    NOT NULL
) STRICT;
CREATE INDEX events_job ON events (job, seq) WHERE job IS NOT NULL;

-- Whose file this is and how far it is written; opros' own notes.
CREATE TABLE opros_meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A row that is not given a number shows -1 here.
CREATE TRIGGER jobs_insert BEFORE INSERT ON jobs BEGIN
    SELECT CASE
    WHEN NEW.id > 0 OR NEW.id < -1 THEN
        RAISE(ABORT, 'id: the mailbox gives the number; leave the column out and read last_insert_rowid()')
    WHEN NEW.uid IS NULL OR length(CAST(NEW.uid AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'uid: give a token of 1 to 200 bytes, or leave the column out for a random one')
    WHEN NEW.kind IS NULL OR length(CAST(NEW.kind AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'kind: say what to order, such as tronk.report')
    WHEN NEW.params IS NULL THEN
        RAISE(ABORT, 'params: give a JSON object such as {"phone":"79990000111"}, or leave the column out for {}')
    WHEN length(CAST(NEW.params AS BLOB)) > 65536 THEN
        RAISE(ABORT, 'params: larger than 64 KiB; send less')
    WHEN NOT json_valid(NEW.params) THEN
        RAISE(ABORT, 'params: not valid JSON; give an object such as {"phone":"79990000111"}')
    WHEN json_type(NEW.params) <> 'object' THEN
        RAISE(ABORT, 'params: not a JSON object; give one such as {"phone":"79990000111"}')
    WHEN NEW.account IS NOT NULL AND length(CAST(NEW.account AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'account: name a configured account, or leave the column out')
    WHEN NEW.dedupe_key IS NOT NULL AND length(CAST(NEW.dedupe_key AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'dedupe_key: give 1 to 200 bytes, or leave the column out')
    WHEN NEW.priority IS NULL OR NEW.priority NOT BETWEEN 0 AND 9 THEN
        RAISE(ABORT, 'priority: give a whole number from 0 (first) to 9 (last), or leave the column out for 5')
    WHEN NEW.not_before IS NOT NULL AND NEW.not_before NOT BETWEEN 0 AND 253402300799999 THEN
        RAISE(ABORT, 'not_before: give Unix milliseconds, UTC, or leave the column out')
    WHEN NEW.deadline IS NOT NULL AND NEW.deadline NOT BETWEEN 0 AND 253402300799999 THEN
        RAISE(ABORT, 'deadline: give Unix milliseconds, UTC, or leave the column out')
    WHEN NEW.tag IS NOT NULL AND length(CAST(NEW.tag AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'tag: give 1 to 200 bytes, or leave the column out')
    WHEN NEW.cancel_requested IS NOT 0 THEN
        RAISE(ABORT, 'cancel_requested: leave the column out; UPDATE it to 1 later to cancel the job')
    WHEN NEW.state IS NOT 'new' THEN
        RAISE(ABORT, 'state: opros writes it; leave the column out, every row begins as new')
    WHEN NEW.job_id IS NOT NULL THEN RAISE(ABORT, 'job_id: opros writes it; leave the column out')
    WHEN NEW.remote_id IS NOT NULL THEN RAISE(ABORT, 'remote_id: opros writes it; leave the column out')
    WHEN NEW.error_code IS NOT NULL THEN RAISE(ABORT, 'error_code: opros writes it; leave the column out')
    WHEN NEW.error IS NOT NULL THEN RAISE(ABORT, 'error: opros writes it; leave the column out')
    WHEN NEW.result IS NOT NULL THEN RAISE(ABORT, 'result: opros writes it; leave the column out')
    WHEN NEW.updated_at IS NOT NULL THEN RAISE(ABORT, 'updated_at: opros writes it; leave the column out')
    WHEN NEW.finished_at IS NOT NULL THEN RAISE(ABORT, 'finished_at: opros writes it; leave the column out')
    END;
END;

-- Not OF id, uid: `SET rowid = …` would slip through.
CREATE TRIGGER jobs_identity BEFORE UPDATE ON jobs
WHEN NEW.id IS NOT OLD.id OR NEW.uid IS NOT OLD.uid BEGIN
    SELECT RAISE(ABORT, 'id and uid: they stay what they are; insert a new row');
END;
