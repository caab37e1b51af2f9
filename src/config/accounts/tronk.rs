//! `vendor = "tronk"`.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::hidden;
use crate::config::duration;

#[derive(Debug, Clone, Serialize)]
pub struct TronkAccount {
    #[serde(serialize_with = "hidden")]
    pub key: SecretString,
    /// In this order; after the last the job has expired.
    pub poll: Vec<PollStep>,
    /// Numbers in `status` that mean "ready".
    pub ready_statuses: Vec<i64>,
    /// Numbers in `status` that mean "will never be ready".
    pub failed_statuses: Vec<i64>,
}

/// Poll `every` so often, for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PollStep {
    #[serde(with = "duration")]
    pub every: Duration,
    /// The key is `for`, a word that Rust keeps to itself.
    #[serde(rename = "for", with = "duration")]
    pub lasting: Duration,
}
