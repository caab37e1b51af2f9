//! The file is deleted, replaced, restored, or was never ours.

use std::fs;

use opros::domain::JobId;
use opros::mailbox::trouble::{NOT_OURS, REPLACED, UNAVAILABLE};
use opros::store::Store;
use sqlx::Connection;

use super::house::{House, execute, until};

async fn copy(house: &House, name: &str) -> std::path::PathBuf {
    let copy = house.dir.path().join(name);
    let mut conn = house.foreign().await;
    sqlx::query("VACUUM INTO $1").bind(copy.to_str().unwrap()).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    copy
}

fn remove(house: &House) {
    for suffix in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(house.path().with_extension(suffix));
    }
}

async fn is_made_anew(house: &House, inode: u64) {
    use std::os::unix::fs::MetadataExt;
    until("the file is made anew", async || {
        fs::metadata(house.path()).is_ok_and(|meta| meta.ino() != inode && meta.len() > 0)
    })
    .await;
}

fn inode(house: &House) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(house.path()).unwrap().ino()
}

#[tokio::test]
async fn a_deleted_file_is_made_anew_and_goes_on_with_higher_numbers() {
    let house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    house.accept(job).await;
    house.shows(id, "waiting").await;
    let before = inode(&house);
    // Something that keeps the old file's inode from being given to the new one.
    let kept = fs::File::open(house.path()).unwrap();
    remove(&house);
    is_made_anew(&house, before).await;
    let mut next = 0;
    until("the new file takes rows", async || {
        use sqlx::ConnectOptions;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(house.path());
        let Ok(mut conn) = options.connect().await else { return false };
        const ORDER: &str =
            "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000112\"}') RETURNING id";
        next = sqlx::query_scalar(ORDER).fetch_one(&mut conn).await.unwrap_or(0);
        next > 0
    })
    .await;
    assert!(next > id + 1_000, "{next} could have been given before");
    house.taken(next).await;
    // The answer that was paid for is found in the new file, and no old event is written again.
    house.succeed(job, r#"{"found":true}"#).await;
    until("the old job's row is back", async || house.events().await.len() == 1).await;
    let event = &house.events().await[0];
    assert_eq!((event.seq, event.kind.as_str()), (2, "job.succeeded"));
    let row = house.row(event.job.unwrap()).await;
    assert_eq!((row.job_id, row.result.as_deref()), (Some(job.0), Some(r#"{"found":true}"#)));
    drop(kept);
}

#[tokio::test]
async fn an_older_copy_that_is_put_back_orders_nothing_again() {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    execute(&mut conn, "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}')").await;
    let job = house.taken(1).await;
    let old = copy(&house, "old.db").await;
    // The copy knows the row as new.
    {
        use sqlx::ConnectOptions;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&old);
        let mut conn = options.connect().await.unwrap();
        execute(&mut conn, "UPDATE jobs SET state = 'new', job_id = NULL").await;
        conn.close().await.unwrap();
    }
    house.accept(job).await;
    let later = house.order(79_990_000_112).await;
    house.taken(later).await;
    house.shows(1, "waiting").await;
    conn.close().await.unwrap();
    // In a quiet moment, as SQLite asks for: a WAL that is left beside another file would be read into it.
    let wal = house.path().with_extension("db-wal");
    until("the WAL is emptied", async || fs::metadata(&wal).is_ok_and(|meta| meta.len() == 0)).await;
    fs::rename(&old, house.path()).unwrap();
    // Who reads before opros has let go of the old file reads the old WAL's index beside the new file.
    until("it is shown", async || house.causes.get(REPLACED).is_some_and(|what| what.contains("older copy"))).await;
    assert_eq!(house.shows(1, "waiting").await.job_id, Some(job.0));
    let next = house.order(79_990_000_113).await;
    assert!(next > later, "{next} was given before");
    house.taken(next).await;
    house.succeed(job, "{}").await;
    house.shows(1, "succeeded").await;
    until("only what is new is told", async || house.events().await.iter().map(|event| event.seq).eq([2])).await;
    assert_eq!(house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum::<i64>(), 3);
}

#[tokio::test]
async fn a_copy_that_is_put_back_with_sqlites_own_means_orders_nothing_again() {
    let house = House::new().await;
    if std::process::Command::new("sqlite3").arg("--version").output().is_err() {
        eprintln!("no sqlite3 shell here");
        return;
    }
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let old = copy(&house, "old.db").await;
    let second = house.order(79_990_000_112).await;
    house.taken(second).await;
    house.accept(job).await;
    house.shows(id, "waiting").await;
    // Beside the runtime: stopped in the middle of a transaction, the mailbox's task would keep the shell out for good.
    let path = house.path();
    let restore = move || {
        let shell = std::process::Command::new("sqlite3").arg(path).arg(format!(".restore {}", old.display())).output();
        shell.unwrap().status.success()
    };
    until("it is restored", async || tokio::task::spawn_blocking(restore.clone()).await.unwrap()).await;
    house.shows(id, "waiting").await;
    let next = house.order(79_990_000_113).await;
    assert!(next > second, "{next} was given before");
    house.taken(next).await;
}

#[tokio::test]
async fn rubbish_in_the_files_place_is_shown_and_left_alone_until_it_is_moved_away() {
    let mut house = House::new().await;
    house.stop().await;
    remove(&house);
    fs::write(house.path(), "these are my notes, all of them, and they are no database. ".repeat(200)).unwrap();
    house.serve();
    until("it is shown", async || house.causes.get(UNAVAILABLE).is_some()).await;
    assert!(fs::read_to_string(house.path()).unwrap().starts_with("these are my notes"));
    fs::rename(house.path(), house.dir.path().join("notes")).unwrap();
    until("a mailbox is made", async || house.causes.is_empty()).await;
    let id = house.order(79_990_000_111).await;
    house.taken(id).await;
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_not_followed() {
    let mut house = House::new().await;
    house.stop().await;
    remove(&house);
    let store = house.dir.path().join("store").join("opros.db");
    std::os::unix::fs::symlink(&store, house.path()).unwrap();
    house.serve();
    until("it is shown", async || house.causes.get(UNAVAILABLE).is_some()).await;
    assert!(house.causes.get(UNAVAILABLE).unwrap().contains("not a regular file"));
}

#[tokio::test]
async fn the_mailbox_of_another_store_is_not_taken_from() {
    let mut house = House::new().await;
    house.stop().await;
    let id = house.order(79_990_000_111).await;
    house.store.close().await;
    fs::remove_dir_all(house.dir.path().join("store")).unwrap();
    house.restart().await;
    until("it is shown", async || house.causes.get(NOT_OURS).is_some()).await;
    assert_eq!(house.row(id).await.state, "new");
    assert!(house.store.job(JobId(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let mut house = House::new().await;
    house.stop().await;
    remove(&house);
    let mut conn = {
        use sqlx::ConnectOptions;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(house.path()).create_if_missing(true);
        options.connect().await.unwrap()
    };
    execute(&mut conn, "CREATE TABLE jobs (mine)").await;
    house.serve();
    until("it is shown", async || house.causes.get(NOT_OURS).is_some()).await;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut conn).await.unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_store_that_was_restored_from_an_older_copy_reuses_no_event_number() {
    let mut house = House::new().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let backup = house.dir.path().join("backup.db");
    house.store.backup(&backup).await.unwrap();
    house.accept(job).await;
    until("the event is written", async || house.events().await.len() == 1).await;
    house.stop().await;
    house.store.close().await;
    let store = house.dir.path().join("store").join("opros.db");
    for suffix in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(store.with_extension(suffix));
    }
    fs::rename(&backup, &store).unwrap();
    house.reopen_store().await;
    house.serve();
    // What the store knows is shown; the next event has a number that no reader has seen.
    house.shows(id, "queued").await;
    house.accept(job).await;
    until("the new event is written", async || house.events().await.iter().map(|event| event.seq).eq([1, 2])).await;
}
