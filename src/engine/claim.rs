//! Choosing what an account does next: only when its gate is open, its limits have room and something is due.
//!
//! Architecture invariant: limits are asked before jobs are picked; nothing is claimed to be put back.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::Runner;
use super::bisect::SetId;
use super::wake::Rest;
use super::{chore, log, step};
use crate::crash;
use crate::domain::account::Gate;
use crate::domain::state::Input;
use crate::domain::{Call, Job, JobId, Reason, State, Timestamp};
use crate::store::{Batch as Changes, Change, DueJob, Lane, OrderBody, StoreError, StoreHealth};
use crate::vendors::{Batch, Due, Floor, JobView};

/// How soon to look again when the store does not answer, or when only jobs under way are due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// While orders are stopped, so many of them are passed over at a time.
const STOPPED_AT_A_TIME: usize = 256;
/// How many due jobs are read at first, beside those that there is room for.
const NARROW: usize = 32;

/// A due job with everything that a request for it needs.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub job: Arc<Job>,
    pub body: Arc<OrderBody>,
}

impl Claimed {
    pub fn view(&self) -> JobView<'_> {
        JobView { job: &self.job, params: self.body.value(), partial: self.body.partial.as_deref() }
    }
}

/// Jobs that travel in one request.
#[derive(Debug)]
pub struct Group {
    pub call: Call,
    pub jobs: Vec<Claimed>,
    /// The suspects that it is to test.
    pub set: Option<SetId>,
    pub oldest_due: Timestamp,
    batch: Batch,
}

impl Group {
    /// What must not be looked at more often than this: only a request for one job has such a floor. None: the driver panicked.
    pub fn floor(&self, runner: &Runner) -> Option<Option<Floor>> {
        let [claimed] = self.jobs.as_slice() else { return Some(None) };
        let floor = || runner.driver().floor(self.call, &claimed.view());
        runner.guarded(&[claimed.job.id], "naming a job's floor", floor)
    }
}

/// Works for one account until `stop`.
pub async fn run(runner: Arc<Runner>, tracker: TaskTracker, stop: CancellationToken) {
    let mut first = Lane::Submit;
    while !stop.is_cancelled() && !runner.shared.failstop.is_raised() {
        runner.wake.begin_look();
        let next = match AssertUnwindSafe(round(&runner, &tracker, first)).catch_unwind().await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                tracing::error!(account = runner.name(), error = %error, "the store did not say what is due");
                Rest::Until(runner.now() + LOOK_AGAIN)
            }
            Err(_) => {
                tracing::error!(
                    account = runner.name(),
                    "choosing what is due panicked; it is tried again. This is a bug of opros"
                );
                Rest::Until(runner.now() + LOOK_AGAIN)
            }
        };
        // The lanes take turns at being first, so that neither starves when there is room for one request only.
        first = if first == Lane::Submit { Lane::Free } else { Lane::Submit };
        runner.wake.rest(next);
        runner.shared.rested.notify_waiters();
        let timer = async {
            match next {
                Rest::Woken | Rest::Working => std::future::pending().await,
                Rest::Until(at) => runner.shared.clock.sleep_until(at).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = runner.wake.notified() => {}
            () = timer => {}
        }
    }
}

/// One look at what is due, and as many requests as there is room for.
async fn round(runner: &Arc<Runner>, tracker: &TaskTracker, first: Lane) -> Result<Rest, StoreError> {
    let now = runner.now();
    let health = runner.shared.store.health();
    if let StoreHealth::Blocked { .. } = health {
        return Ok(Rest::Until(now + LOOK_AGAIN));
    }
    let trial = chore::try_primary(runner, tracker);
    let account = runner.account();
    let in_flight = runner.requests_in_flight();
    let (room, lanes) = match account.gate(now) {
        Gate::Paused => return Ok(Rest::Woken),
        Gate::Frozen(until) => return Ok(Rest::Until(until)),
        Gate::Broken(until) => return Ok(Rest::Until(trial.map_or(until, |trial| trial.min(until)))),
        Gate::Probe if chore::probe(runner, tracker) => return Ok(Rest::Woken),
        // One request finds out whether the vendor is back; a free one if there is any.
        Gate::Probe => (1_usize.saturating_sub(in_flight), vec![Lane::Free, Lane::Submit]),
        Gate::FreeCallsOnly | Gate::Open => {
            let second = if first == Lane::Submit { Lane::Free } else { Lane::Submit };
            (runner.setup().limits.max_in_flight.saturating_sub(in_flight), vec![first, second])
        }
    };
    if room == 0 {
        return Ok(Rest::Woken);
    }
    let interval = runner.setup().limits.min_interval;
    let room = if interval.is_zero() { room } else { 1 };
    if let Some(at) = runner.last_call(&account).map(|last| last + interval).filter(|at| *at > now) {
        return Ok(Rest::Until(at));
    }
    let mut left = room;
    while left > 0
        && let Some(chore) = runner.next_chore()
    {
        chore::spawn_chore(runner, tracker, chore, None);
        left -= 1;
    }
    let budget = runner.budget_spent(now);
    let free_only = account.pause.is_some() || budget.is_some() || matches!(health, StoreHealth::Tight { .. });
    if !free_only {
        runner.none_stopped();
    }
    let picked = pick(runner, &lanes, now, left, free_only).await?;
    give_up(runner, picked.given_up).await?;
    let (mut too_early, mut others_are_due) = (Vec::new(), false);
    for group in picked.groups {
        if left == 0 {
            break;
        }
        if let Some(instead) = under_floor(runner, &group, now) {
            others_are_due = true;
            if let Instead::Input(job, input) = instead {
                too_early.push((job, input));
            }
            continue;
        }
        crash::point("claim.picked");
        if step::spawn_call(runner, tracker, group) {
            runner.take_slot(now);
            left -= 1;
        }
    }
    give_up(runner, too_early).await?;
    if others_are_due && left > 0 {
        // What was put off stood before others that may go.
        return Ok(Rest::Until(now));
    }
    if left == 0 {
        return Ok(if interval.is_zero() { Rest::Woken } else { Rest::Until(now + interval) });
    }
    let room_again = matches!(health, StoreHealth::Tight { .. }).then_some(now + LOOK_AGAIN);
    let later = trial.into_iter().chain(room_again).chain(budget.map(|spent| spent.until)).min();
    next_look(runner, &lanes, &picked.outlook, later, now).await
}

/// What is done with a group instead of sending it.
enum Instead {
    Input(JobId, Input),
    /// The driver panicked over it: it is looked at once more.
    Again,
}

/// What was looked at too recently, by this or another job, is put off until it may be looked at again.
fn under_floor(runner: &Runner, group: &Group, now: Timestamp) -> Option<Instead> {
    let job = group.jobs[0].job.id;
    let Some(floor) = group.floor(runner) else {
        return Some(runner.aside(job).map_or(Instead::Again, |input| Instead::Input(job, input)));
    };
    let until = runner.look(&floor?, now).err()?;
    Some(Instead::Input(job, Input::Postpone { until }))
}

/// What is due now and was not picked is under way, held back or waits for company: an end or a time wakes us for it.
async fn next_look(
    runner: &Runner,
    lanes: &[Lane],
    picked: &Outlook,
    later: Option<Timestamp>,
    now: Timestamp,
) -> Result<Rest, StoreError> {
    let mut due = None;
    for lane in lanes {
        let next = runner.shared.store.next_due(runner.name(), *lane, now).await?;
        due = due.into_iter().chain(next).min();
    }
    // While somebody waits for company, those who come meanwhile are gathered, not met one by one.
    let due = due.map(|due: Timestamp| due.max(now + picked.gather));
    let more = picked.truncated.then_some(now + LOOK_AGAIN);
    let at = [due, more, picked.company_until, later].into_iter().flatten().min();
    Ok(at.map_or(Rest::Woken, Rest::Until))
}

#[derive(Debug, Default)]
struct Picked {
    groups: Vec<Group>,
    /// Jobs that need no call: nothing left to ask, nothing to ask yet, or damaged.
    given_up: Vec<(JobId, Input)>,
    /// New orders are stopped; what costs nothing goes on.
    free_only: bool,
    /// Due jobs of refused batches: they travel by themselves.
    suspects: BTreeMap<SetId, Vec<Group>>,
    outlook: Outlook,
}

/// What one look left for the next.
#[derive(Debug, Default, Clone, Copy)]
struct Outlook {
    /// When a group that waits for company goes without it.
    company_until: Option<Timestamp>,
    /// How long those who come meanwhile may be left alone.
    gather: Duration,
    /// More is due than was looked at.
    truncated: bool,
}

async fn pick(
    runner: &Runner,
    lanes: &[Lane],
    now: Timestamp,
    room: usize,
    free_only: bool,
) -> Result<Picked, StoreError> {
    let mut picked = Picked { free_only, ..Picked::default() };
    if room == 0 {
        return Ok(picked);
    }
    let wide = room * runner.driver().widest_batch() + runner.bisect.held();
    let narrow = wide.min(room + NARROW);
    // Thousands may be due of which the limits let one go: where a few rows tell which, the others are not read.
    let mut all = sort_due(runner, lanes, now, narrow, &mut picked).await?;
    if !all && narrow < wide && !picked.is_enough(room) {
        picked = Picked { free_only, ..Picked::default() };
        all = sort_due(runner, lanes, now, wide, &mut picked).await?;
    }
    picked.outlook.truncated |= !all;
    let waits_for_company =
        |group: &Group| group.jobs.len() < group.batch.max && group.oldest_due + group.batch.wait > now;
    let company = || picked.groups.iter().filter(|group| waits_for_company(group));
    picked.outlook.gather = company().map(|group| group.batch.wait / 10).min().unwrap_or_default();
    picked.outlook.company_until = company().map(|group| group.oldest_due + group.batch.wait).min();
    picked.groups.retain(|group| !waits_for_company(group));
    if let Some(room) = runner.budget_room() {
        let orders = picked.groups.iter_mut().filter(|group| group.call == Call::Submit);
        orders.for_each(|group| group.jobs.truncate(room.max(1)));
    }
    let suspects = std::mem::take(&mut picked.suspects);
    let tests = suspects.into_iter().filter_map(|(set, due)| test_of(runner, set, due));
    picked.groups = tests.chain(picked.groups).collect();
    Ok(picked)
}

impl Picked {
    /// The driver panicked over it: it is looked at once more, and then set aside. The others go on.
    fn struck(&mut self, runner: &Runner, job: JobId) {
        match runner.aside(job) {
            Some(input) => self.given_up.push((job, input)),
            None => self.outlook.truncated = true,
        }
    }

    /// The requests that there is room for are known, whatever else is due.
    fn is_enough(&self, room: usize) -> bool {
        let mut next = self.groups.iter().take(room);
        self.suspects.is_empty() && self.groups.len() >= room && next.all(|group| group.jobs.len() >= group.batch.max)
    }
}

/// Sorts the first `limit` due jobs of each lane into groups; true when these are all.
async fn sort_due(
    runner: &Runner,
    lanes: &[Lane],
    now: Timestamp,
    limit: usize,
    picked: &mut Picked,
) -> Result<bool, StoreError> {
    let mut queues = Vec::new();
    let mut all = true;
    for lane in lanes {
        let due = if picked.free_only && *lane == Lane::Submit {
            free_of_stopped(runner, now, limit, &mut all).await?
        } else {
            let due = runner.shared.store.due(runner.name(), *lane, now, limit, &runner.jobs_in_flight()).await?;
            all &= due.len() < limit;
            due
        };
        queues.push(due.into_iter());
    }
    // One of each lane in turn.
    loop {
        let mut found = false;
        for queue in &mut queues {
            if let Some(due) = queue.next() {
                found = true;
                sort_in(runner, due, now, picked);
            }
        }
        if !found {
            return Ok(all);
        }
    }
}

/// While new orders are stopped: what costs nothing among the first of them. Those that are stopped are passed over, and are
/// remembered, so that each is read once.
async fn free_of_stopped(
    runner: &Runner,
    now: Timestamp,
    limit: usize,
    all: &mut bool,
) -> Result<Vec<DueJob>, StoreError> {
    let mut free = Vec::new();
    let window = limit.max(STOPPED_AT_A_TIME);
    loop {
        let mut passed = runner.jobs_in_flight();
        passed.extend(runner.stopped());
        let due = runner.shared.store.due(runner.name(), Lane::Submit, now, window, &passed).await?;
        let more = due.len() >= window;
        let (costs_nothing, stopped): (Vec<DueJob>, Vec<DueJob>) =
            due.into_iter().partition(|due| due.job.traits.repeatable);
        let progress = runner.stop(stopped.iter().map(|due| due.job.id));
        free.extend(costs_nothing);
        if !more || free.len() >= limit || !progress {
            *all &= !more;
            return Ok(free);
        }
        // What was found so far is found again.
        free.clear();
    }
}

/// The next request of a set of suspects, made of those of its due jobs that are to travel in it.
fn test_of(runner: &Runner, set: SetId, due: Vec<Group>) -> Option<Group> {
    let id = |group: &Group| group.jobs[0].job.id;
    let next = runner.bisect.next_of(set, &due.iter().map(id).collect::<Vec<_>>());
    let mut chosen = due.into_iter().filter(|group| next.contains(&id(group)));
    let first = Group { set: Some(set), ..chosen.next()? };
    Some(chosen.fold(first, |mut group, other| {
        if other.batch.key == group.batch.key && group.jobs.len() < group.batch.max {
            group.oldest_due = group.oldest_due.min(other.oldest_due);
            group.jobs.extend(other.jobs);
        }
        group
    }))
}

fn sort_in(runner: &Runner, due: DueJob, now: Timestamp, picked: &mut Picked) {
    let id = due.job.id;
    if due.job.state != State::InDoubt && due.job.deadline.is_some_and(|deadline| deadline <= now) {
        // The sweep may not have come to it yet, after a stop or a suspension.
        picked.given_up.push((id, Input::Expire));
        return;
    }
    let Some(what) = runner.guarded(&[id], "judging a due job", || runner.driver().due(&due.job, now)) else {
        picked.struck(runner, id);
        return;
    };
    let call = match what {
        Due::Call(call) => call,
        Due::GiveUp(reason) => {
            picked.given_up.push((id, Input::GiveUp { reason }));
            return;
        }
        Due::Later(until) => {
            picked.given_up.push((id, Input::Postpone { until }));
            return;
        }
        Due::Nothing => return,
    };
    let oldest_due = due.job.due_at.unwrap_or(now);
    let claimed = match undamaged(due, call) {
        Ok(claimed) => claimed,
        Err(reason) => {
            picked.given_up.push((id, Input::Abandon { reason }));
            return;
        }
    };
    if picked.free_only && call == Call::Submit && !claimed.job.traits.repeatable {
        return;
    }
    let batching = || runner.driver().batch(&claimed.view(), call);
    let Some(batch) = runner.guarded(&[id], "batching a job", batching) else {
        picked.struck(runner, id);
        return;
    };
    let mut alone = Group { call, jobs: vec![claimed], set: None, oldest_due, batch };
    if let Some(set) = runner.bisect.set_of(call, id) {
        picked.suspects.entry(set).or_default().push(alone);
        return;
    }
    let open = picked.groups.iter_mut().find(|group| {
        batch.max > 1 && group.call == call && group.batch.key == batch.key && group.jobs.len() < batch.max
    });
    match open {
        Some(group) => {
            group.oldest_due = group.oldest_due.min(oldest_due);
            group.jobs.append(&mut alone.jobs);
        }
        None => picked.groups.push(alone),
    }
}

/// A submit is paid: what would be sent must be what was ordered, to the byte.
fn undamaged(due: DueJob, call: Call) -> Result<Claimed, Reason> {
    let body = &due.body;
    let intact = || crate::domain::exchange::sha256_hex(body.params.as_bytes()) == body.params_hash;
    if call == Call::Submit && (body.value().is_null() || !intact()) {
        return Err(Reason::new(
            "params_damaged",
            "the stored params are not what was ordered (their hash differs): the disk may be failing; nothing was sent",
        ));
    }
    Ok(Claimed { job: due.job, body: due.body })
}

async fn give_up(runner: &Runner, jobs: Vec<(JobId, Input)>) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let changes = jobs.into_iter().map(|(job, input)| Change { job, input }).collect();
    for result in runner.shared.store.apply(Changes::of(runner.now(), changes)).await? {
        match result {
            Ok(job) => log::log_end(&job),
            Err(error) => {
                tracing::debug!(account = runner.name(), error = %error, "a job moved on before it was given up")
            }
        }
    }
    Ok(())
}
