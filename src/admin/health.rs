//! Is opros ready, and if not quite: why, and since when.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::accounts::Counts;
use super::params::Params;
use super::problem::Problem;
use super::state::AdminState;
use super::views::time;
use crate::domain::account::Gate;
use crate::domain::ages::Held;
use crate::domain::{State as JobState, Timestamp};
use crate::engine::account::Runner;
use crate::health::Severity;
use crate::store::{StoreError, StoreHealth};

/// Long enough to renew it while orders still go out.
const TARIFF_SHOWN_BEFORE: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// `ready`, `degraded` or `blocked`.
    #[schema(example = "ready")]
    status: &'static str,
    causes: Vec<CauseView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CauseView {
    /// A sentence.
    what: String,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// A stable word, such as `account_paused:tronk`.
    code: String,
    #[serde(skip)]
    #[schema(ignore)]
    blocks: bool,
}

impl CauseView {
    fn degraded(code: String, what: String, since: Option<Timestamp>) -> Self {
        Self { what, since, code, blocks: false }
    }
}

/// Readiness with reasons.
#[utoipa::path(
    get, path = "/v1/health", tag = "operation",
    responses(
        (status = 200, description = "Ready, or degraded", body = HealthView),
        (status = 503, description = "Blocked: nothing can be committed", body = HealthView),
    )
)]
pub async fn health(State(state): State<AdminState>, params: Params) -> Result<Response, Problem> {
    params.only(&[])?;
    let view = look(&state).await;
    let code = if view.status == "blocked" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok((code, Json(view)).into_response())
}

/// Everything that is known to be wrong, the worst first.
pub async fn look(state: &AdminState) -> HealthView {
    let engine = state.engine();
    let mut causes: Vec<CauseView> = Vec::new();
    if let Some(reason) = engine.failstop().reason() {
        let since = Some(state.failed_at());
        causes.push(CauseView { what: reason.to_owned(), since, code: "stopping".to_owned(), blocks: true });
    }
    match engine.store().health() {
        StoreHealth::Good => {}
        StoreHealth::Tight { reason, since } => {
            causes.push(CauseView::degraded("disk_low".to_owned(), reason, Some(since)));
        }
        StoreHealth::Blocked { reason, since, fatal: _ } => {
            causes.push(CauseView { what: reason, since: Some(since), code: "store_blocked".to_owned(), blocks: true });
        }
    }
    causes.extend(engine.store().removal_held().map(of_clock));
    let warnings = engine.store().warnings().into_iter();
    causes.extend(warnings.map(|it| CauseView::degraded(it.code.to_owned(), it.what, Some(it.since))));
    causes.extend(of_log(state));
    for cause in state.board().causes() {
        let blocks = cause.severity == Severity::Blocked;
        causes.push(CauseView { what: cause.what, since: Some(cause.since), code: cause.key, blocks });
    }
    for runner in engine.runners() {
        causes.extend(of_account(&runner));
        causes.extend(of_budget(&runner));
        causes.extend(of_tariff(&runner));
    }
    causes.extend(set_aside(state).await);
    let doubt = in_doubt(state).await;
    let unreadable_since = state.note_readable(doubt.is_ok());
    match doubt {
        Ok(doubt) => causes.extend(doubt),
        Err(error) => causes.push(CauseView {
            what: format!("the store cannot be read: {error}"),
            since: unreadable_since,
            code: "store_unreadable".to_owned(),
            blocks: true,
        }),
    }
    causes.sort_by_key(|cause| !cause.blocks);
    let status = match causes.first() {
        None => "ready",
        Some(worst) if worst.blocks => "blocked",
        Some(_) => "degraded",
    };
    HealthView { status, causes }
}

fn of_clock(held: Held) -> CauseView {
    let Held { from, since, until } = held;
    let what = format!(
        "the clock went from {from} to {since} at once, or opros was off for so long: nothing is removed by its age until {until}. If \
         the clock is wrong, put it right before then; opros starts anew by itself"
    );
    CauseView::degraded("clock_set_forward".to_owned(), what, Some(since))
}

/// Whoever reads the log does not: nothing waits for it, but lines are lost.
fn of_log(state: &AdminState) -> Option<CauseView> {
    let log = state.log().ok()?;
    let since = log.stuck_since()?;
    let lost: u64 = log.lost().iter().map(|(_, lines)| lines).sum();
    let what = format!(
        "nobody takes the log: a write of it has not ended since {since}, and {lost} lines were lost since the start. Look at what opros' \
         stderr is connected to"
    );
    Some(CauseView::degraded("log_stuck".to_owned(), what, Some(since)))
}

fn of_account(runner: &Runner) -> Option<CauseView> {
    let (name, account) = (runner.name(), runner.account());
    let (code, what, since) = match account.gate(runner.now()) {
        Gate::Paused | Gate::FreeCallsOnly => {
            let pause = account.pause.as_ref()?;
            let stopped = if pause.submits_only { "new orders of the account" } else { "the account" };
            let verb = if pause.submits_only { "are stopped" } else { "is paused" };
            let what = format!("{stopped} {name} {verb}: {}; then: opros resume {name}", pause.reason.message);
            ("account_paused", what, Some(pause.since))
        }
        Gate::Frozen(until) => {
            ("account_frozen", format!("the vendor of {name} asked for silence until {until}"), account.frozen_since)
        }
        Gate::Broken(_) | Gate::Probe => {
            let why = account.last_error.as_ref().map(|reason| format!(": {}", reason.message)).unwrap_or_default();
            let what = format!("the vendor of {name} does not answer{why}");
            ("account_unreachable", what, account.breaker.open_since)
        }
        Gate::Open => {
            let since = account.hosts.on_reserve?;
            let what = format!("the primary host of {name}'s vendor does not answer; its reserve host is used");
            ("account_on_reserve", what, Some(since))
        }
    };
    Some(CauseView::degraded(format!("{code}:{name}"), what, since))
}

fn of_budget(runner: &Runner) -> Option<CauseView> {
    let (name, now) = (runner.name(), runner.now());
    let spent = runner.budget_spent(now)?;
    let what = format!("new orders of the account {name} wait: {}", spent.reason.message);
    Some(CauseView::degraded(format!("budget_spent:{name}"), what, Some(spent.since)))
}

fn of_tariff(runner: &Runner) -> Option<CauseView> {
    let name = runner.name();
    let (what, since) = tariff(name, runner.account().tariff_ends_at?, runner.now())?;
    Some(CauseView::degraded(format!("tariff_ends:{name}"), what, Some(since)))
}

/// Since its last week began; once it has ended, since then.
fn tariff(account: &str, ends: Timestamp, now: Timestamp) -> Option<(String, Timestamp)> {
    let last_week = ends - TARIFF_SHOWN_BEFORE;
    let (verb, since) = if ends > now { ("ends", last_week) } else { ("has ended", ends) };
    (last_week <= now).then(|| {
        (format!("by the vendor's word the tariff of the account {account} {verb} at {ends}: renew it there"), since)
    })
}

/// Jobs that opros fails on, and those that nothing can be written about. A store that cannot be read is told of by others.
async fn set_aside(state: &AdminState) -> Option<CauseView> {
    const NAMED: usize = 5;
    let engine = state.engine();
    let mut jobs = engine.store().set_aside(NAMED + 1).await.unwrap_or_default();
    jobs.extend(engine.runners().iter().flat_map(|runner| runner.barred()));
    let first = jobs.first()?;
    let named: Vec<String> = jobs.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if jobs.len() > NAMED { " and more" } else { "" };
    let what = format!(
        "opros fails on these jobs and has set them aside: {}{more}. This is a bug of opros; see: opros explain {first}",
        named.join(", ")
    );
    Some(CauseView::degraded("jobs_set_aside".to_owned(), what, None))
}

async fn in_doubt(state: &AdminState) -> Result<Option<CauseView>, StoreError> {
    let store = state.engine().store();
    let count = Counts::read(store.as_ref()).await?.all(JobState::InDoubt);
    if count == 0 {
        return Ok(None);
    }
    let since = store.oldest_doubt().await?;
    let jobs = if count == 1 { "1 job is".to_owned() } else { format!("{count} jobs are") };
    let what = format!("{jobs} in doubt: the vendor may have been paid; see: opros jobs --state in_doubt");
    Ok(Some(CauseView::degraded("jobs_in_doubt".to_owned(), what, since)))
}

impl HealthView {
    /// The stable words of its causes.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.causes.iter().map(|cause| cause.code.as_str())
    }

    /// 0 ready, 1 degraded, 2 blocked: for metrics.
    pub fn level(&self) -> i64 {
        match self.status {
            "ready" => 0,
            "degraded" => 1,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tariff_is_shown_a_week_before_it_ends() {
        let ends = Timestamp::from_millis(1_800_000_000_000);
        let at = |days: u64| tariff("rlab", ends, ends - Duration::from_secs(days * 86_400));
        assert_eq!(at(8), None);
        let (what, since) = at(7).unwrap();
        assert!(what.contains("rlab ends at 2027-01-15T08:00:00.000Z"));
        assert_eq!(at(1).unwrap().1, since, "it does not wander");
        let (what, since) = at(0).unwrap();
        assert!(what.contains("has ended") && since == ends);
    }
}
