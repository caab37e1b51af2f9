//! Schedules: jobs that are ordered by the calendar.
//!
//! Architecture invariant: the store decides, not the clock and not a timer. Whoever ticks, and however often, each time of a
//! schedule is decided once, in the transaction that takes its job in. Of several times that came due unseen (the daemon was
//! down, the clock was set, the machine slept) only the newest is considered: nobody wants yesterday's orders in a row.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::Engine;
use crate::domain::calendar::Calendar;
use crate::domain::{NewJob, Timestamp};
use crate::store::upkeep::{Fired, Firing, FiringWork, KnownSchedule, LastFiring};
use crate::store::{Store, StoreError};

/// A time that is seen this late is on time: a start or a full disk may hold a tick up.
pub const ON_TIME: Duration = Duration::from_secs(60);
/// How many of the next times are shown.
const SHOWN: usize = 3;

/// What is done about a time that was not seen when it came due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfire {
    Skip,
    /// It is made up for, once and within the schedule's grace.
    Once,
}

impl Misfire {
    pub const fn as_str(self) -> &'static str {
        match self {
            Misfire::Skip => "skip",
            Misfire::Once => "once",
        }
    }
}

/// A schedule whose job the vendor's driver has checked.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub name: String,
    /// As it is configured.
    pub cron: String,
    pub calendar: Calendar,
    pub misfire: Misfire,
    pub grace: Duration,
    pub job: NewJob,
}

impl Schedule {
    /// Another pattern is another row of times; what came due by it before nobody has missed.
    fn definition(&self) -> String {
        format!("{} {}", self.calendar.zone(), self.cron)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    schedule: Arc<Schedule>,
    /// Times up to here are decided.
    through: Timestamp,
    next: Option<Timestamp>,
}

impl Entry {
    fn new(schedule: Arc<Schedule>, through: Timestamp) -> Self {
        let next = schedule.calendar.after(through);
        Self { schedule, through, next }
    }

    fn decided_through(&mut self, through: Timestamp) {
        *self = Entry::new(Arc::clone(&self.schedule), through);
    }
}

/// All schedules.
#[derive(Debug, Default)]
pub struct Timetable {
    entries: Mutex<Vec<Entry>>,
}

/// How a schedule stands.
#[derive(Debug, Clone)]
pub struct Standing {
    pub schedule: Arc<Schedule>,
    pub next: Vec<Timestamp>,
    pub last: Option<LastFiring>,
}

impl Timetable {
    /// Goes by these schedules from now on. One that is new begins now; one that was there knows what it missed.
    pub async fn set(&self, store: &dyn Store, now: Timestamp, schedules: Vec<Schedule>) -> Result<(), StoreError> {
        let mut entries = self.entries.lock().await;
        let mut new = Vec::with_capacity(schedules.len());
        for schedule in schedules {
            let definition = schedule.definition();
            let running = entries
                .iter()
                .find(|entry| entry.schedule.name == schedule.name && entry.schedule.definition() == definition);
            let through = match (running, store.schedule(&schedule.name).await?) {
                (Some(running), _) => running.through,
                (None, Some(known)) if known.definition == definition => known.through,
                (None, _) => {
                    store.keep_schedule(&schedule.name, KnownSchedule { definition, through: now }).await?;
                    now
                }
            };
            new.push(Entry::new(Arc::new(schedule), through));
        }
        *entries = new;
        Ok(())
    }

    /// Decides what has come due. Ticks that meet are one.
    pub async fn tick(&self, engine: &Engine) {
        let Ok(mut entries) = self.entries.try_lock() else { return };
        for entry in entries.iter_mut() {
            let now = engine.now();
            if entry.through > now {
                // The clock was set back. What is decided already the store knows.
                entry.decided_through(now);
            }
            if entry.next.is_none_or(|next| next > now) {
                continue;
            }
            if let Err(error) = decide(engine, entry, now).await {
                let schedule = entry.schedule.name.as_str();
                tracing::error!(schedule, error = %error, "a schedule is put off: the store did not answer");
            }
        }
    }

    /// How each schedule stands, in the order of the configuration.
    pub async fn standing(&self, engine: &Engine) -> Result<Vec<Standing>, StoreError> {
        let entries = self.entries.lock().await.clone();
        let mut last = engine.store().last_firings().await?;
        let now = engine.now();
        let standing = |entry: Entry| {
            let next = entry.schedule.calendar.from(now).take(SHOWN).collect();
            let last = last.remove(&entry.schedule.name);
            Standing { schedule: entry.schedule, next, last }
        };
        Ok(entries.into_iter().map(standing).collect())
    }
}

async fn decide(engine: &Engine, entry: &mut Entry, now: Timestamp) -> Result<(), StoreError> {
    let schedule = Arc::clone(&entry.schedule);
    let Some(due) = schedule.calendar.newest(entry.through, now) else {
        entry.decided_through(now);
        return Ok(());
    };
    let late = now.since(due);
    let made = late <= ON_TIME || (schedule.misfire == Misfire::Once && late <= schedule.grace);
    let what = if made { FiringWork::Job(Box::new(schedule.job.clone())) } else { FiringWork::Skip };
    let missed = schedule.calendar.count(entry.through, due).saturating_sub(1);
    let firing = Firing { schedule: schedule.name.clone(), due, now, missed, what };
    let fired = engine.store().fire_schedule(firing).await?;
    entry.decided_through(due);
    let (name, seconds) = (schedule.name.as_str(), late.as_secs());
    match fired {
        Fired::Before => tracing::debug!(schedule = name, due = %due, "this time was decided before"),
        Fired::New(job) => {
            tracing::info!(schedule = name, due = %due, job = job.0, seconds, missed, "a schedule ordered a job");
            engine.wake(&schedule.job.account);
        }
        Fired::Duplicate(job) => tracing::info!(
            schedule = name,
            due = %due,
            job = job.0,
            "a schedule orders nothing: its last job, or another with the same dedupe_key, has not ended yet"
        ),
        Fired::Skipped => tracing::warn!(
            schedule = name,
            due = %due,
            seconds,
            missed,
            "a schedule's time came due unseen and is let go; misfire = \"once\" would make up for it within its grace"
        ),
    }
    Ok(())
}
