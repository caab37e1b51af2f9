//! What is logged, changed while the daemon runs.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{self, Nothing};
use super::params::Params;
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::who::{Who, audit};
use crate::domain::Timestamp;

/// The longest filter, in bytes.
const LONGEST_FILTER: usize = 1_000;
/// The longest time after which the configured filter holds again.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Who can change what is logged.
pub trait LogSwitch: Send + Sync + std::fmt::Debug {
    fn look(&self) -> LogView;
    /// Goes by this filter, for so long or until [`LogSwitch::reset`]; says what is wrong with it.
    fn set(&self, filter: &str, lasts: Option<Duration>) -> Result<(), String>;
    /// Goes by the configured filter again.
    fn reset(&self);
    /// Lines that were logged so far, by level.
    fn lines(&self) -> [(&'static str, u64); 5];
    /// Lines that were lost because nobody took them, by sort: `log`, `audit`.
    fn lost(&self) -> [(&'static str, u64); 2];
    /// Since when nobody takes the log.
    fn stuck_since(&self) -> Option<Timestamp>;
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogView {
    /// What holds now, in the form of `RUST_LOG`.
    #[schema(example = "info,opros::engine=debug")]
    pub filter: String,
    /// What the configuration says.
    #[schema(example = "info")]
    pub configured: String,
    /// Whether the two differ by an operator's word.
    pub changed: bool,
    /// `text`, `json` or `journald`.
    pub format: &'static str,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogBody {
    /// Levels by module: `debug`, or `info,opros::engine=debug`.
    #[schema(example = "info,opros::engine=debug", max_length = 1000)]
    filter: Option<String>,
    /// Seconds after which the configured filter holds again; without it, until it is reset or opros is started anew.
    #[schema(minimum = 1, maximum = 604800)]
    seconds: Option<u64>,
}

/// What is logged at the moment.
#[utoipa::path(
    get, path = "/v1/log", tag = "operation",
    responses(
        (status = 200, description = "The filter in force and the configured one", body = LogView),
        (status = 404, description = "Nothing is logged here", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn look(State(state): State<AdminState>, params: Params) -> Result<Json<LogView>, Problem> {
    params.only(&[])?;
    Ok(Json(state.log()?.look()))
}

/// Log more, or less, from now on.
#[utoipa::path(
    put, path = "/v1/log", tag = "operation", request_body = LogBody,
    responses(
        (status = 200, description = "What holds now", body = LogView),
        (status = 404, description = "Nothing is logged here", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such filter", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    State(state): State<AdminState>,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<LogView>, Problem> {
    params.only(&[])?;
    let LogBody { filter, seconds } = body::of_move(&state, &headers, content).await?;
    let filter = filter.filter(|filter| !filter.trim().is_empty() && filter.len() <= LONGEST_FILTER);
    let example = "filter is a text such as \"debug\" or \"info,opros::engine=debug\"";
    let filter = filter.ok_or_else(|| Problem::field("missing", "/filter", example))?;
    let lasts = seconds.map(Duration::from_secs);
    if lasts.is_some_and(|lasts| lasts.is_zero() || lasts > LONGEST) {
        return Err(Problem::field("out_of_range", "/seconds", "seconds is a whole number from 1 to 604800"));
    }
    let log = state.log()?.clone();
    carry_through(async move {
        let before = log.look().filter;
        // Before it holds and after: nobody has to ask the new filter whether it lets this through.
        audit!(who, before, filter, seconds, "log filter change requested");
        log.set(&filter, lasts).map_err(|error| Problem::field("bad_filter", "/filter", error))?;
        audit!(who, before, filter, seconds, "an operator changed what is logged");
        Ok(Json(log.look()))
    })
    .await
}

/// Log what the configuration says again.
#[utoipa::path(
    delete, path = "/v1/log", tag = "operation",
    responses(
        (status = 200, description = "What holds now", body = LogView),
        (status = 404, description = "Nothing is logged here", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reset(
    State(state): State<AdminState>,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<LogView>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let log = state.log()?.clone();
    carry_through(async move {
        let before = log.look().filter;
        audit!(who, before, "log filter reset requested");
        log.reset();
        audit!(who, before, filter = log.look().filter, "an operator had the configured log again");
        Ok(Json(log.look()))
    })
    .await
}
