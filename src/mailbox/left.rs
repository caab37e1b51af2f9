//! What lies beside a mailbox that was swapped under us: a log (`-wal`) and its index (`-shm`) that belong to the file that is
//! gone. Read into the new file they would spoil it; taken from a program that has them open they would lose its rows.
//!
//! Architecture invariant: nothing here deletes or renames a log of the file that the path leads to, and nothing is deleted
//! that anybody has open. Only after our own connection is closed: the files are opened here, and closing them
//! would drop SQLite's locks.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, RenameFlags, fcntl_lock, linkat, renameat_with};

use super::file::{Identity, beside};
use crate::domain::Timestamp;

/// A log, by how it was known while its file was open.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logs {
    pub wal: Option<Identity>,
    pub shm: Option<Identity>,
}

impl Logs {
    pub fn of(path: &Path) -> Logs {
        Logs { wal: Identity::of(&beside(path, "-wal")).ok(), shm: Identity::of(&beside(path, "-shm")).ok() }
    }

    /// Both stay where they are as long as somebody has the file open. Without their names, others write to other ones.
    pub fn are_still(self, now: Logs) -> bool {
        let is_still = |was: Option<Identity>, now: Option<Identity>| {
            was.is_none_or(|was| now.is_some_and(|now| now.is_same_file(was)))
        };
        is_still(self.wal, now.wal) && is_still(self.shm, now.shm)
    }
}

/// Makes the way free for the file that was put in the place of `old`, whose connection is closed.
pub fn clear_the_way(path: &Path, old: Identity, logs: Logs, at: Timestamp) {
    let now = Logs::of(path);
    let is_left =
        |was: Option<Identity>, now: Option<Identity>| was.zip(now).is_some_and(|(was, now)| was.is_same_file(now));
    let (wal_is_left, shm_is_left) = (is_left(logs.wal, now.wal), is_left(logs.shm, now.shm));
    if !(wal_is_left || shm_is_left) {
        return;
    }
    // Held until all is done: who opens the new file meanwhile waits for it.
    let _held = match Identity::of(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // It is the old one, opened anew: the log is its own.
        Ok(there) if there.is_same_file(old) => return,
        Ok(_) => match held(path) {
            Some(file) => Some(file),
            None => {
                tracing::warn!(
                    "another program has the file open that was put in the mailbox's place; the -wal beside it is left to it"
                );
                return;
            }
        },
        Err(_) => return,
    };
    let is_empty = now.wal.is_none_or(|wal| wal.length() == 0);
    // Whoever has the old file open has its index open, and locked.
    let is_unused = shm_is_left && held(&beside(path, "-shm")).is_some();
    for (suffix, _) in [("-wal", wal_is_left), ("-shm", shm_is_left)].iter().filter(|(_, is_left)| *is_left) {
        let name = beside(path, suffix);
        let done = if is_unused && (is_empty || *suffix == "-shm") {
            fs::remove_file(&name)
        } else {
            let aside = beside(path, &format!(".left-{}{suffix}", at.as_millis()));
            tracing::warn!(aside = %aside.display(), "what was left of the mailbox that was swapped is moved aside");
            fs::rename(&name, aside)
        };
        if let Err(error) = done {
            tracing::warn!(file = %name.display(), error = %error, "a log of the mailbox that was swapped stays beside the new file");
        }
    }
}

/// The file, locked against everybody, when nobody has it open by SQLite in the mode WAL.
fn held(path: &Path) -> Option<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).ok()?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).ok().map(|()| file)
}

/// Keeps a log over the closing of a connection whose index was removed by somebody: what others wrote to the log since is
/// unknown to that connection, and SQLite would delete it.
#[derive(Debug)]
pub struct KeptLog {
    name: PathBuf,
    kept: PathBuf,
}

impl KeptLog {
    /// None where the path leads elsewhere by now: that log is another file's.
    pub fn keep(path: &Path, file: Identity, at: Timestamp) -> Option<KeptLog> {
        Identity::of(path).ok().filter(|there| there.is_same_file(file))?;
        let name = beside(path, "-wal");
        let kept = beside(path, &format!(".kept-{}-wal", at.as_millis()));
        linkat(CWD, &name, CWD, &kept, AtFlags::empty()).ok().map(|()| KeptLog { name, kept })
    }

    pub fn put_back(self) {
        let back = renameat_with(CWD, &self.kept, CWD, &self.name, RenameFlags::NOREPLACE);
        if back.is_err() {
            let is_same = Identity::of(&self.name)
                .is_ok_and(|there| Identity::of(&self.kept).is_ok_and(|kept| kept.is_same_file(there)));
            if is_same {
                let _ = fs::remove_file(&self.kept);
            } else {
                tracing::warn!(aside = %self.kept.display(), "another log stands in the place of the mailbox's; the old one is kept");
            }
        }
    }
}
