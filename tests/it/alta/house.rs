//! What the tests of Alta share.

use opros::domain::{Event, EventType, JobId};
use opros::engine::schedule;
use opros::simulator::{Booking, Fault, FaultPlan, FaultRule, SeenRequest, SimConfig};
use opros::store::{Retention, TimelineEntry};
use serde_json::{Value, json};

use crate::support::{TestDaemon, alta_account, hours};

pub async fn plain() -> TestDaemon {
    with("").await
}

/// With further lines in the account's section.
pub async fn with(more: &str) -> TestDaemon {
    TestDaemon::start(|sim| alta_account(sim, more), |_| {}).await
}

/// With other vendors' habits.
pub async fn simulated(change: impl FnOnce(&mut SimConfig)) -> TestDaemon {
    TestDaemon::start(|sim| alta_account(sim, ""), change).await
}

/// An order of these numbers with three reports a day.
pub fn order(numbers: &[&str]) -> Value {
    let times = ["09:00", "14:00", "19:00"];
    json!({ "wagons": numbers, "track_state": "ru", "track_type": 2, "times": times, "stop_station": "no" })
}

/// The same with other params beside it.
pub fn order_with(numbers: &[&str], more: Value) -> Value {
    let mut order = order(numbers);
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

/// The `nth` call of that name meets a fault, and no other.
pub fn befall(daemon: &TestDaemon, op: &str, nth: Vec<u64>, then: Fault) {
    let rule = FaultRule {
        vendor: "alta".into(),
        op: op.into(),
        nth: Some(nth),
        first: None,
        key: None,
        probability: None,
        then,
    };
    daemon.sim.control().set_faults(FaultPlan { rules: vec![rule] }).unwrap();
}

/// What was paid for at `add`, without the daily charges that follow from it.
pub fn adds(daemon: &TestDaemon) -> Vec<Booking> {
    daemon.sim.ledger().into_iter().filter(|booking| booking.op == "add").collect()
}

pub fn shows(daemon: &TestDaemon) -> Vec<SeenRequest> {
    daemon.sim.requests().into_iter().filter(|request| request.vendor == "alta" && request.op == "show").collect()
}

pub async fn events(daemon: &TestDaemon, job: JobId, kind: EventType) -> Vec<Event> {
    daemon.events_of(kind).await.into_iter().filter(|event| event.job == Some(job)).collect()
}

pub fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// The observations of a job: what was understood, and the answer as it came.
pub async fn observations(daemon: &TestDaemon, job: JobId) -> Vec<(Value, String)> {
    let entries = daemon.timeline(job).await.into_iter();
    let seen = entries.filter_map(|entry| match entry {
        TimelineEntry::Observation { data, raw, .. } => Some((serde_json::from_str(&data).unwrap(), raw)),
        TimelineEntry::Event(_) | TimelineEntry::Call(_) => None,
    });
    seen.collect()
}

/// The calendar's minute: what is due by it is done.
pub async fn calendar(daemon: &TestDaemon) {
    let kept = hours(24 * 90);
    schedule::minute(daemon.engine(), Retention::by_age(kept, kept, kept)).await;
    daemon.settle().await;
}

/// Nobody was asked too fast, and nobody was turned away.
pub fn assert_polite(daemon: &TestDaemon) {
    assert_eq!(daemon.sim.violations(), []);
}
