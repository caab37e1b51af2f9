//! Alta-Soft's rail tracking: seven methods behind one address, answers as arrays that begin with a status.
//!
//! Nothing runs in the background: reports, arrivals and daily charges follow from the clock when somebody looks, so
//! five thousand requests over simulated weeks cost nothing while nobody asks.

mod account;
mod add;
mod journey;
mod requests;
mod schedule;

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Call, Incoming, OpClass, Params, Reading, Refusal, Reply};
use super::text;
use super::world::Desk;
use crate::domain::Timestamp;
use account::Account;

/// The page is PHP: its JSON comes with PHP's default content type.
const PHP: &str = "text/html; charset=UTF-8";
const UNSUPPORTED: i64 = 15;

/// Where the client's comment turns up in `track_list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Echo {
    /// As `name`, while `comment` is null: as in the page's sample.
    #[default]
    Name,
    /// As `comment`: as in the page's table.
    Comment,
    /// Nowhere.
    Stripped,
}

/// Prices and balance are in kopecks.
#[derive(Debug, Clone)]
pub struct AltaSim {
    pub login: String,
    pub sa: String,
    pub password: String,
    /// Also play the public test account: alta@alta.ru, sa000000, its two vehicles and their fixed hashes.
    pub test_account: bool,
    pub balance: i64,
    /// Per vehicle and day within Russia; other regions cost three times that.
    pub day_price: i64,
    /// Per vehicle for a whole voyage within Russia.
    pub voyage_price: i64,
    /// Before that, reports bring stale data or none.
    pub first_data_after: Duration,
    /// The shortest and longest time from a scheduled moment until its report is there.
    pub report_takes: (Duration, Duration),
    /// Between one station and the next.
    pub leg: Duration,
    /// A `show` of one hash sooner than this after the last one is a violation.
    pub min_show: Duration,
    /// Calls of one account, whatever they are. The vendor publishes no such number.
    pub min_spacing: Duration,
    /// How much sooner is forgiven.
    pub tolerance: Duration,
    /// How long the impatient are turned away, with status 403; zero: they are only written down.
    pub block_for: Duration,
    /// A new request appears in `track_list` only after this.
    pub list_lag: Duration,
    pub echo: Echo,
    /// The vendor publishes one code only, 15; every other error carries this number.
    pub error_code: i64,
}

impl Default for AltaSim {
    fn default() -> Self {
        Self {
            login: "broker@example.ru".to_owned(),
            sa: "sa000777".to_owned(),
            password: "tech-password".to_owned(),
            test_account: true,
            balance: 1_000_000_000,
            day_price: 4_000,
            voyage_price: 60_000,
            first_data_after: Duration::from_secs(2 * 3600),
            report_takes: (Duration::from_secs(60), Duration::from_secs(300)),
            leg: Duration::from_secs(36 * 3600),
            min_show: Duration::from_secs(60),
            min_spacing: Duration::from_millis(500),
            tolerance: Duration::ZERO,
            block_for: Duration::from_secs(600),
            list_lag: Duration::ZERO,
            echo: Echo::Name,
            error_code: 1,
        }
    }
}

#[derive(Debug)]
pub struct Alta {
    pub sim: AltaSim,
    accounts: Vec<Account>,
}

pub fn read(incoming: &Incoming) -> Option<Reading> {
    if incoming.path != "rail_tracking/api_v2.php" {
        return None;
    }
    let body = if incoming.post { Params::parse(&incoming.body) } else { Params::default() };
    let params = body.join(incoming.query.clone());
    let action = params.get("action").unwrap_or_default().to_owned();
    let class = match action.as_str() {
        "add" => OpClass::Submit,
        "show" => OpClass::Poll,
        "track_list" => OpClass::List,
        _ => OpClass::Other,
    };
    let hash = params.get("hash").map(str::to_owned);
    let wagons = params.get("wagons").map(|list| list.split(',').map(|one| one.trim().to_owned()));
    let keys = hash.into_iter().chain(wagons.into_iter().flatten()).collect();
    Some(Reading { op: action.into(), class, keys, params, json: Value::Null })
}

pub fn refuse(call: &Call, refusal: Refusal, code: i64) -> Reply {
    match refusal {
        Refusal::BadKey if call.op == "test_secret" => php(&json!({"status": "error"})),
        Refusal::BadKey => failure("Ошибка авторизации", code),
        Refusal::AccessEnded => failure("Доступ к сервису закрыт", code),
        Refusal::NoMoney => failure("Недостаточно средств на балансе", code),
    }
}

fn php(value: &Value) -> Reply {
    Reply::json(value).content_type(PHP)
}

fn failure(descr: &str, code: i64) -> Reply {
    php(&json!([{"status": "error", "descr": descr, "code": code}]))
}

impl Alta {
    pub fn new(sim: AltaSim, seed: u64, now: Timestamp) -> Self {
        let mut accounts = vec![Account::paying(&sim)];
        if sim.test_account {
            accounts.push(Account::test(&sim, seed, now));
        }
        Self { sim, accounts }
    }

    pub fn error_code(&self) -> i64 {
        self.sim.error_code
    }

    pub fn answer(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        let sim = &self.sim;
        let Some(account) = self.accounts.iter_mut().find(|account| account.opens_with(&call.params)) else {
            return refuse(call, Refusal::BadKey, sim.error_code);
        };
        if let Some(turned_away) = account.check_manners(sim, call, desk) {
            return turned_away;
        }
        match &*call.op {
            "test_secret" => php(&json!({"status": "ok"})),
            "add" => account.add(sim, call, desk),
            "show" => account.show(sim, call, desk),
            "cancel_track" => account.cancel(sim, call, desk),
            "track_list" => account.track_list(sim, desk),
            "carr_list" => account.carr_list(sim, call),
            "balance" => account.balance(desk),
            _ => failure("Указан неподдерживаемый метод", UNSUPPORTED),
        }
    }

    /// Books the daily charges that have fallen due.
    pub fn settle_all(&mut self, desk: &Desk<'_>) {
        self.accounts.iter_mut().for_each(|account| account.settle_all(desk));
    }

    pub fn set_balance(&mut self, kopecks: i64) {
        self.accounts.iter_mut().for_each(|account| account.kopecks = kopecks);
    }

    /// The vehicle reaches the end of its journey now; the next report says so. False: nobody tracks it.
    pub fn arrive(&mut self, vehicle: &str, now: Timestamp) -> bool {
        self.accounts.iter_mut().map(|account| account.arrive(vehicle, now)).fold(false, |any, one| any | one)
    }

    /// When the reports on a request brought news; none for a hash that nobody has.
    pub fn news(&self, hash: &str, now: Timestamp) -> Option<Vec<Timestamp>> {
        let request = self.accounts.iter().find_map(|account| account.with_hash(hash))?;
        Some(request.news(&self.sim, now))
    }

    /// Forgets every block, so that a test can go on after it has broken manners on purpose.
    pub fn forgive(&mut self) {
        self.accounts.iter_mut().for_each(Account::forgive);
    }

    pub fn summary(&self) -> Value {
        let accounts = self.accounts.iter().map(Account::summary);
        json!({"accounts": accounts.collect::<Vec<_>>()})
    }
}

/// The vendor's recipe: the password is hashed on its own first.
fn secret(sa: &str, password: &str) -> String {
    text::md5_hex(&format!("rail_tracking:{sa}:{}", text::md5_hex(password)))
}

fn turned_away(code: i64) -> Reply {
    failure("Слишком частые запросы, доступ временно заблокирован", code).status(StatusCode::FORBIDDEN)
}
