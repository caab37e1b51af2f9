//! What the handlers share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::logs::LogSwitch;
use super::metrics::Exports;
use super::pages::Pages;
use super::places;
use super::problem::Problem;
use super::reload::Reload;
use crate::callbacks::Callbacks;
use crate::crash;
use crate::domain::Timestamp;
use crate::engine::Engine;
use crate::health::HealthBoard;
use crate::listener::body::BodyBudget;
use crate::sinks::Sinks;

/// Bulk submissions that are read at a time; each holds up to a few MiB.
const BULKS: usize = 4;

#[derive(Debug, Clone)]
pub struct AdminState {
    inner: Arc<Inner>,
    callbacks: Option<Callbacks>,
    reload: Option<Arc<dyn Reload>>,
    sinks: Option<Sinks>,
    log: Option<Arc<dyn LogSwitch>>,
    exports: Exports,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    board: HealthBoard,
    stop: CancellationToken,
    bodies: BodyBudget,
    places: places::StreamPlaces,
    pages: Pages,
    bulks: Arc<Semaphore>,
    backups: Arc<Semaphore>,
    /// When health first saw that the daemon must stop.
    failed_at: OnceLock<Timestamp>,
    /// Since when health has not been able to read the store.
    unreadable_since: Mutex<Option<Timestamp>>,
}

impl AdminState {
    /// `stop` ends live streams; hand the same token to [`crate::listener::serve`].
    pub fn new(engine: Engine, board: HealthBoard, stop: CancellationToken) -> Self {
        let inner = Inner {
            engine,
            board,
            stop,
            bodies: BodyBudget::default(),
            places: places::StreamPlaces::default(),
            pages: Pages::default(),
            bulks: Arc::new(Semaphore::new(BULKS)),
            // Each takes as much room on the disk as the store itself.
            backups: Arc::new(Semaphore::new(1)),
            failed_at: OnceLock::new(),
            unreadable_since: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
            callbacks: None,
            reload: None,
            sinks: None,
            log: None,
            exports: Exports::default(),
        }
    }

    /// Lets call-backs be assigned and files be fetched.
    pub fn with_callbacks(self, callbacks: Callbacks) -> Self {
        Self { callbacks: Some(callbacks), ..self }
    }

    /// Lets the configuration be read again.
    pub fn with_reload(self, reload: Arc<dyn Reload>) -> Self {
        Self { reload: Some(reload), ..self }
    }

    pub fn reload(&self) -> Option<Arc<dyn Reload>> {
        self.reload.clone()
    }

    /// What live streams share.
    pub fn pages(&self) -> &Pages {
        &self.inner.pages
    }

    /// The place for a backup; none while one is made.
    pub fn backup_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.backups).try_acquire_owned().ok()
    }

    pub fn callbacks(&self) -> Result<&Callbacks, Problem> {
        self.callbacks.as_ref().ok_or_else(|| Problem::not_found("no call-backs are taken here"))
    }

    /// Lets webhooks and commands be looked at and steered.
    pub fn with_sinks(self, sinks: Sinks) -> Self {
        Self { sinks: Some(sinks), ..self }
    }

    pub fn sinks(&self) -> Result<&Sinks, Problem> {
        self.sinks.as_ref().ok_or_else(|| Problem::not_found("there are no webhooks here"))
    }

    /// Lets be changed what is logged.
    pub fn with_log(self, log: Option<Arc<dyn LogSwitch>>) -> Self {
        Self { log, ..self }
    }

    pub fn log(&self) -> Result<&Arc<dyn LogSwitch>, Problem> {
        self.log.as_ref().ok_or_else(|| Problem::not_found("nothing is logged here"))
    }

    /// What `/metrics` shows beside the engine and the store.
    pub fn with_exports(self, exports: Exports) -> Self {
        Self { exports, ..self }
    }

    pub fn exports(&self) -> &Exports {
        &self.exports
    }

    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub fn board(&self) -> &HealthBoard {
        &self.inner.board
    }

    pub fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }

    pub fn bodies(&self) -> &BodyBudget {
        &self.inner.bodies
    }

    pub fn failed_at(&self) -> Timestamp {
        *self.inner.failed_at.get_or_init(|| self.inner.engine.now())
    }

    /// The store could be read, or not; since when not.
    pub fn note_readable(&self, readable: bool) -> Option<Timestamp> {
        let mut since = self.inner.unreadable_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = (!readable).then(|| since.unwrap_or_else(|| self.inner.engine.now()));
        *since
    }

    /// The places of live streams and exports.
    pub fn places(&self) -> &places::StreamPlaces {
        &self.inner.places
    }

    /// Waits for a place; none never comes, for the semaphore is not closed.
    pub async fn bulk_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.bulks).acquire_owned().await.ok()
    }
}

/// Carries a change through even if the client leaves meanwhile: hyper then drops the handler, but not this.
pub async fn carry_through<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let carried = tokio::spawn(crash::watched("admin.change", change)).await;
    crash::point("admin.before_answer");
    match carried {
        Ok(result) => result,
        Err(_) => Err(Problem::internal("the change could not be carried through; see the log of opros")),
    }
}
