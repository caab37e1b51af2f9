//! What is shown of the mailbox's troubles, on the daemon's board and in its log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Causes;
use super::trouble::{self, COPY_OVER, LOCKED, STORE, Trouble, UNAVAILABLE, WAL};
use crate::domain::privacy::masked;
use crate::store::StoreError;

/// A locked or unusable file is tried again after this.
const RETRY_LOCKED: Duration = Duration::from_millis(50);
pub const RETRY: Duration = Duration::from_millis(500);
/// A foreign lock that is held for longer is shown.
const LOCK_SHOWN_AFTER: Duration = Duration::from_secs(1);
/// A WAL beyond this is shown: a foreign reader keeps it from being emptied.
const WAL_SHOWN: u64 = 64 << 20;
/// What was mended by itself is shown for so long: somebody may wonder where rows are.
const NOTICED_FOR: Duration = Duration::from_secs(600);

/// What is shown at the moment, each logged once.
pub struct Board {
    causes: Arc<dyn Causes>,
    locked_since: Option<(Instant, bool)>,
    shown: Option<(&'static str, String)>,
    wal_shown: bool,
    /// What was mended, and until when it is shown.
    notices: Vec<(&'static str, Instant)>,
    /// How soon to try again.
    pub retry: Duration,
}

impl Board {
    pub fn new(causes: Arc<dyn Causes>) -> Self {
        // What a task that broke had shown is shown again, or is over.
        trouble::ALL.iter().for_each(|cause| causes.clear(cause));
        Self { causes, locked_since: None, shown: None, wal_shown: false, notices: Vec::new(), retry: RETRY }
    }

    pub fn show(&mut self, trouble: &Trouble) {
        self.retry = RETRY;
        match trouble {
            Trouble::Busy(_) => self.locked(),
            Trouble::Moved | Trouble::Altered => {
                tracing::warn!(why = %trouble, "the mailbox is opened anew");
                self.retry = Duration::ZERO;
            }
            Trouble::Damaged(what) => self.post(
                UNAVAILABLE,
                format!(
                    "the mailbox cannot be used: {what}. If it is damaged, move it away; opros makes a new one. Rows that were not \
                     taken come over as far as they can be read: {COPY_OVER}"
                ),
            ),
            Trouble::Refused { cause, what } => self.post(cause, what.clone()),
            Trouble::Sqlite(error) | Trouble::Disk { what: error, .. } => self.post(UNAVAILABLE, format!("the mailbox cannot be used: {error}")),
            Trouble::Store(StoreError::Closed) => {}
            Trouble::Store(error) => self.post(STORE, format!("the mailbox waits for the store: {error}")),
        }
    }

    /// Shows for a while what is mended already.
    pub fn notice(&mut self, cause: &'static str, what: String) {
        tracing::warn!(cause, "{}", masked(&what));
        // Of this time, not of one before it that is still shown.
        self.causes.clear(cause);
        self.causes.set(cause, what);
        self.notices.retain(|(shown, _)| *shown != cause);
        self.notices.push((cause, Instant::now() + NOTICED_FOR));
        self.retry = Duration::ZERO;
    }

    fn post(&mut self, cause: &'static str, what: String) {
        if self.shown.as_ref().is_some_and(|(shown, words)| *shown == cause && *words == what) {
            return;
        }
        if let Some((old, _)) = self.shown.take().filter(|(old, _)| *old != cause) {
            self.causes.clear(old);
        }
        tracing::error!(cause, "{}", masked(&what));
        self.causes.set(cause, what.clone());
        self.shown = Some((cause, what));
    }

    fn locked(&mut self) {
        self.retry = RETRY_LOCKED;
        let (since, is_shown) = self.locked_since.get_or_insert((Instant::now(), false));
        let held = since.elapsed();
        if held < LOCK_SHOWN_AFTER {
            return;
        }
        let what = format!(
            "another program has held a lock on the mailbox for {} s; new rows and answers wait, everything else goes on",
            held.as_secs()
        );
        if !*is_shown {
            *is_shown = true;
            tracing::warn!(
                seconds = held.as_secs(),
                "another program holds a lock on the mailbox; its rows and answers wait"
            );
        }
        self.causes.set_held(LOCKED, what, held);
    }

    pub fn all_well(&mut self, wal_bytes: u64) {
        if let Some((since, true)) = self.locked_since.take() {
            tracing::info!(seconds = since.elapsed().as_secs(), "the mailbox is free again");
            self.causes.clear(LOCKED);
        }
        self.clear_shown();
        let now = Instant::now();
        let over = self.notices.extract_if(.., |(_, until)| *until <= now);
        over.for_each(|(cause, _)| self.causes.clear(cause));
        let large = wal_bytes > WAL_SHOWN;
        if large && !self.wal_shown {
            let what = format!(
                "the mailbox's WAL has grown to {} MB: another program keeps a read transaction open",
                wal_bytes >> 20
            );
            tracing::warn!(
                megabytes = wal_bytes >> 20,
                "the mailbox's WAL grows: another program keeps a transaction open"
            );
            self.causes.set(WAL, what);
        } else if !large && self.wal_shown {
            self.causes.clear(WAL);
        }
        self.wal_shown = large;
    }

    fn clear_shown(&mut self) {
        if let Some((cause, _)) = self.shown.take() {
            tracing::info!(cause, "the mailbox is well again");
            self.causes.clear(cause);
        }
    }
}
