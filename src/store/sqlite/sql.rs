//! Every SQL text of the store. A test prepares each of them against a freshly migrated database.
//!
//! Statements that carry many rows take one JSON text and read it with `json_each`: a statement costs the same whatever it
//! carries. A limit stands as `$n + 0`: for a bare parameter SQLite looks at its value while it plans, and so plans the
//! statement anew at every execution.

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
         jobs.created_at, jobs.submitted_at, jobs.updated_at, jobs.finished_at, jobs.mailbox_uid, jobs.retry_of"
    };
}

macro_rules! callback_columns {
    () => {
        "id, account, at, peer, content_type, size, repeats, last_at, vin, check_type, status, ids, unreadable, job_id, \
         matched_at, how"
    };
}

macro_rules! due_at_priority {
    ($n:literal) => {
        concat!(
            "SELECT * FROM (SELECT id FROM jobs WHERE account = $1 AND state = 0 AND due_at IS NOT NULL AND priority = ",
            $n,
            " AND due_at <= $2 AND id NOT IN (SELECT value FROM json_each($4)) ORDER BY due_at LIMIT $3 + 0)"
        )
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

statements! {
    // ---- the file itself
    GET_META = "SELECT value FROM meta WHERE key = $1";
    SET_META = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    LAST_JOB_ID = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0)";
    LAST_EVENT_SEQ = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";

    // ---- writes
    FIND_OPEN_KEYS = "SELECT dedupe_key, id FROM jobs \
        WHERE dedupe_key IN (SELECT value FROM json_each($1)) AND dedupe_key IS NOT NULL AND state < 4";
    FIND_TAKEN = "SELECT uid, job_id, code FROM mailbox_rows WHERE uid IN (SELECT value FROM json_each($1))";
    INSERT_JOBS = "INSERT INTO jobs (id, kind, account, traits, state, priority, due_at, deadline, cancel_requested, \
        dedupe_key, tag, remote_id, attempt, turn, submissions, polls, errors, absences, doubt_since, memo, seen, \
        reason_code, reason, created_at, submitted_at, updated_at, finished_at, mailbox_uid, retry_of) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, \
        value->>9, value->>10, value->>11, value->>12, value->>13, value->>14, value->>15, value->>16, value->>17, \
        value->>18, value->>19, value->>20, value->>21, value->>22, value->>23, value->>24, value->>25, value->>26, \
        value->>27, value->>28 FROM json_each($1)";
    INSERT_BODIES = "INSERT INTO bodies (job_id, params, params_hash) \
        SELECT value->>0, value->>1, value->>2 FROM json_each($1)";
    INSERT_MAILBOX_ROWS = "INSERT INTO mailbox_rows (uid, job_id, code, message, at) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each($1)";
    LOAD_JOBS = concat!("SELECT ", job_columns!(), " FROM jobs WHERE jobs.id IN (SELECT value FROM json_each($1))");
    UPDATE_JOBS = "UPDATE jobs SET state = j.value->>1, due_at = j.value->>2, cancel_requested = j.value->>3, \
        remote_id = j.value->>4, attempt = j.value->>5, turn = j.value->>6, submissions = j.value->>7, \
        polls = j.value->>8, errors = j.value->>9, absences = j.value->>10, doubt_since = j.value->>11, \
        memo = j.value->>12, seen = j.value->>13, reason_code = j.value->>14, reason = j.value->>15, \
        submitted_at = j.value->>16, updated_at = j.value->>17, finished_at = j.value->>18 \
        FROM json_each($1) AS j WHERE jobs.id = j.value->>0";
    UPDATE_PARTIALS = "UPDATE bodies SET partial = j.value->>1 FROM json_each($1) AS j WHERE job_id = j.value->>0";
    UPDATE_RESULTS = "UPDATE bodies SET result = j.value->>1, partial = NULL \
        FROM json_each($1) AS j WHERE job_id = j.value->>0";
    OPEN_ATTEMPTS = "INSERT INTO attempts (token, job_id, request_hash, epoch, intent_at, unclear_at, ended_at, outcome) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7 FROM json_each($1)";
    MARK_UNCLEAR = "UPDATE attempts SET unclear_at = j.value->>1 FROM json_each($1) AS j \
        WHERE token = j.value->>0 AND outcome IS NULL";
    CLOSE_ATTEMPTS = "UPDATE attempts SET outcome = j.value->>1, ended_at = j.value->>2 FROM json_each($1) AS j \
        WHERE token = j.value->>0 AND outcome IS NULL";
    INSERT_OBSERVATIONS = "INSERT INTO observations (job_id, at, fingerprint, data, raw) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each($1)";
    INSERT_EVENTS = "INSERT INTO events (seq, type, at, job_id, account, uid, mailbox_seq, data) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7 FROM json_each($1)";
    INSERT_CALLS = "INSERT INTO calls (account, call, op, job_id, jobs, at, took, status, outcome, note) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, \
        value->>9 FROM json_each($1)";
    SAVE_ACCOUNTS = "INSERT INTO accounts (name, version, data) \
        SELECT value->>0, value->>1, value->>2 FROM json_each($1) WHERE true \
        ON CONFLICT (name) DO UPDATE SET version = excluded.version, data = excluded.data \
        WHERE excluded.version > accounts.version";
    COUNT_BY_DELTAS = "INSERT INTO counters (account, kind, state, jobs) \
        SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each($1) WHERE true \
        ON CONFLICT (account, kind, state) DO UPDATE SET jobs = jobs + excluded.jobs";
    FIRE = "INSERT INTO firings (schedule, at) VALUES ($1, $2) ON CONFLICT DO NOTHING";

    // ---- retention, in bounded steps from the oldest on
    OLD_JOBS = "SELECT id, account, kind, state FROM jobs \
        WHERE finished_at IS NOT NULL AND finished_at < $1 ORDER BY finished_at LIMIT $2 + 0";
    DELETE_JOBS = "DELETE FROM jobs WHERE id IN (SELECT value FROM json_each($1))";
    DELETE_BODIES = "DELETE FROM bodies WHERE job_id IN (SELECT value FROM json_each($1))";
    DELETE_ATTEMPTS = "DELETE FROM attempts WHERE job_id IN (SELECT value FROM json_each($1))";
    DELETE_OBSERVATIONS = "DELETE FROM observations WHERE job_id IN (SELECT value FROM json_each($1))";
    DELETE_EVENTS = "DELETE FROM events WHERE seq IN \
        (SELECT seq FROM (SELECT seq, at, mailbox_seq FROM events ORDER BY seq LIMIT $2 + 0) \
         WHERE at < $1 AND coalesce(mailbox_seq, 0) <= $3)";
    DELETE_CALLS = "DELETE FROM calls WHERE id IN \
        (SELECT id FROM (SELECT id, at FROM calls ORDER BY id LIMIT $2 + 0) WHERE at < $1)";
    DELETE_FIRINGS = "DELETE FROM firings WHERE at < $1";

    // ---- reads
    DUE_SUBMITS = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.params_hash, bodies.partial FROM (",
        each_priority!(due_at_priority), " LIMIT $3 + 0) AS due \
        JOIN jobs ON jobs.id = due.id JOIN bodies ON bodies.job_id = due.id"
    );
    DUE_FREE = concat!(
        "SELECT ", job_columns!(), ", bodies.params, bodies.params_hash, bodies.partial FROM \
        (SELECT id FROM jobs WHERE account = $1 AND state IN (2, 3) AND due_at IS NOT NULL AND due_at <= $2 \
         AND id NOT IN (SELECT value FROM json_each($4)) ORDER BY due_at LIMIT $3 + 0) AS due JOIN jobs ON jobs.id = due.id JOIN bodies ON bodies.job_id = due.id"
    );
    NEXT_SUBMIT = concat!("SELECT min(due_at) FROM (", each_priority!(next_at_priority), ")");
    NEXT_FREE = "SELECT due_at FROM jobs WHERE account = $1 AND state IN (2, 3) AND due_at IS NOT NULL \
        AND due_at > $2 ORDER BY due_at LIMIT 1";
    OVERDUE = "SELECT id FROM jobs WHERE deadline IS NOT NULL AND state IN (0, 2) AND deadline <= $1 \
        ORDER BY deadline LIMIT $2 + 0";
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
    JOB_EVENTS = "SELECT seq, type, at, job_id, account, mailbox_seq, data FROM events \
        WHERE job_id = $1 AND job_id IS NOT NULL ORDER BY seq LIMIT $2 + 0";
    JOB_OBSERVATIONS = "SELECT at, data, raw FROM observations WHERE job_id = $1 ORDER BY id LIMIT $2 + 0";
    JOB_CALLS = "SELECT at, took, call, op, jobs, status, outcome, note FROM calls \
        WHERE job_id = $1 AND job_id IS NOT NULL ORDER BY id LIMIT $2 + 0";
    LAST_OBSERVATIONS = "SELECT job_id, data FROM observations WHERE id IN \
        (SELECT (SELECT max(id) FROM observations WHERE job_id = j.value) FROM json_each($1) AS j)";
    EVENTS_AFTER = "SELECT seq, type, at, job_id, account, mailbox_seq, data FROM events \
        WHERE seq > $1 ORDER BY seq LIMIT $2 + 0";
    OLDEST_EVENT = "SELECT seq FROM events ORDER BY seq LIMIT 1";
    GET_ACCOUNTS = "SELECT name, data FROM accounts";
    GET_COUNTS = "SELECT account, kind, state, jobs FROM counters WHERE jobs <> 0";
    MAILBOX_FEED = "SELECT seq, type, at, job_id, account, mailbox_seq, data, uid FROM events \
        WHERE mailbox_seq > $1 AND mailbox_seq IS NOT NULL ORDER BY mailbox_seq LIMIT $2 + 0";
    MAILBOX_SIZES = "SELECT m.uid, coalesce(octet_length(bodies.result), 0) FROM mailbox_rows AS m \
        JOIN bodies ON bodies.job_id = m.job_id WHERE m.uid IN (SELECT value FROM json_each($1))";
    MAILBOX_ROWS = "SELECT m.uid, m.job_id, m.code, m.message, m.at, jobs.state, jobs.remote_id, jobs.reason_code, \
        jobs.reason, jobs.updated_at, jobs.finished_at, bodies.result, jobs.kind, jobs.account, jobs.priority, \
        jobs.dedupe_key, jobs.deadline, jobs.tag, bodies.params FROM mailbox_rows AS m LEFT JOIN jobs ON jobs.id = m.job_id LEFT JOIN bodies ON bodies.job_id = m.job_id \
        WHERE m.uid IN (SELECT value FROM json_each($1))";

    // ---- call-backs and files
    KEEP_CALLBACK = "INSERT INTO callbacks (account, at, peer, content_type, size, fingerprint, last_at, vin, check_type, \
        status, ids, unreadable) VALUES ($1, $2, $3, $4, $5, $6, $2, $7, $8, $9, $10, $11) \
        ON CONFLICT (account, fingerprint) DO UPDATE SET repeats = repeats + 1, last_at = excluded.last_at \
        RETURNING id, repeats";
    KEEP_CALLBACK_BODY = "INSERT INTO callback_bodies (callback_id, body, sha256) VALUES ($1, $2, $3)";
    CALLBACK_OWNER = "SELECT job_id FROM callbacks WHERE id = $1";
    OWN_CALLBACK = "UPDATE callbacks SET job_id = $2, matched_at = $3, how = $4 WHERE id = $1";
    INSERT_JOB_FILES = "INSERT INTO job_files (job_id, name, sha256, content_type, size, callback_id) \
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each($1)";
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
    /// Those that name no car are few: the oldest of them go along.
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
}
