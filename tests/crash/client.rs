//! Those who order and those who read: they know nothing of the daemon but its doors, and outlive it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opros::cli::client::{Answer, Client};
use opros::cli::failure::Failure as Failed;
use opros::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::evidence::AGAIN;
use super::neighbours::complaints;
use super::script::{CALLBACK_SECRET, Door, Order, TakesBack};
use super::world::{Failure, World, nap};

/// What those who order remember: an order that was acknowledged must never be lost.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// By the order's name: the job's number on the socket; 0 for a committed INSERT.
    pub acknowledged: BTreeMap<&'static str, i64>,
    cancelled: BTreeMap<&'static str, bool>,
    /// By the name of the order that was ordered again: the new job's number.
    pub again: BTreeMap<&'static str, i64>,
    called_back: bool,
}

pub type Shared = Arc<Mutex<Memory>>;

fn with<T>(memory: &Shared, change: impl FnOnce(&mut Memory) -> T) -> T {
    change(&mut memory.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn mailbox(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5)).connect().await
}

/// Orders what has not been acknowledged, and takes back what is not wanted, until all of it is done.
pub async fn order(world: &World, orders: &[Order], memory: &Shared) -> Result<(), Failure> {
    let client = world.client()?;
    let insert = async {
        while !insert(world, orders, memory).await.unwrap_or(false) {
            nap(8).await;
        }
    };
    let post = async {
        for order in orders.iter().filter(|order| order.door == Door::Socket) {
            while !post(&client, order, memory).await {
                nap(8).await;
            }
        }
    };
    let take_back = async {
        for order in orders.iter().filter(|order| order.cancelled.is_some()) {
            while !cancel(world, &client, order, memory).await {
                nap(15).await;
            }
        }
    };
    let call_back = async {
        while !with(memory, |memory| memory.called_back) {
            let taken = call_back(world.port).await.unwrap_or(false);
            with(memory, |memory| memory.called_back |= taken);
            nap(40).await;
        }
    };
    let order_again = async {
        for order in orders.iter().filter(|order| order.again) {
            while !again(world, &client, order, memory).await {
                nap(20).await;
            }
        }
    };
    tokio::join!(insert, post, take_back, call_back, order_again);
    Ok(())
}

/// What nobody ordered, too large for a row: it is kept in a file, and given to nobody. True once it was answered 200.
async fn call_back(port: u16) -> std::io::Result<bool> {
    let body = json!({ "vin": "WVWZZZ9NZZY000009", "status": "done", "note": "x".repeat(80 << 10) }).to_string();
    let mut stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await?;
    let head = format!(
        "POST /callbacks/vagvin/{CALLBACK_SECRET} HTTP/1.1\r\nHost: opros\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// One INSERT each, as a web shop would; true once all are committed.
async fn insert(world: &World, orders: &[Order], memory: &Shared) -> Result<bool, sqlx::Error> {
    let _disk = world.disk.read().await;
    let path = world.mailbox();
    if !path.exists() {
        return Ok(false);
    }
    let mut conn = mailbox(&path).await?;
    for order in orders.iter().filter(|order| order.door == Door::Mailbox) {
        if with(memory, |memory| memory.acknowledged.contains_key(order.name)) {
            continue;
        }
        sqlx::query("INSERT OR IGNORE INTO jobs (uid, kind, params) VALUES ($1, $2, $3)")
            .bind(order.name)
            .bind(order.kind)
            .bind(order.params.to_string())
            .execute(&mut conn)
            .await?;
        with(memory, |memory| memory.acknowledged.insert(order.name, 0));
    }
    conn.close().await?;
    Ok(true)
}

/// What was acknowledged: the job's number, 0 for a row.
pub fn acknowledged(memory: &Shared, order: &Order) -> Option<i64> {
    with(memory, |memory| memory.acknowledged.get(order.name).copied())
}

/// It was ordered again, and that was acknowledged.
pub fn is_again(memory: &Shared, order: &Order) -> bool {
    with(memory, |memory| memory.again.contains_key(order.name))
}

/// The order as it is posted, each time with the same token.
pub fn body(order: &Order) -> Value {
    let mut body = json!({ "kind": order.kind, "params": order.params, "uid": order.name });
    if let Some(after) = order.deadline {
        let deadline = SystemClock.now() + after;
        // It may not be sent before it is over: what ends it is the sweep.
        body["not_before"] = json!((deadline + Duration::from_secs(60)).to_rfc3339());
        body["deadline"] = json!(deadline.to_rfc3339());
    }
    body
}

/// A client whose answer did not come sends the same again: its token makes that safe.
async fn post(client: &Client, order: &Order, memory: &Shared) -> bool {
    if acknowledged(memory, order).is_some() {
        return true;
    }
    let posted = client.post(&["v1", "jobs"], &body(order)).await;
    let id = posted.ok().and_then(|answer| answer.read::<Value>().ok()).and_then(|job| job["id"].as_i64());
    if let Some(id) = id {
        with(memory, |memory| memory.acknowledged.insert(order.name, id));
    }
    id.is_some()
}

/// What has ended unsent is ordered once more: a double click, with one token. True once it was acknowledged.
pub async fn again(world: &World, client: &Client, order: &Order, memory: &Shared) -> bool {
    let Some(job) = acknowledged(memory, order) else { return false };
    let (job, uid, wish) = (job.to_string(), format!("{AGAIN}{}", order.name), json!({}));
    let path = ["v1", "jobs", &job, "retry"];
    let click = || client.order(&path, &wish, &uid, client.patience());
    let (one, other) = tokio::join!(click(), click());
    let number = |answer: Result<Answer, Failed>| answer.ok()?.read::<Value>().ok()?["id"].as_i64();
    let numbers: Vec<i64> = [one, other].into_iter().filter_map(number).collect();
    let first = with(memory, |memory| memory.again.get(order.name).copied()).or(numbers.first().copied());
    if let Some(wrong) = numbers.iter().find(|number| Some(**number) != first) {
        let what = format!("order {}, ordered again with one token, is job {first:?} and job {wrong}", order.name);
        let _ = note(&complaints(world), &json!({ "invariant": "I1", "what": what }));
    }
    with(memory, |memory| first.map(|first| memory.again.insert(order.name, first)));
    first.is_some()
}

async fn cancel(world: &World, client: &Client, order: &Order, memory: &Shared) -> bool {
    let (number, done) = with(memory, |memory| {
        (memory.acknowledged.get(order.name).copied(), memory.cancelled.contains_key(order.name))
    });
    if done {
        return true;
    }
    let Some(number) = number else { return false };
    if order.cancelled == Some(TakesBack::OnceAccepted) && is_on_its_way(client, number).await {
        return false;
    }
    let cancelled = match order.door {
        Door::Socket => {
            let answer = client.post(&["v1", "jobs", &number.to_string(), "cancel"], &json!({})).await;
            // 409: it has ended already.
            matches!(answer, Ok(_) | Err(Failed::Refused { status: 409, .. }))
        }
        Door::Mailbox => update(world, order.name).await.unwrap_or(false),
    };
    if cancelled {
        with(memory, |memory| memory.cancelled.insert(order.name, true));
    }
    cancelled
}

/// Neither accepted nor ended, nor left to the operator.
async fn is_on_its_way(client: &Client, number: i64) -> bool {
    let answer = client.get(&["v1", "jobs", &number.to_string()], &[]).await;
    let Some(job) = answer.ok().and_then(|answer| answer.read::<Value>().ok()) else { return true };
    match job["state"].as_str() {
        Some("queued" | "submitting") => true,
        Some("in_doubt") => !job["next_at"].is_null(),
        _ => false,
    }
}

/// Once it was taken, so that the wish goes its own way.
async fn update(world: &World, uid: &str) -> Result<bool, sqlx::Error> {
    let _disk = world.disk.read().await;
    let mut conn = mailbox(&world.mailbox()).await?;
    let wish = "UPDATE jobs SET cancel_requested = 1 WHERE uid = $1 AND state <> 'new'";
    let done = sqlx::query(wish).bind(uid).execute(&mut conn).await?.rows_affected() == 1;
    conn.close().await?;
    Ok(done)
}

/// Follows the stream from the number that it remembers; writes down every line that it sees.
pub async fn follow_stream(world: &World) -> Result<(), Failure> {
    let (client, file) = (world.client()?, world.path("stream.ndjson"));
    loop {
        let after = last(&file);
        let query = [("after", after.to_string())];
        if let Ok(mut stream) = client.stream(&["v1", "events"], &query, "application/x-ndjson").await {
            let mut rest = Vec::new();
            while let Ok(Some(chunk)) = stream.chunk().await {
                rest.extend_from_slice(&chunk);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
                    let Some(seq) = number(&event["sequence"]) else { continue };
                    let seen = json!({ "seq": seq, "id": event["id"], "type": event["type"], "job": event["subject"] });
                    note(&file, &seen)?;
                }
            }
        }
        nap(10).await;
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Reads the mailbox's events by number, as the README tells programs to.
pub async fn follow_mailbox(world: &World) -> Result<(), Failure> {
    loop {
        // A file that is being made, or locked, is looked at again.
        let _ = read_mailbox(world).await;
        nap(25).await;
    }
}

pub async fn read_mailbox(world: &World) -> Result<(), Failure> {
    let _disk = world.disk.read().await;
    let (path, file) = (world.mailbox(), world.path("mailbox.ndjson"));
    if !path.exists() {
        return Ok(());
    }
    let mut conn = mailbox(&path).await?;
    let query = "SELECT seq, job, type, event_id FROM events WHERE seq > $1 ORDER BY seq";
    for row in sqlx::query(query).bind(last(&file)).fetch_all(&mut conn).await? {
        let (seq, job): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let (kind, id): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        note(&file, &json!({ "seq": seq, "id": id, "type": kind, "job": job }))?;
    }
    conn.close().await?;
    Ok(())
}

pub fn note(file: &Path, line: &Value) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// The number that it remembers: the last one that it wrote down.
fn last(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
    line.and_then(|line| line["seq"].as_i64()).unwrap_or(0)
}

/// Takes what the webhook delivers: written down first, answered then, as a careful receiver does.
pub async fn take_hooks(listener: TcpListener, file: PathBuf) {
    while let Ok((stream, _)) = listener.accept().await {
        // One after another, so that the file has the order in which they were answered.
        let _ = tokio::time::timeout(Duration::from_secs(2), take_hook(stream, &file)).await;
    }
}

async fn take_hook(mut stream: TcpStream, file: &Path) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            // Cut off by a kill: it was not taken.
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        if header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0) > body.len() {
            continue;
        }
        let id = header("webhook-id").unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let seq = id.rsplit_once('-').and_then(|(_, seq)| seq.parse::<i64>().ok());
        note(file, &json!({ "seq": seq, "id": id, "type": body["type"] }))?;
        return stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    }
}

/// The webhook has brought whatever the stream has shown.
pub fn was_told_everything(world: &World) -> bool {
    let text = std::fs::read_to_string(world.path("hooks.ndjson")).unwrap_or_default();
    let told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["seq"].as_i64());
    let told: std::collections::BTreeSet<i64> = told.collect();
    told.len() as i64 >= last(&world.path("stream.ndjson"))
}

/// Everything that there is to see was seen.
pub async fn has_caught_up(world: &World, client: &Client) -> bool {
    let after = last(&world.path("stream.ndjson"));
    let page = client.get(&["v1", "events"], &[("after", after.to_string())]).await;
    let page = page.ok().and_then(|answer| answer.read::<Value>().ok());
    page.is_some_and(|page| page["events"].as_array().is_some_and(Vec::is_empty))
}
