//! What the store keeps of documents that results name and that are to lie in the file store too.

use super::CallRecord;
use super::callbacks::JobFile;
use crate::domain::{JobId, Timestamp};

/// A result names a document: the wish to have it is committed with the job's success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadWish {
    pub job: JobId,
    pub url: String,
}

/// One that is to be fetched now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDownload {
    pub job: JobId,
    pub account: String,
    pub url: String,
    /// How often it was tried in vain.
    pub tries: u32,
}

/// How a job's download stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadState {
    pub saved: bool,
    /// None once it is saved or given up.
    pub due_at: Option<Timestamp>,
    pub tries: u32,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// How one try ended. The job stays what it is, whatever becomes of its document.
#[derive(Debug, Clone, PartialEq)]
pub struct DownloadEnd {
    pub job: JobId,
    pub at: Timestamp,
    pub outcome: DownloadOutcome,
    /// For the timeline; none where nothing was sent.
    pub call: Option<CallRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadOutcome {
    /// It lies in the file store.
    Saved(JobFile),
    Again {
        error: String,
        due_at: Timestamp,
    },
    GivenUp {
        error: String,
    },
}
