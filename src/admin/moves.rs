//! The operator's moves on a job: cancel, release, retry, resolve.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::body::{self, Nothing};
use super::jobs::{taken, view};
use super::key;
use super::params::{JobPath, Params};
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::views::JobView;
use super::who::{Who, audit};
use super::words::ActionWord;
use crate::domain::repeat::uid_problem;
use crate::domain::state::Resolution;
use crate::engine::ops::Wish;
use crate::store::Accepted;

/// The longest id of a vendor's that can be adopted.
const LONGEST_REMOTE_ID: usize = 200;

/// Wish that a job be cancelled; it is carried out as soon as the job's state allows.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 202, description = "The wish is stored", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let engine = state.engine().clone();
    carry_through(async move {
        let job = engine.cancel(id).await?;
        audit!(who, job = id.0, state = job.state.as_str(), "an operator wished to cancel a job");
        Ok(())
    })
    .await?;
    Ok((StatusCode::ACCEPTED, Json(view(&state, id).await?)))
}

/// Send a held job, although an equal order was sent shortly before. Once it was released, asking again changes nothing.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/release", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "The job as it stands now", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not queued, and was never released", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn release(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<JobView>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let engine = state.engine().clone();
    carry_through(async move {
        let moved = engine.release(id).await?;
        if moved.is_new {
            audit!(who, job = id.0, "an operator released a job");
        }
        Ok(())
    })
    .await?;
    view(&state, id).await.map(Json)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBody {
    /// Order even what has succeeded again.
    #[serde(default)]
    force: bool,
    /// Order again although the newest retry of this job has not ended.
    #[serde(default)]
    again: bool,
    /// As Idempotency-Key.
    uid: Option<String>,
}

/// Order the same again as a new job. While the newest retry of the job is unfinished, that one is the answer.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(
        ("id" = i64, Path, description = "The job's number"),
        ("Idempotency-Key" = Option<String>, Header, description = "The client's own token: with the same one it is ordered once"),
    ),
    request_body = Option<RetryBody>,
    responses(
        (status = 201, description = "The new job", body = JobView),
        (status = 200, description = "The job that has this token, the unfinished retry of this job, or the unfinished job with its dedupe_key",
            body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is unfinished, in doubt, or has succeeded; or the token was given for something else", body = Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "It was ordered with this token before, and its data are gone", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn retry(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let RetryBody { force, again, uid } = body::of_move(&state, &headers, content).await?;
    let wish = wish(&headers, uid, again)?;
    let engine = state.engine().clone();
    let accepted = carry_through(async move {
        let accepted = engine.retry_once(id, force, wish).await?;
        if let Accepted::New(again) = accepted {
            audit!(who, job = again.0, retry_of = id.0, force, "an operator ordered a job again");
        }
        Ok(accepted)
    })
    .await?;
    taken(&state, Some(accepted)).await
}

/// The token of a move, from the header or the body.
fn wish(headers: &HeaderMap, uid: Option<String>, again: bool) -> Result<Wish, Problem> {
    let header = key::of(headers)?;
    let uid = key::one(header.as_deref(), uid).map_err(|problem| Problem::fields(vec![problem]))?;
    match uid.as_deref().and_then(uid_problem) {
        Some(message) => Err(Problem::field("bad_uid", "/uid", message)),
        None => Ok(Wish { uid, again }),
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveBody {
    /// `resubmit`, `adopt` or `fail`.
    #[schema(value_type = Option<ActionWord>, example = "adopt")]
    action: Option<String>,
    /// What the vendor calls it; with `adopt`.
    #[schema(value_type = Option<String>)]
    remote_id: Option<Value>,
    /// Resubmit although it was resubmitted a moment ago.
    #[serde(default)]
    again: bool,
    /// As Idempotency-Key.
    uid: Option<String>,
}

impl ResolveBody {
    fn resolution(self) -> Result<Resolution, Problem> {
        let remote_id = match self.remote_id {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => return Err(Problem::field("wrong_type", "/remote_id", "remote_id must be a text")),
        };
        match (self.action.as_deref(), remote_id) {
            (Some("resubmit"), None) => Ok(Resolution::Resubmit),
            (Some("fail"), None) => Ok(Resolution::Fail),
            (Some("adopt"), Some(id)) if !id.trim().is_empty() && id.len() <= LONGEST_REMOTE_ID => {
                Ok(Resolution::Adopt(id.trim().to_owned()))
            }
            (Some("adopt"), _) => {
                let message = format!("adopt needs the vendor's id as remote_id, with 1 to {LONGEST_REMOTE_ID} bytes");
                Err(Problem::field("bad_remote_id", "/remote_id", message))
            }
            (Some("resubmit" | "fail"), Some(_)) => {
                Err(Problem::field("bad_remote_id", "/remote_id", "remote_id goes with adopt only"))
            }
            (None, _) => Err(Problem::field("missing", "/action", "action is missing: resubmit, adopt or fail")),
            (Some(_), _) => {
                Err(Problem::field("bad_action", "/action", "action must be one of resubmit, adopt and fail"))
            }
        }
    }
}

/// Settle a job in doubt.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/resolve", tag = "jobs", params(
        ("id" = i64, Path, description = "The job's number"),
        ("Idempotency-Key" = Option<String>, Header, description = "The client's own token: with the same one it is settled once"),
    ),
    request_body = ResolveBody,
    responses(
        (status = 200, description = "The job as it stands now", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not in doubt, or was resubmitted a moment ago; or the token was given for something else", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not understood", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resolve(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<JobView>, Problem> {
    params.only(&[])?;
    let mut body: ResolveBody = body::of_move(&state, &headers, content).await?;
    let wish = wish(&headers, body.uid.take(), body.again)?;
    let resolution = body.resolution()?;
    let action = match &resolution {
        Resolution::Resubmit => "resubmit",
        Resolution::Adopt(_) => "adopt",
        Resolution::Fail => "fail",
    };
    let engine = state.engine().clone();
    carry_through(async move {
        let moved = engine.resolve_once(id, resolution, wish).await?;
        if moved.is_new {
            audit!(who, job = id.0, action, state = moved.job.state.as_str(), "an operator settled a job in doubt");
        }
        Ok(())
    })
    .await?;
    view(&state, id).await.map(Json)
}
