//! A clock that is set far forward makes everything old at once.

use std::sync::Arc;
use std::time::Duration;

use opros::clock::{Clock, ManualClock, SharedClock, SystemClock};
use opros::domain::Timestamp;
use opros::engine::schedule;
use opros::store::callbacks::{CallbackFilter, Facts, NewCallback, RawBody};
use opros::store::sqlite::SqliteStore;
use opros::store::{Retention, Store};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use super::house::{House, until};

const DAY: Duration = Duration::from_secs(86_400);

fn start() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

async fn open(dir: &tempfile::TempDir, at: Timestamp) -> SqliteStore {
    let clock: SharedClock = Arc::new(ManualClock::new(at));
    SqliteStore::open(&dir.path().join("opros.db"), true, clock).await.unwrap()
}

#[tokio::test]
async fn what_is_remembered_of_a_leap_outlives_a_restart_and_a_clock_that_is_put_right_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, start()).await;
    assert!(store.may_remove(start()).await.unwrap());
    store.close().await;
    let leapt = start() + DAY * 1_000;
    let store = open(&dir, leapt).await;
    assert!(!store.may_remove(leapt).await.unwrap());
    let held = store.removal_held().unwrap();
    assert_eq!((held.from, held.since, held.until), (start(), leapt, leapt + DAY));
    store.close().await;
    let hour = Duration::from_secs(3_600);
    let store = open(&dir, leapt + hour).await;
    assert!(!store.may_remove(leapt + hour).await.unwrap(), "a restart is no way around the day");
    store.close().await;
    let store = open(&dir, start() + hour * 2).await;
    assert!(store.may_remove(start() + hour * 2).await.unwrap());
    assert_eq!(store.removal_held(), None);
}

fn call_back(at: Timestamp) -> NewCallback {
    NewCallback {
        account: "gone".to_owned(),
        at,
        peer: "127.0.0.1".to_owned(),
        content_type: None,
        size: 2,
        fingerprint: "f".to_owned(),
        facts: Facts::default(),
        body: RawBody::Inline("{}".into()),
    }
}

/// Found by `crashtest clock`: a report that came while the clock was years behind, for a moment in which nobody looked
/// whether anything was old.
#[tokio::test]
async fn what_is_written_while_the_clock_is_years_behind_is_not_old_when_it_is_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, start()).await;
    assert!(store.may_remove(start()).await.unwrap());
    store.close().await;
    let behind = start() - DAY * 1_000;
    let store = open(&dir, behind).await;
    store.keep_callback(call_back(behind)).await.unwrap();
    store.close().await;
    let right = start() + Duration::from_secs(60);
    let store = open(&dir, right).await;
    assert!(!store.may_remove(right).await.unwrap());
    let held = store.removal_held().unwrap();
    assert_eq!((held.from, held.until), (behind, right + DAY));
}

/// The store of an older opros remembers nothing of the clock; its witness and its events know the time.
#[tokio::test]
async fn the_first_start_after_an_upgrade_knows_the_time_from_what_happened_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir, start()).await.close().await;
    let store = open(&dir, start() + DAY * 8).await;
    assert!(!store.may_remove(start() + DAY * 8).await.unwrap());
}

async fn execute(house: &House, statement: String) {
    let mut conn = SqliteConnectOptions::new().filename(house.store()).connect().await.unwrap();
    conn.execute(AssertSqlSafe(statement)).await.unwrap();
}

async fn ordered_in_the_mailbox(house: &House, phone: &str) -> i64 {
    let mut mailbox = house.mailbox().await;
    let order = sqlx::query("INSERT INTO jobs (kind, params) VALUES ('tronk.report', $1)");
    let row =
        order.bind(json!({ "phone": phone }).to_string()).execute(&mut mailbox).await.unwrap().last_insert_rowid();
    until("the mailbox has the result", async || {
        let query = sqlx::query_scalar("SELECT state FROM jobs WHERE id = $1").bind(row);
        let state: Option<String> = query.fetch_optional(&mut house.mailbox().await).await.unwrap();
        state.is_none_or(|state| state == "succeeded")
    })
    .await;
    row
}

async fn in_the_mailbox(house: &House) -> i64 {
    let mut mailbox = house.mailbox().await;
    sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(&mut mailbox).await.unwrap()
}

async fn callbacks(house: &House) -> usize {
    let filter = CallbackFilter { account: None, matched: None, before: None, limit: 10 };
    house.daemon().engine().store().callbacks(filter).await.unwrap().len()
}

/// Everything that the store, the mailbox and the call-backs hold is far past this retention.
async fn clean(house: &House) {
    let moment = Duration::from_millis(1);
    let retention = Retention::by_age(moment, moment, moment);
    schedule::clean(house.daemon().engine(), retention, SystemClock.now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_day_after_a_leap_store_mailbox_and_call_backs_remove_nothing_for_being_old_and_health_says_so() {
    let mut house = House::new("").await;
    ordered_in_the_mailbox(&house, "79990000111").await;
    let callback = call_back(SystemClock.now() - DAY * 60);
    house.daemon().engine().store().keep_callback(callback).await.unwrap();
    house.stop().await;

    // As if all of that had happened a month ago.
    let ago = (SystemClock.now() - DAY * 30).as_millis();
    execute(
        &house,
        format!("INSERT OR REPLACE INTO meta (key, value) VALUES ('ages', '{{\"seen\":{ago},\"held\":null}}')"),
    )
    .await;
    house.more = "[retention]\nfinished = \"1s\"\nevents = \"1s\"\ncalls = \"1s\"".to_owned();
    house.start().await;
    // Each of these takes a step of the mailbox, and each step removes what is old.
    ordered_in_the_mailbox(&house, "79990000112").await;
    ordered_in_the_mailbox(&house, "79990000113").await;
    clean(&house).await;
    assert_eq!((in_the_mailbox(&house).await, callbacks(&house).await), (3, 1));
    assert_eq!(house.state(1).await, "succeeded");
    let health = house.get(&["v1", "health"]).await;
    assert!(health["causes"].as_array().unwrap().iter().any(|cause| cause["code"] == "clock_set_forward"), "{health}");
    house.stop().await;

    let (since, seen) = ((SystemClock.now() - DAY * 2).as_millis(), (SystemClock.now() - DAY).as_millis());
    let ages = json!({ "seen": seen, "held": { "from": ago, "since": since, "until": seen + 1 } });
    execute(&house, format!("UPDATE meta SET value = '{ages}' WHERE key = 'ages'")).await;
    house.start().await;
    until("a day later the mailbox is empty", async || in_the_mailbox(&house).await == 0).await;
    until("and so are the call-backs", async || callbacks(&house).await == 0).await;
    clean(&house).await;
    let page = house.get(&["v1", "jobs"]).await;
    assert_eq!(page["jobs"], json!([]));
    house.stop().await;
}
