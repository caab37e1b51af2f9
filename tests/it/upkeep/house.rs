//! A whole daemon on the machine's clock, with Tronk, a mailbox and a file of settings, in a directory of its own.

use std::path::PathBuf;
use std::time::Duration;

use opros::app::{Daemon, Origin};
use opros::cli::client::Client;
use opros::clock::SystemClock;
use opros::config::{self, Sources};
use opros::simulator::{SimConfig, Simulator, TronkSim};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct House {
    pub dir: tempfile::TempDir,
    pub simulator: Simulator,
    pub daemon: Option<Daemon>,
    /// What the file says beside the store, the socket and the account `tronk`.
    pub more: String,
    pub limits: String,
}

impl House {
    pub async fn new(more: &str) -> House {
        let tronk = TronkSim { ready_after: Duration::from_millis(20), ..TronkSim::default() };
        let simulator = Simulator::start(SimConfig { tronk, ..SimConfig::default() }).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut house = House { dir, simulator, daemon: None, more: more.to_owned(), limits: String::new() };
        house.start().await;
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store/opros.db")
    }

    pub fn account(&self, name: &str, more: &str) -> String {
        let (url, key) = (self.simulator.base_url("tronk"), TronkSim::default().key);
        format!(
            "[accounts.{name}]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n\
             poll = [{{ every = \"20ms\", for = \"10m\" }}]\n{more}\n"
        )
    }

    /// Writes the file of settings anew.
    pub fn write(&self) -> PathBuf {
        let dir = self.dir.path().display();
        let text = format!(
            "[store]\npath = \"{dir}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"{dir}/mailbox.db\"\n\
             [admin]\nsocket = \"{dir}/admin.sock\"\n{}{}\n",
            self.account("tronk", &self.limits),
            self.more
        );
        let path = self.path("opros.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn sources(&self) -> Sources {
        Sources { file: Some(self.write()), ..Sources::default() }
    }

    pub async fn start(&mut self) {
        let sources = self.sources();
        let config = config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let origin = Origin { sources: Some(sources), log: None, ..Origin::default() };
        self.daemon = Some(Daemon::start_from(&config, origin, SystemClock::shared()).await.unwrap());
    }

    pub async fn stop(&mut self) {
        self.daemon.take().unwrap().stop().await;
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.path("admin.sock")).unwrap()
    }

    pub async fn get(&self, path: &[&str]) -> Value {
        self.client().get(path, &[]).await.unwrap().read().unwrap()
    }

    pub async fn order(&self, params: Value) -> i64 {
        let job = json!({ "kind": "tronk.report", "params": params });
        let job: Value = self.client().post(&["v1", "jobs"], &job).await.unwrap().read().unwrap();
        job["id"].as_i64().unwrap()
    }

    pub async fn state(&self, job: i64) -> String {
        self.get(&["v1", "jobs", &job.to_string()]).await["state"].as_str().unwrap().to_owned()
    }

    pub async fn until_state(&self, job: i64, state: &str) {
        until(&format!("job {job} is {state}"), async || self.state(job).await == state).await;
    }

    /// As another program opens the mailbox.
    pub async fn mailbox(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.path("mailbox.db"))
            .busy_timeout(Duration::from_secs(5))
            .connect()
            .await
            .unwrap()
    }

    /// Bytes that hold this text, in any file of the daemon's.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let (mut found, mut left) = (Vec::new(), vec![self.dir.path().to_owned()]);
        while let Some(directory) = left.pop() {
            for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    left.push(path);
                } else if let Ok(bytes) = std::fs::read(&path)
                    && bytes.windows(text.len()).any(|window| window == text.as_bytes())
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// Waits for a fact, not for a time.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
