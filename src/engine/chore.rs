//! Calls about the account itself: are the credentials good, how much is left, is the vendor there at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::account::Runner;
use super::step::{SILENCE, commit, mark_call, send};
use crate::domain::Reason;
use crate::store::{AccountChange, Batch, CallRecord};
use crate::vendors::{AccountCall, AccountReading};

pub fn spawn_chore(runner: &Arc<Runner>, tracker: &TaskTracker, chore: AccountCall) {
    let occupied = runner.occupy(Vec::new(), None);
    let runner = Arc::clone(runner);
    tracker.spawn(async move {
        make_chore(&runner, chore).await;
        drop(occupied);
    });
}

async fn make_chore(runner: &Runner, chore: AccountCall) {
    let Some(request) = runner.driver().account_request(chore, runner.now()) else { return };
    let mut accounts: Vec<AccountChange> = mark_call(runner, runner.now()).into_iter().collect();
    let (sent_at, exchange) = send(runner, &request, None).await;
    let status = exchange.as_ref().ok().map(|received| received.answer.status);
    let (outcome, note) = match exchange {
        Err(error) => {
            accounts.extend(runner.failed(Reason::new("no_answer", error.to_string())));
            ("unclear", Some(error.to_string()))
        }
        Ok(received) if received.answer.status == 429 => {
            let (_, change) = runner.freeze(received.answer.retry_after.unwrap_or(SILENCE));
            accounts.extend(change);
            ("not_taken", Some("the vendor said 429: too many requests".to_owned()))
        }
        Ok(received) => {
            let now = runner.now();
            let reading = catch_unwind(AssertUnwindSafe(|| runner.driver().read_account(chore, &received.answer, now)));
            hear_account(runner, reading.unwrap_or_default(), &mut accounts)
        }
    };
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
    commit(runner, Batch { at: runner.now(), changes: Vec::new(), accounts, call: Some(record) }).await;
}

fn hear_account(
    runner: &Runner,
    reading: AccountReading,
    accounts: &mut Vec<AccountChange>,
) -> (&'static str, Option<String>) {
    if let Some(reason) = reading.unclear {
        accounts.extend(runner.failed(reason.clone()));
        return ("unclear", Some(reason.message));
    }
    accounts.extend(runner.answered());
    for news in reading.news {
        accounts.extend(runner.hear(news));
    }
    ("read", None)
}
