//! Retention: a bounded step from the oldest on. What is unfinished or in doubt has no end time and is never touched.

use serde_json::Value;
use sqlx::SqliteConnection;

use super::draft::Draft;
use super::{sort_error, sql};
use crate::domain::Timestamp;
use crate::store::{Removed, Retention, StoreError};

/// How many rows of each table one transaction removes.
const STEP: i64 = 500;
/// Fire times that nobody can fire again are forgotten after this long.
const FIRINGS_DAYS: u64 = 7;

pub async fn step(
    conn: &mut SqliteConnection,
    draft: &mut Draft,
    retention: Retention,
    now: Timestamp,
    mailbox_written: i64,
) -> Result<Removed, StoreError> {
    let jobs = old_jobs(conn, draft, now - retention.finished).await?;
    let events = sqlx::query(sql::DELETE_EVENTS)
        .bind((now - retention.events).as_millis())
        .bind(STEP)
        .bind(mailbox_written)
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?
        .rows_affected();
    let calls = sqlx::query(sql::DELETE_CALLS)
        .bind((now - retention.calls).as_millis())
        .bind(STEP)
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?
        .rows_affected();
    let firings = now - std::time::Duration::from_secs(FIRINGS_DAYS * 86_400);
    sqlx::query(sql::DELETE_FIRINGS).bind(firings.as_millis()).execute(&mut *conn).await.map_err(sort_error)?;
    let full = STEP as u64;
    Ok(Removed { jobs, events, calls, more: jobs == full || events == full || calls == full })
}

async fn old_jobs(conn: &mut SqliteConnection, draft: &mut Draft, cutoff: Timestamp) -> Result<u64, StoreError> {
    let old: Vec<(i64, String, String, i64)> = sqlx::query_as(sql::OLD_JOBS)
        .bind(cutoff.as_millis())
        .bind(STEP)
        .fetch_all(&mut *conn)
        .await
        .map_err(sort_error)?;
    if old.is_empty() {
        return Ok(0);
    }
    for (_, account, kind, state) in &old {
        draft.forget(account, kind, *state);
    }
    let ids = Value::from(old.iter().map(|(id, ..)| *id).collect::<Vec<_>>()).to_string();
    for statement in
        [sql::FORGET_ORDERS, sql::DELETE_OBSERVATIONS, sql::DELETE_ATTEMPTS, sql::DELETE_BODIES, sql::DELETE_JOBS]
    {
        sqlx::query(statement).bind(&ids).execute(&mut *conn).await.map_err(sort_error)?;
    }
    Ok(old.len() as u64)
}
