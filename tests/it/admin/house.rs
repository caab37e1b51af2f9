//! A daemon's admin socket in a directory of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opros::admin::{self, AdminState};
use opros::clock::{Clock, ManualClock, SharedClock};
use opros::domain::state::{Begin, Input, Outcome};
use opros::domain::{Call, Job, JobId, Reason, Timestamp};
use opros::engine::Engine;
use opros::engine::account::{AccountSetup, Limits as CallLimits};
use opros::engine::failstop::FailStop;
use opros::health::HealthBoard;
use opros::http::{AnswerBudget, Client, ClientSettings};
use opros::listener::{self, Limits, unix};
use opros::store::sqlite::SqliteStore;
use opros::store::{Batch, Change, Store};
use opros::vendors::registry::{self, Settings};
use opros::vendors::{Common, tronk};
use secrecy::SecretString;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct House {
    pub dir: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    pub board: HealthBoard,
    pub clock: ManualClock,
    pub failstop: FailStop,
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
    pub client: reqwest::Client,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

pub fn start_of_time() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

pub fn account(name: &str, clock: &SharedClock) -> AccountSetup {
    let common = Common { settle: Duration::from_secs(60), resubmit: false, pause_on: Vec::new(), loopback: true };
    let settings = tronk::Settings::new(common, SecretString::from("a-key-that-nobody-sees"));
    let settings = Settings::Tronk(settings);
    let client = ClientSettings {
        base_url: "http://127.0.0.1:1".to_owned(),
        reserve_url: None,
        timeout: Duration::from_secs(1),
        masks: Default::default(),
        names: Arc::new(opros::guard::SystemNames),
    };
    AccountSetup {
        name: name.to_owned(),
        vendor: "tronk",
        driver: Arc::from(registry::open(settings)),
        client: Client::new(client, AnswerBudget::default(), Arc::clone(clock)).expect("a client"),
        limits: CallLimits { max_in_flight: 4, min_interval: Duration::from_millis(250) },
        alert_after: Duration::from_secs(60),
        stale_after: None,
        spending: Arc::default(),
        advice: None,
        hosts: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "this client speaks to our own socket")]
pub fn client(socket: &Path) -> reqwest::Client {
    reqwest::Client::builder().unix_socket(socket).no_proxy().pool_max_idle_per_host(0).build().expect("a client")
}

impl House {
    pub async fn open() -> House {
        House::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> House {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = ManualClock::new(start_of_time());
        let shared: SharedClock = Arc::new(clock.clone());
        let store = SqliteStore::open(&dir.path().join("opros.db"), true, Arc::clone(&shared)).await.expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);
        let failstop = FailStop::default();
        let setups = vec![account("tronk", &shared)];
        let engine = Engine::new(Arc::clone(&store), shared, failstop.clone(), setups).await.expect("an engine");
        let (board, stop) = (HealthBoard::default(), CancellationToken::new());
        let state = AdminState::new(engine, board.clone(), stop.clone());
        let socket = dir.path().join("admin.sock");
        let bound = unix::bind(&socket, 0o660).await.expect("the socket is free");
        let served = tokio::spawn(listener::serve(bound, admin::router(state), limits, stop.clone()));
        let client = client(&socket);
        House { dir, store, board, clock, failstop, stop, served, client }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("http://opros{path}"))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        whole(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request("POST", path).header("content-type", "application/json").body(body)).await
    }

    pub async fn ndjson(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request("POST", "/v1/jobs").header("content-type", "application/x-ndjson");
        self.send(request.body(body)).await
    }

    /// Hands in a plain job and returns its number.
    pub async fn job(&self) -> i64 {
        let answer = self.post("/v1/jobs", PLAIN).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_i64().expect("a number")
    }

    pub async fn apply(&self, job: i64, input: Input) -> Job {
        let batch = Batch::of(self.clock.now(), vec![Change { job: JobId(job), input }]);
        self.store.apply(batch).await.expect("a commit").remove(0).expect("a legal step").as_ref().clone()
    }

    /// A job whose request may have reached the vendor.
    pub async fn in_doubt(&self) -> i64 {
        let id = self.job().await;
        let begun = Begin::Submit { token: format!("token-{id}"), request_hash: "h".to_owned() };
        let job = self.apply(id, Input::Begin(begun)).await;
        let outcome = Outcome::Unclear { reason: Reason::new("no_answer", "the connection was cut") };
        self.apply(id, Input::End { turn: job.turn, call: Call::Submit, outcome }).await;
        id
    }

    /// Makes so many events: one for each job that is handed in and cancelled.
    pub async fn events(&self, count: usize) -> Vec<i64> {
        let body = format!("{PLAIN}\n").repeat(count);
        let ids: Vec<i64> = self.ndjson(body).await.lines().iter().filter_map(|line| line["id"].as_i64()).collect();
        assert_eq!(ids.len(), count);
        let changes = ids.iter().map(|id| Change { job: JobId(*id), input: Input::Cancel }).collect();
        self.store.apply(Batch::of(self.clock.now(), changes)).await.expect("a commit");
        ids
    }
}

pub const PLAIN: &str = r#"{"kind":"tronk.report","params":{"phone":"79990000111"}}"#;

pub async fn whole(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let kind = headers.get("content-type").map(|v| v.to_str().unwrap_or("?").to_owned()).unwrap_or_default();
    Answer { status, kind, headers, text: response.text().await.expect("a whole answer") }
}
