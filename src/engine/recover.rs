//! The start: what was under way when the last run ended is found by its state, not by its age.
//!
//! The store has one owner, so a job that is `submitting` now was abandoned by a process that is gone.

use crate::clock::SharedClock;
use crate::crash;
use crate::domain::State;
use crate::domain::state::Input;
use crate::store::{Batch, Change, JobFilter, Store, StoreError};

/// How many jobs one transaction of the recovery takes.
const STEP: usize = 500;

/// Runs before anything is claimed. Returns how many jobs were under way.
pub async fn recover(store: &dyn Store, clock: &SharedClock) -> Result<usize, StoreError> {
    let mut found = 0;
    loop {
        let page =
            store.jobs(JobFilter { state: Some(State::Submitting), limit: STEP, ..JobFilter::default() }).await?;
        if page.jobs.is_empty() {
            return Ok(found);
        }
        let changes =
            page.jobs.iter().map(|details| Change { job: details.job.id, input: Input::Recover }).collect::<Vec<_>>();
        found += changes.len();
        crash::point("recover.found");
        #[cfg(feature = "crashtest")]
        let jobs = changes.iter().map(|change| change.job).collect();
        for result in store.apply(Batch::of(clock.now(), changes)).await? {
            match result {
                Ok(job) => super::log::log_end(&job),
                Err(error) => return Err(StoreError::Other(format!("a job could not be recovered: {error}"))),
            }
        }
        crash::point("recover.committed");
        #[cfg(feature = "crashtest")]
        if crash::is(crash::Mutant::NaiveResend) {
            super::mutants::resend(store, jobs, clock.now()).await;
        }
    }
}
