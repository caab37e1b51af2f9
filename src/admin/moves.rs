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
use super::params::{JobPath, Params};
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::views::JobView;
use super::who::{Who, audit};
use crate::domain::state::Resolution;

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

/// Send a held job, although an equal order was sent shortly before.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/release", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "The job as it stands now", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not queued", body = Problem, content_type = "application/problem+json"),
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
        engine.release(id).await?;
        audit!(who, job = id.0, "an operator released a job");
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
}

/// Order the same again as a new job.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    request_body = Option<RetryBody>,
    responses(
        (status = 201, description = "The new job", body = JobView),
        (status = 200, description = "An unfinished job has the same dedupe_key: that job", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is unfinished, in doubt, or has succeeded", body = Problem, content_type = "application/problem+json"),
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
    let RetryBody { force } = body::of_move(&state, &headers, content).await?;
    let engine = state.engine().clone();
    let accepted = carry_through(async move {
        let accepted = engine.retry(id, force).await?;
        let again = accepted.job().map(|id| id.0);
        audit!(who, job = again, retry_of = id.0, force, "an operator ordered a job again");
        Ok(accepted)
    })
    .await?;
    taken(&state, Some(accepted)).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveBody {
    /// `resubmit`, `adopt` or `fail`.
    #[schema(example = "adopt")]
    action: Option<String>,
    /// What the vendor calls it; with `adopt`.
    #[schema(value_type = Option<String>)]
    remote_id: Option<Value>,
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
    post, path = "/v1/jobs/{id}/resolve", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    request_body = ResolveBody,
    responses(
        (status = 200, description = "The job as it stands now", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not in doubt", body = Problem, content_type = "application/problem+json"),
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
    let wish: ResolveBody = body::of_move(&state, &headers, content).await?;
    let resolution = wish.resolution()?;
    let action = match &resolution {
        Resolution::Resubmit => "resubmit",
        Resolution::Adopt(_) => "adopt",
        Resolution::Fail => "fail",
    };
    let engine = state.engine().clone();
    carry_through(async move {
        let job = engine.resolve(id, resolution).await?;
        audit!(who, job = id.0, action, state = job.state.as_str(), "an operator settled a job in doubt");
        Ok(())
    })
    .await?;
    view(&state, id).await.map(Json)
}
