//! What others may have planted in the file: its schema is compared with ours whenever it changed.
//!
//! An object of ours that is missing or differs is put back, because without it foreign rows are merely checked later.
//! What others hung on our tables would run with our rights, and a changed table may swallow what is written to it: then
//! nothing is taken and nothing is written until a person has mended it. Nothing is lost by that: new rows wait in the file,
//! and the store goes on with everything that it has.

use std::collections::BTreeMap;

use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::OnceCell;

use super::sql;
use super::trouble::{TAMPERED, Trouble};
use crate::domain::privacy::masked;

/// (type, name) → (table, sql).
type Objects = BTreeMap<(String, String), (String, String)>;

/// The number of the schema that was found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion(i64);

/// The number that the last of `statements` says, in one trip to SQLite's thread.
pub async fn version_of(statements: &'static str, conn: &mut SqliteConnection) -> Result<SchemaVersion, Trouble> {
    let rows = sqlx::raw_sql(statements).fetch_all(conn).await?;
    let row = rows.last().ok_or_else(|| Trouble::unavailable("SQLite does not say which schema the mailbox has"))?;
    Ok(SchemaVersion(row.try_get(0)?))
}

/// Finds the schema good, mends what may be mended, or says what is to be done.
pub async fn check(conn: &mut SqliteConnection) -> Result<SchemaVersion, Trouble> {
    let ours = ours().await?;
    let before = version_of(sql::SCHEMA_VERSION, conn).await?;
    if read(conn).await? == *ours {
        return Ok(before);
    }
    let mut tx = conn.begin_with(sql::BEGIN_WRITE).await?;
    let found = read(&mut tx).await?;
    if let Some(what) = objection(ours, &found) {
        return Err(Trouble::refused(TAMPERED, what));
    }
    for ((kind, name), (_, text)) in ours {
        let there = found.get(&(kind.clone(), name.clone()));
        if there.is_some_and(|(_, there)| there == text) {
            continue;
        }
        put_back(&mut tx, kind, name, text, there.is_some()).await?;
        tracing::warn!(kind, name, "another program removed or changed a part of the mailbox; it is put back");
    }
    let version = version_of(sql::SCHEMA_VERSION, &mut tx).await?;
    tx.commit().await?;
    Ok(version)
}

/// What differs from what our own scripts make, in words; changes nothing.
pub async fn alteration(conn: &mut SqliteConnection) -> Result<Option<String>, Trouble> {
    let (ours, found) = (ours().await?, read(conn).await?);
    let lacking = || {
        let (kind, name) = ours.iter().find(|(key, whole)| found.get(*key) != Some(whole))?.0;
        Some(format!("the {kind} {name} is missing or changed; opros puts it back when it starts"))
    };
    Ok(objection(ours, &found).or_else(lacking))
}

/// What our own scripts make.
async fn ours() -> Result<&'static Objects, Trouble> {
    static OURS: OnceCell<Objects> = OnceCell::const_new();
    OURS.get_or_try_init(|| async {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await?;
        for script in sql::MIGRATIONS {
            sqlx::raw_sql(*script).execute(&mut conn).await?;
        }
        read(&mut conn).await
    })
    .await
}

async fn read(conn: &mut SqliteConnection) -> Result<Objects, Trouble> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(sql::SCHEMA).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(kind, name, table, text)| ((kind, name), (table, text))).collect())
}

/// The first thing that only a person may mend.
fn objection(ours: &Objects, found: &Objects) -> Option<String> {
    let rest = "Until then no row is taken and no answer is written; nothing is lost";
    for (key @ (kind, name), (table, _)) in found {
        if !ours.contains_key(key) {
            let name = masked(name);
            return Some(format!(
                "another program hung the {kind} {name:?} on the mailbox's {table}, where it would run with opros' rights. \
                 Remove it (DROP {} {name:?}). {rest}",
                kind.to_uppercase()
            ));
        }
    }
    for (key @ (kind, name), (_, text)) in
        ours.iter().filter(|((kind, _), (_, text))| kind == "table" || text.is_empty())
    {
        if found.get(key).map(|(_, text)| text) != Some(text) {
            return Some(format!(
                "another program removed or changed the mailbox's {kind} {name}. Stop opros, move the mailbox away and \
                 start it again: it makes a new one, and rows that were not taken can be copied from the old one. {rest}"
            ));
        }
    }
    None
}

async fn put_back(
    conn: &mut SqliteConnection,
    kind: &str,
    name: &str,
    text: &'static str,
    differs: bool,
) -> Result<(), Trouble> {
    let drop = sql::DROPS.iter().find(|(of, _)| *of == name).map(|(_, drop)| *drop).filter(|_| differs);
    for statement in drop.into_iter().chain([text]) {
        sqlx::raw_sql(statement).execute(&mut *conn).await.map_err(|error| match Trouble::from(error) {
            busy @ Trouble::Busy(_) => busy,
            other => Trouble::refused(
                TAMPERED,
                format!(
                    "the mailbox's {kind} {name} was removed by another program and cannot be put back ({other}). \
                     Are there unfinished rows with the same dedupe_key?"
                ),
            ),
        })?;
    }
    Ok(())
}
