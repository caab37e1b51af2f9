//! The params of every kind, checked before anything is stored or paid.

use serde_json::{Map, Value, json};

use crate::vendors::{Checked, ParamProblem, lenient};

use super::terms::{MOST_TIMES, Terms, Until, is_station, until};
use super::{cadence, numbers, wire};

pub const TRACK: &[&str] = &[
    "wagons",
    "track_state",
    "state",
    "track_type",
    "times",
    "times_per_day",
    "days",
    "stop_station",
    "comment",
    "emails",
    "attach_excel",
    "hash",
    "cont_hash",
    "until",
    "force",
];
/// With `hash` alone nothing is ordered: only what steers the following makes sense.
const FOLLOW: &[&str] = &["hash", "cont_hash", "times", "times_per_day", "days", "stop_station", "until"];

const ALL_DAYS: [u8; 7] = [0, 1, 2, 3, 4, 5, 6];

/// `alta.track`: the params as the vendor takes them.
pub fn check_track(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    let follows = ["hash", "cont_hash"].iter().any(|name| lenient::field(params, name).is_some());
    let mut form = Form::new(params, if follows { FOLLOW } else { TRACK });
    if follows {
        form.follow();
    } else {
        form.order();
    }
    form.until();
    let mut checked = form.finish()?;
    checked.follow = Terms::of(&checked.params).followed_hashes();
    Ok(checked)
}

/// The one-shots: a hash where the method has one, wagons where it takes some.
pub fn check_one_shot(params: &Value, known: &'static [&'static str]) -> Result<Checked, Vec<ParamProblem>> {
    let mut form = Form::new(params, known);
    if known.contains(&"hash") && !form.hash("hash") {
        form.missing("hash", "the 32 hex digits that add answered with");
    }
    if known.contains(&"wagons") && form.given("wagons").is_some() {
        form.wagons();
    }
    form.finish()
}

/// The params under examination: what was given, what will be kept, what is wrong.
struct Form<'a> {
    given: &'a Value,
    kept: Map<String, Value>,
    problems: Vec<ParamProblem>,
}

impl<'a> Form<'a> {
    fn new(given: &'a Value, known: &[&str]) -> Self {
        let mut form = Self { given, kept: Map::new(), problems: Vec::new() };
        let Some(fields) = given.as_object() else {
            form.wrong("", "the params are to be a JSON object");
            return form;
        };
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let advice = if TRACK.contains(&name.as_str()) {
                format!("{name} does not go with the other params; leave it out (here go: {})", known.join(", "))
            } else if known.is_empty() {
                format!("there is no param {name}: this method takes none")
            } else {
                format!("there is no param {name}; there are: {}", known.join(", "))
            };
            form.problems.push(ParamProblem::at(name, advice));
        }
        form
    }

    fn finish(self) -> Result<Checked, Vec<ParamProblem>> {
        if self.problems.is_empty() { Ok(Checked::new(Value::Object(self.kept))) } else { Err(self.problems) }
    }

    fn given(&self, name: &str) -> Option<&'a Value> {
        self.given.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.given(name).and_then(lenient::string)
    }

    fn keep(&mut self, name: &str, value: impl Into<Value>) {
        self.kept.insert(name.to_owned(), value.into());
    }

    fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(ParamProblem::at(name, message));
    }

    fn missing(&mut self, name: &str, what: &str) {
        if !self.problems.iter().any(|problem| problem.pointer == format!("/params/{name}")) {
            self.wrong(name, format!("{name} is missing: {what}"));
        }
    }

    /// An array, a comma list, or one item.
    fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.given(name)?;
        let items: Option<Vec<String>> = match value {
            Value::Array(items) => items.iter().map(lenient::string).collect(),
            other => lenient::string(other).map(|text| {
                text.split([',', ';']).map(|item| item.trim().to_owned()).filter(|i| !i.is_empty()).collect()
            }),
        };
        if items.is_none() {
            self.wrong(name, format!("{name} is to be an array of texts, or one text with commas"));
        }
        items
    }

    // ---- alta.track by an order ---------------------------------------------------------------------------------

    /// What decides the price and the vendor requires is asked for, never guessed.
    fn order(&mut self) {
        self.wagons();
        if !self.kept.contains_key("wagons") {
            self.missing("wagons", "name the wagons and containers, or a hash to follow what is tracked already");
        }
        self.region();
        self.track_type();
        self.times(true);
        self.days(&ALL_DAYS);
        self.stop_station(true);
        if let Some(comment) = self.given("comment") {
            match comment {
                Value::String(text) if text.trim().is_empty() => {}
                other => match lenient::string(other) {
                    Some(text) => self.keep("comment", text),
                    None => self.wrong("comment", "comment is to be a text"),
                },
            }
        }
        self.emails();
    }

    fn wagons(&mut self) {
        let force = match self.given("force") {
            None => false,
            Some(Value::Bool(force)) => *force,
            Some(_) => {
                self.wrong("force", "force is to be true or false");
                return;
            }
        };
        let Some(texts) = self.list("wagons") else { return };
        let mut numbers: Vec<String> = Vec::with_capacity(texts.len());
        for text in &texts {
            match numbers::read(text, force) {
                // A number that stands twice is not to be paid for twice.
                Ok(number) if numbers.contains(&number) => {}
                Ok(number) => numbers.push(number),
                Err(problem) => self.wrong("wagons", problem),
            }
        }
        if force {
            self.keep("force", true);
        }
        if !numbers.is_empty() {
            self.keep("wagons", numbers);
        }
    }

    /// `track_state` and `state` say the same in two ways; one of them is enough.
    fn region(&mut self) {
        let by_name = self.text("track_state").map(|text| match text.to_lowercase().as_str() {
            "ru" => Some("ru"),
            "sng" => Some("sng"),
            _ => None,
        });
        let by_code = self.text("state").map(|text| match text.as_str() {
            "20" => Some("ru"),
            "22" => Some("sng"),
            _ => None,
        });
        let advice = "is to be ru (Russia; state 20) or sng (CIS, Baltics, Mongolia, China; state 22)";
        let region = match (by_name, by_code) {
            (Some(None), _) => return self.wrong("track_state", format!("track_state {advice}")),
            (_, Some(None)) => {
                return self.wrong("state", "state is to be 20 (track_state ru) or 22 (track_state sng)");
            }
            (Some(Some(name)), Some(Some(code))) if name != code => {
                return self
                    .wrong("state", "state and track_state name different regions: 20 goes with ru, 22 with sng");
            }
            (Some(region), _) | (None, Some(region)) => region,
            (None, None) => return self.missing("track_state", &format!("it decides the price and {advice}")),
        };
        if let Some(region) = region {
            self.keep("track_state", region);
            self.keep("state", if region == "ru" { 20 } else { 22 });
        }
    }

    fn track_type(&mut self) {
        let meaning =
            "2 or \"daily\" (paid at the first report of each day), 3 or \"voyage\" (paid at once for the whole trip)";
        match self.text("track_type").map(|text| text.to_lowercase()).as_deref() {
            Some("2" | "daily") => self.keep("track_type", 2),
            Some("3" | "voyage") => self.keep("track_type", 3),
            Some(_) => self.wrong("track_type", format!("track_type is to be {meaning}")),
            None => self.missing("track_type", &format!("it decides how it is paid: {meaning}")),
        }
    }

    fn times(&mut self, required: bool) {
        let Some(texts) = self.list("times") else {
            if required {
                self.missing("times", "up to three times of reports, Moscow time, such as [\"09:00\",\"18:00\"]");
            }
            return;
        };
        let mut times = Vec::new();
        for text in &texts {
            match cadence::minutes(text).map(|minutes| format!("{:02}:{:02}", minutes / 60, minutes % 60)) {
                Some(time) if times.contains(&time) => self.wrong("times", format!("{time} stands twice in times")),
                Some(time) => times.push(time),
                None => self.wrong("times", format!("{text:?} is no time of day: write it as 09:00, Moscow time")),
            }
        }
        if times.is_empty() || times.len() > MOST_TIMES {
            return self.wrong("times", "times takes one, two or three times of day");
        }
        let count = times.len();
        self.keep("times", times);
        match self.given("times_per_day").map(lenient::integer) {
            None => self.keep("times_per_day", count),
            Some(Some(wanted @ 1..=3)) => self.keep("times_per_day", count.min(wanted as usize)),
            Some(_) => self.wrong("times_per_day", "times_per_day is to be 1, 2 or 3"),
        }
    }

    fn days(&mut self, default: &[u8]) {
        let Some(texts) = self.list("days") else {
            if self.given("days").is_none() {
                self.keep("days", default);
            }
            return;
        };
        let mut days: Vec<u8> = Vec::new();
        for text in &texts {
            match text.parse() {
                Ok(day @ 0..=6) => days.push(day),
                _ => self.wrong("days", format!("{text:?} is no day: 0 is Sunday, 6 is Saturday")),
            }
        }
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            return self.wrong("days", "days is empty: leave it out for every day, or list days from 0 (Sunday) to 6");
        }
        self.keep("days", days);
    }

    fn stop_station(&mut self, order: bool) {
        let advice = "stop_station is to be yes, no, or the five digits of a station's ESR code";
        let text = match self.given("stop_station") {
            None if order => Some("yes".to_owned()),
            None => return,
            Some(Value::Bool(stop)) => Some(if *stop { "yes" } else { "no" }.to_owned()),
            Some(other) => lenient::string(other).map(|text| text.to_lowercase()),
        };
        match text {
            Some(text) if is_station(&text) || (order && matches!(text.as_str(), "yes" | "no")) => {
                self.keep("stop_station", text);
            }
            _ if order => self.wrong("stop_station", advice),
            _ => self.wrong("stop_station", "with hash, stop_station is the five digits of the station of arrival"),
        }
    }

    fn emails(&mut self) {
        let emails = self.list("emails").unwrap_or_default();
        for email in emails.iter().filter(|email| !is_email(email)) {
            self.wrong("emails", format!("{email:?} is no e-mail address"));
        }
        let attach = match self.given("attach_excel") {
            None => false,
            Some(Value::Bool(attach)) => *attach,
            Some(other) => match lenient::integer(other) {
                Some(number @ (0 | 1)) => number == 1,
                _ => return self.wrong("attach_excel", "attach_excel is to be true or false"),
            },
        };
        if attach && emails.is_empty() {
            self.wrong("attach_excel", "attach_excel goes into the e-mails: give emails, or leave it out");
        }
        if !emails.is_empty() {
            self.keep("emails", emails);
            self.keep("attach_excel", attach);
        }
    }

    // ---- alta.track by a hash -----------------------------------------------------------------------------------

    fn follow(&mut self) {
        self.hash("hash");
        self.hash("cont_hash");
        if self.kept.get("hash").is_some() && self.kept.get("hash") == self.kept.get("cont_hash") {
            self.wrong("cont_hash", "cont_hash is the same as hash; leave it out");
        }
        self.times(false);
        if self.kept.contains_key("times") {
            self.days(&ALL_DAYS);
        } else {
            let given = self.given;
            for name in ["times_per_day", "days"].into_iter().filter(|name| !given[*name].is_null()) {
                self.wrong(name, format!("{name} goes with times: give the times of the reports too"));
            }
        }
        self.stop_station(false);
    }

    /// False if there is none.
    fn hash(&mut self, name: &str) -> bool {
        let Some(value) = self.given(name) else { return false };
        match lenient::string(value).and_then(|text| wire::hash(&text)) {
            Some(hash) => self.keep(name, hash),
            None => self.wrong(name, format!("{name} is to be the 32 hex digits that add answered with")),
        }
        true
    }

    fn until(&mut self) {
        let text = match self.given("until") {
            None => "untracked".to_owned(),
            Some(value) => value.as_str().unwrap_or_default().trim().to_owned(),
        };
        match until(&text) {
            Some(Until::Time(at)) => self.keep("until", at.to_rfc3339()),
            Some(Until::Arrived) if self.kept.get("stop_station") == Some(&json!("no")) => self.wrong(
                "until",
                "with stop_station no, Alta never says that it arrived: give stop_station yes or the station's ESR code",
            ),
            Some(_) => self.keep("until", text),
            None => self.wrong(
                "until",
                "until is to be untracked, arrived, first_report, or a time such as 2026-12-31T18:00:00+03:00",
            ),
        }
    }
}

/// Loosely: one @, something before it, a dotted name after it, nothing that would break a comma list.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let clean =
        text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, ',' | ';' | '<' | '>' | '"'));
    let labels: Vec<&str> = domain.split('.').collect();
    clean
        && !local.is_empty()
        && labels.len() > 1
        && labels.iter().all(|label| !label.is_empty() && !label.contains('@'))
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
