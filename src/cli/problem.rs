//! What opros refuses, in words: `application/problem+json` (RFC 9457).

use std::fmt;

use serde::Deserialize;

use super::text;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub title: Option<String>,
    pub detail: Option<String>,
    /// A JSON pointer to the field at fault.
    pub pointer: Option<String>,
    /// More than one field at fault.
    pub errors: Vec<Problem>,
    /// As opros said it.
    #[serde(skip)]
    pub raw: Option<String>,
}

impl Problem {
    /// Of an answer that is no success; one that is no problem+json is quoted.
    pub fn of(status: u16, body: &str) -> Problem {
        let read = serde_json::from_str::<Problem>(body).ok().filter(|p| p.title.is_some() || p.detail.is_some());
        match read {
            Some(problem) => Problem { raw: Some(body.to_owned()), ..problem },
            None if body.trim().is_empty() => Problem::quoted(format!("opros answered with status {status}")),
            None => Problem::quoted(format!("opros answered with status {status}: {}", text::cut(body.trim(), 200))),
        }
    }

    fn quoted(title: String) -> Problem {
        Problem { title: Some(title), ..Problem::default() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.as_deref().map(text::line);
        let detail = self.detail.as_deref().map(text::line);
        match (title, detail) {
            (Some(title), Some(detail)) if title != detail => write!(f, "{title}: {detail}")?,
            (Some(words), _) | (None, Some(words)) => f.write_str(&words)?,
            (None, None) => f.write_str("refused without a reason")?,
        }
        if let Some(place) = self.pointer.as_deref().map(place).filter(|place| !place.is_empty()) {
            write!(f, " (field {place})")?;
        }
        for more in self.errors.iter().filter(|more| (&more.detail, &more.pointer) != (&self.detail, &self.pointer)) {
            write!(f, "\n  {more}")?;
        }
        Ok(())
    }
}

/// `#/params/wagons/0` as people write it: `params.wagons[0]`.
fn place(pointer: &str) -> String {
    let mut place = String::new();
    for part in pointer.trim_start_matches('#').split('/').skip(1) {
        let part = text::line(&part.replace("~1", "/").replace("~0", "~"));
        if !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()) {
            place.push_str(&format!("[{part}]"));
        } else {
            place.push_str(if place.is_empty() { "" } else { "." });
            place.push_str(&part);
        }
    }
    place
}
