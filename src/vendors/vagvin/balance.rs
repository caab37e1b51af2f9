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
        None => of_currency(text).or_else(|| after_name(text)).or_else(|| number(text)),
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
        Value::String(text) => of_currency(text).or_else(|| after_name(text)),
        Value::Object(fields) => fields.values().find_map(|value| in_words(value, below)),
        Value::Array(items) => items.iter().find_map(|item| in_words(item, below)),
        Value::Number(_) | Value::Bool(_) | Value::Null => None,
    }
}

/// "Ваш баланс: 1 500,50 руб."
fn after_name(text: &str) -> Option<f64> {
    let lower = text.to_lowercase();
    NAMES.iter().find_map(|name| numbers(lower.split_once(name)?.1).into_iter().map(|(amount, _)| amount).next())
}

/// "Баланс на 01.02.2026: 1500 руб.": where a number has a currency, that one is meant, and no other.
fn of_currency(text: &str) -> Option<f64> {
    let lower = text.to_lowercase();
    let named = NAMES.iter().find_map(|name| Some(lower.split_once(name)?.1))?;
    let found = numbers(named).into_iter().find(|(_, rest)| {
        let word: String = rest.trim_start().chars().take_while(|c| c.is_alphabetic() || *c == '₽').collect();
        !word.is_empty() && CURRENCIES.contains(&word.as_str())
    });
    found.map(|(amount, _)| amount)
}

/// The numbers in a text and what follows each; dates and times are none.
fn numbers(text: &str) -> Vec<(f64, &str)> {
    const SENTENCE: usize = 500;
    let mut text = text.char_indices().nth(SENTENCE).map_or(text, |(at, _)| &text[..at]);
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches(|c: char| !starts_number(c));
        if text.is_empty() {
            return found;
        }
        let length = text.find(|c: char| !(c.is_ascii_digit() || "-.:/".contains(c))).unwrap_or(text.len());
        let word = text[..length].trim_end_matches(['.', ':', '-', '/']);
        if is_date(word) {
            text = &text[length..];
            continue;
        }
        match split_number(text) {
            Some((amount, rest)) => {
                found.push((amount, rest));
                text = rest;
            }
            // A dash, and no number behind it.
            None => text = &text[1..],
        }
    }
}

/// 01.02.2026, 2026-02-01, 12:30.
fn is_date(word: &str) -> bool {
    let parts: Vec<&str> = word.split(['.', '-', '/', ':']).collect();
    let all_digits = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    all_digits && (parts.len() > 2 || (parts.len() == 2 && word.contains(':')))
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
