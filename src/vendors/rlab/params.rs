//! Reading params: both the plain names and the vendor's, checked and brought into one form before anything is paid.

use serde_json::{Map, Number, Value};

use super::track_number;
use super::wire::{ITEM_FIELDS, MAX_TRACKS, NO_SMS_PHONE};
use crate::vendors::{Checked, ParamProblem, lenient};

/// The vendor's table of delivery services, with a Latin name where the vendor's is Cyrillic. 14 is not in it.
const DELIVERY_SERVICES: [(u32, &str, &str); 16] = [
    (0, "Почта России", "Russian Post"),
    (1, "TopDelivery", ""),
    (2, "СПСР", "SPSR"),
    (3, "Boxberry", ""),
    (4, "PickPoint", ""),
    (5, "Shop-Logistics", ""),
    (6, "Деловые линии", "Dellin"),
    (7, "СДЭК", "CDEK"),
    (8, "DPD", ""),
    (9, "Экспресс.Ру", "Express.Ru"),
    (10, "ПЭК", "PEK"),
    (11, "КСЭ", "CSE"),
    (12, "Dimex", ""),
    (13, "УкрПочта", "Ukrposhta"),
    (15, "Почта Казахстана", "Kazpost"),
    (16, "Нова Пошта", "Nova Poshta"),
];

const RUSSIAN_POST: i64 = 0;
const ORDER_NUMBER_CHARS: usize = 40;
const DESCRIPTION_CHARS: usize = 200;
/// A binary double holds every decimal of so many digits, so that what is sent is what was written.
const EXACT_DIGITS: usize = 15;

pub const TRACK_PARAMS: &[&str] = &[
    "track",
    "phone",
    "email",
    "name",
    "item_cost",
    "order_number",
    "description",
    "delivery_service_id",
    "send_to_user_email",
    "send_to_admin_email",
    "test_mode",
    "force",
];
pub const LIST_PARAMS: &[&str] = &["tracks", "track", "test_mode", "force"];
pub const NO_PARAMS: &[&str] = &[];

/// Params as they came, and what was found wrong with them.
struct Reader<'a> {
    given: &'a Map<String, Value>,
    out: Map<String, Value>,
    problems: Vec<ParamProblem>,
}

/// The vendor's own name of a param.
fn vendor_name(plain: &str) -> Option<&'static str> {
    if plain == "test_mode" {
        return Some("testMode");
    }
    ITEM_FIELDS.iter().find(|(name, _)| *name == plain).map(|(_, vendor)| *vendor)
}

/// `rlab.track`: the phone is filled in, so that silence never means an SMS.
pub fn track(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    read(params, TRACK_PARAMS, |reader| {
        reader.item();
        reader.out.entry("phone").or_insert_with(|| Value::from(NO_SMS_PHONE));
    })
}

/// `rlab.update`: what is not given stays as it is at the vendor.
pub fn update(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    read(params, TRACK_PARAMS, Reader::item)
}

/// `rlab.info` and `rlab.delete`: `track`, or up to a hundred `tracks`.
pub fn list(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    read(params, LIST_PARAMS, Reader::tracks)
}

pub fn none(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    read(params, NO_PARAMS, |_| ())
}

fn read<'a>(
    params: &'a Value,
    allowed: &[&str],
    fields: impl FnOnce(&mut Reader<'a>),
) -> Result<Checked, Vec<ParamProblem>> {
    let Some(given) = params.as_object() else {
        return Err(vec![ParamProblem::at("", "params must be a JSON object")]);
    };
    let mut reader = Reader { given, out: Map::new(), problems: Vec::new() };
    reader.refuse_unknown(allowed);
    if allowed.contains(&"test_mode") {
        reader.flag("test_mode");
        reader.flag("force");
    }
    fields(&mut reader);
    if reader.problems.is_empty() { Ok(Checked::new(Value::Object(reader.out))) } else { Err(reader.problems) }
}

impl<'a> Reader<'a> {
    fn refuse_unknown(&mut self, allowed: &[&str]) {
        let known = |name: &str| allowed.iter().any(|plain| *plain == name || vendor_name(plain) == Some(name));
        let unknown: Vec<&String> = self.given.keys().filter(|name| !known(name)).collect();
        for name in unknown {
            let nearest = allowed
                .iter()
                .filter(|plain| strsim::jaro_winkler(plain, name) > 0.8)
                .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let advice = match nearest {
                Some(plain) => format!("did you mean {plain:?}?"),
                None if allowed.is_empty() => "this kind takes none: leave it out".to_owned(),
                None => format!("the params are {}", allowed.join(", ")),
            };
            // A foreign name may hold what JSON pointers escape.
            let pointer = name.replace('~', "~0").replace('/', "~1");
            self.problems.push(ParamProblem::at(&pointer, format!("no param is called {name:?}: {advice}")));
        }
    }

    /// The value of a param under its plain or its vendor's name; null is as good as none.
    fn value(&mut self, plain: &str) -> Option<&'a Value> {
        let given = self.given;
        let of = |name: &str| given.get(name).filter(|value| !value.is_null());
        let vendor = vendor_name(plain);
        let (ours, theirs) = (of(plain), vendor.and_then(of));
        if let (Some(_), Some(_), Some(vendor)) = (ours, theirs, vendor) {
            self.problem(plain, format!("{plain} is given twice, also as {vendor}: leave one of them out"));
        }
        ours.or(theirs)
    }

    /// Points to the name that was really given.
    fn problem(&mut self, name: &str, message: impl Into<String>) {
        let given = |name: &str| self.given.contains_key(name);
        let at = vendor_name(name).filter(|vendor| given(vendor) && !given(name)).unwrap_or(name);
        self.problems.push(ParamProblem::at(at, message));
    }

    fn item(&mut self) {
        self.delivery_service();
        match self.value("track").and_then(lenient::string) {
            Some(text) => {
                if let Some(track) = self.checked_track("track", &text) {
                    self.out.insert("track".to_owned(), Value::from(track));
                }
            }
            None => self.problem("track", "track is missing: give the parcel's number"),
        }
        self.phone();
        self.email();
        self.text("name", None);
        self.item_cost();
        self.text("order_number", Some(ORDER_NUMBER_CHARS));
        self.text("description", Some(DESCRIPTION_CHARS));
        self.flag("send_to_user_email");
        self.flag("send_to_admin_email");
    }

    fn tracks(&mut self) {
        let given: Vec<(String, &Value)> = match (self.value("tracks"), self.value("track")) {
            (Some(_), Some(_)) => return self.problem("track", "give either track or tracks"),
            (Some(Value::Array(items)), None) => {
                items.iter().enumerate().map(|(at, item)| (format!("tracks/{at}"), item)).collect()
            }
            (Some(_), None) => return self.problem("tracks", "tracks must be an array of track numbers"),
            (None, Some(one)) => vec![("track".to_owned(), one)],
            (None, None) => return self.problem("tracks", "tracks is missing: give an array of track numbers"),
        };
        let mut tracks: Vec<String> = Vec::new();
        for (name, value) in given {
            if let Some(track) = self.checked_track(&name, &lenient::string(value).unwrap_or_default())
                && !tracks.contains(&track)
            {
                tracks.push(track);
            }
        }
        if tracks.len() > MAX_TRACKS {
            self.problem("tracks", format!("{} track numbers: R-Lab takes at most {MAX_TRACKS}", tracks.len()));
        }
        if tracks.is_empty() && self.problems.is_empty() {
            self.problem("tracks", "tracks is empty: give at least one track number");
        }
        self.out.insert("tracks".to_owned(), Value::from(tracks));
    }

    /// The number in its normal form, unless something is wrong with it.
    fn checked_track(&mut self, name: &str, text: &str) -> Option<String> {
        let track = track_number::normal(text);
        let service = self.out.get("delivery_service_id").and_then(Value::as_i64);
        let forced = self.out.get("force") == Some(&Value::Bool(true));
        let problem = track_number::unusable(&track).or_else(|| {
            let russian_post = service.is_none_or(|id| id == RUSSIAN_POST);
            (!forced).then(|| track_number::check_digit_problem(&track, russian_post)).flatten()
        });
        match problem {
            Some(message) => {
                self.problem(name, message);
                None
            }
            None => Some(track),
        }
    }

    fn delivery_service(&mut self) {
        const NAME: &str = "delivery_service_id";
        let Some(value) = self.value(NAME) else { return };
        let id = lenient::integer(value).and_then(|id| u32::try_from(id).ok()).or_else(|| {
            let name = lenient::string(value)?.to_lowercase();
            let named = |known: &str| !known.is_empty() && known.to_lowercase() == name;
            DELIVERY_SERVICES.iter().find(|(_, own, latin)| named(own) || named(latin)).map(|(id, _, _)| *id)
        });
        match id {
            Some(id) => {
                self.out.insert(NAME.to_owned(), Value::from(id));
            }
            None => {
                let names: Vec<_> = DELIVERY_SERVICES.iter().map(|(id, name, _)| format!("{id} {name}")).collect();
                self.problem(NAME, format!("give the service's number, or one of the names: {}", names.join(", ")));
            }
        }
    }

    fn phone(&mut self) {
        let Some(value) = self.value("phone") else { return };
        let Some(text) = lenient::string(value) else {
            if value.as_str().is_none() {
                self.problem("phone", "phone must be text, such as 79160000000");
            }
            return;
        };
        match federal_phone(&text) {
            Some(phone) => {
                self.out.insert("phone".to_owned(), Value::from(phone));
            }
            None => self.problem(
                "phone",
                format!("phone must be 11 digits that begin with 7, such as 79160000000; {NO_SMS_PHONE} means no SMS"),
            ),
        }
    }

    fn email(&mut self) {
        self.text("email", None);
        let good = |email: &str| {
            !email.contains(char::is_whitespace)
                && email.split_once('@').is_some_and(|(user, host)| {
                    !user.is_empty() && !host.is_empty() && !host.contains('@') && !email.contains(',')
                })
        };
        if self.out.get("email").and_then(Value::as_str).is_some_and(|email| !good(email)) {
            self.problem("email", "email must be one address, such as client@example.com");
        }
    }

    fn text(&mut self, name: &str, most: Option<usize>) {
        let Some(value) = self.value(name) else { return };
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return;
        }
        match lenient::string(value) {
            None => self.problem(name, format!("{name} must be text")),
            Some(text) => {
                let length = text.chars().count();
                if let Some(most) = most.filter(|most| length > *most) {
                    self.problem(name, format!("{name} has {length} characters, R-Lab takes {most}: shorten it"));
                }
                self.out.insert(name.to_owned(), Value::from(text));
            }
        }
    }

    fn item_cost(&mut self) {
        const NAME: &str = "item_cost";
        let Some(value) = self.value(NAME) else { return };
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return;
        }
        match exact_decimal(value) {
            Some(cost) => {
                self.out.insert(NAME.to_owned(), Value::Number(cost));
            }
            None => self.problem(
                NAME,
                format!("item_cost must be a decimal of at most {EXACT_DIGITS} digits, not negative, such as 123.45"),
            ),
        }
    }

    fn flag(&mut self, name: &str) {
        let Some(value) = self.value(name) else { return };
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            _ => match lenient::string(value).as_deref() {
                Some("1" | "true") => Some(true),
                Some("0" | "false") => Some(false),
                _ => None,
            },
        };
        match flag {
            Some(flag) => {
                self.out.insert(name.to_owned(), Value::from(flag));
            }
            None => self.problem(name, format!("{name} must be true or false")),
        }
    }
}

/// A Russian number as the vendor writes it, from the ways in which people write it.
fn federal_phone(text: &str) -> Option<String> {
    if text.contains(|c: char| !(c.is_ascii_digit() || " +-()\u{a0}".contains(c))) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match (digits.len(), digits.as_bytes().first()) {
        (11, Some(b'7')) => Some(digits),
        (11, Some(b'8')) if !text.contains('+') => Some(format!("7{}", &digits[1..])),
        (10, Some(b'9')) => Some(format!("7{digits}")),
        _ => None,
    }
}

/// A number that JSON writes with the very digits that were given.
fn exact_decimal(value: &Value) -> Option<Number> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().replace(',', "."),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() + fraction.len() > EXACT_DIGITS {
        return None;
    }
    match fraction {
        "" if whole.is_empty() => Some(Number::from(0)),
        "" => whole.parse::<u64>().ok().map(Number::from),
        // Five leading zeros and more would come out with an exponent, which no shop's price needs.
        _ if whole.is_empty() && fraction.starts_with("00000") => None,
        _ => format!("0{whole}.{fraction}").parse().ok().and_then(Number::from_f64),
    }
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
