//! The listener's one address: `POST /callbacks/{account}/{secret}`.
//!
//! Whoever does not know the secret learns nothing, takes no memory and leaves no row. Whoever does gets 200 only after
//! what he sent survives a power cut.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use secrecy::{ExposeSecret, SecretString};

use super::keep::Arrival;
use super::parse::Limits;
use super::rate::Rate;
use super::{Callbacks, forwarded};
use crate::clock::SharedClock;
use crate::crash;
use crate::listener::Peer;
use crate::listener::body::{BodyBudget, BodyError};
use crate::listener::secret::SecretHash;
use crate::store::callbacks::Kept;

/// Bytes of large bodies that are held at a time: one of the largest, and some smaller ones.
const HELD_AT_ONCE: usize = 48 << 20;
/// How long a whole body may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one account's vendor may send: people answer there, so this is a hundred times what comes on a busy day.
const VENDOR: (u32, u32) = (1_000, 2_000);
/// What strangers may try, by address, before they are told to wait.
const GUESSES: (u32, u32) = (10, 1_000);
const MOST_GUESSERS: usize = 1_024;
/// And how often they are worth a line in the log.
const LINES: (u32, u32) = (1, 10);
/// Longer ones are no secrets of anybody's.
const LONGEST_SEGMENT: usize = 512;
const LONGEST_CONTENT_TYPE: usize = 300;

/// An account whose vendor calls back.
#[derive(Debug)]
pub struct Account {
    pub name: String,
    pub secret: SecretString,
}

#[derive(Debug, Clone)]
struct Door {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    callbacks: Callbacks,
    clock: SharedClock,
    keys: Keys,
    trusted: Vec<IpAddr>,
    budget: BodyBudget,
    vendors: Rate<String>,
    guesses: Rate<IpAddr>,
    lines: Rate<()>,
}

/// What opens the door for an account, as a hash.
#[derive(Debug)]
struct Key {
    account: String,
    hash: SecretHash,
}

/// The keys of all accounts; a reload changes them.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<RwLock<Vec<Key>>>);

impl Keys {
    pub fn set(&self, accounts: Vec<Account>) {
        let key = |account: Account| Key {
            hash: SecretHash::of(&[&account.name, account.secret.expose_secret()]),
            account: account.name,
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts.into_iter().map(key).collect();
    }
}

/// What the call-back listener serves.
pub fn router(callbacks: Callbacks, clock: SharedClock, keys: Keys, trusted: Vec<IpAddr>) -> Router {
    let inner = Inner {
        callbacks,
        clock,
        keys,
        trusted,
        budget: BodyBudget::of_bytes(HELD_AT_ONCE),
        vendors: Rate::new(VENDOR.0, VENDOR.1, usize::MAX),
        guesses: Rate::new(GUESSES.0, GUESSES.1, MOST_GUESSERS),
        lines: Rate::new(LINES.0, LINES.1, 1),
    };
    Router::new()
        .route("/callbacks/{account}/{secret}", post(receive))
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || not_found())
        .with_state(Door { inner: Arc::new(inner) })
}

fn answer(status: StatusCode, body: &'static str) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if !status.is_success() {
        // What was not read of the body is not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn not_found() -> Response {
    answer(StatusCode::NOT_FOUND, "{\"error\":\"not found\"}")
}

fn too_many() -> Response {
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, "{\"error\":\"too many requests\"}");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

async fn receive(
    State(door): State<Door>,
    Path((account, secret)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let client = door.client(peer.as_deref(), &headers);
    let Some(account) = door.opens(&account, &secret) else { return door.refuse(client) };
    if !door.inner.vendors.take(&account, door.inner.clock.now()) {
        door.complain(&account, client, "more call-backs than any vendor sends: 429");
        door.inner.callbacks.meters().count(&account, "too_many");
        return too_many();
    }
    let content_type = content_type(&headers);
    let is_form = content_type.as_deref().is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let limit = if is_form { Limits::DEFAULT.text } else { Limits::DEFAULT.body };
    let whole = match door.inner.budget.read(body, limit, PATIENCE).await {
        Ok(whole) => whole,
        Err(error) => {
            door.complain(&account, client, &error.to_string());
            let (outcome, answer) = match error {
                BodyError::TooLarge(_) => {
                    ("too_large", answer(StatusCode::PAYLOAD_TOO_LARGE, "{\"error\":\"too large\"}"))
                }
                BodyError::Stalled | BodyError::Slow => {
                    ("too_slow", answer(StatusCode::REQUEST_TIMEOUT, "{\"error\":\"too slow\"}"))
                }
                BodyError::Broken => ("cut_off", answer(StatusCode::BAD_REQUEST, "{\"error\":\"the body broke off\"}")),
            };
            door.inner.callbacks.meters().count(&account, outcome);
            return answer;
        }
    };
    crash::point("callback.body_read");
    let arrival = Arrival { account, peer: client.to_string(), content_type, body: whole.bytes.clone() };
    // In a task of its own: hyper drops a handler when its client leaves, and what was begun must end. It keeps the
    // body's place in memory.
    let work = async move {
        let status = door.keep(arrival).await;
        drop(whole);
        status
    };
    let done = tokio::spawn(crash::watched("callbacks.keep", work)).await;
    crash::point("callback.before_answer");
    match done {
        Ok(Some(_)) => answer(StatusCode::OK, "{\"ok\":true}"),
        Ok(None) | Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, "{\"error\":\"not stored, send it again\"}"),
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.chars().take(LONGEST_CONTENT_TYPE).collect())
}

impl Door {
    fn client(&self, peer: Option<&Peer>, headers: &HeaderMap) -> IpAddr {
        match peer {
            Some(Peer::Tcp(address)) => forwarded::client(address.ip(), headers, &self.inner.trusted),
            Some(Peer::Unix { .. }) | None => IpAddr::from([0, 0, 0, 0]),
        }
    }

    /// The account, when the secret is its own. Every key is compared, whether one has fitted or not.
    fn opens(&self, account: &str, secret: &str) -> Option<String> {
        let short = account.len() <= LONGEST_SEGMENT && secret.len() <= LONGEST_SEGMENT;
        let given = if short { SecretHash::of(&[account, secret]) } else { SecretHash::of(&[]) };
        let keys = self.inner.keys.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut fits = None;
        for key in keys.iter() {
            if key.hash.is(&given) {
                fits = Some(key);
            }
        }
        fits.map(|key| key.account.clone())
    }

    fn refuse(&self, client: IpAddr) -> Response {
        self.inner.callbacks.meters().refused.inc();
        let now = self.inner.clock.now();
        if self.inner.lines.take(&(), now) {
            tracing::warn!(%client, "a call-back with a wrong account or secret was refused");
        }
        if self.inner.guesses.take(&client, now) { not_found() } else { too_many() }
    }

    fn complain(&self, account: &str, client: IpAddr, what: &str) {
        if self.inner.lines.take(&(), self.inner.clock.now()) {
            tracing::warn!(account, %client, what, "a call-back was not taken");
        }
    }

    async fn keep(&self, arrival: Arrival) -> Option<Kept> {
        let (account, client, bytes) = (arrival.account.clone(), arrival.peer.clone(), arrival.body.len());
        match self.inner.callbacks.keep(arrival).await {
            Ok(kept) => {
                let (id, repeated) = match kept {
                    Kept::New(id) => (id, false),
                    Kept::Repeated(id) => (id, true),
                };
                self.inner.callbacks.meters().count(&account, if repeated { "repeated" } else { "stored" });
                tracing::debug!(callback = id, account, client, bytes, repeated, "a call-back is stored");
                Some(kept)
            }
            Err(error) => {
                self.inner.callbacks.meters().count(&account, "not_stored");
                tracing::error!(account, client, bytes, error = %error, "a call-back could not be stored; the vendor was told 503");
                None
            }
        }
    }
}
