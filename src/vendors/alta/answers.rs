//! Answers that are read alone: to `add`, to a look-up, to a cancellation, to a one-shot, about the account.

use std::time::Duration;

use serde_json::Value;

use crate::domain::exchange::Answer;
use crate::domain::state::{End, Outcome};
use crate::domain::{Reason, Timestamp};
use crate::vendors::{AccountCall, AccountNews, AccountReading, JobView, Reading, Verdict, lenient};

use super::faults::{Fault, Faults};
use super::following::hashes;
use super::memo::Memo;
use super::terms::Terms;
use super::vehicle::Dislocation;
use super::wire::{self, Envelope, Refusal, TrackList};
use super::{SHOW, balance};

/// The method behind a one-shot kind.
pub fn action(kind: &str) -> &'static str {
    match kind {
        "alta.show" => "show",
        "alta.track_list" => "track_list",
        "alta.carr_list" => "carr_list",
        "alta.balance" => "balance",
        "alta.cancel_track" => "cancel_track",
        // `check` lets no other kind through; this method asks for nothing and changes nothing.
        _ => "test_secret",
    }
}

fn refused(refusal: &Refusal) -> Outcome {
    Outcome::Ended(End::Failure { reason: refusal.reason("vendor_refused"), result: None })
}

fn no_money(refusal: &Refusal) -> AccountNews {
    AccountNews::Pause { reason: refusal.reason("no_money"), submits_only: true }
}

fn later(refusal: &Refusal) -> Outcome {
    Outcome::NotTaken { reason: refusal.reason("vendor_busy"), again_at: None }
}

// ---- add --------------------------------------------------------------------------------------------------------

/// Taken only if it says so and names every hash that is due; everything else is left to a look-up.
pub fn add(faults: &Faults, view: &JobView<'_>, answer: &Answer, next_at: Timestamp) -> Reading {
    let head = match wire::envelope(answer) {
        Err(reason) => return Reading::one(Outcome::Unclear { reason }),
        // Any gateway may say `{"status": "error"}`: it is the vendor's word only together with its words.
        Ok(Envelope::Refused(refusal)) if !refusal.has_words() => {
            return Reading::one(lenient::unclear(no_reason_given(answer.status)));
        }
        Ok(Envelope::Refused(refusal)) => return add_refused(faults, &refusal),
        Ok(Envelope::Ok { head, .. }) => head,
    };
    let mut found: Vec<String> = Vec::new();
    for value in ["hash", "cont_hash"].into_iter().filter_map(|name| lenient::field(&head, name)) {
        match lenient::string(value).and_then(|text| wire::hash(&text)) {
            Some(hash) if found.contains(&hash) => {}
            Some(hash) => found.push(hash),
            None => return Reading::one(no_hash(&head)),
        }
    }
    if found.len() < Terms::of(view.params).expected_hashes().max(1) {
        return Reading::one(no_hash(&head));
    }
    Reading::one(Outcome::Accepted { remote_id: Some(found.join("+")), memo: None, next_at })
}

fn no_hash(head: &Value) -> Outcome {
    let shown = lenient::excerpt(&head.to_string());
    let message = format!("Alta says ok without a hash for all that was ordered: {shown}");
    Outcome::Unclear { reason: Reason::new("no_hash", message) }
}

fn add_refused(faults: &Faults, refusal: &Refusal) -> Reading {
    match faults.sort(refusal) {
        Fault::Access => Reading::held(1, refusal.reason("no_access")),
        Fault::Money => Reading {
            readable: true,
            account: Some(no_money(refusal)),
            verdicts: vec![Outcome::AccountHeld { reason: refusal.reason("no_money") }.into()],
        },
        Fault::Transient => Reading::one(later(refusal)),
        // It may have been booked: track_list tells.
        Fault::Broken => Reading { readable: true, ..Reading::one(lenient::unclear(refusal.reason("vendor_broken"))) },
        Fault::Permanent | Fault::Unknown => Reading::one(refused(refusal)),
    }
}

// ---- look-up ----------------------------------------------------------------------------------------------------

/// What an absence is worth, and when a found job is looked at next.
#[derive(Debug)]
pub struct LookUp {
    pub settle: Duration,
    pub resubmit: bool,
    pub now: Timestamp,
    pub next_at: Timestamp,
}

/// `track_list`, searched for the tokens of all these jobs.
pub fn look_up(faults: &Faults, jobs: &[JobView<'_>], answer: &Answer, terms: &LookUp) -> Reading {
    match wire::envelope_of_poll(answer) {
        Err(reason) => Reading::all(jobs.len(), Outcome::Unclear { reason }),
        Ok(Envelope::Refused(refusal)) if faults.sort(&refusal) == Fault::Access => {
            Reading::held(jobs.len(), refusal.reason("no_access"))
        }
        Ok(Envelope::Refused(refusal)) => Reading::all(jobs.len(), later(&refusal)),
        Ok(Envelope::Ok { head, items, is_list }) => {
            let mut list = TrackList::read(&items);
            // `{"status": "ok"}` may be said by anybody, and an answer to `add` is no empty list either.
            let of_add = head.as_object().is_some_and(|head| head.keys().any(|key| key.eq_ignore_ascii_case("hash")));
            list.complete &= is_list && !of_add;
            let verdicts = jobs.iter().map(|view| look_up_one(view, &list, terms).into()).collect();
            Reading { account: None, readable: true, verdicts }
        }
    }
}

fn look_up_one(view: &JobView<'_>, list: &TrackList, terms: &LookUp) -> Outcome {
    let Some(token) = view.job.attempt.as_deref() else {
        let reason = Reason::new("no_token", "the attempt has no token to look for: resolve it by hand");
        return Outcome::Unclear { reason };
    };
    let found = list.with_token(token);
    if found.is_empty() && list.complete {
        return Outcome::Absent { settle: terms.settle, resubmit: terms.resubmit, memo: None };
    }
    if found.is_empty() {
        let reason = Reason::new(
            "incomplete_list",
            "track_list is no list, or has lines that cannot be read, so it proves no absence",
        );
        return Outcome::Unclear { reason };
    }
    // A mixed order has two hashes; the second one gets its time to appear.
    let settled = view.job.doubt_since.unwrap_or(terms.now) + terms.settle;
    if found.len() < Terms::of(view.params).expected_hashes() && terms.now < settled {
        let reason = Reason::new("half_found", "track_list has one hash of a mixed order; the other may follow");
        return Outcome::NotTaken { reason, again_at: Some(settled.min(terms.next_at)) };
    }
    Outcome::Found { remote_id: found.join("+"), memo: None, next_at: terms.next_at }
}

// ---- cancellation -----------------------------------------------------------------------------------------------

/// The vendor's word is taken for it: nobody asks whether the request really left (the test account's never do).
pub fn cancel(faults: &Faults, view: &JobView<'_>, answer: &Answer, now: Timestamp) -> Reading {
    let objection = match wire::envelope(answer) {
        Err(reason) => return Reading::one(Outcome::Unclear { reason }),
        Ok(Envelope::Ok { .. }) => None,
        Ok(Envelope::Refused(refusal)) => match faults.sort(&refusal) {
            Fault::Access => return Reading::held(1, refusal.reason("no_access")),
            Fault::Transient | Fault::Broken => return Reading::one(later(&refusal)),
            Fault::Money | Fault::Permanent | Fault::Unknown => Some(refusal.reason("vendor_refused")),
        },
    };
    let mut memo = Memo::of(view.job);
    memo.told += 1;
    memo.objection = memo.objection.or(objection);
    if memo.told < hashes(view.job).len() {
        return Reading::one(Outcome::Progressed { partial: None, memo: memo.text(), next_at: now });
    }
    Reading::one(Outcome::Told { refused: memo.objection })
}

// ---- one-shots --------------------------------------------------------------------------------------------------

pub fn one_shot(
    faults: &Faults,
    view: &JobView<'_>,
    answer: &Answer,
    envelope: Result<Envelope, Reason>,
    now: Timestamp,
) -> Reading {
    let kind = view.job.kind.as_str();
    match envelope {
        Err(reason) => Reading::one(Outcome::Unclear { reason }),
        Ok(Envelope::Ok { head, items, .. }) => {
            let result = if kind == SHOW { shown(&head, items) } else { wire::result(kind, &head, &items) };
            let account = (kind == "alta.balance").then(|| balance(&head, now)).flatten().map(AccountNews::Balance);
            Reading { account, ..Reading::one(Outcome::Ended(End::Success { result: result.to_string() })) }
        }
        Ok(Envelope::Refused(refusal)) => one_shot_refused(faults, kind, answer.status, &refusal),
    }
}

/// With the vendor's own words beside the vehicles.
fn shown(head: &Value, items: Vec<Value>) -> Value {
    let mut data = Dislocation::read(head, items).data();
    data["status"] = head.clone();
    data
}

fn one_shot_refused(faults: &Faults, kind: &str, status: u16, refusal: &Refusal) -> Reading {
    if kind == "alta.test_secret" {
        if says_bad_secret(faults, status, refusal) {
            // The very answer that was asked for: the job is over, and the account's key is bad.
            let reason = bad_secret();
            let failure = Outcome::Ended(End::Failure { reason: reason.clone(), result: None });
            let account = Some(AccountNews::Pause { reason, submits_only: false });
            return Reading { account, readable: true, verdicts: vec![failure.into()] };
        }
        if !refusal.has_words() {
            return Reading::one(lenient::unclear(no_reason_given(status)));
        }
    }
    match faults.sort(refusal) {
        Fault::Access => Reading::held(1, refusal.reason("no_access")),
        Fault::Money => Reading {
            account: Some(no_money(refusal)),
            readable: true,
            verdicts: vec![Verdict::Outcome(refused(refusal))],
        },
        Fault::Transient | Fault::Broken => Reading::one(later(refusal)),
        Fault::Permanent | Fault::Unknown => Reading::one(refused(refusal)),
    }
}

/// The documented "no" is an error without a word. With words it may be about anything: they decide. Outside 2xx a gateway
/// may have said it.
fn says_bad_secret(faults: &Faults, status: u16, refusal: &Refusal) -> bool {
    match faults.sort(refusal) {
        Fault::Access => true,
        Fault::Unknown => refusal.text.is_empty() && (refusal.code.is_some() || (200..300).contains(&status)),
        Fault::Money | Fault::Transient | Fault::Broken | Fault::Permanent => false,
    }
}

fn no_reason_given(status: u16) -> Reason {
    Reason::new("strange_answer", format!("HTTP {status} with an error that gives no reason"))
}

fn bad_secret() -> Reason {
    Reason::new(
        "bad_secret",
        "Alta says that login, contract (sa) and technical password do not fit together: correct them in the config",
    )
}

// ---- the account ------------------------------------------------------------------------------------------------

pub fn account(faults: &Faults, call: AccountCall, answer: &Answer, now: Timestamp) -> AccountReading {
    let full =
        |reason| AccountReading { news: vec![AccountNews::Pause { reason, submits_only: false }], unclear: None };
    let unclear = |reason| AccountReading { news: Vec::new(), unclear: Some(reason) };
    match (call, wire::envelope(answer)) {
        (_, Err(reason)) => unclear(reason),
        (AccountCall::Credentials, Ok(Envelope::Ok { .. })) => AccountReading::default(),
        (AccountCall::Credentials, Ok(Envelope::Refused(refusal))) => {
            if says_bad_secret(faults, answer.status, &refusal) {
                return full(bad_secret());
            }
            match faults.sort(&refusal) {
                Fault::Money => AccountReading { news: vec![no_money(&refusal)], unclear: None },
                _ if !refusal.has_words() => unclear(no_reason_given(answer.status)),
                _ => unclear(refusal.reason("vendor_refused")),
            }
        }
        (AccountCall::Balance, Ok(Envelope::Ok { head, .. })) => match balance(&head, now) {
            Some(balance) => AccountReading { news: vec![AccountNews::Balance(balance)], unclear: None },
            None => unclear(Reason::new("strange_answer", "Alta's balance has no readable balans")),
        },
        (AccountCall::Balance, Ok(Envelope::Refused(refusal))) => match faults.sort(&refusal) {
            Fault::Access => full(refusal.reason("no_access")),
            Fault::Money => AccountReading { news: vec![no_money(&refusal)], unclear: None },
            Fault::Transient | Fault::Broken | Fault::Permanent | Fault::Unknown => {
                unclear(refusal.reason("vendor_refused"))
            }
        },
    }
}
