//! Pages of jobs. A result may have 16 MiB and a page a thousand jobs: a page is written while it is read.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::params::Params;
use super::problem::Problem;
use super::state::AdminState;
use super::views::{JobPageView, JobView};
use super::words::StateWord;
use crate::domain::JobId;
use crate::domain::repeat::Asked;
use crate::store::{Accepted, JobFilter, JobPage, StoreError};

const FILTERS: &[&str] = &["state", "kind", "account", "tag", "dedupe_key", "uid", "limit", "cursor"];
const USUAL_LIMIT: usize = 100;
/// What a piece of a page should weigh.
const PIECE: usize = 1 << 20;
/// Jobs in the first piece, whose weight nobody knows yet; and the most in any.
const FIRST_JOBS: usize = 20;
const MOST_JOBS: usize = 200;

/// Jobs, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs",
    params(
        ("state" = inline(Option<StateWord>), Query, description = "One of the states"),
        ("kind" = Option<String>, Query, description = "vendor.operation"),
        ("account" = Option<String>, Query, description = "The account's name"),
        ("tag" = Option<String>, Query, description = "The tag"),
        ("dedupe_key" = Option<String>, Query, description = "The key"),
        ("uid" = Option<String>, Query, description = "The client's token: at most one job, the one that it was given for"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 100 unless given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = JobPageView),
        (status = 400, description = "Wrong parameter", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "It was ordered with this uid, and its data are gone", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub async fn list(State(state): State<AdminState>, params: Params) -> Result<Response, Problem> {
    let params = params.only(FILTERS)?;
    let left = params.limit()?.unwrap_or(USUAL_LIMIT);
    let filter = JobFilter {
        state: params.parse("state")?,
        kind: params.text("kind"),
        account: params.text("account"),
        tag: params.text("tag"),
        dedupe_key: params.text("dedupe_key"),
        uid: params.text("uid"),
        before: params.text("cursor").map(|cursor| read_cursor(&cursor)).transpose()?,
        limit: left.min(FIRST_JOBS),
    };
    // The first piece is read before the answer begins: what the store refuses is still a status.
    let page = state.engine().store().jobs(filter.clone()).await?;
    if let Some(uid) = filter.uid.as_deref().filter(|_| page.jobs.is_empty()) {
        // "None" would say that it was never ordered.
        let asked = Asked { uid: Some(uid.to_owned()), ..Asked::default() };
        if let Some(Accepted::Gone(job)) = state.engine().store().known(&[&asked]).await?.remove(uid) {
            return Err(Problem::uid_gone(job));
        }
    }
    let pieces = Pieces { state, filter, left, text: "{\"jobs\":[".to_owned(), page: Some(page) };
    let pieces = stream::try_unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await?;
        Ok::<_, StoreError>(piece.map(|piece| (piece, pieces)))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response())
}

struct Pieces {
    state: AdminState,
    filter: JobFilter,
    /// How many jobs the page still takes.
    left: usize,
    text: String,
    page: Option<JobPage>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(page) = self.page.take() else { return Ok(None) };
        let count = page.jobs.len();
        self.left = self.left.saturating_sub(count);
        for (index, details) in page.jobs.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            let view = JobView::new(self.state.engine(), details);
            // A view is numbers, texts and checked JSON: it can always be written.
            self.text.push_str(&serde_json::to_string(&view).unwrap_or_else(|_| "null".to_owned()));
        }
        let text = std::mem::take(&mut self.text);
        match page.next {
            Some(next) if self.left > 0 => {
                // Jobs of a kind weigh alike: the next piece takes as many as should fit.
                let fit = PIECE * count.max(1) / text.len().max(1);
                self.filter.before = Some(next);
                self.filter.limit = fit.clamp(1, MOST_JOBS).min(self.left);
                let page = self.state.engine().store().jobs(self.filter.clone()).await.inspect_err(|error| {
                    tracing::error!(error = %error, "a page of jobs breaks off: the store did not answer");
                })?;
                self.text = if page.jobs.is_empty() { String::new() } else { ",".to_owned() };
                self.page = Some(page);
                Ok(Some(Bytes::from(text)))
            }
            next => {
                let next = next.map_or("null".to_owned(), |id| format!("\"{}\"", cursor(id)));
                Ok(Some(Bytes::from(format!("{text}],\"next\":{next}}}"))))
            }
        }
    }
}

/// Opaque to clients, so that it may come to mean more than a number.
fn cursor(id: JobId) -> String {
    format!("b{:x}", id.0)
}

/// The job before which a page ends; none where the text is no cursor of ours.
pub fn job_of_cursor(text: &str) -> Option<JobId> {
    let id = text.strip_prefix('b').and_then(|hex| i64::from_str_radix(hex, 16).ok());
    id.filter(|id| *id > 0).map(JobId)
}

fn read_cursor(text: &str) -> Result<JobId, Problem> {
    job_of_cursor(text).ok_or_else(|| {
        Problem::bad_query("cursor", "this cursor is not from here: pass `next` of the page before as it is")
    })
}
