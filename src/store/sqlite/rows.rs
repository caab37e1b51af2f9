//! Rows as they stand in the file, and what they mean. A row that fits no meaning is an error with table, column and id.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sqlx::{FromRow, SqliteExecutor};

use super::sort_error;
use crate::domain::{Event, EventType, Job, JobId, Reason, State, Timestamp, Traits};
use crate::store::callbacks::{Belongs, Callback, CandidateJob, Facts, How};
use crate::store::{DueJob, JobDetails, OrderBody, StoreError};

/// How many rows come in one text.
pub const PAGE: usize = 32;
/// Of rows that may have results of megabytes.
pub const PAGE_OF_RESULTS: usize = 8;

/// From columns, or from an array in the same order.
#[derive(Debug, FromRow, Deserialize)]
pub struct JobRow {
    id: i64,
    kind: String,
    account: String,
    traits: i64,
    state: i64,
    priority: i64,
    due_at: Option<i64>,
    deadline: Option<i64>,
    #[serde(deserialize_with = "not_zero")]
    cancel_requested: bool,
    dedupe_key: Option<String>,
    tag: Option<String>,
    remote_id: Option<String>,
    attempt: Option<String>,
    turn: i64,
    submissions: i64,
    polls: i64,
    errors: i64,
    absences: i64,
    doubt_since: Option<i64>,
    memo: Option<String>,
    seen: Option<String>,
    reason_code: Option<String>,
    reason: Option<String>,
    created_at: i64,
    submitted_at: Option<i64>,
    updated_at: i64,
    finished_at: Option<i64>,
    mailbox_uid: Option<String>,
    retry_of: Option<i64>,
    observed_at: Option<i64>,
    stale_since: Option<i64>,
    uid: Option<String>,
    unknown_errors: i64,
}

impl TryFrom<JobRow> for Job {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Job, StoreError> {
        let id = row.id;
        let corrupt = |column, what: String| StoreError::Corrupt { table: "jobs", column, id, what };
        let count = |column, n: i64| u32::try_from(n).map_err(|_| corrupt(column, format!("{n} is no count")));
        Ok(Job {
            id: JobId(id),
            state: state(row.state, "jobs", id)?,
            priority: u8::try_from(row.priority).map_err(|_| corrupt("priority", row.priority.to_string()))?,
            turn: count("turn", row.turn)?,
            submissions: count("submissions", row.submissions)?,
            polls: count("polls", row.polls)?,
            errors: count("errors", row.errors)?,
            unknown_errors: count("unknown_errors", row.unknown_errors)?,
            absences: count("absences", row.absences)?,
            kind: row.kind,
            account: row.account,
            traits: Traits::from_bits(row.traits),
            due_at: row.due_at.map(Timestamp::from_millis),
            deadline: row.deadline.map(Timestamp::from_millis),
            cancel_requested: row.cancel_requested,
            dedupe_key: row.dedupe_key,
            tag: row.tag,
            remote_id: row.remote_id,
            attempt: row.attempt,
            doubt_since: row.doubt_since.map(Timestamp::from_millis),
            memo: row.memo,
            seen: row.seen,
            reason: reason(row.reason_code, row.reason),
            created_at: Timestamp::from_millis(row.created_at),
            submitted_at: row.submitted_at.map(Timestamp::from_millis),
            updated_at: Timestamp::from_millis(row.updated_at),
            finished_at: row.finished_at.map(Timestamp::from_millis),
            mailbox_uid: row.mailbox_uid,
            retry_of: row.retry_of.map(JobId),
            observed_at: row.observed_at.map(Timestamp::from_millis),
            stale_since: row.stale_since.map(Timestamp::from_millis),
            uid: row.uid,
        })
    }
}

pub fn state(code: i64, table: &'static str, id: i64) -> Result<State, StoreError> {
    State::from_code(code).ok_or(StoreError::Corrupt {
        table,
        column: "state",
        id,
        what: format!("{code} is no state"),
    })
}

pub fn reason(code: Option<String>, message: Option<String>) -> Option<Reason> {
    code.map(|code| Reason { code, message: message.unwrap_or_default() })
}

/// Rows of one statement, as the JSON text that carries them there.
#[derive(Debug, Default)]
pub struct Rows {
    text: Vec<u8>,
    count: u64,
}

impl Rows {
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The array, to be bound.
    pub fn into_text(mut self) -> String {
        if self.text.is_empty() {
            self.text.push(b'[');
        }
        self.text.push(b']');
        String::from_utf8(self.text).unwrap_or_default()
    }

    fn next(&mut self) {
        self.text.push(if self.count == 0 { b'[' } else { b',' });
        self.count += 1;
    }

    /// A row of one array, or of one plain value.
    pub fn push(&mut self, row: impl Serialize) {
        self.next();
        write(&mut self.text, &row);
    }

    /// A row of more columns than a tuple may have.
    fn push_fields(&mut self, fields: &[&dyn Field]) {
        self.next();
        for (n, field) in fields.iter().enumerate() {
            self.text.push(if n == 0 { b'[' } else { b',' });
            field.write(&mut self.text);
        }
        self.text.push(b']');
    }
}

fn write(text: &mut Vec<u8>, value: &impl Serialize) {
    // Numbers and texts in memory: neither can fail.
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.extend_from_slice(b"null");
    }
}

trait Field {
    fn write(&self, text: &mut Vec<u8>);
}

impl<T: Serialize> Field for T {
    fn write(&self, text: &mut Vec<u8>) {
        write(text, self);
    }
}

fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

impl Rows {
    /// A job as [`super::sql::INSERT_JOBS`] takes it.
    pub fn push_new(&mut self, job: &Job) {
        self.push_fields(&[
            &job.id.0,
            &job.kind,
            &job.account,
            &job.traits.bits(),
            &job.state.code(),
            &job.priority,
            &ms(job.due_at),
            &ms(job.deadline),
            &i64::from(job.cancel_requested),
            &job.dedupe_key,
            &job.tag,
            &job.remote_id,
            &job.attempt,
            &job.turn,
            &job.submissions,
            &job.polls,
            &job.errors,
            &job.absences,
            &ms(job.doubt_since),
            &job.memo,
            &job.seen,
            &job.reason.as_ref().map(|reason| &reason.code),
            &job.reason.as_ref().map(|reason| &reason.message),
            &job.created_at.as_millis(),
            &ms(job.submitted_at),
            &job.updated_at.as_millis(),
            &ms(job.finished_at),
            &job.mailbox_uid,
            &job.retry_of.map(|id| id.0),
            &job.uid,
        ]);
    }

    /// A job as [`super::sql::UPDATE_JOBS`] takes it.
    pub fn push_whole(&mut self, job: &Job) {
        self.push_fields(&[
            &job.id.0,
            &job.state.code(),
            &ms(job.due_at),
            &i64::from(job.cancel_requested),
            &job.remote_id,
            &job.attempt,
            &job.turn,
            &job.submissions,
            &job.polls,
            &job.errors,
            &job.absences,
            &ms(job.doubt_since),
            &job.memo,
            &job.seen,
            &job.reason.as_ref().map(|reason| &reason.code),
            &job.reason.as_ref().map(|reason| &reason.message),
            &ms(job.submitted_at),
            &job.updated_at.as_millis(),
            &ms(job.finished_at),
            &ms(job.observed_at),
            &ms(job.stale_since),
            &job.mailbox_uid,
            &job.unknown_errors,
        ]);
    }

    /// What a poll that found nothing new changes.
    pub fn push_pace(&mut self, job: &Job) {
        let updated_at = job.updated_at.as_millis();
        self.push((job.id.0, ms(job.due_at), job.turn, job.polls, &job.memo, updated_at, ms(job.observed_at)));
    }
}

/// What of a row a step changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    Nothing,
    /// No more than [`Rows::push_pace`] writes.
    Pace,
    Row,
}

impl Changed {
    /// An answer that changes nothing costs no write: the time of the step alone is none.
    pub fn between(before: &Job, after: &Job) -> Changed {
        // Every field is named, so that a new one is not forgotten here.
        let Job {
            id,
            kind,
            account,
            traits,
            state,
            priority,
            due_at,
            deadline,
            cancel_requested,
            dedupe_key,
            tag,
            remote_id,
            attempt,
            turn,
            submissions,
            polls,
            errors,
            unknown_errors,
            absences,
            doubt_since,
            memo,
            seen,
            reason,
            created_at,
            submitted_at,
            updated_at: _,
            finished_at,
            mailbox_uid,
            retry_of,
            observed_at,
            stale_since,
            uid,
        } = after;
        let counted = (submissions, errors, unknown_errors, absences);
        let numbers = (id, traits, state, priority, deadline, cancel_requested, counted, doubt_since);
        let old = (
            &before.id,
            &before.traits,
            &before.state,
            &before.priority,
            &before.deadline,
            &before.cancel_requested,
            (&before.submissions, &before.errors, &before.unknown_errors, &before.absences),
            &before.doubt_since,
        );
        let texts = (kind, account, dedupe_key, tag, remote_id, attempt, seen, reason, mailbox_uid, retry_of, uid);
        let old_texts = (
            &before.kind,
            &before.account,
            &before.dedupe_key,
            &before.tag,
            &before.remote_id,
            &before.attempt,
            &before.seen,
            &before.reason,
            &before.mailbox_uid,
            &before.retry_of,
            &before.uid,
        );
        let times = (created_at, submitted_at, finished_at, stale_since);
        let old_times = (&before.created_at, &before.submitted_at, &before.finished_at, &before.stale_since);
        if numbers != old || texts != old_texts || times != old_times {
            return Changed::Row;
        }
        let pace = (due_at, turn, polls, memo, observed_at);
        let old_pace = (&before.due_at, &before.turn, &before.polls, &before.memo, &before.observed_at);
        if pace == old_pace { Changed::Nothing } else { Changed::Pace }
    }
}

/// SQLite has no booleans.
fn not_zero<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    i64::deserialize(from).map(|n| n != 0)
}

/// A job with what was ordered: the row, params, their hash, what is left of an earlier answer.
pub type DueRow = (JobRow, String, String, Option<String>);

pub fn due_job((row, params, params_hash, partial): DueRow) -> Result<DueJob, StoreError> {
    Ok(DueJob { job: Arc::new(row.try_into()?), body: Arc::new(OrderBody::new(params, params_hash, partial)) })
}

/// Reads the rows of these keys with a statement that takes pages of keys and gives pages of rows, `size` rows in one text.
pub async fn fetch_pages<'e, T: DeserializeOwned>(
    from: impl SqliteExecutor<'e>,
    statement: &'static str,
    keys: &[impl Serialize],
    size: usize,
) -> Result<Vec<T>, StoreError> {
    let pages: Vec<_> = keys.chunks(size).collect();
    let pages = serde_json::to_string(&pages).unwrap_or_default();
    let texts: Vec<String> = sqlx::query_scalar(statement).bind(pages).fetch_all(from).await.map_err(sort_error)?;
    let mut rows = Vec::with_capacity(keys.len());
    for text in texts {
        rows.append(&mut serde_json::from_str(&text).map_err(|error| unreadable::<T>(&text, &error))?);
    }
    Ok(rows)
}

/// The same, where each row stands for itself: one that cannot be read spoils no other.
pub async fn fetch_each<'e, T: DeserializeOwned>(
    from: impl SqliteExecutor<'e>,
    statement: &'static str,
    keys: &[impl Serialize],
    size: usize,
    id_of: impl Fn(&Value) -> Option<i64>,
) -> Result<Vec<Result<T, StoreError>>, StoreError> {
    let pages: Vec<_> = keys.chunks(size).collect();
    let pages = serde_json::to_string(&pages).unwrap_or_default();
    let texts: Vec<String> = sqlx::query_scalar(statement).bind(pages).fetch_all(from).await.map_err(sort_error)?;
    let mut rows = Vec::with_capacity(keys.len());
    for text in texts {
        match serde_json::from_str::<Vec<T>>(&text) {
            Ok(page) => rows.extend(page.into_iter().map(Ok)),
            Err(error) => {
                let page: Vec<Value> = serde_json::from_str(&text).map_err(|_| unreadable::<T>(&text, &error))?;
                rows.extend(page.into_iter().map(|row| {
                    let id = id_of(&row).unwrap_or(0);
                    serde_json::from_value(row).map_err(|error| corrupt_job(id, error.to_string()))
                }));
            }
        }
    }
    Ok(rows)
}

fn corrupt_job(id: i64, what: String) -> StoreError {
    StoreError::Corrupt { table: "jobs", column: "any", id, what }
}

/// The number of a row of [`super::sql::LOAD_JOBS`].
pub fn id_of_job(row: &Value) -> Option<i64> {
    row[0].as_i64()
}

/// The number of a row of [`super::sql::READ_DUE`].
pub fn id_of_due(row: &Value) -> Option<i64> {
    row[0][0].as_i64()
}

/// Which row of the page it was.
fn unreadable<T: DeserializeOwned>(page: &str, error: &serde_json::Error) -> StoreError {
    let rows: Vec<Value> = serde_json::from_str(page).unwrap_or_default();
    let bad = rows.into_iter().map(|row| (row[0].as_i64(), serde_json::from_value::<T>(row).err()));
    let (id, what) = bad.filter_map(|(id, error)| Some((id, error?.to_string()))).next().unwrap_or_default();
    let what = if what.is_empty() { error.to_string() } else { what };
    StoreError::Corrupt { table: "jobs", column: "any", id: id.unwrap_or(0), what }
}

#[derive(Debug, FromRow)]
pub struct DetailsRow {
    #[sqlx(flatten)]
    job: JobRow,
    params: String,
    result: Option<String>,
}

impl DetailsRow {
    pub fn id(&self) -> JobId {
        JobId(self.job.id)
    }
}

impl TryFrom<DetailsRow> for JobDetails {
    type Error = StoreError;
    fn try_from(row: DetailsRow) -> Result<JobDetails, StoreError> {
        Ok(JobDetails { job: row.job.try_into()?, params: row.params, result: row.result })
    }
}

/// From columns, or from an array in the same order.
#[derive(Debug, FromRow, Deserialize)]
pub struct EventRow {
    pub seq: i64,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub at: i64,
    pub job_id: Option<i64>,
    pub account: Option<String>,
    pub mailbox_seq: Option<i64>,
    pub data: String,
}

impl TryFrom<EventRow> for Event {
    type Error = StoreError;
    fn try_from(row: EventRow) -> Result<Event, StoreError> {
        let kind: EventType = row.kind.parse().map_err(|error: crate::domain::event::UnknownEventType| {
            StoreError::Corrupt { table: "events", column: "type", id: row.seq, what: error.to_string() }
        })?;
        Ok(Event {
            seq: row.seq,
            kind,
            at: Timestamp::from_millis(row.at),
            job: row.job_id.map(JobId),
            account: row.account,
            data: row.data,
            mailbox_seq: row.mailbox_seq,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct FeedRow {
    #[sqlx(flatten)]
    pub event: EventRow,
    pub uid: Option<String>,
}

/// From an array in this order.
#[derive(Debug, Deserialize)]
pub struct MailboxStateRow {
    pub uid: String,
    pub job_id: Option<i64>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub at: i64,
    pub state: Option<i64>,
    pub remote_id: Option<String>,
    pub reason_code: Option<String>,
    pub reason: Option<String>,
    pub updated_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub result: Option<String>,
    pub kind: Option<String>,
    pub account: Option<String>,
    pub priority: Option<i64>,
    pub dedupe_key: Option<String>,
    pub deadline: Option<i64>,
    pub tag: Option<String>,
    pub params: Option<String>,
}

#[derive(Debug, FromRow)]
pub struct CallRow {
    pub at: i64,
    pub took: i64,
    pub call: Option<String>,
    pub op: String,
    pub jobs: i64,
    pub status: Option<i64>,
    pub outcome: String,
    pub note: Option<String>,
}

#[derive(Debug, FromRow)]
pub struct CallbackRow {
    id: i64,
    account: String,
    at: i64,
    peer: String,
    content_type: Option<String>,
    size: i64,
    repeats: i64,
    last_at: i64,
    vin: Option<String>,
    check_type: Option<String>,
    status: Option<String>,
    ids: String,
    unreadable: Option<String>,
    job_id: Option<i64>,
    matched_at: Option<i64>,
    how: Option<String>,
    after_job: Option<i64>,
}

impl TryFrom<CallbackRow> for Callback {
    type Error = StoreError;
    fn try_from(row: CallbackRow) -> Result<Callback, StoreError> {
        let id = row.id;
        let corrupt = |column, what: String| StoreError::Corrupt { table: "callbacks", column, id, what };
        let ids = serde_json::from_str(&row.ids).map_err(|error| corrupt("ids", error.to_string()))?;
        let belongs = match (row.job_id, row.matched_at, row.how) {
            (Some(job), Some(at), Some(how)) => {
                let known = How::ALL.into_iter().find(|known| known.as_str() == how);
                let how = known.ok_or_else(|| corrupt("how", how))?;
                Some(Belongs { job: JobId(job), at: Timestamp::from_millis(at), how })
            }
            _ => None,
        };
        Ok(Callback {
            id,
            account: row.account,
            at: Timestamp::from_millis(row.at),
            peer: row.peer,
            content_type: row.content_type,
            size: u64::try_from(row.size).map_err(|_| corrupt("size", row.size.to_string()))?,
            repeats: row.repeats,
            last_at: Timestamp::from_millis(row.last_at),
            after_job: row.after_job.map(JobId),
            facts: Facts {
                vin: row.vin,
                check_type: row.check_type,
                status: row.status,
                ids,
                unreadable: row.unreadable,
            },
            belongs,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct CandidateRow {
    #[sqlx(flatten)]
    job: JobRow,
    params: String,
    served: bool,
}

impl TryFrom<CandidateRow> for CandidateJob {
    type Error = StoreError;
    fn try_from(row: CandidateRow) -> Result<CandidateJob, StoreError> {
        Ok(CandidateJob { job: row.job.try_into()?, params: row.params, served: row.served })
    }
}
