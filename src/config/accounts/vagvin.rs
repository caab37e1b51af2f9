//! `vendor = "vagvin"`.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::hidden;
use crate::config::duration;

#[derive(Debug, Clone, Serialize)]
pub struct VagvinAccount {
    #[serde(serialize_with = "hidden")]
    pub token: SecretString,
    /// The last path segment of the call-back address.
    #[serde(serialize_with = "hidden")]
    pub callback_secret: SecretString,
    /// How long the vendor's call-back is waited for.
    #[serde(with = "duration")]
    pub give_up: Duration,
    /// `None` when it is "0s": the balance is not asked for.
    #[serde(with = "duration::or_never")]
    pub balance_every: Option<Duration>,
}
