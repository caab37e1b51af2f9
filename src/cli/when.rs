//! Times for people: RFC 3339 in UTC without the milliseconds, and how far away that is.

use std::time::Duration;

use chrono::SecondsFormat;
use serde::{Deserialize, Deserializer};

use crate::config::duration;
use crate::domain::Timestamp;

pub fn stamp(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Where room is short: today's times without the day.
pub fn short(at: Timestamp, now: Timestamp) -> String {
    let (day, whole) = (now.to_utc().date_naive(), stamp(at));
    match whole.split_once('T') {
        Some((_, time)) if at.to_utc().date_naive() == day => time.to_owned(),
        _ => whole,
    }
}

/// `2026-11-22T03:05:16Z (in 12 s)`.
pub fn both(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", stamp(at), relative(at, now))
}

/// `in 12 s`, `3 min ago`, `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    if ahead.as_millis() > 500 {
        format!("in {}", span(ahead))
    } else if behind.as_millis() >= 1000 {
        format!("{} ago", span(behind))
    } else {
        "now".to_owned()
    }
}

/// The two largest units that say something: `12 s`, `3 min`, `2 h 5 min`, `4 d 3 h`.
pub fn span(span: Duration) -> String {
    // Half a second counts as one: "in 0 s" says nothing.
    let secs = (span.as_millis() + 500) as u64 / 1000;
    let (d, h, m, s) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, 1..10) => two(m, "min", s, "s"),
        (0, 0, _) => format!("{m} min"),
        (0, ..) => two(h, "h", m, "min"),
        _ => two(d, "d", h, "h"),
    }
}

/// A moment on the command line: RFC 3339, or a duration from now such as `10m` or `+6h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    In(Duration),
}

impl Moment {
    pub fn parse(text: &str) -> Result<Moment, String> {
        if let Ok(span) = duration::parse(text.trim_start_matches('+')) {
            return Ok(Moment::In(span));
        }
        let wrong =
            || "must be a time such as 2026-11-22T03:05:00Z, or a duration from now such as 10m or 6h".to_owned();
        Timestamp::parse_rfc3339(text).map(Moment::At).map_err(|_| wrong())
    }

    /// A duration meant as "so long ago".
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::In(span) => now - span,
        }
    }

    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::In(span) => now + span,
        }
    }
}

/// Reads RFC 3339, or nothing: a time that cannot be read must not hide everything else.
pub(super) fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_str().and_then(|text| Timestamp::parse_rfc3339(text).ok()))
}
