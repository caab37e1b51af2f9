//! The composition root: the one place where config, store, drivers, engine and doors are put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminState};
use crate::callbacks::files::{FileError, FileStore};
use crate::callbacks::parse::Limits as CallbackLimits;
use crate::callbacks::{self, Callbacks, door};
use crate::clock::SharedClock;
use crate::config::{self, Account, AccountKind, CodeMeaning, Config};
use crate::domain::hosts::HostPolicy;
use crate::domain::policy::PollStep;
use crate::domain::spending::{Amount, Budget, Rules};
use crate::downloads::{Downloads, Rules as DownloadRules};
use crate::engine::Engine;
use crate::engine::account::{AccountSetup, Limits};
use crate::engine::failstop::FailStop;
use crate::engine::schedule;
use crate::health::{HealthBoard, Severity};
use crate::http::{self, AnswerBudget, Client, ClientError, ClientSettings};
use crate::listener::{self, unix};
use crate::mailbox;
use crate::store::sqlite::disk::DiskRules;
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::{Retention, Store, StoreError};
use crate::vendors::registry::{self, Settings};
use crate::vendors::{Common, alta, rlab, tronk, vagvin};

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
    #[error("[callbacks]: {0}")]
    Callbacks(std::io::Error),
}

/// A mailbox that cannot be opened holds up the start no longer than this.
const MAILBOX_PATIENCE: Duration = Duration::from_secs(3);

/// The running daemon.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    board: HealthBoard,
    callbacks: Callbacks,
    /// Where vendors call back; none where no account needs it.
    callback_address: Option<SocketAddr>,
    /// Ends whatever serves: the socket, the mailbox, calendar work.
    doors: CancellationToken,
    tasks: TaskTracker,
    /// The longest time that a call may take: what a drain waits for at most.
    longest_call: Duration,
}

impl Daemon {
    /// Opens the store, recovers, and opens the doors; when this returns, jobs are taken.
    pub async fn start(config: &Config, clock: SharedClock) -> Result<Daemon, StartError> {
        let failstop = FailStop::default();
        let board = HealthBoard::default();
        let config::Store { path, allow_network_fs, free_floor, ballast } = &config.store;
        let disk = DiskRules { free_floor: *free_floor, ballast: *ballast, ..DiskRules::default() };
        let store = SqliteStore::open_with(path, *allow_network_fs, Arc::clone(&clock), disk).await?;
        let store: Arc<dyn Store> = Arc::new(store);
        let setups = account_setups(config, &clock)?;
        let longest_call = config.accounts.values().map(|account| account.common.timeout).max().unwrap_or_default();
        // Before anything is called: a second daemon must not get as far as that.
        let socket = unix::bind(&config.admin.socket, config.admin.mode).await?;
        // And before an order leaves: its call-back may come before its answer.
        let door = callback_door(config).await?;
        let settings = callback_settings(config)?;
        let files = (settings.files.clone(), settings.secrets.clone());
        let callbacks = Callbacks::new(Arc::clone(&store), Arc::clone(&clock), settings);
        let engine = Engine::new(store, clock, failstop, setups).await?;
        let callback_address = door.as_ref().and_then(listener::Socket::tcp_address);
        let (doors, tasks) = (CancellationToken::new(), TaskTracker::new());
        let daemon = Daemon { engine, board, callbacks, callback_address, doors, tasks, longest_call };
        daemon.take_callbacks(config, door);
        daemon.engine.start().await?;
        daemon.fetch_documents(config, files);
        daemon.open_doors(config, socket).await;
        Ok(daemon)
    }

    fn take_callbacks(&self, config: &Config, door: Option<listener::Socket>) {
        if let Some(door) = door {
            let accounts = config.accounts.values().filter_map(door_account).collect();
            let trusted = config.callbacks.trusted_proxies.clone();
            let clock = Arc::clone(self.engine.clock());
            let router = door::router(self.callbacks.clone(), clock, accounts, trusted);
            self.tasks.spawn(listener::serve(door, router, listener::Limits::default(), self.doors.clone()));
            self.tasks.spawn(self.callbacks.clone().run(self.doors.clone()));
        }
        self.tasks.spawn(self.callbacks.clone().keep_tidy(self.doors.clone()));
    }

    fn fetch_documents(&self, config: &Config, (files, secrets): (FileStore, Vec<String>)) {
        let rules = download_rules(config);
        if !rules.is_empty() {
            let downloads = Downloads::new(self.engine.clone(), files, rules, &secrets);
            self.tasks.spawn(downloads.run(self.doors.clone()));
        }
    }

    async fn open_doors(&self, config: &Config, socket: listener::Socket) {
        let state = AdminState::new(self.engine.clone(), self.board.clone(), self.doors.clone())
            .with_callbacks(self.callbacks.clone());
        let router = admin::router(state);
        self.tasks.spawn(listener::serve(socket, router, listener::Limits::default(), self.doors.clone()));
        let opened = Arc::new(Notify::new());
        if let Some(path) = config.mailbox.path.clone() {
            let setup = mailbox::Setup {
                path,
                retention_finished: config.retention.finished,
                retention_events: config.retention.events,
                opened: Arc::clone(&opened),
            };
            let causes = Arc::new(MailboxCauses { board: self.board.clone(), clock: Arc::clone(self.engine.clock()) });
            self.tasks.spawn(mailbox::run(setup, self.engine.clone(), causes, self.doors.clone()));
        }
        let (engine, doors) = (self.engine.clone(), self.doors.clone());
        let retention = retention(config);
        self.tasks.spawn(async move {
            if let Err(error) = schedule::run(engine, retention, doors).await {
                tracing::error!(error = %error, "the calendar does not run: no retention and no balances until a restart");
            }
        });
        if config.mailbox.path.is_some() && tokio::time::timeout(MAILBOX_PATIENCE, opened.notified()).await.is_err() {
            tracing::warn!("opros starts without its mailbox; it goes on trying to open it, see: opros health");
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn board(&self) -> &HealthBoard {
        &self.board
    }

    /// Where vendors call back, with the port that was really taken.
    pub fn callback_address(&self) -> Option<SocketAddr> {
        self.callback_address
    }

    pub fn longest_call(&self) -> Duration {
        self.longest_call
    }

    /// Begins no new call, waits for those under way, closes the doors and then the store.
    pub async fn stop(self) {
        self.engine.drain().await;
        self.doors.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.engine.store().close().await;
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
        self.board.post(cause, Severity::Degraded, what, self.clock.now());
    }

    fn clear(&self, cause: &'static str) {
        self.board.clear(cause);
    }
}

pub fn retention(config: &Config) -> Retention {
    let retention = &config.retention;
    Retention { finished: retention.finished, events: retention.events, calls: retention.calls }
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
fn callback_settings(config: &Config) -> Result<callbacks::Settings, FileError> {
    let root = config.store.path.with_file_name("files");
    let secrets = config.secrets().into_iter().map(|secret| secret.expose_secret().to_owned());
    Ok(callbacks::Settings {
        files: FileStore::open(
            root,
            download_rules(config).values().map(|rules| rules.most).fold(CallbackLimits::DEFAULT.file as u64, u64::max),
        )?,
        accounts: config.accounts.values().filter_map(door_account).map(|account| account.name).collect(),
        secrets: secrets.flat_map(|secret| http::maskable(&secret)).collect(),
        retention: config.retention.finished,
    })
}

/// The accounts as the engine wants them.
pub fn account_setups(config: &Config, clock: &SharedClock) -> Result<Vec<AccountSetup>, ClientError> {
    let budget = AnswerBudget::default();
    // Any secret may be echoed by any vendor, through a user's params for instance.
    let secrets: Vec<String> = config.secrets().into_iter().map(|secret| secret.expose_secret().to_owned()).collect();
    config.accounts.values().map(|account| account_setup(account, &secrets, &budget, clock)).collect()
}

fn account_setup(
    account: &Account,
    secrets: &[String],
    budget: &AnswerBudget,
    clock: &SharedClock,
) -> Result<AccountSetup, ClientError> {
    let settings = ClientSettings {
        base_url: account.common.base_url.as_str().to_owned(),
        reserve_url: reserve_url(&account.kind),
        timeout: account.common.timeout,
        secrets: secrets.to_vec(),
    };
    Ok(AccountSetup {
        name: account.name.clone(),
        vendor: account.kind.vendor(),
        driver: Arc::from(registry::open(driver_settings(account))),
        client: Client::new(settings, budget.clone(), Arc::clone(clock))?,
        limits: Limits {
            max_in_flight: account.common.limits.max_in_flight as usize,
            min_interval: account.common.limits.min_interval,
        },
        spending: Arc::new(spending_rules(account)),
        alert_after: match &account.kind {
            AccountKind::Rlab(rlab) => rlab.alert_after,
            AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => Duration::ZERO,
        },
        advice: match &account.kind {
            AccountKind::Rlab(_) => Some(rlab::ADVICE),
            AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => None,
        },
        hosts: match &account.kind {
            AccountKind::Rlab(rlab) => {
                Some(HostPolicy { reserve: rlab.reserve_url.is_some(), reserve_after: rlab.reserve_after })
            }
            AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => None,
        },
    })
}

/// What the account's orders cost, and how many there may be.
fn spending_rules(account: &Account) -> Rules {
    let (name, common) = (&account.name, &account.common);
    for kind in common.prices.keys().filter(|kind| registry::kind(kind).is_none()) {
        tracing::warn!(account = name, kind, "a price is configured for a kind that does not exist; it has no effect");
    }
    let budget = common.budget;
    Rules {
        account: name.clone(),
        prices: common.prices.iter().map(|(kind, price)| (kind.clone(), Amount::of(*price))).collect(),
        budget: Budget {
            per_hour: budget.per_hour,
            per_day: budget.per_day,
            per_month: budget.per_month,
            amount_per_day: budget.amount_per_day.map(Amount::of),
            amount_per_month: budget.amount_per_month.map(Amount::of),
            utc_offset: budget.utc_offset,
        },
        same_order_window: common.same_order_window,
    }
}

fn reserve_url(kind: &AccountKind) -> Option<String> {
    match kind {
        AccountKind::Rlab(rlab) => rlab.reserve_url.as_ref().map(|url| url.as_str().to_owned()),
        AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => None,
    }
}

/// The config's account as its vendor's driver wants it.
fn driver_settings(account: &Account) -> Settings {
    let common = Common {
        settle: account.common.settle,
        resubmit: account.common.resubmit,
        pause_on: account.common.pause_on.clone(),
        loopback: account.common.base_url.is_loopback(),
    };
    match &account.kind {
        AccountKind::Tronk(it) => Settings::Tronk(tronk::Settings {
            poll: it.poll.iter().map(|step| PollStep { every: step.every, span: step.lasting }).collect(),
            ready_statuses: it.ready_statuses.clone(),
            failed_statuses: it.failed_statuses.clone(),
            download: it.download,
            ..tronk::Settings::new(common, it.key.clone())
        }),
        AccountKind::Alta(it) => Settings::Alta(alta::Settings {
            common,
            show_every: it.show_every,
            due_window: it.due_window,
            idle_every: it.idle_every,
            codes: it.codes.iter().map(|(code, meaning)| (*code, code_class(*meaning))).collect(),
            balance_every: it.balance_every,
            balance_low: Some(it.balance_low),
            ..alta::Settings::new(it.login.expose_secret(), it.sa.expose_secret(), it.password.clone())
        }),
        AccountKind::Rlab(it) => Settings::Rlab(rlab::Settings {
            common,
            content_type: it.content_type.clone(),
            unknown_after: it.unknown_after,
            poll_first: it.poll_first,
            poll_factor: it.poll_factor,
            poll_ceiling: it.poll_ceiling,
            poll_at_counter: it.poll_at_counter,
            batch_wait: it.batch_wait,
            grace: it.grace,
            reserve: it.reserve_url.is_some(),
            reserve_after: it.reserve_after,
            alert_after: it.alert_after,
            balance_every: it.balance_every,
            balance_low: Some(it.balance_low),
            ..rlab::Settings::new(it.user_id, it.user_key.clone())
        }),
        AccountKind::Vagvin(it) => Settings::Vagvin(vagvin::Settings {
            give_up: it.give_up,
            balance_every: it.balance_every,
            ..vagvin::Settings::new(common, it.token.clone())
        }),
    }
}

fn code_class(meaning: CodeMeaning) -> alta::CodeClass {
    match meaning {
        CodeMeaning::Transient => alta::CodeClass::Transient,
        CodeMeaning::Permanent => alta::CodeClass::Permanent,
        CodeMeaning::Pause => alta::CodeClass::Pause,
    }
}
