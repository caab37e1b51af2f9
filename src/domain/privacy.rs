//! Phones, VINs and e-mails are masked in whatever is logged.

/// A text for the log: on one line, at most 256 characters, with personal data masked.
pub fn masked(text: &str) -> String {
    const LONGEST: usize = 256;
    let mut out = String::with_capacity(text.len().min(LONGEST));
    let mut word = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_alphanumeric() || matches!(c, '@' | '.' | '_' | '-' | '+') {
            word.push(c);
        } else {
            out.push_str(&mask_word(&word));
            word.clear();
            out.push(if c.is_control() || is_bidi(c) { ' ' } else { c });
        }
    }
    out.push_str(&mask_word(&word));
    out
}

/// Characters that turn the direction of the text around them.
pub const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn mask_word(word: &str) -> String {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let is_mail = word.contains('@');
    let is_phone = digits >= 10 && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let is_vin = word.len() == 17 && digits >= 3 && word.chars().all(|c| c.is_ascii_alphanumeric());
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
    fn a_masked_text_is_one_line_without_escapes() {
        assert_eq!(masked("a\nb\x1b[31m\u{202e}c"), "a b [31m c");
    }
}
