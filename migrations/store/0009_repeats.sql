-- Orders that may be repeated: one name space of clients' tokens for every door.

-- The token of a job that was ordered at another door than the mailbox.
ALTER TABLE jobs ADD COLUMN uid TEXT;
CREATE INDEX jobs_retry ON jobs (retry_of, id) WHERE retry_of IS NOT NULL;
-- The hash of what is ordered where it is not the hash of the params' text: `force` is no part of an order.
ALTER TABLE bodies ADD COLUMN order_hash TEXT;

-- Every token that was given for an order, a retry or a decision. Its job was made by it, or was there for it.
CREATE TABLE uids (
    uid     TEXT    NOT NULL PRIMARY KEY,
    -- None of a mailbox row that was rejected, and of a row that only a newer store knew.
    job_id  INTEGER,
    -- Fingerprints of what was asked for: as it was written, and what it means where that is not what its job orders. Both are
    -- forgotten with the job's data, since a phone's can be guessed.
    written TEXT,
    means   TEXT,
    -- How the mailbox row of this token was rejected; and the number of the row that was taken, or that was told so last.
    code    TEXT,
    message TEXT,
    row_id  INTEGER,
    at      INTEGER NOT NULL,
    -- When its job was removed; from then on it is remembered for retention.uids.
    gone_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO uids (uid, job_id, code, message, at, gone_at)
SELECT uid, job_id, code, message, at,
    CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE jobs.id = mailbox_rows.job_id) THEN NULL
        ELSE max(at, CAST(unixepoch('subsec') * 1000 AS INTEGER)) END
FROM mailbox_rows;
DROP TABLE mailbox_rows;
CREATE INDEX uids_job ON uids (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX uids_gone ON uids (gone_at) WHERE gone_at IS NOT NULL;
-- A restore reads the newer store as it lies there, be it from before this file or after.
CREATE VIEW mailbox_rows (uid, job_id, at) AS SELECT uid, job_id, at FROM uids;
