//! Who asks, for the log: every change says by whom it was ordered.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::extract::{Extension, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;

use crate::listener::Peer;
use crate::people;

/// Users that are remembered by name.
const REMEMBERED: usize = 1_024;

/// Names are looked up once: the file is read for the first request of a user.
static NAMES: LazyLock<Mutex<HashMap<u32, Option<String>>>> = LazyLock::new(Mutex::default);

/// What the kernel says of the client of a Unix socket, or where a TCP client called from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub uid: Option<u32>,
    /// None where it lives in another namespace.
    pub pid: Option<i32>,
    pub user: Option<String>,
    pub address: Option<SocketAddr>,
}

impl Who {
    pub fn of(peer: Option<&Peer>) -> Who {
        match peer {
            Some(Peer::Unix { uid, pid, .. }) => {
                Who { uid: Some(*uid), pid: pid.filter(|pid| *pid > 0), user: user_name(*uid), address: None }
            }
            Some(Peer::Tcp(address)) => Who { address: Some(*address), ..Who::default() },
            None => Who::default(),
        }
    }

    /// For the log.
    pub fn address(&self) -> Option<String> {
        self.address.map(|address| address.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let peer = <Extension<Peer> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await;
        Ok(Who::of(peer.ok().flatten().map(|Extension(peer)| peer).as_ref()))
    }
}

fn user_name(uid: u32) -> Option<String> {
    // Every change is whole: a panic elsewhere leaves the names usable.
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if names.len() >= REMEMBERED {
        names.clear();
    }
    names.entry(uid).or_insert_with(|| people::user_name(uid)).clone()
}

/// One line of the log about a change, with who ordered it. No filter keeps it out (`telemetry::AUDIT`).
macro_rules! audit {
    ($who:expr, $($rest:tt)+) => {
        tracing::info!(
            target: "opros::audit",
            uid = $who.uid,
            pid = $who.pid,
            user = $who.user.as_deref(),
            address = $who.address(),
            $($rest)+
        )
    };
}

pub(crate) use audit;
