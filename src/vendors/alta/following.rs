//! One tracked job between two calls: what `track_list` says of it, and what is asked next.

use std::time::Duration;

use crate::domain::policy::spread;
use crate::domain::state::Outcome;
use crate::domain::{Job, Timestamp};
use crate::vendors::JobView;

use super::cadence::{Cadence, Schedule};
use super::memo::{Ending, Memo};
use super::terms::{Terms, Until};
use super::wire::{Entry, TrackList};

/// Failures in a row after which a job is shown by itself instead of through the list.
const LIST_PATIENCE: u32 = 2;
/// How long a job does without the list after the list failed it.
const LIST_REST: Duration = Duration::from_secs(5 * 60);
/// How long after it refused, or lacked the hash.
const LIST_LONG_REST: Duration = Duration::from_secs(60 * 60);
/// "Up to a day" in Central Asia and China, and half a day more; then the wait for the first data is no hurry.
const FIRST_DATA: Duration = Duration::from_secs(36 * 60 * 60);
/// The list is trusted, but not for ever: a hash is shown this often whatever the list says.
const SWEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// The same where no times of reports are known.
const SWEEP_BLINDLY: Duration = Duration::from_secs(6 * 60 * 60);
/// The list's dates are cut to the minute: within it a report may still be changing.
const MINUTE: Duration = Duration::from_secs(60);

/// Whether this job's next poll is a line of `track_list` (shared) or a `show` of its own.
pub fn asks_list(job: &Job) -> bool {
    job.errors < LIST_PATIENCE && Memo::of(job).show.is_none()
}

/// The hashes of a job: a mixed order has two, joined by a plus.
pub fn hashes(job: &Job) -> Vec<String> {
    let text = job.remote_id.as_deref().unwrap_or_default();
    let parts: Vec<String> =
        text.split(['+', ',', ' ']).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if parts.is_empty() { vec![text.to_owned()] } else { parts }
}

#[derive(Debug)]
pub struct Following<'a> {
    pub cadence: &'a Cadence,
    pub job: &'a Job,
    pub terms: Terms,
    pub schedule: Schedule,
    pub memo: Memo,
    pub now: Timestamp,
}

impl<'a> Following<'a> {
    pub fn new(cadence: &'a Cadence, view: &JobView<'a>, now: Timestamp) -> Self {
        let terms = Terms::of(view.params);
        let mut memo = Memo::of(view.job);
        memo.marks.resize(hashes(view.job).len(), None);
        Self { cadence, job: view.job, schedule: terms.schedule(), terms, memo, now }
    }

    /// When the vendor took it, or the following began.
    pub fn started(&self) -> Timestamp {
        self.job.submitted_at.unwrap_or(self.job.created_at)
    }

    /// The user's time has come.
    pub fn is_over(&self) -> bool {
        matches!(self.terms.until(), Until::Time(at) if at <= self.now)
    }

    // ---- what the list says -------------------------------------------------------------------------------------

    pub fn listed(mut self, list: &TrackList) -> Outcome {
        let entries: Option<Vec<&Entry>> = hashes(self.job).iter().map(|hash| list.entries.get(hash)).collect();
        let next_at = match entries {
            Some(entries) => self.in_list(&entries),
            None => self.not_in_list(list.complete),
        };
        self.unchanged(next_at)
    }

    /// The list is refused or cannot be had: plain `show` at the cadence goes on.
    pub fn without_list(mut self) -> Outcome {
        self.memo.list_from = Some(self.now + LIST_LONG_REST);
        let next_at = self.rest(false);
        self.unchanged(next_at)
    }

    fn unchanged(self, next_at: Timestamp) -> Outcome {
        Outcome::Unchanged { memo: self.memo.news(self.job), next_at: Some(next_at) }
    }

    fn not_in_list(&mut self, complete: bool) -> Timestamp {
        self.memo.list_from = Some(self.now + LIST_LONG_REST);
        // What was there and on track has left: one look at the vehicles tells whether for good.
        if complete && self.memo.listed && !self.memo.gone {
            self.memo.gone = true;
            return self.round();
        }
        self.rest(false)
    }

    fn in_list(&mut self, entries: &[&Entry]) -> Timestamp {
        self.memo.gone = false;
        let processed = entries.iter().all(|entry| entry.done());
        // A new request may stand there before its tracking began: an off counts after an on, or once it is processed.
        let off = entries.iter().all(|entry| entry.on_track == Some(false))
            && (self.memo.listed || self.terms.followed() || processed);
        self.memo.listed |= entries.iter().any(|entry| entry.on_track == Some(true));
        if off {
            self.memo.last = Some(Ending::Untracked);
            return self.news(entries);
        }
        let mut in_works = false;
        let mut news = false;
        for (entry, mark) in entries.iter().zip(&mut self.memo.marks) {
            if entry.status == Some(2) {
                // Whatever the date will be: what comes out of the works is shown.
                in_works = true;
                *mark = None;
            } else if entry.done() {
                news |= mark.as_deref() != Some(entry.mark.as_str());
            }
        }
        if news && !in_works {
            return self.news(entries);
        }
        if !in_works && self.wants_sweep() { self.round() } else { self.rest(in_works) }
    }

    /// Something is new behind the job's hashes: they are shown, as soon as their floor allows.
    fn news(&mut self, entries: &[&Entry]) -> Timestamp {
        for (entry, mark) in entries.iter().zip(&mut self.memo.marks).filter(|(entry, _)| entry.done()) {
            *mark = Some(entry.mark.clone());
        }
        self.memo.modified = entries.iter().map(|entry| entry.modified).min().flatten();
        let settled = self.memo.modified.map_or(self.now, |at| (at + MINUTE).min(self.now + MINUTE));
        self.round().max(settled)
    }

    /// Nothing new is listed, yet a look is due: a report that should have come, or a list trusted for long enough.
    fn wants_sweep(&self) -> bool {
        let started = self.started();
        let missed = self.schedule.last(self.now).is_some_and(|due| {
            let closed = due + self.cadence.due_window;
            due > started && closed <= self.now && self.memo.reported < due && self.memo.shown < closed
        });
        let patience = if self.schedule.is_empty() { SWEEP_BLINDLY } else { SWEEP };
        missed || self.memo.shown.max(started) + patience <= self.now
    }

    // ---- what is asked next -------------------------------------------------------------------------------------

    /// Every hash of the job is shown, from the first on.
    pub fn round(&mut self) -> Timestamp {
        self.memo.show = Some(0);
        if self.is_over() && self.memo.last.is_none() {
            self.memo.last = Some(Ending::Until);
        }
        self.earliest()
    }

    /// The list failed this job again and again: it does without for a while.
    pub fn distrust_list(&mut self) {
        self.memo.list_from = Some(self.now + LIST_REST);
    }

    /// When the floor between two `show` is over. The mark is taken when the answer is there, so it errs on the late side.
    fn earliest(&self) -> Timestamp {
        if self.memo.shown == Timestamp::MIN {
            return self.now;
        }
        self.now.max(self.memo.shown + self.cadence.between_shows())
    }

    /// Nothing is left to be shown now: when is the job looked at again, and how?
    pub fn rest(&mut self, in_works: bool) -> Timestamp {
        if self.is_over() {
            return self.round();
        }
        let by_list = self.memo.list_from.is_none_or(|from| from <= self.now);
        let next = if by_list {
            self.memo.show = None;
            self.memo.list_from = None;
            self.next_list(in_works)
        } else {
            self.memo.show = Some(0);
            self.next_show()
        };
        match self.terms.until() {
            Until::Time(at) if at < next => at.max(self.earliest()),
            Until::Time(_) | Until::Untracked | Until::Arrived | Until::FirstReport => next,
        }
    }

    /// The account's jobs meet at common ticks and share a request.
    fn next_list(&self, in_works: bool) -> Timestamp {
        if in_works || self.is_due() {
            return self.cadence.busy_tick(self.now);
        }
        let idle = self.cadence.idle_tick(self.now);
        self.schedule.next(self.now).map_or(idle, |opens| idle.min(self.cadence.busy_tick(opens)))
    }

    /// Spread by job, so that hashes do not march in step.
    fn next_show(&self) -> Timestamp {
        if self.is_due() {
            return self.earliest().max(self.now + self.cadence.between_shows());
        }
        let idle = self.cadence.idle_every;
        let idle = self.now + idle * 7 / 8 + spread(self.job.id, idle / 4);
        let opens = self.schedule.next(self.now).map(|opens| opens + spread(self.job.id, self.cadence.show_every));
        opens.map_or(idle, |opens| idle.min(opens)).max(self.earliest())
    }

    /// A report is due: the first data, or the one of the newest time until it is in or its window closes.
    fn is_due(&self) -> bool {
        let started = self.started();
        if !self.memo.begun && self.now < started + FIRST_DATA {
            return true;
        }
        self.schedule
            .last(self.now)
            .is_some_and(|due| due > started && self.now < due + self.cadence.due_window && self.memo.reported < due)
    }
}
