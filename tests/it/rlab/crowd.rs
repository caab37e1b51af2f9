//! Two thousand tracks: full requests, and every change found and told exactly once. `benches/rlab.rs` does it with 200,000.

use std::collections::BTreeMap;

use opros::domain::{EventType, State};

use super::{stand, start, tracks};
use crate::support::{hours, minutes};

const TRACKS: usize = 2_000;
const CHANGES: usize = 100;

#[tokio::test]
async fn two_thousand_tracks_travel_in_full_requests_and_no_change_is_missed_or_told_twice() {
    let daemon = start("batch_wait = \"2m\"", |_| {}).await;
    let jobs = daemon.submit_all("rlab.track", tracks(TRACKS)).await;
    daemon.advance(minutes(30)).await;
    assert_eq!((daemon.calls("rlab.addtrack"), daemon.count(State::Waiting).await), (20, TRACKS));
    assert_eq!(daemon.events_of(EventType::JobUpdated).await.len(), TRACKS, "the first sight of each");
    daemon.advance(hours(1)).await;
    let polls = daemon.sim.requests().into_iter().filter(|request| request.op == "gettrackinfo");
    let sizes: Vec<usize> = polls.map(|request| request.keys.len()).collect();
    let fill = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
    assert!(fill >= 97.0, "{fill} tracks to a request: {sizes:?}");
    let step = TRACKS / CHANGES;
    (0..CHANGES).for_each(|n| stand(&daemon, n * step, 4));
    daemon.advance(hours(3)).await;
    let mut told = BTreeMap::new();
    for event in daemon.events_of(EventType::JobUpdated).await.into_iter().skip(TRACKS) {
        *told.entry(event.job.unwrap()).or_insert(0) += 1;
    }
    let expected: BTreeMap<_, _> = (0..CHANGES).map(|n| (jobs[n * step], 1)).collect();
    assert_eq!(told, expected);
    assert_eq!(daemon.sim.violations(), []);
}
