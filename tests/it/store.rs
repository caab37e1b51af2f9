//! What the store promises, on a real file.

mod arrival;
mod due;
mod paces;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opros::clock::{ManualClock, SharedClock};
use opros::domain::repeat::Asked;
use opros::domain::state::{Begin, End, Input, Observation, Outcome};
use opros::domain::{Call, EventType, JobId, NewJob, Reason, State, Timestamp, Traits};
use opros::store::sqlite::{MIGRATIONS, SqliteStore, sql};
use opros::store::{
    Accepted, ApplyError, Batch, Change, EventPage, JobFilter, Lane, RejectedRow, Retention, Store, TimelineEntry,
};
use serde_json::json;
use sqlx::{Connection, Executor, Row, SqliteConnection};

fn start() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn clock() -> SharedClock {
    Arc::new(ManualClock::new(start()))
}

async fn open(dir: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&dir.path().join("opros.db"), true, clock()).await.expect("the store opens")
}

fn new_job() -> NewJob {
    NewJob {
        kind: "tronk.report".to_owned(),
        account: "tronk".to_owned(),
        traits: Traits::default(),
        params: json!({ "phone": "79990000111" }).to_string(),
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

fn id(accepted: Accepted) -> JobId {
    accepted.job().expect("a job")
}

async fn one(store: &SqliteStore, job: JobId, input: Input) -> Result<opros::domain::Job, ApplyError> {
    let batch = Batch::of(start(), vec![Change { job, input }]);
    store.apply(batch).await.expect("the store commits").remove(0).map(std::sync::Arc::unwrap_or_clone)
}

fn submit(token: &str) -> Input {
    Input::Begin(Begin::Submit { token: token.to_owned(), request_hash: "h".to_owned() })
}

fn poll(next_at: Timestamp) -> Input {
    Input::Begin(Begin::Free { call: Call::Poll, next_at })
}

fn accepted(turn: u32) -> Input {
    let outcome = Outcome::Accepted { remote_id: Some("77".to_owned()), memo: None, next_at: start() };
    Input::End { turn, call: Call::Submit, outcome }
}

#[tokio::test]
async fn every_statement_can_be_prepared_against_a_fresh_database() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    MIGRATIONS.run(&mut conn).await.unwrap();
    for (name, statement) in sql::ALL {
        let prepared = conn.prepare(sqlx::SqlStr::from_static(statement)).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}

#[tokio::test]
async fn a_store_whose_ledger_was_kept_by_token_loses_no_line_and_counts_nothing_twice() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version < 6) {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut conn).await.unwrap();
    }
    let filled = "INSERT INTO jobs (id, kind, account, traits, state, priority, created_at, updated_at)
             SELECT value, 'tronk.report', 'tronk', 0, 2, 5, 1, 1 FROM json_each('[1,2,3]');
         INSERT INTO attempts (token, job_id, request_hash, epoch, intent_at, outcome)
             VALUES ('b', 1, 'h', 1, 10, 'absent'), ('a', 1, 'h', 1, 20, NULL), ('c', 2, 'h', 1, 30, 'accepted');
         INSERT INTO costs (id, token, at, job_id, account, kind, tag, params_hash, price, sure, decided_at)
             VALUES (4, 'b', 10, 1, 'tronk', 'tronk.report', 't', 'p', 5, 'absent', 15),
                    (7, 'a', 20, 1, 'tronk', 'tronk.report', NULL, 'p', 5, 'ordered', NULL),
                    (9, 'c', 30, 2, 'tronk', 'tronk.report', NULL, NULL, NULL, 'booked', 31)";
    sqlx::raw_sql(filled).execute(&mut conn).await.unwrap();
    const LEDGER: &str = "SELECT group_concat(concat_ws('|', id, token, at, job_id, tag, params_hash, price, sure, decided_at), '; ') \
        FROM (SELECT * FROM costs ORDER BY id)";
    const ATTEMPTS: &str = "SELECT group_concat(concat_ws('|', token, job_id, request_hash, epoch, intent_at, outcome), '; ') \
        FROM (SELECT * FROM attempts ORDER BY intent_at)";
    const SPENT: &str = "SELECT group_concat(concat_ws('|', account, hour, submissions, amount), '; ') FROM spending";
    let mut before = Vec::new();
    for query in [LEDGER, ATTEMPTS, SPENT] {
        before.push(sqlx::query_scalar::<_, String>(query).fetch_one(&mut conn).await.unwrap());
    }
    assert_eq!(before[2], "tronk|0|2|5");
    let sixth = MIGRATIONS.iter().find(|migration| migration.version == 6).unwrap();
    sqlx::raw_sql(sixth.sql.clone()).execute(&mut conn).await.unwrap();
    for (query, before) in [LEDGER, ATTEMPTS, SPENT].into_iter().zip(before) {
        assert_eq!(sqlx::query_scalar::<_, String>(query).fetch_one(&mut conn).await.unwrap(), before);
    }
    // And what is ordered from now on is counted, what is given back is taken out.
    let after = "INSERT INTO costs (job_id, token, at, account, kind, sure, price) VALUES (3, 'd', 40, 'tronk', 'k', 'ordered', 2);
        UPDATE costs SET sure = 'refused' WHERE token = 'a'";
    sqlx::raw_sql(after).execute(&mut conn).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, String>(SPENT).fetch_one(&mut conn).await.unwrap(), "tronk|0|2|2");
}

#[tokio::test]
async fn the_tokens_of_an_older_store_are_known_to_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("opros.db");
    let store = open(&dir).await;
    let row = |uid: &str, phone: &str| NewJob {
        mailbox_uid: Some(uid.to_owned()),
        params: json!({ "phone": phone }).to_string(),
        ..new_job()
    };
    let first = id(store.accept(vec![row("taken", "1")], start()).await.unwrap()[0]);
    store.close().await;
    // As it stood before: by a table of mailbox rows alone, one of them of a job that is gone.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    let before = "DROP VIEW mailbox_rows; DROP INDEX jobs_retry; ALTER TABLE jobs DROP COLUMN uid;
        ALTER TABLE bodies DROP COLUMN order_hash;
        CREATE TABLE mailbox_rows (uid TEXT NOT NULL PRIMARY KEY, job_id INTEGER, code TEXT, message TEXT,
            at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO mailbox_rows SELECT uid, job_id, code, message, at FROM uids;
        INSERT INTO mailbox_rows VALUES ('gone', 4711, NULL, NULL, 5), ('bad', NULL, 'bad_params', 'no phone', 6);
        DROP TABLE uids; DELETE FROM _sqlx_migrations WHERE version = 9";
    sqlx::raw_sql(before).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let store = open(&dir).await;
    let again = async |uid: &str, phone: &str| store.accept(vec![row(uid, phone)], start()).await.unwrap()[0];
    assert_eq!(again("taken", "1").await, Accepted::Taken(Some(first)));
    assert_eq!(again("taken", "2").await, Accepted::Reused(Some(first)), "by what the job has ordered");
    assert_eq!(again("gone", "1").await, Accepted::Taken(None), "a row that is told that it was ordered before");
    assert_eq!(again("bad", "1").await, Accepted::Taken(None), "and one that was rejected");
    let rows = store.mailbox_rows(&["gone", "bad"].map(str::to_owned)).await.unwrap();
    let code = |uid: &str| rows[uid].reason.as_ref().map(|reason| reason.code.clone()).unwrap();
    assert_eq!((code("gone"), code("bad")), ("duplicate".to_owned(), "bad_params".to_owned()));
}

#[tokio::test]
async fn an_order_that_comes_through_both_doors_at_one_moment_is_one_job_that_the_mailbox_shows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    for n in 0..40 {
        let uid = format!("u{n}");
        let asked = Asked { uid: Some(uid.clone()), written: uid.clone(), ..Asked::default() };
        let socket = NewJob { asked: asked.clone(), ..new_job() };
        let row = NewJob { mailbox_uid: Some(uid.clone()), asked: Asked { row: Some(n), ..asked }, ..new_job() };
        let (one, two) = if n % 2 == 0 { (socket, row) } else { (row, socket) };
        let (one, two) = tokio::join!(store.accept(vec![one], start()), store.accept(vec![two], start()));
        let (one, two) = (one.unwrap()[0].job().unwrap(), two.unwrap()[0].job().unwrap());
        assert_eq!(one, two, "one job");
        let job = store.job(one).await.unwrap().unwrap().job;
        assert_eq!(job.mailbox_uid.as_deref(), Some(uid.as_str()), "round {n}: its row is kept up to date");
    }
}

#[tokio::test]
async fn hot_queries_use_their_indexes_and_scan_nothing() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    MIGRATIONS.run(&mut conn).await.unwrap();
    let hot = [
        "AGENDA_SUBMITS",
        "AGENDA_FREE",
        "READ_DUE",
        "NEXT_SUBMIT",
        "NEXT_FREE",
        "OVERDUE",
        "NEXT_DEADLINE",
        "LOAD_JOBS",
        "UPDATE_JOBS",
        "UPDATE_PACE",
        "UPDATE_PARTIALS",
        "UPDATE_RESULTS",
        "CLOSE_ATTEMPTS",
        "MARK_UNCLEAR",
        "DOUBT_COSTS",
        "DECIDE_COSTS",
        "FIND_EQUAL",
        "FIND_OPEN_KEYS",
        "FIND_UIDS",
        "FIND_RETRIES",
        "LAST_DECISIONS",
        "REJECT_UIDS",
        "UNNUMBERED_EVENTS",
        "NUMBER_EVENTS",
        "UIDS_GONE",
        "DELETE_UIDS",
        "PURGE_UIDS",
        "LIST_JOBS_BY_UID",
        "GET_JOB",
        "JOB_EVENTS",
        "JOB_OBSERVATIONS",
        "JOB_CALLS",
        "LAST_OBSERVATIONS",
        "EVENTS_AFTER",
        "JOB_EVENTS_AFTER",
        "MAILBOX_FEED",
        "MAILBOX_ROWS",
        "OLD_JOBS",
        "LIST_JOBS_BY_STATE",
        "LIST_JOBS_BY_TAG",
        "LIST_JOBS_BY_KEY",
        "LIST_JOBS_BY_KIND",
        "LIST_JOBS_BY_ACCOUNT",
        "LIST_JOBS",
        "KEEP_CALLBACK",
        "CALLBACK_OWNER",
        "OWN_CALLBACK",
        "GET_CALLBACK",
        "LIST_UNMATCHED",
        "UNMATCHED_AFTER",
        "UNMATCHED_OF_CAR",
        "CALLBACK_BODY",
        "CANDIDATES",
        "JOB_FILES",
        "KNOWN_FILES",
        "MOVE_CURSOR",
        "INSERT_DELIVERIES",
        "GET_DELIVERY",
        "SAVE_DELIVERY",
        "WAKE_LANE",
        "BRING_FORWARD",
        "FORGET_DELIVERIES_FROM",
        "FORGET_DELIVERIES",
        "GET_SINK",
        "GET_EVENT",
        "DUE_DELIVERIES",
        "NEXT_DELIVERY",
        "LIST_DELIVERIES",
        "LIST_PENDING",
        "LIST_DEAD",
    ];
    let tables = [
        "jobs",
        "bodies",
        "attempts",
        "observations",
        "events",
        "calls",
        "uids",
        "u",
        "m",
        "callbacks",
        "callback_bodies",
        "job_files",
        "deliveries",
        "d",
        "sinks",
    ];
    for name in hot {
        let (_, statement) = sql::ALL.iter().find(|(known, _)| *known == name).expect(name);
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
        let steps: Vec<String> = plan.fetch_all(&mut conn).await.unwrap().iter().map(|row| row.get("detail")).collect();
        for table in tables {
            let scan = format!("SCAN {table}");
            assert!(
                !steps
                    .iter()
                    .any(|step| *step == scan || step.starts_with(&format!("{scan} ")) && !step.contains("INDEX")),
                "{name} scans {table}: {steps:#?}"
            );
        }
    }
}

#[tokio::test]
async fn a_second_owner_of_the_same_file_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(&dir).await;
    let second = SqliteStore::open(&dir.path().join("opros.db"), true, clock()).await;
    let message = second.expect_err("refused").to_string();
    assert!(message.contains("another opros runs on the store"), "{message}");
}

#[tokio::test]
async fn the_file_and_its_directory_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store/opros.db");
    let _store = SqliteStore::open(&path, true, clock()).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn a_job_goes_from_accept_to_its_one_terminal_event() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
    assert_eq!(store.due("tronk", Lane::Submit, start(), 10, &[]).await.unwrap().len(), 1);

    let begun = one(&store, job, submit("t1")).await.unwrap();
    assert_eq!((begun.state, begun.submissions, begun.turn), (State::Submitting, 1, 1));
    assert!(store.due("tronk", Lane::Submit, start(), 10, &[]).await.unwrap().is_empty());

    one(&store, job, accepted(begun.turn)).await.unwrap();
    let due = store.due("tronk", Lane::Free, start(), 10, &[]).await.unwrap();
    assert_eq!(due[0].job.remote_id.as_deref(), Some("77"));

    let polled = one(&store, job, poll(start())).await.unwrap();
    let end = Outcome::Ended(End::Success { result: r#"{"ok":true}"#.to_owned() });
    one(&store, job, Input::End { turn: polled.turn, call: Call::Poll, outcome: end }).await.unwrap();

    let details = store.job(job).await.unwrap().unwrap();
    assert_eq!((details.job.state, details.result.as_deref()), (State::Succeeded, Some(r#"{"ok":true}"#)));
    let EventPage::Events(events) = store.events(0, 100).await.unwrap() else { panic!("nothing is gone") };
    let told: Vec<_> = events.iter().map(|event| (event.seq, event.kind)).collect();
    assert_eq!(told, [(1, EventType::JobAccepted), (2, EventType::JobSucceeded)]);
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.iter().map(|c| (c.state, c.jobs)).collect::<Vec<_>>(), [(State::Succeeded, 1)]);
}

#[tokio::test]
async fn an_unchanged_answer_leaves_the_row_alone_and_every_other_one_ends_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let follow = NewJob { follow: Some("hash".to_owned()), ..new_job() };
    let job = id(store.accept(vec![follow], start()).await.unwrap()[0]);
    let paced = start() + Duration::from_secs(900);
    let begun = one(&store, job, poll(paced)).await.unwrap();

    let end = |outcome| Change { job, input: Input::End { turn: begun.turn, call: Call::Poll, outcome } };
    let unchanged = end(Outcome::Unchanged { memo: None, next_at: Some(paced) });
    for minute in 1..3 {
        let at = start() + Duration::from_secs(60 * minute);
        store.apply(Batch::of(at, vec![unchanged.clone()])).await.unwrap().remove(0).unwrap();
        // The row still bears the time of the poll's beginning.
        assert_eq!(store.job(job).await.unwrap().unwrap().job, begun);
    }

    let lost = end(Outcome::Unclear { reason: Reason::new("lost", "lost") });
    let twice = store.apply(Batch::of(start(), vec![lost.clone(), lost, unchanged])).await.unwrap();
    assert_eq!(twice.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn an_answer_to_an_older_call_misses() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
    let begun = one(&store, job, submit("t1")).await.unwrap();
    let stale = one(&store, job, accepted(begun.turn - 1)).await;
    assert!(matches!(stale, Err(ApplyError::Refused(opros::domain::state::Refused::Stale { .. }))), "{stale:?}");
}

#[tokio::test]
async fn one_key_has_one_unfinished_job_and_is_free_again_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let keyed = || NewJob { dedupe_key: Some("order-7".to_owned()), ..new_job() };
    let verdicts = store.accept(vec![keyed(), keyed()], start()).await.unwrap();
    let first = id(verdicts[0]);
    assert_eq!(verdicts[1], Accepted::Duplicate(first));
    assert_eq!(store.accept(vec![keyed()], start()).await.unwrap()[0], Accepted::Duplicate(first));
    one(&store, first, Input::Cancel).await.unwrap();
    assert!(matches!(store.accept(vec![keyed()], start()).await.unwrap()[0], Accepted::New(second) if second != first));
}

#[tokio::test]
async fn a_mailbox_row_is_taken_once_and_a_duplicate_becomes_a_rejected_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let row = |uid: &str| NewJob { mailbox_uid: Some(uid.to_owned()), dedupe_key: Some("k".to_owned()), ..new_job() };
    let first = id(store.accept(vec![row("u1")], start()).await.unwrap()[0]);
    assert_eq!(store.accept(vec![row("u1")], start()).await.unwrap()[0], Accepted::Taken(Some(first)));
    assert_eq!(store.accept(vec![row("u2")], start()).await.unwrap()[0], Accepted::Duplicate(first));
    let bad = RejectedRow {
        uid: "u3".to_owned(),
        kind: None,
        reason: Reason::new("bad_params", "no phone"),
        duplicate_of: None,
        asked: Asked::default(),
    };
    store.reject(vec![bad.clone(), bad], start()).await.unwrap();

    let rows = store.mailbox_rows(&["u1", "u2", "u3", "u4"].map(str::to_owned)).await.unwrap();
    let told: BTreeMap<_, _> = rows.iter().map(|(uid, row)| (uid.as_str(), (row.state, row.job))).collect();
    let expected = BTreeMap::from([
        ("u1", (State::Queued, Some(first))),
        ("u2", (State::Rejected, Some(first))),
        ("u3", (State::Rejected, None)),
    ]);
    assert_eq!(told, expected);
    let news = store.mailbox_news(&["u1", "u3"].map(str::to_owned), 0, 10).await.unwrap();
    assert_eq!((news.settled, news.reach), (2, 2));
    assert_eq!(news.rows.keys().collect::<Vec<_>>(), ["u1", "u3"]);
    let told: Vec<_> = news.feed.iter().map(|e| (e.event.mailbox_seq, e.event.kind, e.uid.as_str())).collect();
    assert_eq!(told, [(Some(1), EventType::JobRejected, "u2"), (Some(2), EventType::JobRejected, "u3")]);
}

#[tokio::test]
async fn a_deadline_that_is_past_at_arrival_ends_the_job_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let late = NewJob { deadline: Some(start() - Duration::from_secs(1)), ..new_job() };
    let job = id(store.accept(vec![late], start()).await.unwrap()[0]);
    assert_eq!(store.job(job).await.unwrap().unwrap().job.state, State::Expired);
    assert!(store.due("tronk", Lane::Submit, start(), 10, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn submits_are_due_by_priority_and_then_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let with = |priority: u8, delay: u64| NewJob {
        priority,
        not_before: Some(start() + Duration::from_secs(delay)),
        ..new_job()
    };
    store.accept(vec![with(5, 2), with(9, 0), with(0, 3), with(5, 1), with(0, 99)], start()).await.unwrap();
    let now = start() + Duration::from_secs(10);
    let due = store.due("tronk", Lane::Submit, now, 10, &[]).await.unwrap();
    assert_eq!(due.iter().map(|due| due.job.id.0).collect::<Vec<_>>(), [3, 4, 1, 2]);
    let others = store.due("tronk", Lane::Submit, now, 10, &[due[0].job.id]).await.unwrap();
    let ids = |due: &[opros::store::DueJob]| due.iter().map(|due| due.job.id).collect::<Vec<_>>();
    assert_eq!(ids(&others), ids(&due[1..]), "what is under way is not offered again");
    let first_two = store.due("tronk", Lane::Submit, now, 2, &[]).await.unwrap();
    assert_eq!(first_two.iter().map(|due| due.job.id.0).collect::<Vec<_>>(), [3, 4]);
    let next = store.next_due("tronk", Lane::Submit, Timestamp::MIN).await.unwrap();
    assert_eq!(next, Some(start()));
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_the_epoch_has_moved_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let instance = store.instance().to_owned();
    let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
    one(&store, job, submit("t1")).await.unwrap();
    store.close().await;
    let again = open(&dir).await;
    assert_eq!(again.instance(), instance);
    assert_eq!(again.job(job).await.unwrap().unwrap().job.state, State::Submitting);
    let doubt = one(&again, job, Input::Recover).await.unwrap();
    assert_eq!(doubt.state, State::InDoubt);
    assert!(doubt.due_at.is_none(), "nothing can be looked up at this vendor");
    let second = id(again.accept(vec![new_job()], start()).await.unwrap()[0]);
    assert!(second > job);
}

#[tokio::test]
async fn a_file_that_was_replaced_under_the_daemon_takes_no_more_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let path = dir.path().join("opros.db");
    std::fs::rename(&path, dir.path().join("moved.db")).unwrap();
    std::fs::write(&path, b"").unwrap();
    let error = store.accept(vec![new_job()], start()).await.expect_err("refused");
    assert!(error.to_string().contains("replaced by another file"), "{error}");
}

#[tokio::test]
async fn many_tasks_share_commits_and_each_gets_its_own_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir).await);
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let store = Arc::clone(&store);
            let key = format!("k{}", n % 100);
            tokio::spawn(async move {
                store.accept(vec![NewJob { dedupe_key: Some(key), ..new_job() }], start()).await.unwrap()[0]
            })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(matches!(task.await.unwrap(), Accepted::New(_)));
    }
    assert_eq!(new, 100);
    let page = store.jobs(JobFilter { limit: 1000, ..JobFilter::default() }).await.unwrap();
    assert_eq!(page.jobs.len(), 100);
}

#[tokio::test]
async fn pages_of_jobs_lead_through_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let tagged = |n: usize| NewJob { tag: Some(format!("t{}", n % 2)), ..new_job() };
    store.accept((0..25).map(tagged).collect(), start()).await.unwrap();
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let filter = JobFilter { tag: Some("t1".to_owned()), before, limit: 5, ..JobFilter::default() };
        let page = store.jobs(filter).await.unwrap();
        seen.extend(page.jobs.iter().map(|details| details.job.id.0));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).filter(|n| n % 2 == 0).rev().collect::<Vec<i64>>());
}

#[tokio::test]
async fn an_observation_and_its_event_stand_in_the_timeline_with_the_raw_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let follow =
        NewJob { follow: Some("hash".to_owned()), traits: Traits { tracker: true, ..Traits::default() }, ..new_job() };
    let job = id(store.accept(vec![follow], start()).await.unwrap()[0]);
    let polled = one(&store, job, poll(start())).await.unwrap();
    let observation = Observation {
        fingerprint: "f1".to_owned(),
        data: r#"{"station":"A"}"#.to_owned(),
        changes: json!({ "station": { "from": null, "to": "A" } }),
        raw: "RAW".to_owned(),
    };
    let outcome = Outcome::Observed { observation, memo: None, next_at: start(), end: None };
    one(&store, job, Input::End { turn: polled.turn, call: Call::Poll, outcome }).await.unwrap();
    let timeline = store.timeline(job).await.unwrap();
    assert!(timeline.iter().any(|e| matches!(e, TimelineEntry::Observation { raw, .. } if raw == "RAW")));
    assert!(timeline.iter().any(|e| matches!(e, TimelineEntry::Event(e) if e.kind == EventType::JobUpdated)));
    assert_eq!(store.last_observations(&[job]).await.unwrap()[&job], r#"{"station":"A"}"#);
}

#[tokio::test]
async fn retention_takes_what_has_ended_and_says_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let jobs = store.accept(vec![new_job(), new_job(), new_job()], start()).await.unwrap();
    one(&store, id(jobs[0]), Input::Cancel).await.unwrap();
    one(&store, id(jobs[1]), submit("t")).await.unwrap();
    one(&store, id(jobs[1]), Input::Recover).await.unwrap();
    let day = Duration::from_secs(86_400);
    let retention = Retention::by_age(day, day, day);
    let removed = store.retain(retention, start() + day * 2).await.unwrap();
    assert_eq!((removed.jobs, removed.events, removed.more), (1, 2, false));
    assert!(store.job(id(jobs[0])).await.unwrap().is_none());
    assert_eq!(store.job(id(jobs[1])).await.unwrap().unwrap().job.state, State::InDoubt, "never deleted");
    assert_eq!(store.events(0, 10).await.unwrap(), EventPage::Gone { oldest: 3 });
    assert_eq!(store.events(2, 10).await.unwrap(), EventPage::Events(Vec::new()));
}

#[tokio::test]
async fn calendar_work_fires_once_even_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    assert!(store.fire("balance:alta", start()).await.unwrap());
    assert!(!store.fire("balance:alta", start()).await.unwrap());
    store.close().await;
    assert!(!open(&dir).await.fire("balance:alta", start()).await.unwrap());
}

#[tokio::test]
async fn a_backup_is_a_store_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    store.accept(vec![new_job()], start()).await.unwrap();
    let copy = dir.path().join("copy/opros.db");
    std::fs::create_dir(copy.parent().unwrap()).unwrap();
    store.backup(&copy).await.unwrap();
    let restored = SqliteStore::open(&copy, true, clock()).await.unwrap();
    assert!(restored.job(JobId(1)).await.unwrap().is_some());
}
