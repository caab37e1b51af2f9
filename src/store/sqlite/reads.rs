//! Reads, each on a connection that cannot write.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqlitePool;
use sqlx::{Connection, SqliteConnection};

use super::quarantine::Quarantine;
use super::rows::{self, CallRow, DetailsRow, EventRow, FeedRow, MailboxStateRow};
use super::{MAILBOX_LAST, get_meta, sort_error, sql};
use crate::domain::{Account, Event, JobId, Reason, State, Timestamp};
use crate::store::{
    Count, EventPage, JobDetails, JobFilter, JobPage, MailboxEvent, MailboxNews, MailboxRow, OrderedRow, StoreError,
    StoredCall, TimelineEntry,
};

/// The most entries of each sort that a timeline shows.
const LONGEST_TIMELINE: i64 = 10_000;
/// The results that one page of the mailbox feed carries, in bytes; a single larger one travels alone.
const FEED_BUDGET: i64 = 4 << 20;

fn ids(ids: &[JobId]) -> String {
    Value::from(ids.iter().map(|id| id.0).collect::<Vec<_>>()).to_string()
}

pub async fn overdue(
    pool: &SqlitePool,
    quarantine: &Quarantine,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<JobId>, StoreError> {
    // Those that cannot be read end by nobody's word, and must not hide the others.
    let limit = limit + quarantine.jobs().len();
    let ids: Vec<i64> = sqlx::query_scalar(sql::OVERDUE)
        .bind(now.as_millis())
        .bind(limit as i64)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    Ok(ids.into_iter().filter(|id| !quarantine.holds(*id)).map(JobId).collect())
}

pub async fn set_aside(pool: &SqlitePool, limit: usize) -> Result<Vec<JobId>, StoreError> {
    let query = sqlx::query_scalar(sql::SET_ASIDE).bind(limit as i64);
    let ids: Vec<i64> = query.fetch_all(pool).await.map_err(sort_error)?;
    Ok(ids.into_iter().map(JobId).collect())
}

pub async fn next_deadline(pool: &SqlitePool) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = sqlx::query_scalar(sql::NEXT_DEADLINE).fetch_optional(pool).await.map_err(sort_error)?;
    Ok(at.map(Timestamp::from_millis))
}

pub async fn job(pool: &SqlitePool, id: JobId) -> Result<Option<JobDetails>, StoreError> {
    let row: Option<DetailsRow> =
        sqlx::query_as(sql::GET_JOB).bind(id.0).fetch_optional(pool).await.map_err(sort_error)?;
    row.map(JobDetails::try_from).transpose()
}

/// The index that tells most jobs apart.
fn list_by(filter: &JobFilter) -> &'static str {
    match filter {
        JobFilter { uid: Some(_), .. } => sql::LIST_JOBS_BY_UID,
        JobFilter { tag: Some(_), .. } => sql::LIST_JOBS_BY_TAG,
        JobFilter { dedupe_key: Some(_), .. } => sql::LIST_JOBS_BY_KEY,
        JobFilter { state: Some(state), .. } if *state != State::Succeeded => sql::LIST_JOBS_BY_STATE,
        JobFilter { kind: Some(_), .. } => sql::LIST_JOBS_BY_KIND,
        JobFilter { account: Some(_), .. } => sql::LIST_JOBS_BY_ACCOUNT,
        _ => sql::LIST_JOBS,
    }
}

/// A page is full of what can be read, or the last one.
pub async fn jobs(pool: &SqlitePool, quarantine: &Quarantine, mut filter: JobFilter) -> Result<JobPage, StoreError> {
    let limit = filter.limit.max(1);
    let mut jobs = Vec::new();
    loop {
        let (read, more) = some_jobs(pool, filter.clone(), limit - jobs.len()).await?;
        let last = read.last().map(rows::DetailsRow::id);
        for row in read {
            jobs.extend(quarantine.sort(JobDetails::try_from(row))?);
        }
        if !more || jobs.len() >= limit {
            let next = last.filter(|_| more);
            return Ok(JobPage { jobs, next });
        }
        filter.before = last;
    }
}

/// Rows of a list, and whether more come after them.
async fn some_jobs(pool: &SqlitePool, filter: JobFilter, limit: usize) -> Result<(Vec<DetailsRow>, bool), StoreError> {
    let statement = list_by(&filter);
    let mut query = sqlx::query_as(statement)
        .bind(filter.before.map_or(i64::MAX, |id| id.0))
        .bind(filter.kind)
        .bind(filter.account)
        .bind(filter.state.map(State::code))
        .bind(limit as i64 + 1);
    match (filter.tag, filter.dedupe_key) {
        (tag, key) if filter.uid.is_some() => query = query.bind(filter.uid).bind(tag).bind(key),
        (Some(tag), key) => query = query.bind(tag).bind(key),
        (None, Some(key)) => query = query.bind(key),
        (None, None) => {}
    }
    let mut rows: Vec<DetailsRow> = query.fetch_all(pool).await.map_err(sort_error)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok((rows, more))
}

pub async fn timeline(pool: &SqlitePool, id: JobId) -> Result<Vec<TimelineEntry>, StoreError> {
    let events: Vec<EventRow> =
        sqlx::query_as(sql::JOB_EVENTS).bind(id.0).bind(LONGEST_TIMELINE).fetch_all(pool).await.map_err(sort_error)?;
    let observations: Vec<(i64, String, String)> = sqlx::query_as(sql::JOB_OBSERVATIONS)
        .bind(id.0)
        .bind(LONGEST_TIMELINE)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    let calls: Vec<CallRow> =
        sqlx::query_as(sql::JOB_CALLS).bind(id.0).bind(LONGEST_TIMELINE).fetch_all(pool).await.map_err(sort_error)?;
    let mut timeline: Vec<TimelineEntry> = calls.into_iter().map(|row| TimelineEntry::Call(call(row))).collect();
    timeline.extend(observations.into_iter().map(|(at, data, raw)| TimelineEntry::Observation {
        at: Timestamp::from_millis(at),
        data,
        raw,
    }));
    for event in events {
        timeline.push(TimelineEntry::Event(event.try_into()?));
    }
    // A stable sort: what has the same time stays in the order cause, fact, announcement.
    timeline.sort_by_key(TimelineEntry::at);
    Ok(timeline)
}

fn call(row: CallRow) -> StoredCall {
    StoredCall {
        at: Timestamp::from_millis(row.at),
        took: Duration::from_millis(row.took.max(0) as u64),
        call: row.call,
        op: row.op,
        jobs: row.jobs,
        status: row.status,
        outcome: row.outcome,
        note: row.note,
    }
}

pub async fn last_observations(pool: &SqlitePool, of: &[JobId]) -> Result<BTreeMap<JobId, String>, StoreError> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as(sql::LAST_OBSERVATIONS).bind(ids(of)).fetch_all(pool).await.map_err(sort_error)?;
    Ok(rows.into_iter().map(|(id, data)| (JobId(id), data)).collect())
}

pub async fn events(pool: &SqlitePool, after: i64, limit: usize) -> Result<EventPage, StoreError> {
    let query = sqlx::query_as(sql::EVENTS_AFTER).bind(after).bind(limit as i64);
    event_page(after, query.fetch_one(pool).await.map_err(sort_error)?)
}

/// The page, and the newest event that there was when it was read: so far nothing more of the job is to come.
pub async fn job_events(
    pool: &SqlitePool,
    job: JobId,
    after: i64,
    limit: usize,
) -> Result<(EventPage, i64), StoreError> {
    let query = sqlx::query_as(sql::JOB_EVENTS_AFTER).bind(after).bind(limit as i64).bind(job.0);
    let found: Found = query.fetch_one(pool).await.map_err(sort_error)?;
    let last = found.1;
    Ok((event_page(after, found)?, last))
}

/// The oldest event, the newest, and those that were asked for as JSON.
type Found = (Option<i64>, i64, String);

fn event_page(after: i64, (oldest, last, rows): Found) -> Result<EventPage, StoreError> {
    let oldest = oldest.unwrap_or(last + 1);
    if after + 1 < oldest {
        return Ok(EventPage::Gone { oldest });
    }
    if after > last {
        return Ok(EventPage::Ahead { last });
    }
    let rows: Vec<EventRow> = serde_json::from_str(&rows).map_err(|error| {
        let what = error.to_string();
        StoreError::Corrupt { table: "events", column: "any", id: after, what }
    })?;
    Ok(EventPage::Events(rows.into_iter().map(Event::try_from).collect::<Result<_, _>>()?))
}

pub async fn accounts(pool: &SqlitePool) -> Result<BTreeMap<String, Account>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(sql::GET_ACCOUNTS).fetch_all(pool).await.map_err(sort_error)?;
    rows.into_iter()
        .map(|(name, data)| match serde_json::from_str(&data) {
            Ok(account) => Ok((name, account)),
            Err(error) => {
                let what = format!("account {name}: {error}");
                Err(StoreError::Corrupt { table: "accounts", column: "data", id: 0, what })
            }
        })
        .collect()
}

pub async fn counts(pool: &SqlitePool) -> Result<Vec<Count>, StoreError> {
    let rows: Vec<(String, String, i64, i64)> =
        sqlx::query_as(sql::GET_COUNTS).fetch_all(pool).await.map_err(sort_error)?;
    rows.into_iter()
        .map(|(account, kind, code, jobs)| Ok(Count { account, kind, state: rows::state(code, "counters", 0)?, jobs }))
        .collect()
}

pub async fn oldest_doubt(pool: &SqlitePool) -> Result<Option<Timestamp>, StoreError> {
    let since: Option<i64> =
        sqlx::query_scalar(sql::OLDEST_DOUBT).bind(State::InDoubt.code()).fetch_one(pool).await.map_err(sort_error)?;
    Ok(since.map(Timestamp::from_millis))
}

pub async fn last_mailbox_seq(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(get_meta(conn, MAILBOX_LAST).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

pub async fn mailbox_news(
    pool: &SqlitePool,
    uids: &[String],
    after: i64,
    limit: usize,
) -> Result<MailboxNews, StoreError> {
    let mut conn = pool.acquire().await.map_err(sort_error)?;
    let mut tx = conn.begin_with("BEGIN").await.map_err(sort_error)?;
    let settled = if uids.is_empty() { 0 } else { mailbox_fits(&mut tx, uids).await? };
    let rows = mailbox_rows(&mut tx, &uids[..settled]).await?;
    let reach = last_mailbox_seq(&mut tx).await?;
    let mut feed: Vec<FeedRow> = Vec::new();
    if reach > after {
        let query = sqlx::query_as(sql::MAILBOX_FEED).bind(after).bind(limit as i64);
        feed = query.fetch_all(&mut *tx).await.map_err(sort_error)?;
    }
    // Rows that are here already are not read again.
    let is_unread = |row: &FeedRow| row.uid.as_ref().is_some_and(|uid| !rows.contains_key(uid));
    let unread: Vec<String> = feed.iter().filter(|row| is_unread(row)).filter_map(|row| row.uid.clone()).collect();
    let mut others = BTreeMap::new();
    if !unread.is_empty() {
        let fits = mailbox_fits(&mut tx, &unread).await?;
        let cut = feed.iter().enumerate().filter(|(_, row)| is_unread(row)).nth(fits).map(|(place, _)| place);
        feed.truncate(cut.unwrap_or(feed.len()));
        others = mailbox_rows(&mut tx, &unread[..fits]).await?;
    }
    let feed: Result<_, StoreError> = feed
        .into_iter()
        .filter_map(|row| {
            let uid = row.uid?;
            let state = rows.get(&uid).or_else(|| others.get(&uid))?.clone();
            Some(Event::try_from(row.event).map(|event| MailboxEvent { event, uid, row: state }))
        })
        .collect();
    Ok(MailboxNews { settled, rows, reach, feed: feed? })
}

pub async fn mailbox_fits(conn: &mut SqliteConnection, uids: &[impl AsRef<str>]) -> Result<usize, StoreError> {
    let wanted: Vec<&str> = uids.iter().map(AsRef::as_ref).collect();
    let sizes: Vec<(String, i64)> = sqlx::query_as(sql::MAILBOX_SIZES)
        .bind(Value::from(wanted).to_string())
        .fetch_all(conn)
        .await
        .map_err(sort_error)?;
    let mut sizes: BTreeMap<String, i64> = sizes.into_iter().collect();
    let mut left = FEED_BUDGET;
    let fits = uids.iter().take_while(|uid| {
        let had_room = left > 0;
        // A row that has several events is read once.
        left -= sizes.remove(uid.as_ref()).unwrap_or(0);
        had_room && left >= 0
    });
    Ok(fits.count().max(1))
}

pub async fn mailbox_rows(
    conn: &mut SqliteConnection,
    uids: &[String],
) -> Result<BTreeMap<String, MailboxRow>, StoreError> {
    if uids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<MailboxStateRow> = rows::fetch_pages(conn, sql::MAILBOX_ROWS, uids, rows::PAGE_OF_RESULTS).await?;
    rows.into_iter().map(|row| Ok((row.uid.clone(), mailbox_row(row)?))).collect()
}

fn mailbox_row(row: MailboxStateRow) -> Result<MailboxRow, StoreError> {
    let at = Timestamp::from_millis(row.at);
    let rejected = row.code.is_some();
    match row.state {
        Some(code) if !rejected && State::from_code(code).is_none() => Ok(MailboxRow {
            // Whoever waits for it learns that somebody has to look, and no row stands in the way of others.
            state: State::InDoubt,
            job: row.job_id.map(JobId),
            ordered: None,
            remote_id: None,
            reason: Some(Reason::new(
                "row_unreadable",
                "the store's row of this job is damaged: nothing is sent for it; an operator must look at it",
            )),
            result: None,
            updated_at: at,
            finished_at: None,
        }),
        Some(code) if !rejected => Ok(MailboxRow {
            state: rows::state(code, "jobs", row.job_id.unwrap_or_default())?,
            job: row.job_id.map(JobId),
            ordered: match (row.kind, row.params, row.account, row.priority) {
                (Some(kind), Some(params), Some(account), Some(priority)) => Some(OrderedRow {
                    kind,
                    params,
                    account,
                    priority,
                    dedupe_key: row.dedupe_key,
                    deadline: row.deadline.map(Timestamp::from_millis),
                    tag: row.tag,
                }),
                _ => None,
            },
            remote_id: row.remote_id,
            reason: rows::reason(row.reason_code, row.reason),
            result: row.result,
            updated_at: row.updated_at.map_or(at, Timestamp::from_millis),
            finished_at: row.finished_at.map(Timestamp::from_millis),
        }),
        // Rejected; or the job is past retention and only its token is remembered.
        _ => Ok(MailboxRow {
            state: State::Rejected,
            job: row.job_id.map(JobId),
            ordered: None,
            remote_id: None,
            reason: rows::reason(
                row.code.or_else(|| Some("forgotten".to_owned())),
                row.message.or_else(|| {
                    Some("this row was taken before, and its job is past retention; insert a new row".to_owned())
                }),
            ),
            result: None,
            updated_at: at,
            finished_at: Some(at),
        }),
    }
}
