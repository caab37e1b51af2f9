//! One transaction in the making: many requests' changes, written with one statement for each kind of change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use sqlx::{Either, Executor, SqliteConnection};

use super::agenda::{Moves, Place};
use super::money::{self, Guard};
use super::rows::{Changed, Rows};
use super::uids::{Data, Uid};
use super::{downloads, sql};
use crate::crash::{self, Mutant};
use crate::domain::exchange::sha256_hex;
use crate::domain::repeat::{self, Asked};
use crate::domain::spending::Rules;
use crate::domain::state::{AttemptChange, Input, QUARANTINED, Resolution, Step, step};
use crate::domain::{EventType, Job, JobId, NewEvent, NewJob, Reason, State, Timestamp};
use crate::store::{Accepted, AccountChange, ApplyError, Batch, CallRecord, Change, RejectedRow, StoreError};

/// Where the numbers of this store stand; taken back when a transaction fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub last_job: i64,
    pub last_seq: i64,
    pub last_mailbox_seq: i64,
    /// Lines of the cost ledger.
    pub last_order: i64,
}

/// A job that an operator had submitted again is not submitted once more within this, unless that is meant.
const DOUBLE_CLICK: Duration = Duration::from_secs(60);
/// The newest balance of each account that stands in its history: what stands there is not written twice.
pub type Balances = Arc<HashMap<String, Timestamp>>;

#[derive(Debug)]
pub struct Draft {
    pub numbers: Numbers,
    epoch: i64,
    /// Jobs that exist already, as this transaction leaves them.
    jobs: HashMap<JobId, Loaded>,
    new_jobs: Rows,
    new_bodies: Rows,
    uids: Rows,
    /// Rows of known tokens that are rejected.
    told: Rows,
    opened: Vec<OpenedAttempt>,
    unclear: Rows,
    closed: Rows,
    observations: Rows,
    partials: BTreeMap<JobId, String>,
    results: BTreeMap<JobId, String>,
    events: Rows,
    calls: Rows,
    accounts: Rows,
    downloads: Rows,
    guard: Guard,
    ledger: LedgerLines,
    balances: Rows,
    in_history: Balances,
    released: Rows,
    deltas: BTreeMap<(String, String, i64), i64>,
    /// How due times moved.
    moves: Moves,
    /// Keys of unfinished jobs that this transaction adds.
    new_keys: HashMap<String, JobId>,
    new_uids: HashMap<String, Uid>,
    /// What the mailbox rows ask for that this transaction takes in.
    rows: HashMap<String, Asked>,
    /// Retries that this transaction adds, by what they retry.
    new_retries: HashMap<JobId, JobId>,
    /// When an operator last decided about jobs that are to be submitted again.
    decisions: HashMap<JobId, i64>,
    /// Mailbox rows that show a change.
    touched: Vec<String>,
    /// Trackers whose freshness is to be looked at, and when.
    watches: Rows,
}

#[derive(Debug)]
struct Loaded {
    job: Arc<Job>,
    changed: Changed,
    /// Where it stood before this transaction.
    was: Option<Place>,
}

/// What the cost ledger learns.
#[derive(Debug, Default)]
struct LedgerLines {
    ordered: Rows,
    doubted: Rows,
    decided: Rows,
}

#[derive(Debug)]
struct OpenedAttempt {
    token: String,
    job: JobId,
    request_hash: String,
    at: Timestamp,
    unclear_at: Option<Timestamp>,
    end: Option<(&'static str, Timestamp)>,
}

/// What the file says about keys and tokens that are being handed in.
#[derive(Debug, Default)]
pub struct Known {
    pub keys: HashMap<String, JobId>,
    /// Clients' tokens.
    pub uids: HashMap<String, Uid>,
    /// The newest retry of jobs, where it has not ended.
    pub retries: HashMap<JobId, JobId>,
}

impl Draft {
    pub fn new(numbers: Numbers, epoch: i64, in_history: Balances) -> Self {
        Self {
            numbers,
            epoch,
            jobs: HashMap::new(),
            new_jobs: Rows::default(),
            new_bodies: Rows::default(),
            uids: Rows::default(),
            told: Rows::default(),
            opened: Vec::new(),
            unclear: Rows::default(),
            closed: Rows::default(),
            observations: Rows::default(),
            partials: BTreeMap::new(),
            results: BTreeMap::new(),
            events: Rows::default(),
            calls: Rows::default(),
            accounts: Rows::default(),
            downloads: Rows::default(),
            guard: Guard::default(),
            ledger: LedgerLines::default(),
            balances: Rows::default(),
            in_history,
            released: Rows::default(),
            deltas: BTreeMap::new(),
            moves: Moves::default(),
            new_keys: HashMap::new(),
            new_uids: HashMap::new(),
            rows: HashMap::new(),
            new_retries: HashMap::new(),
            decisions: HashMap::new(),
            touched: Vec::new(),
            watches: Rows::default(),
        }
    }

    // ---- taking in ---------------------------------------------------------------------------------------------

    pub fn accept(&mut self, new: NewJob, known: &Known, at: Timestamp) -> Accepted {
        if let Some(uid) = new.uid()
            && let Some(first) = self.uid(uid, known)
        {
            return self.again(&new, &first, at);
        }
        let retry = new.retry_of.filter(|_| !new.asked.again);
        let retry = retry.and_then(|of| self.new_retries.get(&of).or_else(|| known.retries.get(&of))).copied();
        let key = new.dedupe_key.as_ref();
        let duplicate = key.and_then(|key| self.new_keys.get(key).or_else(|| known.keys.get(key))).copied();
        let Some(first) = retry.or(duplicate) else {
            let new = self.shown(new);
            return Accepted::New(self.insert(new, at));
        };
        if let Some(uid) = &new.mailbox_uid {
            let key = new.dedupe_key.as_deref().unwrap_or_default();
            let message = format!("the dedupe_key {key:?} belongs to job {first}, which has not ended yet");
            let (uid, kind, reason) = (uid.clone(), Some(new.kind.clone()), Reason::new("duplicate", message));
            let asked = Asked { means: Some(meaning(&new)), ..new.asked };
            self.reject_new(RejectedRow { uid, kind, reason, duplicate_of: Some(first), asked }, at);
        } else if let Some(uid) = new.asked.uid.clone() {
            // Whoever asks again, when that job has ended, asked for it now.
            self.remember(&uid, first, &new, Some(meaning(&new)), at);
        }
        Accepted::Duplicate(first)
    }

    /// A job of another door, for which a mailbox row comes with the same token at this very moment: it is shown from the
    /// beginning.
    fn shown(&self, mut new: NewJob) -> NewJob {
        if new.mailbox_uid.is_none()
            && let Some(uid) = &new.asked.uid
            && let Some(row) = self.rows.get(uid)
            && (row.means.as_ref() == Some(&meaning(&new)) || row.written == new.asked.written)
        {
            new.mailbox_uid = Some(uid.clone());
        }
        new
    }

    /// What the mailbox rows ask for that are taken in together with others.
    pub fn adopt_mailbox_rows(&mut self, rows: HashMap<String, Asked>) {
        self.rows = rows;
    }

    /// A token as this transaction leaves it so far.
    fn uid(&self, uid: &str, known: &Known) -> Option<Uid> {
        self.new_uids.get(uid).or_else(|| known.uids.get(uid)).cloned()
    }

    /// What a known token comes to. A mailbox row of it shows its job, or is told why it does not.
    fn again(&mut self, new: &NewJob, first: &Uid, at: Timestamp) -> Accepted {
        let verdict = first.answer(&new.asked, Some(&meaning(new)), Some(&new.kind));
        let Some(uid) = &new.mailbox_uid else { return verdict };
        self.row_again(uid, Some(new.kind.clone()), &new.asked, first, verdict, at)
    }

    fn row_again(
        &mut self,
        uid: &str,
        kind: Option<String>,
        asked: &Asked,
        first: &Uid,
        verdict: Accepted,
        at: Timestamp,
    ) -> Accepted {
        let told = match (&first.code, verdict, first.job) {
            (Some(code), ..) => Reason::new(code, first.message.clone().unwrap_or_default()),
            (None, Accepted::Reused(_), _) => return verdict,
            // The very row that ordered it, which nobody has written to since: it is about to be removed.
            (None, Accepted::Taken(_), _)
                if first.data == Data::Purged && first.row.is_some() && first.row == asked.row =>
            {
                return verdict;
            }
            (None, Accepted::Taken(_), Some(job)) if first.data == Data::Whole => {
                let shown = self.job(job).and_then(|job| job.mailbox_uid.clone()).or_else(|| first.mailbox_uid.clone());
                if shown.as_deref() == Some(uid) {
                    return verdict;
                }
                Reason::new("duplicate", format!("the uid {uid:?} stands for job {job}, which has a row of its own"))
            }
            (None, _, job) => Reason::new("duplicate", data_gone(uid, job)),
        };
        self.reject_known(uid, kind, told, asked.row, first, at);
        Accepted::Taken(None)
    }

    /// A row whose token is known is rejected, with an event: once for each row that comes with it.
    fn reject_known(
        &mut self,
        uid: &str,
        kind: Option<String>,
        reason: Reason,
        row: Option<i64>,
        first: &Uid,
        at: Timestamp,
    ) {
        if first.code.is_some() && first.row == row {
            return;
        }
        self.told.push((uid, &reason.code, &reason.message, row, at.as_millis()));
        let told = (Some(reason.code.clone()), Some(reason.message.clone()));
        self.new_uids.insert(uid.to_owned(), Uid { code: told.0, message: told.1, row, ..first.clone() });
        self.rejected_event(uid, kind, &reason, first.job, at);
    }

    fn rejected_event(&mut self, uid: &str, kind: Option<String>, reason: &Reason, of: Option<JobId>, at: Timestamp) {
        let of = of.map(|id| id.0);
        let data = json!({ "uid": uid, "kind": kind, "state": State::Rejected, "error": reason, "duplicate_of": of });
        self.event(EventType::JobRejected, at, None, None, Some(uid), data);
    }

    /// A job that was ordered elsewhere is shown in the mailbox from now on, under the token that it was ordered with.
    pub fn show_in_mailbox(&mut self, id: JobId, uid: &str, known: &Known) {
        let Some(loaded) = self.jobs.get_mut(&id).filter(|loaded| loaded.job.mailbox_uid.is_none()) else { return };
        Arc::make_mut(&mut loaded.job).mailbox_uid = Some(uid.to_owned());
        loaded.changed = Changed::Row;
        if let Some(first) = self.uid(uid, known) {
            self.new_uids.insert(uid.to_owned(), Uid { mailbox_uid: Some(uid.to_owned()), ..first });
        }
    }

    /// Notes for what a token was given.
    fn remember(&mut self, uid: &str, job: JobId, new: &NewJob, means: Option<String>, at: Timestamp) {
        let written = Some(&new.asked.written).filter(|written| !written.is_empty());
        self.uids.push((uid, job.0, written, &means, (), (), new.asked.row, at.as_millis(), ()));
        let known = Uid {
            job: Some(job),
            row: new.asked.row,
            written: written.cloned(),
            means: means.or_else(|| Some(meaning(new))),
            kind: Some(new.kind.clone()),
            account: Some(new.account.clone()),
            mailbox_uid: new.mailbox_uid.clone(),
            ..Uid::default()
        };
        self.new_uids.insert(uid.to_owned(), known);
    }

    fn insert(&mut self, new: NewJob, at: Timestamp) -> JobId {
        self.numbers.last_job += 1;
        let id = JobId(self.numbers.last_job);
        let order_hash = repeat::order_hash(&new.params);
        self.new_bodies.push((id.0, &new.params, sha256_hex(new.params.as_bytes()), order_hash));
        if let Some(uid) = new.uid().map(str::to_owned) {
            self.remember(&uid, id, &new, new.asked.means.clone(), at);
        }
        if let Some(of) = new.retry_of {
            self.new_retries.insert(of, id);
            // An operator means it: it is not held for being equal.
            self.guard.release(id);
            self.released.push((id.0, at.as_millis()));
        }
        let mut job = fresh_job(id, new, at);
        let mut events = Vec::new();
        if job.state == State::Waiting {
            events.push(NewEvent { kind: EventType::JobAccepted, data: json!({ "followed": true }) });
        }
        if job.deadline.is_some_and(|deadline| deadline <= at)
            && let Ok(expired) = step(job.clone(), Input::Expire, at)
        {
            // Past at arrival: it ends before anything could be sent.
            job = expired.job;
            events = expired.events;
        }
        for event in events {
            self.job_event(&job, event, at);
        }
        if let Some(key) = job.dedupe_key.clone().filter(|_| !job.state.is_final()) {
            self.new_keys.insert(key, id);
        }
        *self.delta(&job) += 1;
        self.watch(None, &job, at);
        self.moves.add(&job.account, None, Place::of(&job));
        self.new_jobs.push_new(&job);
        id
    }

    pub fn reject(&mut self, row: RejectedRow, known: &Known, at: Timestamp) -> Accepted {
        let Some(first) = self.uid(&row.uid, known) else {
            self.reject_new(row, at);
            return Accepted::Taken(None);
        };
        let verdict = first.answer(&row.asked, None, row.kind.as_deref());
        self.row_again(&row.uid, row.kind, &row.asked, &first, verdict, at)
    }

    fn reject_new(&mut self, row: RejectedRow, at: Timestamp) {
        let RejectedRow { uid, kind, reason, duplicate_of, asked } = row;
        let written = Some(&asked.written).filter(|written| !written.is_empty());
        // Where nothing was ordered for it there is no job to outlive.
        let gone_at = duplicate_of.is_none().then_some(at.as_millis());
        let (of, code, message) = (duplicate_of.map(|id| id.0), &reason.code, &reason.message);
        self.uids.push((&uid, of, written, &asked.means, code, message, asked.row, at.as_millis(), gone_at));
        let known = Uid {
            job: duplicate_of,
            code: Some(reason.code.clone()),
            message: Some(reason.message.clone()),
            row: asked.row,
            written: written.cloned(),
            means: asked.means.clone(),
            ..Uid::default()
        };
        self.new_uids.insert(uid.clone(), known);
        self.rejected_event(&uid, kind, &reason, duplicate_of, at);
    }

    // ---- the state table ---------------------------------------------------------------------------------------

    /// What holds orders back; read before the first of them is applied.
    pub fn adopt_guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    pub fn adopt_rows(&mut self, jobs: Vec<Arc<Job>>) {
        for job in jobs {
            self.jobs.insert(job.id, Loaded { was: Place::of(&job), job, changed: Changed::Nothing });
        }
    }

    /// A job as this transaction leaves it so far.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|loaded| &*loaded.job)
    }

    /// Carries a batch's inputs through the state table, one after another, each on the row as the one before left it.
    pub fn apply(&mut self, batch: Batch, known: &Known) -> Vec<Result<Arc<Job>, ApplyError>> {
        let Batch { at, changes, accounts, call, downloads: wishes, spending, asked } = batch;
        let results: Vec<Result<Arc<Job>, ApplyError>> = match asked {
            Some(asked) => changes.into_iter().map(|change| self.asked_for(change, &asked, known, at)).collect(),
            None => changes.into_iter().map(|change| self.guarded(change, spending.as_deref(), at)).collect(),
        };
        for wish in wishes {
            let succeeded = |job: &&Arc<Job>| job.id == wish.job && job.state == State::Succeeded;
            if let Some(job) = results.iter().flatten().find(succeeded) {
                self.downloads.push(downloads::wish_row(job.id, &job.account, &wish.url, at));
            }
        }
        for account in accounts {
            self.account(account, at);
        }
        if let Some(call) = call {
            self.call(call);
        }
        results
    }

    /// An order begins only where the account's rules let it; what it costs is written with its intent.
    fn guarded(&mut self, change: Change, rules: Option<&Rules>, at: Timestamp) -> Result<Arc<Job>, ApplyError> {
        let Some(rules) = rules.filter(|_| money::is_order(&change.input)) else {
            return self.change(change.job, change.input, at);
        };
        let job = &self.jobs.get(&change.job).ok_or(ApplyError::NotFound(change.job))?.job;
        self.guard.check(job, rules, at)?;
        let job = self.change_by(change.job, change.input, Some(rules), at)?;
        self.guard.count(&job, rules);
        Ok(job)
    }

    /// A change that a client asked for: with the same token it is made once.
    fn asked_for(
        &mut self,
        change: Change,
        asked: &Asked,
        known: &Known,
        at: Timestamp,
    ) -> Result<Arc<Job>, ApplyError> {
        let job = &self.jobs.get(&change.job).ok_or(ApplyError::NotFound(change.job))?.job;
        if let Some(first) = asked.uid.as_ref().and_then(|uid| self.uid(uid, known)) {
            return Err(match first.answer(asked, asked.means.as_deref(), None) {
                Accepted::Taken(_) => ApplyError::Already(Arc::clone(job)),
                _ => ApplyError::Reused(first.job),
            });
        }
        if matches!(change.input, Input::Resolve(Resolution::Resubmit)) && job.state == State::InDoubt {
            let last = self.decisions.get(&change.job).copied().map(Timestamp::from_millis);
            let is_just_now = last.is_some_and(|last| at.since(last) < DOUBLE_CLICK);
            if is_just_now && asked.uid.is_none() && !asked.again {
                return Err(ApplyError::JustNow(change.job));
            }
            self.decisions.insert(change.job, at.as_millis());
        }
        let job = self.change(change.job, change.input, at)?;
        if let Some(uid) = &asked.uid {
            self.uids.push((uid, job.id.0, &asked.written, &asked.means, (), (), (), at.as_millis(), ()));
            let (written, means) = (Some(asked.written.clone()), asked.means.clone());
            self.new_uids.insert(uid.clone(), Uid { job: Some(job.id), written, means, ..Uid::default() });
        }
        Ok(job)
    }

    pub fn adopt_decisions(&mut self, decisions: HashMap<JobId, i64>) {
        self.decisions = decisions;
    }

    pub fn change(&mut self, id: JobId, input: Input, at: Timestamp) -> Result<Arc<Job>, ApplyError> {
        self.change_by(id, input, None, at)
    }

    fn change_by(
        &mut self,
        id: JobId,
        input: Input,
        rules: Option<&Rules>,
        at: Timestamp,
    ) -> Result<Arc<Job>, ApplyError> {
        let released = matches!(input, Input::Release);
        if released && self.guard.is_released(id) {
            let loaded = self.jobs.get(&id).ok_or(ApplyError::NotFound(id))?;
            return Err(ApplyError::Already(Arc::clone(&loaded.job)));
        }
        // An order that was let go is not held for money's sake again.
        let for_money = matches!(&input, Input::Hold { reason } if reason.code != QUARANTINED);
        if for_money && self.guard.is_released(id) {
            return Ok(Arc::clone(&self.jobs.get(&id).ok_or(ApplyError::NotFound(id))?.job));
        }
        let loaded = self.jobs.get(&id).ok_or(ApplyError::NotFound(id))?;
        let (before, so_far, was) = (Arc::clone(&loaded.job), loaded.changed, loaded.was);
        let Step { job, events, attempt, observation, partial, result } = step(Job::clone(&before), input, at)?;
        if before.state != job.state {
            *self.delta(&before) -= 1;
            *self.delta(&job) += 1;
        }
        for event in events {
            self.job_event(&job, event, at);
        }
        if released {
            self.guard.release(id);
            self.released.push((id.0, at.as_millis()));
        }
        if let Some(change) = attempt {
            if !job.traits.repeatable {
                self.note_cost(&job, &change, rules, at);
            }
            self.attempt(&job, change, at);
        }
        if let Some(seen) = observation {
            self.observations.push((id.0, at.as_millis(), &seen.fingerprint, &seen.data, &seen.raw));
        }
        if let Some(partial) = partial {
            self.partials.insert(id, partial);
        }
        if let Some(result) = result {
            self.results.insert(id, result);
        }
        self.watch(Some(&before), &job, at);
        if let Some(uid) = job.mailbox_uid.as_ref().filter(|_| shows_a_change(&before, &job)) {
            self.touched.push(uid.clone());
        }
        let changed = so_far.max(Changed::between(&before, &job));
        let job = Arc::new(job);
        self.jobs.insert(id, Loaded { job: Arc::clone(&job), changed, was });
        Ok(job)
    }

    /// Whether its freshness is due to be looked at: when a tracker begins to be watched, and when it is fresh again. While it
    /// is stale there is nothing to look for.
    fn watch(&mut self, before: Option<&Job>, job: &Job, at: Timestamp) {
        let watched = |job: &Job| job.traits.tracker && job.state == State::Waiting && job.stale_since.is_none();
        match (before.is_some_and(watched), watched(job)) {
            (false, true) => self.watches.push((job.id.0, &job.account, at.as_millis())),
            (true, false) if job.stale_since.is_some() => {
                self.watches.push((job.id.0, &job.account, Timestamp::MAX.as_millis()));
            }
            (true, true | false) | (false, false) => {}
        }
    }

    /// What an attempt's change means for the ledger; only what may cost money stands there.
    fn note_cost(&mut self, job: &Job, change: &AttemptChange, rules: Option<&Rules>, at: Timestamp) {
        match change {
            AttemptChange::Open { token, .. } => {
                self.numbers.last_order += 1;
                self.ledger.ordered.push(money::ordered_row(self.numbers.last_order, job, token, rules, at));
                if job.state == State::InDoubt {
                    self.ledger.doubted.push((job.id.0, token));
                }
            }
            AttemptChange::Unclear { token } => self.ledger.doubted.push((job.id.0, token)),
            AttemptChange::Close { token, end } => {
                self.ledger.decided.push((job.id.0, token, money::sure(*end).as_str(), at.as_millis()));
            }
        }
    }

    fn attempt(&mut self, job: &Job, change: AttemptChange, at: Timestamp) {
        match change {
            AttemptChange::Open { token, request_hash } => {
                let unclear_at = (job.state == State::InDoubt).then_some(at);
                self.opened.push(OpenedAttempt { token, job: job.id, request_hash, at, unclear_at, end: None });
            }
            AttemptChange::Unclear { token } => match self.opened.iter_mut().find(|open| open.token == token) {
                Some(open) => open.unclear_at = Some(at),
                None => self.unclear.push((job.id.0, token, at.as_millis())),
            },
            AttemptChange::Close { token, end } => match self.opened.iter_mut().find(|open| open.token == token) {
                Some(open) => open.end = Some((end.as_str(), at)),
                None => self.closed.push((job.id.0, token, end.as_str(), at.as_millis())),
            },
        }
    }

    fn account(&mut self, change: AccountChange, at: Timestamp) {
        for event in change.events {
            let mut data = json!({ "account": change.name });
            merge(&mut data, event.data);
            self.event(event.kind, at, None, Some(&change.name), None, data);
        }
        let in_history = self.in_history.get(&change.name).copied();
        if let Some(balance) = change.account.balance.as_ref().filter(|balance| in_history != Some(balance.at)) {
            self.balances.push((&change.name, balance.at.as_millis(), balance.amount, &balance.unit));
            Arc::make_mut(&mut self.in_history).insert(change.name.clone(), balance.at);
        }
        let data = serde_json::to_string(&change.account).unwrap_or_default();
        self.accounts.push((&change.name, change.account.version, data));
    }

    pub fn call(&mut self, call: CallRecord) {
        self.calls.push((
            call.account,
            call.call.map(|call| call.as_str()),
            call.op,
            call.job.map(|id| id.0),
            call.jobs,
            call.at.as_millis(),
            call.took.as_millis() as i64,
            call.status,
            call.outcome,
            call.note,
        ));
    }

    /// An event of a job that changes nothing else about it.
    pub fn announce(&mut self, id: JobId, event: NewEvent, at: Timestamp) {
        if let Some(job) = self.job(id).cloned() {
            self.job_event(&job, event, at);
        }
    }

    // ---- events ------------------------------------------------------------------------------------------------

    fn job_event(&mut self, job: &Job, event: NewEvent, at: Timestamp) {
        let mut data = json!({ "kind": job.kind, "account": job.account, "state": job.state });
        let fields = [
            ("tag", job.tag.as_ref()),
            ("dedupe_key", job.dedupe_key.as_ref()),
            ("remote_id", job.remote_id.as_ref()),
            ("uid", job.mailbox_uid.as_ref().or(job.uid.as_ref())),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                data[name] = Value::from(value.as_str());
            }
        }
        merge(&mut data, event.data);
        self.event(event.kind, at, Some(job.id), Some(&job.account), job.mailbox_uid.as_deref(), data);
    }

    fn event(
        &mut self,
        kind: EventType,
        at: Timestamp,
        job: Option<JobId>,
        account: Option<&str>,
        uid: Option<&str>,
        data: Value,
    ) {
        self.numbers.last_seq += 1;
        let mailbox_seq = uid.map(|_| {
            self.numbers.last_mailbox_seq += 1;
            self.numbers.last_mailbox_seq
        });
        let (seq, job, data) = (self.numbers.last_seq, job.map(|id| id.0), data.to_string());
        self.events.push((seq, kind.as_str(), at.as_millis(), job, account, uid, mailbox_seq, data));
    }

    /// An event that is about neither a job nor an account.
    pub fn announce_sink(&mut self, kind: EventType, at: Timestamp, data: Value) {
        self.event(kind, at, None, None, None, data);
    }

    fn delta(&mut self, job: &Job) -> &mut i64 {
        self.deltas.entry((job.account.clone(), job.kind.clone(), job.state.code())).or_default()
    }

    /// Takes finished jobs out of the counters.
    pub fn forget(&mut self, account: &str, kind: &str, state: i64) {
        *self.deltas.entry((account.to_owned(), kind.to_owned(), state)).or_default() -= 1;
    }

    // ---- writing -----------------------------------------------------------------------------------------------

    /// Where nothing was done but to begin free calls: how their jobs stand. The file learns it a moment later.
    pub fn into_paced(self) -> (Vec<(Arc<Job>, Changed)>, Moves) {
        let mut moves = self.moves;
        (in_order(self.jobs, &mut moves), moves)
    }

    /// Writes everything; each statement must touch exactly the rows it was meant for.
    pub async fn write(self, conn: &mut SqliteConnection, before: Numbers) -> Result<Left, StoreError> {
        let mut opened = Rows::default();
        for open in &self.opened {
            let (outcome, ended_at) = open.end.map_or((None, None), |(end, at)| (Some(end), Some(at.as_millis())));
            let unclear_at = open.unclear_at.map(Timestamp::as_millis);
            let (job, at) = (open.job.0, open.at.as_millis());
            opened.push((job, &open.token, &open.request_hash, self.epoch, at, unclear_at, ended_at, outcome));
        }
        let (mut whole, mut paced, mut moves) = (Rows::default(), Rows::default(), self.moves);
        let jobs = in_order(self.jobs, &mut moves);
        for (job, changed) in &jobs {
            match changed {
                Changed::Row => whole.push_whole(job),
                Changed::Pace => paced.push_pace(job),
                Changed::Nothing => {}
            }
        }
        let changed_bodies = self.partials.keys().map(|id| id.0).collect();
        let bodies = |bodies: BTreeMap<JobId, String>| {
            let mut rows = Rows::default();
            bodies.into_iter().for_each(|(id, text)| rows.push((id.0, text)));
            rows
        };
        let mut deltas = Rows::default();
        for ((account, kind, state), n) in self.deltas.iter().filter(|(_, n)| **n != 0) {
            deltas.push((account, kind, state, n));
        }
        let mut metas = Rows::default();
        if self.numbers.last_mailbox_seq != before.last_mailbox_seq {
            metas.push((super::MAILBOX_LAST, self.numbers.last_mailbox_seq.to_string()));
        }
        let (events, late_events) = match crash::is(Mutant::EventOutsideTransaction) {
            true => (Rows::default(), self.events),
            false => (self.events, Rows::default()),
        };
        let all = [
            (sql::INSERT_JOBS, self.new_jobs, Exactly),
            (sql::INSERT_BODIES, self.new_bodies, Exactly),
            (sql::INSERT_UIDS, self.uids, Exactly),
            (sql::REJECT_UIDS, self.told, AtMost),
            (sql::UPDATE_JOBS, whole, Exactly),
            (sql::UPDATE_PACE, paced, Exactly),
            (sql::UPDATE_PARTIALS, bodies(self.partials), Exactly),
            (sql::UPDATE_RESULTS, bodies(self.results), Exactly),
            (sql::MARK_UNCLEAR, self.unclear, Exactly),
            (sql::CLOSE_ATTEMPTS, self.closed, Exactly),
            (sql::OPEN_ATTEMPTS, opened, Exactly),
            (sql::WATCH, self.watches, AtMost),
            (sql::INSERT_COSTS, self.ledger.ordered, Exactly),
            // What was ordered before there was a ledger has no line.
            (sql::DOUBT_COSTS, self.ledger.doubted, AtMost),
            (sql::DECIDE_COSTS, self.ledger.decided, AtMost),
            (sql::INSERT_BALANCES, self.balances, AtMost),
            (sql::RELEASE, self.released, AtMost),
            (sql::INSERT_OBSERVATIONS, self.observations, Exactly),
            (sql::INSERT_EVENTS, events, Exactly),
            (sql::INSERT_CALLS, self.calls, Exactly),
            (sql::INSERT_DOWNLOADS, self.downloads, Exactly),
            (sql::SAVE_ACCOUNTS, self.accounts, AtMost),
            (sql::COUNT_BY_DELTAS, deltas, Exactly),
            (sql::SET_METAS, metas, Exactly),
        ];
        run(conn, all).await?;
        Ok(Left { in_history: self.in_history, touched: self.touched, jobs, moves, changed_bodies, late_events })
    }
}

/// In the order of their numbers: rows that lie side by side are written side by side.
fn in_order(jobs: HashMap<JobId, Loaded>, moves: &mut Moves) -> Vec<(Arc<Job>, Changed)> {
    let mut loaded: Vec<Loaded> = jobs.into_values().collect();
    loaded.sort_unstable_by_key(|loaded| loaded.job.id);
    for Loaded { job, was, .. } in &loaded {
        moves.add(&job.account, *was, Place::of(job));
    }
    loaded.into_iter().map(|loaded| (loaded.job, loaded.changed)).collect()
}

/// Writes when jobs are asked about next, of many at a time.
pub async fn write_paces(conn: &mut SqliteConnection, jobs: &[Arc<Job>]) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    jobs.iter().for_each(|job| rows.push_pace(job));
    run(conn, [(sql::UPDATE_PACE, rows, Exactly)]).await
}

/// What a transaction leaves, once it is committed.
#[derive(Debug)]
pub struct Left {
    pub in_history: Balances,
    /// Mailbox rows that show a change.
    pub touched: Vec<String>,
    /// The jobs that it was about, as their rows stand now.
    pub jobs: Vec<(Arc<Job>, Changed)>,
    pub moves: Moves,
    /// Those of them whose leftovers changed.
    pub changed_bodies: Vec<i64>,
    /// None, unless [`Mutant::EventOutsideTransaction`] is planted.
    late_events: Rows,
}

impl Left {
    pub async fn write_late(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        run(conn, [(sql::INSERT_EVENTS, std::mem::take(&mut self.late_events), Exactly)]).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touches {
    Exactly,
    AtMost,
}
use Touches::{AtMost, Exactly};

type Statement = (&'static str, Rows, Touches);

/// Carries out those that have rows, in one trip to SQLite's thread; each must touch what it was meant for.
async fn run(conn: &mut SqliteConnection, all: impl IntoIterator<Item = Statement>) -> Result<(), StoreError> {
    let all: Vec<Statement> = all.into_iter().filter(|(_, rows, _)| rows.count() > 0).collect();
    if all.is_empty() {
        return Ok(());
    }
    let text = sql::in_one(all.iter().map(|(statement, ..)| *statement));
    let meant: Vec<_> = all.iter().map(|(statement, rows, touches)| (*statement, rows.count(), *touches)).collect();
    let query = all.into_iter().fold(sqlx::query(text), |query, (_, rows, _)| query.bind(rows.into_text()));
    let mut done = conn.fetch_many(query);
    for (statement, expected, touches) in meant {
        let touched = match done.try_next().await.map_err(super::sort_error)? {
            Some(Either::Left(done)) => done.rows_affected(),
            Some(Either::Right(_)) | None => 0,
        };
        if touches == Exactly && touched != expected {
            let verb = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
            return Err(StoreError::Refused(format!(
                "{verb} …: {expected} rows were meant and {touched} were touched"
            )));
        }
    }
    // To its end: what is left out would not be carried out.
    while done.try_next().await.map_err(super::sort_error)?.is_some() {}
    Ok(())
}

pub fn fresh_job(id: JobId, new: NewJob, at: Timestamp) -> Job {
    let followed = new.follow.is_some();
    Job {
        id,
        kind: new.kind,
        account: new.account,
        traits: new.traits,
        state: if followed { State::Waiting } else { State::Queued },
        priority: new.priority,
        due_at: Some(new.not_before.map_or(at, |not_before| not_before.max(at))),
        deadline: new.deadline,
        cancel_requested: false,
        dedupe_key: new.dedupe_key,
        tag: new.tag,
        remote_id: new.follow,
        attempt: None,
        turn: 0,
        submissions: 0,
        polls: 0,
        errors: 0,
        unknown_errors: 0,
        absences: 0,
        doubt_since: None,
        memo: None,
        seen: None,
        reason: None,
        created_at: at,
        submitted_at: followed.then_some(at),
        updated_at: at,
        finished_at: None,
        uid: new.asked.uid.filter(|_| new.mailbox_uid.is_none()),
        mailbox_uid: new.mailbox_uid,
        retry_of: new.retry_of,
        observed_at: None,
        stale_since: None,
    }
}

/// What an order means, or the move that makes it.
pub fn meaning(new: &NewJob) -> String {
    new.asked.means.clone().unwrap_or_else(|| {
        let hash = repeat::order_hash(&new.params).unwrap_or_else(|| sha256_hex(new.params.as_bytes()));
        repeat::meaning(&new.kind, &hash)
    })
}

fn data_gone(uid: &str, job: Option<JobId>) -> String {
    let which = job.map(|job| format!(" as job {job}")).unwrap_or_default();
    format!(
        "the uid {uid:?} was ordered before{which}, and that job's data are removed (retention, or a purge). Nothing is ordered \
         for this row; if it is a new order, insert it with a uid of its own"
    )
}

/// Whether the mailbox row of a job looks different now. Polls that bring no news do not make it be written again.
fn shows_a_change(before: &Job, after: &Job) -> bool {
    before.state != after.state || before.remote_id != after.remote_id || before.reason != after.reason
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        let from: Map<String, Value> = from;
        into.extend(from);
    }
}
