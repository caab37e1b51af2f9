-- Sinks: webhooks and commands that are told of events. How far each has read, and what is still to be delivered.

CREATE TABLE sinks (
    name            TEXT    NOT NULL PRIMARY KEY,
    -- webhook or command.
    transport       TEXT    NOT NULL,
    -- 0 once the configuration does not name it any more: then it holds up no retention.
    configured      INTEGER NOT NULL CHECK (configured IN (0, 1)),
    -- Events up to here were looked at: what concerns this sink has a row in deliveries.
    cursor          INTEGER NOT NULL,
    -- The receiver asked for silence until then.
    rest_until      INTEGER,
    -- Since when every delivery has failed.
    failing_since   INTEGER,
    last_success_at INTEGER,
    last_error_at   INTEGER,
    last_code       TEXT,
    last_error      TEXT,
    disabled_at     INTEGER,
    disabled_code   TEXT,
    disabled        TEXT,
    -- Kept by deltas; nothing counts rows.
    pending         INTEGER NOT NULL DEFAULT 0,
    delivered       INTEGER NOT NULL DEFAULT 0,
    dead            INTEGER NOT NULL DEFAULT 0,
    CHECK ((disabled_at IS NULL) = (disabled_code IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    sink       TEXT    NOT NULL,
    -- The event.
    seq        INTEGER NOT NULL,
    type       TEXT    NOT NULL,
    -- What keeps its order: a job, an account, or the event alone.
    lane       TEXT    NOT NULL,
    job_id     INTEGER,
    -- 0 pending, 1 delivered, 2 dead (given up).
    state      INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
    -- When it goes out; none while an earlier event of its lane is pending, and none once it has ended.
    due_at     INTEGER,
    attempts   INTEGER NOT NULL DEFAULT 0,
    -- Those attempts that count towards the schedule.
    failures   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    status     INTEGER,
    code       TEXT,
    error      TEXT,
    PRIMARY KEY (sink, seq),
    CHECK (state = 0 OR due_at IS NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due     ON deliveries (sink, due_at, seq) WHERE state = 0 AND due_at IS NOT NULL;
CREATE INDEX deliveries_lane    ON deliveries (sink, lane, seq) WHERE state = 0;
CREATE INDEX deliveries_pending ON deliveries (sink, seq) WHERE state = 0;
CREATE INDEX deliveries_dead    ON deliveries (sink, seq) WHERE state = 2;
CREATE INDEX deliveries_ended   ON deliveries (updated_at) WHERE state <> 0;

-- Freshness. The time of a tracker's last good look is written along with the row when the next look begins.
ALTER TABLE jobs ADD COLUMN observed_at INTEGER;
-- Since when it was announced as stale.
ALTER TABLE jobs ADD COLUMN stale_since INTEGER;

-- When a tracker's freshness is to be looked at: once for each span of its account's stale_after, however often it is polled.
CREATE TABLE watches (
    job_id  INTEGER NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    account TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX watches_at ON watches (at);
INSERT INTO watches (job_id, account, at) SELECT id, account, 0 FROM jobs WHERE state = 2 AND (traits & 8) <> 0;
