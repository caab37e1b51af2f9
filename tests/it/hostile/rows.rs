//! Rows that no honest program can write: every raw value of SQLite in every column, past triggers, CHECKs and STRICT.

use opros::mailbox::trouble::UNAVAILABLE;
use opros::store::Store;
use sqlx::SqliteConnection;

use crate::mailbox::house::{House, execute, until};

/// Raw values, as SQL.
const VALUES: &[&str] = &[
    "NULL",
    "''",
    "' '",
    "x''",
    "x'00'",
    "x'ff'",
    "x'7b7d'",
    "zeroblob(70000)",
    "CAST(x'ff' AS TEXT)",
    "CAST(x'00' AS TEXT)",
    "CAST(x'eda080' AS TEXT)",
    "CAST(x'efbbbf7b7d' AS TEXT)",
    "CAST(x'7b2261223a22ff227d' AS TEXT)",
    "CAST(zeroblob(300000) AS TEXT)",
    "'a' || char(0) || 'b'",
    "char(10) || char(27) || '[31m' || char(13)",
    "char(8238) || 'txt.exe'",
    "char(65279) || '{}'",
    "'''; DROP TABLE jobs; --'",
    "'tronk.report' || char(0)",
    "replace(hex(zeroblob(100000)), '0', 'ы')",
    "0",
    "-1",
    "0.5",
    "-0.0",
    "1e300",
    "9e999",
    "-9e999",
    "9223372036854775807",
    "-9223372036854775808",
    "253402300800000",
    "'9223372036854775808'",
    "'{'",
    "'[]'",
    "'null'",
    "'\"{}\"'",
    "'{\"a\":1e999}'",
    "'{\"phone\":\"\\ud800\"}'",
    "'{\"phone\":1,\"phone\":\"79990000111\"}'",
    "'{\"phone\":\"7\\u00009990000111\"}'",
    "'{\"phone\":{}}'",
    "'{\"phone\":79990000111}'",
    "'{\"__proto__\":1}'",
    "replace(hex(zeroblob(5000)), '00', '{\"a\":') || '1' || replace(hex(zeroblob(5000)), '00', '}')",
    "replace(hex(zeroblob(30000)), '00', '[')",
];
const COLUMNS: &[&str] = &[
    "uid",
    "kind",
    "params",
    "account",
    "dedupe_key",
    "tag",
    "priority",
    "not_before",
    "deadline",
    "cancel_requested",
    "job_id",
    "remote_id",
    "error_code",
    "error",
    "result",
    "updated_at",
    "finished_at",
];

/// The table as it would be without STRICT, NOT NULL and CHECKs, for as long as the rows come in.
const OPEN: &str = "PRAGMA writable_schema = ON; BEGIN IMMEDIATE; DROP TRIGGER jobs_insert;
    UPDATE sqlite_schema SET sql = replace(replace(sql, ') STRICT', ')'), ' NOT NULL', '') WHERE name = 'jobs';
    PRAGMA writable_schema = RESET; COMMIT; PRAGMA ignore_check_constraints = ON";

/// One row for every value in every column; says how many came in.
async fn fill(conn: &mut SqliteConnection) -> i64 {
    for column in COLUMNS {
        for value in VALUES {
            let (columns, values) = match *column {
                "kind" => ("params, kind".to_owned(), format!("'{{\"phone\":\"79990000111\"}}', {value}")),
                "params" => ("kind, params".to_owned(), format!("'tronk.report', {value}")),
                other => (
                    format!("kind, params, {other}"),
                    format!("'tronk.report', '{{\"phone\":\"79990000111\"}}', {value}"),
                ),
            };
            let insert = sqlx::AssertSqlSafe(format!("INSERT OR IGNORE INTO jobs ({columns}) VALUES ({values})"));
            sqlx::raw_sql(insert).execute(&mut *conn).await.unwrap_or_else(|error| panic!("{column} {value}: {error}"));
        }
    }
    sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn every_raw_value_in_every_column_is_taken_or_rejected_and_none_stops_the_good_row_behind_it() {
    let mut house = House::new().await;
    house.stop().await;
    let mut conn = house.foreign().await;
    const STRICT: &str = "SELECT sql FROM sqlite_schema WHERE name = 'jobs'";
    let ours: String = sqlx::query_scalar(STRICT).fetch_one(&mut conn).await.unwrap();
    execute(&mut conn, OPEN).await;
    execute(&mut conn, "BEGIN").await;
    let inserted = fill(&mut conn).await;
    execute(&mut conn, "COMMIT; PRAGMA writable_schema = ON").await;
    let back = "UPDATE sqlite_schema SET sql = $1 WHERE name = 'jobs'";
    sqlx::query(back).bind(&ours).execute(&mut conn).await.unwrap();
    execute(&mut conn, "PRAGMA writable_schema = RESET").await;
    sqlx::Connection::close(conn).await.unwrap();
    assert!(inserted >= 300, "only {inserted} rows came in");
    house.serve();

    let good = house.order(79_990_000_112).await;
    house.taken(good).await;
    let mut conn = house.foreign().await;
    const NEW: &str = "SELECT count(*) FROM jobs WHERE state = 'new'";
    until("none is left", async || sqlx::query_scalar::<_, i64>(NEW).fetch_one(&mut conn).await.unwrap() == 0).await;
    const SORTS: &str = "SELECT count(*), coalesce(sum(state = 'rejected'), 0), coalesce(sum(state = 'rejected' AND (error IS NULL \
        OR error_code IS NULL)), 0), coalesce(sum(state NOT IN ('rejected', 'queued', 'expired', 'cancelled')), 0) FROM jobs";
    let (all, rejected, silent, odd): (i64, i64, i64, i64) = sqlx::query_as(SORTS).fetch_one(&mut conn).await.unwrap();
    eprintln!("{inserted} rows of {} values in {} columns: {rejected} rejected", VALUES.len(), COLUMNS.len());
    assert_eq!((all, silent, odd), (inserted + 1, 0, 0));
    assert!(rejected >= 150, "only {rejected} rejected");
    let events = house.events().await;
    assert!(events.iter().zip(1..).all(|(event, n)| event.seq == n), "numbered without gaps");
    assert!(house.causes.get(UNAVAILABLE).is_none(), "{:?}", house.causes);
    // What was taken is there once.
    let jobs: i64 = house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum();
    assert_eq!(jobs, all - rejected);
}
