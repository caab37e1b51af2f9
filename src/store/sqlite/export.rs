//! Reading everything in order, in portions of bounded weight.

use sqlx::sqlite::SqlitePool;

use super::purge::numbers;
use super::quarantine::Quarantine;
use super::rows::DetailsRow;
use super::{sort_error, sql};
use crate::domain::{JobId, Timestamp};
use crate::store::upkeep::ExportSpan;
use crate::store::{JobDetails, StoreError};

/// Numbers that are looked at for one portion, and what the portion weighs; a single heavier job travels alone.
const LOOKED_AT: i64 = 500;
const PORTION: i64 = 1 << 20;

pub async fn jobs_span(pool: &SqlitePool) -> Result<ExportSpan, StoreError> {
    let last = sqlx::query_scalar(sql::LAST_JOB_ID).fetch_one(pool).await.map_err(sort_error)?;
    Ok(ExportSpan { after: 0, last })
}

pub async fn events_span(pool: &SqlitePool, since: Timestamp) -> Result<ExportSpan, StoreError> {
    let last: i64 = sqlx::query_scalar(sql::LAST_EVENT_SEQ).fetch_one(pool).await.map_err(sort_error)?;
    let first: Option<i64> =
        sqlx::query_scalar(sql::FIRST_EVENT_SINCE).bind(since.as_millis()).fetch_one(pool).await.map_err(sort_error)?;
    Ok(ExportSpan { after: first.map_or(last, |first| first - 1), last })
}

pub async fn costs_span(pool: &SqlitePool, since: Timestamp) -> Result<ExportSpan, StoreError> {
    let last: i64 = sqlx::query_scalar(sql::LAST_COST).fetch_one(pool).await.map_err(sort_error)?;
    let first: Option<i64> =
        sqlx::query_scalar(sql::FIRST_COST_SINCE).bind(since.as_millis()).fetch_one(pool).await.map_err(sort_error)?;
    Ok(ExportSpan { after: first.map_or(last, |first| first - 1), last })
}

/// Jobs after that number that were taken in since then, oldest first; none at the end. What cannot be read is left out.
pub async fn jobs(
    pool: &SqlitePool,
    quarantine: &Quarantine,
    mut after: JobId,
    since: Timestamp,
) -> Result<Vec<JobDetails>, StoreError> {
    loop {
        let rows = some_jobs(pool, after, since).await?;
        let Some(last) = rows.last().map(DetailsRow::id) else { return Ok(Vec::new()) };
        let read = rows.into_iter().map(|row| quarantine.sort(JobDetails::try_from(row)));
        let jobs: Vec<JobDetails> = read.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if !jobs.is_empty() {
            return Ok(jobs);
        }
        after = last;
    }
}

async fn some_jobs(pool: &SqlitePool, after: JobId, since: Timestamp) -> Result<Vec<DetailsRow>, StoreError> {
    let weights: Vec<(i64, i64)> = sqlx::query_as(sql::EXPORT_WEIGHTS)
        .bind(after.0)
        .bind(since.as_millis())
        .bind(LOOKED_AT)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    let mut left = PORTION;
    let fits = weights.iter().take_while(|(_, weight)| {
        let had_room = left > 0;
        left -= weight;
        had_room && left >= 0
    });
    let count = fits.count().max(1).min(weights.len());
    let ids: Vec<JobId> = weights[..count].iter().map(|(id, _)| JobId(*id)).collect();
    sqlx::query_as(sql::EXPORT_JOBS).bind(numbers(&ids)).fetch_all(pool).await.map_err(sort_error)
}
