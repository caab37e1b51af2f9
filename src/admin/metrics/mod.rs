//! What Prometheus reads. What the store and the engine know is asked for at each scrape; what nobody knows afterwards is in
//! the instruments of those who work (`meters`). Nothing here counts rows: a scrape costs the same with a million jobs.

mod accounts;
mod host;
mod jobs;
mod sinks;
mod text;

use std::path::PathBuf;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;

use self::accounts::Accounts;
use self::host::Host;
use self::jobs::Jobs;
use self::sinks::Sinks;
use super::problem::Problem;
use super::state::AdminState;
use crate::domain::Timestamp;
use crate::meters::{AdminMeters, Book, CallbackMeters, EngineMeters, Entry, ListenerMeters, SinkMeters, StoreMeters};
use crate::store::StoreError;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is shown beside engine and store.
#[derive(Debug, Clone, Default)]
pub struct Exports {
    pub started_at: Option<Timestamp>,
    pub store: Option<PathBuf>,
    pub mailbox: Option<PathBuf>,
    /// In bytes.
    pub free_floor: u64,
    /// By name: `admin`, `read`, `tcp`, `callbacks`.
    pub listeners: Vec<(&'static str, ListenerMeters)>,
    pub admin: AdminMeters,
}

/// Everything that a scrape asks for.
#[derive(Debug, Default)]
struct Asked {
    jobs: Jobs,
    accounts: Accounts,
    sinks: Sinks,
    host: Host,
}

impl Asked {
    async fn of(state: &AdminState) -> Result<Asked, StoreError> {
        let asked = Asked::default();
        asked.jobs.fill(state).await?;
        asked.accounts.fill(state).await?;
        asked.sinks.fill(state).await?;
        asked.host.fill(state);
        Ok(asked)
    }

    fn register(&self, book: &mut Book) {
        book.add("build", "The running program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        self.jobs.register(book);
        self.accounts.register(book);
        self.sinks.register(book);
        self.host.register(book);
    }
}

/// The instruments of those who work.
#[derive(Debug, Default)]
struct Instruments {
    store: StoreMeters,
    engine: EngineMeters,
    sinks: SinkMeters,
    callbacks: CallbackMeters,
    admin: AdminMeters,
}

impl Instruments {
    fn of(state: &AdminState) -> Instruments {
        let engine = state.engine();
        Instruments {
            store: engine.store().meters(),
            engine: engine.meters().clone(),
            sinks: state.sinks().map(|sinks| sinks.meters().clone()).unwrap_or_default(),
            callbacks: state.callbacks().map(|callbacks| callbacks.meters().clone()).unwrap_or_default(),
            admin: state.exports().admin.clone(),
        }
    }

    fn register(&self, book: &mut Book) {
        self.store.register(book);
        self.engine.register(book);
        self.sinks.register(book);
        self.callbacks.register(book);
        self.admin.register(book);
    }
}

/// Every metric that there is, whether it has a value now or not.
pub fn catalogue() -> Vec<Entry> {
    let mut book = Book::new();
    Asked::default().register(&mut book);
    Instruments::default().register(&mut book);
    book.entries().to_vec()
}

/// For Prometheus: OpenMetrics where it is asked for, else the older text.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Metrics as text", content(
        (String = "text/plain"), (String = "application/openmetrics-text")
    )))
)]
pub async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut book = Book::new();
    Asked::of(&state).await?.register(&mut book);
    Instruments::of(&state).register(&mut book);
    let mut page = String::new();
    encode(&mut page, book.registry()).map_err(|_| Problem::internal("the metrics could not be written"))?;
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepted.into_iter().any(|value| value.contains("application/openmetrics-text"));
    let (kind, page) = if open { (OPEN_METRICS, page) } else { (TEXT, text::from_open_metrics(&page)) };
    Ok(([(header::CONTENT_TYPE, kind)], page).into_response())
}

/// The same under the prefix of everything else.
#[utoipa::path(
    get, path = "/v1/metrics", tag = "operation",
    responses((status = 200, description = "Metrics as text", content(
        (String = "text/plain"), (String = "application/openmetrics-text")
    )))
)]
pub async fn metrics_v1(state: State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    metrics(state, headers).await
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}
