//! Payments, counted at the played vendor: an order is repeated at every moment of its life, over restarts and crashes.

use opros::domain::{JobId, State};
use opros::engine::intake::JobRequest;
use opros::engine::ops::Wish;
use opros::simulator::{Fault, FaultPlan, FaultRule, Simulator, TronkSim};
use opros::store::Accepted;
use serde_json::json;

use crate::support::{TestDaemon, minutes};

fn account(sim: &Simulator, more: &str) -> String {
    let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
    format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{more}\n")
}

async fn start(more: &str) -> TestDaemon {
    TestDaemon::start(|sim| account(sim, more), |_| {}).await
}

async fn ask(daemon: &TestDaemon, uid: &str) -> Accepted {
    let request = JobRequest {
        kind: "tronk.report".to_owned(),
        params: json!({ "phone": "79990000111" }),
        uid: Some(uid.to_owned()),
        ..JobRequest::default()
    };
    let job = daemon.engine().intake().understand(&request).unwrap();
    daemon.engine().submit(vec![job]).await.unwrap()[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_repeated_at_every_moment_of_its_life_is_paid_once() {
    let mut daemon = start("").await;
    daemon.engine().pause("tronk", None).await.unwrap();
    let Accepted::New(id) = ask(&daemon, "u").await else { panic!("it is new") };
    let same = Accepted::Taken(Some(id));
    assert_eq!(ask(&daemon, "u").await, same, "queued");
    daemon.restart().await;
    assert_eq!(ask(&daemon, "u").await, same, "after a restart");
    daemon.crash().await;
    assert_eq!(ask(&daemon, "u").await, same, "after a crash");
    daemon.engine().resume("tronk").await.unwrap();
    // While it is on its way.
    let (one, two) = tokio::join!(ask(&daemon, "u"), ask(&daemon, "u"));
    assert_eq!((one, two), (same, same));
    daemon.settle().await;
    assert_eq!(daemon.job(id).await.state, State::Waiting);
    assert_eq!(ask(&daemon, "u").await, same, "waiting");
    daemon.crash().await;
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.job(id).await.state, State::Succeeded);
    assert_eq!(ask(&daemon, "u").await, same, "ended");
    daemon.crash().await;
    assert_eq!(ask(&daemon, "u").await, same);
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.sim.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_doubt_is_not_sent_again_by_being_repeated() {
    let mut daemon = start("").await;
    let rule = FaultRule::on("tronk", "setqueue", Fault::DropAfter {}).nth([1]);
    daemon.sim.control().set_faults(FaultPlan::one(rule)).unwrap();
    let Accepted::New(id) = ask(&daemon, "u").await else { panic!("it is new") };
    daemon.settle().await;
    for _ in 0..2 {
        assert_eq!(daemon.job(id).await.state, State::InDoubt);
        assert_eq!(ask(&daemon, "u").await, Accepted::Taken(Some(id)));
        daemon.advance(minutes(1)).await;
        daemon.restart().await;
    }
    assert_eq!(daemon.sim.ledger().len(), 1, "the vendor was paid by the request whose answer was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_is_known_though_its_account_has_another_name_by_now() {
    let mut daemon = start("").await;
    let Accepted::New(id) = ask(&daemon, "u").await else { panic!("it is new") };
    daemon.advance(minutes(5)).await;
    daemon.reconfigure(|sim| account(sim, "").replace("accounts.tronk", "accounts.second"));
    daemon.restart().await;
    assert_eq!(ask(&daemon, "u").await, Accepted::Taken(Some(id)));
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.sim.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_paid_once_however_often_and_whenever_it_is_asked_for() {
    let mut daemon = start("same_order_window = \"1h\"").await;
    let Accepted::New(id) = ask(&daemon, "u").await else { panic!("it is new") };
    daemon.advance(minutes(5)).await;
    assert_eq!((daemon.job(id).await.state, daemon.sim.ledger().len()), (State::Succeeded, 1));
    let wish = |uid: Option<&str>| Wish { uid: uid.map(str::to_owned), again: false };
    let all = (0..12).map(|_| daemon.engine().retry_once(id, true, wish(None)));
    let all = futures_util::future::join_all(all).await;
    let jobs: std::collections::BTreeSet<JobId> = all.into_iter().filter_map(|one| one.unwrap().job()).collect();
    assert_eq!(jobs.len(), 1, "twelve at once are one order");
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.sim.ledger().len(), 2, "an operator means it: it is not held for being equal");

    let first = daemon.engine().retry_once(id, true, wish(Some("r"))).await.unwrap();
    let Accepted::New(third) = first else { panic!("{first:?}") };
    daemon.settle().await;
    daemon.crash().await;
    daemon.advance(minutes(5)).await;
    for _ in 0..3 {
        let again = daemon.engine().retry_once(id, true, wish(Some("r"))).await.unwrap();
        assert_eq!(again, Accepted::Taken(Some(third)));
        daemon.advance(minutes(5)).await;
    }
    assert_eq!(daemon.sim.ledger().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_and_without_force_is_the_same_order_for_the_window() {
    let daemon = start("same_order_window = \"1h\"").await;
    let first = daemon.submit("tronk.report", json!({ "phone": "79990000111" })).await;
    daemon.advance(minutes(5)).await;
    let forced = daemon.submit("tronk.report", json!({ "phone": "79990000111", "force": true })).await;
    daemon.advance(minutes(5)).await;
    let held = daemon.job(forced).await;
    assert_eq!((held.state, held.reason.unwrap().code), (State::Queued, "same_order".to_owned()));
    assert_eq!(daemon.sim.ledger().len(), 1);
    let vin = |force: bool| {
        let plain = json!({ "vin": "XTA210990Y2765432" });
        if force { json!({ "vin": "XTA210990Y2765432", "force": true }) } else { plain }
    };
    daemon.submit("tronk.report", vin(true)).await;
    daemon.advance(minutes(5)).await;
    let plain = daemon.submit("tronk.report", vin(false)).await;
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.job(plain).await.state, State::Queued, "either way round");
    assert_eq!(daemon.sim.ledger().len(), 2);
    assert_eq!(daemon.job(first).await.state, State::Succeeded);
}
