//! Files that came with a job's result.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::stream;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use super::jobs::view;
use super::params::{FilePath, JobPath, Params};
use super::problem::Problem;
use super::state::AdminState;
use crate::store::callbacks::JobFile;

/// What is read of a file at a time.
const PIECE: usize = 64 << 10;

/// A file of a job's.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileView {
    name: String,
    /// As the sender says.
    content_type: Option<String>,
    size: u64,
    sha256: String,
}

impl From<JobFile> for FileView {
    fn from(file: JobFile) -> Self {
        Self { name: file.name, content_type: file.content_type, size: file.size, sha256: file.sha256 }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FilesView {
    files: Vec<FileView>,
}

/// A job's files, by name.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/files", tag = "jobs", params(("id" = i64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "The files", body = FilesView),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<AdminState>,
    JobPath(id): JobPath,
    params: Params,
) -> Result<Json<FilesView>, Problem> {
    params.only(&[])?;
    let files = state.engine().store().job_files(id).await?;
    if files.is_empty() {
        view(&state, id).await?;
    }
    Ok(Json(FilesView { files: files.into_iter().map(FileView::from).collect() }))
}

/// A file as it came. It is a stranger's: it is never shown in place, whatever it says of itself.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/files/{name}", tag = "jobs",
    params(
        ("id" = i64, Path, description = "The job's number", example = 1),
        ("name" = String, Path, description = "The file's name, as the result has it", example = "report.html"),
    ),
    responses(
        (status = 200, description = "The file, of the type that its sender gave it", body = Vec<u8>, content_type = "*/*"),
        (status = 404, description = "No such file", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn fetch(
    State(state): State<AdminState>,
    FilePath(id, name): FilePath,
    params: Params,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let found = state.callbacks()?.open_file(id, &name).await?;
    let Some((file, opened)) = found else {
        let name: String = name.chars().take(60).collect();
        return Err(Problem::not_found(format!("job {id} has no file {name:?}; see /v1/jobs/{id}/files")));
    };
    let body = stream::try_unfold(tokio::fs::File::from_std(opened), |mut opened| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = opened.read_buf(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), opened)))
    });
    Ok((headers(&file), Body::from_stream(body)).into_response())
}

fn headers(file: &JobFile) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = file.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok());
    headers.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Ok(value) = HeaderValue::from_str(&disposition(&file.name)) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    headers
}

/// RFC 6266: an ASCII name for old clients, and the true one escaped byte by byte.
fn disposition(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | '(' | ')');
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let is_attr = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
    let escaped: String = name
        .bytes()
        .map(|byte| if is_attr(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{escaped}")
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn a_name_never_leaves_its_quotes() {
        assert_eq!(disposition("a b.pdf"), "attachment; filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
        let hostile = disposition("x\"; filename=evil.exe\r\nSet-Cookie: я.pdf");
        assert_eq!(hostile.matches('"').count(), 2);
        assert!(hostile.is_ascii() && !hostile.contains(['\r', '\n']), "{hostile}");
        assert!(disposition("Отчёт.pdf").ends_with("''%D0%9E%D1%82%D1%87%D1%91%D1%82.pdf"));
    }
}
