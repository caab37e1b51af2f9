//! Storing what came: read as far as it can be read, then made durable; whose it is comes later.

use bytes::Bytes;

use super::parse::{self, Callback, Limits};
use super::{CallbackError, Callbacks};
use crate::crash;
use crate::domain::exchange::sha256_hex;
use crate::store::callbacks::{Facts, Kept, NewCallback, RawBody};

/// A larger body lies in a file: the writer that commits paid calls must not be held up by it.
const INLINE: usize = 64 << 10;
/// A larger body is read on a thread that may block.
const READ_AT_ONCE: usize = 16 << 10;

/// A call-back whose sender knew the secret.
#[derive(Debug)]
pub struct Arrival {
    pub account: String,
    pub peer: String,
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// What reading brought: the facts, and the fingerprint of what was said.
fn read(content_type: Option<&str>, body: &Bytes) -> (Facts, String) {
    match parse::parse(content_type, body, &Limits::DEFAULT) {
        Ok(callback) => {
            let fingerprint = callback.fingerprint();
            let Callback { vin, check_type, status, ids, .. } = callback;
            (Facts { vin, check_type, status, ids, unreadable: None }, fingerprint)
        }
        Err(error) => {
            let facts = Facts { unreadable: Some(error.to_string()), ..Facts::default() };
            (facts, format!("raw:{}", sha256_hex(body)))
        }
    }
}

impl Callbacks {
    /// When this returns, the call-back survives a power cut. The same again changes nothing.
    pub async fn keep(&self, arrival: Arrival) -> Result<Kept, CallbackError> {
        let Arrival { account, peer, content_type, body } = arrival;
        let body = self.masked(body);
        let size = body.len() as u64;
        let (facts, fingerprint) = if body.len() <= READ_AT_ONCE {
            read(content_type.as_deref(), &body)
        } else {
            let (kind, body) = (content_type.clone(), body.clone());
            let done = tokio::task::spawn_blocking(move || read(kind.as_deref(), &body)).await;
            done.map_err(|_| CallbackError::Panicked)?
        };
        let body = if body.len() <= INLINE {
            RawBody::Inline(body)
        } else {
            let stored = self.on_disk(move |files| files.put(&body)).await?;
            crash::point("callback.body_put");
            RawBody::File(stored.hash.to_string())
        };
        let at = self.inner.clock.now();
        let callback = NewCallback { account, at, peer, content_type, size, fingerprint, facts, body };
        crash::point("callback.before_keep");
        let kept = self.store().keep_callback(callback).await?;
        crash::point("callback.kept");
        if let Kept::New(_) = kept {
            self.inner.arrived.notify_one();
        }
        Ok(kept)
    }

    /// Secrets of ours that the vendor echoes are not stored.
    fn masked(&self, body: Bytes) -> Bytes {
        match &self.rules().secrets {
            Some(secrets) if secrets.is_match(&body[..]) => {
                let masks = vec!["***"; secrets.patterns_len()];
                secrets.replace_all_bytes(&body, &masks).into()
            }
            Some(_) | None => body,
        }
    }
}
