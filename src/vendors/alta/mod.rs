//! Alta-Soft, rail tracking: wagons and containers followed for weeks, at the vendor's pace.
//!
//! A poll of a tracked job is a line of the account's `track_list`, shared by all jobs that are due at the same tick, until
//! the list tells of something new; then it is one `show` of the job's own hash. `README.md` tells the whole cadence.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use crate::domain::account::Balance;
use crate::domain::exchange::{Answer, Field, Request};
use crate::domain::policy::Growth;
use crate::domain::state::Outcome;
use crate::domain::{Call, Reason, Timestamp, Traits};
use crate::vendors::{
    AccountCall, AccountNews, AccountReading, Batch, Checked, Common, Floor, JobView, KindSpec, ParamProblem, Reading,
    Vendor, lenient,
};

mod answers;
mod cadence;
mod faults;
mod following;
mod memo;
mod numbers;
mod params;
mod round;
mod terms;
mod vehicle;
mod wire;

pub use cadence::SHOW_FLOOR;
pub use faults::{CodeClass, shipped_codes};

use cadence::Cadence;
use faults::{Fault, Faults};
use following::{Following, asks_list, hashes};
use memo::Memo;
use wire::{Credentials, Envelope, TrackList};

const ONE_SHOT: Traits = Traits { repeatable: true, look_up: false, tell_cancel: false, tracker: false };
const TRACKER: Traits = Traits { repeatable: false, look_up: true, tell_cancel: true, tracker: true };

const TRACK: &str = "alta.track";
const SHOW: &str = "alta.show";

/// The vendor's own host.
pub const BASE_URL: &str = "https://www.alta.ru";

pub const KINDS: &[KindSpec] = &[
    KindSpec {
        name: TRACK,
        traits: TRACKER,
        summary: "Put wagons and containers on tracking (paid), or follow a hash, and report every change.",
        params: params::TRACK,
        example: r#"{"wagons":["54676515","AMFU8899067"],"track_state":"ru","track_type":2,"times":["09:00","18:00"]}"#,
    },
    KindSpec {
        name: SHOW,
        traits: ONE_SHOT,
        summary: "Show the last known dislocation of a request, once.",
        params: &["hash"],
        example: r#"{"hash":"ebc356dfa5beee7d3844ccacf535410c"}"#,
    },
    KindSpec {
        name: "alta.track_list",
        traits: ONE_SHOT,
        summary: "List the account's tracking requests.",
        params: &[],
        example: "{}",
    },
    KindSpec {
        name: "alta.carr_list",
        traits: ONE_SHOT,
        summary: "List the wagons and containers of a request.",
        params: &["hash"],
        example: r#"{"hash":"931700e35d7ff88a10bd5d680da50f02"}"#,
    },
    KindSpec {
        name: "alta.balance",
        traits: ONE_SHOT,
        summary: "Ask for the account's balance and bonus.",
        params: &[],
        example: "{}",
    },
    KindSpec {
        name: "alta.test_secret",
        traits: ONE_SHOT,
        summary: "Ask whether login, contract and password fit together.",
        params: &[],
        example: "{}",
    },
    KindSpec {
        name: "alta.cancel_track",
        traits: ONE_SHOT,
        summary: "Take a request, or some of its wagons, off tracking.",
        params: &["hash", "wagons", "force"],
        example: r#"{"hash":"ebc356dfa5beee7d3844ccacf535410c","wagons":["54676515"]}"#,
    },
];

/// What an account of Alta's is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub common: Common,
    pub login: String,
    /// The contract ("service account") that pays.
    pub sa: String,
    /// The technical password of the contract, not the one of the site.
    pub password: SecretString,
    /// Between two `show` of one hash while a report is due. Never below [`SHOW_FLOOR`] but on a loopback address.
    pub show_every: Duration,
    /// How long after each of its times a report is expected.
    pub due_window: Duration,
    /// How often requests are looked after outside the windows.
    pub idle_every: Duration,
    /// How often the balance is asked for; none = never.
    pub balance_every: Option<Duration>,
    /// Roubles below which `account.balance_low` is announced.
    pub balance_low: Option<f64>,
    /// What the vendor's error codes mean; ships with [`shipped_codes`].
    pub codes: BTreeMap<i64, CodeClass>,
}

impl Settings {
    pub const SETTLE: Duration = Duration::from_secs(120);
    pub const DUE_WINDOW: Duration = Duration::from_secs(15 * 60);
    pub const IDLE_EVERY: Duration = Duration::from_secs(30 * 60);
    pub const BALANCE_EVERY: Duration = Duration::from_secs(60 * 60);
    /// Between two calls of the account, unless the user sets it. Kept by the engine.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(1);

    /// With the documented defaults.
    pub fn new(login: impl Into<String>, sa: impl Into<String>, password: SecretString) -> Self {
        Self {
            common: Common { settle: Self::SETTLE, resubmit: false, pause_on: Vec::new(), loopback: false },
            login: login.into(),
            sa: sa.into(),
            password,
            show_every: SHOW_FLOOR,
            due_window: Self::DUE_WINDOW,
            idle_every: Self::IDLE_EVERY,
            balance_every: Some(Self::BALANCE_EVERY),
            balance_low: None,
            codes: shipped_codes(),
        }
    }
}

/// The driver of one account.
#[derive(Debug)]
pub struct Alta {
    credentials: Credentials,
    cadence: Cadence,
    faults: Faults,
    settle: Duration,
    resubmit: bool,
    balance_every: Option<Duration>,
    balance_low: Option<f64>,
}

impl Alta {
    pub fn new(settings: Settings) -> Self {
        let Settings { common, login, sa, password, .. } = settings;
        Self {
            credentials: Credentials::new(&login, &sa, &password),
            cadence: Cadence::new(
                settings.show_every,
                settings.due_window,
                settings.idle_every,
                common.loopback,
                &format!("{login} {sa}"),
            ),
            faults: Faults { codes: settings.codes, pause_on: common.pause_on },
            settle: common.settle,
            resubmit: common.resubmit,
            balance_every: settings.balance_every,
            balance_low: settings.balance_low,
        }
    }

    fn follow<'a>(&'a self, view: &JobView<'a>, now: Timestamp) -> Following<'a> {
        Following::new(&self.cadence, view, now)
    }

    /// The request of one tracked job's poll or cancellation: it is about one of its hashes.
    fn about_hash(&self, action: &'static str, view: &JobView<'_>, position: usize) -> Request {
        self.credentials.request(action, vec![Field::open("hash", hash_at(view, position))])
    }

    /// One answer of `track_list` for all these jobs.
    fn read_list(&self, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        match wire::envelope_of_poll(answer) {
            Err(reason) => Reading::all(jobs.len(), Outcome::Unclear { reason }),
            Ok(Envelope::Ok { items, .. }) => {
                let list = TrackList::read(&items);
                let verdicts = jobs.iter().map(|view| self.follow(view, now).listed(&list).into()).collect();
                Reading { account: None, readable: true, verdicts }
            }
            Ok(Envelope::Refused(refusal)) => {
                let fault = self.faults.sort(&refusal);
                if fault == Fault::Access {
                    return Reading::held(jobs.len(), refusal.reason("no_access"));
                }
                let account = (fault == Fault::Money)
                    .then(|| AccountNews::Pause { reason: refusal.reason("no_money"), submits_only: true });
                let verdicts = jobs.iter().map(|view| self.follow(view, now).without_list().into()).collect();
                Reading { account, readable: true, verdicts }
            }
        }
    }

    fn read_poll(&self, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        match jobs {
            [view] if view.job.kind != TRACK => {
                answers::one_shot(&self.faults, view, answer, wire::envelope_of_poll(answer), now)
            }
            [view] if !asks_list(view.job) => round::read(self.follow(view, now), view, &self.faults, answer),
            _ => self.read_list(jobs, answer, now),
        }
    }
}

/// Far above any account: the list comes whole however many jobs ask.
const ALL: usize = 100_000;

/// The job's hash whose turn it is.
fn hash_at(view: &JobView<'_>, position: usize) -> String {
    let all = hashes(view.job);
    all.get(position).or(all.last()).cloned().unwrap_or_default()
}

impl Vendor for Alta {
    fn kinds(&self) -> &'static [KindSpec] {
        KINDS
    }

    fn check(&self, kind: &str, params: &Value) -> Result<Checked, Vec<ParamProblem>> {
        if kind == TRACK {
            return params::check_track(params);
        }
        let Some(spec) = KINDS.iter().find(|spec| spec.name == kind) else {
            return Err(vec![ParamProblem { pointer: "/kind".into(), message: format!("Alta has no kind {kind}") }]);
        };
        let mut checked = params::check_one_shot(params, spec.params)?;
        if kind == SHOW {
            // As a poll it keeps its pace through lost answers and restarts; a submit would be repeated at once.
            checked.follow = lenient::string_field(&checked.params, "hash");
        }
        Ok(checked)
    }

    fn widest_batch(&self) -> usize {
        ALL
    }

    fn floor(&self, call: Call, view: &JobView<'_>) -> Option<Floor> {
        let position = match call {
            Call::Poll if view.job.kind != TRACK => 0,
            Call::Poll if asks_list(view.job) => return None,
            // Which of two hashes is next does not depend on the time.
            Call::Poll => round::position(&self.follow(view, view.job.updated_at)),
            Call::Submit | Call::LookUp | Call::Cancel => return None,
        };
        Some(Floor { key: hash_at(view, position), every: self.cadence.between_shows() })
    }

    fn batch(&self, view: &JobView<'_>, call: Call) -> Batch {
        match call {
            Call::Poll if view.job.kind == TRACK && asks_list(view.job) => {
                Batch { key: "track_list", max: ALL, wait: Duration::ZERO }
            }
            Call::LookUp => Batch { key: "look_up", max: ALL, wait: Duration::ZERO },
            Call::Poll | Call::Submit | Call::Cancel => Batch::SINGLE,
        }
    }

    fn request(&self, call: Call, jobs: &[JobView<'_>], now: Timestamp) -> Request {
        let list = || self.credentials.request("track_list", Vec::new());
        let [view] = jobs else { return list() };
        match call {
            Call::LookUp => list(),
            Call::Submit if view.job.kind == TRACK => {
                self.credentials.request("add", terms::add_fields(view.params, view.job.attempt.as_deref()))
            }
            Call::Submit => {
                self.credentials.request(answers::action(&view.job.kind), terms::one_shot_fields(view.params))
            }
            Call::Poll if view.job.kind != TRACK => self.about_hash("show", view, 0),
            Call::Poll if asks_list(view.job) => list(),
            Call::Poll => self.about_hash("show", view, round::position(&self.follow(view, now))),
            Call::Cancel => self.about_hash("cancel_track", view, Memo::of(view.job).told),
        }
    }

    fn pace(&self, call: Call, view: &JobView<'_>, now: Timestamp) -> Timestamp {
        let tick = self.cadence.busy_tick(now);
        match call {
            // When it is due again if the list says nothing new: then the answer costs no write.
            Call::Poll if view.job.kind == TRACK && asks_list(view.job) && view.job.errors == 0 => {
                self.follow(view, now).rest(false).max(now + Growth::ERRORS.first)
            }
            // Should this one fail too, the next may be a `show`: its floor holds already.
            Call::Poll if view.job.kind == TRACK && asks_list(view.job) => {
                tick.max(Memo::of(view.job).shown + self.cadence.between_shows())
            }
            Call::Poll => now + self.cadence.between_shows(),
            Call::LookUp => tick,
            Call::Submit | Call::Cancel => now + Growth::ERRORS.first,
        }
    }

    fn read(&self, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        match (call, jobs) {
            (_, []) => Reading { account: None, readable: true, verdicts: Vec::new() },
            (Call::Poll, _) => self.read_poll(jobs, answer, now),
            (Call::LookUp, _) => answers::look_up(&self.faults, jobs, answer, &self.look_up_terms(now)),
            (Call::Submit, [view]) if view.job.kind == TRACK => {
                answers::add(&self.faults, view, answer, self.cadence.busy_tick(now))
            }
            (Call::Submit, [view]) => answers::one_shot(&self.faults, view, answer, wire::envelope(answer), now),
            (Call::Cancel, [view]) => answers::cancel(&self.faults, view, answer, now),
            (Call::Submit | Call::Cancel, _) => {
                let reason = Reason::new("strange_batch", "Alta takes one order and one cancellation at a time");
                Reading::all(jobs.len(), Outcome::Unclear { reason })
            }
        }
    }

    fn changes(&self, kind: &str, before: Option<&Value>, after: &Value) -> Value {
        if kind == TRACK { vehicle::changes(before, after) } else { lenient::diff(before, after) }
    }

    fn account_request(&self, call: AccountCall, _now: Timestamp) -> Option<Request> {
        let action = match call {
            AccountCall::Credentials => "test_secret",
            AccountCall::Balance => "balance",
        };
        Some(self.credentials.request(action, Vec::new()))
    }

    fn read_account(&self, call: AccountCall, answer: &Answer, now: Timestamp) -> AccountReading {
        answers::account(&self.faults, call, answer, now)
    }

    fn balance_every(&self) -> Option<Duration> {
        self.balance_every
    }

    fn balance_low(&self) -> Option<f64> {
        self.balance_low
    }
}

impl Alta {
    fn look_up_terms(&self, now: Timestamp) -> answers::LookUp {
        answers::LookUp { settle: self.settle, resubmit: self.resubmit, now, next_at: self.cadence.busy_tick(now) }
    }
}

/// The balance as the account's history keeps it.
fn balance(head: &Value, now: Timestamp) -> Option<Balance> {
    let amount = lenient::field(head, "balans").and_then(lenient::decimal)?;
    let bonus = lenient::string_field(head, "bonus").map(|bonus| format!("bonus {bonus}"));
    let text = lenient::string_field(head, "descr").or(bonus);
    Some(Balance { amount, unit: "RUB".into(), text, at: now })
}

#[cfg(test)]
mod tests;
