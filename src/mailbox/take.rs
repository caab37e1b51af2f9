//! Rows in: each is read by itself, understood, handed to the store once, and then written back as the store has it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::StreamExt;

use super::row::{RawRow, RawText, ReadRow};
use super::session::Session;
use super::sql;
use super::trouble::Trouble;
use crate::domain::privacy::masked;
use crate::domain::{JobId, NewJob, Reason};
use crate::engine::intake::{FieldProblem, Intake};
use crate::engine::ops::OpError;
use crate::store::{Accepted, RejectedRow, StoreError};

/// The most rows, and bytes of params, that are taken in one go.
const ROWS: i64 = 500;
const BYTES: usize = 4 << 20;
/// A row that is cancelled before it is taken: its job does not come up for being sent while it is cancelled.
const OUT_OF_REACH: Duration = Duration::from_secs(365 * 86_400);
const WISHES: i64 = 500;

/// What a batch of rows comes to.
#[derive(Debug, Default)]
struct Sorted {
    jobs: Vec<NewJob>,
    rejected: Vec<RejectedRow>,
    /// Places in `jobs` of those that are to be cancelled at once.
    cancelled: Vec<usize>,
}

impl Session {
    /// Takes a batch of new rows in. Returns how many there were.
    pub(super) async fn take(&mut self) -> Result<usize, Trouble> {
        let rows = self.read_new_rows().await?;
        let count = rows.len();
        if count == 0 {
            return Ok(0);
        }
        let mut sorted = Sorted::default();
        let intake = self.engine.intake();
        for row in rows {
            self.highest_id = self.highest_id.max(row.id);
            self.ids.insert(row.uid.clone(), row.id);
            self.pending.insert(row.uid.clone());
            sort_in(&intake, row, self.engine.now(), &mut sorted);
        }
        self.hand_over(sorted).await?;
        Ok(count)
    }

    async fn read_new_rows(&mut self) -> Result<Vec<ReadRow>, Trouble> {
        self.file.begin(sql::BEGIN_READ).await?;
        let mut rows = Vec::new();
        let mut failed = None;
        {
            let mut bytes = 0;
            let mut stream = sqlx::query(sql::NEW_ROWS).bind(ROWS).fetch(&mut self.file.conn);
            while let Some(row) = stream.next().await {
                match row.and_then(|row| RawRow::fetch(&row)) {
                    Ok(row) => {
                        bytes += if let RawText::Bytes(params) = &row.params { params.len() } else { 0 };
                        rows.push(row.read());
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
                if bytes > BYTES {
                    break;
                }
            }
        }
        self.file.rollback().await;
        failed.map_or(Ok(rows), |error| Err(error.into()))
    }

    async fn hand_over(&mut self, sorted: Sorted) -> Result<(), Trouble> {
        let Sorted { jobs, rejected, cancelled } = sorted;
        let store = self.engine.store();
        if let Some(first) = rejected.first() {
            let error = masked(&first.reason.message);
            tracing::warn!(rows = rejected.len(), code = first.reason.code, error, "mailbox rows were rejected");
        }
        let reject =
            async { if rejected.is_empty() { Ok(()) } else { store.reject(rejected, self.engine.now()).await } };
        // Both share a commit.
        let (verdicts, ()) = tokio::try_join!(self.submit(jobs), reject)?;
        for place in cancelled {
            if let Some(Accepted::New(id) | Accepted::Taken(Some(id))) = verdicts.get(place).copied().flatten() {
                self.cancel(id).await?;
            }
        }
        Ok(())
    }

    /// One verdict for each job; none where the store refused it. What the store chokes on is found and rejected by itself.
    async fn submit(&self, jobs: Vec<NewJob>) -> Result<Vec<Option<Accepted>>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        match self.engine.submit(jobs.clone()).await {
            Ok(verdicts) => return Ok(verdicts.into_iter().map(Some).collect()),
            Err(StoreError::Other(_)) => {}
            Err(error) => return Err(error),
        }
        let mut verdicts = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (uid, kind) = (job.mailbox_uid.clone().unwrap_or_default(), job.kind.clone());
            match self.engine.submit(vec![job]).await {
                Ok(verdict) => verdicts.extend(verdict.into_iter().map(Some)),
                Err(StoreError::Other(error)) => {
                    tracing::error!(error, "the store refused a mailbox row");
                    let reason = Reason::new("store_refused", "opros' store refused this row; its log says why");
                    let row = RejectedRow { uid, kind: Some(kind), reason, duplicate_of: None };
                    self.engine.store().reject(vec![row], self.engine.now()).await?;
                    verdicts.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(verdicts)
    }

    /// Passes each new cancel wish on, once.
    pub(super) async fn pass_on_cancel_wishes(&mut self) -> Result<(), Trouble> {
        let mut still = std::collections::HashSet::new();
        let mut after = i64::MIN;
        loop {
            self.file.begin(sql::BEGIN_READ).await?;
            let wishes = sqlx::query_as::<_, (i64, Vec<u8>)>(sql::CANCEL_WISHES).bind(after).bind(WISHES);
            let wishes = wishes.fetch_all(&mut self.file.conn).await;
            self.file.rollback().await;
            // A token that is no text was never taken.
            let wishes: Vec<(i64, String)> = wishes?.into_iter().map(|(id, uid)| (id, text(uid))).collect();
            let Some((last, _)) = wishes.last() else { break };
            after = *last;
            let fresh: Vec<String> =
                wishes.iter().map(|(_, uid)| uid).filter(|uid| !self.asked.contains(*uid)).cloned().collect();
            let known = self.engine.store().mailbox_rows(&fresh).await?;
            for row in known.values().filter(|row| !row.state.is_final()) {
                if let Some(id) = row.job {
                    self.cancel(id).await?;
                }
            }
            still.extend(wishes.into_iter().map(|(_, uid)| uid));
            // A row that was forged to look unfinished is written over.
            self.pending.extend(known.into_iter().filter(|(_, row)| row.state.is_final()).map(|(uid, _)| uid));
        }
        self.asked = still;
        Ok(())
    }

    async fn cancel(&self, id: JobId) -> Result<(), StoreError> {
        match self.engine.cancel(id).await {
            Ok(_) => Ok(()),
            Err(OpError::Store(error)) => Err(error),
            Err(error) => {
                tracing::debug!(job = id.0, error = %error, "a cancel wish came too late");
                Ok(())
            }
        }
    }
}

/// Empty when it is no text.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

fn sort_in(intake: &Intake, row: ReadRow, now: crate::domain::Timestamp, sorted: &mut Sorted) {
    // A driver that panics over one row must not keep the others waiting.
    let understood = row.request.and_then(|request| {
        let understood = catch_unwind(AssertUnwindSafe(|| intake.understand(&request)));
        match understood {
            Ok(understood) => understood.map_err(|problems| reason(&problems)),
            Err(_) => Err(Reason::new("internal_error", "opros could not read this row; its log says why")),
        }
    });
    match understood {
        Ok(mut job) => {
            job.mailbox_uid = Some(row.uid);
            if row.cancel_requested {
                job.not_before = Some(now + OUT_OF_REACH);
                sorted.cancelled.push(sorted.jobs.len());
            }
            sorted.jobs.push(job);
        }
        Err(reason) => {
            sorted.rejected.push(RejectedRow { uid: row.uid, kind: row.kind, reason, duplicate_of: None });
        }
    }
}

/// The code of the first problem; the words of all.
fn reason(problems: &[FieldProblem]) -> Reason {
    let code = problems.first().map_or("bad_params", |problem| problem.code.as_str());
    let words: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.pointer.trim_start_matches('/').replace('/', "."), problem.message))
        .collect();
    Reason::new(code, words.join("; "))
}
