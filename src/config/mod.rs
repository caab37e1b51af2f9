//! The configuration: layers in, one checked [`Config`] or all [`Problems`] out.
//!
//! `config/opros.toml` is the first layer and holds every default, a vendor's in its commented-out account. figment merges
//! the layers; `reader` turns them into the types of `sections` and `accounts`, and whatever is wrong on the way
//! becomes a [`Problem`] with its place. A new key is a line in the shipped file, a field, and a line that reads it.

mod accounts;
mod admin;
mod base_url;
mod document;
mod doubt;
mod duplicate;
pub mod duration;
pub mod filter;
mod findings;
mod layers;
mod problem;
mod read;
mod reader;
mod render;
mod schedules;
mod secrets;
mod sections;
mod shipped;
mod sinks;
pub mod size;
mod sources;

pub use self::accounts::{
    Account, AccountCommon, AccountKind, AltaAccount, CodeMeaning, Limits, PollStep, RlabAccount, TronkAccount,
    VagvinAccount,
};
pub use self::base_url::BaseUrl;
pub use self::problem::{Problem, Problems};
pub use self::schedules::{Backup, Misfire, Schedule};
pub use self::sections::{Admin, AdminTokens, Callbacks, Config, Log, LogFormat, Mailbox, Retention, Store};
pub use self::shipped::SHIPPED;
pub use self::sinks::{Command, EventFilter, Webhook, WebhookFormat, WebhookUrl};
pub use self::sources::{DEFAULT_FILE, Sources};

/// Loads and checks. Either everything is sound, or every problem is told at once.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    let findings = findings::Findings::new(layers::Merged::of(sources)?);
    let mut config = read::config(&findings);
    config.warnings = findings.finish()?;
    Ok(config)
}

/// Where the daemon's files and its socket lie, of a configuration that is wrong elsewhere; without accounts and tokens. For
/// whoever looks at the machine: a credential of the unit is not there while the unit is stopped, and the directories are.
pub fn places(sources: &Sources) -> Option<Config> {
    let mut layers = layers::Merged::of(sources).ok()?;
    layers.keep_places();
    let findings = findings::Findings::new(layers);
    let config = read::config(&findings);
    findings.finish().is_ok().then_some(config)
}
