//! Deadlines: whatever its account does, a job whose deadline has passed ends as `expired`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::account::Shared;
use super::log;
use super::wake::Rest;
use crate::crash;
use crate::domain::state::Input;
use crate::store::{Batch, Change, StoreError};

const STEP: usize = 500;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Ends overdue jobs until `stop`.
pub async fn run(shared: Shared, stop: CancellationToken) {
    while !stop.is_cancelled() {
        shared.deadlines.begin_look();
        let next = match expire(&shared).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = %error, "deadlines could not be checked");
                Some(shared.clock.now() + LOOK_AGAIN)
            }
        };
        shared.deadlines.rest(next.map_or(Rest::Woken, Rest::Until));
        shared.rested.notify_waiters();
        let timer = async {
            match next {
                Some(at) => shared.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.deadlines.notified() => {}
            () = timer => {}
        }
    }
}

/// Expires what is overdue; returns when to look again.
pub async fn expire(shared: &Shared) -> Result<Option<crate::domain::Timestamp>, StoreError> {
    loop {
        let now = shared.clock.now();
        let overdue = shared.store.overdue(now, STEP).await?;
        if overdue.is_empty() {
            // Jobs that are being sent are not among them: the end of their call wakes this again.
            return shared.store.next_deadline().await;
        }
        crash::point("sweep.found");
        let changes = overdue.into_iter().map(|job| Change { job, input: Input::Expire }).collect();
        for job in shared.store.apply(Batch::of(now, changes)).await?.into_iter().flatten() {
            log::log_end(&job);
        }
        crash::point("sweep.expired");
    }
}
