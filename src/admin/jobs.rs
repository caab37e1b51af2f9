//! Handing in jobs and looking at one.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::{self, Format};
use super::bulk::{self, Verdict};
use super::params::{JobPath, Params};
use super::problem::Problem;
use super::request;
use super::state::{AdminState, carry_through};
use super::views::{JobView, TimelineView};
use super::who::{Who, audit};
use crate::domain::JobId;
use crate::downloads;
use crate::store::{Accepted, StoreError};

/// The body of `POST /v1/jobs`, for the OpenAPI page; [`request::read`] reads it.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what is read by hand")]
pub struct JobBody {
    /// `vendor.operation`.
    #[schema(example = "tronk.report")]
    kind: String,
    /// The vendor's own field names.
    #[schema(value_type = Object)]
    params: serde_json::Value,
    /// Needed where the vendor has several accounts.
    account: Option<String>,
    /// Unique among unfinished jobs: a second submission answers with the first job.
    dedupe_key: Option<String>,
    /// 0 first … 9; 5 unless given.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<u8>,
    /// RFC 3339, or Unix milliseconds.
    not_before: Option<String>,
    /// RFC 3339, or Unix milliseconds.
    deadline: Option<String>,
    tag: Option<String>,
}

/// What an answer of 200 holds, for the OpenAPI page.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
#[serde(untagged)]
pub enum Taken {
    /// Of one job: the one that was there.
    Job(Box<JobView>),
    /// Of an array: a verdict on each.
    Verdicts(Vec<Verdict>),
}

/// Hand in one job, or many: an array or `application/x-ndjson` gets one verdict a line.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs",
    request_body(content((JobBody = "application/json"), (JobBody = "application/x-ndjson"))),
    responses(
        (status = 201, description = "Taken", body = JobView),
        (status = 200, description = "An unfinished job has the same dedupe_key: that job; or the verdicts of a bulk",
            content((Taken = "application/json"), (Verdict = "application/x-ndjson"))),
        (status = 400, description = "No JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Wrong content type", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not understood", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Nothing can be stored", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn submit(
    State(state): State<AdminState>,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    params.only(&[])?;
    if body::format(&headers)? == Format::Ndjson {
        return Ok(bulk::ndjson(state, who, content));
    }
    let content = body::whole(&state, content).await?;
    match content.bytes.trim_ascii_start().first() {
        None => Err(Problem::empty_body()),
        Some(b'[') => bulk::array(state, who, content),
        Some(_) => one(state, who, &content.bytes).await,
    }
}

async fn one(state: AdminState, who: Who, text: &[u8]) -> Result<Response, Problem> {
    let job = request::read(&state.engine().intake(), text)?;
    let engine = state.engine().clone();
    let accepted = carry_through(async move {
        let (kind, account) = (job.kind.clone(), job.account.clone());
        let accepted = engine.submit(vec![job]).await?.into_iter().next();
        if let Some(Accepted::New(id)) = accepted {
            audit!(who, job = id.0, kind, account, "a job was handed in");
        }
        Ok(accepted)
    })
    .await?;
    taken(&state, accepted).await
}

/// 201 with a new job, 200 with the one that was there.
pub async fn taken(state: &AdminState, accepted: Option<Accepted>) -> Result<Response, Problem> {
    let status = match accepted {
        Some(Accepted::New(_)) => StatusCode::CREATED,
        Some(Accepted::Duplicate(_) | Accepted::Taken(_)) | None => StatusCode::OK,
    };
    let id = accepted.and_then(Accepted::job).ok_or_else(|| StoreError::Other("no verdict came back".to_owned()))?;
    let view = view(state, id).await?;
    Ok((status, [(header::LOCATION, format!("/v1/jobs/{id}"))], Json(view)).into_response())
}

/// A job as it stands now.
pub async fn view(state: &AdminState, id: JobId) -> Result<JobView, Problem> {
    let details = state.engine().store().job(id).await?;
    let details = details.ok_or_else(|| no_job(id))?;
    let store = state.engine().store();
    let (files, download) = (store.job_files(id).await?, store.download(id).await?);
    let document = download.map(|download| downloads::sentence(&download, id, state.engine().now()));
    Ok(JobView::new(state.engine(), details).with_files(files, document))
}

pub fn no_job(id: JobId) -> Problem {
    Problem::not_found(format!("there is no job {id}; retention may have removed it"))
}

/// One job: how it stands, its last result, why it waits and when it is touched next.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    params: Params,
) -> Result<Json<JobView>, Problem> {
    params.only(&[])?;
    view(&state, id).await.map(Json)
}

/// Events, observations and calls of a job, in order.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/timeline", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "What happened", body = TimelineView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn timeline(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    params: Params,
) -> Result<Json<TimelineView>, Problem> {
    params.only(&[])?;
    let entries = state.engine().store().timeline(id).await?;
    if entries.is_empty() && state.engine().store().job(id).await?.is_none() {
        return Err(no_job(id));
    }
    Ok(Json(TimelineView::new(entries)))
}
