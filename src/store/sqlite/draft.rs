//! One transaction in the making: many requests' changes, written with one statement for each kind of change.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value, json};
use sqlx::SqliteConnection;

use super::money::{self, Guard};
use super::{downloads, rows, sql};
use crate::crash::{self, Mutant};
use crate::domain::exchange::sha256_hex;
use crate::domain::spending::{Amount, Rules};
use crate::domain::state::{AttemptChange, Input, Step, step};
use crate::domain::{EventType, Job, JobId, NewEvent, NewJob, Reason, State, Timestamp};
use crate::store::{Accepted, AccountChange, ApplyError, Batch, CallRecord, Change, RejectedRow, StoreError};

/// Where the numbers of this store stand; taken back when a transaction fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub last_job: i64,
    pub last_seq: i64,
    pub last_mailbox_seq: i64,
}

/// A balance that is this young may not stand in its history yet; what stands there is not written twice.
const NEWS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Draft {
    pub numbers: Numbers,
    epoch: i64,
    /// Jobs that exist already, as this transaction leaves them.
    jobs: HashMap<JobId, Loaded>,
    new_jobs: Vec<Value>,
    new_bodies: Vec<Value>,
    mailbox_rows: Vec<Value>,
    opened: Vec<OpenedAttempt>,
    unclear: Vec<Value>,
    closed: Vec<Value>,
    observations: Vec<Value>,
    partials: BTreeMap<JobId, String>,
    results: BTreeMap<JobId, String>,
    events: Vec<Value>,
    calls: Vec<Value>,
    accounts: Vec<Value>,
    downloads: Vec<Value>,
    guard: Guard,
    ledger: LedgerLines,
    balances: Vec<Value>,
    released: Vec<Value>,
    deltas: BTreeMap<(String, String, i64), i64>,
    /// Keys of unfinished jobs that this transaction adds.
    new_keys: HashMap<String, JobId>,
    new_uids: HashMap<String, Option<JobId>>,
    /// Mailbox rows that show a change.
    touched: Vec<String>,
    /// Trackers whose freshness is to be looked at, and when.
    watches: Vec<Value>,
}

#[derive(Debug)]
struct Loaded {
    job: Job,
    written: Written,
}

/// What of a row is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Written {
    Nothing,
    Pace,
    Row,
}

/// What the cost ledger learns.
#[derive(Debug, Default)]
struct LedgerLines {
    ordered: Vec<Value>,
    doubted: Vec<Value>,
    decided: Vec<Value>,
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
    /// Mailbox tokens that were taken, with their job.
    pub uids: HashMap<String, Option<JobId>>,
}

impl Draft {
    pub fn new(numbers: Numbers, epoch: i64) -> Self {
        Self {
            numbers,
            epoch,
            jobs: HashMap::new(),
            new_jobs: Vec::new(),
            new_bodies: Vec::new(),
            mailbox_rows: Vec::new(),
            opened: Vec::new(),
            unclear: Vec::new(),
            closed: Vec::new(),
            observations: Vec::new(),
            partials: BTreeMap::new(),
            results: BTreeMap::new(),
            events: Vec::new(),
            calls: Vec::new(),
            accounts: Vec::new(),
            downloads: Vec::new(),
            guard: Guard::default(),
            ledger: LedgerLines::default(),
            balances: Vec::new(),
            released: Vec::new(),
            deltas: BTreeMap::new(),
            new_keys: HashMap::new(),
            new_uids: HashMap::new(),
            touched: Vec::new(),
            watches: Vec::new(),
        }
    }

    // ---- taking in ---------------------------------------------------------------------------------------------

    pub fn accept(&mut self, new: NewJob, known: &Known, at: Timestamp) -> Accepted {
        if let Some(uid) = &new.mailbox_uid
            && let Some(job) = self.new_uids.get(uid).or_else(|| known.uids.get(uid))
        {
            return Accepted::Taken(*job);
        }
        let duplicate = new.dedupe_key.as_ref().and_then(|key| self.new_keys.get(key).or_else(|| known.keys.get(key)));
        if let Some(first) = duplicate.copied() {
            if let Some(uid) = new.mailbox_uid {
                let key = new.dedupe_key.unwrap_or_default();
                let message = format!("the dedupe_key {key:?} belongs to job {first}, which has not ended yet");
                let reason = Reason::new("duplicate", message);
                self.reject(RejectedRow { uid, kind: Some(new.kind), reason, duplicate_of: Some(first) }, known, at);
            }
            return Accepted::Duplicate(first);
        }
        Accepted::New(self.insert(new, at))
    }

    fn insert(&mut self, new: NewJob, at: Timestamp) -> JobId {
        self.numbers.last_job += 1;
        let id = JobId(self.numbers.last_job);
        self.new_bodies.push(json!([id.0, new.params, sha256_hex(new.params.as_bytes())]));
        if let Some(uid) = &new.mailbox_uid {
            self.mailbox_rows.push(json!([uid, id.0, null, null, at.as_millis()]));
            self.new_uids.insert(uid.clone(), Some(id));
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
        self.new_jobs.push(json!(rows::insert_row(&job)));
        id
    }

    pub fn reject(&mut self, row: RejectedRow, known: &Known, at: Timestamp) {
        if known.uids.contains_key(&row.uid) || self.new_uids.contains_key(&row.uid) {
            return;
        }
        self.new_uids.insert(row.uid.clone(), row.duplicate_of);
        let duplicate_of = row.duplicate_of.map(|id| id.0);
        self.mailbox_rows.push(json!([row.uid, duplicate_of, row.reason.code, row.reason.message, at.as_millis()]));
        let data = json!({
            "uid": row.uid, "kind": row.kind, "state": State::Rejected, "error": row.reason, "duplicate_of": duplicate_of,
        });
        self.event(EventType::JobRejected, at, None, None, Some(&row.uid), data);
    }

    // ---- the state table ---------------------------------------------------------------------------------------

    /// What holds orders back; read before the first of them is applied.
    pub fn adopt_guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    pub fn adopt_rows(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            self.jobs.insert(job.id, Loaded { job, written: Written::Nothing });
        }
    }

    /// A job as this transaction leaves it so far.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|loaded| &loaded.job)
    }

    /// Carries a batch's inputs through the state table, one after another, each on the row as the one before left it.
    pub fn apply(&mut self, batch: Batch) -> Vec<Result<Job, ApplyError>> {
        let Batch { at, changes, accounts, call, downloads: wishes, spending } = batch;
        let results: Vec<Result<Job, ApplyError>> =
            changes.into_iter().map(|change| self.guarded(change, spending.as_deref(), at)).collect();
        for wish in wishes {
            let succeeded = |job: &&Job| job.id == wish.job && job.state == State::Succeeded;
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
    fn guarded(&mut self, change: Change, rules: Option<&Rules>, at: Timestamp) -> Result<Job, ApplyError> {
        let Some(rules) = rules.filter(|_| money::is_order(&change.input)) else {
            return self.change(change.job, change.input, at);
        };
        let job = &self.jobs.get(&change.job).ok_or(ApplyError::NotFound(change.job))?.job;
        self.guard.check(job, rules, at)?;
        let job = self.change_priced(change.job, change.input, rules.price(&job.kind), at)?;
        self.guard.count(&job, rules);
        Ok(job)
    }

    pub fn change(&mut self, id: JobId, input: Input, at: Timestamp) -> Result<Job, ApplyError> {
        self.change_priced(id, input, None, at)
    }

    fn change_priced(
        &mut self,
        id: JobId,
        input: Input,
        price: Option<Amount>,
        at: Timestamp,
    ) -> Result<Job, ApplyError> {
        let released = matches!(input, Input::Release);
        let loaded = self.jobs.get(&id).ok_or(ApplyError::NotFound(id))?;
        let before = loaded.job.clone();
        let so_far = loaded.written;
        let Step { job, events, attempt, observation, partial, result } = step(before.clone(), input, at)?;
        if before.state != job.state {
            *self.delta(&before) -= 1;
            *self.delta(&job) += 1;
        }
        for event in events {
            self.job_event(&job, event, at);
        }
        if released {
            self.released.push(json!([id.0, at.as_millis()]));
        }
        if let Some(change) = attempt {
            if !job.traits.repeatable {
                self.note_cost(&job, &change, price, at);
            }
            self.attempt(&job, change, at);
        }
        if let Some(seen) = observation {
            self.observations.push(json!([id.0, at.as_millis(), seen.fingerprint, seen.data, seen.raw]));
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
        // An answer that changes nothing costs no write.
        let same = Job { updated_at: before.updated_at, ..job.clone() } == before;
        let written = if same {
            Written::Nothing
        } else if rows::only_paced(&before, &job) {
            Written::Pace
        } else {
            Written::Row
        };
        self.jobs.insert(id, Loaded { job: job.clone(), written: so_far.max(written) });
        Ok(job)
    }

    /// Whether its freshness is due to be looked at: when a tracker begins to be watched, and when it is fresh again. While it
    /// is stale there is nothing to look for.
    fn watch(&mut self, before: Option<&Job>, job: &Job, at: Timestamp) {
        let watched = |job: &Job| job.traits.tracker && job.state == State::Waiting && job.stale_since.is_none();
        match (before.is_some_and(watched), watched(job)) {
            (false, true) => self.watches.push(json!([job.id.0, job.account, at.as_millis()])),
            (true, false) if job.stale_since.is_some() => {
                self.watches.push(json!([job.id.0, job.account, Timestamp::MAX.as_millis()]));
            }
            (true, true | false) | (false, false) => {}
        }
    }

    /// What an attempt's change means for the ledger; only what may cost money stands there.
    fn note_cost(&mut self, job: &Job, change: &AttemptChange, price: Option<Amount>, at: Timestamp) {
        match change {
            AttemptChange::Open { token, .. } => {
                self.ledger.ordered.push(money::ordered_row(job, token, price, at));
                if job.state == State::InDoubt {
                    self.ledger.doubted.push(json!(token));
                }
            }
            AttemptChange::Unclear { token } => self.ledger.doubted.push(json!(token)),
            AttemptChange::Close { token, end } => {
                self.ledger.decided.push(json!([token, money::sure(*end).as_str(), at.as_millis()]));
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
                None => self.unclear.push(json!([token, at.as_millis()])),
            },
            AttemptChange::Close { token, end } => match self.opened.iter_mut().find(|open| open.token == token) {
                Some(open) => open.end = Some((end.as_str(), at)),
                None => self.closed.push(json!([token, end.as_str(), at.as_millis()])),
            },
        }
    }

    fn account(&mut self, change: AccountChange, at: Timestamp) {
        for event in change.events {
            let mut data = json!({ "account": change.name });
            merge(&mut data, event.data);
            self.event(event.kind, at, None, Some(&change.name), None, data);
        }
        if let Some(balance) = change.account.balance.as_ref().filter(|balance| at.since(balance.at) < NEWS) {
            self.balances.push(json!([change.name, balance.at.as_millis(), balance.amount, balance.unit]));
        }
        let data = serde_json::to_string(&change.account).unwrap_or_default();
        self.accounts.push(json!([change.name, change.account.version, data]));
    }

    pub fn call(&mut self, call: CallRecord) {
        self.calls.push(json!([
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
        ]));
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
            ("uid", job.mailbox_uid.as_ref()),
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
        self.events.push(json!([seq, kind.as_str(), at.as_millis(), job, account, uid, mailbox_seq, data]));
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

    /// Writes everything; each statement must touch exactly the rows it was meant for.
    pub async fn write(self, conn: &mut SqliteConnection, before: Numbers) -> Result<Left, StoreError> {
        let opened = self.opened.iter().map(|open| {
            let (outcome, ended_at) = open.end.map_or((None, None), |(end, at)| (Some(end), Some(at.as_millis())));
            let unclear_at = open.unclear_at.map(Timestamp::as_millis);
            json!([
                open.token,
                open.job.0,
                open.request_hash,
                self.epoch,
                open.at.as_millis(),
                unclear_at,
                ended_at,
                outcome
            ])
        });
        let of = |what| self.jobs.values().filter(move |loaded| loaded.written == what).map(|loaded| &loaded.job);
        let whole: Vec<Value> = of(Written::Row).map(|job| json!(rows::update_row(job))).collect();
        let paced: Vec<Value> = of(Written::Pace).map(|job| json!(rows::pace_row(job))).collect();
        let changed_bodies = self.partials.keys().map(|id| id.0).collect();
        let bodies = |bodies: BTreeMap<JobId, String>| {
            bodies.into_iter().map(|(id, text)| json!([id.0, text])).collect::<Vec<_>>()
        };
        let deltas = self.deltas.iter().filter(|(_, n)| **n != 0);
        let deltas = deltas.map(|((account, kind, state), n)| json!([account, kind, state, n]));
        run(conn, sql::INSERT_JOBS, self.new_jobs, Exactly).await?;
        run(conn, sql::INSERT_BODIES, self.new_bodies, Exactly).await?;
        run(conn, sql::INSERT_MAILBOX_ROWS, self.mailbox_rows, Exactly).await?;
        run(conn, sql::UPDATE_JOBS, whole, Exactly).await?;
        run(conn, sql::UPDATE_PACE, paced, Exactly).await?;
        run(conn, sql::UPDATE_PARTIALS, bodies(self.partials), Exactly).await?;
        run(conn, sql::UPDATE_RESULTS, bodies(self.results), Exactly).await?;
        run(conn, sql::MARK_UNCLEAR, self.unclear, Exactly).await?;
        run(conn, sql::CLOSE_ATTEMPTS, self.closed, Exactly).await?;
        run(conn, sql::OPEN_ATTEMPTS, opened.collect(), Exactly).await?;
        run(conn, sql::WATCH, self.watches, AtMost).await?;
        let has_orders = !self.ledger.ordered.is_empty();
        run(conn, sql::INSERT_COSTS, self.ledger.ordered, Exactly).await?;
        // What was ordered before there was a ledger has no line.
        run(conn, sql::DOUBT_COSTS, self.ledger.doubted, AtMost).await?;
        run(conn, sql::DECIDE_COSTS, self.ledger.decided, AtMost).await?;
        run(conn, sql::INSERT_BALANCES, self.balances, AtMost).await?;
        run(conn, sql::RELEASE, self.released, AtMost).await?;
        run(conn, sql::INSERT_OBSERVATIONS, self.observations, Exactly).await?;
        let late_events = if crash::is(Mutant::EventOutsideTransaction) {
            self.events
        } else {
            run(conn, sql::INSERT_EVENTS, self.events, Exactly).await?;
            Vec::new()
        };
        run(conn, sql::INSERT_CALLS, self.calls, Exactly).await?;
        run(conn, sql::INSERT_DOWNLOADS, self.downloads, Exactly).await?;
        run(conn, sql::SAVE_ACCOUNTS, self.accounts, AtMost).await?;
        run(conn, sql::COUNT_BY_DELTAS, deltas.collect(), Exactly).await?;
        if self.numbers.last_mailbox_seq != before.last_mailbox_seq {
            super::set_meta(conn, super::MAILBOX_LAST, &self.numbers.last_mailbox_seq.to_string()).await?;
        }
        let last_order = match has_orders {
            true => Some(sqlx::query_scalar(sql::LAST_ORDER).fetch_one(conn).await.map_err(super::sort_error)?),
            false => None,
        };
        let jobs = self.jobs.into_values().map(|loaded| loaded.job).collect();
        Ok(Left { last_order, touched: self.touched, jobs, changed_bodies, late_events })
    }
}

/// What a transaction leaves, once it is committed.
#[derive(Debug)]
pub struct Left {
    /// The newest line of the ledger, where there are new ones.
    pub last_order: Option<i64>,
    /// Mailbox rows that show a change.
    pub touched: Vec<String>,
    /// The jobs that it was about, as their rows stand now.
    pub jobs: Vec<Job>,
    /// Those of them whose leftovers changed.
    pub changed_bodies: Vec<i64>,
    /// None, unless [`Mutant::EventOutsideTransaction`] is planted.
    late_events: Vec<Value>,
}

impl Left {
    pub async fn write_late(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        run(conn, sql::INSERT_EVENTS, self.late_events.clone(), Exactly).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touches {
    Exactly,
    AtMost,
}
use Touches::{AtMost, Exactly};

async fn run(
    conn: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<Value>,
    touches: Touches,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let expected = rows.len() as u64;
    let rows = Value::Array(rows).to_string();
    let done = sqlx::query(statement).bind(rows).execute(conn).await.map_err(super::sort_error)?;
    if touches == Exactly && done.rows_affected() != expected {
        let verb = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        let found = done.rows_affected();
        return Err(StoreError::Other(format!("{verb} …: {expected} rows were meant and {found} were touched")));
    }
    Ok(())
}

fn fresh_job(id: JobId, new: NewJob, at: Timestamp) -> Job {
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
        absences: 0,
        doubt_since: None,
        memo: None,
        seen: None,
        reason: None,
        created_at: at,
        submitted_at: followed.then_some(at),
        updated_at: at,
        finished_at: None,
        mailbox_uid: new.mailbox_uid,
        retry_of: new.retry_of,
        observed_at: None,
        stale_since: None,
    }
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
