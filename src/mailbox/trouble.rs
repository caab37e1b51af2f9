//! What can be wrong with the mailbox, by what is to be done about it.

use std::path::Path;

use super::disk;
use crate::store::StoreError;

/// Health causes. Each is a stable word for programs.
pub const LOCKED: &str = "mailbox_locked";
pub const UNAVAILABLE: &str = "mailbox_unavailable";
pub const TAMPERED: &str = "mailbox_schema";
pub const NOT_OURS: &str = "mailbox_not_ours";
pub const WAL: &str = "mailbox_wal";
pub const STORE: &str = "mailbox_store";
/// The file was deleted or replaced, or an older copy was put in its place; shown for a while after it was mended.
pub const REPLACED: &str = "mailbox_replaced";
/// The file's inside was broken; shown for a while after it was mended.
pub const DAMAGED: &str = "mailbox_damaged";
pub const ALL: [&str; 8] = [LOCKED, UNAVAILABLE, TAMPERED, NOT_OURS, WAL, STORE, REPLACED, DAMAGED];

/// How orders that were not taken get out of a file that is moved away: under the same `uid`, so that none is ordered twice.
pub const COPY_OVER: &str = "sqlite3 mailbox.db \"ATTACH 'OLD.db' AS old; INSERT OR IGNORE INTO jobs (uid, kind, params, \
    account, dedupe_key, priority, not_before, deadline, tag) SELECT uid, kind, params, account, dedupe_key, priority, \
    not_before, deadline, tag FROM old.jobs WHERE state = 'new'\"";

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Another program holds a lock: try again, on the same connection.
    #[error("locked: {0}")]
    Busy(String),
    /// The name leads to another file now, or to none: open what is there.
    #[error("the file was deleted, replaced or restored")]
    Moved,
    /// The same file, but its schema was touched, or all of it was overwritten by SQLite's own means: open it anew.
    #[error("the file was restored or its schema was changed")]
    Altered,
    /// Its inside is broken.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// It must not be used as it is; the sentence says how to mend it.
    #[error("{what}")]
    Refused { cause: &'static str, what: String },
    /// The system refuses to read, write or make files; `code` is SQLite's.
    #[error("{what}")]
    Disk { code: i32, what: String },
    #[error("{0}")]
    Sqlite(String),
    /// The store's trouble, not the mailbox's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Trouble {
    pub fn refused(cause: &'static str, what: impl Into<String>) -> Self {
        Trouble::Refused { cause, what: what.into() }
    }

    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::refused(UNAVAILABLE, what)
    }

    /// With what the system says of the file and its directory.
    pub fn explained(self, path: &Path) -> Self {
        match self {
            Trouble::Disk { code, what } => Self::unavailable(disk::explained(path, code, &what)),
            other => other,
        }
    }

    pub fn is_busy(&self) -> bool {
        matches!(self, Trouble::Busy(_))
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(db) => db.code().and_then(|code| code.parse::<i32>().ok()),
            _ => None,
        };
        // The low byte is the primary result code (sqlite.org/rescode.html): 5 BUSY, 6 LOCKED.
        match code.map(|code| code & 0xff) {
            // READONLY_DBMOVED
            _ if code == Some(8 | 4 << 8) => Trouble::Moved,
            Some(5 | 6) => Trouble::Busy(error.to_string()),
            // CORRUPT, NOTADB
            Some(11 | 26) => Trouble::Damaged(error.to_string()),
            // READONLY, IOERR, FULL, CANTOPEN
            Some(8 | 10 | 13 | 14) => Trouble::Disk { code: code.unwrap_or_default(), what: error.to_string() },
            _ => Trouble::Sqlite(error.to_string()),
        }
    }
}
