//! VagVin: an order goes to a person, and minutes or hours later the vendor POSTs the report to `[callbacks]`.
//!
//! There is nothing to poll and nothing to look up: a waiting report either is called back or expires.

pub mod catalogue;
pub mod refusal;
pub mod vin;
pub mod wire;

mod balance;
mod params;
#[cfg(test)]
mod tests;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use self::wire::Said;
use super::{
    AccountCall, AccountNews, AccountReading, Checked, Common, Due, JobView, KindSpec, ParamProblem, Reading, Vendor,
    lenient,
};
use crate::domain::exchange::{Answer, Request};
use crate::domain::state::{End, Outcome};
use crate::domain::{Call, Job, Reason, State, Timestamp, Traits};

pub const REPORT: &str = "vagvin.report";
pub const BALANCE: &str = "vagvin.balance";

pub const KINDS: &[KindSpec] = &[
    KindSpec {
        name: REPORT,
        traits: Traits { repeatable: false, look_up: false, tell_cancel: false, tracker: false },
        summary: "Order a report on a car; the vendor calls back with it (paid)",
        params: params::REPORT,
        example: r#"{"vin":"WAUZZZ8K9BA012345","check_type":"check_elsa_pro_full","car_brand":"Audi","report_language":"Русский"}"#,
    },
    KindSpec {
        name: BALANCE,
        traits: Traits { repeatable: true, look_up: false, tell_cancel: false, tracker: false },
        summary: "Ask for the account's balance",
        params: &[],
        example: "{}",
    },
];

/// How much of an acceptance is kept with the job.
const KEPT: usize = 2048;

#[derive(Debug, Clone)]
pub struct Settings {
    pub common: Common,
    pub token: SecretString,
    /// How long the vendor's call-back is waited for.
    pub give_up: Duration,
    /// How often the balance is asked for; none = never.
    pub balance_every: Option<Duration>,
    /// Below this, `account.balance_low` is announced.
    pub balance_low: Option<f64>,
    /// Further fields of an order that carry a token of ours, for an entry point that echoes them in its call-backs
    /// (an older one did so with `uid` and `order_uiid`). The vendor's page names none: empty.
    pub echo_fields: Vec<String>,
}

impl Settings {
    /// "From several minutes to several hours", says the vendor's page; a person answers, so nights and Sundays count.
    pub const GIVE_UP: Duration = Duration::from_secs(48 * 3600);

    pub fn new(common: Common, token: SecretString) -> Self {
        Self { common, token, give_up: Self::GIVE_UP, balance_every: None, balance_low: None, echo_fields: Vec::new() }
    }
}

#[derive(Debug)]
pub struct VagVin {
    settings: Settings,
}

/// The token of ours that an order carries in its `echo_fields`: the creation time tells apart equal numbers of two stores.
pub fn token_of(job: &Job) -> String {
    format!("opros-{}-{}", job.id, job.created_at.as_millis())
}

impl VagVin {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn read_order(&self, job: &JobView<'_>, answer: &Answer, now: Timestamp) -> Reading {
        match wire::said(answer, &self.settings.common.pause_on) {
            Said::Yes { value, text } => {
                let ours = token_of(job.job);
                let ids: Vec<String> =
                    value.as_ref().map(wire::ids).unwrap_or_default().into_iter().filter(|id| *id != ours).collect();
                Reading::one(Outcome::Accepted {
                    remote_id: ids.first().cloned(),
                    memo: Some(json!({ "ids": ids, "answer": head(&text) }).to_string()),
                    next_at: now + self.settings.give_up,
                })
            }
            Said::No(error) => Reading::one(failed(error, answer)),
            Said::Held(error) => Reading::held(1, held(error)),
            Said::Later(error) => Reading::one(Outcome::NotTaken { reason: busy(&error), again_at: None }),
            Said::Unclear(reason) => Reading::one(lenient::unclear(reason)),
        }
    }

    fn read_balance(&self, answer: &Answer, now: Timestamp) -> Reading {
        match wire::said(answer, &self.settings.common.pause_on) {
            Said::Yes { value, text } => {
                let balance = balance::read(value.as_ref(), &text, now);
                let result = json!({
                    "balance": balance.as_ref().map(|balance| balance.amount),
                    "answer": value.unwrap_or(Value::String(text)),
                });
                let end = End::Success { result: result.to_string() };
                Reading { account: balance.map(AccountNews::Balance), ..Reading::one(Outcome::Ended(end)) }
            }
            Said::No(error) => Reading::one(failed(error, answer)),
            Said::Held(error) => Reading::held(1, held(error)),
            Said::Later(error) => Reading::one(Outcome::NotTaken { reason: busy(&error), again_at: None }),
            Said::Unclear(reason) => Reading::one(lenient::unclear(reason)),
        }
    }
}

impl Vendor for VagVin {
    fn kinds(&self) -> &'static [KindSpec] {
        KINDS
    }

    fn check(&self, kind: &str, params: &Value) -> Result<Checked, Vec<ParamProblem>> {
        match kind {
            REPORT => params::report(params),
            BALANCE => params::balance(params),
            other => Err(vec![ParamProblem { pointer: "/kind".into(), message: format!("VagVin has no {other:?}") }]),
        }
    }

    /// A waiting report is due once only: when its call-back is overdue. It may be touched sooner (an operator adopted
    /// or woke it); then it waits on.
    fn due(&self, job: &Job, now: Timestamp) -> Due {
        if job.kind != REPORT || job.state != State::Waiting {
            return job.next_call().map_or(Due::Nothing, Due::Call);
        }
        let overdue_at = self.overdue_at(job);
        if now < overdue_at {
            return Due::Later(overdue_at);
        }
        Due::GiveUp(Reason::new(
            "gave_up",
            format!(
                "the vendor did not call back within {} (give_up); a report that still comes will be attached",
                hours(self.settings.give_up)
            ),
        ))
    }

    fn request(&self, _call: Call, jobs: &[JobView<'_>], _now: Timestamp) -> Request {
        let settings = &self.settings;
        match jobs.first().filter(|view| view.job.kind == REPORT) {
            Some(view) => wire::order(&settings.token, view.params, &settings.echo_fields, &token_of(view.job)),
            None => wire::get_balance(&settings.token),
        }
    }

    fn read(&self, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        match jobs {
            [one] if call == Call::Submit && one.job.kind == REPORT => self.read_order(one, answer, now),
            [one] if call == Call::Submit && one.job.kind == BALANCE => self.read_balance(answer, now),
            _ => Reading::all(
                jobs.len(),
                lenient::unclear(Reason::new("unasked", format!("VagVin is never sent a {call} for these jobs"))),
            ),
        }
    }

    fn account_request(&self, call: AccountCall, _now: Timestamp) -> Option<Request> {
        (call == AccountCall::Balance).then(|| wire::get_balance(&self.settings.token))
    }

    fn read_account(&self, _call: AccountCall, answer: &Answer, now: Timestamp) -> AccountReading {
        match wire::said(answer, &self.settings.common.pause_on) {
            Said::Yes { value, text } => match balance::read(value.as_ref(), &text, now) {
                Some(balance) => AccountReading { news: vec![AccountNews::Balance(balance)], unclear: None },
                None => unreadable(Reason::new("no_balance", format!("no number in {}", lenient::excerpt(&text)))),
            },
            Said::Held(error) => AccountReading {
                news: vec![AccountNews::Pause { reason: held(error), submits_only: false }],
                unclear: None,
            },
            Said::No(error) => unreadable(refused(&error)),
            Said::Later(error) => unreadable(busy(&error)),
            Said::Unclear(reason) => unreadable(reason),
        }
    }

    fn balance_every(&self) -> Option<Duration> {
        self.settings.balance_every
    }

    fn balance_low(&self) -> Option<f64> {
        self.settings.balance_low
    }
}

impl VagVin {
    fn overdue_at(&self, job: &Job) -> Timestamp {
        job.submitted_at.unwrap_or(job.created_at) + self.settings.give_up
    }
}

fn unreadable(reason: Reason) -> AccountReading {
    AccountReading { news: Vec::new(), unclear: Some(reason) }
}

fn refused(error: &str) -> Reason {
    Reason::new("vendor_refused", format!("VagVin refused: {}", lenient::excerpt(error)))
}

fn busy(error: &str) -> Reason {
    Reason::new("vendor_busy", format!("VagVin asks to come later: {}", lenient::excerpt(error)))
}

fn held(error: String) -> Reason {
    Reason::new("account_refused", format!("VagVin refused the account: {}", lenient::excerpt(&error)))
}

fn failed(error: String, answer: &Answer) -> Outcome {
    let kept = json!({ "error": error, "status": answer.status, "answer": head(&lenient::answer_text(answer)) });
    Outcome::Ended(End::Failure { reason: refused(&error), result: Some(kept.to_string()) })
}

fn head(text: &str) -> String {
    text.chars().take(KEPT).collect()
}

fn hours(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    if minutes.is_multiple_of(60) && minutes > 0 { format!("{} h", minutes / 60) } else { format!("{minutes} min") }
}
