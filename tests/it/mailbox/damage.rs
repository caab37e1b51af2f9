//! The file is broken under the running daemon: overwritten, cut short, bereft of its WAL. Another process does it, as in life:
//! a handle that this one closes would drop its own locks.

use std::fs;
use std::process::Command;

use opros::mailbox::trouble::{DAMAGED, UNAVAILABLE};
use opros::store::Store;

use super::house::{House, until};

fn shell(house: &House, script: &str) -> bool {
    Command::new("sh").arg("-c").arg(script).env("DB", house.path()).status().unwrap().success()
}

/// A house with an order under way, many rows in the file itself, and an empty WAL.
async fn house() -> House {
    let house = House::new().await;
    let mut conn = house.foreign().await;
    super::house::execute(
        &mut conn,
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 299)
         INSERT INTO jobs (kind, params) SELECT 'tronk.report', '{\"phone\":\"7999' || printf('%07d', i) || '\"}' FROM n",
    )
    .await;
    house.taken(300).await;
    let wal = house.path().with_extension("db-wal");
    until("the WAL is emptied", async || fs::metadata(&wal).is_ok_and(|meta| meta.len() == 0)).await;
    house
}

/// The daemon has mended it by itself: the cause is named, the next order is taken, and the first one's answer arrives.
async fn is_mended(house: &House, cause: &str) {
    // What happens in the very moment of the daemon's own checkpoint is taken for its own hand, until the file is written to
    // again.
    until("the cause is named", async || house.causes.get(cause).is_some() || !shell(house, "touch -c \"$DB\"")).await;
    serves(house).await;
    assert!(house.causes.get(UNAVAILABLE).is_none());
}

async fn serves(house: &House) {
    let mut next = 0;
    until("rows can be inserted", async || {
        next = house.try_order(79_990_000_999).await.unwrap_or(0);
        next > 0
    })
    .await;
    let job = house.taken(next).await;
    assert!(job.0 > 300);
    let first = opros::domain::JobId(1);
    house.accept(first).await;
    house.succeed(first, r#"{"found":true}"#).await;
    until("the first order's answer is there", async || {
        house.events().await.iter().any(|event| event.kind == "job.succeeded" && event.job.is_some())
    })
    .await;
    assert!(house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum::<i64>() >= 301);
}

#[tokio::test]
async fn a_file_that_was_overwritten_is_set_aside_and_made_anew() {
    let house = house().await;
    assert!(shell(&house, "head -c 40000 /dev/urandom | dd of=\"$DB\" conv=notrunc status=none"));
    is_mended(&house, DAMAGED).await;
    let what = house.causes.get(DAMAGED).unwrap();
    let aside = what.split_whitespace().find(|word| word.contains(".damaged-")).unwrap();
    assert!(fs::metadata(aside).is_ok_and(|meta| meta.len() >= 40_000), "{what}");
}

#[tokio::test]
async fn a_page_that_was_overwritten_in_the_middle_is_found_although_nothing_asks_for_it() {
    let house = house().await;
    assert!(shell(&house, "dd if=/dev/urandom of=\"$DB\" bs=4096 seek=4 count=8 conv=notrunc status=none"));
    is_mended(&house, DAMAGED).await;
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_set_aside_and_made_anew() {
    let house = house().await;
    assert!(shell(&house, "truncate -s 20000 \"$DB\""));
    is_mended(&house, DAMAGED).await;
}

#[tokio::test]
async fn a_file_that_was_emptied_is_filled_again() {
    let house = house().await;
    assert!(shell(&house, "truncate -s 0 \"$DB\""));
    serves(&house).await;
}

#[tokio::test]
async fn a_wal_that_was_removed_is_noticed_and_the_file_opened_anew() {
    let house = house().await;
    assert!(shell(&house, "rm \"$DB-wal\""));
    serves(&house).await;
    let wal = house.path().with_extension("db-wal");
    until("the WAL has its name again", async || fs::metadata(&wal).is_ok()).await;
}

#[tokio::test]
async fn rows_that_were_not_taken_are_read_out_of_what_is_left() {
    let house = house().await;
    if Command::new("sqlite3").arg("--version").output().is_err() {
        eprintln!("no sqlite3 shell here");
        return;
    }
    // The daemon's task stands still meanwhile: this test does not wait.
    let insert = "sqlite3 \"$DB\" \"INSERT INTO jobs (uid, kind, params) \
        VALUES ('last', 'tronk.report', '{\\\"phone\\\":\\\"79990000112\\\"}')\"";
    let ruin = "dd if=/dev/urandom of=\"$DB\" bs=4096 seek=6 count=3 conv=notrunc status=none";
    until("the row is inserted", async || shell(&house, &format!("{insert} 2>/dev/null && {ruin}"))).await;
    until("the cause is named", async || house.causes.get(DAMAGED).is_some()).await;
    const LAST: &str = "SELECT count(*) FROM jobs WHERE uid = 'last' AND state = 'queued'";
    until("its order was taken, and stands in the new file", async || {
        let Some(mut conn) = house.try_foreign().await else { return false };
        sqlx::query_scalar::<_, i64>(LAST).fetch_one(&mut conn).await.is_ok_and(|count| count == 1)
    })
    .await;
}
