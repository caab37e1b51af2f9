//! Accounts: how they stand, and the operator's pause and resume.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{self, Nothing};
use super::params::{AccountPath, Params};
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::views::time;
use super::who::{Who, audit};
use crate::domain::account::Gate;
use crate::domain::spending::BudgetSpent;
use crate::domain::{Account, PauseSource, State as JobState, Timestamp};
use crate::engine::account::Runner;
use crate::store::{Count, Lane, Store, StoreError};
use crate::vendors::registry;

/// The longest reason of a pause, in bytes.
const LONGEST_REASON: usize = 500;

#[derive(Debug, Serialize, ToSchema)]
pub struct AccountsView {
    accounts: Vec<AccountView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AccountView {
    name: String,
    vendor: &'static str,
    paused: Option<PauseView>,
    /// The vendor asked for silence until then.
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    frozen_until: Option<Timestamp>,
    breaker: BreakerView,
    limits: LimitsView,
    /// Requests on their way.
    in_flight: usize,
    queued: i64,
    waiting: i64,
    /// Of the waiting ones: those that are followed for days or weeks, such as Alta's requests and R-Lab's tracks.
    followed: i64,
    in_doubt: i64,
    balance: Option<BalanceView>,
    /// When what was booked at the vendor ends, by its word.
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    tariff_ends_at: Option<Timestamp>,
    /// New orders wait: a budget is spent.
    budget_spent: Option<BudgetSpentView>,
    last_error: Option<LastErrorView>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    /// When the next request may leave; null when nothing is due or the account is paused.
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_call_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PauseView {
    /// `operator` or `vendor`.
    #[schema(value_type = String)]
    by: PauseSource,
    code: String,
    message: String,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    since: Option<Timestamp>,
    /// Polls and other free calls go on.
    submits_only: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct BreakerView {
    open: bool,
    /// Calls in a row without a readable answer.
    failures: u32,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    probe_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    open_since: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitsView {
    max_in_flight: usize,
    min_interval_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct BalanceView {
    amount: f64,
    unit: String,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    at: Option<Timestamp>,
    /// The vendor's own words.
    text: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BudgetSpentView {
    code: String,
    message: String,
    /// `hour`, `day` or `month`.
    window: &'static str,
    /// When the next window begins.
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    until: Option<Timestamp>,
}

impl From<BudgetSpent> for BudgetSpentView {
    fn from(spent: BudgetSpent) -> Self {
        let BudgetSpent { reason, span, until, .. } = spent;
        Self { code: reason.code, message: reason.message, window: span.as_str(), until: Some(until) }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct LastErrorView {
    code: String,
    message: String,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// The accounts with their limits, breaker, balance, last error and next call.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "accounts",
    responses((status = 200, description = "The accounts", body = AccountsView))
)]
pub async fn list(State(state): State<AdminState>, params: Params) -> Result<Json<AccountsView>, Problem> {
    params.only(&[])?;
    let counts = Counts::read(state.engine().store().as_ref()).await?;
    let mut accounts = Vec::new();
    for runner in state.engine().runners() {
        accounts.push(view(&runner, &counts).await?);
    }
    Ok(Json(AccountsView { accounts }))
}

/// Jobs by account and state.
pub struct Counts {
    jobs: BTreeMap<(String, JobState), i64>,
    /// Waiting trackers by account.
    followed: BTreeMap<String, i64>,
}

impl Counts {
    pub async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut counts = Self { jobs: BTreeMap::new(), followed: BTreeMap::new() };
        for Count { account, kind, state, jobs } in store.counts().await? {
            if state == JobState::Waiting && registry::kind(&kind).is_some_and(|spec| spec.traits.tracker) {
                *counts.followed.entry(account.clone()).or_default() += jobs;
            }
            *counts.jobs.entry((account, state)).or_default() += jobs;
        }
        Ok(counts)
    }

    pub fn of(&self, account: &str, state: JobState) -> i64 {
        self.jobs.get(&(account.to_owned(), state)).copied().unwrap_or(0)
    }

    pub fn all(&self, state: JobState) -> i64 {
        self.jobs.iter().filter(|((_, counted), _)| *counted == state).map(|(_, jobs)| jobs).sum()
    }
}

async fn view(runner: &Runner, counts: &Counts) -> Result<AccountView, StoreError> {
    let name = runner.name();
    let now = runner.now();
    let account = runner.account();
    let next_call_at = next_call_at(runner, &account, now).await?;
    let setup = runner.setup();
    let limits = &setup.limits;
    let Account {
        pause,
        frozen_until,
        breaker,
        balance,
        last_error,
        last_error_at,
        last_success_at,
        tariff_ends_at,
        ..
    } = account;
    Ok(AccountView {
        name: name.to_owned(),
        vendor: runner.setup().vendor,
        paused: pause.map(|pause| PauseView {
            by: pause.by,
            code: pause.reason.code,
            message: pause.reason.message,
            since: Some(pause.since),
            submits_only: pause.submits_only,
        }),
        frozen_until: frozen_until.filter(|until| *until > now),
        breaker: BreakerView {
            open: breaker.open_since.is_some(),
            failures: breaker.failures,
            probe_at: breaker.probe_at,
            open_since: breaker.open_since,
        },
        limits: LimitsView {
            max_in_flight: limits.max_in_flight,
            min_interval_ms: u64::try_from(limits.min_interval.as_millis()).unwrap_or(u64::MAX),
        },
        in_flight: runner.requests_in_flight(),
        queued: counts.of(name, JobState::Queued),
        waiting: counts.of(name, JobState::Waiting),
        followed: counts.followed.get(name).copied().unwrap_or(0),
        in_doubt: counts.of(name, JobState::InDoubt),
        balance: balance.map(|b| BalanceView { amount: b.amount, unit: b.unit, at: Some(b.at), text: b.text }),
        tariff_ends_at,
        budget_spent: runner.budget_spent(now).map(BudgetSpentView::from),
        last_error: last_error.map(|reason| LastErrorView {
            code: reason.code,
            message: reason.message,
            at: last_error_at,
        }),
        last_success_at,
        next_call_at,
    })
}

/// When something is due, the gate is open and the interval is over.
async fn next_call_at(runner: &Runner, account: &Account, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let (lanes, opens_at): (&[Lane], Timestamp) = match account.gate(now) {
        Gate::Paused => return Ok(None),
        Gate::FreeCallsOnly => (&[Lane::Free], now),
        Gate::Frozen(until) | Gate::Broken(until) => (&[Lane::Submit, Lane::Free], until),
        Gate::Open | Gate::Probe => (&[Lane::Submit, Lane::Free], now),
    };
    let mut due: Option<Timestamp> = None;
    for lane in lanes {
        let next = runner.shared.store.next_due(runner.name(), *lane, Timestamp::MIN).await?;
        let budget = runner.budget_spent(now).filter(|_| *lane == Lane::Submit);
        let next = next.map(|at| budget.map_or(at, |spent| at.max(spent.until)));
        due = due.into_iter().chain(next).min();
    }
    let interval_over = account.last_call_at.map(|last| last + runner.setup().limits.min_interval);
    Ok(due.map(|due| due.max(opens_at).max(interval_over.unwrap_or(now))))
}

async fn named(state: &AdminState, name: &str) -> Result<AccountView, Problem> {
    let runner = state.engine().runner(name).ok_or_else(|| no_account(state, name))?;
    let counts = Counts::read(state.engine().store().as_ref()).await?;
    Ok(view(&runner, &counts).await?)
}

fn no_account(state: &AdminState, name: &str) -> Problem {
    let runners = state.engine().runners();
    let names: Vec<&str> = runners.iter().map(|runner| runner.name()).collect();
    let name: String = name.chars().take(60).collect();
    Problem::not_found(format!("no account is called {name:?}; the accounts are {}", names.join(", ")))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// For whoever reads it next.
    reason: Option<String>,
}

/// Stop all calls of an account; its jobs wait.
#[utoipa::path(
    post, path = "/v1/accounts/{name}/pause", tag = "accounts",
    params(("name" = String, Path, description = "The account's name")),
    request_body = Option<PauseBody>,
    responses(
        (status = 200, description = "The account", body = AccountView),
        (status = 404, description = "No such account", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not understood", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn pause(
    State(state): State<AdminState>,
    AccountPath(name): AccountPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<AccountView>, Problem> {
    params.only(&[])?;
    let PauseBody { reason } = body::of_move(&state, &headers, content).await?;
    let reason = reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if reason.as_ref().is_some_and(|text| text.len() > LONGEST_REASON) {
        let message = format!("reason must have at most {LONGEST_REASON} bytes");
        return Err(Problem::field("too_long", "/reason", message));
    }
    let (engine, account) = (state.engine().clone(), name.clone());
    if engine.runner(&name).is_none() {
        return Err(no_account(&state, &name));
    }
    carry_through(async move {
        engine.pause(&account, reason).await?;
        audit!(who, account, "an operator paused an account");
        Ok(())
    })
    .await?;
    named(&state, &name).await.map(Json)
}

/// Let an account work again: lifts its pause, its freeze and its breaker.
#[utoipa::path(
    post, path = "/v1/accounts/{name}/resume", tag = "accounts",
    params(("name" = String, Path, description = "The account's name")),
    responses(
        (status = 200, description = "The account", body = AccountView),
        (status = 404, description = "No such account", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resume(
    State(state): State<AdminState>,
    AccountPath(name): AccountPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<AccountView>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let (engine, account) = (state.engine().clone(), name.clone());
    if engine.runner(&name).is_none() {
        return Err(no_account(&state, &name));
    }
    carry_through(async move {
        engine.resume(&account).await?;
        audit!(who, account, "an operator resumed an account");
        Ok(())
    })
    .await?;
    named(&state, &name).await.map(Json)
}
