//! The places of a listener's connections. When all are taken, whoever has been silent longest makes room: connections that
//! nobody uses must not keep others out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::meters::ListenerMeters;

#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    guests: Mutex<Guests>,
    /// A place became free, or somebody silent.
    changed: Notify,
    meters: ListenerMeters,
}

#[derive(Debug, Default)]
struct Guests {
    /// Counts up at everything that happens: who has the smallest was heard least recently.
    turn: u64,
    /// By number.
    all: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    /// Requests that are not answered to the end.
    busy: usize,
    since: u64,
    /// An answer that was made is still to be written.
    stuck: Arc<AtomicBool>,
    leave: CancellationToken,
}

impl Guest {
    fn is_silent(&self) -> bool {
        self.busy == 0 && !self.stuck.load(Ordering::Relaxed)
    }
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    /// Set by whoever writes to the peer, while the peer does not read.
    pub stuck: Arc<AtomicBool>,
    /// It is to make room.
    pub leave: CancellationToken,
}

/// Held while a request is answered.
#[derive(Debug)]
struct Busy(Arc<Place>);

impl Places {
    pub fn new(most: usize, meters: ListenerMeters) -> Self {
        Self(Arc::new(Inner { most, guests: Mutex::default(), changed: Notify::new(), meters }))
    }

    /// Waits for a place; has the longest silent connection make room for it.
    pub async fn take(&self) -> Place {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if let Some(place) = self.try_take() {
                return place;
            }
            changed.await;
        }
    }

    fn try_take(&self) -> Option<Place> {
        let mut guests = self.guests();
        if guests.all.len() >= self.0.most {
            // One at a time: it is gone in a moment.
            let leaving = guests.all.values().any(|guest| guest.leave.is_cancelled() && guest.is_silent());
            let silent = guests.all.values().filter(|guest| guest.is_silent()).min_by_key(|guest| guest.since);
            if let Some(guest) = silent.filter(|_| !leaving) {
                guest.leave.cancel();
                self.0.meters.made_room.inc();
            }
            return None;
        }
        guests.turn += 1;
        let (number, leave, stuck) = (guests.turn, CancellationToken::new(), Arc::<AtomicBool>::default());
        guests.all.insert(number, Guest { busy: 0, since: number, stuck: Arc::clone(&stuck), leave: leave.clone() });
        self.0.meters.connections.set(guests.all.len() as i64);
        Some(Place { places: self.clone(), number, stuck, leave })
    }

    /// Every change is whole: a panic elsewhere leaves the places usable.
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, number: u64, change: impl FnOnce(&mut Guest)) {
        let mut guests = self.guests();
        guests.turn += 1;
        let turn = guests.turn;
        if let Some(guest) = guests.all.get_mut(&number) {
            guest.since = turn;
            change(guest);
        }
    }
}

impl Place {
    pub fn is_silent(&self) -> bool {
        self.places.guests().all.get(&self.number).is_none_or(Guest::is_silent)
    }

    /// A request came: the connection is busy until its answer was taken to the end, or let go.
    pub fn begin(self: &Arc<Self>) -> impl FnOnce(Body) -> Body + use<> {
        self.places.note(self.number, |guest| guest.busy += 1);
        let busy = Busy(Arc::clone(self));
        move |body| Body::new(Answering { body, _busy: busy })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.places.note(self.0.number, |guest| guest.busy -= 1);
        self.0.places.0.changed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.places.guests();
        guests.all.remove(&self.number);
        self.places.0.meters.connections.set(guests.all.len() as i64);
        drop(guests);
        self.places.0.changed.notify_waiters();
    }
}

/// An answer's body that keeps its connection busy.
#[derive(Debug)]
struct Answering {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
