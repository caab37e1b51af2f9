//! What stands in a path or behind its question mark, read strictly: a misspelt filter would show the wrong jobs.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::problem::Problem;
use super::request::nearest;
use crate::domain::JobId;

/// The number of a job in the path.
#[derive(Debug, Clone, Copy)]
pub struct JobPath(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path(parts, state).await?;
        let missing = || Problem::not_found(format!("there is no job {:?}", clip(&text)));
        number(&text).map(|id| JobPath(JobId(id))).ok_or_else(missing)
    }
}

/// `+7` and `007` are no spellings of a number here: one thing, one address.
fn number(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|id| *id > 0 && id.to_string() == text)
}

/// The number of a call-back in the path.
#[derive(Debug, Clone, Copy)]
pub struct CallbackPath(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for CallbackPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path(parts, state).await?;
        let missing = || Problem::not_found(format!("there is no call-back {:?}", clip(&text)));
        number(&text).map(CallbackPath).ok_or_else(missing)
    }
}

/// The number of a job and the name of one of its files in the path.
#[derive(Debug, Clone)]
pub struct FilePath(pub JobId, pub String);

impl<S: Send + Sync> FromRequestParts<S> for FilePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((id, name)) = path.map_err(|rejection| Problem::bad_path(rejection.body_text()))?;
        let missing = || Problem::not_found(format!("there is no job {:?}", clip(&id)));
        Ok(FilePath(number(&id).map(JobId).ok_or_else(missing)?, name))
    }
}

/// The name of a webhook or a command in the path.
#[derive(Debug, Clone)]
pub struct SinkPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for SinkPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path(parts, state).await.map(SinkPath)
    }
}

/// A word in the path that says what is meant.
#[derive(Debug, Clone)]
pub struct WordPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for WordPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path(parts, state).await.map(WordPath)
    }
}

/// The name of an account in the path.
#[derive(Debug, Clone)]
pub struct AccountPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for AccountPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path(parts, state).await.map(AccountPath)
    }
}

async fn path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text).map_err(|rejection| Problem::bad_path(rejection.body_text()))
}

/// The query's parameters.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query.map(|Query(pairs)| Params(pairs)).map_err(|rejection| Problem::bad_query("", rejection.body_text()))
    }
}

impl Params {
    /// Refuses parameters that this path does not know, and those that are given twice.
    pub fn only(self, known: &[&str]) -> Result<Self, Problem> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let hint = nearest(name, known).map_or(".".to_owned(), |near| format!("; did you mean {near:?}?"));
                let detail = match known {
                    [] => format!("no query parameter is known here, {:?} neither", clip(name)),
                    known => format!(
                        "no query parameter is called {:?} here{hint} Known are {}",
                        clip(name),
                        known.join(", ")
                    ),
                };
                return Err(Problem::bad_query(name, detail));
            }
            if self.0[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad_query(name, format!("{name} is given twice")));
            }
        }
        Ok(self)
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub fn parse<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Problem::bad_query(name, format!("{name}={:?}: {error}", clip(&text))))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.parse(name)
    }

    /// From 1 to 1000.
    pub fn limit(&self) -> Result<Option<usize>, Problem> {
        let limit = self.parse::<usize>("limit")?;
        match limit {
            Some(limit) if !(1..=1000).contains(&limit) => {
                Err(Problem::bad_query("limit", format!("limit is a number from 1 to 1000, not {limit}")))
            }
            limit => Ok(limit),
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}
