//! What other programs make in the file beside and upon our tables: what cannot harm may stay, what can is named with the very
//! statement that removes it; and marks of theirs are not taken for ours.

use std::fs;
use std::process::Command;

use opros::mailbox::trouble::{NOT_OURS, TAMPERED};
use opros::store::Store;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::house::{House, execute, until};

/// Orders, and sees the order through to its answer.
async fn serves(house: &House, phone: u64) {
    let id = house.order(phone).await;
    let job = house.taken(id).await;
    house.accept(job).await;
    house.succeed(job, r#"{"found":true}"#).await;
    house.shows(id, "succeeded").await;
    assert!(house.causes.is_empty(), "{:?}", house.causes);
}

async fn all_is_well(house: &House) {
    until("all is well", async || house.causes.is_empty()).await;
}

#[tokio::test]
async fn what_runs_no_code_with_our_rights_may_stay() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    let harmless: &[&str] = &[
        "CREATE INDEX shop_tag ON jobs (tag)",
        "CREATE INDEX \"shop's \"\"own\"\"\" ON jobs (tag COLLATE NOCASE DESC, id)",
        "CREATE INDEX shop_answers ON jobs (state, finished_at)",
        "CREATE INDEX shop_events ON events (type)",
        "CREATE INDEX shop_part ON jobs (tag) WHERE tag IS NOT NULL AND (priority > 5 OR state IN ('new', 'queued'))",
        "CREATE UNIQUE INDEX shop_once ON jobs (uid, state)",
        "CREATE UNIQUE INDEX shop_params ON jobs (kind, params)",
        "CREATE VIEW shop_view AS SELECT upper(tag) FROM jobs",
        "CREATE TABLE shop (job INTEGER REFERENCES jobs (id) ON DELETE RESTRICT)",
        "INSERT INTO shop SELECT id FROM jobs",
        "CREATE TABLE shop_words (word TEXT, CHECK (word COLLATE mine <> 'x'))",
        "CREATE TRIGGER shop_own AFTER INSERT ON shop BEGIN SELECT 1; END",
        "ALTER TABLE jobs ADD COLUMN customer TEXT NOT NULL DEFAULT 'none'",
        "CREATE TABLE customers (id INTEGER PRIMARY KEY)",
        "ALTER TABLE jobs ADD COLUMN of INTEGER REFERENCES customers (id) ON DELETE SET NULL",
        "CREATE INDEX shop_customer ON jobs (customer)",
        "ALTER TABLE events ADD COLUMN seen INTEGER DEFAULT 0",
        "ALTER TABLE jobs RENAME TO jobs_2; ALTER TABLE jobs_2 RENAME TO jobs",
        "ALTER TABLE events RENAME TO past; ALTER TABLE past RENAME TO events",
    ];
    for (statement, n) in harmless.iter().zip(0..) {
        sqlx::raw_sql(*statement).execute(&mut conn).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        serves(&house, 79_990_000_000 + n).await;
    }
    const OURS: &str = "SELECT count(*) FROM jobs WHERE customer = 'none' AND state = 'succeeded'";
    assert_eq!(sqlx::query_scalar::<_, i64>(OURS).fetch_one(&mut conn).await.unwrap(), harmless.len() as i64);
}

#[tokio::test]
async fn rows_that_others_refer_to_leave_after_retention() {
    let mut house = House::closed().await;
    house.retention = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let house = house.opened().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "CREATE TABLE shop (job INTEGER REFERENCES jobs (id))").await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    sqlx::query("INSERT INTO shop VALUES ($1)").bind(id).execute(&mut conn).await.unwrap();
    house.accept(job).await;
    house.succeed(job, "{}").await;
    until("the row has left", async || house.find(id).await.is_none()).await;
    assert!(house.causes.is_empty(), "{:?}", house.causes);
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM shop").fetch_one(&mut conn).await.unwrap(), 1);
}

/// Two ways to write one order: what opros makes of the second is what the first says already.
#[tokio::test]
async fn an_answer_is_written_although_anothers_unique_index_refuses_the_order_as_it_was_understood() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "CREATE UNIQUE INDEX shop_once ON jobs (kind, params)").await;
    execute(
        &mut conn,
        "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}'), \
         ('tronk.report', '{\"phone\":\"+7 999 000-01-11\"}')",
    )
    .await;
    for id in [1, 2] {
        let job = house.taken(id).await;
        house.accept(job).await;
        house.succeed(job, r#"{"found":true}"#).await;
        assert_eq!(house.shows(id, "succeeded").await.result.as_deref(), Some(r#"{"found":true}"#));
    }
    assert!(house.causes.is_empty());
}

#[tokio::test]
async fn what_would_run_or_refuse_is_named_with_the_statement_that_removes_it() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    let harmful: &[(&str, &'static str)] = &[
        ("CREATE TRIGGER shop_spy AFTER UPDATE ON jobs BEGIN SELECT 1; END", "DROP TRIGGER \"shop_spy\""),
        ("CREATE TRIGGER \"a \"\"b\" AFTER UPDATE ON events BEGIN SELECT 1; END", "DROP TRIGGER \"a \"\"b\""),
        ("CREATE INDEX shop_words ON jobs (upper(tag))", "DROP INDEX \"shop_words\""),
        ("CREATE INDEX shop_part ON jobs (tag) WHERE length(tag) > 3", "DROP INDEX \"shop_part\""),
        ("CREATE INDEX shop_like ON jobs (tag) WHERE tag LIKE 'a%'", "DROP INDEX \"shop_like\""),
        ("CREATE UNIQUE INDEX shop_state ON jobs (tag, state)", "DROP INDEX \"shop_state\""),
        ("CREATE UNIQUE INDEX shop_event ON events (job, type, at)", "DROP INDEX \"shop_event\""),
    ];
    for ((statement, drop), n) in harmful.iter().zip(0..) {
        sqlx::raw_sql(*statement).execute(&mut conn).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        until("it is shown", async || house.causes.get(TAMPERED).is_some_and(|what| what.contains(drop))).await;
        execute(&mut conn, drop).await;
        all_is_well(&house).await;
        serves(&house, 79_990_000_000 + n).await;
    }
    for (statement, back) in [
        ("ALTER TABLE jobs RENAME TO jobs_2", "ALTER TABLE jobs_2 RENAME TO jobs"),
        ("ALTER TABLE jobs ADD COLUMN c TEXT AS (upper(tag))", "ALTER TABLE jobs DROP COLUMN c"),
        ("ALTER TABLE jobs ADD COLUMN c TEXT CHECK (hex(c) <> 'x')", "ALTER TABLE jobs DROP COLUMN c"),
    ] {
        sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
        until("it is shown", async || house.causes.get(TAMPERED).is_some()).await;
        sqlx::raw_sql(back).execute(&mut conn).await.unwrap();
        all_is_well(&house).await;
        serves(&house, 79_990_000_900).await;
    }
}

async fn file(path: &std::path::Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

fn shell(arguments: &[&str]) -> Option<String> {
    let said = Command::new("sh").args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    if words.contains("not found") {
        eprintln!("no sqlite3 shell here");
        return None;
    }
    assert!(said.status.success(), "{words}");
    Some(String::from_utf8(said.stdout).unwrap())
}

#[tokio::test]
async fn a_mailbox_that_was_put_back_from_a_dump_is_taken_for_what_it_is() {
    let mut house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.stop().await;
    let untaken = house.order(79_990_000_112).await;
    let script = "cd \"$0\" && sqlite3 -cmd '.timeout 9000' mailbox.db .dump | sqlite3 new.db && rm -f mailbox.db* && mv new.db mailbox.db";
    let directory = house.path().parent().unwrap().display().to_string();
    if shell(&["-c", script, &directory]).is_none() {
        return;
    }
    let mut conn = file(&house.path()).await;
    assert_eq!(sqlx::query_scalar::<_, i64>("PRAGMA user_version").fetch_one(&mut conn).await.unwrap(), 0);
    conn.close().await.unwrap();
    house.restart().await;
    house.taken(untaken).await;
    house.accept(job).await;
    house.shows(id, "waiting").await;
    assert!(house.causes.is_empty(), "{:?}", house.causes);
}

#[tokio::test]
async fn a_number_that_another_tool_wrote_into_user_version_is_put_right() {
    let mut house = House::new().await;
    for number in [7, 1, -3] {
        house.stop().await;
        let mut conn = house.foreign().await;
        let set = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {number}"));
        sqlx::raw_sql(set).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        house.restart().await;
        serves(&house, 79_990_000_111).await;
    }
    // What a newer opros notes of itself counts.
    house.stop().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "UPDATE opros_meta SET value = '99' WHERE key = 'format'").await;
    house.restart().await;
    until("it is shown", async || house.causes.get(NOT_OURS).is_some_and(|what| what.contains("newer opros"))).await;
}

/// The very words of the message, carried out.
#[tokio::test]
async fn orders_in_a_file_that_is_moved_away_come_over_by_the_statement_that_is_shown() {
    let mut house = House::new().await;
    house.stop().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (uid, kind, params) VALUES ('mine', 'tronk.report', '{\"phone\":\"79990000111\"}');
         DROP TABLE opros_meta; PRAGMA user_version = 0",
    )
    .await;
    conn.close().await.unwrap();
    house.restart().await;
    until("it is shown", async || house.causes.get(NOT_OURS).is_some()).await;
    let what = house.causes.get(NOT_OURS).unwrap();
    let command = what[what.find("sqlite3 mailbox.db").unwrap_or_else(|| panic!("{what}"))..].replacen(
        "sqlite3",
        "sqlite3 -cmd '.timeout 9000'",
        1,
    );
    let old = house.path().with_file_name("OLD.db");
    fs::rename(house.path(), &old).unwrap();
    for suffix in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(house.path().with_extension(suffix));
    }
    all_is_well(&house).await;
    let directory = house.path().parent().unwrap().display().to_string();
    let command = format!("cd \"$0\" && {command}");
    // Beside the runtime: the mailbox's task must be able to let go of its lock.
    let done = tokio::task::spawn_blocking(move || shell(&["-c", &command, &directory])).await.unwrap();
    if done.is_none() {
        return;
    }
    until("it is taken", async || {
        house.store.mailbox_rows(&["mine".to_owned()]).await.unwrap().values().any(|row| row.job.is_some())
    })
    .await;
}

#[tokio::test]
async fn params_behind_a_byte_order_mark_are_understood() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (kind, params) VALUES ('tronk.report', char(65279) || '{\"phone\":\"79990000111\"}')",
    )
    .await;
    let job = house.taken(1).await;
    let params = house.store.job(job).await.unwrap().unwrap().params;
    assert_eq!(params, r#"{"phone":"79990000111"}"#);
}

/// While thousands of wishes are passed on, what comes in between is taken in between.
#[tokio::test]
async fn many_cancel_wishes_do_not_keep_a_new_order_waiting() {
    const WISHES: i64 = 5_000;
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)
         INSERT INTO jobs (kind, params) SELECT 'tronk.report', '{\"phone\":\"7999' || printf('%07d', i) || '\"}' FROM n",
    )
    .await;
    const TAKEN: &str = "SELECT count(*) FROM jobs WHERE state = 'queued'";
    until("all are taken", async || sqlx::query_scalar::<_, i64>(TAKEN).fetch_one(&mut conn).await.unwrap() == WISHES)
        .await;
    let cancelled = async || {
        let counts = house.store.counts().await.unwrap();
        counts.iter().filter(|count| count.state.as_str() == "cancelled").map(|count| count.jobs).sum::<i64>()
    };
    execute(&mut conn, "UPDATE jobs SET cancel_requested = 1").await;
    until("the first are cancelled", async || cancelled().await > 0).await;
    let id = house.order(79_980_000_000).await;
    let uids: Vec<String> =
        vec![sqlx::query_scalar("SELECT uid FROM jobs WHERE id = $1").bind(id).fetch_one(&mut conn).await.unwrap()];
    until("the order is taken", async || !house.store.mailbox_rows(&uids).await.unwrap().is_empty()).await;
    let by_then = cancelled().await;
    assert!(by_then < WISHES, "all {by_then} wishes went first");
    until("all are cancelled", async || cancelled().await == WISHES).await;
    house.taken(id).await;
}
