//! Schedules: a time is decided once, and its job is taken in by the transaction that says so.

use sqlx::sqlite::SqlitePool;
use sqlx::{FromRow, SqliteConnection};

use super::draft::{Draft, Known};
use super::{sort_error, sql};
use crate::domain::{JobId, Timestamp};
use crate::store::upkeep::{Fired, Firing, FiringWork, KnownSchedule, LastFiring, LastFirings};
use crate::store::{Accepted, StoreError};

pub async fn fire(
    conn: &mut SqliteConnection,
    draft: &mut Draft,
    known: &Known,
    firing: &Firing,
) -> Result<Fired, StoreError> {
    let before: Option<i64> = sqlx::query_scalar(sql::FIND_FIRING)
        .bind(&firing.schedule)
        .bind(firing.due.as_millis())
        .fetch_optional(&mut *conn)
        .await
        .map_err(sort_error)?;
    if before.is_some() {
        return Ok(Fired::Before);
    }
    let (fired, outcome, job) = match &firing.what {
        FiringWork::Skip => (Fired::Skipped, "skipped", None),
        FiringWork::Job(job) => match draft.accept((**job).clone(), known, firing.now) {
            Accepted::New(id) => (Fired::New(id), "fired", Some(id.0)),
            Accepted::Duplicate(id) => (Fired::Duplicate(id), "duplicate", Some(id.0)),
            Accepted::Taken(_) | Accepted::Reused(_) | Accepted::Gone(_) => {
                return Err(StoreError::Other("a schedule's job has no uid".to_owned()));
            }
        },
    };
    sqlx::query(sql::INSERT_FIRING)
        .bind(&firing.schedule)
        .bind(firing.due.as_millis())
        .bind(firing.now.as_millis())
        .bind(outcome)
        .bind(job)
        .bind(firing.missed as i64)
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?;
    sqlx::query(sql::MOVE_SCHEDULE)
        .bind(&firing.schedule)
        .bind(firing.due.as_millis())
        .execute(conn)
        .await
        .map_err(sort_error)?;
    Ok(fired)
}

pub async fn keep(conn: &mut SqliteConnection, name: &str, known: &KnownSchedule) -> Result<(), StoreError> {
    sqlx::query(sql::KEEP_SCHEDULE)
        .bind(name)
        .bind(&known.definition)
        .bind(known.through.as_millis())
        .execute(conn)
        .await
        .map_err(sort_error)?;
    Ok(())
}

pub async fn known(pool: &SqlitePool, name: &str) -> Result<Option<KnownSchedule>, StoreError> {
    let row: Option<(String, i64)> =
        sqlx::query_as(sql::GET_SCHEDULE).bind(name).fetch_optional(pool).await.map_err(sort_error)?;
    Ok(row.map(|(definition, through)| KnownSchedule { definition, through: Timestamp::from_millis(through) }))
}

#[derive(FromRow)]
struct LastRow {
    schedule: String,
    at: i64,
    decided_at: i64,
    outcome: String,
    job_id: Option<i64>,
    missed: i64,
}

pub async fn last(pool: &SqlitePool) -> Result<LastFirings, StoreError> {
    let rows: Vec<LastRow> = sqlx::query_as(sql::LAST_FIRINGS).fetch_all(pool).await.map_err(sort_error)?;
    let last = |row: LastRow| LastFiring {
        due: Timestamp::from_millis(row.at),
        decided_at: Timestamp::from_millis(row.decided_at),
        outcome: row.outcome,
        job: row.job_id.map(JobId),
        missed: row.missed,
    };
    Ok(rows.into_iter().map(|row| (row.schedule.clone(), last(row))).collect())
}
