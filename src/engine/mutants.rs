//! The planted mistakes that need code of their own; there with the feature `crashtest` only.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::crash::{self, Mutant};
use crate::domain::state::{Input, Outcome, Resolution};
use crate::domain::{Call, JobId, Reason, State, Timestamp};
use crate::store::{Batch, Change, JobFilter, Store};

/// What has been on its way for longer is sent again by [`Mutant::RescueByTime`].
const TOO_LONG: Duration = Duration::from_millis(300);

pub fn plant(inner: &Arc<Inner>) {
    if crash::is(Mutant::RescueByTime) {
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            loop {
                rescue(&inner).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

async fn rescue(inner: &Inner) {
    let (store, now) = (&inner.shared.store, inner.shared.clock.now());
    let filter = JobFilter { state: Some(State::Submitting), limit: 100, ..JobFilter::default() };
    let Ok(page) = store.jobs(filter).await else { return };
    let old = page.jobs.into_iter().map(|details| details.job).filter(|job| job.updated_at + TOO_LONG < now);
    let again = |turn| Input::End {
        turn,
        call: Call::Submit,
        outcome: Outcome::NotTaken { reason: Reason::new("rescued", "it took too long"), again_at: Some(now) },
    };
    let changes = old.map(|job| Change { job: job.id, input: again(job.turn) }).collect();
    let _ = store.apply(Batch::of(now, changes)).await;
}

/// [`Mutant::NaiveResend`]: what was interrupted goes out again as if it had never left.
pub async fn resend(store: &dyn Store, jobs: Vec<JobId>, now: Timestamp) {
    let again = |job| Change { job, input: Input::Resolve(Resolution::Resubmit) };
    let _ = store.apply(Batch::of(now, jobs.into_iter().map(again).collect())).await;
}
