//! Other programs that lock, forge, plant and throw things in.

use std::time::Duration;

use opros::mailbox::trouble::{LOCKED, TAMPERED, UNAVAILABLE};
use opros::store::Store;
use sqlx::{Connection, SqliteConnection};

use super::house::{House, execute, until};

/// Bytes, numbers and nothing where a text is meant, in every column, past the triggers and the checks.
const NASTY: &[&str] = &[
    "NULL",
    "''",
    "x'ff'",
    "CAST(x'ff' AS TEXT)",
    "CAST(x'00' AS TEXT)",
    "CAST(x'eda080' AS TEXT)",
    "'a' || char(0) || 'b'",
    "char(10) || char(27) || '[31m'",
    "char(8238)",
    "1e300",
    "9e999",
    "-9223372036854775808",
    "9223372036854775807",
    "0.5",
    "'{'",
    "'[]'",
    "'null'",
    "'{\"a\":1e999}'",
    "'{\"a\":\"\\ud800\"}'",
    "'{\"phone\":1,\"phone\":\"79990000111\"}'",
    "'{\"phone\":\"79990000111' || char(0) || '\"}'",
    "'{\"phone\":\"7\\u00009990000111\"}'",
    "CAST(x'7b2261223a22ff227d' AS TEXT)",
    "replace(hex(zeroblob(5000)), '00', '{\"a\":') || '1' || replace(hex(zeroblob(5000)), '00', '}')",
    "CAST(zeroblob(300000) AS TEXT)",
    "replace(hex(zeroblob(100000)), '0', 'ы')",
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
    "job_id",
    "result",
    "error",
];

async fn insert_nasty(conn: &mut SqliteConnection) -> u32 {
    execute(conn, "PRAGMA ignore_check_constraints = ON").await;
    let mut inserted = 0;
    for column in COLUMNS {
        for value in NASTY {
            let (columns, values) = match *column {
                "kind" => ("params, kind".to_owned(), format!("'{{\"phone\":\"79990000111\"}}', {value}")),
                "params" => ("kind, params".to_owned(), format!("'tronk.report', {value}")),
                other => (
                    format!("kind, params, {other}"),
                    format!("'tronk.report', '{{\"phone\":\"79990000111\"}}', {value}"),
                ),
            };
            let insert = sqlx::AssertSqlSafe(format!("INSERT INTO jobs ({columns}) VALUES ({values})"));
            // STRICT still keeps most of it out.
            inserted += u32::from(sqlx::raw_sql(insert).execute(&mut *conn).await.is_ok());
        }
    }
    inserted
}

#[tokio::test]
async fn no_row_however_nasty_stops_the_good_one_behind_it() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    // In one transaction: the triggers are gone while the rows come in.
    execute(&mut conn, "BEGIN IMMEDIATE; DROP TRIGGER jobs_insert").await;
    let inserted = insert_nasty(&mut conn).await;
    execute(&mut conn, "COMMIT").await;
    assert!(inserted > 80, "only {inserted} rows made it past STRICT");
    let good = house.order(79_990_000_112).await;
    house.taken(good).await;
    const NEW: &str = "SELECT count(*) FROM jobs WHERE state = 'new'";
    until("none is left", async || sqlx::query_scalar::<_, i64>(NEW).fetch_one(&mut conn).await.unwrap() == 0).await;
    let (rejected, silent): (i64, i64) =
        sqlx::query_as("SELECT count(*), sum(error IS NULL OR error_code IS NULL) FROM jobs WHERE state = 'rejected'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert!(rejected > 60 && silent == 0, "{rejected} rejected, {silent} without a reason");
    let events = house.events().await;
    assert_eq!(events.len() as i64, rejected);
    assert!(events.iter().all(|event| event.job.is_some()));
    assert!(events.iter().zip(1..).all(|(event, n)| event.seq == n), "numbered without gaps");
    assert!(house.causes.get(UNAVAILABLE).is_none());
    let message = "the trigger is put back";
    until(message, async || {
        let error = sqlx::raw_sql("INSERT INTO jobs (kind) VALUES ('')").execute(&mut conn).await;
        error.is_err_and(|error| error.to_string().contains("kind: say what to order"))
    })
    .await;
}

#[tokio::test]
async fn a_huge_value_is_rejected_without_being_read() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "BEGIN IMMEDIATE; DROP TRIGGER jobs_insert;
         INSERT INTO jobs (kind, params) VALUES ('tronk.report', CAST(zeroblob(50000000) AS TEXT)); COMMIT",
    )
    .await;
    let mut reader = house.foreign().await;
    const STATE: &str = "SELECT state || ' ' || coalesce(error_code, '') FROM jobs";
    until("it is rejected", async || {
        sqlx::query_scalar::<_, String>(STATE).fetch_one(&mut reader).await.unwrap() == "rejected params_too_large"
    })
    .await;
}

#[tokio::test]
async fn a_forged_row_is_written_over_at_its_next_fact() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "UPDATE jobs SET state = 'succeeded', result = '{}', job_id = 99, finished_at = 1, remote_id = 'x'",
    )
    .await;
    house.submit(job).await;
    let row = house.shows(id, "submitting").await;
    assert_eq!((row.job_id, row.result, row.remote_id, row.finished_at), (Some(job.0), None, None, None));
    // Pretending that it is new does not order it again.
    execute(&mut conn, "UPDATE jobs SET state = 'new', job_id = NULL, params = '{\"phone\":\"79990000999\"}'").await;
    assert_eq!(house.shows(id, "submitting").await.job_id, Some(job.0));
    assert_eq!(house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum::<i64>(), 1);
}

#[tokio::test]
async fn forgeries_among_unfinished_rows_are_put_right_at_the_start() {
    let mut house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.accept(job).await;
    house.shows(id, "waiting").await;
    house.stop().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "UPDATE jobs SET state = 'queued';
         INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000112\"}');
         UPDATE jobs SET state = 'waiting' WHERE id = 2",
    )
    .await;
    house.restart().await;
    house.shows(id, "waiting").await;
    // The store never took the second: to take it now might pay for it twice.
    let row = house.shows(2, "rejected").await;
    assert_eq!(row.error_code.as_deref(), Some("unknown_to_store"));
    assert_eq!(house.events().await.len(), 2);
}

#[tokio::test]
async fn a_foreign_lock_delays_the_mailbox_alone_is_shown_and_forgotten() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "BEGIN IMMEDIATE; INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000112\"}')",
    )
    .await;
    // The store is as quick as ever.
    tokio::time::timeout(Duration::from_secs(5), house.accept(job)).await.expect("the store does not wait");
    until("the lock is shown", async || house.causes.get(LOCKED).is_some()).await;
    assert_eq!(house.row(id).await.state, "queued");
    execute(&mut conn, "COMMIT").await;
    house.shows(id, "waiting").await;
    house.shows(2, "queued").await;
    until("the lock is forgotten", async || house.causes.is_empty()).await;
}

#[tokio::test]
async fn an_exclusive_lock_held_from_before_the_start_only_delays() {
    let mut house = House::new().await;
    house.stop().await;
    let id = house.order(79_990_000_111).await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").await;
    house.serve();
    until("the lock is shown", async || house.causes.get(LOCKED).is_some()).await;
    execute(&mut conn, "COMMIT; PRAGMA locking_mode = NORMAL").await;
    conn.close().await.unwrap();
    house.shows(id, "queued").await;
    until("the lock is forgotten", async || house.causes.is_empty()).await;
}

#[tokio::test]
async fn a_planted_trigger_does_not_run_with_our_rights_and_nothing_is_lost_meanwhile() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "CREATE TABLE loot (what); CREATE TRIGGER spy AFTER UPDATE ON jobs BEGIN INSERT INTO loot VALUES (NEW.state); END",
    )
    .await;
    house.accept(job).await;
    until("it is shown", async || house.causes.get(TAMPERED).is_some()).await;
    assert!(house.causes.get(TAMPERED).unwrap().contains("DROP TRIGGER \"spy\""));
    let second = house.order(79_990_000_112).await;
    assert_eq!((house.row(id).await.state, house.row(second).await.state), ("queued".to_owned(), "new".to_owned()));
    execute(&mut conn, "DROP TRIGGER spy").await;
    house.shows(id, "waiting").await;
    house.shows(second, "queued").await;
    let loot: i64 = sqlx::query_scalar("SELECT count(*) FROM loot").fetch_one(&mut conn).await.unwrap();
    assert_eq!(loot, 0);
    until("all is well", async || house.causes.is_empty()).await;
}

#[tokio::test]
async fn a_view_in_the_place_of_a_table_is_refused_by_name() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "DROP TABLE events; CREATE VIEW events AS SELECT * FROM jobs").await;
    until("it is shown", async || house.causes.get(TAMPERED).is_some()).await;
    assert!(house.causes.get(TAMPERED).unwrap().contains("events"));
}
