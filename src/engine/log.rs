//! The words of the log about calls and jobs.

use crate::domain::privacy::masked;
use crate::domain::state::{End, Outcome};
use crate::domain::{Job, Reason, State};

/// An outcome in a word, and why, where that is not plain.
pub fn describe(outcome: &Outcome) -> (&'static str, Option<&Reason>) {
    match outcome {
        Outcome::NotTaken { reason, .. } => ("not_taken", Some(reason)),
        Outcome::AccountHeld { reason } => ("account_held", Some(reason)),
        Outcome::Unclear { reason } => ("unclear", Some(reason)),
        Outcome::UnknownError { reason } => ("unknown_error", Some(reason)),
        Outcome::NotMade { .. } => ("not_made", None),
        Outcome::Accepted { .. } => ("accepted", None),
        Outcome::Unchanged { .. } => ("unchanged", None),
        Outcome::Observed { .. } => ("observed", None),
        Outcome::Progressed { .. } => ("progressed", None),
        Outcome::Ended(End::Success { .. }) => ("succeeded", None),
        Outcome::Ended(End::Failure { reason, .. }) => ("failed", Some(reason)),
        Outcome::Found { .. } => ("found", None),
        Outcome::Absent { .. } => ("absent", None),
        Outcome::Told { .. } => ("told", None),
    }
}

/// One line for what people ask about: doubt and ends.
pub fn log_end(job: &Job) {
    let (id, kind, account, state) = (job.id.0, job.kind.as_str(), job.account.as_str(), job.state.as_str());
    match (job.state, &job.reason) {
        (State::InDoubt, Some(reason)) => tracing::warn!(
            job = id,
            kind,
            account,
            attempt = job.submissions,
            code = reason.code,
            reason = masked(&reason.message),
            "in doubt: the vendor may have taken it and been paid; it is not sent again by itself"
        ),
        (State::Failed | State::Expired, Some(reason)) => {
            tracing::info!(
                job = id,
                kind,
                account,
                state,
                code = reason.code,
                reason = masked(&reason.message),
                "the job has ended"
            );
        }
        (State::Succeeded | State::Cancelled | State::Failed | State::Expired, _) => {
            tracing::info!(job = id, kind, account, state, "the job has ended");
        }
        (State::Queued | State::Submitting | State::Waiting | State::InDoubt | State::Rejected, _) => {}
    }
}
