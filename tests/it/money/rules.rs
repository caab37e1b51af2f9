//! The store's own safety: a file that is swapped, lost or put back from an older copy, and a disk that fills up.

use std::sync::Arc;
use std::time::Duration;

use opros::clock::{ManualClock, SharedClock};
use opros::domain::{EventType, State, Timestamp};
use opros::simulator::{Simulator, TronkSim};
use opros::store::sqlite::{OpenError, SqliteStore};
use opros::store::{Store, StoreHealth};
use serde_json::{Value, json};

use crate::support::{TestDaemon, hours, minutes};

fn account(sim: &Simulator, more: &str) -> String {
    let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
    format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{more}\n")
}

async fn start() -> TestDaemon {
    TestDaemon::start(|sim| account(sim, ""), |_| {}).await
}

fn phone(n: u32) -> Value {
    json!({ "phone": format!("7999{n:07}") })
}

/// Waits for the store to notice something, at most the ten seconds of the contract.
async fn until(daemon: &TestDaemon, fits: impl Fn(&StoreHealth) -> bool) -> StoreHealth {
    let noticed = async {
        loop {
            let health = daemon.engine().store().health();
            if fits(&health) {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noticed).await.expect("noticed within ten seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_floor_nothing_new_is_ordered_and_what_is_paid_is_recorded() {
    let daemon = start().await;
    let paid = daemon.submit("tronk.report", phone(1)).await;
    daemon.settle().await;
    // Taken in before room was short, and due afterwards.
    let order = |phone, not_before| {
        let kind = "tronk.report".to_owned();
        let request = opros::engine::intake::JobRequest { kind, params: phone, not_before, ..Default::default() };
        daemon.engine().intake().understand(&request).unwrap()
    };
    let later = daemon.engine().submit(vec![order(phone(2), Some(daemon.now() + minutes(1)))]).await.unwrap();
    let waits = later[0].job().unwrap();
    daemon.set_free(5 << 10);
    let health = until(&daemon, |health| matches!(health, StoreHealth::Tight { .. })).await;
    let StoreHealth::Tight { reason, .. } = health else { panic!() };
    assert!(reason.contains("less than store.free_floor (1 MiB)"), "{reason}");
    let refused = daemon.engine().submit(vec![order(phone(3), None)]).await.unwrap_err();
    assert!(refused.to_string().contains("free_floor"), "nothing new is taken in: {refused}");
    daemon.advance(minutes(3)).await;
    assert_eq!((daemon.job(paid).await.state, daemon.job(waits).await.state), (State::Succeeded, State::Queued));
    let why = daemon.engine().why(&daemon.job(waits).await).sentence;
    assert!(why.contains("nothing new is ordered"), "{why}");
    daemon.set_free(1 << 30);
    until(&daemon, |health| *health == StoreHealth::Good).await;
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.job(waits).await.state, State::Succeeded);
    assert_eq!(daemon.sim.ledger().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_store_stops_payments_within_seconds_and_the_old_one_put_back_goes_on() {
    let daemon = start().await;
    let (path, away) = (daemon.store_path(), daemon.store_path().with_file_name("away.db"));
    std::fs::rename(&path, &away).unwrap();
    std::fs::write(&path, b"").unwrap();
    let health = until(&daemon, |health| matches!(health, StoreHealth::Blocked { .. })).await;
    let StoreHealth::Blocked { reason, fatal, .. } = health else { panic!() };
    assert!(reason.contains("replaced by another file") && !fatal, "{reason}");
    let request =
        opros::engine::intake::JobRequest { kind: "tronk.report".to_owned(), params: phone(1), ..Default::default() };
    let job = daemon.engine().intake().understand(&request).unwrap();
    assert!(daemon.engine().submit(vec![job]).await.is_err(), "nothing is taken in that nobody would find again");
    std::fs::rename(&away, &path).unwrap();
    until(&daemon, |health| *health == StoreHealth::Good).await;
    daemon.submit("tronk.report", phone(2)).await;
    daemon.advance(minutes(3)).await;
    assert_eq!((daemon.sim.ledger().len(), daemon.count(State::Succeeded).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_put_back_from_an_older_copy_sends_nothing_that_may_have_been_sent() {
    let mut daemon = start().await;
    daemon.engine().pause("tronk", None).await.unwrap();
    let jobs = daemon.submit_all("tronk.report", (0..3).map(phone)).await;
    let late = {
        let request = opros::engine::intake::JobRequest {
            kind: "tronk.report".to_owned(),
            params: phone(9),
            not_before: Some(daemon.now() + hours(24)),
            ..Default::default()
        };
        let job = daemon.engine().intake().understand(&request).unwrap();
        daemon.engine().submit(vec![job]).await.unwrap()[0].job().unwrap()
    };
    let copy = daemon.store_path().with_file_name("copy.db");
    daemon.engine().store().backup(&copy).await.unwrap();
    let newest = daemon.submit_all("tronk.report_json", [json!({ "vin": "XTA210990Y2765432" })]).await[0];
    daemon.engine().cancel(newest).await.unwrap();
    daemon.engine().resume("tronk").await.unwrap();
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.sim.ledger().len(), 3);
    let seen = daemon.events().await.last().unwrap().seq;

    let put_back = |path: &std::path::Path| {
        std::fs::copy(&copy, path).unwrap();
    };
    daemon.restart_after(put_back).await;
    daemon.engine().resume("tronk").await.unwrap();
    daemon.advance(minutes(10)).await;
    assert_eq!(daemon.sim.ledger().len(), 3, "nothing is paid twice");
    for job in &jobs {
        let job = daemon.job(*job).await;
        assert_eq!((job.state, job.reason.unwrap().code.as_str()), (State::InDoubt, "restored"));
    }
    assert_eq!(daemon.job(late).await.state, State::InDoubt, "an operator may have brought it forward");
    let doubts = daemon.events_of(EventType::JobInDoubt).await;
    assert!(doubts.len() == 4 && doubts.iter().all(|event| event.seq > seen), "no number is given twice");
    // Dealt with once; the operator's word counts like anywhere else.
    daemon.restart().await;
    assert_eq!(daemon.engine().store().restored().await.unwrap(), None);
    assert_eq!(daemon.events_of(EventType::JobInDoubt).await.len(), 4);
    daemon.engine().resolve(jobs[0], opros::domain::state::Resolution::Adopt("1001".to_owned())).await.unwrap();
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.job(jobs[0]).await.state, State::Succeeded);
    let next = daemon.submit("tronk.report", phone(5)).await;
    assert!(next > newest && newest > late, "no job's number is given twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_restart_or_a_kill_is_no_restore() {
    let mut daemon = start().await;
    daemon.submit_all("tronk.report", (0..5).map(phone)).await;
    daemon.settle().await;
    daemon.crash().await;
    daemon.restart().await;
    assert_eq!(daemon.engine().store().restored().await.unwrap(), None);
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.count(State::Succeeded).await, 5);
}

#[tokio::test]
async fn a_store_that_is_gone_or_another_is_not_quietly_begun_anew() {
    let clock: SharedClock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("opros.db");
    let open = async || SqliteStore::open(&path, true, Arc::clone(&clock)).await;
    open().await.unwrap().close().await;
    std::fs::rename(&path, dir.path().join("away.db")).unwrap();
    let gone = open().await.expect_err("it is gone");
    assert!(matches!(gone, OpenError::Lost { .. }), "{gone}");
    assert!(gone.to_string().contains("remove"), "{gone}");
    assert!(!path.exists(), "no new one was made");
    // Another opros' store in its place.
    let other = tempfile::tempdir().unwrap();
    let stranger = other.path().join("opros.db");
    SqliteStore::open(&stranger, true, Arc::clone(&clock)).await.unwrap().close().await;
    std::fs::copy(&stranger, &path).unwrap();
    let another = open().await.expect_err("it is another one");
    assert!(another.to_string().contains("another one"), "{another}");
    // The operator means it.
    std::fs::remove_file(dir.path().join("opros.witness")).unwrap();
    open().await.unwrap().close().await;
}
