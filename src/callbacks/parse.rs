//! The body of a call-back, as facts. Nobody has published its form: JSON, a form, multipart with files, or the report
//! itself. Everything is kept, what is known is picked out, and what is hostile hits a limit.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::display_name;
use super::multipart::{self, Broken, Part};
use crate::domain::exchange::sha256_hex;
use crate::vendors::vagvin::{refusal, vin, wire};
use crate::vendors::{lenient, vagvin::catalogue};

/// What a stranger may send. The limits are on memory: a JSON value takes 32 bytes and may be written with two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole body.
    pub body: usize,
    /// Bytes of one file.
    pub file: usize,
    /// Parts of a multipart body.
    pub parts: usize,
    /// JSON values, or fields of a form.
    pub values: usize,
    /// JSON inside JSON.
    pub depth: usize,
    /// Bytes of one part's headers.
    pub headers: usize,
    /// Bytes of JSON, of a form, or of all fields of a multipart body: what becomes part of a job's result.
    pub text: usize,
}

impl Limits {
    pub const DEFAULT: Limits = Limits {
        body: 32 << 20,
        file: 32 << 20,
        parts: 64,
        values: 50_000,
        depth: 32,
        headers: 8 << 10,
        text: 4 << 20,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a call-back says. All of it is a stranger's word.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Callback {
    /// Upper case, look-alikes turned into Latin, as in a job's params.
    pub vin: Option<String>,
    /// In the vendor's spelling where it is one of the documented ones.
    pub check_type: Option<String>,
    pub status: Option<String>,
    /// http or https.
    pub url: Option<String>,
    pub ids: Vec<String>,
    pub error: Option<String>,
    /// Everything that is no file, JSON in `data` unfolded.
    pub fields: Map<String, Value>,
    pub files: Vec<File>,
}

/// A file that came with a call-back.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// For people, and unique within the call-back in any case of letters. Never part of a path of ours.
    pub name: String,
    /// `type/subtype`, as claimed.
    pub content_type: Option<String>,
    pub bytes: Bytes,
}

/// Why a body cannot be read. It is kept all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("the call-back's body is empty")]
    Empty,
    #[error("the call-back has {what} above the limit of {limit}")]
    TooMuch { what: &'static str, limit: usize },
    #[error("the call-back's body says that it is JSON, and is not: {0}")]
    NoJson(String),
    #[error("the call-back's multipart body is broken: {0}")]
    Multipart(#[from] Broken),
}

/// Reads a body by its Content-Type, and by its looks where that is missing or wrong.
pub fn parse(content_type: Option<&str>, body: &Bytes, limits: &Limits) -> Result<Callback, ParseError> {
    if body.len() > limits.body {
        return Err(too_much("bytes", limits.body));
    }
    let trimmed = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if trimmed.is_empty() {
        return Err(ParseError::Empty);
    }
    let kind = media_type(content_type);
    let kind = kind.as_deref().unwrap_or_default();
    let callback = if kind.starts_with("multipart/") || (!is_file(kind) && multipart::looks_like(body)) {
        from_multipart(content_type, body, limits)?
    } else if trimmed.starts_with(b"{") || trimmed.starts_with(b"[") || trimmed.starts_with(b"\"") || is_json(kind) {
        from_json(kind, body, trimmed, limits)?
    } else if kind == "application/x-www-form-urlencoded" || (!is_file(kind) && looks_like_form(trimmed)) {
        from_form(trimmed, limits)?
    } else {
        one_file(kind, body, limits)?
    };
    Ok(callback.with_facts())
}

/// A body that cannot be read, as one file: for an operator who knows whose it is.
pub fn unread(content_type: Option<&str>, body: &Bytes) -> Callback {
    let kind = media_type(content_type).unwrap_or_default();
    one_file(&kind, body, &Limits::DEFAULT).unwrap_or_default()
}

impl Callback {
    /// The same for two call-backs that say the same, whatever boundary or order of fields they were written with.
    pub fn fingerprint(&self) -> String {
        let files: Vec<Value> =
            self.files.iter().map(|file| json!([file.name, file.content_type, sha256_hex(&file.bytes)])).collect();
        lenient::fingerprint(&json!({ "fields": self.fields, "files": files }))
    }

    fn with_facts(mut self) -> Self {
        // Taken out while it is looked at, so that nothing large is copied.
        let document = Value::Object(std::mem::take(&mut self.fields));
        self.ids = wire::ids(&document);
        wire::each_level(&document, &mut |level| {
            let text = |name: &str| lenient::field(level, name).and_then(word);
            self.vin = self.vin.take().or_else(|| text("vin").map(|typed| vin::normalise(&typed)));
            self.check_type = self.check_type.take().or_else(|| text("check_type").map(canonical));
            self.status = self.status.take().or_else(|| text("status"));
            let url = || ["url", "link", "report_url"].into_iter().filter_map(text).find(|url| is_http(url));
            self.url = self.url.take().or_else(url);
            self.error = self.error.take().or_else(|| refusal::text(level));
        });
        if let Value::Object(fields) = document {
            self.fields = fields;
        }
        self
    }
}

/// Text, a number or a flag, as text; what is too long to be a word of theirs is none.
fn word(value: &Value) -> Option<String> {
    const LONGEST: usize = 4096;
    let text = match value {
        Value::Bool(flag) => Some(flag.to_string()),
        other => lenient::string(other),
    };
    text.filter(|text| text.len() <= LONGEST)
}

fn canonical(typed: String) -> String {
    catalogue::check(&typed).map_or(typed, |check| check.name.to_owned())
}

fn is_http(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")) && url.len() > scheme.len() + 3
}

fn too_much(what: &'static str, limit: usize) -> ParseError {
    ParseError::TooMuch { what, limit }
}

// ---- JSON ----------------------------------------------------------------------------------------------------------

fn from_json(kind: &str, body: &Bytes, trimmed: &[u8], limits: &Limits) -> Result<Callback, ParseError> {
    if trimmed.len() > limits.text {
        return Err(too_much("bytes of JSON", limits.text));
    }
    match json_value(trimmed, limits)? {
        Some(Value::Object(fields)) => Ok(Callback { fields: unfolded(fields, limits)?, ..Callback::default() }),
        Some(Value::Array(items)) => {
            let mut items = items;
            let fields = match items.pop() {
                Some(Value::Object(only)) if items.is_empty() => only,
                last => Map::from_iter([("items".to_owned(), Value::Array(items.into_iter().chain(last).collect()))]),
            };
            Ok(Callback { fields: unfolded(fields, limits)?, ..Callback::default() })
        }
        Some(other) => Ok(Callback { fields: Map::from_iter([("value".to_owned(), other)]), ..Callback::default() }),
        None if is_json(kind) => Err(ParseError::NoJson(lenient::excerpt(&lenient::text(trimmed)))),
        None => one_file(kind, body, limits),
    }
}

/// Unfolds JSON that stands as text in `data`, under the same limits.
fn unfolded(mut fields: Map<String, Value>, limits: &Limits) -> Result<Map<String, Value>, ParseError> {
    let mut level = &mut fields;
    for _ in 0..wire::DEEPEST {
        let Some(name) = level.keys().find(|name| name.eq_ignore_ascii_case("data")).cloned() else { break };
        let Some(data) = level.get_mut(&name) else { break };
        if let Value::String(text) = data
            && text.trim_start().starts_with(['{', '['])
            && let Some(inner) = json_value(text.as_bytes(), limits)?
        {
            *data = inner;
        }
        let Value::Object(next) = data else { break };
        level = next;
    }
    Ok(fields)
}

/// A document within the limits; none when it is no JSON. JSON written twice is weighed twice.
fn json_value(bytes: &[u8], limits: &Limits) -> Result<Option<Value>, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('"') {
        weigh(text.as_bytes(), limits)?;
        return Ok(lenient::parse(text));
    }
    let Ok(inner) = serde_json::from_str::<String>(text) else { return Ok(None) };
    weigh(inner.as_bytes(), limits)?;
    Ok(lenient::parse(&inner).filter(|value| value.is_object() || value.is_array()).or(Some(Value::String(inner))))
}

/// Counts values and depth before anything is allocated for them.
fn weigh(bytes: &[u8], limits: &Limits) -> Result<(), ParseError> {
    let (mut values, mut depth, mut in_string, mut escaped) = (1_usize, 0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if values > limits.values {
            return Err(too_much("JSON values", limits.values));
        }
        if depth > limits.depth {
            return Err(too_much("levels of JSON", limits.depth));
        }
    }
    Ok(())
}

// ---- forms ---------------------------------------------------------------------------------------------------------

fn from_form(body: &[u8], limits: &Limits) -> Result<Callback, ParseError> {
    if body.len() > limits.text {
        return Err(too_much("bytes of a form", limits.text));
    }
    let mut fields = Map::new();
    for (count, pair) in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
        if count == limits.values {
            return Err(too_much("fields", limits.values));
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=').map(form_text);
        let name = halves.next().unwrap_or_default();
        keep(&mut fields, name.trim(), Value::String(halves.next().unwrap_or_default()));
    }
    Ok(Callback { fields: unfolded(fields, limits)?, ..Callback::default() })
}

fn form_text(encoded: &[u8]) -> String {
    multipart::percent_decoded(&lenient::text(encoded).replace('+', " "))
}

/// A repeated name becomes an array: nothing is lost.
fn keep(fields: &mut Map<String, Value>, name: &str, value: Value) {
    match fields.get_mut(name) {
        None => {
            fields.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// `name=…`, where the name is one that a form could have.
fn looks_like_form(body: &[u8]) -> bool {
    memchr::memchr(b'=', body).is_some_and(|equals| {
        (1..=64).contains(&equals)
            && body[..equals].iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(byte))
    })
}

// ---- multipart -----------------------------------------------------------------------------------------------------

fn from_multipart(content_type: Option<&str>, body: &Bytes, limits: &Limits) -> Result<Callback, ParseError> {
    let boundary = multipart::boundary(content_type, body)?;
    let mut callback = Callback::default();
    let (mut values, mut text) = (0, 0);
    for part in multipart::parts(body, &boundary, limits.parts, limits.headers)? {
        let kind = media_type(part.content_type.as_deref());
        if is_attachment(&part, kind.as_deref().unwrap_or_default()) {
            callback.attach(part, kind, limits)?;
            continue;
        }
        text += part.body.len();
        if text > limits.text {
            return Err(too_much("bytes of fields", limits.text));
        }
        let mut value = Value::String(lenient::text(&part.body));
        if is_json(kind.as_deref().unwrap_or_default())
            && let Some(inner) = json_value(part.body.trim_ascii(), limits)?
        {
            value = inner;
            values += 1;
        }
        // Each part of JSON may weigh as much as a whole body; a few are enough.
        if values > MOST_JSON_PARTS {
            return Err(too_much("parts of JSON", MOST_JSON_PARTS));
        }
        keep(&mut callback.fields, part.name.as_deref().unwrap_or("unnamed").trim(), value);
    }
    callback.fields = unfolded(callback.fields, limits)?;
    Ok(callback)
}

const MOST_JSON_PARTS: usize = 4;
/// A text field beyond this is a document.
const LONGEST_TEXT: usize = 1 << 20;

fn is_attachment(part: &Part, kind: &str) -> bool {
    part.file_name.is_some()
        || is_file(kind)
        || part.body.len() > LONGEST_TEXT
        || std::str::from_utf8(&part.body).is_err()
}

impl Callback {
    fn attach(&mut self, part: Part, kind: Option<String>, limits: &Limits) -> Result<(), ParseError> {
        // A form whose file field was left empty sends an empty name and no bytes.
        if part.body.is_empty() && part.file_name.as_deref().is_none_or(|name| name.trim().is_empty()) {
            return Ok(());
        }
        let given = part.file_name.as_deref().or(part.name.as_deref()).unwrap_or_default();
        self.add_file(given, kind, part.body, limits)
    }

    fn add_file(
        &mut self,
        given: &str,
        content_type: Option<String>,
        bytes: Bytes,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        if bytes.len() > limits.file {
            return Err(too_much("bytes in a file", limits.file));
        }
        let taken: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        let name = display_name::sanitised(given).unwrap_or_else(|| "file".to_owned());
        self.files.push(File { name: display_name::unique(&name, &taken), content_type, bytes });
        Ok(())
    }
}

/// The body is the report itself, or something that nobody expected: it is kept as a file.
fn one_file(kind: &str, body: &Bytes, limits: &Limits) -> Result<Callback, ParseError> {
    let name = match kind {
        "application/pdf" => "callback.pdf",
        "text/html" => "callback.html",
        _ if body.starts_with(b"%PDF") => "callback.pdf",
        _ => "callback",
    };
    let mut callback = Callback::default();
    callback.add_file(name, Some(kind.to_owned()).filter(|kind| !kind.is_empty()), body.clone(), limits)?;
    Ok(callback)
}

// ---- media types ---------------------------------------------------------------------------------------------------

/// `type/subtype` in lower case, if it is one.
fn media_type(header: Option<&str>) -> Option<String> {
    const LONGEST: usize = 100;
    let kind = header?.split([';', ',']).next()?.trim().to_ascii_lowercase();
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let (top, sub) = kind.split_once('/')?;
    (kind.len() <= LONGEST && is_token(top) && is_token(sub)).then_some(kind)
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

/// Whether a type says "document" rather than "data": what carries fields is left, and what says nothing.
fn is_file(kind: &str) -> bool {
    !matches!(kind, "" | "text/plain" | "application/octet-stream" | "application/x-www-form-urlencoded")
        && !is_json(kind)
}

#[cfg(test)]
mod tests;
