//! When jobs are asked about next is written a moment later, many at once: what if the file refuses just that?

use std::time::Duration;

use opros::store::sqlite::SqliteStore;
use opros::store::{Lane, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::{accepted, id, new_job, one, open, poll, start, submit};

/// A healthy store needs a thousandth of it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn failed_commits(store: &SqliteStore, at_least: u64) -> u64 {
    let failures = || store.meters().commit_failures.get();
    let seen = async {
        while failures() < at_least {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the pace was tried to be written");
    failures()
}

/// Lesson 17: outcomes go first. A pace that was tried ahead of everything, again and again, let none of them through.
#[tokio::test]
async fn a_pace_that_cannot_be_written_holds_up_no_outcome_and_is_tried_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
    one(&store, job, submit("t")).await.unwrap();
    one(&store, job, accepted(1)).await.unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("opros.db")).busy_timeout(PATIENCE);
    let mut other = options.connect().await.unwrap();
    let refuse = "CREATE TRIGGER refuses BEFORE UPDATE ON jobs BEGIN SELECT raise(ABORT, 'no pace is written'); END";
    other.execute(refuse).await.unwrap();

    let later = start() + Duration::from_secs(10);
    one(&store, job, poll(later)).await.unwrap();
    let before = failed_commits(&store, 1).await;
    for n in 0..20 {
        let accepting = store.accept(vec![new_job()], start());
        let taken = tokio::time::timeout(PATIENCE, accepting).await;
        assert!(
            taken.unwrap_or_else(|_| panic!("order {n} waits behind the pace")).is_ok(),
            "order {n} alone is sound"
        );
    }
    let tried = failed_commits(&store, 0).await - before;
    assert!(tried <= 20, "tried {tried} times meanwhile: a tight loop");

    other.execute("DROP TRIGGER refuses").await.unwrap();
    store.close().await;
    let store = open(&dir).await;
    assert_eq!(store.next_due("tronk", Lane::Free, start()).await.unwrap(), Some(later), "nothing of it was lost");
}
