//! One event as it is written: cleaned texts, names that are the same in every format.

use std::fmt::{self, Write};

use serde_json::Value;
use tracing::Level;
use tracing::field::{Field, Visit};

use crate::domain::masking::Masker;

/// Longer ones are cut: a vendor's page is no line of a log.
const LONGEST_FIELD: usize = 500;
const LONGEST_MESSAGE: usize = 4_000;

/// An event, ready to be written in any format.
#[derive(Debug)]
pub struct Line {
    pub level: Level,
    pub target: &'static str,
    pub message: String,
    /// Texts in them are clean.
    pub fields: Vec<(&'static str, Value)>,
}

impl Line {
    pub fn of(event: &tracing::Event<'_>, masker: &Masker) -> Line {
        let meta = event.metadata();
        let fields = Vec::new();
        let line = Line { level: *meta.level(), target: meta.target(), message: String::new(), fields };
        let mut writer = Writer { line, masker };
        event.record(&mut writer);
        writer.line
    }

    /// Message and fields for people; who speaks, where it is not opros.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.target.starts_with("opros") {
            text.push_str(self.target);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        for (name, value) in &self.fields {
            // Writing to a text never fails.
            let _ = match value.as_str() {
                Some(value) if is_plain(value) => write!(text, " {name}={value}"),
                Some(value) => write!(text, " {name}={}", quoted(value)),
                None => write!(text, " {name}={value}"),
            };
        }
        text
    }

    /// Bytes of its texts, about.
    pub fn weight(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.as_str().map_or(8, str::len));
        self.message.len() + fields.sum::<usize>()
    }
}

/// Writes a line, and no secret into it.
struct Writer<'a> {
    line: Line,
    masker: &'a Masker,
}

impl Writer<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.line.fields.push((field.name(), value));
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        // Before it is cut: half a secret is one, too.
        let text = self.masker.text(text);
        if field.name() == "message" {
            self.line.message = clean(&text, LONGEST_MESSAGE);
        } else {
            self.put(field, Value::from(clean(&text, LONGEST_FIELD)));
        }
    }
}

/// Nothing in it could be taken for the next field.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '"', '='])
}

/// A quote ends the text where an even number of backslashes stands before it, and nowhere else.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for letter in text.chars() {
        if letter == '"' {
            quoted.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if letter == '\\' { backslashes + 1 } else { 0 };
        quoted.push(letter);
    }
    quoted.extend(std::iter::repeat_n('\\', backslashes));
    quoted.push('"');
    quoted
}

/// What programs find a field under, in JSON and in the journal.
pub fn name(field: &str) -> &str {
    match field {
        "job" => "job_id",
        "code" => "error_code",
        other => other,
    }
}

impl Visit for Writer<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// One line without controls: of the terminal, of lines, and of the direction in which a text is read.
pub fn clean(text: &str, longest: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(longest));
    for (count, letter) in text.chars().enumerate() {
        if count >= longest {
            clean.push('…');
            break;
        }
        match letter {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            letter if letter.is_control() || is_steering(letter) => {
                let _ = write!(clean, "\\u{{{:x}}}", letter as u32);
            }
            letter => clean.push(letter),
        }
    }
    clean
}

/// Marks that turn the direction of a text, separate lines, or cannot be seen at all.
fn is_steering(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(letter, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{clean, quoted};

    proptest! {
        #[test]
        fn a_quoted_text_ends_with_its_last_letter(text in "[a\"\\\\ =]{0,20}") {
            let quoted = quoted(&text);
            let mut backslashes = 0;
            let end = quoted.char_indices().skip(1).find(|(_, letter)| {
                let ends = *letter == '"' && backslashes % 2 == 0;
                backslashes = if *letter == '\\' { backslashes + 1 } else { 0 };
                ends
            });
            prop_assert_eq!(end.map(|(at, _)| at), Some(quoted.len() - 1), "{}", quoted);
        }
    }

    #[test]
    fn controls_and_turned_directions_are_spelt_out() {
        assert_eq!(clean("a\nb\r\tc\u{1b}[31m\u{202e}d\u{9b}", 100), "a\\nb\\r\\tc\\u{1b}[31m\\u{202e}d\\u{9b}");
        assert_eq!(clean("Каналы — 点", 100), "Каналы — 点");
        assert_eq!(clean("abcd", 3), "abc…");
    }
}
