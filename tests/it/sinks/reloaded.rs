//! Sinks that come, go and change while others are being told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use opros::clock::ManualClock;
use tokio::sync::Notify;

use super::house::{House, Receiver, Reply, Seen, start_of_time, webhook};

fn numbers(receiver: &Receiver) -> Vec<i64> {
    let mut numbers: Vec<i64> = receiver.seen().iter().map(Seen::seq).collect();
    numbers.sort_unstable();
    numbers
}

async fn good(clock: &ManualClock) -> Receiver {
    Receiver::start(clock.clone(), |_| Reply::Status(200)).await
}

#[tokio::test]
async fn an_address_that_changes_gets_what_is_left_and_nothing_that_was_delivered() {
    let clock = ManualClock::new(start_of_time());
    let refuses = Arc::new(AtomicBool::new(false));
    let old = Receiver::start(clock.clone(), {
        let refuses = Arc::clone(&refuses);
        move |_| Reply::Status(if refuses.load(SeqCst) { 500 } else { 200 })
    })
    .await;
    let new = good(&clock).await;
    let house = House::new(clock, vec![webhook("shop", &old.url())]).await;
    house.followed(None).await;
    house.until("the first arrives", async || house.sink("shop").await.delivered == 1).await;
    refuses.store(true, SeqCst);
    house.followed(None).await;
    house.tried("shop").await;
    house.change(vec![webhook("shop", &new.url())]).await;
    house.followed(None).await;
    house.until("the third arrives", async || house.sink("shop").await.delivered == 2).await;
    assert!(house.next("shop").await, "the second waits for its next try");
    house.until("the second arrives", async || house.sink("shop").await.delivered == 3).await;
    assert_eq!((numbers(&old), numbers(&new)), (vec![1, 2], vec![2, 3]));
    assert_eq!(house.sink("shop").await.pending, 0);
}

#[tokio::test]
async fn a_sink_that_goes_and_comes_back_goes_on_where_it_was_and_a_new_one_begins_with_what_is_new() {
    let clock = ManualClock::new(start_of_time());
    let (shop, other) = (good(&clock).await, good(&clock).await);
    let house = House::new(clock, vec![webhook("shop", &shop.url())]).await;
    house.followed(None).await;
    house.until("the first arrives", async || house.sink("shop").await.delivered == 1).await;
    house.change(vec![webhook("other", &other.url())]).await;
    assert!(!house.sinks.has("shop") && house.sinks.has("other"));
    assert_eq!(house.sinks.standings().await.unwrap().len(), 1);
    house.followed(None).await;
    house.until("another one is told", async || house.sink("other").await.delivered == 1).await;
    house.change(vec![webhook("shop", &shop.url()), webhook("other", &other.url())]).await;
    house.until("what it missed arrives", async || house.sink("shop").await.delivered == 2).await;
    assert_eq!((numbers(&shop), numbers(&other)), (vec![1, 2], vec![2]));
}

#[tokio::test]
async fn a_delivery_under_way_ends_as_it_began_and_is_not_made_twice() {
    let clock = ManualClock::new(start_of_time());
    let go_on = Arc::new(Notify::new());
    let slow = Receiver::start(clock.clone(), {
        let go_on = Arc::clone(&go_on);
        move |_| Reply::Later(Arc::clone(&go_on))
    })
    .await;
    let new = good(&clock).await;
    let house = House::new(clock, vec![webhook("shop", &slow.url())]).await;
    let job = house.followed(None).await;
    while slow.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    // It goes, comes back with another address, and is told of what is not under way.
    house.change(Vec::new()).await;
    house.change(vec![webhook("shop", &new.url())]).await;
    house.followed(None).await;
    house.until("the new address is told", async || house.sink("shop").await.delivered == 1).await;
    house.cancel(job).await;
    go_on.notify_one();
    house.until("the rest arrives, too", async || house.sink("shop").await.delivered == 3).await;
    assert_eq!((numbers(&slow), numbers(&new)), (vec![1], vec![2, 3]));
}

#[tokio::test]
async fn another_filter_holds_from_then_on_and_what_was_recorded_before_is_still_delivered() {
    let clock = ManualClock::new(start_of_time());
    let refuses = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::start(clock.clone(), {
        let refuses = Arc::clone(&refuses);
        move |_| Reply::Status(if refuses.load(SeqCst) { 500 } else { 200 })
    })
    .await;
    let setup = |tag: &str| {
        let mut setup = webhook("shop", &receiver.url());
        setup.filter.tags = vec![tag.to_owned()];
        setup
    };
    let house = House::new(clock, vec![setup("one")]).await;
    house.followed(Some("two")).await;
    house.followed(Some("one")).await;
    house.tried("shop").await;
    house.change(vec![setup("two")]).await;
    house.followed(Some("one")).await;
    house.followed(Some("two")).await;
    house.tried("shop").await;
    refuses.store(false, SeqCst);
    while house.next("shop").await {}
    let delivered: Vec<i64> = house.deliveries("shop").await.iter().map(|one| one.seq).collect();
    assert_eq!(delivered, [2, 4], "neither what the old filter left out nor what the new one does");
    assert_eq!(house.sink("shop").await.delivered, 2);
}
