use opros::clock::ManualClock;
use opros::domain::delivery::Attempt;
use opros::store::Retention;
use opros::store::sinks::Resent;
use std::time::Duration;

use super::house::{House, Receiver, Reply, Seen, start_of_time, webhook};

async fn told(events: usize) -> (House, Receiver) {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::Status(200)).await;
    let house = House::new(clock, vec![webhook("shop", &receiver.url())]).await;
    for _ in 0..events {
        house.followed(None).await;
    }
    house.until("all arrive", async || house.sink("shop").await.delivered == events as i64).await;
    (house, receiver)
}

#[tokio::test]
async fn a_replay_tells_everything_again_from_an_event_on_and_a_later_number_skips() {
    let (house, receiver) = told(5).await;
    house.sinks.replay("shop", 4).await.unwrap();
    house.until("two came again", async || house.sink("shop").await.delivered == 7).await;
    let mut again: Vec<i64> = receiver.seen()[5..].iter().map(Seen::seq).collect();
    again.sort_unstable();
    assert_eq!(again, [4, 5]);
    house.sinks.replay("shop", 6).await.unwrap();
    house.followed(None).await;
    house.until("the next one comes", async || house.sink("shop").await.delivered == 8).await;
    assert_eq!(receiver.seen().last().unwrap().seq(), 6);
}

#[tokio::test]
async fn one_event_can_be_sent_again_with_the_same_id_and_one_that_is_not_there_cannot() {
    let (house, receiver) = told(3).await;
    assert_eq!(house.sinks.resend("shop", 2).await.unwrap(), Resent::Queued);
    house.until("it came again", async || house.sink("shop").await.delivered == 4).await;
    let seen = receiver.seen();
    let twice: Vec<&Seen> = seen.iter().filter(|seen| seen.seq() == 2).collect();
    assert_eq!(twice.len(), 2);
    assert_eq!(twice[0].header("webhook-id"), twice[1].header("webhook-id"));
    assert_eq!(house.sinks.resend("shop", 99).await.unwrap(), Resent::NoEvent);
    assert_eq!(house.sinks.resend("nobody", 1).await.unwrap(), Resent::NoSink);
}

#[tokio::test]
async fn an_event_that_waits_can_be_sent_again_without_losing_those_behind_it() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), {
        let mut first = true;
        move |_| Reply::Status(if std::mem::replace(&mut first, false) { 500 } else { 200 })
    });
    let receiver = receiver.await;
    let house = House::new(clock, vec![webhook("shop", &receiver.url())]).await;
    let job = house.followed(None).await;
    house.tried("shop").await;
    house.cancel(job).await;
    house.tried("shop").await;
    house.sinks.resend("shop", 1).await.unwrap();
    house.until("both arrive", async || house.sink("shop").await.delivered == 2).await;
    assert_eq!(receiver.seen().iter().map(Seen::seq).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(house.sink("shop").await.pending, 0);
}

#[tokio::test]
async fn a_test_says_what_came_of_it_and_leaves_nothing_behind() {
    let (house, receiver) = told(1).await;
    assert_eq!(house.sinks.test("shop").await, Some(Attempt::Acknowledged { status: Some(200) }));
    let seen = receiver.seen().pop().unwrap();
    assert_eq!(seen.json()["type"], "opros.test");
    assert_eq!(house.deliveries("shop").await.len(), 1);
    assert_eq!(house.sinks.test("nobody").await, None);
}

#[tokio::test]
async fn retention_waits_for_a_sink_that_was_not_told_yet_and_not_for_one_that_is_disabled() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |seen| Reply::Status(if seen.seq() == 2 { 500 } else { 200 })).await;
    let house = House::new(clock.clone(), vec![webhook("shop", &receiver.url())]).await;
    for _ in 0..4 {
        house.followed(None).await;
    }
    house.tried("shop").await;
    let year = Duration::from_secs(31_536_000);
    let retention = Retention::by_age(year, Duration::from_secs(1), year);
    let later = start_of_time() + Duration::from_secs(100);
    assert_eq!(house.store.retain(retention, later).await.unwrap().events, 1, "the first; the second still waits");
    while house.next("shop").await {}
    assert_eq!(house.store.retain(retention, later).await.unwrap().events, 3, "it was given up");
}

#[tokio::test]
async fn an_event_that_a_filter_left_out_can_be_sent_by_hand_and_those_of_its_job_go_on() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::Status(200)).await;
    let mut setup = webhook("shop", &receiver.url());
    setup.filter.types = vec!["job.cancelled".to_owned()];
    let house = House::new(clock, vec![setup]).await;
    let job = house.followed(None).await;
    house.sinks.resend("shop", 1).await.unwrap();
    house.until("it arrives", async || house.sink("shop").await.delivered == 1).await;
    house.cancel(job).await;
    house.until("the next one, too", async || house.sink("shop").await.delivered == 2).await;
    assert_eq!(receiver.seen().iter().map(Seen::seq).collect::<Vec<_>>(), [1, 2]);
}
