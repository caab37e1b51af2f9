//! Those who share the machine with the daemon: a program that tidies the mailbox by SQLite's own means, an operator who
//! starts a second daemon on the same store by another name, and a client that asks again although it was answered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::campaign::Dice;
use super::client::{self, Shared};
use super::script::Order;
use super::world::{Failure, World, nap};

/// A daemon that has not refused a store that is another's after this serves it.
const REFUSES_IN: Duration = Duration::from_secs(8);

/// What they saw that must not be.
pub fn complaints(world: &World) -> PathBuf {
    world.path("complaints.ndjson")
}

/// Keeps notes of its own in the mailbox, throws them away, and gives the room back.
pub async fn tidy_mailbox(world: &World, seed: u64) -> Result<(), Failure> {
    let mut dice = Dice(seed ^ 0x7d1e);
    loop {
        nap(15 + dice.below(60)).await;
        let visited = visit(world, &mut dice).await;
        if let Err(error) = visited
            && let Some(damage) = damage(&error)
        {
            let line =
                json!({ "invariant": "I8", "what": format!("a neighbour's connection to the mailbox: {damage}") });
            client::note(&complaints(world), &line)?;
        }
    }
}

/// One connection and a few statements, with pauses in which others write.
async fn visit(world: &World, dice: &mut Dice) -> Result<(), sqlx::Error> {
    let _disk = world.disk.read().await;
    if !world.mailbox().exists() {
        return Ok(());
    }
    let mut conn = connect(&world.mailbox()).await?;
    // It is a guest of a mailbox that is there; a file of its own making would be nobody's mailbox.
    let is_made = "SELECT count(*) FROM sqlite_schema WHERE name = 'events'";
    if sqlx::query_scalar::<_, i64>(is_made).fetch_one(&mut conn).await? == 0 {
        return conn.close().await;
    }
    for _ in 0..=dice.below(3) {
        match dice.below(8) {
            0 => run(&mut conn, "CREATE TABLE IF NOT EXISTS shop_notes (note BLOB)").await?,
            1 | 2 => run(&mut conn, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO shop_notes SELECT randomblob(2000) FROM n").await?,
            3 => run(&mut conn, "DELETE FROM shop_notes").await?,
            4 => run(&mut conn, "PRAGMA wal_checkpoint(PASSIVE)").await?,
            5 => run(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)").await?,
            6 => run(&mut conn, "ANALYZE").await?,
            _ => run(&mut conn, "VACUUM").await?,
        }
        nap(dice.below(20)).await;
    }
    conn.close().await
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_millis(300)).connect().await
}

/// What the neighbour may be told: that somebody else is at work, or that its table is not there yet.
async fn run(conn: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    match sqlx::query(statement).execute(conn).await {
        Err(error) if damage(&error).is_some() => Err(error),
        _ => Ok(()),
    }
}

/// I/O error, malformed, not a database: what no program may see because of the daemon.
fn damage(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(inner) = error else { return None };
    let code: i64 = inner.code()?.parse().ok()?;
    [10, 11, 26].contains(&(code & 0xff)).then(|| format!("{code}: {}", inner.message()))
}

/// Once in a life, beside a daemon that answers: the same store by another name must be refused.
pub async fn second_daemon(world: &World) -> Result<(), Failure> {
    let client = world.client()?;
    while client.get(&["v1", "health"], &[]).await.is_err() {
        nap(10).await;
    }
    world.link_store()?;
    world.start_second().await?;
    let ended = tokio::time::timeout(REFUSES_IN, world.second_ends()).await;
    let what = match ended {
        Ok(status) if status.is_some_and(|status| !status.success()) => None,
        Ok(status) => Some(format!("it ended with {status:?}")),
        Err(_) => Some(format!("it had not refused the store after {REFUSES_IN:?}")),
    };
    if let Some(what) = what {
        let line = json!({ "invariant": "I1", "what": format!("a second daemon by a hard link of the store: {what}") });
        client::note(&complaints(world), &line)?;
    }
    world.unlink_store().await;
    std::future::pending().await
}

/// Asks again for what was acknowledged, at any time, ended or not: it must be the same job.
pub async fn ask_again(world: &World, orders: &[Order], memory: &Shared, seed: u64) -> Result<(), Failure> {
    let client = world.client()?;
    let mut dice = Dice(seed ^ 0xa5a1);
    loop {
        nap(30 + dice.below(90)).await;
        let order = &orders[dice.below(orders.len() as u64) as usize];
        if client::is_again(memory, order) && dice.below(2) == 0 {
            client::again(world, &client, order, memory).await;
        }
        let Some(job) = client::acknowledged(memory, order).filter(|_| !order.key.is_empty()) else { continue };
        let answered = client.post(&["v1", "jobs"], &client::body(order)).await;
        let Some(again) = answered.ok().and_then(|answer| answer.read::<Value>().ok()) else { continue };
        // A mailbox order has no number of a job at the client.
        if job > 0 && again["id"] != job {
            let what = format!("order {} is job {job}, and asked again it is {}", order.name, again["id"]);
            client::note(&complaints(world), &json!({ "invariant": "I1", "what": what }))?;
        }
    }
}
