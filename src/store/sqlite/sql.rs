//! Every SQL text of the store. A test prepares each of them against a freshly migrated database.
//!
//! Statements that carry many rows take one JSON text and read it with `json_each`: a statement costs the same whatever it
//! carries. Where a row is an array, `jsonb_each` hands it on as it was parsed, and nothing is written out as text only to be
//! parsed again. Rows that are read come as pages, many in one text ([`super::rows::fetch_pages`]): what sqlx does for each column, and to hand
//! over each row, costs more than all that SQLite does. A limit stands as `$n + 0`: for a bare parameter SQLite looks at its value while it plans, and so plans the
//! statement anew at every execution.

use sqlx::AssertSqlSafe;

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* pub const $name: &str = $sql;)+
        /// All of them, by name.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

macro_rules! job_columns {
    () => {
        "jobs.id, jobs.kind, jobs.account, jobs.traits, jobs.state, jobs.priority, jobs.due_at, jobs.deadline, \
         jobs.cancel_requested, jobs.dedupe_key, jobs.tag, jobs.remote_id, jobs.attempt, jobs.turn, jobs.submissions, \
         jobs.polls, jobs.errors, jobs.absences, jobs.doubt_since, jobs.memo, jobs.seen, jobs.reason_code, jobs.reason, \
         jobs.created_at, jobs.submitted_at, jobs.updated_at, jobs.finished_at, jobs.mailbox_uid, jobs.retry_of, \
         jobs.observed_at, jobs.stale_since, jobs.uid, jobs.unknown_errors"
    };
}

macro_rules! callback_columns {
    () => {
        "id, account, at, peer, content_type, size, repeats, last_at, vin, check_type, status, ids, unreadable, job_id, \
         matched_at, how, after_job"
    };
}

macro_rules! delivery_columns {
    () => {
        "seq, type, lane, job_id, state, due_at, attempts, failures, created_at, updated_at, status, code, error"
    };
}

macro_rules! job_array {
    () => {
        concat!("json_array(", job_columns!(), ")")
    };
}

macro_rules! next_at_priority {
    ($n:literal) => {
        concat!(
            "SELECT * FROM (SELECT due_at FROM jobs WHERE account = $1 AND state = 0 AND due_at IS NOT NULL AND priority = ",
            $n,
            " AND due_at > $2 ORDER BY due_at LIMIT 1)"
        )
    };
}

macro_rules! each_priority {
    ($one:ident) => {
        concat!(
            $one!(0),
            " UNION ALL ",
            $one!(1),
            " UNION ALL ",
            $one!(2),
            " UNION ALL ",
            $one!(3),
            " UNION ALL ",
            $one!(4),
            " UNION ALL ",
            $one!(5),
            " UNION ALL ",
            $one!(6),
            " UNION ALL ",
            $one!(7),
            " UNION ALL ",
            $one!(8),
            " UNION ALL ",
            $one!(9)
        )
    };
}

/// Many statements as one text, the n-th with the n-th value: a text costs one trip to SQLite's thread, whatever it holds. Each
/// has one parameter, `$1`.
pub fn in_one(statements: impl IntoIterator<Item = &'static str>) -> AssertSqlSafe<String> {
    let numbered = statements.into_iter().enumerate();
    let all: Vec<String> = numbered.map(|(n, statement)| statement.replace("$1", &format!("${}", n + 1))).collect();
    AssertSqlSafe(all.join("; "))
}

statements! {
    // ---- the file itself
    /// And whose file it is: its epoch.
    BEGIN_OWNED = "BEGIN IMMEDIATE; SELECT value FROM meta WHERE key = 'epoch'";
    GET_META = "SELECT value FROM meta WHERE key = $1";
    SET_META = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    SET_METAS = "INSERT INTO meta (key, value) SELECT value->>0, value->>1 FROM jsonb_each($1) WHERE true \
        ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    HEARTBEAT = "SELECT 1";
    EMPTY_WAL = "PRAGMA wal_checkpoint(TRUNCATE)";
    /// As far as it goes without waiting for anybody.
    MOVE_WAL = "PRAGMA wal_checkpoint(PASSIVE)";
    LAST_ORDER = "SELECT coalesce(max(id), 0) FROM costs";
    LAST_JOB_ID = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0)";
    LAST_EVENT_SEQ = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";

    // ---- after the clock was set back
    /// The newest time that was written down of late.
    NEWEST_TIME = "SELECT max(at) FROM (SELECT at FROM (SELECT at FROM calls ORDER BY id DESC LIMIT 500) \
        UNION ALL SELECT at FROM (SELECT at FROM events ORDER BY seq DESC LIMIT 500))";
    /// What was planned by the old time. A job that was never touched keeps its `not_before`: that is a client's time.
    PLAN_JOBS_ANEW = "UPDATE jobs SET due_at = $1 WHERE state IN (0, 2, 3) AND due_at > $1 AND updated_at > $1 \
        AND (state <> 0 OR turn > 0 OR due_at <= created_at)";
    DOUBT_ANEW = "UPDATE jobs SET doubt_since = $1, absences = 0 WHERE state = 3 AND doubt_since > $1";
    OBSERVED_ANEW = "UPDATE jobs SET observed_at = $1 WHERE state = 2 AND observed_at > $1";
    WATCH_ANEW = "UPDATE watches SET at = $1 WHERE at > $1";
    DELIVER_ANEW = "UPDATE deliveries SET due_at = $1 WHERE state = 0 AND due_at > $1";
    REST_ANEW = "UPDATE sinks SET rest_until = NULL, failing_since = min(failing_since, $1) \
        WHERE rest_until > $1 OR failing_since > $1";
    DOWNLOAD_ANEW = "UPDATE downloads SET due_at = $1 WHERE due_at > $1";

    // ---- writes
    FIND_OPEN_KEYS = "SELECT dedupe_key, id FROM jobs \
        WHERE dedupe_key IN (SELECT value FROM json_each($1)) AND dedupe_key IS NOT NULL AND state < 4";
    /// What is remembered of these tokens, with what their jobs are and order.
    FIND_UIDS = "SELECT u.uid, u.job_id, u.code, u.message, u.row_id, u.written, u.means, jobs.kind, jobs.account, \
        jobs.mailbox_uid, coalesce(bodies.order_hash, bodies.params_hash) AS hash FROM json_each($1) AS wanted \
        JOIN uids AS u ON u.uid = wanted.value LEFT JOIN jobs ON jobs.id = u.job_id \
        LEFT JOIN bodies ON bodies.job_id = u.job_id";
    /// The newest retry of each of these jobs, where it has not ended.
    FIND_RETRIES = "SELECT wanted.value, newest.id FROM json_each($1) AS wanted JOIN jobs AS newest ON newest.id = \
        (SELECT id FROM jobs WHERE retry_of = wanted.value AND retry_of IS NOT NULL ORDER BY id DESC LIMIT 1) \
        WHERE newest.state < 4";
    /// When an operator last decided about each of these jobs.
    LAST_DECISIONS = "SELECT wanted.value, max(a.ended_at) FROM json_each($1) AS wanted \
        JOIN attempts AS a ON a.job_id = wanted.value WHERE a.outcome = 'operator' GROUP BY wanted.value";
    INSERT_JOBS = "INSERT INTO jobs (id, kind, account, traits, state, priority, due_at, deadline, cancel_requested, \
        dedupe_key, tag, remote_id, attempt, turn, submissions, polls, errors, absences, doubt_since, memo, seen, \
        reason_code, reason, created_at, submitted_at, updated_at, finished_at, mailbox_uid, retry_of, uid) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, \
        value->>9, value->>10, value->>11, value->>12, value->>13, value->>14, value->>15, value->>16, value->>17, \
        value->>18, value->>19, value->>20, value->>21, value->>22, value->>23, value->>24, value->>25, value->>26, \
        value->>27, value->>28, value->>29 FROM jsonb_each($1)";
    INSERT_BODIES = "INSERT INTO bodies (job_id, params, params_hash, order_hash) \
        SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each($1)";
    INSERT_UIDS = "INSERT INTO uids (uid, job_id, written, means, code, message, row_id, at, gone_at) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8 \
        FROM jsonb_each($1)";
    /// A row of a known token is rejected: it is told so, and is old only from now on.
    REJECT_UIDS = "UPDATE uids SET code = j.value->>1, message = j.value->>2, row_id = j.value->>3, at = j.value->>4, \
        gone_at = CASE WHEN gone_at IS NULL THEN NULL ELSE j.value->>4 END FROM jsonb_each($1) AS j WHERE uid = j.value->>0";
    UNNUMBERED_EVENTS = "SELECT seq FROM (SELECT seq FROM events WHERE job_id = $1 AND job_id IS NOT NULL \
        AND mailbox_seq IS NULL ORDER BY seq DESC LIMIT $2 + 0) ORDER BY seq";
    NUMBER_EVENTS = "UPDATE events SET uid = j.value->>1, mailbox_seq = j.value->>2 FROM jsonb_each($1) AS j \
        WHERE seq = j.value->>0";
    LOAD_JOBS = concat!(
        "SELECT (SELECT json_group_array(", job_array!(), ") FROM json_each(page.value) AS wanted \
        JOIN jobs ON jobs.id = wanted.value) FROM json_each($1) AS page"
    );
    UPDATE_JOBS = "UPDATE jobs SET state = j.value->>1, due_at = j.value->>2, cancel_requested = j.value->>3, \
        remote_id = j.value->>4, attempt = j.value->>5, turn = j.value->>6, submissions = j.value->>7, \
        polls = j.value->>8, errors = j.value->>9, absences = j.value->>10, doubt_since = j.value->>11, \
        memo = j.value->>12, seen = j.value->>13, reason_code = j.value->>14, reason = j.value->>15, \
        submitted_at = j.value->>16, updated_at = j.value->>17, finished_at = j.value->>18, \
        observed_at = j.value->>19, stale_since = j.value->>20, mailbox_uid = j.value->>21, \
        unknown_errors = j.value->>22 \
        FROM jsonb_each($1) AS j WHERE jobs.id = j.value->>0";
    /// What most polls change: none of it stands in an index but the due time.
    UPDATE_PACE = "UPDATE jobs SET due_at = j.value->>1, turn = j.value->>2, polls = j.value->>3, memo = j.value->>4, \
        updated_at = j.value->>5, observed_at = j.value->>6 FROM jsonb_each($1) AS j WHERE jobs.id = j.value->>0";
    UPDATE_PARTIALS = "UPDATE bodies SET partial = j.value->>1 FROM jsonb_each($1) AS j WHERE job_id = j.value->>0";
    UPDATE_RESULTS = "UPDATE bodies SET result = j.value->>1, partial = NULL \
        FROM jsonb_each($1) AS j WHERE job_id = j.value->>0";
    OPEN_ATTEMPTS = "INSERT INTO attempts (job_id, token, request_hash, epoch, intent_at, unclear_at, ended_at, outcome) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7 FROM jsonb_each($1)";
    MARK_UNCLEAR = "UPDATE attempts SET unclear_at = j.value->>2 FROM jsonb_each($1) AS j \
        WHERE job_id = j.value->>0 AND token = j.value->>1 AND outcome IS NULL";
    CLOSE_ATTEMPTS = "UPDATE attempts SET outcome = j.value->>2, ended_at = j.value->>3 FROM jsonb_each($1) AS j \
        WHERE job_id = j.value->>0 AND token = j.value->>1 AND outcome IS NULL";
    INSERT_OBSERVATIONS = "INSERT INTO observations (job_id, at, fingerprint, data, raw) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM jsonb_each($1)";
    INSERT_EVENTS = "INSERT INTO events (seq, type, at, job_id, account, uid, mailbox_seq, data) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7 FROM jsonb_each($1)";
    INSERT_CALLS = "INSERT INTO calls (account, call, op, job_id, jobs, at, took, status, outcome, note) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, \
        value->>9 FROM jsonb_each($1)";
    SAVE_ACCOUNTS = "INSERT INTO accounts (name, version, data) \
        SELECT value->>0, value->>1, value->>2 FROM jsonb_each($1) WHERE true \
        ON CONFLICT (name) DO UPDATE SET version = excluded.version, data = excluded.data \
        WHERE excluded.version > accounts.version";
    COUNT_BY_DELTAS = "INSERT INTO counters (account, kind, state, jobs) \
        SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each($1) WHERE true \
        ON CONFLICT (account, kind, state) DO UPDATE SET jobs = jobs + excluded.jobs";
    FIRE = "INSERT INTO firings (schedule, at) VALUES ($1, $2) ON CONFLICT DO NOTHING";

    // ---- money
    INSERT_COSTS = "INSERT INTO costs (id, job_id, token, at, account, kind, tag, price, sure, params_hash) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, \
        CASE value->>9 WHEN 1 THEN (SELECT coalesce(order_hash, params_hash) FROM bodies WHERE job_id = value->>1) END FROM jsonb_each($1)";
    DOUBT_COSTS = "UPDATE costs SET sure = 'in_doubt' FROM jsonb_each($1) AS j \
        WHERE job_id = j.value->>0 AND token = j.value->>1";
    DECIDE_COSTS = "UPDATE costs SET decided_at = j.value->>3, \
        sure = CASE WHEN sure = 'in_doubt' AND j.value->>2 = 'booked' THEN 'settled' ELSE j.value->>2 END \
        FROM jsonb_each($1) AS j WHERE job_id = j.value->>0 AND token = j.value->>1";
    /// The hours of a month at most, by the key.
    SPENT = "SELECT coalesce(sum(submissions) FILTER (WHERE hour >= $2), 0), coalesce(sum(amount) FILTER (WHERE hour >= $2), 0), \
        coalesce(sum(submissions) FILTER (WHERE hour >= $3), 0), coalesce(sum(amount) FILTER (WHERE hour >= $3), 0), \
        coalesce(sum(submissions), 0), coalesce(sum(amount), 0) FROM spending WHERE account = $1 AND hour >= $4";
    /// An equal order of another job that was sent after $2 and may have been taken.
    FIND_EQUAL = "SELECT b.job_id, coalesce(b.order_hash, b.params_hash), (SELECT c.job_id FROM costs AS c WHERE c.account = j.account AND c.kind = j.kind \
        AND c.params_hash = coalesce(b.order_hash, b.params_hash) AND c.params_hash IS NOT NULL AND c.at > $2 AND c.job_id <> b.job_id \
        AND c.sure NOT IN ('refused', 'not_sent', 'absent') ORDER BY c.at DESC LIMIT 1), \
        EXISTS (SELECT 1 FROM released WHERE released.job_id = b.job_id) \
        FROM json_each($1) AS wanted CROSS JOIN jobs AS j ON j.id = wanted.value CROSS JOIN bodies AS b ON b.job_id = j.id";
    COSTS = "SELECT CASE WHEN $1 THEN account END, CASE WHEN $2 THEN kind END, CASE WHEN $3 THEN tag END, \
        CASE WHEN $4 THEN (at + $5) / 86400000 * 86400000 - $5 END AS day, CASE WHEN $6 THEN job_id END AS job, sure, \
        count(*), coalesce(sum(price), 0), coalesce(sum(price IS NULL), 0), min(at) FROM costs \
        WHERE at >= $7 AND at < $8 AND ($9 IS NULL OR account = $9) AND ($10 IS NULL OR kind = $10) \
        AND ($11 IS NULL OR tag = $11) GROUP BY 4, 1, 2, 3, 5, 6 ORDER BY 4, 1, 2, 3, 5, 6 LIMIT $12 + 0";
    BALANCES = "SELECT at, amount, unit FROM balances WHERE account = $1 AND at < $3 AND at >= \
        coalesce((SELECT max(at) FROM balances WHERE account = $1 AND at <= $2), $2) ORDER BY at LIMIT $4 + 0";
    ORDERED_BETWEEN = "SELECT count(c.id), coalesce(sum(c.price), 0), coalesce(sum(c.id IS NOT NULL AND c.price IS NULL), 0), \
        coalesce(sum(c.sure IN ('ordered', 'in_doubt', 'operator')), 0) FROM jsonb_each($2) AS span \
        LEFT JOIN costs AS c ON c.account = $1 AND c.at > span.value->>0 AND c.at <= span.value->>1 \
        AND c.sure NOT IN ('refused', 'not_sent', 'absent') GROUP BY span.key ORDER BY span.key";
    FIND_RELEASED = "SELECT job_id FROM released WHERE job_id IN (SELECT value FROM json_each($1))";
    RELEASE = "INSERT OR IGNORE INTO released (job_id, at) SELECT value->>0, value->>1 FROM jsonb_each($1)";
    INSERT_BALANCES = "INSERT OR IGNORE INTO balances (account, at, amount, unit) \
        SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each($1)";
    FORGET_ORDERS = "UPDATE costs SET params_hash = NULL WHERE job_id IN (SELECT value FROM json_each($1))";

    // ---- downloads
    INSERT_DOWNLOADS = "INSERT INTO downloads (job_id, account, url, due_at) \
        SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each($1)";
    END_DOWNLOAD = "UPDATE downloads SET tries = tries + 1, due_at = $2, error = $3, saved = $4 \
        WHERE job_id = $1 AND due_at IS NOT NULL";
    DUE_DOWNLOADS = "SELECT job_id, account, url, tries FROM downloads WHERE due_at IS NOT NULL AND due_at <= $1 \
        ORDER BY due_at LIMIT $2 + 0";
    NEXT_DOWNLOAD = "SELECT due_at FROM downloads WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1";
    GET_DOWNLOAD = "SELECT saved, due_at, tries, error FROM downloads WHERE job_id = $1";

    // ---- retention, in bounded steps from the oldest on
    OLD_JOBS = "SELECT id, account, kind, state FROM jobs \
        WHERE finished_at IS NOT NULL AND finished_at < $1 ORDER BY finished_at LIMIT $2 + 0";
    DELETE_JOBS = "DELETE FROM jobs WHERE id IN (SELECT value FROM json_each($1))";
    DELETE_BODIES = "DELETE FROM bodies WHERE job_id IN (SELECT value FROM json_each($1))";
    DELETE_ATTEMPTS = "DELETE FROM attempts WHERE job_id IN (SELECT value FROM json_each($1))";
    DELETE_OBSERVATIONS = "DELETE FROM observations WHERE job_id IN (SELECT value FROM json_each($1))";
    /// What the mailbox or a sink that is at work has not been told of yet stays.
    ///
    /// The numbers that stay have no holes: what goes are the first ones, up to the last old one before the first that stays. One
    /// that bears a time to come ($6) says nothing of its age; what was old after it says it.
    DELETE_EVENTS = "WITH head AS MATERIALIZED (SELECT seq, at < $1 OR seq <= $4 AS is_old, \
            coalesce(mailbox_seq, 0) > $3 OR (at >= $1 AND at <= $6 AND seq > $4) AS stays FROM events ORDER BY seq LIMIT $5 + 0) \
        DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT $2 + 0) \
        AND seq <= (SELECT max(seq) FROM head WHERE is_old \
            AND seq < coalesce((SELECT min(seq) FROM head WHERE stays), 9223372036854775807)) \
        AND seq <= (SELECT coalesce(min(min(s.cursor, coalesce((SELECT min(d.seq) - 1 FROM deliveries AS d \
            WHERE d.sink = s.name AND d.state = 0), s.cursor))), 9223372036854775807) \
            FROM sinks AS s WHERE s.configured = 1 AND s.disabled_at IS NULL)";
    /// What was ordered by these tokens is forgotten; that it was, is not.
    UIDS_GONE = "UPDATE uids SET gone_at = $2, written = NULL, means = NULL \
        WHERE job_id IN (SELECT value FROM json_each($1)) AND job_id IS NOT NULL";
    DELETE_UIDS = "DELETE FROM uids WHERE uid IN (SELECT uid FROM uids WHERE gone_at IS NOT NULL AND gone_at < $1 \
        ORDER BY gone_at LIMIT $2 + 0)";
    DELETE_CALLS = "DELETE FROM calls WHERE id IN \
        (SELECT id FROM (SELECT id, at FROM calls ORDER BY id LIMIT $2 + 0) WHERE at < $1 OR id <= $3)";
    DELETE_COSTS = "DELETE FROM costs WHERE id IN (SELECT id FROM costs AS c WHERE at < $1 \
        AND id < (SELECT max(id) FROM costs) AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = c.job_id) ORDER BY at LIMIT $2 + 0)";
    /// The newest of an account stays: what is ordered next is held against it.
    DELETE_BALANCES = "DELETE FROM balances WHERE (account, at) IN (SELECT account, at FROM balances AS b INDEXED BY balances_at \
        WHERE at < $1 AND at < (SELECT max(at) FROM balances WHERE account = b.account) ORDER BY at LIMIT $2 + 0)";
    /// Whole months of it are asked for, never older ones.
    DELETE_SPENDING = "DELETE FROM spending WHERE hour < $1 - 2764800000";
    DELETE_FIRINGS = "DELETE FROM firings WHERE at < $1";
    DELETE_SCHEDULE_FIRINGS = "DELETE FROM schedule_firings WHERE at < $1";
    LAST_CALL = "SELECT coalesce(max(id), 0) FROM calls";
    COUNT_FINISHED = "SELECT coalesce(sum(jobs), 0) FROM counters WHERE state >= 4";

    // ---- schedules
    FIND_FIRING = "SELECT at FROM schedule_firings WHERE schedule = $1 AND at = $2";
    INSERT_FIRING = "INSERT INTO schedule_firings (schedule, at, decided_at, outcome, job_id, missed) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    MOVE_SCHEDULE = "UPDATE schedules SET through = $2 WHERE name = $1";
    KEEP_SCHEDULE = "INSERT INTO schedules (name, definition, through) VALUES ($1, $2, $3) \
        ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, through = excluded.through";
    GET_SCHEDULE = "SELECT definition, through FROM schedules WHERE name = $1";
    LAST_FIRINGS = "SELECT f.schedule, f.at, f.decided_at, f.outcome, f.job_id, f.missed FROM schedules AS s \
        JOIN schedule_firings AS f ON f.schedule = s.name \
        AND f.at = (SELECT max(at) FROM schedule_firings WHERE schedule = s.name)";

    // ---- purging a person's data; attempts stay as the ledger's lines
    PURGE_JOB = "UPDATE jobs SET dedupe_key = NULL, tag = NULL, remote_id = NULL, memo = NULL, seen = NULL, \
        reason = CASE WHEN reason IS NULL THEN NULL ELSE 'removed with the data of this job' END WHERE id = $1";
    PURGE_BODY = "UPDATE bodies SET params = '{}', params_hash = '', order_hash = NULL, partial = NULL, result = NULL \
        WHERE job_id = $1";
    PURGE_UIDS = "UPDATE uids SET written = NULL, means = NULL WHERE job_id = $1 AND job_id IS NOT NULL";
    PURGE_ATTEMPTS = "UPDATE attempts SET request_hash = '' WHERE job_id = $1";
    /// What was paid stays; what would tell for whom goes.
    PURGE_COSTS = "UPDATE costs SET params_hash = NULL, tag = NULL WHERE job_id = $1";
    PURGE_DOWNLOADS = "DELETE FROM downloads WHERE job_id = $1";
    PURGE_OBSERVATIONS = "DELETE FROM observations WHERE job_id = $1";
    PURGE_EVENTS = "UPDATE events SET data = $2 WHERE job_id = $1 AND job_id IS NOT NULL";
    PURGE_CALLS = "UPDATE calls SET note = NULL WHERE job_id = $1 AND job_id IS NOT NULL";
    PURGED_FILES = "SELECT sha256 FROM job_files WHERE job_id = $1 UNION SELECT sha256 FROM callback_bodies \
        WHERE sha256 IS NOT NULL AND callback_id IN (SELECT id FROM callbacks WHERE job_id = $1 AND job_id IS NOT NULL)";
    PURGE_JOB_FILES = "DELETE FROM job_files WHERE job_id = $1";
    PURGE_CALLBACK_BODIES = "DELETE FROM callback_bodies WHERE callback_id IN \
        (SELECT id FROM callbacks WHERE job_id = $1 AND job_id IS NOT NULL)";
    /// The row and its fingerprint stay: the same call-back, sent again, brings nothing back.
    PURGE_CALLBACKS = "UPDATE callbacks SET peer = '', content_type = NULL, vin = NULL, check_type = NULL, status = NULL, \
        ids = '[]', unreadable = NULL WHERE job_id = $1 AND job_id IS NOT NULL";
    PURGE_MAILBOX_ROW = "INSERT INTO mailbox_purges (uid, at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    MAILBOX_PURGES = "SELECT uid FROM mailbox_purges LIMIT 500";
    MAILBOX_PURGED = "DELETE FROM mailbox_purges WHERE uid IN (SELECT value FROM json_each($1))";

    // ---- export
    EXPORT_WEIGHTS = "SELECT jobs.id, octet_length(bodies.params) + coalesce(octet_length(bodies.result), 0) \
        FROM jobs JOIN bodies ON bodies.job_id = jobs.id WHERE jobs.id > $1 AND jobs.created_at >= $2 \
        ORDER BY jobs.id LIMIT $3 + 0";
    EXPORT_JOBS = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id IN (SELECT value FROM json_each($1)) ORDER BY jobs.id"
    );
    LAST_COST = "SELECT coalesce(max(id), 0) FROM costs";
    FIRST_COST_SINCE = "SELECT min(id) FROM costs WHERE at >= $1";
    EXPORT_COSTS = "SELECT id, at, job_id, account, kind, tag, price, sure, decided_at FROM costs WHERE id > $1 \
        ORDER BY id LIMIT $2 + 0";
    FIRST_EVENT_SINCE = "SELECT min(seq) FROM events WHERE at >= $1";

    // ---- a store that was put back
    FORGET_META = "DELETE FROM meta WHERE key = $1";
    RAISE_SEQUENCE = "UPDATE sqlite_sequence SET seq = max(seq, $2) WHERE name = $1";
    BEGIN_SEQUENCE = "INSERT INTO sqlite_sequence (name, seq) SELECT $1, 0 \
        WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = $1)";
    SETTLE_SCHEDULES = "UPDATE schedules SET through = max(through, $1)";
    OLDEST_DOUBT = "SELECT min(doubt_since) FROM jobs WHERE state = $1 AND state <> 4";
    QUEUED_JOBS = "SELECT id, submissions FROM jobs WHERE state = 0 AND state <> 4 AND id > $1 ORDER BY id LIMIT 5000";
    YOUNGER_JOBS = "SELECT count(*), coalesce(sum(submissions > 0), 0) FROM jobs WHERE id > $1";
    SOME_TAKEN = "SELECT uid, at FROM mailbox_rows WHERE uid > $1 ORDER BY uid LIMIT 5000";
    KEEP_TAKEN = "INSERT INTO uids (uid, code, message, at, gone_at) \
        SELECT value->>0, 'unknown_to_store', $2, value->>1, value->>1 FROM jsonb_each($1) WHERE true ON CONFLICT DO NOTHING";
    ALL_FIRINGS = "SELECT schedule, at, decided_at, missed FROM schedule_firings WHERE at >= $1";
    KEEP_FIRINGS = "INSERT INTO schedule_firings (schedule, at, decided_at, outcome, job_id, missed) \
        SELECT value->>0, value->>1, value->>2, 'skipped', NULL, value->>3 FROM jsonb_each($1) WHERE true \
        ON CONFLICT DO NOTHING";
    NEWEST_FIRING = "SELECT coalesce(max(decided_at), 0) FROM schedule_firings";

    // ---- reads
    /// Slots of one lane after ($2, $3).
    AGENDA_SUBMITS = "SELECT json_group_array(json_array(due_at, id)) FROM (SELECT due_at, id FROM jobs WHERE account = $1 \
        AND state = 0 AND due_at IS NOT NULL AND priority = $5 AND due_at >= $2 AND (due_at > $2 OR id > $3) \
        ORDER BY due_at, id LIMIT $4 + 0)";
    AGENDA_FREE = "SELECT json_group_array(json_array(due_at, id)) FROM (SELECT due_at, id FROM jobs WHERE account = $1 \
        AND state IN (2, 3) AND due_at IS NOT NULL AND due_at >= $2 AND (due_at > $2 OR id > $3) \
        ORDER BY due_at, id LIMIT $4 + 0)";
    READ_DUE = concat!(
        "SELECT (SELECT json_group_array(json_array(", job_array!(), ", bodies.params, bodies.params_hash, bodies.partial)) \
        FROM json_each(page.value) AS due JOIN jobs ON jobs.id = due.value JOIN bodies ON bodies.job_id = jobs.id) \
        FROM json_each($1) AS page"
    );
    NEXT_SUBMIT = concat!("SELECT min(due_at) FROM (", each_priority!(next_at_priority), ")");
    NEXT_FREE = "SELECT due_at FROM jobs WHERE account = $1 AND state IN (2, 3) AND due_at IS NOT NULL \
        AND due_at > $2 ORDER BY due_at LIMIT 1";
    OVERDUE = "SELECT id FROM jobs WHERE deadline IS NOT NULL AND state IN (0, 2) AND deadline <= $1 \
        ORDER BY deadline LIMIT $2 + 0";
    SET_ASIDE = "SELECT id FROM jobs WHERE reason_code = 'quarantined' AND state < 4 AND due_at IS NULL \
        ORDER BY id LIMIT $1 + 0";
    NEXT_DEADLINE = "SELECT deadline FROM jobs WHERE deadline IS NOT NULL AND state IN (0, 2) ORDER BY deadline LIMIT 1";
    GET_JOB = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id = $1"
    );
    LIST_JOBS = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id < $1 AND ($2 IS NULL OR jobs.kind = $2) AND ($3 IS NULL OR jobs.account = $3) \
        AND ($4 IS NULL OR jobs.state = $4) ORDER BY jobs.id DESC LIMIT $5 + 0"
    );
    LIST_JOBS_BY_KIND = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id < $1 AND jobs.kind = $2 AND ($3 IS NULL OR jobs.account = $3) \
        AND ($4 IS NULL OR jobs.state = $4) ORDER BY jobs.id DESC LIMIT $5 + 0"
    );
    LIST_JOBS_BY_ACCOUNT = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id < $1 AND ($2 IS NULL OR jobs.kind = $2) AND jobs.account = $3 \
        AND ($4 IS NULL OR jobs.state = $4) ORDER BY jobs.id DESC LIMIT $5 + 0"
    );
    LIST_JOBS_BY_STATE = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id < $1 AND ($2 IS NULL OR jobs.kind = $2) AND ($3 IS NULL OR jobs.account = $3) \
        AND jobs.state = $4 AND jobs.state <> 4 ORDER BY jobs.id DESC LIMIT $5 + 0"
    );
    LIST_JOBS_BY_TAG = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id < $1 AND ($2 IS NULL OR jobs.kind = $2) AND ($3 IS NULL OR jobs.account = $3) \
        AND ($4 IS NULL OR jobs.state = $4) AND jobs.tag = $6 AND jobs.tag IS NOT NULL \
        AND ($7 IS NULL OR jobs.dedupe_key = $7) ORDER BY jobs.id DESC LIMIT $5 + 0"
    );
    LIST_JOBS_BY_KEY = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id < $1 AND ($2 IS NULL OR jobs.kind = $2) AND ($3 IS NULL OR jobs.account = $3) \
        AND ($4 IS NULL OR jobs.state = $4) AND jobs.dedupe_key = $6 AND jobs.dedupe_key IS NOT NULL \
        ORDER BY jobs.id DESC LIMIT $5 + 0"
    );
    LIST_JOBS_BY_UID = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.result FROM jobs JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.id = (SELECT job_id FROM uids WHERE uid = $6) AND jobs.id < $1 \
        AND ($2 IS NULL OR jobs.kind = $2) AND ($3 IS NULL OR jobs.account = $3) \
        AND ($4 IS NULL OR jobs.state = $4) AND ($7 IS NULL OR jobs.tag = $7) \
        AND ($8 IS NULL OR jobs.dedupe_key = $8) LIMIT $5 + 0"
    );
    JOB_EVENTS = "SELECT seq, type, at, job_id, account, mailbox_seq, data FROM events \
        WHERE job_id = $1 AND job_id IS NOT NULL ORDER BY seq LIMIT $2 + 0";
    JOB_OBSERVATIONS = "SELECT at, data, raw FROM observations WHERE job_id = $1 ORDER BY id LIMIT $2 + 0";
    JOB_CALLS = "SELECT at, took, call, op, jobs, status, outcome, note FROM calls \
        WHERE job_id = $1 AND job_id IS NOT NULL ORDER BY id LIMIT $2 + 0";
    LAST_OBSERVATIONS = "SELECT job_id, data FROM observations WHERE id IN \
        (SELECT (SELECT max(id) FROM observations WHERE job_id = j.value) FROM json_each($1) AS j)";
    /// The oldest there is, the newest that was given, and those after $1: one statement sees one state of the file.
    EVENTS_AFTER = "SELECT (SELECT min(seq) FROM events), \
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0), \
        (SELECT json_group_array(json_array(seq, type, at, job_id, account, mailbox_seq, data)) FROM \
        (SELECT seq, type, at, job_id, account, mailbox_seq, data FROM events WHERE seq > $1 ORDER BY seq LIMIT $2 + 0))";
    /// The same of one job, $3.
    JOB_EVENTS_AFTER = "SELECT (SELECT min(seq) FROM events), \
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0), \
        (SELECT json_group_array(json_array(seq, type, at, job_id, account, mailbox_seq, data)) FROM \
        (SELECT seq, type, at, job_id, account, mailbox_seq, data FROM events WHERE job_id = $3 AND job_id IS NOT NULL AND seq > $1 \
        ORDER BY seq LIMIT $2 + 0))";
    GET_ACCOUNTS = "SELECT name, data FROM accounts";
    GET_COUNTS = "SELECT account, kind, state, jobs FROM counters WHERE jobs <> 0";
    MAILBOX_FEED = "SELECT seq, type, at, job_id, account, mailbox_seq, data, uid FROM events \
        WHERE mailbox_seq > $1 AND mailbox_seq IS NOT NULL ORDER BY mailbox_seq LIMIT $2 + 0";
    MAILBOX_SIZES = "SELECT m.uid, coalesce(octet_length(bodies.result), 0) FROM uids AS m \
        JOIN bodies ON bodies.job_id = m.job_id WHERE m.uid IN (SELECT value FROM json_each($1))";
    MAILBOX_ROWS = "SELECT (SELECT json_group_array(json_array(m.uid, m.job_id, m.code, m.message, m.at, jobs.state, jobs.remote_id, jobs.reason_code, \
        jobs.reason, jobs.updated_at, jobs.finished_at, bodies.result, jobs.kind, jobs.account, jobs.priority, \
        jobs.dedupe_key, jobs.deadline, jobs.tag, bodies.params)) FROM json_each(page.value) AS wanted \
        JOIN uids AS m ON m.uid = wanted.value \
        LEFT JOIN jobs ON jobs.id = m.job_id LEFT JOIN bodies ON bodies.job_id = m.job_id) FROM json_each($1) AS page";

    // ---- call-backs and files
    KEEP_CALLBACK = "INSERT INTO callbacks (account, at, peer, content_type, size, fingerprint, last_at, vin, check_type, \
        status, ids, unreadable, after_job) VALUES ($1, $2, $3, $4, $5, $6, $2, $7, $8, $9, $10, $11, $12) \
        ON CONFLICT (account, fingerprint) DO UPDATE SET repeats = repeats + 1, last_at = excluded.last_at \
        RETURNING id, repeats";
    KEEP_CALLBACK_BODY = "INSERT INTO callback_bodies (callback_id, body, sha256) VALUES ($1, $2, $3)";
    CALLBACK_OWNER = "SELECT job_id FROM callbacks WHERE id = $1";
    OWN_CALLBACK = "UPDATE callbacks SET job_id = $2, matched_at = $3, how = $4 WHERE id = $1";
    INSERT_JOB_FILES = "INSERT INTO job_files (job_id, name, sha256, content_type, size, callback_id) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM jsonb_each($1)";
    FORGET_CALLBACKS = "DELETE FROM callbacks WHERE id IN (SELECT id FROM \
        (SELECT id, at, job_id FROM callbacks ORDER BY id LIMIT $2 + 0) AS old \
        WHERE at < $1 AND (job_id IS NULL OR NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = old.job_id)))";
    GET_CALLBACK = concat!("SELECT ", callback_columns!(), " FROM callbacks WHERE id = $1");
    LIST_CALLBACKS = concat!(
        "SELECT ", callback_columns!(), " FROM callbacks WHERE id < $1 AND ($2 IS NULL OR account = $2) \
        AND ($4 IS NULL OR (job_id IS NOT NULL) = $4) ORDER BY id DESC LIMIT $3 + 0"
    );
    LIST_UNMATCHED = concat!(
        "SELECT ", callback_columns!(), " FROM callbacks INDEXED BY callbacks_open WHERE id < $1 \
        AND ($2 IS NULL OR account = $2) AND job_id IS NULL ORDER BY id DESC LIMIT $3 + 0"
    );
    UNMATCHED_AFTER = concat!(
        "SELECT ", callback_columns!(), " FROM callbacks INDEXED BY callbacks_open WHERE id > $1 \
        AND job_id IS NULL ORDER BY id LIMIT $2 + 0"
    );
    /// Of those that name no car the newest go along: older ones were looked at when they came, and may be nobody's.
    UNMATCHED_OF_CAR = concat!(
        "SELECT ", callback_columns!(), " FROM callbacks WHERE id IN \
        (SELECT * FROM (SELECT id FROM callbacks WHERE account = $1 AND vin = $2 AND job_id IS NULL ORDER BY id LIMIT $3 + 0) \
         UNION ALL \
         SELECT * FROM (SELECT id FROM callbacks WHERE account = $1 AND vin IS NULL AND job_id IS NULL \
         ORDER BY id DESC LIMIT $3 + 0)) ORDER BY id"
    );
    CALLBACK_BODY = "SELECT body, sha256 FROM callback_bodies WHERE callback_id = $1";
    /// By the car, by the vendor's name of the job, and by ours.
    CANDIDATES = concat!(
        "SELECT ", job_columns!(), ", bodies.params, \
        EXISTS (SELECT 1 FROM callbacks WHERE callbacks.job_id = jobs.id AND callbacks.job_id IS NOT NULL) AS served \
        FROM (SELECT job_id AS id FROM bodies WHERE \
            CASE WHEN json_valid(params) THEN json_extract(params, '$.vin') END = $3 AND \
            CASE WHEN json_valid(params) THEN json_extract(params, '$.vin') END IS NOT NULL \
          UNION SELECT id FROM jobs WHERE remote_id IN (SELECT value FROM json_each($4)) AND account = $1 \
            AND remote_id IS NOT NULL \
          UNION SELECT value FROM json_each($5)) AS found \
        CROSS JOIN jobs ON jobs.id = found.id CROSS JOIN bodies ON bodies.job_id = jobs.id \
        WHERE jobs.account = $1 AND jobs.kind = $2 ORDER BY jobs.state >= 4, jobs.id LIMIT $6 + 0"
    );
    JOB_FILES = "SELECT name, sha256, content_type, size FROM job_files WHERE job_id = $1 ORDER BY name";
    KNOWN_FILES = "SELECT value FROM json_each($1) WHERE EXISTS (SELECT 1 FROM job_files WHERE sha256 = value) \
        OR EXISTS (SELECT 1 FROM callback_bodies WHERE sha256 = value AND sha256 IS NOT NULL)";

    // ---- sinks
    RETIRE_SINKS = "UPDATE sinks SET configured = 0";
    REGISTER_SINKS = "INSERT INTO sinks (name, transport, configured, cursor) \
        SELECT value->>0, value->>1, 1, $2 FROM jsonb_each($1) WHERE true \
        ON CONFLICT (name) DO UPDATE SET transport = excluded.transport, configured = 1";
    MOVE_CURSOR = "UPDATE sinks SET cursor = $3 WHERE name = $1 AND cursor = $2";
    SET_CURSOR = "UPDATE sinks SET cursor = $2, pending = pending - $3 WHERE name = $1";
    ADD_PENDING = "UPDATE sinks SET pending = pending + $2 WHERE name = $1";
    /// The first of a lane is due at once; the others wait for it.
    INSERT_DELIVERIES = "INSERT INTO deliveries (sink, seq, type, lane, job_id, state, due_at, created_at, updated_at) \
        SELECT $1, value->>0, value->>1, value->>2, value->>3, 0, \
        CASE WHEN value->>4 = 1 AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.sink = $1 \
            AND d.lane = value->>2 AND d.state = 0) THEN $3 END, $3, $3 \
        FROM jsonb_each($2) WHERE true ON CONFLICT (sink, seq) DO NOTHING";
    GET_DELIVERY = concat!("SELECT ", delivery_columns!(), " FROM deliveries WHERE sink = $1 AND seq = $2");
    SAVE_DELIVERY = "UPDATE deliveries SET state = $3, due_at = $4, attempts = $5, failures = $6, updated_at = $7, \
        status = $8, code = $9, error = $10 WHERE sink = $1 AND seq = $2";
    SAVE_SINK = "UPDATE sinks SET rest_until = $2, failing_since = $3, last_success_at = $4, last_error_at = $5, \
        last_code = $6, last_error = $7, disabled_at = $8, disabled_code = $9, disabled = $10, pending = $11, \
        delivered = $12, dead = $13 WHERE name = $1";
    WAKE_LANE = "UPDATE deliveries SET due_at = $3 WHERE sink = $1 AND due_at IS NULL AND seq = \
        (SELECT min(seq) FROM deliveries WHERE sink = $1 AND lane = $2 AND state = 0)";
    BRING_FORWARD = "UPDATE deliveries SET due_at = min(due_at, $2), failures = 0 \
        WHERE sink = $1 AND state = 0 AND due_at IS NOT NULL";
    /// The newest of them.
    FORGET_DELIVERIES_FROM = "DELETE FROM deliveries WHERE sink = $1 AND seq >= max($2, coalesce((SELECT min(seq) FROM \
        (SELECT seq FROM deliveries WHERE sink = $1 AND seq >= $2 ORDER BY seq DESC LIMIT $3 + 0)), $2)) RETURNING seq, state";
    FORGET_DELIVERY = "DELETE FROM deliveries WHERE sink = $1 AND seq = $2 RETURNING state";
    FORGET_DELIVERIES = "DELETE FROM deliveries WHERE (sink, seq) IN \
        (SELECT sink, seq FROM deliveries WHERE state <> 0 AND updated_at < $1 ORDER BY updated_at LIMIT $2 + 0)";
    GET_SINK = "SELECT name, transport, cursor, rest_until, failing_since, last_success_at, last_error_at, last_code, \
        last_error, disabled_at, disabled_code, disabled, pending, delivered, dead FROM sinks WHERE name = $1";
    GET_EVENT = "SELECT seq, type, at, job_id, account, mailbox_seq, data FROM events WHERE seq = $1";
    DUE_DELIVERIES = "SELECT d.seq, d.lane, d.attempts, e.type, e.at, e.job_id, e.account, e.mailbox_seq, e.data \
        FROM deliveries AS d LEFT JOIN events AS e ON e.seq = d.seq \
        WHERE d.sink = $1 AND d.state = 0 AND d.due_at IS NOT NULL AND d.due_at <= $2 \
        AND d.lane NOT IN (SELECT value FROM json_each($3)) ORDER BY d.due_at, d.seq LIMIT $4 + 0";
    NEXT_DELIVERY = "SELECT due_at FROM deliveries WHERE sink = $1 AND state = 0 AND due_at IS NOT NULL \
        AND lane NOT IN (SELECT value FROM json_each($2)) ORDER BY due_at, seq LIMIT 1";
    OLDEST_DELIVERY = "SELECT created_at FROM deliveries WHERE sink = $1 AND state = 0 ORDER BY seq LIMIT 1";
    LIST_DELIVERIES = concat!(
        "SELECT ", delivery_columns!(), " FROM deliveries WHERE sink = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3 + 0"
    );
    LIST_PENDING = concat!(
        "SELECT ", delivery_columns!(), " FROM deliveries WHERE sink = $1 AND seq < $2 AND state = 0 \
        ORDER BY seq DESC LIMIT $3 + 0"
    );
    LIST_DEAD = concat!(
        "SELECT ", delivery_columns!(), " FROM deliveries WHERE sink = $1 AND seq < $2 AND state = 2 \
        ORDER BY seq DESC LIMIT $3 + 0"
    );
    LIST_DELIVERED = concat!(
        "SELECT ", delivery_columns!(), " FROM deliveries WHERE sink = $1 AND seq < $2 AND state = 1 \
        ORDER BY seq DESC LIMIT $3 + 0"
    );

    // ---- freshness
    WATCH = "INSERT INTO watches (job_id, account, at) SELECT value->>0, value->>1, value->>2 FROM jsonb_each($1) \
        WHERE true ON CONFLICT (job_id) DO UPDATE SET at = excluded.at";
    WATCH_AGAIN = "UPDATE watches SET at = j.value->>1 FROM jsonb_each($1) AS j WHERE job_id = j.value->>0";
    UNWATCH = "DELETE FROM watches WHERE job_id IN (SELECT value FROM json_each($1))";
    /// Watches that lie later than $2 after the last good look, as [`crate::domain::Job::last_observed`] knows it.
    LATER_WATCHES = "SELECT job_id, sooner FROM (SELECT w.job_id, w.at, $2 + CASE WHEN jobs.errors = 0 AND jobs.reason_code IS NULL \
            THEN max(coalesce(jobs.observed_at, jobs.submitted_at, jobs.created_at), jobs.updated_at) \
            ELSE coalesce(jobs.observed_at, jobs.submitted_at, jobs.created_at) END AS sooner \
            FROM watches AS w JOIN jobs ON jobs.id = w.job_id \
            WHERE w.job_id > $3 AND w.account = $1 AND jobs.stale_since IS NULL ORDER BY w.job_id) \
        WHERE at > sooner LIMIT $4 + 0";
    DUE_WATCHES = concat!(
        "SELECT ", job_columns!(), " FROM (SELECT job_id FROM watches WHERE at <= $1 ORDER BY at LIMIT $2 + 0) AS due \
        JOIN jobs ON jobs.id = due.job_id"
    );
    NEXT_WATCH = "SELECT at FROM watches ORDER BY at LIMIT 1";
}
