//! Call-backs and files: what the writer does with them, and the reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::draft::Draft;
use super::quarantine::Quarantine;
use super::rows::{CallbackRow, CandidateRow};
use super::{sort_error, sql};
use crate::domain::{JobId, Timestamp};
use crate::store::callbacks::{
    Callback, CallbackFilter, CandidateJob, CandidateQuery, Delivered, Delivery, JobFile, Kept, NewCallback, RawBody,
    Unmatched,
};
use crate::store::{ApplyError, StoreError};

/// How many rows one step of forgetting looks at.
const STEP: i64 = 500;

// ---- in the writer's transaction -------------------------------------------------------------------------------------

pub async fn keep(conn: &mut SqliteConnection, callback: &NewCallback, after_job: i64) -> Result<Kept, StoreError> {
    let facts = &callback.facts;
    let (id, repeats): (i64, i64) = sqlx::query_as(sql::KEEP_CALLBACK)
        .bind(&callback.account)
        .bind(callback.at.as_millis())
        .bind(&callback.peer)
        .bind(&callback.content_type)
        .bind(callback.size as i64)
        .bind(&callback.fingerprint)
        .bind(&facts.vin)
        .bind(&facts.check_type)
        .bind(&facts.status)
        .bind(json!(facts.ids).to_string())
        .bind(&facts.unreadable)
        .bind(after_job)
        .fetch_one(&mut *conn)
        .await
        .map_err(sort_error)?;
    if repeats > 0 {
        return Ok(Kept::Repeated(id));
    }
    let (body, sha256) = match &callback.body {
        RawBody::Inline(bytes) => (Some(bytes.to_vec()), None),
        RawBody::File(sha256) => (None, Some(sha256)),
    };
    sqlx::query(sql::KEEP_CALLBACK_BODY)
        .bind(id)
        .bind(body)
        .bind(sha256)
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?;
    Ok(Kept::New(id))
}

/// Nothing is written unless all of it is.
pub async fn deliver(
    conn: &mut SqliteConnection,
    draft: &mut Draft,
    delivery: &Delivery,
) -> Result<Delivered, StoreError> {
    let owner: Option<Option<i64>> = sqlx::query_scalar(sql::CALLBACK_OWNER)
        .bind(delivery.callback)
        .fetch_optional(&mut *conn)
        .await
        .map_err(sort_error)?;
    match owner {
        None => return Ok(Delivered::NoCallback),
        Some(Some(job)) if !delivery.even_matched || job == delivery.job.0 => {
            return Ok(Delivered::Taken(JobId(job)));
        }
        Some(_) => {}
    }
    match draft.job(delivery.job) {
        None => return Ok(Delivered::NoJob),
        Some(job) if job.state != delivery.expected => return Ok(Delivered::Moved(job.state)),
        Some(_) => {}
    }
    let mut job = None;
    if let Some(input) = &delivery.input {
        match draft.change(delivery.job, input.clone(), delivery.at) {
            Ok(changed) => job = Some(Box::new(Arc::unwrap_or_clone(changed))),
            Err(ApplyError::NotFound(_) | ApplyError::Unreadable(_)) => return Ok(Delivered::NoJob),
            Err(ApplyError::Refused(refused)) => return Ok(Delivered::Refused(refused)),
            // A delivery orders nothing.
            Err(
                error @ (ApplyError::Spent(_)
                | ApplyError::Equal(_)
                | ApplyError::Already(_)
                | ApplyError::Reused(_)
                | ApplyError::JustNow(_)),
            ) => {
                return Err(StoreError::Other(error.to_string()));
            }
        }
    }
    own(conn, delivery).await?;
    Ok(Delivered::Done(job))
}

async fn own(conn: &mut SqliteConnection, delivery: &Delivery) -> Result<(), StoreError> {
    sqlx::query(sql::OWN_CALLBACK)
        .bind(delivery.callback)
        .bind(delivery.job.0)
        .bind(delivery.at.as_millis())
        .bind(delivery.how.as_str())
        .execute(&mut *conn)
        .await
        .map_err(sort_error)?;
    if delivery.files.is_empty() {
        return Ok(());
    }
    let (job, callback) = (delivery.job.0, delivery.callback);
    let rows: Vec<Value> = delivery
        .files
        .iter()
        .map(|file| json!([job, file.name, file.sha256, file.content_type, file.size, callback]))
        .collect();
    sqlx::query(sql::INSERT_JOB_FILES).bind(json!(rows).to_string()).execute(conn).await.map_err(sort_error)?;
    Ok(())
}

pub async fn forget(conn: &mut SqliteConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(sql::FORGET_CALLBACKS)
        .bind(before.as_millis())
        .bind(STEP)
        .execute(conn)
        .await
        .map_err(sort_error)?;
    Ok(done.rows_affected())
}

// ---- reads -----------------------------------------------------------------------------------------------------------

fn read(rows: Vec<CallbackRow>) -> Result<Vec<Callback>, StoreError> {
    rows.into_iter().map(Callback::try_from).collect()
}

pub async fn list(pool: &SqlitePool, filter: CallbackFilter) -> Result<Vec<Callback>, StoreError> {
    let only_unmatched = filter.matched == Some(false);
    let mut query = sqlx::query_as(if only_unmatched { sql::LIST_UNMATCHED } else { sql::LIST_CALLBACKS })
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(filter.account)
        .bind(filter.limit as i64);
    if !only_unmatched {
        query = query.bind(filter.matched);
    }
    read(query.fetch_all(pool).await.map_err(sort_error)?)
}

pub async fn unmatched(pool: &SqlitePool, which: Unmatched<'_>, limit: usize) -> Result<Vec<Callback>, StoreError> {
    let query = match which {
        Unmatched::After(id) => sqlx::query_as(sql::UNMATCHED_AFTER).bind(id),
        Unmatched::OfCar { account, vin } => {
            sqlx::query_as(sql::UNMATCHED_OF_CAR).bind(account.to_owned()).bind(vin.to_owned())
        }
    };
    read(query.bind(limit as i64).fetch_all(pool).await.map_err(sort_error)?)
}

pub async fn get(pool: &SqlitePool, id: i64) -> Result<Option<Callback>, StoreError> {
    let row: Option<CallbackRow> =
        sqlx::query_as(sql::GET_CALLBACK).bind(id).fetch_optional(pool).await.map_err(sort_error)?;
    row.map(Callback::try_from).transpose()
}

pub async fn body(pool: &SqlitePool, id: i64) -> Result<Option<RawBody>, StoreError> {
    let row: Option<(Option<Vec<u8>>, Option<String>)> =
        sqlx::query_as(sql::CALLBACK_BODY).bind(id).fetch_optional(pool).await.map_err(sort_error)?;
    Ok(row.and_then(|(body, sha256)| match (body, sha256) {
        (Some(bytes), _) => Some(RawBody::Inline(bytes.into())),
        (None, sha256) => sha256.map(RawBody::File),
    }))
}

pub async fn candidates(
    pool: &SqlitePool,
    quarantine: &Quarantine,
    query: CandidateQuery<'_>,
) -> Result<Vec<CandidateJob>, StoreError> {
    let numbers: Vec<i64> = query.jobs.iter().map(|job| job.0).collect();
    let rows: Vec<CandidateRow> = sqlx::query_as(sql::CANDIDATES)
        .bind(query.account)
        .bind(query.kind)
        .bind(query.vin)
        .bind(json!(query.ids).to_string())
        .bind(json!(numbers).to_string())
        .bind(query.limit as i64)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    let read = rows.into_iter().map(|row| quarantine.sort(CandidateJob::try_from(row)));
    read.filter_map(Result::transpose).collect()
}

pub async fn job_files(pool: &SqlitePool, job: JobId) -> Result<Vec<JobFile>, StoreError> {
    let rows: Vec<(String, String, Option<String>, i64)> =
        sqlx::query_as(sql::JOB_FILES).bind(job.0).fetch_all(pool).await.map_err(sort_error)?;
    let file = |(name, sha256, content_type, size): (String, String, Option<String>, i64)| {
        let what = format!("{size} is no size");
        let size = u64::try_from(size);
        let size = size.map_err(|_| StoreError::Corrupt { table: "job_files", column: "size", id: job.0, what })?;
        Ok(JobFile { name, sha256, content_type, size })
    };
    rows.into_iter().map(file).collect()
}

pub async fn known_files(pool: &SqlitePool, hashes: &[String]) -> Result<BTreeSet<String>, StoreError> {
    let known: Vec<String> = sqlx::query_scalar(sql::KNOWN_FILES)
        .bind(json!(hashes).to_string())
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    Ok(known.into_iter().collect())
}
