//! Phones, VINs and e-mails are masked in whatever is logged.

/// A text for the log: on one line, at most 256 characters, with personal data masked.
pub fn masked(text: &str) -> String {
    const LONGEST: usize = 256;
    let mut out = String::with_capacity(text.len().min(LONGEST));
    let mut word = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(LONGEST) {
        if c.is_alphanumeric() || matches!(c, '@' | '.' | '_' | '-' | '+' | '%') {
            word.push(c);
        } else {
            // A word that was cut there may be the beginning of anything.
            out.push_str(&if c == '…' { cut_word(&word) } else { mask_word(&word) });
            word.clear();
            out.push(if c.is_control() || is_bidi(c) { ' ' } else { c });
        }
    }
    out.push_str(&if chars.next().is_some() { cut_word(&word) } else { mask_word(&word) });
    out
}

fn cut_word(word: &str) -> String {
    if word.is_empty() { String::new() } else { "***".to_owned() }
}

/// Characters that turn the direction of the text around them.
pub const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn mask_word(word: &str) -> String {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    // `@` and `+`, and as they stand in a URL.
    let is_mail = word.contains('@') || word.contains("%40");
    let bare = word.trim_start_matches("%2B").trim_start_matches("%2b");
    let is_phone = digits >= 10 && bare.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    // One that was mistyped by a few characters says as much.
    let is_vin = (14..=20).contains(&word.len())
        && digits >= 3
        && word.chars().all(|c| c.is_ascii_alphanumeric())
        && word.chars().any(|c| c.is_ascii_uppercase());
    if !(is_mail || is_phone || is_vin) {
        return word.to_owned();
    }
    let shown: String = word.chars().take(2).collect();
    format!("{shown}***")
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn phones_vins_and_mails_do_not_survive_masking() {
        let text = masked("no data for +79990000111, XTA21099071234567 or ivan@example.org (code 15)");
        assert_eq!(text, "no data for +7***, XT*** or iv*** (code 15)");
    }

    #[test]
    fn what_was_cut_or_encoded_does_not_either() {
        assert_eq!(masked("no: ivan@exam… (7999…"), "no: ***… (***…");
        assert_eq!(masked("email=ivan%40example.org&phone=%2B79990000111"), "email=iv***&phone=%2***");
        let long = masked(&format!("{}79990000111", "x ".repeat(126)));
        assert!(long.ends_with("x ***"), "{long}");
    }

    #[test]
    fn a_masked_text_is_one_line_without_escapes() {
        assert_eq!(masked("a\nb\x1b[31m\u{202e}c"), "a b [31m c");
    }
}
