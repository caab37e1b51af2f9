//! `[[schedules]]` and `[backup]`: what comes due by the calendar.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::duration;
use super::problem::Problem;
use super::reader::Section;
use crate::domain::calendar::{Calendar, CalendarError};

/// What a schedule has that says nothing else; the shipped file tells the same in prose.
const ZONE: &str = "UTC";
const GRACE: Duration = Duration::from_secs(3_600);
const LONGEST_NAME: usize = 64;

/// A job that is ordered by the calendar.
#[derive(Debug, Clone, Serialize)]
pub struct Schedule {
    pub name: String,
    pub cron: String,
    pub zone: String,
    pub kind: String,
    /// A JSON object; the vendor's driver judges it.
    pub params: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    pub misfire: Misfire,
    #[serde(with = "duration")]
    pub grace: Duration,
    #[serde(skip)]
    pub calendar: Option<Calendar>,
    /// Where its fields are written, by JSON pointer: for complaints that only the vendor's driver can make.
    #[serde(skip)]
    places: BTreeMap<String, Problem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    Skip,
    Once,
}

impl Schedule {
    /// A complaint about a field, given as JSON pointer from the job's root.
    pub fn problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        let mut known = pointer;
        let place = loop {
            match (self.places.get(known), known.rfind('/')) {
                (Some(place), _) => break place.clone(),
                (None, Some(end)) => known = &known[..end],
                (None, None) => break Problem::default(),
            }
        };
        let rest = pointer[known.len()..].replace('/', ".");
        Problem { key: format!("{}{rest}", place.key), message: message.into(), ..place }
    }
}

/// Backups by the calendar.
#[derive(Debug, Clone, Serialize)]
pub struct Backup {
    /// `None` where the configuration says "": none are made.
    #[serde(serialize_with = "super::sections::path_or_empty")]
    pub dir: Option<PathBuf>,
    pub cron: String,
    pub zone: String,
    pub keep: usize,
    #[serde(skip)]
    pub calendar: Option<Calendar>,
}

pub(super) fn backup(root: &Section<'_>) -> Backup {
    let section = root.section("backup");
    let dir = section.path_or_none("dir");
    if dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
        section.problem("dir", "must be an absolute path, such as \"/var/lib/opros/backups\", or \"\" for no backups");
    }
    let (cron, zone) = (section.text("cron"), section.text("zone"));
    let calendar = calendar(&section, &cron, &zone);
    let backup = Backup { dir, cron, zone, keep: section.whole("keep", 1..=100_000), calendar };
    section.finish();
    backup
}

pub(super) fn schedules(root: &Section<'_>) -> Vec<Schedule> {
    if root.value("schedules").is_none() {
        return Vec::new();
    }
    let schedules = root.tables("schedules", schedule);
    for (index, schedule) in schedules.iter().enumerate() {
        if schedules[..index].iter().any(|earlier| earlier.name == schedule.name) && !schedule.name.is_empty() {
            root.problem(&format!("schedules[{index}]"), format!("another schedule is called {:?}", schedule.name));
        }
    }
    schedules
}

fn schedule(section: &Section<'_>) -> Schedule {
    let name = section.text("name");
    let sound = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
    if section.is_sound("name") && !sound {
        section.problem("name", format!("a schedule's name is 1 to {LONGEST_NAME} of a-z 0-9 _ -"));
    }
    let (cron, zone) = (section.text("cron"), given(section, "zone").unwrap_or_else(|| ZONE.to_owned()));
    let calendar = calendar(section, &cron, &zone);
    let params = params(section);
    let grace = section.value("grace").map(|_| section.duration("grace"));
    let misfire = match section.value("misfire") {
        None => Misfire::Skip,
        Some(_) => section.one_of("misfire", &[("skip", Misfire::Skip), ("once", Misfire::Once)], Misfire::Skip),
    };
    if grace.is_some() && misfire == Misfire::Skip {
        section.problem("grace", "goes with misfire = \"once\"");
    }
    Schedule {
        dedupe_key: dedupe_key(section, &name),
        kind: section.text("kind"),
        account: given(section, "account"),
        tag: given(section, "tag"),
        priority: section.value("priority").map(|_| section.whole("priority", 0..=9)),
        grace: grace.unwrap_or(GRACE),
        places: places(section, &params),
        name,
        cron,
        zone,
        params,
        misfire,
        calendar,
    }
}

fn given(section: &Section<'_>, key: &str) -> Option<String> {
    section.value(key).map(|_| section.text(key))
}

fn calendar(section: &Section<'_>, cron: &str, zone: &str) -> Option<Calendar> {
    let calendar = Calendar::parse(cron, zone);
    match &calendar {
        Ok(_) => {}
        Err(error @ CalendarError::Zone) if section.is_sound("zone") => section.problem("zone", error.to_string()),
        Err(error @ (CalendarError::Pattern(_) | CalendarError::Never)) if section.is_sound("cron") => {
            section.problem("cron", error.to_string());
        }
        Err(_) => {}
    }
    calendar.ok()
}

/// `dedupe = true`: while this schedule's job is unfinished, no other is ordered.
fn dedupe_key(section: &Section<'_>, name: &str) -> Option<String> {
    let own = section.value("dedupe").is_some() && section.flag("dedupe");
    let key = given(section, "dedupe_key");
    if own && key.is_some() {
        section.problem("dedupe_key", "dedupe = true makes a key of the schedule's own: give one of the two");
    }
    key.or_else(|| own.then(|| format!("schedule:{name}")))
}

fn params(section: &Section<'_>) -> Value {
    let empty = || Value::Object(Default::default());
    let Some(value) = section.value("params") else { return empty() };
    if holds_date(value) {
        section.problem("params", "holds a date or a time without quotes; write it as a text in quotes");
        return empty();
    }
    match serde_json::to_value(value) {
        Ok(params) if params.is_object() => params,
        _ => {
            section.problem("params", "must be a table, such as { phone = \"79990000111\" }");
            empty()
        }
    }
}

/// The one thing of TOML that a configuration does not know.
fn holds_date(value: &figment::value::Value) -> bool {
    use figment::value::Value;
    match value {
        Value::Empty(..) => true,
        Value::Dict(_, inner) => inner.values().any(holds_date),
        Value::Array(_, inner) => inner.iter().any(holds_date),
        _ => false,
    }
}

fn places(section: &Section<'_>, params: &Value) -> BTreeMap<String, Problem> {
    let fields = ["", "kind", "account", "dedupe_key", "tag", "priority", "params"];
    let mut places: BTreeMap<String, Problem> = fields
        .into_iter()
        .map(|field| match field {
            "" => (String::new(), section.place(&[])),
            field => (format!("/{field}"), section.place(&[field])),
        })
        .collect();
    for name in params.as_object().into_iter().flat_map(|params| params.keys()) {
        let pointer = format!("/params/{}", name.replace('~', "~0").replace('/', "~1"));
        places.insert(pointer, section.place(&["params", name]));
    }
    places
}
