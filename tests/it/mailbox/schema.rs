//! What the file itself says, before the daemon has seen the row.

use std::os::unix::fs::PermissionsExt;

use opros::mailbox::sql;
use sqlx::{Connection, Executor, Row, SqlSafeStr, SqliteConnection};

use super::house::{House, execute};

async fn fresh() -> SqliteConnection {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for script in sql::MIGRATIONS {
        sqlx::raw_sql(*script).execute(&mut conn).await.unwrap();
    }
    conn
}

#[tokio::test]
async fn every_statement_prepares_against_a_fresh_mailbox() {
    let mut conn = fresh().await;
    for (name, statement) in sql::ALL.iter().chain(sql::DROPS) {
        conn.prepare(statement.into_sql_str()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn what_is_asked_often_is_answered_by_an_index() {
    let mut conn = fresh().await;
    let wanted = [
        ("jobs_new", sql::NEW_SIZES),
        ("INTEGER PRIMARY KEY", sql::NEW_ROWS),
        ("jobs_cancel", sql::CANCEL_WISHES),
        ("jobs_unfinished", sql::UNFINISHED),
        ("jobs_finished", sql::OLD_ROWS),
        ("sqlite_autoindex_jobs_1", sql::FIND_ROWS),
        ("INTEGER PRIMARY KEY", sql::UPDATE_ROWS),
    ];
    for (index, statement) in wanted {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let plan = sqlx::query(explain).bind(1).bind(1).fetch_all(&mut conn).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(3)).collect();
        let plan = plan.join("; ");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{statement}: {plan}");
    }
}

#[tokio::test]
async fn a_refused_row_is_told_which_column_and_what_to_do() {
    let mut conn = fresh().await;
    let long = "x".repeat(201);
    let big = format!(r#"{{"a":"{}"}}"#, "ы".repeat(33_000));
    let cases: &[(&str, String, &str)] = &[
        ("id", "7".into(), "id: the mailbox gives the number"),
        ("uid", "''".into(), "uid: give a token of 1 to 200 bytes"),
        ("uid", "NULL".into(), "uid: give a token"),
        ("uid", format!("'{long}'"), "uid: give a token"),
        ("kind", "''".into(), "kind: say what to order"),
        ("kind", "NULL".into(), "kind: say what to order"),
        ("params", "NULL".into(), "params: give a JSON object"),
        ("params", "'nonsense'".into(), "params: not valid JSON"),
        ("params", "''".into(), "params: not valid JSON"),
        ("params", "char(65279)".into(), "params: not valid JSON"),
        ("params", "char(65279) || char(65279) || '{}'".into(), "params: not valid JSON"),
        ("params", "char(65279) || '[]'".into(), "params: not a JSON object"),
        ("params", "'[]'".into(), "params: not a JSON object"),
        ("params", "'\"text\"'".into(), "params: not a JSON object"),
        ("params", format!("'{big}'"), "params: larger than 64 KiB"),
        ("account", "''".into(), "account: name a configured account"),
        ("dedupe_key", "''".into(), "dedupe_key: give 1 to 200 bytes"),
        ("priority", "10".into(), "priority: give a whole number from 0"),
        ("priority", "-1".into(), "priority: give a whole number from 0"),
        ("priority", "NULL".into(), "priority: give a whole number from 0"),
        ("priority", "'high'".into(), "cannot store TEXT value in INTEGER column jobs.priority"),
        ("not_before", "-1".into(), "not_before: give Unix milliseconds"),
        ("deadline", "253402300800000".into(), "deadline: give Unix milliseconds"),
        ("tag", format!("'{long}'"), "tag: give 1 to 200 bytes"),
        ("cancel_requested", "1".into(), "cancel_requested: leave the column out"),
        ("state", "'queued'".into(), "state: opros writes it"),
        ("state", "NULL".into(), "state: opros writes it"),
        ("job_id", "1".into(), "job_id: opros writes it"),
        ("remote_id", "'a'".into(), "remote_id: opros writes it"),
        ("error_code", "'a'".into(), "error_code: opros writes it"),
        ("error", "'a'".into(), "error: opros writes it"),
        ("result", "'{}'".into(), "result: opros writes it"),
        ("updated_at", "1".into(), "updated_at: opros writes it"),
        ("finished_at", "1".into(), "finished_at: opros writes it"),
    ];
    for (column, value, message) in cases {
        let insert = if *column == "kind" {
            format!("INSERT INTO jobs (kind) VALUES ({value})")
        } else {
            format!("INSERT OR IGNORE INTO jobs (kind, {column}) VALUES ('tronk.report', {value})")
        };
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut conn).await.unwrap_err().to_string();
        assert!(error.contains(message), "{column}: {error}");
    }
    execute(&mut conn, "INSERT INTO jobs (kind) VALUES ('vagvin.balance')").await;
    for forbidden in ["UPDATE jobs SET uid = 'x'", "UPDATE jobs SET id = 9", "UPDATE jobs SET rowid = 9"] {
        let error = sqlx::raw_sql(forbidden).execute(&mut conn).await.unwrap_err().to_string();
        assert!(error.contains("insert a new row"), "{error}");
    }
}

#[tokio::test]
async fn everything_that_may_be_given_is_taken_and_strings_of_digits_count_as_numbers() {
    let mut conn = fresh().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (kind, params, uid, account, dedupe_key, priority, not_before, deadline, tag)
         VALUES ('tronk.report', ' {} ', 'mine', 'tronk', 'k', '0', '1800000000000', 253402300799999, 't')",
    )
    .await;
    execute(&mut conn, "INSERT INTO jobs (kind, params) VALUES ('tronk.report', char(65279) || '{}')").await;
    let (priority, class): (i64, String) =
        sqlx::query_as("SELECT priority, typeof(not_before) FROM jobs").fetch_one(&mut conn).await.unwrap();
    assert_eq!((priority, class.as_str()), (0, "integer"));
}

#[tokio::test]
async fn the_directory_and_the_files_can_be_shared_with_the_group() {
    let house = House::new().await;
    house.order(79_990_000_111).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let path = house.path();
    assert_eq!(mode(path.parent().unwrap()), 0o2770);
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o660);
}
