//! The engine: makes due jobs move. See `docs/architecture.md` for the flow of one job through the files.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod account;
pub mod backup;
mod bisect;
mod chore;
mod claim;
pub mod explain;
pub mod failstop;
mod freshness;
pub mod intake;
mod keeper;
mod log;
mod meaning;
mod measure;
#[cfg(feature = "crashtest")]
mod mutants;
pub mod ops;
mod outcome;
mod pulse;
mod quarantine;
mod recover;
pub mod schedule;
mod step;
mod sweep;
pub mod timetable;
pub mod wake;

use self::account::{AccountSetup, Runner, Shared};
use self::failstop::FailStop;
use self::intake::Intake;
use self::timetable::Timetable;
use self::wake::Rest;
use crate::clock::SharedClock;
use crate::crash;
use crate::domain::Timestamp;
use crate::meters::EngineMeters;
use crate::store::{Store, StoreError};
use crate::vendors::AccountCall;

/// A handle on the running engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Shared,
    accounts: RwLock<Accounts>,
    timetable: Timetable,
    /// The accounts may want their trackers to be fresher.
    objectives: Arc<Notify>,
    /// Operators decide about jobs in doubt one after another: who comes second finds what the first has decided.
    decisions: tokio::sync::Mutex<()>,
    /// No new calls from now on.
    stop: CancellationToken,
    /// Loops and calls that shutdown waits for.
    tasks: TaskTracker,
}

/// What a reload replaces.
#[derive(Debug)]
struct Accounts {
    intake: Intake,
    runners: BTreeMap<String, Arc<Runner>>,
    /// Not configured any more. Their calls may be under way, and should they come back, they know their limits.
    retired: BTreeMap<String, Arc<Runner>>,
}

fn intake_of(setups: &[AccountSetup]) -> Intake {
    Intake::new(setups.iter().map(|s| (s.name.clone(), (s.vendor, Arc::clone(&s.driver)))).collect())
}

impl Engine {
    /// Reads what the store knows of the accounts. Nothing is called before [`Engine::start`].
    pub async fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        failstop: FailStop,
        setups: Vec<AccountSetup>,
    ) -> Result<Self, StoreError> {
        let known = store.accounts().await?;
        let shared = Shared {
            store,
            clock,
            failstop,
            deadlines: Arc::default(),
            rested: Arc::default(),
            meters: EngineMeters::default(),
        };
        let intake = intake_of(&setups);
        let runners = setups
            .into_iter()
            .map(|setup| {
                let mut account = known.get(&setup.name).cloned().unwrap_or_default();
                start_politely(&mut account, &setup, shared.clock.now());
                (setup.name.clone(), Runner::new(setup, account, shared.clone()))
            })
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                accounts: RwLock::new(Accounts { intake, runners, retired: BTreeMap::new() }),
                timetable: Timetable::default(),
                objectives: Arc::default(),
                decisions: tokio::sync::Mutex::default(),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        })
    }

    /// Recovers what the last run left, then lets every account work.
    pub async fn start(&self) -> Result<(), StoreError> {
        self.recover().await?;
        self.begin_all();
        Ok(())
    }

    /// Finds what the last run left. Nothing is called yet.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let interrupted = recover::recover(inner.shared.store.as_ref(), &inner.shared.clock).await?;
        if interrupted > 0 {
            tracing::warn!(
                jobs = interrupted,
                "the last run ended while calls were under way; see: opros jobs --state in_doubt"
            );
        }
        // What ran out of time while nothing ran ends before any account looks for what is due.
        sweep::expire(&inner.shared).await?;
        crash::point("start.recovered");
        Ok(())
    }

    /// Lets every account work.
    pub fn begin_all(&self) {
        let inner = &self.inner;
        self.runners().iter().for_each(|runner| self.begin(runner));
        let keeping = keeper::run(inner.shared.clone(), inner.stop.clone());
        inner.tasks.spawn(crash::watched("engine.keeper", keeping));
        let (engine, stop) = (self.clone(), inner.stop.clone());
        let sweeping = async move { sweep::run(engine.inner.shared.clone(), stop).await };
        inner.tasks.spawn(crash::watched("engine.sweep", sweeping));
        #[cfg(feature = "crashtest")]
        mutants::plant(inner);
        let engine = self.clone();
        let objectives = move || {
            let runners = engine.runners().into_iter();
            runners.filter_map(|runner| Some((runner.name().to_owned(), runner.setup().stale_after?))).collect()
        };
        let changed = Arc::clone(&inner.objectives);
        let watching = freshness::run(inner.shared.clone(), objectives, changed, inner.stop.clone());
        inner.tasks.spawn(crash::watched("engine.freshness", watching));
    }

    /// Lets an account work.
    fn begin(&self, runner: &Arc<Runner>) {
        let inner = &self.inner;
        let now = self.now();
        let asked = || runner.driver().account_request(AccountCall::Credentials, now).is_some();
        if runner.guarded(&[], "building a request about the account", asked) == Some(true) {
            runner.add_chore(AccountCall::Credentials);
        }
        let stop = runner.begin(&inner.stop);
        let claiming = claim::run(Arc::clone(runner), inner.tasks.clone(), stop);
        inner.tasks.spawn(crash::watched("engine.claim", claiming));
    }

    /// Goes on with these accounts. Calls under way end as they would have; limits, breakers and pauses stay. `fresh`:
    /// accounts whose credentials are new and are tried at once.
    pub async fn set_accounts(&self, setups: Vec<AccountSetup>, fresh: &[String]) -> Result<(), StoreError> {
        let known = self.inner.shared.store.accounts().await?;
        let mut begun = Vec::new();
        {
            let mut accounts = self.inner.accounts.write().unwrap_or_else(PoisonError::into_inner);
            accounts.intake = intake_of(&setups);
            let mut before = std::mem::take(&mut accounts.runners);
            for setup in setups {
                let name = setup.name.clone();
                let runner = if let Some(runner) = before.remove(&name) {
                    runner.set_up(setup);
                    if fresh.contains(&name) {
                        runner.add_chore(AccountCall::Credentials);
                    }
                    runner
                } else {
                    let runner = match accounts.retired.remove(&name) {
                        Some(runner) => {
                            runner.set_up(setup);
                            runner
                        }
                        None => {
                            let mut account = known.get(&name).cloned().unwrap_or_default();
                            start_politely(&mut account, &setup, self.now());
                            Runner::new(setup, account, self.inner.shared.clone())
                        }
                    };
                    begun.push(Arc::clone(&runner));
                    runner
                };
                runner.wake.notify_one();
                accounts.runners.insert(name, runner);
            }
            before.values().for_each(|runner| runner.retire());
            accounts.retired.append(&mut before);
        }
        begun.iter().for_each(|runner| self.begin(runner));
        self.inner.objectives.notify_one();
        Ok(())
    }

    fn accounts(&self) -> RwLockReadGuard<'_, Accounts> {
        self.inner.accounts.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn timetable(&self) -> &Timetable {
        &self.inner.timetable
    }

    /// Begins no new call and waits for those under way; what is cut off after this is found in doubt at the next start.
    pub async fn drain(&self) {
        crash::point("drain.begun");
        self.inner.stop.cancel();
        crash::cut_calls();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        crash::point("drain.calls_ended");
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.shared.store
    }

    pub fn clock(&self) -> &SharedClock {
        &self.inner.shared.clock
    }

    pub fn now(&self) -> Timestamp {
        self.inner.shared.clock.now()
    }

    /// As the accounts are now; cheap.
    pub fn intake(&self) -> Intake {
        self.accounts().intake.clone()
    }

    pub fn meters(&self) -> &EngineMeters {
        &self.inner.shared.meters
    }

    pub fn failstop(&self) -> &FailStop {
        &self.inner.shared.failstop
    }

    /// Cancelled when no new calls begin any more.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    pub fn is_stopping(&self) -> bool {
        self.inner.stop.is_cancelled()
    }

    /// In the order of their names.
    pub fn runners(&self) -> Vec<Arc<Runner>> {
        self.accounts().runners.values().map(Arc::clone).collect()
    }

    pub fn runner(&self, account: &str) -> Option<Arc<Runner>> {
        self.accounts().runners.get(account).map(Arc::clone)
    }

    /// Something of this account may be due sooner than it was thought.
    pub fn wake(&self, account: &str) {
        if let Some(runner) = self.runner(account) {
            runner.wake.notify_one();
        }
    }

    /// Whether all accounts rest, and until when. What an account rests until may have passed already: then it is about to look.
    pub fn resting(&self) -> Rest {
        // Asked twice around the count: a look that began a call in between, or a call whose end woke its account, shows.
        let before = self.runners_rest();
        let busy = self.calls_in_flight() > 0;
        let after = self.runners_rest();
        if busy || before != after { Rest::Working } else { after }
    }

    fn runners_rest(&self) -> Rest {
        let mut loops: Vec<Rest> = self.runners().iter().map(|runner| runner.wake.resting()).collect();
        loops.push(self.inner.shared.deadlines.resting());
        loops.into_iter().fold(Rest::Woken, |all, one| match (all, one) {
            (Rest::Working, _) | (_, Rest::Working) => Rest::Working,
            (Rest::Until(a), Rest::Until(b)) => Rest::Until(a.min(b)),
            (Rest::Until(at), Rest::Woken) | (Rest::Woken, Rest::Until(at)) => Rest::Until(at),
            (Rest::Woken, Rest::Woken) => Rest::Woken,
        })
    }

    /// Completes when an account comes to rest after this was called and enabled: a moment to ask [`Engine::resting`] again.
    pub fn rested(&self) -> tokio::sync::futures::Notified<'_> {
        self.inner.shared.rested.notified()
    }

    /// How many calls are under way, over all accounts.
    pub fn calls_in_flight(&self) -> usize {
        let accounts = self.accounts();
        accounts.runners.values().chain(accounts.retired.values()).map(|runner| runner.requests_in_flight()).sum()
    }
}

/// The last request of the former run may have left a little later than it was noted: the first one of this run keeps its
/// distance from the start, too.
fn start_politely(account: &mut crate::domain::Account, setup: &AccountSetup, now: Timestamp) {
    const LATENESS: std::time::Duration = std::time::Duration::from_secs(1);
    account.not_after(now);
    if let Some(last) = account.last_call_at {
        let shift = setup.limits.min_interval.min(LATENESS);
        account.last_call_at = Some(last.max(now.min(last + shift)));
    }
}
