//! A job as a client writes it in JSON, read so strictly that a misspelt field never orders something else.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::key;
use super::problem::Problem;
use crate::domain::json::{self, StrictError};
use crate::domain::repeat::Asked;
use crate::domain::{NewJob, Timestamp};
use crate::engine::intake::{FieldProblem, Intake, JobRequest, LARGEST_PARAMS};

const FIELDS: &[&str] =
    &["kind", "params", "uid", "account", "dedupe_key", "priority", "not_before", "deadline", "tag"];
/// Escapes and blanks make JSON longer than what is counted; beyond this it is not even parsed.
const LARGEST_RAW_PARAMS: usize = 4 * LARGEST_PARAMS;
/// Fields are looked at up to this many: a job has nine.
const MOST_FIELDS: usize = 64;

/// A job that was not understood.
#[derive(Debug)]
pub struct Unread {
    pub problem: Problem,
    /// What it asks for, where it has a token: it may have been understood before.
    pub asked: Option<Box<Asked>>,
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self { problem, asked: None }
    }
}

/// Reads and checks one job; all problems at once. `key` is the token that the request's header has.
pub fn read(intake: &Intake, text: &[u8], key: Option<&str>) -> Result<NewJob, Unread> {
    let fields: Fields<'_> = serde_json::from_slice(text).map_err(|error| match error.classify() {
        Category::Data => Problem::field("not_an_object", "", format!("a job is a JSON object: {error}")),
        Category::Io | Category::Syntax | Category::Eof => Problem::bad_json(&error),
    })?;
    let mut problems = Vec::new();
    let request = fields.request(key, &mut problems);
    let is_read = problems.is_empty();
    let mut asked = None;
    let understood = request.and_then(|request| match intake.understand(&request) {
        Ok(job) => Some(job),
        Err(found) => {
            asked = request.uid.as_deref().filter(|_| is_read).map(|uid| request.asked(Some(uid)));
            problems.extend(found);
            None
        }
    });
    match understood {
        Some(job) if problems.is_empty() => Ok(job),
        _ => Err(Unread { problem: Problem::fields(problems), asked: asked.map(Box::new) }),
    }
}

/// The known word that is nearest to a misspelt one.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(60).collect();
    let likeness = |known: &str| strsim::jaro_winkler(known, &word);
    known.iter().copied().filter(|known| likeness(known) > 0.75).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// An object whose values are not looked into yet.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if fields.len() < MOST_FIELDS {
                        fields.push((name, value));
                    }
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Collect)
    }
}

impl Fields<'_> {
    /// None when there is nothing that could be checked further.
    fn request(self, key: Option<&str>, problems: &mut Vec<FieldProblem>) -> Option<JobRequest> {
        self.check_names(problems);
        if self.get("kind").is_none() {
            problems.push(FieldProblem::new(
                "missing",
                "/kind",
                "kind is missing: say which, such as \"tronk.report\"",
            ));
        }
        let kind: Option<String> = self.read("kind", "a text such as \"tronk.report\"", problems);
        let kind_given = kind.is_some();
        let params = self.params(problems);
        let uid = key::one(key, self.read("uid", "a text", problems)).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let request = JobRequest {
            kind: kind.unwrap_or_default(),
            params: Value::Null,
            account: self.read("account", "the name of an account", problems),
            dedupe_key: self.read("dedupe_key", "a text", problems),
            priority: self.read("priority", "a whole number from 0 (first) to 9 (last)", problems),
            not_before: self.time("not_before", problems),
            deadline: self.time("deadline", problems),
            tag: self.read("tag", "a text", problems),
            uid,
        };
        // Without these there is nothing that could be checked further.
        let params = params.filter(|_| kind_given)?;
        Some(JobRequest { params, ..request })
    }

    fn check_names(&self, problems: &mut Vec<FieldProblem>) {
        for (index, (name, _)) in self.0.iter().enumerate() {
            let short: String = name.chars().take(60).collect();
            let pointer = format!("/{}", short.replace('~', "~0").replace('/', "~1"));
            if !FIELDS.contains(&name.as_str()) {
                let hint = nearest(name, FIELDS).map_or(".".to_owned(), |near| format!("; did you mean {near:?}?"));
                let message = format!("a job has no field {short:?}{hint} Its fields are {}", FIELDS.join(", "));
                problems.push(FieldProblem::new("unknown_field", &pointer, message));
            } else if self.0[..index].iter().any(|(earlier, _)| earlier == name) {
                problems.push(FieldProblem::new("given_twice", &pointer, format!("{name} is given twice")));
            }
        }
    }

    /// What is null was not given.
    fn get(&self, name: &str) -> Option<&str> {
        let (_, raw) = self.0.iter().find(|(known, _)| known == name)?;
        Some(raw.get()).filter(|text| *text != "null")
    }

    fn read<T: DeserializeOwned>(&self, name: &str, wanted: &str, problems: &mut Vec<FieldProblem>) -> Option<T> {
        let value = serde_json::from_str(self.get(name)?);
        if value.is_err() {
            problems.push(FieldProblem::new("wrong_type", &format!("/{name}"), format!("{name} must be {wanted}")));
        }
        value.ok()
    }

    /// Params that are not given are empty; the driver says what it misses.
    fn params(&self, problems: &mut Vec<FieldProblem>) -> Option<Value> {
        let Some(text) = self.get("params") else { return Some(Value::Object(Default::default())) };
        let problem = if text.len() > LARGEST_RAW_PARAMS {
            FieldProblem::new(
                "params_too_large",
                "/params",
                format!("params are larger than {} KiB", LARGEST_PARAMS >> 10),
            )
        } else {
            match json::strict(text) {
                Ok(params) => return Some(params),
                Err(error @ StrictError::Twice { .. }) => {
                    FieldProblem::new("given_twice", &format!("/params{}", error.pointer()), error.to_string())
                }
                Err(StrictError::Json(error)) => {
                    FieldProblem::new("bad_params", "/params", format!("params cannot be read: {error}"))
                }
            }
        };
        problems.push(problem);
        None
    }

    /// RFC 3339 or Unix milliseconds.
    fn time(&self, name: &str, problems: &mut Vec<FieldProblem>) -> Option<Timestamp> {
        let text = self.get(name)?;
        let at = match serde_json::from_str::<Value>(text) {
            Ok(Value::Number(ms)) => ms.as_i64().filter(|ms| (0..=Timestamp::MAX.as_millis()).contains(ms)),
            Ok(Value::String(text)) => Timestamp::parse_rfc3339(&text).ok().map(Timestamp::as_millis),
            _ => None,
        };
        if at.is_none() {
            let message = format!(
                "{name} must be a time such as \"2027-01-31T12:00:00Z\", or Unix milliseconds such as 1801396800000"
            );
            problems.push(FieldProblem::new("bad_time", &format!("/{name}"), message));
        }
        at.map(Timestamp::from_millis)
    }
}
