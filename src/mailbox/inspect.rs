//! A look at the file from outside the daemon, for `opros doctor`: nothing is changed, and no file is left beside it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::file::{self, BUSY, beside};
use super::trouble::{NOT_OURS, Trouble};
use super::{damage, schema, sql};

/// Where a database's header says how it is read and written (sqlite.org/fileformat.html): 2 stands for WAL.
const VERSIONS: std::ops::Range<usize> = 18..20;

/// A mailbox is looked through page by page.
const HEAP: &str = "67108864";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The journal mode, which another program can change.
    pub is_wal: bool,
    /// It was made by an older or newer opros: the daemon deals with that at its start.
    pub other_format: bool,
    /// What another program did to the schema.
    pub altered: Option<String>,
}

/// Opens the file for reading and looks through its structure. Not while the daemon runs: it does that itself, and in its
/// process the file must not be opened but by SQLite.
pub async fn inspect(path: &Path) -> Result<Inspection, Trouble> {
    let is_wal = is_wal(path).map_err(|error| Trouble::unavailable(error.to_string()))?;
    // Without a WAL to read there is nothing that SQLite would have to lie files beside it for.
    let is_still = std::fs::metadata(beside(path, "-wal")).map_or(true, |wal| wal.len() == 0);
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(is_still).busy_timeout(BUSY);
    // What others wrote into the schema is evaluated by whoever checks it: without effects, and in bounded room.
    let options = options.pragma("hard_heap_limit", HEAP).pragma("temp_store", "MEMORY");
    let mut conn = options.pragma("trusted_schema", "OFF").disable_statement_logging().connect().await?;
    let found = look(&mut conn, is_wal).await;
    conn.close().await?;
    found
}

fn is_wal(path: &Path) -> std::io::Result<bool> {
    let mut header = Vec::new();
    File::open(path)?.take(VERSIONS.end as u64).read_to_end(&mut header)?;
    Ok(header.get(VERSIONS).is_some_and(|versions| versions.iter().all(|version| *version == 2)))
}

async fn look(conn: &mut SqliteConnection, is_wal: bool) -> Result<Inspection, Trouble> {
    let format = file::format_of(conn).await?;
    let tables: i64 = sqlx::query_scalar(sql::COUNT_TABLES).fetch_one(&mut *conn).await?;
    if format.is_none() && tables > 0 {
        return Err(Trouble::refused(NOT_OURS, file::foreign(conn).await));
    }
    let other_format = format != Some(sql::MIGRATIONS.len() as i64);
    let altered = if other_format { None } else { schema::alteration(conn).await? };
    // A check of the structure would evaluate what somebody else put into the schema.
    if altered.is_none() {
        damage::find(conn).await?;
    }
    Ok(Inspection { is_wal, other_format, altered })
}

/// Of the SQLite that is built in.
pub async fn sqlite_version() -> Result<String, Trouble> {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await?;
    Ok(sqlx::query_scalar(sql::SQLITE_VERSION).fetch_one(&mut conn).await?)
}
