//! The mailbox: the SQLite file that other programs insert into and read.
//!
//! Architecture invariant: nothing in this file is believed but new rows and cancel wishes. What was ordered, paid and
//! answered stands in the store; the mailbox shows it, and may be locked, forged, swapped or lost without harm to it.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::store::{MailboxMark, Retention, Store, StoreError};

mod deliver;
mod file;
mod row;
mod schema;
mod session;
pub mod sql;
mod take;
pub mod trouble;
mod watch;

use self::file::Mailbox;
use self::session::{Next, Session};
use self::trouble::{LOCKED, STORE, Trouble, UNAVAILABLE, WAL};

/// A locked or unusable file is tried again after this.
const RETRY_LOCKED: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(500);
/// A foreign lock that is held for longer is shown.
const LOCK_SHOWN_AFTER: Duration = Duration::from_secs(1);
/// A WAL beyond this is shown: a foreign reader keeps it from being emptied.
const WAL_SHOWN: u64 = 64 << 20;

/// Where the mailbox is, and how long what has ended stays in it.
#[derive(Debug, Clone)]
pub struct Setup {
    pub path: PathBuf,
    /// A reload changes it.
    pub retention: Receiver<Retention>,
    /// Told each time the file was opened and can be inserted into.
    pub opened: Arc<Notify>,
}

impl Setup {
    /// Often enough for the shortest retention, seldom enough to cost nothing.
    fn retain_every(&self) -> Duration {
        let retention = *self.retention.borrow();
        let shortest = retention.finished.min(retention.events);
        (shortest / 4).clamp(Duration::from_millis(250), Duration::from_secs(60))
    }
}

/// Where the mailbox shows what is wrong with it, by one of the words in [`trouble`], until it is not.
pub trait Causes: Send + Sync + Debug {
    fn set(&self, cause: &'static str, what: String);
    fn clear(&self, cause: &'static str);
}

/// Serves the mailbox until `stop`; whatever happens to the file, it is shown, and tried again.
///
/// Stop it after the engine was drained and before the store is closed: then the last facts are written, too.
pub async fn run(setup: Setup, engine: Engine, causes: Arc<dyn Causes>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let board = Board::new(Arc::clone(&causes));
        let keeper = Keeper { setup: setup.clone(), engine: engine.clone(), board, known: MailboxMark::default() };
        let served = tokio::spawn(keeper.serve(stop.clone())).await;
        if let Err(error) = served {
            tracing::error!(error = %error, "the mailbox's task broke; it is started again");
            causes.set(UNAVAILABLE, "the mailbox's task broke and is started again; the log says why".to_owned());
            pause(RETRY, &stop).await;
        }
    }
}

/// Lets the store know which numbers of events the file has used. Before the engine starts: the events of its recovery must
/// not take numbers that readers of the file know already, as they would in a store that is older than the file.
pub async fn settle(path: &Path, store: &dyn Store) -> Result<(), Trouble> {
    let cursor = store.mailbox_cursor().await?;
    let file = Mailbox::open(path, store.instance(), cursor.mark, cursor.last).await?;
    let mark = MailboxMark { written: file.written, highest_id: cursor.mark.highest_id };
    file.close(false).await;
    if mark != cursor.mark {
        store.set_mailbox_mark(mark).await?;
    }
    Ok(())
}

/// Opens the file again and again.
struct Keeper {
    setup: Setup,
    engine: Engine,
    board: Board,
    /// Where the file stood that was open last.
    known: MailboxMark,
}

impl Keeper {
    async fn serve(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match Session::open(&self.setup, &self.engine, self.known).await {
                Ok(session) => {
                    self.setup.opened.notify_one();
                    self.work(session, &stop).await;
                }
                Err(trouble) => self.board.show(&trouble),
            }
            if !stop.is_cancelled() {
                pause(self.board.retry, &stop).await;
            }
        }
    }

    async fn work(&mut self, mut session: Session, stop: &CancellationToken) {
        loop {
            match session.step().await {
                Ok(next) => {
                    self.board.all_well(session.wal_bytes());
                    if stop.is_cancelled() {
                        break;
                    }
                    if next == Next::Wait {
                        session.wait(stop).await;
                    }
                }
                // The same file can be tried again.
                Err(trouble @ (Trouble::Busy(_) | Trouble::Store(_))) => {
                    self.board.show(&trouble);
                    if stop.is_cancelled() {
                        break;
                    }
                    pause(self.board.retry, stop).await;
                }
                Err(trouble @ (Trouble::Moved | Trouble::Altered | Trouble::Refused { .. } | Trouble::Sqlite(_))) => {
                    self.board.show(&trouble);
                    self.known = self.known.max(session.mark());
                    session.abandon(matches!(trouble, Trouble::Moved)).await;
                    return;
                }
            }
        }
        session.finish().await;
    }
}

/// What is shown at the moment, each logged once.
struct Board {
    causes: Arc<dyn Causes>,
    locked_since: Option<(Instant, bool)>,
    shown: Option<(&'static str, String)>,
    wal_shown: bool,
    /// How soon to try again.
    retry: Duration,
}

impl Board {
    fn new(causes: Arc<dyn Causes>) -> Self {
        // What a task that broke had shown is shown again, or is over.
        trouble::ALL.iter().for_each(|cause| causes.clear(cause));
        Self { causes, locked_since: None, shown: None, wal_shown: false, retry: RETRY }
    }

    fn show(&mut self, trouble: &Trouble) {
        self.retry = RETRY;
        match trouble {
            Trouble::Busy(_) => self.locked(),
            Trouble::Moved | Trouble::Altered => {
                tracing::warn!(why = %trouble, "the mailbox is opened anew");
                self.retry = Duration::ZERO;
            }
            Trouble::Refused { cause, what } => self.post(cause, what.clone()),
            Trouble::Sqlite(error) => self.post(UNAVAILABLE, format!("the mailbox cannot be used: {error}")),
            Trouble::Store(StoreError::Closed) => {}
            Trouble::Store(error) => self.post(STORE, format!("the mailbox waits for the store: {error}")),
        }
    }

    fn post(&mut self, cause: &'static str, what: String) {
        if self.shown.as_ref().is_some_and(|(shown, words)| *shown == cause && *words == what) {
            return;
        }
        if let Some((old, _)) = self.shown.take().filter(|(old, _)| *old != cause) {
            self.causes.clear(old);
        }
        tracing::error!(cause, "{}", crate::domain::privacy::masked(&what));
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
        self.causes.set(LOCKED, what);
    }

    fn all_well(&mut self, wal_bytes: u64) {
        if let Some((since, true)) = self.locked_since.take() {
            tracing::info!(seconds = since.elapsed().as_secs(), "the mailbox is free again");
            self.causes.clear(LOCKED);
        }
        self.clear_shown();
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

async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
