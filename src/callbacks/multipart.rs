//! `multipart/form-data` (RFC 7578) in a body that is already here.
//!
//! Why not `multer`: it reads streams and copies every part, and a 32 MiB report would be in memory three times. Here a
//! part is a slice of the body. The tests hold this reader against multer wherever multer can read.

use bytes::Bytes;
use memchr::memmem;

/// One part, its headers understood as far as a form needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub name: Option<String>,
    /// As given: a stranger's text.
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("it names no boundary")]
    NoBoundary,
    #[error("its first boundary line is not there")]
    NoFirstBoundary,
    #[error("a part has no end: its closing boundary is not there")]
    Unfinished,
    #[error("a part's headers are longer than {0} bytes, or never end")]
    Headers(usize),
    #[error("it has more than {0} parts")]
    TooManyParts(usize),
}

/// RFC 2046 allows 70.
const LONGEST_BOUNDARY: usize = 200;

/// The boundary that the Content-Type names; or the one that the body begins with.
pub fn boundary(content_type: Option<&str>, body: &[u8]) -> Result<Vec<u8>, Broken> {
    let named = content_type.and_then(|header| parameter(header.as_bytes(), "boundary"));
    let found = match named {
        Some(named) => named,
        None => opening(body).ok_or(Broken::NoBoundary)?,
    };
    if found.is_empty() || found.len() > LONGEST_BOUNDARY { Err(Broken::NoBoundary) } else { Ok(found) }
}

/// The boundary in a body's first line, where there is one.
fn opening(body: &[u8]) -> Option<Vec<u8>> {
    let rest = body.strip_prefix(b"--")?;
    let end = memchr::memchr2(b'\r', b'\n', rest.get(..LONGEST_BOUNDARY + 2).unwrap_or(rest))?;
    Some(rest[..end].trim_ascii_end().to_vec())
}

/// Whether a body without a telling Content-Type is of this kind.
pub fn looks_like(body: &[u8]) -> bool {
    let head = &body[..body.len().min(LONGEST_BOUNDARY + 256)];
    opening(body).is_some_and(|boundary| !boundary.is_empty())
        && memmem::find(&head.to_ascii_lowercase(), b"content-disposition").is_some()
}

/// All parts, or why they cannot be told apart. A part that is cut off is an error: half a report is none.
pub fn parts(body: &Bytes, boundary: &[u8], most: usize, longest_headers: usize) -> Result<Vec<Part>, Broken> {
    let delimiter = [b"\n--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    let mut at = first(body, &delimiter, &finder).ok_or(Broken::NoFirstBoundary)?;
    let mut parts = Vec::new();
    while let Some(start) = line_end(body, at) {
        if parts.len() == most {
            return Err(Broken::TooManyParts(most));
        }
        let (part, next) = part(body, start, &finder, longest_headers)?;
        parts.push(part);
        at = next;
    }
    Ok(parts)
}

/// Just after the first delimiter. What stands before it is a preamble and means nothing.
fn first(body: &[u8], delimiter: &[u8], finder: &memmem::Finder<'_>) -> Option<usize> {
    if body.strip_prefix(&delimiter[1..]).is_some_and(ends_line) {
        return Some(delimiter.len() - 1);
    }
    delimiter_at(body, 0, finder).map(|(_, after)| after)
}

/// The next true delimiter from `from` on: where its line break begins, and just after it.
fn delimiter_at(body: &[u8], from: usize, finder: &memmem::Finder<'_>) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let at = from + finder.find(body.get(from..)?)?;
        let after = at + finder.needle().len();
        // "--abcd" is no delimiter of "abc": the line has to end, or the closing dashes to follow.
        if ends_line(body.get(after..).unwrap_or_default()) {
            let begins = if at > 0 && body[at - 1] == b'\r' { at - 1 } else { at };
            return Some((begins, after));
        }
        from = at + 1;
    }
}

/// Whether nothing but padding stands between here and the line's end, closing dashes left aside.
fn ends_line(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"--").unwrap_or(rest);
    matches!(rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')), None | Some(b'\r' | b'\n'))
}

/// Where the part after a delimiter begins; none when it was the closing one, or nothing more follows.
fn line_end(body: &[u8], after: usize) -> Option<usize> {
    let rest = body.get(after..)?;
    if rest.starts_with(b"--") || rest.trim_ascii().is_empty() {
        return None;
    }
    memchr::memchr(b'\n', rest).map(|end| after + end + 1)
}

fn part(body: &Bytes, start: usize, finder: &memmem::Finder<'_>, longest: usize) -> Result<(Part, usize), Broken> {
    let (headers, content) = headers(body, start, longest)?;
    // The break that ends the headers may be the one that begins the delimiter of an empty part.
    let (end, next) = delimiter_at(body, content - 1, finder).ok_or(Broken::Unfinished)?;
    let mut part =
        Part { name: None, file_name: None, content_type: None, body: body.slice(content..end.max(content)) };
    for line in headers {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-disposition") {
            part.name = parameter(value, "name").map(text);
            part.file_name = extended(value, "filename*").or_else(|| parameter(value, "filename").map(text));
        } else if name.eq_ignore_ascii_case(b"content-type") {
            part.content_type = Some(text(value.to_vec()));
        }
    }
    Ok((part, next))
}

/// The header lines of a part, and where its content begins.
fn headers(body: &[u8], start: usize, longest: usize) -> Result<(Vec<&[u8]>, usize), Broken> {
    let mut lines = Vec::new();
    let mut at = start;
    loop {
        let room = (start + longest).saturating_sub(at);
        let rest = body.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', &rest[..rest.len().min(room)]).ok_or(Broken::Headers(longest))?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        at += end + 1;
        if line.is_empty() {
            return Ok((lines, at));
        }
        lines.push(line);
    }
}

/// `; name="value"` or `; name=value` in a header.
fn parameter(header: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut rest = &header[memchr::memchr(b';', header)? + 1..];
    loop {
        let equals = memchr::memchr2(b'=', b';', rest)?;
        let key = rest[..equals].trim_ascii();
        if rest[equals] == b';' {
            rest = &rest[equals + 1..];
            continue;
        }
        let (value, after) = value(rest[equals + 1..].trim_ascii_start());
        if key.eq_ignore_ascii_case(name.as_bytes()) {
            return Some(value);
        }
        rest = &after[memchr::memchr(b';', after)? + 1..];
    }
}

/// A value, quoted or not, and what follows it.
fn value(rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
        return (rest[..end].trim_ascii_end().to_vec(), &rest[end..]);
    };
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(byte) = quoted.get(at) {
        match (byte, quoted.get(at + 1)) {
            (b'"', _) => return (value, &quoted[at + 1..]),
            // Browsers send bare backslashes of Windows paths; only these two are escapes.
            (b'\\', Some(b'"')) => {
                value.push(b'"');
                at += 1;
            }
            (other, _) => value.push(*other),
        }
        at += 1;
    }
    (value, &[])
}

/// RFC 5987: `filename*=utf-8''%D0%9E.pdf`, as older Python writes every name that is not ASCII.
fn extended(header: &[u8], name: &str) -> Option<String> {
    let value = text(parameter(header, name)?);
    let mut pieces = value.splitn(3, '\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    charset.eq_ignore_ascii_case("utf-8").then(|| percent_decoded(encoded))
}

pub(super) fn percent_decoded(encoded: &str) -> String {
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    text(decoded)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests;
