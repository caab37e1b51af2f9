//! Accounts: what all have in common here, what each vendor adds in a file of its own.

mod alta;
mod common;
mod rlab;
mod tronk;
mod vagvin;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

pub use self::alta::{AltaAccount, CodeMeaning};
pub use self::rlab::RlabAccount;
pub use self::tronk::{PollStep, TronkAccount};
pub use self::vagvin::VagvinAccount;
use super::base_url::BaseUrl;
use super::duration;

/// One named set of credentials at a vendor.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    #[serde(skip)]
    pub name: String,
    #[serde(flatten)]
    pub kind: AccountKind,
    #[serde(flatten)]
    pub common: AccountCommon,
}

/// What the account's vendor adds: one line per vendor.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "vendor", rename_all = "lowercase")]
pub enum AccountKind {
    Tronk(TronkAccount),
    Alta(AltaAccount),
    Rlab(RlabAccount),
    Vagvin(VagvinAccount),
}

/// What every account has.
#[derive(Debug, Clone, Serialize)]
pub struct AccountCommon {
    pub base_url: BaseUrl,
    /// Plain http is meant, although the host is not this machine.
    pub allow_http: bool,
    /// Of one call, from the first byte to the last.
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub limits: Limits,
    /// How long a look-up that finds nothing must wait before it counts.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// A job proven absent at the vendor is submitted again without asking.
    pub resubmit: bool,
    /// Texts in a vendor's refusal that mean bad key, no access or no money; added to the driver's own.
    pub pause_on: Vec<String>,
    /// What an order of each kind costs, in the unit in which the vendor shows its balance.
    pub prices: BTreeMap<String, f64>,
    pub budget: Budget,
    /// An order equal to one that was sent this recently is held. Zero: none is.
    #[serde(with = "duration")]
    pub same_order_window: Duration,
}

/// The most that may be ordered; what is not given is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Budget {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_month: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_per_month: Option<f64>,
    /// Whose midnight begins a day: hours before UTC's.
    pub utc_offset: i32,
}

/// Of one account, over all its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub max_in_flight: u32,
    /// Between the starts of two calls.
    #[serde(with = "duration")]
    pub min_interval: Duration,
}

impl AccountCommon {
    /// What a cadence may not go below: the vendor's floor, or on this machine, where simulators run fast, hardly any.
    pub(super) fn floor(&self, vendors: Duration) -> Duration {
        if self.base_url.is_loopback() { Duration::from_millis(1) } else { vendors }
    }
}

impl AccountKind {
    /// As `vendor = "…"` has it.
    pub fn vendor(&self) -> &'static str {
        match self {
            Self::Tronk(_) => "tronk",
            Self::Alta(_) => "alta",
            Self::Rlab(_) => "rlab",
            Self::Vagvin(_) => "vagvin",
        }
    }

    /// What opens the account.
    pub fn credentials(&self) -> Vec<&SecretString> {
        match self {
            Self::Alta(account) => vec![&account.login, &account.sa, &account.password],
            Self::Tronk(_) | Self::Rlab(_) | Self::Vagvin(_) => self.secrets(),
        }
    }

    /// What is masked everywhere. A login and a contract's number are no secrets: they stand in e-mails and names.
    pub fn secrets(&self) -> Vec<&SecretString> {
        match self {
            Self::Tronk(account) => vec![&account.key],
            Self::Alta(account) => vec![&account.password],
            Self::Rlab(account) => vec![&account.user_key],
            Self::Vagvin(account) => vec![&account.token, &account.callback_secret],
        }
    }
}

/// Shows that a secret is set, and nothing of it.
pub(super) fn hidden<S: serde::Serializer>(_: &SecretString, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str("…")
}
