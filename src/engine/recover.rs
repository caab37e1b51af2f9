//! The start: what was under way when the last run ended is found by its state, not by its age.
//!
//! The store has one owner, so a job that is `submitting` now was abandoned by a process that is gone.

use std::collections::HashSet;

use crate::clock::SharedClock;
use crate::crash;
use crate::domain::state::Input;
use crate::domain::{JobId, State};
use crate::store::{Batch, Change, JobDetails, JobFilter, Store, StoreError, random_hex};

/// How many jobs one transaction of the recovery takes.
const STEP: usize = 500;

/// Runs before anything is claimed. Returns how many jobs were under way.
pub async fn recover(store: &dyn Store, clock: &SharedClock) -> Result<usize, StoreError> {
    settle_restored(store, clock).await?;
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

/// After an older copy was put back: what is not settled in it is in doubt, unless it is proven unsent or costs nothing twice.
/// Says how many came into doubt.
async fn settle_restored(store: &dyn Store, clock: &SharedClock) -> Result<usize, StoreError> {
    let Some(restored) = store.restored().await? else { return Ok(0) };
    let unsent: HashSet<JobId> = restored.unsent.into_iter().collect();
    let mut doubts = 0;
    // Of these even what was in doubt may have been settled, and sent again, since. It goes first: what the others bring into
    // doubt is not met again.
    for state in [State::InDoubt, State::Queued, State::Submitting] {
        doubts += doubt_all(store, clock, state, &unsent).await?;
    }
    store.settle_restored().await?;
    tracing::warn!(
        jobs = doubts,
        restored_at = %restored.at,
        "the store was put back from an older copy: what it held queued may have been sent since and is in doubt. Ask the \
         vendors; see: opros jobs --state in_doubt"
    );
    Ok(doubts)
}

async fn doubt_all(
    store: &dyn Store,
    clock: &SharedClock,
    state: State,
    unsent: &HashSet<JobId>,
) -> Result<usize, StoreError> {
    let (mut before, mut doubts) = (None, 0);
    loop {
        let filter = JobFilter { state: Some(state), before, limit: STEP, ..JobFilter::default() };
        let page = store.jobs(filter).await?;
        let doubtful = |details: &&JobDetails| !details.job.traits.repeatable && !unsent.contains(&details.job.id);
        let change = |details: &JobDetails| {
            let input = Input::Restored { token: random_hex(16) };
            Change { job: details.job.id, input }
        };
        let changes: Vec<Change> = page.jobs.iter().filter(doubtful).map(change).collect();
        doubts += changes.len();
        for result in store.apply(Batch::of(clock.now(), changes)).await? {
            result.map_err(|error| StoreError::Other(format!("a restored job could not be settled: {error}")))?;
        }
        before = page.next;
        if before.is_none() {
            return Ok(doubts);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::{NewJob, Timestamp, Traits};
    use crate::store::sqlite::SqliteStore;

    fn new_job() -> NewJob {
        NewJob {
            kind: "tronk.report".to_owned(),
            account: "tronk".to_owned(),
            traits: Traits::default(),
            params: "{}".to_owned(),
            priority: 5,
            not_before: None,
            deadline: None,
            dedupe_key: None,
            tag: None,
            mailbox_uid: None,
            retry_of: None,
            follow: None,
            asked: crate::domain::repeat::Asked::default(),
        }
    }

    /// Fault core B20: what the first passes brought into doubt was met, written and counted again by the last.
    #[tokio::test]
    async fn what_a_restore_brings_into_doubt_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let clock: SharedClock = Arc::new(ManualClock::new(now));
        let path = dir.path().join("opros.db");
        let store = SqliteStore::open(&path, true, Arc::clone(&clock)).await.unwrap();
        store.accept(vec![new_job(), new_job(), new_job()], now).await.unwrap();
        store.close().await;
        std::fs::remove_file(dir.path().join("opros.witness")).unwrap();
        let store = SqliteStore::open(&path, true, Arc::clone(&clock)).await.unwrap();
        assert_eq!(settle_restored(&store, &clock).await.unwrap(), 3);
        assert_eq!(settle_restored(&store, &clock).await.unwrap(), 0, "and settled once");
    }
}
