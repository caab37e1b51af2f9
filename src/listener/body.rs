//! Bodies of requests: they must keep moving, have a largest size, and share few places in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// A body beyond this must have a place before more of it is read: one of those for medium ones, and beyond the next size one of the
/// few for large ones. What counts is what has come, not what was announced: who sends little holds little.
const SMALL_BODY: usize = 64 << 10;
const MEDIUM_BODY: usize = 1 << 20;
const MEDIUM_BODIES: usize = 8;
const LARGE_BODIES: usize = 2;
/// While others wait for a place, whoever holds one has to send so much in each such time.
const FLOOR: usize = 64 << 10;
const WINDOW: Duration = Duration::from_secs(1);
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
    #[error("the body came too slowly while others waited for its place: send it again, or as NDJSON")]
    Slow,
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
pub struct BodyBudget(Places);

#[derive(Debug, Clone)]
enum Places {
    /// By size: medium ones, large ones.
    Tiers([Tier; 2]),
    /// So many KiB of large bodies at a time.
    Units(Arc<Semaphore>),
}

#[derive(Debug, Clone)]
struct Tier {
    places: Arc<Semaphore>,
    /// Who waits for one.
    waiting: Arc<AtomicUsize>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        let tier = |places| Tier { places: Arc::new(Semaphore::new(places)), waiting: Arc::default() };
        Self(Places::Tiers([tier(MEDIUM_BODIES), tier(LARGE_BODIES)]))
    }
}

/// A whole body; keeps its place among the large ones until it is dropped.
#[derive(Debug)]
pub struct WholeBody {
    pub bytes: Bytes,
    _place: Option<Place>,
}

/// What a body holds of the budget.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    /// Whose places others may wait for.
    tier: Option<Tier>,
    /// Enough for a body of so many bytes.
    enough: usize,
}

/// Counts somebody as waiting for as long as he does.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tier {
    async fn place(&self, enough: usize) -> Option<Place> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { _permit: permit, tier: Some(self.clone()), enough })
    }
}

impl Place {
    fn is_wanted(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.waiting.load(Ordering::Relaxed) > 0)
    }
}

/// A body on its way into memory.
struct Reading<'a> {
    budget: &'a BodyBudget,
    limit: usize,
    announced: usize,
    bytes: BytesMut,
    seen: usize,
    place: Option<Place>,
}

impl Reading<'_> {
    /// Takes a piece. True when a place was waited for.
    async fn take(&mut self, piece: &Bytes) -> bool {
        self.seen = self.seen.saturating_add(piece.len());
        if self.is_too_large() {
            self.bytes = BytesMut::new();
            self.place = None;
            return false;
        }
        let needs = self.seen > SMALL_BODY && self.place.as_ref().is_none_or(|place| self.seen > place.enough);
        if needs {
            // A medium place is kept while a large one is waited for: what is in memory counts somewhere.
            let next = self.budget.place(self.seen, self.limit).await;
            self.place = next.or(self.place.take());
        }
        self.bytes.extend_from_slice(piece);
        needs
    }

    fn is_too_large(&self) -> bool {
        self.seen.max(self.announced) > self.limit
    }

    /// There is nothing more to be seen of a body that is too large.
    fn is_drained(&self) -> bool {
        self.is_too_large() && self.seen > self.limit.saturating_mul(DRAINED)
    }

    fn end(self) -> Result<WholeBody, BodyError> {
        if self.is_too_large() {
            return Err(BodyError::TooLarge(self.limit));
        }
        Ok(WholeBody { bytes: self.bytes.freeze(), _place: self.place })
    }
}

impl BodyBudget {
    /// So many bytes of large bodies at a time: a body takes what it announces, and one that announces nothing its limit.
    pub fn of_bytes(bytes: usize) -> Self {
        Self(Places::Units(Arc::new(Semaphore::new(bytes / UNIT))))
    }

    /// Reads a body of at most `limit` bytes within `patience`; waiting for a place does not count.
    pub async fn read(&self, body: Body, limit: usize, patience: Duration) -> Result<WholeBody, BodyError> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let first = if announced > limit { 0 } else { announced.min(SMALL_BODY) };
        let mut reading =
            Reading { budget: self, limit, announced, bytes: BytesMut::with_capacity(first), seen: 0, place: None };
        if let Places::Units(units) = &self.0
            && announced > SMALL_BODY
            && announced <= limit
        {
            reading.place = units_for(units, announced, limit).await;
        }
        let mut frames = body.into_data_stream();
        let mut end = Box::pin(tokio::time::sleep(patience));
        let mut window = tokio::time::interval(WINDOW);
        let mut lately = 0_usize;
        loop {
            let frame = tokio::select! {
                biased;
                frame = frames.next() => frame,
                _ = window.tick() => {
                    let came = std::mem::take(&mut lately);
                    if came < FLOOR && reading.place.as_ref().is_some_and(Place::is_wanted) {
                        return Err(BodyError::Slow);
                    }
                    continue;
                }
                () = end.as_mut() => return Err(BodyError::Stalled),
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(BodyError::of)?;
            lately += frame.len();
            if reading.take(&frame).await {
                end.as_mut().reset(tokio::time::Instant::now() + patience);
                window.reset();
                lately = 0;
            }
            if reading.is_drained() {
                break;
            }
        }
        reading.end()
    }

    /// For a body that has come to this size.
    async fn place(&self, size: usize, limit: usize) -> Option<Place> {
        match &self.0 {
            Places::Tiers([medium, _]) if size <= MEDIUM_BODY => medium.place(MEDIUM_BODY).await,
            Places::Tiers([_, large]) => large.place(limit).await,
            Places::Units(units) => units_for(units, limit, limit).await,
        }
    }
}

async fn units_for(units: &Arc<Semaphore>, bytes: usize, limit: usize) -> Option<Place> {
    let count = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
    let permit = Arc::clone(units).acquire_many_owned(count).await.ok()?;
    Some(Place { _permit: permit, tier: None, enough: limit })
}

/// Bytes of one unit.
const UNIT: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt, stream};
    use tokio::sync::mpsc;

    use super::*;

    const LIMIT: usize = 16 << 20;
    const PATIENCE: Duration = Duration::from_secs(30);

    fn whole(bytes: usize) -> Body {
        // In pieces, as from a socket, and without an announced length.
        let pieces = (0..bytes.div_ceil(8 << 10)).map(move |at| (8 << 10).min(bytes - (at << 13)));
        Body::from_stream(stream::iter(pieces.map(|size| Ok::<_, Infallible>(Bytes::from(vec![b' '; size])))))
    }

    /// A body that begins so and then waits to be fed.
    fn slow(first: usize) -> (mpsc::UnboundedSender<usize>, Body) {
        let (feed, sizes) = mpsc::unbounded_channel();
        feed.send(first).unwrap();
        let pieces = stream::unfold(sizes, |mut sizes| async move {
            let size: usize = sizes.recv().await?;
            Some((Ok::<_, Infallible>(Bytes::from(vec![b' '; size])), sizes))
        });
        (feed, Body::from_stream(pieces))
    }

    #[tokio::test]
    async fn who_sends_little_holds_no_place_for_large_bodies() {
        let budget = BodyBudget::default();
        let mut slow_ones: Vec<_> = (0..LARGE_BODIES * 2).map(|_| slow(70 << 10)).collect();
        let mut reads: Vec<_> = slow_ones
            .iter_mut()
            .map(|(_, body)| Box::pin(budget.read(std::mem::take(body), LIMIT, PATIENCE)))
            .collect();
        for read in &mut reads {
            assert!(read.as_mut().now_or_never().is_none(), "it waits for the rest");
        }
        let honest = budget.read(whole(4 << 20), LIMIT, PATIENCE).await.unwrap();
        assert_eq!(honest.bytes.len(), 4 << 20);
    }

    #[tokio::test]
    async fn slow_bodies_make_room_for_others_that_wait_and_for_nobody_else() {
        for (slow_size, honest_size, places) in [(70 << 10, 120 << 10, MEDIUM_BODIES), (2 << 20, 3 << 20, LARGE_BODIES)]
        {
            let budget = BodyBudget::default();
            let mut tasks = Vec::new();
            let mut feeds = Vec::new();
            for _ in 0..places {
                let (feed, body) = slow(slow_size);
                feeds.push(feed);
                let budget = budget.clone();
                tasks.push(tokio::spawn(async move { budget.read(body, LIMIT, PATIENCE).await.map(drop) }));
            }
            let tier = |budget: &BodyBudget| match &budget.0 {
                Places::Tiers(tiers) => tiers[usize::from(slow_size > MEDIUM_BODY)].clone(),
                Places::Units(_) => unreachable!("this budget has tiers"),
            };
            while tier(&budget).places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            // While nobody waits they may take their time.
            assert!(tasks.iter().all(|task| !task.is_finished()));
            let begun = std::time::Instant::now();
            let honest = budget.read(whole(honest_size), LIMIT, PATIENCE).await.unwrap();
            assert_eq!(honest.bytes.len(), honest_size);
            assert!(begun.elapsed() < PATIENCE, "the slow ones were waited for");
            drop(feeds);
            let mut slow = 0;
            for task in tasks {
                slow += usize::from(task.await.unwrap() == Err(BodyError::Slow));
            }
            assert!(slow >= 1, "somebody made room");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
        let budget = BodyBudget::default();
        let refused = budget.read(whole(70 << 10), 64 << 10, PATIENCE).await.map(drop);
        assert_eq!(refused, Err(BodyError::TooLarge(64 << 10)));
        let announced = Body::from(vec![b' '; 70 << 10]);
        assert_eq!(budget.read(announced, 1 << 10, PATIENCE).await.map(drop), Err(BodyError::TooLarge(1 << 10)));
    }
}
