//! What the judge judges by: the two database files, read by SQL of its own, and what those around the daemon wrote down.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

/// What is ordered again is called so, and then as it was called first.
pub const AGAIN: &str = "again-";

#[derive(Debug)]
pub struct Job {
    pub id: i64,
    pub state: usize,
    pub due: bool,
    pub uid: Option<String>,
    pub retry_of: Option<i64>,
    pub remote: Option<String>,
    pub result: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug)]
pub struct Attempt {
    pub job: i64,
    pub at: i64,
    pub unclear: bool,
    pub outcome: Option<String>,
}

#[derive(Debug)]
pub struct Event {
    pub seq: i64,
    pub kind: String,
    pub job: Option<i64>,
    pub uid: Option<String>,
    pub mailbox_seq: Option<i64>,
}

/// All that there is to judge by.
#[derive(Debug)]
pub struct Evidence {
    pub ledger: Vec<Value>,
    pub orders: Vec<Value>,
    pub liveness: Value,
    pub stream: Vec<Value>,
    pub mailbox_seen: Vec<Value>,
    pub hooks: Vec<Value>,
    /// What those who share the machine saw that must not be.
    pub complaints: Vec<Value>,
    pub jobs: Vec<Job>,
    pub attempts: Vec<Attempt>,
    pub events: Vec<Event>,
    pub taken: BTreeMap<String, Option<i64>>,
    pub mailbox_rows: BTreeMap<String, (String, Option<i64>)>,
    pub mailbox_events: Vec<(i64, String, String)>,
    pub unsound: Vec<String>,
    /// The daemon found the mailbox damaged, moved it aside and made a new one, which has the rows that were not settled.
    pub mailbox_moved: bool,
}

pub async fn gather(dir: &Path, data: &Path) -> Result<Evidence, sqlx::Error> {
    let mut store = open(&data.join("store/opros.db")).await?;
    let mut mailbox = open(&data.join("mailbox/mailbox.db")).await?;
    let mut unsound = sound(&mut store, "store").await?;
    unsound.extend(sound(&mut mailbox, "mailbox").await?);
    let evidence = Evidence {
        ledger: lines(&dir.join("ledger.ndjson")),
        orders: lines(&dir.join("orders.ndjson")),
        liveness: lines(&dir.join("liveness.ndjson")).pop().unwrap_or_default(),
        stream: lines(&dir.join("stream.ndjson")),
        mailbox_seen: lines(&dir.join("mailbox.ndjson")),
        hooks: lines(&dir.join("hooks.ndjson")),
        complaints: lines(&dir.join("complaints.ndjson")),
        jobs: jobs(&mut store).await?,
        attempts: attempts(&mut store).await?,
        events: events(&mut store).await?,
        taken: taken(&mut store).await?,
        mailbox_rows: mailbox_rows(&mut mailbox).await?,
        mailbox_events: mailbox_events(&mut mailbox).await?,
        unsound,
        mailbox_moved: was_moved(&data.join("mailbox")),
    };
    store.close().await?;
    mailbox.close().await?;
    Ok(evidence)
}

fn was_moved(mailbox: &Path) -> bool {
    let files = std::fs::read_dir(mailbox).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().contains(".damaged-"))
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5)).connect().await
}

async fn sound(conn: &mut SqliteConnection, name: &str) -> Result<Vec<String>, sqlx::Error> {
    let words: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *conn).await?;
    let keys = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *conn).await?.len();
    let mut wrong: Vec<String> =
        words.into_iter().filter(|word| word != "ok").map(|word| format!("{name}: {word}")).collect();
    if keys > 0 {
        wrong.push(format!("{name}: {keys} rows refer to nothing"));
    }
    Ok(wrong)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn jobs(conn: &mut SqliteConnection) -> Result<Vec<Job>, sqlx::Error> {
    let query = "SELECT id, state, due_at IS NOT NULL, coalesce(mailbox_uid, uid), retry_of, remote_id, b.result, reason_code \
        FROM jobs LEFT JOIN bodies AS b ON b.job_id = jobs.id ORDER BY id";
    let rows = sqlx::query(query).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Job {
                id: row.try_get(0)?,
                state: usize::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default(),
                due: row.try_get(2)?,
                uid: row.try_get(3)?,
                retry_of: row.try_get(4)?,
                remote: row.try_get(5)?,
                result: row.try_get(6)?,
                reason: row.try_get(7)?,
            })
        })
        .collect()
}

async fn attempts(conn: &mut SqliteConnection) -> Result<Vec<Attempt>, sqlx::Error> {
    let query = "SELECT job_id, intent_at, unclear_at IS NOT NULL, outcome FROM attempts ORDER BY intent_at";
    let rows = sqlx::query(query).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let (job, at, unclear, outcome) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            Ok(Attempt { job, at, unclear, outcome })
        })
        .collect()
}

async fn events(conn: &mut SqliteConnection) -> Result<Vec<Event>, sqlx::Error> {
    let query = "SELECT seq, type, job_id, uid, mailbox_seq FROM events ORDER BY seq";
    let rows = sqlx::query(query).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let (seq, kind, job) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(Event { seq, kind, job, uid: row.try_get(3)?, mailbox_seq: row.try_get(4)? })
        })
        .collect()
}

async fn taken(conn: &mut SqliteConnection) -> Result<BTreeMap<String, Option<i64>>, sqlx::Error> {
    let rows = sqlx::query("SELECT uid, job_id FROM uids").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn mailbox_rows(conn: &mut SqliteConnection) -> Result<BTreeMap<String, (String, Option<i64>)>, sqlx::Error> {
    let rows = sqlx::query("SELECT uid, state, job_id FROM jobs").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

async fn mailbox_events(conn: &mut SqliteConnection) -> Result<Vec<(i64, String, String)>, sqlx::Error> {
    let rows = sqlx::query("SELECT seq, type, event_id FROM events ORDER BY seq").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

impl Evidence {
    /// The jobs that stand for an order: one, if all is well. An order that was ordered again is its retries.
    pub fn of_order(&self, name: &str) -> Vec<&Job> {
        let called = |name: &str| self.jobs.iter().filter(|job| job.uid.as_deref() == Some(name)).collect::<Vec<_>>();
        let Some(first) = name.strip_prefix(AGAIN) else {
            return called(name).into_iter().filter(|job| job.retry_of.is_none()).collect();
        };
        let firsts: Vec<i64> = called(first).iter().map(|job| job.id).collect();
        self.jobs.iter().filter(|job| job.retry_of.is_some_and(|of| firsts.contains(&of))).collect()
    }

    /// Paid orders only: what Alta charges day by day belongs to them.
    pub fn bookings(&self, vendor: &str, key: &str) -> Vec<&Value> {
        let paid = self.ledger.iter().filter(|booking| booking["op"] != "daily");
        paid.filter(|booking| booking["vendor"] == vendor && booking["key"] == key).collect()
    }

    pub fn events_of(&self, job: i64) -> Vec<&str> {
        self.events.iter().filter(|event| event.job == Some(job)).map(|event| event.kind.as_str()).collect()
    }
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
