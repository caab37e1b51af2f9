//! One request from intent to commit: the flow that every paid call goes through.
//!
//! build → store the intent (fsynced) → send → read → commit the outcome. The task is never cancelled in between; what
//! stops the process in between is found in doubt at the next start.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::task::TaskTracker;

use super::account::{AccountSetup, Runner};
use super::bisect::{Fate, SetId};
use super::claim::{Claimed, Group};
use super::log::{describe, log_end};
use super::meaning::{Asked, class, learn};
use super::measure;
use super::outcome;
use crate::crash::{self, Mutant};
use crate::domain::exchange::{Request, SendError};
use crate::domain::policy::Growth;
use crate::domain::privacy::masked;
use crate::domain::state::{Begin, End, Input, Outcome, Refused};
use crate::domain::{Call, Job, JobId, Reason, Timestamp};
use crate::http::Received;
use crate::store::downloads::DownloadWish;
use crate::store::{AccountChange, ApplyError, Batch, CallRecord, Change, StoreError};
use crate::vendors::JobView;

/// How long to wait before an outcome that could not be committed is tried again.
const COMMIT_AGAIN: Duration = Duration::from_millis(500);
const COMMIT_AGAIN_AT_LAST: Duration = Duration::from_secs(5);
/// What is sent is what was committed, to the byte, or it is not sent.
const ALTERED: &str = "the request is no longer the one whose intent was stored: this machine's memory may be failing";

/// False: an operator's move on one of its jobs is under way, whose end wakes the account.
pub fn spawn_call(runner: &Arc<Runner>, tracker: &TaskTracker, group: Group) -> bool {
    let jobs = group.jobs.iter().map(|claimed| claimed.job.id).collect();
    let Some(occupied) = runner.occupy(jobs, group.set) else { return false };
    let runner = Arc::clone(runner);
    let work = async move {
        let jobs: Vec<JobId> = group.jobs.iter().map(|claimed| claimed.job.id).collect();
        if AssertUnwindSafe(make_call(&runner, group)).catch_unwind().await.is_err() {
            after_panic(&runner, jobs).await;
        }
        drop(occupied);
    };
    tracker.spawn(crash::watched("engine.call", work));
    true
}

/// A bug must not kill the daemon, and a job whose submit it cut off must not wait for a restart: it is in doubt now.
async fn after_panic(runner: &Runner, jobs: Vec<JobId>) {
    tracing::error!(
        account = runner.name(),
        jobs = jobs.len(),
        "a call panicked; what it may have submitted is in doubt. This is a bug of opros"
    );
    let alone = jobs.len() == 1;
    let mut changes = Vec::new();
    for job in jobs {
        changes.push(Change { job, input: Input::Recover });
        if alone && runner.quarantine.strike(job) {
            changes.extend(runner.aside(job).map(|input| Change { job, input }));
        }
    }
    match runner.shared.store.apply(Batch::of(runner.now(), changes)).await {
        Ok(results) => results.into_iter().flatten().for_each(|job| log_end(&job)),
        Err(error) => {
            store_failed(runner, &error, "the next start finds these jobs in doubt");
        }
    }
    // A bug that strikes at once must not strike in a tight loop.
    tokio::time::sleep(COMMIT_AGAIN).await;
}

async fn make_call(runner: &Runner, group: Group) {
    let floor = group.floor(runner).flatten();
    let Group { call, mut jobs, set, oldest_due, .. } = group;
    if call == Call::Submit {
        // The driver may put the token into the request, so it is there before the request is built.
        jobs.iter_mut().for_each(|claimed| Arc::make_mut(&mut claimed.job).attempt = Some(new_token()));
    }
    let (host, change) = runner.host();
    // One setup from here on: a reload in between must not send what one driver built to where another one lives.
    let setup = runner.setup();
    let Some(mut request) = build(runner, &setup, call, &jobs, set).await else { return };
    // Before the intent is stored: what is hashed is what is sent, and where to.
    request.host = host;
    let intent = (call == Call::Submit).then(|| request.hash());
    let known = measure::known(&jobs);
    crash::point_of(call.as_str(), "built");
    let early = match crash::is(Mutant::CommitAfterSend) {
        true => Some(send(runner, &setup, &request, Some(call)).await),
        false => None,
    };
    if is_shut(runner, call, &jobs) {
        return;
    }
    let orders = Beginning { setup: &setup, call, set, due_at: oldest_due, intent: intent.as_deref() };
    let Some(jobs) = begin(runner, orders, jobs, change).await else { return };
    crash::point_of(call.as_str(), "intent_committed");
    keep_distance(runner, &setup).await;
    if is_shut(runner, call, &jobs) || is_overdue(runner, call, &jobs) {
        // It waited for its turn, and may not leave any more.
        give_back(runner, call, &jobs, oldest_due, (Vec::new(), None)).await;
        return;
    }
    measure::begun(runner, call, &jobs, oldest_due);
    let (sent_at, exchange) = match intent.filter(|intent| request.hash() != *intent) {
        None => match early {
            Some(sent) => sent,
            None => send(runner, &setup, &request, Some(call)).await,
        },
        Some(_) => (runner.now(), Err(SendError::NotSent(ALTERED.to_owned()))),
    };
    crash::point_of(call.as_str(), "answered");
    floor.iter().for_each(|floor| runner.looked(floor, sent_at));
    let record = CallRecord {
        account: runner.name().to_owned(),
        call: Some(call),
        op: request.op,
        job: (jobs.len() == 1).then(|| jobs[0].job.id),
        jobs: jobs.len(),
        at: sent_at,
        took: runner.now().since(sent_at),
        status: exchange.as_ref().ok().map(|received| received.status()),
        outcome: String::new(),
        note: None,
    };
    let asked = Asked { runner, setup: &setup, call, host, jobs: &jobs, began: sent_at };
    let (outcomes, accounts) = class(asked, exchange).await;
    let outcomes = learn(runner, call, set, &jobs, outcomes, oldest_due);
    measure::observed(runner, &jobs, &known, &outcomes);
    crash::point_of(call.as_str(), "read");
    finish(asked, outcomes, accounts, record).await;
    crash::point_of(call.as_str(), "outcome_committed");
}

/// Builds the request. A driver that panics over it harms nothing but this call: of many jobs it is found for which one it
/// panics, and that one is set aside.
async fn build(
    runner: &Runner,
    setup: &AccountSetup,
    call: Call,
    jobs: &[Claimed],
    set: Option<SetId>,
) -> Option<Request> {
    let views: Vec<JobView<'_>> = jobs.iter().map(Claimed::view).collect();
    let ids: Vec<JobId> = jobs.iter().map(|claimed| claimed.job.id).collect();
    let now = runner.now();
    let built = runner.guarded(&ids, "building a request", || setup.driver.request(call, &views, now));
    if built.is_none() {
        let aside: Vec<Change> =
            ids.iter().filter_map(|job| Some(Change { job: *job, input: runner.aside(*job)? })).collect();
        let fate = match (ids.len(), aside.len()) {
            (1, 0) => Fate::Untouched,
            (1, _) => Fate::Failed,
            _ => Fate::Split,
        };
        runner.bisect.learn(set, call, &ids.iter().map(|job| (*job, fate)).collect::<Vec<_>>());
        if !aside.is_empty() {
            commit(runner, Batch::of(now, aside)).await;
        }
    }
    built
}

/// What begins, by whose word.
#[derive(Debug, Clone, Copy)]
struct Beginning<'a> {
    setup: &'a AccountSetup,
    call: Call,
    set: Option<SetId>,
    /// When the first of the jobs was due.
    due_at: Timestamp,
    /// The hash of a request that submits.
    intent: Option<&'a str>,
}

/// Commits that the call begins. Nothing is sent unless every job of it could begin.
async fn begin(
    runner: &Runner,
    Beginning { setup, call, set, due_at, intent }: Beginning<'_>,
    mut jobs: Vec<Claimed>,
    account: Option<AccountChange>,
) -> Option<Vec<Claimed>> {
    let now = runner.now();
    let request_hash = intent.unwrap_or_default().to_owned();
    let pace = |claimed: &Claimed| {
        let pace = || setup.driver.pace(call, &claimed.view(), now);
        runner.guarded(&[claimed.job.id], "pacing a job", pace).unwrap_or(now + Growth::ERRORS.first)
    };
    let changes = jobs
        .iter()
        .map(|claimed| {
            let begin = match (call, &claimed.job.attempt) {
                (Call::Submit, Some(token)) => {
                    Begin::Submit { token: token.clone(), request_hash: request_hash.clone() }
                }
                _ => Begin::Free { call, next_at: pace(claimed) },
            };
            Change { job: claimed.job.id, input: Input::Begin(begin) }
        })
        .collect();
    let accounts = account.into_iter().chain(mark_call(runner)).collect();
    // A budget that was raised meanwhile counts at once.
    let spending = (call == Call::Submit).then(|| Arc::clone(&runner.setup().spending));
    let begun =
        match runner.shared.store.apply(Batch { at: now, changes, accounts, spending, ..Batch::default() }).await {
            Ok(begun) => begun,
            Err(error) => {
                store_failed(runner, &error, "no call is begun");
                if matches!(error, StoreError::Refused(_) | StoreError::Other(_)) {
                    outcome::not_begun(runner, call, set, &jobs).await;
                }
                // Without this pause a store that refuses at once would be asked in a tight loop.
                tokio::time::sleep(COMMIT_AGAIN).await;
                return None;
            }
        };
    let (mut begun_jobs, mut spent, mut changes) = (Vec::new(), None, Vec::new());
    for (claimed, result) in jobs.iter_mut().zip(begun) {
        let job = claimed.job.id;
        match result {
            Ok(job) => {
                claimed.job = job;
                begun_jobs.push(claimed.clone());
            }
            Err(ApplyError::Spent(refusal)) => spent = Some(refusal),
            Err(ApplyError::Equal(reason)) => changes.push(Change { job, input: Input::Hold { reason } }),
            Err(ApplyError::Refused(Refused::Overdue { .. })) => changes.push(Change { job, input: Input::Expire }),
            Err(error) => tracing::debug!(job = job.0, error = %error, "a job moved on before its call began"),
        }
    }
    if begun_jobs.len() == jobs.len() {
        return Some(jobs);
    }
    // Some did not begin: the request as it was built is not theirs. The others go back untouched.
    let accounts = spent.and_then(|spent| runner.budget_ends(begun_jobs.len(), spent));
    give_back(runner, call, &begun_jobs, due_at, (changes, accounts)).await;
    None
}

/// These began and nothing of them has left: they are as due as they were, and it counts as no call.
async fn give_back(
    runner: &Runner,
    call: Call,
    begun: &[Claimed],
    due_at: Timestamp,
    (mut changes, account): (Vec<Change>, Option<AccountChange>),
) {
    let now = runner.now();
    let outcome = match call {
        Call::Submit => Outcome::NotTaken {
            reason: Reason::new("regrouped", "not sent: its batch changed"),
            again_at: Some(due_at),
        },
        Call::Poll | Call::LookUp | Call::Cancel => Outcome::NotMade { due_at },
    };
    changes.extend(begun.iter().map(|claimed| Change {
        job: claimed.job.id,
        input: Input::End { turn: claimed.job.turn, call, outcome: outcome.clone() },
    }));
    commit(runner, Batch { accounts: account.into_iter().collect(), ..Batch::of(now, changes) }).await;
}

fn is_shut(runner: &Runner, call: Call, jobs: &[Claimed]) -> bool {
    runner.is_shut(call, jobs.iter().all(|claimed| claimed.job.traits.repeatable))
}

fn is_overdue(runner: &Runner, call: Call, jobs: &[Claimed]) -> bool {
    let now = runner.now();
    call == Call::Submit && jobs.iter().any(|claimed| claimed.job.deadline.is_some_and(|deadline| deadline <= now))
}

/// When the account called is stored before it calls, where that limits the next call: the distance survives a restart.
pub fn mark_call(runner: &Runner) -> Option<AccountChange> {
    (!runner.setup().limits.min_interval.is_zero()).then(|| runner.as_it_stands())
}

/// Waits until the account's next request may leave.
pub async fn keep_distance(runner: &Runner, setup: &AccountSetup) {
    let interval = setup.limits.min_interval;
    if interval.is_zero() {
        return;
    }
    let ready = runner.now();
    let mut last = runner.last_sent.lock().await;
    if let Some(at) = *last {
        runner.shared.clock.sleep_until(at + interval).await;
    }
    runner.shared.meters.limited(runner.name(), runner.now().since(ready));
    // It may have waited for its turn: the distance to the next one counts from here.
    runner.take_slot(runner.now());
    *last = Some(runner.now());
}

/// Sends it now; [`keep_distance`] comes first.
pub async fn send(
    runner: &Runner,
    setup: &AccountSetup,
    request: &Request,
    call: Option<Call>,
) -> (Timestamp, Result<Received, SendError>) {
    let sent_at = runner.now();
    crash::point_of(call.map_or("chore", Call::as_str), "before_send");
    let exchange = setup.client.send(request, call);
    if !crash::is(Mutant::CancelCutsSubmit) {
        return (sent_at, exchange.await);
    }
    tokio::select! {
        exchange = exchange => (sent_at, exchange),
        () = crash::cut() => (sent_at, Err(SendError::NotSent("opros is stopping".to_owned()))),
    }
}

async fn finish(asked: Asked<'_>, outcomes: Vec<Outcome>, accounts: Vec<AccountChange>, mut record: CallRecord) {
    let Asked { runner, setup, call, jobs, .. } = asked;
    let (word, reason) = outcomes.first().map_or(("nothing", None), describe);
    runner.shared.meters.request(runner.name(), call.as_str(), word, record.took);
    record.outcome = word.to_owned();
    record.note = reason.map(|reason| reason.message.chars().take(500).collect());
    if let Some((note, reason)) = record.note.as_ref().zip(reason) {
        tracing::info!(
            account = runner.name(),
            job = jobs[0].job.id.0,
            kind = jobs[0].job.kind,
            attempt = jobs[0].job.submissions,
            jobs = jobs.len(),
            call = call.as_str(),
            op = record.op,
            status = record.status,
            outcome = word,
            code = reason.code,
            ms = record.took.as_millis() as u64,
            reason = masked(note),
            "the call did not bring what was hoped for"
        );
    }
    if gives_back(call, &outcomes) {
        runner.reopen_budget();
    }
    let downloads =
        jobs.iter().zip(&outcomes).filter_map(|(claimed, outcome)| wish(runner, setup, claimed, outcome)).collect();
    let mut changes: Vec<Change> = jobs
        .iter()
        .zip(outcomes)
        .map(|(claimed, outcome)| Change {
            job: claimed.job.id,
            input: Input::End { turn: claimed.job.turn, call, outcome },
        })
        .collect();
    changes.extend(jobs.iter().filter_map(|claimed| {
        let job = claimed.job.id;
        Some(Change { job, input: runner.aside(job)? })
    }));
    commit(runner, Batch { at: runner.now(), changes, accounts, call: Some(record), downloads, ..Batch::default() })
        .await;
}

/// Whether some order turned out to cost nothing: the budget may have room again.
fn gives_back(call: Call, outcomes: &[Outcome]) -> bool {
    matches!(call, Call::Submit | Call::LookUp)
        && outcomes.iter().any(|outcome| {
            matches!(
                outcome,
                Outcome::NotTaken { .. }
                    | Outcome::AccountHeld { .. }
                    | Outcome::Absent { .. }
                    | Outcome::Ended(End::Failure { .. })
            )
        })
}

/// The document that a final answer names, where the account wants it.
fn wish(runner: &Runner, setup: &AccountSetup, claimed: &Claimed, outcome: &Outcome) -> Option<DownloadWish> {
    let Outcome::Ended(End::Success { result }) = outcome else { return None };
    // The result is in hand and is kept whatever the driver makes of it here.
    let url = runner.guarded(&[], "naming a document", || setup.driver.attachment(&claimed.job.kind, result))??;
    Some(DownloadWish { job: claimed.job.id, url })
}

/// An outcome is not lost while the process lives: it is offered to the store until it is taken or the daemon must stop. One
/// that the store refuses for what it is, again and again, is taken apart ([`outcome::take_apart`]).
pub async fn commit(runner: &Runner, batch: Batch) {
    let mut refusals = 0;
    let mut wait = COMMIT_AGAIN;
    loop {
        match runner.shared.store.apply(batch.clone()).await {
            Ok(results) => return committed(runner, results),
            Err(error) => {
                if store_failed(runner, &error, "the outcome of a call is kept in memory until it can be") {
                    return;
                }
                refusals =
                    if matches!(error, StoreError::Refused(_) | StoreError::Other(_)) { refusals + 1 } else { 0 };
                if refusals >= outcome::REFUSALS {
                    return outcome::take_apart(runner, batch).await;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(COMMIT_AGAIN_AT_LAST);
            }
        }
    }
}

pub fn committed(runner: &Runner, results: Vec<Result<Arc<Job>, ApplyError>>) {
    for result in results {
        match result {
            Ok(job) => {
                if job.deadline.is_some() && !job.state.is_final() {
                    runner.shared.deadlines.notify_one();
                }
                log_end(&job);
            }
            Err(error) => {
                tracing::warn!(account = runner.name(), error = %error, "an answer came too late to count")
            }
        }
    }
}

/// Logs, and stops the daemon when the store cannot be trusted any more; true when it was stopped.
pub fn store_failed(runner: &Runner, error: &StoreError, what: &str) -> bool {
    match error {
        StoreError::Io(_) | StoreError::Fenced { .. } | StoreError::Corrupt { .. } => {
            runner.shared.failstop.raise(error.to_string());
            true
        }
        StoreError::Closed => true,
        StoreError::Full(_)
        | StoreError::Busy(_)
        | StoreError::Replaced(_)
        | StoreError::Refused(_)
        | StoreError::Other(_) => {
            tracing::error!(account = runner.name(), error = %error, "the store did not commit: {what}");
            false
        }
    }
}

/// 128 random bits.
fn new_token() -> String {
    crate::store::random_hex(16)
}
