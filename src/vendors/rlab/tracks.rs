//! `rlab.track`: reading the answers to a request about many tracks into one verdict for each.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::adding::{ALREADY_THERE, Adding, CONTRADICTION, PARTLY_ADDED, REFUSED};
use super::cadence::{self, Memo};
use super::refusal::{self, Refusal};
use super::status::DELIVERED;
use super::track_info::{Items, fingerprint, sight};
use super::wire::{Reply, ResultState};
use super::{Rlab, track_of};
use crate::domain::exchange::Answer;
use crate::domain::state::{End, Outcome};
use crate::domain::{Call, Job, Reason, Timestamp};
use crate::vendors::faults::finds_fault;
use crate::vendors::salvage::Last;
use crate::vendors::{AccountNews, JobView, Reading, Seen, Verdict, lenient};

/// "Part of it was deleted", and the vendor does not say which.
pub const PARTLY_DELETED: &str = "partly_deleted";
/// Looked at after a partial deletion: it is still there.
pub const STILL_THERE: &str = "still_there";

fn has_reason(job: &Job, code: &str) -> bool {
    job.reason.as_ref().is_some_and(|reason| reason.code == code)
}

/// Whether a deletion is first to be looked at, since the vendor spoke of a part.
pub fn checks_deletion(job: &Job) -> bool {
    has_reason(job, PARTLY_DELETED)
}

/// Whether a deletion is to be sent alone, so that its answer is about this track only.
pub fn deletes_alone(job: &Job) -> bool {
    has_reason(job, STILL_THERE)
}

/// One request's jobs and its answer.
struct Batch<'a> {
    driver: &'a Rlab,
    call: Call,
    jobs: &'a [JobView<'a>],
    reply: &'a Reply,
    now: Timestamp,
}

pub fn read(driver: &Rlab, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
    let last = match call {
        Call::Poll | Call::LookUp => Last::IsBroken,
        Call::Submit | Call::Cancel => Last::MayBeCut,
    };
    let reply = match Reply::read(answer, last) {
        Ok(reply) => reply,
        Err(reason) => return Reading::all(jobs.len(), lenient::unclear(reason)),
    };
    let batch = Batch { driver, call, jobs, reply: &reply, now };
    match call {
        Call::Submit => batch.added(),
        Call::Poll => batch.polled(),
        Call::LookUp => batch.looked_up(),
        Call::Cancel if jobs.first().is_some_and(|view| checks_deletion(view.job)) => batch.deletion_checked(),
        Call::Cancel => batch.deleted(),
    }
}

impl Batch<'_> {
    fn each(&self, verdict: impl Fn(&JobView<'_>) -> Verdict) -> Reading {
        Reading { account: None, readable: true, verdicts: self.jobs.iter().map(verdict).collect() }
    }

    /// The vendor answered in its own form, even where that settles nothing.
    fn all(&self, verdict: impl Into<Verdict>) -> Reading {
        Reading { readable: true, ..Reading::all(self.jobs.len(), verdict) }
    }

    /// How many different tracks the request spoke of: two jobs on one track share an item.
    fn tracks(&self) -> usize {
        self.jobs.iter().map(|view| track_of(view, self.call)).collect::<HashSet<_>>().len()
    }

    fn is_test(&self) -> bool {
        self.jobs.first().is_some_and(super::is_test)
    }

    /// `resultState` 2. A request of many is sent in halves until the bad track stands `alone`.
    fn refused(&self, alone: impl Fn(&JobView<'_>, Reason) -> Verdict) -> Reading {
        match refusal::sort(&self.driver.settings.common, self.reply.info.as_deref().unwrap_or_default()) {
            Refusal::Account { reason, money } => Reading {
                // Reading is free: when the vendor refuses even that for want of money, nothing can go on.
                account: Some(AccountNews::Pause {
                    reason: reason.clone(),
                    submits_only: money && self.call == Call::Submit,
                }),
                readable: true,
                verdicts: self.all(Outcome::AccountHeld { reason }).verdicts,
            },
            // "Wrong number, try again later": alone, it holds up none of the others.
            Refusal::Later(reason) if self.tracks() > 1 && finds_fault(&self.reply.words()) => {
                self.all(Verdict::Split { reason })
            }
            Refusal::Later(reason) => self.all(Outcome::NotTaken { reason, again_at: None }),
            Refusal::Item(reason) if self.tracks() > 1 => self.all(Verdict::Split { reason }),
            Refusal::Item(reason) => self.each(|view| alone(view, reason.clone())),
        }
    }

    /// The list of tracks; or what is true of every job without it.
    fn items(&self) -> Result<Items<'_>, Reading> {
        Items::of(self.reply).map_err(|reason| Reading::all(self.jobs.len(), lenient::unclear(reason)))
    }

    fn unclear(&self, code: &str, what: &str) -> Outcome {
        lenient::unclear(Reason::new(code, format!("{what}: {}", self.reply.words())))
    }

    // ---- addtrack ----------------------------------------------------------------------------------------------

    fn added(&self) -> Reading {
        match self.reply.state {
            ResultState::Done if self.reply.is_plain_success() => self.each(|view| self.accepted(view)),
            ResultState::Done => self.all(self.unclear(CONTRADICTION, "R-Lab's success contradicts itself")),
            ResultState::Partial => self.partly_added(),
            ResultState::Refused => self.refused(|view, reason| {
                // How a second adding of a track is answered is not documented. Should the words say "already", then
                // looking it up settles it: what is there is followed, what is not is added once more and then fails.
                let already = self.reply.words().to_lowercase().contains("уже");
                if already && !self.is_test() && adding(view) < Adding::AloneAgain {
                    return self.unclear(ALREADY_THERE, "R-Lab seems to have the track already").into();
                }
                failed(reason)
            }),
        }
    }

    fn accepted(&self, view: &JobView<'_>) -> Verdict {
        let track = track_of(view, Call::Submit);
        if self.is_test() {
            // Nothing was stored, so that there is nothing to follow.
            let result = json!({ "track": track, "test_mode": true, "checked": true, "answer": self.reply.whole });
            return Outcome::Ended(End::Success { result: result.to_string() }).into();
        }
        let next_at = cadence::first_poll(&self.driver.settings, view.job, self.now);
        Outcome::Accepted { remote_id: Some(track), memo: None, next_at }.into()
    }

    /// Which tracks were added is settled by `gettrackinfo`; each that it lacks is added again alone and told alone.
    fn partly_added(&self) -> Reading {
        let refused = || Reason::new(REFUSED, format!("R-Lab refused it: {}", self.reply.words()));
        if self.tracks() > 1 {
            if self.is_test() {
                // Checking stores nothing, so that there is nothing to look up.
                return self.all(Verdict::Split { reason: refused() });
            }
        } else if self.is_test()
            || self.reply.failed_items().is_some_and(|failed| failed > 0)
            || self.jobs.iter().all(|view| adding(view).is_alone())
        {
            return self.all(failed(refused()));
        }
        self.all(self.unclear(PARTLY_ADDED, "R-Lab added part of the tracks of this request; which ones is looked up"))
    }

    // ---- gettrackinfo ------------------------------------------------------------------------------------------

    fn looked_up(&self) -> Reading {
        if self.reply.state == ResultState::Refused {
            return self.refused(|_, reason| lenient::unclear(reason).into());
        }
        match self.items() {
            Ok(items) => self.each(|view| self.looked_up_one(view, &items)),
            Err(reading) => reading,
        }
    }

    fn looked_up_one(&self, view: &JobView<'_>, items: &Items<'_>) -> Verdict {
        let common = &self.driver.settings.common;
        let track = track_of(view, Call::LookUp);
        if self.is_test() {
            // The vendor stored nothing; a parcel of that number is another job's.
            return self.absent(view, true);
        }
        if items.get(&track).is_some() {
            let next_at = cadence::first_poll(&self.driver.settings, view.job, self.now);
            return Outcome::Found { remote_id: track, memo: None, next_at }.into();
        }
        if !items.complete {
            return self.unclear("incomplete_look_up", "the list does not prove that the track is absent").into();
        }
        self.absent(view, common.resubmit)
    }

    /// The look-up that completes the proof writes down how the track is to be added again; one before it must not, or the
    /// same doubt would count twice.
    fn absent(&self, view: &JobView<'_>, resubmit: bool) -> Verdict {
        let settle = self.driver.settings.common.settle;
        let before = Memo::of(view.job);
        let next = before.adding.after_absence(view.job);
        let news = next.filter(|next| *next != before.adding && view.job.absences > 0);
        let memo = news.and_then(|adding| Memo { adding, ..before }.to_json());
        Outcome::Absent { settle, resubmit: resubmit && next.is_some(), memo }.into()
    }

    fn polled(&self) -> Reading {
        if self.reply.state == ResultState::Refused {
            return self.refused(|view, reason| self.missed(view, reason));
        }
        match self.items() {
            Ok(items) => self.each(|view| self.polled_one(view, &items)),
            Err(reading) => reading,
        }
    }

    fn polled_one(&self, view: &JobView<'_>, items: &Items<'_>) -> Verdict {
        let track = track_of(view, Call::Poll);
        if let Some(item) = items.get(&track) {
            return self.sighted(view, &track, item);
        }
        if let Some(text) = items.broken(&track) {
            let message = format!("R-Lab's record of {track} cannot be read: {}", lenient::excerpt(text));
            return lenient::unclear(Reason::new("incomplete_list", message)).into();
        }
        if !items.readable {
            return self.unclear("incomplete_list", "R-Lab's list cannot be read as a whole").into();
        }
        let after = self.driver.settings.unknown_after.max(1);
        self.missed(
            view,
            Reason::new("unknown_to_vendor", format!("{after} answers of R-Lab in a row did not contain {track}")),
        )
    }

    fn sighted(&self, view: &JobView<'_>, track: &str, item: &Value) -> Verdict {
        let (settings, job) = (&self.driver.settings, view.job);
        let memo = Memo::of(job);
        let is_old = job.seen.as_deref() == Some(fingerprint(item).as_str());
        let delivered = lenient::integer_field(item, "trackMainStatus") == Some(DELIVERED);
        if is_old && !delivered && memo.grace_ends(settings).is_none_or(|end| end > self.now) {
            let found_again = (memo.missing > 0).then_some(Memo { missing: 0, ..memo });
            return self.unchanged(job, &memo, found_again);
        }
        let sight = sight(track, item);
        let success = || End::Success { result: sight.data.to_string() };
        if is_old {
            return Outcome::Ended(success()).into();
        }
        let news = cadence::changed(job, memo, sight.status, self.now);
        Verdict::Seen(Seen {
            end: delivered.then(success),
            fingerprint: sight.fingerprint,
            data: sight.data,
            raw: item.to_string(),
            memo: news.to_json(),
            next_at: cadence::next_poll(settings, job, &news, job.polls, self.now),
        })
    }

    /// The paced due time stands already on the row: where the notes stay too, nothing has to be written.
    fn unchanged(&self, job: &Job, memo: &Memo, news: Option<Memo>) -> Verdict {
        let next_at = job
            .due_at
            .filter(|due| *due > self.now)
            .unwrap_or_else(|| cadence::next_poll(&self.driver.settings, job, memo, job.polls, self.now));
        Outcome::Unchanged { memo: news.and_then(Memo::to_json), next_at: Some(next_at) }.into()
    }

    /// The answer says nothing of this track: pending at first, in the end the job's failure.
    fn missed(&self, view: &JobView<'_>, reason: Reason) -> Verdict {
        let memo = Memo::of(view.job);
        let news = Memo { missing: memo.missing.saturating_add(1), ..memo };
        if news.missing >= self.driver.settings.unknown_after {
            return failed(reason);
        }
        self.unchanged(view.job, &news, Some(news))
    }

    // ---- deltrack ----------------------------------------------------------------------------------------------

    fn deleted(&self) -> Reading {
        let told = |refused| Verdict::from(Outcome::Told { refused });
        match self.reply.state {
            ResultState::Done if self.reply.ok => self.all(told(None)),
            ResultState::Done => self.all(self.unclear(CONTRADICTION, "R-Lab's success contradicts itself")),
            ResultState::Partial if self.tracks() > 1 => {
                let message = format!("R-Lab deleted part of the tracks of this request: {}", self.reply.words());
                self.again(Reason::new(PARTLY_DELETED, message))
            }
            ResultState::Partial => {
                self.all(told(Some(Reason::new("vendor_refused", format!("R-Lab: {}", self.reply.words())))))
            }
            ResultState::Refused => self.refused(|_, reason| told(Some(reason))),
        }
    }

    /// After a partial deletion: who is gone has been deleted, who is still there is deleted alone.
    fn deletion_checked(&self) -> Reading {
        if self.reply.state == ResultState::Refused {
            return self.refused(|_, reason| lenient::unclear(reason).into());
        }
        let items = match self.items() {
            Ok(items) => items,
            Err(reading) => return reading,
        };
        self.each(|view| {
            let track = track_of(view, Call::Cancel);
            if items.get(&track).is_some() {
                let reason = Reason::new(STILL_THERE, format!("R-Lab still has {track}; it is deleted by itself"));
                return Outcome::NotTaken { reason, again_at: Some(self.now) }.into();
            }
            if !items.complete {
                return self.unclear(PARTLY_DELETED, "the list does not prove that the track is gone").into();
            }
            Outcome::Told { refused: None }.into()
        })
    }

    fn again(&self, reason: Reason) -> Reading {
        self.all(Outcome::NotTaken { reason, again_at: Some(self.now) })
    }
}

fn adding(view: &JobView<'_>) -> Adding {
    Memo::of(view.job).adding
}

fn failed(reason: Reason) -> Verdict {
    Outcome::Ended(End::Failure { reason, result: None }).into()
}

#[cfg(test)]
#[path = "tracks_tests.rs"]
mod tests;
