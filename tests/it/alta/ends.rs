//! How a followed request ends: by the vendor, by `until`, by a wish.

use opros::domain::{EventType, JobId, State};
use opros::simulator::{AltaSim, Change, Simulator};
use serde_json::{Value, json};

use super::house::{adds, assert_polite, events, observations, order, order_with, plain, shows, simulated};
use crate::support::{TestDaemon, hours, minutes, wagon};

/// A number of the vendor's page.
const CONTAINER: &str = "AMFU8899067";

async fn result(daemon: &TestDaemon, job: JobId) -> Value {
    let details = daemon.details(job).await;
    assert_eq!(details.job.state, State::Succeeded, "{:?}", details.job);
    serde_json::from_str(&details.result.unwrap()).unwrap()
}

fn arrive(daemon: &TestDaemon, vehicle: &str) {
    daemon.sim.control().apply(Change::AltaArrive { vehicle: vehicle.to_owned() }).unwrap();
}

#[tokio::test]
async fn a_job_ends_when_the_vendor_takes_its_vehicles_off() {
    let daemon = plain().await;
    let job = daemon.submit("alta.track", order_with(&[&wagon(1)], json!({ "stop_station": "yes" }))).await;
    daemon.advance(hours(24)).await;
    assert_eq!(daemon.job(job).await.state, State::Waiting);
    arrive(&daemon, &wagon(1));
    daemon.advance(hours(14)).await;
    let result = result(&daemon, job).await;
    assert_eq!((&result["ended"], &result["vehicles"][wagon(1)]["on_track"]), (&json!("untracked"), &json!(0)));
    let calls = shows(&daemon).len();
    daemon.advance(hours(24)).await;
    assert_eq!(shows(&daemon).len(), calls, "what has ended is not asked about");
    assert_eq!(events(&daemon, job, EventType::JobSucceeded).await.len(), 1);
    assert_polite(&daemon);
}

#[tokio::test]
async fn until_arrived_ends_at_the_destination() {
    let daemon = plain().await;
    let until = json!({ "stop_station": "yes", "until": "arrived" });
    let job = daemon.submit("alta.track", order_with(&[&wagon(2)], until)).await;
    daemon.advance(hours(12)).await;
    arrive(&daemon, &wagon(2));
    daemon.advance(hours(24)).await;
    assert!(["arrived", "untracked"].map(Value::from).contains(&result(&daemon, job).await["ended"]));
    assert_polite(&daemon);
}

#[tokio::test]
async fn until_first_report_and_until_a_time() {
    let daemon = plain().await;
    let first = daemon.submit("alta.track", order_with(&[&wagon(1)], json!({ "until": "first_report" }))).await;
    let time = "2026-08-22T03:00:00+03:00";
    let timed = daemon.submit("alta.track", order_with(&[&wagon(2)], json!({ "until": time }))).await;
    daemon.advance(hours(5)).await;
    assert_eq!(result(&daemon, first).await["ended"], "first_report");
    assert!(!result(&daemon, first).await["vehicles"].as_object().unwrap().is_empty());
    assert_eq!(daemon.job(timed).await.state, State::Waiting);
    daemon.advance(hours(12) + minutes(5)).await;
    assert_eq!(result(&daemon, timed).await["ended"], "until");
    assert_polite(&daemon);
}

#[tokio::test]
async fn a_cancelled_job_is_cancelled_at_the_vendor_too() {
    let daemon = plain().await;
    let job = daemon.submit("alta.track", order(&[&wagon(1)])).await;
    daemon.advance(hours(6)).await;
    let charged = daemon.sim.ledger().len();
    daemon.engine().cancel(job).await.unwrap();
    daemon.advance(hours(48)).await;
    assert_eq!((daemon.job(job).await.state, daemon.calls("alta.cancel_track")), (State::Cancelled, 1));
    assert_eq!(daemon.sim.ledger().len(), charged, "what is cancelled costs nothing any more");
    assert_polite(&daemon);
}

#[tokio::test]
async fn a_mixed_list_is_one_job_followed_and_cancelled_under_both_hashes() {
    let daemon = plain().await;
    let job = daemon.submit("alta.track", order(&[&wagon(1), CONTAINER])).await;
    daemon.advance(hours(30)).await;
    let hashes: Vec<String> = adds(&daemon).into_iter().map(|booking| booking.remote_id).collect();
    assert_eq!((hashes.len(), daemon.job(job).await.remote_id), (2, Some(hashes.join("+"))));
    for hash in &hashes {
        assert!(shows(&daemon).iter().any(|show| show.keys[0] == *hash));
    }
    let seen = observations(&daemon, job).await;
    let both = [wagon(1), CONTAINER.to_owned()];
    let names: Vec<&String> = seen.last().unwrap().0["vehicles"].as_object().unwrap().keys().collect();
    assert_eq!(names, both.iter().collect::<Vec<_>>());
    daemon.engine().cancel(job).await.unwrap();
    daemon.advance(minutes(5)).await;
    assert_eq!((daemon.job(job).await.state, daemon.calls("alta.cancel_track")), (State::Cancelled, 2));
    assert_polite(&daemon);
}

#[tokio::test]
async fn some_wagons_are_taken_off_by_a_one_shot_and_the_job_goes_on_with_the_others() {
    let daemon = plain().await;
    let numbers = [wagon(1), wagon(2)];
    let job = daemon.submit("alta.track", order(&[&numbers[0], &numbers[1]])).await;
    daemon.advance(hours(6)).await;
    let hash = daemon.job(job).await.remote_id.unwrap();
    let cancel = daemon.submit("alta.cancel_track", json!({ "hash": hash, "wagons": [numbers[0]] })).await;
    daemon.advance(hours(24)).await;
    assert_eq!(daemon.job(cancel).await.state, State::Succeeded);
    assert_eq!(daemon.job(job).await.state, State::Waiting);
    let seen = observations(&daemon, job).await;
    let vehicles = &seen.last().unwrap().0["vehicles"];
    assert_eq!((&vehicles[&numbers[0]]["on_track"], &vehicles[&numbers[1]]["on_track"]), (&json!(0), &json!(1)));
    let again = daemon.submit("alta.cancel_track", json!({ "hash": hash, "wagons": [numbers[1]] })).await;
    daemon.advance(hours(24)).await;
    assert_eq!(daemon.job(again).await.state, State::Succeeded);
    assert_eq!(result(&daemon, job).await["ended"], "untracked");
    assert_polite(&daemon);
}

fn test_account(sim: &Simulator) -> String {
    let url = sim.base_url("alta");
    format!(
        "[accounts.alta]\nvendor = \"alta\"\nbase_url = \"{url}\"\nlogin = \"alta@alta.ru\"\nsa = \"sa000000\"\n\
         password = \"alta_test\"\n"
    )
}

/// It says that a request is cancelled and goes on with it.
#[tokio::test]
async fn the_test_accounts_quirk_does_not_loop() {
    let daemon = TestDaemon::start(test_account, |_| {}).await;
    let job = daemon.submit("alta.track", order(&["54676515"])).await;
    daemon.advance(hours(6)).await;
    daemon.engine().cancel(job).await.unwrap();
    daemon.advance(hours(24)).await;
    assert_eq!((daemon.job(job).await.state, daemon.calls("alta.cancel_track")), (State::Cancelled, 1));
    assert!(daemon.sim.ledger().iter().all(|booking| booking.price == 0));
    assert_polite(&daemon);
}

/// The list is asked once a minute, and only what it says is new is shown.
#[tokio::test]
async fn a_request_without_data_is_looked_after_patiently() {
    let late = |sim: &mut AltaSim| sim.first_data_after = std::time::Duration::from_secs(5 * 3600);
    let daemon = simulated(|config| late(&mut config.alta)).await;
    let job = daemon.submit("alta.track", order(&[CONTAINER])).await;
    daemon.advance(hours(8)).await;
    assert_eq!(observations(&daemon, job).await, []);
    daemon.advance(hours(2)).await;
    assert_eq!(observations(&daemon, job).await.len(), 1);
    assert!(shows(&daemon).len() < 5, "{} show", shows(&daemon).len());
    assert_polite(&daemon);
}
