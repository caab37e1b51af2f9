//! Retention by count, and a file that becomes shorter.

use std::sync::Arc;
use std::time::Duration;

use opros::clock::{ManualClock, SharedClock};
use opros::domain::repeat::Asked;
use opros::domain::state::Input;
use opros::domain::{JobId, NewJob, Timestamp, Traits};
use opros::store::sqlite::SqliteStore;
use opros::store::upkeep::Most;
use opros::store::{Accepted, Batch, Change, EventPage, JobFilter, Retention, Store};
use serde_json::json;

fn start() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn year() -> Retention {
    let year = Duration::from_secs(365 * 86_400);
    Retention {
        finished: year,
        events: year,
        calls: year,
        uids: year,
        ledger: Retention::LEDGER,
        most: Most::default(),
        mailbox: true,
    }
}

async fn open(dir: &tempfile::TempDir) -> SqliteStore {
    let clock: SharedClock = Arc::new(ManualClock::new(start()));
    SqliteStore::open(&dir.path().join("opros.db"), true, clock).await.unwrap()
}

fn job(text: &str, uid: Option<String>) -> NewJob {
    NewJob {
        kind: "tronk.report".to_owned(),
        account: "tronk".to_owned(),
        traits: Traits::default(),
        params: json!({ "phone": text }).to_string(),
        priority: 5,
        not_before: None,
        deadline: None,
        dedupe_key: None,
        tag: None,
        mailbox_uid: uid,
        retry_of: None,
        asked: Asked::default(),
        follow: None,
    }
}

/// Jobs that are cancelled.
async fn finished(store: &SqliteStore, count: usize, uid: impl Fn(usize) -> Option<String>) -> Vec<JobId> {
    let jobs = (0..count).map(|n| job(&"x".repeat(4_000), uid(n))).collect();
    let accepted = store.accept(jobs, start()).await.unwrap();
    let ids: Vec<JobId> = accepted.into_iter().filter_map(Accepted::job).collect();
    let cancel = |id: &JobId| Change { job: *id, input: Input::Cancel };
    store.apply(Batch::of(start(), ids.iter().map(cancel).collect())).await.unwrap();
    ids
}

async fn clean(store: &SqliteStore, retention: Retention, now: Timestamp) -> (u64, u64, u64) {
    let (mut jobs, mut events, mut pages) = (0, 0, 0);
    for _ in 0..1_000 {
        let removed = store.retain(retention, now).await.unwrap();
        (jobs, events, pages) = (jobs + removed.jobs, events + removed.events, pages + removed.pages);
        if !removed.more {
            return (jobs, events, pages);
        }
    }
    panic!("retention finds no end");
}

#[tokio::test]
async fn more_than_are_wanted_go_oldest_first_and_the_unfinished_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let waiting = store.accept(vec![job("1", None)], start()).await.unwrap()[0].job().unwrap();
    let ids = finished(&store, 1_200, |_| None).await;
    let retention = Retention { most: Most { finished: Some(100), events: Some(50), calls: None }, ..year() };
    let (jobs, events, _) = clean(&store, retention, start()).await;
    assert_eq!((jobs, events), (1_100, 1_150));
    let left = store.jobs(JobFilter { limit: 1_000, ..JobFilter::default() }).await.unwrap().jobs;
    assert_eq!(left.len(), 101);
    assert!(left.iter().any(|details| details.job.id == waiting), "never deleted");
    assert!(left.iter().any(|details| details.job.id == *ids.last().unwrap()), "the newest stay");
    assert_eq!(store.events(0, 10).await.unwrap(), EventPage::Gone { oldest: 1_151 });
    assert_eq!(store.events(1_201, 10).await.unwrap(), EventPage::Ahead { last: 1_200 });
}

#[tokio::test]
async fn the_file_becomes_shorter_and_holds_nothing_of_what_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    finished(&store, 2_000, |_| None).await;
    let path = dir.path().join("opros.db");
    let later = start() + Duration::from_secs(400 * 86_400);
    store.close().await;
    let before = std::fs::metadata(&path).unwrap().len();
    let store = open(&dir).await;
    let (jobs, _, pages) = clean(&store, year(), later).await;
    store.close().await;
    let after = std::fs::metadata(&path).unwrap().len();
    assert_eq!(jobs, 2_000);
    assert!(pages > 1_000, "{pages}");
    assert!(after < before / 3, "{before} bytes became {after}");
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(64).any(|window| window.iter().all(|byte| *byte == b'x')), "what is removed is overwritten");
}

#[tokio::test]
async fn events_wait_for_a_mailbox_only_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    finished(&store, 3, |n| Some(format!("uid-{n}"))).await;
    let later = start() + Duration::from_secs(400 * 86_400);
    assert_eq!(clean(&store, year(), later).await.1, 0, "they were never written to the mailbox");
    assert_eq!(clean(&store, Retention { mailbox: false, ..year() }, later).await.1, 3);
}
