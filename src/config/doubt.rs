//! Secrets that cannot be right, or hardly: what a slip of the hand makes of a key, and nobody sees on the screen. A wrong key
//! is found by the vendor, who pauses the account; so it is told here. No message holds any of the secret.

use super::shipped::PLACEHOLDER;

pub(super) enum Doubt {
    /// It is no secret as it stands.
    Wrong(String),
    /// It may be one.
    Odd(String),
}

/// Pairs that people put around a text.
const QUOTES: [(char, char); 10] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('„', '“'),
    ('„', '”'),
    ('”', '”'),
    ('‘', '’'),
    ('«', '»'),
    ('<', '>'),
];

/// What stands before the secret where a whole line was copied.
const NAMES: [&str; 13] = [
    "key",
    "user_key",
    "api_key",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "login",
    "sa",
    "user_id",
    "callback_secret",
    "authorization",
];

pub(super) fn of(key: &str, text: &str) -> Option<Doubt> {
    wrong(key, text).map(Doubt::Wrong).or_else(|| odd(text).map(Doubt::Odd))
}

fn wrong(key: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("must not be empty".to_owned());
    }
    if text.chars().all(char::is_whitespace) {
        return Some("must not be empty: there is nothing but blanks".to_owned());
    }
    if text == PLACEHOLDER {
        return Some("is still the placeholder of the shipped file".to_owned());
    }
    let lines = text.lines().count();
    if lines > 1 {
        return Some(format!("must be one line, and has {lines}"));
    }
    if text.chars().any(char::is_control) {
        return Some("must be one line without control characters".to_owned());
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Some("begins or ends with a blank: take it away".to_owned());
    }
    if let Some((at, unseen)) = text.chars().enumerate().find(|(_, c)| is_unseen(*c)) {
        let code = u32::from(unseen);
        return Some(format!("holds a character that nobody sees (U+{code:04X}, the character number {})", at + 1));
    }
    if is_quoted(text) {
        return Some("stands in quotation marks: take them away".to_owned());
    }
    is_line(key, text).then(|| "is a whole line: it must be the secret alone, without a name before it".to_owned())
}

/// A blank that is none of the keyboard's, or what takes no room at all.
fn is_unseen(c: char) -> bool {
    (c.is_whitespace() && c != ' ')
        || matches!(
            u32::from(c),
            0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
                | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0
                | 0xFFF0..=0xFFFD | 0xE0000..=0xE0FFF
        )
}

fn is_quoted(text: &str) -> bool {
    let inside = |open, close| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    QUOTES.iter().any(|(open, close)| inside(*open, *close).is_some())
}

/// `key = "…"`, `export OPROS_…=…`, `"token": …`, `Bearer …`.
fn is_line(key: &str, text: &str) -> bool {
    if text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        return true;
    }
    let Some((name, value)) = text.split_once(['=', ':']) else { return false };
    let name = name.trim().trim_start_matches("export ").trim_matches(['"', '\'', ' ']).to_lowercase();
    let last = name.rsplit(['.', '_']).next().unwrap_or_default();
    let (value, name) = (value.trim().trim_end_matches([',', ';']), name.as_str());
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let known = name == key || NAMES.contains(&name) || name.starts_with("opros_") || name.starts_with("accounts.");
    // Base64 ends with "=": behind a name there must be something.
    is_name
        && !value.trim_start_matches('=').is_empty()
        && (known || is_quoted(value) || name.ends_with("_file") || last == key)
}

/// Letters of two alphabets that look alike: a text that was typed in the wrong one, or in both.
fn odd(text: &str) -> Option<String> {
    let latin = text.chars().any(|c| c.is_ascii_alphabetic());
    let cyrillic = text.chars().any(|c| matches!(u32::from(c), 0x0400..=0x04FF));
    (latin && cyrillic).then(|| "mixes Latin and Cyrillic letters, which look alike: was it copied right?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_secret_is_told_and_what_can_is_taken() {
        let wrong_ones = [
            ("", "must not be empty"),
            (" \u{A0}", "nothing but blanks"),
            ("…", "placeholder"),
            ("abc\nabd", "has 2"),
            ("abc\r\nabd\r\n", "has 2"),
            ("ab\tcd", "control characters"),
            (" abcdef", "begins or ends with a blank"),
            ("abcdef ", "begins or ends with a blank"),
            ("\u{A0}abcdef", "U+00A0, the character number 1"),
            ("abc\u{200B}def", "U+200B, the character number 4"),
            ("abcdef\u{2060}", "U+2060"),
            ("ab\u{AD}cd", "U+00AD"),
            ("ab\u{FEFF}cd", "U+FEFF"),
            ("ab\u{202E}cd", "U+202E"),
            ("ab\u{FFFD}cd", "U+FFFD"),
            ("\"abcdef\"", "quotation marks"),
            ("'abcdef'", "quotation marks"),
            ("«abcdef»", "quotation marks"),
            ("“abcdef”", "quotation marks"),
            ("key = \"abcdef\"", "a whole line"),
            ("key=abcdef", "a whole line"),
            ("KEY: abcdef", "a whole line"),
            ("\"key\": \"abcdef\",", "a whole line"),
            ("export OPROS_ACCOUNTS__TRONK__KEY=abcdef", "a whole line"),
            ("accounts.tronk.key = 'abcdef'", "a whole line"),
            ("key_file = \"/etc/opros/key\"", "a whole line"),
            ("Bearer abcdef", "a whole line"),
            ("token=abcdef", "a whole line"),
        ];
        for (text, words) in wrong_ones {
            let told = wrong("key", text).unwrap_or_default();
            assert!(told.contains(words), "{text:?}: {told}");
            assert!(!told.contains("abc"), "{told}");
        }
        for text in [
            "abcdef",
            "ab cd",
            "a",
            "YWJjZGVm=",
            "YWJjZA==",
            "a=b",
            "x:y",
            "ключ-пароль",
            "\"a",
            "it's",
            "whsec_YWJj/+8=",
        ] {
            assert_eq!(wrong("key", text), None, "{text}");
        }
        assert!(odd("sа000000").is_some_and(|told| !told.contains("000")), "a Cyrillic а");
        assert!(odd("sa000000").is_none() && odd("пароль").is_none());
    }
}
