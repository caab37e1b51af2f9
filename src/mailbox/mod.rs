//! The mailbox: the SQLite file that other programs insert into and read.
//!
//! Architecture invariant: nothing in this file is believed but new rows and cancel wishes. What was ordered, paid and
//! answered stands in the store; the mailbox shows it, and may be locked, forged, swapped or lost without harm to it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::crash;
use crate::domain::privacy::masked;
use crate::engine::Engine;
use crate::store::{MailboxMark, Retention, Store};

mod apart;
mod board;
mod damage;
mod deliver;
mod disk;
mod file;
pub mod inspect;
mod left;
pub mod row;
mod schema;
mod session;
pub mod sql;
mod take;
mod tokens;
pub mod trouble;
mod watch;

use self::board::{Board, RETRY};
use self::file::{Found, Identity, Mailbox};
use self::session::{Next, Session};
use self::trouble::{DAMAGED, REPLACED, Trouble, UNAVAILABLE};

/// Damage that a second look does not find is believed when it comes back within this.
const DOUBTED_FOR: Duration = Duration::from_secs(60);

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
    /// What has been so for a while when it is shown first.
    fn set_held(&self, cause: &'static str, what: String, held: Duration) {
        let _ = held;
        self.set(cause, what);
    }
    fn clear(&self, cause: &'static str);
}

/// Serves the mailbox until `stop`; whatever happens to the file, it is shown, and tried again.
///
/// Stop it after the engine was drained and before the store is closed: then the last facts are written, too.
pub async fn run(setup: Setup, engine: Engine, causes: Arc<dyn Causes>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let board = Board::new(Arc::clone(&causes));
        let keeper = Keeper {
            setup: setup.clone(),
            engine: engine.clone(),
            board,
            known: MailboxMark::default(),
            last: None,
            pending: BTreeSet::new(),
            doubted: None,
        };
        let served = tokio::spawn(crash::watched("mailbox.keeper", keeper.serve(stop.clone()))).await;
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
    let file = Mailbox::open(path, store.instance(), cursor.mark, cursor.last).await;
    let file = file.map_err(|trouble| trouble.explained(path))?;
    let mark = MailboxMark { written: file.written, highest_id: cursor.mark.highest_id };
    file.close().await;
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
    /// Which file that was.
    last: Option<Identity>,
    /// What was not written to it any more.
    pending: BTreeSet<String>,
    /// When it seemed damaged last, and was found whole.
    doubted: Option<Instant>,
}

impl Keeper {
    async fn serve(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match Session::open(&self.setup, &self.engine, self.known).await {
                Ok(mut session) => {
                    self.setup.opened.notify_one();
                    self.tell_what_happened(&session);
                    session.inherit(std::mem::take(&mut self.pending));
                    self.work(session, &stop).await;
                }
                // Whose it was is known only of a file that was served: at the start, a person has to say what it is.
                Err(Trouble::Damaged(what)) if self.last.is_some() => self.judge(&what, 0).await,
                Err(trouble) => self.board.show(&trouble.explained(&self.setup.path)),
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
                Err(trouble) => return self.leave(session, trouble).await,
            }
        }
        session.finish().await;
    }

    /// Leaves a file that has to be opened anew, or a new one made.
    async fn leave(&mut self, mut session: Session, trouble: Trouble) {
        let is_moved = matches!(trouble, Trouble::Moved);
        let salvaged = if is_moved || matches!(trouble, Trouble::Damaged(_)) { session.salvage().await } else { 0 };
        if salvaged > 0 {
            tracing::info!(rows = salvaged, "rows that were not taken yet were read out of the mailbox that is left");
        }
        self.known = self.known.max(session.mark());
        self.last = Some(session.identity());
        self.pending.extend(session.abandon(is_moved).await);
        match trouble {
            // What was read was not the file that is there now.
            Trouble::Damaged(_) if !self.is_still_there() => self.board.show(&Trouble::Moved),
            Trouble::Damaged(what) => self.judge(&what, salvaged).await,
            other => self.board.show(&other.explained(&self.setup.path)),
        }
    }

    fn is_still_there(&self) -> bool {
        let there = Identity::of(&self.setup.path).ok();
        there.zip(self.last).is_some_and(|(there, last)| there.is_same_file(last))
    }

    /// Another program may have it open and go on writing to it: it is moved aside only when a second look, with nothing
    /// remembered of it, finds it damaged, too.
    async fn judge(&mut self, what: &str, salvaged: usize) {
        match file::look_over(&self.setup.path).await {
            // One that is found whole again and again, and is of no use, is no use.
            Ok(()) if self.doubted.is_none_or(|at| at.elapsed() > DOUBTED_FOR) => {
                self.doubted = Some(Instant::now());
                tracing::warn!(why = %masked(what), "the mailbox seemed damaged and was found whole; it is opened anew");
                self.board.retry = Duration::ZERO;
            }
            Ok(()) | Err(Trouble::Damaged(_)) => self.set_aside(what, salvaged),
            Err(trouble) => self.board.show(&trouble.explained(&self.setup.path)),
        }
    }

    fn set_aside(&mut self, what: &str, salvaged: usize) {
        match damage::set_aside(&self.setup.path, self.engine.now()) {
            Ok(aside) => {
                let what = format!(
                    "the mailbox was damaged ({what}). It was moved to {} and a new one made; {salvaged} rows that were not \
                     taken yet could be read, and were taken. If a program misses a row of its, it is in that file; what was \
                     ordered and answered before stands in the store",
                    aside.display()
                );
                self.board.notice(DAMAGED, what);
                // The next one is opened for what it is.
                self.last = None;
            }
            Err(error) => self.board.show(&Trouble::unavailable(format!(
                "the mailbox is damaged ({what}) and cannot be moved aside: {error}. Move it away; opros makes a new one"
            ))),
        }
    }

    /// Whoever wonders where their rows are is told for a while that the file is another one.
    fn tell_what_happened(&mut self, session: &Session) {
        let Some(last) = self.last.take() else { return };
        let what = match session.found() {
            Found::Missing => "the mailbox was deleted under the running daemon; a new one was made",
            Found::Older => "an older copy of the mailbox was put in its place",
            Found::Current if !session.identity().is_same_file(last) => "the mailbox was replaced by another file",
            Found::Current => return,
        };
        let rest = "Nothing is ordered twice, and rows of jobs that are under way come back with their next news; rows that \
            ended before stand on the socket alone";
        self.board.notice(REPLACED, format!("{what}. {rest}"));
    }
}

async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
