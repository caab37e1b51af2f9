//! What the configuration says, as types. Every default stands in `config/opros.toml`, not here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::accounts::Account;
use super::duration;
use super::problem::Problem;
use super::schedules::{Backup, Schedule};
use super::sinks::{Command, Webhook};
use super::size;

/// The whole effective configuration. `Debug` and `Serialize` never show a secret.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    pub store: Store,
    pub mailbox: Mailbox,
    pub admin: Admin,
    pub log: Log,
    pub callbacks: Callbacks,
    pub retention: Retention,
    pub backup: Backup,
    pub schedules: Vec<Schedule>,
    /// By name.
    pub accounts: BTreeMap<String, Account>,
    pub webhooks: Vec<Webhook>,
    pub commands: Vec<Command>,
    /// What is allowed but looks unwise; the daemon logs each once at start.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Every configured secret, for whoever masks them. Derived secrets (Alta's md5, R-Lab's request keys) are the drivers'.
    pub fn secrets(&self) -> Vec<&SecretString> {
        let accounts = self.accounts.values().flat_map(|account| account.kind.secrets());
        let sinks = self.webhooks.iter().flat_map(Webhook::secrets);
        accounts.chain(sinks).chain(self.admin.tokens.secrets()).collect()
    }
}

/// The daemon's own database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Store {
    pub path: PathBuf,
    /// SQLite's locks cannot be trusted on NFS and the like; this says that they can be here.
    pub allow_network_fs: bool,
    /// With less free on its disk, nothing new is ordered or taken in. Zero: no floor.
    #[serde(serialize_with = "size::serialize")]
    pub free_floor: u64,
    /// The size of the file that is given up when the disk is full. Zero: none.
    #[serde(serialize_with = "size::serialize")]
    pub ballast: u64,
}

/// The database that other programs write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mailbox {
    /// `None` when the configured path is `""`: there is no mailbox.
    #[serde(serialize_with = "path_or_empty")]
    pub path: Option<PathBuf>,
}

/// The Unix socket, and what else serves the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Admin {
    pub socket: PathBuf,
    /// Permission bits, such as `0o660`.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// By name or number; the daemon's own where there is none.
    #[serde(serialize_with = "text_or_empty")]
    pub group: Option<String>,
    /// A second socket, for reading alone.
    #[serde(serialize_with = "path_or_empty")]
    pub read_socket: Option<PathBuf>,
    #[serde(serialize_with = "octal")]
    pub read_mode: u32,
    #[serde(serialize_with = "text_or_empty")]
    pub read_group: Option<String>,
    /// TCP as well; needs a token.
    #[serde(serialize_with = "text_or_empty")]
    pub listen: Option<SocketAddr>,
    /// Also on an address that others can reach.
    pub allow_remote: bool,
    /// Names under which browsers may reach opros, beside addresses and localhost. In lower case.
    pub hosts: Vec<String>,
    #[serde(skip)]
    pub tokens: AdminTokens,
}

/// What TCP clients of the admin's door have to know. Never shown.
#[derive(Debug, Clone, Default)]
pub struct AdminTokens {
    /// For everything.
    pub all: Option<SecretString>,
    /// For reading alone.
    pub read: Option<SecretString>,
}

impl AdminTokens {
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.all.iter().chain(&self.read)
    }
}

impl PartialEq for AdminTokens {
    fn eq(&self, other: &Self) -> bool {
        self.secrets().map(ExposeSecret::expose_secret).eq(other.secrets().map(ExposeSecret::expose_secret))
    }
}

impl Eq for AdminTokens {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    pub format: LogFormat,
    /// In the form of `RUST_LOG`; checked while loading.
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Journal fields where stderr is systemd's journal, else text.
    Auto,
    Text,
    Json,
    Journald,
}

/// The listener for vendors that call back; opened only where an account needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Callbacks {
    pub listen: SocketAddr,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
}

/// How long finished things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retention {
    #[serde(with = "duration")]
    pub finished: Duration,
    #[serde(with = "duration")]
    pub events: Duration,
    #[serde(with = "duration")]
    pub calls: Duration,
    /// How long a client's token is remembered once its job is removed.
    #[serde(with = "duration")]
    pub uids: Duration,
    /// Lines of the cost ledger whose jobs are gone, and balances.
    #[serde(with = "duration")]
    pub ledger: Duration,
    /// At most so many of each; the oldest go first. `None` where the configuration says 0.
    #[serde(serialize_with = "count_or_zero")]
    pub most_finished: Option<u64>,
    #[serde(serialize_with = "count_or_zero")]
    pub most_events: Option<u64>,
    #[serde(serialize_with = "count_or_zero")]
    pub most_calls: Option<u64>,
}

fn count_or_zero<S: serde::Serializer>(count: &Option<u64>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u64(count.unwrap_or_default())
}

pub(super) fn path_or_empty<S: serde::Serializer>(path: &Option<PathBuf>, out: S) -> Result<S::Ok, S::Error> {
    path.clone().unwrap_or_default().serialize(out)
}

fn text_or_empty<S: serde::Serializer>(text: &Option<impl ToString>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&text.as_ref().map(ToString::to_string).unwrap_or_default())
}

fn octal<S: serde::Serializer>(mode: &u32, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&format!("{mode:04o}"))
}
