//! `accounts`, `pause` and `resume`.

use serde_json::{Value, json};

use super::args::{AccountArg, PauseArgs};
use super::client::{Answer, Client, read};
use super::exit::Exit;
use super::failure::Failure;
use super::jobs::say_table;
use super::output::{BAD, BUSY, CARE, GOOD, styled};
use super::table::Table;
use super::wire::{Account, Accounts, Balance};
use super::{Session, text, when};
use crate::domain::Timestamp;

pub async fn list(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let accounts: Accounts = session.client.get(&["v1", "accounts"], &[]).await?.read()?;
    let header =
        ["ACCOUNT", "STATE", "VENDOR", "CALLS", "QUEUED", "WAITING", "FOLLOWED", "BALANCE", "NEXT CALL", "WHAT"];
    let mut table = Table::new(&header, 1).dispensable(&["VENDOR", "FOLLOWED", "BALANCE", "CALLS", "NEXT CALL"]);
    for raw in &accounts.accounts {
        if session.term.json {
            session.term.say_json(raw.get())?;
        } else {
            row(&mut table, &read(raw.get())?, session.clock.now());
        }
    }
    if !session.term.json {
        say_table(session, &table, "No accounts are configured.")?;
    }
    Ok(Exit::Ok)
}

/// Every account, by the daemon's word.
pub async fn all(client: &Client) -> Result<Vec<Account>, Failure> {
    let accounts: Accounts = client.get(&["v1", "accounts"], &[]).await?.read()?;
    accounts.accounts.iter().map(|raw| read(raw.get())).collect()
}

/// What keeps an account from calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    Paused,
    Frozen,
    Broken,
}

impl Account {
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.paused.is_some() {
            Standing::Paused
        } else if self.frozen_until.is_some_and(|until| until > now) {
            Standing::Frozen
        } else if self.breaker.as_ref().is_some_and(|breaker| breaker.open) {
            Standing::Broken
        } else {
            Standing::Good
        }
    }

    /// Why it makes no calls, in words; none when it does.
    pub fn hold(&self, now: Timestamp) -> Option<String> {
        let both = |at: Option<Timestamp>| at.map(|at| when::both(at, now));
        match self.standing(now) {
            Standing::Good => None,
            Standing::Paused => {
                let pause = self.paused.clone().unwrap_or_default();
                let by = pause.by.map(|by| format!(" by the {by}")).unwrap_or_default();
                let since = both(pause.since).map(|since| format!(" since {since}")).unwrap_or_default();
                let why = pause.message.or(pause.code).map(|why| format!(": {why}")).unwrap_or_default();
                Some(format!("paused{by}{since}{why}"))
            }
            Standing::Frozen => {
                Some(format!("the vendor asked for silence until {}", both(self.frozen_until).unwrap_or_default()))
            }
            Standing::Broken => {
                let breaker = self.breaker.clone().unwrap_or_default();
                let failures = breaker.failures.map(|n| format!(" ({n} failures in a row)")).unwrap_or_default();
                let probe = both(breaker.probe_at).map(|at| format!("; the next try is {at}")).unwrap_or_default();
                Some(format!("the vendor does not answer{failures}{probe}"))
            }
        }
    }
}

fn row(table: &mut Table, account: &Account, now: Timestamp) {
    let (state, style) = match account.standing(now) {
        Standing::Good => ("good", GOOD),
        Standing::Paused => ("paused", CARE),
        Standing::Frozen => ("frozen", BUSY),
        Standing::Broken => ("broken", BAD),
    };
    let count = |count: Option<i64>| count.map(|count| count.to_string()).unwrap_or_default();
    let limit = account.limits.as_ref().and_then(|limits| limits.max_in_flight);
    let calls = match (account.in_flight, limit) {
        (Some(now), Some(most)) => format!("{now} of {most}"),
        (now, _) => count(now),
    };
    table.row(
        style,
        vec![
            account.name.clone(),
            state.to_owned(),
            account.vendor.clone().unwrap_or_default(),
            calls,
            count(account.queued),
            count(account.waiting),
            count(account.followed),
            account.balance.as_ref().map(balance).unwrap_or_default(),
            account.next_call_at.map(|at| when::relative(at, now)).unwrap_or_default(),
            account.hold(now).or_else(|| budget(account)).or_else(|| last_error(account, now)).unwrap_or_default(),
        ],
    );
}

fn balance(balance: &Balance) -> String {
    let amount = match &balance.amount {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{amount} {}", balance.unit.as_deref().unwrap_or_default())
}

/// New orders wait; what is paid goes on.
fn budget(account: &Account) -> Option<String> {
    account.budget_spent.as_ref()?.message.clone()
}

/// Only while it is news: a success since then has settled it.
fn last_error(account: &Account, now: Timestamp) -> Option<String> {
    let error = account.last_error.as_ref()?;
    if account.last_success_at > error.at {
        return None;
    }
    let ago = error.at.map(|at| format!(" ({})", when::relative(at, now))).unwrap_or_default();
    Some(format!("last error{ago}: {}", error.message.as_deref().or(error.code.as_deref())?))
}

pub async fn pause(session: &mut Session<'_>, args: PauseArgs) -> Result<Exit, Failure> {
    let body = args.reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let answer = session.client.post(&["v1", "accounts", &args.account.name, "pause"], &body).await?;
    say(session, &answer)
}

pub async fn resume(session: &mut Session<'_>, account: AccountArg) -> Result<Exit, Failure> {
    let answer = session.client.post(&["v1", "accounts", &account.name, "resume"], &json!({})).await?;
    say(session, &answer)
}

fn say(session: &mut Session<'_>, answer: &Answer) -> Result<Exit, Failure> {
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let account: Account = answer.read()?;
    let name = text::line(&account.name);
    let line = match account.hold(session.clock.now()) {
        Some(hold) => format!("Account {name}: {}.", styled(CARE, text::line(&hold))),
        None => format!("Account {name} is {}.", styled(GOOD, "at work")),
    };
    session.term.say(line)?;
    Ok(Exit::Ok)
}
