//! What the store does while something is wrong with its file, its disk, or one row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opros::domain::state::{End, Input, Outcome};
use opros::domain::{JobId, NewJob, State};
use opros::store::sinks::SinkStore;
use opros::store::sqlite::SqliteStore;
use opros::store::sqlite::disk::{DiskRules, Probe};
use opros::store::{ApplyError, Batch, Change, JobFilter, Lane, Retention, Store, StoreError, StoreHealth};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};

use super::{accepted, clock, id, new_job, one, open, poll, start, submit};

async fn other(dir: &tempfile::TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.path().join("opros.db"));
    options.busy_timeout(Duration::from_secs(20)).connect().await.unwrap()
}

/// Fault core B8. The writer waits five seconds for a lock; so it did for each of five hundred, one after another.
#[tokio::test]
async fn a_store_that_is_locked_by_others_answers_everybody_after_one_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir).await);
    let mut lock = other(&dir).await;
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    let begun = Instant::now();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.accept(vec![new_job()], start()).await })
        })
        .collect();
    for asked in asking {
        assert!(matches!(asked.await.unwrap(), Err(StoreError::Busy(_))));
    }
    store.heartbeat().await.unwrap();
    // Alone, each of them would have waited for five seconds.
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    assert!(matches!(store.health(), StoreHealth::Blocked { fatal: false, .. }));
    lock.execute("ROLLBACK").await.unwrap();
    assert!(store.accept(vec![new_job()], start()).await.is_ok(), "it goes on by itself");
}

/// A change that is refused for what it is spoils nothing for its neighbours, and is told apart from passing trouble.
#[tokio::test]
async fn a_change_that_the_file_refuses_is_a_refusal_and_concerns_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir).await);
    let jobs = store.accept(vec![new_job(), new_job(), new_job()], start()).await.unwrap();
    let refuse = format!(
        "CREATE TRIGGER refuses BEFORE UPDATE ON jobs WHEN NEW.id = {} BEGIN SELECT raise(ABORT, 'not this one'); END",
        id(jobs[1])
    );
    other(&dir).await.execute(sqlx::AssertSqlSafe(refuse)).await.unwrap();
    let cancels = jobs.iter().map(|job| {
        let batch = Batch::of(start(), vec![Change { job: id(*job), input: Input::Cancel }]);
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.apply(batch).await })
    });
    let mut refused = Vec::new();
    for cancel in cancels.collect::<Vec<_>>() {
        match cancel.await.unwrap() {
            Ok(results) => assert!(results[0].is_ok()),
            Err(error) => refused.push(error),
        }
    }
    assert!(matches!(refused.as_slice(), [error @ StoreError::Refused(_)] if error.is_refusal()), "{refused:?}");
    assert_eq!(store.health(), StoreHealth::Good);
}

async fn open_with_room(dir: &tempfile::TempDir, free: &Arc<AtomicU64>, ballast: u64) -> SqliteStore {
    let asked = Arc::clone(free);
    let probe = Probe::new(move |_| Ok(asked.load(Ordering::Relaxed)));
    let rules = DiskRules { free_floor: 64 << 20, ballast, probe };
    SqliteStore::open_with(&dir.path().join("opros.db"), true, clock(), rules).await.unwrap()
}

/// Fault core B9: what the configuration, the documentation and health say.
#[tokio::test]
async fn below_the_floor_nothing_new_is_taken_in_with_or_without_ballast_and_outcomes_are_recorded() {
    for ballast in [0, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(1 << 30));
        let store = open_with_room(&dir, &free, ballast).await;
        let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
        one(&store, job, submit("t")).await.unwrap();
        free.store(1 << 20, Ordering::Relaxed);
        until("it is short of room", || matches!(store.health(), StoreHealth::Tight { .. })).await;
        let refused = store.accept(vec![new_job()], start()).await;
        assert!(matches!(&refused, Err(StoreError::Full(why)) if why.contains("free_floor")), "{refused:?}");
        one(&store, job, accepted(1)).await.expect("what was paid for is recorded");
        free.store(1 << 30, Ordering::Relaxed);
        until("there is room again", || store.health() == StoreHealth::Good).await;
        assert!(store.accept(vec![new_job()], start()).await.is_ok());
    }
}

/// Fault core B10: while room is short the log is emptied every two seconds, and a reader is not waited for.
#[tokio::test]
async fn a_reader_does_not_stop_the_writer_while_room_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let store = open_with_room(&dir, &free, 0).await;
    let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
    one(&store, job, submit("t")).await.unwrap();
    let mut reader = other(&dir).await;
    reader.execute("BEGIN; SELECT count(*) FROM jobs").await.unwrap();
    one(&store, job, accepted(1)).await.unwrap();
    free.store(1 << 20, Ordering::Relaxed);
    until("it is short of room", || matches!(store.health(), StoreHealth::Tight { .. })).await;
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(7) {
        let asked = Instant::now();
        store.heartbeat().await.unwrap();
        longest = longest.max(asked.elapsed());
        tokio::task::yield_now().await;
    }
    assert!(longest < Duration::from_secs(4), "the writer stood still for {longest:?}");
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let seen = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Fault core B17.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_alone_and_spoils_nothing_for_others() {
    for damage in ["priority = 300", "turn = -1", "polls = 99999999999", "state = 99, finished_at = 1, due_at = NULL"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).await;
        let follow =
            || NewJob { follow: Some("t".to_owned()), deadline: Some(start() + Duration::from_secs(9)), ..new_job() };
        let jobs = store.accept(vec![follow(), follow(), follow(), new_job(), new_job()], start()).await.unwrap();
        let bad = [id(jobs[1]), id(jobs[3])];
        store.close().await;
        let mut conn = other(&dir).await;
        for bad in bad {
            let damage = format!("PRAGMA ignore_check_constraints = ON; UPDATE jobs SET {damage} WHERE id = {bad}");
            conn.execute(sqlx::AssertSqlSafe(damage)).await.unwrap();
        }
        conn.close().await.unwrap();

        let store = open(&dir).await;
        let ids = |due: Vec<opros::store::DueJob>| due.iter().map(|due| due.job.id.0).collect::<Vec<_>>();
        for limit in [1, 2, 10] {
            let free = ids(store.due("tronk", Lane::Free, start(), limit, &[]).await.unwrap());
            assert_eq!(free, [1, 3][..limit.min(2)], "{damage}");
            let submits = ids(store.due("tronk", Lane::Submit, start(), limit, &[]).await.unwrap());
            assert_eq!(submits, [5], "{damage}");
        }
        let listed: Vec<i64> = all(&store, 1).await.iter().map(|id| id.0).collect();
        assert_eq!(listed, [5, 3, 1], "{damage}");
        let late = start() + Duration::from_secs(10);
        assert_eq!(store.overdue(late, 2).await.unwrap(), [JobId(1), JobId(3)], "{damage}");
        assert_eq!(store.export_jobs(JobId(0), start()).await.unwrap().len(), 3, "{damage}");
        // In the writer: its own change fails, those beside it do not, and the daemon has no reason to stop.
        let cancel = |job| Change { job, input: Input::Cancel };
        let applied = store.apply(Batch::of(start(), vec![cancel(id(jobs[0])), cancel(bad[0])])).await.unwrap();
        assert!(applied[0].is_ok() && applied[1] == Err(ApplyError::Unreadable(bad[0])), "{damage}: {applied:?}");
        let warned = store.warnings();
        assert!(
            warned.len() == 1 && warned[0].code == "rows_unreadable" && warned[0].what.contains("2 rows"),
            "{warned:?}"
        );
        assert_eq!(store.health(), StoreHealth::Good);
    }
}

async fn all(store: &SqliteStore, limit: usize) -> Vec<JobId> {
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = store.jobs(JobFilter { before, limit, ..JobFilter::default() }).await.unwrap();
        seen.extend(page.jobs.iter().map(|details| details.job.id));
        before = page.next;
        if before.is_none() {
            return seen;
        }
    }
}

/// Fault core B11: the numbers that are left have no holes, whatever must stay.
#[tokio::test]
async fn retention_leaves_no_holes_in_the_numbers_of_events() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let day = Duration::from_secs(86_400);
    // Jobs of the mailbox, which was not told yet, between others; one of them dated by a clock that was days ahead.
    for n in 0..30_u32 {
        let uid = (n == 7 || n == 20).then(|| format!("u{n}"));
        let at = if n == 3 { start() + day * 300 } else { start() + Duration::from_secs(u64::from(n)) };
        let job = id(store.accept(vec![NewJob { mailbox_uid: uid, ..new_job() }], at).await.unwrap()[0]);
        store.apply(Batch::of(at, vec![Change { job, input: Input::Cancel }])).await.unwrap();
    }
    let numbers = async || -> Vec<i64> {
        let mut conn = other(&dir).await;
        sqlx::query_scalar("SELECT seq FROM events ORDER BY seq").fetch_all(&mut conn).await.unwrap()
    };
    let (first, last) = (numbers().await[0], *numbers().await.last().unwrap());
    let retention = Retention::by_age(day, day, day);
    store.retain(retention, start() + day * 2).await.unwrap();
    let left = numbers().await;
    assert_eq!(left, (first + 7..=last).collect::<Vec<_>>(), "up to what the mailbox was not told of");
    let mark = opros::store::MailboxMark { written: 1, highest_id: 1 };
    store.set_mailbox_mark(mark).await.unwrap();
    store.retain(retention, start() + day * 2).await.unwrap();
    assert_eq!(numbers().await, (first + 20..=last).collect::<Vec<_>>());
    store.set_mailbox_mark(opros::store::MailboxMark { written: 9, highest_id: 1 }).await.unwrap();
    store.retain(retention, start() + day * 2).await.unwrap();
    assert!(numbers().await.is_empty());
}

/// What grows with every order and every look at a balance has an end, too; what a store's progress is known by stays.
#[tokio::test]
async fn the_ledger_and_the_balances_are_kept_for_their_time_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let jobs = store.accept(vec![new_job(), new_job(), new_job()], start()).await.unwrap();
    for job in &jobs {
        one(&store, id(*job), submit(&format!("t{}", id(*job)))).await.unwrap();
    }
    let ended = Outcome::Ended(End::Failure { reason: opros::domain::Reason::new("x", "x"), result: None });
    for job in &jobs[..1] {
        let end = Input::End { turn: 1, call: opros::domain::Call::Submit, outcome: ended.clone() };
        one(&store, id(*job), end).await.unwrap();
    }
    let mut conn = other(&dir).await;
    let fill =
        "INSERT INTO balances (account, at, amount, unit) VALUES ('a', 1, 1, 'x'), ('a', 2, 1, 'x'), ('b', 1, 1, 'x')";
    conn.execute(fill).await.unwrap();
    let day = Duration::from_secs(86_400);
    let counts = async |conn: &mut SqliteConnection| -> (i64, i64) {
        let query = "SELECT (SELECT count(*) FROM costs), (SELECT count(*) FROM balances)";
        sqlx::query_as(query).fetch_one(conn).await.unwrap()
    };
    let retention = Retention::by_age(day, day, day);
    store.retain(retention, start() + day * 400).await.unwrap();
    assert_eq!(counts(&mut conn).await, (3, 2), "the job is gone, its line is not; the newest balance of each stays");
    store.retain(retention, start() + day * 1_200).await.unwrap();
    assert_eq!(counts(&mut conn).await, (2, 2), "unfinished jobs keep their lines");
    store.close().await;
    assert_eq!(open(&dir).await.restored().await.unwrap(), None, "it has not gone back");
}

/// Young events stay, and a time that is yet to come is no age.
#[tokio::test]
async fn an_event_of_a_clock_that_was_ahead_is_removed_only_with_what_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let day = Duration::from_secs(86_400);
    let end = async |at| {
        let job = id(store.accept(vec![new_job()], at).await.unwrap()[0]);
        store.apply(Batch::of(at, vec![Change { job, input: Input::Cancel }])).await.unwrap();
    };
    end(start() + day * 300).await;
    end(start()).await;
    let retention = Retention::by_age(day, day, day);
    assert_eq!(store.retain(retention, start() + day / 2).await.unwrap().events, 0);
    end(start() + day * 2).await;
    assert_eq!(store.retain(retention, start() + day * 3 / 2).await.unwrap().events, 2);
}

/// Fault core B22.
#[tokio::test]
async fn a_balance_that_is_written_late_enters_the_history_once() {
    use opros::domain::Account;
    use opros::store::AccountChange;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let balance = opros::domain::account::Balance { amount: 5.0, unit: "RUB".to_owned(), text: None, at: start() };
    for (version, late) in [(1, 11), (2, 60), (3, 3_600)] {
        let account = Account { version, balance: Some(balance.clone()), ..Account::default() };
        let change = AccountChange { name: "tronk".to_owned(), account, events: Vec::new() };
        let batch = Batch { accounts: vec![change], ..Batch::of(start() + Duration::from_secs(late), Vec::new()) };
        store.apply(batch).await.unwrap();
    }
    let (readings, _) =
        store.balances("tronk", start() - Duration::from_secs(9), start() + Duration::from_secs(9)).await.unwrap();
    assert_eq!(readings.len(), 1);
}

/// Results of megabytes are not gathered by the hundred: each is in memory several times while it is written.
#[tokio::test]
async fn a_group_is_bounded_by_what_it_holds_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir).await);
    let jobs = store.accept((0..16).map(|_| new_job()).collect(), start()).await.unwrap();
    let mut turns = Vec::new();
    for job in &jobs {
        one(&store, id(*job), submit(&format!("t{}", id(*job)))).await.unwrap();
        one(&store, id(*job), accepted(1)).await.unwrap();
        turns.push(one(&store, id(*job), poll(start())).await.unwrap().turn);
    }
    let before = store.commits().borrow().number;
    let result = format!("\"{}\"", "x".repeat(4 << 20));
    let ends: Vec<_> = jobs
        .iter()
        .zip(turns)
        .map(|(job, turn)| {
            let outcome = Outcome::Ended(End::Success { result: result.clone() });
            let change = Change { job: id(*job), input: Input::End { turn, call: opros::domain::Call::Poll, outcome } };
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.apply(Batch::of(start(), vec![change])).await.unwrap().remove(0).unwrap().state
            })
        })
        .collect();
    for end in ends {
        assert_eq!(end.await.unwrap(), State::Succeeded);
    }
    assert!(store.commits().borrow().number - before >= 3, "64 MiB in one transaction");
}

/// Fault core B13: millions of deliveries are not forgotten by one transaction that every paid call waits for.
#[tokio::test]
async fn a_replay_of_many_deliveries_is_many_short_transactions_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    store.register_sinks(vec![("shop".to_owned(), opros::domain::delivery::SinkKind::Webhook)]).await.unwrap();
    let fill = "INSERT INTO deliveries (sink, seq, type, lane, state, due_at, created_at, updated_at)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)
        SELECT 'shop', i, 't', 'l' || i, i % 2, CASE i % 2 WHEN 0 THEN 1 END, 1, 1 FROM n;
        UPDATE sinks SET cursor = 3500, pending = 1750";
    let mut conn = other(&dir).await;
    conn.execute(fill).await.unwrap();
    let before = store.commits().borrow().number;
    assert!(store.replay("shop", 101).await.unwrap());
    assert_eq!(store.commits().borrow().number - before, 4, "3,400 in steps of a thousand");
    let left: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), max(seq), (SELECT cursor FROM sinks), (SELECT pending FROM sinks) FROM deliveries",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(left, (100, 100, 100, 50));
    assert!(!store.replay("nobody", 1).await.unwrap());
}

/// Fault core B18: a start with an objective that is not new moves no watch; one that is moves them in short steps.
#[tokio::test]
async fn a_start_moves_only_the_watches_of_an_objective_that_is_shorter_than_before() {
    use opros::domain::Traits;
    use opros::store::watches::WatchStore;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let traits = Traits { tracker: true, ..Traits::default() };
    let follow = || NewJob { follow: Some("t".to_owned()), traits, ..new_job() };
    for _ in 0..3 {
        store.accept((0..500).map(|_| follow()).collect(), start()).await.unwrap();
    }
    let hour = Duration::from_secs(3_600);
    // Looked at once, by the objective of a day.
    let jobs = store.due_watches(start(), 2_000).await.unwrap();
    assert_eq!(jobs.len(), 1_500);
    let again = jobs.iter().map(|job| (job.id, Some(job.last_observed() + hour * 24))).collect();
    store.watch_again(again).await.unwrap();
    let before = store.commits().borrow().number;
    store.watch_within("tronk", hour * 24).await.unwrap();
    store.watch_within("tronk", hour * 48).await.unwrap();
    store.watch_within("another", hour).await.unwrap();
    assert_eq!(store.commits().borrow().number, before, "nothing is written");
    store.watch_within("tronk", hour).await.unwrap();
    assert_eq!(store.commits().borrow().number - before, 3);
    assert_eq!(store.next_watch().await.unwrap(), Some(start() + hour), "when it will be too old, not at once");
    assert_eq!(store.due_watches(start() + hour, 2_000).await.unwrap().len(), 1_500);
}
