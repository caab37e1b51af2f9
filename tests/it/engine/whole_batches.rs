//! A request for many jobs that cannot go as it was built goes at once as it can.

use opros::domain::State;
use serde_json::json;

use super::panics::{At, faulty, gate};
use crate::support::{TestDaemon, minutes, rlab_account, seconds};

/// The wish is committed after the batch was chosen and before it begins, so that one of its jobs may not begin.
#[tokio::test(flavor = "multi_thread")]
async fn one_job_that_moved_on_costs_its_batch_no_look() {
    let accounts = |sim: &opros::simulator::Simulator| rlab_account(sim, "poll_first = \"15m\"");
    let daemon = TestDaemon::start_with(accounts, |_| {}, |setup| faulty(At::Gate, setup)).await;
    let jobs = daemon.submit_all("rlab.track", (1..=3).map(|n| json!({ "track": format!("{n:010}") }))).await;
    daemon.advance(seconds(60)).await;
    assert_eq!(daemon.count(State::Waiting).await, 3);
    let mut due = daemon.now();
    for job in &jobs {
        due = due.max(daemon.job(*job).await.due_at.unwrap() + minutes(1));
    }
    gate::shut();
    daemon.clock.set(due);
    gate::somebody_waits().await;
    daemon.engine().cancel(jobs[0]).await.unwrap();
    gate::open();
    daemon.settle().await;
    for job in &jobs[1..] {
        let job = daemon.job(*job).await;
        assert_eq!((job.polls, job.errors, job.reason), (1, 0, None), "it was asked about, once");
    }
    assert_eq!(daemon.calls("rlab.gettrackinfo"), 1);
}
