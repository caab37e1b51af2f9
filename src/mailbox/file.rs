//! The file itself: made where it is missing, opened with care, and watched for being swapped under our hands.
//!
//! Architecture invariant: nothing here opens or copies the database's files beside SQLite itself: closing such a handle
//! would drop SQLite's locks, and a row that another program was told is stored could vanish. `stat` is harmless.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::damage;
use super::left::{self, KeptLog, Logs};
use super::schema::{self, SchemaVersion};
use super::sql;
use super::trouble::{COPY_OVER, NOT_OURS, Trouble};
use crate::domain::Timestamp;
use crate::store::MailboxMark;

/// Setgid: what other programs make beside the file belongs to the directory's group too.
const DIRECTORY_MODE: u32 = 0o2770;
const FILE_MODE: u32 = 0o660;
/// Long enough for a foreign commit, short enough to keep looking at everything else.
pub const BUSY: Duration = Duration::from_millis(100);
/// A WAL that grew is cut back to this.
const WAL_KEPT: &str = "4194304";
/// Rows that opros never saw may have had numbers: a file that lost some goes on this much above the highest one seen.
const ID_MARGIN: i64 = 1_000_000;
/// Beyond this no number of ours can have come; whoever wrote it means harm.
const HIGHEST_NUMBER: i64 = 1 << 53;

const META_FORMAT: &str = "format";
const META_STORE: &str = "store";
const META_WRITTEN: &str = "written";

/// Which file this is, and how long. It may become shorter by SQLite's own means: VACUUM and a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    length: u64,
}

impl Identity {
    /// Follows no link: a name that leads elsewhere is none of ours.
    pub fn of(path: &Path) -> io::Result<Identity> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Identity { device: meta.dev(), inode: meta.ino(), length: meta.len() })
    }

    pub fn length(self) -> u64 {
        self.length
    }

    pub fn is_same_file(self, other: Identity) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The open mailbox.
#[derive(Debug)]
pub struct Mailbox {
    pub conn: SqliteConnection,
    /// Events up to here are in the file.
    pub written: i64,
    path: PathBuf,
    identity: Identity,
    schema: SchemaVersion,
    /// The WAL and its index as they were when they were last looked at.
    logs: Logs,
    /// Somebody removed or changed the log or its index: what is in the log now is unknown to this connection.
    lost_log: bool,
    /// When the file itself was last written to by SQLite's hand in us; it changes with checkpoints, never with a commit.
    stamp: Stamp,
    /// Somebody else wrote to it.
    suspect: bool,
    /// It became shorter, and it is not known yet by what.
    shrunk: bool,
    /// What the file was found to be when it was opened.
    pub found: Found,
}

/// What a file is to somebody who knew the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There was none.
    Missing,
    /// It does not know what was written to the one before.
    Older,
    Current,
}

type Stamp = (i64, i64);

fn stamp_of(path: &Path) -> Stamp {
    fs::symlink_metadata(path).map(|meta| (meta.mtime(), meta.mtime_nsec())).unwrap_or_default()
}

impl Mailbox {
    /// Opens the file, or makes one, and finds out where it stands. `known` is what the store remembers of it.
    pub async fn open(path: &Path, instance: &str, known: MailboxMark, last: i64) -> Result<Mailbox, Trouble> {
        make_directory(path)?;
        let is_new = make_file(path)?;
        let before = identity(path)?;
        let mut conn = options(path).connect().await?;
        if !identity(path)?.is_same_file(before) {
            return Err(Trouble::Moved);
        }
        migrate(&mut conn, known).await?;
        let schema = schema::check(&mut conn).await?;
        let (written, is_current) = claim(&mut conn, instance, known, last).await?;
        let identity = identity(path)?;
        let found = match (is_new, is_current) {
            (true, _) => Found::Missing,
            (false, false) => Found::Older,
            (false, true) => Found::Current,
        };
        Ok(Mailbox {
            conn,
            written,
            path: path.to_owned(),
            identity,
            schema,
            logs: Logs::of(path),
            lost_log: false,
            stamp: stamp_of(path),
            suspect: true,
            shrunk: false,
            found,
        })
    }

    /// The file is still the one that was opened: the path leads to the same inode, however long it is, and its log is
    /// still beside it. Emptied it was by no means of SQLite's.
    pub fn check_identity(&mut self) -> Result<(), Trouble> {
        let now = Identity::of(&self.path).map_err(|_| Trouble::Moved)?;
        if !now.is_same_file(self.identity) || now.length == 0 {
            return Err(Trouble::Moved);
        }
        self.shrunk |= now.length < self.identity.length;
        self.identity = now;
        let logs = Logs::of(&self.path);
        if !self.logs.are_still(logs) {
            self.lost_log = true;
            return Err(Trouble::Moved);
        }
        self.logs = logs;
        let stamp = stamp_of(&self.path);
        self.suspect |= stamp != std::mem::replace(&mut self.stamp, stamp);
        Ok(())
    }

    /// It became shorter than SQLite thinks it is. A log that is not carried over whole may explain that, too.
    pub async fn is_cut(&mut self) -> Result<bool, Trouble> {
        if !std::mem::take(&mut self.shrunk) {
            return Ok(false);
        }
        let bytes: i64 = sqlx::query_scalar(sql::BYTES).fetch_one(&mut self.conn).await?;
        Ok(Identity::of(&self.path).is_ok_and(|now| i64::try_from(now.length).is_ok_and(|length| length < bytes)))
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn wal_bytes(&self) -> u64 {
        self.logs.wal.map_or(0, |wal| wal.length)
    }

    /// Changes when another program commits.
    pub async fn data_version(&mut self) -> Result<i64, Trouble> {
        Ok(sqlx::query_scalar(sql::DATA_VERSION).fetch_one(&mut self.conn).await?)
    }

    /// The schema is still the one that was looked at. A copy that was put back by SQLite's own means changes its number,
    /// too: both call for opening the file anew.
    pub async fn check_schema(&mut self) -> Result<(), Trouble> {
        let version = schema::version_of(sql::SCHEMA_VERSION, &mut self.conn).await?;
        if version == self.schema { Ok(()) } else { Err(Trouble::Altered) }
    }

    /// Begins a transaction in which the schema is known to be ours.
    pub async fn begin(&mut self, statement: &'static str) -> Result<(), Trouble> {
        let begun = match schema::version_of(statement, &mut self.conn).await {
            Ok(version) if version == self.schema => Ok(()),
            Ok(_) => Err(Trouble::Altered),
            Err(trouble) => Err(trouble),
        };
        if begun.is_err() {
            self.rollback().await;
        }
        begun
    }

    pub async fn commit(&mut self) -> Result<(), Trouble> {
        sqlx::query(sql::COMMIT).execute(&mut self.conn).await?;
        // It may have been followed by a checkpoint.
        self.stamp = stamp_of(&self.path);
        Ok(())
    }

    /// Somebody else wrote to the file itself: a checkpoint of theirs, or a hand that should not be there.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Reads all of the file's structure from the disk; by another connection, whose cache knows nothing yet.
    pub async fn look_over(&mut self) -> Result<(), Trouble> {
        look_over(&self.path).await?;
        self.suspect = false;
        Ok(())
    }

    /// Says that the file is busy when another program holds the write lock.
    pub async fn probe_lock(&mut self) -> Result<(), Trouble> {
        sqlx::raw_sql(sql::PROBE_LOCK).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Takes rows away that leave SQLite no numbers to give, and goes on after the highest one that is good.
    pub async fn remove_far_rows(&mut self, far: i64, highest: i64) -> Result<(), Trouble> {
        self.begin(sql::WRITE).await?;
        let removed = async {
            sqlx::query(sql::REMOVE_FAR_ROWS).bind(far).execute(&mut self.conn).await?;
            sqlx::query(sql::FORGET_SEQUENCE).execute(&mut self.conn).await?;
            sqlx::query(sql::SET_SEQUENCE).bind(highest).execute(&mut self.conn).await?;
            self.commit().await
        };
        if let Err(trouble) = removed.await {
            self.rollback().await;
            return Err(trouble);
        }
        tracing::warn!(
            "another program gave mailbox rows numbers that leave none for others; they are taken away, and those that were \
             good orders come back with other numbers"
        );
        Ok(())
    }

    pub async fn rollback(&mut self) {
        // After some errors SQLite has rolled back by itself; then this says so, and all is well.
        let _ = sqlx::query(sql::ROLLBACK).execute(&mut self.conn).await;
    }

    /// Part of a transaction; [`Mailbox::written`] follows once that is committed.
    pub async fn note_written(&mut self, written: i64) -> Result<(), Trouble> {
        set_meta(&mut self.conn, META_WRITTEN, &written.to_string()).await
    }

    /// Empties the WAL: other programs' SQLite may have the WAL-reset bug, which a short WAL gives no room.
    pub async fn checkpoint(&mut self) {
        if let Err(error) = sqlx::query(sql::CHECKPOINT).fetch_all(&mut self.conn).await {
            tracing::debug!(error = %error, "the mailbox's WAL could not be emptied now");
        }
        self.stamp = stamp_of(&self.path);
    }

    pub async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::debug!(error = %error, "the mailbox was not closed cleanly");
        }
    }

    /// Closes it after something happened to it. What lies beside a file that was swapped belongs to the old one, and must not
    /// be read into the new one.
    pub async fn leave(self, moved: bool, at: Timestamp) {
        let (path, identity, logs) = (self.path.clone(), self.identity, self.logs);
        let kept = if self.lost_log { KeptLog::keep(&path, identity, at) } else { None };
        self.close().await;
        if let Some(kept) = kept {
            kept.put_back();
        }
        if moved {
            left::clear_the_way(&path, identity, logs, at);
        }
    }
}

/// By a connection that can only read: whatever is at the path by now, it deletes no log when it is closed.
pub async fn look_over(path: &Path) -> Result<(), Trouble> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
    let mut conn = options.pragma("trusted_schema", "OFF").disable_statement_logging().connect().await?;
    let found = damage::find(&mut conn).await;
    let closed = conn.close().await;
    found?;
    Ok(closed?)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .pragma("journal_size_limit", WAL_KEPT)
        .pragma("secure_delete", "ON")
        // What others refer to our rows with is theirs to keep right: it must not keep rows from leaving.
        .foreign_keys(false)
        // What others wrote into the file's schema must not call anything that has effects.
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging()
}

fn identity(path: &Path) -> Result<Identity, Trouble> {
    Identity::of(path).map_err(|error| {
        Trouble::unavailable(format!(
            "the mailbox {} cannot be used: {error}. Move away what is there (whatever it holds stays in it); opros makes a new file",
            path.display()
        ))
    })
}

/// The names of the files that belong to a database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A directory that is there already is left as the administrator made it.
fn make_directory(path: &Path) -> Result<(), Trouble> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o770).create(directory);
    // The umask and the kernel take bits away from what mkdir is asked for.
    made.and_then(|()| fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))).map_err(|error| {
        Trouble::unavailable(format!(
            "the mailbox's directory {} cannot be made: {error}. Make it for the user that opros runs as, mode 2770",
            directory.display()
        ))
    })
}

/// True when there was none; an empty one is none.
fn make_file(path: &Path) -> Result<bool, Trouble> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(file) => share(path, &file).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(Identity::of(path).is_ok_and(|there| there.length == 0))
        }
        Err(error) => Err(Trouble::unavailable(format!(
            "the mailbox {} cannot be made: {error}. The user that opros runs as must be able to write there",
            path.display()
        ))),
    }
}

fn share(path: &Path, file: &File) -> Result<(), Trouble> {
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(|error| {
        Trouble::unavailable(format!("the mailbox {} cannot be shared with its group: {error}", path.display()))
    })
}

/// Which of our formats the file has; none when it is none of ours. What stands in `opros_meta` counts: `user_version` is
/// not in a dump, and other tools count in it for themselves.
pub async fn format_of(conn: &mut SqliteConnection) -> Result<Option<i64>, Trouble> {
    let has_meta: i64 = sqlx::query_scalar(sql::HAS_META).fetch_one(&mut *conn).await?;
    if has_meta == 0 {
        return Ok(None);
    }
    let noted = meta_number(conn, META_FORMAT).await?;
    let version: i64 = sqlx::query_scalar(sql::USER_VERSION).fetch_one(&mut *conn).await?;
    let newest = sql::MIGRATIONS.len() as i64;
    Ok(Some(noted)
        .filter(|noted| *noted > 0)
        .or_else(|| Some(version).filter(|version| (1..=newest).contains(version))))
}

/// Brings the schema up to date; a foreign database is left alone.
async fn migrate(conn: &mut SqliteConnection, known: MailboxMark) -> Result<(), Trouble> {
    let newest = sql::MIGRATIONS.len() as i64;
    let format = format_of(conn).await?;
    let version: i64 = sqlx::query_scalar(sql::USER_VERSION).fetch_one(&mut *conn).await?;
    if format == Some(newest) && version == newest {
        return Ok(());
    }
    if let Some(newer) = format.filter(|format| *format > newest) {
        let what = format!("the mailbox was written by a newer opros (format {newer}, ours is {newest}); run that one");
        return Err(Trouble::refused(NOT_OURS, what));
    }
    let mut tx = conn.begin_with(sql::BEGIN_WRITE).await?;
    let format = format_of(&mut tx).await?;
    let tables: i64 = sqlx::query_scalar(sql::COUNT_TABLES).fetch_one(&mut *tx).await?;
    if format.is_none() && tables > 0 {
        return Err(Trouble::refused(NOT_OURS, foreign(&mut tx).await));
    }
    for script in sql::MIGRATIONS.iter().skip(format.unwrap_or(0).max(0) as usize) {
        sqlx::raw_sql(*script).execute(&mut *tx).await?;
    }
    if format == Some(newest) {
        tracing::warn!(user_version = version, "another program set the mailbox's user_version; it is put right");
    }
    sqlx::raw_sql(sql::SET_USER_VERSION).execute(&mut *tx).await?;
    set_meta(&mut tx, META_FORMAT, &newest.to_string()).await?;
    // In the same transaction: other programs insert as soon as they see the table.
    raise_ids(&mut tx, known).await?;
    Ok(tx.commit().await?)
}

/// What to do about somebody's database; with what may be orders in it, how they get over.
pub async fn foreign(conn: &mut SqliteConnection) -> String {
    let has_orders = sqlx::query_scalar(sql::HAS_NEW_ROWS).fetch_one(conn).await.unwrap_or(false);
    let what = "the mailbox's path leads to a database that is none of opros'";
    if has_orders {
        format!(
            "{what}: it has no table opros_meta. It has rows in `jobs` that nobody took. Put a whole copy of the mailbox there; \
             or move it away: opros makes a new one, and these rows come over so: {COPY_OVER}"
        )
    } else {
        format!("{what}; move it away, or set mailbox.path")
    }
}

/// Makes sure that the file belongs to this store, and says up to where its events are written; and whether it knows all
/// that the store knows of it.
async fn claim(
    conn: &mut SqliteConnection,
    instance: &str,
    known: MailboxMark,
    last: i64,
) -> Result<(i64, bool), Trouble> {
    let mut tx = conn.begin_with(sql::BEGIN_WRITE).await?;
    match get_meta(&mut tx, META_STORE).await? {
        None => set_meta(&mut tx, META_STORE, instance).await?,
        Some(owner) if owner == instance => {}
        Some(owner) => {
            let what = format!(
                "the mailbox belongs to another store ({owner}; ours is {instance}): its rows may be ordered already, so \
                 nothing is taken. Put that store back, or move the mailbox away: opros makes a new one. Rows that are \
                 new in it, and that the other store does not know, come over so: {COPY_OVER}"
            );
            return Err(Trouble::refused(NOT_OURS, what));
        }
    }
    let noted = meta_number(&mut tx, META_WRITTEN).await?;
    // After a crash between two commits the file knows better than the store; an older copy, or a new file, does not.
    let written = if (known.written..HIGHEST_NUMBER).contains(&noted) { noted } else { known.written };
    if written > last {
        tracing::warn!(
            written,
            last,
            "the store is older than the mailbox; numbers of events go on after the mailbox's"
        );
    }
    set_meta(&mut tx, META_WRITTEN, &written.to_string()).await?;
    let was_raised = raise_ids(&mut tx, known).await?;
    tx.commit().await?;
    Ok((written, noted >= known.written && !was_raised))
}

/// A file that lost rows gives their numbers to no others. True when it had.
async fn raise_ids(conn: &mut SqliteConnection, known: MailboxMark) -> Result<bool, Trouble> {
    let highest: i64 = sqlx::query_scalar(sql::HIGHEST_ID).fetch_one(&mut *conn).await?;
    if highest < known.highest_id {
        sqlx::query(sql::FORGET_SEQUENCE).execute(&mut *conn).await?;
        sqlx::query(sql::SET_SEQUENCE).bind(known.highest_id + ID_MARGIN).execute(&mut *conn).await?;
    }
    Ok(highest < known.highest_id)
}

async fn meta_number(conn: &mut SqliteConnection, key: &str) -> Result<i64, Trouble> {
    Ok(get_meta(conn, key).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

async fn get_meta(conn: &mut SqliteConnection, key: &str) -> Result<Option<String>, Trouble> {
    Ok(sqlx::query_scalar(sql::GET_META).bind(key).fetch_optional(conn).await?)
}

async fn set_meta(conn: &mut SqliteConnection, key: &str, value: &str) -> Result<(), Trouble> {
    sqlx::query(sql::SET_META).bind(key).bind(value).execute(conn).await?;
    Ok(())
}
