//! The one HTTP client: how a request leaves and what comes back, and whether it can have left at all.
//!
//! Architecture invariant: nothing else in the daemon opens a connection to a vendor (webhooks have a client of their own). No redirect is followed, nothing is
//! retried, no proxy is picked up from the environment, and no URL stands in an error. An answer is read as it came, and masked
//! in the same breath: [`Received::read`].

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock::{SharedClock, patiently};
use crate::crash::{self, Mutant};
use crate::domain::exchange::{Answer, Body, Field, Host, Method, Request, SendError};
use crate::domain::masking::{Mask, Masking, Masks};
use crate::domain::{Call, Timestamp};
use crate::guard::{self, Names, Vetted};

/// The largest answer that is read, counted after decompression.
pub const LARGEST_ANSWER: usize = 16 << 20;
/// An answer beyond this must have one of the few places for large ones before more of it is read.
const SMALL_ANSWER: usize = 256 << 10;
/// How many large answers are held at a time, over all accounts.
const LARGE_ANSWERS: usize = 2;
/// How many idle connections an account keeps for free calls, for a few seconds.
const KEPT_CONNECTIONS: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A document may be large and its server slow; nobody waits for it.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(300);
/// Whoever asks waits in front of a terminal.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// Retry-After beyond a day is a vendor's slip.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// The few places for large answers, which all accounts share: memory stays bounded whatever the vendors send.
#[derive(Debug, Clone)]
pub struct AnswerBudget(Arc<Semaphore>);

impl Default for AnswerBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_ANSWERS)))
    }
}

/// A whole answer; keeps its place among the large ones until it is dropped.
#[derive(Debug)]
pub struct Received {
    /// As it came: it may hold secrets of ours.
    answer: Answer,
    masking: Masking,
    _place: Option<OwnedSemaphorePermit>,
}

impl Received {
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.retry_after
    }

    /// The one way to what was answered: whatever is made of it holds no secret any more.
    pub fn read<T: Mask>(&self, read: impl FnOnce(&Answer) -> T) -> T {
        let mut reading = read(&self.answer);
        reading.mask(&self.masking);
        reading
    }
}

/// A part of a document.
#[derive(Debug)]
pub enum Piece {
    Bytes(Bytes),
    /// All of it was sent; without this it broke off.
    End,
}

/// A document that was received whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub status: u16,
    pub content_type: Option<String>,
}

/// Why there is no document. Holds no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    pub status: Option<u16>,
    pub what: String,
    pub too_large: bool,
}

impl FetchError {
    fn new(status: Option<u16>, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), too_large: false }
    }
}

/// Where and how one account's requests go.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Scheme, host and optional prefix, without a trailing slash.
    pub base_url: String,
    pub reserve_url: Option<String>,
    /// Of one call, from the first byte to the last.
    pub timeout: Duration,
    /// What is masked in answers, beside the secrets of their own requests.
    pub masks: Masks,
    /// Who is asked for the addresses of documents' hosts.
    pub names: Arc<dyn Names>,
}

/// One account's client.
#[derive(Debug, Clone)]
pub struct Client {
    /// A fresh connection for every submit: what a dead pooled connection swallowed would be in doubt.
    paid: reqwest::Client,
    free: reqwest::Client,
    /// Goes wherever the vendor says, and never to this machine or a private network by a public name.
    documents: reqwest::Client,
    settings: Arc<ClientSettings>,
    budget: AnswerBudget,
    clock: SharedClock,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "no TLS client can be made: {0}. Is the package ca-certificates installed? Without it no vendor can be reached safely"
)]
pub struct ClientError(pub String);

impl Client {
    pub fn new(settings: ClientSettings, budget: AnswerBudget, clock: SharedClock) -> Result<Self, ClientError> {
        let made = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| ClientError(chain(&error)));
        let (paid, free) = (made(builder(&settings, 0))?, made(builder(&settings, KEPT_CONNECTIONS))?);
        let vetted = Vetted { names: Arc::clone(&settings.names), allow_private: is_loopback(&settings.base_url) };
        let documents = made(builder(&settings, 0).dns_resolver(Arc::new(vetted)))?;
        Ok(Self { paid, free, documents, settings: Arc::new(settings), budget, clock })
    }

    /// Sends one request once. `Ok` means that every byte of the answer arrived.
    pub async fn send(&self, request: &Request, call: Option<Call>) -> Result<Received, SendError> {
        let client = if call == Some(Call::Submit) { &self.paid } else { &self.free };
        let base = match request.host {
            Host::Primary => Some(&self.settings.base_url),
            Host::Reserve => self.settings.reserve_url.as_ref(),
        };
        let Some(base) = base else {
            return Err(SendError::NotSent("no reserve host is configured".to_owned()));
        };
        let url = format!("{}{}", base.trim_end_matches('/'), request.path);
        let exchange = async {
            let response = prepare(client, &url, request).send().await.map_err(|error| sort(&error))?;
            self.read(response, request).await
        };
        patiently(self.settings.timeout, exchange)
            .await
            .unwrap_or_else(|| Err(SendError::Lost(format!("no answer within {:?}", self.settings.timeout))))
    }

    /// Whether the vendor's host can be reached: one HEAD of its front page, without a key and without params. Any answer
    /// is one; says its status.
    pub async fn knock(&self, host: Host) -> Result<u16, SendError> {
        let base = match host {
            Host::Primary => Some(&self.settings.base_url),
            Host::Reserve => self.settings.reserve_url.as_ref(),
        };
        let front = base.and_then(|base| reqwest::Url::parse(base).ok()?.join("/").ok());
        let front = front.ok_or_else(|| SendError::NotSent("the address cannot be read".to_owned()))?;
        let patience = self.settings.timeout.min(KNOCK_TIMEOUT);
        match patiently(patience, self.free.head(front).send()).await {
            Some(answer) => answer.map(|answer| answer.status().as_u16()).map_err(|error| sort(&error)),
            None => Err(SendError::Lost(format!("no answer within {patience:?}"))),
        }
    }

    /// Fetches a document from an address that the vendor gave, in pieces as they come, so that it never lies in memory.
    /// Nothing of ours goes along but the name of the program. `most`: bytes after decompression.
    pub async fn fetch(
        &self,
        url: reqwest::Url,
        most: u64,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Document, FetchError> {
        let fetch = async {
            let sent = self.documents.get(url).send().await;
            let response = sent.map_err(|error| FetchError::new(None, chain(&error)))?;
            receive(response, most, pieces).await
        };
        let patience = self.settings.timeout.max(DOCUMENT_TIMEOUT);
        let late = || Err(FetchError::new(None, format!("it was not there after {patience:?}")));
        patiently(patience, fetch).await.unwrap_or_else(late)
    }

    async fn read(&self, mut response: reqwest::Response, request: &Request) -> Result<Received, SendError> {
        let status = response.status().as_u16();
        let content_type = header(response.headers(), CONTENT_TYPE.as_str());
        let retry_after = retry_after(response.headers(), self.clock.now());
        let mut body = BytesMut::new();
        let mut place = None;
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            let size = body.len() + chunk.len();
            if size > LARGEST_ANSWER {
                return Err(SendError::Lost(format!("the answer is larger than {} MiB", LARGEST_ANSWER >> 20)));
            }
            if size > SMALL_ANSWER && place.is_none() {
                let permit = Arc::clone(&self.budget.0).acquire_owned().await;
                place = Some(permit.map_err(|_| SendError::Lost("the daemon is stopping".to_owned()))?);
            }
            body.extend_from_slice(&chunk);
        }
        let answer = Answer { status, content_type, retry_after, body: body.freeze() };
        let masking = self.settings.masks.with(request.secrets());
        Ok(Received { answer, masking, _place: place })
    }
}

async fn receive(
    mut response: reqwest::Response,
    most: u64,
    pieces: mpsc::Sender<Piece>,
) -> Result<Document, FetchError> {
    let status = response.status().as_u16();
    let failed = |what: String| FetchError::new(Some(status), what);
    if !(200..300).contains(&status) {
        return Err(failed(format!("the vendor answered HTTP {status}")));
    }
    let content_type = header(response.headers(), CONTENT_TYPE.as_str()).map(|kind| kind.chars().take(100).collect());
    let mut size = 0_u64;
    while let Some(bytes) = response.chunk().await.map_err(|error| failed(chain(&error)))? {
        size += bytes.len() as u64;
        if size > most {
            return Err(FetchError { too_large: true, ..failed(format!("it is larger than {most} bytes")) });
        }
        // Nobody receives any more: the disk failed, and says so itself.
        let _ = pieces.send(Piece::Bytes(bytes)).await;
    }
    if size == 0 {
        return Err(failed("the document is empty".to_owned()));
    }
    let _ = pieces.send(Piece::End).await;
    Ok(Document { status, content_type })
}

#[expect(clippy::disallowed_methods, reason = "this is the one home of the vendors' client")]
fn builder(settings: &ClientSettings, idle_connections: usize) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("opros/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        // Headers that curl and browsers read: what one of them looks like says nothing about the order.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        // Well before the time-out of the whole call: only a failed connect proves that nothing was sent.
        .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout.mul_f64(0.8)))
        .pool_max_idle_per_host(idle_connections)
        .pool_idle_timeout(Duration::from_secs(20))
        .referer(false)
}

fn is_loopback(base_url: &str) -> bool {
    let url = reqwest::Url::parse(base_url).ok();
    url.is_some_and(|url| {
        guard::literal(&url).is_some_and(|address| address.is_loopback()) || url.domain() == Some("localhost")
    })
}

/// None is followed: a submit that is sent on is sent twice.
fn redirects() -> reqwest::redirect::Policy {
    if crash::is(Mutant::FollowRedirects) {
        reqwest::redirect::Policy::default()
    } else {
        reqwest::redirect::Policy::none()
    }
}

fn prepare(client: &reqwest::Client, url: &str, request: &Request) -> reqwest::RequestBuilder {
    let pairs = |fields: &[Field]| fields.iter().map(|field| (field.name, field.value.clone())).collect::<Vec<_>>();
    let mut builder = match request.method {
        Method::Get => client.get(url),
        Method::Post => client.post(url),
    };
    if !request.query.is_empty() {
        builder = builder.query(&pairs(&request.query));
    }
    builder = builder.header(reqwest::header::ACCEPT, "application/json, */*;q=0.5");
    match &request.body {
        Body::Empty => builder,
        Body::Form(fields) => builder.form(&pairs(fields)),
        Body::Json { value, content_type, .. } => {
            builder.header(CONTENT_TYPE, content_type.as_str()).body(value.to_string())
        }
    }
}

/// A request that failed before an answer began: it never left, or nobody knows.
fn sort(error: &reqwest::Error) -> SendError {
    // Name lookup, TCP and TLS belong to the connector: no byte of the request was written yet.
    if error.is_connect() || error.is_builder() { SendError::NotSent(chain(error)) } else { lost(error) }
}

fn lost(error: &reqwest::Error) -> SendError {
    SendError::Lost(chain(error))
}

/// An error's causes in one line. reqwest's own text carries the URL, and with it the key: only its causes are used.
pub fn chain(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !text.is_empty() && !parts.contains(&text) {
            parts.push(text);
        }
        cause = error.source();
    }
    if parts.is_empty() {
        let kind = if error.is_timeout() {
            "timed out"
        } else if error.is_body() || error.is_decode() {
            "the body broke off"
        } else {
            "the connection failed"
        };
        parts.push(kind.to_owned());
    }
    parts.join(": ")
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// How long the other side asks for silence: seconds, or a date in one of the three forms of HTTP. A wait of nothing, a time
/// that has passed and what cannot be read ask for nothing: then our own backoff says how long. Of several the longest counts.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let texts = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    texts.filter_map(|text| asked_wait(text.trim(), now)).max()
}

fn asked_wait(text: &str, now: Timestamp) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // What no number holds is long all the same.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        http_date(text)?.since(now)
    };
    (!wait.is_zero()).then(|| wait.min(LONGEST_RETRY_AFTER))
}

/// As RFC 9110 writes them: today's form, that of RFC 850, and that of asctime.
fn http_date(text: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let read = |form: &&str| chrono::NaiveDateTime::parse_from_str(text, form).ok();
    let date = FORMS.iter().find_map(read).map(|date| date.and_utc().timestamp_millis());
    let other = || chrono::DateTime::parse_from_rfc2822(text).ok().map(|date| date.timestamp_millis());
    date.or_else(other).map(Timestamp::from_millis)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
