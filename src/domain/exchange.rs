//! What goes to a vendor and what comes back, as values. Sending is done elsewhere (`http.rs`).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// Which of the vendor's hosts a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Host {
    #[default]
    Primary,
    Reserve,
}

/// A name and a value, in the query or in a form.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub value: String,
    /// Left out of hashes, records and debug output, and masked in the answer.
    pub secret: bool,
}

impl Field {
    pub fn open(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), secret: false }
    }

    pub fn secret(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), secret: true }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({})", self.name)
    }
}

#[derive(Clone, PartialEq)]
pub enum Body {
    Empty,
    Form(Vec<Field>),
    Json {
        value: Value,
        /// JSON pointers of the secrets in it.
        secrets: &'static [&'static str],
        content_type: String,
    },
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::Empty => "Body::Empty",
            Body::Form(_) => "Body::Form",
            Body::Json { .. } => "Body::Json",
        })
    }
}

/// One HTTP request, built by a vendor's driver. Its `Debug` shows no value of any field.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The vendor's own name of the operation, for logs and metrics.
    pub op: &'static str,
    pub method: Method,
    pub host: Host,
    /// Appended to the account's base URL.
    pub path: String,
    pub query: Vec<Field>,
    pub body: Body,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {:?} {})", self.op, self.method, self.path)
    }
}

const MASK: &str = "***";

impl Request {
    /// What is asked, without the secrets, as one canonical text.
    fn open_text(&self) -> String {
        let mut text = format!("{:?} {} {:?}", self.method, self.path, self.host);
        let push = |text: &mut String, field: &Field| {
            let value = if field.secret { MASK } else { &field.value };
            // Lengths make the text unambiguous whatever a value contains.
            text.push_str(&format!("\n{}={}:{value}", field.name, value.len()));
        };
        self.query.iter().for_each(|field| push(&mut text, field));
        match &self.body {
            Body::Empty => {}
            Body::Form(fields) => fields.iter().for_each(|field| push(&mut text, field)),
            Body::Json { value, secrets, .. } => {
                let mut value = value.clone();
                for pointer in *secrets {
                    if let Some(secret) = value.pointer_mut(pointer) {
                        *secret = Value::from(MASK);
                    }
                }
                text.push('\n');
                text.push_str(&value.to_string());
            }
        }
        text
    }

    /// SHA-256 over what is asked, secrets left out: stored with the intent, verified before the request leaves.
    pub fn hash(&self) -> String {
        sha256_hex(self.open_text().as_bytes())
    }

    /// The secrets in this very request, so that an echo of them can be masked.
    pub fn secrets(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let fields = self.query.iter().chain(match &self.body {
            Body::Form(fields) => fields.as_slice(),
            Body::Empty | Body::Json { .. } => &[],
        });
        found.extend(fields.filter(|field| field.secret).map(|field| field.value.clone()));
        if let Body::Json { value, secrets, .. } = &self.body {
            found.extend(secrets.iter().filter_map(|at| value.pointer(at)?.as_str().map(str::to_owned)));
        }
        found
    }
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Two small digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// None where it is not hex.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    rest.is_empty().then(|| bytes.collect()).flatten()
}

/// A whole answer: status line, headers and every byte of the body arrived, as they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not one byte of the request left: name not found, connection refused, TLS failed, connect time-out.
    #[error("the request never left: {0}")]
    NotSent(String),
    /// The request may have reached the vendor.
    #[error("no whole answer: {0}")]
    Lost(String),
}
