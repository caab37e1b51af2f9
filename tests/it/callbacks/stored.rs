//! What was stored is delivered after whatever happened in between, and the store's own promises about it.

use std::time::Duration;

use opros::clock::SystemClock;
use opros::domain::exchange::sha256_hex;
use opros::domain::state::{End, Input};
use opros::domain::{JobId, State, Timestamp};
use opros::simulator::{CallbackStyle, CallbackWhen};
use opros::store::Store;
use opros::store::callbacks::{
    CallbackFilter, Delivered, Delivery, Facts, How, JobFile, Kept, NewCallback, RawBody, Unmatched,
};
use opros::store::sqlite::SqliteStore;
use serde_json::json;

use super::house::{House, SECRET, multipart, until, vin};

fn silent() -> CallbackStyle {
    CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }
}

fn raw(at: Timestamp, body: &str) -> NewCallback {
    NewCallback {
        account: "vagvin".to_owned(),
        at,
        peer: "203.0.113.9".to_owned(),
        content_type: Some("application/json".to_owned()),
        size: body.len() as u64,
        fingerprint: sha256_hex(body.as_bytes()),
        facts: Facts { vin: Some(vin(1)), ..Facts::default() },
        body: RawBody::Inline(body.to_owned().into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_died_between_the_arrival_and_the_match_delivers_at_its_next_start() {
    let mut house = House::new(silent()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    house.stop().await;
    // As the dead daemon left it: stored, answered 200, and nobody's yet.
    let store = SqliteStore::open(&house.store_path(), true, SystemClock::shared()).await.unwrap();
    let body = json!({ "vin": vin(1), "status": "done", "url": "https://example.org/r.pdf" }).to_string();
    use opros::clock::Clock;
    store.keep_callback(raw(SystemClock.now(), &body)).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().unwrap().job.state, State::Waiting);
    store.close().await;
    house.start().await;
    house.until_state(job, "succeeded").await;
    assert_eq!(house.result(job).await["url"], "https://example.org/r.pdf");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_is_on_the_disk_even_if_nothing_else_ever_happened() {
    let mut house = House::new(silent()).await;
    let body = multipart("b", &[("vin", &vin(3))], &[("a.pdf", &vec![7; 300_000])]);
    assert_eq!(house.post(&house.url(SECRET), "multipart/form-data; boundary=b", body.clone()).await, 200);
    house.stop().await;
    let store = SqliteStore::open(&house.store_path(), true, SystemClock::shared()).await.unwrap();
    let stored = store.callbacks(CallbackFilter { limit: 10, ..CallbackFilter::default() }).await.unwrap();
    assert_eq!((stored.len(), stored[0].size), (1, body.len() as u64));
    let Some(RawBody::File(sha256)) = store.callback_body(stored[0].id).await.unwrap() else { panic!("a large body") };
    assert_eq!(sha256, sha256_hex(&body));
    let path = house.dir.path().join("store/files").join(&sha256[..2]).join(&sha256);
    assert_eq!(std::fs::read(path).unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_former_times_is_not_given_to_a_new_order_of_the_car() {
    let mut house = House::new(silent()).await;
    house.stop().await;
    let store = SqliteStore::open(&house.store_path(), true, SystemClock::shared()).await.unwrap();
    use opros::clock::Clock;
    let weeks_ago = SystemClock.now() - Duration::from_secs(21 * 86_400);
    store.keep_callback(raw(weeks_ago, &json!({ "vin": vin(1) }).to_string())).await.unwrap();
    store.close().await;
    house.start().await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    house.post_json(&json!({ "vin": vin(1), "status": "new" })).await;
    house.until_state(job, "succeeded").await;
    assert_eq!(house.result(job).await["status"], "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_given_to_its_order_though_the_clock_was_set_back_between_them() {
    let mut house = House::new(silent()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    house.stop().await;
    let store = SqliteStore::open(&house.store_path(), true, SystemClock::shared()).await.unwrap();
    use opros::clock::Clock;
    let weeks_ago = SystemClock.now() - Duration::from_secs(21 * 86_400);
    store.keep_callback(raw(weeks_ago, &json!({ "vin": vin(1), "status": "done" }).to_string())).await.unwrap();
    store.close().await;
    house.start().await;
    house.until_state(job, "succeeded").await;
    assert_eq!(house.result(job).await["status"], "done");
}

#[tokio::test]
async fn match_step_and_files_are_one_transaction_or_nothing() {
    let house = House::new(silent()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    let store = house.store();
    use opros::clock::Clock;
    let at = SystemClock.now();
    // Of another account: the daemon's own matcher leaves it alone.
    let strange = NewCallback { account: "other".to_owned(), ..raw(at, "{}") };
    let Kept::New(callback) = store.keep_callback(strange.clone()).await.unwrap() else { panic!("new") };
    assert_eq!(store.keep_callback(strange).await.unwrap(), Kept::Repeated(callback));
    let file = JobFile { name: "a.pdf".to_owned(), sha256: "00".repeat(32), content_type: None, size: 1 };
    let input = Input::Delivered { remote_id: None, end: End::Success { result: "{}".to_owned() } };
    let delivery = |expected, files| Delivery {
        callback,
        job,
        how: How::Matched,
        at,
        expected,
        input: Some(input.clone()),
        files,
        even_matched: false,
    };
    let moved = store.deliver(delivery(State::InDoubt, vec![file.clone()])).await.unwrap();
    assert_eq!(moved, Delivered::Moved(State::Waiting));
    // Two files of one name cannot be: all of it fails.
    store.deliver(delivery(State::Waiting, vec![file.clone(), file.clone()])).await.expect_err("refused");
    assert_eq!(store.job(job).await.unwrap().unwrap().job.state, State::Waiting);
    assert!(store.job_files(job).await.unwrap().is_empty());
    assert_eq!(store.unmatched_callbacks(Unmatched::After(0), 10).await.unwrap().len(), 1);

    let done = store.deliver(delivery(State::Waiting, vec![file.clone()])).await.unwrap();
    assert!(matches!(done, Delivered::Done(Some(job)) if job.state == State::Succeeded));
    assert_eq!(store.job_files(job).await.unwrap(), std::slice::from_ref(&file));
    let again = store.deliver(delivery(State::Succeeded, Vec::new())).await.unwrap();
    assert_eq!(again, Delivered::Taken(job));
    let known = store.known_files(&[file.sha256.clone(), "11".repeat(32)]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [file.sha256]);
    let missing = Delivery { callback: 999, ..delivery(State::Succeeded, Vec::new()) };
    assert_eq!(store.deliver(missing).await.unwrap(), Delivered::NoCallback);
    let nobody = Delivery { job: JobId(999), even_matched: true, ..delivery(State::Succeeded, Vec::new()) };
    assert_eq!(store.deliver(nobody).await.unwrap(), Delivered::NoJob);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_the_vendor_echoes_are_not_stored() {
    let house = House::new(silent()).await;
    let body = json!({ "vin": vin(1), "adress_post": house.url(SECRET), "token": "vagvin-test-token" });
    assert_eq!(house.post_json(&body).await, 200);
    let id = house.until_callbacks(1).await[0].id;
    let Some(RawBody::Inline(stored)) = house.store().callback_body(id).await.unwrap() else { panic!("a small body") };
    let stored = String::from_utf8(stored.to_vec()).unwrap();
    assert!(!stored.contains(SECRET) && !stored.contains("vagvin-test-token") && stored.contains("***"), "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_backs_past_retention_go_and_so_do_files_that_nobody_names() {
    let house = House::new(silent()).await;
    assert_eq!(house.post_json(&json!({ "vin": vin(9) })).await, 200);
    house.until_callbacks(1).await;
    let store = house.store();
    use opros::clock::Clock;
    let removed = store.forget_callbacks(SystemClock.now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(removed, 1);
    until("nothing is left", async || house.callbacks().await.is_empty()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    house.post_json(&json!({ "vin": vin(1) })).await;
    house.until_state(job, "succeeded").await;
    let kept = store.forget_callbacks(SystemClock.now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(kept, 0, "its job is there");
}
