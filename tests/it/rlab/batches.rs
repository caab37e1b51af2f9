//! Who travels with whom, and what one bad track does to the others.

use std::collections::BTreeSet;

use opros::domain::{EventType, State};
use opros::simulator::{Fault, FaultPlan, FaultRule, PoisonRule};
use serde_json::json;

use super::{add, number, start, tracks};
use crate::support::{TestDaemon, minutes, seconds};

fn booked_once(daemon: &TestDaemon) -> usize {
    let ledger = daemon.sim.ledger();
    let keys: BTreeSet<&str> = ledger.iter().map(|booking| booking.key.as_str()).collect();
    assert_eq!(keys.len(), ledger.len(), "a track was booked twice");
    ledger.len()
}

#[tokio::test]
async fn two_hundred_due_tracks_go_in_two_requests() {
    let daemon = start("", |_| {}).await;
    daemon.submit_all("rlab.track", tracks(200)).await;
    daemon.settle().await;
    assert_eq!((daemon.calls("rlab.addtrack"), daemon.count(State::Waiting).await), (2, 200));
    assert_eq!(booked_once(&daemon), 200);
    daemon.advance(minutes(23)).await;
    let polled = daemon.calls("rlab.gettrackinfo");
    assert!(polled <= 2 * 16, "one request for each batch_wait of the quarter of an hour: {polled}");
    assert_eq!(daemon.sim.violations(), []);
}

#[tokio::test]
async fn a_due_track_waits_for_company_no_longer_than_batch_wait() {
    let daemon = start("", |_| {}).await;
    daemon.submit_all("rlab.track", tracks(3)).await;
    daemon.advance(seconds(29)).await;
    assert_eq!(daemon.calls("rlab.addtrack"), 0);
    daemon.advance(seconds(1)).await;
    assert_eq!((daemon.calls("rlab.addtrack"), daemon.count(State::Waiting).await), (1, 3));
}

#[tokio::test]
async fn two_jobs_on_one_track_share_an_item() {
    let daemon = start("", |_| {}).await;
    daemon.submit_all("rlab.track", [json!({"track": number(1)}), json!({"track": number(1)})]).await;
    daemon.advance(minutes(30)).await;
    assert_eq!((booked_once(&daemon), daemon.count(State::Waiting).await), (1, 2));
    assert_eq!(daemon.sim.violations(), []);
}

/// Lesson 14: one bad item must not spoil its batch.
#[tokio::test]
async fn one_poisoned_track_of_a_hundred_costs_eight_requests_and_harms_nobody() {
    for poisoned in [0, 1, 37, 49, 50, 63, 98, 99] {
        let daemon = start("", |config| {
            config.rlab.poison = PoisonRule::Whole;
            config.rlab.poisoned.insert(number(poisoned));
        })
        .await;
        let jobs = add(&daemon, 100).await;
        let requests = daemon.calls("rlab.addtrack");
        assert!(requests <= 1 + 8, "{requests} requests with the bad one at {poisoned}");
        assert_eq!((daemon.count(State::Failed).await, daemon.count(State::Waiting).await), (1, 99), "{poisoned}");
        let failed = daemon.job(jobs[poisoned]).await;
        assert_eq!((failed.state, failed.reason.unwrap().code.as_str()), (State::Failed, "vendor_refused"));
        assert_eq!(booked_once(&daemon), 99);
        assert_eq!(daemon.events_of(EventType::JobInDoubt).await, []);
    }
}

#[tokio::test]
async fn several_poisoned_tracks_are_all_found_also_across_a_restart() {
    let poisoned = [3, 4, 70];
    let mut daemon = start("", |config| {
        config.rlab.poison = PoisonRule::Whole;
        config.rlab.poisoned.extend(poisoned.map(number));
    })
    .await;
    let jobs = daemon.submit_all("rlab.track", tracks(100)).await;
    daemon.restart().await;
    daemon.advance(minutes(2)).await;
    for n in poisoned {
        assert_eq!(daemon.job(jobs[n]).await.state, State::Failed);
    }
    assert_eq!((daemon.count(State::Waiting).await, booked_once(&daemon)), (97, 97));
}

#[tokio::test]
async fn a_partial_success_is_settled_by_looking_up() {
    let daemon = start("", |config| config.rlab.poisoned = [number(7)].into()).await;
    let jobs = add(&daemon, 10).await;
    daemon.advance(seconds(1)).await;
    assert_eq!((daemon.count(State::Waiting).await, daemon.count(State::InDoubt).await), (9, 1));
    daemon.advance(minutes(3)).await;
    let failed = daemon.job(jobs[7]).await;
    assert_eq!((failed.state, failed.reason.unwrap().code.as_str()), (State::Failed, "vendor_refused"));
    assert_eq!((booked_once(&daemon), daemon.count(State::Waiting).await), (9, 9));
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_nothing_is_added_twice() {
    for (fault, requests) in [(Fault::DropAfter {}, 1), (Fault::DropBefore {}, 2)] {
        let mut daemon = start("", |config| {
            config.faults = FaultPlan::one(FaultRule::on("rlab", "addtrack", fault).first(1));
        })
        .await;
        add(&daemon, 5).await;
        assert_eq!(daemon.events_of(EventType::JobInDoubt).await.len(), 5);
        daemon.restart().await;
        daemon.advance(minutes(3)).await;
        assert_eq!((daemon.count(State::Waiting).await, booked_once(&daemon)), (5, 5));
        assert_eq!(daemon.calls("rlab.addtrack"), requests);
        assert!((0..5).all(|n| daemon.sim.control().rlab_attempts(&number(n)) == 1));
    }
}
