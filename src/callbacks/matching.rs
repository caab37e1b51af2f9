//! Whose call-back it is.
//!
//! An id that we know names the job. Without one, VIN and check type do, the oldest waiting job first. A job that has
//! ended takes a late call-back only if no live one fits.

use serde_json::Value;

use super::parse::Callback;
use crate::domain::{Job, JobId, State, Timestamp};
use crate::vendors::lenient;
use crate::vendors::vagvin::{self, catalogue};

/// A job that a call-back could be for: of the call-back's account, with its VIN or one of its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: JobId,
    pub state: State,
    pub vin: String,
    pub check_type: String,
    /// What the vendor calls it, and what we called it when we ordered.
    pub ids: Vec<String>,
    /// When the vendor took it; for one in doubt, when it was made.
    pub since: Timestamp,
    /// A call-back is attached already: of two jobs that ended, the other one is first.
    pub served: bool,
}

impl Candidate {
    /// `params`: as the driver normalised them.
    pub fn new(job: &Job, params: &Value, served: bool) -> Self {
        let text = |name: &str| lenient::string_field(params, name).unwrap_or_default();
        let memo = job.memo.as_deref().and_then(lenient::parse).unwrap_or_default();
        let remembered = memo.get("ids").and_then(Value::as_array).into_iter().flatten().filter_map(lenient::string);
        let mut ids: Vec<String> = job.remote_id.iter().cloned().chain(remembered).collect();
        ids.push(vagvin::token_of(job));
        Self {
            id: job.id,
            state: job.state,
            vin: text("vin"),
            check_type: text("check_type"),
            ids,
            since: job.submitted_at.unwrap_or(job.created_at),
            served,
        }
    }

    /// How well its state suits a call-back, the best first; none where none can be for it.
    fn rank(&self) -> Option<Rank> {
        match self.state {
            State::Waiting => Some(Rank::Waiting),
            State::InDoubt => Some(Rank::InDoubt),
            State::Submitting => Some(Rank::Submitting),
            State::Expired | State::Cancelled | State::Failed if !self.served => Some(Rank::Ended),
            State::Expired | State::Cancelled | State::Failed => Some(Rank::Served),
            // Nothing was sent, or it was answered.
            State::Queued | State::Rejected | State::Succeeded => None,
        }
    }
}

/// A job in doubt comes after those that the vendor surely took: if both were taken, the second call-back is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Waiting,
    InDoubt,
    Submitting,
    Ended,
    Served,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Match {
    /// It is this job's.
    Job(JobId),
    /// It seems to be this job's, whose submit has no answer yet: match again when it has.
    Later(JobId),
    /// It names this job, which has its answer: it belongs there and changes nothing.
    Answered(JobId),
    /// Nobody's that we know: it is kept, and matched again when another job appears.
    Nobody,
}

/// The one job that a call-back belongs to.
pub fn choose(callback: &Callback, candidates: &[Candidate]) -> Match {
    let chosen = by_id(callback, candidates).or_else(|| by_car(callback, candidates));
    match chosen.map(|candidate| (candidate.state, candidate.id)) {
        Some((State::Submitting, id)) => Match::Later(id),
        Some((State::Succeeded, id)) => Match::Answered(id),
        Some((_, id)) => Match::Job(id),
        None => Match::Nobody,
    }
}

/// An id that several jobs carry is the client's or the queue's, not an order's, and names nobody.
fn by_id<'a>(callback: &Callback, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let mut named = candidates.iter().filter(|candidate| candidate.ids.iter().any(|id| callback.ids.contains(id)));
    let only = named.next().filter(|_| named.next().is_none())?;
    let same_car = callback.vin.as_ref().is_none_or(|vin| *vin == only.vin);
    // Not to a neighbour of the same car, if the job that it names has been answered.
    (same_car && (only.rank().is_some() || only.state == State::Succeeded)).then_some(only)
}

fn by_car<'a>(callback: &Callback, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let vin = callback.vin.as_ref().filter(|vin| !vin.is_empty())?;
    let of_car = || candidates.iter().filter(|candidate| candidate.vin == *vin);
    // A word that is neither in the vendor's table nor in any order of this car is not the check type that we know.
    let check_type = callback.check_type.as_deref().filter(|given| {
        catalogue::check(given).is_some() || of_car().any(|candidate| same_type(&candidate.check_type, given))
    });
    of_car()
        .filter(|candidate| check_type.is_none_or(|given| same_type(&candidate.check_type, given)))
        .filter_map(|candidate| candidate.rank().map(|rank| (rank, candidate)))
        .min_by_key(|(rank, candidate)| (*rank, candidate.since, candidate.id))
        .map(|(_, candidate)| candidate)
}

fn same_type(ours: &str, given: &str) -> bool {
    ours.trim().to_lowercase() == given.trim().to_lowercase()
}

#[cfg(test)]
mod tests;
