//! At the mailbox, and between both doors: one name space.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::upkeep::house::{House, until};

const PHONE: &str = "79990000111";

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Row {
    id: i64,
    state: String,
    job_id: Option<i64>,
    error_code: Option<String>,
    result: Option<String>,
}

async fn insert(house: &House, uid: &str, phone: &str) -> i64 {
    let insert = "INSERT INTO jobs (uid, kind, params) VALUES ($1, 'tronk.report', $2) RETURNING id";
    let query = sqlx::query_scalar(insert).bind(uid).bind(json!({ "phone": phone }).to_string());
    query.fetch_one(&mut house.mailbox().await).await.unwrap()
}

async fn find(house: &House, uid: &str) -> Option<Row> {
    let select = "SELECT id, state, job_id, error_code, result FROM jobs WHERE uid = $1";
    sqlx::query_as(select).bind(uid).fetch_optional(&mut house.mailbox().await).await.unwrap()
}

async fn shows(house: &House, uid: &str, state: &str) -> Row {
    until(&format!("the row {uid} is {state}"), async || find(house, uid).await.is_some_and(|row| row.state == state))
        .await;
    find(house, uid).await.unwrap()
}

/// Types of the events of a row, in order.
async fn events(conn: &mut SqliteConnection, id: i64) -> Vec<String> {
    sqlx::query_scalar("SELECT type FROM events WHERE job = $1 ORDER BY seq").bind(id).fetch_all(conn).await.unwrap()
}

async fn post(house: &House, uid: &str, phone: &str) -> (u16, Value) {
    let order = json!({ "uid": uid, "kind": "tronk.report", "params": { "phone": phone } });
    match house.client().post(&["v1", "jobs"], &order).await {
        Ok(answer) => (answer.status, answer.read().unwrap()),
        Err(opros::cli::Failure::Refused { status, problem }) => {
            (status, serde_json::from_str(&problem.raw.unwrap()).unwrap())
        }
        Err(failure) => panic!("{failure}"),
    }
}

fn house_now() -> opros::domain::Timestamp {
    opros::clock::SystemClock::shared().now()
}

fn paid(house: &House) -> usize {
    house.simulator.ledger().len()
}

#[tokio::test]
async fn an_order_of_the_mailbox_is_answered_at_the_socket_and_the_other_way_round() {
    let house = House::new("").await;
    let row = insert(&house, "row", PHONE).await;
    let shown = shows(&house, "row", "succeeded").await;
    let (status, job) = post(&house, "row", PHONE).await;
    assert_eq!((status, job["id"].as_i64(), &job["state"]), (200, shown.job_id, &json!("succeeded")));
    let (status, problem) = post(&house, "row", "79990000112").await;
    assert_eq!((status, problem["job"].as_i64()), (409, shown.job_id), "{problem}");

    let (status, job) = post(&house, "socket", "79990000113").await;
    assert_eq!(status, 201);
    house.until_state(job["id"].as_i64().unwrap(), "succeeded").await;
    let id = insert(&house, "socket", "79990000113").await;
    let shown = shows(&house, "socket", "succeeded").await;
    assert_eq!((shown.id, shown.job_id, shown.error_code), (id, job["id"].as_i64(), None));
    assert!(shown.result.unwrap().contains("report"), "it has the answer");
    let mut conn = house.mailbox().await;
    assert_eq!(events(&mut conn, id).await, ["job.accepted", "job.succeeded"], "and the events of its job");
    assert_eq!(events(&mut conn, row).await, ["job.accepted", "job.succeeded"]);
    assert_eq!(paid(&house), 2);
}

#[tokio::test]
async fn a_row_that_shows_an_unfinished_job_of_the_socket_is_kept_up_to_date_until_it_ends() {
    let mut house = House::new("").await;
    house.client().post(&["v1", "accounts", "tronk", "pause"], &json!({})).await.unwrap();
    let (_, job) = post(&house, "u", PHONE).await;
    let id = insert(&house, "u", PHONE).await;
    let shown = shows(&house, "u", "queued").await;
    assert_eq!((shown.job_id, shown.error_code), (job["id"].as_i64(), None));
    // What the mailbox knows of it survives a restart.
    house.stop().await;
    house.start().await;
    house.client().post(&["v1", "accounts", "tronk", "resume"], &json!({})).await.unwrap();
    let shown = shows(&house, "u", "succeeded").await;
    assert_eq!((shown.job_id, shown.result.is_some()), (job["id"].as_i64(), true));
    assert_eq!(events(&mut house.mailbox().await, id).await, ["job.accepted", "job.succeeded"]);
    let again = house.get(&["v1", "jobs", &job["id"].to_string()]).await;
    assert_eq!((&again["mailbox_uid"], &again["uid"]), (&json!("u"), &json!("u")));
    assert_eq!(paid(&house), 1);
}

#[tokio::test]
async fn a_row_with_the_uid_of_another_order_of_the_socket_is_rejected_and_names_it() {
    let house = House::new("").await;
    let (_, job) = post(&house, "u", PHONE).await;
    let id = insert(&house, "u", "79990000112").await;
    let mut conn = house.mailbox().await;
    let row = async |conn: &mut SqliteConnection| -> Row {
        let select = "SELECT id, state, job_id, error_code, result FROM jobs WHERE id = $1";
        sqlx::query_as(select).bind(id).fetch_one(conn).await.unwrap()
    };
    until("the row is rejected", async || row(&mut house.mailbox().await).await.state == "rejected").await;
    let row = row(&mut conn).await;
    assert_eq!((row.error_code.as_deref(), row.job_id), (Some("uid_reused"), job["id"].as_i64()));
    assert_eq!(events(&mut conn, id).await, ["job.rejected"]);
    house.until_state(job["id"].as_i64().unwrap(), "succeeded").await;
    assert_eq!(paid(&house), 1);
}

#[tokio::test]
async fn a_row_whose_job_is_purged_is_rejected_with_one_event_and_stays_readable() {
    let house = House::new("").await;
    insert(&house, "u", PHONE).await;
    let job = shows(&house, "u", "succeeded").await.job_id.unwrap();
    house.client().post(&["v1", "jobs", &job.to_string(), "purge"], &json!({})).await.unwrap();
    until("the first row is gone", async || find(&house, "u").await.is_none()).await;
    let second = insert(&house, "u", PHONE).await;
    let shown = shows(&house, "u", "rejected").await;
    assert_eq!((shown.error_code.as_deref(), shown.job_id), (Some("duplicate"), Some(job)));
    let mut conn = house.mailbox().await;
    assert_eq!(events(&mut conn, second).await, ["job.rejected"]);
    let (status, again) = post(&house, "u", PHONE).await;
    assert_eq!((status, again["id"].as_i64()), (200, Some(job)));
    assert_eq!(paid(&house), 1);
}

/// `retention.finished` of a second: at the mailbox it counts from when a row was answered.
#[tokio::test]
async fn a_row_whose_job_is_past_retention_is_rejected_with_one_event_and_readable_from_then() {
    let mut house = House::new("[retention]\nfinished = \"1s\"\n").await;
    insert(&house, "u", PHONE).await;
    until("the first row is gone", async || paid(&house) == 1 && find(&house, "u").await.is_none()).await;
    // The store's own retention runs by the minute: here it is done at once.
    let kept =
        opros::store::Retention::by_age(Duration::from_secs(1), Duration::from_secs(3_600), Duration::from_secs(1));
    until("the job is gone", async || {
        let store = house.daemon().engine().store();
        store.retain(kept, house.daemon().engine().now()).await.unwrap();
        store.job(opros::domain::JobId(1)).await.unwrap().is_none()
    })
    .await;
    for round in 0..2 {
        let id = insert(&house, "u", PHONE).await;
        let shown = shows(&house, "u", "rejected").await;
        assert_eq!((shown.error_code.as_deref(), shown.job_id), (Some("duplicate"), Some(1)), "round {round}");
        assert_eq!(events(&mut house.mailbox().await, id).await, ["job.rejected"], "round {round}");
        let (at, now): (i64, i64) = {
            let query = "SELECT finished_at, CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM jobs WHERE id = $1";
            sqlx::query_as(query).bind(id).fetch_optional(&mut house.mailbox().await).await.unwrap().unwrap_or((0, 0))
        };
        assert!(at + 60_000 > now, "it has ended now, not when the first row did: {at} {now}");
        until("and goes when its own time is over", async || find(&house, "u").await.is_none()).await;
    }
    let (status, problem) = post(&house, "u", PHONE).await;
    assert_eq!((status, problem["job"].as_i64()), (410, Some(1)), "{problem}");
    house.stop().await;
    house.start().await;
    let (status, _) = post(&house, "u", PHONE).await;
    assert_eq!((status, paid(&house)), (410, 1));
}

#[tokio::test]
async fn a_row_that_is_repeated_where_its_spelling_is_another_shows_its_job() {
    let house = House::new("").await;
    let (_, job) = post(&house, "u", PHONE).await;
    insert(&house, "u", "+7 (999) 000-01-11").await;
    let shown = shows(&house, "u", "succeeded").await;
    assert_eq!((shown.job_id, paid(&house)), (job["id"].as_i64(), 1));
}

#[tokio::test]
async fn a_repeated_order_is_known_at_both_doors_though_it_would_not_be_understood_now() {
    let mut house = House::new("").await;
    let (_, job) = post(&house, "u", PHONE).await;
    let id = job["id"].as_i64().unwrap();
    house.until_state(id, "succeeded").await;
    // A second account of the vendor: an order that names none is refused from now on.
    house.more = house.account("second", "");
    house.stop().await;
    house.start().await;
    let (status, problem) = post(&house, "v", PHONE).await;
    assert_eq!(status, 422, "{problem}");
    let (status, again) = post(&house, "u", PHONE).await;
    assert_eq!((status, again["id"].as_i64()), (200, Some(id)), "{again}");
    insert(&house, "u", PHONE).await;
    let shown = shows(&house, "u", "succeeded").await;
    assert_eq!((shown.job_id, shown.error_code), (Some(id), None));
    insert(&house, "w", PHONE).await;
    assert_eq!(shows(&house, "w", "rejected").await.error_code.as_deref(), Some("unknown_account"));
    let (status, problem) = post(&house, "w", PHONE).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(paid(&house), 1);
}

/// The store was put back from a copy in which an order of the socket is not.
#[tokio::test]
async fn an_order_that_only_a_newer_store_knew_is_not_ordered_again() {
    let mut house = House::new("").await;
    let file = house.path("backup.db");
    let mut response = house.client().long(&["v1", "backup"]).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    std::fs::write(&file, bytes).unwrap();
    let (_, job) = post(&house, "u", PHONE).await;
    house.until_state(job["id"].as_i64().unwrap(), "succeeded").await;
    house.stop().await;
    let now = house_now();
    opros::store::sqlite::restore::restore(&file, &house.store(), true, now).await.unwrap();
    house.start().await;
    let (status, problem) = post(&house, "u", PHONE).await;
    assert_eq!((status, &problem["type"]), (410, &json!("urn:opros:problem:uid_gone")), "{problem}");
    insert(&house, "u", PHONE).await;
    assert_eq!(shows(&house, "u", "rejected").await.error_code.as_deref(), Some("unknown_to_store"));
    assert_eq!(paid(&house), 1);
}
