//! A look at the file from outside the daemon, for `opros doctor`: nothing in it is changed.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::file::BUSY;
use super::trouble::Trouble;
use super::{damage, schema, sql};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// `wal`, unless another program changed it.
    pub journal_mode: String,
    /// It was made by an older or newer opros: the daemon deals with that at its start.
    pub other_format: bool,
    /// What another program did to the schema.
    pub altered: Option<String>,
}

/// Opens the file for reading and looks through its structure. Not while the daemon runs: it does that itself.
pub async fn inspect(path: &Path) -> Result<Inspection, Trouble> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
    let mut conn = options.pragma("trusted_schema", "OFF").disable_statement_logging().connect().await?;
    let found = look(&mut conn).await;
    conn.close().await?;
    found
}

async fn look(conn: &mut SqliteConnection) -> Result<Inspection, Trouble> {
    let journal_mode = sqlx::query_scalar(sql::JOURNAL_MODE).fetch_one(&mut *conn).await?;
    let format: i64 = sqlx::query_scalar(sql::USER_VERSION).fetch_one(&mut *conn).await?;
    let other_format = usize::try_from(format) != Ok(sql::MIGRATIONS.len());
    let altered = if other_format { None } else { schema::alteration(conn).await? };
    damage::find(conn).await?;
    Ok(Inspection { journal_mode, other_format, altered })
}

/// Of the SQLite that is built in.
pub async fn sqlite_version() -> Result<String, Trouble> {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await?;
    Ok(sqlx::query_scalar(sql::SQLITE_VERSION).fetch_one(&mut conn).await?)
}
