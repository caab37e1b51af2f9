//! Bodies of requests: they must keep moving, have a largest size, and share few places in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::Semaphore;
use tokio::time::Sleep;

/// A body beyond this must have one of the few places for large ones before more of it is read.
const SMALL_BODY: usize = 64 << 10;
const LARGE_BODIES: usize = 2;
/// A body that is too large is read on and dropped up to this many times its limit, so that a client that sends first
/// and reads afterwards sees the refusal.
const DRAINED: usize = 4;

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body stopped coming")]
    Stalled,
    #[error("the connection broke off in the middle of the body")]
    Broken,
}

impl BodyError {
    /// What the error of a body's stream was.
    pub fn of(error: axum::Error) -> Self {
        match error.into_inner().downcast::<BodyError>() {
            Ok(error) => *error,
            Err(_) => BodyError::Broken,
        }
    }
}

/// A body that fails when nothing of it comes for a while. The time counts only while somebody reads.
#[derive(Debug)]
pub struct TimedBody {
    body: Incoming,
    limit: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub fn new(body: Incoming, limit: Duration) -> Self {
        Self { body, limit, silence: None }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Broken)));
        }
        let limit = self.limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        silence.as_mut().poll(cx).map(|()| Some(Err(BodyError::Stalled)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The few places for large bodies, which all connections of a listener share.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    places: Arc<Semaphore>,
    /// Bytes of one place; none where a body takes one whatever its size.
    unit: Option<usize>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LARGE_BODIES)), unit: None }
    }
}

/// A whole body; keeps its place among the large ones until it is dropped.
#[derive(Debug)]
pub struct WholeBody {
    pub bytes: Bytes,
    _place: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl BodyBudget {
    /// So many bytes of large bodies at a time: a body takes what it announces, and one that announces nothing its limit.
    pub fn of_bytes(bytes: usize) -> Self {
        const UNIT: usize = 1 << 10;
        Self { places: Arc::new(Semaphore::new(bytes / UNIT)), unit: Some(UNIT) }
    }

    /// Reads a body of at most `limit` bytes within `patience`; waiting for a place does not count.
    pub async fn read(&self, body: Body, limit: usize, patience: Duration) -> Result<WholeBody, BodyError> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut place = None;
        if announced > SMALL_BODY && announced <= limit {
            place = self.place(announced).await;
        }
        let mut frames = body.into_data_stream();
        let mut bytes = BytesMut::with_capacity(if announced > limit { 0 } else { announced });
        let mut end = Box::pin(tokio::time::sleep(patience));
        let mut seen = 0_usize;
        loop {
            let frame = tokio::select! {
                biased;
                frame = frames.next() => frame,
                () = end.as_mut() => return Err(BodyError::Stalled),
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(BodyError::of)?;
            seen = seen.saturating_add(frame.len());
            if seen.max(announced) > limit {
                bytes = BytesMut::new();
                place = None;
                if seen > limit.saturating_mul(DRAINED) {
                    break;
                }
                continue;
            }
            if seen > SMALL_BODY && place.is_none() {
                place = self.place(limit).await;
                end.as_mut().reset(tokio::time::Instant::now() + patience);
            }
            bytes.extend_from_slice(&frame);
        }
        if seen.max(announced) > limit {
            return Err(BodyError::TooLarge(limit));
        }
        Ok(WholeBody { bytes: bytes.freeze(), _place: place })
    }

    async fn place(&self, size: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let places = self.unit.map_or(1, |unit| size.div_ceil(unit));
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_many_owned(u32::try_from(places).ok()?).await.ok()
    }
}
