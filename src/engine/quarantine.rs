//! A driver that panics harms one job: what strikes twice is set aside, and an operator lets it go again.
//!
//! Drivers are pure, so that a panic over a job comes again at the next try. How often a job struck is remembered here only;
//! that it is set aside stands in its row, without a due time, and outlives a restart.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::account::Runner;
use crate::domain::state::{Input, QUARANTINED};
use crate::domain::{JobId, Reason};

/// The second time is no accident.
const STRIKES: u32 = 2;
/// Beyond so many all are forgotten: they strike again.
const MOST: usize = 10_000;

/// Which jobs of an account struck, and how often.
#[derive(Debug, Default)]
pub struct Quarantine(Mutex<HashMap<JobId, u32>>);

impl Quarantine {
    /// It struck; true when it has to be set aside.
    pub fn strike(&self, job: JobId) -> bool {
        let mut strikes = self.lock();
        if strikes.len() >= MOST {
            strikes.clear();
        }
        let count = strikes.entry(job).or_default();
        *count += 1;
        *count >= STRIKES
    }

    pub fn has_struck_out(&self, job: JobId) -> bool {
        self.lock().get(&job).is_some_and(|count| *count >= STRIKES)
    }

    /// It is released, and begins anew.
    pub fn forget(&self, job: JobId) {
        self.lock().remove(&job);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets a job aside, with what to do about it.
pub fn set_aside(job: JobId, what: &str) -> Input {
    let message = format!(
        "{what}. This is a bug of opros: please report it. Nothing is done with the job any more until: opros release {job}"
    );
    Input::Hold { reason: Reason::new(QUARANTINED, message) }
}

impl Runner {
    /// Asks the driver something about these jobs. None: it panicked, which counts against a job that is asked about alone.
    pub fn guarded<T>(&self, jobs: &[JobId], doing: &'static str, ask: impl FnOnce() -> T) -> Option<T> {
        let answer = catch_unwind(AssertUnwindSafe(ask));
        if answer.is_err() {
            tracing::error!(
                account = self.name(),
                job = jobs.first().map(|job| job.0),
                jobs = jobs.len(),
                doing,
                "the vendor's driver panicked. This is a bug of opros"
            );
            if let [job] = jobs {
                self.quarantine.strike(*job);
            }
        }
        answer.ok()
    }

    /// The input that sets the job aside, when it struck too often.
    pub fn aside(&self, job: JobId) -> Option<Input> {
        let what =
            "opros failed twice on this job: its vendor's driver panicked, or the store refused to note its call";
        self.quarantine.has_struck_out(job).then(|| set_aside(job, what))
    }
}
