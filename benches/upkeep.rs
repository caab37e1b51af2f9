//! Retention, backup, restore and export of a store with many finished jobs, with the figures that docs/operations.md
//! quotes. `cargo bench --bench upkeep`, or for fewer jobs: `cargo bench --bench upkeep -- 200000`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use opros::clock::{Clock, SystemClock};
use opros::domain::repeat::Asked;
use opros::domain::{JobId, NewJob, Timestamp, Traits};
use opros::store::sqlite::SqliteStore;
use opros::store::sqlite::restore::restore;
use opros::store::{Retention, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

const JOBS: i64 = 1_000_000;
/// Rows of one filling transaction.
const CHUNK: i64 = 50_000;
/// Commits a second while a backup is made.
const RATE: u32 = 1_000;
/// How long commits are measured alone.
const ALONE: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(86_400);
/// Nobody's paid call waits longer than this for a step.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// What a million finished jobs leave: a body with a result of 900 bytes, an attempt, an observation, a ledger's line, two
/// events, three calls. `$1` and `$2`: numbers; `$3`: the time of the first.
const FILL: [&str; 7] = [
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO jobs (id, kind, account, traits, state, priority, tag, remote_id, attempt, submissions, polls, created_at, \
     submitted_at, updated_at, finished_at) SELECT i, 'tronk.report', 'tronk', 0, iif(i % 20 = 0, 5, 4), 5, 'customer-' || i % 1000, \
     'r' || i, printf('%032x', i), 1, 3, $3 + i, $3 + i + 100, $3 + i + 60000, $3 + i + 60000 FROM n",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO bodies (job_id, params, params_hash, result) SELECT i, '{\"phone\":\"7' || printf('%010d', i) || '\"}', \
     printf('%064x', i), '{\"report\":\"' || hex(zeroblob(430)) || printf('%020d', i + $3 * 0) || '\"}' FROM n",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO attempts (token, job_id, request_hash, epoch, intent_at, ended_at, outcome) \
     SELECT printf('%032x', i * 2654435761 % 4294967296) || i, i, printf('%064x', i), 1, $3 + i, $3 + i + 100, 'accepted' FROM n",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO observations (job_id, at, fingerprint, data, raw) SELECT i, $3 + i + 60000, printf('%064x', i), \
     '{\"status\":\"ready\"}', '{\"status\":\"ready\",\"id\":' || i || '}' FROM n",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO costs (token, at, job_id, account, kind, tag, params_hash, price, sure, decided_at) \
     SELECT printf('%032x', i * 2654435761 % 4294967296) || i, $3 + i, i, 'tronk', 'tronk.report', 'customer-' || i % 1000, \
     printf('%064x', i), 30000000, 'booked', $3 + i + 100 FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 2 * $1 - 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2 * $2) \
     INSERT INTO events (type, at, job_id, account, data) SELECT iif(i % 2 = 1, 'job.accepted', 'job.succeeded'), $3 + i / 2, \
     (i + 1) / 2, 'tronk', '{\"kind\":\"tronk.report\",\"account\":\"tronk\",\"state\":\"succeeded\",\"tag\":null}' FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 3 * $1 - 2 UNION ALL SELECT i + 1 FROM n WHERE i < 3 * $2) \
     INSERT INTO calls (account, call, op, job_id, jobs, at, took, status, outcome) SELECT 'tronk', 'look', 'getresult', \
     (i + 2) / 3, 1, $3 + i / 3, 120, 200, 'pending' FROM n",
];

async fn fill(path: &Path, jobs: i64, from: Timestamp) {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false).journal_mode(SqliteJournalMode::Wal);
    let mut conn = options.disable_statement_logging().connect().await.expect("the store opens");
    let run = async |conn: &mut SqliteConnection, text: &'static str| {
        sqlx::query(text).execute(conn).await.expect(text);
    };
    run(&mut conn, "PRAGMA synchronous = OFF").await;
    run(&mut conn, "PRAGMA cache_size = -262144").await;
    for first in (1..=jobs).step_by(CHUNK as usize) {
        let last = (first + CHUNK - 1).min(jobs);
        run(&mut conn, "BEGIN IMMEDIATE").await;
        for statement in FILL {
            let query = sqlx::query(statement).bind(first).bind(last).bind(from.as_millis());
            query.execute(&mut conn).await.expect("rows");
        }
        run(&mut conn, "COMMIT").await;
    }
    let count = "INSERT INTO counters (account, kind, state, jobs) SELECT account, kind, state, count(*) FROM jobs GROUP BY 1, 2, 3";
    run(&mut conn, count).await;
    run(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    conn.close().await.expect("it closes");
}

async fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, true, SystemClock::shared()).await.expect("the store opens"))
}

fn mib(path: &Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |file| file.len() as f64 / f64::from(1 << 20))
}

/// VmHWM, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

fn order() -> NewJob {
    NewJob {
        kind: "tronk.report".to_owned(),
        account: "tronk".to_owned(),
        traits: Traits::default(),
        params: r#"{"phone":"79990000111"}"#.to_owned(),
        priority: 5,
        not_before: Some(SystemClock.now() + 365 * DAY),
        deadline: None,
        dedupe_key: None,
        tag: None,
        mailbox_uid: None,
        retry_of: None,
        asked: Asked::default(),
        follow: None,
    }
}

/// Commits until told to stop: how long each took, shortest first.
async fn commits(store: Arc<dyn Store>, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let (mut waits, mut under_way) = (Vec::new(), tokio::task::JoinSet::new());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
    while !stop.load(Relaxed) {
        tick.tick().await;
        let store = Arc::clone(&store);
        under_way.spawn(async move {
            let (begun, now) = (Instant::now(), SystemClock.now());
            store.accept(vec![order()], now).await.expect("it is taken in");
            begun.elapsed()
        });
        while let Some(done) = under_way.try_join_next() {
            waits.push(done.expect("no panic"));
        }
    }
    while let Some(done) = under_way.join_next().await {
        waits.push(done.expect("no panic"));
    }
    waits.sort();
    waits
}

fn spread(waits: &[Duration]) -> String {
    let at = |share: f64| waits[((waits.len() as f64 * share) as usize).min(waits.len() - 1)];
    format!("{} commits, p50 {:.1?}, p99 {:.1?}, longest {:.1?}", waits.len(), at(0.5), at(0.99), at(1.0))
}

async fn export(store: &dyn Store) {
    let (begun, mut rows, mut bytes) = (Instant::now(), 0_u64, 0_usize);
    let span = store.jobs_span().await.expect("a span");
    let mut after = span.after;
    while after < span.last {
        let jobs = store.export_jobs(JobId(after), Timestamp::MIN).await.expect("jobs");
        after = jobs.last().map_or(span.last, |job| job.job.id.0);
        rows += jobs.len() as u64;
        bytes += jobs.iter().map(|job| job.params.len() + job.result.as_ref().map_or(0, String::len)).sum::<usize>();
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "export:    {rows} jobs with {:.0} MiB of bodies in {took:.1} s, {:.0} jobs/s; RSS at its peak {:.0} MiB",
        bytes as f64 / f64::from(1 << 20),
        rows as f64 / took,
        peak()
    );
}

async fn backup(store: &Arc<dyn Store>, path: &Path, copy: &Path) {
    let run = || {
        let stop = Arc::new(AtomicBool::new(false));
        (tokio::spawn(commits(Arc::clone(store), Arc::clone(&stop))), stop)
    };
    let (alone, stop) = run();
    tokio::time::sleep(ALONE).await;
    stop.store(true, Relaxed);
    println!("commits:   {} (alone)", spread(&alone.await.expect("no panic")));
    let (beside, stop) = run();
    let begun = Instant::now();
    store.backup(copy).await.expect("a backup");
    let took = begun.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    println!("commits:   {} (beside the backup)", spread(&beside.await.expect("no panic")));
    println!(
        "backup:    {:.0} MiB in {took:.1} s, {:.0} MiB/s, its check of all pages included; the store's log {:.0} MiB after it",
        mib(copy),
        mib(copy) / took,
        mib(&path.with_extension("db-wal"))
    );
}

/// False where a step was too long or the file did not shrink.
async fn retention(store: &dyn Store, path: &Path) -> bool {
    let rules = Retention { mailbox: false, ..Retention::by_age(DAY, DAY, DAY) };
    let (before, begun) = (mib(path), Instant::now());
    let (mut jobs, mut steps, mut emptied) = (0, Vec::new(), None);
    loop {
        let step = Instant::now();
        let removed = store.retain(rules, SystemClock.now()).await.expect("a step");
        steps.push(step.elapsed());
        jobs += removed.jobs;
        if emptied.is_none() && removed.jobs == 0 && removed.events == 0 && removed.calls == 0 {
            emptied = Some(begun.elapsed());
        }
        if !removed.more {
            break;
        }
    }
    let took = begun.elapsed();
    let rows = emptied.unwrap_or(took).as_secs_f64();
    steps.sort();
    println!(
        "retention: {jobs} jobs with all that hangs on them in {rows:.1} s, {:.0} jobs/s, {:.1} s until the file has shrunk",
        jobs as f64 / rows,
        took.as_secs_f64()
    );
    println!("           steps: {}", spread(&steps).replace("commits", "of them"));
    store.close().await;
    println!("           the file: {before:.0} MiB before, {:.0} MiB after", mib(path));
    steps.last().is_none_or(|step| *step < LONGEST_STEP) && mib(path) < before / 2.0
}

#[tokio::main]
async fn main() -> ExitCode {
    let jobs = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(JOBS);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("opros.db");
    open(&path).await.close().await;
    let begun = Instant::now();
    fill(&path, jobs, SystemClock.now() - 200 * DAY).await;
    println!("{jobs} finished jobs in {:.0} MiB, made in {:.0} s", mib(&path), begun.elapsed().as_secs_f64());
    // What filling took is not what the store takes.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let store = open(&path).await;
    export(store.as_ref()).await;
    let copy = dir.path().join("copy.db");
    backup(&store, &path, &copy).await;
    let good = retention(store.as_ref(), &path).await;
    let begun = Instant::now();
    let size = mib(&copy);
    restore(&copy, &path, true, SystemClock.now()).await.expect("it is put back");
    let took = begun.elapsed().as_secs_f64();
    println!("restore:   {size:.0} MiB in {took:.1} s, {:.0} MiB/s, checked and prepared", size / took);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
