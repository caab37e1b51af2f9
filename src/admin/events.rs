//! Facts: a page of them, or all of them as they happen.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::live::{self, Live};
use super::params::Params;
use super::places::Guest;
use super::problem::Problem;
use super::state::AdminState;
use super::views::{EventPageView, EventView};
use crate::domain::JobId;
use crate::store::EventPage;

const USUAL_LIMIT: usize = 100;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Events after this number; none = the page's or the stream's own beginning.
    pub after: Option<i64>,
    pub limit: Option<usize>,
    pub job: Option<JobId>,
}

impl Wish {
    fn read(params: Params, headers: &HeaderMap) -> Result<Self, Problem> {
        let params = params.only(&["after", "limit", "job"])?;
        let after = params.parse::<i64>("after")?;
        if after.is_some_and(|after| after < 0) {
            return Err(Problem::bad_query("after", "after is the number of an event; 0 is before the first"));
        }
        let resumed = match headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?")) {
            None | Some("") => None,
            Some(text) => Some(text.parse::<i64>().ok().filter(|seq| *seq >= 0).ok_or_else(|| {
                Problem::bad_header("Last-Event-ID", "it must be the number that a former event had as its id")
            })?),
        };
        let job = params.parse::<i64>("job")?.map(JobId);
        // A browser that connects again repeats the first address: what it saw last is newer.
        Ok(Self { after: resumed.or(after), limit: params.limit()?, job })
    }
}

/// Events: a JSON page, or live as SSE or NDJSON by `Accept`.
///
/// A page without `after` begins with the oldest event that is kept; a stream begins now. A stream with `limit` ends after
/// so many events.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(
        ("after" = Option<i64>, Query, description = "Events with greater numbers"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; a page has 100 unless given"),
        ("job" = Option<i64>, Query, description = "Events of this job only"),
        ("Last-Event-ID" = Option<String>, Header, description = "Resumes a stream; stronger than `after`"),
    ),
    responses(
        (status = 200, description = "A page, or a stream", content(
            (EventPageView = "application/json"), (EventView = "text/event-stream"), (EventView = "application/x-ndjson"))),
        (status = 400, description = "Wrong parameter", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There was never such an event; `last` is the newest", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "Retention removed what was asked for; `oldest` is left", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many streams", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn events(
    State(state): State<AdminState>,
    guest: Guest,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = Wish::read(params, &headers)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accept = accept.to_ascii_lowercase();
    if accept.contains("text/event-stream") {
        live::answer(state, guest, wish, Live::Sse)
    } else if accept.contains("ndjson") || accept.contains("jsonl") {
        live::answer(state, guest, wish, Live::Ndjson)
    } else {
        Ok(Json(page(&state, wish).await?).into_response())
    }
}

async fn page(state: &AdminState, wish: Wish) -> Result<EventPageView, Problem> {
    let store = state.engine().store();
    let limit = wish.limit.unwrap_or(USUAL_LIMIT);
    let mut after = wish.after.unwrap_or(0);
    loop {
        let (found, newest) = match wish.job {
            Some(job) => {
                let (found, newest) = store.job_events(job, after, limit).await?;
                (found, Some(newest))
            }
            None => (store.events(after, limit).await?, None),
        };
        let events = match found {
            EventPage::Events(events) => events,
            // A page without a beginning begins with what is left.
            EventPage::Gone { oldest } if wish.after.is_none() && after < oldest - 1 => {
                after = oldest - 1;
                continue;
            }
            EventPage::Gone { oldest } => return Err(Problem::gone(after, oldest)),
            EventPage::Ahead { last } => return Err(Problem::ahead(after, last)),
        };
        let whole = events.len() < limit;
        let last = events.last().map_or(after, |event| event.seq);
        // Of one job nothing more has happened until then.
        let next = newest.filter(|_| whole).unwrap_or(last);
        let events = events.into_iter().map(|event| EventView::new(store.instance(), event)).collect();
        return Ok(EventPageView { events, next });
    }
}
