//! From merged layers to the sections, and what must hold between their keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::accounts::Account;
use super::findings::Findings;
use super::reader::Section;
use super::sections::{Callbacks, Config, Log, LogFormat, Mailbox, Retention, Store};
use super::{admin, filter, schedules, sinks};

/// Shorter would remove what nobody had a chance to read.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);
/// Budgets look back a month, and books a year.
const SHORTEST_LEDGER: Duration = Duration::from_secs(400 * 86_400);

/// More than this is a slip of the hand: nothing would ever be ordered.
const LARGEST_FLOOR: u64 = 1 << 40;
/// It is written at each start.
const LARGEST_BALLAST: u64 = 64 << 20;

/// Reads everything; `findings` holds what was wrong.
pub(super) fn config(findings: &Findings) -> Config {
    let root = findings.root();
    let store = store(&root);
    let accounts = accounts(&root);
    let sinks::Sinks { webhooks, commands } = sinks::read(&root, &accounts);
    let config = Config {
        mailbox: mailbox(&root, &store.path),
        store,
        admin: admin::read(&root),
        log: log(&root),
        callbacks: callbacks(&root),
        retention: retention(&root),
        backup: schedules::backup(&root),
        schedules: schedules::schedules(&root),
        accounts,
        webhooks,
        commands,
        warnings: Vec::new(),
    };
    root.finish();
    config
}

fn store(root: &Section<'_>) -> Store {
    let section = root.section("store");
    let store = Store {
        path: section.path("path"),
        allow_network_fs: section.flag("allow_network_fs"),
        free_floor: section.size("free_floor", 0..=LARGEST_FLOOR),
        ballast: section.size("ballast", 0..=LARGEST_BALLAST),
    };
    section.finish();
    store
}

fn mailbox(root: &Section<'_>, store: &Path) -> Mailbox {
    let section = root.section("mailbox");
    let path = section.path_or_none("path");
    if path.as_deref() == Some(store) && section.is_sound("path") {
        section.problem("path", "must not be the store's own file: other programs write to the mailbox");
    }
    section.finish();
    Mailbox { path }
}

fn log(root: &Section<'_>) -> Log {
    let section = root.section("log");
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
    let format = section.one_of("format", &formats, LogFormat::Auto);
    let filter = section.text("filter");
    if section.is_sound("filter") && filter::read(&filter).is_err() {
        section.problem("filter", "must be a filter such as \"info\" or \"info,opros::engine=debug\"");
    }
    section.finish();
    Log { format, filter }
}

fn callbacks(root: &Section<'_>) -> Callbacks {
    let section = root.section("callbacks");
    let callbacks = Callbacks { listen: section.address("listen"), trusted_proxies: section.hosts("trusted_proxies") };
    if !callbacks.listen.ip().is_loopback() {
        section.warning(
            "listen",
            "is no loopback address: vendors' secrets and reports come over the network in plain text. Put a proxy with TLS before a \
             loopback address",
        );
    }
    section.finish();
    callbacks
}

fn retention(root: &Section<'_>) -> Retention {
    let section = root.section("retention");
    let retention = Retention {
        finished: section.duration_from("finished", SHORTEST_RETENTION),
        events: section.duration_from("events", SHORTEST_RETENTION),
        calls: section.duration_from("calls", SHORTEST_RETENTION),
        uids: section.duration_from("uids", SHORTEST_RETENTION),
        ledger: section.duration_from("ledger", SHORTEST_LEDGER),
        most_finished: most(&section, "most_finished"),
        most_events: most(&section, "most_events"),
        most_calls: most(&section, "most_calls"),
    };
    section.finish();
    retention
}

/// 0 stands for no limit.
fn most(section: &Section<'_>, key: &str) -> Option<u64> {
    Some(section.whole::<u64>(key, 0..=i64::MAX)).filter(|most| *most > 0)
}

fn accounts(root: &Section<'_>) -> BTreeMap<String, Account> {
    let section = root.section("accounts");
    let mut accounts = BTreeMap::new();
    for name in section.keys() {
        let account = section.section(name);
        let read = if section.is_sound(name) { Account::read(&account) } else { None };
        if !is_name(name) {
            section.problem(name, "an account's name is 1 to 32 of a-z 0-9 _ -");
        }
        accounts.extend(read.map(|account| (name.clone(), account)));
    }
    if section.keys().next().is_none() {
        root.warning(
            "accounts",
            "none is configured, so every job will be refused; add a table such as [accounts.tronk]",
        );
    }
    accounts
}

/// Of an account, a webhook or a command.
pub(super) fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}
