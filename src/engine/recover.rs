//! The start: what was under way when the last run ended is found by its state, not by its age.
//!
//! The store has one owner, so a job that is `submitting` now was abandoned by a process that is gone.

use crate::clock::SharedClock;
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
        for result in store.apply(Batch::of(clock.now(), changes)).await? {
            match result {
                Ok(job) => super::log::log_end(&job),
                Err(error) => return Err(StoreError::Other(format!("a job could not be recovered: {error}"))),
            }
        }
    }
}

/// Runs before anything is claimed, on a store that was put back from an older copy: what was to be sent by the time that its
/// newer self still worked may have been sent by that. Done once; a crash in the middle does it again.
pub async fn doubt_what_may_have_been_sent(store: &dyn Store, clock: &SharedClock) -> Result<usize, StoreError> {
    let Some(newer) = store.restored().await? else { return Ok(0) };
    let (mut found, mut before) = (0, None);
    loop {
        let filter = JobFilter { state: Some(State::Queued), limit: STEP, before, ..JobFilter::default() };
        let page = store.jobs(filter).await?;
        let jobs = page.jobs.iter().map(|details| &details.job);
        // What is free is simply sent; what was not due by then was not sent; what is held waits for an operator anyhow.
        let may_be_out = jobs.filter(|job| !job.traits.repeatable && job.due_at.is_some_and(|due| due <= newer));
        let changes: Vec<Change> = may_be_out
            .map(|job| Change { job: job.id, input: Input::Restored { token: crate::store::random_hex(16) } })
            .collect();
        found += changes.len();
        for result in store.apply(Batch::of(clock.now(), changes)).await? {
            match result {
                Ok(job) => super::log::log_end(&job),
                Err(error) => return Err(StoreError::Other(format!("a job could not be doubted: {error}"))),
            }
        }
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    store.set_restored(None).await?;
    Ok(found)
}
