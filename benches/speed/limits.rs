//! What the machine can do at best, measured in the same run: the other side of every ratio.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// The columns that an order has, in a table of its own.
const TABLE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, \
    params TEXT NOT NULL, tag TEXT, state INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT";
const INSERT: &str =
    "INSERT INTO orders (uid, kind, params, tag, state, created_at) VALUES (?1, 'tronk.report', ?2, ?3, 0, ?4)";

fn database(dir: &Path, name: &str) -> Connection {
    let conn = Connection::open(dir.join(name)).expect("a database");
    conn.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {TABLE};")).expect("a table");
    conn
}

fn insert(conn: &Connection, n: u64) {
    let params = format!("{{\"phone\":\"{}\"}}", 79_000_000_000 + n);
    let mut statement = conn.prepare_cached(INSERT).expect("a statement");
    statement.execute((format!("{n:032x}"), params, format!("customer-{n}"), n as i64)).expect("a row");
}

/// Rows a second, one transaction each, every one with its fsync.
pub fn autocommit(dir: &Path) -> f64 {
    let conn = database(dir, "autocommit.db");
    let (begun, mut n) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(3) {
        insert(&conn, n);
        n += 1;
    }
    n as f64 / begun.elapsed().as_secs_f64()
}

/// Rows a second, a thousand to a transaction.
pub fn thousands(dir: &Path) -> f64 {
    let conn = database(dir, "thousands.db");
    let (begun, mut n) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(3) {
        conn.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        (n..n + 1000).for_each(|n| insert(&conn, n));
        conn.execute_batch("COMMIT").expect("a commit");
        n += 1000;
    }
    n as f64 / begun.elapsed().as_secs_f64()
}

/// Requests a second by plain reqwest, `in_flight` at a time; and µs of CPU each, its vendor included.
#[expect(clippy::disallowed_methods, reason = "the bare client that the daemon is compared with")]
pub async fn requests(vendor: SocketAddr, in_flight: usize, count: usize) -> f64 {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(in_flight).build().expect("a client");
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..in_flight {
        let client = client.clone();
        tasks.spawn(async move {
            for n in 0..count / in_flight {
                let phone = 79_000_000_000 + (task * 1_000_000 + n) as u64;
                let mode = if n % 2 == 0 { "mode=setqueue&phone" } else { "mode=checkqueue&id" };
                let url = format!("http://{vendor}/reportphone.ashx?key=a-key-of-the-bench&{mode}={phone}");
                let answer = client.get(url).send().await.expect("an answer").bytes().await.expect("all of it");
                std::hint::black_box(answer);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    (count / in_flight * in_flight) as f64 / begun.elapsed().as_secs_f64()
}
