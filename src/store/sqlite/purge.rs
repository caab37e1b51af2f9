//! Removing a person's data: what stays is that a job of a kind was ordered, when, and whether it was paid.
//!
//! `secure_delete` overwrites what is removed from the file; the write-ahead log, which holds older copies of pages, is
//! emptied afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::{BUSY, sort_error, sql};
use crate::domain::{Job, JobId, State, Timestamp};
use crate::store::StoreError;
use crate::store::upkeep::{PurgeOutcome, Purged};

/// For a checkpoint that empties the log.
pub const BRIEFLY: Duration = Duration::from_millis(100);

pub async fn purge(conn: &mut SqliteConnection, job: Option<&Job>, now: Timestamp) -> Result<PurgeOutcome, StoreError> {
    let Some(job) = job else { return Ok(PurgeOutcome::NoJob) };
    if !job.state.is_final() {
        return Ok(PurgeOutcome::Unfinished(job.state));
    }
    let id = job.id.0;
    let hashes: Vec<String> =
        sqlx::query_scalar(sql::PURGED_FILES).bind(id).fetch_all(&mut *conn).await.map_err(sort_error)?;
    let data = remains(job);
    let events = run(conn, sql::PURGE_EVENTS, id, Some(&data)).await?;
    let observations = run(conn, sql::PURGE_OBSERVATIONS, id, None).await?;
    let calls = run(conn, sql::PURGE_CALLS, id, None).await?;
    let bodies = run(conn, sql::PURGE_CALLBACK_BODIES, id, None).await?;
    let callbacks = run(conn, sql::PURGE_CALLBACKS, id, None).await?;
    let files = run(conn, sql::PURGE_JOB_FILES, id, None).await?;
    debug_assert!(bodies <= callbacks, "a body belongs to a call-back");
    for statement in
        [sql::PURGE_UIDS, sql::PURGE_BODY, sql::PURGE_ATTEMPTS, sql::PURGE_COSTS, sql::PURGE_DOWNLOADS, sql::PURGE_JOB]
    {
        run(conn, statement, id, None).await?;
    }
    if let Some(uid) = &job.mailbox_uid {
        sqlx::query(sql::PURGE_MAILBOX_ROW)
            .bind(uid)
            .bind(now.as_millis())
            .execute(&mut *conn)
            .await
            .map_err(sort_error)?;
    }
    let uid = job.mailbox_uid.clone();
    Ok(PurgeOutcome::Done(Purged { observations, events, calls, callbacks, files, hashes, uid, log_emptied: false }))
}

/// What an event of the job still says. Its number stays, so that nobody misses one.
fn remains(job: &Job) -> String {
    let state: State = job.state;
    json!({ "kind": job.kind, "account": job.account, "state": state, "purged": true }).to_string()
}

async fn run(
    conn: &mut SqliteConnection,
    statement: &'static str,
    job: i64,
    data: Option<&str>,
) -> Result<u64, StoreError> {
    let mut query = sqlx::query(statement).bind(job);
    if let Some(data) = data {
        query = query.bind(data.to_owned());
    }
    Ok(query.execute(conn).await.map_err(sort_error)?.rows_affected())
}

/// Moves the write-ahead log into the file and cuts it to nothing; false while a reader needs it.
pub async fn empty_log(conn: &mut SqliteConnection) -> Result<bool, StoreError> {
    // The writer must not stand still for a slow reader: paid calls wait for it.
    wait_for_others(&mut *conn, BRIEFLY).await?;
    let done: Result<(i64, i64, i64), _> = sqlx::query_as(sql::EMPTY_WAL).fetch_one(&mut *conn).await;
    wait_for_others(conn, BUSY).await?;
    Ok(done.map_err(sort_error)?.0 == 0)
}

pub async fn wait_for_others(conn: &mut SqliteConnection, at_most: Duration) -> Result<(), StoreError> {
    let statement = format!("PRAGMA busy_timeout = {}", at_most.as_millis());
    // A number of ours: nothing else can stand in it.
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(conn).await.map_err(sort_error)?;
    Ok(())
}

pub async fn mailbox_purges(pool: &SqlitePool) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar(sql::MAILBOX_PURGES).fetch_all(pool).await.map_err(sort_error)
}

pub async fn mailbox_purged(conn: &mut SqliteConnection, uids: &[String]) -> Result<(), StoreError> {
    let uids = Value::from(uids.to_vec()).to_string();
    sqlx::query(sql::MAILBOX_PURGED).bind(uids).execute(conn).await.map_err(sort_error)?;
    Ok(())
}

/// Numbers only: what the purge's caller wants to know of a job before it asks for more.
pub fn numbers(ids: &[JobId]) -> String {
    Value::from(ids.iter().map(|id| id.0).collect::<Vec<_>>()).to_string()
}
