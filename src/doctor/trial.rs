//! Tries an account's credentials by the vendor's own free call. Nothing is ordered and nothing is paid.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clock::SharedClock;
use crate::domain::exchange::Request;
use crate::domain::privacy::masked;
use crate::engine::account::AccountSetup;
use crate::vendors::{AccountCall, AccountNews, AccountReading};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// What the vendor said of the account.
    Good(String),
    /// The vendor refuses the account, or its money is gone.
    Refused(String),
    /// Nothing was learned.
    Unclear(String),
    /// The vendor has no free call; nothing was sent.
    NoSuchCall,
}

/// Whether the vendor has a free call.
pub fn has_call(setup: &AccountSetup, clock: &SharedClock) -> bool {
    call(setup, clock).is_some()
}

fn call(setup: &AccountSetup, clock: &SharedClock) -> Option<(AccountCall, Request)> {
    let calls = [AccountCall::Credentials, AccountCall::Balance];
    calls.into_iter().find_map(|call| Some((call, setup.driver.account_request(call, clock.now())?)))
}

/// One request.
pub async fn of(setup: &AccountSetup, clock: &SharedClock) -> Trial {
    let Some((call, request)) = call(setup, clock) else { return Trial::NoSuchCall };
    let received = match setup.client.send(&request, None).await {
        Ok(received) => received,
        Err(error) => return Trial::Unclear(error.to_string()),
    };
    let status = received.status();
    if matches!(status, 300..=399 | 429) {
        return Trial::Unclear(format!("the vendor answered HTTP {status}"));
    }
    // A driver that panics harms one call.
    let read = || received.read(|answer| setup.driver.read_account(call, answer, clock.now()));
    let reading = catch_unwind(AssertUnwindSafe(read));
    reading.map_or_else(|_| Trial::Unclear("the answer cannot be read".to_owned()), judged)
}

fn judged(reading: AccountReading) -> Trial {
    let mut said = Vec::new();
    for news in &reading.news {
        match news {
            AccountNews::Pause { reason, .. } => return Trial::Refused(masked(&reason.message)),
            AccountNews::Balance(balance) => said.push(format!("balance {} {}", balance.amount, balance.unit)),
            AccountNews::TariffEnds(Some(at)) => said.push(format!("the tariff ends at {at}")),
            AccountNews::TariffEnds(None) => {}
        }
    }
    match reading.unclear {
        Some(reason) => Trial::Unclear(masked(&reason.message)),
        None if said.is_empty() => Trial::Good("the vendor takes the credentials".to_owned()),
        None => Trial::Good(format!("the vendor takes the credentials: {}", said.join(", "))),
    }
}
