//! Events as they happen.
//!
//! Nothing is buffered for a reader: the next page is fetched when the connection asks for more. A reader that
//! stands still costs one page, is cut by the listener's write time-out, and resumes from the last number it saw.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Interval;

use super::events::Wish;
use super::pages::{self, Page};
use super::places::Guest;
use super::problem::Problem;
use super::state::AdminState;
use crate::store::{Commit, StoreError};

/// A silent stream says that it lives this often: proxies and clients give up on silence.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    Sse,
    Ndjson,
}

pub fn answer(state: AdminState, guest: Guest, wish: Wish, format: Live) -> Result<Response, Problem> {
    let place = state.places().stream(guest)?;
    let commits = state.engine().store().commits();
    // Both are taken before the answer begins: what is committed after that is on the stream.
    let position = wish.after.unwrap_or_else(|| commits.borrow().last_seq);
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let reader = Reader { state, wish, format, position, left: wish.limit, commits, beat, _place: place };
    let pieces = stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await?;
        reader.beat.reset();
        Some((Ok::<_, Infallible>(piece), reader))
    });
    let kind = match format {
        Live::Sse => "text/event-stream",
        Live::Ndjson => "application/x-ndjson",
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

struct Reader {
    state: AdminState,
    wish: Wish,
    format: Live,
    /// The last number that was looked at.
    position: i64,
    left: Option<usize>,
    commits: watch::Receiver<Commit>,
    beat: Interval,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next piece of the stream; none at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.left == Some(0) || self.state.stop().is_cancelled() {
                return None;
            }
            // Marked as seen before the page is read: a commit during the read wakes the wait below.
            self.commits.mark_unchanged();
            match self.page().await {
                Ok(Page::Gone { oldest }) => {
                    let gap = self.gap("oldest", oldest, oldest - 1);
                    self.position = oldest - 1;
                    return Some(gap.into());
                }
                Ok(Page::Ahead { last }) => {
                    let gap = self.gap("last", last, last);
                    self.position = last;
                    return Some(gap.into());
                }
                Ok(Page::Text { text, last }) => {
                    self.position = last;
                    if !text.is_empty() {
                        return Some(text);
                    }
                }
                Ok(Page::Empty) => {
                    if let Some(ended_or_beat) = self.wait().await {
                        return ended_or_beat;
                    }
                }
                Err(StoreError::Closed) => return None,
                Err(error) => {
                    tracing::error!(error = %error, "a live stream ends: the store did not answer");
                    return None;
                }
            }
        }
    }

    async fn page(&mut self) -> Result<Page, StoreError> {
        let store = self.state.engine().store();
        if self.wish.job.is_none() && self.left.is_none() {
            return self.state.pages().after(store.as_ref(), self.position, self.format).await;
        }
        let (page, count) = pages::of_one(store.as_ref(), self.position, self.format, self.wish.job, self.left).await?;
        self.left = self.left.map(|left| left - count);
        Ok(page)
    }

    /// Until something is committed (none), the stream is to end, or it is time for a sign of life.
    async fn wait(&mut self) -> Option<Option<Bytes>> {
        loop {
            tokio::select! {
                biased;
                () = self.state.stop().cancelled() => return Some(None),
                changed = self.commits.changed() => return changed.is_err().then_some(None),
                _ = self.beat.tick() => match self.format {
                    Live::Sse => return Some(Some(Bytes::from_static(b": opros is here\n\n"))),
                    // NDJSON has no comments, and a local socket needs no sign of life.
                    Live::Ndjson => {}
                },
            }
        }
    }

    /// What was asked for is not there; what is begins or ends with `number`, and the stream goes on after `next`.
    fn gap(&self, what: &str, number: i64, next: i64) -> String {
        let after = self.position;
        match self.format {
            Live::Sse => {
                format!("id: {next}\nevent: gap\ndata: {{\"after\":{after},\"{what}\":{number}}}\n\n")
            }
            Live::Ndjson => format!("{{\"gap\":{{\"after\":{after},\"{what}\":{number}}}}}\n"),
        }
    }
}
