//! Why a job is not done and what happens next, in a sentence for whoever looks at three in the morning.

use std::time::Duration;

use super::Engine;
use crate::domain::account::Gate;
use crate::domain::spending::BudgetSpent;
use crate::domain::state::QUARANTINED;
use crate::domain::{Job, State, Timestamp};
use crate::store::StoreHealth;

/// The answer to "why does this job wait?".
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    pub sentence: String,
    /// When the engine touches the job next; none when it waits for somebody.
    pub next_at: Option<Timestamp>,
}

impl Engine {
    pub fn why(&self, job: &Job) -> Why {
        let now = self.now();
        if job.state.is_final() {
            return Why { sentence: ended(job), next_at: None };
        }
        let gate = self.runner(&job.account).map(|runner| (runner.account(), runner.account().gate(now)));
        let Some((account, gate)) = gate else {
            let sentence = format!(
                "The account {} is not configured any more: add its section again, or cancel the job.",
                job.account
            );
            return Why { sentence, next_at: None };
        };
        let (hold, opens_at) = match gate {
            Gate::Paused => {
                let why = account.pause.as_ref().map_or("", |pause| pause.reason.message.as_str());
                let name = &job.account;
                (Some(format!(" The account is paused ({why}): nothing is sent until `opros resume {name}`.")), None)
            }
            Gate::FreeCallsOnly if job.state == State::Queued => {
                let why = account.pause.as_ref().map_or("", |pause| pause.reason.message.as_str());
                let name = &job.account;
                (Some(format!(" New orders of the account are stopped ({why}) until `opros resume {name}`.")), None)
            }
            Gate::Frozen(until) => (Some(format!(" The vendor asked for silence until {until}.")), Some(until)),
            Gate::Broken(until) => {
                (Some(format!(" The vendor does not answer; opros tries it again {}.", when(until, now))), Some(until))
            }
            Gate::Open | Gate::Probe | Gate::FreeCallsOnly => {
                (None, Some(self.budget_of(job, now).map_or(now, |spent| spent.until)))
            }
        };
        let next_at = match (job.due_at, opens_at) {
            (Some(due), Some(opens)) => Some(due.max(opens)),
            _ => None,
        };
        let mut sentence = match self.orders_stopped(job, now) {
            Some(why) => format!("Not sent yet: {why}."),
            None => unfinished(job, now),
        };
        sentence.push_str(&hold.unwrap_or_default());
        if job.cancel_requested {
            sentence.push_str(" It is to be cancelled as soon as its state allows.");
        }
        Why { sentence, next_at }
    }
}

impl Engine {
    /// Why nothing new of its account, or of any, is ordered: a full disk, a spent budget.
    fn orders_stopped(&self, job: &Job, now: Timestamp) -> Option<String> {
        let is_order = job.state == State::Queued && !job.traits.repeatable && job.due_at.is_some_and(|due| due <= now);
        match self.store().health() {
            StoreHealth::Tight { reason, .. } if is_order => Some(reason),
            StoreHealth::Good | StoreHealth::Tight { .. } | StoreHealth::Blocked { .. } => {
                self.budget_of(job, now).filter(|_| is_order).map(|spent| spent.reason.message)
            }
        }
    }

    /// The spent budget that keeps this job from being ordered.
    fn budget_of(&self, job: &Job, now: Timestamp) -> Option<BudgetSpent> {
        let is_order = job.state == State::Queued && !job.traits.repeatable && job.due_at.is_some();
        self.runner(&job.account).filter(|_| is_order)?.budget_spent(now)
    }
}

fn unfinished(job: &Job, now: Timestamp) -> String {
    let because = job.reason.as_ref().map(|reason| format!(" ({})", reason.message)).unwrap_or_default();
    let quarantined = job.reason.as_ref().filter(|reason| reason.code == QUARANTINED && job.due_at.is_none());
    if let Some(reason) = quarantined {
        let id = job.id;
        return match job.state {
            State::InDoubt => format!(
                "In doubt, and set aside: {}. Or look at the vendor's side and decide: opros resolve {id} --resubmit | \
                 --adopt REMOTE_ID | --fail.",
                reason.message
            ),
            _ => format!("Set aside: {}. opros cancel {id} ends it.", reason.message),
        };
    }
    match (job.state, job.due_at) {
        (State::Queued, Some(due)) if due > now && job.errors > 0 => {
            format!("Not sent yet: the last try failed{because}; the next is {}.", when(due, now))
        }
        (State::Queued, Some(due)) if due > now && job.reason.is_some() => {
            format!("Not sent yet{because}; it is sent {}.", when(due, now))
        }
        (State::Queued, Some(due)) if due > now => format!("It is not to be sent before {due} ({}).", when(due, now)),
        (State::Queued, None) => format!("Held, and not sent until somebody says so{because}."),
        (State::Queued, Some(_)) => {
            format!("Ready to be sent; it waits for its turn in the account {}{because}.", job.account)
        }
        (State::Submitting, _) => "Being sent to the vendor at this moment.".to_owned(),
        (State::Waiting, Some(due)) if job.errors > 0 => format!(
            "The vendor has it; the last {} brought no readable answer{because}; the next look is {}.",
            if job.errors == 1 { "look".to_owned() } else { format!("{} looks", job.errors) },
            when(due, now)
        ),
        (State::Waiting, Some(due)) => {
            format!("The vendor has it and is not done; the next look is {}.", when(due, now))
        }
        (State::Waiting, None) => "The vendor has it and will deliver by itself.".to_owned(),
        (State::InDoubt, Some(due)) => format!(
            "It may or may not have reached the vendor{because}; opros asks the vendor for it {}.",
            when(due, now)
        ),
        (State::InDoubt, None) => format!(
            "It may or may not have reached the vendor, and may have been paid{because}. opros never sends it again by itself. \
             Look at the vendor's side, then decide: opros resolve {id} --resubmit | --adopt REMOTE_ID | --fail.",
            id = job.id
        ),
        (State::Succeeded | State::Failed | State::Cancelled | State::Expired | State::Rejected, _) => ended(job),
    }
}

fn ended(job: &Job) -> String {
    let because = job.reason.as_ref().map(|reason| format!(": {}", reason.message)).unwrap_or_default();
    let at = job.finished_at.map(|at| format!(" at {at}")).unwrap_or_default();
    match job.state {
        State::Succeeded => format!("Done{at}; the result is stored."),
        State::Cancelled => format!("Cancelled{at}{because}."),
        State::Failed => format!("Failed{at}{because}."),
        State::Expired => format!("Expired{at}{because}."),
        State::Rejected => format!("Rejected{because}."),
        State::Queued | State::Submitting | State::Waiting | State::InDoubt => String::new(),
    }
}

fn when(at: Timestamp, now: Timestamp) -> String {
    if at <= now {
        return "now".to_owned();
    }
    format!("in {}", span(at.since(now)))
}

/// `12 s`, `4 min`, `3 h`, `2 d`.
fn span(span: Duration) -> String {
    let seconds = span.as_secs().max(1);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
