//! Rows in: each is read by itself, understood, handed to the store once, and then written back as the store has it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::row::{RawRow, ReadRow};
use super::session::{Session, Wishes};
use super::sql;
use super::trouble::Trouble;
use crate::crash;
use crate::domain::privacy::masked;
use crate::domain::repeat::Asked;
use crate::domain::{JobId, NewJob, Reason};
use crate::engine::intake::{FieldProblem, Intake};
use crate::store::{Accepted, RejectedRow, StoreError};

/// The most rows, and bytes of params, that are taken in one go.
const ROWS: i64 = 2_000;
const BYTES: usize = 4 << 20;
/// How many of them come in one text.
const PAGE: usize = 32;
/// A row that is cancelled before it is taken: its job does not come up for being sent while it is cancelled.
const OUT_OF_REACH: Duration = Duration::from_secs(365 * 86_400);
/// Few enough that taking and writing back come in between within their time.
const WISHES: i64 = 200;
const STRANGERS: i64 = 500;
/// Small enough for rows of 64 KiB.
const PAGE_OF_DAMAGE: i64 = 64;

/// Rows from here on were put in past the triggers; SQLite runs out of numbers behind them.
const FAR: i64 = 1 << 53;

/// What one look finds.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<ReadRow>,
    /// Rows that came since the last look and do not say that they are new: number, token, state.
    strangers: Vec<(i64, String, String)>,
    /// Rows up to this one are among those, or were seen before.
    until: i64,
    /// There were no others at that moment.
    is_all: bool,
}

/// What a batch of rows comes to; each with its number in the file.
#[derive(Debug, Default)]
struct Sorted {
    ids: Vec<i64>,
    jobs: Vec<NewJob>,
    rejected: Vec<(i64, RejectedRow)>,
    /// Places in `jobs` of those that are to be cancelled at once.
    cancelled: Vec<usize>,
}

impl Session {
    /// Takes a batch of new rows in; says whether there may be more.
    pub(super) async fn take(&mut self) -> Result<bool, Trouble> {
        let Found { rows, strangers, until, is_all } = self.find_new_rows().await?;
        if rows.is_empty() && strangers.is_empty() {
            return Ok(!is_all);
        }
        crash::point("mailbox.rows_read");
        let ids = rows.iter().map(|row| row.id).chain(strangers.iter().map(|(id, ..)| *id));
        let is_far = ids.max().is_some_and(|id| id > FAR);
        self.accept(rows).await?;
        crash::point("mailbox.rows_accepted");
        self.compare(strangers).await?;
        if is_far {
            self.file.remove_far_rows(FAR, self.highest_id).await?;
        }
        self.compared = until.min(FAR);
        Ok(!is_all)
    }

    async fn accept(&mut self, rows: Vec<ReadRow>) -> Result<(), Trouble> {
        let mut sorted = Sorted::default();
        let ids: Vec<i64> = rows.iter().map(|row| row.id).filter(|id| *id <= FAR).collect();
        let intake = self.engine.intake();
        for row in rows {
            // A row beyond is not kept where it is: if it was a good one, it comes back with a number of ours.
            if row.id <= FAR {
                self.highest_id = self.highest_id.max(row.id);
                self.ids.insert(row.uid.clone(), row.id);
            }
            self.pending.insert(row.uid.clone());
            sort_in(&intake, row, self.engine.now(), &mut sorted);
        }
        crash::point("mailbox.rows_understood");
        self.hand_over(sorted).await?;
        self.taken.extend(ids);
        Ok(())
    }

    /// Takes what can still be read out of a file that is about to be left: deleted, replaced or damaged. Says how many rows.
    pub(super) async fn salvage(&mut self) -> usize {
        let mut count = 0;
        let mut reached = i64::MIN;
        for (statement, start) in [(sql::SALVAGE_UP, i64::MIN), (sql::SALVAGE_DOWN, i64::MAX)] {
            let mut at = start;
            while let Ok(rows) = self.salvage_page(statement, at).await {
                let Some(last) = rows.last().map(|row| row.id) else { break };
                let rows: Vec<ReadRow> = rows.into_iter().filter(|row| start == i64::MIN || row.id > reached).collect();
                let page = rows.len();
                if page == 0 || self.accept(rows).await.is_err() {
                    break;
                }
                count += page;
                at = last;
            }
            reached = at;
        }
        count
    }

    /// As many rows of a page as can be read; an error when not even the first.
    async fn salvage_page(&mut self, statement: &'static str, at: i64) -> Result<Vec<ReadRow>, Trouble> {
        let mut rows = Vec::new();
        let mut stream = sqlx::query_scalar(statement).bind(PAGE_OF_DAMAGE).bind(at).fetch(&mut self.file.conn);
        while let Some(text) = stream.next().await {
            match text.map_err(Trouble::from).and_then(|text: String| understood::<RawRow>(&text)) {
                Ok(row) => rows.push(row.read()),
                Err(error) if rows.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(rows)
    }

    async fn find_new_rows(&mut self) -> Result<Found, Trouble> {
        self.file.begin(sql::READ).await?;
        let found = self.read_new_rows().await;
        self.file.rollback().await;
        found
    }

    async fn read_new_rows(&mut self) -> Result<Found, Trouble> {
        let sizes: String = sqlx::query_scalar(sql::NEW_SIZES).bind(ROWS).fetch_one(&mut self.file.conn).await?;
        let sizes: Vec<(i64, Option<usize>, bool)> = understood(&sizes)?;
        let is_full = sizes.len() as i64 == ROWS;
        // What the store has already only waits for being written back; a wish that came meanwhile is heard.
        let (known, sizes): (Vec<_>, Vec<_>) =
            sizes.into_iter().partition(|(id, _, wish)| !wish && self.taken.contains(id));
        let mut bytes = 0;
        let fits = sizes.iter().take_while(|(_, size, _)| {
            let had_room = bytes <= BYTES;
            bytes += if had_room { size.unwrap_or(0) } else { 0 };
            had_room
        });
        let ids: Vec<i64> = fits.map(|(id, ..)| *id).collect();
        let pages = json!(ids.chunks(PAGE).collect::<Vec<_>>()).to_string();
        let pages: Vec<String> = sqlx::query_scalar(sql::NEW_ROWS).bind(pages).fetch_all(&mut self.file.conn).await?;
        let mut rows = Vec::with_capacity(ids.len());
        for page in pages {
            rows.extend(understood::<Vec<RawRow>>(&page)?.into_iter().map(RawRow::read));
        }
        // Where a page is cut, those behind it are for the next look: a long queue is not gone through at every one.
        let is_cut = bytes > BYTES || is_full;
        let seen = rows.last().map(|row| row.id).or_else(|| known.last().map(|(id, ..)| *id));
        let horizon = if is_cut { seen.unwrap_or(i64::MAX) } else { i64::MAX };
        let strangers = sqlx::query_as::<_, (i64, Vec<u8>, String)>(sql::STRANGERS);
        let strangers = strangers.bind(self.compared).bind(STRANGERS).bind(horizon);
        let strangers = strangers.fetch_all(&mut self.file.conn).await?;
        let strangers: Vec<_> = strangers.into_iter().map(|(id, uid, state)| (id, text(uid), state)).collect();
        let last_new = rows.last().map_or(i64::MIN, |row| row.id);
        let last_stranger = strangers.last().map_or(i64::MIN, |(id, ..)| *id);
        let mut until = last_new.max(last_stranger).max(self.compared);
        if is_cut {
            until = until.min(last_new.max(self.compared));
        }
        let are_many = strangers.len() as i64 == STRANGERS;
        if are_many {
            until = until.min(last_stranger);
        }
        Ok(Found { rows, strangers, until, is_all: !is_cut && !are_many })
    }

    async fn hand_over(&mut self, sorted: Sorted) -> Result<(), Trouble> {
        let Sorted { ids, jobs, rejected, cancelled } = sorted;
        let store = self.engine.store();
        let misfits: Vec<RejectedRow> = rejected.iter().map(|(_, row)| row.clone()).collect();
        let reject =
            async { if misfits.is_empty() { Ok(Vec::new()) } else { store.reject(misfits, self.engine.now()).await } };
        // How far the file was seen is known to the store with the rows themselves: should both the daemon and the file be
        // lost in the next moment, their numbers are not given to others.
        let mark = self.mark();
        let tell = async { if mark == self.marked { Ok(()) } else { store.set_mailbox_mark(mark).await } };
        // All of them share a commit.
        let (verdicts, refused, ()) = tokio::try_join!(self.submit(&jobs), reject, tell)?;
        self.marked = mark;
        log_rejected(&rejected, &refused);
        let cancelled: Vec<JobId> = cancelled
            .into_iter()
            .filter_map(|place| match verdicts.get(place).copied().flatten() {
                Some(Accepted::New(id) | Accepted::Taken(Some(id))) => Some(id),
                _ => None,
            })
            .collect();
        for page in cancelled.chunks(WISHES as usize) {
            self.cancel(page).await?;
        }
        self.tell_apart(&ids, &jobs, &verdicts, rejected, &refused).await
    }

    /// One verdict for each job; none where the store refused it. What the store chokes on is found and rejected by itself.
    async fn submit(&self, jobs: &[NewJob]) -> Result<Vec<Option<Accepted>>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        match self.engine.submit(jobs.to_vec()).await {
            Ok(verdicts) => return Ok(verdicts.into_iter().map(Some).collect()),
            Err(StoreError::Other(_)) => {}
            Err(error) => return Err(error),
        }
        let mut verdicts = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (uid, kind) = (job.mailbox_uid.clone().unwrap_or_default(), job.kind.clone());
            match self.engine.submit(vec![job.clone()]).await {
                Ok(verdict) => verdicts.extend(verdict.into_iter().map(Some)),
                Err(StoreError::Other(error)) => {
                    tracing::error!(error, "the store refused a mailbox row");
                    let reason = Reason::new("store_refused", "opros' store refused this row; its log says why");
                    let asked = Asked { row: job.asked.row, ..Asked::default() };
                    let row = RejectedRow { uid, kind: Some(kind), reason, duplicate_of: None, asked };
                    self.engine.store().reject(vec![row], self.engine.now()).await?;
                    verdicts.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(verdicts)
    }

    /// Passes a page of new cancel wishes on, each once.
    pub(super) async fn pass_on_cancel_wishes(&mut self) -> Result<(), Trouble> {
        let Some(Wishes { after, .. }) = self.wishes else { return Ok(()) };
        let wishes = sqlx::query_as::<_, (i64, Vec<u8>)>(sql::CANCEL_WISHES).bind(after).bind(WISHES);
        let wishes = wishes.fetch_all(&mut self.file.conn).await?;
        // A token that is no text was never taken.
        let wishes: Vec<(i64, String)> = wishes.into_iter().map(|(id, uid)| (id, text(uid))).collect();
        let fresh: Vec<String> =
            wishes.iter().map(|(_, uid)| uid).filter(|uid| !self.asked.contains(*uid)).cloned().collect();
        if !fresh.is_empty() {
            let known = self.engine.store().mailbox_rows(&fresh).await?;
            let jobs: Vec<JobId> =
                known.values().filter(|row| !row.state.is_final()).filter_map(|row| row.job).collect();
            self.cancel(&jobs).await?;
            // A row that was forged to look unfinished is written over.
            self.pending.extend(known.into_iter().filter(|(_, row)| row.state.is_final()).map(|(uid, _)| uid));
            self.asked.extend(fresh);
        }
        let Some(round) = &mut self.wishes else { return Ok(()) };
        let is_last = (wishes.len() as i64) < WISHES;
        round.after = wishes.last().map_or(i64::MAX, |(id, _)| *id);
        round.still.extend(wishes.into_iter().map(|(_, uid)| uid));
        if is_last {
            self.asked = std::mem::take(&mut round.still);
            self.wishes = None;
        }
        Ok(())
    }

    /// In one commit.
    async fn cancel(&self, ids: &[JobId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        crash::point("mailbox.cancel_read");
        let late = self.engine.cancel_all(ids).await?;
        crash::point("mailbox.cancel_passed_on");
        if late > 0 {
            tracing::debug!(jobs = late, "cancel wishes came too late");
        }
        Ok(())
    }
}

/// Those that show the job of an equal order are not rejected.
fn log_rejected(rows: &[(i64, RejectedRow)], verdicts: &[Accepted]) {
    let rejected = rows.iter().zip(verdicts).filter(|(_, verdict)| verdict.job().is_none());
    if let Some(((_, first), _)) = rejected.clone().next() {
        let error = masked(&first.reason.message);
        tracing::warn!(rows = rejected.count(), code = first.reason.code, error, "mailbox rows were rejected");
    }
}

/// What our own SQL wrote.
fn understood<T: DeserializeOwned>(text: &str) -> Result<T, Trouble> {
    serde_json::from_str(text)
        .map_err(|error| Trouble::unavailable(format!("rows of the mailbox cannot be read: {error}")))
}

/// Empty when it is no text.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

fn sort_in(intake: &Intake, row: ReadRow, now: crate::domain::Timestamp, sorted: &mut Sorted) {
    let asked = match &row.request {
        Ok(request) => Asked { row: Some(row.id), ..request.asked(Some(&row.uid)) },
        Err(_) => Asked { row: Some(row.id), ..Asked::default() },
    };
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
            job.asked = asked;
            if row.cancel_requested {
                job.not_before = Some(now + OUT_OF_REACH);
                sorted.cancelled.push(sorted.jobs.len());
            }
            sorted.ids.push(row.id);
            sorted.jobs.push(job);
        }
        Err(reason) => {
            let rejected = RejectedRow { uid: row.uid, kind: row.kind, reason, duplicate_of: None, asked };
            sorted.rejected.push((row.id, rejected));
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
