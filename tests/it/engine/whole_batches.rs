//! A request for many jobs that cannot go as it was built goes at once as it can.

use opros::domain::State;
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::support::{TestDaemon, minutes, rlab_account, seconds};

/// The wish stands in the writer's queue when the batch is chosen, so that one of its jobs may not begin.
#[tokio::test(flavor = "multi_thread")]
async fn one_job_that_moved_on_costs_its_batch_no_look() {
    let daemon = TestDaemon::start(|sim| rlab_account(sim, "poll_first = \"15m\""), |_| {}).await;
    let jobs: Vec<_> = daemon.submit_all("rlab.track", (1..=3).map(|n| json!({ "track": format!("{n:010}") }))).await;
    daemon.advance(seconds(60)).await;
    assert_eq!(daemon.count(State::Waiting).await, 3);
    let mut due = daemon.now();
    for job in &jobs {
        due = due.max(daemon.job(*job).await.due_at.unwrap() + minutes(1));
    }
    let mut lock = SqliteConnection::connect(&format!("sqlite:{}", daemon.store_path().display())).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let engine = daemon.engine().clone();
    let first = jobs[0];
    let mut wish = Box::pin(async move { engine.cancel(first).await });
    // Polled once: it waits in the writer's queue, before anything that is chosen from now on.
    assert!(futures_util::poll!(&mut wish).is_pending());
    daemon.clock.set(due);
    while daemon.engine().calls_in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    wish.await.unwrap();
    daemon.settle().await;
    for job in &jobs[1..] {
        let job = daemon.job(*job).await;
        assert_eq!((job.polls, job.errors, job.reason), (1, 0, None), "it was asked about, once");
    }
    assert_eq!(daemon.calls("rlab.gettrackinfo"), 1);
}
