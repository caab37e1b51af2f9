//! What the machine can do: the same steps as opros in the plainest way. A job row at taking in, its intent before the request
//! leaves, its result and an event afterwards, each durable (FULL) by a group commit of whatever waits; nothing else.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::{Failure, IN_FLIGHT};

enum Step {
    Begin(u64),
    End(u64, String),
}

type Asked = (Step, oneshot::Sender<()>);

pub async fn work(args: Vec<String>) -> Result<(), Failure> {
    let [port, jobs, path] = args.as_slice() else { return Err("bare PORT JOBS PATH".into()) };
    let jobs: u64 = jobs.parse()?;
    let mut conn = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    for statement in [
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, params TEXT NOT NULL, state INTEGER NOT NULL, result TEXT) STRICT",
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, job INTEGER NOT NULL, type TEXT NOT NULL) STRICT",
    ] {
        sqlx::query(statement).execute(&mut conn).await?;
    }
    println!("ready");
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    input.next_line().await?;
    let ids: Vec<u64> = (1..=jobs).map(|n| 79_000_000_000 + n).collect();
    for some in ids.chunks(500) {
        let take =
            "INSERT INTO jobs (id, params, state) SELECT value, '{\"phone\":\"' || value || '\"}', 0 FROM json_each(?)";
        sqlx::query(take).bind(serde_json::to_string(some)?).execute(&mut conn).await?;
    }
    let (ask, asked) = mpsc::channel::<Asked>(1_024);
    let writer = tokio::spawn(write(conn, asked));
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(IN_FLIGHT).build()?;
    let url = format!("http://127.0.0.1:{port}/reportphone.ashx");
    let mut ids = ids.into_iter();
    let mut flying: JoinSet<Result<(), Failure>> = JoinSet::new();
    loop {
        while flying.len() < IN_FLIGHT
            && let Some(id) = ids.next()
        {
            let (ask, client, url) = (ask.clone(), client.clone(), url.clone());
            flying.spawn(async move {
                commit(&ask, Step::Begin(id)).await?;
                let query = [("mode", "checkqueue".to_owned()), ("id", id.to_string())];
                let answer = client.get(url).query(&query).send().await?.text().await?;
                commit(&ask, Step::End(id, answer)).await
            });
        }
        match flying.join_next().await {
            Some(job) => job??,
            None => break,
        }
    }
    drop(ask);
    writer.await??;
    println!("done");
    input.next_line().await?;
    Ok(())
}

async fn commit(ask: &mpsc::Sender<Asked>, step: Step) -> Result<(), Failure> {
    let (done, committed) = oneshot::channel();
    ask.send((step, done)).await.map_err(|_| "the writer is gone")?;
    Ok(tokio::time::timeout(Duration::from_secs(30), committed).await??)
}

async fn write(mut conn: SqliteConnection, mut asked: mpsc::Receiver<Asked>) -> Result<(), Failure> {
    let mut group = Vec::new();
    while asked.recv_many(&mut group, 512).await > 0 {
        let (mut begun, mut ended, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for (step, done) in group.drain(..) {
            match step {
                Step::Begin(id) => begun.push(id),
                Step::End(id, result) => ended.push((id, result)),
            }
            waiting.push(done);
        }
        let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
        if !begun.is_empty() {
            sqlx::query("UPDATE jobs SET state = 1 FROM json_each(?) AS it WHERE jobs.id = it.value")
                .bind(serde_json::to_string(&begun)?)
                .execute(&mut *transaction)
                .await?;
        }
        if !ended.is_empty() {
            let text = serde_json::to_string(&ended)?;
            let end = "UPDATE jobs SET state = 4, result = it.value ->> 1 FROM json_each(?) AS it WHERE jobs.id = it.value ->> 0";
            sqlx::query(end).bind(&text).execute(&mut *transaction).await?;
            let tell = "INSERT INTO events (job, type) SELECT value ->> 0, 'job.succeeded' FROM json_each(?)";
            sqlx::query(tell).bind(&text).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        for done in waiting {
            let _ = done.send(());
        }
    }
    conn.close().await?;
    Ok(())
}
