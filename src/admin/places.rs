//! Places of what lasts: live streams and exports. Each door and each right has its own, so that who may only read never takes
//! those of who orders, and a hundred watchers leave room for an export.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// By which door and with which right somebody came; set by the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Guest {
    #[default]
    Socket,
    ReadSocket,
    Token,
    ReadToken,
}

impl<S: Send + Sync> FromRequestParts<S> for Guest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// At a time, in the order of [`Guest`]. Streams: at most half of a door's connections, so that watchers never lock operators out; of
/// the TCP door, whose two tokens share its connections, both together.
const STREAMS: [usize; 4] = [128, 128, 64, 64];
const EXPORTS: [usize; 4] = [16, 8, 8, 4];

#[derive(Debug)]
pub struct StreamPlaces {
    streams: [Arc<Semaphore>; 4],
    exports: [Arc<Semaphore>; 4],
}

impl Default for StreamPlaces {
    fn default() -> Self {
        let all = |sizes: [usize; 4]| sizes.map(|size| Arc::new(Semaphore::new(size)));
        Self { streams: all(STREAMS), exports: all(EXPORTS) }
    }
}

impl StreamPlaces {
    /// For a live stream; refused while all are taken.
    pub fn stream(&self, guest: Guest) -> Result<OwnedSemaphorePermit, Problem> {
        take(&self.streams, guest)
            .ok_or_else(|| Problem::too_busy("too many live streams are open: close some, or read pages"))
    }

    /// For an export.
    pub fn export(&self, guest: Guest) -> Result<OwnedSemaphorePermit, Problem> {
        take(&self.exports, guest)
            .ok_or_else(|| Problem::too_busy("too many exports are under way: let one end, or try again"))
    }
}

fn take(places: &[Arc<Semaphore>; 4], guest: Guest) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&places[guest as usize]).try_acquire_owned().ok()
}
