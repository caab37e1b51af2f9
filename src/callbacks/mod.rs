//! Call-backs: what vendors POST to us by themselves.
//!
//! Architecture invariant: what came is durable before anything is decided about it, and only the matcher decides. Reading
//! and matching are pure, so both can be done again from what is stored.

pub mod delivery;
pub mod display_name;
pub mod door;
pub mod files;
mod forwarded;
mod keep;
pub mod matcher;
pub mod matching;
pub mod multipart;
pub mod parse;
mod rate;
mod tidy;

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use self::files::{FileError, FileHash, FileStore};
use crate::clock::SharedClock;
use crate::domain::JobId;
use crate::domain::masking::Masks;
use crate::meters::CallbackMeters;
use crate::store::callbacks::JobFile;
use crate::store::{Store, StoreError};

/// What the call-backs of one store need.
#[derive(Debug)]
pub struct Settings {
    pub files: FileStore,
    /// Accounts whose vendors call back.
    pub accounts: BTreeSet<String>,
    /// What is masked before anything is stored.
    pub masks: Masks,
    /// How long call-backs are kept whose jobs are gone, or were never found.
    pub retention: Duration,
}

/// What a reload changes.
#[derive(Debug)]
struct Rules {
    accounts: BTreeSet<String>,
    retention: Duration,
}

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Callbacks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: SharedClock,
    files: FileStore,
    rules: RwLock<Arc<Rules>>,
    masks: Masks,
    /// One call-back is given away at a time: two that seem to be for one job must not both have it.
    giving: Mutex<()>,
    /// A call-back came.
    arrived: Notify,
    meters: CallbackMeters,
}

#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the stored call-back {0} has no body any more")]
    NoBody(i64),
    #[error("reading a call-back panicked; this is a bug of opros")]
    Panicked,
}

impl Callbacks {
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, settings: Settings) -> Self {
        let Settings { files, accounts, masks, retention } = settings;
        let rules = RwLock::new(Arc::new(Rules { accounts, retention }));
        let (giving, arrived, meters) = (Mutex::default(), Notify::new(), CallbackMeters::default());
        Self { inner: Arc::new(Inner { store, clock, files, rules, masks, giving, arrived, meters }) }
    }

    pub fn meters(&self) -> &CallbackMeters {
        &self.inner.meters
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.inner.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on by these, as in [`Settings`].
    pub fn change(&self, accounts: BTreeSet<String>, retention: Duration) {
        let rules = Arc::new(Rules { accounts, retention });
        *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Removes those of these files that nothing names any more; says how many.
    pub async fn remove_files(&self, hashes: &[String]) -> Result<usize, CallbackError> {
        let known = self.store().known_files(hashes).await?;
        let unknown = hashes.iter().filter(|hash| !known.contains(*hash));
        let unknown: Vec<FileHash> = unknown.filter_map(|hash| hash.parse().ok()).collect();
        let count = unknown.len();
        self.on_disk(move |files| unknown.iter().try_for_each(|hash| files.remove(hash).map(drop))).await?;
        Ok(count)
    }

    fn store(&self) -> &dyn Store {
        self.inner.store.as_ref()
    }

    /// A job's file, to be streamed.
    pub async fn open_file(&self, job: JobId, name: &str) -> Result<Option<(JobFile, File)>, CallbackError> {
        let files = self.store().job_files(job).await?;
        let Some(file) = files.into_iter().find(|file| file.name == name) else { return Ok(None) };
        let Ok(hash) = file.sha256.parse::<FileHash>() else { return Ok(None) };
        let opened = self.on_disk(move |files| files.open_file(&hash)).await?;
        Ok(opened.map(|opened| (file, opened)))
    }

    /// Does what blocks on a thread that may.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileStore) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, CallbackError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner.files)).await;
        Ok(done.map_err(|_| CallbackError::Panicked)??)
    }
}
