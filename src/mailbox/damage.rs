//! A mailbox whose inside is broken: overwritten, cut short, half copied.
//!
//! What was paid for stands in the store. What can be lost is what was inserted and not taken yet: as many of these rows as can
//! be read are taken before the file is moved aside, where it is kept for whoever wants to look into it.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sqlx::SqliteConnection;

use super::file::beside;
use super::sql;
use super::trouble::Trouble;
use crate::domain::Timestamp;

/// What SQLite writes before what it finds wrong with the structure of a file. Other lines are about CHECKs, which others can
/// switch off, and which we make again row by row.
const STRUCTURE: [&str; 4] = ["*** in database", "Tree ", "Page ", "Freelist"];

/// Looks through the file's structure. Where another program's table needs a function or a collation that only that
/// program has, through our tables alone.
pub async fn find(conn: &mut SqliteConnection) -> Result<(), Trouble> {
    match find_by(sql::QUICK_CHECK, conn).await {
        Err(Trouble::Sqlite(_)) => {
            for check in sql::QUICK_CHECK_OURS {
                find_by(check, conn).await?;
            }
            Ok(())
        }
        found => found,
    }
}

async fn find_by(check: &'static str, conn: &mut SqliteConnection) -> Result<(), Trouble> {
    let mut lines = sqlx::query_scalar::<_, String>(check).fetch(conn);
    while let Some(line) = lines.try_next().await? {
        if STRUCTURE.iter().any(|start| line.contains(start)) {
            return Err(Trouble::Damaged(line.replace('\n', ": ")));
        }
    }
    Ok(())
}

/// Moves a file aside with what belongs to it, and says where it is now.
pub fn set_aside(path: &Path, at: Timestamp) -> std::io::Result<PathBuf> {
    let aside = beside(path, &format!(".damaged-{}", at.as_millis()));
    // The file itself goes last: until then nobody makes another one beside the old WAL.
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound || suffix.is_empty() => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}
