//! R-Lab through the whole engine: batches, bisecting, pace, doubt, hosts.

use std::collections::BTreeSet;

use opros::domain::State;
use serde_json::{Value, json};

use crate::support::{TestDaemon, minutes, rlab_account, seconds};

/// Numbers of no known form: they pass without check digits.
fn tracks(count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(|n| json!({ "track": number(n) }))
}

fn number(n: usize) -> String {
    format!("{n:010}")
}

async fn plain() -> TestDaemon {
    TestDaemon::start(|sim| rlab_account(sim, ""), |_| {}).await
}

#[tokio::test]
async fn two_hundred_due_tracks_go_in_two_requests() {
    let daemon = plain().await;
    daemon.submit_all("rlab.track", tracks(200)).await;
    daemon.settle().await;
    assert_eq!((daemon.calls("rlab.addtrack"), daemon.count(State::Waiting).await), (2, 200));
    let booked: BTreeSet<String> = daemon.sim.ledger().into_iter().map(|booking| booking.key).collect();
    assert_eq!((booked.len(), daemon.sim.ledger().len()), (200, 200));
    daemon.advance(minutes(23)).await;
    let polled = daemon.calls("rlab.gettrackinfo");
    assert!(polled <= 2 * 23 + 1, "one request for each batch_wait at most: {polled}");
    assert_eq!(daemon.sim.violations(), []);
}

#[tokio::test]
async fn a_due_track_waits_for_company_no_longer_than_batch_wait() {
    let daemon = plain().await;
    daemon.submit_all("rlab.track", tracks(3)).await;
    daemon.advance(seconds(29)).await;
    assert_eq!(daemon.calls("rlab.addtrack"), 0);
    daemon.advance(seconds(1)).await;
    assert_eq!((daemon.calls("rlab.addtrack"), daemon.count(State::Waiting).await), (1, 3));
}
