//! `Idempotency-Key`: another spelling of an order's `uid`, as a header.

use axum::http::HeaderMap;

use super::problem::Problem;
use crate::domain::repeat::uid_problem;
use crate::engine::intake::FieldProblem;

pub const HEADER: &str = "idempotency-key";

/// The token in the header. In quotes, as the standard's draft writes it, it is the same as without.
pub fn of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Problem::field("given_twice", "/uid", "Idempotency-Key is given twice; send one"));
    }
    let wrong = |what: String| Problem::field("bad_uid", "/uid", format!("Idempotency-Key: {what}"));
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| wrong("it must be UTF-8 text".to_owned()))?;
    let key = unquoted(text);
    match uid_problem(&key) {
        Some(problem) => Err(wrong(problem)),
        None => Ok(Some(key)),
    }
}

/// The token of a request that may say it in the header and in the body; both must say the same.
pub fn one(header: Option<&str>, body: Option<String>) -> Result<Option<String>, FieldProblem> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => Err(FieldProblem::new(
            "uid_given_twice",
            "/uid",
            format!(
                "the header Idempotency-Key says {header:?} and the body's uid says {body:?}; send one, or the same"
            ),
        )),
        (Some(header), _) => Ok(Some(header.to_owned())),
        (None, body) => Ok(body),
    }
}

fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return text.to_owned() };
    let mut key = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        escaped = c == '\\' && !escaped;
        if !escaped {
            key.push(c);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::{HEADER, of, one};

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_the_same_with_and_without_the_quotes_of_the_draft() {
        for (given, key) in [
            ("lead-17", "lead-17"),
            ("\"lead-17\"", "lead-17"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("заказ 7", "заказ 7"),
            ("\"", "\""),
        ] {
            assert_eq!(of(&headers(&[given])).unwrap().as_deref(), Some(key), "{given}");
        }
        assert_eq!(of(&headers(&[])).unwrap(), None);
        for bad in [&[""][..], &["\"\""], &["a", "a"], &[&"x".repeat(201)]] {
            assert_eq!(of(&headers(bad)).unwrap_err().status(), 422, "{bad:?}");
        }
    }

    #[test]
    fn header_and_body_must_say_the_same() {
        assert_eq!(one(Some("a"), Some("a".to_owned())).unwrap().as_deref(), Some("a"));
        assert_eq!(one(None, Some("b".to_owned())).unwrap().as_deref(), Some("b"));
        let both = one(Some("a"), Some("b".to_owned())).unwrap_err();
        assert!(both.message.contains("\"a\"") && both.message.contains("\"b\""), "{}", both.message);
    }
}
