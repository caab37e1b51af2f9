//! Foreign text on a terminal: what could steer the terminal or turn the line around is shown, not obeyed.
//!
//! Params, results and error texts come from vendors and other programs. Nothing of theirs is printed but through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Control characters (ESC among them), and what is invisible or changes the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// For one line: breaks and tabs become blanks.
pub fn line(text: &str) -> String {
    clean(text, |c| matches!(c, '\n' | '\r' | '\t').then_some(' ')).trim_end().to_owned()
}

/// For a block: its lines stay.
pub fn block(text: &str) -> String {
    clean(text, |c| (c == '\n').then_some('\n'))
}

fn clean(text: &str, kept: impl Fn(char) -> Option<char>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match kept(c) {
            Some(c) => out.push(c),
            None if is_unsafe(c) => out.extend(c.escape_unicode()),
            None => out.push(c),
        }
    }
    out
}

/// Valid JSON as one line that means the same: outside of strings only blanks are control characters, and inside of
/// strings every unsafe character may be written as `\uXXXX`.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text.trim());
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' | '\t' => {}
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Lines of at most so many characters, broken between words.
pub fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// At most so many characters, with a sign that there was more.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept + "…"
}
