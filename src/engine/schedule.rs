//! Calendar work: schedules, backups, retention and balances, fired by tokio-cron-scheduler.
//!
//! The crate ticks; the store decides. Each firing counts once for (schedule, fire time), so that neither a restart nor a
//! second tick of the same minute does the work twice.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::backup::Backups;
use crate::crash;
use crate::domain::Timestamp;
use crate::store::{Retention, StoreError};
use crate::vendors::AccountCall;

/// Every minute, at its start: what is due in that minute is done in it.
const EVERY_MINUTE: &str = "0 * * * * *";
/// Retention is looked at this often.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const LONGEST_CLEANING: Duration = Duration::from_secs(50);
/// Half the longest wait between two of its steps.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Schedules may name seconds.
const EVERY_SECOND: &str = "* * * * * *";

/// What calendar work goes by; a reload changes both.
#[derive(Debug, Clone)]
pub struct Chores {
    pub retention: watch::Receiver<Retention>,
    pub backups: Backups,
}

/// Runs calendar work until `stop`.
pub async fn run(engine: Engine, chores: Chores, stop: CancellationToken) -> Result<(), JobSchedulerError> {
    let mut scheduler = JobScheduler::new().await?;
    let (ticking, of_minute) = (engine.clone(), chores.retention.clone());
    scheduler
        .add(CronJob::new_async(EVERY_MINUTE, move |_, _| {
            let (engine, retention) = (ticking.clone(), *of_minute.borrow());
            Box::pin(crash::watched("engine.calendar", async move { minute(&engine, retention).await }))
        })?)
        .await?;
    scheduler
        .add(CronJob::new_async(EVERY_SECOND, move |_, _| {
            let (engine, backups) = (engine.clone(), chores.backups.clone());
            Box::pin(crash::watched("engine.seconds", async move { second(&engine, &backups).await }))
        })?)
        .await?;
    scheduler.start().await?;
    stop.cancelled().await;
    scheduler.shutdown().await
}

/// What a second brings. While the daemon drains, nothing is ordered any more.
pub async fn second(engine: &Engine, backups: &Backups) {
    // A leap is seen, and shown, before anything old is looked for.
    if let Err(error) = engine.store().may_remove(engine.now()).await {
        tracing::debug!(error = %error, "the store did not note the time");
    }
    if !engine.is_stopping() && !engine.failstop().is_raised() {
        engine.timetable().tick(engine).await;
        backups.tick(engine).await;
    }
}

/// What a minute brings.
pub async fn minute(engine: &Engine, retention: Retention) {
    let now = engine.now();
    for runner in engine.runners() {
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

/// Removes what is older than retention, in small steps with room for others between them. What a minute has no time for
/// the next goes on with.
pub async fn clean(engine: &Engine, retention: Retention, now: Timestamp) {
    match engine.store().may_remove(now).await {
        Ok(true) => {}
        // Said once, where it was found.
        Ok(false) => return,
        Err(error) => {
            tracing::error!(error = %error, "retention is put off: the store did not answer");
            return;
        }
    }
    let (mut jobs, mut events, mut calls, mut pages) = (0, 0, 0, 0);
    let until = Instant::now() + LONGEST_CLEANING;
    while !engine.is_stopping() {
        let begun = Instant::now();
        match engine.store().retain(retention, now).await {
            Ok(removed) => {
                jobs += removed.jobs;
                events += removed.events;
                calls += removed.calls;
                pages += removed.pages;
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
        if begun > until {
            break;
        }
        // Two thirds of the time belong to those who order and ask.
        tokio::time::sleep(2 * begun.elapsed().min(LONGEST_REST)).await;
    }
    if jobs + events + calls + pages > 0 {
        tracing::info!(jobs, events, calls, pages, "retention removed what was old enough");
    }
}
