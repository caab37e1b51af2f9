//! Which jobs are due: the agenda says which, the rows at hand say how they stand, the file says the rest.
//!
//! Three places know when a job is due: the file, what the writer keeps of paces that the file does not have yet
//! ([`super::hot`]), and the agenda. The file alone is never believed: whatever is read from it is overlaid with the unwritten
//! paces, and what moves while it is read counts last.

use std::collections::HashSet;
use std::future::Future;

use sqlx::sqlite::SqlitePool;
use tokio::sync::Mutex;

use super::agenda::{self, Agenda, Missing, Next, Slot};
use super::hot::{Hot, is_due};
use super::quarantine::Quarantine;
use super::{rows, sort_error, sql};
use crate::domain::{JobId, Timestamp};
use crate::store::{DueJob, Lane, StoreError};

/// Where what memory does not hold is read from.
pub trait DueFile: Copy + Send + Sync {
    /// The next slots of a lane after `after`, in order, [`agenda::CHUNK`] of them at most.
    fn slots(
        self,
        account: &str,
        missing: Missing,
        after: Slot,
    ) -> impl Future<Output = Result<Vec<Slot>, StoreError>> + Send;

    /// Those of them that can be read.
    fn rows(self, ids: &[i64]) -> impl Future<Output = Result<Vec<DueJob>, StoreError>> + Send;

    /// Jobs that cannot be read: nobody asks for them.
    fn unreadable(self) -> Vec<JobId>;

    fn next(
        self,
        account: &str,
        lane: Lane,
        after: Timestamp,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;
}

/// The store's own file.
#[derive(Debug, Clone, Copy)]
pub struct StoreFile<'a> {
    pub pool: &'a SqlitePool,
    pub quarantine: &'a Quarantine,
}

impl DueFile for StoreFile<'_> {
    async fn slots(self, account: &str, missing: Missing, after: Slot) -> Result<Vec<Slot>, StoreError> {
        let (statement, priority) = match missing.lane() {
            Lane::Submit => (sql::AGENDA_SUBMITS, Some(missing.priority())),
            Lane::Free => (sql::AGENDA_FREE, None),
        };
        let mut query =
            sqlx::query_scalar(statement).bind(account).bind(after.0).bind(after.1).bind(agenda::CHUNK as i64);
        if let Some(priority) = priority {
            query = query.bind(priority);
        }
        let text: String = query.fetch_one(self.pool).await.map_err(sort_error)?;
        serde_json::from_str(&text).map_err(|error| StoreError::Other(error.to_string()))
    }

    async fn rows(self, ids: &[i64]) -> Result<Vec<DueJob>, StoreError> {
        let read = rows::fetch_each(self.pool, sql::READ_DUE, ids, rows::PAGE, rows::id_of_due).await?;
        let mut due = Vec::with_capacity(read.len());
        for row in read {
            due.extend(self.quarantine.sort(row.and_then(rows::due_job))?);
        }
        Ok(due)
    }

    fn unreadable(self) -> Vec<JobId> {
        self.quarantine.jobs()
    }

    async fn next(self, account: &str, lane: Lane, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let statement = match lane {
            Lane::Submit => sql::NEXT_SUBMIT,
            Lane::Free => sql::NEXT_FREE,
        };
        let query = sqlx::query_scalar(statement).bind(account).bind(after.as_millis());
        let at: Option<Option<i64>> = query.fetch_optional(self.pool).await.map_err(sort_error)?;
        Ok(at.flatten().map(Timestamp::from_millis))
    }
}

/// Where due jobs are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Schedule<'a, F> {
    pub file: F,
    pub agenda: &'a Agenda,
    /// The file is asked for the agenda's next part by one at a time.
    pub one: &'a Mutex<()>,
    pub hot: &'a Hot,
}

impl<F: DueFile> Schedule<'_, F> {
    /// What is due, in the order of the lane. The agenda says which jobs; the rows of those at hand are not read again, but
    /// what is to be paid for is read whole from the file.
    pub async fn due(
        self,
        account: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
        under_way: &[JobId],
    ) -> Result<Vec<DueJob>, StoreError> {
        let unreadable = self.file.unreadable();
        let mut apart: HashSet<i64> = under_way.iter().chain(&unreadable).map(|id| id.0).collect();
        let mut due: Vec<DueJob> = Vec::new();
        while due.len() < limit {
            let wanted = limit - due.len();
            let mut listed = self.listed(account, lane, now, wanted, &apart).await?;
            let all = listed.len() < wanted;
            // One that moves just now may be listed where it was and where it is.
            listed.retain(|id| apart.insert(*id));
            due.extend(self.rows(listed, lane, now).await?);
            if all {
                break;
            }
            // Some of them moved on since they were listed: they must not stand in the way of those behind them.
        }
        // A join promises no order.
        due.sort_by_key(|due| (if lane == Lane::Submit { due.job.priority } else { 0 }, due.job.due_at, due.job.id));
        Ok(due)
    }

    async fn listed(
        self,
        account: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
        apart: &HashSet<i64>,
    ) -> Result<Vec<i64>, StoreError> {
        loop {
            match self.agenda.due(account, lane, now, limit, apart) {
                Ok(listed) => return Ok(listed),
                Err(missing) => self.read_on(account, missing).await?,
            }
        }
    }

    /// Those of them that are due as their rows stand now.
    async fn rows(self, listed: Vec<i64>, lane: Lane, now: Timestamp) -> Result<Vec<DueJob>, StoreError> {
        let (mut due, mut unknown) = match lane {
            Lane::Submit => (Vec::new(), listed),
            Lane::Free => self.hot.due(listed, now),
        };
        while !unknown.is_empty() {
            let reading = self.hot.read();
            let mut read = self.file.rows(&unknown).await?;
            unknown = reading.finish(&mut read);
            due.extend(read.into_iter().filter(|due| is_due(&due.job, lane, now)));
        }
        Ok(due)
    }

    /// The next part of a lane, from the file.
    async fn read_on(self, account: &str, missing: Missing) -> Result<(), StoreError> {
        let _one = self.one.lock().await;
        let reading = self.agenda.read(account, missing, || self.hot.unwritten(account));
        let slots = self.file.slots(account, missing, reading.after).await?;
        reading.finish(slots);
        Ok(())
    }

    pub async fn next_due(self, account: &str, lane: Lane, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        if let Next::At(at) = self.agenda.next(account, lane, after) {
            return Ok(at);
        }
        // On both sides of the reading: what is written meanwhile stands in one of them.
        let before = self.hot.next_unwritten(account, lane, after);
        let file = self.file.next(account, lane, after).await?;
        Ok([before, file, self.hot.next_unwritten(account, lane, after)].into_iter().flatten().min())
    }
}

#[cfg(test)]
mod model;
