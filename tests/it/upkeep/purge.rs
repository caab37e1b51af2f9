//! A person's data, gone from every file.

use opros::cli::failure::Failure;
use serde_json::{Value, json};

use super::house::{House, until};

const PHONE: &str = "79161234567";
const OTHER: &str = "79167654321";

#[tokio::test]
async fn a_purged_job_leaves_no_byte_of_its_person_in_any_file() {
    let mut house = House::new("").await;
    let kept = house.order(json!({ "phone": OTHER })).await;
    let mut mailbox = house.mailbox().await;
    let insert = "INSERT INTO jobs (kind, params, tag) VALUES ('tronk.report', $1, 'customer of 79161234567')";
    sqlx::query(insert).bind(json!({ "phone": PHONE }).to_string()).execute(&mut mailbox).await.unwrap();
    until("the row has its answer", async || {
        let row: Option<(String, Option<i64>)> =
            sqlx::query_as("SELECT state, job_id FROM jobs").fetch_optional(&mut house.mailbox().await).await.unwrap();
        row == Some(("succeeded".to_owned(), Some(2)))
    })
    .await;
    house.until_state(kept, "succeeded").await;
    drop(mailbox);
    assert!(
        house
            .files_with(PHONE)
            .iter()
            .any(|path| path.ends_with("store/opros.db-wal") || path.ends_with("store/opros.db"))
    );

    let purged: Value = house.client().post(&["v1", "jobs", "2", "purge"], &json!({})).await.unwrap().read().unwrap();
    assert_eq!((&purged["mailbox_row"], &purged["log_emptied"]), (&json!(true), &json!(true)), "{purged}");
    until("the mailbox has forgotten it", async || house.files_with(PHONE).is_empty()).await;

    let job = house.get(&["v1", "jobs", "2"]).await;
    assert_eq!((&job["state"], &job["attempts"], &job["params"]), (&json!("succeeded"), &json!(1), &json!({})));
    assert_eq!((&job["result"], &job["tag"], &job["remote_id"]), (&Value::Null, &Value::Null, &Value::Null));
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(&mut house.mailbox().await).await.unwrap();
    assert_eq!(rows, 0, "the mailbox row is gone");
    let events = house.get(&["v1", "events"]).await;
    let numbers: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|e| e["sequence"].as_str()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4"], "no number is missing");
    assert!(!house.files_with(OTHER).is_empty(), "the other job is untouched");
    let other = house.get(&["v1", "jobs", &kept.to_string()]).await;
    assert_eq!(other["params"]["phone"], OTHER);

    // And it stays gone: neither a restart nor the closing of files brings anything back.
    house.stop().await;
    assert_eq!(house.files_with(PHONE), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn what_is_unfinished_is_not_purged() {
    let house = House::new("").await;
    let later = json!({ "kind": "tronk.report", "params": { "phone": PHONE }, "not_before": "2999-01-01T00:00:00Z" });
    house.client().post(&["v1", "jobs"], &later).await.unwrap();
    let refused = house.client().post(&["v1", "jobs", "1", "purge"], &json!({})).await.unwrap_err();
    let Failure::Refused { status, problem } = refused else { panic!("{refused}") };
    assert_eq!(status, 409);
    assert!(problem.raw.unwrap_or_default().contains("job 1 is queued: it has not ended"));
    assert_eq!(house.get(&["v1", "jobs", "1"]).await["params"]["phone"], PHONE);
    let nobody = house.client().post(&["v1", "jobs", "7", "purge"], &json!({})).await.unwrap_err();
    assert!(matches!(nobody, Failure::Refused { status: 404, .. }));
}

#[tokio::test]
async fn a_document_that_was_fetched_goes_with_its_job_and_what_it_cost_stays() {
    let mut house = House::new("").await;
    house.stop().await;
    house.limits = "download = true\nprices = { \"tronk.report\" = 30 }".to_owned();
    house.start().await;
    let order = json!({ "kind": "tronk.report", "params": { "phone": PHONE }, "tag": "for 79161234567" });
    house.client().post(&["v1", "jobs"], &order).await.unwrap();
    let files = async || house.get(&["v1", "jobs", "1"]).await["files"].as_array().map_or(0, Vec::len);
    until("its document is saved", async || files().await == 1).await;
    let document = std::fs::read_dir(house.path("store/files")).unwrap().count();
    assert_eq!(document, 2, "one directory with it, one for unfinished files");
    let result = house.get(&["v1", "jobs", "1"]).await["result"]["url"].as_str().unwrap().to_owned();
    assert!(!house.files_with(&result).is_empty());

    let purged: Value = house.client().post(&["v1", "jobs", "1", "purge"], &json!({})).await.unwrap().read().unwrap();
    assert_eq!((&purged["files"], &purged["log_emptied"]), (&json!(1), &json!(true)), "{purged}");
    for trace in [PHONE, result.as_str()] {
        assert_eq!(house.files_with(trace), Vec::<std::path::PathBuf>::new(), "{trace}");
    }
    let left = std::fs::read_dir(house.path("store/files")).unwrap().map(|entry| entry.unwrap().path());
    let left: usize = left.map(|directory| std::fs::read_dir(directory).unwrap().count()).sum();
    assert_eq!((left, files().await), (0, 0), "the document is gone");
    let costs = house.get(&["v1", "costs"]).await;
    assert_eq!(costs["costs"][0]["amount"], 30.0, "{costs}");
}
