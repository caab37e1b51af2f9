//! Calendar work: retention and balances, fired by tokio-cron-scheduler.
//!
//! The crate ticks; the store decides. Each firing counts once for (schedule, fire time), so that neither a restart nor a
//! second tick of the same minute does the work twice.

use std::sync::Arc;
use std::time::Duration;

use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::crash;
use crate::domain::Timestamp;
use crate::store::{Retention, StoreError};
use crate::vendors::AccountCall;

/// Every minute, at its start: what is due in that minute is done in it.
const EVERY_MINUTE: &str = "0 * * * * *";
/// Retention is looked at this often.
const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// Runs calendar work until `stop`.
pub async fn run(engine: Engine, retention: Retention, stop: CancellationToken) -> Result<(), JobSchedulerError> {
    let mut scheduler = JobScheduler::new().await?;
    let ticking = engine.clone();
    scheduler
        .add(CronJob::new_async(EVERY_MINUTE, move |_, _| {
            let engine = ticking.clone();
            Box::pin(crash::watched("engine.calendar", async move { minute(&engine, retention).await }))
        })?)
        .await?;
    scheduler.start().await?;
    stop.cancelled().await;
    scheduler.shutdown().await
}

/// What a minute brings.
pub async fn minute(engine: &Engine, retention: Retention) {
    let now = engine.now();
    let runners = engine.runners().map(Arc::clone).collect::<Vec<_>>();
    for runner in runners {
        let Some(every) = runner.driver().balance_every() else { continue };
        if once(engine, &format!("balance:{}", runner.name()), every, now).await {
            runner.add_chore(AccountCall::Balance);
        }
    }
    if once(engine, "retention", RETENTION_EVERY, now).await {
        clean(engine, retention, now).await;
    }
}

/// True once in each span of `every`, counted from the epoch so that restarts agree on it.
async fn once(engine: &Engine, schedule: &str, every: Duration, now: Timestamp) -> bool {
    let every = (every.as_millis() as i64).max(1);
    let slot = Timestamp::from_millis(now.as_millis() / every * every);
    crash::point("schedule.before_firing");
    let fired = engine.store().fire(schedule, slot).await;
    crash::point("schedule.fired");
    match fired {
        Ok(first) => first,
        Err(error) => {
            tracing::error!(schedule, error = %error, "calendar work is put off: the store did not answer");
            false
        }
    }
}

/// Removes what is older than retention, in small steps with room for others between them.
pub async fn clean(engine: &Engine, retention: Retention, now: Timestamp) {
    let (mut jobs, mut events, mut calls) = (0, 0, 0);
    loop {
        match engine.store().retain(retention, now).await {
            Ok(removed) => {
                jobs += removed.jobs;
                events += removed.events;
                calls += removed.calls;
                if !removed.more {
                    break;
                }
            }
            Err(StoreError::Closed) => break,
            Err(error) => {
                tracing::error!(error = %error, "retention stops for now");
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    if jobs + events + calls > 0 {
        tracing::info!(jobs, events, calls, "retention removed what was old enough");
    }
}
