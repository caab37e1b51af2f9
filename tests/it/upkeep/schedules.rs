//! Schedules on a clock that is moved by hand.

use opros::domain::{JobId, State, Timestamp};
use opros::simulator::SimConfig;
use opros::store::upkeep::LastFiring;

use crate::support::{TestDaemon, hours, minutes, rlab_account, seconds};

const DAILY: &str = r#"
[[schedules]]
name = "keys"
cron = "0 8 * * *"
kind = "rlab.user_info"
"#;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// It is seven o'clock, UTC, on Friday, 21 August 2026.
async fn daemon(schedules: &str) -> TestDaemon {
    let daemon = TestDaemon::start(|sim| rlab_account(sim, ""), |_: &mut SimConfig| {}).await;
    daemon.schedule(schedules).await;
    daemon
}

async fn last(daemon: &TestDaemon) -> LastFiring {
    daemon.engine().store().last_firings().await.unwrap().remove("keys").expect("a time was decided")
}

async fn ordered(daemon: &TestDaemon) -> usize {
    daemon.tick().await;
    daemon.count(State::Succeeded).await
}

async fn set(daemon: &TestDaemon, time: &str) -> usize {
    daemon.clock.set(at(time));
    ordered(daemon).await
}

#[tokio::test]
async fn a_time_orders_one_job_however_often_it_is_ticked_and_started() {
    let mut daemon = daemon(DAILY).await;
    assert_eq!(ordered(&daemon).await, 0, "nothing has come due");
    assert_eq!(set(&daemon, "2026-08-21T07:59:59Z").await, 0);
    assert_eq!(set(&daemon, "2026-08-21T08:00:00.591Z").await, 1);
    for _ in 0..3 {
        daemon.tick().await;
    }
    daemon.restart().await;
    daemon.schedule(DAILY).await;
    assert_eq!(ordered(&daemon).await, 1);
    daemon.crash().await;
    daemon.schedule(DAILY).await;
    assert_eq!(set(&daemon, "2026-08-21T08:00:30Z").await, 1);
    assert_eq!(set(&daemon, "2026-08-22T08:00:01Z").await, 2);
    let last = last(&daemon).await;
    assert_eq!((last.due, last.outcome.as_str(), last.job), (at("2026-08-22T08:00:00Z"), "fired", Some(JobId(2))));
}

#[tokio::test]
async fn a_missed_time_is_let_go_unless_the_schedule_says_once() {
    for (misfire, made) in [("", 0), ("misfire = \"once\"\ngrace = \"4h\"", 1)] {
        let schedule = format!("{DAILY}{misfire}");
        let mut daemon = daemon(&schedule).await;
        // Down from seven to eleven, and over three days before.
        daemon.clock.set(at("2026-08-24T11:00:00Z"));
        daemon.restart().await;
        daemon.schedule(&schedule).await;
        assert_eq!(ordered(&daemon).await, made, "{misfire}");
        let last = last(&daemon).await;
        assert_eq!((last.due, last.missed), (at("2026-08-24T08:00:00Z"), 3), "many missed times are one");
        assert_eq!(last.job.is_some(), made == 1);
        assert_eq!(set(&daemon, "2026-08-25T08:00:00Z").await, made + 1, "it goes on");
    }
}

#[tokio::test]
async fn beyond_its_grace_even_once_is_let_go() {
    let daemon = daemon(&format!("{DAILY}misfire = \"once\"\ngrace = \"2h\"")).await;
    assert_eq!(set(&daemon, "2026-08-21T10:00:01Z").await, 0);
    assert_eq!(last(&daemon).await.outcome, "skipped");
}

#[tokio::test]
async fn a_clock_that_jumps_orders_nothing_twice() {
    let daemon = daemon(&format!("{DAILY}misfire = \"once\"\ngrace = \"24h\"")).await;
    assert_eq!(set(&daemon, "2026-08-21T08:00:00Z").await, 1);
    // A year ahead by mistake: one job for what seemed missed.
    assert_eq!(set(&daemon, "2027-08-21T08:30:00Z").await, 2);
    // Put right: what was ordered today is not ordered again, and tomorrow comes as it would have.
    assert_eq!(set(&daemon, "2026-08-21T07:59:00Z").await, 2);
    assert_eq!(set(&daemon, "2026-08-21T08:00:00Z").await, 2);
    assert_eq!(set(&daemon, "2026-08-22T08:00:00Z").await, 3);
    // And the day that was ordered by mistake is not ordered again when it comes.
    assert_eq!(set(&daemon, "2027-08-21T07:59:59Z").await, 4);
    assert_eq!(set(&daemon, "2027-08-21T08:00:00Z").await, 4);
}

#[tokio::test]
async fn the_gap_and_the_fold_of_berlin_order_one_job_each() {
    let berlin = r#"
[[schedules]]
name = "keys"
cron = "30 2 * * *"
zone = "Europe/Berlin"
kind = "rlab.user_info"
"#;
    for (day, from, jobs) in [("gap", "2027-03-27T12:00:00Z", 2), ("fold", "2027-10-30T12:00:00Z", 2)] {
        let daemon = daemon(berlin).await;
        daemon.clock.set(at(from));
        daemon.tick().await;
        let before = daemon.count(State::Succeeded).await;
        // Two nights: the one with the shift, and one more.
        for _ in 0..(39 * 6) {
            daemon.clock.advance(minutes(10));
            daemon.engine().timetable().tick(daemon.engine()).await;
        }
        daemon.settle().await;
        assert_eq!(daemon.count(State::Succeeded).await - before, jobs, "{day}");
    }
}

#[tokio::test]
async fn while_the_last_job_is_unfinished_dedupe_orders_no_other() {
    let schedule = r#"
[[schedules]]
name = "keys"
cron = "0 * * * *"
kind = "rlab.track"
params = { track = "63010828068631" }
dedupe = true
tag = "t"
"#;
    let daemon = daemon(schedule).await;
    daemon.clock.advance(hours(1));
    daemon.tick().await;
    assert_eq!(daemon.job(JobId(1)).await.tag.as_deref(), Some("t"));
    daemon.clock.advance(hours(1));
    daemon.tick().await;
    let last = last(&daemon).await;
    assert_eq!((last.outcome.as_str(), last.job), ("duplicate", Some(JobId(1))));
    assert_eq!(daemon.calls("rlab.addtrack"), 1);
}

#[tokio::test]
async fn another_pattern_has_missed_nothing() {
    let once = "misfire = \"once\"\ngrace = \"24h\"";
    let mut daemon = daemon(&format!("{DAILY}{once}")).await;
    daemon.clock.advance(hours(5) + seconds(1));
    daemon.restart().await;
    let noon = format!("{}{once}", DAILY.replace("0 8", "0 11"));
    daemon.schedule(&noon).await;
    assert_eq!(ordered(&daemon).await, 0, "eleven o'clock came before anybody asked for it");
    assert_eq!(set(&daemon, "2026-08-22T11:00:00Z").await, 1);
}

#[tokio::test]
async fn seconds_count_where_a_pattern_names_them() {
    let daemon = daemon(&DAILY.replace("0 8 * * *", "*/20 * * * * *")).await;
    for _ in 0..60 {
        daemon.clock.advance(seconds(1));
        daemon.tick().await;
    }
    assert_eq!(daemon.count(State::Succeeded).await, 3);
}
