//! What goes over the wire: the signed form, the envelope of every answer, the lines of `track_list`.

use std::collections::HashMap;

use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::domain::exchange::{Answer, Body, Field, Host, Method, Request};
use crate::domain::{Reason, Timestamp};
use crate::vendors::lenient;
use crate::vendors::salvage::Last;

const PATH: &str = "/rail_tracking/api_v2.php";
/// Before a job's token in the comment: `track_list` is searched for it after a lost answer.
const TOKEN_MARK: &str = "opros:";

/// Who asks. The secret does not depend on the call, so it is as good as the password.
#[derive(Debug, Clone)]
pub struct Credentials {
    login: String,
    sa: String,
    secret: SecretString,
}

impl Credentials {
    pub fn new(login: &str, sa: &str, password: &SecretString) -> Self {
        let inner = md5_hex(password.expose_secret());
        let secret = SecretString::from(md5_hex(&format!("rail_tracking:{sa}:{inner}")));
        Self { login: login.to_owned(), sa: sa.to_owned(), secret }
    }

    /// A POST form: in a query the secret would stand in every log on the way.
    pub fn request(&self, action: &'static str, fields: Vec<Field>) -> Request {
        let mut form = vec![
            Field::open("action", action),
            Field::open("login", &self.login),
            Field::open("sa", &self.sa),
            Field::secret("secret", self.secret.expose_secret()),
        ];
        form.extend(fields);
        Request {
            op: action,
            method: Method::Post,
            host: Host::Primary,
            path: PATH.to_owned(),
            query: Vec::new(),
            body: Body::Form(form),
        }
    }
}

/// Lower-case hex, as the vendor hashes.
pub fn md5_hex(text: &str) -> String {
    crate::domain::exchange::hex(&Md5::digest(text.as_bytes()))
}

/// The comment of a request: the attempt's token first, so that it outlives a cut, then the user's own words.
pub fn comment(token: Option<&str>, words: Option<&str>) -> Option<String> {
    let token = token.map(|token| format!("{TOKEN_MARK}{token}"));
    match (token, words) {
        (Some(token), Some(words)) => Some(format!("{token} {words}")),
        (Some(text), None) => Some(text),
        (None, words) => words.map(str::to_owned),
    }
}

/// A request's hash, as Alta makes them.
pub fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// `error` or `fail` in the vendor's own form.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: Option<i64>,
    pub text: String,
}

impl Refusal {
    /// Says why, or names a code.
    pub fn has_words(&self) -> bool {
        self.code.is_some() || !self.text.is_empty()
    }

    pub fn reason(&self, code: &str) -> Reason {
        let number = self.code.map_or(String::new(), |code| format!(" (code {code})"));
        let text = if self.text.is_empty() { "no description" } else { &self.text };
        Reason::new(code, format!("Alta refused: {}{number}", lenient::excerpt(text)))
    }
}

/// Every answer: the status element, then the data.
#[derive(Debug, Clone, PartialEq)]
pub enum Envelope {
    /// `is_list`: the status element stood in its array, as before a list that may be empty.
    Ok {
        head: Value,
        items: Vec<Value>,
        is_list: bool,
    },
    Refused(Refusal),
}

/// The status element may stand alone, without its array.
pub fn envelope(answer: &Answer) -> Result<Envelope, Reason> {
    opened(answer, Last::MayBeCut)
}

/// The same of an answer that is asked for again and again: whatever can be read of it is.
pub fn envelope_of_poll(answer: &Answer) -> Result<Envelope, Reason> {
    opened(answer, Last::IsBroken)
}

fn opened(answer: &Answer, last: Last) -> Result<Envelope, Reason> {
    let (head, items, is_list) = match lenient::json_of_records(answer, last)? {
        Value::Array(mut all) if !all.is_empty() => (all.remove(0), all, true),
        all @ Value::Object(_) => of_object(all),
        other => return Err(strange(answer, &other)),
    };
    let status = lenient::string_field(&head, "status").unwrap_or_default().to_lowercase();
    match status.as_str() {
        "ok" => Ok(Envelope::Ok { head, items, is_list }),
        "error" | "fail" => Ok(Envelope::Refused(Refusal {
            code: lenient::integer_field(&head, "code"),
            text: lenient::string_field(&head, "descr").unwrap_or_default(),
        })),
        _ => Err(strange(answer, &head)),
    }
}

/// The status element alone; or PHP's list with holes, whose elements have numbers for names: with the status element for
/// the first of them, or with its fields beside them.
fn of_object(all: Value) -> (Value, Vec<Value>, bool) {
    let Value::Object(mut fields) = all else { return (all, Vec::new(), false) };
    let numbered: Vec<String> = lenient::numbered(&fields).into_iter().map(|(name, _)| name.clone()).collect();
    let mut items: Vec<Value> = numbered.iter().filter_map(|name| fields.remove(name)).collect();
    let is_list = !items.is_empty();
    if is_list && fields.is_empty() {
        let head = items.remove(0);
        return (head, items, true);
    }
    (Value::Object(fields), items, is_list)
}

fn strange(answer: &Answer, value: &Value) -> Reason {
    Reason::new(
        "strange_answer",
        format!("HTTP {}: no status ok, error or fail: {}", answer.status, lenient::excerpt(&value.to_string())),
    )
}

/// One request in `track_list`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Differs whenever the vendor touched the request.
    pub mark: String,
    pub modified: Option<Timestamp>,
    /// 1 queued, 2 in the works, 3 and 4 done.
    pub status: Option<i64>,
    pub on_track: Option<bool>,
}

impl Entry {
    fn read(item: &Value) -> Self {
        let modify_date = lenient::string_field(item, "modify_date").unwrap_or_default();
        let status = lenient::integer_field(item, "status");
        let on_track = lenient::field(item, "on_track").and_then(flag);
        Self {
            mark: format!("{modify_date}|{}|{}", status.unwrap_or(-1), on_track.map_or(-1, i64::from)),
            modified: lenient::moscow_time(&modify_date),
            status,
            on_track,
        }
    }

    /// A status that nobody can read hides nothing: it is taken for done.
    pub fn done(&self) -> bool {
        !matches!(self.status, Some(1 | 2))
    }
}

/// 1 and 0, as numbers or text.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        other => lenient::integer(other).map(|number| number != 0),
    }
}

/// The account's requests, found by hash and by token.
#[derive(Debug, Default)]
pub struct TrackList {
    pub entries: HashMap<String, Entry>,
    /// Every line could be read, so that an absence proves something.
    pub complete: bool,
    by_token: HashMap<String, Vec<String>>,
}

impl TrackList {
    pub fn read(items: &[Value]) -> Self {
        let mut list = TrackList { entries: HashMap::with_capacity(items.len()), complete: true, ..Self::default() };
        for item in items {
            let Some(hash) = lenient::string_field(item, "hash").and_then(|text| hash(&text)) else {
                list.complete = false;
                continue;
            };
            // What was sent as the comment comes back as the name.
            for text in ["name", "comment"].into_iter().filter_map(|field| lenient::string_field(item, field)) {
                for token in tokens(&text) {
                    let found = list.by_token.entry(token.to_owned()).or_default();
                    if !found.contains(&hash) {
                        found.push(hash.clone());
                    }
                }
            }
            list.entries.insert(hash, Entry::read(item));
        }
        list
    }

    pub fn with_token(&self, token: &str) -> &[String] {
        self.by_token.get(token).map_or(&[], Vec::as_slice)
    }
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(TOKEN_MARK).skip(1).filter_map(|rest| rest.split_whitespace().next())
}

/// The answer of a one-shot, as its result.
pub fn result(kind: &str, head: &Value, items: &[Value]) -> Value {
    match kind {
        "alta.track_list" => json!({ "requests": items }),
        "alta.carr_list" => {
            let first = items.first().and_then(Value::as_object).cloned().unwrap_or_default();
            let mut result = Map::from_iter([("carrs".to_owned(), Value::Array(Vec::new()))]);
            result.extend(first);
            if let Some(carrs) = result.get("carrs").and_then(lenient::list) {
                let carrs = carrs.into_iter().cloned().collect();
                result.insert("carrs".to_owned(), Value::Array(carrs));
            }
            Value::Object(result)
        }
        _ if items.is_empty() => head.clone(),
        _ => json!({ "status": head, "data": items }),
    }
}
