//! Vendor drivers: what to send and what an answer means. One folder per vendor, the same file names in each.
//!
//! Architecture invariant: a driver is synchronous and pure. It builds requests for one or many jobs and reads answers
//! into verdicts; it never waits, retries, logs, looks at a clock or touches the store.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::Value;

use crate::domain::account::Balance;
use crate::domain::exchange::{Answer, Request};
use crate::domain::policy::Growth;
use crate::domain::state::{End, Outcome};
use crate::domain::{Call, Job, Reason, Timestamp, Traits};

pub mod alta;
pub mod faults;
pub mod lenient;
mod masked;
pub mod nearly;
pub mod registry;
pub mod rlab;
pub mod salvage;
pub mod tronk;
pub mod vagvin;

/// One kind of job: `vendor.operation`.
#[derive(Debug, Clone, Copy)]
pub struct KindSpec {
    pub name: &'static str,
    pub traits: Traits,
    /// One sentence for `--help` and the OpenAPI page.
    pub summary: &'static str,
    /// The names of the params that it knows, in the order in which people want to read them.
    pub params: &'static [&'static str],
    /// An example that passes `check`.
    pub example: &'static str,
}

/// One account's driver.
pub trait Vendor: Send + Sync + Debug {
    fn kinds(&self) -> &'static [KindSpec];

    /// Checks and normalises the params before anything is stored or paid.
    fn check(&self, kind: &str, params: &Value) -> Result<Checked, Vec<ParamProblem>>;

    /// What a due job needs now.
    fn due(&self, job: &Job, _now: Timestamp) -> Due {
        job.next_call().map_or(Due::Nothing, Due::Call)
    }

    /// Which jobs may share a request.
    fn batch(&self, _job: &JobView<'_>, _call: Call) -> Batch {
        Batch::SINGLE
    }

    /// The most jobs that any of its requests carries.
    fn widest_batch(&self) -> usize {
        1
    }

    /// What must not be asked about more often than this, whichever job asks: an id of the vendor's, and the span.
    fn floor(&self, _call: Call, _job: &JobView<'_>) -> Option<Floor> {
        None
    }

    /// One request for these jobs: one job, or as many as [`Vendor::batch`] allows with the same key.
    fn request(&self, call: Call, jobs: &[JobView<'_>], now: Timestamp) -> Request;

    /// When the job is due again if the call that begins now brings nothing, or never comes back.
    fn pace(&self, call: Call, job: &JobView<'_>, now: Timestamp) -> Timestamp {
        let _ = (call, job);
        now + Growth::ERRORS.first
    }

    /// Reads a whole answer (never a 429 or a redirect): one verdict for each of `jobs`, in their order.
    fn read(&self, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading;

    /// What a tracker's observation changed from what; goes into `job.updated`.
    fn changes(&self, kind: &str, before: Option<&Value>, after: &Value) -> Value {
        let _ = kind;
        lenient::diff(before, after)
    }

    /// The address of a document that a result names and that is to be kept beside it.
    fn attachment(&self, _kind: &str, _result: &str) -> Option<String> {
        None
    }

    /// A free call about the account itself; none where the vendor has no such call.
    fn account_request(&self, _call: AccountCall, _now: Timestamp) -> Option<Request> {
        None
    }

    fn read_account(&self, _call: AccountCall, _answer: &Answer, _now: Timestamp) -> AccountReading {
        AccountReading::default()
    }

    /// How often the balance is asked for; none = never.
    fn balance_every(&self) -> Option<Duration> {
        None
    }

    /// Below this, `account.balance_low` is announced.
    fn balance_low(&self) -> Option<f64> {
        None
    }
}

/// The shortest time between two looks at the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    pub key: String,
    pub every: Duration,
}

/// A job as a driver sees it.
#[derive(Debug, Clone, Copy)]
pub struct JobView<'a> {
    pub job: &'a Job,
    /// The params as [`Vendor::check`] normalised them.
    pub params: &'a Value,
    /// What an earlier answer of this one-shot left to be kept ([`Outcome::Progressed`]).
    pub partial: Option<&'a str>,
}

/// Params that passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub params: Value,
    /// The vendor has it already under this id: nothing is submitted, the job starts by waiting.
    pub follow: Option<String>,
    /// Doubts that do not stand in the way, in sentences for whoever submitted it.
    pub warnings: Vec<String>,
}

impl Checked {
    pub fn new(params: Value) -> Self {
        Self { params, follow: None, warnings: Vec::new() }
    }
}

/// What is wrong with one param, in a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParamProblem {
    /// JSON pointer from the request's root: `/params/phone`.
    pub pointer: String,
    pub message: String,
}

impl ParamProblem {
    pub fn at(name: &str, message: impl Into<String>) -> Self {
        let pointer = if name.is_empty() { "/params".to_owned() } else { format!("/params/{name}") };
        Self { pointer, message: message.into() }
    }
}

/// What is to be done for a due job.
#[derive(Debug, Clone, PartialEq)]
pub enum Due {
    Call(Call),
    /// There is nothing left to ask: the job expires with this reason.
    GiveUp(Reason),
    /// Nothing before then.
    Later(Timestamp),
    Nothing,
}

/// Jobs of one account, call and `key` travel together, up to `max` in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batch {
    pub key: &'static str,
    pub max: usize,
    /// How long a due job may wait for company.
    pub wait: Duration,
}

impl Batch {
    pub const SINGLE: Batch = Batch { key: "", max: 1, wait: Duration::ZERO };
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Reading {
    /// About the account, whatever it says of the jobs.
    pub account: Option<AccountNews>,
    /// The vendor answered in a form of its own, even where that settles nothing for the jobs: it can be reached.
    pub readable: bool,
    /// One for each job, in their order.
    pub verdicts: Vec<Verdict>,
}

impl Reading {
    pub fn one(verdict: impl Into<Verdict>) -> Self {
        Self::all(1, verdict)
    }

    /// The same verdict for every job of the request.
    pub fn all(count: usize, verdict: impl Into<Verdict>) -> Self {
        let verdict = verdict.into();
        let readable = !matches!(verdict, Verdict::Outcome(Outcome::Unclear { .. }));
        Self { account: None, readable, verdicts: vec![verdict; count] }
    }

    /// The account is at fault: it pauses, and all jobs of the request go back.
    pub fn held(count: usize, reason: Reason) -> Self {
        Self {
            account: Some(AccountNews::Pause { reason: reason.clone(), submits_only: false }),
            readable: true,
            verdicts: vec![Outcome::AccountHeld { reason }.into(); count],
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Outcome(Outcome),
    /// A tracker's state of affairs that differs from what was seen (`job.seen`): the engine finds out what changed.
    Seen(Seen),
    /// The vendor refused the whole batch for one item's sake: send it in halves.
    Split {
        reason: Reason,
    },
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Verdict::Outcome(outcome)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Differs from `job.seen` exactly when something really changed.
    pub fingerprint: String,
    pub data: Value,
    /// The part of the answer that is about this job, as it came.
    pub raw: String,
    pub memo: Option<String>,
    pub next_at: Timestamp,
    /// The observation is the last one.
    pub end: Option<End>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AccountNews {
    /// Bad key, no access, no money.
    Pause {
        reason: Reason,
        /// Only new submits are stopped; what is already paid goes on being polled.
        submits_only: bool,
    },
    Balance(Balance),
    /// When what was booked ends; none: never.
    TariffEnds(Option<Timestamp>),
}

/// Free calls about the account itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountCall {
    /// Are the credentials good?
    Credentials,
    Balance,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccountReading {
    pub news: Vec<AccountNews>,
    /// The answer could not be read.
    pub unclear: Option<Reason>,
}

/// Settings that every vendor's driver has.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    pub settle: Duration,
    pub resubmit: bool,
    /// Texts (compared without case) that mean bad key, no access or no money, beside the built-in ones.
    pub pause_on: Vec<String>,
    /// The base URL is a loopback address: politeness floors may be lowered.
    pub loopback: bool,
}
