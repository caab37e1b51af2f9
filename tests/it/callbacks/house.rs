//! A simulated VagVin, a daemon, and whoever else may call at its door.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opros::app::Daemon;
use opros::cli::client::Client;
use opros::clock::SystemClock;
use opros::config::{self, Sources};
use opros::domain::JobId;
use opros::simulator::{CallbackStyle, Change, SimConfig, Simulator, VagvinSim};
use opros::store::callbacks::{Callback, CallbackFilter};
use opros::store::{JobDetails, Store};
use serde_json::{Value, json};

pub const SECRET: &str = "call-back-secret-0123456789";
/// Far beyond what anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct House {
    pub dir: tempfile::TempDir,
    pub simulator: Simulator,
    daemon: Option<Daemon>,
    extra: String,
    proxies: String,
    http: reqwest::Client,
}

/// The n-th car.
pub fn vin(n: usize) -> String {
    format!("WVWZZZ1KZAW{n:06}")
}

#[expect(clippy::disallowed_methods, reason = "this is the vendor's client")]
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl House {
    /// The vendor answers each order in this style, soon.
    pub async fn new(style: CallbackStyle) -> House {
        House::open(style, "", "[]").await
    }

    /// `extra`: further settings of the account.
    pub async fn with(style: CallbackStyle, extra: &str) -> House {
        House::open(style, extra, "[]").await
    }

    pub async fn behind(proxies: &str, style: CallbackStyle) -> House {
        House::open(style, "", proxies).await
    }

    async fn open(style: CallbackStyle, extra: &str, proxies: &str) -> House {
        let vagvin = VagvinSim {
            answer_after: Duration::from_millis(20),
            late_after: Duration::from_millis(700),
            styles: vec![style],
            retries: 0,
            ..VagvinSim::default()
        };
        let simulator = Simulator::start(SimConfig { vagvin, ..SimConfig::default() }).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (extra, proxies) = (extra.to_owned(), proxies.to_owned());
        let mut house = House { dir, simulator, daemon: None, extra, proxies, http: http() };
        house.start().await;
        house
    }

    fn settings(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            r#"
[store]
path = "{dir}/store/opros.db"
allow_network_fs = true
[mailbox]
path = ""
[admin]
socket = "{dir}/admin.sock"
[callbacks]
listen = "127.0.0.1:0"
trusted_proxies = {}
[accounts.vagvin]
vendor = "vagvin"
base_url = "{}"
token = "{}"
callback_secret = "{SECRET}"
{}
"#,
            self.proxies,
            self.simulator.base_url("vagvin"),
            VagvinSim::default().token,
            self.extra
        )
    }

    pub fn store_path(&self) -> PathBuf {
        self.dir.path().join("store/opros.db")
    }

    pub async fn start(&mut self) {
        let config = config::load(&Sources::from_text(&self.settings())).unwrap();
        self.daemon = Some(Daemon::start(&config, SystemClock::shared()).await.unwrap());
        let url = Some(self.url(SECRET));
        self.simulator.control().apply(Change::VagvinCallbackUrl { url }).unwrap();
    }

    pub async fn stop(&mut self) {
        self.daemon.take().unwrap().stop().await;
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.daemon.as_ref().unwrap().engine().store())
    }

    pub fn door(&self) -> SocketAddr {
        self.daemon.as_ref().unwrap().callback_address().unwrap()
    }

    pub fn url(&self, secret: &str) -> String {
        format!("http://{}/callbacks/vagvin/{secret}", self.door())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    pub fn client(&self) -> Client {
        Client::new(self.socket()).unwrap()
    }

    /// Orders a report on a car.
    pub async fn order(&self, vin: &str) -> JobId {
        let params = json!({
            "vin": vin, "check_type": "check_elsa_pro_full", "car_brand": "Audi", "report_language": "Русский",
        });
        let order = json!({ "kind": "vagvin.report", "params": params });
        let job: Value = self.client().post(&["v1", "jobs"], &order).await.unwrap().read().unwrap();
        JobId(job["id"].as_i64().unwrap())
    }

    pub async fn job(&self, job: JobId) -> JobDetails {
        self.store().job(job).await.unwrap().unwrap()
    }

    pub async fn result(&self, job: JobId) -> Value {
        serde_json::from_str(&self.job(job).await.result.expect("a result")).unwrap()
    }

    pub async fn until_state(&self, job: JobId, state: &str) {
        until(&format!("job {job} is {state}"), async || self.job(job).await.job.state.as_str() == state).await;
    }

    pub async fn event_types(&self, job: JobId) -> Vec<String> {
        let timeline: Value =
            self.client().get(&["v1", "jobs", &job.to_string(), "timeline"], &[]).await.unwrap().read().unwrap();
        let entries = timeline["timeline"].as_array().unwrap().iter();
        entries.filter_map(|entry| entry["type"].as_str().map(str::to_owned)).collect()
    }

    pub async fn callbacks(&self) -> Vec<Callback> {
        self.store().callbacks(CallbackFilter { limit: 1000, ..CallbackFilter::default() }).await.unwrap()
    }

    pub async fn until_callbacks(&self, count: usize) -> Vec<Callback> {
        until(&format!("{count} call-backs are stored"), async || self.callbacks().await.len() == count).await;
        self.callbacks().await
    }

    /// What the vendor does; the status that it gets.
    pub async fn post(&self, url: &str, content_type: &str, body: impl Into<reqwest::Body>) -> u16 {
        let request = self.http.post(url).header("content-type", content_type).body(body);
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn post_json(&self, body: &Value) -> u16 {
        self.post(&self.url(SECRET), "application/json", body.to_string()).await
    }

    /// Every stored file's name on the disk.
    pub fn files_on_disk(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.dir.path().join("store/files")];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() { left.push(entry) } else { found.push(entry) }
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

/// A multipart body with fields and files.
pub fn multipart(boundary: &str, fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    for (name, content) in files {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/pdf\r\n\r\n"
        );
        body.extend(head.bytes());
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    body
}
