//! What an operator decides while a call about the job is under way.

use opros::domain::state::Resolution;
use opros::domain::{JobId, State};
use opros::simulator::{Fault, FaultPlan, FaultRule};
use serde_json::json;

use crate::support::{TestDaemon, rlab_account, seconds};

/// Its answer is lost, and the look-up has reached the vendor.
async fn until_it_is_looked_up(daemon: &TestDaemon, job: JobId) {
    daemon.clock.set(daemon.now() + seconds(31));
    while daemon.job(job).await.state != State::InDoubt {
        tokio::task::yield_now().await;
    }
    daemon.clock.set(daemon.now() + seconds(2));
    while daemon.calls("rlab.gettrackinfo") == 0 {
        tokio::task::yield_now().await;
    }
}

/// The look-up would find what was paid for, and sending it again meanwhile would pay for it twice.
#[tokio::test(flavor = "multi_thread")]
async fn no_decision_on_a_job_in_doubt_is_taken_while_its_look_up_is_under_way() {
    for resolution in [Resolution::Resubmit, Resolution::Fail, Resolution::Adopt("0000000001".to_owned())] {
        let rules = vec![
            FaultRule::on("rlab", "addtrack", Fault::DropAfter {}).first(1),
            FaultRule::on("rlab", "gettrackinfo", Fault::Slow { ms: 3_000 }).first(1),
        ];
        let daemon = TestDaemon::start(|sim| rlab_account(sim, ""), |config| config.faults = FaultPlan { rules }).await;
        let job = daemon.submit("rlab.track", json!({ "track": "0000000001" })).await;
        until_it_is_looked_up(&daemon, job).await;
        let refused = daemon.engine().resolve(job, resolution.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("under way") && refused.contains("again in a moment"), "{refused}");
        daemon.settle().await;
        assert_eq!(daemon.job(job).await.state, State::Waiting, "{resolution:?}: the look-up has found it");
        assert_eq!((daemon.calls("rlab.addtrack"), daemon.sim.ledger().len()), (1, 1), "{resolution:?}");
    }
}

/// A wish to cancel is kept until the call is over, whichever call that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_to_cancel_is_taken_while_a_look_up_is_under_way() {
    let rules = vec![
        FaultRule::on("rlab", "addtrack", Fault::DropAfter {}).first(1),
        FaultRule::on("rlab", "gettrackinfo", Fault::Slow { ms: 500 }).first(1),
    ];
    let daemon = TestDaemon::start(|sim| rlab_account(sim, ""), |config| config.faults = FaultPlan { rules }).await;
    let job = daemon.submit("rlab.track", json!({ "track": "0000000001" })).await;
    until_it_is_looked_up(&daemon, job).await;
    daemon.engine().cancel(job).await.unwrap();
    daemon.advance(seconds(120)).await;
    let cancelled = daemon.job(job).await;
    assert_eq!((cancelled.state, daemon.calls("rlab.addtrack")), (State::Cancelled, 1));
    assert_eq!(daemon.calls("rlab.deltrack"), 1, "what the look-up found was called off");
}
