//! Reads one table into types. A wrong or missing value becomes a problem and is read as an empty one: a configuration
//! with a problem is never handed out, so nobody meets the empty values.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Value};

use super::base_url::BaseUrl;
use super::document::parse_value;
use super::duration;
use super::findings::{Findings, nearest};
use super::layers::Origin;
use super::problem::Problem;
use super::size;

static EMPTY: Dict = Dict::new();

/// One table. What is not asked for until [`Section::finish`] is unknown.
pub(super) struct Section<'a> {
    pub(super) findings: &'a Findings,
    path: Vec<String>,
    values: &'a Dict,
    /// Of values that were cut out of a text and so have no origin of their own.
    origin: Origin,
    asked: RefCell<BTreeSet<String>>,
    wrong: RefCell<BTreeSet<String>>,
    /// Something else stands where the table should: said once, and not again for each of its keys.
    is_table: bool,
    /// What systemd's credentials for it begin with, where that is not its path.
    pub(super) credential: Option<String>,
}

impl<'a> Section<'a> {
    pub(super) fn new(findings: &'a Findings, path: Vec<String>, values: &'a Dict, origin: Origin) -> Self {
        let (asked, wrong) = (RefCell::default(), RefCell::default());
        Self { findings, path, values, origin, asked, wrong, is_table: true, credential: None }
    }

    /// Complains of every key that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.values.keys().filter(|key| !asked.contains(*key)) {
            self.findings.not_asked_for(self.path_of(key));
        }
    }

    /// The table's own name.
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    pub(super) fn path_of(&self, key: &str) -> Vec<String> {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }

    /// The names of a table whose keys are free.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a String> {
        self.values.keys()
    }

    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.problem_near(key, message, None);
    }

    pub(super) fn problem_near(&self, key: &str, message: impl Into<String>, hint: Option<String>) {
        self.wrong.borrow_mut().insert(key.to_owned());
        self.findings.problem(&self.path_of(key), message, hint);
    }

    /// Complains of a key that is not there.
    pub(super) fn missing(&self, key: &str, message: impl Into<String>) {
        if self.is_table {
            self.problem(key, message);
        } else {
            self.wrong.borrow_mut().insert(key.to_owned());
        }
    }

    /// Where something below this table is written; a problem that lacks its words.
    pub(super) fn place(&self, steps: &[&str]) -> Problem {
        let path: Vec<String> = self.path.iter().cloned().chain(steps.iter().map(|step| (*step).to_owned())).collect();
        self.findings.place(&path)
    }

    pub(super) fn warning(&self, key: &str, message: impl Into<String>) {
        self.findings.warning(&self.path_of(key), message);
    }

    /// Whether the value was read without a complaint.
    pub(super) fn is_sound(&self, key: &str) -> bool {
        !self.wrong.borrow().contains(key)
    }

    /// Whether the user gave the value, and not the shipped file.
    pub(super) fn is_users(&self, key: &str) -> bool {
        self.findings.origin(&self.path_of(key)).is_some_and(|origin| origin != Origin::Shipped)
    }

    pub(super) fn origin_of(&self, value: &Value) -> Origin {
        self.findings.layers.origin(value.tag()).unwrap_or(self.origin)
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.findings.know(&self.path_of(key));
        self.values.get(key)
    }

    /// A table inside this one; an absent one is empty.
    pub(super) fn section(&self, key: &str) -> Section<'a> {
        let value = self.value(key);
        let values = value.and_then(Value::as_dict);
        if value.is_some() && values.is_none() {
            self.problem(key, "must be a table");
        }
        let origin = value.map_or(self.origin, |value| self.origin_of(value));
        let section = Section::new(self.findings, self.path_of(key), values.unwrap_or(&EMPTY), origin);
        Section { is_table: value.is_none() || values.is_some(), ..section }
    }

    /// The one way in which a value is read: missing and misshapen ones are complained of.
    fn read<T>(&self, key: &str, shape: &str, read: impl Fn(&Value, bool) -> Option<T>) -> Option<T> {
        let Some(value) = self.value(key) else {
            self.missing(key, "is required");
            return None;
        };
        let read = read(value, self.origin_of(value).is_text_only());
        if read.is_none() {
            self.problem(key, format!("must be {shape}"));
        }
        read
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.read(key, "a text in quotes", |value, _| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        let path = |value: &Value, _| value.as_str().filter(|path| is_path(path)).map(PathBuf::from);
        self.read(key, "a path in quotes", path).unwrap_or_default()
    }

    /// `""` stands for none.
    pub(super) fn path_or_none(&self, key: &str) -> Option<PathBuf> {
        let path = |value: &Value, _| value.as_str().filter(|path| path.is_empty() || is_path(path)).map(PathBuf::from);
        self.read(key, "a path in quotes, or \"\"", path).filter(|path| !path.as_os_str().is_empty())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.read(key, "true or false", as_flag).unwrap_or_default()
    }

    pub(super) fn whole<T: TryFrom<i64> + Default>(&self, key: &str, range: RangeInclusive<i64>) -> T {
        let shape = match (*range.start(), *range.end()) {
            (first, i64::MAX) => format!("a whole number, at least {first}"),
            (first, last) => format!("a whole number from {first} to {last}"),
        };
        let number = |value: &Value, from_text| as_whole(value, from_text).filter(|number| range.contains(number));
        self.read(key, &shape, |value, from_text| T::try_from(number(value, from_text)?).ok()).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str, range: RangeInclusive<f64>) -> f64 {
        let shape = match (*range.start(), *range.end()) {
            (f64::MIN, f64::MAX) => "a number".to_owned(),
            (first, last) => format!("a number from {first} to {last}"),
        };
        let number = |value: &Value, from_text| as_number(value, from_text).filter(|number| range.contains(number));
        self.read(key, &shape, number).unwrap_or_default()
    }

    pub(super) fn address(&self, key: &str) -> SocketAddr {
        let address = |value: &Value, _| value.as_str()?.parse().ok();
        let shape = "an IP address and port, such as \"127.0.0.1:8077\" or \"[::1]:8077\"";
        self.read(key, shape, address).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// `""` stands for none.
    pub(super) fn address_or_none(&self, key: &str) -> Option<SocketAddr> {
        match self.value(key).and_then(Value::as_str) {
            Some("") => None,
            _ => Some(self.address(key)),
        }
    }

    pub(super) fn hosts(&self, key: &str) -> Vec<IpAddr> {
        let host = |value: &Value| value.as_str()?.parse().ok();
        let shape = "a list of IP addresses, such as [\"127.0.0.1\", \"::1\"]";
        self.read(key, shape, |value, from_text| each(value, from_text, host)).unwrap_or_default()
    }

    /// One of a few words, each with its meaning.
    pub(super) fn one_of<T: Copy>(&self, key: &str, words: &[(&'static str, T)], otherwise: T) -> T {
        let Some(value) = self.value(key) else {
            self.missing(key, "is required");
            return otherwise;
        };
        let text = value.as_str().unwrap_or_default();
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return *meaning;
        }
        let all: Vec<String> = words.iter().map(|(word, _)| (*word).to_owned()).collect();
        self.problem_near(key, format!("must be one of {}", all.join(", ")), nearest(text, all));
        otherwise
    }

    pub(super) fn duration(&self, key: &str) -> Duration {
        self.duration_from(key, Duration::ZERO)
    }

    pub(super) fn duration_from(&self, key: &str, floor: Duration) -> Duration {
        let Some(value) = self.value(key) else {
            self.missing(key, "is required");
            return Duration::ZERO;
        };
        let span = duration::parse(value.as_str().unwrap_or_default());
        match &span {
            Err(error) => self.problem(key, error.to_string()),
            Ok(span) if *span < floor => self.problem(key, format!("must be at least \"{}\"", duration::format(floor))),
            Ok(_) => {}
        }
        span.unwrap_or_default()
    }

    /// In bytes.
    pub(super) fn size(&self, key: &str, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = (size::format(*range.start()), size::format(*range.end()));
        let shape = format!("{}, from \"{first}\" to \"{last}\"", size::SHAPE);
        let read = |value: &Value, _| value.as_str().and_then(size::parse).filter(|bytes| range.contains(bytes));
        self.read(key, &shape, read).unwrap_or_default()
    }

    /// `"0s"` stands for never.
    pub(super) fn duration_or_never(&self, key: &str, floor: Duration) -> Option<Duration> {
        let span = self.duration(key);
        if !span.is_zero() && span < floor {
            self.problem(key, format!("must be \"0s\" (never) or at least \"{}\"", duration::format(floor)));
        }
        Some(span).filter(|span| !span.is_zero())
    }

    /// Complains when one duration is below another, at whichever of the two the user gave.
    pub(super) fn not_below(&self, key: &str, span: Duration, floor_key: &str, floor: Duration) {
        if span >= floor || !self.is_sound(key) || !self.is_sound(floor_key) {
            return;
        }
        if self.is_users(key) {
            self.problem(key, format!("must be at least {floor_key}, which is \"{}\"", duration::format(floor)));
        } else {
            self.problem(floor_key, format!("must be at most {key}, which is \"{}\"", duration::format(span)));
        }
    }

    pub(super) fn holds_text(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.as_str().is_some())
    }

    /// An address of a vendor; plain http only on this machine or where it is wanted.
    pub(super) fn url(&self, key: &str, allow_http: bool) -> BaseUrl {
        let Some(value) = self.value(key) else {
            self.missing(key, "is required");
            return BaseUrl::unread();
        };
        match BaseUrl::parse(value.as_str().unwrap_or_default()) {
            Ok(url) if url.is_plain_http() && !url.is_loopback() && !allow_http => {
                self.problem(key, "plain http is for loopback addresses; use https, or say allow_http = true");
                url
            }
            Ok(url) => url,
            Err(message) => {
                self.problem(key, message);
                BaseUrl::unread()
            }
        }
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        self.read(key, "a list of texts, none empty", |value, from_text| each(value, from_text, text))
            .unwrap_or_default()
    }

    pub(super) fn wholes(&self, key: &str) -> Vec<i64> {
        let number = |value: &Value| as_whole(value, false);
        self.read(key, "a list of whole numbers", |value, from_text| each(value, from_text, number)).unwrap_or_default()
    }

    /// Tables that may be missing, each with the defaults of its kind; `read` is told its place.
    pub(super) fn items<T>(&self, key: &str, defaults: &Dict, read: impl Fn(&Section<'_>) -> T) -> Vec<T> {
        if self.value(key).is_none() {
            return Vec::new();
        }
        let table = |value: &Value| value.as_dict().map(|own| with_defaults(own, defaults));
        let shape = format!("a list of tables, each written [[{key}]]");
        let tables = self.read(key, &shape, |value, from_text| each(value, from_text, table)).unwrap_or_default();
        let origin = self.value(key).map_or(self.origin, |value| self.origin_of(value));
        let read_one = |(index, values): (usize, &Dict)| {
            let mut section = Section::new(self.findings, self.path_of(&format!("{key}[{index}]")), values, origin);
            section.credential = values.get("name").and_then(Value::as_str).map(|name| format!("{key}.{name}"));
            let one = read(&section);
            section.finish();
            one
        };
        tables.iter().enumerate().map(read_one).collect()
    }

    /// A list of tables, each read by `read`.
    pub(super) fn tables<T>(&self, key: &str, read: impl Fn(&Section<'_>) -> T) -> Vec<T> {
        let table = |value: &Value| value.as_dict().cloned();
        let tables = self.read(key, "a list of tables", |value, from_text| each(value, from_text, table));
        let origin = self.value(key).map_or(self.origin, |value| self.origin_of(value));
        let read_one = |(index, values): (usize, &Dict)| {
            let section = Section::new(self.findings, self.path_of(&format!("{key}[{index}]")), values, origin);
            let one = read(&section);
            section.finish();
            one
        };
        tables.unwrap_or_default().iter().enumerate().map(read_one).collect()
    }
}

/// The user's own values, and the defaults for the rest; tables inside likewise.
fn with_defaults(own: &Dict, defaults: &Dict) -> Dict {
    let mut all = defaults.clone();
    for (key, value) in own {
        let both = all.get(key).and_then(Value::as_dict).zip(value.as_dict());
        let value = both.map_or_else(|| value.clone(), |(defaults, own)| Value::from(with_defaults(own, defaults)));
        all.insert(key.clone(), value);
    }
    all
}

/// No path of the operating system holds a NUL.
fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

fn as_flag(value: &Value, from_text: bool) -> Option<bool> {
    match value {
        Value::Bool(_, flag) => Some(*flag),
        Value::String(_, text) if from_text => text.parse().ok(),
        _ => None,
    }
}

fn as_whole(value: &Value, from_text: bool) -> Option<i64> {
    match value {
        Value::Num(_, number) => number.to_i128().and_then(|number| i64::try_from(number).ok()),
        Value::String(_, text) if from_text => text.parse().ok(),
        _ => None,
    }
}

fn as_number(value: &Value, from_text: bool) -> Option<f64> {
    match value {
        Value::Num(_, number) => number.to_f64().or_else(|| number.to_i128().map(|number| number as f64)),
        Value::String(_, text) if from_text => text.parse().ok(),
        _ => None,
    }
}

/// Reads every element, or nothing. A variable holds its list in TOML's form.
fn each<T>(value: &Value, from_text: bool, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Array(_, values) => values.iter().map(read).collect(),
        Value::String(_, text) if from_text => match parse_value(text)? {
            Value::Array(_, values) => values.iter().map(read).collect(),
            _ => None,
        },
        _ => None,
    }
}
