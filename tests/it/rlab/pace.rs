//! When tracks are asked about, and how they end.

use opros::domain::{EventType, State};
use opros::simulator::Change;
use serde_json::Value;

use super::{add, asked, number, stand, start};
use crate::support::{hours, minutes, seconds};

/// Each wait is the wished one, or up to an eighth and a batch_wait off.
fn waits_are(at: &[u64], wished: &[u64]) {
    let waits: Vec<u64> = at.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits.len(), wished.len(), "{waits:?}");
    for (wait, wished) in waits.iter().zip(wished) {
        assert!(wished * 7 / 8 <= wait + 1 && *wait <= wished + 1, "{waits:?}");
    }
}

#[tokio::test]
async fn waits_double_up_to_the_ceiling_and_start_over_on_a_change_also_across_restarts() {
    let mut daemon = start("", |_| {}).await;
    add(&daemon, 1).await;
    stand(&daemon, 0, 4);
    daemon.advance(hours(4)).await;
    daemon.restart().await;
    daemon.advance(hours(20)).await;
    let before = asked(&daemon, 0);
    waits_are(&before, &[30, 60, 120, 240, 360, 360].as_slice()[..before.len() - 1]);
    assert!(before.len() >= 6, "{before:?}");
    stand(&daemon, 0, 6);
    daemon.advance(hours(6)).await;
    daemon.restart().await;
    let found = asked(&daemon, 0);
    let at = found.iter().rposition(|time| before.contains(time)).unwrap() + 1;
    waits_are(&found[at..], &[15, 30, 60, 120, 240, 360].as_slice()[..found.len() - at - 1]);
    assert_eq!(daemon.sim.violations(), []);
}

#[tokio::test]
async fn at_the_counter_it_is_asked_for_hourly_and_delivered_is_the_end() {
    let daemon = start("", |_| {}).await;
    let jobs = add(&daemon, 1).await;
    stand(&daemon, 0, 2);
    daemon.advance(hours(10)).await;
    let at = asked(&daemon, 0);
    waits_are(&at, &vec![60; at.len() - 1]);
    assert!(at.len() >= 9, "{at:?}");
    stand(&daemon, 0, 1);
    daemon.advance(hours(1)).await;
    assert_eq!(daemon.job(jobs[0]).await.state, State::Succeeded);
    let events: Vec<EventType> = daemon.events().await.into_iter().map(|event| event.kind).collect();
    let (accepted, updated, succeeded) = (EventType::JobAccepted, EventType::JobUpdated, EventType::JobSucceeded);
    assert_eq!(events, [accepted, updated, updated, succeeded]);
    let last: Value = serde_json::from_str(&daemon.events_of(updated).await[1].data).unwrap();
    assert!(last["changes"].to_string().contains("status"), "{last}");
    let asked_before = asked(&daemon, 0).len();
    daemon.advance(hours(48)).await;
    assert_eq!(asked(&daemon, 0).len(), asked_before);
}

#[tokio::test]
async fn a_return_is_told_at_once_and_ends_after_its_grace() {
    for status in [3, 9] {
        let daemon = start("", |_| {}).await;
        let jobs = add(&daemon, 1).await;
        stand(&daemon, 0, status);
        daemon.advance(hours(1)).await;
        assert_eq!(daemon.events_of(EventType::JobUpdated).await.len(), 1);
        daemon.advance(hours(6 * 24)).await;
        assert_eq!(daemon.job(jobs[0]).await.state, State::Waiting);
        daemon.advance(hours(2 * 24)).await;
        assert_eq!(daemon.job(jobs[0]).await.state, State::Succeeded);
        assert_eq!(daemon.events_of(EventType::JobUpdated).await.len(), 1);
    }
}

#[tokio::test]
async fn a_track_that_answers_lack_fails_in_the_end_and_the_others_go_on() {
    let daemon = start("unknown_after = 3", |_| {}).await;
    let jobs = add(&daemon, 3).await;
    daemon.sim.control().apply(Change::RlabForget { track: number(1) }).unwrap();
    daemon.advance(minutes(30)).await;
    assert_eq!(daemon.job(jobs[1]).await.state, State::Waiting);
    daemon.advance(hours(3)).await;
    let failed = daemon.job(jobs[1]).await;
    assert_eq!((failed.state, failed.reason.unwrap().code.as_str()), (State::Failed, "unknown_to_vendor"));
    assert_eq!((asked(&daemon, 1).len(), daemon.count(State::Waiting).await), (3, 2));
}

#[tokio::test]
async fn cancelling_deletes_the_track_at_the_vendor() {
    let daemon = start("", |_| {}).await;
    let jobs = add(&daemon, 2).await;
    daemon.engine().cancel(jobs[0]).await.unwrap();
    daemon.advance(seconds(30)).await;
    assert_eq!((daemon.calls("rlab.deltrack"), daemon.job(jobs[0]).await.state), (1, State::Cancelled));
    assert_eq!(daemon.sim.control().state()["rlab"]["tracks"], 1);
    assert_eq!(daemon.job(jobs[1]).await.state, State::Waiting);
}
