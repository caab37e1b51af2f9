//! Storing what came: read as far as it can be read, then made durable; whose it is comes later.

use bytes::Bytes;
use serde_json::Value;

use super::parse::{self, Callback, File, Limits};
use super::{CallbackError, Callbacks};
use crate::crash;
use crate::domain::exchange::sha256_hex;
use crate::domain::masking::{Mask, Masking};
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

/// What reading brought, without secrets of ours that the vendor echoes.
struct Read {
    facts: Facts,
    /// The fingerprint of what was said.
    fingerprint: String,
    body: Bytes,
}

/// Reads the body as it came: what is masked before it is read may not be readable any more.
fn read(content_type: Option<&str>, body: Bytes, masking: &Masking) -> Read {
    let (mut facts, fingerprint) = understand(content_type, &body);
    facts.mask(masking);
    Read { facts, fingerprint, body: masking.bytes(body) }
}

fn understand(content_type: Option<&str>, body: &Bytes) -> (Facts, String) {
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
        let masking = Masking::by(self.inner.masks.masker());
        let mut kind = content_type.clone();
        kind.mask(&masking);
        let Read { facts, fingerprint, body } = if body.len() <= READ_AT_ONCE {
            read(content_type.as_deref(), body, &masking)
        } else {
            let done = tokio::task::spawn_blocking(move || read(content_type.as_deref(), body, &masking)).await;
            done.map_err(|_| CallbackError::Panicked)?
        };
        let size = body.len() as u64;
        let body = if body.len() <= INLINE {
            RawBody::Inline(body)
        } else {
            let stored = self.on_disk(move |files| files.put(&body)).await?;
            crash::point("callback.body_put");
            RawBody::File(stored.hash.to_string())
        };
        let at = self.inner.clock.now();
        let callback = NewCallback { account, at, peer, content_type: kind, size, fingerprint, facts, body };
        crash::point("callback.before_keep");
        let kept = self.store().keep_callback(callback).await?;
        crash::point("callback.kept");
        if let Kept::New(_) = kept {
            self.inner.arrived.notify_one();
        }
        Ok(kept)
    }
}

impl Mask for Facts {
    fn mask(&mut self, masking: &Masking) {
        let Facts { vin, check_type, status, ids, unreadable } = self;
        [vin, check_type, status, unreadable].into_iter().for_each(|text| text.mask(masking));
        ids.mask(masking);
    }
}

impl Mask for Callback {
    fn mask(&mut self, masking: &Masking) {
        let Callback { vin, check_type, status, url, ids, error, fields, files } = self;
        [vin, check_type, status, url, error].into_iter().for_each(|text| text.mask(masking));
        ids.mask(masking);
        let mut all = Value::Object(std::mem::take(fields));
        masking.value(&mut all);
        if let Value::Object(all) = all {
            *fields = all;
        }
        for File { name, content_type, bytes } in files {
            name.mask(masking);
            content_type.mask(masking);
            *bytes = masking.bytes(std::mem::take(bytes));
        }
    }
}
