//! A tracker that is not observed for too long is announced once, and once more when it is fresh again.

use std::time::Duration;

use opros::domain::{EventType, State};
use opros::simulator::{Fault, FaultPlan, FaultRule};
use serde_json::{Value, json};

use crate::support::{TestDaemon, hours, minutes, rlab_account, seconds};

const SETTINGS: &str = "stale_after = \"3h\"\npoll_first = \"15m\"\npoll_ceiling = \"1h\"";

async fn start(settings: &str) -> TestDaemon {
    TestDaemon::start(|sim| rlab_account(sim, settings), |sim| sim.rlab.first_status_after = hours(100_000)).await
}

async fn track(daemon: &TestDaemon) -> opros::domain::JobId {
    let job = daemon.submit("rlab.track", json!({ "track": "0000000001" })).await;
    daemon.advance(seconds(60)).await;
    assert_eq!(daemon.job(job).await.state, State::Waiting);
    job
}

/// The watcher looks in its own time: waits until so many such events are there.
async fn events(daemon: &TestDaemon, kind: EventType, count: usize) -> Vec<Value> {
    let wait = async {
        let mut commits = daemon.engine().store().commits();
        loop {
            commits.mark_unchanged();
            let found = daemon.events_of(kind).await;
            if found.len() >= count {
                return found.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
            }
            commits.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("no {kind}"))
}

#[tokio::test]
async fn a_track_that_nobody_answers_about_is_stale_once_and_fresh_once() {
    let daemon = start(SETTINGS).await;
    let job = track(&daemon).await;
    daemon.advance(hours(12)).await;
    assert!(daemon.events_of(EventType::JobStale).await.is_empty(), "polite polling is no staleness");
    let rules = vec![FaultRule::on("rlab", "*", Fault::Rst { book: false })];
    daemon.sim.control().set_faults(FaultPlan { rules }).unwrap();
    daemon.advance(hours(2)).await;
    assert!(daemon.events_of(EventType::JobStale).await.is_empty());
    daemon.advance(hours(2)).await;
    let stale = events(&daemon, EventType::JobStale, 1).await;
    assert!(stale[0]["observed_at"].is_string() && stale[0]["error"]["message"].is_string(), "{stale:?}");
    daemon.advance(hours(24)).await;
    daemon.sim.control().set_faults(FaultPlan { rules: Vec::new() }).unwrap();
    daemon.advance(hours(2)).await;
    assert_eq!(events(&daemon, EventType::JobFresh, 1).await.len(), 1);
    assert_eq!(daemon.events_of(EventType::JobStale).await.len(), 1, "announced once");
    assert!(daemon.job(job).await.stale_since.is_none());
}

#[tokio::test]
async fn a_paused_account_makes_its_trackers_stale_and_a_later_outage_is_a_new_one() {
    let mut daemon = start(SETTINGS).await;
    track(&daemon).await;
    daemon.engine().pause("rlab", None).await.unwrap();
    daemon.advance(hours(4)).await;
    events(&daemon, EventType::JobStale, 1).await;
    daemon.restart().await;
    daemon.engine().resume("rlab").await.unwrap();
    daemon.advance(minutes(5)).await;
    events(&daemon, EventType::JobFresh, 1).await;
    // The watcher finds what is fresh again within half a minute, and looks again when it may be stale.
    daemon.engine().pause("rlab", None).await.unwrap();
    for _ in 0..16 {
        daemon.advance(minutes(15)).await;
        tokio::task::yield_now().await;
    }
    events(&daemon, EventType::JobStale, 2).await;
}

#[tokio::test]
async fn without_an_objective_nothing_is_stale_and_one_that_is_set_later_counts_at_once() {
    let mut daemon = start("").await;
    track(&daemon).await;
    daemon.engine().pause("rlab", None).await.unwrap();
    daemon.advance(hours(200)).await;
    assert!(daemon.events_of(EventType::JobStale).await.is_empty());
    daemon.reconfigure(|sim| rlab_account(sim, SETTINGS));
    daemon.restart().await;
    events(&daemon, EventType::JobStale, 1).await;
}

/// What a reload reports as changed is changed.
#[tokio::test]
async fn an_objective_that_a_reload_brings_counts_for_what_is_tracked_already() {
    let mut daemon = start("").await;
    track(&daemon).await;
    daemon.engine().pause("rlab", None).await.unwrap();
    daemon.advance(hours(5)).await;
    assert!(daemon.events_of(EventType::JobStale).await.is_empty());
    daemon.reload(|sim| rlab_account(sim, SETTINGS)).await;
    events(&daemon, EventType::JobStale, 1).await;
}

#[tokio::test]
async fn an_objective_that_a_reload_takes_away_makes_nothing_stale_any_more() {
    let mut daemon = start(SETTINGS).await;
    track(&daemon).await;
    daemon.engine().pause("rlab", None).await.unwrap();
    daemon.reload(|sim| rlab_account(sim, "")).await;
    daemon.advance(hours(50)).await;
    assert!(daemon.events_of(EventType::JobStale).await.is_empty());
}
