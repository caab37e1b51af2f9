//! Backups by the calendar: a checked copy of the store in a directory, the oldest ones making room.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

use super::Engine;
use crate::crash;
use crate::domain::Timestamp;
use crate::domain::calendar::Calendar;
use crate::health::{HealthBoard, Severity};
use crate::store::Store;

/// In the table of firings, and on the health board.
const NAME: &str = "backup";
/// A time that is older than this is not made up for; firings are remembered a little longer.
const MADE_UP_FOR: Duration = Duration::from_secs(6 * 86_400);
const PREFIX: &str = "opros-";
const SUFFIX: &str = ".db";

#[derive(Debug, Clone)]
pub struct BackupPlan {
    pub directory: PathBuf,
    pub calendar: Calendar,
    /// The newest so many stay.
    pub keep: usize,
}

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Backups {
    plan: Arc<Mutex<Option<(BackupPlan, Timestamp)>>>,
    busy: Arc<AtomicBool>,
    board: HealthBoard,
}

impl Backups {
    pub fn new(board: HealthBoard) -> Self {
        Self { plan: Arc::default(), busy: Arc::default(), board }
    }

    /// None: no backups by the calendar.
    pub fn set(&self, plan: Option<BackupPlan>) {
        if plan.is_none() {
            self.board.clear(NAME);
        }
        // Looked at by the next tick, whatever came due before.
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan.map(|plan| (plan, Timestamp::MIN));
    }

    /// Makes a backup where one has come due; the tick does not wait for it.
    pub async fn tick(&self, engine: &Engine) {
        let now = engine.now();
        let Some((plan, due)) = self.due(now) else { return };
        // Before its time is spent: what is left out now is made up for once the one before it is done.
        let Some(turn) = Turn::take(&self.busy) else {
            tracing::warn!("a backup waits: the one before it is still being made");
            self.look_again();
            return;
        };
        match engine.store().fire(NAME, due).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(error = %error, "a backup is put off: the store did not answer");
                self.look_again();
                return;
            }
        }
        let (backups, store, stop) = (self.clone(), Arc::clone(engine.store()), engine.stopping());
        tokio::spawn(crash::watched("engine.backup", async move {
            let _turn = turn;
            let made = AssertUnwindSafe(backups.make(store.as_ref(), &plan, now)).catch_unwind();
            tokio::select! {
                made = made => if made.is_err() {
                    tracing::error!("making a backup panicked; older ones stay. This is a bug of opros");
                    let what = "the newest backup failed: making it panicked".to_owned();
                    backups.board.post(NAME, Severity::Degraded, what, now);
                },
                // The store waits for what reads it: a stop is not to wait for a copy of gigabytes.
                () = stop.cancelled() => tracing::warn!("a backup is broken off: opros is stopping; older ones stay"),
            }
        }));
    }

    /// The next tick asks again for what came due.
    fn look_again(&self) {
        if let Some((_, look_at)) = self.plan.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *look_at = Timestamp::MIN;
        }
    }

    /// The newest time that came due, when there may be one.
    fn due(&self, now: Timestamp) -> Option<(BackupPlan, Timestamp)> {
        let mut guard = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, look_at) = guard.as_mut()?;
        // Far ahead: the clock was set back.
        if *look_at > now && look_at.since(now) < MADE_UP_FOR {
            return None;
        }
        *look_at = plan.calendar.after(now).unwrap_or(Timestamp::MAX);
        let due = plan.calendar.newest(now - MADE_UP_FOR, now)?;
        Some((plan.clone(), due))
    }

    /// Makes one, now, and removes what is too many.
    pub async fn make(&self, store: &dyn Store, plan: &BackupPlan, now: Timestamp) {
        let name = format!("{PREFIX}{}{SUFFIX}", now.to_utc().format("%Y%m%dT%H%M%SZ"));
        let file = plan.directory.join(name);
        // Where it cannot be made, the copy says so.
        let _ = fs::DirBuilder::new().mode(0o700).create(&plan.directory);
        match store.backup(&file).await {
            Ok(()) => {
                self.board.clear(NAME);
                let removed = rotate(&plan.directory, plan.keep);
                let bytes = fs::metadata(&file).map_or(0, |meta| meta.len());
                tracing::info!(file = %file.display(), bytes, removed, "a backup was made and checked");
            }
            Err(error) => {
                tracing::error!(file = %file.display(), error = %error, "a backup failed; older ones stay");
                let what = format!("the newest backup failed: {error}");
                self.board.post(NAME, Severity::Degraded, what, now);
            }
        }
    }
}

/// The right to make a backup, given back however that ends.
#[derive(Debug)]
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(busy: &Arc<AtomicBool>) -> Option<Turn> {
        (!busy.swap(true, Ordering::AcqRel)).then(|| Turn(Arc::clone(busy)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Removes our own files beyond the newest `keep`; their names sort by time. Nothing else is touched.
fn rotate(directory: &Path, keep: usize) -> usize {
    let ours = |name: &str| {
        let stamp = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
        stamp.is_some_and(|stamp| {
            stamp.len() == "20261122T030000Z".len() && stamp.bytes().all(|b| b.is_ascii_digit() || b"TZ".contains(&b))
        })
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| ours(name));
    names.sort_unstable();
    let too_many = names.len().saturating_sub(keep);
    names[..too_many].iter().filter(|name| fs::remove_file(directory.join(name)).is_ok()).count()
}
