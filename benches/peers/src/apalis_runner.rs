//! apalis-sqlite at its best settings that are as durable as opros: WAL, synchronous=FULL, batches of 100, 64 at a time, each
//! job in a task of its own, results kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apalis::prelude::*;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};
use futures::stream;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{Failure, IN_FLIGHT};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    phone: u64,
}

#[derive(Debug, Clone)]
struct Shop {
    client: reqwest::Client,
    url: Arc<str>,
    done: Arc<AtomicUsize>,
}

async fn order(order: Order, shop: Data<Shop>) -> Result<serde_json::Value, BoxDynError> {
    let query = [("mode", "checkqueue".to_owned()), ("id", order.phone.to_string())];
    let answer = shop.client.get(&*shop.url).query(&query).send().await?.json().await?;
    shop.done.fetch_add(1, Ordering::Relaxed);
    Ok(answer)
}

pub async fn work(args: Vec<String>) -> Result<(), Failure> {
    let [port, jobs, path] = args.as_slice() else { return Err("apalis PORT JOBS PATH".into()) };
    let jobs: usize = jobs.parse()?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    // Its own setup turns synchronous off for the connection that it uses: that one is closed again.
    let first = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    SqliteStorage::<()>::setup(&first).await?;
    first.close().await;
    let pool: SqlitePool =
        SqlitePoolOptions::new().max_connections(4).connect_with(options.synchronous(SqliteSynchronous::Full)).await?;
    let config = Config::default().queue("orders").batch_size(100);
    let mut storage = SqliteStorage::<Order>::new(&pool).with_config(config.clone());
    let orders = (0..jobs as u64).map(|n| TaskBuilder::new(Order { phone: 79_000_000_000 + n }).build());
    storage.push_all(&mut stream::iter(orders.collect::<Vec<_>>())).await?;
    println!("ready");
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    input.next_line().await?;
    let shop = Shop {
        client: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(IN_FLIGHT).build()?,
        url: format!("http://127.0.0.1:{port}/reportphone.ashx").into(),
        done: Arc::default(),
    };
    let strategy = Strategy::new().interval(Duration::from_millis(1));
    let worker = WorkerBuilder::new("peer")
        .backend(SqliteStorage::<Order>::new(&pool).with_config(config).poll_with_strategy(strategy))
        .data(shop.clone())
        .concurrency(IN_FLIGHT)
        .parallelize(tokio::spawn)
        .build(order);
    let watch = async {
        while shop.done.load(Ordering::Relaxed) < jobs || unfinished(&pool).await? > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!("done");
        input.next_line().await?;
        Ok::<(), Failure>(())
    };
    tokio::select! {
        ended = worker.run() => Err(format!("the worker stopped: {ended:?}").into()),
        watched = watch => watched,
    }
}

async fn unfinished(pool: &SqlitePool) -> Result<i64, Failure> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status <> 'Done'").fetch_one(pool).await?)
}
