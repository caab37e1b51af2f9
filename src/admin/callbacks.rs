//! Call-backs: what came, whose it is, and an operator's word on it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::jobs::view;
use super::params::{CallbackPath, Params};
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::views::{JobView, time};
use super::who::{Who, audit};
use crate::domain::{JobId, Timestamp};
use crate::store::callbacks::{Callback, CallbackFilter};

const FILTERS: &[&str] = &["account", "matched", "limit", "cursor"];
const USUAL_LIMIT: usize = 100;

/// A call-back, without its body.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallbackView {
    id: i64,
    account: String,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    at: Option<Timestamp>,
    /// The address that delivered it.
    from: String,
    content_type: Option<String>,
    size: u64,
    /// What it says, as far as it could be read: the sender's word.
    vin: Option<String>,
    check_type: Option<String>,
    status: Option<String>,
    ids: Vec<String>,
    /// Why it could not be read.
    unreadable: Option<String>,
    /// How often the same came again.
    repeats: i64,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    last_at: Option<Timestamp>,
    /// Whose it is.
    job: Option<i64>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    matched_at: Option<Timestamp>,
    /// `matched`, `assigned` (by an operator) or `answered` (names a job that had its answer).
    how: Option<&'static str>,
}

impl From<Callback> for CallbackView {
    fn from(callback: Callback) -> Self {
        let facts = callback.facts;
        let belongs = callback.belongs.as_ref();
        Self {
            id: callback.id,
            account: callback.account,
            at: Some(callback.at),
            from: callback.peer,
            content_type: callback.content_type,
            size: callback.size,
            vin: facts.vin,
            check_type: facts.check_type,
            status: facts.status,
            ids: facts.ids,
            unreadable: facts.unreadable,
            repeats: callback.repeats,
            last_at: Some(callback.last_at),
            job: belongs.map(|belongs| belongs.job.0),
            matched_at: belongs.map(|belongs| belongs.at),
            how: belongs.map(|belongs| belongs.how.as_str()),
        }
    }
}

/// A page of call-backs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallbackPageView {
    callbacks: Vec<CallbackView>,
    /// Pass as `cursor`; null on the last page.
    next: Option<String>,
}

/// Call-backs, newest first.
#[utoipa::path(
    get, path = "/v1/callbacks", tag = "callbacks",
    params(
        ("account" = Option<String>, Query, description = "The account's name"),
        ("matched" = Option<bool>, Query, description = "false: those that belong to no job yet"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 100 unless given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = CallbackPageView),
        (status = 400, description = "Wrong parameter", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(State(state): State<AdminState>, params: Params) -> Result<Json<CallbackPageView>, Problem> {
    let params = params.only(FILTERS)?;
    let limit = params.limit()?.unwrap_or(USUAL_LIMIT);
    let filter = CallbackFilter {
        account: params.text("account"),
        matched: params.flag("matched")?,
        before: params.parse("cursor")?,
        limit: limit + 1,
    };
    let mut found = state.engine().store().callbacks(filter).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(CallbackPageView { callbacks: found.into_iter().map(CallbackView::from).collect(), next }))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignBody {
    /// The job's number.
    job: Option<i64>,
}

/// Give a call-back to a job, as if it had been matched.
#[utoipa::path(
    post, path = "/v1/callbacks/{id}/assign", tag = "callbacks",
    params(("id" = i64, Path, description = "The call-back's number")),
    request_body = AssignBody,
    responses(
        (status = 200, description = "The job as it stands now", body = JobView),
        (status = 404, description = "No such call-back or job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be this job's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not understood", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn assign(
    State(state): State<AdminState>,
    CallbackPath(id): CallbackPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<JobView>, Problem> {
    params.only(&[])?;
    let AssignBody { job } = body::of_move(&state, &headers, content).await?;
    let job = job.map(JobId).ok_or_else(|| Problem::field("missing", "/job", "job is missing: say whose it is"))?;
    let callbacks = state.callbacks()?.clone();
    carry_through(async move {
        callbacks.assign(id, job).await?;
        audit!(who, callback = id, job = job.0, "an operator gave a call-back to a job");
        Ok(())
    })
    .await?;
    view(&state, job).await.map(Json)
}
