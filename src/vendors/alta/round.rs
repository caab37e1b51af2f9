//! A round of `show`: every hash of a job once, read together, compared with what was seen.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::exchange::Answer;
use crate::domain::policy::Growth;
use crate::domain::state::{End, Outcome};
use crate::domain::{Reason, Timestamp};
use crate::vendors::{AccountNews, JobView, Reading, Seen, Verdict, lenient};

use super::faults::{Fault, Faults};
use super::following::{Following, hashes};
use super::memo::Ending;
use super::terms::Until;
use super::vehicle::Dislocation;
use super::wire::{self, Envelope, Refusal};

/// After refusals of `show`: 5, 10, 20 minutes.
const REFUSED: Growth = Growth { first: Duration::from_secs(300), factor: 2.0, ceiling: Duration::from_secs(20 * 60) };
/// Refusals in a row after which a round goes on without that hash.
const PATIENCE: u32 = 3;

/// What one hash of a round answered; kept as it came until the round is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Part {
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl Part {
    fn dislocation(&self) -> Dislocation {
        let mut found = Dislocation::default();
        if let Some(body) = &self.body {
            let answer = Answer { status: 200, content_type: None, retry_after: None, body: body.clone().into() };
            if let Ok(Envelope::Ok { head, items, .. }) = wire::envelope_of_poll(&answer) {
                found = Dislocation::read(&head, items);
            }
        }
        if let Some(text) = &self.refused {
            found.unreadable.insert(self.hash.clone(), text.clone());
        }
        found
    }
}

/// Which of the job's hashes `show` is due for.
pub fn position(following: &Following<'_>) -> usize {
    let last = hashes(following.job).len().saturating_sub(1);
    following.memo.show.unwrap_or(0).min(last)
}

pub fn read(mut following: Following<'_>, view: &JobView<'_>, faults: &Faults, answer: &Answer) -> Reading {
    let refusal = match wire::envelope_of_poll(answer) {
        Err(reason) => return Reading::one(Outcome::Unclear { reason }),
        Ok(Envelope::Ok { .. }) => None,
        Ok(Envelope::Refused(refusal)) => Some(refusal),
    };
    let at = position(&following);
    if following.memo.show.is_none() {
        following.distrust_list();
    }
    let hash = hashes(following.job).get(at).cloned().unwrap_or_default();
    let round = Round { following, at, hash, earlier: earlier(view) };
    match refusal {
        None => {
            let body = Some(lenient::answer_text(answer).into_owned());
            Reading::one(round.shown(body))
        }
        Some(refusal) => round.refused(&refusal, faults.sort(&refusal)),
    }
}

fn earlier(view: &JobView<'_>) -> Vec<Part> {
    view.partial.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

struct Round<'a> {
    following: Following<'a>,
    at: usize,
    hash: String,
    /// What the hashes before this one answered in this round.
    earlier: Vec<Part>,
}

impl Round<'_> {
    fn shown(mut self, body: Option<String>) -> Verdict {
        let at = self.at;
        self.following.memo.mute.retain(|mute| *mute != at);
        let part = Part { hash: self.hash.clone(), body, refused: None };
        self.answered(part)
    }

    // ---- refusals -----------------------------------------------------------------------------------------------

    fn refused(self, refusal: &Refusal, fault: Fault) -> Reading {
        let reason = match fault {
            Fault::Access => return Reading::held(1, refusal.reason("no_access")),
            Fault::Money => refusal.reason("no_money"),
            Fault::Transient | Fault::Broken => refusal.reason("vendor_busy"),
            Fault::Permanent | Fault::Unknown => refusal.reason("vendor_refused"),
        };
        // Daily tracking without money: no new orders, but what is under way is asked for.
        let account =
            (fault == Fault::Money).then(|| AccountNews::Pause { reason: reason.clone(), submits_only: true });
        Reading { account, readable: true, verdicts: vec![self.show_refused(reason, fault)] }
    }

    fn show_refused(mut self, reason: Reason, fault: Fault) -> Verdict {
        let job = self.following.job;
        let several = hashes(job).len() > 1;
        let permanent = fault == Fault::Permanent;
        let silent = self.following.memo.mute.contains(&self.at);
        if !permanent && !silent && job.errors + 1 < PATIENCE {
            return self.slowly(reason);
        }
        if several {
            if !silent {
                self.following.memo.mute.push(self.at);
            }
            let part = Part { hash: self.hash.clone(), body: None, refused: Some(reason.message) };
            return self.answered(part);
        }
        if let Some(ending) = self.ending_anyway() {
            return end_without_data(ending, job.seen.is_some()).into();
        }
        if permanent {
            return Outcome::Ended(End::Failure { reason, result: None }).into();
        }
        self.slowly(reason)
    }

    fn slowly(&self, reason: Reason) -> Verdict {
        let wait = REFUSED.nth(self.following.job.errors + 1).min(self.following.cadence.idle_every);
        Outcome::NotTaken { reason, again_at: Some(self.following.now + wait) }.into()
    }

    /// Whether the job ends here even if the vendor shows nothing any more.
    fn ending_anyway(&self) -> Option<Ending> {
        let memo = &self.following.memo;
        let gone = memo.gone.then_some(Ending::Untracked);
        memo.last.or(gone).or(self.following.is_over().then_some(Ending::Until))
    }

    // ---- a round comes together ---------------------------------------------------------------------------------

    fn answered(mut self, part: Part) -> Verdict {
        let now = self.following.now;
        self.following.memo.shown = now;
        let mut parts = if self.at == 0 { Vec::new() } else { std::mem::take(&mut self.earlier) };
        let known = hashes(self.following.job);
        if parts.len() != self.at || parts.iter().zip(&known).any(|(part, hash)| part.hash != *hash) {
            // What the earlier hashes answered is lost: the round starts over.
            let next_at = self.following.round();
            return Outcome::Unchanged { memo: self.following.memo.text(), next_at: Some(next_at) }.into();
        }
        parts.push(part);
        if self.at + 1 < known.len() {
            self.following.memo.show = Some(self.at + 1);
            let partial = serde_json::to_string(&parts).ok();
            return Outcome::Progressed { partial, memo: self.following.memo.text(), next_at: now }.into();
        }
        self.complete(&parts)
    }

    fn complete(mut self, parts: &[Part]) -> Verdict {
        let found = parts.iter().map(Part::dislocation).fold(Dislocation::default(), Dislocation::join);
        if found.vehicles.is_empty() {
            return self.empty_handed(&found);
        }
        let fingerprint = found.fingerprint();
        let fresh = self.following.job.seen.as_deref() != Some(fingerprint.as_str());
        self.note(&found, fresh);
        let ending = self.ending(&found);
        let next_at = if ending.is_some() { self.following.now } else { self.following.rest(false) };
        let end = ending.map(|ending| End::Success { result: result(found.data(), ending) });
        let memo = self.following.memo.text();
        match end {
            _ if fresh => Verdict::Seen(Seen { fingerprint, data: found.data(), raw: raw(parts), memo, next_at, end }),
            Some(end) => Outcome::Ended(end).into(),
            None => Outcome::Unchanged { memo, next_at: Some(next_at) }.into(),
        }
    }

    /// An answer without vehicles is no observation.
    fn empty_handed(mut self, found: &Dislocation) -> Verdict {
        if let Some(ending) = self.ending_anyway() {
            return end_without_data(ending, self.following.job.seen.is_some()).into();
        }
        let mut next_at = self.following.rest(found.query_status == Some(2));
        if !found.unreadable.is_empty() {
            next_at = next_at.max(self.following.now + REFUSED.ceiling.min(self.following.cadence.idle_every));
        }
        Outcome::Unchanged { memo: self.following.memo.text(), next_at: Some(next_at) }.into()
    }

    fn note(&mut self, found: &Dislocation, fresh: bool) {
        let now = self.following.now;
        let memo = &mut self.following.memo;
        memo.begun = true;
        memo.rolled |= found.vehicles.values().any(|vehicle| vehicle.on_track == Some(1));
        if found.query_status == Some(2) {
            // Processing began again after the list was read: what comes out of it is shown too.
            memo.marks.fill(None);
        }
        match memo.modified.filter(|_| memo.list_from.is_none()) {
            Some(modified) => memo.reported = memo.reported.max(modified),
            None if fresh => memo.reported = now,
            None => {}
        }
    }

    // ---- ends ---------------------------------------------------------------------------------------------------

    fn ending(&self, found: &Dislocation) -> Option<Ending> {
        let memo = &self.following.memo;
        let over = self.following.is_over().then_some(Ending::Until);
        // A vehicle whose record cannot be read may still be on its way.
        let off = found.broken == 0 && found.vehicles.values().all(|vehicle| vehicle.on_track == Some(0));
        let untracked = off && (memo.rolled || memo.gone);
        let wished = match self.following.terms.until() {
            Until::Arrived if self.all_arrived(found) => Some(Ending::Arrived),
            Until::FirstReport if self.is_first_report(found) => Some(Ending::FirstReport),
            Until::Arrived | Until::FirstReport | Until::Untracked | Until::Time(_) => None,
        };
        wished.or(memo.last).or(untracked.then_some(Ending::Untracked)).or(over)
    }

    /// At the station that the user named, or taken off by the vendor after it had been on track.
    fn all_arrived(&self, found: &Dislocation) -> bool {
        let stop = self.following.terms.stop_code();
        found.broken == 0
            && found.vehicles.values().all(|vehicle| {
                let there = stop.is_some_and(|code| vehicle.is_at(code));
                there || (vehicle.on_track == Some(0) && self.following.memo.rolled)
            })
    }

    /// Before the first scheduled report, Alta may show what it knew before the order.
    fn is_first_report(&self, found: &Dislocation) -> bool {
        if !found.done() {
            return false;
        }
        let started = self.following.started();
        let newer = |at: Timestamp| at > started;
        let moved = found
            .vehicles
            .values()
            .any(|vehicle| vehicle.op_date.as_deref().and_then(lenient::moscow_time).is_some_and(newer));
        let reported = self.following.schedule.next(started).is_some_and(|due| self.following.memo.reported >= due);
        self.following.terms.followed() || moved || reported
    }
}

fn result(mut data: Value, ending: Ending) -> String {
    data["ended"] = json!(ending);
    data.to_string()
}

/// The end of a job whose last `show` brought nothing: what was observed before stands in its observations.
fn end_without_data(ending: Ending, observed: bool) -> Outcome {
    let note = if observed { "the last answer was empty; the last state is the newest observation" } else { "no data" };
    let result = json!({ "vehicles": {}, "query_status": null, "ended": ending, "note": note });
    Outcome::Ended(End::Success { result: result.to_string() })
}

fn raw(parts: &[Part]) -> String {
    let bodies: Vec<&str> = parts.iter().filter_map(|part| part.body.as_deref()).collect();
    bodies.join("\n")
}
