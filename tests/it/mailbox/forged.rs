//! Other programs that change what is not theirs to change, or reuse another order's token.

use opros::mailbox::trouble::LOCKED;
use opros::store::Store;

use super::house::{House, execute, until};

#[tokio::test]
async fn a_row_whose_state_was_changed_before_it_was_taken_is_answered_at_once_and_nothing_is_sent() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "BEGIN IMMEDIATE;
         INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}');
         INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000112\"}');
         INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000113\"}');
         UPDATE jobs SET state = 'waiting' WHERE id = 1;
         UPDATE jobs SET state = 'succeeded', result = '{}', finished_at = 1 WHERE id = 3;
         COMMIT",
    )
    .await;
    for id in [1, 3] {
        let row = house.shows(id, "rejected").await;
        assert_eq!((row.error_code.as_deref(), row.result), (Some("unknown_to_store"), None));
    }
    house.taken(2).await;
    assert_eq!(house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum::<i64>(), 1);
}

#[tokio::test]
async fn whatever_was_forged_in_a_row_is_written_over_at_its_next_fact() {
    const ORDER: &str = "SELECT kind || params || ifnull(account, '-') || priority || ifnull(dedupe_key, '-') || \
        ifnull(deadline, '-') || ifnull(tag, '-') FROM jobs WHERE id = 1";
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (kind, params, dedupe_key, priority, tag)
         VALUES ('tronk.report', '{\"phone\":\"79990000111\"}', 'k', 3, 't')",
    )
    .await;
    let job = house.taken(1).await;
    execute(
        &mut conn,
        "UPDATE jobs SET kind = 'alta.track', params = '{\"phone\":\"79990000999\"}', account = 'mine', priority = 9,
         dedupe_key = NULL, deadline = 7, tag = NULL, error = 'x', not_before = 5",
    )
    .await;
    house.submit(job).await;
    house.shows(1, "submitting").await;
    let order: String = sqlx::query_scalar(ORDER).fetch_one(&mut conn).await.unwrap();
    assert_eq!(order, r#"tronk.report{"phone":"79990000111"}tronk3k-t"#);
}

#[tokio::test]
async fn another_order_under_a_known_uid_is_rejected_and_the_first_one_gets_its_row_back() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (uid, kind, params) VALUES ('mine', 'tronk.report', '{\"phone\":\"79990000111\"}')",
    )
    .await;
    let job = house.taken(1).await;
    execute(
        &mut conn,
        "INSERT OR REPLACE INTO jobs (uid, kind, params) VALUES ('mine', 'tronk.report', '{\"phone\":\"79990000112\"}')",
    )
    .await;
    let row = house.shows(2, "rejected").await;
    assert_eq!((row.error_code.as_deref(), row.job_id), (Some("uid_reused"), Some(job.0)));
    assert!(row.error.unwrap().contains("ordered something else"));
    house.accept(job).await;
    house.succeed(job, r#"{"found":1}"#).await;
    const MINE: &str = "SELECT id, state, params FROM jobs WHERE uid = 'mine'";
    let mine: (i64, String, String) = {
        until("the first order's row is back", async || {
            let row: Option<(i64, String, String)> = sqlx::query_as(MINE).fetch_optional(&mut conn).await.unwrap();
            row.is_some_and(|(_, state, _)| state == "succeeded")
        })
        .await;
        sqlx::query_as(MINE).fetch_one(&mut conn).await.unwrap()
    };
    assert_eq!((mine.0, mine.2.as_str()), (3, r#"{"phone":"79990000111"}"#));
    assert_eq!(house.row(2).await.state, "rejected");
    assert_eq!(house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum::<i64>(), 1);
}

#[tokio::test]
async fn the_same_order_under_a_known_uid_gets_the_first_ones_answer() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    const ORDER: &str = "INSERT OR REPLACE INTO jobs (uid, kind, params) VALUES ('mine', 'tronk.report', '{\"phone\": \"79990000111\"}')";
    execute(&mut conn, ORDER).await;
    let job = house.taken(1).await;
    execute(&mut conn, ORDER).await;
    assert_eq!(house.taken(2).await, job);
    // What is no order at all does not get that answer either.
    execute(
        &mut conn,
        "INSERT OR REPLACE INTO jobs (uid, kind, params) VALUES ('mine', 'tronk.report', '{\"fone\":1}')",
    )
    .await;
    let row = house.shows(3, "rejected").await;
    assert_eq!((row.error_code.as_deref(), row.job_id), (Some("bad_params"), Some(job.0)));
    until("the order's row is back", async || house.find(4).await.is_some_and(|row| row.job_id == Some(job.0))).await;
}

#[tokio::test]
async fn a_lock_that_is_only_held_is_shown_although_nothing_is_to_be_written() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "BEGIN IMMEDIATE").await;
    until("the lock is shown", async || house.causes.get(LOCKED).is_some()).await;
    execute(&mut conn, "ROLLBACK").await;
    until("the lock is forgotten", async || house.causes.is_empty()).await;
}

#[tokio::test]
async fn a_row_at_the_last_number_that_sqlite_has_does_not_keep_others_from_inserting() {
    let house = House::new().await;
    let first = house.order(79_990_000_111).await;
    house.taken(first).await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "BEGIN IMMEDIATE; DROP TRIGGER jobs_insert;
         INSERT INTO jobs (id, uid, kind, params)
         VALUES (9223372036854775807, 'far', 'tronk.report', '{\"phone\":\"79990000112\"}'); COMMIT",
    )
    .await;
    const FAR: &str = "SELECT id FROM jobs WHERE uid = 'far' AND state = 'queued'";
    until("it has another number", async || {
        let id: Option<i64> = sqlx::query_scalar(FAR).fetch_optional(&mut conn).await.unwrap();
        id.is_some_and(|id| id < 1_000)
    })
    .await;
    let next = house.order(79_990_000_113).await;
    house.taken(next).await;
}
