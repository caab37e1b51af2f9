//! The one writer: takes what many tasks want written, and commits it together.
//!
//! Architecture invariant: nothing else writes to the store, and no transaction is open while anything but SQLite is
//! waited for.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::{Connection, Either, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::agenda::Agenda;
use super::disk::Disk;
use super::draft::{Balances, Draft, Known, Left, Numbers, meaning, write_paces};
use super::file::{FileId, Ownership};
use super::hot::Hot;
use super::money::Guard;
use super::quarantine::Quarantine;
use super::rows;
use super::sinks::{self, SinkOp, SinkReply};
use super::uids::{self, Data};
use super::watches::{self, WatchOp};
use super::witness::{Mark, Witness};
use super::{MailboxNotes, ages, callbacks, downloads, firing, purge, restore, retain, set_meta, sort_error, sql};
use crate::clock::SharedClock;
use crate::crash;
use crate::domain::ages::Ages;
use crate::domain::repeat::Asked;
use crate::domain::state::{Begin, End, Input, Outcome, Resolution};
use crate::domain::{Job, JobId, NewJob, Timestamp};
use crate::meters::StoreMeters;
use crate::store::callbacks::{Delivered, Delivery, Kept, NewCallback, RawBody};
use crate::store::downloads::DownloadEnd;
use crate::store::upkeep::{Fired, Firing, FiringWork, KnownSchedule, PurgeOutcome};
use crate::store::{
    Accepted, ApplyError, Batch, Change, Commit, MailboxMark, RejectedRow, Removed, Retention, StoreError, StoreHealth,
};

/// The most requests that one transaction carries.
const LARGEST_GROUP: usize = 512;
/// And the most items in them: a bound on memory and on how long the disk is busy.
const LARGEST_WEIGHT: usize = 8_192;
/// And the most bytes of results and params: they are in memory several times while they are written.
const LARGEST_BYTES: usize = 16 << 20;
/// How often others go first before a commit begins.
const OTHERS_FIRST: usize = 4;
/// How many changed mailbox rows are remembered for a mailbox that is locked or missing: some 10 MB.
const MOST_MAILBOX_CHANGES: usize = 100_000;
/// How often an idle store is looked after: its file and its room.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// While nothing can be committed, this often it is tried whether something can again.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A free call needs no commit before it leaves: when its job is asked about next is written this much later, of many jobs at
/// once and in the order of their rows. After a crash some calls of such a moment are made again.
const BEHIND: Duration = Duration::from_millis(100);
/// With so many waiting to be written, the next are written at once: some 20 MB.
const MOST_BEHIND: usize = 32_768;

#[derive(Debug, Clone)]
pub enum Op {
    Accept(Vec<NewJob>, Timestamp),
    Reject(Vec<RejectedRow>, Timestamp),
    Apply(Box<Batch>),
    Fire(String, Timestamp),
    MailboxMark(MailboxMark),
    Retain(Retention, Timestamp),
    KeepCallback(Box<NewCallback>),
    Deliver(Box<Delivery>),
    ForgetCallbacks(Timestamp),
    FireSchedule(Box<Firing>),
    KeepSchedule(String, KnownSchedule),
    Purge(JobId, Timestamp),
    MailboxPurged(Vec<String>),
    /// Nothing to commit: afterwards the log is moved into the file.
    EmptyLog,
    SettleRestored,
    Sinks(Box<SinkOp>),
    Watches(WatchOp),
    EndDownload(Box<DownloadEnd>),
    KeepAges(Ages),
    /// Nothing to commit: only to be answered.
    Heartbeat,
}

impl Op {
    /// It begins free calls and nothing else.
    fn only_paces(&self) -> bool {
        let Op::Apply(batch) = self else { return false };
        let Batch { at: _, changes, accounts, call, downloads, spending, asked } = &**batch;
        let is_free = |change: &Change| matches!(change.input, Input::Begin(Begin::Free { .. }));
        changes.iter().all(is_free)
            && accounts.is_empty()
            && call.is_none()
            && downloads.is_empty()
            && spending.is_none()
            && asked.is_none()
    }

    /// It brings new work, for which there must be room.
    fn is_intake(&self) -> bool {
        match self {
            Op::Accept(..) | Op::Reject(..) => true,
            Op::FireSchedule(firing) => matches!(firing.what, FiringWork::Job(_)),
            _ => false,
        }
    }

    /// The most of what it holds in memory.
    fn bytes(&self) -> usize {
        match self {
            Op::Accept(jobs, _) => jobs.iter().map(|job| job.params.len()).sum(),
            Op::Apply(batch) => batch.changes.iter().map(|change| bytes_of(&change.input)).sum(),
            Op::KeepCallback(callback) => match &callback.body {
                RawBody::Inline(body) => body.len(),
                RawBody::File(_) => 0,
            },
            _ => 0,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Op::Accept(jobs, _) => jobs.len(),
            Op::Reject(rows, _) => rows.len(),
            Op::Apply(batch) => batch.changes.len() + 1,
            Op::Fire(..)
            | Op::MailboxMark(_)
            | Op::FireSchedule(_)
            | Op::KeepSchedule(..)
            | Op::EndDownload(_)
            | Op::KeepAges(_)
            | Op::EmptyLog
            | Op::Heartbeat
            | Op::SettleRestored => 1,
            Op::Retain(..) | Op::ForgetCallbacks(_) | Op::Purge(..) | Op::MailboxPurged(_) => 500,
            // Bodies are bounded by memory first: 512 in a group may have 64 KiB each.
            Op::KeepCallback(_) | Op::Deliver(_) => 16,
            Op::Sinks(op) => op.weight(),
            Op::Watches(op) => op.weight(),
        }
    }
}

fn bytes_of(input: &Input) -> usize {
    let Input::End { outcome, .. } = input else { return 0 };
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_end = |end: &End| match end {
        End::Success { result } => result.len(),
        End::Failure { result, .. } => text(result),
    };
    match outcome {
        Outcome::Observed { observation, end, .. } => {
            observation.data.len() + observation.raw.len() + end.as_deref().map_or(0, of_end)
        }
        Outcome::Progressed { partial, .. } => text(partial),
        Outcome::Ended(end) => of_end(end),
        _ => 0,
    }
}

#[derive(Debug)]
pub enum Reply {
    Accepted(Vec<Accepted>),
    Applied(Vec<Result<Arc<Job>, ApplyError>>),
    Fired(bool),
    Removed(Removed),
    Kept(Kept),
    Delivered(Delivered),
    Forgotten(u64),
    FiredSchedule(Fired),
    Purged(PurgeOutcome),
    LogEmptied(bool),
    Sinks(SinkReply),
    Done,
}

/// What a transaction did, before it is committed.
#[derive(Debug)]
struct Written {
    replies: Vec<Reply>,
    numbers: Numbers,
    left: Left,
}

#[derive(Debug)]
pub struct Request {
    pub op: Op,
    pub reply: oneshot::Sender<Result<Reply, StoreError>>,
}

#[derive(Debug)]
pub struct Writer {
    pub conn: SqliteConnection,
    pub path: PathBuf,
    pub identity: FileId,
    pub ownership: Ownership,
    pub epoch: i64,
    /// How far this store has come.
    pub stands: Mark,
    pub witness: Witness,
    /// What the file of the lock remembers: the start and the end.
    pub memory: Witness,
    pub disk: Disk,
    pub numbers: Numbers,
    pub in_history: Balances,
    pub hot: Hot,
    pub quarantine: Quarantine,
    pub agenda: Agenda,
    /// How long the connection waits for a lock of others'.
    pub waits_for_others: Duration,
    /// When what the file is behind with is written to it.
    pub catch_up_at: Option<Instant>,
    pub(super) mailbox: Arc<Mutex<MailboxNotes>>,
    pub commits: watch::Sender<Commit>,
    pub health: Arc<Mutex<StoreHealth>>,
    pub clock: SharedClock,
    pub(super) ages: Arc<ages::Remembered>,
    pub meters: StoreMeters,
}

impl Writer {
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut next_look = Instant::now() + LOOK_EVERY;
        loop {
            // While nothing can be committed, the look that tries it again does this, too.
            let catch_up_at = self.catch_up_at.filter(|_| !self.is_blocked());
            let every = if self.is_blocked() { PROBE_EVERY } else { LOOK_EVERY };
            let first = tokio::select! {
                biased;
                () = tokio::time::sleep_until(next_look) => {
                    self.look().await;
                    // From its end: a look that takes longer than that must not be followed by the next at once.
                    next_look = Instant::now() + every;
                    continue;
                }
                () = tokio::time::sleep_until(catch_up_at.unwrap_or(next_look)), if catch_up_at.is_some() => {
                    let written = self.commit(&[]).await;
                    self.note_health(written.as_ref().err());
                    continue;
                }
                request = requests.recv() => request,
            };
            let Some(first) = first else { break };
            let group = gather(first, &mut requests).await;
            crash::point("store.group_gathered");
            let (asked, group): (Vec<Request>, Vec<Request>) =
                group.into_iter().partition(|it| matches!(it.op, Op::Heartbeat));
            if !group.is_empty() {
                self.serve(group).await;
            }
            self.answer(asked).await;
            if self.is_blocked() {
                next_look = next_look.min(Instant::now() + PROBE_EVERY);
            }
        }
        if self.hot.count_behind() > 0
            && let Err(error) = self.commit(&[]).await
        {
            tracing::warn!(error = %error, "when some jobs are asked about next was not written; the next start asks at once");
        }
        self.disk.look();
        let remembered = self.memory.note(&self.stands).and_then(|()| self.memory.sync());
        if let Err(error) = remembered.and(self.witness.sync()) {
            tracing::warn!(error = %error, "the store's witness was not synced");
        }
        // The last connection leaves a file without a WAL behind.
        if let Err(error) = self.conn.close().await {
            tracing::warn!(error = %error, "the store's file was not closed cleanly; the next start reads its WAL");
        }
        drop(self.ownership);
    }

    /// Is it still the file that was opened, is there room, and can it be committed again?
    async fn look(&mut self) {
        self.disk.look();
        if self.disk.shortage().is_some() {
            self.empty_the_wal().await;
        }
        let found = if self.is_blocked() { self.commit(&[]).await.map(drop) } else { self.check_file() };
        self.note_health(found.as_ref().err());
    }

    /// That the writer works is shown without a transaction: an idle daemon leaves its disk alone.
    async fn answer(&mut self, asked: Vec<Request>) {
        for Request { reply, .. } in asked {
            let answered = sqlx::query(sql::HEARTBEAT).execute(&mut self.conn).await;
            let _ = reply.send(answered.map(|_| Reply::Done).map_err(sort_error));
        }
    }

    async fn serve(&mut self, mut group: Vec<Request>) {
        if let Some(reason) = self.disk.shortage() {
            group = turn_intake_away(group, &reason);
            if group.is_empty() {
                return;
            }
        }
        if self.hot.count_behind() < MOST_BEHIND && !self.is_blocked() {
            let (free, rest): (Vec<Request>, Vec<Request>) = group.into_iter().partition(|it| it.op.only_paces());
            self.pace(free).await;
            group = rest;
        }
        if group.is_empty() {
            return;
        }
        self.commit_group(group).await;
    }

    async fn commit_group(&mut self, group: Vec<Request>) {
        let (ops, replies): (Vec<Op>, Vec<_>) = group.into_iter().map(|request| (request.op, request.reply)).unzip();
        match self.commit(&ops).await {
            Ok(results) => {
                self.note_health(None);
                for (reply, result) in replies.into_iter().zip(results) {
                    // Whoever asked may be gone: what is committed stays committed.
                    let _ = reply.send(Ok(result));
                }
                crash::point("store.replied");
            }
            Err(StoreError::Full(reason)) if ops.iter().any(Op::is_intake) && !ops.iter().all(Op::is_intake) => {
                self.note_health(Some(&StoreError::Full(reason.clone())));
                let group = ops.into_iter().zip(replies).map(|(op, reply)| Request { op, reply }).collect();
                // Outcomes have the ballast, and go without those who only ask for more.
                Box::pin(self.commit_group(turn_intake_away(group, &reason))).await;
            }
            // Each alone would meet the same, and wait as long for it: nobody could be heard for the better part of an hour.
            Err(error) if ops.len() == 1 || error.is_of_the_store() => {
                self.note_health(Some(&error));
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Err(_) => {
                // One of them may spoil it for all: each alone.
                for (op, reply) in ops.into_iter().zip(replies) {
                    let result = self.commit(std::slice::from_ref(&op)).await;
                    self.note_health(result.as_ref().err());
                    let _ = reply.send(result.and_then(|mut all| all.pop().ok_or(StoreError::Closed)));
                }
            }
        }
    }

    /// Begins free calls without a transaction.
    async fn pace(&mut self, free: Vec<Request>) {
        let (ops, replies): (Vec<Op>, Vec<_>) = free.into_iter().map(|request| (request.op, request.reply)).unzip();
        let loaded = match self.load(&ops, &[]).await {
            Ok(loaded) => loaded,
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
                return;
            }
        };
        let mut draft = Draft::new(self.numbers, self.epoch, Arc::clone(&self.in_history));
        draft.adopt_rows(loaded);
        let mut answers = Vec::with_capacity(ops.len());
        for (op, reply) in ops.into_iter().zip(replies) {
            if let Op::Apply(batch) = op {
                answers.push((reply, Reply::Applied(self.name_unreadable(draft.apply(*batch, &Known::default())))));
            }
        }
        let (jobs, moves) = draft.into_paced();
        self.hot.keep_behind(jobs);
        self.agenda.note(moves);
        self.note_behind();
        for (reply, answer) in answers {
            let _ = reply.send(Ok(answer));
        }
    }

    fn note_behind(&mut self) {
        self.catch_up_at = match self.hot.count_behind() {
            0 => None,
            _ => self.catch_up_at.or_else(|| Some(Instant::now() + BEHIND)),
        };
    }

    /// What this transaction writes of it: nothing before its time, so that it is many at once.
    fn to_catch_up(&self, ops: &[Op]) -> Vec<Arc<Job>> {
        let is_time = self.catch_up_at.is_some_and(|at| at <= Instant::now());
        if ops.is_empty() || is_time || self.hot.count_behind() >= MOST_BEHIND { self.hot.behind() } else { Vec::new() }
    }

    /// One transaction; what it did is durable when this returns. A full disk costs the ballast, for outcomes alone.
    async fn commit(&mut self, ops: &[Op]) -> Result<Vec<Reply>, StoreError> {
        let begun = Instant::now();
        // Whoever holds the store locked was waited for once; until it is free everybody is answered at once.
        self.wait_for_others(if self.is_blocked() { purge::BRIEFLY } else { super::BUSY }).await?;
        let done = self.try_to_commit(ops).await;
        self.meters.commit(ops.len(), begun.elapsed(), done.is_ok());
        if !matches!(done, Err(StoreError::Full(_))) {
            return done;
        }
        self.disk.found_full();
        // What lies in the WAL goes into the database, and its room is used again.
        self.empty_the_wal().await;
        let again = self.try_to_commit(ops).await;
        let is_full = matches!(again, Err(StoreError::Full(_)));
        if !is_full || ops.is_empty() || ops.iter().any(Op::is_intake) || !self.disk.give_up_ballast() {
            return again;
        }
        self.empty_the_wal().await;
        self.try_to_commit(ops).await
    }

    async fn wait_for_others(&mut self, at_most: Duration) -> Result<(), StoreError> {
        if self.waits_for_others != at_most {
            purge::wait_for_others(&mut self.conn, at_most).await?;
            self.waits_for_others = at_most;
        }
        Ok(())
    }

    /// Readers in the way only put it off; they are not waited for.
    async fn empty_the_wal(&mut self) {
        self.waits_for_others = super::BUSY;
        if let Err(error) = purge::empty_log(&mut self.conn).await {
            tracing::debug!(error = %error, "the WAL could not be emptied");
        }
    }

    async fn try_to_commit(&mut self, ops: &[Op]) -> Result<Vec<Reply>, StoreError> {
        self.check_file()?;
        let before = self.numbers;
        let begun = self.begin().await;
        crash::point("store.begun");
        let behind = self.to_catch_up(ops);
        // What is dated by a clock that is years behind is not to be found old when that clock is put right.
        let (ages, is_news) = self.ages.look(self.clock.now());
        let written = match begun {
            Ok(()) => self.write(ops, before, &behind, is_news.then_some(ages)).await,
            Err(error) => Err(error),
        };
        let written = match written {
            Ok(written) => {
                crash::point("store.before_commit");
                sqlx::query("COMMIT").execute(&mut self.conn).await.map(|_| written).map_err(sort_error)
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(Written { mut replies, numbers, mut left }) => {
                crash::point("store.committed");
                left.write_late(&mut self.conn).await?;
                self.numbers = numbers;
                self.in_history = std::mem::take(&mut left.in_history);
                if is_news {
                    self.ages.note_written(ages);
                }
                self.bear_witness();
                self.hot.caught_up(&behind);
                if !behind.is_empty() {
                    self.catch_up_at = None;
                }
                self.hot.keep(left.jobs, &left.changed_bodies);
                self.note_behind();
                self.agenda.note(left.moves);
                self.note_mailbox(ops, left.touched);
                self.commits.send_modify(|commit| {
                    commit.last_seq = numbers.last_seq;
                    commit.last_mailbox_seq = numbers.last_mailbox_seq;
                    commit.number += 1;
                });
                for (op, reply) in ops.iter().zip(&mut replies) {
                    match op {
                        Op::EmptyLog => {
                            self.waits_for_others = super::BUSY;
                            *reply = Reply::LogEmptied(purge::empty_log(&mut self.conn).await.unwrap_or(false));
                        }
                        // Many steps follow one another: what they leave in the log is moved a little at a time, so that
                        // nobody's commit has to move all of it.
                        Op::Retain(..) => drop(sqlx::query(sql::MOVE_WAL).execute(&mut self.conn).await),
                        _ => {}
                    }
                }
                Ok(replies)
            }
            Err(error) => {
                if !behind.is_empty() {
                    // Outcomes go first: what failed together with the paces is tried without them, and they not at once again.
                    self.catch_up_at = Some(Instant::now() + PROBE_EVERY);
                }
                self.hot.forget();
                self.agenda.forget();
                // After some errors SQLite has rolled back by itself; then this says so, and all is well.
                let _ = sqlx::query("ROLLBACK").execute(&mut self.conn).await;
                Err(error)
            }
        }
    }

    /// After the commit: the witness is never ahead of what it speaks of.
    fn bear_witness(&mut self) {
        let Numbers { last_job, last_seq, last_mailbox_seq, last_order: orders } = self.numbers;
        let at = self.clock.now();
        self.stands = Mark { orders, last_job, last_seq, last_mailbox_seq, at, ..self.stands.clone() };
        if let Err(error) = self.witness.note(&self.stands) {
            // Its silence proves nothing; a disk that is full is told of elsewhere.
            tracing::debug!(error = %error, "the store's witness could not be written");
        }
    }

    async fn write(
        &mut self,
        ops: &[Op],
        before: Numbers,
        behind: &[Arc<Job>],
        ages: Option<Ages>,
    ) -> Result<Written, StoreError> {
        write_paces(&mut self.conn, behind).await?;
        if let Some(ages) = ages {
            ages::keep(&mut self.conn, ages).await?;
        }
        if ops.is_empty() && behind.is_empty() {
            // A trial: only what is really written shows that something can be.
            set_meta(&mut self.conn, super::EPOCH, &self.epoch.to_string()).await?;
        }
        let known = self.known(ops).await?;
        let mut draft = Draft::new(before, self.epoch, Arc::clone(&self.in_history));
        draft.adopt_mailbox_rows(mailbox_rows(ops));
        let shown = newly_shown(ops, &known);
        draft.adopt_rows(self.load(ops, &shown).await?);
        for (job, uid) in &shown {
            draft.show_in_mailbox(*job, uid, &known);
            let last = draft.numbers.last_mailbox_seq;
            draft.numbers.last_mailbox_seq = uids::number_events(&mut self.conn, *job, uid, last).await?;
        }
        let batches: Vec<&Batch> =
            ops.iter().filter_map(|op| if let Op::Apply(batch) = op { Some(&**batch) } else { None }).collect();
        let mut guard = Guard::load(&mut self.conn, &batches).await?;
        let changes = batches.iter().flat_map(|batch| &batch.changes);
        let held = changes.clone().filter(|change| matches!(change.input, Input::Hold { .. } | Input::Release));
        guard.load_released(&mut self.conn, held.map(|change| change.job.0).collect()).await?;
        draft.adopt_guard(guard);
        let resubmitted = changes.filter(|change| matches!(change.input, Input::Resolve(Resolution::Resubmit)));
        let resubmitted = resubmitted.map(|change| change.job.0).collect();
        draft.adopt_decisions(uids::decisions(&mut self.conn, resubmitted).await?);
        let mut replies = Vec::with_capacity(ops.len());
        for op in ops {
            replies.push(match op {
                Op::Accept(jobs, at) => {
                    Reply::Accepted(jobs.iter().map(|job| draft.accept(job.clone(), &known, *at)).collect())
                }
                Op::Reject(rows, at) => {
                    Reply::Accepted(rows.iter().map(|row| draft.reject(row.clone(), &known, *at)).collect())
                }
                Op::Apply(batch) => Reply::Applied(self.name_unreadable(draft.apply(Batch::clone(batch), &known))),
                Op::Fire(schedule, at) => {
                    let query = sqlx::query(sql::FIRE).bind(schedule).bind(at.as_millis());
                    let done = query.execute(&mut self.conn).await.map_err(sort_error)?;
                    Reply::Fired(done.rows_affected() == 1)
                }
                Op::MailboxMark(mark) => {
                    let mark = mark.max(self.mailbox_mark());
                    // A store that was restored from an older copy has numbers before it that readers know already.
                    draft.numbers.last_mailbox_seq = draft.numbers.last_mailbox_seq.max(mark.written);
                    set_meta(&mut self.conn, super::MAILBOX_WRITTEN, &mark.written.to_string()).await?;
                    set_meta(&mut self.conn, super::MAILBOX_HIGHEST_ID, &mark.highest_id.to_string()).await?;
                    Reply::Done
                }
                Op::Retain(retention, now) => {
                    let written = self.mailbox_mark().written;
                    Reply::Removed(retain::step(&mut self.conn, &mut draft, *retention, *now, written).await?)
                }
                Op::KeepCallback(callback) => {
                    Reply::Kept(callbacks::keep(&mut self.conn, callback, draft.numbers.last_job).await?)
                }
                Op::Deliver(delivery) => {
                    Reply::Delivered(callbacks::deliver(&mut self.conn, &mut draft, delivery).await?)
                }
                Op::FireSchedule(firing) => {
                    Reply::FiredSchedule(firing::fire(&mut self.conn, &mut draft, &known, firing).await?)
                }
                Op::KeepSchedule(name, known) => {
                    firing::keep(&mut self.conn, name, known).await?;
                    Reply::Done
                }
                Op::Purge(job, now) => Reply::Purged(purge::purge(&mut self.conn, draft.job(*job), *now).await?),
                Op::MailboxPurged(uids) => {
                    purge::mailbox_purged(&mut self.conn, uids).await?;
                    Reply::Done
                }
                Op::EmptyLog => Reply::LogEmptied(false),
                Op::Heartbeat => Reply::Done,
                Op::SettleRestored => {
                    restore::settle(&mut self.conn).await?;
                    Reply::Done
                }
                Op::EndDownload(end) => {
                    downloads::end(&mut self.conn, &mut draft, end).await?;
                    Reply::Done
                }
                Op::KeepAges(seen) => {
                    ages::keep(&mut self.conn, *seen).await?;
                    Reply::Done
                }
                Op::ForgetCallbacks(before) => Reply::Forgotten(callbacks::forget(&mut self.conn, *before).await?),
                Op::Sinks(op) => Reply::Sinks(sinks::carry_out(&mut self.conn, &mut draft, op).await?),
                Op::Watches(op) => {
                    watches::carry_out(&mut self.conn, op).await?;
                    Reply::Done
                }
            });
        }
        let numbers = draft.numbers;
        let left = draft.write(&mut self.conn, before).await?;
        Ok(Written { replies, numbers, left })
    }

    fn mailbox_mark(&self) -> MailboxMark {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).mark
    }

    /// Once it is committed: where the mailbox file stands, and which of its rows are to be written anew.
    fn note_mailbox(&self, ops: &[Op], touched: Vec<String>) {
        let mut notes = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            match op {
                Op::MailboxMark(mark) => notes.mark = notes.mark.max(*mark),
                Op::Purge(..) => notes.changes.purge = true,
                _ => {}
            }
        }
        if notes.changes.overflow || notes.changes.uids.len() + touched.len() > MOST_MAILBOX_CHANGES {
            notes.changes.overflow = true;
            notes.changes.uids.clear();
        } else {
            notes.changes.uids.extend(touched);
        }
    }

    /// Another process that took the store over has raised the epoch: this one's writes must miss.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let mut begun = sqlx::raw_sql(sql::BEGIN_OWNED).fetch_many(&mut self.conn);
        let mut theirs = 0;
        while let Some(step) = begun.try_next().await.map_err(sort_error)? {
            if let Either::Right(row) = step {
                let text: String = row.try_get(0).map_err(sort_error)?;
                theirs = text.parse().unwrap_or(0);
            }
        }
        if theirs == self.epoch { Ok(()) } else { Err(StoreError::Fenced { ours: self.epoch, theirs }) }
    }

    /// A file that was moved away or replaced takes commits that nobody will find again.
    fn check_file(&self) -> Result<(), StoreError> {
        match FileId::of(&self.path) {
            Ok(id) if id == self.identity => Ok(()),
            Ok(_) => Err(StoreError::Replaced(format!("{} was replaced by another file", self.path.display()))),
            Err(error) => Err(StoreError::Replaced(format!("{} has gone ({error})", self.path.display()))),
        }
    }

    async fn known(&mut self, ops: &[Op]) -> Result<Known, StoreError> {
        let (mut keys, mut uids, mut retried) = (Vec::new(), Vec::new(), Vec::new());
        for op in ops {
            match op {
                Op::Accept(jobs, _) => {
                    keys.extend(jobs.iter().filter_map(|job| job.dedupe_key.as_deref()));
                    uids.extend(jobs.iter().filter_map(NewJob::uid));
                    let retries = jobs.iter().filter(|job| !job.asked.again);
                    retried.extend(retries.filter_map(|job| job.retry_of).map(|id| id.0));
                }
                Op::Reject(rows, _) => uids.extend(rows.iter().map(|row| row.uid.as_str())),
                Op::Apply(batch) => uids.extend(batch.asked.iter().filter_map(|asked| asked.uid.as_deref())),
                Op::FireSchedule(firing) => match &firing.what {
                    FiringWork::Job(job) => keys.extend(job.dedupe_key.as_deref()),
                    FiringWork::Skip => {}
                },
                Op::KeepSchedule(..)
                | Op::Purge(..)
                | Op::MailboxPurged(_)
                | Op::EmptyLog
                | Op::SettleRestored
                | Op::Fire(..)
                | Op::MailboxMark(_)
                | Op::Retain(..)
                | Op::KeepCallback(_)
                | Op::Deliver(_)
                | Op::EndDownload(_)
                | Op::KeepAges(_)
                | Op::ForgetCallbacks(_)
                | Op::Sinks(_)
                | Op::Watches(_)
                | Op::Heartbeat => {}
            }
        }
        let mut known = Known::default();
        if !keys.is_empty() {
            let keys = Value::from(keys).to_string();
            let rows: Vec<(String, i64)> =
                sqlx::query_as(sql::FIND_OPEN_KEYS).bind(keys).fetch_all(&mut self.conn).await.map_err(sort_error)?;
            known.keys = rows.into_iter().map(|(key, id)| (key, JobId(id))).collect();
        }
        if !uids.is_empty() {
            known.uids = uids::find(&mut self.conn, uids).await?;
        }
        known.retries = uids::retries(&mut self.conn, retried).await?;
        Ok(known)
    }

    /// The jobs that the requests are about, and these others.
    async fn load(&mut self, ops: &[Op], more: &[(JobId, String)]) -> Result<Vec<Arc<Job>>, StoreError> {
        let ids: Vec<i64> = ops
            .iter()
            .flat_map(|op| match op {
                Op::Apply(batch) => batch.changes.iter().map(|change| change.job.0).collect::<Vec<_>>(),
                Op::Deliver(delivery) => vec![delivery.job.0],
                Op::EndDownload(end) => vec![end.job.0],
                Op::Purge(job, _) => vec![job.0],
                Op::FireSchedule(_)
                | Op::KeepSchedule(..)
                | Op::MailboxPurged(_)
                | Op::EmptyLog
                | Op::SettleRestored
                | Op::Accept(..)
                | Op::Reject(..)
                | Op::Fire(..)
                | Op::MailboxMark(_)
                | Op::Retain(..)
                | Op::KeepCallback(_)
                | Op::KeepAges(_)
                | Op::ForgetCallbacks(_)
                | Op::Sinks(_)
                | Op::Watches(_)
                | Op::Heartbeat => Vec::new(),
            })
            .chain(more.iter().map(|(id, _)| id.0))
            .collect();
        let (mut jobs, ids) = self.hot.find(ids);
        if ids.is_empty() {
            return Ok(jobs);
        }
        let loaded = rows::fetch_each(&mut self.conn, sql::LOAD_JOBS, &ids, rows::PAGE, rows::id_of_job).await?;
        for row in loaded {
            let job = row.and_then(|row: rows::JobRow| Job::try_from(row));
            jobs.extend(self.quarantine.sort(job)?.map(Arc::new));
        }
        Ok(jobs)
    }

    /// A job whose row cannot be read is there all the same.
    fn name_unreadable(&self, applied: Vec<Result<Arc<Job>, ApplyError>>) -> Vec<Result<Arc<Job>, ApplyError>> {
        let named = |error| match error {
            ApplyError::NotFound(id) if self.quarantine.holds(id.0) => ApplyError::Unreadable(id),
            other => other,
        };
        applied.into_iter().map(|result| result.map_err(named)).collect()
    }

    fn is_blocked(&self) -> bool {
        matches!(*self.health.lock().unwrap_or_else(PoisonError::into_inner), StoreHealth::Blocked { .. })
    }

    fn note_health(&mut self, error: Option<&StoreError>) {
        let now = self.clock.now();
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*health {
            StoreHealth::Good => now,
            StoreHealth::Tight { since, .. } | StoreHealth::Blocked { since, .. } => *since,
        };
        // A disk that was merely short of room blocks from now on.
        let blocked_since = if matches!(*health, StoreHealth::Blocked { .. }) { since } else { now };
        let next = match (error, &*health) {
            // What must not go on does not get well by itself.
            (_, StoreHealth::Blocked { fatal: true, .. }) => return,
            // A refused statement is about that statement; the others say that nothing can be committed.
            (
                Some(StoreError::Refused(_) | StoreError::Other(_) | StoreError::Corrupt { .. } | StoreError::Closed),
                _,
            ) => return,
            // Outcomes still have the ballast.
            (Some(StoreError::Full(reason)), _) if !self.disk.is_spent() => {
                StoreHealth::Tight { reason: self.disk.shortage().unwrap_or_else(|| reason.clone()), since }
            }
            (Some(error), _) => {
                let fatal = matches!(error, StoreError::Io(_) | StoreError::Fenced { .. });
                StoreHealth::Blocked { reason: error.to_string(), since: blocked_since, fatal }
            }
            (None, _) => match self.disk.shortage() {
                Some(reason) => StoreHealth::Tight { reason, since },
                None => StoreHealth::Good,
            },
        };
        tell(&health, &next, now.since(since).as_secs());
        *health = next;
    }
}

/// What the mailbox rows among the requests ask for, by their tokens.
fn mailbox_rows(ops: &[Op]) -> HashMap<String, Asked> {
    let mut rows = HashMap::new();
    let has_token = |job: &NewJob| job.mailbox_uid.is_none() && job.asked.uid.is_some();
    if !ops.iter().any(|op| matches!(op, Op::Accept(jobs, _) if jobs.iter().any(has_token))) {
        // Nobody else comes with a token.
        return rows;
    }
    for op in ops {
        match op {
            Op::Accept(jobs, _) => rows.extend(jobs.iter().filter_map(|job| {
                let uid = job.mailbox_uid.clone()?;
                Some((uid, Asked { means: Some(meaning(job)), ..job.asked.clone() }))
            })),
            Op::Reject(refused, _) => rows.extend(refused.iter().map(|row| (row.uid.clone(), row.asked.clone()))),
            _ => {}
        }
    }
    rows
}

/// Jobs of other doors for which mailbox rows come with the token that they were ordered with.
fn newly_shown(ops: &[Op], known: &Known) -> Vec<(JobId, String)> {
    let mut shown: BTreeMap<JobId, String> = BTreeMap::new();
    let mut show = |uid: &str, asked: &Asked, means: &dyn Fn() -> Option<String>| {
        let Some(first) = known.uids.get(uid).filter(|first| first.code.is_none() && first.mailbox_uid.is_none())
        else {
            return;
        };
        if let (Accepted::Taken(Some(job)), Data::Whole) = (first.answer(asked, means().as_deref(), None), first.data) {
            shown.entry(job).or_insert_with(|| uid.to_owned());
        }
    };
    for op in ops {
        match op {
            Op::Accept(jobs, _) => {
                for job in jobs.iter().filter(|job| job.mailbox_uid.is_some()) {
                    show(job.uid().unwrap_or_default(), &job.asked, &|| Some(meaning(job)));
                }
            }
            Op::Reject(rows, _) => rows.iter().for_each(|row| show(&row.uid, &row.asked, &|| None)),
            _ => {}
        }
    }
    shown.into_iter().collect()
}

/// What room there is belongs to the outcomes of what was paid for.
fn turn_intake_away(group: Vec<Request>, reason: &str) -> Vec<Request> {
    let (refused, rest): (Vec<Request>, Vec<Request>) = group.into_iter().partition(|it| it.op.is_intake());
    for Request { reply, .. } in refused {
        let _ = reply.send(Err(StoreError::Full(reason.to_owned())));
    }
    rest
}

/// One line for each turn of the store's health.
fn tell(before: &StoreHealth, after: &StoreHealth, seconds: u64) {
    match (before, after) {
        (StoreHealth::Blocked { .. }, StoreHealth::Blocked { .. })
        | (StoreHealth::Tight { .. }, StoreHealth::Tight { .. })
        | (StoreHealth::Good, StoreHealth::Good) => {}
        (_, StoreHealth::Blocked { reason, .. }) => {
            tracing::error!(error = reason, "nothing can be committed; no new call is begun");
        }
        (_, StoreHealth::Tight { reason, .. }) => tracing::error!("{reason}"),
        (StoreHealth::Blocked { .. }, StoreHealth::Good) => tracing::info!(seconds, "the store commits again"),
        (StoreHealth::Tight { .. }, StoreHealth::Good) => tracing::info!(seconds, "the store's disk has room again"),
    }
}

/// Takes along what else is waiting, and what those have to write who are about to run: where the processor is busy they
/// share a commit, and where it is not this takes no time.
async fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let (mut weight, mut bytes) = (first.op.weight(), first.op.bytes());
    let mut group = vec![first];
    for _ in 0..OTHERS_FIRST {
        tokio::task::yield_now().await;
        while group.len() < LARGEST_GROUP && weight < LARGEST_WEIGHT && bytes < LARGEST_BYTES {
            let Ok(request) = requests.try_recv() else { break };
            weight += request.op.weight();
            bytes += request.op.bytes();
            group.push(request);
        }
    }
    group
}
