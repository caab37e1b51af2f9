//! What is refused, in words: `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::callbacks::CallbackError;
use crate::callbacks::matcher::AssignError;
use crate::domain::JobId;
use crate::engine::intake::FieldProblem;
use crate::engine::ops::OpError;
use crate::listener::body::BodyError;
use crate::store::StoreError;

/// Problems that are shown of one request; more are no help.
const MOST_ERRORS: usize = 20;

/// An answer that says what is wrong, where, and what to do. Boxed, because every handler returns it beside something small.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Problem(Box<ProblemDetails>);

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProblemDetails {
    /// A stable name: `urn:opros:problem:` and a word.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    /// JSON pointer to the field at fault, from the root of the request or of the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// Every field at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The query parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// Where the JSON breaks off.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The first event that retention has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<i64>,
    /// The newest event that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<i64>,
    /// The job that the uid was given for.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer from the root of the request or of the line.
    pointer: String,
    detail: String,
    /// A stable word for programs.
    code: String,
}

impl Problem {
    fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemDetails {
            kind: format!("urn:opros:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            pointer: None,
            errors: Vec::new(),
            parameter: None,
            line: None,
            column: None,
            oldest: None,
            last: None,
            job: None,
        }))
    }

    fn with(mut self, more: impl FnOnce(&mut ProblemDetails)) -> Self {
        more(&mut self.0);
        self
    }

    pub fn status(&self) -> u16 {
        self.0.status
    }

    pub fn bad_json(error: &serde_json::Error) -> Self {
        let detail = format!("the body is no JSON: {error}");
        Self::new(StatusCode::BAD_REQUEST, "bad-json", "The JSON cannot be read", detail).with(|problem| {
            problem.line = Some(error.line());
            problem.column = Some(error.column());
        })
    }

    pub fn empty_body() -> Self {
        let detail = "the body is empty: send a job such as {\"kind\":\"tronk.report\",\"params\":{…}}";
        Self::new(StatusCode::BAD_REQUEST, "empty-body", "The body is empty", detail)
    }

    pub fn bad_query(parameter: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-query", "A query parameter is wrong", detail)
            .with(|problem| problem.parameter = Some(parameter.chars().take(60).collect()))
    }

    pub fn bad_header(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-header", "A header is wrong", format!("{name}: {detail}"))
    }

    pub fn bad_path(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-path", "The path cannot be read", detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    pub fn wrong_method(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "The path does not know this method", detail)
    }

    pub fn read_only(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "read-only", "You may read here, and change nothing", detail)
    }

    /// The name under which it was asked for is not one of this daemon's.
    pub fn wrong_host(host: &str) -> Self {
        let host: String = host.chars().take(100).collect();
        let detail = format!(
            "the request is addressed to the host {host:?}, which is not a name of this daemon: use an IP address, localhost, or \
             http://opros/ (programs on the socket); or add the name to [admin] hosts"
        );
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", "The host name is not one of opros", detail)
    }

    pub fn cross_site(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross_site", "Refused to a web page", detail)
    }

    pub fn no_token() -> Self {
        let detail = "show the token of admin.token as: Authorization: Bearer TOKEN (opros: --token-file FILE)";
        Self::new(StatusCode::UNAUTHORIZED, "no-token", "A token is needed here", detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "wrong-state", "The state does not allow it", detail)
    }

    /// A token that was given for another order, for that job.
    pub fn uid_reused(first: Option<JobId>) -> Self {
        let detail = match first {
            Some(job) => format!(
                "the uid belongs to job {job}, which was asked for with another kind, other params or another account. \
                 Nothing was ordered; send a new order with a uid of its own"
            ),
            None => "the uid belongs to a mailbox row that was rejected. Nothing was ordered; send the order with a uid of its own"
                .to_owned(),
        };
        Self::uid(StatusCode::CONFLICT, "uid_reused", "The uid belongs to another order", detail, first)
    }

    /// It was ordered before, and there is nothing left to show of it.
    pub fn uid_gone(job: Option<JobId>) -> Self {
        let detail = match job {
            Some(job) => format!(
                "it was ordered with this uid before, as job {job}, whose data retention has removed. Nothing was ordered; if \
                 this is a new order, send it with a uid of its own"
            ),
            None => "it was ordered with this uid before the store was put back from an older copy. Nothing was ordered; ask the \
                     vendor whether it has it, and send a new order with a uid of its own"
                .to_owned(),
        };
        Self::uid(StatusCode::GONE, "uid_gone", "It was ordered before, and its data are gone", detail, job)
    }

    fn uid(status: StatusCode, code: &str, title: &'static str, detail: String, job: Option<JobId>) -> Self {
        Self::new(status, code, title, detail.clone()).with(|problem| {
            problem.pointer = Some("/uid".to_owned());
            problem.errors = vec![FieldError { pointer: "/uid".to_owned(), detail, code: code.to_owned() }];
            problem.job = job.map(|id| id.0);
        })
    }

    pub fn gone(after: i64, oldest: i64) -> Self {
        let detail = format!(
            "retention has removed the events after {after}; the oldest that is left is {oldest}: ask with after={}",
            oldest - 1
        );
        Self::new(StatusCode::GONE, "events-gone", "The events are no longer kept", detail)
            .with(|problem| problem.oldest = Some(oldest))
    }

    pub fn ahead(after: i64, last: i64) -> Self {
        let detail = format!(
            "there was never an event {after}: the newest is {last}. Was the store put back from an older copy? Look at what \
             you have, then go on with after={last}"
        );
        Self::new(StatusCode::CONFLICT, "events-ahead", "You are ahead of the events", detail)
            .with(|problem| problem.last = Some(last))
    }

    pub fn wrong_content_type(found: &str, wanted: &str) -> Self {
        let found: String = found.chars().take(60).collect();
        let detail = format!("the content type {found:?} is not read here; send {wanted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-content-type", "The content type is not read here", detail)
    }

    pub fn fields(found: Vec<FieldProblem>) -> Self {
        let detail = match found.as_slice() {
            [only] => only.message.clone(),
            more => format!("{} fields are wrong; the first: {}", more.len(), more.first().map_or("", |p| &p.message)),
        };
        let title = "The request cannot be understood";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-fields", title, detail).with(|problem| {
            problem.pointer = found.first().map(|first| first.pointer.clone());
            let error = |p: FieldProblem| FieldError { pointer: p.pointer, detail: p.message, code: p.code };
            problem.errors = found.into_iter().take(MOST_ERRORS).map(error).collect();
        })
    }

    /// A configuration file that is wrong.
    pub fn config(found: Vec<FieldProblem>) -> Self {
        let mistakes = if found.len() == 1 { "a mistake".to_owned() } else { format!("{} mistakes", found.len()) };
        let detail = format!("the file has {mistakes}, and nothing was changed");
        Self::fields(found).with(|problem| {
            problem.kind = "urn:opros:problem:bad-config".to_owned();
            problem.title = "The configuration is wrong";
            problem.detail = detail;
        })
    }

    pub fn field(code: &str, pointer: &str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldProblem::new(code, pointer, message)])
    }

    pub fn too_busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", "There is no room at the moment", detail)
    }

    pub fn stopping(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "opros is stopping", detail)
    }

    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "opros made a mistake", detail)
    }

    fn blocked(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-blocked", "Nothing can be stored at the moment", detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "a request on the admin socket could not be served");
        match error {
            StoreError::Full(_)
            | StoreError::Busy(_)
            | StoreError::Replaced(_)
            | StoreError::Io(_)
            | StoreError::Fenced { .. }
            | StoreError::Closed => Problem::blocked(error.to_string()),
            StoreError::Corrupt { .. } | StoreError::Refused(_) | StoreError::Other(_) => {
                Problem::internal(error.to_string())
            }
        }
    }
}

impl From<OpError> for Problem {
    fn from(error: OpError) -> Self {
        match error {
            OpError::NoJob(_) | OpError::NoAccount(_) => Problem::not_found(error.to_string()),
            OpError::Conflict(detail) => Problem::conflict(detail),
            OpError::Problems(found) => Problem::fields(found),
            OpError::Reused(first) => Problem::uid_reused(first),
            OpError::Gone(job) => Problem::uid_gone(job),
            OpError::Store(error) => error.into(),
        }
    }
}

impl From<AssignError> for Problem {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::NoCallback(_) | AssignError::NoJob(_) => Problem::not_found(error.to_string()),
            AssignError::Conflict(detail) => Problem::conflict(detail),
            AssignError::Failed(error) => error.into(),
        }
    }
}

impl From<CallbackError> for Problem {
    fn from(error: CallbackError) -> Self {
        match error {
            CallbackError::Store(error) => error.into(),
            error @ (CallbackError::File(_) | CallbackError::NoBody(_) | CallbackError::Panicked) => {
                tracing::error!(error = %error, "a request on the admin socket could not be served");
                Problem::internal(error.to_string())
            }
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let detail = error.to_string();
        match error {
            BodyError::TooLarge(limit) => {
                let detail = format!("the body is larger than {} KiB; NDJSON has no such limit", limit >> 10);
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
            }
            BodyError::Stalled | BodyError::Slow => {
                Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body stopped coming", detail)
            }
            BodyError::Broken => Self::new(StatusCode::BAD_REQUEST, "cut-off", "The body is not whole", detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], Json(self)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
