-- What vendors POST to us by themselves. A row is there, fsynced, before anybody asks whose it is.

CREATE TABLE callbacks (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    peer         TEXT    NOT NULL,
    content_type TEXT,
    size         INTEGER NOT NULL,
    -- The same for two that say the same, however they were written: the second is only counted.
    fingerprint  TEXT    NOT NULL,
    repeats      INTEGER NOT NULL DEFAULT 0,
    last_at      INTEGER NOT NULL,
    -- What it says, as far as it could be read; a stranger's word.
    vin          TEXT,
    check_type   TEXT,
    status       TEXT,
    ids          TEXT    NOT NULL,
    -- Why it could not be read.
    unreadable   TEXT,
    job_id       INTEGER,
    matched_at   INTEGER,
    -- matched, assigned (by an operator), answered (names a job that has its answer).
    how          TEXT,
    CHECK ((job_id IS NULL) = (matched_at IS NULL)),
    CHECK ((job_id IS NULL) = (how IS NULL))
) STRICT;
CREATE UNIQUE INDEX callbacks_once ON callbacks (account, fingerprint);
CREATE INDEX callbacks_open     ON callbacks (id) WHERE job_id IS NULL;
CREATE INDEX callbacks_open_vin ON callbacks (account, vin, id) WHERE job_id IS NULL;
CREATE INDEX callbacks_job      ON callbacks (job_id) WHERE job_id IS NOT NULL;

-- As it came: a small one here, a large one in a file named by its SHA-256.
CREATE TABLE callback_bodies (
    callback_id INTEGER PRIMARY KEY REFERENCES callbacks (id) ON DELETE CASCADE,
    body        BLOB,
    sha256      TEXT,
    CHECK ((body IS NULL) <> (sha256 IS NULL))
) STRICT;
CREATE INDEX callback_bodies_file ON callback_bodies (sha256) WHERE sha256 IS NOT NULL;

-- Files that belong to a job, by the name under which it shows them.
CREATE TABLE job_files (
    job_id       INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    sha256       TEXT    NOT NULL,
    content_type TEXT,
    size         INTEGER NOT NULL,
    callback_id  INTEGER,
    PRIMARY KEY (job_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_files_hash ON job_files (sha256);

-- Whose call-back it may be: by the car, and by what the vendor calls the job. Params that are no JSON (a damaged row) are
-- no car's.
CREATE INDEX bodies_vin ON bodies (CASE WHEN json_valid(params) THEN json_extract(params, '$.vin') END)
    WHERE CASE WHEN json_valid(params) THEN json_extract(params, '$.vin') END IS NOT NULL;
CREATE INDEX jobs_remote_id ON jobs (remote_id, account) WHERE remote_id IS NOT NULL;
