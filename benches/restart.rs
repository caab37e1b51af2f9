//! From SIGKILL to the first request: the real daemon on a store with many open jobs, all of them due, killed and started
//! again. The figures that docs/reliability.md quotes. `cargo bench --bench restart`, for another number of jobs
//! `cargo bench --bench restart -- 200000`, and for another binary `cargo bench --bench restart -- 10000 target/release/opros`

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use opros::clock::{Clock, SystemClock};
use opros::domain::exchange::sha256_hex;
use opros::simulator::{SimConfig, Simulator, TronkSim};
use opros::store::Store;
use opros::store::sqlite::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

/// How many jobs are open, and within what time the first of them is to be on its way.
const GOALS: [(i64, Duration); 2] = [(10_000, Duration::from_secs(1)), (1_000_000, Duration::from_secs(3))];
const TIMES: usize = 5;
/// Rows of one filling transaction.
const CHUNK: i64 = 50_000;
const PARAMS: &str = r#"{"phone":"79990000111"}"#;
const PATIENCE: Duration = Duration::from_secs(120);

/// Open jobs: nine in ten wait for an answer and are due, the tenth is still to be sent. `$1` and `$2`: numbers; `$3`: now;
/// `$4`: the hash of their params.
const FILL: [&str; 4] = [
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO jobs (id, kind, account, traits, state, priority, due_at, tag, remote_id, attempt, submissions, created_at, \
     submitted_at, updated_at) SELECT i, 'tronk.report', 'tronk', 0, iif(i % 10 = 0, 0, 2), 5, $3 - i % 60000, 'customer-' || i % 1000, \
     iif(i % 10 = 0, NULL, 'r' || i), iif(i % 10 = 0, NULL, printf('%032x', i)), i % 10 <> 0, $3 - 60000, iif(i % 10 = 0, NULL, $3 - 59000), \
     $3 - 59000 FROM n",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO bodies (job_id, params, params_hash) SELECT i, $5, $4 FROM n",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO attempts (token, job_id, request_hash, epoch, intent_at, ended_at, outcome) \
     SELECT printf('%032x', i), i, $4, 1, $3 - 60000, $3 - 59000, 'accepted' FROM n WHERE i % 10 <> 0",
    "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     INSERT INTO events (type, at, job_id, account, data) SELECT 'job.accepted', $3 - 59000, i, 'tronk', \
     '{\"kind\":\"tronk.report\",\"account\":\"tronk\",\"state\":\"waiting\",\"tag\":null}' FROM n WHERE i % 10 <> 0",
];

async fn fill(path: &Path, jobs: i64) {
    SqliteStore::open(path, true, SystemClock::shared()).await.expect("a new store").close().await;
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false);
    let mut conn = options.disable_statement_logging().connect().await.expect("the store opens");
    let run = async |conn: &mut SqliteConnection, text: &'static str| {
        sqlx::query(text).execute(conn).await.expect(text);
    };
    run(&mut conn, "PRAGMA synchronous = OFF").await;
    run(&mut conn, "PRAGMA cache_size = -262144").await;
    let (now, hash) = (SystemClock.now().as_millis(), sha256_hex(PARAMS.as_bytes()));
    for first in (1..=jobs).step_by(CHUNK as usize) {
        let last = (first + CHUNK - 1).min(jobs);
        run(&mut conn, "BEGIN IMMEDIATE").await;
        for statement in FILL {
            let query = sqlx::query(statement).bind(first).bind(last).bind(now).bind(&hash).bind(PARAMS);
            query.execute(&mut conn).await.expect("rows");
        }
        run(&mut conn, "COMMIT").await;
    }
    let count = "INSERT INTO counters (account, kind, state, jobs) SELECT account, kind, state, count(*) FROM jobs GROUP BY 1, 2, 3";
    run(&mut conn, count).await;
    run(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    conn.close().await.expect("it closes");
}

struct Daemon(Child);

impl Daemon {
    fn start(binary: &Path, config: &Path) -> Daemon {
        let mut command = Command::new(binary);
        command
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Daemon(command.spawn().expect("the daemon starts"))
    }
}

impl Drop for Daemon {
    /// SIGKILL.
    fn drop(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("its end");
    }
}

/// Until the vendor has seen more requests than `before`.
async fn asked(simulator: &Simulator, before: usize) {
    let begun = Instant::now();
    while simulator.requests().len() <= before {
        assert!(begun.elapsed() < PATIENCE, "no request within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn measure(jobs: i64, within: Duration, binary: &Path) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store/opros.db");
    let begun = Instant::now();
    fill(&store, jobs).await;
    let size = std::fs::metadata(&store).map_or(0, |file| file.len() >> 20);
    println!("{jobs} open jobs, all due: {size} MiB, filled in {:.0?}", begun.elapsed());
    let simulator = Simulator::start(SimConfig::default()).await.expect("the vendors play");
    let here = dir.path().display();
    let config = dir.path().join("opros.toml");
    let text = format!(
        "[store]\npath = \"{here}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
         [admin]\nsocket = \"{here}/admin.sock\"\n[log]\nfilter = \"warn\"\n\
         [accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{}\"\nkey = \"{}\"\n",
        simulator.base_url("tronk"),
        TronkSim::default().key
    );
    std::fs::write(&config, text).expect("the configuration");
    let mut times = Vec::new();
    let mut daemon = Daemon::start(binary, &config);
    asked(&simulator, 0).await;
    for _ in 0..TIMES {
        // In the midst of work: the WAL has something in it.
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(daemon);
        let before = simulator.requests().len();
        let begun = Instant::now();
        daemon = Daemon::start(binary, &config);
        asked(&simulator, before).await;
        times.push(begun.elapsed());
    }
    drop(daemon);
    times.sort();
    let held = times.last().is_some_and(|longest| *longest < within);
    let shown = times.iter().map(|time| format!("{time:.0?}")).collect::<Vec<_>>().join(" ");
    println!("SIGKILL to the first request: {shown} (goal: {within:?}){}", if held { "" } else { "  TOO SLOW" });
    held
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let jobs: Option<i64> = arguments.next().map(|jobs| jobs.parse().expect("a number of jobs"));
    let binary = arguments.next().map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_opros")), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let goals = match jobs {
        Some(jobs) => vec![(jobs, GOALS.iter().find(|(most, _)| jobs <= *most).unwrap_or(&GOALS[1]).1)],
        None => GOALS.to_vec(),
    };
    let held = goals.into_iter().all(|(jobs, within)| runtime.block_on(measure(jobs, within, &binary)));
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
