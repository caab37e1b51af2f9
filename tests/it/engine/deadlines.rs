//! A paid order is not sent once its deadline has passed, whatever opros did meanwhile.

use opros::domain::state::Resolution;
use opros::domain::{EventType, State};
use opros::simulator::{Fault, FaultRule};

use super::{fault, order, tronk};
use crate::support::{TestDaemon, minutes, seconds};

async fn start(more: &str) -> TestDaemon {
    TestDaemon::start(|sim| tronk(sim, more), |_| {}).await
}

/// Before the accounts and the sweep looked at once after a stop, and whoever came first won.
#[tokio::test(flavor = "multi_thread")]
async fn what_ran_out_of_time_while_opros_was_down_is_not_sent_at_the_next_start() {
    let mut daemon = start("limits = { max_in_flight = 50 }").await;
    let (due, deadline) = (daemon.now() + minutes(5), daemon.now() + minutes(10));
    for n in 0..50 {
        order(&daemon, n, Some(due), Some(deadline)).await;
    }
    let clock = daemon.clock.clone();
    daemon.restart_after(|_| clock.set(deadline)).await;
    assert_eq!((daemon.count(State::Expired).await, daemon.calls("tronk.setqueue")), (50, 0));
    assert_eq!(daemon.events_of(EventType::JobExpired).await.len(), 50);
}

/// A suspended machine wakes and finds both times in the past.
#[tokio::test(flavor = "multi_thread")]
async fn what_ran_out_of_time_while_the_machine_slept_is_not_sent_when_it_wakes() {
    let daemon = start("limits = { max_in_flight = 50 }").await;
    let (due, deadline) = (daemon.now() + minutes(5), daemon.now() + minutes(10));
    for n in 0..50 {
        order(&daemon, n, Some(due), Some(deadline)).await;
    }
    daemon.clock.set(deadline + minutes(5));
    daemon.settle().await;
    assert_eq!((daemon.count(State::Expired).await, daemon.calls("tronk.setqueue")), (50, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_refuses_for_now_does_not_go_out_after_its_deadline() {
    let daemon = start("").await;
    let busy = Fault::Status {
        code: 429,
        body: String::new(),
        content_type: None,
        retry_after: Some("600".to_owned()),
        book: false,
    };
    fault(&daemon, FaultRule::on("tronk", "setqueue", busy).nth([1]));
    let job = order(&daemon, 1, None, Some(daemon.now() + minutes(9))).await;
    daemon.advance(minutes(60)).await;
    assert_eq!((daemon.job(job).await.state, daemon.calls("tronk.setqueue")), (State::Expired, 1));
    assert_eq!(daemon.sim.ledger().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_sends_again_after_its_deadline_expires_and_is_not_sent() {
    let daemon = start("").await;
    fault(&daemon, FaultRule::on("tronk", "setqueue", Fault::DropAfter {}).nth([1]));
    let job = order(&daemon, 1, None, Some(daemon.now() + minutes(10))).await;
    daemon.advance(minutes(20)).await;
    assert_eq!(daemon.job(job).await.state, State::InDoubt, "a deadline ends no doubt");
    let resolved = daemon.engine().resolve(job, Resolution::Resubmit).await.unwrap();
    assert_eq!(resolved.state, State::Expired);
    daemon.advance(minutes(5)).await;
    assert_eq!((daemon.calls("tronk.setqueue"), daemon.sim.ledger().len()), (1, 1));
}

/// Nobody asks about deadlines of what is in doubt; out of doubt they count again.
#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_doubt_before_its_deadline_ends_at_it() {
    let daemon = start("").await;
    fault(&daemon, FaultRule::on("tronk", "setqueue", Fault::DropAfter {}));
    let job = order(&daemon, 1, None, Some(daemon.now() + minutes(10))).await;
    daemon.settle().await;
    daemon.engine().pause("tronk", None).await.unwrap();
    daemon.engine().resolve(job, Resolution::Adopt("1".to_owned())).await.unwrap();
    assert_eq!(daemon.job(job).await.state, State::Waiting);
    daemon.advance(minutes(10) + seconds(1)).await;
    assert_eq!(daemon.job(job).await.state, State::Expired);
}
