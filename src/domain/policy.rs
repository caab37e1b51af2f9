//! How long to wait: steps, doubling, backoff, and a spread that differs by job and never by chance.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JobId, Timestamp};

/// Ask every so often, for so long; then the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollStep {
    pub every: Duration,
    pub span: Duration,
}

/// The pause before the next poll of a job that was submitted `age` ago; none once all steps are over.
pub fn step_interval(steps: &[PollStep], age: Duration) -> Option<Duration> {
    let mut end = Duration::ZERO;
    for step in steps {
        end = end.saturating_add(step.span);
        if age < end {
            return Some(step.every);
        }
    }
    None
}

/// Waits that grow by a factor up to a ceiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    pub first: Duration,
    pub factor: f64,
    pub ceiling: Duration,
}

impl Growth {
    /// After transport errors of one job: 2 s, 4 s, 8 s … 5 min.
    pub const ERRORS: Growth = Growth { first: Duration::from_secs(2), factor: 2.0, ceiling: Duration::from_secs(300) };
    /// After refusals for now (429) that do not say for how long: 1 min, 2 min … 10 min.
    pub const SILENCES: Growth =
        Growth { first: Duration::from_secs(60), factor: 2.0, ceiling: Duration::from_secs(600) };
    /// Between the probes of an open breaker: 5 s, 10 s … 5 min.
    pub const PROBES: Growth = Growth { first: Duration::from_secs(5), factor: 2.0, ceiling: Duration::from_secs(300) };

    /// The `n`-th wait, counted from 1; never longer than the ceiling.
    pub fn nth(&self, n: u32) -> Duration {
        let power = self.factor.max(1.0).powi(n.saturating_sub(1).min(64) as i32);
        let wait = self.first.as_secs_f64() * power;
        if wait.is_finite() && wait < self.ceiling.as_secs_f64() { Duration::from_secs_f64(wait) } else { self.ceiling }
    }

    /// The wait that follows `last` when nothing changed.
    pub fn after(&self, last: Duration) -> Duration {
        last.mul_f64(self.factor.max(1.0)).clamp(self.first.min(self.ceiling), self.ceiling)
    }
}

/// When to try again after the `errors`-th error in a row, spread by up to a quarter so that jobs do not march in step.
pub fn retry_at(errors: u32, job: JobId, now: Timestamp) -> Timestamp {
    let wait = Growth::ERRORS.nth(errors);
    now + wait + spread(job, wait / 4)
}

/// A part of `span` that depends on the job alone: restarts and clock jumps keep it.
pub fn spread(job: JobId, span: Duration) -> Duration {
    // The multiplier of splitmix64 scatters neighbouring ids over the whole range.
    let scattered = (job.0 as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    span.mul_f64(scattered as f64 / f64::from(u32::MAX))
}

/// Consecutive failures that open an account's breaker.
pub const BREAKER_THRESHOLD: u32 = 3;

/// Errors of unknown meaning in a row that a paid one-shot survives at free calls; the next one ends it. With their waits of
/// 15 s, 45 s, 2, 7 and 15 minutes that is some 25 minutes of a vendor's bad moments.
pub const UNKNOWN_ERRORS_TOLERATED: u32 = 5;

/// How long a job rests after the `n`-th of them in a row, counted from 1.
pub fn unknown_error_wait(n: u32, job: JobId) -> Duration {
    const WAITS: Growth = Growth { first: Duration::from_secs(15), factor: 3.0, ceiling: Duration::from_secs(15 * 60) };
    let wait = WAITS.nth(n);
    wait + spread(job, wait / 4)
}
