//! A store with many jobs that wait, as the daemon itself would have left them.

use std::path::Path;

use rusqlite::Connection;

use opros::clock::SystemClock;
use opros::store::Store;
use opros::store::sqlite::SqliteStore;

const CHUNK: u64 = 50_000;

/// `?1`, `?2`: the first and last number; `?3`: when they were ordered; `?4`: when the first is due; `?5`: ms between two.
const ROWS: [&str; 6] = [
    "INSERT INTO jobs (id, kind, account, traits, state, priority, due_at, tag, remote_id, attempt, submissions, polls, created_at, \
     submitted_at, updated_at) SELECT i, 'tronk.report', 'tronk', 0, 2, 5, ?4 + i * ?5, 'customer-' || i % 1000, 79000000000 + i, \
     printf('%032x', i), 1, 0, ?3, ?3, ?3 FROM n",
    "INSERT INTO bodies (job_id, params, params_hash) SELECT i, '{\"phone\":\"' || (79000000000 + i) || '\"}', printf('%064x', i) FROM n",
    "INSERT INTO attempts (token, job_id, request_hash, epoch, intent_at, ended_at, outcome) \
     SELECT printf('%032x', i), i, printf('%064x', i), 1, ?3, ?3, 'accepted' FROM n",
    "INSERT INTO costs (token, at, job_id, account, kind, tag, params_hash, price, sure, decided_at) SELECT printf('%032x', i), ?3, i, \
     'tronk', 'tronk.report', 'customer-' || i % 1000, NULL, NULL, 'booked', ?3 FROM n",
    "INSERT INTO events (type, at, job_id, account, data) SELECT 'job.submitted', ?3, i, 'tronk', \
     '{\"kind\":\"tronk.report\",\"account\":\"tronk\",\"state\":\"waiting\",\"tag\":\"customer-1\"}' FROM n",
    "INSERT INTO calls (account, call, op, job_id, jobs, at, took, status, outcome) SELECT 'tronk', 'submit', 'setqueue', i, 1, ?3, 20, 200, \
     'accepted' FROM n",
];

/// They ended long ago. One event is of today: or the clock would seem to have leapt, and nothing were removed.
pub fn end_all(path: &Path) {
    let conn = Connection::open(path).expect("it opens");
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144").expect("settings");
    conn.execute_batch(
        "BEGIN; UPDATE jobs SET state = 4, due_at = NULL, created_at = id, submitted_at = id, updated_at = id, finished_at = id; \
         UPDATE events SET at = seq; UPDATE calls SET at = id; UPDATE counters SET state = 4; COMMIT; \
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .expect("rows");
    let newest = "UPDATE events SET at = ?1 WHERE seq = (SELECT max(seq) FROM events)";
    conn.execute(newest, [crate::now_us() as i64 / 1000]).expect("a row");
}

pub async fn waiting(path: &Path, jobs: u64, first_due: u64, apart: u64) {
    let store = SqliteStore::open(path, true, SystemClock::shared()).await.expect("a store");
    store.close().await;
    drop(store);
    let conn = Connection::open(path).expect("it opens");
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -262144")
        .expect("settings");
    let ordered = crate::now_us() / 1000 - 3_600_000;
    for first in (1..=jobs).step_by(CHUNK as usize) {
        let last = (first + CHUNK - 1).min(jobs);
        conn.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        for insert in ROWS {
            let (into, from) = insert.split_once("SELECT").expect("a statement");
            let text = format!(
                "{into} WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) SELECT{from} \
                 WHERE coalesce(?3, ?4, ?5) IS NOT NULL"
            );
            let values = [first, last, ordered, first_due, apart].map(|n| n as i64);
            conn.execute(&text, values).expect("rows");
        }
        conn.execute_batch("COMMIT").expect("a commit");
    }
    let counters = "INSERT INTO counters (account, kind, state, jobs) SELECT account, kind, state, count(*) FROM jobs GROUP BY 1, 2, 3";
    conn.execute_batch(counters).expect("counters");
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("a checkpoint");
}
