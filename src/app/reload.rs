//! Reading the configuration again while the daemon runs.
//!
//! Everything new is made and checked before anything is changed: a wrong file changes nothing. What hangs on the
//! configuration stands in [`STEPS`], a function for each; what a new room adds is one more line there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use super::{door_account, download_rules, retention, setups};
pub use crate::admin::Reloaded;
use crate::admin::{Changed, ConfigProblem, Reload, ReloadError};
use crate::callbacks::{Callbacks, door};
use crate::config::{self, Account, Config, Log, Problem, Problems, Sources, Webhook};
use crate::domain::masking::Masks;
use crate::downloads::Downloads;
use crate::engine::Engine;
use crate::engine::account::AccountSetup;
use crate::engine::backup::Backups;
use crate::engine::timetable::Schedule;
use crate::http::AnswerBudget;
use crate::sinks::{self, Sinks};
use crate::store::Retention;
use crate::telemetry::{AUDIT, LogControl};

/// Where the configuration came from; without sources it cannot be read again.
#[derive(Debug, Default)]
pub struct Origin {
    pub sources: Option<Sources>,
    pub log: Option<LogControl>,
    /// The secrets of this process; whoever logs before the daemon stands masks by them, too.
    pub masks: Masks,
}

/// What a reload changes.
#[derive(Debug)]
pub struct Live {
    pub engine: Engine,
    pub callbacks: Callbacks,
    pub sinks: Sinks,
    pub downloads: Downloads,
    pub keys: door::Keys,
    /// The listener for call-backs is open; it is opened at the start only.
    pub has_door: bool,
    pub retention: watch::Sender<Retention>,
    pub backups: Backups,
    pub budget: AnswerBudget,
}

#[derive(Debug)]
pub struct Reloader {
    origin: Origin,
    live: Live,
    /// What is in force. Locked for as long as a reload takes: two of them come one after the other.
    current: Mutex<Config>,
    longest_call: AtomicU64,
}

/// A configuration that was found good, with what was made of it.
struct Next {
    config: Config,
    setups: Vec<AccountSetup>,
    /// Accounts whose credentials are new.
    fresh: Vec<String>,
    schedules: Vec<Schedule>,
    sinks: sinks::Checked,
}

/// What differs between two configurations, and is carried out elsewhere.
type Step = fn(&Config, &Config) -> Vec<Changed>;

/// A line for each thing that can change while the daemon runs.
const STEPS: [Step; 7] = [accounts, schedules, webhooks, commands, retention_changes, backup, log];

impl Reloader {
    pub fn new(config: &Config, origin: Origin, live: Live) -> Self {
        Self { origin, live, current: Mutex::new(config.clone()), longest_call: AtomicU64::new(longest(config)) }
    }

    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Of a process that logs.
    pub fn log(&self) -> Option<LogControl> {
        self.origin.log.clone()
    }

    pub fn longest_call(&self) -> Duration {
        Duration::from_millis(self.longest_call.load(Ordering::Relaxed))
    }

    pub async fn run(&self) -> Result<Reloaded, ReloadError> {
        let mut current = self.current.lock().await;
        let Some(sources) = &self.origin.sources else { return Err(ReloadError::NoFile) };
        let read = config::load(sources).map_err(problems)?;
        let mut reloaded =
            Reloaded { warnings: read.warnings.iter().map(Problem::to_string).collect(), ..Reloaded::default() };
        let config = self.keep_what_needs_a_restart(&current, read, &mut reloaded.restart);
        let next = self.prepare(&current, config)?;
        reloaded.changed = STEPS.iter().flat_map(|step| step(&current, &next.config)).collect();
        // Nothing below fails but the store, and a store that does not answer has stopped more than this.
        let config = self.apply(next).await?;
        *current = config;
        tell(&reloaded);
        Ok(reloaded)
    }

    fn prepare(&self, current: &Config, config: Config) -> Result<Next, ReloadError> {
        // Before anything else can be: what was a secret once, if only of a configuration that was refused, stays masked.
        let masks = &self.origin.masks;
        masks.learn(setups::secrets_of(&config));
        let clock = self.live.engine.clock();
        let setups = setups::setups(&config, masks, &self.live.budget, clock)
            .map_err(|error| ReloadError::Failed(error.to_string()))?;
        let drivers = setups.iter().map(|setup| (setup.name.clone(), (setup.vendor, setup.driver.clone()))).collect();
        let intake = crate::engine::intake::Intake::new(drivers);
        let schedules = setups::schedules(&config, &intake).map_err(problems)?;
        let fresh = config
            .accounts
            .iter()
            .filter(|(name, account)| current.accounts.get(*name).is_some_and(|before| !same_secrets(before, account)));
        let fresh = fresh.map(|(name, _)| name.clone()).collect();
        let sinks = self.live.sinks.check(setups::sinks_plan(&config, masks));
        let sinks = sinks.map_err(|error| ReloadError::Failed(error.to_string()))?;
        Ok(Next { config, setups, fresh, schedules, sinks })
    }

    async fn apply(&self, next: Next) -> Result<Config, ReloadError> {
        let Next { config, setups, fresh, schedules, sinks } = next;
        let Live { engine, callbacks, keys, retention: keeping, backups, .. } = &self.live;
        let failed = |error: crate::store::StoreError| ReloadError::Failed(error.to_string());
        engine.set_accounts(setups, &fresh).await.map_err(failed)?;
        engine.timetable().set(engine.store().as_ref(), engine.now(), schedules).await.map_err(failed)?;
        self.live.sinks.change(sinks).await.map_err(failed)?;
        self.live.downloads.change(download_rules(&config));
        let doors: Vec<door::Account> = config.accounts.values().filter_map(door_account).collect();
        callbacks.change(doors.iter().map(|door| door.name.clone()).collect(), config.retention.finished);
        keys.set(doors);
        keeping.send_replace(retention(&config));
        backups.set(setups::backup_plan(&config.backup));
        if let Some(log) = &self.origin.log {
            let before = log.look().0;
            if before != config.log.filter {
                tracing::info!(target: AUDIT, before, filter = config.log.filter, "the configured log filter changes");
            }
            // Checked while it was read.
            log.configure(&config.log.filter).map_err(|error| ReloadError::Failed(error.to_string()))?;
        }
        // A call that began before may take as long as it was allowed then.
        self.longest_call.fetch_max(longest(&config), Ordering::Relaxed);
        Ok(config)
    }

    /// Files, sockets and listeners are opened at the start only: these settings stay, and are named each time.
    fn keep_what_needs_a_restart(&self, old: &Config, new: Config, restart: &mut Vec<String>) -> Config {
        named(restart, "store", &old.store, &new.store);
        named(restart, "mailbox", &old.mailbox, &new.mailbox);
        named(restart, "admin", &old.admin, &new.admin);
        if old.admin.tokens != new.admin.tokens {
            restart.push("admin.token".to_owned());
        }
        named(restart, "callbacks", &old.callbacks, &new.callbacks);
        if old.log.format != new.log.format {
            restart.push("log.format".to_owned());
        }
        let (mut accounts, mut left_out) = (BTreeMap::new(), Vec::new());
        for (name, account) in new.accounts {
            match old.accounts.get(&name) {
                Some(before) if before.kind.vendor() != account.kind.vendor() => {
                    restart.push(format!("accounts.{name}.vendor"));
                    accounts.insert(name, before.clone());
                }
                None if !self.live.has_door && door_account(&account).is_some() => {
                    restart
                        .push(format!("accounts.{name} (its vendor calls back, and the listener opens at the start)"));
                    left_out.push((name, account.kind.vendor()));
                }
                Some(_) | None => {
                    accounts.insert(name, account);
                }
            }
        }
        // What orders through such an account waits for the restart, too: it is not wrong, and must not be called so.
        let waits = |schedule: &config::Schedule| {
            left_out.iter().any(|(name, vendor)| match &schedule.account {
                Some(account) => account == name,
                None => {
                    schedule.kind.split('.').next() == Some(*vendor)
                        && accounts.values().all(|account: &Account| account.kind.vendor() != *vendor)
                }
            })
        };
        let (waiting, schedules): (Vec<_>, Vec<_>) = new.schedules.into_iter().partition(waits);
        restart.extend(waiting.iter().map(|schedule| format!("schedules.{} (its account needs it)", schedule.name)));
        Config {
            schedules,
            store: old.store.clone(),
            mailbox: old.mailbox.clone(),
            admin: old.admin.clone(),
            callbacks: old.callbacks.clone(),
            log: Log { format: old.log.format, filter: new.log.filter },
            accounts,
            ..new
        }
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.run().await
    }
}

fn longest(config: &Config) -> u64 {
    let longest = config.accounts.values().map(|account| account.common.timeout).max().unwrap_or_default();
    longest.as_millis() as u64
}

fn problems(found: Problems) -> ReloadError {
    let problem = |Problem { file, line, key, message, hint, .. }| ConfigProblem { file, line, key, message, hint };
    ReloadError::Problems(found.0.into_iter().map(problem).collect())
}

fn tell(reloaded: &Reloaded) {
    for Changed { what, how, fields } in &reloaded.changed {
        tracing::info!(target: AUDIT, what, how, fields = fields.join(", "), "the configuration was read again");
    }
    if reloaded.changed.is_empty() {
        tracing::info!("the configuration was read again; nothing that can change while opros runs is different");
    }
    for what in &reloaded.restart {
        tracing::warn!(what, "this setting is different in the file and needs a restart; the old one stays in force");
    }
    for warning in &reloaded.warnings {
        tracing::warn!("{warning}");
    }
}

// ---- what differs ----------------------------------------------------------------------------------------------------

fn shape(of: &impl Serialize) -> Value {
    // Plain data with text keys always becomes JSON. Secrets are "…" in it.
    serde_json::to_value(of).unwrap_or_default()
}

/// The fields that differ, by name.
fn fields(old: &impl Serialize, new: &impl Serialize) -> Vec<String> {
    let (old, new) = (shape(old), shape(new));
    let names = |value: &Value| value.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect();
    let all: BTreeSet<String> = [&old, &new].into_iter().flat_map(|value| -> Vec<String> { names(value) }).collect();
    all.into_iter().filter(|name| old.get(name) != new.get(name)).collect()
}

fn named(restart: &mut Vec<String>, section: &str, old: &impl Serialize, new: &impl Serialize) {
    restart.extend(fields(old, new).into_iter().map(|field| format!("{section}.{field}")));
}

fn section(what: &str, old: &impl Serialize, new: &impl Serialize) -> Vec<Changed> {
    match fields(old, new) {
        none if none.is_empty() => Vec::new(),
        fields => vec![Changed { what: what.to_owned(), how: "changed", fields }],
    }
}

fn same_secrets(old: &Account, new: &Account) -> bool {
    same(old.kind.credentials().into_iter(), new.kind.credentials().into_iter())
}

fn same<'a>(old: impl Iterator<Item = &'a SecretString>, new: impl Iterator<Item = &'a SecretString>) -> bool {
    old.map(ExposeSecret::expose_secret).eq(new.map(ExposeSecret::expose_secret))
}

/// Things with names: added, removed, changed.
fn by_name<T>(
    of: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<Changed> {
    let change = |name: &String, how, fields| Changed { what: format!("{of}.{name}"), how, fields };
    let mut changes = Vec::new();
    for (name, new) in new {
        match old.get(name).map(|old| differ(old, new)) {
            None => changes.push(change(name, "added", Vec::new())),
            Some(fields) if !fields.is_empty() => changes.push(change(name, "changed", fields)),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    changes.extend(gone.map(|name| change(name, "removed", Vec::new())));
    changes
}

fn accounts(old: &Config, new: &Config) -> Vec<Changed> {
    by_name("accounts", &old.accounts, &new.accounts, |old, new| {
        let secrets = (!same_secrets(old, new)).then(|| "credentials".to_owned());
        fields(old, new).into_iter().chain(secrets).collect()
    })
}

fn schedules(old: &Config, new: &Config) -> Vec<Changed> {
    let named = |config: &Config| -> BTreeMap<String, Value> {
        config.schedules.iter().map(|schedule| (schedule.name.clone(), shape(schedule))).collect()
    };
    by_name("schedules", &named(old), &named(new), fields)
}

fn webhooks(old: &Config, new: &Config) -> Vec<Changed> {
    let named = |config: &Config| -> BTreeMap<String, Webhook> {
        config.webhooks.iter().map(|webhook| (webhook.name.clone(), webhook.clone())).collect()
    };
    by_name("webhooks", &named(old), &named(new), |old, new| {
        let mut differ: BTreeSet<String> = fields(old, new).into_iter().collect();
        // What is shown of these hides what may be new in them.
        if old.url.whole.expose_secret() != new.url.whole.expose_secret() {
            differ.insert("url".to_owned());
        }
        if !same(old.signing.iter(), new.signing.iter()) {
            differ.insert("secret".to_owned());
        }
        differ.into_iter().collect()
    })
}

fn commands(old: &Config, new: &Config) -> Vec<Changed> {
    let named = |config: &Config| -> BTreeMap<String, Value> {
        config.commands.iter().map(|command| (command.name.clone(), shape(command))).collect()
    };
    by_name("commands", &named(old), &named(new), fields)
}

fn retention_changes(old: &Config, new: &Config) -> Vec<Changed> {
    section("retention", &old.retention, &new.retention)
}

fn backup(old: &Config, new: &Config) -> Vec<Changed> {
    section("backup", &old.backup, &new.backup)
}

fn log(old: &Config, new: &Config) -> Vec<Changed> {
    section("log", &old.log, &new.log)
}
