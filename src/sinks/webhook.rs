//! One event, POSTed once. No redirect is followed, nothing is retried here, no proxy is picked up, and what the receiver
//! says beyond its status is not kept.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};

use super::signature::Signer;
use super::{Format, Parcel};
use crate::clock::patiently;
use crate::domain::delivery::Attempt;
use crate::domain::{Reason, Timestamp};
use crate::guard::{self, Allowed, Names, Vetted};
use crate::http::{ClientError, chain, retry_after};

/// What is read of an answer before the connection is let go of; a short one can be used again.
const READ: usize = 4 << 10;
/// And for how long, by somebody who is waited for by nobody.
const READ_FOR: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    shown: String,
    signer: Signer,
    format: Format,
    timeout: Duration,
}

impl Webhook {
    /// The outer error is about the settings, the inner one about this machine.
    pub fn new(
        url: &SecretString,
        allowed: Allowed,
        signer: Signer,
        format: Format,
        timeout: Duration,
        names: Arc<dyn Names>,
    ) -> Result<Result<Webhook, ClientError>, String> {
        let url = guard::check(url.expose_secret(), allowed).map_err(|wrong| format!("url {wrong}"))?;
        let vetted = Vetted { names, allow_private: allowed.private };
        let made = client(vetted, timeout);
        Ok(made.map(|client| Webhook { client, shown: guard::shown(&url), url, signer, format, timeout }))
    }

    /// Its address, without what may be secret in it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub async fn deliver(&self, parcel: &Parcel, now: Timestamp) -> Attempt {
        match patiently(self.timeout, self.post(parcel, now)).await {
            Some(attempt) => attempt,
            None => failed("timeout", format!("no answer within {:?}", self.timeout), None),
        }
    }

    async fn post(&self, parcel: &Parcel, now: Timestamp) -> Attempt {
        let body = self.format.body(parcel);
        let timestamp = now.as_millis() / 1000;
        let signature = self.signer.sign(&parcel.id, timestamp, &body);
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, self.format.content_type())
            .header("webhook-id", &parcel.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed("no_answer", chain(&error), None),
        };
        let status = response.status();
        let wait = retry_after(response.headers(), now);
        // The status line has decided: whatever the body does changes nothing, and holds up no other delivery.
        tokio::spawn(tokio::time::timeout(READ_FOR, drain(response)));
        verdict(status, wait)
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("to", &self.shown).field("format", &self.format).finish_non_exhaustive()
    }
}

/// A body that was read to its end leaves a connection that can be used again.
async fn drain(mut response: reqwest::Response) {
    let mut read = 0;
    while read < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

fn verdict(status: StatusCode, wait: Option<Duration>) -> Attempt {
    let code = status.as_u16();
    let reason = |text: &str| Reason::new(format!("status_{code}"), format!("the receiver answered {code}{text}"));
    match (status, wait) {
        (status, _) if status.is_success() => Attempt::Acknowledged { status: Some(code) },
        (StatusCode::GONE, _) => Attempt::Gone { reason: reason(": it wants no more events"), status: code },
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => {
            let text = format!(": not before {} s have passed", wait.as_secs());
            Attempt::Silence { reason: reason(&text), status: code, wait }
        }
        (status, _) if status.is_redirection() => {
            failed_with(reason(": redirects are not followed; write the final address into the configuration"), code)
        }
        (_, _) => failed_with(reason(""), code),
    }
}

fn failed(code: &str, message: String, status: Option<u16>) -> Attempt {
    Attempt::Failed { reason: Reason::new(code, message), status }
}

fn failed_with(reason: Reason, status: u16) -> Attempt {
    Attempt::Failed { reason, status: Some(status) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "src/http.rs speaks to vendors; this client speaks to receivers of events"
)]
fn client(vetted: Vetted, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .user_agent(concat!("opros/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .gzip(false)
        .dns_resolver(Arc::new(vetted))
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(20))
        .referer(false)
        .build()
        .map_err(|error| ClientError(chain(&error)))
}
