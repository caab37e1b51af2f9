//! What came back, or did not, and what it means for each job and for the account.

use super::account::{AccountSetup, Runner};
use super::bisect::{Fate, SetId};
use super::claim::Claimed;
use crate::domain::exchange::{Host, SendError};
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

/// One exchange: who asked whom about what, by which setup, and when that left.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub runner: &'a Runner,
    /// The one that built the request reads its answer, whatever a reload brought since.
    pub setup: &'a AccountSetup,
    pub call: Call,
    pub host: Host,
    pub jobs: &'a [Claimed],
    pub began: Timestamp,
}

impl Asked<'_> {
    fn ids(&self) -> Vec<JobId> {
        self.jobs.iter().map(|claimed| claimed.job.id).collect()
    }

    fn same(&self, outcome: Outcome) -> Vec<Meant> {
        vec![Meant::Outcome(outcome); self.jobs.len()]
    }

    /// No whole readable answer of that host.
    fn failed(&self, reason: &Reason) -> Option<AccountChange> {
        self.runner.failed(self.host, reason.clone(), self.began)
    }
}

/// What the exchange means for each job and for the account.
pub async fn class(asked: Asked<'_>, exchange: Result<Received, SendError>) -> (Vec<Meant>, Vec<AccountChange>) {
    let Asked { runner, call, began, .. } = asked;
    let received = match exchange {
        Err(error @ SendError::NotSent(_)) => {
            let reason = Reason::new("not_sent", error.to_string());
            let change = asked.failed(&reason);
            return (asked.same(Outcome::NotTaken { reason, again_at: None }), change.into_iter().collect());
        }
        Err(error @ SendError::Lost(_)) => {
            let reason = Reason::new("no_answer", error.to_string());
            let change = asked.failed(&reason);
            return (asked.same(Outcome::Unclear { reason }), change.into_iter().collect());
        }
        Ok(received) => received,
    };
    match received.status() {
        429 => {
            let change = too_many_requests(runner, call.as_str(), &received, began);
            let reason = Reason::new("too_many_requests", "the vendor said 429: too many requests");
            (asked.same(Outcome::NotTaken { reason, again_at: Some(runner.now()) }), change.into_iter().collect())
        }
        status @ 300..=399 => {
            let reason = Reason::new("redirect", format!("the vendor answered HTTP {status} (a redirect)"));
            let change = asked.failed(&reason);
            (asked.same(Outcome::Unclear { reason }), change.into_iter().collect())
        }
        _ => read(asked, &received).await,
    }
}

/// 429, at whatever call: the account is silent for as long as the vendor asks, and never shorter than our own backoff.
pub fn too_many_requests(runner: &Runner, call: &str, received: &Received, began: Timestamp) -> Option<AccountChange> {
    let own = if received.retry_after().is_some() { Growth::PROBES } else { Growth::SILENCES };
    runner.refused_for_now(call, received.retry_after(), own, began)
}

/// 503 without a body of the vendor's, likewise.
pub fn unavailable(runner: &Runner, call: &str, received: &Received, began: Timestamp) -> Option<AccountChange> {
    runner.refused_for_now(call, received.retry_after(), Growth::PROBES, began)
}

async fn read(asked: Asked<'_>, received: &Received) -> (Vec<Meant>, Vec<AccountChange>) {
    let Asked { runner, setup, call, host, jobs, began } = asked;
    let views: Vec<JobView<'_>> = jobs.iter().map(Claimed::view).collect();
    let now = runner.now();
    let reading = runner
        .guarded(&asked.ids(), "reading an answer", || {
            received.read(|answer| setup.driver.read(call, &views, answer, now))
        })
        .filter(|reading| reading.verdicts.len() == jobs.len())
        .unwrap_or_else(|| unread(call, jobs.len()));
    let mut accounts = Vec::new();
    accounts.extend(reading.account.and_then(|news| runner.hear(news)));
    let unclear = reading.verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Outcome(Outcome::Unclear { reason }) => Some(reason.clone()),
        Verdict::Outcome(_) | Verdict::Seen(_) | Verdict::Split { .. } => None,
    });
    if let Some(reason) = unclear.filter(|_| !reading.readable) {
        accounts.extend(asked.failed(&reason));
        if received.status() == 503 {
            // No body of the vendor's: it provably did not take the request.
            accounts.extend(unavailable(runner, call.as_str(), received, began));
            return (asked.same(Outcome::NotTaken { reason, again_at: Some(now) }), accounts);
        }
    } else {
        accounts.extend(runner.answered(host, call.as_str()));
    }
    (outcomes(asked, reading.verdicts).await, accounts)
}

pub fn driver_panicked() -> Reason {
    Reason::new("driver_panicked", "opros could not read the vendor's answer: its driver panicked")
}

/// The driver panicked over the answer. That is no fault of the vendor's; where nothing was ordered the jobs of the request
/// are asked about in halves, until the one stands alone over which it panics.
fn unread(call: Call, jobs: usize) -> Reading {
    let reason = driver_panicked();
    let verdict = match call {
        Call::Poll | Call::LookUp | Call::Cancel if jobs > 1 => Verdict::Split { reason },
        _ => Outcome::Unclear { reason }.into(),
    };
    Reading { readable: true, ..Reading::all(jobs, verdict) }
}

/// Verdicts into outcomes: what changed in an observation is found by comparing it with the one before.
async fn outcomes(asked: Asked<'_>, verdicts: Vec<Verdict>) -> Vec<Meant> {
    let Asked { runner, setup, jobs, .. } = asked;
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
            Verdict::Seen(seen) => {
                Meant::Outcome(observed(runner, setup, &claimed.job, seen, before.get(&claimed.job.id)))
            }
        })
        .collect()
}

fn observed(runner: &Runner, setup: &AccountSetup, job: &Job, seen: Seen, before: Option<&String>) -> Outcome {
    let before: Option<serde_json::Value> = before.and_then(|text| serde_json::from_str(text).ok());
    let changes = || setup.driver.changes(&job.kind, before.as_ref(), &seen.data);
    // What the driver panics over is told as a whole.
    let changes = runner.guarded(&[], "comparing observations", changes);
    let changes = changes.unwrap_or_else(|| crate::vendors::lenient::diff(before.as_ref(), &seen.data));
    Outcome::Observed {
        observation: Observation { fingerprint: seen.fingerprint, data: seen.data.to_string(), changes, raw: seen.raw },
        memo: seen.memo,
        next_at: seen.next_at,
        end: seen.end.map(Box::new),
    }
}
