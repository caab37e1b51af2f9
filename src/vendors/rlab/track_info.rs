//! What `gettrackinfo` says of a track.

use std::collections::HashMap;
use std::io::Write;

use serde_json::{Map, Value, json};

use super::status::meaning;
use super::wire::{Data, Reply, ResultState, is_echo};
use crate::domain::exchange::sha256_hex;
use crate::domain::{Reason, Timestamp};
use crate::vendors::lenient;

/// The items of an answer by their number: the vendor's order means nothing.
#[derive(Debug)]
pub struct Items<'a> {
    by_track: HashMap<String, &'a Value>,
    /// Every item could be read, so that a poll may count who is missing.
    pub readable: bool,
    /// Records that cannot be read, as they came.
    pub broken: Vec<&'a str>,
    /// And there was a list, and the vendor did not speak of a part: who is missing is really missing. Paid requests are repeated on this.
    pub complete: bool,
}

/// How numbers are compared: without regard to blanks around them and case.
pub fn same(track: &str) -> String {
    track.trim().to_uppercase()
}

impl<'a> Items<'a> {
    pub fn of(reply: &'a Reply) -> Result<Items<'a>, Reason> {
        let (list, listed): (Vec<&Value>, bool) = match reply.data() {
            // No list is not an empty one: a poll may miss its track in it, but a paid request is not repeated on it.
            Data::Null => (Vec::new(), false),
            Data::Value(Value::Object(fields)) if fields.is_empty() => (Vec::new(), false),
            Data::Value(data @ (Value::Array(_) | Value::Object(_))) => {
                (lenient::list(data).unwrap_or_else(|| vec![data]), true)
            }
            Data::Missing | Data::Value(_) => {
                return Err(Reason::new(
                    "wrong_shape",
                    format!("R-Lab's answer has no list of tracks: {}", lenient::excerpt(&reply.whole.to_string())),
                ));
            }
        };
        let by_track = HashMap::with_capacity(list.len());
        let mut items = Items { by_track, readable: reply.ok, broken: Vec::new(), complete: false };
        for item in list {
            match lenient::string_field(item, "trackNumber") {
                Some(track) => items.keep(same(&track), item),
                None => items.readable = false,
            }
            items.broken.extend(item.as_str().filter(|text| text.starts_with('{')));
        }
        items.complete = listed && items.readable && reply.state == ResultState::Done;
        Ok(items)
    }

    /// Of two items with one number the one that the vendor updated last counts, whatever their order.
    fn keep(&mut self, track: String, item: &'a Value) {
        let updated =
            |item: &Value| lenient::string_field(item, "trackUpdateDate").and_then(|text| lenient::moscow_time(&text));
        match self.by_track.get(&track) {
            Some(old) if updated(old) >= updated(item) => {}
            _ => {
                self.by_track.insert(track, item);
            }
        }
    }

    /// The record that speaks of this track and cannot be read.
    pub fn broken(&self, track: &str) -> Option<&'a str> {
        self.broken.iter().copied().find(|text| same(text).contains(&same(track)))
    }

    pub fn get(&self, track: &str) -> Option<&'a Value> {
        self.by_track.get(&same(track)).copied()
    }
}

/// One track as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    pub status: Option<i64>,
    pub data: Value,
    pub fingerprint: String,
}

/// Reads an item: the status with its meaning, the info as it is and taken apart, every date in RFC 3339 beside the
/// original, and whatever else the vendor says under the vendor's names.
pub fn sight(track: &str, item: &Value) -> Sight {
    let status = lenient::integer_field(item, "trackMainStatus");
    let (word, words) = meaning(status);
    let mut data = Map::new();
    for (name, value) in item.as_object().into_iter().flatten() {
        let known = ["trackNumber", "trackInfo"].iter().any(|known| known.eq_ignore_ascii_case(name))
            || (status.is_some() && name.eq_ignore_ascii_case("trackMainStatus"));
        if known || is_echo(name) {
            continue;
        }
        if let Some(plain) = date_name(name) {
            let at = value.as_str().and_then(lenient::moscow_time).map(Timestamp::to_rfc3339);
            data.insert(plain, json!(at));
        }
        data.insert(name.clone(), value.clone());
    }
    let info = lenient::field(item, "trackInfo");
    let parsed = info.and_then(Value::as_str).and_then(parsed_info);
    data.extend([
        ("track".to_owned(), Value::from(track)),
        ("status".to_owned(), json!(status)),
        ("status_name".to_owned(), Value::from(word)),
        ("status_text".to_owned(), Value::from(words)),
        ("info".to_owned(), info.cloned().unwrap_or(Value::Null)),
    ]);
    if let Some(parsed) = parsed {
        data.insert("parsed".to_owned(), parsed);
    }
    Sight { status, fingerprint: fingerprint(item), data: Value::Object(data) }
}

/// `trackUpdateDate` → `update_date`, for every date that the vendor has or will have.
fn date_name(name: &str) -> Option<String> {
    let middle = name.strip_prefix("track")?.strip_suffix("Date")?;
    (!middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .then(|| format!("{}_date", middle.to_ascii_lowercase()))
}

/// Over everything that is news, without taking it apart: most looks find what the one before found. The date of the vendor's
/// last update moves when status or info do, and they are compared themselves; moving alone it says only that the vendor
/// looked, and would make each of its looks an event.
pub fn fingerprint(item: &Value) -> String {
    let status = lenient::integer_field(item, "trackMainStatus");
    let mut news = Vec::with_capacity(512);
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        // Into memory: it cannot fail.
        let _ = write!(news, "{name}\0{value}\0");
    };
    if let Some(status) = status {
        add("status", &status);
    }
    for (name, value) in item.as_object().into_iter().flatten() {
        let is_told = ["trackNumber", "trackUpdateDate"].iter().any(|known| known.eq_ignore_ascii_case(name))
            || (status.is_some() && name.eq_ignore_ascii_case("trackMainStatus"));
        if !is_told && !is_echo(name) {
            add(name, value);
        }
    }
    sha256_hex(&news)
}

const LABELS: [&str; 5] = ["Операция:", "Дата:", "Место проведения операции:", "Атрибут операции:", "Индекс:"];

/// The five-line form, by its labels: the vendor sometimes loses the break before one. None for any other text.
fn parsed_info(info: &str) -> Option<Value> {
    let mut rest = info.trim_start().strip_prefix(LABELS[0])?;
    let mut values: Vec<Option<&str>> = Vec::with_capacity(LABELS.len());
    for label in &LABELS[1..] {
        let (value, after) = rest.split_once(label)?;
        values.push(Some(value.trim()).filter(|value| !value.is_empty()));
        rest = after;
    }
    values.push(Some(rest.trim()).filter(|value| !value.is_empty()));
    let date = values[1];
    Some(json!({
        "operation": values[0],
        "date": date.and_then(lenient::moscow_time).map(Timestamp::to_rfc3339),
        "date_text": date,
        "place": values[2],
        "attribute": values[3],
        "index": values[4],
    }))
}

#[cfg(test)]
#[path = "track_info_tests.rs"]
mod tests;
