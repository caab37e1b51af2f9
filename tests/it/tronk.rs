//! Tronk through the whole engine: what accounts, limits and answers do to paid reports.

use opros::domain::{EventType, State};
use opros::simulator::{Fault, FaultPlan, FaultRule, Simulator, TronkSim};
use opros::store::TimelineEntry;
use serde_json::{Value, json};

use crate::support::{TestDaemon, minutes, seconds};

fn account(sim: &Simulator, more: &str) -> String {
    let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
    format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{more}\n")
}

async fn start() -> TestDaemon {
    TestDaemon::start(|sim| account(sim, ""), |_| {}).await
}

fn fault(daemon: &TestDaemon, rule: FaultRule) {
    daemon.sim.control().set_faults(FaultPlan::one(rule)).unwrap();
}

fn heal(daemon: &TestDaemon) {
    daemon.sim.control().clear_faults();
}

fn phone(n: u32) -> Value {
    json!({ "phone": format!("7999{n:07}") })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_ordered_once_polled_in_steps_and_its_result_is_kept_raw_too() {
    let daemon = start().await;
    let job = daemon.submit("tronk.report", phone(1)).await;
    daemon.advance(minutes(3)).await;
    let details = daemon.details(job).await;
    assert_eq!(details.job.state, State::Succeeded);
    let result: Value = serde_json::from_str(&details.result.unwrap()).unwrap();
    assert_eq!(result["report"]["phone"], "79990000001");
    assert!(result["url"].as_str().unwrap().starts_with("http"));
    assert!(result["raw"]["check"].as_str().unwrap().contains("resultJson"));
    assert_eq!(daemon.sim.ledger().len(), 1);
    assert!(daemon.sim.violations().is_empty(), "{:?}", daemon.sim.violations());
    let kinds: Vec<_> = daemon.events().await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventType::JobAccepted, EventType::JobSucceeded]);
    // Ready after 90 s: asked every 10 s until then, once for the result, and nothing after that.
    assert_eq!((daemon.calls("tronk.checkqueue"), daemon.calls("tronk.getresult")), (9, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_never_comes_expires_after_the_last_step() {
    let daemon = TestDaemon::start(|sim| account(sim, ""), |sim| sim.tronk.ready_after = minutes(10_000)).await;
    let job = daemon.submit("tronk.report", phone(1)).await;
    daemon.advance(minutes(59)).await;
    assert_eq!(daemon.job(job).await.state, State::Waiting);
    daemon.advance(minutes(3)).await;
    let job = daemon.job(job).await;
    assert_eq!((job.state, job.reason.unwrap().code.as_str()), (State::Expired, "gave_up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_pauses_the_account_keeps_its_jobs_and_resume_continues_them() {
    let daemon = TestDaemon::start(|sim| account(sim, ""), |_| {}).await;
    fault(&daemon, FaultRule::on("tronk", "*", Fault::BadKey {}));
    daemon.submit_all("tronk.report", (0..20).map(phone)).await;
    daemon.advance(minutes(30)).await;
    assert_eq!(daemon.count(State::Queued).await, 20);
    // What was under way when the vendor said so, and nothing in the half hour after it.
    assert!(daemon.calls("tronk.setqueue") <= 4, "{}", daemon.calls("tronk.setqueue"));
    assert_eq!(daemon.events_of(EventType::AccountPaused).await.len(), 1);
    let why = daemon.engine().why(&daemon.jobs(State::Queued).await[0]);
    assert!(why.sentence.contains("opros resume tronk"), "{}", why.sentence);

    heal(&daemon);
    daemon.engine().resume("tronk").await.unwrap();
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.count(State::Succeeded).await, 20);
    assert_eq!(daemon.sim.ledger().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_access_in_the_middle_pauses_and_neither_loses_nor_repeats_a_paid_report() {
    let mut daemon = TestDaemon::start(|sim| account(sim, ""), |sim| sim.tronk.requests_left = Some(3)).await;
    daemon.submit_all("tronk.report", (0..6).map(phone)).await;
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.count(State::Failed).await, 0);
    assert!(daemon.engine().runner("tronk").unwrap().account().pause.is_some());
    daemon.restart().await;
    assert!(daemon.engine().runner("tronk").unwrap().account().pause.is_some(), "a pause survives a restart");
    daemon.sim.control().apply(opros::simulator::Change::TronkRequestsLeft { left: None }).unwrap();
    daemon.engine().resume("tronk").await.unwrap();
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.count(State::Succeeded).await, 6, "{:#?}", daemon.jobs(State::Waiting).await);
    assert_eq!(daemon.sim.ledger().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_freezes_the_account_for_exactly_that_long_and_costs_no_attempt() {
    let daemon = start().await;
    let busy = Fault::Status {
        code: 429,
        body: String::new(),
        content_type: None,
        retry_after: Some("120".to_owned()),
        book: false,
    };
    fault(&daemon, FaultRule::on("tronk", "setqueue", busy).nth([1]));
    let job = daemon.submit("tronk.report", phone(1)).await;
    daemon.settle().await;
    assert_eq!(daemon.calls("tronk.setqueue"), 1);
    daemon.advance(seconds(119)).await;
    assert_eq!(daemon.calls("tronk.setqueue"), 1);
    daemon.advance(seconds(1)).await;
    assert_eq!(daemon.calls("tronk.setqueue"), 2);
    let job = daemon.job(job).await;
    assert_eq!((job.state, job.submissions, job.errors), (State::Waiting, 1, 0));
    assert_eq!(daemon.sim.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_survives_a_restart() {
    let mut daemon = start().await;
    let busy = Fault::Status {
        code: 503,
        body: String::new(),
        content_type: None,
        retry_after: Some("600".to_owned()),
        book: false,
    };
    fault(&daemon, FaultRule::on("tronk", "setqueue", busy).nth([1]));
    daemon.submit("tronk.report", phone(1)).await;
    daemon.settle().await;
    daemon.restart().await;
    daemon.advance(seconds(599)).await;
    assert_eq!(daemon.calls("tronk.setqueue"), 1);
    daemon.advance(seconds(2)).await;
    assert_eq!(daemon.calls("tronk.setqueue"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_provably_a_no_puts_a_paid_submit_in_doubt_and_nothing_is_sent_again() {
    let unclear = [
        ("no answer after booking", Fault::DropAfter {}),
        ("no answer, booked later", Fault::LateBooking { after_ms: 60_000 }),
        ("a page of HTML", Fault::Html { book: true }),
        ("half a document", Fault::Truncated { clean: false, book: true }),
        ("nothing", Fault::Empty { book: true }),
        ("a reset", Fault::Rst { book: true }),
        ("garbage", Fault::Garbage { book: true }),
        ("JSON of another shape", Fault::WrongShape { book: true }),
        (
            "an error of the gateway",
            Fault::Status {
                code: 502,
                body: "<h1>Bad Gateway</h1>".into(),
                content_type: None,
                retry_after: None,
                book: true,
            },
        ),
        ("a redirect", Fault::Redirect { location: None, code: 307, book: true }),
    ];
    for (what, fault_kind) in unclear {
        let daemon = start().await;
        fault(&daemon, FaultRule::on("tronk", "setqueue", fault_kind).nth([1]));
        let job = daemon.submit("tronk.report", phone(1)).await;
        daemon.advance(minutes(120)).await;
        let found = daemon.job(job).await;
        assert_eq!(found.state, State::InDoubt, "{what}: {:?}", found.reason);
        assert_eq!(daemon.calls("tronk.setqueue"), 1, "{what}");
        assert_eq!(daemon.events_of(EventType::JobInDoubt).await.len(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_left_is_sent_when_the_vendor_can_be_reached() {
    // A port on which nobody listens refuses the connection.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section = format!(
        "[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"http://{closed}/tronk\"\nkey = \"a-key-of-some-length\"\n"
    );
    let daemon = TestDaemon::start(|_| section, |_| {}).await;
    let job = daemon.submit("tronk.report", phone(1)).await;
    daemon.advance(minutes(20)).await;
    let found = daemon.job(job).await;
    assert_eq!((found.state, found.submissions), (State::Queued, 0));
    let tries = daemon.timeline(job).await.iter().filter(|e| matches!(e, TimelineEntry::Call(_))).count();
    // The breaker's probes grow to five minutes.
    assert!((5..=15).contains(&tries), "{tries}");
    assert_eq!(daemon.events_of(EventType::AccountUnreachable).await.len(), 1);
    let why = daemon.engine().why(&found);
    assert!(why.sentence.contains("does not answer") || why.sentence.contains("failed"), "{}", why.sentence);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_polls_are_asked_again_and_the_breaker_spares_a_vendor_that_is_down() {
    let daemon = start().await;
    let jobs = daemon.submit_all("tronk.report", (0..4).map(phone)).await;
    daemon.settle().await;
    fault(&daemon, FaultRule::on("tronk", "checkqueue", Fault::DropBefore {}));
    daemon.advance(minutes(30)).await;
    let lost = daemon.calls("tronk.checkqueue");
    assert!(lost < 20, "{lost} calls in half an hour of silence");
    assert_eq!(daemon.count(State::Waiting).await, 4);
    heal(&daemon);
    daemon.advance(minutes(15)).await;
    for job in jobs {
        assert_eq!(daemon.job(job).await.state, State::Succeeded);
    }
    assert_eq!(daemon.sim.ledger().len(), 4);
    assert_eq!(daemon.events_of(EventType::AccountRecovered).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_keep_their_distance_and_their_number_across_a_restart() {
    let limits = "limits = { max_in_flight = 2, min_interval = \"5s\" }";
    let mut daemon = TestDaemon::start(|sim| account(sim, limits), |_| {}).await;
    daemon.submit_all("tronk.report", (0..10).map(phone)).await;
    daemon.advance(seconds(12)).await;
    daemon.restart().await;
    daemon.advance(minutes(20)).await;
    assert_eq!(daemon.count(State::Succeeded).await, 10);
    let mut times: Vec<_> = daemon.sim.requests().iter().map(|request| request.at).collect();
    times.sort_unstable();
    for pair in times.windows(2) {
        assert!(pair[1].since(pair[0]) >= seconds(5), "{} and {}", pair[0], pair[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_that_was_not_sent_is_never_sent() {
    let daemon = start().await;
    daemon.engine().pause("tronk", None).await.unwrap();
    let job = daemon.submit("tronk.report", phone(1)).await;
    daemon.engine().cancel(job).await.unwrap();
    daemon.engine().resume("tronk").await.unwrap();
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.job(job).await.state, State::Cancelled);
    assert_eq!(daemon.calls("tronk.setqueue"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_orders_anew_only_what_has_ended() {
    let daemon =
        TestDaemon::start(|sim| account(sim, ""), |sim| sim.tronk.no_data = ["79990000001".to_owned()].into()).await;
    let job = daemon.submit("tronk.report", phone(1)).await;
    daemon.settle().await;
    let failed = daemon.job(job).await;
    assert_eq!((failed.state, failed.reason.unwrap().message.as_str()), (State::Failed, "Данные не найдены"));
    let again = daemon.engine().retry(job, false).await.unwrap().job().unwrap();
    assert_eq!(daemon.job(again).await.retry_of, Some(job));

    let good = daemon.submit("tronk.report", phone(2)).await;
    assert!(daemon.engine().retry(good, false).await.is_err(), "it has not ended");
    daemon.advance(minutes(3)).await;
    assert!(daemon.engine().retry(good, false).await.unwrap_err().to_string().contains("costs again"));
    assert!(daemon.engine().retry(good, true).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_what_waits_even_while_the_account_is_paused() {
    let daemon = start().await;
    daemon.engine().pause("tronk", None).await.unwrap();
    let request = opros::engine::intake::JobRequest {
        kind: "tronk.report".to_owned(),
        params: phone(1),
        deadline: Some(daemon.now() + minutes(10)),
        ..Default::default()
    };
    let new = daemon.engine().intake().understand(&request).unwrap();
    let job = daemon.engine().submit(vec![new]).await.unwrap()[0].job().unwrap();
    daemon.advance(minutes(9)).await;
    assert_eq!(daemon.job(job).await.state, State::Queued);
    daemon.advance(minutes(2)).await;
    assert_eq!(daemon.job(job).await.state, State::Expired);
}
