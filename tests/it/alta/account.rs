//! The account: its key, its money, its codes.

use opros::domain::{EventType, State};
use opros::simulator::{Change, Fault};
use serde_json::{Value, json};

use super::house::{adds, assert_polite, befall, calendar, data, events, order, plain, with};
use crate::support::{TestDaemon, alta_account, hours, minutes, seconds, wagon};

fn roubles(daemon: &TestDaemon, roubles: i64) {
    daemon.sim.control().apply(Change::AltaBalance { kopecks: roubles * 100 }).unwrap();
}

async fn facts(daemon: &TestDaemon, kind: EventType) -> Vec<Value> {
    daemon.events_of(kind).await.iter().map(data).collect()
}

#[tokio::test]
async fn the_key_is_tried_before_anything_is_ordered_and_again_when_the_account_is_resumed() {
    let mut daemon =
        TestDaemon::start(|sim| alta_account(sim, "").replace("tech-password", "not-this-one"), |_| {}).await;
    assert_eq!(daemon.calls("alta.test_secret"), 1);
    let job = daemon.submit("alta.track", order(&[&wagon(1)])).await;
    daemon.advance(hours(1)).await;
    assert_eq!((daemon.job(job).await.state, daemon.calls("alta.add")), (State::Queued, 0));
    assert_eq!(daemon.requests("alta"), 1, "a paused account is silent");
    let paused = facts(&daemon, EventType::AccountPaused).await;
    assert_eq!((&paused[0]["reason"]["code"], &paused[0]["submits_only"]), (&json!("bad_secret"), &json!(false)));
    daemon.engine().resume("alta").await.unwrap();
    daemon.advance(minutes(1)).await;
    assert_eq!((daemon.calls("alta.test_secret"), daemon.calls("alta.add")), (2, 0));
    assert_eq!(facts(&daemon, EventType::AccountPaused).await.len(), 2);
    daemon.reconfigure(|sim| alta_account(sim, ""));
    daemon.restart().await;
    daemon.engine().resume("alta").await.unwrap();
    daemon.advance(minutes(1)).await;
    assert_eq!((daemon.job(job).await.state, adds(&daemon).len()), (State::Waiting, 1));
}

#[tokio::test]
async fn without_money_new_orders_stop_and_polls_go_on_until_there_is_money_again() {
    let daemon = plain().await;
    let followed = daemon.submit("alta.track", order(&[&wagon(1)])).await;
    daemon.advance(minutes(2)).await;
    roubles(&daemon, 0);
    let refused = daemon.submit("alta.track", order(&[&wagon(2)])).await;
    daemon.advance(minutes(1)).await;
    let later = daemon.submit("alta.track", order(&[&wagon(3)])).await;
    daemon.advance(hours(2)).await;
    for job in [refused, later] {
        assert_eq!(daemon.job(job).await.state, State::Queued);
    }
    assert_eq!(daemon.calls("alta.add"), 2, "the first refusal was enough");
    let lists = daemon.calls("alta.track_list");
    daemon.advance(hours(2)).await;
    assert!(daemon.calls("alta.track_list") > lists, "what was paid is followed");
    assert_eq!(daemon.job(followed).await.state, State::Waiting);
    assert_eq!(facts(&daemon, EventType::AccountPaused).await[0]["submits_only"], true);
    calendar(&daemon).await;
    daemon.advance(minutes(1)).await;
    assert_eq!(daemon.job(later).await.state, State::Queued, "still no money");
    roubles(&daemon, 5_000);
    daemon.advance(hours(1)).await;
    calendar(&daemon).await;
    daemon.advance(minutes(1)).await;
    assert_eq!(facts(&daemon, EventType::AccountResumed).await.len(), 1);
    for job in [refused, later] {
        assert_eq!(daemon.job(job).await.state, State::Waiting);
    }
    assert_eq!(adds(&daemon).len(), 3);
    assert_polite(&daemon);
}

#[tokio::test]
async fn a_low_balance_is_told_once_until_it_stood_well_above_the_threshold() {
    let daemon = with("balance_every = \"1h\"\nbalance_low = 1000.0").await;
    let mut low = Vec::new();
    for balance in [5_000, 1_001, 999, 500, 1_050, 999, 1_200, 1_000] {
        roubles(&daemon, balance);
        daemon.advance(hours(1)).await;
        calendar(&daemon).await;
        daemon.advance(seconds(5)).await;
        low.push(facts(&daemon, EventType::AccountBalanceLow).await.len());
    }
    assert_eq!(low, [0, 0, 1, 1, 1, 1, 1, 2]);
    let told = facts(&daemon, EventType::AccountBalanceLow).await;
    assert_eq!((&told[0]["balance"], &told[0]["threshold"]), (&json!(999.0), &json!(1000.0)));
}

#[tokio::test]
async fn code_15_fails_an_order_and_a_code_of_the_operators_pauses() {
    let refusal = |code: i64| Fault::Status {
        code: 200,
        body: json!([{ "status": "error", "descr": "Указан неподдерживаемый метод", "code": code }]).to_string(),
        content_type: None,
        retry_after: None,
        book: false,
    };
    for (code, state) in [(15, State::Failed), (7, State::Queued), (99, State::Failed)] {
        let daemon = with("codes = { 15 = \"permanent\", 7 = \"pause\" }").await;
        befall(&daemon, "add", vec![1], refusal(code));
        let job = daemon.submit("alta.track", order(&[&wagon(1)])).await;
        daemon.advance(minutes(2)).await;
        assert_eq!(daemon.job(job).await.state, state, "code {code}");
        assert_eq!(facts(&daemon, EventType::AccountPaused).await.len(), usize::from(code == 7));
        assert_eq!(adds(&daemon).len(), 0);
    }
}

#[tokio::test]
async fn a_key_that_goes_bad_pauses_the_account_with_everything_in_its_place() {
    let daemon = plain().await;
    let job = daemon.submit("alta.track", order(&[&wagon(1)])).await;
    daemon.advance(minutes(2)).await;
    befall(&daemon, "*", (1..1_000).collect(), Fault::BadKey {});
    daemon.advance(hours(6)).await;
    let calls = daemon.requests("alta");
    daemon.advance(hours(6)).await;
    assert_eq!(daemon.requests("alta"), calls, "a paused account is silent");
    assert_eq!(daemon.job(job).await.state, State::Waiting);
    daemon.sim.control().clear_faults();
    daemon.engine().resume("alta").await.unwrap();
    daemon.advance(hours(1)).await;
    assert_eq!(events(&daemon, job, EventType::JobUpdated).await.len(), 1, "what was missed is caught up with");
    assert_polite(&daemon);
}

#[tokio::test]
async fn every_method_is_a_one_shot() {
    let daemon = plain().await;
    let job = daemon.submit("alta.track", order(&[&wagon(1)])).await;
    daemon.advance(hours(5)).await;
    let hash = daemon.job(job).await.remote_id.unwrap();
    for (kind, params, path, expected) in [
        ("alta.show", json!({ "hash": hash }), "/status/hash", json!(hash)),
        ("alta.carr_list", json!({ "hash": hash }), "/carrs/0", json!(wagon(1))),
        ("alta.balance", json!({}), "/balans", json!("9999960.00")),
        ("alta.test_secret", json!({}), "/status", json!("ok")),
        ("alta.cancel_track", json!({ "hash": hash }), "/status", json!("ok")),
    ] {
        let shot = daemon.submit(kind, params).await;
        daemon.advance(minutes(2)).await;
        let details = daemon.details(shot).await;
        assert_eq!(details.job.state, State::Succeeded, "{kind}: {:?}", details.job.reason);
        let result: Value = serde_json::from_str(&details.result.unwrap()).unwrap();
        assert_eq!(result.pointer(path), Some(&expected), "{kind}: {result}");
    }
    let list = daemon.submit("alta.track_list", json!({})).await;
    daemon.advance(minutes(1)).await;
    assert!(daemon.details(list).await.result.unwrap().contains(&hash));
    assert_polite(&daemon);
}
