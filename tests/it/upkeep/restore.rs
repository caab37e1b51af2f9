//! Backups, and what an older store may not do.

use std::os::unix::fs::PermissionsExt;

use opros::cli::client::Client;
use opros::clock::SystemClock;
use opros::domain::Timestamp;
use opros::engine::backup::{BackupPlan, Backups};
use opros::health::HealthBoard;
use opros::store::sqlite::restore::{RestoreError, restore};
use serde_json::{Value, json};

use super::house::{House, until};

fn now() -> Timestamp {
    SystemClock::shared().now()
}

async fn backup(client: &Client, path: &std::path::Path) {
    let mut response = client.long(&["v1", "backup"]).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Jobs wait until they are let go.
async fn hold(house: &House) {
    house.client().post(&["v1", "accounts", "tronk", "pause"], &json!({})).await.unwrap();
}

async fn let_go(house: &House) {
    house.client().post(&["v1", "accounts", "tronk", "resume"], &json!({})).await.unwrap();
}

fn paid(house: &House) -> u64 {
    house.simulator.control().state()["requests"]["tronk.setqueue"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn what_was_queued_in_an_older_store_is_never_paid_twice() {
    let mut house = House::new("").await;
    let first = house.order(json!({ "phone": "79990000001" })).await;
    house.until_state(first, "succeeded").await;
    hold(&house).await;
    let sent = house.order(json!({ "phone": "79990000002" })).await;
    let file = house.path("backup.db");
    backup(&house.client(), &file).await;
    // After the backup one job is sent, another one is new.
    let_go(&house).await;
    house.until_state(sent, "succeeded").await;
    let younger = house.order(json!({ "phone": "79990000003" })).await;
    house.until_state(younger, "succeeded").await;
    let (orders, last) = (paid(&house), house.get(&["v1", "events"]).await["next"].as_i64().unwrap());
    let refused = restore(&file, &house.store(), true, now()).await.unwrap_err();
    assert!(refused.to_string().contains("another opros runs"), "{refused}");
    house.stop().await;

    let report = restore(&file, &house.store(), true, now()).await.unwrap();
    assert!(report.compared && report.kept.is_some_and(|kept| kept.exists()));
    assert_eq!((report.queued, report.unsent, report.younger, report.younger_sent), (1, 0, 1, 1));
    assert_eq!(std::fs::metadata(house.store()).unwrap().permissions().mode() & 0o777, 0o600);
    house.start().await;
    let_go(&house).await;
    let job = house.get(&["v1", "jobs", &sent.to_string()]).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("in_doubt"), &json!("restored")), "{job}");
    assert_eq!(house.state(first).await, "succeeded");
    // It goes on, with numbers that nobody has seen.
    let next = house.order(json!({ "phone": "79990000004" })).await;
    assert!(next > younger, "{next}");
    house.until_state(next, "succeeded").await;
    assert_eq!(paid(&house), orders + 1, "nothing was paid twice");
    let events = house.client().get(&["v1", "events"], &[("after", last.to_string())]).await.unwrap();
    let events: Value = events.read().unwrap();
    let kinds: Vec<&str> = events["events"].as_array().unwrap().iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(kinds, ["job.in_doubt", "account.resumed", "job.accepted", "job.succeeded"]);
    house.client().post(&["v1", "jobs", &sent.to_string(), "resolve"], &json!({ "action": "fail" })).await.unwrap();
}

#[tokio::test]
async fn what_the_newer_store_proves_unsent_is_sent_after_a_restore() {
    let mut house = House::new("").await;
    hold(&house).await;
    let job = house.order(json!({ "phone": "79990000002" })).await;
    let file = house.path("backup.db");
    backup(&house.client(), &file).await;
    house.stop().await;
    let report = restore(&file, &house.store(), true, now()).await.unwrap();
    assert_eq!((report.queued, report.unsent), (1, 1));
    house.start().await;
    let_go(&house).await;
    house.until_state(job, "succeeded").await;
    assert_eq!(paid(&house), 1);
}

#[tokio::test]
async fn an_older_copy_that_is_put_back_by_hand_is_recognised_and_takes_no_mailbox_number_again() {
    let mut house = House::new("").await;
    hold(&house).await;
    let insert = "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000001\"}')";
    sqlx::query(insert).execute(&mut house.mailbox().await).await.unwrap();
    until("it is taken", async || {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT state FROM jobs").fetch_all(&mut house.mailbox().await).await.unwrap();
        rows == ["queued"]
    })
    .await;
    let file = house.path("backup.db");
    backup(&house.client(), &file).await;
    let_go(&house).await;
    let highest = async |house: &House| -> i64 {
        let query = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM events");
        query.fetch_one(&mut house.mailbox().await).await.unwrap()
    };
    until("it is done", async || highest(&house).await == 2).await;
    house.stop().await;
    assert!(!house.store().with_extension("db-wal").exists(), "a clean stop leaves no log behind");
    std::fs::remove_file(house.store()).unwrap();
    std::fs::copy(&file, house.store()).unwrap();
    house.start().await;
    let_go(&house).await;
    house.until_state(1, "in_doubt").await;
    assert_eq!(paid(&house), 1, "nothing was paid twice");
    until("the mailbox hears of it", async || {
        let seq: Vec<(i64, String)> = sqlx::query_as("SELECT seq, type FROM events WHERE seq > 2")
            .fetch_all(&mut house.mailbox().await)
            .await
            .unwrap();
        matches!(seq.as_slice(), [(seq, kind)] if *seq > 2 && kind == "job.in_doubt")
    })
    .await;
}

#[tokio::test]
async fn recovery_takes_no_mailbox_number_that_the_file_has_used() {
    let mut house = House::new("").await;
    let insert = "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000001\"}')";
    sqlx::query(insert).execute(&mut house.mailbox().await).await.unwrap();
    until("it is done", async || {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT state FROM jobs").fetch_all(&mut house.mailbox().await).await.unwrap();
        rows == ["succeeded"]
    })
    .await;
    house.stop().await;
    // The file is further than the store knows: what is written says so.
    let mut mailbox = house.mailbox().await;
    sqlx::query("UPDATE opros_meta SET value = '50' WHERE key = 'written'").execute(&mut mailbox).await.unwrap();
    drop(mailbox);
    house.start().await;
    let cursor = house.daemon().engine().store().mailbox_cursor().await.unwrap();
    assert_eq!(cursor.mark.written, 50, "it is settled before anything is done");
    sqlx::query(insert).execute(&mut house.mailbox().await).await.unwrap();
    until("the next event has a new number", async || {
        let seq: Option<i64> = sqlx::query_scalar("SELECT min(seq) FROM events WHERE seq > 2")
            .fetch_one(&mut house.mailbox().await)
            .await
            .unwrap();
        seq == Some(51)
    })
    .await;
}

#[tokio::test]
async fn only_a_whole_backup_of_the_same_store_is_restored() {
    let mut house = House::new("").await;
    let file = house.path("backup.db");
    backup(&house.client(), &file).await;
    house.stop().await;
    let mut broken = std::fs::read(&file).unwrap();
    let middle = broken.len() / 2;
    broken[middle..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let damaged = house.path("damaged.db");
    std::fs::write(&damaged, &broken).unwrap();
    std::fs::write(house.path("text.db"), "no database").unwrap();
    for name in ["damaged.db", "text.db", "missing.db"] {
        let error = restore(&house.path(name), &house.store(), true, now()).await.unwrap_err();
        assert!(matches!(error, RestoreError::Backup { .. }), "{name}: {error}");
    }
    let other = House::new("").await;
    let foreign = house.path("foreign.db");
    backup(&other.client(), &foreign).await;
    let error = restore(&foreign, &house.store(), true, now()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Foreign { .. }), "{error}");
    let left: Vec<_> =
        std::fs::read_dir(house.path("store")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restor")), "nothing is left lying: {left:?}");
    house.start().await;
}

#[tokio::test]
async fn backups_by_the_calendar_are_made_once_and_the_oldest_make_room() {
    let house = House::new("").await;
    let directory = house.path("backups");
    std::fs::create_dir(&directory).unwrap();
    for old in ["opros-20200101T030000Z.db", "opros-20200102T030000Z.db", "opros-mine.db"] {
        std::fs::write(directory.join(old), "old").unwrap();
    }
    let calendar = opros::domain::calendar::Calendar::parse("0 3 * * *", "UTC").unwrap();
    let (board, engine) = (HealthBoard::default(), house.daemon().engine());
    let plan = BackupPlan { directory: directory.clone(), calendar, keep: 2 };
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for _ in 0..2 {
        // A second handle is a second start: the store knows what was made.
        let backups = Backups::new(board.clone());
        backups.set(Some(plan.clone()));
        backups.tick(engine).await;
        until("it is made", async || {
            let names = names();
            names.len() == 3 && !names.iter().any(|name| name.contains("20200101") || name.ends_with("partial"))
        })
        .await;
    }
    let names = names();
    assert_eq!((names[0].as_str(), names[2].as_str()), ("opros-20200102T030000Z.db", "opros-mine.db"));
    let mode = std::fs::metadata(directory.join(&names[1])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let broken = BackupPlan { directory: house.path("opros.toml"), ..plan };
    Backups::new(board.clone()).make(engine.store().as_ref(), &broken, now()).await;
    assert!(board.causes()[0].what.contains("the newest backup failed"));
}

/// The copy knows nothing of what was sent since, and there is no witness to say so.
#[tokio::test]
async fn a_backup_that_is_put_in_place_by_hand_on_a_new_disk_pays_for_nothing_again() {
    let mut house = House::new("").await;
    hold(&house).await;
    let sent = house.order(json!({ "phone": "79990000002" })).await;
    let file = house.path("backup.db");
    backup(&house.client(), &file).await;
    let_go(&house).await;
    house.until_state(sent, "succeeded").await;
    let orders = paid(&house);
    house.stop().await;
    std::fs::remove_dir_all(house.path("store")).unwrap();
    std::fs::create_dir(house.path("store")).unwrap();
    std::fs::copy(&file, house.store()).unwrap();
    house.start().await;
    let_go(&house).await;
    house.until_state(sent, "in_doubt").await;
    let next = house.order(json!({ "phone": "79990000004" })).await;
    house.until_state(next, "succeeded").await;
    assert_eq!(paid(&house), orders + 1, "nothing was paid twice");
    let health = house.get(&["v1", "health"]).await;
    let codes: Vec<&str> = health["causes"].as_array().unwrap().iter().filter_map(|it| it["code"].as_str()).collect();
    assert!(codes.contains(&"store_copied") && codes.contains(&"jobs_in_doubt"), "{health}");
}
