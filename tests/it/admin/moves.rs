use opros::domain::Timestamp;
use opros::health::Severity;
use serde_json::{Value, json};

use super::house::House;

#[tokio::test]
async fn cancelling_is_accepted_once_and_a_finished_job_is_a_conflict() {
    let house = House::open().await;
    let id = house.job().await;
    let first = house.post(&format!("/v1/jobs/{id}/cancel"), "").await;
    assert_eq!((first.status, first.json()["state"].clone()), (202, json!("cancelled")));
    let second = house.post(&format!("/v1/jobs/{id}/cancel"), "{}").await;
    assert_eq!((second.status, second.kind.as_str()), (409, "application/problem+json"));
    assert_eq!(house.post("/v1/jobs/77/cancel", "").await.status, 404);
    assert_eq!(house.post(&format!("/v1/jobs/{id}/cancel"), r#"{"x":1}"#).await.status, 422);
    assert_eq!(house.post(&format!("/v1/jobs/{id}/cancel"), "{").await.status, 400);
}

#[tokio::test]
async fn retrying_makes_a_new_job_and_refuses_what_is_unfinished_or_in_doubt() {
    let house = House::open().await;
    let id = house.job().await;
    assert_eq!(house.post(&format!("/v1/jobs/{id}/retry"), "").await.status, 409);
    house.post(&format!("/v1/jobs/{id}/cancel"), "").await;
    let again = house.post(&format!("/v1/jobs/{id}/retry"), r#"{"force":true}"#).await;
    assert_eq!((again.status, again.json()["retry_of"].clone()), (201, json!(id)));
    let doubt = house.in_doubt().await;
    let refused = house.post(&format!("/v1/jobs/{doubt}/retry"), "").await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("resolve"), "{}", refused.text);
    assert_eq!(house.post("/v1/jobs/77/retry", "").await.status, 404);
    assert_eq!(house.post(&format!("/v1/jobs/{id}/retry"), r#"{"force":1}"#).await.status, 422);
}

#[tokio::test]
async fn a_job_in_doubt_is_settled_by_one_of_three_words() {
    let house = House::open().await;
    for (body, state) in [
        (r#"{"action":"adopt","remote_id":"T-1"}"#, "waiting"),
        (r#"{"action":"adopt","remote_id":4711}"#, "waiting"),
        (r#"{"action":"resubmit"}"#, "queued"),
        (r#"{"action":"fail","remote_id":null}"#, "failed"),
    ] {
        let id = house.in_doubt().await;
        let answer = house.post(&format!("/v1/jobs/{id}/resolve"), body).await;
        assert_eq!((answer.status, answer.json()["state"].clone()), (200, json!(state)), "{}", answer.text);
        assert_eq!(house.post(&format!("/v1/jobs/{id}/resolve"), body).await.status, 409);
    }
    let id = house.in_doubt().await;
    for (body, pointer) in [
        ("", "/action"),
        ("{}", "/action"),
        (r#"{"action":"pay"}"#, "/action"),
        (r#"{"action":"adopt"}"#, "/remote_id"),
        (r#"{"action":"adopt","remote_id":" "}"#, "/remote_id"),
        (r#"{"action":"adopt","remote_id":[]}"#, "/remote_id"),
        (r#"{"action":"fail","remote_id":"x"}"#, "/remote_id"),
        (r#"{"action":7}"#, ""),
    ] {
        let answer = house.post(&format!("/v1/jobs/{id}/resolve"), body).await;
        assert_eq!((answer.status, answer.json()["pointer"].clone()), (422, json!(pointer)), "{body}: {}", answer.text);
    }
    assert_eq!(house.post("/v1/jobs/77/resolve", r#"{"action":"fail"}"#).await.status, 404);
}

#[tokio::test]
async fn the_timeline_tells_what_happened_in_order() {
    let house = House::open().await;
    let id = house.in_doubt().await;
    house.post(&format!("/v1/jobs/{id}/resolve"), r#"{"action":"fail"}"#).await;
    let timeline = house.get(&format!("/v1/jobs/{id}/timeline")).await.json();
    let entries = timeline["timeline"].as_array().unwrap();
    let types: Vec<&Value> = entries.iter().filter(|e| e["what"] == "event").map(|e| &e["type"]).collect();
    assert_eq!(types, ["job.in_doubt", "job.failed"]);
    assert!(entries.iter().all(|entry| entry["at"].is_string()));
    let fresh = house.job().await;
    assert_eq!(house.get(&format!("/v1/jobs/{fresh}/timeline")).await.text, r#"{"timeline":[]}"#);
}

#[tokio::test]
async fn an_account_is_paused_and_resumed_and_health_says_so() {
    let house = House::open().await;
    house.job().await;
    let accounts = house.get("/v1/accounts").await.json();
    let account = &accounts["accounts"][0];
    assert_eq!(account["name"], "tronk");
    assert_eq!(account["vendor"], "tronk");
    assert_eq!(account["paused"], Value::Null);
    assert_eq!(account["limits"], json!({"max_in_flight": 4, "min_interval_ms": 250}));
    assert_eq!(account["breaker"], json!({"open": false, "failures": 0, "probe_at": null, "open_since": null}));
    assert_eq!((&account["queued"], &account["waiting"], &account["in_doubt"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(account["next_call_at"], "2027-01-15T08:00:00.000Z");

    let paused = house.post("/v1/accounts/tronk/pause", r#"{"reason":"the key is being changed"}"#).await;
    assert_eq!(paused.status, 200);
    assert_eq!(paused.json()["paused"]["by"], "operator");
    assert_eq!(paused.json()["paused"]["message"], "the key is being changed");
    assert_eq!(paused.json()["next_call_at"], Value::Null);
    let health = house.get("/v1/health").await;
    assert_eq!((health.status, health.json()["status"].clone()), (200, json!("degraded")));
    assert!(health.json()["causes"][0]["what"].as_str().unwrap().contains("the key is being changed"));
    assert_eq!(health.json()["causes"][0]["since"], "2027-01-15T08:00:00.000Z");

    let resumed = house.post("/v1/accounts/tronk/resume", "").await;
    assert_eq!((resumed.status, resumed.json()["paused"].clone()), (200, Value::Null));
    assert_eq!(house.get("/v1/health").await.text, r#"{"status":"ready","causes":[]}"#);
    for path in ["/v1/accounts/trank/pause", "/v1/accounts/trank/resume", "/v1/accounts/%00/pause"] {
        assert_eq!(house.post(path, "").await.status, 404, "{path}");
    }
    assert_eq!(house.post("/v1/accounts/tronk/pause", r#"{"reson":"x"}"#).await.status, 422);
    let long = json!({"reason": "x".repeat(501)}).to_string();
    assert_eq!(house.post("/v1/accounts/tronk/pause", long).await.json()["pointer"], "/reason");
}

#[tokio::test]
async fn health_shows_what_was_posted_and_503_when_nothing_can_be_committed() {
    let house = House::open().await;
    let since = Timestamp::from_millis(1_799_999_999_000);
    house.board.post("mailbox_locked", Severity::Degraded, "the mailbox is locked by another program", since);
    let health = house.get("/v1/health").await;
    let cause = json!({"what": "the mailbox is locked by another program", "since": "2027-01-15T07:59:59.000Z", "code": "mailbox_locked"});
    assert_eq!((health.status, health.json()), (200, json!({"status": "degraded", "causes": [cause]})));
    house.in_doubt().await;
    let causes = house.get("/v1/health").await.json();
    assert_eq!(causes["causes"][1]["code"], "jobs_in_doubt");
    assert_eq!(causes["causes"][1]["since"], "2027-01-15T08:00:00.000Z");
    house.failstop.raise("the disk does not work");
    let health = house.get("/v1/health").await;
    assert_eq!((health.status, health.json()["status"].clone()), (503, json!("blocked")));
    assert_eq!(health.json()["causes"][0]["what"], "the disk does not work");
}

#[tokio::test]
async fn a_store_that_cannot_commit_is_a_503_that_says_so() {
    let house = House::open().await;
    house.store.close().await;
    let answer = house.post("/v1/jobs", super::house::PLAIN).await;
    assert_eq!((answer.status, answer.kind.as_str()), (503, "application/problem+json"), "{}", answer.text);
    let bulk = house.ndjson(format!("{}\n7\n", super::house::PLAIN)).await;
    assert_eq!(bulk.lines().iter().map(|line| line["status"].clone()).collect::<Vec<_>>(), [503, 422]);
}

#[tokio::test]
async fn the_contract_lists_every_path_and_metrics_are_text() {
    let house = House::open().await;
    house.job().await;
    let contract = house.get("/openapi.json").await.json();
    assert!(contract["openapi"].as_str().unwrap().starts_with("3.1"), "{}", contract["openapi"]);
    let paths: Vec<&String> = contract["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/timeline",
        "/v1/jobs/{id}/cancel",
        "/v1/jobs/{id}/retry",
        "/v1/jobs/{id}/resolve",
        "/v1/events",
        "/v1/accounts",
        "/v1/accounts/{name}/pause",
        "/v1/accounts/{name}/resume",
        "/v1/health",
        "/metrics",
    ] {
        assert!(paths.iter().any(|known| *known == path), "{path} is missing in {paths:?}");
    }
    assert_eq!(house.get("/v1/openapi.json").await.json(), contract);
    for path in ["/metrics", "/v1/metrics"] {
        let metrics = house.get(path).await;
        assert_eq!((metrics.status, metrics.kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        let line = r#"opros_jobs{account="tronk",kind="tronk.report",state="queued"} 1"#;
        assert!(metrics.text.contains(line), "{}", metrics.text);
        assert!(metrics.text.contains("opros_build_info{version=") && !metrics.text.contains("# EOF"));
        assert!(metrics.text.contains(r#"opros_account_paused{account="tronk",vendor="tronk"} 0"#));
        let open =
            house.request("GET", path).header("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        let open = house.send(open).await;
        assert!(open.kind.starts_with("application/openmetrics-text; version=1.0.0") && open.text.ends_with("# EOF\n"));
    }
}

#[tokio::test]
async fn costs_are_summed_up_by_what_is_asked_and_misspelt_questions_are_told() {
    let house = House::open().await;
    house.in_doubt().await;
    house.in_doubt().await;
    let costs = house.get("/v1/costs?by=account,kind,day").await;
    assert_eq!(costs.status, 200, "{}", costs.text);
    let line = &costs.json()["costs"][0];
    assert_eq!((line["account"].clone(), line["kind"].clone()), (json!("tronk"), json!("tronk.report")));
    assert_eq!(
        (line["orders"].clone(), line["unsure"].clone(), line["unpriced"].clone()),
        (json!(2), json!(2), json!(2))
    );
    assert_eq!(line["day"], "2027-01-15");
    assert_eq!(house.get("/v1/costs?by=job").await.json()["costs"].as_array().unwrap().len(), 2);
    assert_eq!(house.get("/v1/costs?from=2027-01-16").await.json()["costs"], json!([]));
    for query in ["by=week", "from=tomorrow", "to=1", "utc_offset=99", "x=1"] {
        assert_eq!(house.get(&format!("/v1/costs?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn only_a_queued_job_can_be_released() {
    let house = House::open().await;
    let id = house.job().await;
    assert_eq!(house.post(&format!("/v1/jobs/{id}/release"), "").await.status, 200);
    let doubt = house.in_doubt().await;
    let refused = house.post(&format!("/v1/jobs/{doubt}/release"), "").await;
    assert!(refused.status == 409 && refused.text.contains("only a job that is queued"), "{}", refused.text);
    assert_eq!(house.post("/v1/jobs/77/release", "").await.status, 404);
}
