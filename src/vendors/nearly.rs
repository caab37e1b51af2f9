//! Nearly JSON: what other people's programs write where JSON was meant, turned into JSON.
//!
//! Mended is what can be read in one way only: control characters that are not escaped, halves of surrogate pairs, escapes
//! that JSON lacks, NaN and Infinity, numbers that no program holds exactly, commas too many, quotes inside a text. A text that
//! breaks off stays broken: nobody knows what it would have said.

use std::fmt::Write;

/// How deep serde_json goes.
const DEEPEST: usize = 128;
/// How much longer a mended text may be: sixteen megabytes of NULs would become a hundred.
const MOST_GROWTH: usize = 4 << 20;
/// A double holds all numbers of so many digits.
const EXACT_DIGITS: usize = 15;

/// What becomes of a number that is JSON, and that a double cannot hold as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Long {
    /// It becomes text, so that no digit is lost on the way.
    Text,
    /// It stays: whoever reads the text sees it as it was written.
    Number,
}

/// The text as JSON; none where it cannot be read, or in more ways than one.
pub fn mended(text: &str, long: Long) -> Option<String> {
    // Quotes inside a text are the last thing to be believed.
    [false, true].into_iter().find_map(|bare_quotes| {
        let out = String::with_capacity(text.len() + 64);
        Mender { bytes: text.as_bytes(), text, at: 0, out, open: Vec::new(), long, bare_quotes }.run()
    })
}

/// Whether a text has numbers (or texts outside quotes) that serde_json would not hold as they are written.
pub fn has_long_numbers(text: &str) -> bool {
    let (mut in_text, mut escaped, mut digits) = (false, false, 0_usize);
    for byte in text.bytes() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => (in_text, digits) = (true, 0),
            b'0'..=b'9' => digits += 1,
            b'.' => {}
            _ => digits = 0,
        }
        if digits > EXACT_DIGITS {
            return true;
        }
    }
    false
}

/// A bracket that is open, and whether something stands behind it already.
struct Open {
    is_object: bool,
    filled: bool,
}

struct Mender<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    out: String,
    open: Vec<Open>,
    long: Long,
    bare_quotes: bool,
}

impl Mender<'_> {
    fn run(mut self) -> Option<String> {
        self.around();
        self.value()?;
        while let Some(open) = self.open.last() {
            let (is_object, filled) = (open.is_object, open.filled);
            let commas = self.commas();
            if self.peek()? == if is_object { b'}' } else { b']' } {
                self.at += 1;
                self.close();
                continue;
            }
            if filled {
                if commas == 0 {
                    return None;
                }
                self.out.push(',');
            }
            self.member(is_object)?;
            if self.out.len() > self.bytes.len() + MOST_GROWTH {
                return None;
            }
        }
        self.around();
        (self.at == self.bytes.len()).then_some(self.out)
    }

    fn member(&mut self, is_object: bool) -> Option<()> {
        if let Some(open) = self.open.last_mut() {
            open.filled = true;
        }
        if is_object {
            self.string(true)?;
            self.blanks();
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.out.push(':');
        }
        self.value()
    }

    /// A value; of a list or an object, its bracket.
    fn value(&mut self) -> Option<()> {
        self.blanks();
        match self.peek()? {
            byte @ (b'{' | b'[') => {
                self.at += 1;
                self.out.push(char::from(byte));
                self.open.push(Open { is_object: byte == b'{', filled: false });
                (self.open.len() < DEEPEST).then_some(())
            }
            b'"' => self.string(false),
            _ => self.word(),
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.out.push(if open.is_object { '}' } else { ']' });
        }
    }

    // ---- between the values -------------------------------------------------------------------------------------

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        self.at += blanks(&self.text[self.at..]);
    }

    /// Before and behind the document: a BOM, and what old programs fill their buffers with.
    fn around(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(|c: char| is_blank(c) || c == '\0').len();
    }

    /// How many commas stand here; one too many says nothing.
    fn commas(&mut self) -> usize {
        let mut count = 0;
        self.blanks();
        while self.peek() == Some(b',') {
            count += 1;
            self.at += 1;
            self.blanks();
        }
        count
    }

    // ---- texts --------------------------------------------------------------------------------------------------

    fn string(&mut self, is_key: bool) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        self.out.push('"');
        let begins = self.at;
        let mut quotes = 0;
        loop {
            let plain = self.bytes[self.at..].iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'))?;
            self.out.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain + 1;
            match self.bytes[self.at - 1] {
                b'"' if is_key || !self.bare_quotes || self.ends_text() => {
                    self.out.push('"');
                    // Whoever forgot a quote elsewhere has the next members, or whole records, stand in a text.
                    let text = &self.text[begins..self.at - 1];
                    let swallows = text.contains(['{', '}', '[', ']']) || text.contains("\":");
                    return (quotes == 0 || !swallows).then_some(());
                }
                b'"' => {
                    quotes += 1;
                    self.out.push_str("\\\"");
                }
                b'\\' => self.escape()?,
                control => self.control(control),
            }
        }
    }

    fn control(&mut self, byte: u8) {
        match byte {
            b'\n' => self.out.push_str("\\n"),
            b'\r' => self.out.push_str("\\r"),
            b'\t' => self.out.push_str("\\t"),
            // Into memory: it cannot fail.
            other => drop(write!(self.out, "\\u{other:04x}")),
        }
    }

    /// Behind a backslash. What is no escape of JSON's stands in the text as it was written.
    fn escape(&mut self) -> Option<()> {
        match self.peek()? {
            byte @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.out.push('\\');
                self.out.push(char::from(byte));
                self.at += 1;
            }
            b'\'' => {
                self.out.push('\'');
                self.at += 1;
            }
            b'u' => self.unicode(),
            _ => self.out.push_str("\\\\"),
        }
        Some(())
    }

    fn unicode(&mut self) {
        let unit = |at: usize| {
            let digits =
                self.text.get(at + 1..at + 5).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u16::from_str_radix(digits, 16).ok()
        };
        let length = match unit(self.at) {
            Some(0xd800..=0xdbff) => {
                let second = self.bytes[self.at + 5..].starts_with(b"\\u").then(|| unit(self.at + 6)).flatten();
                if matches!(second, Some(0xdc00..=0xdfff)) { 11 } else { 0 }
            }
            Some(0xdc00..=0xdfff) | None => 0,
            Some(_) => 5,
        };
        // Half a pair is no character: it stays readable as what it was.
        self.out.push_str(if length == 0 { "\\\\" } else { "\\" });
        self.out.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    /// Whether a quote ends its text: only if what follows could follow a text here.
    fn ends_text(&self) -> bool {
        let next = |at: usize| at + blanks(&self.text[at..]);
        let at = next(self.at);
        let byte = self.bytes.get(at).copied();
        let Some(open) = self.open.last() else { return byte.is_none_or(|byte| byte == 0) };
        match byte {
            Some(b'}') => open.is_object,
            Some(b']') => !open.is_object,
            Some(b',') => {
                let after = self.bytes.get(next(at + 1)).copied();
                match after {
                    Some(b'"') if open.is_object => self.is_key(next(at + 1)),
                    Some(b'}') => open.is_object,
                    Some(b'"' | b'{' | b'[' | b']' | b'0'..=b'9' | b'-' | b't' | b'f' | b'n') => !open.is_object,
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// `"name":`, where names are short and plain.
    fn is_key(&self, at: usize) -> bool {
        const LONGEST: usize = 200;
        let rest = &self.bytes[at + 1..self.bytes.len().min(at + LONGEST)];
        rest.iter().position(|byte| *byte == b'"').is_some_and(|end| {
            let behind = at + 1 + end + 1;
            self.bytes.get(behind + blanks(&self.text[behind..])) == Some(&b':')
        })
    }

    // ---- numbers and words --------------------------------------------------------------------------------------

    fn word(&mut self) -> Option<()> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.bytes[self.at..].iter().take_while(|byte| is_part(byte)).count();
        let word = &self.text[self.at..self.at + length];
        self.at += length;
        if is_number(word) {
            match self.long {
                Long::Text if !is_exact(word) => self.quoted(word),
                Long::Text | Long::Number => self.out.push_str(word),
            }
            return Some(());
        }
        match word.to_ascii_lowercase().as_str() {
            "true" => self.out.push_str("true"),
            "false" => self.out.push_str("false"),
            "null" | "none" | "nil" | "undefined" | "nan" | "-nan" => self.out.push_str("null"),
            "infinity" | "+infinity" | "-infinity" | "inf" | "+inf" | "-inf" => self.quoted(word),
            _ => return None,
        }
        Some(())
    }

    fn quoted(&mut self, word: &str) {
        self.out.push('"');
        self.out.push_str(word);
        self.out.push('"');
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_blank).len()
}

/// A number as JSON writes them.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, rest)| (whole, Some(rest)));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Whether serde_json's numbers hold this one as it is, but for the last bit of a double that was written with all its digits.
fn is_exact(word: &str) -> bool {
    if word.parse::<i64>().is_ok() || word.parse::<u64>().is_ok() {
        return true;
    }
    let Some(number) = word.parse::<f64>().ok().filter(|number| number.is_finite()) else { return false };
    match (plain(word), plain(&format!("{number:e}"))) {
        (Some(written), Some(held)) => written == held,
        _ => false,
    }
}

/// The digits without zeros around them, and the power of ten of the last one.
fn plain(word: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    let digits = format!("{whole}{fraction}");
    let bare = digits.trim_end_matches('0');
    let exponent = exponent.parse::<i64>().ok()?;
    let zeros = i64::try_from(digits.len() - bare.len()).ok()?;
    let significant = bare.trim_start_matches('0').to_owned();
    let power = if significant.is_empty() { 0 } else { exponent - i64::try_from(fraction.len()).ok()? + zeros };
    Some((significant, power))
}

#[cfg(test)]
#[path = "nearly_tests.rs"]
mod tests;
