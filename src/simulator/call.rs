//! One request as the vendors see it, and what a vendor answers.

use std::borrow::Cow;

use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::callback::Delivery;
use crate::domain::Timestamp;

/// Whose host was called. R-Lab has two, with the same account behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    Tronk,
    Alta,
    Rlab,
    RlabReserve,
    Vagvin,
}

impl Host {
    pub const ALL: [Host; 5] = [Host::Tronk, Host::Alta, Host::Rlab, Host::RlabReserve, Host::Vagvin];

    pub fn name(self) -> &'static str {
        match self {
            Host::Tronk => "tronk",
            Host::Alta => "alta",
            Host::Rlab => "rlab",
            Host::RlabReserve => "rlab-reserve",
            Host::Vagvin => "vagvin",
        }
    }
}

/// What kind of call it is, whatever the vendor calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpClass {
    /// Starts work, and usually bills it.
    Submit,
    /// Asks how one piece of work stands.
    Poll,
    /// Asks what there is at all.
    List,
    Other,
}

impl OpClass {
    pub fn name(self) -> &'static str {
        match self {
            OpClass::Submit => "submit",
            OpClass::Poll => "poll",
            OpClass::List => "list",
            OpClass::Other => "other",
        }
    }
}

/// A request as it came, before any vendor looked at it.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub post: bool,
    /// Without the vendor's prefix: `reportphone.ashx`.
    pub path: String,
    /// The URL with the prefix, for redirects that lead back to where they came from.
    pub uri: String,
    pub query: Params,
    pub body: Bytes,
}

/// A request that a vendor recognised.
#[derive(Debug, Clone)]
pub struct Call {
    /// The number under which it stands in the request log; a booking points back to it.
    pub n: u64,
    pub host: Host,
    /// The vendor's own name for it: `setqueue`, `add`, `addtrack`, …
    pub op: Cow<'static, str>,
    /// What it is about: phone, id, hash, wagons, tracks, VIN.
    pub keys: Vec<String>,
    pub params: Params,
    /// The body, where the vendor speaks JSON; null otherwise.
    pub json: Value,
    pub incoming: Incoming,
}

/// What a vendor makes of a request line before anything is done about it.
#[derive(Debug)]
pub struct Reading {
    pub op: Cow<'static, str>,
    pub class: OpClass,
    pub keys: Vec<String>,
    pub params: Params,
    pub json: Value,
}

/// Pairs in the order in which they came, decoded.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    pub fn parse(text: &[u8]) -> Self {
        let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        Self(pairs.map(split_pair).collect())
    }

    pub fn join(mut self, more: Params) -> Self {
        self.0.extend(more.0);
        self
    }

    /// The first value of that name, blanks trimmed; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }
}

fn split_pair(pair: &[u8]) -> (String, String) {
    let cut = pair.iter().position(|byte| *byte == b'=');
    match cut {
        Some(at) => (decode(&pair[..at]), decode(&pair[at + 1..])),
        None => (decode(pair), String::new()),
    }
}

fn decode(text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = hex.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        plain.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// What goes back over the wire, and the call-backs that the work sets off.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Bytes,
    /// Sent before the answer is.
    pub early: Vec<Delivery>,
    pub later: Vec<(Timestamp, Delivery)>,
}

impl Reply {
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), early: Vec::new(), later: Vec::new() }
    }

    pub fn json(value: &Value) -> Self {
        Self::new(StatusCode::OK, "application/json; charset=utf-8", value.to_string())
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "text/html; charset=utf-8", "<html><body><h1>404 Not Found</h1></body></html>")
    }

    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }
}

/// Why a vendor refuses whatever it is asked, in the vendor's own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    BadKey,
    AccessEnded,
    NoMoney,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_as_a_form_is() {
        let params = Params::parse("a=1&b=%D0%BF+%28x%29&empty=&bare&bad=%zz%4".as_bytes());
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some("п (x)"));
        assert_eq!(params.get("empty"), None);
        assert_eq!(params.get("bare"), None);
        assert_eq!(params.get("bad"), Some("%zz%4"));
    }
}
