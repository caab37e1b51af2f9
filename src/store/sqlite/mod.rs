//! The store on SQLite: one writer that commits many tasks' changes together, and a few readers beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{ConstantBuilder, Retryable};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

mod agenda;
mod ages;
mod arrival;
mod backup;
mod callbacks;
mod costs;
pub mod disk;
mod downloads;
mod draft;
mod due;
mod export;
pub mod file;
mod firing;
mod hot;
mod money;
mod purge;
mod quarantine;
mod reads;
pub mod restore;
mod retain;
mod rows;
mod set_back;
mod sink_rows;
mod sinks;
pub mod sql;
mod uids;
mod watches;
pub mod witness;
mod writer;

use self::agenda::Agenda;
use self::ages::Remembered;
use self::arrival::Arrival;
use self::disk::{Disk, DiskRules};
use self::draft::Numbers;
use self::due::{Schedule, StoreFile};
use self::file::{FileError, FileId, Identity};
use self::hot::Hot;
use self::quarantine::Quarantine;
use self::witness::{Mark, Witness};
use self::writer::{Op, Reply, Request, Writer};
use super::callbacks::{
    Callback, CallbackFilter, CandidateJob, CandidateQuery, Delivered, Delivery, JobFile, Kept, NewCallback, RawBody,
    Unmatched,
};
use super::costs::{CostLine, CostQuery, CostSum};
use super::downloads::{DownloadEnd, DownloadState, DueDownload};
use super::upkeep::{
    ExportSpan, Fired, Firing, KnownSchedule, LastFirings, PurgeOutcome, Purged, Removed, Restored, Retention,
    StoreCopy,
};
use super::{
    Accepted, ApplyError, Batch, Commit, Count, DueJob, EventPage, JobDetails, JobFilter, JobPage, Lane,
    MailboxChanges, MailboxCursor, MailboxMark, MailboxNews, MailboxRow, RejectedRow, Store, StoreError, StoreHealth,
    StoreWarning, TimelineEntry, random_hex,
};
use crate::clock::SharedClock;
use crate::crash::{self, Mutant};
use crate::domain::ages::Held;
use crate::domain::reconcile::{Ordered, Reading};
use crate::domain::repeat::Asked;
use crate::domain::spending::{Rules, Spent};
use crate::domain::{Account, Job, JobId, NewJob, Timestamp};
use crate::meters::StoreMeters;

/// The schema, forward only; embedded, so that the binary is all that is needed.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/store");

const INSTANCE: &str = "instance";
const EPOCH: &str = "epoch";
/// Until when the newer self of this older copy is known to have worked, in ms.
const MAILBOX_LAST: &str = "mailbox_last";
const MAILBOX_WRITTEN: &str = "mailbox_written";
const MAILBOX_HIGHEST_ID: &str = "mailbox_highest_id";
const RESTORED_AT: &str = "restored_at";
const RESTORED_UNSENT: &str = "restored_unsent";

/// A store that was put back by hand gives no number that the newer one may have given: it goes on this much above.
const NUMBER_MARGIN: i64 = 1_000_000;
/// How often the log is tried to be emptied after a purge, and how long it rests between.
const EMPTY_LOG_TRIES: usize = 20;
const EMPTY_LOG_AGAIN: Duration = Duration::from_millis(100);

/// How many requests may wait for the writer before their senders wait.
const QUEUE: usize = 4_096;
/// For what the daemon's work waits for: what is due, the mailbox, deliveries.
const READERS: u32 = 3;
/// For people's lists, exports and sums, and for copies: these may take long, and nothing else waits for them.
const LISTERS: u32 = 2;
const COPIERS: u32 = 1;
/// Only another opros' tool may hold the private file for a moment (WAL recovery, a backup's last page).
const BUSY: Duration = Duration::from_secs(5);
/// Each try waits as long as [`BUSY`]: a start that cannot get at its file ends within half a minute, with a word, and is tried
/// again by systemd.
const OPEN_AGAIN: usize = 2;
/// No read waits longer than this for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
/// A WAL that grew is cut back to this.
const WAL_KEPT: &str = "16777216";
/// The log goes into the file every 10 MiB: what changes often is copied once.
const CHECKPOINT_PAGES: &str = "2560";
/// A transaction that outgrows this, in KiB, is written in part before its end.
const WRITER_CACHE: &str = "-8192";

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the store {path} is {how}, but {witness} remembers one with {orders} orders up to {at}. Put that store (or its newest \
         backup) back. Only if you mean to begin anew, remove {witness}: what was ordered before is not known then"
    )]
    Lost { path: PathBuf, how: &'static str, witness: PathBuf, orders: i64, at: Timestamp },
    #[error("the store's witness {path} cannot be used: {error}")]
    Witness { path: PathBuf, error: std::io::Error },
    #[error("the store {path} cannot be opened: {error}")]
    Open { path: PathBuf, error: StoreError },
    #[error(
        "the store {path} cannot be brought up to date: {error}. If it was written by a newer opros, run that version"
    )]
    Migrate { path: PathBuf, error: sqlx::migrate::MigrateError },
}

#[derive(Debug)]
pub struct SqliteStore {
    instance: String,
    directory: PathBuf,
    readers: SqlitePool,
    lists: SqlitePool,
    copies: SqlitePool,
    quarantine: Quarantine,
    /// Taken at close: with the last sender gone the writer ends.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    commits: watch::Receiver<Commit>,
    health: Arc<Mutex<StoreHealth>>,
    mailbox: Arc<Mutex<MailboxNotes>>,
    hot: Hot,
    agenda: Agenda,
    looking: tokio::sync::Mutex<()>,
    ages: Arc<Remembered>,
    meters: StoreMeters,
    warnings: Vec<StoreWarning>,
}

/// What is known of the mailbox beside the tables.
#[derive(Debug, Default)]
struct MailboxNotes {
    mark: MailboxMark,
    changes: MailboxChanges,
}

impl SqliteStore {
    /// Takes ownership of the file, brings its schema up to date and starts the writer.
    pub async fn open(path: &Path, allow_network_fs: bool, clock: SharedClock) -> Result<SqliteStore, OpenError> {
        Self::open_with(path, allow_network_fs, clock, DiskRules::default()).await
    }

    /// The same with room kept on its disk.
    pub async fn open_with(
        path: &Path,
        allow_network_fs: bool,
        clock: SharedClock,
        disk: DiskRules,
    ) -> Result<SqliteStore, OpenError> {
        let mut ownership = file::own(path, allow_network_fs)?;
        let failed = |error| OpenError::Open { path: path.to_owned(), error };
        let is_new = fs_is_empty(path);
        let witness_failed = |error| OpenError::Witness { path: witness::path_of(path), error };
        let (mut witness, seen) = Witness::open(path).map_err(witness_failed)?;
        if let Some(mark) = seen.as_ref().filter(|_| is_new) {
            return Err(lost(path, "gone or empty", mark));
        }
        // Before SQLite opens it, so that the lock outlives every connection.
        ownership.lock_file(path)?;
        let (mut memory, remembered) = ownership.memory().and_then(Witness::on).map_err(witness_failed)?;
        let options = options(path);
        // A crashed run leaves a WAL to be read in; meanwhile SQLite may say that it is busy.
        let mut conn = (|| async { options.clone().create_if_missing(true).connect().await })
            .retry(ConstantBuilder::default().with_delay(Duration::from_millis(100)).with_max_times(OPEN_AGAIN))
            .when(|error| matches!(sort_error_ref(error), StoreError::Busy(_)))
            .await
            .map_err(|error| failed(sort_error(error)))?;
        file::make_private(path)?;
        MIGRATIONS.run(&mut conn).await.map_err(|error| OpenError::Migrate { path: path.to_owned(), error })?;
        crash::point("start.store_migrated");
        let identity = FileId::of(path).map_err(|error| FileError::Read { path: path.to_owned(), error })?;
        let directory = file::directory_of(path).to_owned();
        backup::clear_leftovers(&directory);
        let ours = get_meta(&mut conn, INSTANCE).await.map_err(failed)?;
        if let Some(seen) = seen.as_ref().filter(|seen| ours.as_ref() != Some(&seen.instance)) {
            return Err(lost(path, "another one", seen));
        }
        let unreadable = |error| FileError::Read { path: path.to_owned(), error };
        let arrival = Arrival { identity: Identity::of(path).map_err(unreadable)?, seen, remembered };
        let Begun { mark: stands, numbers, mailbox: mark, ages, warning } =
            begin_epoch(&mut conn, &arrival, clock.now()).await.map_err(failed)?;
        crash::point("start.epoch_begun");
        for file in [&mut witness, &mut memory] {
            file.note(&stands).and_then(|()| file.sync()).map_err(witness_failed)?;
        }
        let disk = Disk::new(path, disk);
        let quarantine = Quarantine::new(Arc::clone(&clock));
        let commits = watch::Sender::new(Commit {
            last_seq: numbers.last_seq,
            last_mailbox_seq: numbers.last_mailbox_seq,
            number: 0,
        });
        let health = Arc::new(Mutex::new(StoreHealth::Good));
        let mailbox = Arc::new(Mutex::new(MailboxNotes { mark, ..MailboxNotes::default() }));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (hot, agenda) = (Hot::default(), Agenda::default());
        let meters = StoreMeters::default();
        let ages = Arc::new(ages);
        let store = SqliteStore {
            instance: stands.instance.clone(),
            directory,
            readers: pool(path, READERS),
            lists: pool(path, LISTERS),
            copies: pool(path, COPIERS),
            quarantine: quarantine.clone(),
            requests: Mutex::new(Some(sender)),
            writer: tokio::sync::Mutex::new(None),
            commits: commits.subscribe(),
            health: Arc::clone(&health),
            mailbox: Arc::clone(&mailbox),
            hot: hot.clone(),
            agenda: agenda.clone(),
            looking: tokio::sync::Mutex::default(),
            ages: Arc::clone(&ages),
            meters: meters.clone(),
            warnings: warning.into_iter().collect(),
        };
        let writer = Writer {
            conn,
            path: path.to_owned(),
            identity,
            ownership,
            epoch: stands.epoch,
            stands,
            witness,
            memory,
            disk,
            numbers,
            in_history: Arc::default(),
            hot,
            quarantine,
            agenda,
            waits_for_others: BUSY,
            catch_up_at: None,
            mailbox,
            commits,
            health,
            clock,
            ages,
            meters,
        };
        *store.writer.lock().await = Some(tokio::spawn(crash::watched("store.writer", writer.run(receiver))));
        Ok(store)
    }

    fn due_jobs(&self) -> Schedule<'_, StoreFile<'_>> {
        let file = StoreFile { pool: &self.readers, quarantine: &self.quarantine };
        Schedule { file, agenda: &self.agenda, one: &self.looking, hot: &self.hot }
    }

    async fn ask(&self, op: Op) -> Result<Reply, StoreError> {
        let sender = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        sender.send(Request { op, reply }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// The settings of every connection to the store.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A paid intent must survive a power cut; group commit pays for it.
        .synchronous(if crash::is(Mutant::SynchronousNormal) {
            SqliteSynchronous::Normal
        } else {
            SqliteSynchronous::Full
        })
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("journal_size_limit", WAL_KEPT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        // What a statement may have to take back is kept in memory, not in a file.
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", WRITER_CACHE)
        // What is removed is overwritten: people's data must not lie in free pages for years.
        .pragma("secure_delete", "ON")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// A reader's connection: it cannot write, so it sets nothing that is written into the file.
fn reader_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

fn pool(path: &Path, connections: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(reader_options(path))
}

/// SQLite makes a file where there is none; then it is too late to ask.
fn fs_is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |meta| meta.len() == 0)
}

fn lost(path: &Path, how: &'static str, seen: &Mark) -> OpenError {
    let (path, witness) = (path.to_owned(), witness::path_of(path));
    OpenError::Lost { path, how, witness, orders: seen.orders, at: seen.at }
}

/// Where a store stands when it begins to work.
struct Begun {
    mark: Mark,
    numbers: Numbers,
    mailbox: MailboxMark,
    ages: Remembered,
    warning: Option<StoreWarning>,
}

/// Raises the epoch, so that whoever wrote here before is fenced, and reads where the numbers stand. A store that may be a copy
/// is marked as restored, and goes on with numbers that its original has not given.
async fn begin_epoch(conn: &mut SqliteConnection, arrival: &Arrival, now: Timestamp) -> Result<Begun, StoreError> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(sort_error)?;
    let instance = match get_meta(&mut tx, INSTANCE).await? {
        Some(instance) => instance,
        None => {
            let instance = random_hex(8);
            set_meta(&mut tx, INSTANCE, &instance).await?;
            instance
        }
    };
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let last_epoch = number(get_meta(&mut tx, EPOCH).await?);
    let last_mailbox_seq = number(get_meta(&mut tx, MAILBOX_LAST).await?);
    let mark = MailboxMark {
        written: number(get_meta(&mut tx, MAILBOX_WRITTEN).await?),
        highest_id: number(get_meta(&mut tx, MAILBOX_HIGHEST_ID).await?),
    };
    let last_job = sqlx::query_scalar(sql::LAST_JOB_ID).fetch_one(&mut *tx).await.map_err(sort_error)?;
    let last_seq = sqlx::query_scalar(sql::LAST_EVENT_SEQ).fetch_one(&mut *tx).await.map_err(sort_error)?;
    let orders = sqlx::query_scalar(sql::LAST_ORDER).fetch_one(&mut *tx).await.map_err(sort_error)?;
    let mut stands = Mark { instance, epoch: last_epoch, orders, last_job, last_seq, last_mailbox_seq, at: now };
    let warning = match arrival::judge(&mut tx, &stands, arrival).await? {
        Some(why) => arrival::distrust(&mut tx, &why, &mut stands, arrival, now).await?,
        None => None,
    };
    arrival::settle_down(&mut tx, arrival.identity.as_ref()).await?;
    let seen = arrival.seen.as_ref().map(|seen| seen.at);
    let ages = Remembered::load(&mut tx, seen, now).await?;
    set_back::plan_anew(&mut tx, seen, now).await?;
    stands.epoch += 1;
    set_meta(&mut tx, EPOCH, &stands.epoch.to_string()).await?;
    tx.commit().await.map_err(sort_error)?;
    let Mark { last_job, last_seq, last_mailbox_seq, .. } = stands;
    let numbers = Numbers { last_job, last_seq, last_mailbox_seq, last_order: orders };
    Ok(Begun { mark: stands, numbers, mailbox: mark, ages, warning })
}

async fn get_meta(conn: &mut SqliteConnection, key: &str) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar(sql::GET_META).bind(key).fetch_optional(conn).await.map_err(sort_error)
}

async fn set_meta(conn: &mut SqliteConnection, key: &str, value: &str) -> Result<(), StoreError> {
    sqlx::query(sql::SET_META).bind(key).bind(value).execute(conn).await.map_err(sort_error)?;
    Ok(())
}

/// SQLite's errors by what can be done about them.
fn sort_error(error: sqlx::Error) -> StoreError {
    sort_error_ref(&error)
}

fn sort_error_ref(error: &sqlx::Error) -> StoreError {
    let text = error.to_string();
    let code = match error {
        sqlx::Error::Database(db) => db.code().and_then(|code| code.parse::<i32>().ok()),
        sqlx::Error::Io(_) => return StoreError::Io(text),
        sqlx::Error::PoolTimedOut => return StoreError::Busy("no free connection to read with".to_owned()),
        sqlx::Error::PoolClosed => return StoreError::Closed,
        _ => None,
    };
    // The low byte is the primary result code (sqlite.org/rescode.html).
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => StoreError::Busy(text),
        Some(13) => StoreError::Full(text),
        // TOOBIG, CONSTRAINT (and triggers that abort), MISMATCH
        Some(18..=20) => StoreError::Refused(text),
        // READONLY, IOERR, CORRUPT, CANTOPEN, NOTADB
        Some(8 | 10 | 11 | 14 | 26) => StoreError::Io(text),
        _ => StoreError::Other(text),
    }
}

fn unexpected(_: Reply) -> StoreError {
    StoreError::Other("the writer answered another question".to_owned())
}

#[async_trait]
impl Store for SqliteStore {
    fn instance(&self) -> &str {
        &self.instance
    }

    fn commits(&self) -> watch::Receiver<Commit> {
        self.commits.clone()
    }

    fn health(&self) -> StoreHealth {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn warnings(&self) -> Vec<StoreWarning> {
        self.warnings.iter().cloned().chain(self.quarantine.warning()).collect()
    }

    fn meters(&self) -> StoreMeters {
        self.meters.clone()
    }

    async fn heartbeat(&self) -> Result<(), StoreError> {
        self.ask(Op::Heartbeat).await.map(drop)
    }

    async fn accept(&self, jobs: Vec<NewJob>, at: Timestamp) -> Result<Vec<Accepted>, StoreError> {
        match self.ask(Op::Accept(jobs, at)).await? {
            Reply::Accepted(accepted) => Ok(accepted),
            other => Err(unexpected(other)),
        }
    }

    async fn reject(&self, rows: Vec<RejectedRow>, at: Timestamp) -> Result<Vec<Accepted>, StoreError> {
        match self.ask(Op::Reject(rows, at)).await? {
            Reply::Accepted(accepted) => Ok(accepted),
            other => Err(unexpected(other)),
        }
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<Result<Arc<Job>, ApplyError>>, StoreError> {
        match self.ask(Op::Apply(Box::new(batch))).await? {
            Reply::Applied(applied) => Ok(applied),
            other => Err(unexpected(other)),
        }
    }

    async fn fire(&self, schedule: &str, at: Timestamp) -> Result<bool, StoreError> {
        match self.ask(Op::Fire(schedule.to_owned(), at)).await? {
            Reply::Fired(first) => Ok(first),
            other => Err(unexpected(other)),
        }
    }

    async fn fire_schedule(&self, firing: Firing) -> Result<Fired, StoreError> {
        match self.ask(Op::FireSchedule(Box::new(firing))).await? {
            Reply::FiredSchedule(fired) => Ok(fired),
            other => Err(unexpected(other)),
        }
    }

    async fn keep_schedule(&self, name: &str, known: KnownSchedule) -> Result<(), StoreError> {
        self.ask(Op::KeepSchedule(name.to_owned(), known)).await.map(drop)
    }

    async fn purge(&self, job: JobId, now: Timestamp) -> Result<PurgeOutcome, StoreError> {
        let outcome = match self.ask(Op::Purge(job, now)).await? {
            Reply::Purged(outcome) => outcome,
            other => return Err(unexpected(other)),
        };
        let PurgeOutcome::Done(purged) = outcome else { return Ok(outcome) };
        for _ in 0..EMPTY_LOG_TRIES {
            if matches!(self.ask(Op::EmptyLog).await?, Reply::LogEmptied(true)) {
                return Ok(PurgeOutcome::Done(Purged { log_emptied: true, ..purged }));
            }
            tokio::time::sleep(EMPTY_LOG_AGAIN).await;
        }
        Ok(PurgeOutcome::Done(purged))
    }

    async fn mailbox_purged(&self, uids: Vec<String>) -> Result<(), StoreError> {
        self.ask(Op::MailboxPurged(uids)).await.map(drop)
    }

    async fn settle_restored(&self) -> Result<(), StoreError> {
        self.ask(Op::SettleRestored).await.map(drop)
    }

    async fn schedule(&self, name: &str) -> Result<Option<KnownSchedule>, StoreError> {
        firing::known(&self.readers, name).await
    }

    async fn last_firings(&self) -> Result<LastFirings, StoreError> {
        firing::last(&self.readers).await
    }

    async fn mailbox_purges(&self) -> Result<Vec<String>, StoreError> {
        purge::mailbox_purges(&self.readers).await
    }

    async fn restored(&self) -> Result<Option<Restored>, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(sort_error)?;
        restore::pending(&mut conn).await
    }

    async fn jobs_span(&self) -> Result<ExportSpan, StoreError> {
        export::jobs_span(&self.lists).await
    }

    async fn events_span(&self, since: Timestamp) -> Result<ExportSpan, StoreError> {
        export::events_span(&self.lists, since).await
    }

    async fn export_jobs(&self, after: JobId, since: Timestamp) -> Result<Vec<JobDetails>, StoreError> {
        export::jobs(&self.lists, &self.quarantine, after, since).await
    }

    async fn costs_span(&self, since: Timestamp) -> Result<ExportSpan, StoreError> {
        export::costs_span(&self.lists, since).await
    }

    async fn export_costs(&self, after: i64, limit: usize) -> Result<Vec<CostLine>, StoreError> {
        costs::lines(&self.lists, after, limit).await
    }

    async fn set_mailbox_mark(&self, mark: MailboxMark) -> Result<(), StoreError> {
        self.ask(Op::MailboxMark(mark)).await.map(drop)
    }

    async fn retain(&self, retention: Retention, now: Timestamp) -> Result<Removed, StoreError> {
        match self.ask(Op::Retain(retention, now)).await? {
            Reply::Removed(removed) => Ok(removed),
            other => Err(unexpected(other)),
        }
    }

    async fn may_remove(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.look_at_the_clock(now).await
    }

    fn removal_held(&self) -> Option<Held> {
        self.held()
    }

    async fn due(
        &self,
        account: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
        under_way: &[JobId],
    ) -> Result<Vec<DueJob>, StoreError> {
        self.due_jobs().due(account, lane, now, limit, under_way).await
    }

    async fn next_due(&self, account: &str, lane: Lane, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.due_jobs().next_due(account, lane, after).await
    }

    async fn overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        reads::overdue(&self.readers, &self.quarantine, now, limit).await
    }

    async fn set_aside(&self, limit: usize) -> Result<Vec<JobId>, StoreError> {
        reads::set_aside(&self.readers, limit).await
    }

    async fn next_deadline(&self) -> Result<Option<Timestamp>, StoreError> {
        reads::next_deadline(&self.readers).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobDetails>, StoreError> {
        let mut found = reads::job(&self.readers, id).await?;
        if let (Some(found), Some(job)) = (&mut found, self.hot.ahead_of_file(id)) {
            found.job = Arc::unwrap_or_clone(job);
        }
        Ok(found)
    }

    async fn known(&self, asked: &[&Asked]) -> Result<BTreeMap<String, Accepted>, StoreError> {
        let found = uids::find(&self.readers, asked.iter().filter_map(|asked| asked.uid.as_deref())).await?;
        let answer = |asked: &&Asked| {
            let uid = asked.uid.clone()?;
            let known = found.get(&uid)?.answer(asked, asked.means.as_deref(), None);
            Some((uid, known))
        };
        Ok(asked.iter().filter_map(answer).collect())
    }

    async fn jobs(&self, filter: JobFilter) -> Result<JobPage, StoreError> {
        let mut page = reads::jobs(&self.lists, &self.quarantine, filter).await?;
        for found in &mut page.jobs {
            if let Some(job) = self.hot.ahead_of_file(found.job.id) {
                found.job = Arc::unwrap_or_clone(job);
            }
        }
        Ok(page)
    }

    async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, StoreError> {
        reads::timeline(&self.lists, id).await
    }

    async fn last_observations(&self, ids: &[JobId]) -> Result<BTreeMap<JobId, String>, StoreError> {
        reads::last_observations(&self.readers, ids).await
    }

    async fn events(&self, after: i64, limit: usize) -> Result<EventPage, StoreError> {
        reads::events(&self.readers, after, limit).await
    }

    async fn job_events(&self, job: JobId, after: i64, limit: usize) -> Result<(EventPage, i64), StoreError> {
        reads::job_events(&self.readers, job, after, limit).await
    }

    async fn accounts(&self) -> Result<BTreeMap<String, Account>, StoreError> {
        reads::accounts(&self.readers).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        reads::counts(&self.readers).await
    }

    async fn oldest_doubt(&self) -> Result<Option<Timestamp>, StoreError> {
        reads::oldest_doubt(&self.readers).await
    }

    async fn mailbox_cursor(&self) -> Result<MailboxCursor, StoreError> {
        let mark = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).mark;
        let mut conn = self.readers.acquire().await.map_err(sort_error)?;
        Ok(MailboxCursor { mark, last: reads::last_mailbox_seq(&mut conn).await? })
    }

    fn take_mailbox_changes(&self) -> MailboxChanges {
        std::mem::take(&mut self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).changes)
    }

    async fn mailbox_news(&self, uids: &[String], after: i64, limit: usize) -> Result<MailboxNews, StoreError> {
        reads::mailbox_news(&self.readers, uids, after, limit).await
    }

    async fn mailbox_rows(&self, uids: &[String]) -> Result<BTreeMap<String, MailboxRow>, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(sort_error)?;
        reads::mailbox_rows(&mut conn, uids).await
    }

    async fn mailbox_fits(&self, uids: &[String]) -> Result<usize, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(sort_error)?;
        reads::mailbox_fits(&mut conn, uids).await
    }

    async fn spent(&self, rules: &Rules, at: Timestamp) -> Result<Spent, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(sort_error)?;
        money::spent(&mut conn, rules, at).await
    }

    async fn costs(&self, query: CostQuery) -> Result<Vec<CostSum>, StoreError> {
        costs::sums(&self.lists, query).await
    }

    async fn balances(
        &self,
        account: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<(Vec<Reading>, Vec<Ordered>), StoreError> {
        costs::balances(&self.lists, account, from, to).await
    }

    async fn keep_callback(&self, callback: NewCallback) -> Result<Kept, StoreError> {
        match self.ask(Op::KeepCallback(Box::new(callback))).await? {
            Reply::Kept(kept) => Ok(kept),
            other => Err(unexpected(other)),
        }
    }

    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, StoreError> {
        match self.ask(Op::Deliver(Box::new(delivery))).await? {
            Reply::Delivered(delivered) => Ok(delivered),
            other => Err(unexpected(other)),
        }
    }

    async fn forget_callbacks(&self, before: Timestamp) -> Result<u64, StoreError> {
        match self.ask(Op::ForgetCallbacks(before)).await? {
            Reply::Forgotten(count) => Ok(count),
            other => Err(unexpected(other)),
        }
    }

    async fn callbacks(&self, filter: CallbackFilter) -> Result<Vec<Callback>, StoreError> {
        callbacks::list(&self.lists, filter).await
    }

    async fn unmatched_callbacks(&self, which: Unmatched<'_>, limit: usize) -> Result<Vec<Callback>, StoreError> {
        callbacks::unmatched(&self.readers, which, limit).await
    }

    async fn callback(&self, id: i64) -> Result<Option<Callback>, StoreError> {
        callbacks::get(&self.readers, id).await
    }

    async fn callback_body(&self, id: i64) -> Result<Option<RawBody>, StoreError> {
        callbacks::body(&self.readers, id).await
    }

    async fn candidates(&self, query: CandidateQuery<'_>) -> Result<Vec<CandidateJob>, StoreError> {
        callbacks::candidates(&self.readers, &self.quarantine, query).await
    }

    async fn job_files(&self, job: JobId) -> Result<Vec<JobFile>, StoreError> {
        callbacks::job_files(&self.readers, job).await
    }

    async fn known_files(&self, hashes: &[String]) -> Result<BTreeSet<String>, StoreError> {
        callbacks::known_files(&self.readers, hashes).await
    }

    async fn end_download(&self, end: DownloadEnd) -> Result<(), StoreError> {
        self.ask(Op::EndDownload(Box::new(end))).await.map(drop)
    }

    async fn due_downloads(&self, now: Timestamp, limit: usize) -> Result<Vec<DueDownload>, StoreError> {
        downloads::due(&self.readers, now, limit).await
    }

    async fn next_download(&self) -> Result<Option<Timestamp>, StoreError> {
        downloads::next(&self.readers).await
    }

    async fn download(&self, job: JobId) -> Result<Option<DownloadState>, StoreError> {
        downloads::of(&self.readers, job).await
    }

    async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        backup::into_file(&self.copies, file).await
    }

    async fn copy(&self) -> Result<StoreCopy, StoreError> {
        backup::into_nothing(&self.copies, &self.directory).await
    }

    async fn close(&self) {
        // The readers first: only a writer that is the last to leave takes the log with it, and a log that stays behind
        // would be read into whatever file is put in this one's place.
        for pool in [&self.readers, &self.lists, &self.copies] {
            pool.close().await;
        }
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = self.writer.lock().await.take()
            && let Err(error) = writer.await
        {
            tracing::error!(error = %error, "the store's writer did not end well");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    /// Fault core B15: people's long looks and copies have connections of their own.
    #[tokio::test]
    async fn what_is_due_is_known_while_lists_and_copies_take_every_connection_of_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("opros.db"), true, SystemClock::shared()).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..LISTERS {
            held.push(store.lists.acquire().await.unwrap());
        }
        for _ in 0..COPIERS {
            held.push(store.copies.acquire().await.unwrap());
        }
        let now = Timestamp::from_millis(1);
        assert!(store.due("tronk", Lane::Free, now, 9, &[]).await.unwrap().is_empty());
        assert!(store.due("tronk", Lane::Submit, now, 9, &[]).await.unwrap().is_empty());
        assert_eq!(store.next_due("tronk", Lane::Free, now).await.unwrap(), None);
        assert!(store.overdue(now, 9).await.unwrap().is_empty());
        assert_eq!(store.mailbox_news(&[], 0, 9).await.unwrap().reach, 0);
        assert_eq!(store.last_observations(&[JobId(1)]).await.unwrap().len(), 0);
    }
}
