//! How the vendor says no: `{"error": "text"}`. The same form is looked for in answers and in call-backs.

use serde_json::Value;

use crate::vendors::lenient;

/// Where the text stands when `error` itself is only a flag.
const TEXTS: [&str; 6] = ["error_msg", "error_message", "message", "msg", "detail", "description"];
/// What people write into `error` when nothing is wrong.
const NO_ERROR: [&str; 9] = ["", "false", "0", "null", "none", "no", "ok", "нет", "-"];

/// The error that an object carries; none when it has none, or one that means "no error".
pub fn text(object: &Value) -> Option<String> {
    let error = lenient::field(object, "error")?;
    match error {
        Value::Null => None,
        Value::String(said) if flag(said) => Some(beside(object)),
        Value::String(said) => {
            let said = said.trim();
            (!NO_ERROR.contains(&said.to_lowercase().as_str())).then(|| said.to_owned())
        }
        Value::Bool(_) | Value::Number(_) => lenient::truthy(error).then(|| beside(object)),
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::Array(_) | Value::Object(_) => {
            Some(first_text(error).unwrap_or_else(|| lenient::excerpt(&error.to_string())))
        }
    }
}

fn flag(said: &str) -> bool {
    matches!(said.trim().to_lowercase().as_str(), "true" | "1" | "yes")
}

/// What stands for the text where there is none.
pub const NO_TEXT: &str = "an error without a text";

fn beside(object: &Value) -> String {
    first_text(object).unwrap_or_else(|| NO_TEXT.to_owned())
}

fn first_text(object: &Value) -> Option<String> {
    TEXTS.iter().find_map(|name| lenient::string_field(object, name))
}

/// Whether an error in a 2xx answer stands alone: nothing beside it could mean that the order was taken all the same.
pub fn stands_alone(object: &Value) -> bool {
    let Some(fields) = object.as_object() else { return false };
    fields.iter().all(|(name, value)| {
        let name = name.to_lowercase();
        let empty = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.trim().is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        match name.as_str() {
            "error" | "code" | "error_code" | "status_code" => true,
            "status" | "result" => empty || lenient::string(value).is_some_and(|word| negative(&word)),
            name if TEXTS.contains(&name) => true,
            _ => empty,
        }
    })
}

/// Whether a body without `error` says no all the same, in a form that nobody has seen of this vendor.
pub fn is_denial(value: &Value) -> bool {
    let denied = |name| matches!(lenient::field(value, name), Some(Value::Bool(false)));
    *value == Value::Bool(false)
        || denied("success")
        || denied("ok")
        || lenient::string_field(value, "status").is_some_and(|word| negative(&word))
}

fn negative(word: &str) -> bool {
    matches!(word.to_lowercase().as_str(), "error" | "fail" | "failed" | "false" | "ошибка")
        || word.parse::<u16>().is_ok_and(|code| code >= 400)
}
