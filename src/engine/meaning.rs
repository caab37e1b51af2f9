//! What came back, or did not, and what it means for each job and for the account.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::account::Runner;
use super::bisect::{Fate, SetId};
use super::claim::Claimed;
use super::step::SILENCE;
use crate::domain::exchange::{Answer, Host, SendError};
use crate::domain::policy::Growth;
use crate::domain::state::{End, Observation, Outcome};
use crate::domain::{Call, Job, JobId, Reason, Timestamp};
use crate::http::Received;
use crate::store::AccountChange;
use crate::vendors::{JobView, Reading, Seen, Verdict};

/// What an answer means for one job.
#[derive(Debug, Clone)]
pub enum Meant {
    Outcome(Outcome),
    /// The batch was refused as a whole, with these words.
    Split(Reason),
}

/// Notes who spoils batches. The jobs of a refused batch keep the vendor's words and their place in the queue.
pub fn learn(
    runner: &Runner,
    call: Call,
    set: Option<SetId>,
    jobs: &[Claimed],
    meant: Vec<Meant>,
    oldest_due: Timestamp,
) -> Vec<Outcome> {
    let fate = |meant: &Meant| match meant {
        Meant::Split(_) => Fate::Split,
        Meant::Outcome(Outcome::NotTaken { .. } | Outcome::AccountHeld { .. }) => Fate::Untouched,
        Meant::Outcome(Outcome::Ended(End::Failure { .. })) => Fate::Failed,
        Meant::Outcome(_) => Fate::Other,
    };
    let fates: Vec<(JobId, Fate)> =
        jobs.iter().zip(&meant).map(|(claimed, meant)| (claimed.job.id, fate(meant))).collect();
    runner.bisect.learn(set, call, &fates);
    let outcome = |meant| match meant {
        Meant::Outcome(outcome) => outcome,
        Meant::Split(reason) => Outcome::NotTaken { reason, again_at: Some(oldest_due) },
    };
    meant.into_iter().map(outcome).collect()
}

/// What the exchange means for each job and for the account.
pub async fn class(
    runner: &Runner,
    call: Call,
    host: Host,
    jobs: &[Claimed],
    exchange: Result<Received, SendError>,
) -> (Vec<Meant>, Vec<AccountChange>) {
    let same = |outcome: Outcome| vec![Meant::Outcome(outcome); jobs.len()];
    let received = match exchange {
        Err(error @ SendError::NotSent(_)) => {
            let reason = Reason::new("not_sent", error.to_string());
            let change = runner.failed(host, reason.clone());
            return (same(Outcome::NotTaken { reason, again_at: None }), change.into_iter().collect());
        }
        Err(error @ SendError::Lost(_)) => {
            let reason = Reason::new("no_answer", error.to_string());
            let change = runner.failed(host, reason.clone());
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
            let change = runner.failed(host, reason.clone());
            (same(Outcome::Unclear { reason }), change.into_iter().collect())
        }
        _ => read(runner, call, host, jobs, answer).await,
    }
}

async fn read(
    runner: &Runner,
    call: Call,
    host: Host,
    jobs: &[Claimed],
    answer: &Answer,
) -> (Vec<Meant>, Vec<AccountChange>) {
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
        accounts.extend(runner.failed(host, reason.clone()));
        if answer.status == 503 {
            // No body of the vendor's: it provably did not take the request.
            let wait = answer.retry_after.unwrap_or_else(|| Growth::PROBES.nth(runner.account().breaker.failures));
            let (until, change) = runner.freeze(wait);
            accounts.extend(change);
            let not_taken = Meant::Outcome(Outcome::NotTaken { reason, again_at: Some(until) });
            return (vec![not_taken; jobs.len()], accounts);
        }
    } else {
        accounts.extend(runner.answered(host));
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
async fn outcomes(runner: &Runner, jobs: &[Claimed], verdicts: Vec<Verdict>) -> Vec<Meant> {
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
            Verdict::Outcome(outcome) => Meant::Outcome(outcome),
            Verdict::Split { reason } => Meant::Split(reason),
            Verdict::Seen(seen) => Meant::Outcome(observed(runner, &claimed.job, seen, before.get(&claimed.job.id))),
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
