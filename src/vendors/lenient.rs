//! Lenient reading: numbers as text, stray blanks in keys, a BOM, JSON in a string, HTML with 200.
//!
//! Vendors mean well and write what they like. Everything here accepts what was seen in the wild, keeps what it does not
//! know, and never panics.

use std::borrow::Cow;

use chrono::{NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Europe::Moscow;
use serde_json::{Map, Value, json};

use crate::domain::exchange::{Answer, sha256_hex};
use crate::domain::state::Outcome;
use crate::domain::{Reason, Timestamp};

/// How much of an unreadable answer is shown in a reason.
const EXCERPT: usize = 200;
/// The most memory that the values of one answer may take: 16 MiB of `{"":0},` would take more than a gigabyte. What the
/// vendors send stays far below: a list of ten thousand requests takes 20 MiB.
const HEAVIEST: usize = 32 << 20;

/// The JSON in an answer, however it is wrapped; or why there is none.
pub fn json(answer: &Answer) -> Result<Value, Reason> {
    let text = borrowed(&answer.body);
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(Reason::new("empty_answer", format!("HTTP {} with an empty body", answer.status)));
    }
    if trimmed.starts_with('<') {
        return Err(Reason::new(
            "html_answer",
            format!("HTTP {} with a page of HTML where JSON was due: {}", answer.status, excerpt(trimmed)),
        ));
    }
    if weight(trimmed) > HEAVIEST {
        let message = format!("HTTP {}: the JSON holds more values than are read", answer.status);
        return Err(Reason::new("unreadable_answer", message));
    }
    match parse(trimmed) {
        Some(value) => Ok(value),
        None => Err(Reason::new(
            "unreadable_answer",
            format!("HTTP {}: the body is no JSON: {}", answer.status, excerpt(trimmed)),
        )),
    }
}

/// What the values in a text will take in memory, about, without making them.
fn weight(text: &str) -> usize {
    const OBJECT: usize = 640;
    const LIST: usize = 160;
    const VALUE: usize = 64;
    let (mut sum, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        sum = sum.saturating_add(match byte {
            b'"' => {
                in_text = true;
                0
            }
            b'{' => OBJECT,
            b'[' => LIST,
            b',' => VALUE,
            _ => 0,
        });
    }
    sum
}

/// JSON with trimmed keys; JSON inside a JSON string is unwrapped.
pub fn parse(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text.trim().trim_start_matches('\u{feff}').trim()).ok()?;
    match value {
        // A document that is one string may be JSON written twice.
        Value::String(inner) if inner.trim_start().starts_with(['{', '[']) && weight(&inner) <= HEAVIEST => {
            serde_json::from_str(inner.trim()).ok().map(trim_keys)
        }
        other => Some(trim_keys(other)),
    }
}

/// JSON that stands as text in a field, keys as they are; none where its values would take too much memory.
pub fn embedded(text: &str) -> Option<Value> {
    let bare = text.trim().trim_start_matches('\u{feff}').trim();
    if weight(bare) > HEAVIEST { None } else { serde_json::from_str(bare).ok() }
}

/// Bytes as text: a BOM is dropped, invalid UTF-8 is replaced.
pub fn text(body: &[u8]) -> String {
    borrowed(body).into_owned()
}

/// The same without a copy, where it is UTF-8.
pub fn borrowed(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

fn trim_keys(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(key, value)| (key.trim().to_owned(), trim_keys(value))).collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(trim_keys).collect()),
        other => other,
    }
}

/// The beginning of a text on one line, for people.
pub fn excerpt(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT).collect();
    if text.chars().count() > EXCERPT { format!("{line}…") } else { line }
}

/// A field by its name, whatever its case.
pub fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = object.as_object()?;
    fields
        .get(name)
        .or_else(|| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}

/// Text, or a number written as text; blanks around it are dropped and an empty one is none.
pub fn string(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

pub fn string_field(object: &Value, name: &str) -> Option<String> {
    field(object, name).and_then(string)
}

/// A whole number, written as one or as text.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
        }
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

pub fn integer_field(object: &Value, name: &str) -> Option<i64> {
    field(object, name).and_then(integer)
}

/// A decimal, written as a number or as text with a point or a comma.
pub fn decimal(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().replace(',', ".").parse().ok().filter(|f: &f64| f.is_finite()),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `true`, 1, `"1"`, `"true"`; everything else is not true.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64().is_some_and(|n| n != 0.0),
        Value::String(text) => matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The vendors' dates, Moscow time where no zone is given: `dd.MM.yyyy[ H:mm[:ss]]`, `yyyy-MM-dd[ T]HH:mm[:ss[.f]]`,
/// `/Date(ms)/`. Empty, null and .NET's year 1 are no date.
pub fn moscow_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() || text.starts_with("0001-01-01") || text.starts_with("01.01.0001") {
        return None;
    }
    if let Some(ms) = text.strip_prefix("/Date(").and_then(|rest| rest.split([')', '+']).next()) {
        return ms.parse().ok().map(Timestamp::from_millis);
    }
    if let Ok(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    const WITH_TIME: [&str; 6] = [
        "%d.%m.%Y %H:%M:%S",
        "%d.%m.%Y %H:%M",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ];
    const DAY: [&str; 2] = ["%d.%m.%Y", "%Y-%m-%d"];
    let local = WITH_TIME
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| DAY.iter().find_map(|format| NaiveDate::parse_from_str(text, format).ok()?.and_hms_opt(0, 0, 0)))?;
    Moscow.from_local_datetime(&local).earliest().map(|at| Timestamp::from_millis(at.timestamp_millis()))
}

/// SHA-256 over canonical JSON (serde_json sorts the keys of objects).
pub fn fingerprint(value: &Value) -> String {
    sha256_hex(value.to_string().as_bytes())
}

/// Which top-level fields differ: `{"field": {"from": …, "to": …}}`.
pub fn diff(before: Option<&Value>, after: &Value) -> Value {
    let empty = Map::new();
    let old = before.and_then(Value::as_object).unwrap_or(&empty);
    let new = after.as_object().unwrap_or(&empty);
    let mut changes = Map::new();
    for (name, to) in new {
        let from = old.get(name).unwrap_or(&Value::Null);
        if from != to {
            changes.insert(name.clone(), json!({ "from": from, "to": to }));
        }
    }
    for (name, from) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        changes.insert(name.clone(), json!({ "from": from, "to": null }));
    }
    Value::Object(changes)
}

/// Whether a vendor's text contains one of the patterns, without regard to case.
pub fn mentions(text: &str, patterns: &[String]) -> bool {
    let text = text.to_lowercase();
    patterns.iter().any(|pattern| !pattern.trim().is_empty() && text.contains(&pattern.trim().to_lowercase()))
}

/// The outcome of an answer that cannot be read.
pub fn unclear(reason: Reason) -> Outcome {
    Outcome::Unclear { reason }
}

/// Cyrillic letters that look like Latin ones, as people type them, turned into Latin; upper case.
pub fn latin_lookalikes(text: &str) -> String {
    text.trim()
        .to_uppercase()
        .chars()
        .map(|c| match c {
            'А' => 'A',
            'В' => 'B',
            'Е' => 'E',
            'К' => 'K',
            'М' => 'M',
            'Н' => 'H',
            'О' => 'O',
            'Р' => 'P',
            'С' => 'C',
            'Т' => 'T',
            'У' => 'Y',
            'Х' => 'X',
            other => other,
        })
        .collect()
}
