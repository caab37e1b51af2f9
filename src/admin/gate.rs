//! What stands before the routes where not everybody may do everything: a socket that is for reading alone, and tokens on TCP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Duration, Instant};

use super::places::Guest;
use super::problem::Problem;
use super::who::Who;
use crate::listener::secret::SecretHash;
use crate::meters::AdminMeters;

/// Wrong tokens are worth a line in the log this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Serves what reads; what changes something is refused.
pub fn read_only(router: Router, meters: AdminMeters) -> Router {
    router.layer(middleware::from_fn_with_state(meters, only_reads))
}

async fn only_reads(State(meters): State<AdminMeters>, mut request: Request, next: Next) -> Response {
    if reads(request.method()) {
        request.extensions_mut().insert(Guest::ReadSocket);
        return next.run(request).await;
    }
    meters.refuse("read_only");
    let what = "this socket (admin.read_socket) is for reading alone: changes go over admin.socket, for whose group you need \
        to be a member";
    Problem::read_only(what).into_response()
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// What TCP clients have to know.
#[derive(Debug, Clone)]
pub struct Tokens {
    all: Option<SecretHash>,
    read: Option<SecretHash>,
    meters: AdminMeters,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Tokens {
    /// One for everything, one for reading alone.
    pub fn new(all: Option<&SecretString>, read: Option<&SecretString>, meters: AdminMeters) -> Self {
        let hash = |secret: &SecretString| SecretHash::of(&[secret.expose_secret()]);
        Self { all: all.map(hash), read: read.map(hash), meters, told: Arc::default() }
    }

    /// Lets in who shows a token.
    pub fn guard(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, with_token))
    }

    /// Whether the token is one of these: both are compared, whether one has fitted or not.
    fn right_of(&self, request: &Request) -> Option<Right> {
        let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        let given = SecretHash::of(&[token.trim()]);
        let all = self.all.is_some_and(|all| all.is(&given));
        let read = self.read.is_some_and(|read| read.is(&given));
        match (scheme.eq_ignore_ascii_case("bearer"), all, read) {
            (true, true, _) => Some(Right::All),
            (true, false, true) => Some(Right::Read),
            _ => None,
        }
    }

    fn complain(&self, who: &Who) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(address = who.address(), "a client on admin.listen showed no token, or a wrong one");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    All,
    Read,
}

async fn with_token(State(tokens): State<Tokens>, who: Who, mut request: Request, next: Next) -> Response {
    match tokens.right_of(&request) {
        Some(Right::All) => {
            request.extensions_mut().insert(Guest::Token);
            next.run(request).await
        }
        Some(Right::Read) if reads(request.method()) => {
            request.extensions_mut().insert(Guest::ReadToken);
            next.run(request).await
        }
        Some(Right::Read) => {
            tokens.meters.refuse("read_only");
            Problem::read_only("this token (admin.read_token) is for reading alone: changes need admin.token")
                .into_response()
        }
        None => {
            tokens.complain(&who);
            tokens.meters.refuse("token");
            let mut response = Problem::no_token().into_response();
            let realm = HeaderValue::from_static("Bearer realm=\"opros\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            // What was not read of the body is not read.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}
