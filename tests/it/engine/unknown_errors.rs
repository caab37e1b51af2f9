//! An error that nobody understands, at a free call about a report that is paid for, does not cost the report.

use opros::domain::State;
use opros::domain::policy::UNKNOWN_ERRORS_TOLERATED;
use opros::simulator::FaultRule;
use serde_json::{Value, json};

use super::{fault, phone, says, tronk};
use crate::support::{TestDaemon, minutes, seconds};

const TOLERATED: u64 = UNKNOWN_ERRORS_TOLERATED as u64;

async fn start() -> TestDaemon {
    TestDaemon::start(|sim| tronk(sim, ""), |_| {}).await
}

fn complaint() -> Value {
    json!({ "error": true, "error_msg": "Что-то пошло не так, код 17" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_report_survives_the_vendors_bad_moment() {
    for tolerated in [1, TOLERATED] {
        let daemon = start().await;
        let nth: Vec<u64> = (1..=tolerated).collect();
        fault(&daemon, FaultRule::on("tronk", "checkqueue", says(&complaint())).nth(nth));
        let job = daemon.submit("tronk.report", phone(1)).await;
        daemon.advance(seconds(11)).await;
        let found = daemon.job(job).await;
        assert_eq!((found.state, found.unknown_errors), (State::Waiting, 1), "{:?}", found.reason);
        assert!(daemon.engine().why(&found).sentence.contains("код 17"), "{}", daemon.engine().why(&found).sentence);
        daemon.advance(minutes(45)).await;
        assert_eq!(daemon.job(job).await.state, State::Succeeded, "{tolerated}");
        assert_eq!((daemon.sim.ledger().len(), daemon.job(job).await.submissions), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_said_again_and_again_ends_the_job_also_across_restarts() {
    let mut daemon = start().await;
    fault(&daemon, FaultRule::on("tronk", "checkqueue", says(&complaint())));
    let job = daemon.submit("tronk.report", phone(1)).await;
    for n in 1..=TOLERATED {
        while daemon.calls("tronk.checkqueue") < n {
            daemon.advance(seconds(10)).await;
        }
        assert_eq!(daemon.job(job).await.state, State::Waiting, "{n}");
        daemon.restart().await;
    }
    daemon.advance(minutes(20)).await;
    let failed = daemon.job(job).await;
    assert_eq!((failed.state, daemon.calls("tronk.checkqueue")), (State::Failed, TOLERATED + 1));
    assert!(failed.reason.unwrap().message.contains("код 17"));
}
