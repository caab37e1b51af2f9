//! The release binary, with jobs over its socket or as mailbox rows; its own stream says when they have ended.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::process::Child;

use crate::process::{Measured, cpu, pid_of, pss, traced};
use crate::{Failure, IN_FLIGHT, Work};

const PATIENCE: Duration = Duration::from_secs(120);

struct House {
    dir: tempfile::TempDir,
    child: Child,
    pid: u32,
    client: reqwest::Client,
}

/// Orders a second, from the first line handed in to the last end told.
pub async fn run(
    binary: &Path,
    port: u16,
    jobs: usize,
    work: Work,
    mailbox: bool,
    trace: Option<&Path>,
) -> Result<Measured, Failure> {
    let mut house = start(binary, port, mailbox, trace).await?;
    let done = tokio::spawn(ended(house.client.clone(), jobs));
    let (before, begun) = (cpu(house.pid), Instant::now());
    if mailbox {
        insert(&house.dir.path().join("mailbox/mailbox.db"), jobs, work).await?;
    } else {
        let answer = house
            .client
            .post("http://opros/v1/jobs")
            .header("content-type", "application/x-ndjson")
            .body(lines(jobs, work))
            .send()
            .await?;
        if !answer.status().is_success() {
            return Err(format!("the orders were refused: {}", answer.status()).into());
        }
        // The verdicts are read as they come: nobody else would.
        answer.bytes().await?;
    }
    tokio::time::timeout(PATIENCE, done).await.map_err(|_| "the jobs did not end in time")???;
    let took = begun.elapsed().as_secs_f64();
    let used = cpu(house.pid) - before;
    let measured = Measured { rate: jobs as f64 / took, cpu: used * 1e6 / jobs as f64, pss: pss(house.pid) };
    std::process::Command::new("kill").arg(house.pid.to_string()).status()?;
    house.child.wait().await?;
    Ok(measured)
}

async fn start(binary: &Path, port: u16, mailbox: bool, trace: Option<&Path>) -> Result<House, Failure> {
    let dir = tempfile::tempdir()?;
    let at = dir.path().display();
    let file = if mailbox { format!("{at}/mailbox/mailbox.db") } else { String::new() };
    let config = format!(
        "[store]\npath = \"{at}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"{file}\"\n\
         [admin]\nsocket = \"{at}/admin.sock\"\n[log]\nfilter = \"warn\"\n\
         [accounts.tronk]\nvendor = \"tronk\"\nkey = \"a-key-of-the-bench\"\nbase_url = \"http://127.0.0.1:{port}\"\n\
         limits = {{ max_in_flight = {IN_FLIGHT} }}\npoll = [{{ every = \"1ms\", for = \"1d\" }}]\n\
         [accounts.alta]\nvendor = \"alta\"\nlogin = \"bench\"\nsa = \"sa000000\"\npassword = \"a-password\"\n\
         base_url = \"http://127.0.0.1:{port}\"\nbalance_every = \"0s\"\n\
         limits = {{ max_in_flight = {IN_FLIGHT}, min_interval = \"0s\" }}\n"
    );
    let path = dir.path().join("opros.toml");
    std::fs::create_dir(dir.path().join("mailbox"))?;
    std::fs::write(&path, config)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let child = traced(&std::fs::canonicalize(binary)?, trace)
        .arg("--config")
        .arg(&path)
        .arg("serve")
        // As the unit sets it.
        .env("MALLOC_ARENA_MAX", "2")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let client = reqwest::Client::builder().unix_socket(dir.path().join("admin.sock")).no_proxy().build()?;
    let begun = Instant::now();
    while !client.get("http://opros/v1/health").send().await.is_ok_and(|answer| answer.status().is_success()) {
        if begun.elapsed() > PATIENCE {
            return Err("opros did not become ready".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = pid_of(&child, trace);
    Ok(House { dir, child, pid, client })
}

/// Counts ends on the stream.
async fn ended(client: reqwest::Client, jobs: usize) -> Result<(), Failure> {
    const END: &[u8] = b"\"type\":\"job.succeeded\"";
    let mut stream =
        client.get("http://opros/v1/events?after=0").header("accept", "application/x-ndjson").send().await?;
    let (mut rest, mut count) = (Vec::new(), 0);
    while let Some(chunk) = stream.chunk().await? {
        rest.extend_from_slice(&chunk);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        count += whole.windows(END.len()).filter(|window| *window == END).count();
        if count >= jobs {
            return Ok(());
        }
    }
    Err("the stream ended before the jobs".into())
}

fn order(n: usize, work: Work) -> (&'static str, String) {
    match work {
        Work::One => ("alta.carr_list", "{}".to_owned()),
        Work::Two => ("tronk.report", format!("{{\"phone\":\"{}\"}}", 79_000_000_000_u64 + n as u64)),
    }
}

fn lines(jobs: usize, work: Work) -> String {
    let mut text = String::with_capacity(jobs * 80);
    for n in 0..jobs {
        let (kind, params) = order(n, work);
        let _ = writeln!(text, "{{\"kind\":\"{kind}\",\"params\":{params}}}");
    }
    text
}

async fn insert(path: &Path, jobs: usize, work: Work) -> Result<(), Failure> {
    let mut conn = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10)).connect().await?;
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    for n in 0..jobs {
        let (kind, params) = order(n, work);
        sqlx::query("INSERT INTO jobs (kind, params) VALUES (?, ?)")
            .bind(kind)
            .bind(params)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    conn.close().await?;
    Ok(())
}
