use serde_json::{Value, json};

use super::client::{get, put};
use super::{friday_morning, start};
use opros::simulator::Booking;

const SET: &str = "/tronk/reportphone.ashx?key=867983b5-d66d-44d7-b440-5bd00b0b8203&mode=setqueue&phone=79990000111";

#[tokio::test]
async fn everything_can_be_seen_and_changed_over_http() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let index = get(sim.addr(), "/").await.text();
    assert!(index.contains(&sim.base_url("rlab-reserve")) && index.contains("/_sim/ledger"));
    let plan = json!({"rules": [{"vendor": "tronk", "op": "submit", "nth": [1], "then": "drop_after"}]});
    assert_eq!(put(sim.addr(), "/_sim/faults", &plan.to_string()).await.status, 204);
    assert!(get(sim.addr(), SET).await.is_nothing());
    let change = json!({"tronk_requests_left": {"left": 0}});
    assert_eq!(put(sim.addr(), "/_sim/state", &change.to_string()).await.status, 204);
    assert_eq!(get(sim.addr(), SET).await.json()["error"], true);
    let ledger: Vec<Booking> = serde_json::from_value(get(sim.addr(), "/_sim/ledger").await.json()).unwrap();
    assert_eq!(ledger, sim.ledger());
    let requests = get(sim.addr(), "/_sim/requests").await.json();
    assert_eq!((&requests[0]["fault"], &requests[0]["keys"]), (&json!("drop_after"), &json!(["79990000111"])));
    let state = get(sim.addr(), "/_sim/state").await.json();
    assert_eq!((&state["bookings"], &state["requests"]["tronk.setqueue"]), (&json!(1), &json!(2)));
    assert_eq!(get(sim.addr(), "/_sim/violations").await.json(), json!([]));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    for (plan, word) in [
        (json!({"rules": [{"vendor": "trnok", "then": "bom"}]}), "trnok"),
        (json!({"rules": [{"op": "sumbit", "then": "bom"}]}), "sumbit"),
        (json!({"rules": [{"probability": 2, "then": "bom"}]}), "probability"),
        (json!({"rules": [{"then": {"kind": "status", "code": 99}}]}), "99"),
        (json!({"rules": [{"then": {"kind": "slow"}}]}), "ms"),
        (json!({"rules": [{"then": {"kind": "bom", "book": true}}]}), "book"),
    ] {
        let refused = put(sim.addr(), "/_sim/faults", &plan.to_string()).await;
        assert_eq!(refused.status, 422, "{plan}");
        assert!(refused.text().contains(word), "{word}: {}", refused.text());
    }
    let nobody = json!({"rlab_status": {"track": "1", "status": 1}});
    assert_eq!(put(sim.addr(), "/_sim/state", &nobody.to_string()).await.status, 422);
    assert_eq!(get(sim.addr(), "/_sim/nothing").await.status, 404);
    assert_eq!(get(sim.addr(), "/tronk/nothing.ashx").await.status, 404);
    assert_eq!(get(sim.addr(), "/ups/track").await.status, 404);
}

#[tokio::test]
async fn the_ledger_file_has_every_booking_before_its_answer_and_survives_a_restart() {
    let clock = friday_morning();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.ndjson");
    for round in 1..=2 {
        let sim = start(&clock, |config| config.ledger_file = Some(file.clone())).await;
        assert_eq!(get(sim.addr(), SET).await.json()["error"], Value::Null);
        let text = std::fs::read_to_string(&file).unwrap();
        let numbers: Vec<u64> = text.lines().map(|line| serde_json::from_str::<Booking>(line).unwrap().n).collect();
        assert_eq!(numbers, (1..=round).collect::<Vec<_>>());
        sim.stop().await;
    }
}
