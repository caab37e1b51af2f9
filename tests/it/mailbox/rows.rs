//! Rows in, facts out.

use std::time::Duration;

use opros::domain::JobId;
use opros::domain::state::{Input, Outcome};
use opros::domain::{Call, Reason};
use opros::engine::intake::JobRequest;
use opros::store::{JobFilter, Store};
use serde_json::json;

use super::house::{House, execute, now, until};

#[tokio::test]
async fn a_plain_insert_is_taken_and_its_answer_stands_in_the_row() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.submit(job).await;
    house.shows(id, "submitting").await;
    let outcome = Outcome::Accepted { remote_id: Some("R-1".to_owned()), memo: None, next_at: now() };
    house.apply(job, Input::End { turn: 1, call: Call::Submit, outcome }).await;
    house.shows(id, "waiting").await;
    house.succeed(job, r#"{"found":true}"#).await;
    let row = house.shows(id, "succeeded").await;
    assert_eq!(row.remote_id.as_deref(), Some("R-1"));
    assert_eq!(row.result.as_deref(), Some(r#"{"found":true}"#));
    assert_eq!((row.error_code, row.error), (None, None));
    assert!(row.finished_at.is_some() && row.updated_at.is_some());
    let events = house.events().await;
    let told: Vec<_> = events.iter().map(|event| (event.seq, event.job, event.kind.as_str())).collect();
    assert_eq!(told, [(1, Some(id), "job.accepted"), (2, Some(id), "job.succeeded")]);
    assert_eq!(events[0].event_id, format!("{}-1", house.store.instance()));
}

#[tokio::test]
async fn a_large_result_arrives_whole() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.accept(job).await;
    let result = json!({ "text": "ы".repeat(1 << 20) }).to_string();
    house.succeed(job, &result).await;
    let row = house.shows(id, "succeeded").await;
    assert!(row.result.as_deref() == Some(result.as_str()));
}

#[tokio::test]
async fn large_results_that_waited_for_the_file_come_a_few_at_a_time() {
    let mut house = House::new().await;
    let mut jobs = Vec::new();
    for phone in 79_990_000_111..79_990_000_115 {
        let id = house.order(phone).await;
        let job = house.taken(id).await;
        house.accept(job).await;
        house.shows(id, "waiting").await;
        jobs.push((id, job));
    }
    house.stop().await;
    let result = json!({ "text": "y".repeat(3 << 20) }).to_string();
    let mut uids = Vec::new();
    for (id, job) in &jobs {
        house.succeed(*job, &result).await;
        let uid = opros::domain::exchange::from_hex(&house.row(*id).await.uid).unwrap();
        uids.push(String::from_utf8(uid).unwrap());
    }
    assert_eq!(house.store.mailbox_fits(&uids).await.unwrap(), 1, "4 MiB are in memory at a time");
    assert_eq!(house.store.mailbox_fits(&[]).await.unwrap(), 1);
    let news = house.store.mailbox_news(&uids, 4, 10).await.unwrap();
    let told: Vec<_> = news.feed.iter().map(|told| told.event.mailbox_seq).collect();
    assert_eq!((news.settled, news.rows.len(), news.reach), (1, 1, 8));
    assert_eq!(told, [Some(5), Some(6)], "the first with the row that is here already, the second with its own");
    house.serve();
    for (id, _) in jobs {
        assert!(house.shows(id, "succeeded").await.result.as_deref() == Some(result.as_str()));
    }
}

#[tokio::test]
async fn a_change_without_an_event_shows_as_well() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.submit(job).await;
    house.shows(id, "submitting").await;
    let reason = Reason::new("not_sent", "connection refused");
    house
        .apply(job, Input::End { turn: 1, call: Call::Submit, outcome: Outcome::NotTaken { reason, again_at: None } })
        .await;
    let row = house.shows(id, "queued").await;
    assert_eq!(row.error_code.as_deref(), Some("not_sent"));
    assert!(house.events().await.is_empty());
}

#[tokio::test]
async fn the_sqlite3_shell_can_order_read_and_cancel() {
    let house = House::new().await;
    let shell = |sql: &str| {
        let shell = std::process::Command::new("sqlite3").arg(house.path()).arg(sql).output();
        shell.ok().map(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        })
    };
    let Some(id) = shell(
        "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}'); SELECT last_insert_rowid();",
    ) else {
        eprintln!("no sqlite3 shell here");
        return;
    };
    assert_eq!(id, "1");
    house.taken(1).await;
    shell("UPDATE jobs SET cancel_requested = 1 WHERE id = 1;");
    house.shows(1, "cancelled").await;
    assert_eq!(shell("SELECT seq, type, job FROM events WHERE seq > 0;").unwrap(), "1|job.cancelled|1");
}

#[tokio::test]
async fn what_cannot_be_understood_is_rejected_with_the_reason_on_the_row_and_in_an_event() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "INSERT INTO jobs (kind, params) VALUES ('tronk.raport', '{\"phone\":\"79990000111\"}'), ('tronk.report', '{\"fone\":1}')").await;
    let first = house.shows(1, "rejected").await;
    assert_eq!(first.error_code.as_deref(), Some("unknown_kind"));
    assert!(first.error.unwrap().contains("tronk.report"), "it names what there is");
    let second = house.shows(2, "rejected").await;
    assert_eq!((second.error_code.as_deref(), second.job_id), (Some("bad_params"), None));
    let events = house.events().await;
    assert_eq!(events.iter().map(|event| (event.seq, event.job)).collect::<Vec<_>>(), [(1, Some(1)), (2, Some(2))]);
    assert!(events.iter().all(|event| event.kind == "job.rejected"));
}

#[tokio::test]
async fn a_dedupe_key_is_unique_among_unfinished_rows_and_free_again_afterwards() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    const ORDER: &str =
        "INSERT INTO jobs (kind, params, dedupe_key) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}', 'k')";
    execute(&mut conn, ORDER).await;
    let job = house.taken(1).await;
    let refused = sqlx::raw_sql(ORDER).execute(&mut conn).await.unwrap_err().to_string();
    assert!(refused.contains("UNIQUE constraint failed: jobs.dedupe_key"), "{refused}");
    execute(&mut conn, "INSERT OR IGNORE INTO jobs (kind, dedupe_key) VALUES ('tronk.report', 'k')").await;
    house.accept(job).await;
    house.succeed(job, "{}").await;
    house.shows(1, "succeeded").await;
    execute(&mut conn, ORDER).await;
    let again: i64 = sqlx::query_scalar("SELECT max(id) FROM jobs").fetch_one(&mut conn).await.unwrap();
    assert_ne!(house.taken(again).await, job);
}

#[tokio::test]
async fn a_row_whose_key_belongs_to_a_job_of_the_socket_is_rejected_as_its_duplicate() {
    let house = House::new().await;
    let request = JobRequest {
        kind: "tronk.report".to_owned(),
        params: json!({ "phone": "79990000111" }),
        dedupe_key: Some("k".to_owned()),
        ..JobRequest::default()
    };
    let job = house.engine.intake().understand(&request).unwrap();
    let first = house.engine.submit(vec![job]).await.unwrap()[0].job().unwrap();
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (kind, params, dedupe_key) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}', 'k')",
    )
    .await;
    let row = house.shows(1, "rejected").await;
    assert_eq!((row.error_code.as_deref(), row.job_id), (Some("duplicate"), Some(first.0)));
    assert_eq!(house.events().await.len(), 1);
}

#[tokio::test]
async fn a_row_that_is_cancelled_before_it_is_taken_never_comes_up_for_sending() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "BEGIN IMMEDIATE; INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}');
         UPDATE jobs SET cancel_requested = 1; COMMIT",
    )
    .await;
    house.shows(1, "cancelled").await;
    let job = house.store.job(JobId(1)).await.unwrap().unwrap().job;
    assert_eq!(job.submissions, 0);
    assert_eq!(house.events().await.len(), 1);
}

#[tokio::test]
async fn a_wish_that_cannot_be_granted_yet_is_stored_and_granted_later() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.submit(job).await;
    house.shows(id, "submitting").await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "UPDATE jobs SET cancel_requested = 1").await;
    until("the wish is stored", async || house.store.job(job).await.unwrap().unwrap().job.cancel_requested).await;
    let outcome = Outcome::Accepted { remote_id: Some("R".to_owned()), memo: None, next_at: now() };
    house.apply(job, Input::End { turn: 1, call: Call::Submit, outcome }).await;
    house.shows(id, "cancelled").await;
}

#[tokio::test]
async fn a_deadline_in_the_past_ends_the_row_as_expired() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "INSERT INTO jobs (kind, params, deadline) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}', 1)",
    )
    .await;
    house.shows(1, "expired").await;
}

#[tokio::test]
async fn ten_thousand_rows_of_one_transaction_are_each_taken_once() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO jobs (kind, params) SELECT 'tronk.report', '{\"phone\":\"7999' || printf('%07d', i) || '\"}' FROM n",
    )
    .await;
    let began = std::time::Instant::now();
    const LEFT: &str = "SELECT count(*) FROM jobs WHERE state = 'new'";
    let mut reader = house.foreign().await;
    until("all are taken", async || sqlx::query_scalar::<_, i64>(LEFT).fetch_one(&mut reader).await.unwrap() == 0)
        .await;
    eprintln!("10,000 rows taken and answered in {:?}", began.elapsed());
    let (rows, jobs): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT job_id) FROM jobs WHERE state = 'queued'")
            .fetch_one(&mut reader)
            .await
            .unwrap();
    assert_eq!((rows, jobs), (10_000, 10_000));
    let counts = house.store.counts().await.unwrap();
    assert_eq!(counts.iter().map(|count| count.jobs).sum::<i64>(), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_that_a_row_has_ended_finds_its_event_in_the_same_moment() {
    const JOBS: i64 = 1_200;
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(
        &mut conn,
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1199)
         INSERT INTO jobs (kind, params) SELECT 'tronk.report', '{\"phone\":\"7999' || printf('%07d', i) || '\"}' FROM n",
    )
    .await;
    const TAKEN: &str = "SELECT count(*) FROM jobs WHERE state = 'queued'";
    until("all are taken", async || sqlx::query_scalar::<_, i64>(TAKEN).fetch_one(&mut conn).await.unwrap() == JOBS)
        .await;
    const UNTOLD: &str = "SELECT count(*), coalesce(sum(NOT EXISTS (SELECT 1 FROM events WHERE job = jobs.id \
        AND type = 'job.succeeded')), 0) FROM jobs WHERE state = 'succeeded'";
    let ending = async {
        for id in 1..=JOBS {
            house.accept(JobId(id)).await;
            house.succeed(JobId(id), "{}").await;
        }
    };
    let reading = async {
        loop {
            let (ended, untold): (i64, i64) = sqlx::query_as(UNTOLD).fetch_one(&mut conn).await.unwrap();
            assert_eq!(untold, 0, "of {ended} rows that have ended");
            if ended == JOBS {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(ending, tokio::time::timeout(Duration::from_secs(60), reading)).1.expect("all end");
    assert!(house.events().await.iter().zip(1..).all(|(event, n)| event.seq == n));
}

#[tokio::test]
async fn a_restart_takes_nothing_twice_and_writes_no_event_twice() {
    let mut house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.accept(job).await;
    house.shows(id, "waiting").await;
    house.stop().await;
    let second = house.order(79_990_000_112).await;
    // What happens while nobody serves the mailbox is written at the next start.
    house.succeed(job, "{}").await;
    let mut conn = house.foreign().await;
    // As if the crash had come between taking and writing back.
    execute(&mut conn, "UPDATE jobs SET state = 'new', job_id = NULL WHERE id = 1").await;
    house.restart().await;
    house.taken(second).await;
    assert_eq!(house.shows(id, "succeeded").await.job_id, Some(job.0));
    until("both events are there", async || house.events().await.len() == 2).await;
    let all = house.store.jobs(JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(all.jobs.len(), 2);
}

#[tokio::test]
async fn after_a_crash_between_the_two_commits_the_file_knows_better_what_is_written() {
    let mut house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.stop().await;
    house.accept(job).await;
    house.succeed(job, "{}").await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "UPDATE opros_meta SET value = '1' WHERE key = 'written'").await;
    house.restart().await;
    house.shows(id, "succeeded").await;
    assert_eq!(house.events().await.iter().map(|event| event.seq).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn what_has_ended_leaves_the_mailbox_after_retention() {
    let mut house = House::closed().await;
    house.retention = (Duration::from_secs(1), Duration::from_secs(1));
    let house = house.opened().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let other = house.order(79_990_000_112).await;
    house.taken(other).await;
    house.accept(job).await;
    house.succeed(job, "{}").await;
    until("the finished row is gone", async || house.find(id).await.is_none()).await;
    until("its events are gone", async || house.events().await.is_empty()).await;
    assert_eq!(house.row(other).await.state, "queued");
}
