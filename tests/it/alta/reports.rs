//! Reports become observations and events: every change, and nothing but changes.

use std::collections::BTreeSet;

use opros::domain::{EventType, State};
use serde_json::json;

use super::house::{assert_polite, data, events, observations, order, plain, simulated};
use super::watch::{self, Watch};
use crate::support::{hours, minutes, wagon};

#[tokio::test]
async fn a_day_of_several_hashes_tells_every_change_and_nothing_else() {
    let daemon = plain().await;
    let numbers: Vec<String> = (0..6).map(wagon).collect();
    let orders = numbers.chunks(2).map(|two| order(&[&two[0], &two[1]]));
    let jobs = daemon.submit_all("alta.track", orders).await;
    daemon.advance(hours(48)).await;
    assert_polite(&daemon);
    let watch = Watch::of(&daemon, &jobs).await;
    assert!(watch.news >= 6, "the wagons move: {watch:?}");
    assert_eq!((watch.told, watch.noise), (watch.news, 0));
    assert!(watch.greatest_lag <= minutes(3), "{watch:?}");
    for (job, two) in jobs.iter().zip(numbers.chunks(2)) {
        let updates = events(&daemon, *job, EventType::JobUpdated).await;
        let seen = observations(&daemon, *job).await;
        assert_eq!(seen.len(), updates.len());
        for (at, update) in updates.iter().enumerate() {
            assert_eq!(changes_of(&data(update)["changes"], at, &seen), two.iter().cloned().collect());
            assert!(seen[at].1.contains("\"query_status\""), "the answer is kept as it came: {}", seen[at].1);
        }
        let details = daemon.details(*job).await;
        assert_eq!(details.job.state, State::Waiting);
        let result: serde_json::Value = serde_json::from_str(&details.result.unwrap()).unwrap();
        assert_eq!(result, seen.last().unwrap().0);
    }
}

/// Checks an update's changes against the observations on both sides of it; returns the vehicles that were seen.
fn changes_of(changes: &serde_json::Value, at: usize, seen: &[(serde_json::Value, String)]) -> BTreeSet<String> {
    let vehicles = changes["vehicles"].as_object().unwrap();
    assert!(!vehicles.is_empty());
    for (num, fields) in vehicles {
        for (field, change) in fields.as_object().unwrap() {
            let before = at.checked_sub(1).map(|before| seen[before].0["vehicles"][num][field].clone());
            assert_eq!(change["from"], before.unwrap_or_default(), "{num} {field}");
            assert_eq!(change["to"], seen[at].0["vehicles"][num][field], "{num} {field}");
            assert_ne!(change["from"], change["to"], "{num} {field}");
        }
    }
    seen[at].0["vehicles"].as_object().unwrap().keys().cloned().collect()
}

/// Five thousand take `cargo bench --bench alta_week`; a debug build among other tests plays two hundred.
#[tokio::test]
async fn two_hundred_hashes_cost_three_shows_a_day_each_and_nobody_is_hurried() {
    let hashes = 200;
    let daemon = simulated(|config| config.log_requests = false).await;
    let jobs = watch::order(&daemon, hashes, watch::THRICE).await;
    daemon.advance(hours(3)).await;
    let before = (daemon.calls("alta.show"), daemon.requests("alta"));
    daemon.advance(hours(24)).await;
    assert_polite(&daemon);
    let per_hash = |calls: u64| calls as f64 / hashes as f64;
    let shows = per_hash(daemon.calls("alta.show") - before.0);
    let all = per_hash(daemon.requests("alta") - before.1);
    assert!((2.9..=3.3).contains(&shows), "{shows} show per hash and day");
    assert!(all <= 4.5, "{all} requests per hash and day");
    let watch = Watch::of(&daemon, &jobs).await;
    assert_eq!((watch.told, watch.noise), (watch.news, 0), "{watch:?}");
    assert!(watch.news > hashes, "{watch:?}");
    assert!(watch.greatest_lag <= minutes(25), "they go one a second, and a few: {watch:?}");
}

#[tokio::test]
async fn a_hash_alone_is_followed_and_pays_nothing() {
    let daemon = plain().await;
    let number = wagon(1);
    let first = daemon.submit("alta.track", order(&[&number])).await;
    daemon.advance(minutes(2)).await;
    let hash = daemon.job(first).await.remote_id.unwrap();
    let second = daemon.submit("alta.track", json!({ "hash": hash, "times": ["09:00", "14:00", "19:00"] })).await;
    daemon.advance(hours(30)).await;
    assert_eq!((daemon.calls("alta.add"), super::house::adds(&daemon).len()), (1, 1));
    let told = events(&daemon, first, EventType::JobUpdated).await.len();
    assert!(told > 1);
    assert_eq!(events(&daemon, second, EventType::JobUpdated).await.len(), told);
    assert_polite(&daemon);
}
