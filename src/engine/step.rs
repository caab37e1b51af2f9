//! One request from intent to commit: the flow that every paid call goes through.
//!
//! build → store the intent (fsynced) → send → read → commit the outcome. The task is never cancelled in between; what
//! stops the process in between is found in doubt at the next start.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::task::TaskTracker;

use super::account::Runner;
use super::claim::{Claimed, Group};
use crate::domain::exchange::{Answer, Request, SendError};
use crate::domain::policy::Growth;
use crate::domain::privacy::masked;
use crate::domain::state::{Begin, Input, Observation, Outcome};
use crate::domain::{Call, Job, JobId, Reason, State, Timestamp};
use crate::http::Received;
use crate::store::{AccountChange, Batch, CallRecord, Change, StoreError};
use crate::vendors::{AccountCall, AccountReading, JobView, Reading, Seen, Verdict};

/// How long to wait before an outcome that could not be committed is tried again.
const COMMIT_AGAIN: Duration = Duration::from_millis(500);
/// A vendor that says 429 without saying how long.
const SILENCE: Duration = Duration::from_secs(60);

pub fn spawn_call(runner: &Arc<Runner>, tracker: &TaskTracker, group: Group) {
    let occupied = runner.occupy(group.jobs.iter().map(|claimed| claimed.job.id).collect());
    let runner = Arc::clone(runner);
    tracker.spawn(async move {
        let jobs: Vec<JobId> = group.jobs.iter().map(|claimed| claimed.job.id).collect();
        if AssertUnwindSafe(make_call(&runner, group)).catch_unwind().await.is_err() {
            after_panic(&runner, jobs).await;
        }
        drop(occupied);
    });
}

/// A bug must not kill the daemon, and a job whose submit it cut off must not wait for a restart: it is in doubt now.
async fn after_panic(runner: &Runner, jobs: Vec<JobId>) {
    tracing::error!(
        account = runner.name(),
        jobs = jobs.len(),
        "a call panicked; what it may have submitted is in doubt. This is a bug of opros"
    );
    let changes = jobs.into_iter().map(|job| Change { job, input: Input::Recover }).collect();
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
    let Group { call, mut jobs, .. } = group;
    if call == Call::Submit {
        // The driver may put the token into the request, so it is there before the request is built.
        jobs.iter_mut().for_each(|claimed| claimed.job.attempt = Some(new_token()));
    }
    let Some(request) = build(runner, call, &jobs) else { return };
    let Some(jobs) = begin(runner, call, jobs, &request).await else { return };
    let (sent_at, exchange) = send(runner, &request, Some(call)).await;
    let record = CallRecord {
        account: runner.name().to_owned(),
        call: Some(call),
        op: request.op,
        job: (jobs.len() == 1).then(|| jobs[0].job.id),
        jobs: jobs.len(),
        at: sent_at,
        took: runner.now().since(sent_at),
        status: exchange.as_ref().ok().map(|received| received.answer.status),
        outcome: String::new(),
        note: None,
    };
    let (outcomes, accounts) = class(runner, call, &jobs, exchange).await;
    finish(runner, call, jobs, outcomes, accounts, record).await;
}

/// Builds the request; a driver that panics harms nothing but this call.
fn build(runner: &Runner, call: Call, jobs: &[Claimed]) -> Option<Request> {
    let views: Vec<JobView<'_>> = jobs.iter().map(Claimed::view).collect();
    let now = runner.now();
    let built = catch_unwind(AssertUnwindSafe(|| runner.driver().request(call, &views, now)));
    if built.is_err() {
        tracing::error!(
            account = runner.name(),
            job = jobs[0].job.id.0,
            "the vendor's driver panicked while it built a request"
        );
    }
    built.ok()
}

/// Commits that the call begins. Nothing is sent unless every job of it could begin.
async fn begin(runner: &Runner, call: Call, mut jobs: Vec<Claimed>, request: &Request) -> Option<Vec<Claimed>> {
    let now = runner.now();
    let request_hash = if call == Call::Submit { request.hash() } else { String::new() };
    let changes = jobs
        .iter()
        .map(|claimed| {
            let begin = match (call, &claimed.job.attempt) {
                (Call::Submit, Some(token)) => {
                    Begin::Submit { token: token.clone(), request_hash: request_hash.clone() }
                }
                _ => Begin::Free { call, next_at: runner.driver().pace(call, &claimed.view(), now) },
            };
            Change { job: claimed.job.id, input: Input::Begin(begin) }
        })
        .collect();
    let accounts = mark_call(runner).into_iter().collect();
    let begun = match runner.shared.store.apply(Batch { at: now, changes, accounts, call: None }).await {
        Ok(begun) => begun,
        Err(error) => {
            store_failed(runner, &error, "no call is begun");
            // Without this pause a store that refuses at once would be asked in a tight loop.
            tokio::time::sleep(COMMIT_AGAIN).await;
            return None;
        }
    };
    let mut all = true;
    for (claimed, result) in jobs.iter_mut().zip(begun) {
        match result {
            Ok(job) => claimed.job = job,
            Err(error) => {
                tracing::debug!(job = claimed.job.id.0, error = %error, "a job moved on before its call began");
                all = false;
            }
        }
    }
    if all {
        return Some(jobs);
    }
    // Some did not begin: the request as it was built is not theirs. The others go back untouched.
    let back = jobs.iter().filter(|claimed| claimed.job.state == State::Submitting).map(|claimed| Change {
        job: claimed.job.id,
        input: Input::End {
            turn: claimed.job.turn,
            call,
            outcome: Outcome::NotTaken {
                reason: Reason::new("regrouped", "not sent: its batch changed"),
                again_at: Some(now),
            },
        },
    });
    commit(runner, Batch::of(now, back.collect())).await;
    None
}

/// When the account called is stored before it calls, where that limits the next call: the distance survives a restart.
fn mark_call(runner: &Runner) -> Option<AccountChange> {
    (!runner.setup.limits.min_interval.is_zero()).then(|| runner.as_it_stands())
}

async fn send(runner: &Runner, request: &Request, call: Option<Call>) -> (Timestamp, Result<Received, SendError>) {
    let interval = runner.setup.limits.min_interval;
    if !interval.is_zero() {
        let mut last = runner.last_sent.lock().await;
        if let Some(at) = *last {
            runner.shared.clock.sleep_until(at + interval).await;
        }
        *last = Some(runner.now());
    }
    let sent_at = runner.now();
    (sent_at, runner.setup.client.send(request, call).await)
}

/// What the exchange means for each job and for the account.
async fn class(
    runner: &Runner,
    call: Call,
    jobs: &[Claimed],
    exchange: Result<Received, SendError>,
) -> (Vec<Outcome>, Vec<AccountChange>) {
    let same = |outcome: Outcome| vec![outcome; jobs.len()];
    let received = match exchange {
        Err(error @ SendError::NotSent(_)) => {
            let reason = Reason::new("not_sent", error.to_string());
            let change = runner.failed(reason.clone());
            return (same(Outcome::NotTaken { reason, again_at: None }), change.into_iter().collect());
        }
        Err(error @ SendError::Lost(_)) => {
            let reason = Reason::new("no_answer", error.to_string());
            let change = runner.failed(reason.clone());
            return (same(Outcome::Unclear { reason }), change.into_iter().collect());
        }
        Ok(received) => received,
    };
    let answer = &received.answer;
    match answer.status {
        429 => {
            let (until, change) = runner.freeze(answer.retry_after.unwrap_or(SILENCE));
            let reason = Reason::new("too_many_requests", "the vendor said 429: too many requests");
            (same(Outcome::NotTaken { reason, again_at: Some(until) }), change.into_iter().collect())
        }
        300..=399 => {
            let reason = Reason::new("redirect", format!("the vendor answered HTTP {} (a redirect)", answer.status));
            let change = runner.failed(reason.clone());
            (same(Outcome::Unclear { reason }), change.into_iter().collect())
        }
        _ => read(runner, call, jobs, answer).await,
    }
}

async fn read(runner: &Runner, call: Call, jobs: &[Claimed], answer: &Answer) -> (Vec<Outcome>, Vec<AccountChange>) {
    let views: Vec<JobView<'_>> = jobs.iter().map(Claimed::view).collect();
    let now = runner.now();
    let reading = catch_unwind(AssertUnwindSafe(|| runner.driver().read(call, &views, answer, now)))
        .unwrap_or_else(|_| driver_panicked(runner, jobs));
    let mut accounts = Vec::new();
    accounts.extend(reading.account.and_then(|news| runner.hear(news)));
    let unclear = reading.verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Outcome(Outcome::Unclear { reason }) => Some(reason.clone()),
        Verdict::Outcome(_) | Verdict::Seen(_) | Verdict::Split { .. } => None,
    });
    if let Some(reason) = unclear.filter(|_| !reading.readable) {
        accounts.extend(runner.failed(reason.clone()));
        if answer.status == 503 {
            // No body of the vendor's: it provably did not take the request.
            let wait = answer.retry_after.unwrap_or_else(|| Growth::PROBES.nth(runner.account().breaker.failures));
            let (until, change) = runner.freeze(wait);
            accounts.extend(change);
            return (vec![Outcome::NotTaken { reason, again_at: Some(until) }; jobs.len()], accounts);
        }
    } else {
        accounts.extend(runner.answered());
    }
    (outcomes(runner, jobs, reading.verdicts).await, accounts)
}

fn driver_panicked(runner: &Runner, jobs: &[Claimed]) -> Reading {
    tracing::error!(
        account = runner.name(),
        job = jobs[0].job.id.0,
        "the vendor's driver panicked while it read an answer"
    );
    let reason = Reason::new("driver_panicked", "opros could not read the vendor's answer: its driver panicked");
    Reading::all(jobs.len(), Outcome::Unclear { reason })
}

/// Verdicts into outcomes: what changed in an observation is found by comparing it with the one before.
async fn outcomes(runner: &Runner, jobs: &[Claimed], verdicts: Vec<Verdict>) -> Vec<Outcome> {
    let seen: Vec<JobId> = jobs
        .iter()
        .zip(&verdicts)
        .filter(|(claimed, verdict)| matches!(verdict, Verdict::Seen(_)) && claimed.job.seen.is_some())
        .map(|(claimed, _)| claimed.job.id)
        .collect();
    let before = if seen.is_empty() {
        Default::default()
    } else {
        runner.shared.store.last_observations(&seen).await.unwrap_or_else(|error| {
            tracing::error!(account = runner.name(), error = %error, "the last observation could not be read; the change is told without what was before");
            Default::default()
        })
    };
    jobs.iter()
        .zip(verdicts)
        .map(|(claimed, verdict)| match verdict {
            Verdict::Outcome(outcome) => outcome,
            Verdict::Split { reason } => Outcome::Unclear { reason },
            Verdict::Seen(seen) => observed(runner, &claimed.job, seen, before.get(&claimed.job.id)),
        })
        .collect()
}

fn observed(runner: &Runner, job: &Job, seen: Seen, before: Option<&String>) -> Outcome {
    let before = before.and_then(|text| serde_json::from_str(text).ok());
    let changes = runner.driver().changes(&job.kind, before.as_ref(), &seen.data);
    Outcome::Observed {
        observation: Observation { fingerprint: seen.fingerprint, data: seen.data.to_string(), changes, raw: seen.raw },
        memo: seen.memo,
        next_at: seen.next_at,
        end: seen.end.map(Box::new),
    }
}

async fn finish(
    runner: &Runner,
    call: Call,
    jobs: Vec<Claimed>,
    outcomes: Vec<Outcome>,
    accounts: Vec<AccountChange>,
    mut record: CallRecord,
) {
    let (word, note) = outcomes.first().map_or(("nothing", None), describe);
    record.outcome = word.to_owned();
    record.note = note.map(|text| text.chars().take(500).collect());
    if let Some(note) = &record.note {
        tracing::info!(
            account = runner.name(),
            job = jobs[0].job.id.0,
            jobs = jobs.len(),
            call = call.as_str(),
            op = record.op,
            status = record.status,
            outcome = word,
            ms = record.took.as_millis() as u64,
            reason = masked(note),
            "the call did not bring what was hoped for"
        );
    }
    let changes = jobs
        .iter()
        .zip(outcomes)
        .map(|(claimed, outcome)| Change {
            job: claimed.job.id,
            input: Input::End { turn: claimed.job.turn, call, outcome },
        })
        .collect();
    commit(runner, Batch { at: runner.now(), changes, accounts, call: Some(record) }).await;
}

/// An outcome is not lost while the process lives: it is offered to the store until it is taken or the daemon must stop.
async fn commit(runner: &Runner, batch: Batch) {
    loop {
        match runner.shared.store.apply(batch.clone()).await {
            Ok(results) => {
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
                return;
            }
            Err(error) => {
                if store_failed(runner, &error, "the outcome of a call is kept in memory until it can be") {
                    return;
                }
                tokio::time::sleep(COMMIT_AGAIN).await;
            }
        }
    }
}

/// Logs, and stops the daemon when the store cannot be trusted any more; true when it was stopped.
fn store_failed(runner: &Runner, error: &StoreError, what: &str) -> bool {
    match error {
        StoreError::Io(_) | StoreError::Fenced { .. } | StoreError::Corrupt { .. } => {
            runner.shared.failstop.raise(error.to_string());
            true
        }
        StoreError::Closed => true,
        StoreError::Full(_) | StoreError::Busy(_) | StoreError::Other(_) => {
            tracing::error!(account = runner.name(), error = %error, "the store did not commit: {what}");
            false
        }
    }
}

fn describe(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::NotTaken { reason, .. } => ("not_taken", Some(&reason.message)),
        Outcome::AccountHeld { reason } => ("account_held", Some(&reason.message)),
        Outcome::Unclear { reason } => ("unclear", Some(&reason.message)),
        Outcome::Accepted { .. } => ("accepted", None),
        Outcome::Unchanged { .. } => ("unchanged", None),
        Outcome::Observed { .. } => ("observed", None),
        Outcome::Progressed { .. } => ("progressed", None),
        Outcome::Ended(crate::domain::state::End::Success { .. }) => ("succeeded", None),
        Outcome::Ended(crate::domain::state::End::Failure { reason, .. }) => ("failed", Some(&reason.message)),
        Outcome::Found { .. } => ("found", None),
        Outcome::Absent { .. } => ("absent", None),
        Outcome::Told { .. } => ("told", None),
    }
}

/// One line for what people ask about: doubt and ends.
pub fn log_end(job: &Job) {
    let (id, kind, account, state) = (job.id.0, job.kind.as_str(), job.account.as_str(), job.state.as_str());
    match (job.state, &job.reason) {
        (State::InDoubt, Some(reason)) => tracing::warn!(
            job = id,
            kind,
            account,
            code = reason.code,
            reason = masked(&reason.message),
            "in doubt: the vendor may have taken it and been paid; it is not sent again by itself"
        ),
        (State::Failed | State::Expired, Some(reason)) => {
            tracing::info!(
                job = id,
                kind,
                account,
                state,
                code = reason.code,
                reason = masked(&reason.message),
                "the job has ended"
            );
        }
        (State::Succeeded | State::Cancelled | State::Failed | State::Expired, _) => {
            tracing::info!(job = id, kind, account, state, "the job has ended");
        }
        (State::Queued | State::Submitting | State::Waiting | State::InDoubt | State::Rejected, _) => {}
    }
}

/// 128 random bits.
fn new_token() -> String {
    crate::store::random_hex(16)
}

// ---- calls about the account itself ------------------------------------------------------------------------------

pub fn spawn_chore(runner: &Arc<Runner>, tracker: &TaskTracker, chore: AccountCall) {
    let occupied = runner.occupy(Vec::new());
    let runner = Arc::clone(runner);
    tracker.spawn(async move {
        make_chore(&runner, chore).await;
        drop(occupied);
    });
}

async fn make_chore(runner: &Runner, chore: AccountCall) {
    let Some(request) = runner.driver().account_request(chore, runner.now()) else { return };
    let mut accounts: Vec<AccountChange> = mark_call(runner).into_iter().collect();
    let (sent_at, exchange) = send(runner, &request, None).await;
    let status = exchange.as_ref().ok().map(|received| received.answer.status);
    let (outcome, note) = match exchange {
        Err(error) => {
            accounts.extend(runner.failed(Reason::new("no_answer", error.to_string())));
            ("unclear", Some(error.to_string()))
        }
        Ok(received) if received.answer.status == 429 => {
            let (_, change) = runner.freeze(received.answer.retry_after.unwrap_or(SILENCE));
            accounts.extend(change);
            ("not_taken", Some("the vendor said 429: too many requests".to_owned()))
        }
        Ok(received) => {
            let now = runner.now();
            let reading = catch_unwind(AssertUnwindSafe(|| runner.driver().read_account(chore, &received.answer, now)));
            hear_account(runner, reading.unwrap_or_default(), &mut accounts)
        }
    };
    let record = CallRecord {
        account: runner.name().to_owned(),
        call: None,
        op: request.op,
        job: None,
        jobs: 0,
        at: sent_at,
        took: runner.now().since(sent_at),
        status,
        outcome: outcome.to_owned(),
        note,
    };
    commit(runner, Batch { at: runner.now(), changes: Vec::new(), accounts, call: Some(record) }).await;
}

fn hear_account(
    runner: &Runner,
    reading: AccountReading,
    accounts: &mut Vec<AccountChange>,
) -> (&'static str, Option<String>) {
    if let Some(reason) = reading.unclear {
        accounts.extend(runner.failed(reason.clone()));
        return ("unclear", Some(reason.message));
    }
    accounts.extend(runner.answered());
    for news in reading.news {
        accounts.extend(runner.hear(news));
    }
    ("read", None)
}
