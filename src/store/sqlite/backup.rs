//! Copies of the running store: `VACUUM INTO` reads one snapshot and holds nobody up; every copy is checked as a whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, OFlags, RenameFlags};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::file::directory_of;
use super::{arrival, sort_error};
use crate::store::StoreError;
use crate::store::upkeep::StoreCopy;

/// Unfinished copies are called so: a crash leaves them, the next start clears them away.
const PREFIX: &str = "copy-";
const PARTIAL: &str = "partial";
const MODE: u32 = 0o600;
/// Steps of SQLite between two looks at whether a copy is still waited for.
const PROGRESS: i32 = 10_000;

fn broken(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.display().to_string();
    // Not the store's own trouble: it goes on as before.
    move |error| StoreError::Other(format!("{path}: {error}"))
}

/// A copy under a name that is not taken yet.
pub async fn into_file(pool: &SqlitePool, file: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(file).is_ok() {
        return Err(broken(file)(io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".");
    partial.push(PARTIAL);
    let partial = Path::new(&partial);
    // What a crash left; of a link only the link itself goes.
    let _ = fs::remove_file(partial);
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let made = OpenOptions::new().write(true).create_new(true).mode(MODE).custom_flags(flags).open(partial);
    let made = made.map_err(broken(partial))?;
    let done = async {
        fill(pool, partial).await?;
        made.sync_all().map_err(broken(partial))?;
        // Never over a file that appeared meanwhile.
        rustix::fs::renameat_with(CWD, partial, CWD, file, RenameFlags::NOREPLACE)
            .map_err(|error| broken(file)(error.into()))?;
        let directory = directory_of(file);
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(broken(directory))
    };
    let _unfinished = Unfinished(partial);
    done.await
}

/// A copy that is open and has no name.
pub async fn into_nothing(pool: &SqlitePool, directory: &Path) -> Result<StoreCopy, StoreError> {
    let copy = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(directory)
        .map_err(broken(directory))?;
    fill(pool, copy.path()).await?;
    let path = copy.path().to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut file = copy.into_file();
        let (mut digest, mut buffer, mut bytes) = (Sha256::new(), vec![0_u8; 1 << 16], 0_u64);
        file.rewind()?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            digest.update(&buffer[..read]);
            bytes += read as u64;
        }
        file.rewind()?;
        let sha256 = crate::domain::exchange::hex(&digest.finalize());
        Ok::<_, io::Error>(StoreCopy { file, bytes, sha256 })
    });
    hashed.await.map_err(|_| StoreError::Other("reading a copy panicked".to_owned()))?.map_err(broken(&path))
}

/// Fills an empty file and looks at all of it.
async fn fill(pool: &SqlitePool, file: &Path) -> Result<(), StoreError> {
    let text = file.to_str().ok_or_else(|| StoreError::Other("the file's name is not UTF-8".to_owned()))?;
    // Whoever stops waiting for the copy ends it: the store is closed only once nobody reads it, and gigabytes take minutes.
    // The connection goes with it, since what interrupts one statement would interrupt the next.
    let given_up = GivenUp::default();
    let mut reader = pool.acquire().await.map_err(copying)?;
    reader.close_on_drop();
    let flag = Arc::clone(&given_up.0);
    let go_on = move || !flag.load(Ordering::Relaxed);
    reader.lock_handle().await.map_err(copying)?.set_progress_handler(PROGRESS, go_on);
    sqlx::query("VACUUM INTO $1").bind(text).execute(&mut *reader).await.map_err(copying)?;
    drop(reader);
    mark(file).await?;
    let check = SqliteConnectOptions::new().filename(file).read_only(true).immutable(true).disable_statement_logging();
    let mut copy = check.connect().await.map_err(copying)?;
    let verdict: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut copy).await.map_err(copying)?;
    copy.close().await.map_err(copying)?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Other(format!("the copy is damaged: {verdict}"))) }
}

/// Nobody else has the copy yet: without a journal no other file lies beside it.
async fn mark(file: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(file).journal_mode(SqliteJournalMode::Off);
    let options = options.synchronous(SqliteSynchronous::Off).disable_statement_logging();
    let mut copy = options.connect().await.map_err(copying)?;
    arrival::note_copy(&mut copy).await?;
    copy.close().await.map_err(copying)
}

/// Raised when nobody waits any more.
#[derive(Debug, Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A copy that is not whole yet; whoever stops waiting for it leaves nothing.
struct Unfinished<'a>(&'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Where it is whole, it is called otherwise by now.
        let _ = fs::remove_file(self.0);
    }
}

/// A full disk under a copy is none under the store, and stops nothing.
fn copying(error: sqlx::Error) -> StoreError {
    match sort_error(error) {
        StoreError::Closed => StoreError::Closed,
        other => StoreError::Other(format!("the store could not be copied: {other}")),
    }
}

pub fn clear_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
