//! Reading a foreign row, which may hold anything that SQLite can store: bytes that are no text, numbers that are no times,
//! JSON of any depth, nothing at all. Whatever it is, the row stands for itself alone.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::exchange::{from_hex, sha256_hex};
use crate::domain::json::{self, StrictError};
use crate::domain::{Reason, Timestamp};
use crate::engine::intake::{JobRequest, LARGEST_PARAMS, LONGEST_KEY};

/// A text column as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawText {
    Null,
    Bytes(Vec<u8>),
    /// Not fetched.
    TooLong,
    /// Of a storage class that is no text.
    Foreign(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawNumber {
    Null,
    Integer(i64),
    Foreign(String),
}

/// A row of [`super::sql::NEW_ROWS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow {
    pub id: i64,
    pub cancel_requested: bool,
    pub uid: RawText,
    pub kind: RawText,
    pub params: RawText,
    pub account: RawText,
    pub dedupe_key: RawText,
    pub tag: RawText,
    pub priority: RawNumber,
    pub not_before: RawNumber,
    pub deadline: RawNumber,
}

/// A row that was read: under which token the store will know it, and what it asks for or what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadRow {
    pub id: i64,
    pub uid: String,
    /// The token in the file cannot be used; this one stands for it.
    pub is_alias: bool,
    pub cancel_requested: bool,
    pub kind: Option<String>,
    pub request: Result<JobRequest, Reason>,
}

/// What the SQL makes of a column: its storage class, and the value where it may be fetched; of a text its bytes in hex.
type Text = (String, Option<String>);
type Number = (String, Option<i64>);

/// A row as [`super::sql::NEW_ROWS`] gives it.
impl<'de> Deserialize<'de> for RawRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RawRow, D::Error> {
        type Row = (i64, i64, Text, Text, Text, Text, Text, Text, Number, Number, Number);
        let (id, cancel, uid, kind, params, account, dedupe_key, tag, priority, not_before, deadline) =
            Row::deserialize(from)?;
        Ok(RawRow {
            id,
            cancel_requested: cancel == 1,
            uid: text(uid),
            kind: text(kind),
            params: text(params),
            account: text(account),
            dedupe_key: text(dedupe_key),
            tag: text(tag),
            priority: number(priority),
            not_before: number(not_before),
            deadline: number(deadline),
        })
    }
}

impl RawRow {
    pub fn read(self) -> ReadRow {
        let uid = match clean("uid", &self.uid) {
            Ok(Some(uid)) if (1..=LONGEST_KEY).contains(&uid.len()) => Ok(uid),
            _ => Err(alias(self.id, &self.uid)),
        };
        let is_alias = uid.is_err();
        let kind = clean("kind", &self.kind).ok().flatten();
        let request = if is_alias {
            let message = format!("uid: it must be 1 to {LONGEST_KEY} bytes of UTF-8 text without control characters");
            Err(Reason::new("bad_uid", message))
        } else {
            self.request()
        };
        let uid = uid.unwrap_or_else(|alias| alias);
        ReadRow { id: self.id, uid, is_alias, cancel_requested: self.cancel_requested, kind, request }
    }

    fn request(&self) -> Result<JobRequest, Reason> {
        Ok(JobRequest {
            kind: clean("kind", &self.kind)?.unwrap_or_default(),
            params: params(&self.params)?,
            account: clean("account", &self.account)?,
            dedupe_key: clean("dedupe_key", &self.dedupe_key)?,
            priority: whole("priority", &self.priority)?,
            not_before: whole("not_before", &self.not_before)?.map(|ms| time("not_before", ms)).transpose()?,
            deadline: whole("deadline", &self.deadline)?.map(|ms| time("deadline", ms)).transpose()?,
            tag: clean("tag", &self.tag)?,
            uid: None,
        })
    }
}

fn text((class, hex): Text) -> RawText {
    match (class.as_str(), hex.and_then(|hex| from_hex(&hex))) {
        ("null", _) => RawText::Null,
        ("text", Some(bytes)) => RawText::Bytes(bytes),
        ("text", None) => RawText::TooLong,
        _ => RawText::Foreign(class),
    }
}

fn number((class, value): Number) -> RawNumber {
    match (class.as_str(), value) {
        ("null", _) => RawNumber::Null,
        ("integer", Some(n)) => RawNumber::Integer(n),
        _ => RawNumber::Foreign(class),
    }
}

fn clean(column: &str, raw: &RawText) -> Result<Option<String>, Reason> {
    let text = match raw {
        RawText::Null => return Ok(None),
        RawText::TooLong => {
            return Err(Reason::new("too_long", format!("{column}: longer than {LONGEST_KEY} bytes")));
        }
        RawText::Foreign(class) => {
            return Err(Reason::new("bad_text", format!("{column}: a value of the class {class}, not text")));
        }
        RawText::Bytes(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| Reason::new("bad_text", format!("{column}: the text is not UTF-8")))?,
    };
    // Texts with a NUL end there for most of SQLite, and control characters forge lines wherever the text is shown.
    if text.chars().any(char::is_control) {
        return Err(Reason::new("bad_text", format!("{column}: the text has control characters")));
    }
    Ok(Some(text.to_owned()))
}

fn params(raw: &RawText) -> Result<Value, Reason> {
    let bad = |what: String| Reason::new("bad_params", format!("params: {what}"));
    match raw {
        RawText::Null => Err(bad("there are none; give a JSON object".to_owned())),
        RawText::TooLong => {
            let message = format!("params: larger than {} KiB; send less", LARGEST_PARAMS >> 10);
            Err(Reason::new("params_too_large", message))
        }
        RawText::Foreign(class) => Err(bad(format!("a value of the class {class}, not JSON text"))),
        RawText::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| bad("not valid JSON: no UTF-8".to_owned()))?;
            // A byte order mark, as 1C and PowerShell write it.
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let value = json::strict(text).map_err(|error| match error {
                StrictError::Twice { .. } => bad(format!("{}: {error}", error.pointer().trim_start_matches('/'))),
                StrictError::Json(error) => bad(format!("not valid JSON: {error}")),
            })?;
            if value.is_object() { Ok(value) } else { Err(bad("not a JSON object".to_owned())) }
        }
    }
}

fn whole(column: &str, raw: &RawNumber) -> Result<Option<i64>, Reason> {
    match raw {
        RawNumber::Null => Ok(None),
        RawNumber::Integer(n) => Ok(Some(*n)),
        RawNumber::Foreign(class) => {
            Err(Reason::new("bad_number", format!("{column}: a value of the class {class}, not a whole number")))
        }
    }
}

fn time(column: &str, ms: i64) -> Result<Timestamp, Reason> {
    let at = Timestamp::from_millis(ms);
    if at.as_millis() == ms {
        Ok(at)
    } else {
        Err(Reason::new("bad_time", format!("{column}: {ms} is no time; give Unix milliseconds, UTC")))
    }
}

/// The same row gets the same alias again, after a crash too.
fn alias(id: i64, uid: &RawText) -> String {
    let bytes = match uid {
        RawText::Bytes(bytes) => bytes.as_slice(),
        RawText::Null | RawText::TooLong | RawText::Foreign(_) => b"",
    };
    format!("unreadable:{id}:{}", &sha256_hex(bytes)[..16])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RawNumber, RawRow, RawText};

    fn any_text() -> impl Strategy<Value = RawText> {
        prop_oneof![
            Just(RawText::Null),
            Just(RawText::TooLong),
            Just(RawText::Foreign("real".to_owned())),
            prop::collection::vec(any::<u8>(), 0..64).prop_map(RawText::Bytes),
            "[a-z]{190,210}".prop_map(|text| RawText::Bytes(text.into_bytes())),
            ".{0,40}".prop_map(|text| RawText::Bytes(text.into_bytes())),
            "[a-z._]{1,20}".prop_map(|text| RawText::Bytes(text.into_bytes())),
            r#"\{("[a-z]{1,4}":([0-9]{1,4}|"[^"\\]{0,8}"),?){0,4}\}"#
                .prop_map(|text| RawText::Bytes(text.into_bytes())),
        ]
    }

    fn any_number() -> impl Strategy<Value = RawNumber> {
        prop_oneof![
            Just(RawNumber::Null),
            Just(RawNumber::Foreign("text".to_owned())),
            any::<i64>().prop_map(RawNumber::Integer),
        ]
    }

    prop_compose! {
        fn any_row()(
            id in any::<i64>(), cancel_requested in any::<bool>(), uid in any_text(), kind in any_text(),
            params in any_text(), account in any_text(), dedupe_key in any_text(), tag in any_text(),
            priority in any_number(), not_before in any_number(), deadline in any_number(),
        ) -> RawRow {
            RawRow { id, cancel_requested, uid, kind, params, account, dedupe_key, tag, priority, not_before, deadline }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_row_holds_it_is_read_into_a_request_or_a_reason(row in any_row()) {
            let read = row.clone().read();
            prop_assert!(!read.uid.is_empty() && read.uid.len() <= 200);
            prop_assert!(!read.uid.chars().any(char::is_control));
            prop_assert_eq!(read.clone(), row.read(), "the same row is read in the same way");
            match read.request {
                Ok(request) => {
                    prop_assert!(!read.is_alias && request.params.is_object());
                    for text in [Some(&request.kind), request.account.as_ref(), request.dedupe_key.as_ref(), request.tag.as_ref()] {
                        prop_assert!(!text.is_some_and(|text| text.chars().any(char::is_control)));
                    }
                }
                Err(reason) => prop_assert!(!reason.code.is_empty() && reason.message.contains(':')),
            }
        }

        #[test]
        fn unreadable_tokens_of_different_rows_never_share_an_alias(row in any_row(), other in any::<i64>()) {
            prop_assume!(row.id != other);
            let one = row.clone().read();
            let two = RawRow { id: other, ..row }.read();
            prop_assert_eq!(one.is_alias, one.uid != two.uid);
        }
    }

    #[test]
    fn json_of_any_depth_is_refused_without_harm() {
        let deep = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
        let raw = RawText::Bytes(deep.into_bytes());
        assert_eq!(super::params(&raw).unwrap_err().code, "bad_params");
    }
}
