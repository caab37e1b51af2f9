//! Every SQL text of the mailbox. A test prepares each of them against a freshly made file.
//!
//! These run in our own SQLite and may use what is new in it; what runs inside other programs is in `migrations/mailbox`.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* pub const $name: &str = $sql;)+
        /// All of them, by name.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

/// The schema, forward only: the file's `user_version` says how many of these it has seen.
pub const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/mailbox/0001_mailbox.sql"),
    include_str!("../../migrations/mailbox/0002_number.sql"),
    include_str!("../../migrations/mailbox/0003_told_apart.sql"),
    include_str!("../../migrations/mailbox/0004_byte_order_mark.sql"),
];

/// How an object of ours that differs is removed before it is put back.
pub const DROPS: &[(&str, &str)] = &[
    ("jobs_insert", "DROP TRIGGER jobs_insert"),
    ("jobs_number", "DROP TRIGGER jobs_number"),
    ("jobs_identity", "DROP TRIGGER jobs_identity"),
    ("jobs_dedupe", "DROP INDEX jobs_dedupe"),
    ("jobs_new", "DROP INDEX jobs_new"),
    ("jobs_unfinished", "DROP INDEX jobs_unfinished"),
    ("jobs_cancel", "DROP INDEX jobs_cancel"),
    ("jobs_finished", "DROP INDEX jobs_finished"),
    ("events_job", "DROP INDEX events_job"),
];

/// [`QUICK_CHECK`] of what is ours.
pub const QUICK_CHECK_OURS: [&str; 3] =
    ["PRAGMA quick_check(jobs)", "PRAGMA quick_check(events)", "PRAGMA quick_check(opros_meta)"];

/// A text of a foreign row: its storage class, and its bytes in hex unless there are too many. Only the row's header is read to
/// find out, so that a row of 200 MB costs nothing.
macro_rules! text {
    ($column:literal, $most:literal) => {
        concat!(
            "json_array(typeof(",
            $column,
            "), CASE WHEN typeof(",
            $column,
            ") IN ('text', 'blob') AND octet_length(",
            $column,
            ") <= ",
            $most,
            " THEN hex(",
            $column,
            ") END)"
        )
    };
}

macro_rules! number {
    ($column:literal) => {
        concat!("json_array(typeof(", $column, "), CASE typeof(", $column, ") WHEN 'integer' THEN ", $column, " END)")
    };
}

/// The token of a row, empty where it is none of ours: nobody's 200 MB are fetched to find that out.
macro_rules! token {
    () => {
        "CASE WHEN typeof(uid) = 'text' AND octet_length(uid) <= 200 THEN CAST(uid AS BLOB) ELSE x'' END"
    };
}

/// The state of a row, empty where it is none of ours.
macro_rules! state {
    () => {
        "CASE WHEN state IN ('queued', 'submitting', 'waiting', 'in_doubt', 'succeeded', 'failed', 'cancelled', \
         'expired', 'rejected') THEN state ELSE '' END"
    };
}

/// A new row as one text: what sqlx does for each column costs more than all that SQLite does.
macro_rules! new_row {
    () => {
        concat!(
            "json_array(jobs.id, coalesce(CAST(cancel_requested AS INTEGER), 0), ",
            text!("uid", 200),
            ", ",
            text!("kind", 200),
            ", ",
            text!("params", 65536),
            ", ",
            text!("account", 200),
            ", ",
            text!("dedupe_key", 200),
            ", ",
            text!("tag", 200),
            ", ",
            number!("priority"),
            ", ",
            number!("not_before"),
            ", ",
            number!("deadline"),
            ")"
        )
    };
}

statements! {
    BEGIN_WRITE = "BEGIN IMMEDIATE";
    /// Each brings the schema's number along.
    READ = "BEGIN; PRAGMA schema_version";
    WRITE = "BEGIN IMMEDIATE; PRAGMA schema_version";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    /// Finds out whether another program holds the write lock; in one go, so that nobody else runs into ours.
    PROBE_LOCK = "BEGIN IMMEDIATE; ROLLBACK";

    // ---- the file itself
    DATA_VERSION = "PRAGMA data_version";
    SCHEMA_VERSION = "PRAGMA schema_version";
    BYTES = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    SQLITE_VERSION = "SELECT sqlite_version()";
    USER_VERSION = "PRAGMA user_version";
    /// As many as there are [`MIGRATIONS`].
    SET_USER_VERSION = "PRAGMA user_version = 4";
    /// What is wrong with the file's structure; broken CHECKs are told too, and are no damage.
    QUICK_CHECK = "PRAGMA quick_check(100)";
    CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)";
    HAS_META = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'opros_meta'";
    /// Orders that nobody took, in somebody's table of that name.
    HAS_NEW_ROWS = "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'new')";
    COUNT_TABLES = "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    /// What is ours by name, and what others hung on it.
    SCHEMA = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema \
        WHERE tbl_name COLLATE NOCASE IN ('jobs', 'events', 'opros_meta') ORDER BY type, name";
    IS_UNIQUE = "SELECT \"unique\" FROM pragma_index_list($1) WHERE name = $2";
    /// The columns that an index is of; those behind them tell rows apart. A column of -1 is the row's number, -2 an expression.
    INDEX_COLUMNS = "SELECT cid, name, coll FROM pragma_index_xinfo($1) WHERE key = 1";
    GET_META = "SELECT CAST(value AS TEXT) FROM opros_meta WHERE key = $1";
    SET_META = "INSERT INTO opros_meta (key, value) VALUES ($1, $2) \
        ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    HIGHEST_ID = "SELECT coalesce((SELECT CAST(seq AS INTEGER) FROM sqlite_sequence WHERE name = 'jobs'), 0)";
    FORGET_SEQUENCE = "DELETE FROM sqlite_sequence WHERE name = 'jobs'";
    SET_SEQUENCE = "INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', $1)";

    // ---- taking
    /// Which rows are new, and how many bytes each asks with.
    NEW_SIZES = "SELECT json_group_array(json_array(id, size, json(wish))) FROM (SELECT id, iif(octet_length(params) <= 65536, \
        octet_length(params), 0) AS size, iif(cancel_requested IS 1, 'true', 'false') AS wish FROM jobs WHERE state = 'new' ORDER BY id LIMIT $1)";
    /// Pages of rows, for pages of numbers.
    NEW_ROWS = concat!(
        "SELECT (SELECT json_group_array(", new_row!(), ") FROM json_each(page.value) AS wanted \
        JOIN jobs ON jobs.id = wanted.value) FROM json_each($1) AS page"
    );
    /// Out of a damaged file: without its indexes, from either end until it breaks.
    SALVAGE_UP = concat!(
        "SELECT ", new_row!(), " FROM jobs NOT INDEXED WHERE state = 'new' AND id > $2 ORDER BY id LIMIT $1"
    );
    SALVAGE_DOWN = concat!(
        "SELECT ", new_row!(), " FROM jobs NOT INDEXED WHERE state = 'new' AND id < $2 ORDER BY id DESC LIMIT $1"
    );
    /// Rows that came since the last look, up to one, and do not say that they are new.
    STRANGERS = concat!(
        "SELECT id, ", token!(), ", ", state!(), " FROM jobs WHERE id > $1 AND id <= $3 AND state <> 'new' ORDER BY id LIMIT $2"
    );
    CANCEL_WISHES = concat!(
        "SELECT id, ", token!(), " FROM jobs WHERE cancel_requested = 1 \
        AND state IN ('queued', 'submitting', 'waiting', 'in_doubt') AND id > $1 ORDER BY id LIMIT $2"
    );
    /// A number beyond which SQLite has none to give: nobody could insert any more.
    REMOVE_FAR_ROWS = "DELETE FROM jobs WHERE id > $1";

    // ---- writing back
    FIND_ROWS = "SELECT uid, id FROM jobs WHERE uid IN (SELECT value FROM json_each($1))";
    /// Brings back rows that the file has lost.
    RESTORE_ROWS = "INSERT OR IGNORE INTO jobs (uid, kind, params, account, dedupe_key, priority, deadline, tag) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7 FROM jsonb_each($1)";
    /// What was ordered is written over too (all but `not_before`, which counts only until the row is taken); a row
    /// without a job keeps what it says, as far as the column can hold it: where the checks and the types of the columns were
    /// got around, SQLite would refuse the whole statement for one such row's sake.
    UPDATE_ROWS = "UPDATE OR IGNORE jobs SET state = j.value->>1, job_id = j.value->>2, remote_id = j.value->>3, \
        error_code = j.value->>4, error = j.value->>5, result = j.value->>6, updated_at = j.value->>7, \
        finished_at = j.value->>8, \
        kind = coalesce(j.value->>9, CAST(kind AS TEXT), ''), params = coalesce(j.value->>10, CAST(params AS TEXT), ''), \
        priority = coalesce(j.value->>11, iif(priority BETWEEN 0 AND 9, CAST(priority AS INTEGER), 5)), \
        account = iif(j.value->>9 IS NULL, CAST(account AS TEXT), j.value->>12), \
        dedupe_key = iif(j.value->>9 IS NULL, CAST(dedupe_key AS TEXT), j.value->>13), \
        deadline = iif(j.value->>9 IS NULL, iif(typeof(deadline) = 'integer', deadline, NULL), j.value->>14), \
        tag = iif(j.value->>9 IS NULL, CAST(tag AS TEXT), j.value->>15), \
        not_before = iif(typeof(not_before) = 'integer', not_before, NULL), \
        cancel_requested = cancel_requested IS 1 \
        FROM jsonb_each($1) AS j WHERE jobs.id = j.value->>0";
    /// Gives rejected rows a token whose own is no text. Only these: it stands in an index, and to set it writes that, too.
    NAME_ROWS = "UPDATE OR IGNORE jobs SET uid = 'unreadable:' || jobs.id || ':' || hex(randomblob(4)), state = 'rejected' \
        FROM json_each($1) AS j WHERE jobs.id = j.value AND typeof(uid) <> 'text'";
    /// Gives a row that is about to be rejected a token of its own.
    TELL_APART = "UPDATE OR IGNORE jobs SET uid = $2, state = 'rejected' WHERE id = $1 AND state = 'new'";
    SET_RESULT = "UPDATE jobs SET result = $2 WHERE id = $1";
    WRITE_EVENTS = "INSERT INTO events (seq, job, type, at, data, event_id) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM jsonb_each($1) WHERE true \
        ON CONFLICT (seq) DO UPDATE SET job = excluded.job, type = excluded.type, at = excluded.at, \
        data = excluded.data, event_id = excluded.event_id";
    UNFINISHED = concat!(
        "SELECT id, ", token!(), ", ", state!(), " FROM jobs \
        WHERE state IN ('queued', 'submitting', 'waiting', 'in_doubt') AND id > $1 ORDER BY id LIMIT $2"
    );

    // ---- retention, in bounded steps from the oldest on
    OLD_ROWS = "SELECT id FROM jobs WHERE finished_at IS NOT NULL AND finished_at < $1 \
        AND state IN ('succeeded', 'failed', 'cancelled', 'expired', 'rejected') ORDER BY finished_at LIMIT $2";
    DELETE_ROWS = "DELETE FROM jobs WHERE id IN (SELECT value FROM json_each($1))";
    OLD_EVENTS = "SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT $2) WHERE at < $1";
    ENDED = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each($1)) AND state NOT IN ('new', 'rejected')";
    PURGE_EVENTS = "UPDATE events SET job = NULL, data = '{\"purged\":true}' WHERE job IN (SELECT value FROM json_each($1))";
    DELETE_EVENTS = "DELETE FROM events WHERE seq IN (SELECT value FROM json_each($1))";
}
