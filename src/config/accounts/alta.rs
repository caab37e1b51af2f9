//! `vendor = "alta"`.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::hidden;
use crate::config::duration;

#[derive(Debug, Clone, Serialize)]
pub struct AltaAccount {
    #[serde(serialize_with = "hidden")]
    pub login: SecretString,
    /// The contract's number.
    #[serde(serialize_with = "hidden")]
    pub sa: SecretString,
    /// The technical password, not that of the web site.
    #[serde(serialize_with = "hidden")]
    pub password: SecretString,
    /// Per hash, while a report is due.
    #[serde(with = "duration")]
    pub show_every: Duration,
    /// How long after each of `times` a report is expected.
    #[serde(with = "duration")]
    pub due_window: Duration,
    /// Per hash, outside the windows.
    #[serde(with = "duration")]
    pub idle_every: Duration,
    /// What the vendor's error codes mean; one that is not here goes by its text.
    pub codes: BTreeMap<i64, CodeMeaning>,
    /// `None` when it is "0s": the balance is not asked for.
    #[serde(with = "duration::or_never")]
    pub balance_every: Option<Duration>,
    /// At or below this the balance is announced as low.
    pub balance_low: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeMeaning {
    /// Try again later.
    Transient,
    /// The job has failed.
    Permanent,
    /// The account must stop: key, access or money.
    Pause,
}
