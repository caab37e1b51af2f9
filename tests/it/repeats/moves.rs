//! Operators' moves that cost money: a double click, a lost answer and a script that loops make one order.

use std::time::Duration;

use opros::domain::state::{Begin, Input, Outcome};
use opros::domain::{Call, Reason};
use opros::telemetry::Out;
use serde_json::json;

use super::socket::number;
use crate::admin::house::{Answer, House};
use crate::observe::house::{Page, listen};

async fn failed(house: &House) -> i64 {
    let id = house.job().await;
    house.post(&format!("/v1/jobs/{id}/cancel"), "").await;
    id
}

async fn with_key(house: &House, path: &str, key: &str, body: &'static str) -> Answer {
    let request = house.request("POST", path).header("content-type", "application/json");
    house.send(request.header("Idempotency-Key", key).body(body)).await
}

#[tokio::test]
async fn a_retry_that_is_repeated_while_it_is_unfinished_is_one_order() {
    let house = House::open().await;
    let id = failed(&house).await;
    let path = format!("/v1/jobs/{id}/retry");
    let all = futures_util::future::join_all((0..12).map(|_| house.post(&path, ""))).await;
    let mut statuses: Vec<u16> = all.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 11].as_slice(), &[201]].concat());
    let again = number(&all[0]);
    for _ in 0..4 {
        let answer = house.post(&path, "").await;
        assert_eq!((answer.status, number(&answer)), (200, again));
    }
    let meant = house.post(&path, r#"{"again":true}"#).await;
    assert_eq!((meant.status, meant.json()["retry_of"].clone()), (201, json!(id)), "{}", meant.text);
    assert_eq!(number(&house.post(&path, "").await), number(&meant), "the newest counts");
    house.post(&format!("/v1/jobs/{}/cancel", number(&meant)), "").await;
    let next = house.post(&path, "").await;
    assert_eq!(next.status, 201, "once the newest has ended it is ordered again");
}

#[tokio::test]
async fn a_retry_with_a_token_is_made_once_for_ever() {
    let house = House::open().await;
    let id = failed(&house).await;
    let path = format!("/v1/jobs/{id}/retry");
    let first = with_key(&house, &path, "r-1", "").await;
    assert_eq!((first.status, first.json()["uid"].clone()), (201, json!("r-1")), "{}", first.text);
    house.post(&format!("/v1/jobs/{}/cancel", number(&first)), "").await;
    for body in ["", r#"{"uid":"r-1"}"#, r#"{"again":true}"#, r#"{"force":true}"#] {
        let again = with_key(&house, &path, "r-1", body).await;
        assert_eq!((again.status, number(&again)), (200, number(&first)), "{body}: {}", again.text);
        assert_eq!(again.json()["state"], "cancelled");
    }
    let found = house.get("/v1/jobs?uid=r-1").await.json();
    assert_eq!(found["jobs"][0]["id"], first.json()["id"]);

    // The same token for something else.
    let other = failed(&house).await;
    let elsewhere = with_key(&house, &format!("/v1/jobs/{other}/retry"), "r-1", "").await;
    assert_eq!((elsewhere.status, elsewhere.json()["job"].clone()), (409, first.json()["id"].clone()));
    let order = with_key(&house, "/v1/jobs", "r-1", crate::admin::house::PLAIN).await;
    assert_eq!(order.status, 409, "{}", order.text);
    let both = with_key(&house, &path, "r-1", r#"{"uid":"r-2"}"#).await;
    assert!(both.status == 422 && both.text.contains("r-1") && both.text.contains("r-2"), "{}", both.text);
}

/// What two clicks a moment apart do where the vendor answers with an error at once.
async fn in_doubt_again(house: &House, id: i64, token: &str) {
    let begun = Begin::Submit { token: token.to_owned(), request_hash: "h".to_owned() };
    let job = house.apply(id, Input::Begin(begun)).await;
    let outcome = Outcome::Unclear { reason: Reason::new("no_answer", "the connection was cut") };
    house.apply(id, Input::End { turn: job.turn, call: Call::Submit, outcome }).await;
}

#[tokio::test]
async fn a_double_clicked_resubmit_stays_one_though_the_job_is_in_doubt_again_between() {
    let house = House::open().await;
    let id = house.in_doubt().await;
    let path = format!("/v1/jobs/{id}/resolve");
    let resubmit = r#"{"action":"resubmit"}"#;
    assert_eq!(house.post(&path, resubmit).await.status, 200);
    in_doubt_again(&house, id, "second").await;
    let click = house.post(&path, resubmit).await;
    assert!(click.status == 409 && click.text.contains("again"), "{}", click.text);
    assert_eq!(house.get(&format!("/v1/jobs/{id}")).await.json()["state"], "in_doubt");
    assert_eq!(house.post(&path, r#"{"action":"resubmit","again":true}"#).await.status, 200, "it is meant");
    in_doubt_again(&house, id, "third").await;
    house.clock.advance(Duration::from_secs(61));
    assert_eq!(house.post(&path, resubmit).await.status, 200, "a minute later it is no double click");
}

#[tokio::test]
async fn a_decision_with_a_token_is_carried_out_once() {
    let house = House::open().await;
    let id = house.in_doubt().await;
    let path = format!("/v1/jobs/{id}/resolve");
    let resubmit = r#"{"action":"resubmit"}"#;
    let all = futures_util::future::join_all((0..8).map(|_| with_key(&house, &path, "d-1", resubmit))).await;
    assert!(all.iter().all(|answer| answer.status == 200 && number(answer) == id), "{all:?}");
    in_doubt_again(&house, id, "second").await;
    house.clock.advance(Duration::from_secs(3_600));
    let again = with_key(&house, &path, "d-1", resubmit).await;
    assert_eq!((again.status, again.json()["state"].clone()), (200, json!("in_doubt")), "the job as it stands");
    let other = with_key(&house, &path, "d-1", r#"{"action":"fail"}"#).await;
    assert_eq!((other.status, other.json()["type"].clone()), (409, json!("urn:opros:problem:uid_reused")));
    let ended = with_key(&house, &path, "d-2", r#"{"action":"fail"}"#).await;
    assert_eq!((ended.status, ended.json()["state"].clone()), (200, json!("failed")));
    assert_eq!(with_key(&house, &path, "d-2", r#"{"action":"fail"}"#).await.status, 200);
    assert_eq!(house.post(&path, r#"{"action":"fail"}"#).await.status, 409, "without a token it is a wrong state");
    assert_eq!(house.get("/v1/jobs?uid=d-2").await.json()["jobs"][0]["id"], json!(id));
}

#[tokio::test]
async fn a_decision_that_was_refused_leaves_its_token_free() {
    let house = House::open().await;
    let id = house.job().await;
    let path = format!("/v1/jobs/{id}/resolve");
    assert_eq!(with_key(&house, &path, "d", r#"{"action":"fail"}"#).await.status, 409);
    in_doubt_again(&house, id, "first").await;
    assert_eq!(with_key(&house, &path, "d", r#"{"action":"fail"}"#).await.status, 200);
}

#[tokio::test]
async fn releasing_twice_is_releasing_once() {
    let house = House::open().await;
    let id = house.job().await;
    let path = format!("/v1/jobs/{id}/release");
    assert_eq!(house.post(&path, "").await.status, 200);
    assert_eq!(house.post(&path, "").await.status, 200);
    in_doubt_again(&house, id, "first").await;
    let later = house.post(&path, "").await;
    assert_eq!((later.status, later.json()["state"].clone()), (200, json!("in_doubt")), "{}", later.text);
    let never = house.in_doubt().await;
    assert_eq!(house.post(&format!("/v1/jobs/{never}/release"), "").await.status, 409);
}

#[tokio::test]
async fn the_log_claims_no_order_that_was_not_made() {
    let page = Page::default();
    let _guard = listen("info", Out::text(Box::new(page.clone()), false));
    let house = House::open().await;
    let id = failed(&house).await;
    let (retry, doubt) = (format!("/v1/jobs/{id}/retry"), house.in_doubt().await);
    let (release, resolve) = (format!("/v1/jobs/{}/release", house.job().await), format!("/v1/jobs/{doubt}/resolve"));
    for _ in 0..3 {
        house.post(&retry, "").await;
        house.post(&release, "").await;
        with_key(&house, &resolve, "d", r#"{"action":"fail"}"#).await;
        with_key(&house, "/v1/jobs", "o", crate::admin::house::PLAIN).await;
    }
    let text = page.text();
    for words in ["ordered a job again", "released a job", "settled a job in doubt"] {
        assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
    }
    assert_eq!(text.matches("a job was handed in").count(), 4, "three plain ones, and one with a token: {text}");
}
