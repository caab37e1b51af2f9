//! Params that passed, read back: the fields that they become, and what steers the following of a request.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::Timestamp;
use crate::domain::exchange::Field;
use crate::vendors::lenient;

use super::cadence::Schedule;
use super::{numbers, wire};

/// The vendor's limit.
pub const MOST_TIMES: usize = 3;

/// The params that steer the following of a request.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Terms {
    hash: Option<String>,
    cont_hash: Option<String>,
    wagons: Vec<String>,
    times: Vec<String>,
    times_per_day: Option<usize>,
    days: Vec<u8>,
    stop_station: Option<String>,
    until: Option<String>,
}

/// When a job ends, if the vendor does not take it off tracking first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Untracked,
    Arrived,
    FirstReport,
    Time(Timestamp),
}

impl Terms {
    pub fn of(params: &Value) -> Self {
        Self::deserialize(params).unwrap_or_default()
    }

    /// The vendor gives the first `times_per_day` of the times.
    pub fn schedule(&self) -> Schedule {
        let count = self.times_per_day.unwrap_or(MOST_TIMES).min(self.times.len());
        Schedule::new(self.times.get(..count).unwrap_or(&self.times), &self.days)
    }

    pub fn until(&self) -> Until {
        self.until.as_deref().and_then(until).unwrap_or(Until::Untracked)
    }

    /// The station at which the tracking stops, where the user names one.
    pub fn stop_code(&self) -> Option<&str> {
        self.stop_station.as_deref().filter(|code| is_station(code))
    }

    /// It was tracked before the job came.
    pub fn followed(&self) -> bool {
        self.followed_hashes().is_some()
    }

    pub fn followed_hashes(&self) -> Option<String> {
        let hashes: Vec<&str> = self.hash.iter().chain(&self.cont_hash).map(String::as_str).collect();
        (!hashes.is_empty()).then(|| hashes.join("+"))
    }

    /// How many hashes an `add` of these numbers gives: wagons and containers have one each.
    pub fn expected_hashes(&self) -> usize {
        let has = |wanted| self.wagons.iter().any(|number| numbers::carrier(number) == wanted);
        usize::from(has(numbers::Carrier::Wagon)) + usize::from(has(numbers::Carrier::Container))
    }
}

/// `until` as it stands in params.
pub fn until(text: &str) -> Option<Until> {
    match text {
        "untracked" => Some(Until::Untracked),
        "arrived" => Some(Until::Arrived),
        "first_report" => Some(Until::FirstReport),
        time => Timestamp::parse_rfc3339(time).ok().map(Until::Time),
    }
}

/// Five digits: a code of the Unified Station Marking (ESR).
pub fn is_station(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// The fields of `add`, from normalised params.
pub fn add_fields(params: &Value, token: Option<&str>) -> Vec<Field> {
    let listed = |name: &str| {
        let items = lenient::field(params, name).and_then(Value::as_array);
        items.map(|items| items.iter().filter_map(lenient::string).collect::<Vec<_>>().join(",")).unwrap_or_default()
    };
    let plain = |name: &str| lenient::string_field(params, name).unwrap_or_default();
    let mut fields = vec![
        Field::open("wagons", listed("wagons")),
        Field::open("state", plain("state")),
        Field::open("track_state", plain("track_state")),
        Field::open("track_type", plain("track_type")),
        Field::open("stop_station", plain("stop_station")),
        Field::open("times_per_day", plain("times_per_day")),
        Field::open("times", listed("times")),
        Field::open("days", listed("days")),
    ];
    if let Some(comment) = wire::comment(token, lenient::string_field(params, "comment").as_deref()) {
        fields.push(Field::open("comment", comment));
    }
    let emails = listed("emails");
    if !emails.is_empty() {
        let attach = lenient::field(params, "attach_excel").is_some_and(lenient::truthy);
        fields.push(Field::open("emails", emails));
        fields.push(Field::open("email_report_type", "2"));
        fields.push(Field::open("attach_excel", if attach { "1" } else { "0" }));
    }
    fields
}

/// The fields of a one-shot, from normalised params.
pub fn one_shot_fields(params: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    if let Some(hash) = lenient::string_field(params, "hash") {
        fields.push(Field::open("hash", hash));
    }
    let wagons = lenient::field(params, "wagons").and_then(Value::as_array);
    if let Some(wagons) = wagons.filter(|wagons| !wagons.is_empty()) {
        let listed: Vec<String> = wagons.iter().filter_map(lenient::string).collect();
        fields.push(Field::open("wagons", listed.join(",")));
    }
    fields
}
