//! Whether each account's vendor can be reached, and on demand whether it takes the credentials.
//!
//! Manners: one HEAD of the front page, without a key. `--online` is one free call more, and only while no daemon runs: a
//! running one keeps its distances to the vendor, and knows the answer already.

use std::time::Duration;

use super::Finding;
use super::daemon::Running;
use super::trial::{self, Trial};
use crate::app;
use crate::cli::when;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::exchange::{Host, SendError};
use crate::domain::privacy::masked;
use crate::engine::account::AccountSetup;

/// Empty where no TLS client can be made: that is said elsewhere.
pub fn all(config: &Config, clock: &SharedClock) -> Vec<AccountSetup> {
    app::account_setups(config, clock).unwrap_or_default()
}

pub async fn look(
    setup: &AccountSetup,
    running: &Running,
    online: bool,
    clock: &SharedClock,
    patience: Duration,
) -> Vec<Finding> {
    let mut all = Vec::new();
    let reserve = setup.hosts.as_ref().is_some_and(|policy| policy.reserve);
    if reserve {
        let (primary, reserve) =
            tokio::join!(reach(setup, Host::Primary, patience), reach(setup, Host::Reserve, patience));
        all.extend([primary, reserve]);
    } else {
        all.push(reach(setup, Host::Primary, patience).await);
    }
    if online {
        all.push(if running.is_up { known(setup, running, clock) } else { tried(setup, clock).await });
    }
    all
}

async fn reach(setup: &AccountSetup, host: Host, patience: Duration) -> Finding {
    let name = &setup.name;
    let what = match host {
        Host::Primary => "vendor's host",
        Host::Reserve => "vendor's reserve host",
    };
    let Ok(knocked) = tokio::time::timeout(patience, setup.client.knock(host)).await else {
        let what = format!("{name}: the {what} did not answer within {} s", patience.as_secs());
        return Finding::warning("account", what, "try again; is base_url right, does a firewall let it out?");
    };
    match knocked {
        Ok(status) => Finding::ok("account", format!("{name}: the {what} answers (HTTP {status} to a bare HEAD)")),
        Err(SendError::NotSent(why)) => {
            let todo = advice(&why);
            Finding::problem("account", format!("{name}: the {what} cannot be reached: {why}"), todo)
        }
        Err(SendError::Lost(why)) => {
            let what = format!("{name}: the {what} is there and did not answer: {why}");
            Finding::warning("account", what, "try again; is base_url right?")
        }
    }
}

fn advice(why: &str) -> &'static str {
    let why = why.to_lowercase();
    if why.contains("dns") || why.contains("lookup") {
        "is base_url right, and does the machine resolve names (getent hosts HOST)?"
    } else if why.contains("certificate") {
        "is the clock right, are ca-certificates up to date, does something intercept TLS?"
    } else {
        "is base_url right, does a firewall let it out?"
    }
}

async fn tried(setup: &AccountSetup, clock: &SharedClock) -> Finding {
    let name = &setup.name;
    match trial::of(setup, clock).await {
        Trial::Good(said) => Finding::ok("account", format!("{name}: {said}")),
        Trial::Refused(why) => {
            Finding::problem("account", format!("{name}: {why}"), "mend the account's credentials, or pay there")
        }
        Trial::Unclear(why) => Finding::warning("account", format!("{name}: nothing was learned: {why}"), "try again"),
        Trial::NoSuchCall => no_call(name),
    }
}

fn no_call(name: &str) -> Finding {
    Finding::ok("account", format!("{name}: this vendor has no free call; its key shows with the first order"))
}

/// What the daemon has learned of its own calls.
fn known(setup: &AccountSetup, running: &Running, clock: &SharedClock) -> Finding {
    let name = &setup.name;
    let Some(account) = running.accounts.get(name) else {
        return Finding::warning("account", format!("{name}: the running daemon does not know it"), "opros reload");
    };
    let now = clock.now();
    if let Some(pause) = &account.paused {
        let why = masked(pause.message.as_deref().unwrap_or("no reason is given"));
        return Finding::problem(
            "account",
            format!("{name} is paused: {why}"),
            format!("opros resume {name}, once it is mended"),
        );
    }
    match account.last_success_at {
        Some(at) => {
            Finding::ok("account", format!("{name}: the vendor last answered the daemon {}", when::relative(at, now)))
        }
        None if trial::has_call(setup, clock) => Finding::ok(
            "account",
            format!("{name}: the daemon has not asked the vendor yet, and while it runs nothing else does; not tried"),
        ),
        None => no_call(name),
    }
}
