//! Handing in jobs and looking at one.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::{self, Format};
use super::bulk::{self, Verdict};
use super::key;
use super::params::{JobPath, Params};
use super::problem::Problem;
use super::request::{self, Unread};
use super::state::{AdminState, carry_through};
use super::views::{JobView, TimelineView};
use super::who::{Who, audit};
use super::words::TimeWord;
use crate::domain::JobId;
use crate::domain::repeat::Asked;
use crate::downloads;
use crate::store::{Accepted, StoreError};

/// The body of `POST /v1/jobs`, for the OpenAPI page; [`request::read`] reads it.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what is read by hand")]
pub struct JobBody {
    /// `vendor.operation`.
    #[schema(example = "tronk.report")]
    kind: String,
    /// The vendor's own field names.
    #[schema(value_type = Object)]
    params: serde_json::Value,
    /// The client's own token, 1 to 200 characters, none of them a control character: whoever asks again with it gets the same
    /// job, and orders nothing.
    #[schema(min_length = 1, max_length = 200)]
    uid: Option<String>,
    /// Needed where the vendor has several accounts.
    account: Option<String>,
    /// Unique among unfinished jobs: a second submission answers with the first job while that has not ended. What makes asking
    /// again safe is `uid`.
    dedupe_key: Option<String>,
    /// 0 first … 9; 5 unless given.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<u8>,
    /// RFC 3339, or Unix milliseconds.
    #[schema(value_type = Option<TimeWord>)]
    not_before: Option<serde_json::Value>,
    /// RFC 3339, or Unix milliseconds.
    #[schema(value_type = Option<TimeWord>)]
    deadline: Option<serde_json::Value>,
    tag: Option<String>,
}

/// What a JSON body may be.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what is read by hand")]
#[serde(untagged)]
pub enum Handed {
    #[schema(value_type = JobBody)]
    Job(serde_json::Value),
    #[schema(value_type = Vec<JobBody>)]
    Jobs(Vec<serde_json::Value>),
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

/// Hand in one job, or many: an array or `application/x-ndjson` gets one verdict a line. A job with a `uid` may be handed in again
/// at any time: the first time makes it, every later one answers with it, also when it has ended.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "Another spelling of `uid`, for one job")),
    request_body(content((Handed = "application/json"), (JobBody = "application/x-ndjson"))),
    responses(
        (status = 201, description = "Taken", body = JobView),
        (status = 200, description = "The job that has this uid, or the unfinished one with this dedupe_key; or the verdicts of a bulk",
            content((Taken = "application/json"), (Verdict = "application/x-ndjson"))),
        (status = 400, description = "No JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The uid was given for another order", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "It was ordered with this uid before, and its data are gone", body = Problem,
            content_type = "application/problem+json"),
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
    let key = key::of(&headers)?;
    if body::format(&headers)? == Format::Ndjson {
        return if key.is_some() { Err(one_key_for_many()) } else { Ok(bulk::ndjson(state, who, content)) };
    }
    let content = body::whole(&state, content).await?;
    match content.bytes.trim_ascii_start().first() {
        None => Err(Problem::empty_body()),
        Some(b'[') if key.is_some() => Err(one_key_for_many()),
        Some(b'[') => bulk::array(state, who, content),
        Some(_) => one(state, who, &content.bytes, key.as_deref()).await,
    }
}

fn one_key_for_many() -> Problem {
    let message =
        "Idempotency-Key stands for one job, and this request holds many: give each of them its own \"uid\" instead";
    Problem::field("one_key_for_many", "/uid", message)
}

/// What a job came to that is not understood now: with a token that was given for the same before, that job.
pub async fn known_before(state: &AdminState, unread: Vec<&Unread>) -> Result<BTreeMap<String, JobId>, StoreError> {
    let asked: Vec<&Asked> = unread.into_iter().filter_map(|unread| unread.asked.as_deref()).collect();
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let known = state.engine().store().known(&asked).await?;
    Ok(known.into_iter().filter_map(|(uid, known)| Some((uid, known.job()?))).collect())
}

async fn one(state: AdminState, who: Who, text: &[u8], key: Option<&str>) -> Result<Response, Problem> {
    let job = match request::read(&state.engine().intake(), text, key) {
        Ok(job) => job,
        Err(unread) => {
            let known = known_before(&state, vec![&unread]).await?;
            return match known.into_values().next() {
                Some(id) => taken(&state, Some(Accepted::Taken(Some(id)))).await,
                None => Err(unread.problem),
            };
        }
    };
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
        Some(Accepted::Reused(first)) => return Err(Problem::uid_reused(first)),
        Some(Accepted::Gone(job)) => return Err(Problem::uid_gone(job)),
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
