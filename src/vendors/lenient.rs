//! Lenient reading: numbers as text, stray blanks in keys, a BOM, JSON in a string, HTML with 200.
//!
//! Vendors mean well and write what they like. Everything here accepts what was seen in the wild, keeps what it does not
//! know, and never panics.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Europe::Moscow;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::nearly::{Long, has_long_numbers, mended};
use super::salvage::{self, Last};
use crate::domain::charset;
use crate::domain::exchange::{Answer, sha256_hex};
use crate::domain::state::Outcome;
use crate::domain::{Reason, Timestamp};

/// How much of an unreadable answer is shown in a reason.
const EXCERPT: usize = 200;
/// The most memory that the values of one answer may take: 16 MiB of `{"":0},` would take more than a gigabyte. What the
/// vendors send stays far below: a list of ten thousand requests takes 20 MiB.
const HEAVIEST: usize = 32 << 20;

/// An answer as text, in its own charset.
pub fn answer_text(answer: &Answer) -> Cow<'_, str> {
    charset::decode(&answer.body, answer.content_type.as_deref()).text
}

/// The JSON in an answer, however it is wrapped; or why there is none.
pub fn json(answer: &Answer) -> Result<Value, Reason> {
    read_json(answer, parse)
}

/// The same of an answer that is, or has, a list of records: one that cannot be read stands there as a text, and hides
/// none of the others.
pub fn json_of_records(answer: &Answer, last: Last) -> Result<Value, Reason> {
    read_json(answer, |text| parse_records(text, last))
}

fn read_json(answer: &Answer, parse: impl Fn(&str) -> Option<Value>) -> Result<Value, Reason> {
    let read = charset::decode(&answer.body, answer.content_type.as_deref());
    let trimmed = read.text.trim();
    let refused = |code: &str, what: &str| {
        let charset = if read.guessed { format!(" (read as {})", read.charset) } else { String::new() };
        Reason::new(code, format!("HTTP {}{charset}{what}: {}", answer.status, excerpt(trimmed)))
    };
    if trimmed.is_empty() {
        return Err(Reason::new("empty_answer", format!("HTTP {} with an empty body", answer.status)));
    }
    if trimmed.starts_with('<') {
        return Err(refused("html_answer", " with a page of HTML where JSON was due"));
    }
    if weight(trimmed) > HEAVIEST {
        let message = format!("HTTP {}: the JSON holds more values than are read", answer.status);
        return Err(Reason::new("unreadable_answer", message));
    }
    parse(trimmed).ok_or_else(|| refused("unreadable_answer", ": the body is no JSON"))
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

/// JSON, or nearly, with trimmed keys; JSON inside a JSON string is unwrapped.
pub fn parse(text: &str) -> Option<Value> {
    match document(text)? {
        // A document that is one string may be JSON written twice.
        Value::String(inner) if inner.trim_start().starts_with(['{', '[']) => document(&inner).map(trim_keys),
        other => Some(trim_keys(other)),
    }
}

/// The same of a list of records, of which some may be broken.
pub fn parse_records(text: &str, last: Last) -> Option<Value> {
    parse(text).or_else(|| salvage::apart(text, last))
}

/// JSON, or nearly, that stands as text in a field, keys as they are; none where its values would take too much memory.
pub fn embedded(text: &str) -> Option<Value> {
    document(text)
}

/// A document as it is written: numbers with all their digits, blanks as they are. None where it cannot be read.
pub fn as_written(text: &str) -> Option<Box<RawValue>> {
    let bare = bare(text);
    // What is passed on must be readable to others, too: they go no deeper than serde_json does.
    let readable = |text: &str| weight(text) <= HEAVIEST && serde_json::from_str::<Skimmed>(text).is_ok();
    if readable(bare) {
        return RawValue::from_string(bare.to_owned()).ok();
    }
    // Once more with what cannot be a number as text: 1e400 is JSON, and hardly anybody reads it.
    let mut tries = [Long::Number, Long::Text].into_iter().filter_map(|long| mended(bare, long));
    tries.find(|mended| readable(mended)).and_then(|mended| RawValue::from_string(mended).ok())
}

/// A document that could be read, and is not kept: a large one would be in memory once more.
struct Skimmed;

impl<'de> Deserialize<'de> for Skimmed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Not `IgnoredAny`, which goes as deep as a document does.
        from.deserialize_any(Skimmed)
    }
}

impl<'de> Visitor<'de> for Skimmed {
    type Value = Skimmed;

    fn expecting(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        form.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Skimmed, E> {
        Ok(Skimmed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Skimmed, E> {
        Ok(Skimmed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Skimmed, E> {
        Ok(Skimmed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Skimmed, E> {
        Ok(Skimmed)
    }

    fn visit_str<E>(self, _: &str) -> Result<Skimmed, E> {
        Ok(Skimmed)
    }

    fn visit_unit<E>(self) -> Result<Skimmed, E> {
        Ok(Skimmed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Skimmed, A::Error> {
        while items.next_element::<Skimmed>()?.is_some() {}
        Ok(Skimmed)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Skimmed, A::Error> {
        while members.next_entry::<Skimmed, Skimmed>()?.is_some() {}
        Ok(Skimmed)
    }
}

/// A member of a document, as it is written; JSON that stands in it as text is unwrapped.
pub fn member_as_written(text: &str, name: &str) -> Option<Box<RawValue>> {
    let document = unwrapped(as_written(text)?)?;
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(document.get()).ok()?;
    let found = fields.iter().find(|(key, _)| key.trim() == name);
    let (_, value) = found.or_else(|| fields.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)))?;
    unwrapped((*value).to_owned())
}

/// What stands in a text that is JSON; any other text stays one, and null is nothing.
fn unwrapped(value: Box<RawValue>) -> Option<Box<RawValue>> {
    match value.get() {
        "null" => None,
        text if text.starts_with('"') => {
            let inner: String = serde_json::from_str(text).ok()?;
            as_written(&inner).or(Some(value))
        }
        _ => Some(value),
    }
}

fn bare(text: &str) -> &str {
    text.trim().trim_start_matches('\u{feff}').trim()
}

/// Strictly first; mended where that fails, or would cut numbers short.
fn document(text: &str) -> Option<Value> {
    let bare = bare(text);
    if weight(bare) > HEAVIEST {
        return None;
    }
    let strict = || serde_json::from_str(bare).ok();
    let nearly = || {
        let mended = mended(bare, Long::Text)?;
        // Quotes that were not escaped may have hidden values from the first weighing.
        if weight(&mended) > HEAVIEST { None } else { serde_json::from_str(&mended).ok() }
    };
    if has_long_numbers(bare) { nearly().or_else(strict) } else { strict().or_else(nearly) }
}

/// A list, however it is written: PHP makes an object of one whose numbers have holes. None of anything else.
pub fn list(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Array(items) => Some(items.iter().collect()),
        Value::Object(fields) => {
            let is_list = !fields.is_empty() && fields.keys().all(|key| index(key).is_some());
            is_list.then(|| numbered(fields).into_iter().map(|(_, item)| item).collect())
        }
        _ => None,
    }
}

/// The members of an object whose names are numbers, in the order of these.
pub fn numbered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut found: Vec<_> = fields.iter().filter_map(|(key, value)| Some((index(key)?, (key, value)))).collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, member)| member).collect()
}

/// 0, 1, 2 as PHP writes them: no zeros in front.
fn index(key: &str) -> Option<u32> {
    key.parse().ok().filter(|index: &u32| index.to_string() == key)
}

/// Bytes of no declared charset as text: a BOM is dropped, and no byte is lost.
pub fn text(body: &[u8]) -> String {
    charset::decode(body, None).text.into_owned()
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
