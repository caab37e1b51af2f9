//! What keeps a store in order: calendar work, retention, purging, export, and what a restore leaves to be settled.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use crate::domain::{JobId, NewJob, State, Timestamp};

/// A time of a schedule that is decided now.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    pub schedule: String,
    /// When it came due.
    pub due: Timestamp,
    pub now: Timestamp,
    /// Earlier times that are let go with it.
    pub missed: usize,
    pub what: FiringWork,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FiringWork {
    /// It came too late and is let go.
    Skip,
    /// Paid work: the job is taken in by the same transaction.
    Job(Box<NewJob>),
}

/// What became of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// It was decided before; nothing is done.
    Before,
    Skipped,
    New(JobId),
    /// An unfinished job has the same `dedupe_key`.
    Duplicate(JobId),
}

/// What is remembered of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownSchedule {
    pub definition: String,
    pub through: Timestamp,
}

/// The newest decided time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFiring {
    pub due: Timestamp,
    pub decided_at: Timestamp,
    /// `fired`, `duplicate` or `skipped`.
    pub outcome: String,
    pub job: Option<JobId>,
    pub missed: i64,
}

pub type LastFirings = BTreeMap<String, LastFiring>;

/// As the shipped configuration has it.
const UIDS: Duration = Duration::from_secs(400 * 86_400);

/// How long finished things are kept, and how many of them at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub finished: Duration,
    pub events: Duration,
    pub calls: Duration,
    /// How long a client's token is remembered once its job is removed.
    pub uids: Duration,
    /// Lines of the cost ledger whose jobs are gone, balances, and sums of what was spent.
    pub ledger: Duration,
    pub most: Most,
    /// A mailbox waits for its events. Without one nobody does.
    pub mailbox: bool,
}

impl Retention {
    /// A little over three years: what books are asked about.
    pub const LEDGER: Duration = Duration::from_secs(1_100 * 86_400);

    /// However many there are.
    pub fn by_age(finished: Duration, events: Duration, calls: Duration) -> Self {
        Self { finished, events, calls, uids: UIDS, ledger: Self::LEDGER, most: Most::default(), mailbox: true }
    }
}

/// None: as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Most {
    pub finished: Option<u64>,
    pub events: Option<u64>,
    pub calls: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    pub jobs: u64,
    pub events: u64,
    pub calls: u64,
    /// Clients' tokens.
    pub uids: u64,
    /// Lines of the ledger, and balances.
    pub ledger: u64,
    /// Pages that the file became shorter by.
    pub pages: u64,
    pub more: bool,
}

/// What purging a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeOutcome {
    Done(Purged),
    NoJob,
    Unfinished(State),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    pub observations: u64,
    pub events: u64,
    pub calls: u64,
    pub callbacks: u64,
    pub files: u64,
    /// Hashes of files that the job named; those that nobody else names can be removed.
    pub hashes: Vec<String>,
    /// The token of its mailbox row, which is removed from the mailbox next.
    pub uid: Option<String>,
    /// False: a reader kept the write-ahead log from being emptied; it is emptied later.
    pub log_emptied: bool,
}

/// Which numbers an export begins and ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSpan {
    /// Numbers greater than this.
    pub after: i64,
    /// Up to and with this.
    pub last: i64,
}

/// The store was put back from an older copy, and what is queued in it is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub at: Timestamp,
    /// Queued jobs that the newer store proves unsent.
    pub unsent: Vec<JobId>,
}

/// A copy of the store that has no name any more: it is gone when it is closed.
#[derive(Debug)]
pub struct StoreCopy {
    pub file: File,
    pub bytes: u64,
    pub sha256: String,
}
