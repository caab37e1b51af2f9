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
use super::tokens::{self, Token};
use super::trouble::{COPY_OVER, TAMPERED, Trouble};
use crate::domain::privacy::masked;

/// (type, name) → (table, sql).
type Objects = BTreeMap<(String, String), Object>;

#[derive(Debug, Clone)]
struct Object {
    table: String,
    text: String,
    /// None where the text cannot be taken apart.
    tokens: Option<Vec<Token>>,
    /// Of an index: whether it is of bare columns, and their names, when it is unique.
    index: Option<Index>,
}

#[derive(Debug, Clone)]
struct Index {
    is_bare: bool,
    is_unique: bool,
    columns: Vec<String>,
}

impl PartialEq for Object {
    /// The same for SQLite, however it is laid out and quoted.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text || (self.tokens.is_some() && self.tokens == other.tokens)
    }
}

/// What opros writes into rows: where no two may have the same, it could not.
const WRITTEN: [&str; 8] =
    ["state", "job_id", "remote_id", "error_code", "error", "result", "updated_at", "finished_at"];
/// No two rows have the same here anyway.
const APART: [&str; 4] = ["id", "uid", "seq", "event_id"];

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
    let found = read(conn).await?;
    if ours.iter().all(|(key, object)| found.get(key).is_some_and(|there| stands(key, object, there)))
        && objection(ours, &found).is_none()
    {
        return Ok(before);
    }
    let mut tx = conn.begin_with(sql::BEGIN_WRITE).await?;
    let found = read(&mut tx).await?;
    if let Some(what) = objection(ours, &found) {
        return Err(Trouble::refused(TAMPERED, what));
    }
    for (key @ (kind, name), object) in ours {
        let there = found.get(key);
        if there.is_some_and(|there| stands(key, object, there)) {
            continue;
        }
        put_back(&mut tx, kind, name, &object.text, there.is_some()).await?;
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
        let lacks = |key, whole| found.get(key).is_none_or(|there| !stands(key, whole, there));
        let (kind, name) = ours.iter().find(|(key, whole)| lacks(*key, whole))?.0;
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
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(sql::SCHEMA).fetch_all(&mut *conn).await?;
    let mut objects = Objects::new();
    for (kind, name, table, text) in rows {
        let index = if kind == "index" { Some(index(conn, &table, &name).await?) } else { None };
        let tokens = tokens::tokens(&text);
        objects.insert((kind, name), Object { table, text, tokens, index });
    }
    Ok(objects)
}

async fn index(conn: &mut SqliteConnection, table: &str, name: &str) -> Result<Index, Trouble> {
    let unique: Option<bool> =
        sqlx::query_scalar(sql::IS_UNIQUE).bind(table).bind(name).fetch_optional(&mut *conn).await?;
    let columns: Vec<(i64, Option<String>, Option<String>)> =
        sqlx::query_as(sql::INDEX_COLUMNS).bind(name).fetch_all(conn).await?;
    let is_plain = |(column, _, collation): &(i64, Option<String>, Option<String>)| {
        let is_known =
            |name: &String| ["BINARY", "NOCASE", "RTRIM"].iter().any(|known| name.eq_ignore_ascii_case(known));
        *column >= -1 && collation.as_ref().is_none_or(is_known)
    };
    Ok(Index {
        is_bare: !columns.is_empty() && columns.iter().all(is_plain),
        is_unique: unique.unwrap_or(true),
        columns: columns
            .into_iter()
            .map(|(_, name, _)| name.map_or_else(|| "id".to_owned(), |name| name.to_lowercase()))
            .collect(),
    })
}

/// What is there serves as ours.
fn stands((kind, _): &(String, String), ours: &Object, there: &Object) -> bool {
    let adds = || {
        let (ours, there) = ours.tokens.as_ref().zip(there.tokens.as_ref())?;
        Some(tokens::only_adds_columns(ours, there))
    };
    there == ours || (kind == "table" && adds() == Some(true))
}

/// Why something of another program's cannot stay: none where it runs no code with our rights and refuses none of our writes.
fn harm(kind: &str, object: &Object) -> Option<&'static str> {
    let Some(index) = &object.index else { return Some("where it would run with opros' rights") };
    let condition = object.tokens.as_ref().map(|tokens| {
        let at = tokens.iter().position(|token| token.is("where")).unwrap_or(tokens.len());
        tokens::is_plain(&tokens[at..])
    });
    if kind != "index" || !index.is_bare || condition != Some(true) {
        return Some("where its expressions would run with opros' rights (an index on bare columns may stay)");
    }
    let has = |names: &[&str]| index.columns.iter().any(|column| names.contains(&column.as_str()));
    let may_be_unique = has(&APART) || (object.table.eq_ignore_ascii_case("jobs") && !has(&WRITTEN));
    (index.is_unique && !may_be_unique)
        .then_some("and it would refuse what opros writes into these columns (without UNIQUE it may stay)")
}

/// The first thing that only a person may mend.
fn objection(ours: &Objects, found: &Objects) -> Option<String> {
    let rest = "Until then no row is taken and no answer is written; nothing is lost";
    let foreign = found.iter().filter(|(key, _)| !ours.contains_key(*key));
    for ((kind, name), object) in foreign {
        if let Some(harm) = harm(kind, object) {
            let (name, table) = (tokens::name(&masked(name)), &object.table);
            return Some(format!(
                "another program hung the {kind} {name} on the mailbox's {table}, {harm}. \
                 Remove it: sqlite3 mailbox.db 'DROP {} {name}'. {rest}",
                kind.to_uppercase()
            ));
        }
    }
    for (key @ (kind, name), object) in
        ours.iter().filter(|((kind, _), object)| kind == "table" || object.text.is_empty())
    {
        if !found.get(key).is_some_and(|there| stands(key, object, there)) {
            return Some(format!(
                "another program removed or changed the mailbox's {kind} {name}. Change it back, or stop opros, move the \
                 mailbox away and start it again: it makes a new one. Rows that were not taken come over so: {COPY_OVER}. {rest}"
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
