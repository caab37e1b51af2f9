//! Putting an older copy of the store in its place, so that nothing that was paid for since is paid for again.
//!
//! The copy is checked and prepared beside the store and takes its place by a rename; the store that was there stays, under
//! another name. What the copy holds queued may have been sent since: unless the newer store proves that it was not, it is
//! in doubt before the first call leaves. No number that the newer store gave is given again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::file::{self, FileError, Identity};
use super::witness::{self, Mark, Witness};
use super::{
    EPOCH, INSTANCE, MAILBOX_HIGHEST_ID, MAILBOX_LAST, MAILBOX_WRITTEN, MIGRATIONS, NUMBER_MARGIN, RESTORED_AT,
    RESTORED_UNSENT, arrival, get_meta, options, reader_options, set_meta, sort_error, sql,
};
use crate::domain::{JobId, Timestamp};
use crate::store::StoreError;
use crate::store::upkeep::Restored;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} cannot be read as a backup: {what}")]
    Backup { path: PathBuf, what: String },
    #[error(
        "{path} is a backup of another store ({theirs}; the one in place is {ours}): its mailbox and its events would not \
         fit. Move the store in place away if you mean it"
    )]
    Foreign { path: PathBuf, ours: String, theirs: String },
    #[error("the copy could not be prepared: {0}")]
    Store(#[from] StoreError),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("the store {path} cannot be taken for one that was moved: {what}")]
    NotMoved { path: PathBuf, what: String },
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Where the store that was in place lies now.
    pub kept: Option<PathBuf>,
    /// It could be read: what it knows better was taken over.
    pub compared: bool,
    /// Jobs that only the newer store knows, and how many of them were sent.
    pub younger: u64,
    pub younger_sent: u64,
    /// Queued jobs of the copy, and how many of them are proven unsent.
    pub queued: u64,
    pub unsent: u64,
}

/// What the newer store knows better than the copy.
#[derive(Debug, Default)]
pub struct Newer {
    epoch: i64,
    last_job: i64,
    last_seq: i64,
    mailbox_last: i64,
    mailbox_written: i64,
    mailbox_highest_id: i64,
    unsent: Vec<i64>,
}

impl Newer {
    /// Of a store that is not there any more: its numbers are guessed generously.
    pub async fn unknown(copy: &mut SqliteConnection) -> Result<Newer, StoreError> {
        let mut newer = Newer::of(copy).await?;
        newer.last_job += NUMBER_MARGIN;
        newer.last_seq += NUMBER_MARGIN;
        newer.mailbox_last += NUMBER_MARGIN;
        Ok(newer)
    }

    /// Of a store that was seen beyond the copy; or of one that may go on elsewhere, nobody knows how far.
    pub async fn beyond(copy: &mut SqliteConnection, seen: Option<&Mark>) -> Result<Newer, StoreError> {
        let Some(seen) = seen else { return Newer::unknown(copy).await };
        let mut newer = Newer::of(copy).await?;
        newer.meet(seen);
        Ok(newer)
    }

    /// What the copy stands at once it is marked.
    pub fn raise(&self, stands: &mut Mark) {
        stands.epoch = stands.epoch.max(self.epoch);
        stands.last_job = stands.last_job.max(self.last_job);
        stands.last_seq = stands.last_seq.max(self.last_seq);
        stands.last_mailbox_seq = stands.last_mailbox_seq.max(self.mailbox_last);
    }

    /// Of a store that was replaced by hand, as its witness saw it last. That a job was not due by then proves nothing: an
    /// operator may have brought it forward.
    pub async fn seen(copy: &mut SqliteConnection, seen: &Mark) -> Result<Newer, StoreError> {
        let mut newer = Newer::of(copy).await?;
        newer.meet(seen);
        if let Some(pending) = pending(copy).await? {
            // It was put back with `opros restore`, which knew better.
            newer.unsent = pending.unsent.into_iter().map(|id| id.0).collect();
        }
        Ok(newer)
    }

    fn meet(&mut self, seen: &Mark) {
        self.epoch = self.epoch.max(seen.epoch);
        self.last_job = self.last_job.max(seen.last_job);
        self.last_seq = self.last_seq.max(seen.last_seq);
        self.mailbox_last = self.mailbox_last.max(seen.last_mailbox_seq);
    }

    async fn of(conn: &mut SqliteConnection) -> Result<Newer, StoreError> {
        Ok(Newer {
            epoch: number(conn, EPOCH).await?,
            last_job: sqlx::query_scalar(sql::LAST_JOB_ID).fetch_one(&mut *conn).await.map_err(sort_error)?,
            last_seq: sqlx::query_scalar(sql::LAST_EVENT_SEQ).fetch_one(&mut *conn).await.map_err(sort_error)?,
            mailbox_last: number(conn, MAILBOX_LAST).await?,
            mailbox_written: number(conn, MAILBOX_WRITTEN).await?,
            mailbox_highest_id: number(conn, MAILBOX_HIGHEST_ID).await?,
            unsent: Vec::new(),
        })
    }
}

async fn number(conn: &mut SqliteConnection, key: &str) -> Result<i64, StoreError> {
    Ok(get_meta(conn, key).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Notes in the copy what has to be settled before anything is sent, and raises its numbers. Part of a transaction.
pub async fn mark(copy: &mut SqliteConnection, now: Timestamp, newer: &Newer) -> Result<(), StoreError> {
    for (table, last) in [("jobs", newer.last_job), ("events", newer.last_seq)] {
        for statement in [sql::BEGIN_SEQUENCE, sql::RAISE_SEQUENCE] {
            let query = sqlx::query(statement).bind(table);
            let query = if statement == sql::RAISE_SEQUENCE { query.bind(last) } else { query };
            query.execute(&mut *copy).await.map_err(sort_error)?;
        }
    }
    let numbers = [
        (EPOCH, newer.epoch),
        (MAILBOX_LAST, newer.mailbox_last),
        (MAILBOX_WRITTEN, newer.mailbox_written),
        (MAILBOX_HIGHEST_ID, newer.mailbox_highest_id),
    ];
    for (key, theirs) in numbers {
        let ours = number(copy, key).await?;
        set_meta(copy, key, &ours.max(theirs).to_string()).await?;
    }
    set_meta(copy, RESTORED_AT, &now.as_millis().to_string()).await?;
    set_meta(copy, RESTORED_UNSENT, &json!(newer.unsent).to_string()).await?;
    // What came due between the copy and now may have been ordered: none of it is made up for.
    sqlx::query(sql::SETTLE_SCHEDULES).bind(now.as_millis()).execute(copy).await.map_err(sort_error)?;
    Ok(())
}

pub async fn pending(conn: &mut SqliteConnection) -> Result<Option<Restored>, StoreError> {
    let Some(at) = get_meta(conn, RESTORED_AT).await?.and_then(|text| text.parse().ok()) else { return Ok(None) };
    let unsent = get_meta(conn, RESTORED_UNSENT).await?.unwrap_or_default();
    // What cannot be read proves nothing.
    let unsent: Vec<i64> = serde_json::from_str(&unsent).unwrap_or_default();
    Ok(Some(Restored { at: Timestamp::from_millis(at), unsent: unsent.into_iter().map(JobId).collect() }))
}

pub async fn settle(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    for key in [RESTORED_AT, RESTORED_UNSENT] {
        sqlx::query(sql::FORGET_META).bind(key).execute(&mut *conn).await.map_err(sort_error)?;
    }
    Ok(())
}

/// Puts `backup` in the store's place. Refused while a daemon owns the store.
pub async fn restore(
    backup: &Path,
    store: &Path,
    allow_network_fs: bool,
    now: Timestamp,
) -> Result<Report, RestoreError> {
    let mut ownership = file::own(store, allow_network_fs)?;
    if store.exists() {
        ownership.lock_file(store)?;
    }
    let new = beside(store, "restoring");
    remove_with_log(&new);
    let prepared = prepare(backup, &new, store, now).await;
    let prepared = prepared.and_then(|report| put_in_place(&new, store, now).map(|kept| Report { kept, ..report }));
    if prepared.is_err() {
        remove_with_log(&new);
    }
    drop(ownership);
    prepared
}

/// The operator's word that the store was moved to where it lies, as a whole, and that nothing goes on elsewhere: the next start
/// takes it as it is. Refused where anything speaks against it.
pub async fn moved(store: &Path, allow_network_fs: bool) -> Result<(), RestoreError> {
    let refused = |what: String| RestoreError::NotMoved { path: store.to_owned(), what };
    if !store.is_file() {
        return Err(refused("there is no such file".to_owned()));
    }
    let mut ownership = file::own(store, allow_network_fs)?;
    ownership.lock_file(store)?;
    let (_, remembered) = ownership.memory().and_then(Witness::on).map_err(io_at(store))?;
    let mut conn = options(store).connect().await.map_err(|error| refused(error.to_string()))?;
    let stands = standing(&mut conn).await.map_err(|error| refused(error.to_string()))?;
    let what = match witness::seen(store) {
        None => Some(format!(
            "{} is missing or unreadable. Move it along with the store; without it nothing tells whether the store is the newest",
            witness::path_of(store).display()
        )),
        Some(seen) if seen.instance != stands.instance => Some("its witness is of another store".to_owned()),
        Some(seen) if [Some(&seen), remembered.as_ref()].into_iter().flatten().any(|seen| stands.is_behind(seen)) => {
            Some(format!("its witness saw {} orders, it holds {}; it is an older copy", seen.orders, stands.orders))
        }
        Some(_) => None,
    };
    let is_copy = get_meta(&mut conn, arrival::COPY).await?.is_some();
    let what = what.or_else(|| is_copy.then(|| "it is a backup. Use: opros restore FILE".to_owned()));
    if what.is_none() {
        let identity = Identity::of(store).map_err(io_at(store))?;
        arrival::settle_down(&mut conn, identity.as_ref()).await?;
    }
    conn.close().await.map_err(sort_error)?;
    drop(ownership);
    what.map_or(Ok(()), |what| Err(refused(what)))
}

async fn standing(conn: &mut SqliteConnection) -> Result<Mark, StoreError> {
    let instance = get_meta(conn, INSTANCE).await?;
    let instance = instance.ok_or_else(|| StoreError::Other("it is not a store of opros".to_owned()))?;
    let Newer { epoch, last_job, last_seq, mailbox_last, .. } = Newer::of(conn).await?;
    let orders = sqlx::query_scalar(sql::LAST_ORDER).fetch_one(conn).await.map_err(sort_error)?;
    let at = Timestamp::from_millis(0);
    Ok(Mark { instance, epoch, orders, last_job, last_seq, last_mailbox_seq: mailbox_last, at })
}

async fn prepare(backup: &Path, new: &Path, store: &Path, now: Timestamp) -> Result<Report, RestoreError> {
    copy(backup, new)?;
    let unreadable = |what: String| RestoreError::Backup { path: backup.to_owned(), what };
    let mut copy = options(new).connect().await.map_err(|error| unreadable(error.to_string()))?;
    let verdict = sqlx::query_scalar::<_, String>("PRAGMA integrity_check(1)").fetch_one(&mut copy).await;
    match verdict {
        Ok(verdict) if verdict == "ok" => {}
        Ok(verdict) => return Err(unreadable(format!("it is damaged: {verdict}"))),
        Err(error) => return Err(unreadable(error.to_string())),
    }
    let theirs = get_meta(&mut copy, INSTANCE).await.map_err(|_| unreadable("it is no store of opros".to_owned()))?;
    let theirs = theirs.ok_or_else(|| unreadable("it is no store of opros".to_owned()))?;
    MIGRATIONS.run(&mut copy).await.map_err(|error| unreadable(format!("{error}; was it made by a newer opros?")))?;
    let mut report = Report::default();
    let mut newer = None;
    if store.exists() {
        // One that is damaged or half there teaches nothing; it is kept as it is.
        match compare(store, &mut copy, &mut report).await {
            Ok((ours, _)) if ours != theirs => {
                return Err(RestoreError::Foreign { path: backup.to_owned(), ours, theirs });
            }
            Ok((_, found)) => newer = Some(found),
            Err(error) => tracing::warn!(error = %error, "the store in place cannot be read and is not compared"),
        }
    }
    report.compared = newer.is_some();
    let mut newer = match newer {
        Some(newer) => newer,
        None => Newer::unknown(&mut copy).await?,
    };
    if let Some(seen) = witness::seen(store).filter(|seen| seen.instance == theirs) {
        newer.meet(&seen);
    }
    report.unsent = newer.unsent.len() as u64;
    report.queued = queued(&mut copy).await?.len() as u64;
    let mut tx = copy.begin_with("BEGIN IMMEDIATE").await.map_err(sort_error)?;
    mark(&mut tx, now, &newer).await?;
    // It takes its place by a rename, and stays this file.
    let identity = Identity::of(new).map_err(io_at(new))?;
    arrival::settle_down(&mut tx, identity.as_ref()).await?;
    tx.commit().await.map_err(sort_error)?;
    copy.close().await.map_err(sort_error)?;
    Ok(report)
}

/// Learns from the newer store; takes over which mailbox rows it took and which firings it made.
async fn compare(
    store: &Path,
    copy: &mut SqliteConnection,
    report: &mut Report,
) -> Result<(String, Newer), StoreError> {
    let mut theirs = reader_options(store).connect().await.map_err(sort_error)?;
    let instance = get_meta(&mut theirs, INSTANCE).await?.unwrap_or_default();
    let mut newer = Newer::of(&mut theirs).await?;
    let last: i64 = sqlx::query_scalar(sql::LAST_JOB_ID).fetch_one(&mut *copy).await.map_err(sort_error)?;
    let (younger, sent): (i64, i64) =
        sqlx::query_as(sql::YOUNGER_JOBS).bind(last).fetch_one(&mut theirs).await.map_err(sort_error)?;
    (report.younger, report.younger_sent) = (younger as u64, sent as u64);
    let still: std::collections::HashSet<(i64, i64)> = queued(&mut theirs).await?.into_iter().collect();
    newer.unsent = queued(copy).await?.into_iter().filter(|job| still.contains(job)).map(|(id, _)| id).collect();
    take_over_rows(&mut theirs, copy).await?;
    take_over_firings(&mut theirs, copy).await?;
    theirs.close().await.map_err(sort_error)?;
    Ok((instance, newer))
}

/// Queued jobs with how often each was sent.
async fn queued(conn: &mut SqliteConnection) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut all: Vec<(i64, i64)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(id, _)| *id);
        let page: Vec<(i64, i64)> =
            sqlx::query_as(sql::QUEUED_JOBS).bind(after).fetch_all(&mut *conn).await.map_err(sort_error)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// A mailbox row that the newer store took is not taken again, even where the mailbox is an older copy, too.
async fn take_over_rows(theirs: &mut SqliteConnection, copy: &mut SqliteConnection) -> Result<(), StoreError> {
    const TAKEN: &str = "opros took this order, and its store was put back from an older copy since. Nothing is sent. Ask the \
                         vendor whether it has it; order it again with a uid of its own";
    let mut after = String::new();
    loop {
        let page: Vec<(String, i64)> =
            sqlx::query_as(sql::SOME_TAKEN).bind(&after).fetch_all(&mut *theirs).await.map_err(sort_error)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        let rows: Vec<Value> = page.iter().map(|(uid, at)| json!([uid, at])).collect();
        let rows = Value::Array(rows).to_string();
        sqlx::query(sql::KEEP_TAKEN).bind(rows).bind(TAKEN).execute(&mut *copy).await.map_err(sort_error)?;
    }
}

async fn take_over_firings(theirs: &mut SqliteConnection, copy: &mut SqliteConnection) -> Result<(), StoreError> {
    let since: i64 = sqlx::query_scalar(sql::NEWEST_FIRING).fetch_one(&mut *copy).await.map_err(sort_error)?;
    let made: Vec<(String, i64, i64, i64)> =
        sqlx::query_as(sql::ALL_FIRINGS).bind(since).fetch_all(theirs).await.map_err(sort_error)?;
    let rows = made.into_iter().map(|(schedule, at, decided_at, missed)| json!([schedule, at, decided_at, missed]));
    let rows = Value::Array(rows.collect()).to_string();
    sqlx::query(sql::KEEP_FIRINGS).bind(rows).execute(copy).await.map_err(sort_error)?;
    Ok(())
}

// ---- files -----------------------------------------------------------------------------------------------------------

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |error| RestoreError::Io { path, error }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_with_log(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        // Mostly there is none.
        let _ = fs::remove_file(with_suffix(path, suffix));
    }
}

/// Opened once, without waiting, and looked at as it was opened: a FIFO would be waited for with the store's lock held.
fn open_backup(backup: &Path) -> Result<File, String> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(backup) {
        Ok(file) => file,
        Err(error) if fs::symlink_metadata(backup).is_ok_and(|meta| meta.is_symlink()) => {
            return Err(format!("it is a symbolic link ({error}); name the file that it points to"));
        }
        Err(error) => return Err(error.to_string()),
    };
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        Ok(_) => Err("it is not a regular file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The backup is only read: whatever is wrong with it is found in a copy of ours.
fn copy(backup: &Path, new: &Path) -> Result<(), RestoreError> {
    let unreadable = |what: String| RestoreError::Backup { path: backup.to_owned(), what };
    let mut from = open_backup(backup).map_err(unreadable)?;
    if fs::metadata(with_suffix(backup, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(unreadable(
            "a write-ahead log lies beside it, so it was copied from a running store and may not be whole. \
             Use a file that `opros backup` made"
                .to_owned(),
        ));
    }
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(new)
        .map_err(io_at(new))?;
    io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(io_at(new))?;
    Ok(())
}

/// The old store goes aside with its log, the new one takes its name; a crash between the two leaves both on the disk.
fn put_in_place(new: &Path, store: &Path, now: Timestamp) -> Result<Option<PathBuf>, RestoreError> {
    let directory = file::directory_of(store);
    belong(new, directory)?;
    File::open(new).and_then(|file| file.sync_all()).map_err(io_at(new))?;
    let mut kept = None;
    if store.exists() {
        let stamp = now.to_utc().format("%Y%m%dT%H%M%S%3fZ");
        let aside = beside(store, &format!("before-restore-{stamp}"));
        // The log first: without its file it is read into nothing.
        for suffix in ["-wal", ""] {
            let (from, to) = (with_suffix(store, suffix), with_suffix(&aside, suffix));
            let length = fs::metadata(&from).map(|meta| meta.len());
            if length.as_ref().is_ok_and(|length| *length == 0) {
                fs::remove_file(&from).map_err(io_at(&from))?;
            } else if length.is_ok() {
                fs::rename(&from, &to).map_err(io_at(&from))?;
            }
        }
        kept = Some(aside);
    }
    let _ = fs::remove_file(with_suffix(store, "-shm"));
    fs::rename(new, store).map_err(io_at(store))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_at(directory))?;
    Ok(kept)
}

/// Restored by root, the files still belong to whom the directory belongs to: the daemon.
fn belong(new: &Path, directory: &Path) -> Result<(), RestoreError> {
    let owner = fs::metadata(directory).map_err(io_at(directory))?;
    let mine = fs::metadata(new).map_err(io_at(new))?;
    if (mine.uid(), mine.gid()) != (owner.uid(), owner.gid()) {
        std::os::unix::fs::chown(new, Some(owner.uid()), Some(owner.gid())).map_err(io_at(new))?;
    }
    Ok(())
}
