//! The primary, the reserve, and nobody at all.

use opros::domain::exchange::Host;
use opros::domain::{Account, EventType, State};
use opros::engine::schedule;
use opros::simulator::{Fault, FaultPlan, FaultRule, SimConfig};
use opros::store::Retention;
use serde_json::Value;

use super::{add, number, start};
use crate::support::{TestDaemon, hours, minutes, rlab_account, seconds};

async fn with_reserve() -> TestDaemon {
    let still = |config: &mut SimConfig| config.rlab.first_status_after = hours(100_000);
    TestDaemon::start(|sim| rlab_account(sim, &format!("reserve_url = \"{}\"", sim.base_url("rlab-reserve"))), still)
        .await
}

fn silence(daemon: &TestDaemon, hosts: &[&str]) {
    let rules = hosts.iter().map(|host| FaultRule::on(host, "*", Fault::Rst { book: false })).collect();
    daemon.sim.control().set_faults(FaultPlan { rules }).unwrap();
}

fn account(daemon: &TestDaemon) -> Account {
    daemon.engine().runner("rlab").unwrap().account()
}

#[tokio::test]
async fn a_silent_primary_gives_way_to_the_reserve_until_it_answers_again() {
    let mut daemon = with_reserve().await;
    add(&daemon, 50).await;
    silence(&daemon, &["rlab"]);
    daemon.advance(minutes(20)).await;
    assert_eq!(account(&daemon).hosts.in_use(), Host::Reserve);
    assert!(daemon.calls("rlab-reserve.gettrackinfo") > 0);
    daemon.restart().await;
    assert_eq!(account(&daemon).hosts.in_use(), Host::Reserve);
    let (tried, polled) = (daemon.calls("rlab.getuserinfo"), daemon.calls("rlab.gettrackinfo"));
    daemon.submit("rlab.track", serde_json::json!({ "track": number(77) })).await;
    daemon.advance(minutes(40)).await;
    assert_eq!(daemon.count(State::Waiting).await, 51);
    assert_eq!(daemon.sim.ledger().len(), 51);
    let tries = daemon.calls("rlab.getuserinfo") - tried;
    assert!((7..=9).contains(&tries), "the primary is tried every five minutes: {tries}");
    assert_eq!(daemon.calls("rlab.gettrackinfo"), polled, "no job is used to try it");
    daemon.sim.control().clear_faults();
    daemon.advance(minutes(6)).await;
    assert_eq!(account(&daemon).hosts.in_use(), Host::Primary);
    let on_reserve = daemon.calls("rlab-reserve.gettrackinfo");
    daemon.advance(hours(2)).await;
    assert_eq!(daemon.calls("rlab-reserve.gettrackinfo"), on_reserve);
    assert!(daemon.calls("rlab.gettrackinfo") > polled);
    for kind in [EventType::AccountUnreachable, EventType::AccountRecovered, EventType::JobFailed] {
        assert_eq!(daemon.events_of(kind).await, []);
    }
    assert_eq!(daemon.sim.violations(), []);
}

#[tokio::test]
async fn nobody_answers_is_told_once_adds_wait_and_the_return_is_no_storm() {
    let mut daemon = with_reserve().await;
    add(&daemon, 250).await;
    silence(&daemon, &["rlab", "rlab-reserve"]);
    let began = daemon.now();
    daemon.advance(minutes(45)).await;
    let told = daemon.events_of(EventType::AccountUnreachable).await;
    assert_eq!(told.len(), 1);
    let data: Value = serde_json::from_str(&told[0].data).unwrap();
    assert!(data["advice"].as_str().unwrap().contains("support"), "{data}");
    let silent = told[0].at.since(began);
    assert!(minutes(27) <= silent && silent <= minutes(30), "20 minutes after the first silent call: {silent:?}");
    let new = daemon.submit("rlab.track", serde_json::json!({ "track": number(777) })).await;
    daemon.advance(minutes(30)).await;
    daemon.restart().await;
    daemon.advance(minutes(30)).await;
    assert_eq!((daemon.job(new).await.state, daemon.count(State::InDoubt).await), (State::Queued, 0));
    assert_eq!(daemon.events_of(EventType::AccountUnreachable).await.len(), 1);
    let polled = daemon.calls("rlab.gettrackinfo") + daemon.calls("rlab-reserve.gettrackinfo");
    daemon.sim.control().clear_faults();
    daemon.advance(minutes(6)).await;
    assert_eq!(daemon.events_of(EventType::AccountRecovered).await.len(), 1);
    assert_eq!((daemon.count(State::Waiting).await, daemon.sim.ledger().len()), (251, 251));
    let polls = daemon.calls("rlab.gettrackinfo") + daemon.calls("rlab-reserve.gettrackinfo") - polled;
    assert!((3..=6).contains(&polls), "250 overdue tracks, each asked for once: {polls} requests");
    assert_eq!(daemon.sim.violations(), []);
}

#[tokio::test]
async fn without_a_reserve_only_the_primary_is_probed() {
    let daemon = start("", |_| {}).await;
    add(&daemon, 5).await;
    silence(&daemon, &["rlab"]);
    daemon.advance(hours(2)).await;
    assert_eq!(account(&daemon).hosts.in_use(), Host::Primary);
    let probes = daemon.calls("rlab.getuserinfo");
    daemon.advance(minutes(30)).await;
    assert!((5..=7).contains(&(daemon.calls("rlab.getuserinfo") - probes)), "every five minutes at last");
    assert_eq!(daemon.events_of(EventType::AccountUnreachable).await.len(), 1);
    daemon.sim.control().clear_faults();
    daemon.advance(minutes(6)).await;
    assert_eq!((daemon.events_of(EventType::AccountRecovered).await.len(), daemon.count(State::Waiting).await), (1, 5));
}

/// A submit whose answer the primary swallowed is never sent to the reserve by itself.
#[tokio::test]
async fn what_is_in_doubt_at_the_primary_is_looked_up_at_the_reserve_and_not_sent_again() {
    let daemon = with_reserve().await;
    let rules = vec![
        FaultRule::on("rlab", "addtrack", Fault::DropAfter {}),
        FaultRule::on("rlab", "*", Fault::Rst { book: false }),
    ];
    daemon.sim.control().set_faults(FaultPlan { rules }).unwrap();
    add(&daemon, 3).await;
    assert_eq!(daemon.count(State::InDoubt).await, 3);
    daemon.advance(minutes(10)).await;
    assert_eq!(account(&daemon).hosts.in_use(), Host::Reserve);
    assert_eq!((daemon.count(State::Waiting).await, daemon.sim.ledger().len()), (3, 3));
    assert_eq!(daemon.calls("rlab.addtrack") + daemon.calls("rlab-reserve.addtrack"), 1);
}

#[tokio::test]
async fn the_balance_is_asked_for_by_the_calendar_and_shows_the_tariffs_end() {
    let daemon = start("balance_every = \"6h\"\nbalance_low = 100.0", |config| {
        config.rlab.balance = Some(50);
        config.rlab.expires = Some("31.12.2026".to_owned());
    })
    .await;
    let retention = Retention::by_age(hours(24), hours(24), hours(24));
    let before = daemon.calls("rlab.getuserinfo");
    for _ in 0..3 {
        schedule::minute(daemon.engine(), retention).await;
        daemon.settle().await;
        daemon.advance(seconds(60)).await;
    }
    assert_eq!(daemon.calls("rlab.getuserinfo"), before + 1, "once in its span");
    let balance = account(&daemon).balance.unwrap();
    assert_eq!((balance.amount, balance.unit.as_str()), (50.0, "tracks"));
    assert!(balance.text.unwrap().contains("31.12.2026"));
    let ends = account(&daemon).tariff_ends_at.unwrap();
    assert_eq!(ends.to_rfc3339(), "2026-12-30T21:00:00.000Z", "the vendor's days are Moscow's");
    assert_eq!(daemon.events_of(EventType::AccountBalanceLow).await.len(), 1);
}
