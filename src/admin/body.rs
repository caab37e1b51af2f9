//! What kind of body a request has, and the whole of it where it must be whole.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Buf;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::state::AdminState;
use crate::listener::body::WholeBody;

/// The largest JSON body.
const LARGEST_JSON: usize = 16 << 20;
/// The largest body of an operator's move.
const LARGEST_MOVE: usize = 64 << 10;
/// How long a whole body may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Ndjson,
}

/// The format that the content type says. `curl -d` says that it sends a form, and nobody sends forms here: that is JSON.
pub fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    let text = value.to_str().unwrap_or("?");
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "application/json" | "text/json" | "application/x-www-form-urlencoded" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(Format::Ndjson)
        }
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(Format::Json),
        _ => Err(Problem::wrong_content_type(text, "application/json or application/x-ndjson")),
    }
}

/// The whole body of a submission.
pub async fn whole(state: &AdminState, body: Body) -> Result<WholeBody, Problem> {
    let mut body = state.bodies().read(body, LARGEST_JSON, PATIENCE).await?;
    without_mark(&mut body);
    Ok(body)
}

/// Windows' programs begin a file with a mark of its encoding; NDJSON, params and the configuration may, so this may.
fn without_mark(body: &mut WholeBody) {
    if body.bytes.starts_with("\u{feff}".as_bytes()) {
        body.bytes.advance("\u{feff}".len());
    }
}

/// The body of a move that needs none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The body of an operator's move: JSON, or nothing.
pub async fn of_move<T: DeserializeOwned + Default>(
    state: &AdminState,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let mut body = state.bodies().read(body, LARGEST_MOVE, PATIENCE).await?;
    without_mark(&mut body);
    if body.bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    if format(headers)? != Format::Json {
        return Err(Problem::wrong_content_type("application/x-ndjson", "application/json"));
    }
    serde_json::from_slice(&body.bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::field("bad_fields", "", error.to_string()),
        _ => Problem::bad_json(&error),
    })
}
