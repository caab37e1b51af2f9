//! An outcome that the store refuses for what it is: the call ends, and the job is where a person finds it.

use opros::domain::State;
use opros::domain::state::QUARANTINED;
use sqlx::{Connection, SqliteConnection};

use super::{phone, tronk};
use crate::support::{TestDaemon, minutes};

async fn run(daemon: &TestDaemon, statement: &str) {
    let mut store = SqliteConnection::connect(&format!("sqlite:{}", daemon.store_path().display())).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut store).await.unwrap();
    store.close().await.unwrap();
}

/// Only what was accepted cannot be written: a crash would leave the job in doubt, and so it stands.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_acceptance_cannot_be_written_is_in_doubt_and_the_others_go_on() {
    let daemon = TestDaemon::start(|sim| tronk(sim, "limits = { max_in_flight = 1 }"), |_| {}).await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON jobs WHEN NEW.id = 1 AND NEW.state = 2 \
        BEGIN SELECT RAISE(ABORT, 'refused, on purpose'); END";
    run(&daemon, refuse).await;
    let bad = daemon.submit("tronk.report", phone(1)).await;
    assert_eq!(bad.0, 1);
    let good = daemon.submit("tronk.report", phone(2)).await;
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.job(good).await.state, State::Succeeded, "the one place is free again");
    let job = daemon.job(bad).await;
    assert_eq!((job.state, job.reason.unwrap().code.as_str()), (State::InDoubt, QUARANTINED));
    assert_eq!(daemon.calls("tronk.setqueue"), 2, "it is not sent again");
}

/// Nothing at all can be written about it: its place is free, a stop is not held up, and the next start finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_about_which_nothing_can_be_written_holds_up_neither_the_account_nor_a_stop() {
    let mut daemon = TestDaemon::start(|sim| tronk(sim, "limits = { max_in_flight = 1 }"), |_| {}).await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON jobs WHEN NEW.id = 1 AND OLD.state = 1 \
        BEGIN SELECT RAISE(ABORT, 'refused, on purpose'); END";
    run(&daemon, refuse).await;
    let bad = daemon.submit("tronk.report", phone(1)).await;
    let good = daemon.submit("tronk.report", phone(2)).await;
    daemon.advance(minutes(5)).await;
    assert_eq!(daemon.job(good).await.state, State::Succeeded);
    assert_eq!((daemon.job(bad).await.state, daemon.engine().calls_in_flight()), (State::Submitting, 0));
    assert_eq!(daemon.engine().runner("tronk").unwrap().barred(), [bad]);
    run(&daemon, "DROP TRIGGER refuse").await;
    daemon.restart().await;
    assert_eq!((daemon.job(bad).await.state, daemon.calls("tronk.setqueue")), (State::InDoubt, 2));
}
