//! What Prometheus reads. Written afresh for each scrape from what the store and the engine know: no second set of counters
//! that could disagree with them.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::health;
use super::problem::Problem;
use super::state::AdminState;
use crate::domain::Timestamp;
use crate::engine::account::Runner;

type Float = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JobLabels {
    account: String,
    kind: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AccountLabels {
    account: String,
    vendor: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BalanceLabels {
    account: String,
    unit: String,
}

/// The accounts' gauges.
#[derive(Default)]
struct Accounts {
    in_flight: Family<AccountLabels, Gauge>,
    paused: Family<AccountLabels, Gauge>,
    frozen: Family<AccountLabels, Gauge>,
    breaker_open: Family<AccountLabels, Gauge>,
    failures: Family<AccountLabels, Gauge>,
    last_success: Family<AccountLabels, Float>,
    balance: Family<BalanceLabels, Float>,
}

impl Accounts {
    fn register(&self, registry: &mut Registry) {
        let accounts = [
            ("calls_in_flight", "Requests on their way to the vendor", &self.in_flight),
            ("account_paused", "1 while the account is paused", &self.paused),
            ("account_frozen", "1 while the vendor wants silence", &self.frozen),
            ("account_breaker_open", "1 while the vendor does not answer", &self.breaker_open),
            ("account_failures", "Calls in a row without a readable answer", &self.failures),
        ];
        for (name, help, family) in accounts {
            registry.register(name, help, family.clone());
        }
        let success = "When a whole readable answer came last";
        registry.register("account_last_success_timestamp_seconds", success, self.last_success.clone());
        registry.register("account_balance", "The balance in the vendor's unit", self.balance.clone());
    }

    fn fill(&self, runner: &Runner) {
        let account = runner.account();
        let labels = AccountLabels { account: runner.name().to_owned(), vendor: runner.setup().vendor };
        let now = runner.now();
        self.in_flight.get_or_create(&labels).set(runner.requests_in_flight() as i64);
        self.paused.get_or_create(&labels).set(account.pause.is_some().into());
        self.frozen.get_or_create(&labels).set(account.frozen_until.is_some_and(|until| until > now).into());
        self.breaker_open.get_or_create(&labels).set(account.breaker.open_since.is_some().into());
        self.failures.get_or_create(&labels).set(account.breaker.failures.into());
        if let Some(at) = account.last_success_at {
            self.last_success.get_or_create(&labels).set(seconds(at));
        }
        if let Some(balance) = account.balance {
            let labels = BalanceLabels { account: labels.account, unit: balance.unit };
            self.balance.get_or_create(&labels).set(balance.amount);
        }
    }
}

/// OpenMetrics text for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text"))
)]
pub async fn metrics(State(state): State<AdminState>) -> Result<Response, Problem> {
    let engine = state.engine();
    let mut registry = Registry::with_prefix("opros");
    registry.register("build", "The running program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));

    let jobs = Family::<JobLabels, Gauge>::default();
    registry.register("jobs", "Jobs in the store", jobs.clone());
    for count in engine.store().counts().await? {
        let labels = JobLabels { account: count.account, kind: count.kind, state: count.state.as_str() };
        jobs.get_or_create(&labels).set(count.jobs);
    }
    let accounts = Accounts::default();
    accounts.register(&mut registry);
    engine.runners().iter().for_each(|runner| accounts.fill(runner));

    let commit = engine.store().commits().borrow().clone();
    let plain: [(&str, &str, i64); 3] = [
        ("events_last_seq", "The number of the newest event", commit.last_seq),
        ("store_commits", "Commits since the start", i64::try_from(commit.number).unwrap_or(i64::MAX)),
        ("health", "0 ready, 1 degraded, 2 blocked", health::look(&state).await.level()),
    ];
    for (name, help, value) in plain {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| Problem::internal("the metrics could not be written"))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}
