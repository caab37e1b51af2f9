//! `vendor = "tronk"`.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::{AccountCommon, hidden};
use crate::config::reader::Section;
use crate::config::{duration, size};

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
    /// The page behind a report's `url` is kept too.
    pub download: bool,
    /// A larger one is not.
    #[serde(serialize_with = "size::serialize")]
    pub download_limit: u64,
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

/// It is streamed to the disk, so this is about the disk.
const LARGEST_DOWNLOAD: u64 = 1 << 30;

/// A vendor is not asked more often, except on this machine.
const FLOOR: Duration = Duration::from_secs(1);

pub(super) fn read(section: &Section<'_>, common: &AccountCommon) -> TronkAccount {
    let floor = common.floor(FLOOR);
    let account = TronkAccount {
        key: section.secret("key"),
        poll: section.tables("poll", |step| poll_step(step, floor)),
        ready_statuses: section.wholes("ready_statuses"),
        failed_statuses: section.wholes("failed_statuses"),
        download: section.flag("download"),
        download_limit: section.size("download_limit", 1..=LARGEST_DOWNLOAD),
    };
    if account.poll.is_empty() && section.is_sound("poll") {
        section.problem("poll", "must have at least one step");
    }
    if account.ready_statuses.is_empty() && section.is_sound("ready_statuses") {
        section.problem("ready_statuses", "must hold at least one number");
    }
    if account.failed_statuses.iter().any(|status| account.ready_statuses.contains(status)) {
        section.problem("failed_statuses", "must not hold a number that ready_statuses holds");
    }
    account
}

fn poll_step(section: &Section<'_>, floor: Duration) -> PollStep {
    let step = PollStep { every: section.duration_from("every", floor), lasting: section.duration("for") };
    section.not_below("for", step.lasting, "every", step.every);
    step
}
