//! `rlab.info`, `rlab.delete`, `rlab.update`, `rlab.user_info`, and what an account asks about itself: answered once.

use serde_json::{Value, json};

use super::adding::CONTRADICTION;
use super::refusal::{self, Refusal};
use super::track_info::{Items, sight};
use super::wire::{Data, Reply, ResultState};
use super::{Rlab, tracks_of};
use crate::domain::account::Balance;
use crate::domain::exchange::Answer;
use crate::domain::state::{End, Outcome};
use crate::domain::{Reason, Timestamp};
use crate::vendors::salvage::Last;
use crate::vendors::{AccountNews, AccountReading, JobView, Reading, lenient};

/// The vendor's answer to a one-shot; `succeeded` makes the result of a reply that is not refused.
pub fn read(driver: &Rlab, view: &JobView<'_>, answer: &Answer, now: Timestamp) -> Reading {
    let reply = match Reply::read(answer, Last::MayBeCut) {
        Ok(reply) => reply,
        Err(reason) => return Reading::one(lenient::unclear(reason)),
    };
    if reply.state == ResultState::Refused {
        return refused(driver, &reply);
    }
    match view.job.kind.as_str() {
        "rlab.info" => info(view, &reply),
        "rlab.user_info" => user_info(&reply, now),
        _ => done(view, &reply),
    }
}

fn refused(driver: &Rlab, reply: &Reply) -> Reading {
    match refusal::sort(&driver.settings.common, reply.info.as_deref().unwrap_or_default()) {
        // Nothing is ordered by these: they go on waiting whatever the account lacks.
        Refusal::Account { reason, .. } => Reading::held(1, reason),
        Refusal::Later(reason) => Reading::one(Outcome::NotTaken { reason, again_at: None }),
        Refusal::Item(reason) => Reading::one(failed(reason, reply)),
    }
}

/// The vendor answered in its own form.
fn readable(outcome: Outcome) -> Reading {
    Reading { readable: true, ..Reading::one(outcome) }
}

fn partial(reply: &Reply) -> Reading {
    let message = format!("R-Lab did part of it and does not say which: {}", reply.words());
    readable(failed(Reason::new("partial", message), reply))
}

fn failed(reason: Reason, reply: &Reply) -> Outcome {
    Outcome::Ended(End::Failure { reason, result: Some(json!({ "answer": reply.whole }).to_string()) })
}

fn succeeded(result: Value) -> Outcome {
    Outcome::Ended(End::Success { result: result.to_string() })
}

/// Each track that the vendor has, as `rlab.track` shows it, and the numbers that it does not have.
fn info(view: &JobView<'_>, reply: &Reply) -> Reading {
    let items = match Items::of(reply) {
        Ok(items) => items,
        Err(reason) => return Reading::one(lenient::unclear(reason)),
    };
    if !items.readable && items.broken.is_empty() {
        let message = format!("R-Lab's list cannot be read as a whole: {}", reply.words());
        return readable(lenient::unclear(Reason::new("incomplete_list", message)));
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for track in tracks_of(view.params) {
        match items.get(&track) {
            Some(item) => found.push(sight(&track, item).data),
            None => missing.push(track),
        }
    }
    if found.is_empty() && !items.complete {
        // A part that holds none of them: nothing is known of any.
        return partial(reply);
    }
    if items.broken.is_empty() {
        return readable(succeeded(json!({ "tracks": found, "missing": missing })));
    }
    // One record that cannot be read hides none of the others; whose it is, nobody knows.
    let result = json!({ "tracks": found, "missing": [], "unread": missing, "unreadable": items.broken });
    readable(succeeded(result))
}

/// `deltrack` and `updatetrack`: the words are all there is.
fn done(view: &JobView<'_>, reply: &Reply) -> Reading {
    if reply.is_plain_success() {
        let tracks = tracks_of(view.params);
        let result = json!({ "tracks": tracks, "test_mode": super::is_test(view), "answer": reply.whole });
        return readable(succeeded(result));
    }
    if reply.state == ResultState::Partial {
        return partial(reply);
    }
    let message = format!("R-Lab's success contradicts itself: {}", reply.words());
    readable(lenient::unclear(Reason::new(CONTRADICTION, message)))
}

// ---- the account -----------------------------------------------------------------------------------------------

/// Tariff and tracks left.
#[derive(Debug, Clone, PartialEq)]
struct UserInfo {
    balance: Option<f64>,
    balance_unlimited: bool,
    expired: bool,
    expires_text: Option<String>,
    date_unlimited: bool,
    whole: Value,
}

impl UserInfo {
    fn of(reply: &Reply) -> Result<UserInfo, Reason> {
        let data = match reply.data() {
            Data::Value(data @ Value::Object(_)) if reply.ok && reply.state == ResultState::Done => data,
            Data::Missing | Data::Null | Data::Value(_) => {
                let message = format!("R-Lab's answer holds no user: {}", lenient::excerpt(&reply.whole.to_string()));
                return Err(Reason::new("wrong_shape", message));
            }
        };
        let flag = |name: &str| lenient::field(data, name).is_some_and(lenient::truthy);
        Ok(UserInfo {
            balance: lenient::field(data, "userBalance").and_then(lenient::decimal),
            balance_unlimited: flag("userBalanceUnlimited"),
            expired: flag("userExpired"),
            expires_text: lenient::string_field(data, "userExpireDate"),
            date_unlimited: flag("userDateUnlimited"),
            whole: data.clone(),
        })
    }

    fn expires(&self) -> Option<Timestamp> {
        self.expires_text.as_deref().filter(|_| !self.date_unlimited).and_then(lenient::moscow_time)
    }

    fn result(&self) -> Value {
        json!({
            "balance": if self.balance_unlimited { None } else { self.balance },
            "balance_unlimited": self.balance_unlimited,
            "expired": self.expired,
            "expires": self.expires().map(Timestamp::to_rfc3339),
            "expires_text": self.expires_text,
            "answer": self.whole,
        })
    }

    /// An unlimited balance is written as 1 and is no number that could be low.
    fn balance(&self, now: Timestamp) -> Option<AccountNews> {
        let amount = self.balance.filter(|_| !self.balance_unlimited)?;
        let text = self.expires_text.as_deref().map(|end| format!("{amount} tracks, tariff until {end}"));
        Some(AccountNews::Balance(Balance { amount, unit: "tracks".to_owned(), text, at: now }))
    }

    fn pause(&self) -> Option<AccountNews> {
        let until = self.expires_text.as_deref().unwrap_or("an unknown date");
        self.expired.then(|| AccountNews::Pause {
            reason: Reason::new(
                "tariff_expired",
                format!("R-Lab says that the tariff has expired ({until}): renew it"),
            ),
            submits_only: false,
        })
    }
}

fn user_info(reply: &Reply, now: Timestamp) -> Reading {
    match UserInfo::of(reply) {
        Ok(user) => Reading {
            account: user.pause().or_else(|| user.balance(now)),
            readable: true,
            verdicts: vec![succeeded(user.result()).into()],
        },
        Err(reason) => Reading::one(lenient::unclear(reason)),
    }
}

/// The account's own question; the same answer tells both whether the key is good and what is left.
pub fn read_account(driver: &Rlab, answer: &Answer, now: Timestamp) -> AccountReading {
    let unclear = |reason| AccountReading { news: Vec::new(), unclear: Some(reason) };
    let reply = match Reply::read(answer, Last::MayBeCut) {
        Ok(reply) => reply,
        Err(reason) => return unclear(reason),
    };
    if reply.state == ResultState::Refused {
        return match refusal::sort(&driver.settings.common, reply.info.as_deref().unwrap_or_default()) {
            Refusal::Account { reason, money } => {
                AccountReading { news: vec![AccountNews::Pause { reason, submits_only: money }], unclear: None }
            }
            Refusal::Later(reason) | Refusal::Item(reason) => unclear(reason),
        };
    }
    match UserInfo::of(&reply) {
        Ok(user) => {
            let tariff = AccountNews::TariffEnds(user.expires());
            AccountReading {
                news: user.balance(now).into_iter().chain([tariff]).chain(user.pause()).collect(),
                unclear: None,
            }
        }
        Err(reason) => unclear(reason),
    }
}

#[cfg(test)]
#[path = "oneshots_tests.rs"]
mod tests;
