//! Durations as people write them: `"90s"`, `"5m"`, `"6h"`, `"90d"`, `"250ms"`, `"1h30m"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// From the largest to the smallest: the order in which they may follow each other.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A hundred years: anything longer is a slip of the hand, and sums of a few stay far from overflow.
pub const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("must be a duration such as \"250ms\", \"90s\", \"5m\", \"6h\", \"90d\" or \"1h30m\"")]
    Shape,
    #[error("must be a duration of at most 36525d")]
    TooLong,
}

/// Reads a duration: numbers with units, each unit at most once, larger ones first.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Shape);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let letters = rest[digits..].chars().take_while(char::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + letters];
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or(DurationError::Shape)?;
        if digits == 0 {
            return Err(DurationError::Shape);
        }
        let count: u64 = rest[..digits].parse().map_err(|_| DurationError::TooLong)?;
        let part = count.checked_mul(*millis).ok_or(DurationError::TooLong)?;
        total = total.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = &rest[digits + letters..];
    }
    let span = Duration::from_millis(total);
    if span > LONGEST { Err(DurationError::TooLong) } else { Ok(span) }
}

/// Writes a duration so that [`parse`] reads the same one, to the millisecond.
pub fn format(span: Duration) -> String {
    let mut left = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, millis) in UNITS {
        if left >= millis {
            text.push_str(&format!("{}{name}", left / millis));
            left %= millis;
        }
    }
    text
}

pub fn serialize<S: Serializer>(span: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&format(*span))
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// For a cadence that `"0s"` turns off.
pub mod or_never {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(span: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        super::serialize(&span.unwrap_or_default(), out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(|span| Some(span).filter(|span| !span.is_zero()))
    }
}
