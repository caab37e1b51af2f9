//! The real binary, killed and started again: what a user of systemd sees.

mod log;
mod stops;

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use opros::cli::client::Client;
use opros::simulator::{Fault, FaultPlan, FaultRule, SimConfig, Simulator, TronkSim};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

/// Facts are waited for this long; a healthy machine needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Simulated vendors, a directory, and a daemon that can be killed.
struct World {
    dir: tempfile::TempDir,
    simulator: Simulator,
    daemon: Option<Child>,
    /// A further line of the account.
    timeout: &'static str,
}

impl World {
    async fn new() -> World {
        let tronk = TronkSim { ready_after: Duration::from_millis(20), ..TronkSim::default() };
        let simulator = Simulator::start(SimConfig { tronk, ..SimConfig::default() }).await.expect("the vendors play");
        World { dir: tempfile::tempdir().unwrap(), simulator, daemon: None, timeout: "" }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    fn config(&self) -> PathBuf {
        let path = self.dir.path().join("opros.toml");
        let dir = self.dir.path().display();
        let text = format!(
            r#"
[store]
path = "{dir}/store/opros.db"
allow_network_fs = true
[mailbox]
path = ""
[admin]
socket = "{dir}/admin.sock"
[accounts.tronk]
vendor = "tronk"
base_url = "{}"
key = "{}"
poll = [{{ every = "30ms", for = "10m" }}]
{}
"#,
            self.simulator.base_url("tronk"),
            TronkSim::default().key,
            self.timeout
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn opros(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opros"));
        command.arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.opros(arguments).output().expect("the binary runs")
    }

    async fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        self.daemon =
            Some(self.opros(&["serve"]).stderr(log).stdout(Stdio::null()).spawn().expect("the binary starts"));
        until("the socket answers", async || self.get(&["v1", "health"]).await).await;
    }

    fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        daemon.kill().expect("SIGKILL");
        daemon.wait().expect("its end");
    }

    fn terminate(&self) {
        let pid = self.daemon.as_ref().expect("a daemon").id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.daemon.take().expect("a daemon").wait().expect("its end")
    }

    fn client(&self) -> Client {
        Client::new(self.socket()).unwrap()
    }

    async fn get(&self, path: &[&str]) -> Option<Value> {
        self.client().get(path, &[]).await.ok()?.read().ok()
    }

    async fn submit(&self) -> i64 {
        let order = json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } });
        let job: Value = self.client().post(&["v1", "jobs"], &order).await.expect("accepted").read().unwrap();
        job["id"].as_i64().expect("an id")
    }

    async fn state(&self, job: i64) -> String {
        let job = self.get(&["v1", "jobs", &job.to_string()]).await.expect("the job");
        job["state"].as_str().unwrap().to_owned()
    }

    async fn until_state(&self, job: i64, state: &str) {
        until(&format!("job {job} is {state}"), async || (self.state(job).await == state).then_some(())).await;
    }

    async fn until_seen(&self, op: &str, count: usize) {
        let seen = async || {
            let calls = self.simulator.requests().iter().filter(|request| request.op == op).count();
            (calls >= count).then_some(())
        };
        until(&format!("the vendor has seen {op}"), seen).await;
    }

    fn fault(&self, op: &str, fault: Fault) {
        self.simulator.control().set_faults(FaultPlan::one(FaultRule::on("tronk", op, fault))).unwrap();
    }

    fn heal(&self) {
        self.simulator.control().clear_faults();
    }

    fn paid(&self) -> usize {
        self.simulator.ledger().len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
    }
}

/// Asks for a fact until it is there.
async fn until<T>(what: &str, fact: impl AsyncFn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_while_a_paid_request_is_out_finds_it_in_doubt_and_each_resolution_works() {
    let mut world = World::new().await;
    world.start().await;
    world.fault("setqueue", Fault::Hang { book: true });
    let jobs = [world.submit().await, world.submit().await, world.submit().await];
    world.until_seen("setqueue", 3).await;
    world.kill();
    world.heal();
    world.start().await;
    for job in jobs {
        assert_eq!(world.state(job).await, "in_doubt");
    }
    let paid = world.paid();
    let retry = world.run(&["retry", &jobs[0].to_string()]);
    assert!(said(&retry).contains("opros resolve"), "{}", said(&retry));

    assert!(world.run(&["resolve", &jobs[0].to_string(), "--resubmit"]).status.success());
    world.until_state(jobs[0], "succeeded").await;
    assert_eq!(world.paid(), paid + 1, "only the one that an operator ordered");

    let remote_id = world.simulator.ledger()[0].remote_id.clone();
    assert!(world.run(&["resolve", &jobs[1].to_string(), "--adopt", &remote_id]).status.success());
    world.until_state(jobs[1], "succeeded").await;

    assert!(world.run(&["resolve", &jobs[2].to_string(), "--fail"]).status.success());
    assert_eq!(world.state(jobs[2]).await, "failed");
    assert_eq!(world.paid(), paid + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_any_look_goes_on_where_it_was_and_pays_nothing_again() {
    let mut world = World::new().await;
    for op in ["checkqueue", "getresult"] {
        world.start().await;
        world.fault(op, Fault::Hang { book: false });
        let seen = world.simulator.requests().iter().filter(|request| request.op == op).count();
        let job = world.submit().await;
        world.until_seen(op, seen + 1).await;
        world.kill();
        world.heal();
        world.start().await;
        world.until_state(job, "succeeded").await;
        world.kill();
    }
    assert_eq!(world.paid(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_waits_for_the_answer_of_a_paid_request() {
    let mut world = World::new().await;
    world.start().await;
    world.fault("setqueue", Fault::Slow { ms: 400 });
    let job = world.submit().await;
    world.until_seen("setqueue", 1).await;
    world.terminate();
    assert!(world.wait().success());
    assert!(!world.socket().exists(), "the socket's file is gone");
    world.heal();
    world.start().await;
    world.until_state(job, "succeeded").await;
    assert_eq!(world.paid(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_the_open_request_is_in_doubt() {
    let mut world = World::new().await;
    world.start().await;
    world.fault("setqueue", Fault::Hang { book: true });
    let job = world.submit().await;
    world.until_seen("setqueue", 1).await;
    world.terminate();
    let log = world.dir.path().join("log");
    let draining = async || std::fs::read_to_string(&log).unwrap().contains("stopping").then_some(());
    until("the daemon says that it is stopping", draining).await;
    world.terminate();
    assert!(world.wait().success());
    world.start().await;
    assert_eq!(world.state(job).await, "in_doubt");
}

/// A limit on the size of files makes writes fail as a broken disk does: EFBIG, and SQLite says "disk I/O error".
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_stops_the_daemon_with_exit_code_70_and_its_reason_and_loses_nothing() {
    let mut world = World::new().await;
    world.start().await;
    world.kill();
    let log = std::fs::File::options().append(true).open(world.dir.path().join("log")).unwrap();
    // Blocks of 512 bytes: more than the store has by now, less than its log grows to before it is folded in.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 2048; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_opros"), "--config"]);
    limited.arg(world.config()).arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    world.daemon = Some(limited.spawn().expect("the binary starts"));
    until("the socket answers", async || world.get(&["v1", "health"]).await).await;
    let mut taken = Vec::new();
    let exit = loop {
        if let Some(exit) = world.daemon.as_mut().unwrap().try_wait().unwrap() {
            break exit;
        }
        let order = json!({ "kind": "tronk.report", "params": { "phone": "79990000111" }, "tag": "x".repeat(200) });
        let answer = world.client().post(&["v1", "jobs"], &order).await.ok().and_then(|job| job.read::<Value>().ok());
        match answer.and_then(|job| job["id"].as_i64()) {
            Some(id) => taken.push(id),
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        assert!(taken.len() < 20_000, "the limit was never met");
    };
    world.daemon = None;
    assert_eq!(exit.code(), Some(70), "{exit}");
    let log = std::fs::read_to_string(world.dir.path().join("log")).unwrap();
    assert!(
        log.contains("opros stops, so that nothing is paid twice or lost") && log.contains("disk I/O error"),
        "{log}"
    );
    world.start().await;
    for id in [taken[0], *taken.last().unwrap()] {
        assert!(world.get(&["v1", "jobs", &id.to_string()]).await.is_some(), "job {id} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_the_same_store_is_refused_and_disturbs_nothing() {
    let mut world = World::new().await;
    world.start().await;
    let other = world.dir.path().join("other.sock");
    let second = world.run(&["serve", "--set", &format!("admin.socket={}", other.display())]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another opros runs on the store"), "{}", said(&second));
    let job = world.submit().await;
    world.until_state(job, "succeeded").await;
}

/// By whatever means another one has taken the store over: its mark there is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_has_taken_over_ends_the_daemon_with_its_own_exit_code() {
    let mut world = World::new().await;
    world.start().await;
    let file = world.dir.path().join("store/opros.db");
    let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("UPDATE meta SET value = '99' WHERE key = 'epoch'").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let order = json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } });
    assert!(world.client().post(&["v1", "jobs"], &order).await.is_err());
    assert_eq!(world.wait().code(), Some(70));
    assert_eq!(world.paid(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_told_with_its_line_and_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("opros.toml");
    std::fs::write(&path, "[admin]\nsockt = \"/x\"\n").unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_opros")).arg("--config").arg(&path).arg("serve").output().unwrap();
    assert_eq!(run.status.code(), Some(78));
    assert!(said(&run).contains("opros.toml:2: admin.sockt: unknown key; did you mean \"socket\"?"), "{}", said(&run));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_of_a_file_are_taken_over_the_socket() {
    let mut world = World::new().await;
    world.start().await;
    assert!(world.run(&["pause", "tronk"]).status.success());
    let file = world.dir.path().join("jobs.ndjson");
    let lines: String = (0..10_000)
        .map(|n| format!("{{\"kind\":\"tronk.report\",\"params\":{{\"phone\":\"7999{n:07}\"}}}}\n"))
        .collect();
    std::fs::write(&file, lines).unwrap();
    let run = world.run(&["submit", "--file", file.to_str().unwrap()]);
    assert!(run.status.success(), "{}", said(&run));
    let accounts = world.get(&["v1", "accounts"]).await.expect("accounts");
    assert_eq!(accounts["accounts"][0]["queued"], 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_logged_once_with_the_users_number_and_without_params() {
    let mut world = World::new().await;
    world.start().await;
    assert!(world.run(&["pause", "tronk"]).status.success());
    let job = world.submit().await;
    let file = world.dir.path().join("jobs.ndjson");
    std::fs::write(&file, "{\"kind\":\"tronk.report\",\"params\":{\"phone\":\"79990000111\"}}\n").unwrap();
    assert!(world.run(&["submit", "--file", file.to_str().unwrap()]).status.success());
    assert!(world.run(&["cancel", &job.to_string()]).status.success());
    world.terminate();
    assert!(world.wait().success());
    let log = std::fs::read_to_string(world.dir.path().join("log")).unwrap();
    let uid = format!("uid={}", rustix::process::getuid().as_raw());
    for words in ["a job was handed in", "handed in in bulk", "wished to cancel a job", "paused an account"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
        assert_eq!(lines.len(), 1, "{words}: {log}");
        assert!(lines[0].contains(&uid), "{}", lines[0]);
    }
    assert!(!log.contains("79990000111"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_changed_while_it_runs_and_set_back_and_says_by_whom() {
    let mut world = World::new().await;
    world.start().await;
    let log = || std::fs::read_to_string(world.dir.path().join("log")).unwrap();
    assert!(said(&world.run(&["log"])).starts_with("info (text)"), "{}", said(&world.run(&["log"])));
    let wrong = world.run(&["log", "set", "debgu"]);
    assert_eq!(wrong.status.code(), Some(5), "{}", said(&wrong));
    assert!(said(&wrong).contains("\"debgu\" is no level"), "{}", said(&wrong));
    assert!(!log().contains(" DEBUG "));
    assert!(
        world.run(&["log", "set", "info,opros::engine=trace,opros::callbacks=debug", "--for", "1h"]).status.success()
    );
    assert!(said(&world.run(&["log"])).contains("back to it: opros log reset"));
    assert!(world.run(&["reload"]).status.success());
    assert!(said(&world.run(&["log"])).starts_with("info,opros::engine=trace"), "a reload leaves it");
    assert!(world.run(&["log", "reset"]).status.success());
    assert!(said(&world.run(&["log"])).starts_with("info (text)"));
    let uid = format!(" uid={} pid=", rustix::process::getuid().as_raw());
    for words in ["an operator changed what is logged", "an operator had the configured log again"] {
        let text = log();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(words)).collect();
        assert!(lines.len() == 1 && lines[0].contains(&uid), "{text}");
    }
}
