//! The machine: its clock, its certificates, its disks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Datelike;

use super::Finding;
use crate::cli::when;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::http::{AnswerBudget, Client, ClientSettings};
use crate::look::{self, Links};
use crate::store::sqlite::file::{directory_of, network_kind};
use crate::store::sqlite::witness;

/// opros is younger than that.
const FIRST_YEAR: i32 = 2026;
const LAST_YEAR: i32 = 2099;
/// The witness is written after the fact: a moment of difference is none.
const TOLERATED: Duration = Duration::from_secs(2);
const TIMESYNC: &str = "/run/systemd/timesync";
const SET_CLOCK: &str = "set the clock: timedatectl set-ntp true";

pub fn clock(now: Timestamp, store: Option<&Path>) -> Vec<Finding> {
    let year = now.to_utc().year();
    if !(FIRST_YEAR..=LAST_YEAR).contains(&year) {
        return vec![Finding::problem(
            "clock",
            format!("it shows the year {year}: certificates and deadlines fail"),
            SET_CLOCK,
        )];
    }
    // What the witness is was said among the files; only a regular one is read.
    let is_file = |store: &&Path| look::open(&witness::path_of(store), Links::Refuse).is_ok();
    let last = store.filter(is_file).and_then(witness::seen).map(|mark| mark.at);
    if let Some(last) = last.filter(|last| last.since(now) > TOLERATED) {
        let behind = when::span(last.since(now));
        let what = format!("it is {behind} behind the last time that the store has seen ({})", when::stamp(last));
        return vec![Finding::problem("clock", what, SET_CLOCK)];
    }
    vec![synchronised()]
}

fn synchronised() -> Finding {
    let place = Path::new(TIMESYNC);
    if place.join("synchronized").exists() {
        Finding::ok("clock", "it is plausible, and synchronised by systemd-timesyncd")
    } else if place.is_dir() {
        let what = "it is plausible; systemd-timesyncd runs and has not synchronised it since the machine started";
        Finding::warning("clock", what, "look at: timedatectl timesync-status")
    } else {
        Finding::ok("clock", "it is plausible; whether NTP keeps it is not known here (no systemd-timesyncd)")
    }
}

/// No vendor can be reached without the machine's certificates.
pub fn certificates(clock: &SharedClock) -> Finding {
    let settings = ClientSettings {
        base_url: "https://localhost".to_owned(),
        reserve_url: None,
        timeout: Duration::from_secs(1),
        masks: Default::default(),
        names: std::sync::Arc::new(crate::guard::SystemNames),
    };
    match Client::new(settings, AnswerBudget::default(), clock.clone()) {
        Ok(_) => Finding::ok("tls", "the machine's certificates are there, a TLS client can be made"),
        Err(error) => Finding::problem("tls", error.to_string(), "apt-get install ca-certificates"),
    }
}

pub fn disk(config: &Config) -> Vec<Finding> {
    let store = existing(directory_of(&config.store.path));
    let mut all = vec![room(&store, config.store.free_floor)];
    all.extend(ballast(config));
    all.extend(network(&store, config.store.allow_network_fs, "the store"));
    if let Some(mailbox) = &config.mailbox.path {
        let mailbox = existing(directory_of(mailbox));
        if network_kind(&mailbox).is_none() && !same_disk(&store, &mailbox) {
            all.push(room(&mailbox, 0));
        }
        all.extend(network(&mailbox, config.store.allow_network_fs, "the mailbox"));
    }
    all
}

/// The directory itself, or the nearest one above it that is there.
fn existing(directory: &Path) -> PathBuf {
    directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    device(one) == device(other)
}

fn room(directory: &Path, floor: u64) -> Finding {
    let at = directory.display();
    let asked = match rustix::fs::statvfs(directory) {
        Ok(asked) => asked,
        Err(error) => return Finding::warning("disk", format!("{at} cannot be asked: {error}"), "sudo opros doctor"),
    };
    let free = asked.f_bavail.saturating_mul(asked.f_frsize);
    let (mib, floor_mib) = (free >> 20, floor >> 20);
    if asked.f_files > 0 && asked.f_favail == 0 {
        return Finding::problem("disk", format!("{at} has no room for another file (inodes)"), "remove files there");
    }
    if free < floor {
        let what = format!("{at} has {mib} MiB free, less than store.free_floor ({floor_mib} MiB): nothing is ordered");
        return Finding::problem("disk", what, "free some space");
    }
    if free < floor.saturating_mul(3) {
        let what = format!("{at} has {mib} MiB free; below {floor_mib} MiB (store.free_floor) nothing is ordered");
        return Finding::warning("disk", what, "free some space before that");
    }
    Finding::ok("disk", format!("{at} has {mib} MiB free"))
}

fn ballast(config: &Config) -> Option<Finding> {
    let wanted = config.store.ballast;
    if wanted == 0 || !config.store.path.exists() {
        return None;
    }
    let path = config.store.path.with_extension("ballast");
    let at = path.display();
    Some(match std::fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() == wanted => Finding::ok("disk", format!("the ballast {at} is there")),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        Ok(_) | Err(_) => Finding::warning(
            "disk",
            format!("the ballast {at} is not there: it was given up on a full disk, or opros has not laid it yet"),
            "free some space; opros lays it again by itself",
        ),
    })
}

fn network(directory: &Path, allowed: bool, what: &str) -> Option<Finding> {
    let kind = network_kind(directory)?;
    let found = format!("{what} lies on a network file system ({kind}), where SQLite's locks cannot be trusted");
    Some(if allowed {
        Finding::warning("disk", format!("{found}; store.allow_network_fs permits it"), "a local disk is safer")
    } else {
        Finding::problem("disk", found, "move it to a local disk")
    })
}
