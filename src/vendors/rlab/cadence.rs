//! When a track is asked for again, from the job's row alone: nothing is kept in memory, so that restarts change nothing.
//!
//! The wait follows from how many polls were made since the last change. So the due time that is written when a poll begins
//! is the one that holds if the poll brings nothing new, and an unchanged answer needs no write at all.

use serde::{Deserialize, Serialize};

use super::Settings;
use super::adding::Adding;
use super::status::{is_at_counter, is_near_end};
use crate::domain::policy::{Growth, spread};
use crate::domain::{Job, Timestamp};

/// The driver's notes on a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memo {
    /// While the vendor does not have it: how it is to be added.
    #[serde(skip_serializing_if = "Adding::is_usual")]
    pub adding: Adding,
    /// How many polls had been made at the last change: the wait grows from there.
    #[serde(skip_serializing_if = "is_zero")]
    pub base: u32,
    /// `trackMainStatus` as last observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// In status 3 or 9: when the last change was observed. The grace counts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Complete answers in a row that lacked the track.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u32,
}

// The signature is serde's.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Memo {
    /// Notes that cannot be read are none: the wait starts over, which costs a few polls and loses nothing.
    pub fn of(job: &Job) -> Memo {
        job.memo.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub fn to_json(self) -> Option<String> {
        serde_json::to_string(&self).ok()
    }

    /// When a track in status 3 or 9 has been left alone for long enough.
    pub fn grace_ends(&self, settings: &Settings) -> Option<Timestamp> {
        self.since.map(|since| since + settings.grace)
    }
}

/// The first poll after the vendor took it: anywhere from half of `poll_first` to one and a half, by the job's number, so
/// that tracks added in one minute come due over as long a time as their first wait.
pub fn first_poll(settings: &Settings, job: &Job, now: Timestamp) -> Timestamp {
    let first = settings.poll_first;
    now + first / 2 + spread(job.id, first)
}

/// When to ask again after the `polls`-th poll, were nothing new to come.
pub fn next_poll(settings: &Settings, job: &Job, memo: &Memo, polls: u32, now: Timestamp) -> Timestamp {
    let wait = if memo.status.is_some_and(is_at_counter) {
        settings.poll_at_counter
    } else {
        let growth =
            Growth { first: settings.poll_first, factor: settings.poll_factor, ceiling: settings.poll_ceiling };
        growth.nth(polls.saturating_sub(memo.base).saturating_add(1))
    };
    // Up to an eighth sooner: tracks that changed in step (a lorry's load) drift apart, and no wait exceeds the ceiling.
    let next = now + (wait - spread(job.id, wait / 8));
    match memo.grace_ends(settings) {
        Some(end) if end > now => next.min(end),
        _ => next,
    }
}

/// Notes after an observation. The first sight of a parcel is no change: nothing is known to have moved.
pub fn changed(job: &Job, before: Memo, status: Option<i64>, now: Timestamp) -> Memo {
    let base = if job.seen.is_some() { job.polls } else { before.base };
    Memo { base, status, since: status.filter(|status| is_near_end(*status)).map(|_| now), ..Memo::default() }
}

#[cfg(test)]
#[path = "cadence_tests.rs"]
mod tests;
