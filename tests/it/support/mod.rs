//! A daemon for tests: simulated vendors, a real store on a real file, the engine, and a clock that stands still.
//!
//! Nothing here sleeps and hopes. [`TestDaemon::settle`] waits for a fact: no call is under way, every account rests, and nothing that
//! it rests for is due. [`TestDaemon::advance`] moves the clock from one due time to the next, settling at each, so that a
//! simulated week takes as long as its calls. The real clock only bounds a test that is stuck, and the calls' time-outs.
//!
//! ```ignore
//! let mut daemon = TestDaemon::start(|sim| rlab_account(sim, ""), |config| config.rlab.poison = PoisonRule::Whole).await;
//! let job = daemon.submit("rlab.track", json!({"track": "63010828068631"})).await;
//! daemon.advance(minutes(1)).await;
//! assert_eq!(daemon.job(job).await.state, State::Waiting);
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opros::app;
use opros::clock::{Clock, ManualClock, SharedClock};
use opros::config::{self, Sources};
use opros::domain::{Event, EventType, Job, JobId, NewJob, State, Timestamp};
use opros::engine::Engine;
use opros::engine::account::AccountSetup;
use opros::engine::failstop::FailStop;
use opros::engine::intake::JobRequest;
use opros::engine::wake::Rest;
use opros::simulator::{AltaSim, SimConfig, Simulator};
use opros::store::sqlite::SqliteStore;
use opros::store::sqlite::disk::{DiskRules, Probe};
use opros::store::{EventPage, JobDetails, JobFilter, TimelineEntry};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A test that is not settled after this is broken, however busy the machine.
const STUCK: Duration = Duration::from_secs(300);

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn minutes(count: u64) -> Duration {
    seconds(count * 60)
}

pub fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

/// The section of an R-Lab account at the simulator; `more` are further lines of it.
pub fn rlab_account(sim: &Simulator, more: &str) -> String {
    let key = SimConfig::default().rlab.user_key;
    let url = sim.base_url("rlab");
    format!("[accounts.rlab]\nvendor = \"rlab\"\nbase_url = \"{url}\"\nuser_id = 1\nuser_key = \"{key}\"\n{more}\n")
}

/// The section of the paying account at the simulated Alta; `more` are further lines of it.
pub fn alta_account(sim: &Simulator, more: &str) -> String {
    let AltaSim { login, sa, password, .. } = AltaSim::default();
    let url = sim.base_url("alta");
    format!(
        "[accounts.alta]\nvendor = \"alta\"\nbase_url = \"{url}\"\nlogin = \"{login}\"\nsa = \"{sa}\"\n\
         password = \"{password}\"\n{more}\n"
    )
}

/// The `n`-th wagon: seven digits and their check digit.
pub fn wagon(n: usize) -> String {
    let body = format!("{:07}", 5_000_000 + n);
    let sum: u32 = body
        .bytes()
        .enumerate()
        .map(|(at, byte)| {
            let product = u32::from(byte - b'0') * if at % 2 == 0 { 2 } else { 1 };
            product / 10 + product % 10
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// What a test does to an account's setup before it is used.
pub type Wrap = fn(AccountSetup) -> AccountSetup;

#[derive(Debug)]
pub struct TestDaemon {
    pub sim: Simulator,
    pub clock: ManualClock,
    engine: Engine,
    /// Where the engine's tasks live.
    home: Home,
    /// The `[accounts…]` sections.
    accounts: String,
    /// What the store believes to be free on its disk, in bytes.
    free: Arc<AtomicU64>,
    /// What is done to each account's setup before it is used.
    wrap: Wrap,
    dir: tempfile::TempDir,
}

impl TestDaemon {
    /// Starts at ten o'clock in Moscow on Friday, 21 August 2026. `accounts` writes the `[accounts…]` sections, with the
    /// simulator's addresses; `change` sets the simulator up.
    pub async fn start(accounts: impl FnOnce(&Simulator) -> String, change: impl FnOnce(&mut SimConfig)) -> TestDaemon {
        TestDaemon::start_with(accounts, change, |setup| setup).await
    }

    /// The same with other drivers than the accounts have: `wrap` changes each account's setup.
    pub async fn start_with(
        accounts: impl FnOnce(&Simulator) -> String,
        change: impl FnOnce(&mut SimConfig),
        wrap: Wrap,
    ) -> TestDaemon {
        let clock = ManualClock::new(Timestamp::parse_rfc3339("2026-08-21T07:00:00Z").unwrap());
        let mut config = SimConfig { clock: Arc::new(clock.clone()), ..SimConfig::default() };
        change(&mut config);
        let sim = Simulator::start(config).await.unwrap();
        let accounts = accounts(&sim);
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new();
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let engine = home.run(dir.path(), &accounts, &clock, &free, wrap).await;
        let daemon = TestDaemon { sim, clock, engine, home, accounts, free, wrap, dir };
        daemon.settle().await;
        daemon
    }

    /// Ends the daemon in order and starts it again on the same file; the vendors go on meanwhile.
    pub async fn restart(&mut self) {
        self.engine.drain().await;
        self.engine.store().close().await;
        self.begin_again().await;
    }

    /// The daemon dies in the middle of whatever it does, and is started again. What it had committed is on the file.
    pub async fn crash(&mut self) {
        std::mem::replace(&mut self.home, Home::new()).destroy().await;
        self.begin_again().await;
    }

    /// Ends the daemon in order, does something to its store's file, and starts it again.
    pub async fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.engine.drain().await;
        self.engine.store().close().await;
        change(&self.store_path());
        self.begin_again().await;
    }

    pub fn store_path(&self) -> PathBuf {
        self.dir.path().join("opros.db")
    }

    /// The store's disk has so many bytes left, and a floor of 1 MiB; it is looked at every two seconds of real time.
    pub fn set_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }

    async fn begin_again(&mut self) {
        self.engine = self.home.run(self.dir.path(), &self.accounts, &self.clock, &self.free, self.wrap).await;
        self.settle().await;
    }

    /// Puts other lines in place of the accounts' sections: they count from the next start on.
    pub fn reconfigure(&mut self, accounts: impl FnOnce(&Simulator) -> String) {
        self.accounts = accounts(&self.sim);
    }

    /// Goes on with other lines in place of the accounts' sections, as a reload does.
    pub async fn reload(&mut self, accounts: impl FnOnce(&Simulator) -> String) {
        self.accounts = accounts(&self.sim);
        let clock: SharedClock = Arc::new(self.clock.clone());
        let setups = app::account_setups(&settings(self.dir.path(), &self.accounts), &clock).unwrap();
        self.engine.set_accounts(setups.into_iter().map(self.wrap).collect(), &[]).await.unwrap();
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    // ---- work ---------------------------------------------------------------------------------------------------

    /// Hands one job in; it must be new.
    pub async fn submit(&self, kind: &str, params: Value) -> JobId {
        self.submit_all(kind, [params]).await[0]
    }

    /// Goes by the `[[schedules]]` of this text, as a start or a reload would.
    pub async fn schedule(&self, text: &str) {
        let config = settings(self.dir.path(), &format!("{}\n{text}", self.accounts));
        let schedules = app::schedules(&config, &self.engine.intake()).unwrap_or_else(|problems| panic!("{problems}"));
        let store = self.engine.store().as_ref();
        self.engine.timetable().set(store, self.now(), schedules).await.unwrap();
    }

    /// What a second of the calendar brings at this time.
    pub async fn tick(&self) {
        self.engine.timetable().tick(&self.engine).await;
        self.settle().await;
    }

    /// Hands jobs in together.
    pub async fn submit_all(&self, kind: &str, params: impl IntoIterator<Item = Value>) -> Vec<JobId> {
        let understand = |params| {
            let request = JobRequest { kind: kind.to_owned(), params, ..JobRequest::default() };
            self.engine.intake().understand(&request).unwrap_or_else(|problems| panic!("{problems:?}"))
        };
        let jobs: Vec<NewJob> = params.into_iter().map(understand).collect();
        let accepted = self.engine.submit(jobs).await.unwrap();
        accepted.into_iter().map(|verdict| verdict.job().unwrap()).collect()
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    /// Waits until everything that can be done at this time is done.
    pub async fn settle(&self) {
        let settled = async {
            loop {
                let mut rested = std::pin::pin!(self.engine.rested());
                rested.as_mut().enable();
                if self.is_settled() {
                    return;
                }
                rested.await;
            }
        };
        let state = || format!("{:?} at {}", self.engine.resting(), self.now());
        tokio::time::timeout(STUCK, settled).await.unwrap_or_else(|_| panic!("it does not settle: {}", state()));
    }

    fn is_settled(&self) -> bool {
        match self.engine.resting() {
            Rest::Working => false,
            Rest::Until(at) => at > self.now(),
            Rest::Woken => true,
        }
    }

    /// Moves on by `span`, stopping and settling at every time at which an account looks for work or a deadline passes.
    pub async fn advance(&self, span: Duration) {
        let end = self.now() + span;
        self.settle().await;
        while let Some(at) = self.next_stop().await.filter(|at| *at < end) {
            self.clock.set(at);
            self.settle().await;
        }
        self.clock.set(end);
        self.settle().await;
    }

    async fn next_stop(&self) -> Option<Timestamp> {
        loop {
            match self.engine.resting() {
                Rest::Working => self.settle().await,
                Rest::Until(at) => return Some(at),
                Rest::Woken => return None,
            }
        }
    }

    // ---- facts --------------------------------------------------------------------------------------------------

    pub async fn details(&self, id: JobId) -> JobDetails {
        self.engine.store().job(id).await.unwrap().unwrap()
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.details(id).await.job
    }

    /// How many jobs are in that state.
    pub async fn count(&self, state: State) -> usize {
        let counts = self.engine.store().counts().await.unwrap();
        counts.iter().filter(|count| count.state == state).map(|count| count.jobs as usize).sum()
    }

    /// All jobs in that state, up to a thousand.
    pub async fn jobs(&self, state: State) -> Vec<Job> {
        let filter = JobFilter { state: Some(state), limit: 1_000, ..JobFilter::default() };
        self.engine.store().jobs(filter).await.unwrap().jobs.into_iter().map(|details| details.job).collect()
    }

    pub async fn timeline(&self, id: JobId) -> Vec<TimelineEntry> {
        self.engine.store().timeline(id).await.unwrap()
    }

    /// Every event so far.
    pub async fn events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map_or(0, |event: &Event| event.seq);
            match self.engine.store().events(after, 5_000).await.unwrap() {
                EventPage::Events(page) if page.is_empty() => return all,
                EventPage::Events(page) => all.extend(page),
                EventPage::Gone { oldest } => panic!("events before {oldest} are gone"),
                EventPage::Ahead { last } => panic!("the newest event is {last}"),
            }
        }
    }

    pub async fn events_of(&self, kind: EventType) -> Vec<Event> {
        self.events().await.into_iter().filter(|event| event.kind == kind).collect()
    }

    /// How often that vendor was called.
    pub fn requests(&self, vendor: &str) -> u64 {
        let state = self.sim.control().state();
        let counts = state["requests"].as_object().into_iter().flatten();
        counts.filter(|(name, _)| name.split('.').next() == Some(vendor)).filter_map(|(_, n)| n.as_u64()).sum()
    }

    /// How often the vendors were called by that name: `rlab.addtrack`, `rlab-reserve.gettrackinfo`.
    pub fn calls(&self, name: &str) -> u64 {
        self.sim.control().state()["requests"].get(name).and_then(Value::as_u64).unwrap_or(0)
    }
}

/// A runtime of the daemon's own: the tasks of one that dies die with it, wherever they stand.
#[derive(Debug)]
struct Home(Option<Runtime>);

impl Home {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).enable_all().build().unwrap()))
    }

    async fn run(&self, dir: &Path, accounts: &str, clock: &ManualClock, free: &Arc<AtomicU64>, wrap: Wrap) -> Engine {
        let (dir, accounts, clock, free) = (dir.to_owned(), accounts.to_owned(), clock.clone(), Arc::clone(free));
        let home = self.0.as_ref().unwrap().handle().clone();
        tokio::task::spawn_blocking(move || home.block_on(run(&dir, &accounts, &clock, free, wrap))).await.unwrap()
    }

    async fn destroy(mut self) {
        let runtime = self.0.take();
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A runtime must not wait for its threads in a test's own.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

fn settings(dir: &Path, accounts: &str) -> config::Config {
    let quoted = |name: &str| json!(dir.join(name));
    let text = format!(
        "[store]\npath = {}\nallow_network_fs = true\n[mailbox]\npath = \"\"\n[admin]\nsocket = {}\n{accounts}",
        quoted("opros.db"),
        quoted("admin.sock"),
    );
    config::load(&Sources::from_text(&text)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

async fn run(dir: &Path, accounts: &str, clock: &ManualClock, free: Arc<AtomicU64>, wrap: Wrap) -> Engine {
    let config = settings(dir, accounts);
    let clock: SharedClock = Arc::new(clock.clone());
    let probe = Probe::new(move |_| Ok(free.load(Ordering::Relaxed)));
    let disk = DiskRules { free_floor: 1 << 20, ballast: 0, probe };
    let store = SqliteStore::open_with(&config.store.path, true, Arc::clone(&clock), disk).await.unwrap();
    let setups = app::account_setups(&config, &clock).unwrap().into_iter().map(wrap).collect();
    let engine = Engine::new(Arc::new(store), clock, FailStop::default(), setups).await.unwrap();
    engine.start().await.unwrap();
    engine
}
