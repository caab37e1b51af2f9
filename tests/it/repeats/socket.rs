//! At the socket: `uid`, `Idempotency-Key`, bulks, and what is remembered for how long.

use std::time::Duration;

use opros::domain::JobId;
use opros::domain::state::{End, Input, Outcome};
use opros::domain::{Call, state::Begin};
use opros::store::Retention;
use serde_json::{Value, json};

use crate::admin::house::{Answer, House};

const DAY: Duration = Duration::from_secs(86_400);

pub fn order(uid: &str, phone: &str) -> String {
    json!({ "uid": uid, "kind": "tronk.report", "params": { "phone": phone } }).to_string()
}

pub fn number(answer: &Answer) -> i64 {
    answer.json()["id"].as_i64().unwrap_or_else(|| panic!("{}", answer.text))
}

async fn succeed(house: &House, id: i64) {
    let begun = Begin::Submit { token: format!("token-{id}"), request_hash: "h".to_owned() };
    let job = house.apply(id, Input::Begin(begun)).await;
    let outcome = Outcome::Ended(End::Success { result: r#"{"found":1}"#.to_owned() });
    house.apply(id, Input::End { turn: job.turn, call: Call::Submit, outcome }).await;
}

async fn retain(house: &House, retention: Retention) {
    while house.store.retain(retention, house.store_time()).await.unwrap().more {}
}

trait Time {
    fn store_time(&self) -> opros::domain::Timestamp;
}

impl Time for House {
    fn store_time(&self) -> opros::domain::Timestamp {
        opros::clock::Clock::now(&self.clock)
    }
}

#[tokio::test]
async fn an_order_with_a_uid_is_made_once_and_answered_with_its_job_whatever_that_has_come_to() {
    let house = House::open().await;
    let body = order("lead-17", "79990000111");
    let first = house.post("/v1/jobs", body.clone()).await;
    assert_eq!((first.status, first.json()["uid"].clone()), (201, json!("lead-17")), "{}", first.text);
    let id = number(&first);
    let again = async |state: &str| {
        let again = house.post("/v1/jobs", body.clone()).await;
        assert_eq!((again.status, number(&again)), (200, id), "{}", again.text);
        assert_eq!(again.json()["state"], state);
        assert_eq!(again.headers["location"], format!("/v1/jobs/{id}").as_str());
    };
    again("queued").await;
    succeed(&house, id).await;
    again("succeeded").await;
    house.clock.advance(89 * DAY);
    again("succeeded").await;
    let all = house.get("/v1/jobs").await.json();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn another_order_with_the_same_uid_is_refused_and_names_the_first_job() {
    let house = House::open().await;
    let id = number(&house.post("/v1/jobs", order("u", "79990000111")).await);
    let others = [
        order("u", "79990000112"),
        json!({ "uid": "u", "kind": "tronk.report", "params": { "vin": "XTA210990Y2765432" } }).to_string(),
        json!({ "uid": "u", "kind": "tronk.report_json", "params": { "vin": "XTA210990Y2765432" } }).to_string(),
    ];
    for other in others {
        let refused = house.post("/v1/jobs", other.clone()).await;
        assert_eq!((refused.status, refused.kind.as_str()), (409, "application/problem+json"), "{other}");
        let problem = refused.json();
        assert_eq!(problem["type"], "urn:opros:problem:uid_reused");
        assert_eq!((&problem["job"], &problem["pointer"]), (&json!(id), &json!("/uid")));
        assert_eq!(problem["errors"][0]["code"], "uid_reused");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("job {id}")), "{problem}");
    }
    // Whoever has both wrong is told of the order first: nothing is known of the uid then.
    let wrong = house.post("/v1/jobs", r#"{"uid":"u","kind":"tronk.report","params":{"phone":"1"}}"#).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    assert_eq!(house.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn spellings_that_mean_the_same_and_force_are_the_same_order() {
    let house = House::open().await;
    let first = json!({ "uid": "u", "kind": "tronk.report", "params": { "phone": "79990000111" } });
    let id = number(&house.post("/v1/jobs", first.to_string()).await);
    let same = [
        json!({ "uid": "u", "kind": "tronk.report", "params": { "phone": "+7 (999) 000-01-11" } }),
        json!({ "uid": "u", "kind": "tronk.report", "params": { "phone": "89990000111" } }),
        json!({ "uid": "u", "kind": "tronk.report", "params": { "phone": "79990000111", "force": true } }),
        json!({ "uid": "u", "kind": "tronk.report", "params": { "phone": "79990000111" }, "account": "tronk",
            "priority": 1, "tag": "again", "deadline": "2001-01-01T00:00:00Z", "dedupe_key": "other" }),
    ];
    for body in same {
        let again = house.post("/v1/jobs", body.to_string()).await;
        assert_eq!((again.status, number(&again)), (200, id), "{body}: {}", again.text);
    }
}

#[tokio::test]
async fn the_header_is_another_spelling_for_one_job() {
    let house = House::open().await;
    let plain = crate::admin::house::PLAIN;
    let with = |key: &str, body: &str| {
        let request = house.request("POST", "/v1/jobs").header("content-type", "application/json");
        house.send(request.header("Idempotency-Key", key).body(body.to_owned()))
    };
    let first = with("k-1", plain).await;
    assert_eq!((first.status, first.json()["uid"].clone()), (201, json!("k-1")), "{}", first.text);
    for (key, body) in [("k-1", plain.to_owned()), ("\"k-1\"", plain.to_owned()), ("k-1", order("k-1", "79990000111"))]
    {
        let again = with(key, &body).await;
        assert_eq!((again.status, number(&again)), (200, number(&first)), "{key}: {}", again.text);
    }
    assert_eq!(house.post("/v1/jobs", order("k-1", "79990000111")).await.status, 200, "they are one name space");
    let both = with("k-1", &order("k-2", "79990000111")).await;
    assert_eq!(both.status, 422);
    assert!(both.text.contains("k-1") && both.text.contains("k-2"), "{}", both.text);
    let array = with("k-3", &format!("[{plain}]")).await;
    assert_eq!(array.status, 422);
    assert!(array.text.contains("its own"), "{}", array.text);
    let lines = house.request("POST", "/v1/jobs").header("content-type", "application/x-ndjson");
    let lines = house.send(lines.header("Idempotency-Key", "k-3").body(plain)).await;
    assert_eq!(lines.status, 422, "{}", lines.text);
    for key in ["", "\"\"", &"x".repeat(201), "\u{1}"] {
        let request = house.request("POST", "/v1/jobs").header("content-type", "application/json");
        let Ok(value) = reqwest::header::HeaderValue::from_str(key) else { continue };
        let wrong = house.send(request.header("Idempotency-Key", value).body(plain)).await;
        assert_eq!(wrong.status, 422, "{key:?}: {}", wrong.text);
    }
    assert_eq!(house.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_uid_has_one_to_two_hundred_characters_and_no_control_characters() {
    let house = House::open().await;
    for good in ["a", "заказ № 7", &"ы".repeat(200), "a/b?c#d\"e"] {
        let first = house.post("/v1/jobs", order(good, "79990000111")).await;
        assert_eq!((first.status, first.json()["uid"].clone()), (201, json!(good)), "{}", first.text);
    }
    for bad in
        [json!(""), json!("x".repeat(201)), json!("a\nb"), json!("\u{0}"), json!("\u{7f}"), json!(7), json!(["u"])]
    {
        let body = json!({ "uid": bad, "kind": "tronk.report", "params": { "phone": "79990000111" } });
        let answer = house.post("/v1/jobs", body.to_string()).await;
        assert_eq!((answer.status, answer.json()["pointer"].clone()), (422, json!("/uid")), "{bad}: {}", answer.text);
    }
    let none = json!({ "uid": null, "kind": "tronk.report", "params": { "phone": "79990000111" } }).to_string();
    assert_eq!(house.post("/v1/jobs", none.clone()).await.status, 201);
    assert_eq!(house.post("/v1/jobs", none).await.status, 201, "null is none");
}

#[tokio::test]
async fn twelve_at_once_make_one_job() {
    let house = House::open().await;
    let body = order("one", "79990000111");
    let answers = futures_util::future::join_all((0..12).map(|_| house.post("/v1/jobs", body.clone()))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 11].as_slice(), &[201]].concat());
    let ids: std::collections::BTreeSet<i64> = answers.iter().map(number).collect();
    assert_eq!(ids.len(), 1);
    let mixed = (0..12).map(|n| house.post("/v1/jobs", order("two", &format!("7999000011{}", n % 2))));
    let statuses: Vec<u16> = futures_util::future::join_all(mixed).await.iter().map(|answer| answer.status).collect();
    let count = |status| statuses.iter().filter(|known| **known == status).count();
    assert_eq!((count(201), count(200), count(409)), (1, 5, 6), "{statuses:?}");
}

#[tokio::test]
async fn every_line_of_a_bulk_may_carry_its_own_uid() {
    let house = House::open().await;
    let lines = [
        order("a", "79990000111"),
        order("b", "79990000112"),
        order("a", "79990000111"),
        order("a", "79990000113"),
        crate::admin::house::PLAIN.to_owned(),
    ];
    let told = |lines: Vec<Value>| -> Vec<(u64, Option<i64>)> {
        lines.iter().map(|line| (line["status"].as_u64().unwrap(), line["id"].as_i64())).collect()
    };
    let first = told(house.ndjson(lines.join("\n")).await.lines());
    assert_eq!(first, [(201, Some(1)), (201, Some(2)), (200, Some(1)), (409, None), (201, Some(3))]);
    let array = house.post("/v1/jobs", format!("[{}]", lines[..4].join(","))).await;
    let again = told(array.json().as_array().unwrap().clone());
    assert_eq!(again, [(200, Some(1)), (200, Some(2)), (200, Some(1)), (409, None)]);
    let refused = &array.json()[3]["problem"];
    assert_eq!((&refused["type"], &refused["job"]), (&json!("urn:opros:problem:uid_reused"), &json!(1)));
}

#[tokio::test]
async fn a_dedupe_hit_is_remembered_under_the_uid_that_it_answered() {
    let house = House::open().await;
    let keyed = |uid: &str, phone: &str| {
        let params = json!({ "phone": phone });
        json!({ "uid": uid, "kind": "tronk.report", "params": params, "dedupe_key": "lead-17" }).to_string()
    };
    let id = number(&house.post("/v1/jobs", keyed("u1", "79990000111")).await);
    let hit = house.post("/v1/jobs", keyed("u2", "79990000112")).await;
    assert_eq!((hit.status, number(&hit)), (200, id));
    succeed(&house, id).await;
    // The answer to u2 was lost, and the job has ended since: whoever asks again orders nothing.
    for phone in ["79990000112", "+7 999 000-01-12"] {
        let again = house.post("/v1/jobs", keyed("u2", phone)).await;
        assert_eq!((again.status, number(&again)), (200, id), "{}", again.text);
    }
    let other = house.post("/v1/jobs", keyed("u2", "79990000111")).await;
    assert_eq!(other.status, 409, "u2 asked for another phone: {}", other.text);
    let fresh = house.post("/v1/jobs", keyed("u3", "79990000112")).await;
    assert_eq!(fresh.status, 201, "a dedupe_key alone is no memory of what has ended");
}

#[tokio::test]
async fn the_memory_of_a_uid_outlives_the_data_of_its_job() {
    let house = House::open().await;
    let (purged, gone) = (order("purged", "79990000111"), order("gone", "79990000112"));
    let first = number(&house.post("/v1/jobs", purged.clone()).await);
    succeed(&house, first).await;
    assert_eq!(house.post(&format!("/v1/jobs/{first}/purge"), "").await.status, 200);
    let again = house.post("/v1/jobs", purged.clone()).await;
    assert_eq!(
        (again.status, number(&again), again.json()["params"].clone()),
        (200, first, json!({})),
        "{}",
        again.text
    );
    let other = json!({ "uid": "purged", "kind": "tronk.report_json", "params": { "vin": "XTA210990Y2765432" } });
    assert_eq!(house.post("/v1/jobs", other.to_string()).await.status, 409);

    let second = number(&house.post("/v1/jobs", gone.clone()).await);
    succeed(&house, second).await;
    let kept = Retention { uids: 400 * DAY, ..Retention::by_age(DAY, 999 * DAY, DAY) };
    house.clock.advance(2 * DAY);
    retain(&house, kept).await;
    assert_eq!(house.get(&format!("/v1/jobs/{second}")).await.status, 404);
    for (body, job) in [(&purged, first), (&gone, second), (&order("gone", "79990000119"), second)] {
        let again = house.post("/v1/jobs", body.clone()).await;
        assert_eq!((again.status, again.json()["job"].clone()), (410, json!(job)), "{}", again.text);
        assert_eq!(again.json()["type"], "urn:opros:problem:uid_gone");
    }
    let bulk = house.ndjson(gone.clone()).await.lines();
    assert_eq!(bulk[0]["status"], 410, "{bulk:?}");
    assert_eq!(house.get("/v1/jobs?uid=gone").await.status, 410, "an empty list would say that it was never ordered");
    house.clock.advance(399 * DAY);
    retain(&house, kept).await;
    assert_eq!(house.post("/v1/jobs", gone.clone()).await.status, 410);
    house.clock.advance(2 * DAY);
    retain(&house, kept).await;
    assert_eq!(house.post("/v1/jobs", gone).await.status, 201, "after retention.uids it is a token like any other");
}

#[tokio::test]
async fn the_hash_of_what_was_ordered_goes_with_the_data_of_the_job() {
    let house = House::open().await;
    let id = number(&house.post("/v1/jobs", order("u", "79990000111")).await);
    let fingerprints = async || -> Vec<(Option<String>, Option<String>)> {
        use sqlx::{ConnectOptions, Connection};
        let file = house.dir.path().join("opros.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).read_only(true);
        let mut conn = options.connect().await.unwrap();
        let found = sqlx::query_as("SELECT written, means FROM uids").fetch_all(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        found
    };
    assert!(fingerprints().await.iter().all(|(written, _)| written.is_some()));
    succeed(&house, id).await;
    house.post(&format!("/v1/jobs/{id}/purge"), "").await;
    assert_eq!(fingerprints().await, [(None, None)]);
}

#[tokio::test]
async fn jobs_are_found_by_their_uid() {
    let house = House::open().await;
    let id = number(&house.post("/v1/jobs", order("lead/17 ы", "79990000111")).await);
    house.job().await;
    let found = house.send(house.request("GET", "/v1/jobs").query(&[("uid", "lead/17 ы")])).await.json();
    assert_eq!((found["jobs"].as_array().unwrap().len(), &found["jobs"][0]["id"]), (1, &json!(id)));
    assert_eq!(found["next"], Value::Null);
    for query in ["uid=nobody", "uid=lead%2F17%20%D1%8B&state=failed"] {
        assert_eq!(house.get(&format!("/v1/jobs?{query}")).await.text, r#"{"jobs":[],"next":null}"#, "{query}");
    }
}

#[tokio::test]
async fn events_and_the_store_know_the_uid_of_a_job_of_the_socket() {
    let house = House::open().await;
    let id = number(&house.post("/v1/jobs", order("lead-17", "79990000111")).await);
    succeed(&house, id).await;
    let events = house.get("/v1/events").await.json();
    assert_eq!(events["events"][0]["data"]["uid"], "lead-17", "{events}");
    let job = house.store.job(JobId(id)).await.unwrap().unwrap().job;
    assert_eq!((job.uid.as_deref(), job.mailbox_uid), (Some("lead-17"), None));
}
