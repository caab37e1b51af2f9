//! The composition root: the one place where config, store, drivers, engine and doors are put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod doors;
mod logs;
mod reload;
mod setups;

use self::doors::AdminDoors;
use self::reload::Reloader;
pub use self::reload::{Origin, Reloaded};
pub use self::setups::{account_setups, check, schedules};
use crate::admin::{self, AdminState, Exports, ReloadError};
use crate::callbacks::files::{FileError, FileStore};
use crate::callbacks::parse::Limits as CallbackLimits;
use crate::callbacks::{self, Callbacks, door};
use crate::clock::SharedClock;
use crate::config::{self, Account, AccountKind, Config, Problems};
use crate::crash;
use crate::domain::Timestamp;
use crate::domain::masking::Masks;
use crate::downloads::{Downloads, Rules as DownloadRules};
use crate::engine::Engine;
use crate::engine::backup::Backups;
use crate::engine::failstop::FailStop;
use crate::engine::schedule::{self, Chores};
use crate::health::{HealthBoard, Severity};
use crate::http::{AnswerBudget, ClientError};
use crate::listener::{self, unix};
use crate::mailbox;
use crate::meters::{AdminMeters, ListenerMeters};
use crate::sinks::{self, Sinks, SinksError, SystemNames};
use crate::store::sqlite::disk::DiskRules;
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::upkeep::Most;
use crate::store::{Retention, Store, StoreError};

/// Why the daemon does not start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the store does not work: {0}")]
    Read(#[from] StoreError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Socket(#[from] unix::BindError),
    #[error(transparent)]
    Files(#[from] FileError),
    #[error("[admin]: {0}")]
    Admin(std::io::Error),
    #[error("[callbacks]: {0}")]
    Callbacks(std::io::Error),
    #[error("the configuration is wrong:\n{0}")]
    Config(#[from] Problems),
    #[error(transparent)]
    Sinks(#[from] SinksError),
}

impl StartError {
    /// Somebody has to change something first: starting again does not help.
    pub fn is_config(&self) -> bool {
        match self {
            StartError::Config(_) => true,
            StartError::Socket(error) => error.is_config(),
            _ => false,
        }
    }
}

/// A mailbox that cannot be opened holds up the start no longer than this.
const MAILBOX_PATIENCE: Duration = Duration::from_secs(3);
const MAILBOX_AGAIN: Duration = Duration::from_millis(50);

/// The running daemon.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    board: HealthBoard,
    callbacks: Callbacks,
    sinks: Sinks,
    /// Where vendors call back; none where no account needs it.
    callback_address: Option<SocketAddr>,
    /// Ends whatever serves: the socket, the mailbox, calendar work.
    doors: CancellationToken,
    tasks: TaskTracker,
    reloader: Arc<Reloader>,
    started_at: Timestamp,
    callback_meters: ListenerMeters,
    /// Where TCP clients of the admin's door connect, with the port that was really taken.
    admin_address: Option<SocketAddr>,
}

impl Daemon {
    /// Opens the store, recovers, and opens the doors; when this returns, jobs are taken.
    pub async fn start(config: &Config, clock: SharedClock) -> Result<Daemon, StartError> {
        Daemon::start_from(config, Origin::default(), clock).await
    }

    /// The same, of a configuration that can be read again.
    pub async fn start_from(config: &Config, origin: Origin, clock: SharedClock) -> Result<Daemon, StartError> {
        Ok(Daemon::open(config, origin, clock).await?.begin(config).await)
    }

    /// Everything before the first call: whoever drops this, finished or not, loses nothing and leaves nothing under way.
    pub async fn open(config: &Config, origin: Origin, clock: SharedClock) -> Result<Opened, StartError> {
        let (failstop, started_at) = (FailStop::default(), clock.now());
        let board = HealthBoard::default();
        let config::Store { path, allow_network_fs, free_floor, ballast } = &config.store;
        let disk = DiskRules { free_floor: *free_floor, ballast: *ballast, ..DiskRules::default() };
        let store = SqliteStore::open_with(path, *allow_network_fs, Arc::clone(&clock), disk).await?;
        let store: Arc<dyn Store> = Arc::new(store);
        let budget = AnswerBudget::default();
        let masks = origin.masks.clone();
        masks.learn(setups::secrets_of(config));
        let setups = setups::setups(config, &masks, &budget, &clock)?;
        crash::point("start.store_open");
        // Before anything is called: a second daemon must not get as far as that.
        let admin_doors = AdminDoors::bind(&config.admin).await?;
        // And before an order leaves: its call-back may come before its answer.
        let door = callback_door(config).await?;
        let settings = callback_settings(config, &masks)?;
        let files = settings.files.clone();
        let callbacks = Callbacks::new(Arc::clone(&store), Arc::clone(&clock), settings);
        let sinks = Sinks::new(sinks_shared(&store, &clock, &board), setups::sinks_plan(config, &masks)).await?;
        let engine = Engine::new(store, clock, failstop, setups).await?;
        let downloads = Downloads::new(engine.clone(), files, download_rules(config), masks);
        let schedules = schedules(config, &engine.intake())?;
        let callback_address = door.as_ref().and_then(listener::Socket::tcp_address);
        let (doors, tasks) = (CancellationToken::new(), TaskTracker::new());
        let live = reload::Live {
            engine: engine.clone(),
            callbacks: callbacks.clone(),
            sinks: sinks.clone(),
            downloads: downloads.clone(),
            keys: door::Keys::default(),
            has_door: door.is_some(),
            retention: watch::Sender::new(retention(config)),
            backups: Backups::new(board.clone()),
            budget,
        };
        let reloader = Arc::new(Reloader::new(config, origin, live));
        let daemon = Daemon {
            engine,
            board,
            callbacks,
            sinks,
            callback_address,
            doors,
            tasks,
            reloader,
            started_at,
            callback_meters: ListenerMeters::default(),
            admin_address: admin_doors.tcp_address(),
        };
        daemon.take_callbacks(config, door);
        daemon.settle_mailbox(config).await;
        crash::point("start.doors_bound");
        daemon.engine.recover().await?;
        daemon.engine.timetable().set(daemon.engine.store().as_ref(), daemon.engine.now(), schedules).await?;
        daemon.reloader.live().backups.set(setups::backup_plan(&config.backup));
        Ok(Opened { daemon, admin_doors, downloads })
    }

    fn take_callbacks(&self, config: &Config, door: Option<listener::Socket>) {
        if let Some(door) = door {
            let keys = self.reloader.live().keys.clone();
            keys.set(config.accounts.values().filter_map(door_account).collect());
            let trusted = config.callbacks.trusted_proxies.clone();
            let clock = Arc::clone(self.engine.clock());
            let router = door::router(self.callbacks.clone(), clock, keys, trusted);
            let (limits, meters) = (listener::Limits::default(), self.callback_meters.clone());
            let serving = listener::serve_metered(door, router, limits, meters, self.doors.clone());
            self.tasks.spawn(crash::watched("callbacks.listener", serving));
            self.tasks.spawn(crash::watched("callbacks.matcher", self.callbacks.clone().run(self.doors.clone())));
        }
        self.tasks.spawn(crash::watched("callbacks.tidy", self.callbacks.clone().keep_tidy(self.doors.clone())));
    }

    /// The engine's recovery makes events: their numbers must not be some that the mailbox has used.
    async fn settle_mailbox(&self, config: &Config) {
        let Some(path) = &config.mailbox.path else { return };
        let settled = async {
            // A lock that another program holds for a moment is waited for.
            while let Err(trouble) = mailbox::settle(path, self.engine.store().as_ref()).await {
                if !matches!(trouble, mailbox::trouble::Trouble::Busy(_)) {
                    // Shown by the mailbox's own task, which tries again and again.
                    tracing::debug!(error = %trouble, "the mailbox did not say where it stands");
                    return;
                }
                tokio::time::sleep(MAILBOX_AGAIN).await;
            }
        };
        if tokio::time::timeout(MAILBOX_PATIENCE, settled).await.is_err() {
            tracing::warn!("the mailbox is locked and does not say where it stands; opros starts without knowing");
        }
    }

    async fn open_doors(&self, config: &Config, admin_doors: AdminDoors) {
        self.open_admin(config, admin_doors);
        let opened = Arc::new(Notify::new());
        let live = self.reloader.live();
        if let Some(path) = config.mailbox.path.clone() {
            let setup = mailbox::Setup { path, retention: live.retention.subscribe(), opened: Arc::clone(&opened) };
            let causes = Arc::new(MailboxCauses { board: self.board.clone(), clock: Arc::clone(self.engine.clock()) });
            let keeping = mailbox::run(setup, self.engine.clone(), causes, self.doors.clone());
            self.tasks.spawn(crash::watched("mailbox", keeping));
        }
        let (engine, doors) = (self.engine.clone(), self.doors.clone());
        let chores = Chores { retention: live.retention.subscribe(), backups: live.backups.clone() };
        self.tasks.spawn(async move {
            if let Err(error) = schedule::run(engine, chores, doors).await {
                tracing::error!(
                    error = %error,
                    "the calendar does not run: no schedules, no backups, no retention and no balances until a restart"
                );
            }
        });
        if config.mailbox.path.is_some() && tokio::time::timeout(MAILBOX_PATIENCE, opened.notified()).await.is_err() {
            tracing::warn!("opros starts without its mailbox; it goes on trying to open it, see: opros health");
        }
    }

    fn open_admin(&self, config: &Config, doors: AdminDoors) {
        let exports = Exports {
            started_at: Some(self.started_at),
            store: Some(config.store.path.clone()),
            mailbox: config.mailbox.path.clone(),
            free_floor: config.store.free_floor,
            listeners: doors.meters().chain([("callbacks", self.callback_meters.clone())]).collect(),
            admin: AdminMeters::default(),
        };
        let refusals = exports.admin.clone();
        let state = AdminState::new(self.engine.clone(), self.board.clone(), self.doors.clone())
            .with_callbacks(self.callbacks.clone())
            .with_reload(Arc::clone(&self.reloader) as Arc<dyn admin::Reload>)
            .with_sinks(self.sinks.clone())
            .with_log(self.reloader.log().map(|log| Arc::new(log) as Arc<dyn admin::LogSwitch>))
            .with_exports(exports);
        doors.open(&admin::router(state), &refusals, &self.tasks, &self.doors);
    }

    /// Reads the configuration again and goes on by it; a wrong one changes nothing.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.reloader.run().await
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn board(&self) -> &HealthBoard {
        &self.board
    }

    /// Where the admin's routes are served over TCP, with the port that was really taken.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Where vendors call back, with the port that was really taken.
    pub fn callback_address(&self) -> Option<SocketAddr> {
        self.callback_address
    }

    /// The longest time that a call may take: what a drain waits for at most.
    pub fn longest_call(&self) -> Duration {
        self.reloader.longest_call()
    }

    /// Begins no new call, waits for those under way, closes the doors and then the store.
    pub async fn stop(self) {
        self.engine.drain().await;
        self.doors.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        crash::point("drain.doors_closed");
        self.engine.store().close().await;
        crash::point("drain.store_closed");
    }
}

/// A daemon that has its store, its ports and whatever its last run left in order, and has called nobody yet.
#[derive(Debug)]
pub struct Opened {
    daemon: Daemon,
    admin_doors: AdminDoors,
    downloads: Downloads,
}

impl Opened {
    /// Calls begin; when this returns, jobs are taken.
    pub async fn begin(self, config: &Config) -> Daemon {
        let Opened { daemon, admin_doors, downloads } = self;
        daemon.engine.begin_all();
        daemon.sinks.start(&daemon.tasks, &daemon.doors);
        daemon.tasks.spawn(crash::watched("downloads", downloads.run(daemon.doors.clone())));
        daemon.open_doors(config, admin_doors).await;
        crash::point("start.ready");
        daemon
    }
}

/// What is wrong with the mailbox, on the daemon's board: it never blocks anything but itself.
#[derive(Debug)]
struct MailboxCauses {
    board: HealthBoard,
    clock: SharedClock,
}

impl mailbox::Causes for MailboxCauses {
    fn set(&self, cause: &'static str, what: String) {
        self.set_held(cause, what, Duration::ZERO);
    }

    fn set_held(&self, cause: &'static str, what: String, held: Duration) {
        self.board.post(cause, Severity::Degraded, what, self.clock.now() - held);
    }

    fn clear(&self, cause: &'static str) {
        self.board.clear(cause);
    }
}

/// What is masked in all that a process says and stores.
pub fn masks(config: &Config) -> Masks {
    Masks::of(setups::secrets_of(config))
}

pub fn retention(config: &Config) -> Retention {
    let retention = &config.retention;
    Retention {
        finished: retention.finished,
        events: retention.events,
        calls: retention.calls,
        uids: retention.uids,
        ledger: retention.ledger,
        most: Most { finished: retention.most_finished, events: retention.most_events, calls: retention.most_calls },
        mailbox: config.mailbox.path.is_some(),
    }
}

fn door_account(account: &Account) -> Option<door::Account> {
    match &account.kind {
        AccountKind::Vagvin(it) => {
            Some(door::Account { name: account.name.clone(), secret: it.callback_secret.clone() })
        }
        AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Rlab(_) => None,
    }
}

async fn callback_door(config: &Config) -> Result<Option<listener::Socket>, StartError> {
    if config.accounts.values().all(|account| door_account(account).is_none()) {
        return Ok(None);
    }
    listener::bind_tcp(config.callbacks.listen).await.map(Some).map_err(StartError::Callbacks)
}

/// Accounts whose reports' documents are kept.
pub fn download_rules(config: &Config) -> BTreeMap<String, DownloadRules> {
    let rules = |account: &Account| match &account.kind {
        AccountKind::Tronk(it) if it.download => {
            Some(DownloadRules { most: it.download_limit, loopback: account.common.base_url.is_loopback() })
        }
        AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Rlab(_) | AccountKind::Vagvin(_) => None,
    };
    config.accounts.values().filter_map(|account| Some((account.name.clone(), rules(account)?))).collect()
}

/// Files lie beside the store's own.
fn callback_settings(config: &Config, masks: &Masks) -> Result<callbacks::Settings, FileError> {
    let root = config.store.path.with_file_name("files");
    Ok(callbacks::Settings {
        files: FileStore::open(
            root,
            download_rules(config).values().map(|rules| rules.most).fold(CallbackLimits::DEFAULT.file as u64, u64::max),
        )?,
        accounts: config.accounts.values().filter_map(door_account).map(|account| account.name).collect(),
        masks: masks.clone(),
        retention: config.retention.finished,
    })
}

fn sinks_shared(store: &Arc<dyn Store>, clock: &SharedClock, board: &HealthBoard) -> sinks::Shared {
    let (store, clock, board) = (Arc::clone(store), Arc::clone(clock), board.clone());
    sinks::Shared { store, clock, board, names: Arc::new(SystemNames) }
}
