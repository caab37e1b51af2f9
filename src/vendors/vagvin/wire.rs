//! What goes over the wire: the one address, and readers of answers that nobody has published.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::catalogue::GET_BALANCE;
use super::refusal;
use crate::domain::Reason;
use crate::domain::exchange::{Answer, Body, Host, Method, Request};
use crate::vendors::faults::{self, About, Lexicon};
use crate::vendors::lenient;

/// Everything that the vendor is asked is asked here.
const PATH: &str = "/api/processing_queue";
/// The params that travel, by the vendor's names.
const SENT: [&str; 7] =
    ["vin", "check_type", "car_brand", "report_language", "telegram_id", "client_email", "your_email"];
/// Where an id of an order may stand, in answers and in call-backs.
pub const IDS: [&str; 4] = ["id", "uid", "order_uiid", "order_uuid"];
/// A longer "id" is something else.
const LONGEST_ID: usize = 200;

/// Orders a report. `echo`: further fields with a token of ours, where the account's entry point is known to echo them.
pub fn order(token: &SecretString, params: &Value, echo: &[String], ours: &str) -> Request {
    // What the page documents means what the page says, whatever the account's settings.
    let echo = echo.iter().filter(|name| *name != "token" && !SENT.contains(&name.as_str()));
    let mut fields: Map<String, Value> = echo.map(|name| (name.clone(), Value::from(ours))).collect();
    for name in SENT {
        if let Some(value) = params.get(name) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    post("processing_queue", token, fields)
}

pub fn get_balance(token: &SecretString) -> Request {
    post(GET_BALANCE, token, Map::from_iter([("check_type".to_owned(), json!(GET_BALANCE))]))
}

fn post(op: &'static str, token: &SecretString, mut fields: Map<String, Value>) -> Request {
    fields.insert("token".to_owned(), Value::from(token.expose_secret()));
    Request {
        op,
        method: Method::Post,
        host: Host::Primary,
        path: PATH.to_owned(),
        query: Vec::new(),
        body: Body::Json {
            value: Value::Object(fields),
            secrets: &["/token"],
            content_type: "application/json".to_owned(),
        },
    }
}

/// What a whole answer says, whatever was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// 2xx. The body is whatever it is; none where it is empty or no JSON.
    Yes {
        value: Option<Value>,
        text: String,
    },
    /// Refused in the vendor's own form, for the order's sake.
    No(String),
    /// Refused, and the account is why: token, access, money.
    Held(String),
    /// Not taken, and welcome later.
    Later(String),
    Unclear(Reason),
}

/// Sorts an answer.
///
/// The sheet on answers is blank but for one running client: 2xx is acceptance, anything else carries
/// `{"error": "text"}`. So every 2xx that can be read accepts, an empty one and a bare "ok" included, and three are
/// excepted: an HTML page or a cut JSON was not written by the API; an `error` with nothing beside it is the vendor's own
/// form of a refusal; an `error` beside an id or other news, or a `"success": false` without one, contradicts the 2xx,
/// and nobody knows.
pub fn said(answer: &Answer, pause_on: &[String]) -> Said {
    let text = lenient::answer_text(answer);
    let text = text.trim();
    let accepted = (200..300).contains(&answer.status);
    match lenient::json(answer) {
        Ok(value) => match refusal::text(&value) {
            Some(error) if accepted && !refusal::stands_alone(&value) => unclear(
                "contradictory_answer",
                format!("HTTP {} with the error {:?} and more beside it", answer.status, lenient::excerpt(&error)),
            ),
            // Any gateway may say `"error": true`; outside 2xx it is the vendor's word only together with its text.
            Some(error) if !accepted && error == refusal::NO_TEXT && !is_about_account(answer.status) => {
                unclear("unknown_answer", format!("HTTP {} with {error}", answer.status))
            }
            Some(error) => refused(answer.status, error, pause_on),
            None if accepted && refusal::is_denial(&value) => unclear(
                "contradictory_answer",
                format!("HTTP {} with a body that says no: {}", answer.status, lenient::excerpt(text)),
            ),
            None if accepted => Said::Yes { value: Some(value), text: text.to_owned() },
            None if is_about_account(answer.status) => {
                Said::Held(format!("HTTP {}: {}", answer.status, lenient::excerpt(text)))
            }
            None => unclear("unknown_answer", format!("HTTP {}: {}", answer.status, lenient::excerpt(text))),
        },
        Err(_) if accepted && is_plain(&answer.body) => Said::Yes { value: None, text: text.to_owned() },
        Err(reason) => Said::Unclear(reason),
    }
}

fn refused(status: u16, error: String, pause_on: &[String]) -> Said {
    let known = |texts: &[&str]| {
        let lower = error.to_lowercase();
        texts.iter().any(|text| lower.contains(text))
    };
    if status >= 500 && known(BROKEN) {
        // A framework wrote this when the vendor's code fell over, before or after the order was booked.
        return unclear("vendor_broken", format!("HTTP {status}: {}", lenient::excerpt(&error)));
    }
    if is_about_account(status) {
        return Said::Held(error);
    }
    match faults::about(&error, &LEXICON, pause_on) {
        About::Credentials | About::Access | About::Money => Said::Held(error),
        About::Later => Said::Later(error),
        About::Broken => unclear("vendor_broken", format!("HTTP {status}: {}", lenient::excerpt(&error))),
        About::Other => Said::No(error),
    }
}

fn unclear(code: &str, message: String) -> Said {
    Said::Unclear(Reason::new(code, message))
}

/// 401 and 402 say by themselves that the caller, not the order, is at fault. 403 may be said of an order.
fn is_about_account(status: u16) -> bool {
    matches!(status, 401 | 402)
}

/// Texts of bad key, no access, no money. The vendor's own are unknown: `pause_on` adds to these. They are phrases,
/// since bare words ("доступ", "средств") also stand in texts about brands and vehicles.
const LEXICON: Lexicon = Lexicon {
    credentials: &["не авториз*", "unauthorized"],
    access: &["доступ законч*", "законч* доступ"],
    money: &[],
    vague_credentials: &["токен|токена|токену|токеном|токене|token|tokens", "api key", "apikey"],
    vague_access: &["access denied", "нет доступа", "доступ запрещ*|закры*"],
    vague_money: &["баланс|баланса|балансе|балансу|балансом|balance"],
};

const BROKEN: &[&str] = &[
    "internal server error",
    "internal error",
    "bad gateway",
    "gateway time",
    "timed out",
    "unavailable",
    "exception",
];

/// Empty, or text of people's or programs' making: not a page, not JSON that was cut, not bytes.
fn is_plain(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| {
        let text = text.trim_start_matches('\u{feff}').trim();
        !text.starts_with(['<', '{', '[', '"']) && !text.chars().any(|c| c.is_control() && !c.is_whitespace())
    })
}

/// Every id in a document, at its top and inside `data`, in the order of [`IDS`].
pub fn ids(value: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    each_level(value, &mut |level| {
        for id in IDS.iter().filter_map(|name| lenient::string_field(level, name)) {
            if id.len() <= LONGEST_ID && !found.contains(&id) {
                found.push(id);
            }
        }
    });
    found
}

/// `data` in `data` in `data` is as deep as anyone goes.
pub const DEEPEST: usize = 4;

/// Shows a document and what lies in its `data`: an object, an array of one object, or either as text.
pub fn each_level(value: &Value, show: &mut dyn FnMut(&Value)) {
    descend(value, DEEPEST, show);
}

fn descend(value: &Value, depth: usize, show: &mut dyn FnMut(&Value)) {
    let Some(below) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(_) => {
            show(value);
            if let Some(data) = lenient::field(value, "data") {
                descend(data, below, show);
            }
        }
        Value::Array(items) => {
            if let [item] = items.as_slice() {
                descend(item, below, show);
            }
        }
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            if let Some(inner) = lenient::parse(text) {
                descend(&inner, below, show);
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}
