//! Whether a daemon runs, what it says of itself, and whether it is the one that is installed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::UnixStream;

use super::Finding;
use crate::cli::client::{Client, read};
use crate::cli::socket::explain;
use crate::cli::wire::{Account, Accounts, Health};
use crate::cli::{Failure, pages};
use crate::config::Config;
use crate::look::Kind;

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

/// A daemon that lives answers in a moment; whoever listens there and says nothing is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn look(socket: &Path, config: Option<&Config>) -> Running {
    let kind = std::fs::symlink_metadata(socket).map(|meta| Kind::of(meta.file_type()));
    let silence = match kind {
        Ok(Kind::Socket) => match tokio::time::timeout(PATIENCE, UnixStream::connect(socket)).await {
            Ok(Ok(_)) => match tokio::time::timeout(PATIENCE, asked(socket)).await {
                Ok(Ok(running)) => return running,
                Ok(Err(failure)) => Silence::Other(failure.to_string()),
                Err(_) => Silence::Deaf,
            },
            Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Silence::Closed(explain(socket, &error)),
            Ok(Err(error)) => Silence::Other(explain(socket, &error)),
            Err(_) => Silence::Deaf,
        },
        Ok(kind) => Silence::Strange(kind),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Silence::Closed(explain(socket, &error)),
        Err(error) => Silence::Other(explain(socket, &error)),
    };
    silent(socket, silence, config)
}

/// Why there is no answer.
enum Silence {
    /// Whoever asks may not.
    Closed(String),
    /// Somebody listens, and says nothing.
    Deaf,
    /// What lies there is no socket.
    Strange(Kind),
    Other(String),
}

async fn asked(socket: &Path) -> Result<Running, Failure> {
    let client = Client::new(socket.to_owned())?;
    let answer = client.get_any(&["v1", "health"]).await?;
    let mut running = Running { is_up: true, ..Running::default() };
    running.findings.push(version(&client, socket).await);
    match read::<Health>(&answer.body) {
        Ok(health) => running.findings.extend(causes(&health)),
        Err(failure) => running.findings.push(strange(&failure)),
    }
    running.accounts = accounts(&client).await;
    Ok(running)
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
fn silent(socket: &Path, silence: Silence, config: Option<&Config>) -> Running {
    let is_held = config.is_some_and(|config| is_locked(&config.store.path.with_extension("lock")));
    let at = socket.display();
    let finding = match silence {
        Silence::Deaf => {
            let what = format!("something listens at {at} and does not answer within {} s", PATIENCE.as_secs());
            Finding::problem("daemon", what, "systemctl status opros; journalctl -u opros -n 50")
        }
        Silence::Closed(why) if !is_held => Finding::warning("daemon", why, "sudo opros doctor"),
        Silence::Other(why) | Silence::Closed(why) if is_held => {
            let what = format!("one runs on the store, and cannot be asked: {why}");
            Finding::problem("daemon", what, "give --socket, or: journalctl -u opros -n 50")
        }
        Silence::Strange(kind) => {
            let what = format!("{at} is {}, not a socket: nobody was asked", kind.words());
            Finding::warning("daemon", what, "see the socket below, or give --socket")
        }
        Silence::Other(_) | Silence::Closed(_) => Finding::ok(
            "daemon",
            "none runs; the mailbox is looked at from here, and what only a daemon knows is left out",
        ),
    };
    Running { is_up: is_held, findings: vec![finding], ..Running::default() }
}

/// By the kernel's list: taking the lock to find out could keep a daemon from starting at this moment.
fn is_locked(lock: &Path) -> bool {
    let Ok(meta) = std::fs::symlink_metadata(lock) else { return false };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    // By the inode alone: some file systems name another device there than stat does.
    let inode = format!(":{}", meta.ino());
    locks
        .lines()
        .any(|line| line.split_whitespace().any(|field| field.matches(':').count() == 2 && field.ends_with(&inode)))
}

/// A file as `/proc/locks` names it.
pub fn inode(meta: &Metadata) -> String {
    let device = meta.dev();
    format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), meta.ino())
}
