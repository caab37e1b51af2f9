//! What a matched call-back means for its job.

use serde_json::{Value, json};

use super::parse::{Callback, File};
use crate::domain::Reason;
use crate::domain::state::End;
use crate::vendors::lenient;

/// A call-back's file, once it lies in the file store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub name: String,
    pub content_type: Option<String>,
    pub size: u64,
    pub sha256: String,
}

impl Kept {
    pub fn new(file: &File, sha256: impl Into<String>) -> Self {
        Self {
            name: file.name.clone(),
            content_type: file.content_type.clone(),
            size: file.bytes.len() as u64,
            sha256: sha256.into(),
        }
    }

    fn shown(&self) -> Value {
        json!({ "name": self.name, "content_type": self.content_type, "size": self.size, "sha256": self.sha256 })
    }
}

/// How the job ends by it; none when it is not the answer yet.
///
/// The vendor's page knows one kind of POST: the supplier's answer. So a call-back is the answer, whatever its status
/// says; even a bare one, since the report may have gone by mail. An error is a failure, unless a report came with it.
/// Should the vendor turn out to announce progress, `progress` names the statuses that are no answer.
pub fn end(callback: &Callback, files: &[Kept], progress: &[String]) -> Option<End> {
    let brings = !files.is_empty() || callback.url.is_some();
    let result = result(callback, files).to_string();
    match &callback.error {
        Some(error) if !brings => Some(End::Failure {
            reason: Reason::new(
                "vendor_failed",
                format!("VagVin could not make the report: {}", lenient::excerpt(error)),
            ),
            result: Some(result),
        }),
        None if !brings && is_progress(callback, progress) => None,
        Some(_) | None => Some(End::Success { result }),
    }
}

fn is_progress(callback: &Callback, progress: &[String]) -> bool {
    callback
        .status
        .as_ref()
        .is_some_and(|status| progress.iter().any(|word| word.trim().to_lowercase() == status.trim().to_lowercase()))
}

/// The job's result: what is known by name, the files by hash, and everything else as it came.
pub fn result(callback: &Callback, files: &[Kept]) -> Value {
    json!({
        "vin": callback.vin,
        "check_type": callback.check_type,
        "status": callback.status,
        "url": callback.url,
        "error": callback.error,
        "files": files.iter().map(Kept::shown).collect::<Vec<_>>(),
        "fields": callback.fields,
    })
}

#[cfg(test)]
mod tests;
