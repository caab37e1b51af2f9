//! Downloads: what the writer does with them, and the reads.

use serde::Serialize;
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::draft::Draft;
use super::{sort_error, sql};
use crate::domain::{EventType, JobId, NewEvent, Timestamp};
use crate::store::StoreError;
use crate::store::downloads::{DownloadEnd, DownloadOutcome, DownloadState, DueDownload};

/// Writes how one try ended; what ended before stays as it is.
pub async fn end(conn: &mut SqliteConnection, draft: &mut Draft, end: &DownloadEnd) -> Result<(), StoreError> {
    let (due_at, error, saved) = match &end.outcome {
        DownloadOutcome::Saved(_) => (None, None, true),
        DownloadOutcome::Again { error, due_at } => (Some(due_at.as_millis()), Some(error), false),
        DownloadOutcome::GivenUp { error } => (None, Some(error), false),
    };
    let done = sqlx::query(sql::END_DOWNLOAD)
        .bind(end.job.0)
        .bind(due_at)
        .bind(error)
        .bind(saved)
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let told = match &end.outcome {
        DownloadOutcome::Saved(file) => {
            let row = json!([[end.job.0, file.name, file.sha256, file.content_type, file.size, null]]);
            sqlx::query(sql::INSERT_JOB_FILES).bind(row.to_string()).execute(conn).await.map_err(sort_error)?;
            Some(json!({ "state": "saved", "name": file.name, "size": file.size, "sha256": file.sha256 }))
        }
        DownloadOutcome::GivenUp { error } => Some(json!({ "state": "given_up", "error": error })),
        DownloadOutcome::Again { .. } => None,
    };
    if let Some(told) = told {
        draft.announce(end.job, NewEvent { kind: EventType::JobUpdated, data: json!({ "download": told }) }, end.at);
    }
    if let Some(call) = &end.call {
        draft.call(call.clone());
    }
    Ok(())
}

pub async fn due(pool: &SqlitePool, now: Timestamp, limit: usize) -> Result<Vec<DueDownload>, StoreError> {
    let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(sql::DUE_DOWNLOADS)
        .bind(now.as_millis())
        .bind(limit as i64)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    rows.into_iter()
        .map(|(job, account, url, count)| Ok(DueDownload { job: JobId(job), account, url, tries: tries(job, count)? }))
        .collect()
}

pub async fn next(pool: &SqlitePool) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = sqlx::query_scalar(sql::NEXT_DOWNLOAD).fetch_optional(pool).await.map_err(sort_error)?;
    Ok(at.map(Timestamp::from_millis))
}

pub async fn of(pool: &SqlitePool, job: JobId) -> Result<Option<DownloadState>, StoreError> {
    let row: Option<(bool, Option<i64>, i64, Option<String>)> =
        sqlx::query_as(sql::GET_DOWNLOAD).bind(job.0).fetch_optional(pool).await.map_err(sort_error)?;
    row.map(|(saved, due_at, count, error)| {
        let due_at = due_at.map(Timestamp::from_millis);
        Ok(DownloadState { saved, due_at, tries: tries(job.0, count)?, error })
    })
    .transpose()
}

fn tries(job: i64, count: i64) -> Result<u32, StoreError> {
    let what = format!("{count} is no count");
    u32::try_from(count).map_err(|_| StoreError::Corrupt { table: "downloads", column: "tries", id: job, what })
}

/// A wish as [`sql::INSERT_DOWNLOADS`] takes it.
pub fn wish_row(job: JobId, account: &str, url: &str, at: Timestamp) -> impl Serialize {
    (job.0, account, url, at.as_millis())
}
