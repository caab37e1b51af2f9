-- What comes due by the calendar, and what is owed to people whose data were removed.

CREATE TABLE schedules (
    name       TEXT    NOT NULL PRIMARY KEY,
    -- Pattern and zone when this row was begun: times of another pattern are nothing that was missed.
    definition TEXT    NOT NULL,
    -- Times up to here are decided.
    through    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each decided time, in the transaction that takes the job in: none is made twice.
CREATE TABLE schedule_firings (
    schedule   TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('fired', 'duplicate', 'skipped')),
    -- The job; of a duplicate the unfinished one.
    job_id     INTEGER,
    -- Earlier times that were let go with this one.
    missed     INTEGER NOT NULL,
    PRIMARY KEY (schedule, at),
    CHECK ((job_id IS NULL) = (outcome = 'skipped'))
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_firings_at ON schedule_firings (at);

-- Mailbox rows whose data are still to be removed from the mailbox's file.
CREATE TABLE mailbox_purges (
    uid TEXT    NOT NULL PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
