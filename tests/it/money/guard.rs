//! The spending guard: budgets that parallel orders cannot overshoot, and equal orders that are held.

use opros::domain::{EventType, JobId, State, Timestamp};
use opros::simulator::{Fault, FaultPlan, FaultRule, Simulator, TronkSim};
use serde_json::{Value, json};

use crate::support::{TestDaemon, hours, minutes, rlab_account, seconds};

fn account(sim: &Simulator, more: &str) -> String {
    let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
    format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{more}\n")
}

async fn start(more: &str) -> TestDaemon {
    TestDaemon::start(|sim| account(sim, more), |_| {}).await
}

fn phone(n: u32) -> Value {
    json!({ "phone": format!("7999{n:07}") })
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_stops_orders_until_the_next_window_says_so_and_announces_it_once() {
    let more = "limits = { max_in_flight = 64 }\nbudget = { per_day = 3 }";
    let mut daemon = start(more).await;
    daemon.submit_all("tronk.report", (0..8).map(phone)).await;
    daemon.settle().await;
    assert_eq!(daemon.sim.ledger().len(), 3, "64 at a time, and not one too many");
    let queued = daemon.jobs(State::Queued).await;
    assert_eq!(queued.len(), 5);
    let why = daemon.engine().why(&queued[0]);
    assert!(why.sentence.contains("the budget of 3 submissions a day is spent"), "{}", why.sentence);
    assert_eq!(why.next_at, Some(at("2026-08-21T21:00:00Z")), "Moscow's midnight");
    daemon.advance(hours(2)).await;
    daemon.restart().await;
    daemon.advance(hours(2)).await;
    assert_eq!(daemon.sim.ledger().len(), 3, "a restart brings no new budget");
    assert_eq!(daemon.count(State::Succeeded).await, 3, "what is paid goes on");
    assert_eq!(daemon.events_of(EventType::AccountBudgetSpent).await.len(), 1);
    daemon.advance(hours(10)).await;
    assert_eq!(daemon.sim.ledger().len(), 6);
    assert_eq!(daemon.events_of(EventType::AccountBudgetSpent).await.len(), 2);
    daemon.advance(hours(25)).await;
    assert_eq!((daemon.sim.ledger().len(), daemon.count(State::Succeeded).await), (8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_provably_cost_nothing_is_given_back_to_the_budget() {
    let daemon = start("limits = { max_in_flight = 1 }\nbudget = { per_month = 2 }").await;
    let refused = FaultRule::on(
        "tronk",
        "setqueue",
        Fault::Status {
            code: 429,
            body: String::new(),
            content_type: None,
            retry_after: Some("1".to_owned()),
            book: false,
        },
    );
    daemon.sim.control().set_faults(FaultPlan::one(refused.nth([1, 2]))).unwrap();
    daemon.submit_all("tronk.report", (0..3).map(phone)).await;
    daemon.advance(minutes(1)).await;
    assert_eq!(daemon.sim.ledger().len(), 2);
    assert_eq!(daemon.count(State::Queued).await, 1);
    assert_eq!(daemon.calls("tronk.setqueue"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_doubt_stays_counted() {
    let daemon = start("budget = { per_day = 1 }").await;
    daemon.sim.control().set_faults(FaultPlan::one(FaultRule::on("tronk", "setqueue", Fault::DropAfter {}))).unwrap();
    daemon.submit_all("tronk.report", (0..2).map(phone)).await;
    daemon.settle().await;
    assert_eq!((daemon.count(State::InDoubt).await, daemon.count(State::Queued).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_found_spent_again_has_been_so_since_the_first_time() {
    let mut daemon = start("budget = { per_day = 1 }").await;
    daemon.submit_all("tronk.report", (0..2).map(phone)).await;
    daemon.settle().await;
    let since =
        |daemon: &TestDaemon| daemon.engine().runner("tronk").unwrap().budget_spent(daemon.now()).map(|it| it.since);
    let first = since(&daemon).expect("it is spent");
    daemon.advance(minutes(10)).await;
    daemon.restart().await;
    assert_eq!(since(&daemon), Some(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_many_doubts_says_since_when_there_is_one() {
    let daemon = start("").await;
    assert_eq!(daemon.engine().store().oldest_doubt().await.unwrap(), None);
    daemon.sim.control().set_faults(FaultPlan::one(FaultRule::on("tronk", "setqueue", Fault::DropAfter {}))).unwrap();
    let first = daemon.submit_all("tronk.report", (0..1).map(phone)).await[0];
    daemon.settle().await;
    let began = daemon.job(first).await.doubt_since;
    assert!(began.is_some());
    daemon.advance(minutes(10)).await;
    daemon.submit_all("tronk.report", (1..2).map(phone)).await;
    daemon.settle().await;
    assert_eq!(daemon.count(State::InDoubt).await, 2);
    assert_eq!(daemon.engine().store().oldest_doubt().await.unwrap(), began);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_money_counts_prices_and_holds_what_has_none() {
    let more = "budget = { amount_per_day = 100.0 }\nprices = { \"tronk.report\" = 40.0 }";
    let daemon = start(more).await;
    daemon.submit_all("tronk.report", (0..3).map(phone)).await;
    daemon.settle().await;
    assert_eq!(daemon.sim.ledger().len(), 2);
    let unpriced = daemon.submit("tronk.report_json", json!({ "vin": "XTA210990Y2765432" })).await;
    daemon.settle().await;
    assert_eq!(daemon.job(unpriced).await.state, State::Queued);
    let reason = daemon.engine().runner("tronk").unwrap().budget_spent(daemon.now()).unwrap().reason;
    assert!(reason.message.contains("100 a day is spent: 80 are ordered, and one more costs 40"), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_cut_to_what_the_budget_has_room_for() {
    let more = "batch_wait = \"0s\"\nbudget = { per_day = 30 }";
    let daemon = TestDaemon::start(|sim| rlab_account(sim, more), |_| {}).await;
    let tracks = (0..80).map(|n| json!({ "track": format!("TEST{n:07}RU"), "force": true }));
    daemon.submit_all("rlab.track", tracks).await;
    daemon.advance(minutes(1)).await;
    assert_eq!(daemon.sim.ledger().len(), 30);
    assert_eq!(daemon.count(State::Queued).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_order_within_the_window_is_held_until_an_operator_lets_it_go() {
    let mut daemon = start("same_order_window = \"10m\"").await;
    let first = daemon.submit("tronk.report", phone(1)).await;
    daemon.advance(minutes(3)).await;
    let second = daemon.submit("tronk.report", phone(1)).await;
    let other = daemon.submit("tronk.report", phone(2)).await;
    daemon.advance(minutes(60)).await;
    assert_eq!(daemon.job(other).await.state, State::Succeeded);
    let held = daemon.job(second).await;
    assert_eq!((held.state, held.due_at), (State::Queued, None), "time does not let it go");
    assert_eq!(held.reason.as_ref().unwrap().code, "same_order");
    assert!(held.reason.as_ref().unwrap().message.contains(&format!("job {first} ordered exactly the same")));
    let why = daemon.engine().why(&held).sentence;
    assert!(
        why.contains("less than 10 min before") && why.matches(&format!("opros release {second}")).count() == 1,
        "{why}"
    );
    assert_eq!(daemon.events_of(EventType::JobHeld).await.len(), 1);
    daemon.restart().await;
    assert_eq!(daemon.sim.ledger().len(), 2);
    daemon.engine().release(second).await.unwrap();
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.job(second).await.state, State::Succeeded);
    assert_eq!(daemon.sim.ledger().len(), 3);
    let again = daemon.engine().release(second).await.unwrap();
    assert!(!again.is_new && again.job.state == State::Succeeded, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_orders_of_one_moment_are_told_apart_and_a_retry_is_an_operators_word() {
    let daemon = start("same_order_window = \"10m\"\nlimits = { max_in_flight = 16 }").await;
    daemon.submit_all("tronk.report", (0..10).map(|_| phone(1))).await;
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.sim.ledger().len(), 1);
    let done: JobId = daemon.jobs(State::Succeeded).await[0].id;
    let again = daemon.engine().retry(done, true).await.unwrap().job().unwrap();
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.job(again).await.state, State::Succeeded);
    // Held ones can be cancelled like any other.
    let held = daemon.jobs(State::Queued).await;
    assert_eq!(held.len(), 9);
    daemon.engine().cancel(held[0].id).await.unwrap();
    assert_eq!(daemon.job(held[0].id).await.state, State::Cancelled);
    // Long after the first, an equal order is an order like any other.
    daemon.advance(minutes(11)).await;
    let later = daemon.submit("tronk.report", phone(1)).await;
    daemon.advance(minutes(3) + seconds(1)).await;
    assert_eq!(daemon.job(later).await.state, State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_equal_orders_are_orders() {
    let daemon = start("").await;
    daemon.submit_all("tronk.report", (0..2).map(|_| phone(1))).await;
    daemon.settle().await;
    assert_eq!(daemon.sim.ledger().len(), 2);
}
