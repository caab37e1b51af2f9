//! Whether a daemon runs, what it says of itself, and whether it is the one that is installed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::Finding;
use crate::cli::client::{Client, read};
use crate::cli::wire::{Account, Accounts, Health};
use crate::cli::{Failure, pages};
use crate::config::Config;

#[derive(Debug, Default)]
pub struct Running {
    pub is_up: bool,
    /// What the daemon knows of its accounts.
    pub accounts: BTreeMap<String, Account>,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Contract {
    info: Info,
}

#[derive(Debug, Deserialize)]
struct Info {
    version: String,
}

pub async fn look(socket: &Path, config: Option<&Config>) -> Running {
    let client = match Client::new(socket.to_owned()) {
        Ok(client) => client,
        Err(failure) => return silent(&failure, config),
    };
    match client.get_any(&["v1", "health"]).await {
        Ok(answer) => {
            let mut running = Running { is_up: true, ..Running::default() };
            running.findings.push(version(&client, socket).await);
            match read::<Health>(&answer.body) {
                Ok(health) => running.findings.extend(causes(&health)),
                Err(failure) => running.findings.push(strange(&failure)),
            }
            running.accounts = accounts(&client).await;
            running
        }
        Err(failure) => silent(&failure, config),
    }
}

fn strange(failure: &Failure) -> Finding {
    Finding::problem("daemon", failure.to_string(), "is it another program's socket, or another version?")
}

async fn version(client: &Client, socket: &Path) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    let at = socket.display();
    let contract = client.get(&["openapi.json"], &[]).await.and_then(|answer| answer.read::<Contract>());
    match contract {
        Ok(contract) if contract.info.version == ours => Finding::ok("daemon", format!("it runs and answers at {at}")),
        Ok(contract) => Finding::warning(
            "daemon",
            format!("version {} runs at {at}, and this is {ours}", contract.info.version),
            "systemctl restart opros",
        ),
        Err(failure) => strange(&failure),
    }
}

fn causes(health: &Health) -> Vec<Finding> {
    if health.causes.is_empty() {
        return vec![Finding::ok("health", health.status.clone())];
    }
    let blocked = health.status == "blocked";
    let finding = |cause: &crate::cli::wire::Cause| {
        let page = cause.code.as_deref().and_then(pages::find);
        let todo = page.map_or("opros health".to_owned(), |page| format!("opros explain {}", page.code));
        if blocked {
            Finding::problem("health", &cause.what, todo)
        } else {
            Finding::warning("health", &cause.what, todo)
        }
    };
    health.causes.iter().map(finding).collect()
}

async fn accounts(client: &Client) -> BTreeMap<String, Account> {
    let answer = client.get(&["v1", "accounts"], &[]).await.and_then(|answer| answer.read::<Accounts>());
    let all = answer.map(|answer| answer.accounts).unwrap_or_default();
    let read = all.iter().filter_map(|raw| serde_json::from_str::<Account>(raw.get()).ok());
    read.map(|account| (account.name.clone(), account)).collect()
}

/// Nobody answers: stopped, or alive and deaf.
fn silent(failure: &Failure, config: Option<&Config>) -> Running {
    let is_held = config.is_some_and(|config| is_locked(&config.store.path.with_extension("lock")));
    let finding = if is_held {
        let what = format!("one runs on the store, and cannot be asked: {failure}");
        Finding::problem("daemon", what, "give --socket, or: journalctl -u opros -n 50")
    } else if matches!(failure, Failure::Unreachable(words) if words.contains("does not let you in")) {
        Finding::warning("daemon", failure.to_string(), "sudo opros doctor")
    } else {
        Finding::ok("daemon", "none runs; the mailbox is looked at from here, and what only a daemon knows is left out")
    };
    Running { is_up: is_held, findings: vec![finding], ..Running::default() }
}

/// By the kernel's list: taking the lock to find out could keep a daemon from starting at this moment.
fn is_locked(lock: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(lock) else { return false };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = format!(":{}", meta.ino());
    locks
        .lines()
        .any(|line| line.split_whitespace().any(|field| field.matches(':').count() == 2 && field.ends_with(&inode)))
}
