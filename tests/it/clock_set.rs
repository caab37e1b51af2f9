//! A machine whose clock was wrong, and was set right.

use std::sync::Arc;
use std::time::Duration;

use opros::clock::{ManualClock, SharedClock};
use opros::domain::repeat::Asked;
use opros::domain::state::{Begin, Input, Outcome};
use opros::domain::{Call, JobId, NewJob, Reason, State, Timestamp, Traits};
use opros::store::sqlite::SqliteStore;
use opros::store::{Batch, Change, Lane, Store};

fn start() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn new_job() -> NewJob {
    NewJob {
        kind: "tronk.report".to_owned(),
        account: "tronk".to_owned(),
        traits: Traits::default(),
        params: r#"{"phone":"79990000111"}"#.to_owned(),
        priority: 5,
        not_before: None,
        deadline: None,
        dedupe_key: None,
        tag: None,
        mailbox_uid: None,
        retry_of: None,
        asked: Asked::default(),
        follow: None,
    }
}

fn submit(token: &str) -> Input {
    Input::Begin(Begin::Submit { token: token.to_owned(), request_hash: "h".to_owned() })
}

/// The daemon ran for a while with a clock that was three years ahead; the machine's time is right again.
#[tokio::test]
async fn after_the_clock_was_set_back_what_was_planned_is_due_at_once_and_a_clients_time_stays() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = start() + Duration::from_secs(3 * 365 * 86_400);
    let by_clock = |at| -> SharedClock { Arc::new(ManualClock::new(at)) };
    let path = dir.path().join("opros.db");
    let store = SqliteStore::open(&path, true, by_clock(ahead)).await.unwrap();
    let later = Some(ahead + Duration::from_secs(3_600));
    let orders = vec![new_job(), new_job(), new_job(), NewJob { not_before: later, ..new_job() }];
    let jobs: Vec<JobId> = store.accept(orders, ahead).await.unwrap().into_iter().filter_map(|it| it.job()).collect();
    let step = async |job, input| {
        let batch = Batch::of(ahead, vec![Change { job, input }]);
        store.apply(batch).await.unwrap().remove(0).unwrap()
    };
    for (job, token) in [(jobs[1], "a"), (jobs[2], "b")] {
        step(job, submit(token)).await;
    }
    let accepted = Outcome::Accepted { remote_id: Some("77".to_owned()), memo: None, next_at: ahead };
    step(jobs[1], Input::End { turn: 1, call: Call::Submit, outcome: accepted }).await;
    let unclear = Outcome::Unclear { reason: Reason::new("cut", "cut") };
    step(jobs[2], Input::End { turn: 1, call: Call::Submit, outcome: unclear }).await;
    store.close().await;

    let store = SqliteStore::open(&path, true, by_clock(start())).await.unwrap();
    let due = async |lane| {
        let due = store.due("tronk", lane, start(), 10, &[]).await.unwrap();
        due.into_iter().map(|due| due.job).collect::<Vec<_>>()
    };
    let ids = |jobs: &[std::sync::Arc<opros::domain::Job>]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&due(Lane::Submit).await), [jobs[0]]);
    assert_eq!(ids(&due(Lane::Free).await), [jobs[1]]);
    let doubt = store.job(jobs[2]).await.unwrap().expect("the job").job;
    assert_eq!(
        (doubt.state, doubt.doubt_since),
        (State::InDoubt, Some(start())),
        "the vendor's time to book begins anew"
    );
    store.close().await;
    let store = SqliteStore::open(&path, true, by_clock(start())).await.unwrap();
    assert_eq!(store.next_due("tronk", Lane::Submit, start()).await.unwrap(), later);
}
