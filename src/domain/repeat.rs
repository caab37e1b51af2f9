//! What tells a repeated order from a new one: the client's own token, and what it was given for.

use serde_json::Value;

use super::exchange::sha256_hex;

/// The longest `uid`, in characters.
pub const LONGEST_UID: usize = 200;
/// Skips checks and is not sent to any vendor: with and without it the same is ordered.
const FORCE: &str = "force";
/// Enough to tell orders of one token apart.
const FINGERPRINT: usize = 32;

/// With what an order, a retry or a decision was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The client's own token: the same token, the same order.
    pub uid: Option<String>,
    /// A fingerprint of what was asked for as it was written; empty where nothing was kept.
    pub written: String,
    /// What a move means; an order means its kind and its params.
    pub means: Option<String>,
    /// The account, where the client named one.
    pub account: Option<String>,
    /// The number of the mailbox row.
    pub row: Option<i64>,
    /// It is meant, although the same is under way.
    pub again: bool,
}

impl Asked {
    pub fn order(uid: Option<&str>, kind: &str, params: &Value, account: Option<&str>) -> Self {
        let written = uid.map(|_| cut(sha256_hex(format!("{kind}\n{}", without_force(params)).as_bytes())));
        Self {
            uid: uid.map(str::to_owned),
            written: written.unwrap_or_default(),
            account: account.map(str::to_owned),
            ..Self::default()
        }
    }

    /// A move on a job, told in words that name the job and what is to be done.
    pub fn of_move(uid: Option<String>, means: String, again: bool) -> Self {
        let means = cut(sha256_hex(means.as_bytes()));
        Self { uid, written: means.clone(), means: Some(means), again, ..Self::default() }
    }
}

/// What is wrong with a token.
pub fn uid_problem(uid: &str) -> Option<String> {
    let length = uid.chars().count();
    if !(1..=LONGEST_UID).contains(&length) {
        return Some(format!("uid must have 1 to {LONGEST_UID} characters; leave it out if there is none"));
    }
    uid.chars().any(char::is_control).then(|| {
        "uid must have no control characters (line feeds, tabs, NUL); every other character is allowed".to_owned()
    })
}

/// The hash of what params order, where it is not the one of their text: `force` is no part of an order.
pub fn order_hash(params: &str) -> Option<String> {
    // Most orders have none, and are not read.
    if !params.contains(FORCE) {
        return None;
    }
    let params: Value = serde_json::from_str(params).ok()?;
    params.get(FORCE)?;
    Some(sha256_hex(without_force(&params).as_bytes()))
}

/// What an order of this kind and hash means.
pub fn meaning(kind: &str, order_hash: &str) -> String {
    cut(sha256_hex(format!("{kind}\n{order_hash}").as_bytes()))
}

/// As JSON with its names in order.
fn without_force(params: &Value) -> String {
    match params {
        Value::Object(fields) if fields.contains_key(FORCE) => {
            let mut fields = fields.clone();
            fields.remove(FORCE);
            Value::Object(fields).to_string()
        }
        other => other.to_string(),
    }
}

fn cut(mut hash: String) -> String {
    hash.truncate(FINGERPRINT);
    hash
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Asked, order_hash, uid_problem};
    use crate::domain::exchange::sha256_hex;

    #[test]
    fn force_is_no_part_of_what_is_ordered() {
        let plain = json!({ "vin": "X" });
        assert_eq!(order_hash(&plain.to_string()), None);
        let forced = json!({ "force": true, "vin": "X" }).to_string();
        assert_eq!(order_hash(&forced), Some(sha256_hex(plain.to_string().as_bytes())));
        assert_eq!(order_hash(r#"{"vin":"force"}"#), None, "only the field of that name");
        let written = |params| Asked::order(Some("u"), "tronk.report", &params, None).written;
        assert_eq!(written(json!({ "a": 1, "b": 2, "force": true })), written(json!({ "b": 2, "a": 1 })));
        assert_ne!(written(json!({ "a": 1 })), written(json!({ "a": 2 })));
    }

    #[test]
    fn a_token_is_one_to_two_hundred_characters_without_control_characters() {
        for good in ["a", "заказ 7", &"ы".repeat(200), "\"quoted\"", "a/b:c#d"] {
            assert_eq!(uid_problem(good), None, "{good}");
        }
        for bad in ["", &"x".repeat(201), "a\nb", "\0", "a\u{7f}", "\u{85}"] {
            assert!(uid_problem(bad).is_some(), "{bad:?}");
        }
    }
}
