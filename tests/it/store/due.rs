//! Nothing that is due is ever missed, whatever of its pace the file does not have yet.

use std::collections::BTreeSet;
use std::time::Duration;

use opros::domain::state::Input;
use opros::domain::{JobId, NewJob, Timestamp};
use opros::store::sqlite::SqliteStore;
use opros::store::{Batch, Change, Lane, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::{new_job, open, poll, start};

const SOON: Duration = Duration::from_secs(900);

async fn follow(store: &SqliteStore, count: usize) {
    let followed = || NewJob { follow: Some("track".to_owned()), ..new_job() };
    for part in 0..count.div_ceil(500) {
        let jobs = (part * 500..count.min(part * 500 + 500)).map(|_| followed()).collect();
        store.accept(jobs, start()).await.expect("accepted");
    }
}

/// Asks about everything that is due, as an account's loop does; what it begins is due again later. `meanwhile` runs after
/// each batch.
async fn ask_about_all(
    store: &SqliteStore,
    now: Timestamp,
    limit: usize,
    mut meanwhile: impl AsyncFnMut(),
) -> BTreeSet<JobId> {
    let mut asked = BTreeSet::new();
    loop {
        let due = store.due("tronk", Lane::Free, now, limit, &[]).await.expect("the store says what is due");
        if due.is_empty() {
            return asked;
        }
        let begin = |id: JobId| Change { job: id, input: poll(now + SOON) };
        let changes: Vec<Change> = due.iter().map(|due| begin(due.job.id)).collect();
        for due in &due {
            assert!(asked.insert(due.job.id), "job {} is listed twice", due.job.id);
        }
        for begun in store.apply(Batch::of(now, changes)).await.expect("begun") {
            begun.expect("it may begin");
        }
        meanwhile().await;
    }
}

/// A pace that the file does not have yet, beyond what memory holds: the file was read on past it, and it was never asked about
/// again before a restart.
#[tokio::test]
async fn a_backlog_larger_than_a_chunk_is_asked_about_again_and_again() {
    for count in [1_100, 5_000] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).await;
        follow(&store, count).await;
        for round in 0..3 {
            let now = start() + SOON * 2 * round;
            let asked = ask_about_all(&store, now, 100, async || {}).await;
            assert_eq!(asked.len(), count, "of {count}, in round {round}");
        }
    }
}

/// One statement in a thousand fails: no job is lost by it, and none stands in the way of others.
#[tokio::test]
async fn failed_commits_in_between_lose_nothing_that_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    follow(&store, 2_500).await;
    refuse_tagged(&dir).await;
    let bad = || NewJob { tag: Some("bad".to_owned()), ..new_job() };
    for round in 0..3 {
        let now = start() + SOON * 2 * round;
        let mut batch = 0;
        let asked = ask_about_all(&store, now, 100, async || {
            batch += 1;
            if batch % 3 == 0 {
                store.accept(vec![bad()], now).await.expect_err("the trigger refuses it");
            }
        });
        assert_eq!(asked.await.len(), 2_500, "in round {round}");
    }
}

#[tokio::test]
async fn after_a_failed_commit_the_jobs_just_begun_do_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    follow(&store, 500).await;
    refuse_tagged(&dir).await;
    let first = store.due("tronk", Lane::Free, start(), 100, &[]).await.unwrap();
    let changes = first.iter().map(|due| Change { job: due.job.id, input: poll(start() + SOON) }).collect();
    store.apply(Batch::of(start(), changes)).await.unwrap();
    store.accept(vec![NewJob { tag: Some("bad".to_owned()), ..new_job() }], start()).await.expect_err("refused");
    let others = store.due("tronk", Lane::Free, start(), 36, &[]).await.unwrap();
    assert_eq!(others.len(), 36, "400 others are due");
    let rest = ask_about_all(&store, start(), 36, async || {}).await;
    assert_eq!(rest.len(), 400);
    // What stands first in memory only is known, too: nobody waits longer than to the next of them.
    store.accept(vec![NewJob { tag: Some("bad".to_owned()), ..new_job() }], start()).await.expect_err("refused");
    assert_eq!(store.next_due("tronk", Lane::Free, start()).await.unwrap(), Some(start() + SOON));
}

/// Jobs that end drop out, whether or not their last pace was written.
#[tokio::test]
async fn what_has_ended_is_not_due_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    follow(&store, 1_200).await;
    let due = store.due("tronk", Lane::Free, start(), 50, &[]).await.unwrap();
    let begin = |id: JobId| Change { job: id, input: poll(start() + SOON) };
    store.apply(Batch::of(start(), due.iter().map(|due| begin(due.job.id)).collect())).await.unwrap();
    let cancel = |id: JobId| Change { job: id, input: Input::Cancel };
    store.apply(Batch::of(start(), due.iter().map(|due| cancel(due.job.id)).collect())).await.unwrap();
    let ended = due.len();
    let later = ask_about_all(&store, start() + SOON * 2, 100, async || {}).await;
    let cancelled = store.job(due[0].job.id).await.unwrap().unwrap().job.state.is_final();
    assert_eq!(later.len(), 1_200 - if cancelled { ended } else { 0 });
}

async fn refuse_tagged(dir: &tempfile::TempDir) {
    let options = SqliteConnectOptions::new().filename(dir.path().join("opros.db")).busy_timeout(SOON);
    let mut other = options.connect().await.unwrap();
    let refuse = "CREATE TRIGGER refuses BEFORE INSERT ON jobs WHEN NEW.tag = 'bad' \
        BEGIN SELECT raise(ABORT, 'not this one'); END";
    other.execute(refuse).await.unwrap();
}
