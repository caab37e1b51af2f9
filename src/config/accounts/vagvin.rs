//! `vendor = "vagvin"`.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{AccountCommon, hidden};
use crate::config::duration;
use crate::config::reader::Section;

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

/// Whoever guesses it can deliver reports; nobody guesses 16 characters. On this machine simulators may be short.
const SHORTEST_SECRET: usize = 16;

/// A vendor is not asked more often, except on this machine.
const FLOOR: Duration = Duration::from_secs(1);

pub(super) fn read(section: &Section<'_>, common: &AccountCommon) -> VagvinAccount {
    let floor = common.floor(FLOOR);
    let account = VagvinAccount {
        token: section.secret("token"),
        callback_secret: section.secret("callback_secret"),
        give_up: section.duration_from("give_up", floor),
        balance_every: section.duration_or_never("balance_every", floor),
    };
    let secret = account.callback_secret.expose_secret();
    let is_segment = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if section.is_sound("callback_secret") && !secret.is_empty() {
        if !secret.bytes().all(is_segment) || matches!(secret, "." | "..") {
            section.problem("callback_secret", "must be of A-Z a-z 0-9 - _ . ~ only: it is a segment of an address");
        } else if secret.len() < SHORTEST_SECRET && !common.base_url.is_loopback() {
            section.problem("callback_secret", format!("must be at least {SHORTEST_SECRET} characters long"));
        }
    }
    account
}
