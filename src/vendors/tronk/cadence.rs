//! When to ask again: the account's steps, and the driver's notes on where a job stands in them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JobView;
use crate::domain::Timestamp;
use crate::domain::policy::{Growth, PollStep, step_interval};

/// How often a finished report is asked for what it still lacks (the link, the blocks) before the job does without.
pub(super) const FETCH_TRIES: u32 = 3;

/// No job is asked about more often than this, whatever is configured.
const SHORTEST: Duration = Duration::from_millis(1);

/// Which mode the next poll uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    #[default]
    Check,
    Get,
}

/// The driver's notes on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    pub stage: Stage,
    /// How many times the finished report was fetched in vain.
    #[serde(skip_serializing_if = "is_zero")]
    pub tries: u32,
    /// Since when the report is ready while its blocks are not: reportjson's clock starts here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Memo {
    pub(super) fn of(job: &JobView<'_>) -> Self {
        let memo: Memo = job.job.memo.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        // Without the answer that said "ready" there is nothing to finish with: ask for it again, which is free.
        if job.partial.is_none() { Memo { stage: Stage::Check, ..memo } } else { memo }
    }

    pub(super) fn fetch(self, tries: u32) -> Self {
        Self { stage: Stage::Get, tries, ..self }
    }

    pub(super) fn text(self) -> Option<String> {
        serde_json::to_string(&self).ok()
    }
}

/// The moment from which the steps count.
pub(super) fn clock_start(job: &JobView<'_>) -> Timestamp {
    Memo::of(job).ready_at.or(job.job.submitted_at).unwrap_or(job.job.created_at)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cadence<'a> {
    steps: &'a [PollStep],
}

impl<'a> Cadence<'a> {
    pub(super) fn new(steps: &'a [PollStep]) -> Self {
        Self { steps }
    }

    /// When to ask a job of this age again; none once all steps are over.
    pub(super) fn next(&self, age: Duration, now: Timestamp) -> Option<Timestamp> {
        step_interval(self.steps, age).map(|every| now + every.max(SHORTEST))
    }

    /// The same for a call that brings nothing: past the plan it keeps the last step, since an outage ends no job.
    pub(super) fn pace(&self, start: Timestamp, now: Timestamp) -> Timestamp {
        self.next(now.since(start), now)
            .unwrap_or_else(|| now + self.steps.last().map_or(Growth::ERRORS.first, |step| step.every).max(SHORTEST))
    }

    /// Between two fetches of a finished report: the shortest step, 10 s by default.
    pub(super) fn fetch_again(&self, now: Timestamp) -> Timestamp {
        now + self.steps.first().map_or(Growth::ERRORS.first, |step| step.every).max(SHORTEST)
    }
}
