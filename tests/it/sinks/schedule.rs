use std::time::Duration;

use opros::clock::{Clock, ManualClock};
use opros::domain::EventType;
use opros::domain::delivery::{Filter, Progress};
use opros::store::EventPage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::house::{House, Receiver, Reply, Seen, start_of_time, webhook};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn since_start(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|seen| seen.at.since(start_of_time()).as_secs()).collect()
}

#[tokio::test]
async fn a_receiver_that_fails_for_an_hour_gets_everything_and_the_schedule_is_kept_to_the_second() {
    let clock = ManualClock::new(start_of_time());
    let well_again = start_of_time() + seconds(3600);
    let receiver =
        Receiver::start(clock.clone(), move |seen| Reply::Status(if seen.at < well_again { 500 } else { 204 }));
    let receiver = receiver.await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    let job = house.followed(None).await;
    house.tried("shop").await;
    house.cancel(job).await;
    while house.next("shop").await {}
    // Now, 5 s, 5 min, 30 min, 2 h: the last one finds it well; then what waited behind it follows at once.
    assert_eq!(since_start(&receiver.seen()), [0, 5, 305, 2_105, 9_305, 9_305]);
    let ids: Vec<String> = receiver.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert!(ids[..5].iter().all(|id| *id == ids[0]), "the same id each time: {ids:?}");
    let types: Vec<String> = receiver.seen()[4..].iter().map(|seen| seen.json()["type"].to_string()).collect();
    assert_eq!(types, ["\"job.accepted\"", "\"job.cancelled\""]);
    let sink = house.sink("shop").await;
    assert_eq!((sink.pending, sink.delivered, sink.dead), (0, 2, 0));
    assert!(sink.failing_since.is_none());
}

#[tokio::test]
async fn ten_failures_later_a_delivery_is_dead_and_the_next_event_of_its_job_goes_on() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |seen| Reply::Status(if seen.seq() == 1 { 404 } else { 200 })).await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    let job = house.followed(None).await;
    house.tried("shop").await;
    house.cancel(job).await;
    while house.next("shop").await {}
    let waits = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    let mut at = 0;
    let mut expected: Vec<u64> = waits
        .iter()
        .map(|wait| {
            at += wait;
            at
        })
        .collect();
    expected.push(at);
    assert_eq!(since_start(&receiver.seen()), expected);
    let ends: Vec<Progress> = house.deliveries("shop").await.iter().map(|one| one.progress).collect();
    assert_eq!(ends, [Progress::Dead, Progress::Delivered]);
}

#[tokio::test]
async fn a_failing_event_holds_up_its_own_job_alone() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), {
        let mut failed = false;
        move |seen| Reply::Status(if seen.seq() == 1 && !std::mem::replace(&mut failed, true) { 500 } else { 200 })
    });
    let receiver = receiver.await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    let first = house.followed(None).await;
    house.tried("shop").await;
    house.cancel(first).await;
    for _ in 0..5 {
        let other = house.followed(None).await;
        house.cancel(other).await;
    }
    house.tried("shop").await;
    let others: Vec<i64> = receiver.seen().iter().map(Seen::seq).collect();
    assert!(!others.contains(&2), "the second event of the first job waits: {others:?}");
    assert_eq!(others.len(), 1 + 10);
    while house.next("shop").await {}
    let all: Vec<i64> = receiver.seen().iter().map(Seen::seq).collect();
    for pair in (1..=12).step_by(2) {
        let place = |seq: i64| all.iter().rposition(|seen| *seen == seq).unwrap();
        assert!(place(pair) < place(pair + 1), "in order per job: {all:?}");
    }
}

#[tokio::test]
async fn retry_after_is_kept_to_the_second_and_rests_the_whole_receiver() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), {
        let mut count = 0;
        move |_| {
            count += 1;
            if count == 1 { Reply::With(429, "retry-after", "120") } else { Reply::Status(200) }
        }
    });
    let receiver = receiver.await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    house.followed(None).await;
    house.tried("shop").await;
    house.followed(None).await;
    house.until("both are known", async || house.sink("shop").await.pending == 2).await;
    assert_eq!(house.sink("shop").await.rest_until, Some(start_of_time() + seconds(120)));
    clock.set(start_of_time() + seconds(120));
    house.until("both are delivered", async || house.sink("shop").await.delivered == 2).await;
    assert_eq!(since_start(&receiver.seen()), [0, 120, 120]);
    assert_eq!(house.deliveries("shop").await[0].failures, 0, "it costs no step of the schedule");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::With(307, "location", "/elsewhere")).await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    house.followed(None).await;
    house.tried("shop").await;
    assert!(receiver.seen().iter().all(|seen| seen.path == "/hook"));
    let delivery = &house.deliveries("shop").await[0];
    assert_eq!((delivery.status, delivery.due_at), (Some(307), Some(start_of_time() + seconds(5))));
    assert!(delivery.error.as_ref().unwrap().message.contains("redirects are not followed"));
}

#[tokio::test]
async fn a_receiver_that_hangs_harms_no_other_and_is_tried_again_on_schedule() {
    let clock = ManualClock::new(start_of_time());
    let (deaf, well) = (
        Receiver::start(clock.clone(), |_| Reply::Hang).await,
        Receiver::start(clock.clone(), |_| Reply::Status(200)).await,
    );
    let mut slow = webhook("slow", &deaf.url());
    slow.timeout = Duration::from_millis(150);
    let house = House::new(clock.clone(), vec![slow, webhook("well", &well.url())]).await;
    for _ in 0..8 {
        house.followed(None).await;
    }
    house.until("the other has all", async || house.sink("well").await.delivered == 8).await;
    house.tried("slow").await;
    let first = &house.deliveries("slow").await[0];
    assert_eq!(first.error.as_ref().unwrap().code, "timeout");
    assert_eq!(first.due_at, Some(start_of_time() + seconds(5)));
}

#[tokio::test]
async fn a_410_disables_and_announces_and_enabling_goes_on_with_the_same_event() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), {
        let mut gone = true;
        move |_| Reply::Status(if std::mem::replace(&mut gone, false) { 410 } else { 200 })
    });
    let receiver = receiver.await;
    let other = Receiver::start(clock.clone(), |_| Reply::Status(200)).await;
    let mut watcher = webhook("watcher", &other.url());
    watcher.filter = Filter { types: vec!["webhook".to_owned()], ..Filter::default() };
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url()), watcher]).await;
    house.followed(None).await;
    house.until("it is disabled", async || house.sink("shop").await.disabled.is_some()).await;
    house.until("the other sink is told", async || house.sink("watcher").await.delivered == 1).await;
    let told = other.seen()[0].json();
    assert_eq!((told["type"].as_str(), told["data"]["webhook"].as_str()), (Some("webhook.disabled"), Some("shop")));
    house.followed(None).await;
    assert_eq!(receiver.seen().len(), 1, "nothing goes to it any more");
    house.sinks.enable("shop").await.unwrap();
    house.until("all of it arrives", async || house.sink("shop").await.delivered == 3).await;
    let ids: Vec<i64> = receiver.seen().iter().map(Seen::seq).collect();
    assert_eq!(ids.iter().filter(|seq| **seq == 1).count(), 2, "the refused event came again: {ids:?}");
    assert!(house.board.causes().is_empty() || house.board.causes().iter().all(|cause| !cause.key.contains("shop")));
}

#[tokio::test]
async fn five_days_of_failures_disable_a_receiver() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::Status(503)).await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    house.followed(None).await;
    house.tried("shop").await;
    while house.next("shop").await {}
    assert!(house.sink("shop").await.disabled.is_none(), "that was three days");
    assert_eq!(house.sink("shop").await.dead, 1);
    clock.set(start_of_time() + seconds(5 * 86_400));
    house.followed(None).await;
    house.until("it is disabled", async || house.sink("shop").await.disabled.is_some()).await;
    let EventPage::Events(events) = house.store.events(0, 10).await.unwrap() else { panic!("all are there") };
    assert_eq!(events.last().unwrap().kind, EventType::WebhookDisabled);
    house
        .until("health says so", async || house.board.causes().iter().any(|cause| cause.key == "webhook_disabled:shop"))
        .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_not_sent_again_after_a_restart_and_what_was_not_is() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |seen| Reply::Status(if seen.seq() == 2 { 500 } else { 200 })).await;
    let setups = || vec![webhook("shop", &receiver.url())];
    let house = House::new(clock.clone(), setups()).await;
    for _ in 0..3 {
        house.followed(None).await;
    }
    house.tried("shop").await;
    let dir = house.stop().await;
    assert_eq!(receiver.seen().len(), 3);
    clock.advance(seconds(5));
    let again = std::sync::Arc::new(opros::sinks::SystemNames);
    let house = House::open(dir, clock.clone(), setups(), again).await;
    house.until("it was tried again", async || house.deliveries("shop").await[1].attempts == 2).await;
    let mut seen: Vec<i64> = receiver.seen().iter().map(Seen::seq).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 2, 3]);
    assert_eq!(receiver.seen().last().unwrap().at, clock.now());
}

#[tokio::test]
async fn a_filter_lets_through_what_it_names_and_a_new_sink_begins_with_the_next_event() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::Status(200)).await;
    let house = House::new(clock.clone(), Vec::new()).await;
    house.followed(Some("vip")).await;
    let dir = house.stop().await;
    let mut setup = webhook("shop", &receiver.url());
    setup.filter = Filter { types: vec!["job.cancelled".into()], tags: vec!["vip".into()], ..Filter::default() };
    let house = House::open(dir, clock.clone(), vec![setup], std::sync::Arc::new(opros::sinks::SystemNames)).await;
    let (vip, plain) = (house.followed(Some("vip")).await, house.followed(None).await);
    house.cancel(plain).await;
    house.cancel(vip).await;
    house.until("it arrives", async || house.sink("shop").await.delivered == 1).await;
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].json()["data"]["tag"].as_str()), (1, Some("vip")));
}

/// Answers every request with these bytes and leaves the connection open.
async fn receiver_that_says(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 16 << 10];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            open.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn a_delivery_is_decided_by_the_status_line_whatever_the_body_does() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\nless than that",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk at all",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let clock = ManualClock::new(start_of_time());
        let mut setup = webhook("shop", &receiver_that_says(answer).await);
        setup.timeout = Duration::from_millis(500);
        let house = House::new(clock.clone(), vec![setup]).await;
        house.followed(None).await;
        house
            .until("it is delivered", async || {
                !house.deliveries("shop").await.is_empty() && house.sink("shop").await.pending == 0
            })
            .await;
        let delivery = house.deliveries("shop").await.remove(0);
        assert_eq!((delivery.progress, delivery.attempts), (Progress::Delivered, 1), "{answer}");
    }
}

#[tokio::test]
async fn no_spelling_of_retry_after_makes_a_delivery_sooner_than_the_schedule() {
    const PAST: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    for said in ["0", " 0 ", "00", "-5", "2.5", "1e9", "0x10", "99999999999999999999", "soon", "", PAST, "01 Jan 2020"]
    {
        for status in [429, 503] {
            let clock = ManualClock::new(start_of_time());
            let receiver = Receiver::start(clock.clone(), move |_| Reply::With(status, "retry-after", said)).await;
            let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
            house.followed(None).await;
            house.tried("shop").await;
            for _ in 0..4 {
                house.next("shop").await;
            }
            let tried = since_start(&receiver.seen());
            let schedule = [0, 5, 305, 2_105, 9_305];
            assert!(tried.iter().zip(schedule).all(|(tried, due)| *tried >= due), "{status} {said:?}: {tried:?}");
        }
    }
}
