//! The cost ledger: what was ordered, how sure it is, and whether the vendor's balance agrees.

use std::collections::BTreeMap;
use std::time::Duration;

use opros::domain::reconcile::reconcile;
use opros::domain::spending::{Amount, Sure};
use opros::domain::state::Resolution;
use opros::domain::{State, Timestamp};
use opros::engine::schedule::minute;
use opros::simulator::{Fault, FaultPlan, FaultRule, Simulator, TronkSim};
use opros::store::Retention;
use opros::store::costs::{CostQuery, CostSum, CostsBy};
use serde_json::json;

use crate::support::{TestDaemon, hours, minutes, rlab_account};

const PRICED: &str = "prices = { \"tronk.report\" = 30.5 }";

async fn start() -> TestDaemon {
    let account = |sim: &Simulator| {
        let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
        format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{PRICED}\n")
    };
    TestDaemon::start(account, |sim| sim.tronk.no_data = ["79990000009".to_owned()].into()).await
}

async fn sums(daemon: &TestDaemon, by: CostsBy) -> Vec<CostSum> {
    let query = CostQuery { to: Timestamp::MAX, by, utc_offset: 3, limit: 100, ..CostQuery::default() };
    daemon.engine().store().costs(query).await.unwrap()
}

async fn by_certainty(daemon: &TestDaemon) -> BTreeMap<&'static str, (i64, Amount)> {
    let sums = sums(daemon, CostsBy::default()).await;
    sums.into_iter().map(|sum| (sum.sure.as_str(), (sum.orders, sum.amount))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_knows_how_sure_each_order_is_and_outlives_its_job() {
    let daemon = start().await;
    let lost = FaultRule::on("tronk", "setqueue", Fault::DropAfter {}).nth([1, 2, 3]);
    daemon.sim.control().set_faults(FaultPlan::one(lost)).unwrap();
    let phone = |n: u32| json!({ "phone": format!("7999{n:07}") });
    let doubts = daemon.submit_all("tronk.report", (1..4).map(phone)).await;
    daemon.settle().await;
    assert_eq!(by_certainty(&daemon).await, BTreeMap::from([("in_doubt", (3, Amount::of(91.5)))]));
    daemon.advance(hours(1)).await;
    daemon.submit_all("tronk.report", [phone(5), phone(9)]).await;
    daemon.engine().resolve(doubts[0], Resolution::Adopt("1001".to_owned())).await.unwrap();
    daemon.engine().resolve(doubts[1], Resolution::Fail).await.unwrap();
    daemon.advance(minutes(5)).await;
    let one = |orders| (orders, Amount::of(30.5));
    let expected =
        [("booked", one(1)), ("in_doubt", one(1)), ("operator", one(1)), ("refused", one(1)), ("settled", one(1))];
    assert_eq!(by_certainty(&daemon).await, BTreeMap::from(expected));
    // Retention takes the jobs; what they cost stays.
    let all = Retention::by_age(Duration::from_secs(1), hours(1), hours(1));
    daemon.advance(hours(48)).await;
    daemon.engine().store().retain(all, daemon.now()).await.unwrap();
    assert_eq!(daemon.count(State::Succeeded).await + daemon.count(State::Failed).await, 0);
    assert_eq!(by_certainty(&daemon).await, BTreeMap::from(expected));
    let days = sums(&daemon, CostsBy { day: true, kind: true, ..CostsBy::default() }).await;
    assert!(days.iter().all(|sum| sum.kind.as_deref() == Some("tronk.report")));
    let day = Timestamp::parse_rfc3339("2026-08-20T21:00:00Z").unwrap();
    assert_eq!(days[0].day, Some(day), "a day of Moscow's");
    let jobs = sums(&daemon, CostsBy { job: true, ..CostsBy::default() }).await;
    assert_eq!((jobs.len(), jobs[0].job, jobs[0].sure), (5, Some(doubts[0]), Sure::Settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_an_order_is_on_its_way_leaves_it_in_the_ledger_in_doubt() {
    let mut daemon = start().await;
    let hang = FaultRule::on("tronk", "setqueue", Fault::Hang { book: true });
    daemon.sim.control().set_faults(FaultPlan::one(hang)).unwrap();
    let job = daemon.submit("tronk.report", json!({ "phone": "79990000001" })).await;
    let mut commits = daemon.engine().store().commits();
    while daemon.job(job).await.state != State::Submitting {
        commits.changed().await.unwrap();
    }
    assert_eq!(by_certainty(&daemon).await["ordered"].0, 1);
    daemon.crash().await;
    assert_eq!(by_certainty(&daemon).await["in_doubt"].0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn free_calls_stand_in_no_ledger_and_balances_are_held_against_it() {
    let more = "batch_wait = \"0s\"\nbalance_every = \"1h\"\nprices = { \"rlab.track\" = 1 }";
    let daemon = TestDaemon::start(|sim| rlab_account(sim, more), |sim| sim.rlab.balance = Some(100)).await;
    let kept = Retention::by_age(hours(9_999), hours(9_999), hours(9_999));
    let begin = daemon.now();
    let balance = async || {
        minute(daemon.engine(), kept).await;
        daemon.advance(minutes(1)).await;
    };
    balance().await;
    let tracks = |from: u32, to: u32| (from..to).map(|n| json!({ "track": format!("TEST{n:07}RU"), "force": true }));
    daemon.submit_all("rlab.track", tracks(0, 7)).await;
    daemon.submit("rlab.user_info", json!({})).await;
    daemon.advance(hours(1)).await;
    balance().await;
    let both = async || {
        let (readings, between) = daemon.engine().store().balances("rlab", begin, Timestamp::MAX).await.unwrap();
        reconcile(&readings, &between).expect("two readings")
    };
    let first = both().await;
    assert_eq!((first.ordered.orders, first.first.amount, first.last.amount), (7, 100.0, 93.0));
    assert!(first.sentence().ends_with("the ledger has 7 orders for 7 tracks: they agree."), "{}", first.sentence());
    assert_eq!(sums(&daemon, CostsBy::default()).await.len(), 1, "user_info is free");
}
