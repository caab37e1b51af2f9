//! What calls leave in the engine's instruments.

use super::account::Runner;
use super::claim::Claimed;
use crate::domain::state::Outcome;
use crate::domain::{Call, Timestamp};

/// When each of these jobs was observed last, before the look that begins now.
pub fn known(jobs: &[Claimed]) -> Vec<Timestamp> {
    jobs.iter().map(|claimed| claimed.job.last_observed()).collect()
}

/// A request begins: how long its jobs waited, and what is ordered by it.
pub fn begun(runner: &Runner, call: Call, jobs: &[Claimed], oldest_due: Timestamp) {
    let meters = &runner.shared.meters;
    meters.turn(runner.name(), call.as_str(), runner.now().since(oldest_due));
    if call == Call::Submit {
        jobs.iter().for_each(|claimed| meters.submission(runner.name(), &claimed.job.kind));
    }
}

/// Trackers that were observed by a look, changed or not.
pub fn observed(runner: &Runner, jobs: &[Claimed], known: &[Timestamp], outcomes: &[Outcome]) {
    let now = runner.now();
    for ((claimed, known), outcome) in jobs.iter().zip(known).zip(outcomes) {
        let seen = matches!(outcome, Outcome::Observed { .. } | Outcome::Unchanged { .. });
        if seen && claimed.job.traits.tracker {
            let at = now.as_millis() as f64 / 1000.0;
            runner.shared.meters.observed(runner.name(), &claimed.job.kind, at, now.since(*known));
        }
    }
}
