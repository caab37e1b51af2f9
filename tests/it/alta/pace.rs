//! Manners: per hash, per account, across restarts and crashes, whatever is due.

use std::collections::HashMap;
use std::time::Duration;

use opros::domain::{JobId, State, Timestamp};
use opros::simulator::Fault;
use serde_json::json;

use super::house::{assert_polite, befall, order, plain, shows};
use super::watch::{self, Watch};
use crate::support::{TestDaemon, hours, minutes, seconds, wagon};

/// The shortest time between two requests of the account, and between two `show` of one hash.
fn shortest(daemon: &TestDaemon) -> (Duration, Duration) {
    let all: Vec<_> = daemon.sim.requests();
    let gaps = |times: &[Timestamp]| times.windows(2).map(|two| two[1].since(two[0])).min().unwrap_or(Duration::MAX);
    let account = gaps(&all.iter().map(|request| request.at).collect::<Vec<_>>());
    let mut by_hash: HashMap<String, Vec<Timestamp>> = HashMap::new();
    for show in shows(daemon) {
        by_hash.entry(show.keys[0].clone()).or_default().push(show.at);
    }
    (account, by_hash.values().map(|times| gaps(times)).min().unwrap_or(Duration::MAX))
}

fn assert_manners(daemon: &TestDaemon) {
    let (account, hash) = shortest(daemon);
    assert!(account >= seconds(1), "two requests within {account:?}");
    assert!(hash >= seconds(60), "one hash shown twice within {hash:?}");
    assert_polite(daemon);
}

/// To ten minutes after 19:00 in Moscow: reports are in, and most are not read yet.
async fn into_the_window(daemon: &TestDaemon) {
    let evening = Timestamp::parse_rfc3339("2026-08-21T19:10:00+03:00").unwrap();
    daemon.advance(evening.since(daemon.now())).await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_window_makes_no_burst() {
    let mut daemon = plain().await;
    let jobs = watch::order(&daemon, 1_000, watch::THRICE).await;
    into_the_window(&daemon).await;
    let before = shows(&daemon).len();
    for wait in [0, 1, 45, 200] {
        daemon.advance(seconds(wait)).await;
        daemon.restart().await;
    }
    daemon.advance(minutes(2)).await;
    for wait in [1, 30] {
        daemon.advance(seconds(wait)).await;
        daemon.crash().await;
    }
    daemon.advance(minutes(40)).await;
    assert!(shows(&daemon).len() > before + 300, "the work went on");
    assert_manners(&daemon);
    let watch = Watch::of(&daemon, &jobs).await;
    assert_eq!((watch.told, watch.noise), (watch.news, 0), "{watch:?}");
}

#[tokio::test]
async fn two_jobs_and_a_one_shot_on_one_hash_keep_its_minute_also_across_a_crash() {
    let mut daemon = plain().await;
    let first = daemon.submit("alta.track", order(&[&wagon(1)])).await;
    daemon.advance(minutes(2)).await;
    let hash = daemon.job(first).await.remote_id.unwrap();
    daemon.submit("alta.track", json!({ "hash": hash, "times": ["09:00", "14:00", "19:00"] })).await;
    let show = daemon.submit("alta.show", json!({ "hash": hash })).await;
    daemon.advance(seconds(1)).await;
    assert_eq!(daemon.job(show).await.state, State::Succeeded);
    daemon.crash().await;
    let again: Vec<JobId> = daemon.submit_all("alta.show", vec![json!({ "hash": hash }); 3]).await;
    daemon.advance(seconds(30)).await;
    assert_eq!(daemon.count(State::Succeeded).await, 1, "the run before the crash has just shown it");
    daemon.advance(minutes(5)).await;
    for id in again {
        assert_eq!(daemon.job(id).await.state, State::Succeeded);
    }
    daemon.advance(hours(24)).await;
    assert_manners(&daemon);
}

#[tokio::test]
async fn what_the_floor_holds_back_does_not_hold_up_others() {
    let daemon = plain().await;
    let jobs = daemon.submit_all("alta.track", [order(&[&wagon(1)]), order(&[&wagon(2)])]).await;
    daemon.advance(minutes(2)).await;
    let (one, two) = (daemon.job(jobs[0]).await.remote_id.unwrap(), daemon.job(jobs[1]).await.remote_id.unwrap());
    daemon.submit_all("alta.show", vec![json!({ "hash": one }); 50]).await;
    let other = daemon.submit("alta.show", json!({ "hash": two })).await;
    daemon.advance(seconds(5)).await;
    assert_eq!(daemon.job(other).await.state, State::Succeeded);
    assert_manners(&daemon);
}

#[tokio::test]
async fn lost_lists_and_lost_shows_are_asked_for_again_without_haste() {
    let daemon = plain().await;
    let jobs = watch::order(&daemon, 20, watch::THRICE).await;
    daemon.advance(minutes(10)).await;
    befall(&daemon, "track_list", (2..=9).collect(), Fault::DropBefore {});
    into_the_window(&daemon).await;
    befall(&daemon, "show", vec![1, 2, 5, 7, 8, 9, 11], Fault::DropAfter {});
    daemon.advance(hours(24)).await;
    assert_manners(&daemon);
    let watch = Watch::of(&daemon, &jobs).await;
    assert_eq!((watch.told, watch.noise), (watch.news, 0), "{watch:?}");
}

/// The vendor's list says nothing of some hash, or cannot be had at all: plain `show` goes on at the cadence.
#[tokio::test]
async fn without_the_list_every_report_is_still_found() {
    let daemon = plain().await;
    let refusal = Fault::Status {
        code: 200,
        body: r#"[{"status":"error","descr":"Сервис временно недоступен","code":1}]"#.into(),
        content_type: None,
        retry_after: None,
        book: false,
    };
    let jobs = watch::order(&daemon, 10, watch::THRICE).await;
    befall(&daemon, "track_list", (1..5_000).collect(), refusal);
    daemon.advance(hours(36)).await;
    assert_manners(&daemon);
    let watch = Watch::of(&daemon, &jobs).await;
    assert_eq!((watch.told, watch.noise), (watch.news, 0), "{watch:?}");
    assert!(watch.greatest_lag <= minutes(3), "{watch:?}");
}
