//! Work on one opened file, until it is swapped or the daemon stops.
//!
//! Whatever was taken or has changed becomes a pending uid, and a pending row is written as the store has it, never as a
//! verdict was remembered: what is interrupted anywhere is simply done again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Setup;
use super::file::{Found, Identity, Mailbox};
use super::trouble::Trouble;
use super::watch::{Looks, Watch};
use crate::crash;
use crate::engine::Engine;
use crate::store::{Commit, MailboxMark};

/// The safety look, should inotify miss a commit; the contract promises 250 ms, its own time included.
const TICK: Duration = Duration::from_millis(200);
/// Write-backs follow one another at this distance, so that many facts share one fsync.
const PACE: Duration = Duration::from_millis(20);
/// The WAL is emptied when nobody has written for this long.
const QUIET: Duration = Duration::from_millis(100);
/// How often the store is told where the file stands.
const MARK_EVERY: Duration = Duration::from_millis(500);
/// How often it is tried whether another program holds a lock while there is nothing to write.
const PROBE_EVERY: Duration = Duration::from_millis(400);
/// A file that others wrote to past its WAL is looked over, at most this often; and a large one seldom enough that it costs
/// no more than a part of the time.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const CHECK_SHARE: u32 = 20;
/// How long the last write-back may take; what it does not reach is written at the next start.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A foreign reader keeps the WAL from being emptied: not tried again before this.
const CHECKPOINT_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Session {
    pub(super) setup: Setup,
    pub(super) engine: Engine,
    pub(super) file: Mailbox,
    /// Rows that are to be written as the store has them.
    pub(super) pending: BTreeSet<String>,
    /// The numbers of pending rows, as far as they were read here. Some have tokens that cannot be searched for.
    pub(super) ids: HashMap<String, i64>,
    /// Rows that the store has taken and that still say `new`.
    pub(super) taken: HashSet<i64>,
    /// Cancel wishes that were passed on.
    pub(super) asked: HashSet<String>,
    /// How far the wishes of this round were looked at.
    pub(super) wishes: Option<Wishes>,
    /// Rows that reuse the token of another order: the token of their own, and the one they came with.
    pub(super) apart: BTreeMap<String, String>,
    pub(super) highest_id: i64,
    /// Rows up to this one are new, or were compared with the store.
    pub(super) compared: i64,
    /// What the store was told of the file.
    pub(super) marked: MailboxMark,
    next_mark: Instant,
    /// Unfinished rows up to this one are as the store has them; none when all are.
    pub(super) reconciled: Option<i64>,
    pub(super) next_retain: Instant,
    commits: watch::Receiver<Commit>,
    seen_commit: Option<u64>,
    watch: Watch,
    looks: Looks,
    version: Option<i64>,
    new_rows: bool,
    cancel_wishes: bool,
    /// Rows of purged jobs may be left.
    pub(super) purges: bool,
    last_step: Instant,
    next_checkpoint: Option<Instant>,
    next_probe: Instant,
    next_check: Instant,
    next_urgent: Instant,
}

/// A round through the cancel wishes, page by page.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) after: i64,
    /// Whose wishes stand in the file.
    pub(super) still: HashSet<String>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { after: i64::MIN, still: HashSet::new() }
    }
}

/// What to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Again,
    Wait,
}

impl Session {
    /// `known` is what this process knows of the file, which may be more than the store was told.
    pub async fn open(setup: &Setup, engine: &Engine, known: MailboxMark) -> Result<Session, Trouble> {
        let store = engine.store();
        let cursor = store.mailbox_cursor().await?;
        // Before the file is opened: what happens to it from now on is noticed.
        let commits = store.commits();
        let known = cursor.mark.max(known);
        let file = Mailbox::open(&setup.path, store.instance(), known, cursor.last).await?;
        crash::point("mailbox.opened");
        let watch = Watch::new(&setup.path);
        let mark = MailboxMark { written: file.written, highest_id: known.highest_id };
        if mark != cursor.mark {
            store.set_mailbox_mark(mark).await?;
        }
        let now = Instant::now();
        Ok(Session {
            setup: setup.clone(),
            engine: engine.clone(),
            file,
            pending: BTreeSet::new(),
            ids: HashMap::new(),
            taken: HashSet::new(),
            asked: HashSet::new(),
            wishes: None,
            apart: BTreeMap::new(),
            highest_id: mark.highest_id,
            compared: mark.highest_id,
            marked: mark,
            next_mark: now + MARK_EVERY,
            reconciled: Some(i64::MIN),
            next_retain: now,
            commits,
            seen_commit: None,
            watch,
            looks: Looks::default(),
            version: None,
            new_rows: true,
            cancel_wishes: true,
            purges: true,
            last_step: now,
            next_checkpoint: Some(now + QUIET),
            next_probe: now + PROBE_EVERY,
            next_check: now,
            next_urgent: now,
        })
    }

    /// Does a bounded part of what is to be done.
    pub async fn step(&mut self) -> Result<Next, Trouble> {
        self.last_step = Instant::now();
        self.file.check_identity()?;
        self.look().await?;
        self.check_when_cut().await?;
        self.seen_commit = Some(self.commits.borrow_and_update().number);
        // While the file is locked, nothing more is taken than can be answered.
        let mut more = !self.pending.is_empty() && self.deliver().await?;
        if self.new_rows {
            self.new_rows = self.take().await?;
            more |= self.new_rows;
        }
        more |= self.deliver().await?;
        more |= self.cancel_some().await?;
        // After what is to be written: the last events of a purged job are removed with it.
        if self.purges && !more {
            more |= self.purge().await?;
        }
        more |= self.reconcile().await?;
        if Instant::now() >= self.next_retain {
            more |= self.retain().await?;
        }
        if Instant::now() >= self.next_mark {
            self.tell_the_store().await?;
        }
        if more {
            self.busy();
            return Ok(Next::Again);
        }
        self.checkpoint_when_quiet().await;
        self.check_when_suspect().await?;
        if Instant::now() >= self.next_probe {
            // A lock that is only held, for nothing that we want to write, is seen by nothing else.
            self.file.probe_lock().await?;
            self.next_probe = Instant::now() + PROBE_EVERY;
        }
        Ok(Next::Wait)
    }

    /// A page of cancel wishes at a turn, however many there are: taking and writing back go on in between.
    async fn cancel_some(&mut self) -> Result<bool, Trouble> {
        if self.wishes.is_none() {
            if !std::mem::take(&mut self.cancel_wishes) {
                return Ok(false);
            }
            self.wishes = Some(Wishes::default());
        }
        self.pass_on_cancel_wishes().await?;
        Ok(self.wishes.is_some() || self.cancel_wishes)
    }

    async fn check_when_suspect(&mut self) -> Result<(), Trouble> {
        let began = Instant::now();
        if self.file.is_suspect() && began >= self.next_check {
            self.check().await?;
        }
        Ok(())
    }

    /// A file that was cut short is looked over before anything is written to it; after a VACUUM it is as long as it says.
    async fn check_when_cut(&mut self) -> Result<(), Trouble> {
        if self.file.is_cut().await? && Instant::now() >= self.next_urgent {
            self.check().await?;
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<(), Trouble> {
        let began = Instant::now();
        self.file.look_over().await?;
        self.next_urgent = Instant::now() + began.elapsed() * CHECK_SHARE;
        self.next_check = self.next_urgent.max(Instant::now() + CHECK_EVERY);
        Ok(())
    }

    /// Waits for anything that may call for a step.
    pub async fn wait(&mut self, stop: &CancellationToken) {
        let Session { commits, seen_commit, last_step, watch, looks, .. } = self;
        let (seen, paced) = (*seen_commit, *last_step + PACE);
        let news = async {
            if commits.wait_for(|commit| Some(commit.number) != seen).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(paced).await;
        };
        let noticed = tokio::select! {
            () = stop.cancelled() => false,
            () = news => false,
            () = watch.noticed() => true,
            () = looks.due() => false,
            () = tokio::time::sleep(TICK) => false,
        };
        if noticed {
            self.looks.begin();
        }
    }

    /// Writes what is left to be written and closes the file.
    pub async fn finish(mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            match self.deliver().await {
                Ok(true) if Instant::now() < deadline => {}
                Ok(_) => break,
                Err(trouble) => {
                    tracing::warn!(error = %trouble, "the last facts will be written to the mailbox at the next start");
                    break;
                }
            }
        }
        if let Err(trouble) = self.tell_the_store().await {
            tracing::debug!(error = %trouble, "the store was not told how far the mailbox is written; the file knows");
        }
        self.file.close().await;
    }

    /// Leaves a file that cannot be worked on as it is. Returns what was still to be written.
    pub async fn abandon(self, moved: bool) -> BTreeSet<String> {
        let now = self.engine.now();
        self.file.leave(moved, now).await;
        self.pending
    }

    /// What an earlier session could not write any more.
    pub fn inherit(&mut self, pending: BTreeSet<String>) {
        self.pending.extend(pending);
    }

    pub fn found(&self) -> Found {
        self.file.found
    }

    pub fn identity(&self) -> Identity {
        self.file.identity()
    }

    /// Where the file stands.
    pub fn mark(&self) -> MailboxMark {
        MailboxMark { written: self.file.written, highest_id: self.highest_id }
    }

    /// The file itself knows how far it is written; the store needs it only should the file be lost. So it costs no fsync
    /// of its own for every fact.
    async fn tell_the_store(&mut self) -> Result<(), Trouble> {
        let mark = self.mark();
        if mark != self.marked {
            crash::point("mailbox.before_mark");
            self.engine.store().set_mailbox_mark(mark).await?;
            self.marked = mark;
            crash::point("mailbox.marked");
        }
        self.next_mark = Instant::now() + MARK_EVERY;
        Ok(())
    }

    pub fn wal_bytes(&self) -> u64 {
        self.file.wal_bytes()
    }

    /// Finds out whether another program has committed anything.
    async fn look(&mut self) -> Result<(), Trouble> {
        let version = self.file.data_version().await?;
        if self.version != Some(version) {
            self.file.check_schema().await?;
            self.version = Some(version);
            self.looks.end();
            self.new_rows = true;
            self.cancel_wishes = true;
            self.busy();
        }
        Ok(())
    }

    /// We have committed something.
    pub(super) fn committed(&mut self) {
        self.looks.own();
        self.busy();
    }

    /// The file was written to, by whomever.
    fn busy(&mut self) {
        self.next_checkpoint = Some(Instant::now() + QUIET);
    }

    async fn checkpoint_when_quiet(&mut self) {
        if self.next_checkpoint.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.next_checkpoint = None;
        if self.file.wal_bytes() > 0 {
            self.file.checkpoint().await;
            self.looks.own();
            if self.file.check_identity().is_ok() && self.file.wal_bytes() > 0 {
                self.next_checkpoint = Some(Instant::now() + CHECKPOINT_AGAIN);
            }
        }
    }
}
