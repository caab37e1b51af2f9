//! Freshness: a tracker that was not observed for as long as its account's `stale_after` is announced, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::account::Shared;
use crate::domain::state::Input;
use crate::domain::{Job, JobId, Timestamp};
use crate::store::{Batch, Change, StoreError};

const STEP: usize = 500;
/// New trackers, and those that are fresh again, are found this soon.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Where an account has no objective, its trackers are looked at this often, in case that it has one by then.
const UNCONCERNED: Duration = Duration::from_secs(30 * 86_400);

/// Watches until `stop`. What `objectives` says, by account, may change at any time.
pub async fn run(
    shared: Shared,
    objectives: impl Fn() -> BTreeMap<String, Duration> + Send,
    changed: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut known = BTreeMap::new();
    while !stop.is_cancelled() {
        let now = shared.clock.now();
        let wanted = objectives();
        // One that is new, or shorter than it was, counts for the trackers that are watched already, too.
        for (account, after) in &wanted {
            if known.get(account).is_some_and(|before| before <= after) {
                continue;
            }
            if let Err(error) = shared.store.watch_within(account, *after).await {
                tracing::error!(account, error = %error, "a new stale_after counts for older trackers only later");
            }
        }
        known = wanted;
        let next = match look(&shared, &known).await {
            Ok(next) => {
                next.map_or(now + LOOK_EVERY, |next| next.clamp(now + Duration::from_secs(1), now + LOOK_EVERY))
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(error = %error, "freshness could not be looked at");
                now + LOOK_EVERY
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = changed.notified() => {}
            () = shared.clock.sleep_until(next) => {}
        }
    }
}

/// Looks at all watches that are due; says when the next one is.
async fn look(shared: &Shared, objectives: &BTreeMap<String, Duration>) -> Result<Option<Timestamp>, StoreError> {
    loop {
        let now = shared.clock.now();
        let due = shared.store.due_watches(now, STEP).await?;
        if due.is_empty() {
            return shared.store.next_watch().await;
        }
        let (mut again, mut stale) = (Vec::new(), Vec::new());
        for job in &due {
            match judge(job, objectives.get(&job.account).copied(), now) {
                Verdict::Again(at) => again.push((job.id, at)),
                Verdict::Stale(input) => stale.push(Change { job: job.id, input }),
            }
        }
        let called: Vec<JobId> = stale.iter().map(|change| change.job).collect();
        if !stale.is_empty() {
            let results = shared.store.apply(Batch::of(now, stale)).await?;
            for (job, result) in called.into_iter().zip(results) {
                match result {
                    Ok(job) => {
                        shared.meters.went_stale(&job.account);
                        tracing::warn!(
                            job = job.id.0,
                            kind = job.kind,
                            account = job.account,
                            "the tracker was not observed for longer than its account's stale_after; see: opros explain {}",
                            job.id
                        );
                    }
                    // It was observed, or ended, meanwhile.
                    Err(_) => again.push((job, Some(now + LOOK_EVERY))),
                }
            }
        }
        shared.store.watch_again(again).await?;
    }
}

enum Verdict {
    /// Look again then, or never.
    Again(Option<Timestamp>),
    Stale(Input),
}

fn judge(job: &Job, objective: Option<Duration>, now: Timestamp) -> Verdict {
    if job.state.is_final() {
        return Verdict::Again(None);
    }
    let Some(after) = objective else { return Verdict::Again(Some(now + UNCONCERNED)) };
    let stale_at = job.last_observed() + after;
    if stale_at > now { Verdict::Again(Some(stale_at)) } else { Verdict::Stale(Input::Stale { after }) }
}
