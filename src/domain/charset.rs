//! Bytes that others wrote, as text: in the charset that they declare, or the one that they are in.
//!
//! No byte is thrown away. What no charset explains stands in the text as `\xNN`, so that what was sent can be read off it.

use std::borrow::Cow;
use std::fmt::Write;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1251, WINDOWS_1252};

/// A body as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    pub charset: &'static str,
    /// The bytes are not UTF-8, and nobody declared what they are; or they are not in what was declared.
    pub guessed: bool,
}

/// Different charsets in one body, or bytes of none.
const MIXED: &str = "mixed";
/// A page declares its charset near its beginning, as browsers require.
const HEAD: usize = 1024;
/// Beyond so many bytes of no charset a body is no text; then each byte becomes one character.
const MOST_ODD_BYTES: usize = 64 << 10;

/// Reads a body: by its BOM, by the charset of its `Content-Type`, by what a page says of itself, as UTF-8, and at last
/// as the windows-1251 that Russian servers send without saying so.
pub fn decode<'a>(body: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    let declared = content_type.and_then(declared_in);
    if let Some(read) = by_bom(body) {
        return read;
    }
    if let Some(read) = declared.filter(|charset| *charset != UTF_8).and_then(|charset| as_declared(body, charset)) {
        return read;
    }
    let bare = without_bom(body);
    if let Some(read) = wide(bare) {
        return read;
    }
    if let Ok(text) = std::str::from_utf8(bare) {
        return Decoded { text: Cow::Borrowed(text), charset: UTF_8.name(), guessed: false };
    }
    let of_page = || page_charset(bare).and_then(|charset| whole(bare, charset));
    if let Some((text, charset)) = of_page().filter(|_| declared.is_none()) {
        return Decoded { text, charset, guessed: false };
    }
    guess(bare)
}

/// The charset that a `Content-Type` names, if anybody knows it.
pub fn declared_in(content_type: &str) -> Option<&'static Encoding> {
    let mut params = content_type.split(';').skip(1).filter_map(|param| param.split_once('='));
    let (_, label) = params.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    label_of(label.trim().trim_matches(['"', '\'']).as_bytes())
}

fn label_of(label: &[u8]) -> Option<&'static Encoding> {
    // What stands for "do not even try" is no charset.
    Encoding::for_label(label.trim_ascii()).filter(|charset| *charset != REPLACEMENT)
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// A BOM outranks what is declared. That of UTF-8 is left to the ordinary way: what follows it may be anything.
fn by_bom(body: &[u8]) -> Option<Decoded<'_>> {
    let (charset, length) = Encoding::for_bom(body).filter(|(charset, _)| *charset != UTF_8)?;
    let (text, charset) = whole(&body[length..], charset)?;
    Some(Decoded { text, charset, guessed: false })
}

fn whole<'a>(body: &'a [u8], charset: &'static Encoding) -> Option<(Cow<'a, str>, &'static str)> {
    charset.decode_without_bom_handling_and_without_replacement(body).map(|text| (text, charset.name()))
}

/// None where the bytes are not in it. A server's own charset often stands above a body that is UTF-8: text of another
/// charset is hardly ever valid UTF-8 by chance.
fn as_declared<'a>(body: &'a [u8], charset: &'static Encoding) -> Option<Decoded<'a>> {
    let bare = without_bom(body);
    if let Ok(text) = std::str::from_utf8(bare)
        && (bare.len() < body.len() || is_really_utf8(text, charset))
    {
        return Some(Decoded { text: Cow::Borrowed(text), charset: UTF_8.name(), guessed: !text.is_ascii() });
    }
    if charset == WINDOWS_1252 && is_cyrillic(body) {
        // "Latin 1" is what servers say when nobody told them.
        return whole(body, WINDOWS_1251).map(|(text, charset)| Decoded { text, charset, guessed: true });
    }
    whole(body, charset).map(|(text, charset)| Decoded { text, charset, guessed: false })
}

fn is_really_utf8(text: &str, charset: &'static Encoding) -> bool {
    const BY_CHANCE: usize = 2;
    let beyond_ascii = text.chars().filter(|c| !c.is_ascii()).count();
    match beyond_ascii {
        0 => charset.is_ascii_compatible() || !text.contains('\0'),
        _ => charset.is_ascii_compatible() && beyond_ascii > BY_CHANCE,
    }
}

/// UTF-16 without a BOM: JSON begins with two characters of ASCII.
fn wide(body: &[u8]) -> Option<Decoded<'_>> {
    let charset = match body {
        [1..=127, 0, 1..=127, 0, ..] => UTF_16LE,
        [0, 1..=127, 0, 1..=127, ..] => UTF_16BE,
        _ => return None,
    };
    let (text, charset) = whole(body, charset)?;
    Some(Decoded { text, charset, guessed: true })
}

/// `<meta charset=…>`, `<?xml encoding=…?>`: what a page says of itself.
fn page_charset(body: &[u8]) -> Option<&'static Encoding> {
    if !body.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let head = body[..body.len().min(HEAD)].to_ascii_lowercase();
    let label = [&b"charset="[..], b"encoding="].iter().find_map(|name| {
        let at = memchr::memmem::find(&head, name)? + name.len();
        let rest = head[at..].trim_ascii_start();
        let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
        let end = rest.iter().position(|byte| b"\"'/>;? \t\r\n".contains(byte)).unwrap_or(rest.len());
        label_of(&rest[..end])
    });
    // In UTF-16 these words could not have been read.
    label.filter(|charset| charset.is_ascii_compatible() && *charset != UTF_8)
}

// ---- nobody says what it is -----------------------------------------------------------------------------------

fn guess(body: &[u8]) -> Decoded<'_> {
    let guessed = |text, charset| Decoded { text, charset, guessed: true };
    let as_cp1251 = || whole(body, WINDOWS_1251).map_or(Cow::Borrowed(""), |(text, _)| text);
    if multibyte(body) == 0 && is_cyrillic(body) {
        return guessed(as_cp1251(), WINDOWS_1251.name());
    }
    match mixed(body) {
        Some(text) => guessed(Cow::Owned(text), MIXED),
        None => guessed(as_cp1251(), MIXED),
    }
}

/// How many characters of more than one byte the valid parts hold.
fn multibyte(body: &[u8]) -> usize {
    body.utf8_chunks().map(|chunk| chunk.valid().chars().filter(|c| !c.is_ascii()).count()).sum()
}

/// One text after the other: programs fetch them from different places, each with a charset of its own. None if it is no text.
fn mixed(body: &[u8]) -> Option<String> {
    let mut all = String::with_capacity(body.len() + body.len() / 2);
    let mut odd = 0;
    for piece in body.split_inclusive(|byte| *byte == b'"') {
        if let Ok(text) = std::str::from_utf8(piece) {
            all.push_str(text);
            continue;
        }
        if multibyte(piece) == 0 && is_cyrillic(piece) {
            all.push_str(&whole(piece, WINDOWS_1251)?.0);
            continue;
        }
        for chunk in piece.utf8_chunks() {
            all.push_str(chunk.valid());
            odd += chunk.invalid().len();
            if odd > MOST_ODD_BYTES {
                return None;
            }
            for byte in chunk.invalid() {
                // Into memory: it cannot fail.
                let _ = write!(all, "\\x{byte:02x}");
            }
        }
    }
    Some(all)
}

/// Whether the bytes beyond ASCII look like Russian words in windows-1251: letters, most of them beside another.
fn is_cyrillic(bytes: &[u8]) -> bool {
    let is_letter = |byte: u8| matches!(byte, 0xc0..|0xa8| 0xb8);
    let beyond = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    let letters = bytes.iter().filter(|byte| is_letter(**byte)).count();
    let beside = bytes.windows(2).filter(|pair| is_letter(pair[0]) && is_letter(pair[1])).count();
    letters >= 3 && letters * 10 >= beyond * 8 && beside * 2 >= letters
}

#[cfg(test)]
#[path = "charset_tests.rs"]
mod tests;
