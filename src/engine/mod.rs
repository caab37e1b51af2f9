//! The engine: makes due jobs move. See `docs/architecture.md` for the flow of one job through the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod account;
mod bisect;
mod chore;
mod claim;
pub mod explain;
pub mod failstop;
pub mod intake;
mod keeper;
mod log;
mod meaning;
pub mod ops;
mod recover;
pub mod schedule;
mod step;
mod sweep;
pub mod wake;

use self::account::{AccountSetup, Runner, Shared};
use self::failstop::FailStop;
use self::intake::Intake;
use self::wake::Rest;
use crate::clock::SharedClock;
use crate::domain::Timestamp;
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
    intake: Intake,
    runners: BTreeMap<String, Arc<Runner>>,
    /// No new calls from now on.
    stop: CancellationToken,
    /// Loops and calls that shutdown waits for.
    tasks: TaskTracker,
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
        let shared = Shared { store, clock, failstop, deadlines: Arc::default(), rested: Arc::default() };
        let drivers = setups.iter().map(|s| (s.name.clone(), (s.vendor, Arc::clone(&s.driver)))).collect();
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
                intake: Intake::new(drivers),
                runners,
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        })
    }

    /// Recovers what the last run left, then lets every account work.
    pub async fn start(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let interrupted = recover::recover(inner.shared.store.as_ref(), &inner.shared.clock).await?;
        if interrupted > 0 {
            tracing::warn!(
                jobs = interrupted,
                "the last run ended while calls were under way; see: opros jobs --state in_doubt"
            );
        }
        let restored = recover::doubt_what_may_have_been_sent(inner.shared.store.as_ref(), &inner.shared.clock).await?;
        if restored > 0 {
            tracing::error!(
                jobs = restored,
                "the store is an older copy: these jobs may have been sent since it was made; see: opros jobs --state in_doubt"
            );
        }
        for runner in inner.runners.values() {
            if runner.driver().account_request(AccountCall::Credentials, self.now()).is_some() {
                runner.add_chore(AccountCall::Credentials);
            }
            inner.tasks.spawn(claim::run(Arc::clone(runner), inner.tasks.clone(), inner.stop.clone()));
        }
        inner.tasks.spawn(keeper::run(inner.shared.clone(), inner.stop.clone()));
        let (engine, stop) = (self.clone(), inner.stop.clone());
        inner.tasks.spawn(async move { sweep::run(engine.inner.shared.clone(), stop).await });
        Ok(())
    }

    /// Begins no new call and waits for those under way; what is cut off after this is found in doubt at the next start.
    pub async fn drain(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
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

    pub fn intake(&self) -> &Intake {
        &self.inner.intake
    }

    pub fn failstop(&self) -> &FailStop {
        &self.inner.shared.failstop
    }

    pub fn is_stopping(&self) -> bool {
        self.inner.stop.is_cancelled()
    }

    pub fn runners(&self) -> impl Iterator<Item = &Arc<Runner>> {
        self.inner.runners.values()
    }

    pub fn runner(&self, account: &str) -> Option<&Arc<Runner>> {
        self.inner.runners.get(account)
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
        self.runners().map(|runner| runner.wake.resting()).fold(Rest::Woken, |all, one| match (all, one) {
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
        self.runners().map(|runner| runner.requests_in_flight()).sum()
    }
}

/// The last request of the former run may have left a little later than it was noted: the first one of this run keeps its
/// distance from the start, too.
fn start_politely(account: &mut crate::domain::Account, setup: &AccountSetup, now: Timestamp) {
    const LATENESS: std::time::Duration = std::time::Duration::from_secs(1);
    if let Some(last) = account.last_call_at {
        let shift = setup.limits.min_interval.min(LATENESS);
        account.last_call_at = Some(last.max(now.min(last + shift)));
    }
}
