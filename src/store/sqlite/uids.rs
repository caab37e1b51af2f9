//! Clients' tokens: what was ordered with them, and what whoever comes with one again is answered.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{FromRow, SqliteConnection, SqliteExecutor};

use super::{sort_error, sql};
use crate::domain::JobId;
use crate::domain::repeat::{self, Asked};
use crate::store::{Accepted, StoreError};

/// The events of a job from before it was shown in the mailbox, of which the mailbox is told: the newest.
const EARLIER_EVENTS: i64 = 1_000;

/// Of a mailbox row that only a newer store took.
const UNKNOWN: &str = "unknown_to_store";

/// A token that was given before.
#[derive(Debug, Clone, Default)]
pub struct Uid {
    pub job: Option<JobId>,
    /// How its mailbox row was rejected; and the number of the row that was taken, or that was told so last.
    pub code: Option<String>,
    pub message: Option<String>,
    pub row: Option<i64>,
    pub written: Option<String>,
    pub means: Option<String>,
    pub kind: Option<String>,
    pub account: Option<String>,
    /// The mailbox row that shows its job.
    pub mailbox_uid: Option<String>,
    pub data: Data,
}

/// What is left of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data {
    #[default]
    Whole,
    /// That it was, and how it ended.
    Purged,
    Nothing,
}

#[derive(Debug, FromRow)]
struct UidRow {
    uid: String,
    job_id: Option<i64>,
    code: Option<String>,
    message: Option<String>,
    row_id: Option<i64>,
    written: Option<String>,
    means: Option<String>,
    kind: Option<String>,
    account: Option<String>,
    mailbox_uid: Option<String>,
    hash: Option<String>,
}

impl From<UidRow> for Uid {
    fn from(row: UidRow) -> Uid {
        let data = match &row.hash {
            None => Data::Nothing,
            Some(hash) if hash.is_empty() => Data::Purged,
            Some(_) => Data::Whole,
        };
        let ordered = row.kind.as_deref().zip(row.hash.as_deref()).filter(|_| data == Data::Whole);
        let means = row.means.or_else(|| ordered.map(|(kind, hash)| repeat::meaning(kind, hash)));
        Uid {
            job: row.job_id.map(JobId),
            code: row.code,
            message: row.message,
            row: row.row_id,
            written: row.written,
            means,
            kind: row.kind,
            account: row.account,
            mailbox_uid: row.mailbox_uid,
            data,
        }
    }
}

impl Uid {
    /// What the same token comes to. `means` is what is asked for now, where that is understood, and `kind` its kind.
    pub fn answer(&self, asked: &Asked, means: Option<&str>, kind: Option<&str>) -> Accepted {
        match (self.job, self.data) {
            (None, _) if self.code.as_deref().is_some_and(|code| code != UNKNOWN) => Accepted::Reused(None),
            (None, _) => Accepted::Gone(None),
            (Some(job), Data::Nothing) => Accepted::Gone(Some(job)),
            (Some(job), Data::Purged) if is_other(kind, self.kind.as_deref()) => Accepted::Reused(Some(job)),
            (Some(job), Data::Whole) if !self.is_same(asked, means) => Accepted::Reused(Some(job)),
            (Some(job), Data::Purged | Data::Whole) => Accepted::Taken(Some(job)),
        }
    }

    fn is_same(&self, asked: &Asked, means: Option<&str>) -> bool {
        let is_written = self.written.as_ref().is_some_and(|written| !written.is_empty() && *written == asked.written);
        let is_meant = means.is_some() && means == self.means.as_deref();
        (is_written || is_meant) && !is_other(asked.account.as_deref(), self.account.as_deref())
    }
}

fn is_other(asked: Option<&str>, known: Option<&str>) -> bool {
    asked.zip(known).is_some_and(|(asked, known)| asked != known)
}

/// What is remembered of these tokens.
pub async fn find(
    from: impl SqliteExecutor<'_>,
    uids: impl IntoIterator<Item = &str>,
) -> Result<HashMap<String, Uid>, StoreError> {
    let uids = Value::from(uids.into_iter().collect::<Vec<_>>()).to_string();
    let rows: Vec<UidRow> = sqlx::query_as(sql::FIND_UIDS).bind(uids).fetch_all(from).await.map_err(sort_error)?;
    Ok(rows.into_iter().map(|row| (row.uid.clone(), row.into())).collect())
}

/// The newest retry of each of these jobs, where it has not ended.
pub async fn retries(conn: &mut SqliteConnection, of: Vec<i64>) -> Result<HashMap<JobId, JobId>, StoreError> {
    pairs(conn, sql::FIND_RETRIES, of).await
}

/// When an operator last decided about each of these jobs, in Unix milliseconds.
pub async fn decisions(conn: &mut SqliteConnection, of: Vec<i64>) -> Result<HashMap<JobId, i64>, StoreError> {
    let found = pairs(conn, sql::LAST_DECISIONS, of).await?;
    Ok(found.into_iter().map(|(job, JobId(at))| (job, at)).collect())
}

async fn pairs(
    conn: &mut SqliteConnection,
    statement: &'static str,
    of: Vec<i64>,
) -> Result<HashMap<JobId, JobId>, StoreError> {
    if of.is_empty() {
        return Ok(HashMap::new());
    }
    let query = sqlx::query_as(statement).bind(Value::from(of).to_string());
    let found: Vec<(i64, i64)> = query.fetch_all(conn).await.map_err(sort_error)?;
    Ok(found.into_iter().map(|(job, other)| (JobId(job), JobId(other))).collect())
}

/// Gives the events that a job has had numbers in the mailbox, after `last`; says which number is the last now.
pub async fn number_events(
    conn: &mut SqliteConnection,
    job: JobId,
    uid: &str,
    mut last: i64,
) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar(sql::UNNUMBERED_EVENTS).bind(job.0).bind(EARLIER_EVENTS);
    let seqs: Vec<i64> = query.fetch_all(&mut *conn).await.map_err(sort_error)?;
    let rows: Vec<Value> = seqs
        .into_iter()
        .map(|seq| {
            last += 1;
            serde_json::json!([seq, uid, last])
        })
        .collect();
    if !rows.is_empty() {
        let rows = Value::Array(rows).to_string();
        sqlx::query(sql::NUMBER_EVENTS).bind(rows).execute(conn).await.map_err(sort_error)?;
    }
    Ok(last)
}
