//! Freshness: what the writer does with watches, and the reads.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::rows::JobRow;
use super::writer::Op;
use super::{SqliteStore, sort_error, sql};
use crate::domain::{Job, JobId, Timestamp};
use crate::store::StoreError;
use crate::store::watches::WatchStore;

/// So many watches are moved by one transaction: others' commits go between.
const STEP: i64 = 500;

#[derive(Debug, Clone)]
pub enum WatchOp {
    Again(Vec<(JobId, Option<Timestamp>)>),
}

impl WatchOp {
    pub fn weight(&self) -> usize {
        match self {
            WatchOp::Again(watches) => watches.len(),
        }
    }
}

pub async fn carry_out(conn: &mut SqliteConnection, op: &WatchOp) -> Result<(), StoreError> {
    match op {
        WatchOp::Again(watches) => {
            let set: Vec<Value> =
                watches.iter().filter_map(|(id, at)| at.map(|at| json!([id.0, at.as_millis()]))).collect();
            let gone: Vec<i64> = watches.iter().filter(|(_, at)| at.is_none()).map(|(id, _)| id.0).collect();
            for (statement, rows) in [(sql::WATCH_AGAIN, Value::from(set)), (sql::UNWATCH, Value::from(gone))] {
                sqlx::query(statement).bind(rows.to_string()).execute(&mut *conn).await.map_err(sort_error)?;
            }
        }
    }
    Ok(())
}

#[async_trait]
impl WatchStore for SqliteStore {
    async fn due_watches(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, StoreError> {
        let query = sqlx::query_as(sql::DUE_WATCHES).bind(now.as_millis()).bind(limit as i64);
        let rows: Vec<JobRow> = query.fetch_all(&self.readers).await.map_err(sort_error)?;
        let mut due = Vec::with_capacity(rows.len());
        for row in rows {
            due.extend(self.quarantine.sort(Job::try_from(row))?);
        }
        Ok(due)
    }

    async fn next_watch(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> =
            sqlx::query_scalar(sql::NEXT_WATCH).fetch_optional(&self.readers).await.map_err(sort_error)?;
        Ok(at.map(Timestamp::from_millis))
    }

    async fn watch_again(&self, watches: Vec<(JobId, Option<Timestamp>)>) -> Result<(), StoreError> {
        self.ask(Op::Watches(WatchOp::Again(watches))).await.map(drop)
    }

    async fn watch_within(&self, account: &str, after: Duration) -> Result<(), StoreError> {
        let mut last = 0;
        loop {
            let query = sqlx::query_as(sql::LATER_WATCHES).bind(account).bind(after.as_millis() as i64);
            let later: Vec<(i64, i64)> =
                query.bind(last).bind(STEP).fetch_all(&self.lists).await.map_err(sort_error)?;
            let Some((job, _)) = later.last() else { return Ok(()) };
            last = *job;
            let watches = later.into_iter().map(|(job, at)| (JobId(job), Some(Timestamp::from_millis(at)))).collect();
            self.watch_again(watches).await?;
        }
    }
}
