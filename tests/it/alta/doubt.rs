//! A lost answer to `add`: one paid order in the ledger, whatever happens, and its hash adopted.

use opros::domain::{EventType, JobId, State};
use opros::simulator::{Change, Echo, Fault, FaultPlan};

use super::house::{adds, assert_polite, befall, events, order, order_with, plain, with};
use crate::support::{TestDaemon, minutes, seconds, wagon};

/// A number of the vendor's page.
const CONTAINER: &str = "AMFU8899067";

async fn ordered(daemon: &TestDaemon) -> JobId {
    // The key was tried a moment ago.
    daemon.advance(seconds(2)).await;
    daemon.submit("alta.track", order_with(&[&wagon(1)], serde_json::json!({ "comment": "груз 7" }))).await
}

/// The one order was paid, and the job has its hash and goes on.
async fn assert_adopted(daemon: &TestDaemon, job: JobId) {
    let booked = adds(daemon);
    assert_eq!(booked.len(), 1, "{booked:?}");
    let found = daemon.job(job).await;
    assert_eq!((found.state, found.remote_id.as_deref()), (State::Waiting, Some(booked[0].remote_id.as_str())));
    assert_eq!(found.submissions, 1);
    assert!(booked[0].token.as_ref().unwrap().ends_with("груз 7"), "the user's comment stands beside the token");
    assert_eq!(events(daemon, job, EventType::JobAccepted).await.len(), 1);
    assert_polite(daemon);
}

/// Spins until it is so: something that is under way cannot be settled for.
async fn until(daemon: &TestDaemon, is_so: impl Fn(&TestDaemon) -> bool) {
    let so = async {
        while !is_so(daemon) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(60), so).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_lost_is_looked_up_by_token_wherever_the_comment_turns_up() {
    for echo in [Echo::Name, Echo::Comment] {
        for fault in [
            Fault::DropAfter {},
            Fault::Truncated { book: true, clean: false },
            Fault::Truncated { book: true, clean: true },
            Fault::Html { book: true },
            Fault::Empty { book: true },
            Fault::Rst { book: true },
        ] {
            let daemon = plain().await;
            daemon.sim.control().apply(Change::AltaEcho { echo }).unwrap();
            befall(&daemon, "add", vec![1], fault.clone());
            let job = ordered(&daemon).await;
            daemon.advance(minutes(1)).await;
            assert_eq!(events(&daemon, job, EventType::JobInDoubt).await.len(), 1, "{fault:?}");
            assert_adopted(&daemon, job).await;
        }
    }
}

#[tokio::test]
async fn what_is_booked_after_the_connection_broke_is_found_before_it_counts_as_absent() {
    let daemon = plain().await;
    befall(&daemon, "add", vec![1], Fault::LateBooking { after_ms: 150_000 });
    let job = ordered(&daemon).await;
    daemon.advance(minutes(2)).await;
    assert_eq!((daemon.job(job).await.state, adds(&daemon).len()), (State::InDoubt, 0));
    daemon.clock.advance(seconds(31));
    until(&daemon, |daemon| adds(daemon).len() == 1).await;
    daemon.advance(minutes(5)).await;
    assert_adopted(&daemon, job).await;
}

#[tokio::test]
async fn a_crash_while_the_answer_hangs_pays_once() {
    let mut daemon = plain().await;
    befall(&daemon, "add", vec![1], Fault::Hang { book: true });
    let job = ordered(&daemon).await;
    until(&daemon, |daemon| daemon.calls("alta.add") == 1).await;
    daemon.crash().await;
    daemon.advance(minutes(5)).await;
    assert_adopted(&daemon, job).await;
}

#[tokio::test]
async fn a_crash_while_the_look_up_hangs_changes_nothing() {
    let mut daemon = plain().await;
    befall(&daemon, "add", vec![1], Fault::DropAfter {});
    let job = ordered(&daemon).await;
    daemon.settle().await;
    assert_eq!(daemon.job(job).await.state, State::InDoubt);
    befall(&daemon, "track_list", vec![1], Fault::Hang { book: false });
    daemon.clock.advance(seconds(1));
    until(&daemon, |daemon| daemon.calls("alta.track_list") == 1).await;
    daemon.crash().await;
    daemon.advance(minutes(5)).await;
    assert_adopted(&daemon, job).await;
}

#[tokio::test]
async fn what_is_absent_twice_stays_in_doubt_with_its_reason() {
    let daemon = plain().await;
    befall(&daemon, "add", vec![1], Fault::DropBefore {});
    let job = ordered(&daemon).await;
    daemon.advance(minutes(60)).await;
    let found = daemon.job(job).await;
    assert_eq!((found.state, found.due_at, found.absences), (State::InDoubt, None, 2));
    assert_eq!(found.reason.unwrap().code, "absent");
    assert_eq!((adds(&daemon).len(), daemon.calls("alta.add")), (0, 1));
    assert!(daemon.calls("alta.track_list") <= 3, "one at once, two that count");
    assert_polite(&daemon);
}

#[tokio::test]
async fn what_is_absent_twice_is_ordered_again_where_the_account_says_so() {
    let daemon = with("resubmit = true").await;
    befall(&daemon, "add", vec![1], Fault::DropBefore {});
    let job = ordered(&daemon).await;
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.job(job).await.state, State::InDoubt, "settle has not passed twice");
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.calls("alta.add"), 2);
    assert_adopted(&daemon, job).await;
}

#[tokio::test]
async fn a_list_that_lags_or_cannot_be_read_proves_nothing() {
    let daemon = with("resubmit = true").await;
    let control = daemon.sim.control();
    control.apply(Change::AltaListLag { ms: 60_000 }).unwrap();
    befall(&daemon, "add", vec![1], Fault::DropAfter {});
    let job = ordered(&daemon).await;
    daemon.advance(seconds(30)).await;
    befall(&daemon, "track_list", (1..=20).collect(), Fault::Html { book: false });
    daemon.advance(minutes(10)).await;
    assert_eq!((daemon.job(job).await.state, daemon.job(job).await.absences), (State::InDoubt, 0));
    control.set_faults(FaultPlan::default()).unwrap();
    daemon.advance(minutes(10)).await;
    assert_adopted(&daemon, job).await;
}

#[tokio::test]
async fn a_mixed_order_is_adopted_with_both_hashes() {
    let daemon = plain().await;
    befall(&daemon, "add", vec![1], Fault::DropAfter {});
    let job = daemon.submit("alta.track", order(&[&wagon(1), CONTAINER])).await;
    daemon.advance(minutes(1)).await;
    let hashes: Vec<String> = adds(&daemon).into_iter().map(|booking| booking.remote_id).collect();
    assert_eq!((hashes.len(), daemon.calls("alta.add")), (2, 1));
    assert_eq!(daemon.job(job).await.remote_id, Some(hashes.join("+")));
}
