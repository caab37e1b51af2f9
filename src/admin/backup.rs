//! A copy of the store, made and checked while the daemon runs, as a stream: whoever asks writes it with his own rights.

use std::io::Read;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::body::{self, Nothing};
use super::params::Params;
use super::problem::Problem;
use super::state::AdminState;
use super::who::{Who, audit};

/// The SHA-256 of the whole copy, in hex.
pub const HASH: &str = "x-opros-sha256";
const PIECE: usize = 256 << 10;

/// Copy the store. The answer begins when the copy is made and found whole.
#[utoipa::path(
    post, path = "/v1/backup", tag = "operation",
    responses(
        (status = 200, description = "The copy; `x-opros-sha256` is its SHA-256", body = Vec<u8>, content_type = "application/vnd.sqlite3"),
        (status = 500, description = "It could not be made; the detail says why", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Another backup is being made", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn backup(
    State(state): State<AdminState>,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let place = state.backup_place();
    let place = place.ok_or_else(|| Problem::too_busy("a backup is being made already: wait for it"))?;
    let copy = state.engine().store().copy().await?;
    audit!(who, bytes = copy.bytes, "a backup was made and checked, and is handed out");
    let (bytes, sha256) = (copy.bytes, copy.sha256);
    let pieces = stream::try_unfold((copy.file, place), |(mut file, place)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0_u8; PIECE];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            Ok::<_, std::io::Error>((piece, file))
        });
        let (piece, file) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), (file, place))))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.sqlite3"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Ok(hash) = HeaderValue::from_str(&sha256) {
        headers.insert(HASH, hash);
    }
    Ok(response)
}
