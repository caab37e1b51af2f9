//! A store, an engine that sends nothing (it is never started), the mailbox's task, and foreign programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opros::clock::SystemClock;
use opros::domain::state::{Begin, End, Input, Outcome};
use opros::domain::{Call, Job, JobId, Timestamp};
use opros::engine::Engine;
use opros::engine::account::{AccountSetup, Limits};
use opros::engine::failstop::FailStop;
use opros::http::{AnswerBudget, Client, ClientSettings};
use opros::mailbox::{self, Causes, Setup};
use opros::store::sqlite::SqliteStore;
use opros::store::{Batch, Change, Retention, Store};
use opros::vendors::{Common, registry, tronk};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, FromRow, SqliteConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far beyond what anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Posted(Mutex<BTreeMap<&'static str, String>>);

impl Posted {
    pub fn get(&self, cause: &str) -> Option<String> {
        self.0.lock().unwrap().get(cause).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl Causes for Posted {
    fn set(&self, cause: &'static str, what: String) {
        self.0.lock().unwrap().insert(cause, what);
    }

    fn clear(&self, cause: &'static str) {
        self.0.lock().unwrap().remove(cause);
    }
}

#[derive(Debug)]
pub struct House {
    pub dir: tempfile::TempDir,
    pub store: Arc<SqliteStore>,
    pub engine: Engine,
    pub causes: Arc<Posted>,
    pub retention: (Duration, Duration),
    task: Option<(CancellationToken, JoinHandle<()>)>,
}

fn retention((finished, events): (Duration, Duration)) -> Retention {
    Retention::by_age(finished, events, finished)
}

/// A row as a foreign program reads it.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Row {
    pub id: i64,
    pub uid: String,
    pub state: String,
    pub job_id: Option<i64>,
    pub remote_id: Option<String>,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub result: Option<String>,
    pub updated_at: Option<i64>,
    pub finished_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct EventRow {
    pub seq: i64,
    pub job: Option<i64>,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub data: String,
    pub event_id: String,
}

async fn engine(store: Arc<SqliteStore>) -> Engine {
    let common = Common { settle: Duration::ZERO, resubmit: false, pause_on: Vec::new(), loopback: true };
    let driver = registry::open(registry::Settings::Tronk(tronk::Settings::new(common, "key".into())));
    let settings = ClientSettings {
        base_url: "http://127.0.0.1:9".to_owned(),
        reserve_url: None,
        timeout: Duration::from_secs(1),
        masks: Default::default(),
        names: std::sync::Arc::new(opros::guard::SystemNames),
    };
    let setup = AccountSetup {
        name: "tronk".to_owned(),
        vendor: "tronk",
        driver: Arc::from(driver),
        client: Client::new(settings, AnswerBudget::default(), SystemClock::shared()).unwrap(),
        limits: Limits { max_in_flight: 1, min_interval: Duration::ZERO },
        alert_after: Duration::from_secs(60),
        stale_after: None,
        spending: Arc::default(),
        advice: None,
        hosts: None,
    };
    Engine::new(store, SystemClock::shared(), FailStop::default(), vec![setup]).await.unwrap()
}

impl House {
    pub async fn new() -> House {
        let house = House::closed().await;
        house.opened().await
    }

    /// The mailbox is not served yet.
    pub async fn closed() -> House {
        let dir = tempfile::tempdir().unwrap();
        let (store, engine) = open_store(&dir).await;
        let year = Duration::from_secs(365 * 86_400);
        House { dir, store, engine, causes: Arc::default(), retention: (year, year), task: None }
    }

    pub async fn opened(mut self) -> House {
        self.serve();
        until("the mailbox is made", async || self.schema_is_there().await).await;
        self
    }

    pub fn serve(&mut self) {
        let setup = Setup {
            path: self.path(),
            retention: watch::Sender::new(retention(self.retention)).subscribe(),
            opened: Default::default(),
        };
        let stop = CancellationToken::new();
        let causes: Arc<dyn Causes> = self.causes.clone();
        let task = tokio::spawn(mailbox::run(setup, self.engine.clone(), causes, stop.clone()));
        self.task = Some((stop, task));
    }

    pub async fn stop(&mut self) {
        if let Some((stop, task)) = self.task.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    /// A new process on the same files.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.reopen_store().await;
        self.serve();
    }

    pub async fn reopen_store(&mut self) {
        self.store.close().await;
        (self.store, self.engine) = open_store(&self.dir).await;
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mailbox").join("mailbox.db")
    }

    /// Another program's connection.
    pub async fn foreign(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path()).busy_timeout(Duration::from_secs(20));
        options.connect().await.unwrap()
    }

    async fn schema_is_there(&self) -> bool {
        let Ok(mut conn) = SqliteConnectOptions::new().filename(self.path()).connect().await else { return false };
        let found = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM opros_meta WHERE key = 'store'");
        found.fetch_one(&mut conn).await.is_ok_and(|count| count == 1)
    }

    /// Inserts as the contract's example does and returns the row's number.
    pub async fn order(&self, phone: u64) -> i64 {
        let mut conn = self.foreign().await;
        sqlx::query_scalar("INSERT INTO jobs (kind, params) VALUES ('tronk.report', $1) RETURNING id")
            .bind(format!(r#"{{"phone":"{phone}"}}"#))
            .fetch_one(&mut conn)
            .await
            .unwrap()
    }

    /// Where there may be no file, or none that can be used.
    pub async fn try_foreign(&self) -> Option<SqliteConnection> {
        SqliteConnectOptions::new().filename(self.path()).busy_timeout(Duration::from_secs(20)).connect().await.ok()
    }

    pub async fn try_order(&self, phone: u64) -> Option<i64> {
        let mut conn = self.try_foreign().await?;
        let order = sqlx::query_scalar("INSERT INTO jobs (kind, params) VALUES ('tronk.report', $1) RETURNING id");
        order.bind(format!(r#"{{"phone":"{phone}"}}"#)).fetch_one(&mut conn).await.ok()
    }

    pub async fn find(&self, id: i64) -> Option<Row> {
        let mut conn = self.foreign().await;
        sqlx::query_as(
            "SELECT id, CASE WHEN length(uid) < 200 THEN hex(uid) ELSE '' END AS uid, state, job_id, remote_id, \
                error_code, error, result, updated_at, finished_at FROM jobs WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&mut conn)
        .await
        .unwrap()
    }

    pub async fn row(&self, id: i64) -> Row {
        self.find(id).await.unwrap_or_else(|| panic!("row {id} is there"))
    }

    /// Waits until the row shows this state.
    pub async fn shows(&self, id: i64, state: &str) -> Row {
        until(&format!("row {id} shows {state}"), async || self.find(id).await.is_some_and(|row| row.state == state))
            .await;
        self.row(id).await
    }

    pub async fn events(&self) -> Vec<EventRow> {
        let mut conn = self.foreign().await;
        sqlx::query_as("SELECT seq, job, type, data, event_id FROM events ORDER BY seq")
            .fetch_all(&mut conn)
            .await
            .unwrap()
    }

    pub async fn taken(&self, id: i64) -> JobId {
        self.shows(id, "queued").await.job_id.map(JobId).unwrap()
    }

    // ---- what the engine would do -------------------------------------------------------------------------------

    pub async fn apply(&self, job: JobId, input: Input) -> Job {
        let batch = Batch::of(now(), vec![Change { job, input }]);
        self.store.apply(batch).await.unwrap().remove(0).unwrap().as_ref().clone()
    }

    pub async fn submit(&self, job: JobId) {
        let begin = Begin::Submit { token: opros::store::random_hex(8), request_hash: "h".to_owned() };
        self.apply(job, Input::Begin(begin)).await;
    }

    pub async fn accept(&self, job: JobId) {
        self.submit(job).await;
        let outcome = Outcome::Accepted { remote_id: Some(format!("R-{job}")), memo: None, next_at: now() };
        self.apply(job, Input::End { turn: 1, call: Call::Submit, outcome }).await;
    }

    pub async fn succeed(&self, job: JobId, result: &str) {
        self.apply(job, Input::Delivered { remote_id: None, end: End::Success { result: result.to_owned() } }).await;
    }
}

pub fn now() -> Timestamp {
    use opros::clock::Clock;
    SystemClock.now()
}

async fn open_store(dir: &tempfile::TempDir) -> (Arc<SqliteStore>, Engine) {
    let path = dir.path().join("store").join("opros.db");
    let store = Arc::new(SqliteStore::open(&path, true, SystemClock::shared()).await.unwrap());
    let engine = engine(Arc::clone(&store)).await;
    (store, engine)
}

/// Waits for a fact, not for a time.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub async fn execute(conn: &mut SqliteConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(conn).await.unwrap();
}
