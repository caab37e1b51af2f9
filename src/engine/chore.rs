//! Calls about the account itself: are the credentials good, how much is left, is the vendor there at all.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::account::Runner;
use super::meaning::{driver_panicked, too_many_requests, unavailable};
use super::step::{commit, keep_distance, mark_call, send};
use crate::crash;
use crate::domain::account::Gate;
use crate::domain::exchange::Host;
use crate::domain::{Reason, Timestamp};
use crate::store::{AccountChange, Batch, CallRecord};
use crate::vendors::{AccountCall, AccountReading};

/// The word for such calls where calls are counted.
const ACCOUNT: &str = "account";

/// Makes such a call: to the host in use, unless another one is to be tried.
pub fn spawn_chore(runner: &Arc<Runner>, tracker: &TaskTracker, chore: AccountCall, to: Option<Host>) {
    runner.take_slot(runner.now());
    let Some(occupied) = runner.occupy(Vec::new(), None) else { return };
    let tried = if to == Some(Host::Primary) { runner.tried_primary() } else { None };
    let runner = Arc::clone(runner);
    let work = async move {
        make_chore(&runner, chore, to, tried).await;
        drop(occupied);
    };
    tracker.spawn(crash::watched("engine.chore", work));
}

/// While the breaker is open: asks whether the vendor is back with a call that concerns no job. False where it has no such call.
pub fn probe(runner: &Arc<Runner>, tracker: &TaskTracker) -> bool {
    let setup = runner.setup();
    let Some(policy) = &setup.hosts else { return false };
    if runner.driver().account_request(AccountCall::Credentials, runner.now()).is_none() {
        return false;
    }
    if runner.requests_in_flight() == 0 {
        let trial = runner.account().hosts.trial_at(policy).is_some_and(|at| at <= runner.now());
        runner.take_slot(runner.now());
        spawn_chore(runner, tracker, AccountCall::Credentials, trial.then_some(Host::Primary));
    }
    true
}

/// While the reserve is used: asks from time to time whether the primary is back. Says when it does so next.
pub fn try_primary(runner: &Arc<Runner>, tracker: &TaskTracker) -> Option<Timestamp> {
    let (setup, now) = (runner.setup(), runner.now());
    let policy = setup.hosts.as_ref()?;
    let account = runner.account();
    let at = account.hosts.trial_at(policy)?;
    if at > now {
        return Some(at);
    }
    if matches!(account.gate(now), Gate::Paused | Gate::Frozen(_)) {
        return None;
    }
    runner.driver().account_request(AccountCall::Credentials, now)?;
    runner.take_slot(now);
    spawn_chore(runner, tracker, AccountCall::Credentials, Some(Host::Primary));
    runner.account().hosts.trial_at(policy)
}

async fn make_chore(runner: &Runner, chore: AccountCall, to: Option<Host>, tried: Option<AccountChange>) {
    let setup = runner.setup();
    let built = || setup.driver.account_request(chore, runner.now());
    let Some(mut request) = runner.guarded(&[], "building a request about the account", built).flatten() else {
        return;
    };
    let (in_use, change) = runner.host();
    let mut accounts: Vec<AccountChange> = tried.into_iter().chain(change).collect();
    let host = to.unwrap_or(in_use);
    request.host = host;
    accounts.extend(mark_call(runner));
    keep_distance(runner, &setup).await;
    let (sent_at, exchange) = send(runner, &setup, &request, None).await;
    crash::point("chore.answered");
    let status = exchange.as_ref().ok().map(|received| received.status());
    let (outcome, note) = match exchange {
        Err(error) => {
            accounts.extend(runner.failed(host, Reason::new("no_answer", error.to_string()), sent_at));
            ("unclear", Some(error.to_string()))
        }
        Ok(received) if received.status() == 429 => {
            accounts.extend(too_many_requests(runner, ACCOUNT, &received, sent_at));
            ("not_taken", Some("the vendor said 429: too many requests".to_owned()))
        }
        Ok(received) => {
            let now = runner.now();
            let read = || received.read(|answer| setup.driver.read_account(chore, answer, now));
            let reading = runner.guarded(&[], "reading an answer about the account", read);
            let reading = reading
                .unwrap_or_else(|| AccountReading { unclear: Some(driver_panicked()), ..AccountReading::default() });
            if received.status() == 503 && reading.unclear.is_some() {
                accounts.extend(unavailable(runner, ACCOUNT, &received, sent_at));
            }
            hear_account(runner, host, reading, sent_at, &mut accounts)
        }
    };
    runner.shared.meters.request(runner.name(), ACCOUNT, outcome, runner.now().since(sent_at));
    let record = CallRecord {
        account: runner.name().to_owned(),
        call: None,
        op: request.op,
        job: None,
        jobs: 0,
        at: sent_at,
        took: runner.now().since(sent_at),
        status,
        outcome: outcome.to_owned(),
        note,
    };
    commit(runner, Batch { at: runner.now(), accounts, call: Some(record), ..Batch::default() }).await;
    crash::point("chore.committed");
}

fn hear_account(
    runner: &Runner,
    host: Host,
    reading: AccountReading,
    began: Timestamp,
    accounts: &mut Vec<AccountChange>,
) -> (&'static str, Option<String>) {
    if let Some(reason) = reading.unclear {
        accounts.extend(runner.failed(host, reason.clone(), began));
        return ("unclear", Some(reason.message));
    }
    accounts.extend(runner.answered(host, ACCOUNT));
    for news in reading.news {
        accounts.extend(runner.hear(news));
    }
    ("read", None)
}
