//! The answer to `get_balance`, whose form is not published: the number is looked for where it is likely to stand.

use serde_json::Value;

use crate::domain::Timestamp;
use crate::domain::account::Balance;
use crate::vendors::lenient;

/// Names of the field, in the order of trust. A name counts where it contains one of these.
const NAMES: [&str; 5] = ["balance", "баланс", "balans", "amount", "сумма"];
/// Answers nest a level or two.
const DEEPEST: usize = 6;

/// The balance in an answer, if a number can be found.
pub fn read(value: Option<&Value>, text: &str, now: Timestamp) -> Option<Balance> {
    let amount = match value {
        Some(value) => NAMES
            .iter()
            .find_map(|name| named(value, name, DEEPEST))
            .or_else(|| bare(value))
            .or_else(|| in_words(value, DEEPEST)),
        None => after_name(text).or_else(|| number(text)),
    }?;
    let unit = if is_roubles(text) { "RUB" } else { "" };
    Some(Balance { amount, unit: unit.to_owned(), text: Some(lenient::excerpt(text)), at: now })
}

fn named(value: &Value, name: &str, depth: usize) -> Option<f64> {
    let below = depth.checked_sub(1)?;
    match value {
        Value::Object(fields) => {
            let here = fields.iter().filter(|(key, _)| key.to_lowercase().contains(name));
            here.filter_map(|(_, value)| amount(value))
                .next()
                .or_else(|| fields.values().find_map(|value| named(value, name, below)))
        }
        Value::Array(items) => items.iter().find_map(|item| named(item, name, below)),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => None,
    }
}

fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => number(text),
        Value::Number(number) => number.as_f64(),
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Null => None,
    }
}

/// A document that is a number and nothing else.
fn bare(value: &Value) -> Option<f64> {
    if value.is_object() || value.is_array() { None } else { amount(value) }
}

/// A sentence somewhere in a document: its names and other fields are not read as words.
fn in_words(value: &Value, depth: usize) -> Option<f64> {
    let below = depth.checked_sub(1)?;
    match value {
        Value::String(text) => after_name(text),
        Value::Object(fields) => fields.values().find_map(|value| in_words(value, below)),
        Value::Array(items) => items.iter().find_map(|item| in_words(item, below)),
        Value::Number(_) | Value::Bool(_) | Value::Null => None,
    }
}

/// "Ваш баланс: 1 500,50 руб."
fn after_name(text: &str) -> Option<f64> {
    let lower = text.to_lowercase();
    NAMES.iter().find_map(|name| leading(lower.split_once(name)?.1.trim_start_matches(|c: char| !starts_number(c))))
}

fn starts_number(c: char) -> bool {
    c.is_ascii_digit() || c == '-'
}

/// What may follow the number in a text that is one.
const CURRENCIES: [&str; 9] = ["", "₽", "р", "р.", "руб", "руб.", "рублей", "rub", "rur"];

/// A text that is one number, with blanks between thousands, a comma or a point, and perhaps a currency. "502 Bad
/// Gateway" and a date begin with a number, and are none.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let (amount, rest) = split_number(text)?;
    let alone = text.starts_with(starts_number) && CURRENCIES.contains(&rest.trim().to_lowercase().as_str());
    alone.then_some(amount)
}

/// The number at the beginning of a text.
fn leading(text: &str) -> Option<f64> {
    split_number(text).map(|(amount, _)| amount)
}

/// The number at the beginning of a text, and what follows it.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let mut digits = String::new();
    let mut rest = "";
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' => digits.push(c),
            '-' | '−' if digits.is_empty() => digits.push('-'),
            ' ' | '\u{a0}' | '\u{202f}' => {}
            ',' | '.' if !digits.contains('.') => digits.push('.'),
            _ => {
                rest = &text[at..];
                break;
            }
        }
    }
    let amount: f64 = digits.trim_end_matches('.').parse().ok()?;
    amount.is_finite().then_some((amount, rest))
}

fn is_roubles(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["руб", "₽", "rub"].iter().any(|mark| lower.contains(mark))
}
