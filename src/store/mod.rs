//! The store speaks the service's verbs and says what holds once they return.
//!
//! Whatever a verb writes is durable (fsynced) when it returns. State, observation and event of one change are one
//! transaction. SQLite is the one backend today; PostgreSQL will be a second implementation of [`Store`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use self::callbacks::{
    Callback, CallbackFilter, CandidateJob, CandidateQuery, Delivered, Delivery, JobFile, Kept, NewCallback, RawBody,
    Unmatched,
};
use self::costs::{CostLine, CostQuery, CostSum};
use self::downloads::{DownloadEnd, DownloadState, DownloadWish, DueDownload};
use self::sinks::SinkStore;
use self::upkeep::{ExportSpan, Fired, Firing, KnownSchedule, LastFirings, PurgeOutcome, Restored, StoreCopy};
pub use self::upkeep::{Removed, Retention};
use self::watches::WatchStore;
use crate::domain::ages::Held;
use crate::domain::reconcile::{Ordered, Reading};
use crate::domain::repeat::Asked;
use crate::domain::spending::{BudgetSpent, Rules, Spent};
use crate::domain::state::{Input, Refused};
use crate::domain::{Account, Call, Event, Job, JobId, NewEvent, NewJob, Reason, State, Timestamp};
use crate::meters::StoreMeters;

pub mod callbacks;
pub mod costs;
pub mod downloads;
pub mod sinks;
pub mod sqlite;
pub mod upkeep;
pub mod watches;

/// Everything that opros remembers.
#[async_trait]
pub trait Store: SinkStore + WatchStore {
    /// A random name of this store, part of every event's public id.
    fn instance(&self) -> &str;

    /// What the newest commits brought; changes at every commit.
    fn commits(&self) -> watch::Receiver<Commit>;

    /// The writer's state of health.
    fn health(&self) -> StoreHealth;

    /// What an operator must know of the store beside its health.
    fn warnings(&self) -> Vec<StoreWarning>;

    /// The writer's instruments.
    fn meters(&self) -> StoreMeters;

    /// Returns once the writer and its database have answered; writes nothing. What hangs does not return.
    async fn heartbeat(&self) -> Result<(), StoreError>;

    // ---- writes: each is part of some group commit --------------------------------------------------------------

    /// Takes jobs in. What comes with a known `uid` is answered with its job, whatever that has come to; a retry of which
    /// another is unfinished, and a job whose `dedupe_key` belongs to an unfinished one, with that one.
    async fn accept(&self, jobs: Vec<NewJob>, at: Timestamp) -> Result<Vec<Accepted>, StoreError>;

    /// Notes that mailbox rows could not be understood, with one `job.rejected` event each. One whose `uid` belongs to a job
    /// is not noted: either it asks for the same, and shows that job, or it is [`Accepted::Reused`].
    async fn reject(&self, rows: Vec<RejectedRow>, at: Timestamp) -> Result<Vec<Accepted>, StoreError>;

    /// Carries inputs through the state table, with the records of the calls behind them, in one transaction.
    async fn apply(&self, batch: Batch) -> Result<Vec<Result<Arc<Job>, ApplyError>>, StoreError>;

    /// True exactly once for each (schedule, fire time), across restarts.
    async fn fire(&self, schedule: &str, at: Timestamp) -> Result<bool, StoreError>;

    /// Decides a time of a schedule, once, and takes its job in by the same transaction.
    async fn fire_schedule(&self, firing: Firing) -> Result<Fired, StoreError>;

    /// From when on times of a schedule count.
    async fn keep_schedule(&self, name: &str, known: KnownSchedule) -> Result<(), StoreError>;

    /// Removes what a finished job holds of a person, from the file and its log; its lines of the ledger stay.
    async fn purge(&self, job: JobId, now: Timestamp) -> Result<PurgeOutcome, StoreError>;

    /// These rows' data are out of the mailbox.
    async fn mailbox_purged(&self, uids: Vec<String>) -> Result<(), StoreError>;

    /// Everything that a restore left open is settled.
    async fn settle_restored(&self) -> Result<(), StoreError>;

    /// Where the mailbox file stands. Neither number goes back; event numbers that the file used are not given again.
    async fn set_mailbox_mark(&self, mark: MailboxMark) -> Result<(), StoreError>;

    /// Removes a bounded number of what is older than retention; says whether there is more.
    async fn retain(&self, retention: Retention, now: Timestamp) -> Result<Removed, StoreError>;

    /// The one question before anything is removed for being old: false for a day after the clock leapt forward. What is
    /// remembered of that is in the file before this says true.
    async fn may_remove(&self, now: Timestamp) -> Result<bool, StoreError>;

    /// Why it is false.
    fn removal_held(&self) -> Option<Held>;

    // ---- reads --------------------------------------------------------------------------------------------------

    /// Due jobs of an account in the order in which they are to be served, without those that are under way already.
    async fn due(
        &self,
        account: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
        under_way: &[JobId],
    ) -> Result<Vec<DueJob>, StoreError>;

    /// When the first job of a lane is due, of those that are due later than `after`.
    async fn next_due(&self, account: &str, lane: Lane, after: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Queued and waiting jobs whose deadline has passed.
    async fn overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError>;

    /// The first jobs that were set aside since opros fails on them.
    async fn set_aside(&self, limit: usize) -> Result<Vec<JobId>, StoreError>;

    /// The next deadline of a queued or waiting job.
    async fn next_deadline(&self) -> Result<Option<Timestamp>, StoreError>;

    async fn job(&self, id: JobId) -> Result<Option<JobDetails>, StoreError>;

    /// What tokens that were given before come to, by them: whoever asks for the same as then, as it was written then, gets
    /// its job, though it would not be understood now.
    async fn known(&self, asked: &[&Asked]) -> Result<BTreeMap<String, Accepted>, StoreError>;

    /// Newest first.
    async fn jobs(&self, filter: JobFilter) -> Result<JobPage, StoreError>;

    async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, StoreError>;

    /// The newest observation of each of these jobs that has one.
    async fn last_observations(&self, ids: &[JobId]) -> Result<BTreeMap<JobId, String>, StoreError>;

    /// Events after `seq`, oldest first; or what is the oldest that is left.
    async fn events(&self, after: i64, limit: usize) -> Result<EventPage, StoreError>;

    /// The same of one job, by an index; and the newest event of all at that moment.
    async fn job_events(&self, job: JobId, after: i64, limit: usize) -> Result<(EventPage, i64), StoreError>;

    async fn accounts(&self) -> Result<BTreeMap<String, Account>, StoreError>;

    /// Jobs by account, kind and state; kept by deltas, never counted.
    async fn counts(&self) -> Result<Vec<Count>, StoreError>;

    /// Since when the job that has been in doubt for longest has been so.
    async fn oldest_doubt(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Read from the file itself: not behind what another read has seen, as the signal of [`Store::commits`] can be.
    async fn mailbox_cursor(&self) -> Result<MailboxCursor, StoreError>;

    /// What the mailbox should show for the first of these rows, and the events of mailbox rows after a mailbox number: all
    /// of one snapshot, so that no row shows an end of which the stream does not know.
    async fn mailbox_news(&self, uids: &[String], after: i64, limit: usize) -> Result<MailboxNews, StoreError>;

    /// Mailbox rows whose jobs changed, since this was last asked, in a way that shows in the mailbox. For one asker, who
    /// remembers what it was told.
    fn take_mailbox_changes(&self) -> MailboxChanges;

    /// What the mailbox should show for these rows; rows that were never taken are missing.
    async fn mailbox_rows(&self, uids: &[String]) -> Result<BTreeMap<String, MailboxRow>, StoreError>;

    /// How many of these rows, from the first on, have results that may be in memory together; at least one.
    async fn mailbox_fits(&self, uids: &[String]) -> Result<usize, StoreError>;

    /// What an account has ordered in the windows around that moment.
    async fn spent(&self, rules: &Rules, at: Timestamp) -> Result<Spent, StoreError>;

    /// The ledger's lines, summed up; the oldest day first.
    async fn costs(&self, query: CostQuery) -> Result<Vec<CostSum>, StoreError>;

    /// What the vendor said was left, the last word before `from` included; and what was ordered between each two readings.
    async fn balances(
        &self,
        account: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<(Vec<Reading>, Vec<Ordered>), StoreError>;

    // ---- upkeep -------------------------------------------------------------------------------------------------

    async fn schedule(&self, name: &str) -> Result<Option<KnownSchedule>, StoreError>;

    /// The newest decided time of each schedule.
    async fn last_firings(&self) -> Result<LastFirings, StoreError>;

    /// Mailbox rows whose data are to be removed from the mailbox, some of them.
    async fn mailbox_purges(&self) -> Result<Vec<String>, StoreError>;

    /// Set while a store that was put back from an older copy is not settled.
    async fn restored(&self) -> Result<Option<Restored>, StoreError>;

    async fn jobs_span(&self) -> Result<ExportSpan, StoreError>;

    async fn events_span(&self, since: Timestamp) -> Result<ExportSpan, StoreError>;

    /// Jobs after that number that were taken in since then, oldest first, in a portion of bounded weight.
    async fn export_jobs(&self, after: JobId, since: Timestamp) -> Result<Vec<JobDetails>, StoreError>;

    async fn costs_span(&self, since: Timestamp) -> Result<ExportSpan, StoreError>;

    /// Lines of the ledger after that number, oldest first.
    async fn export_costs(&self, after: i64, limit: usize) -> Result<Vec<CostLine>, StoreError>;

    // ---- call-backs and files -----------------------------------------------------------------------------------

    /// Stores a call-back as it came; one that says what a stored one of the account says is only counted.
    async fn keep_callback(&self, callback: NewCallback) -> Result<Kept, StoreError>;

    /// Gives a call-back to a job, with its files and the job's step, in one transaction.
    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, StoreError>;

    /// Forgets some call-backs from before then whose jobs are gone or were never found; says how many.
    async fn forget_callbacks(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Newest first.
    async fn callbacks(&self, filter: CallbackFilter) -> Result<Vec<Callback>, StoreError>;

    async fn unmatched_callbacks(&self, which: Unmatched<'_>, limit: usize) -> Result<Vec<Callback>, StoreError>;

    async fn callback(&self, id: i64) -> Result<Option<Callback>, StoreError>;

    async fn callback_body(&self, id: i64) -> Result<Option<RawBody>, StoreError>;

    /// Jobs that a call-back may be for; unfinished ones first.
    async fn candidates(&self, query: CandidateQuery<'_>) -> Result<Vec<CandidateJob>, StoreError>;

    /// A job's files, by name.
    async fn job_files(&self, job: JobId) -> Result<Vec<JobFile>, StoreError>;

    /// Which of these hashes some job or call-back names.
    async fn known_files(&self, hashes: &[String]) -> Result<BTreeSet<String>, StoreError>;

    /// How one try to fetch a document ended, with its file, its call and the event that announces it.
    async fn end_download(&self, end: DownloadEnd) -> Result<(), StoreError>;

    /// Documents that are to be fetched now, the longest due first.
    async fn due_downloads(&self, now: Timestamp, limit: usize) -> Result<Vec<DueDownload>, StoreError>;

    async fn next_download(&self) -> Result<Option<Timestamp>, StoreError>;

    /// How a job's download stands; none where there is none.
    async fn download(&self, job: JobId) -> Result<Option<DownloadState>, StoreError>;

    /// A complete, checked copy in a new file, mode 0600; it is there whole, or not at all.
    async fn backup(&self, file: &Path) -> Result<(), StoreError>;

    /// A complete, checked copy that only whoever holds it can read.
    async fn copy(&self) -> Result<StoreCopy, StoreError>;

    /// Commits what is under way and closes the file.
    async fn close(&self);
}

/// Submits are served by priority, free calls by due time; neither lane starves the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Submit,
    Free,
}

impl Lane {
    pub const fn code(self) -> i64 {
        match self {
            Lane::Submit => 0,
            Lane::Free => 1,
        }
    }

    pub const fn of(state: State) -> Lane {
        match state {
            State::Queued => Lane::Submit,
            State::Submitting
            | State::Waiting
            | State::InDoubt
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Expired
            | State::Rejected => Lane::Free,
        }
    }
}

/// A signal, not a log: readers that miss one see the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    pub last_seq: i64,
    pub last_mailbox_seq: i64,
    /// Counts up at every commit.
    pub number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreHealth {
    Good,
    /// Room is short: outcomes are recorded, nothing new is ordered or taken in.
    Tight {
        reason: String,
        since: Timestamp,
    },
    /// Nothing can be committed: why, and since when.
    Blocked {
        reason: String,
        since: Timestamp,
        /// It does not end by itself: the daemon must stop.
        fatal: bool,
    },
}

/// A cause for health: the store works, and something about it needs an eye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreWarning {
    pub code: &'static str,
    pub what: String,
    pub since: Timestamp,
}

/// The verdict on a job that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    New(JobId),
    /// An unfinished job has the same `dedupe_key`, or is a retry of the same job.
    Duplicate(JobId),
    /// Its `uid` was given for the same before; no job when it was a mailbox row that was rejected.
    Taken(Option<JobId>),
    /// Its `uid` was given for something else before: that job; none when that was a mailbox row that was rejected.
    Reused(Option<JobId>),
    /// It was ordered with this `uid` before, and the job's data are gone.
    Gone(Option<JobId>),
}

impl Accepted {
    pub fn job(self) -> Option<JobId> {
        match self {
            Accepted::New(id) | Accepted::Duplicate(id) => Some(id),
            Accepted::Taken(id) => id,
            Accepted::Reused(_) | Accepted::Gone(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct RejectedRow {
    pub uid: String,
    pub kind: Option<String>,
    pub reason: Reason,
    /// The unfinished job that a duplicate duplicates.
    pub duplicate_of: Option<JobId>,
    /// What it asked for, as far as that could be read, and the number of the row.
    pub asked: Asked,
}

/// Changes that belong together: all of them are committed, or none.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub at: Timestamp,
    pub changes: Vec<Change>,
    pub accounts: Vec<AccountChange>,
    /// The call that brought these changes.
    pub call: Option<CallRecord>,
    /// Documents that the results name. A wish counts only where its job ends as succeeded by this batch.
    pub downloads: Vec<DownloadWish>,
    /// What the orders that begin by this batch cost, and whether they may begin at all. None: they are free to.
    pub spending: Option<Arc<Rules>>,
    /// With what a client asked for the change, so that asking again changes nothing more.
    pub asked: Option<Asked>,
}

impl Batch {
    pub fn of(at: Timestamp, changes: Vec<Change>) -> Self {
        Self { at, changes, ..Self::default() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub job: JobId,
    pub input: Input,
}

/// An account's new state with the events that announce it.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountChange {
    pub name: String,
    pub account: Account,
    pub events: Vec<NewEvent>,
}

/// One request to a vendor, for the timeline and for diagnosis. Holds no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    pub account: String,
    pub call: Option<Call>,
    /// The vendor's own name of the operation.
    pub op: &'static str,
    /// The job, when the request was for one.
    pub job: Option<JobId>,
    pub jobs: usize,
    pub at: Timestamp,
    pub took: Duration,
    pub status: Option<u16>,
    /// What became of it, in a word: `accepted`, `unchanged`, `not_sent`…
    pub outcome: String,
    /// Why, where that is not plain.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApplyError {
    #[error("there is no job {0}")]
    NotFound(JobId),
    /// Its row is damaged. Nothing is changed in it.
    #[error("the row of job {0} cannot be read; see: opros health")]
    Unreadable(JobId),
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its account may order nothing more for now.
    #[error(transparent)]
    Spent(#[from] BudgetSpent),
    /// An equal order was sent shortly before: it is to be held.
    #[error("{}", .0.message)]
    Equal(Reason),
    /// It was done before; the job as it stands.
    #[error("job {} is {}: it was done before", .0.id, .0.state)]
    Already(Arc<Job>),
    /// The token that it came with was given for something else before.
    #[error("the uid was given for something else before")]
    Reused(Option<JobId>),
    /// The same was done a moment ago, and nobody says that it is meant again.
    #[error("job {0} was resubmitted a moment ago, and is in doubt once more")]
    JustNow(JobId),
}

#[derive(Debug, Clone)]
pub struct DueJob {
    pub job: Arc<Job>,
    pub body: Arc<OrderBody>,
}

/// What was ordered, and what the driver has of the answer so far.
#[derive(Debug)]
pub struct OrderBody {
    pub params: String,
    /// SHA-256 of the params as they were taken in.
    pub params_hash: String,
    pub partial: Option<String>,
    value: OnceLock<Value>,
}

impl OrderBody {
    pub fn new(params: String, params_hash: String, partial: Option<String>) -> Self {
        Self { params, params_hash, partial, value: OnceLock::new() }
    }

    /// The params, read; null where they are damaged.
    pub fn value(&self) -> &Value {
        self.value.get_or_init(|| serde_json::from_str(&self.params).unwrap_or(Value::Null))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct JobDetails {
    pub job: Job,
    pub params: String,
    pub result: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    pub state: Option<State>,
    pub kind: Option<String>,
    pub account: Option<String>,
    pub tag: Option<String>,
    pub dedupe_key: Option<String>,
    /// The job that was ordered with it.
    pub uid: Option<String>,
    /// Jobs with a smaller number than this.
    pub before: Option<JobId>,
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    pub jobs: Vec<JobDetails>,
    /// Pass as [`JobFilter::before`]; none on the last page.
    pub next: Option<JobId>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TimelineEntry {
    Event(Event),
    Observation { at: Timestamp, data: String, raw: String },
    Call(StoredCall),
}

impl TimelineEntry {
    pub fn at(&self) -> Timestamp {
        match self {
            TimelineEntry::Event(event) => event.at,
            TimelineEntry::Observation { at, .. } => *at,
            TimelineEntry::Call(call) => call.at,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredCall {
    pub at: Timestamp,
    pub took: Duration,
    pub call: Option<String>,
    pub op: String,
    pub jobs: i64,
    pub status: Option<i64>,
    pub outcome: String,
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventPage {
    Events(Vec<Event>),
    /// Retention removed what was asked for; `oldest` is the first number that is left.
    Gone {
        oldest: i64,
    },
    /// There was never an event of the number that was asked for: the newest is `last`. Whoever remembers such a number
    /// read another store, or this one before it was put back from an older copy.
    Ahead {
        last: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub account: String,
    pub kind: String,
    pub state: State,
    pub jobs: i64,
}

/// How far the mailbox file was written, and how far the store has numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxCursor {
    pub mark: MailboxMark,
    pub last: i64,
}

/// What the store remembers of the mailbox file, in case that it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailboxMark {
    /// Events up to here are in the file.
    pub written: i64,
    /// The highest number of a row that was seen in it: a file that is made anew goes on above.
    pub highest_id: i64,
}

impl MailboxMark {
    /// The further of both, in each respect.
    pub fn max(self, other: MailboxMark) -> MailboxMark {
        MailboxMark { written: self.written.max(other.written), highest_id: self.highest_id.max(other.highest_id) }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailboxChanges {
    pub uids: BTreeSet<String>,
    /// There were more than are remembered: any unfinished row may have changed.
    pub overflow: bool,
    /// Rows' data are to be removed: ask [`Store::mailbox_purges`].
    pub purge: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MailboxNews {
    /// How many of the rows that were asked for are here: results of bounded size, at least one.
    pub settled: usize,
    pub rows: BTreeMap<String, MailboxRow>,
    /// The highest number of an event of a mailbox row.
    pub reach: i64,
    /// As many events as were asked for, as far as the results of their rows fit; at least one.
    pub feed: Vec<MailboxEvent>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MailboxEvent {
    pub event: Event,
    pub uid: String,
    pub row: MailboxRow,
}

/// What stands in a mailbox row.
#[derive(Debug, Clone, PartialEq)]
pub struct MailboxRow {
    pub state: State,
    pub job: Option<JobId>,
    /// None of a row that was never made a job of its own.
    pub ordered: Option<OrderedRow>,
    pub remote_id: Option<String>,
    pub reason: Option<Reason>,
    pub result: Option<String>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// What a mailbox row ordered, as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedRow {
    pub kind: String,
    pub params: String,
    pub account: String,
    pub priority: i64,
    pub dedupe_key: Option<String>,
    pub deadline: Option<Timestamp>,
    pub tag: Option<String>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store's disk is full: {0}; nothing is submitted until there is space")]
    Full(String),
    #[error(
        "the store's disk does not work: {0}. opros stops before money can be lost; check the disk, then start it again"
    )]
    Io(String),
    #[error(
        "{0} under the running daemon: nothing is sent or stored until the old one is back. If that is meant, start opros again"
    )]
    Replaced(String),
    #[error("the store is locked by another program: {0}. Nothing but opros may open it")]
    Busy(String),
    #[error("another opros has taken over this store (epoch {theirs}, ours is {ours}); this one must stop")]
    Fenced { ours: i64, theirs: i64 },
    #[error("the store holds what no opros writes: table {table}, column {column}, row {id}: {what}")]
    Corrupt { table: &'static str, column: &'static str, id: i64, what: String },
    #[error("the store is closed")]
    Closed,
    /// A rule of the schema, a trigger or a row count speaks against this very change: offered again it is refused again.
    #[error("the store refused a change: {0}")]
    Refused(String),
    #[error("the store refused a statement: {0}")]
    Other(String),
}

impl StoreError {
    /// About this change alone, whenever it is offered; the store works.
    pub fn is_refusal(&self) -> bool {
        match self {
            StoreError::Refused(_) | StoreError::Corrupt { .. } => true,
            StoreError::Full(_)
            | StoreError::Io(_)
            | StoreError::Replaced(_)
            | StoreError::Busy(_)
            | StoreError::Fenced { .. }
            | StoreError::Closed
            | StoreError::Other(_) => false,
        }
    }

    /// About the store as a whole: whatever is offered now meets the same.
    pub fn is_of_the_store(&self) -> bool {
        match self {
            StoreError::Full(_)
            | StoreError::Io(_)
            | StoreError::Replaced(_)
            | StoreError::Busy(_)
            | StoreError::Fenced { .. }
            | StoreError::Closed => true,
            StoreError::Refused(_) | StoreError::Corrupt { .. } | StoreError::Other(_) => false,
        }
    }
}

/// `bytes` random bytes in hex, from the operating system.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0_u8; bytes];
    // Without the system's random numbers there are no unique tokens, and without those no safe submit.
    getrandom::fill(&mut buffer).expect("the operating system gives random numbers");
    crate::domain::exchange::hex(&buffer)
}
