//! One account at work: its driver, its client, its limits, and what it knows of the vendor's mood.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::bisect::{Bisect, SetId};
use super::failstop::FailStop;
use super::quarantine::Quarantine;
use super::wake::Wake;
use crate::clock::SharedClock;
use crate::domain::account::{Balance, BreakerNews, Gate};
use crate::domain::exchange::Host;
use crate::domain::hosts::{HostNews, HostPolicy};
use crate::domain::policy::Growth;
use crate::domain::privacy::masked;
use crate::domain::spending::{BudgetSpent, Rules};
use crate::domain::{Account, Call, EventType, JobId, NewEvent, Pause, PauseSource, Reason, Timestamp};
use crate::http::Client;
use crate::meters::EngineMeters;
use crate::store::{AccountChange, Store};
use crate::vendors::{AccountCall, AccountNews, Floor, Vendor};

/// How old the stored time of the last success may get before it is written again.
const SUCCESS_NOTE_EVERY: Duration = Duration::from_secs(60);

/// So many stopped orders are remembered: what costs nothing behind more of them waits.
const STOPPED_KEPT: usize = 50_000;

/// Beyond this many remembered looks, those whose floor has passed are forgotten.
const LOOKED_KEPT: usize = 10_000;

/// How an account is set up; comes from the config.
#[derive(Debug)]
pub struct AccountSetup {
    pub name: String,
    pub vendor: &'static str,
    pub driver: Arc<dyn Vendor>,
    pub client: Client,
    pub limits: Limits,
    /// What its orders cost, and how many there may be.
    pub spending: Arc<Rules>,
    /// How long no host may answer before `account.unreachable` is announced.
    pub alert_after: Duration,
    /// How long a tracker may go without being observed until `job.stale` is announced; none = for ever.
    pub stale_after: Option<Duration>,
    /// What that announcement advises.
    pub advice: Option<&'static str>,
    /// How the vendor's hosts are dealt with. None: it has one, and jobs probe it while the breaker is open.
    pub hosts: Option<HostPolicy>,
}

/// They count requests, over all calls of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max_in_flight: usize,
    pub min_interval: Duration,
}

/// What the accounts share.
#[derive(Debug, Clone)]
pub struct Shared {
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub failstop: FailStop,
    /// A deadline may have come closer.
    pub deadlines: Arc<Wake>,
    /// An account has looked for work and rests.
    pub rested: Arc<Notify>,
    pub meters: EngineMeters,
}

#[derive(Debug)]
pub struct Runner {
    name: String,
    /// Replaced by a reload; a call under way keeps the one that it began with.
    setup: RwLock<Arc<AccountSetup>>,
    /// Ends its loop: the account is not configured any more.
    retired: Mutex<CancellationToken>,
    pub shared: Shared,
    /// Until when the run before this one may have called.
    former_run: Option<Timestamp>,
    /// Something may be due sooner than was thought.
    pub wake: Wake,
    /// Who is suspected of spoiling a batch.
    pub bisect: Bisect,
    /// Over whom the driver panicked.
    pub quarantine: Quarantine,
    account: Mutex<Account>,
    busy: Mutex<Busy>,
    /// When the last request left this process; guards `min_interval` to the letter.
    pub last_sent: tokio::sync::Mutex<Option<Timestamp>>,
}

#[derive(Debug, Default)]
struct Busy {
    /// When things with a floor were last looked at, by the vendor's ids.
    looked: HashMap<String, Timestamp>,
    jobs: HashSet<JobId>,
    /// Due orders that were seen while none may go out.
    stopped: HashSet<JobId>,
    /// Nothing can be written about these, so that they are called about no more while this process lives.
    barred: HashSet<JobId>,
    requests: usize,
    chores: VecDeque<AccountCall>,
    /// The budget is spent, as the store said last; it is asked again when the next window begins.
    spent: Option<BudgetSpent>,
    /// The budget has room for so many more orders only.
    room: Option<usize>,
}

impl Runner {
    pub fn new(setup: AccountSetup, account: Account, shared: Shared) -> Arc<Self> {
        let noted = account.last_success_at.map(|at| at + SUCCESS_NOTE_EVERY);
        let former_run = account.last_call_at.max(noted).map(|at| at.min(shared.clock.now()));
        Arc::new(Self {
            name: setup.name.clone(),
            setup: RwLock::new(Arc::new(setup)),
            retired: Mutex::default(),
            shared,
            former_run,
            wake: Wake::default(),
            bisect: Bisect::default(),
            quarantine: Quarantine::default(),
            account: Mutex::new(account),
            busy: Mutex::default(),
            last_sent: tokio::sync::Mutex::new(None),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn setup(&self) -> Arc<AccountSetup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next call goes by this one; limits, breaker and distances stay what they are. A budget that was spent may be
    /// larger now: the store is asked again.
    pub fn set_up(&self, setup: AccountSetup) {
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
        self.reopen_budget();
    }

    pub fn driver(&self) -> Arc<dyn Vendor> {
        Arc::clone(&self.setup().driver)
    }

    /// What ends its loop: the engine's stop, or [`Runner::retire`].
    pub fn begin(&self, stop: &CancellationToken) -> CancellationToken {
        let token = stop.child_token();
        *lock(&self.retired) = token.clone();
        token
    }

    /// Begins no new call. Those under way end as they would have.
    pub fn retire(&self) {
        lock(&self.retired).cancel();
    }

    /// Whether no call may begin, or leave, any more: since it was chosen the account may have been paused, silenced or taken
    /// out, or opros is stopping.
    pub fn is_shut(&self, call: Call, repeatable: bool) -> bool {
        match self.account().gate(self.now()) {
            Gate::Paused | Gate::Frozen(_) => true,
            Gate::FreeCallsOnly if call == Call::Submit && !repeatable => true,
            Gate::FreeCallsOnly | Gate::Broken(_) | Gate::Probe | Gate::Open => lock(&self.retired).is_cancelled(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What is known of the account at this moment.
    pub fn account(&self) -> Account {
        lock(&self.account).clone()
    }

    /// Changes the account and says what to store; nothing when only the time of the last success moved a little.
    pub fn change(&self, change: impl FnOnce(&mut Account) -> Vec<NewEvent>) -> Option<AccountChange> {
        let mut account = lock(&self.account);
        let before = account.clone();
        let events = change(&mut account);
        let fresh = match (account.last_success_at, before.last_success_at) {
            (Some(new), Some(old)) => new.since(old) < SUCCESS_NOTE_EVERY,
            (new, old) => new == old,
        };
        let same = Account { last_success_at: before.last_success_at, ..account.clone() } == before;
        if same && fresh && events.is_empty() {
            // Kept as it is stored, so that the next comparison is with what the store knows.
            account.last_success_at = before.last_success_at;
            return None;
        }
        account.version += 1;
        Some(AccountChange { name: self.name.clone(), account: account.clone(), events })
    }

    /// The account's state, to be stored whether it changed or not.
    pub fn as_it_stands(&self) -> AccountChange {
        let mut account = lock(&self.account);
        account.version += 1;
        AccountChange { name: self.name.clone(), account: account.clone(), events: Vec::new() }
    }

    /// Takes the right to make the next call; the one after it keeps its distance from now on.
    pub fn take_slot(&self, now: Timestamp) {
        lock(&self.account).last_call_at = Some(now);
    }

    // ---- what is under way ---------------------------------------------------------------------------------------

    pub fn requests_in_flight(&self) -> usize {
        lock(&self.busy).requests
    }

    /// Those that are under way or out of work.
    pub fn jobs_in_flight(&self) -> Vec<JobId> {
        let busy = lock(&self.busy);
        busy.jobs.iter().chain(&busy.barred).copied().collect()
    }

    /// Orders that were seen while none may go out.
    pub fn stopped(&self) -> Vec<JobId> {
        lock(&self.busy).stopped.iter().copied().collect()
    }

    /// Remembers more of them; false when nothing was added.
    pub fn stop(&self, orders: impl Iterator<Item = JobId>) -> bool {
        let mut busy = lock(&self.busy);
        let before = busy.stopped.len();
        if before < STOPPED_KEPT {
            busy.stopped.extend(orders);
        }
        busy.stopped.len() > before
    }

    /// Orders may go out again.
    pub fn none_stopped(&self) {
        lock(&self.busy).stopped = HashSet::new();
    }

    pub fn bar(&self, job: JobId) {
        lock(&self.busy).barred.insert(job);
    }

    /// The jobs that nothing can be written about.
    pub fn barred(&self) -> Vec<JobId> {
        lock(&self.busy).barred.iter().copied().collect()
    }

    /// Marks jobs as under way, and a request as in flight, until the guard is dropped. None: one of them is under way
    /// already, or an operator's move is.
    pub fn occupy(self: &Arc<Self>, jobs: Vec<JobId>, set: Option<SetId>) -> Option<Occupied> {
        let mut busy = lock(&self.busy);
        if jobs.iter().any(|job| busy.jobs.contains(job)) {
            return None;
        }
        set.into_iter().for_each(|set| self.bisect.begin(set));
        busy.requests += 1;
        busy.jobs.extend(&jobs);
        Some(Occupied { runner: Arc::clone(self), jobs, set, requests: 1 })
    }

    /// Keeps a job from being called about until the guard is dropped. None: a call about it is under way.
    pub fn hold_still(self: &Arc<Self>, job: JobId) -> Option<Occupied> {
        let mut busy = lock(&self.busy);
        let free = busy.jobs.insert(job);
        free.then(|| Occupied { runner: Arc::clone(self), jobs: vec![job], set: None, requests: 0 })
    }

    /// When a request was last chosen, by this run or the one before it; none where requests need no distance.
    pub fn last_call(&self, account: &Account) -> Option<Timestamp> {
        if self.setup().limits.min_interval.is_zero() {
            return None;
        }
        account.last_call_at
    }

    /// Takes the right to look at something with a floor; or says when it may be looked at.
    pub fn look(&self, floor: &Floor, now: Timestamp) -> Result<(), Timestamp> {
        let mut busy = lock(&self.busy);
        // What the former run looked at last is not known: it may have been this.
        let last = busy.looked.get(&floor.key).copied().or(self.former_run);
        if let Some(at) = last.map(|last| last + floor.every).filter(|at| *at > now) {
            return Err(at);
        }
        if busy.looked.len() >= LOOKED_KEPT {
            busy.looked.retain(|_, last| *last + floor.every > now);
        }
        busy.looked.insert(floor.key.clone(), now);
        Ok(())
    }

    /// The look left only now.
    pub fn looked(&self, floor: &Floor, at: Timestamp) {
        lock(&self.busy).looked.insert(floor.key.clone(), at);
    }

    pub fn add_chore(&self, call: AccountCall) {
        {
            let mut busy = lock(&self.busy);
            if !busy.chores.contains(&call) {
                busy.chores.push_back(call);
            }
        }
        self.wake.notify_one();
    }

    pub fn next_chore(&self) -> Option<AccountCall> {
        lock(&self.busy).chores.pop_front()
    }

    // ---- the budget ----------------------------------------------------------------------------------------------

    /// Why nothing that costs may be ordered now.
    pub fn budget_spent(&self, now: Timestamp) -> Option<BudgetSpent> {
        lock(&self.busy).spent.clone().filter(|spent| spent.until > now)
    }

    /// How many orders one request may carry, where the budget has room for fewer than it might.
    pub fn budget_room(&self) -> Option<usize> {
        lock(&self.busy).room
    }

    /// Something was given back, or an operator asks for another try: the store is asked again.
    pub fn reopen_budget(&self) {
        let mut busy = lock(&self.busy);
        (busy.spent, busy.room) = (None, None);
    }

    /// The store let only so many orders of a request begin.
    pub fn budget_ends(&self, begun: usize, mut spent: BudgetSpent) -> Option<AccountChange> {
        if begun > 0 {
            lock(&self.busy).room = Some(begun);
            return None;
        }
        let now = self.now();
        let change = self.change(|account| {
            if account.budget_announced.is_some_and(|until| until > now && until >= spent.until) {
                // Found again, after a restart or another try: it has been full since then.
                spent.since = account.budget_since.unwrap_or(spent.since);
                return Vec::new();
            }
            (account.budget_announced, account.budget_since) = (Some(spent.until), Some(spent.since));
            let data = json!({ "reason": spent.reason, "window": spent.span, "until": spent.until.to_rfc3339() });
            vec![NewEvent { kind: EventType::AccountBudgetSpent, data }]
        });
        if change.is_some() {
            tracing::warn!(
                account = self.name(),
                until = %spent.until,
                "{}; its jobs wait, what is paid already goes on",
                masked(&spent.reason.message)
            );
        }
        let mut busy = lock(&self.busy);
        (busy.spent, busy.room) = (Some(spent), None);
        change
    }

    // ---- what calls teach about the account ----------------------------------------------------------------------

    /// The host of the next call.
    pub fn host(&self) -> (Host, Option<AccountChange>) {
        let setup = self.setup();
        let Some(policy) = &setup.hosts else { return (Host::Primary, None) };
        let now = self.now();
        let mut chosen = (Host::Primary, HostNews::Nothing);
        let change = self.change(|account| {
            chosen = account.hosts.choose(policy, now);
            Vec::new()
        });
        if chosen.1 == HostNews::ToReserve {
            tracing::warn!(account = self.name(), "the primary host is silent; the reserve host is used from now on");
        }
        (chosen.0, change)
    }

    /// The primary is tried now, while the reserve is used.
    pub fn tried_primary(&self) -> Option<AccountChange> {
        let now = self.now();
        self.change(|account| {
            if account.hosts.on_reserve.is_some() {
                account.hosts.tried(now);
            }
            Vec::new()
        })
    }

    /// A whole readable answer came from that host to such a call.
    pub fn answered(&self, host: Host, call: &str) -> Option<AccountChange> {
        let now = self.now();
        self.change(|account| {
            account.let_in(call);
            if account.hosts.answered(host) == HostNews::ToPrimary {
                tracing::info!(account = self.name(), "the primary host answers again and is used from now on");
            }
            let announced = account.breaker.announced;
            match account.answered(now) {
                BreakerNews::Closed => {
                    tracing::info!(account = self.name(), "the vendor answers again");
                    let event = NewEvent::bare(EventType::AccountRecovered);
                    if announced { vec![event] } else { Vec::new() }
                }
                BreakerNews::Nothing | BreakerNews::Opened => Vec::new(),
            }
        })
    }

    /// A call that left at `began` brought no whole readable answer of that host.
    pub fn failed(&self, host: Host, reason: Reason, began: Timestamp) -> Option<AccountChange> {
        let reason = impersonal(reason);
        let (now, setup) = (self.now(), self.setup());
        self.change(|account| {
            let text = masked(&reason.message);
            if setup.hosts.is_some() && !account.hosts.failed(host, now) {
                // The primary was only tried; the reserve is in use.
                tracing::info!(account = self.name(), error = text, "the primary host is still silent");
                return Vec::new();
            }
            let news = account.failed(reason.clone(), began, now);
            if news == BreakerNews::Opened {
                tracing::warn!(
                    account = self.name(),
                    error = text,
                    "three calls in a row brought no readable answer; opros now only probes, at growing intervals"
                );
            }
            let events = self.alarm(account, &reason, now);
            if let Some(policy) = &setup.hosts {
                account.probe_for(policy, setup.alert_after, now);
            }
            events
        })
    }

    /// Announces once that no host has answered for too long.
    fn alarm(&self, account: &mut Account, reason: &Reason, now: Timestamp) -> Vec<NewEvent> {
        let setup = self.setup();
        let open_since = account.breaker.open_since.filter(|_| !account.breaker.announced);
        let since = open_since.map(|since| account.hosts.silent_since.unwrap_or(since));
        let Some(since) = since.filter(|since| now >= *since + setup.alert_after) else { return Vec::new() };
        account.breaker.announced = true;
        let advice = setup.advice.unwrap_or_default();
        tracing::error!(account = self.name(), since = %since, "no host of the vendor answers; nothing can be asked or ordered. {advice}");
        let mut data = json!({ "since": since.to_rfc3339(), "error": reason });
        if let Some(advice) = setup.advice {
            data["advice"] = json!(advice);
        }
        vec![NewEvent { kind: EventType::AccountUnreachable, data }]
    }

    /// The vendor refused a call that left at `began` for now: the account as a whole is silent. Its jobs stay due, and go on
    /// when that ends or is lifted.
    pub fn refused_for_now(
        &self,
        call: &str,
        asked: Option<Duration>,
        own: Growth,
        began: Timestamp,
    ) -> Option<AccountChange> {
        let now = self.now();
        let mut wait = Duration::ZERO;
        let change = self.change(|account| {
            wait = account.refused_for_now(call, asked, own, began, now);
            Vec::new()
        });
        tracing::warn!(
            account = self.name(),
            call,
            seconds = wait.as_secs(),
            asked = asked.map(|asked| asked.as_secs()),
            "the vendor asked for silence; no call until then"
        );
        change
    }

    pub fn pause(&self, by: PauseSource, reason: Reason, submits_only: bool) -> Option<AccountChange> {
        let now = self.now();
        let change = self.change(|account| {
            if !account.pause(by, reason.clone(), submits_only, now) {
                return Vec::new();
            }
            let data = json!({ "by": by, "reason": reason, "submits_only": submits_only });
            vec![NewEvent { kind: EventType::AccountPaused, data }]
        });
        if change.is_some() {
            tracing::warn!(
                account = self.name(),
                code = reason.code,
                reason = masked(&reason.message),
                submits_only,
                "the account is paused; its jobs wait. Mend the cause, then: opros resume {}",
                self.name()
            );
        }
        change
    }

    pub fn resume(&self) -> Option<AccountChange> {
        let change =
            self.change(
                |account| {
                    if account.resume() { vec![NewEvent::bare(EventType::AccountResumed)] } else { Vec::new() }
                },
            );
        tracing::info!(account = self.name(), "the account was resumed");
        change
    }

    pub fn hear(&self, news: AccountNews) -> Option<AccountChange> {
        match news {
            AccountNews::Pause { reason, submits_only } => {
                self.pause(PauseSource::Vendor, impersonal(reason), submits_only)
            }
            AccountNews::Balance(balance) => self.balance(balance),
            AccountNews::TariffEnds(at) => self.change(|account| {
                account.tariff_ends_at = at;
                Vec::new()
            }),
        }
    }

    /// Announces a low balance once, and again only after it stood a tenth above the threshold.
    fn balance(&self, balance: Balance) -> Option<AccountChange> {
        let threshold = self.driver().balance_low();
        self.change(|account| {
            let low = threshold.is_some_and(|threshold| balance.amount <= threshold);
            let well_above = threshold.is_none_or(|threshold| balance.amount >= threshold * 1.1);
            let data = json!({ "balance": balance.amount, "unit": balance.unit, "threshold": threshold });
            let more = account.balance.as_ref().is_none_or(|before| balance.amount > before.amount);
            let paid_up = |pause: &Pause| pause.by == PauseSource::Vendor && pause.submits_only;
            let mut events = Vec::new();
            if more && well_above && balance.amount > 0.0 && account.pause.as_ref().is_some_and(paid_up) {
                // New orders were stopped for want of money, and there is money again.
                account.resume();
                events.push(NewEvent { kind: EventType::AccountResumed, data: json!({ "by": "balance" }) });
            }
            let announce = low && !account.low_announced;
            account.low_announced = (account.low_announced || low) && !well_above;
            account.balance = Some(balance);
            if announce {
                events.push(NewEvent { kind: EventType::AccountBalanceLow, data });
            }
            events
        })
    }
}

/// Held while a request is in flight, or while nothing may be called about a job.
#[derive(Debug)]
pub struct Occupied {
    runner: Arc<Runner>,
    jobs: Vec<JobId>,
    set: Option<SetId>,
    requests: usize,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.set.into_iter().for_each(|set| self.runner.bisect.end(set));
        let mut busy = lock(&self.runner.busy);
        busy.requests -= self.requests;
        for job in &self.jobs {
            busy.jobs.remove(job);
        }
        // Under the lock: whoever sees that nothing is under way sees that the account was woken, too.
        self.runner.wake.notify_one();
    }
}

/// A panic while the lock was held left the value as it was before or after one assignment: both are usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an account shows outlives the job that it came with, and is seen by whoever looks at accounts: a vendor's words go
/// there without the phones, VINs and addresses that they may quote.
fn impersonal(reason: Reason) -> Reason {
    Reason { message: masked(&reason.message), ..reason }
}
