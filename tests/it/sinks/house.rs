//! A store, a clock that stands still, sinks, and a receiver that does as it is told.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use opros::clock::{Clock, ManualClock, SharedClock};
use opros::domain::delivery::{Delivery, Filter, Sink};
use opros::domain::masking::Masks;
use opros::domain::repeat::Asked;
use opros::domain::state::Input;
use opros::domain::{JobId, NewJob, Timestamp, Traits};
use opros::guard::Allowed;
use opros::health::HealthBoard;
use opros::sinks::{Format, Names, Plan, Shared, SinkSetup, Sinks, SystemNames, TransportSetup};
use opros::store::sinks::DeliveryFilter;
use opros::store::sqlite::SqliteStore;
use opros::store::{Batch, Change, Store};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Facts are waited for this long; a healthy machine needs a fraction of it.
const STUCK: Duration = Duration::from_secs(60);

pub fn start_of_time() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

/// A request as the receiver saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Timestamp,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The event's number.
    pub fn seq(&self) -> i64 {
        self.header("webhook-id").rsplit('-').next().unwrap().parse().unwrap()
    }
}

#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16),
    With(u16, &'static str, &'static str),
    /// 200, once it is told to.
    Later(Arc<Notify>),
    Hang,
}

type Script = Arc<Mutex<dyn FnMut(&Seen) -> Reply + Send>>;

#[derive(Debug, Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    pub async fn start(clock: ManualClock, script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, notes): (Script, _) = (Arc::new(Mutex::new(script)), Arc::clone(&seen));
        let serve = move |request: Request| answer(Arc::clone(&script), Arc::clone(&notes), clock.clone(), request);
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await });
        Receiver { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(script: Script, notes: Arc<Mutex<Vec<Seen>>>, clock: ManualClock, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    let seen = Seen { at: clock.now(), path: parts.uri.path().to_owned(), headers: parts.headers, body };
    notes.lock().unwrap().push(seen.clone());
    let reply = (script.lock().unwrap())(&seen);
    let answer = Response::builder();
    match reply {
        Reply::Status(status) => answer.status(StatusCode::from_u16(status).unwrap()).body(Body::empty()).unwrap(),
        Reply::With(status, name, value) => answer.status(status).header(name, value).body(Body::from("x")).unwrap(),
        Reply::Later(go_on) => {
            go_on.notified().await;
            answer.body(Body::empty()).unwrap()
        }
        Reply::Hang => std::future::pending().await,
    }
}

pub struct House {
    pub dir: Option<tempfile::TempDir>,
    pub store: Arc<dyn Store>,
    pub clock: ManualClock,
    pub board: HealthBoard,
    pub sinks: Sinks,
    stop: CancellationToken,
    tasks: TaskTracker,
}

pub fn webhook(name: &str, url: &str) -> SinkSetup {
    SinkSetup {
        name: name.to_owned(),
        transport: TransportSetup::Webhook {
            url: SecretString::from(url),
            secrets: vec![SecretString::from(SECRET)],
            format: Format::Standard,
            allowed: Allowed { http: true, private: true },
        },
        filter: Filter::default(),
        max_in_flight: 4,
        timeout: Duration::from_secs(30),
    }
}

pub fn command(name: &str, run: &[&str]) -> SinkSetup {
    let run = run.iter().map(|word| (*word).to_owned()).collect();
    SinkSetup { transport: TransportSetup::Command { run }, ..webhook(name, "") }
}

fn plan(sinks: Vec<SinkSetup>) -> Plan {
    let masks = Masks::of(["a-secret-of-ours".to_owned()]);
    Plan { sinks, masks, kept: Duration::from_secs(30 * 86_400) }
}

/// Names as a test wants them.
pub struct Told(pub Mutex<Vec<Vec<IpAddr>>>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

#[async_trait]
impl Names for Told {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 { Ok(answers.remove(0)) } else { Ok(answers[0].clone()) }
    }
}

impl House {
    pub async fn new(clock: ManualClock, setups: Vec<SinkSetup>) -> House {
        House::open(tempfile::tempdir().unwrap(), clock, setups, Arc::new(SystemNames)).await
    }

    pub async fn open(
        dir: tempfile::TempDir,
        clock: ManualClock,
        setups: Vec<SinkSetup>,
        names: Arc<dyn Names>,
    ) -> House {
        let time: SharedClock = Arc::new(clock.clone());
        let store = SqliteStore::open(&dir.path().join("opros.db"), true, Arc::clone(&time)).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let board = HealthBoard::default();
        let shared = Shared { store: Arc::clone(&store), clock: time, board: board.clone(), names };
        let sinks = Sinks::new(shared, plan(setups)).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        sinks.start(&tasks, &stop);
        House { dir: Some(dir), store, clock, board, sinks, stop, tasks }
    }

    /// As a reload does it.
    pub async fn change(&self, setups: Vec<SinkSetup>) {
        let checked = self.sinks.check(plan(setups)).unwrap();
        self.sinks.change(checked).await.unwrap();
    }

    /// Ends in order; the directory is handed to the next.
    pub async fn stop(mut self) -> tempfile::TempDir {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
        self.dir.take().unwrap()
    }

    /// A tracker that the vendor has already: one event.
    pub async fn followed(&self, tag: Option<&str>) -> JobId {
        let job = NewJob {
            kind: "alta.track".to_owned(),
            account: "alta".to_owned(),
            traits: Traits::default(),
            params: "{}".to_owned(),
            priority: 5,
            not_before: None,
            deadline: None,
            dedupe_key: None,
            tag: tag.map(str::to_owned),
            mailbox_uid: None,
            retry_of: None,
            asked: Asked::default(),
            follow: Some("hash".to_owned()),
        };
        self.store.accept(vec![job], self.clock.now()).await.unwrap()[0].job().unwrap()
    }

    /// Ends it: one event more.
    pub async fn cancel(&self, job: JobId) {
        let batch = Batch::of(self.clock.now(), vec![Change { job, input: Input::Cancel }]);
        self.store.apply(batch).await.unwrap().remove(0).unwrap();
    }

    pub async fn sink(&self, name: &str) -> Sink {
        self.store.sink(name).await.unwrap().unwrap()
    }

    /// Oldest first.
    pub async fn deliveries(&self, name: &str) -> Vec<Delivery> {
        let filter = DeliveryFilter { sink: name.to_owned(), limit: 1_000, ..DeliveryFilter::default() };
        let mut all = self.store.deliveries(filter).await.unwrap();
        all.reverse();
        all
    }

    /// Waits for a fact in the store.
    pub async fn until(&self, what: &str, fact: impl AsyncFn() -> bool) {
        let wait = async {
            let mut commits = self.store.commits();
            loop {
                commits.mark_unchanged();
                if fact().await {
                    return;
                }
                commits.changed().await.unwrap();
            }
        };
        assert!(tokio::time::timeout(STUCK, wait).await.is_ok(), "it never came to be: {what}");
    }

    /// Everything that could be tried by now was.
    pub async fn tried(&self, name: &str) {
        let last = self.store.commits().borrow().last_seq;
        self.until("all that is due was tried", async || {
            let sink = self.sink(name).await;
            let now = self.clock.now();
            let rests = sink.disabled.is_some() || sink.rest_until.is_some_and(|until| until > now);
            let due = self.deliveries(name).await.iter().any(|one| one.due_at.is_some_and(|at| at <= now));
            rests || (sink.cursor >= last && !due)
        })
        .await;
    }

    /// Moves the clock to when the next delivery is due, and waits until it was tried. False when none is pending.
    pub async fn next(&self, name: &str) -> bool {
        let due = self.deliveries(name).await.into_iter().filter_map(|one| one.due_at).min();
        let Some(at) = due else { return false };
        self.clock.set(at.max(self.clock.now()));
        self.tried(name).await;
        true
    }
}
