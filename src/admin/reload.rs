//! Reading the configuration again, by the word of whoever put the daemon together.

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{self, Nothing};
use super::params::Params;
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::who::{Who, audit};
use crate::engine::intake::FieldProblem;

/// Who can read the configuration again.
#[async_trait]
pub trait Reload: Send + Sync + std::fmt::Debug {
    async fn reload(&self) -> Result<Reloaded, ReloadError>;
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reloaded {
    pub changed: Vec<Changed>,
    /// Settings that differ in the file and need a restart; the old ones stay in force.
    pub restart: Vec<String>,
    /// What is allowed but looks unwise.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Changed {
    /// Such as `accounts.tronk` or `retention`.
    pub what: String,
    /// `added`, `changed` or `removed`.
    pub how: &'static str,
    /// Of what was changed: which fields. `credentials` are never shown.
    pub fields: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    #[error("this opros was started without a configuration file: there is nothing to read again")]
    NoFile,
    #[error("the configuration is wrong, and nothing was changed:\n{}", lines(.0))]
    Problems(Vec<ConfigProblem>),
    #[error("the configuration was not taken: {0}")]
    Failed(String),
}

/// One thing that is wrong in the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    pub file: String,
    pub line: Option<usize>,
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let hint = self.hint.as_ref().map(|hint| format!("; did you mean {hint:?}?")).unwrap_or_default();
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        write!(f, "{}{line}: {key}{}{hint}", self.file, self.message)
    }
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ConfigProblem::to_string).collect::<Vec<_>>().join("\n")
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::NoFile => Problem::conflict(error.to_string()),
            ReloadError::Failed(_) => Problem::internal(error.to_string()),
            ReloadError::Problems(found) => {
                // The file is the document here: a key is a path in it.
                let pointer = |key: &str| format!("/{}", key.replace(['.', '['], "/").replace(']', ""));
                let problem = |p: &ConfigProblem| FieldProblem::new("bad_config", &pointer(&p.key), p.to_string());
                Problem::config(found.iter().map(problem).collect())
            }
        }
    }
}

/// Read the configuration file again and go on by it. A wrong one changes nothing.
#[utoipa::path(
    post, path = "/v1/reload", tag = "operation",
    responses(
        (status = 200, description = "What was changed, and what needs a restart", body = Reloaded),
        (status = 409, description = "There is no file to read", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The file is wrong: nothing was changed", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reload(
    State(state): State<AdminState>,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Reloaded>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let reload = state.reload().ok_or(ReloadError::NoFile)?;
    carry_through(async move {
        audit!(who, "the configuration is to be read again");
        let reloaded = reload.reload().await.inspect_err(|error| tracing::warn!("{error}"))?;
        Ok(Json(reloaded))
    })
    .await
}
