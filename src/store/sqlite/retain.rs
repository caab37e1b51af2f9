//! Retention: a bounded step from the oldest on. What is unfinished or in doubt has no end time and is never touched.

use serde_json::Value;
use sqlx::SqliteConnection;

use super::draft::Draft;
use super::{sort_error, sql};
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::upkeep::{Removed, Retention};

/// How many events, and how many calls, one transaction removes.
const STEP: i64 = 50;
/// So far it is looked for an old event behind those whose time is yet to come.
const HEAD: i64 = 2_000;
/// How many jobs: rows of six tables and a dozen indexes hang on each, and paid calls wait for the transaction, some three
/// milliseconds.
const JOBS: i64 = 12;
/// Fire times that nobody can fire again are forgotten after this long.
const FIRINGS_DAYS: u64 = 7;
/// Those of schedules cost money: a clock that is set back by months must not make them again.
const SCHEDULE_FIRINGS_DAYS: u64 = 400;
/// Pages that one step gives back to the file system, and free ones that the file keeps for what comes next.
const PAGES: i64 = 32;
const SPARE_PAGES: i64 = 256;

pub async fn step(
    conn: &mut SqliteConnection,
    draft: &mut Draft,
    retention: Retention,
    now: Timestamp,
    mailbox_written: i64,
) -> Result<Removed, StoreError> {
    let jobs = old_jobs(conn, draft, retention, now).await?;
    let written = if retention.mailbox { mailbox_written } else { i64::MAX };
    let newest = draft.numbers.last_seq;
    let events = sqlx::query(sql::DELETE_EVENTS)
        .bind((now - retention.events).as_millis())
        .bind(STEP)
        .bind(written)
        .bind(beyond(retention.most.events, newest))
        .bind(HEAD)
        .bind(now.as_millis())
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?
        .rows_affected();
    let newest: i64 = sqlx::query_scalar(sql::LAST_CALL).fetch_one(&mut *conn).await.map_err(sort_error)?;
    let calls = sqlx::query(sql::DELETE_CALLS)
        .bind((now - retention.calls).as_millis())
        .bind(STEP)
        .bind(beyond(retention.most.calls, newest))
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?
        .rows_affected();
    let uids = sqlx::query(sql::DELETE_UIDS)
        .bind((now - retention.uids).as_millis())
        .bind(STEP)
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?
        .rows_affected();
    let ledger = old_ledger(conn, (now - retention.ledger).as_millis()).await?;
    for (statement, days) in
        [(sql::DELETE_FIRINGS, FIRINGS_DAYS), (sql::DELETE_SCHEDULE_FIRINGS, SCHEDULE_FIRINGS_DAYS)]
    {
        let cutoff = now - std::time::Duration::from_secs(days * 86_400);
        sqlx::query(statement).bind(cutoff.as_millis()).execute(&mut *conn).await.map_err(sort_error)?;
    }
    let (pages, more_pages) = give_back(conn).await?;
    let full = STEP as u64;
    let more = jobs == JOBS as u64 || [events, calls, uids].contains(&full) || ledger >= full || more_pages;
    Ok(Removed { jobs, events, calls, uids, ledger, pages, more })
}

/// Lines of jobs that are still there stay, and so does the newest: its number says how far the store has come.
async fn old_ledger(conn: &mut SqliteConnection, before: i64) -> Result<u64, StoreError> {
    let mut removed = 0;
    for statement in [sql::DELETE_COSTS, sql::DELETE_BALANCES] {
        let query = sqlx::query(statement).bind(before).bind(STEP);
        removed += query.execute(&mut *conn).await.map_err(sort_error)?.rows_affected();
    }
    if removed > 0 {
        sqlx::query(sql::DELETE_SPENDING).bind(before).execute(conn).await.map_err(sort_error)?;
    }
    Ok(removed)
}

/// Numbers up to here are too many; consecutive ones are as good as a count.
fn beyond(most: Option<u64>, newest: i64) -> i64 {
    most.map_or(i64::MIN, |most| newest.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX)))
}

async fn old_jobs(
    conn: &mut SqliteConnection,
    draft: &mut Draft,
    retention: Retention,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let too_many = match retention.most.finished {
        None => 0,
        Some(most) => {
            let finished: i64 =
                sqlx::query_scalar(sql::COUNT_FINISHED).fetch_one(&mut *conn).await.map_err(sort_error)?;
            finished.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX)).clamp(0, JOBS)
        }
    };
    let cutoff = (now - retention.finished).as_millis();
    let mut old: Vec<(i64, String, String, i64)> =
        sqlx::query_as(sql::OLD_JOBS).bind(cutoff).bind(JOBS).fetch_all(&mut *conn).await.map_err(sort_error)?;
    if (old.len() as i64) < too_many {
        // The oldest, however young.
        let query = sqlx::query_as(sql::OLD_JOBS).bind(i64::MAX).bind(too_many);
        old = query.fetch_all(&mut *conn).await.map_err(sort_error)?;
    }
    if old.is_empty() {
        return Ok(0);
    }
    for (_, account, kind, state) in &old {
        draft.forget(account, kind, *state);
    }
    let ids = Value::from(old.iter().map(|(id, ..)| *id).collect::<Vec<_>>()).to_string();
    sqlx::query(sql::UIDS_GONE).bind(&ids).bind(now.as_millis()).execute(&mut *conn).await.map_err(sort_error)?;
    for statement in
        [sql::FORGET_ORDERS, sql::DELETE_OBSERVATIONS, sql::DELETE_ATTEMPTS, sql::DELETE_BODIES, sql::DELETE_JOBS]
    {
        sqlx::query(statement).bind(&ids).execute(&mut *conn).await.map_err(sort_error)?;
    }
    Ok(old.len() as u64)
}

/// Makes the file a little shorter; says by how many pages, and whether there are more to give.
async fn give_back(conn: &mut SqliteConnection) -> Result<(u64, bool), StoreError> {
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *conn).await.map_err(sort_error)?;
    let pages = (free - SPARE_PAGES).clamp(0, PAGES);
    if pages == 0 {
        return Ok((0, false));
    }
    let statement = format!("PRAGMA incremental_vacuum({pages})");
    // A number of ours: nothing else can stand in it.
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *conn).await.map_err(sort_error)?;
    let left: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(conn).await.map_err(sort_error)?;
    // A file that was made without room for it gives nothing back, and is not asked again and again.
    let given = (free - left).max(0);
    Ok((given as u64, given == pages && left > SPARE_PAGES))
}
