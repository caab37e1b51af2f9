//! Removing what a job holds of a person.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{self, Nothing};
use super::params::{JobPath, Params};
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::who::{Who, audit};
use crate::domain::JobId;
use crate::store::upkeep::{PurgeOutcome, Purged};

#[derive(Debug, Serialize, ToSchema)]
pub struct PurgeView {
    job: i64,
    /// Removed.
    observations: u64,
    /// Emptied; their numbers stay.
    events: u64,
    /// Calls that stand in the log of calls; their notes are removed.
    calls: u64,
    /// Emptied; that they came stays.
    callbacks: u64,
    /// Removed from the disk, as far as no other job has them.
    files: usize,
    /// Its row is being removed from the mailbox.
    mailbox_row: bool,
    /// False: a reader kept the store's write-ahead log from being emptied, and older copies lie in it until it is.
    log_emptied: bool,
}

/// Remove a person's data: params, results, observations, the vendor's words, call-backs and files, and the mailbox row. What
/// stays is that a job of its kind was ordered, when, and whether it was paid.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/purge", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "What was removed", body = PurgeView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has not ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn purge(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<PurgeView>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    carry_through(async move {
        let engine = state.engine();
        let purged = match engine.store().purge(id, engine.now()).await? {
            PurgeOutcome::Done(purged) => purged,
            PurgeOutcome::NoJob => return Err(super::jobs::no_job(id)),
            PurgeOutcome::Unfinished(state) => {
                return Err(Problem::conflict(format!(
                    "job {id} is {state}: it has not ended, and what was ordered is still needed. Cancel or resolve it \
                     first, then purge it"
                )));
            }
        };
        let files = match state.callbacks() {
            Ok(callbacks) => callbacks.remove_files(&purged.hashes).await?,
            Err(_) => 0,
        };
        audit!(who, job = id.0, files, log_emptied = purged.log_emptied, "an operator purged a job");
        Ok(Json(view(id, purged, files)))
    })
    .await
}

fn view(id: JobId, purged: Purged, files: usize) -> PurgeView {
    let Purged { observations, events, calls, callbacks, uid, log_emptied, .. } = purged;
    let job = id.0;
    PurgeView { job, observations, events, calls, callbacks, files, mailbox_row: uid.is_some(), log_emptied }
}
