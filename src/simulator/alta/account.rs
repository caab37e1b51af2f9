//! One contract at Alta: who may ask, how often, what is tracked, and what it costs.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::journey::Journey;
use super::requests::{Request, Vehicle};
use super::schedule::Schedule;
use super::{AltaSim, failure, php, secret, turned_away};
use crate::domain::Timestamp;
use crate::simulator::call::{Call, Params, Reply};
use crate::simulator::ledger::Booking;
use crate::simulator::world::Desk;

pub const TEST_WAGON: (&str, &str) = ("54676515", "ebc356dfa5beee7d3844ccacf535410c");
pub const TEST_CONTAINER: (&str, &str) = ("AMFU8899067", "931700e35d7ff88a10bd5d680da50f02");
const FIRST_GROUP: u64 = 1_519_743;

#[derive(Debug)]
pub struct Account {
    login: String,
    sa: String,
    secret: String,
    /// The public one: two vehicles only, nothing costs anything, and nothing is ever cancelled.
    pub is_test: bool,
    pub kopecks: i64,
    day_price: i64,
    pub requests: Vec<Request>,
    by_hash: HashMap<String, usize>,
    last_call: Option<Timestamp>,
    blocked_until: Timestamp,
}

impl Account {
    pub fn paying(sim: &AltaSim) -> Self {
        Self {
            login: sim.login.clone(),
            sa: sim.sa.clone(),
            secret: secret(&sim.sa, &sim.password),
            is_test: false,
            kopecks: sim.balance,
            day_price: sim.day_price,
            requests: Vec::new(),
            by_hash: HashMap::new(),
            last_call: None,
            blocked_until: Timestamp::MIN,
        }
    }

    /// The public account tracks its two vehicles from the beginning.
    pub fn test(sim: &AltaSim, seed: u64, now: Timestamp) -> Self {
        let (login, sa, password) = ("alta@alta.ru".to_owned(), "sa000000".to_owned(), "alta_test".to_owned());
        let mut account =
            Self { is_test: true, kopecks: 0, ..Self::paying(&AltaSim { login, sa, password, ..sim.clone() }) };
        let added = now - sim.first_data_after - sim.leg * 2;
        for ((number, hash), name) in [(TEST_WAGON, "первое слежение"), (TEST_CONTAINER, "первое слежение (конт)")]
        {
            let schedule = Schedule::parse("09:00,13:00", "2", "0,1,2,3,4,5,6").expect("this schedule is sound");
            let mut request = Request::draft(schedule.working(seed, sim.report_takes), added);
            request.vehicles = vec![Vehicle::new(number.to_owned(), Journey::of(number, seed, added, sim.leg))];
            request.container = hash == TEST_CONTAINER.1;
            (request.hash, request.name) = (hash.to_owned(), name.to_owned());
            account.keep(request.begun());
        }
        account
    }

    pub fn opens_with(&self, params: &Params) -> bool {
        let given = (params.get("login"), params.get("sa"), params.get("secret"));
        given == (Some(&self.login), Some(&self.sa), Some(&self.secret))
    }

    /// Writes an impatient call down and turns it away, and those that follow, until the block is over.
    pub fn check_manners(&mut self, sim: &AltaSim, call: &Call, desk: &Desk<'_>) -> Option<Reply> {
        let early = too_early(self.last_call, desk.now, sim.min_spacing, sim);
        self.last_call = Some(desk.now);
        if let Some(what) = early {
            desk.log.violation(desk.now, call, &self.sa, format!("the account called again after {what}"));
            self.blocked_until = desk.now + sim.block_for;
        }
        (desk.now < self.blocked_until).then(|| turned_away(sim.error_code))
    }

    pub fn find(&self, call: &Call) -> Option<usize> {
        call.params.get("hash").and_then(|hash| self.by_hash.get(hash)).copied()
    }

    pub fn with_hash(&self, hash: &str) -> Option<&Request> {
        self.by_hash.get(hash).map(|at| &self.requests[*at])
    }

    /// A request with a hash that is there already takes its place: only the public account's hashes are fixed.
    pub fn keep(&mut self, mut request: Request) {
        let known = self.by_hash.get(&request.hash).copied();
        let at = known.unwrap_or(self.requests.len());
        request.group = FIRST_GROUP + at as u64;
        self.by_hash.insert(request.hash.clone(), at);
        if known.is_some() {
            self.requests[at] = request;
        } else {
            self.requests.push(request);
        }
    }

    pub fn show(&mut self, sim: &AltaSim, call: &Call, desk: &Desk<'_>) -> Reply {
        let Some(at) = self.find(call) else {
            return failure("Запрос с указанным hash не найден", sim.error_code);
        };
        let request = &mut self.requests[at];
        let early = too_early(request.last_show, desk.now, sim.min_show, sim);
        request.last_show = Some(desk.now);
        if let Some(what) = early {
            desk.log.violation(desk.now, call, &request.hash, format!("shown again after {what}"));
            request.blocked_until = desk.now + sim.block_for;
        }
        if desk.now < request.blocked_until {
            return turned_away(sim.error_code);
        }
        self.settle(at..at + 1, desk);
        let request = &self.requests[at];
        if request.due_charge(desk.now).is_some() {
            return failure("Недостаточно средств на балансе", sim.error_code);
        }
        php(&request.show(sim, desk.now))
    }

    pub fn cancel(&mut self, sim: &AltaSim, call: &Call, desk: &Desk<'_>) -> Reply {
        let Some(at) = self.find(call) else {
            return failure("Запрос с указанным hash не найден", sim.error_code);
        };
        self.settle(at..at + 1, desk);
        if !self.is_test {
            self.requests[at].cancel(call.params.get("wagons"), desk.now);
        }
        php(&json!([{"status": "ok", "descr": "Запрос успешно снят со слежения"}]))
    }

    pub fn track_list(&mut self, sim: &AltaSim, desk: &Desk<'_>) -> Reply {
        self.settle_all(desk);
        let visible = self.requests.iter().filter(|request| request.added + sim.list_lag <= desk.now);
        let rows = visible.map(|request| request.listed(sim.echo, desk.now));
        php(&Value::Array(std::iter::once(json!({"status": "ok"})).chain(rows).collect()))
    }

    pub fn carr_list(&self, sim: &AltaSim, call: &Call) -> Reply {
        match self.find(call).map(|at| &self.requests[at]) {
            Some(request) => php(&json!([{"status": "ok"}, {"group_id": request.group, "carrs": request.numbers()}])),
            None => failure("Запрос с указанным hash не найден", sim.error_code),
        }
    }

    pub fn balance(&mut self, desk: &Desk<'_>) -> Reply {
        self.settle_all(desk);
        let roubles = roubles(self.kopecks);
        let descr = format!("Ваш баланс: {roubles} руб. / Бонусы 0");
        php(&json!([{"status": "ok", "descr": descr, "balans": roubles, "bonus": 0, "sa": self.sa}]))
    }

    pub fn settle_all(&mut self, desk: &Desk<'_>) {
        self.settle(0..self.requests.len(), desk);
    }

    /// Charges each day's first report once, in one booking; what cannot be paid stays due.
    fn settle(&mut self, which: std::ops::Range<usize>, desk: &Desk<'_>) {
        if self.is_test {
            // Nothing here costs anything: the charges that fell due are simply passed by.
            self.requests[which].iter_mut().for_each(|request| request.next_charge = None);
            return;
        }
        let mut bookings = Vec::new();
        for request in &mut self.requests[which] {
            while let Some((report, vehicles)) = request.due_charge(desk.now) {
                let price = request.in_region(self.day_price) * vehicles as i64;
                if price > self.kopecks {
                    break;
                }
                self.kopecks -= price;
                bookings.push(daily(request, report.done, price));
                request.charged(report);
            }
        }
        desk.ledger.book(bookings);
    }

    pub fn arrive(&mut self, vehicle: &str, now: Timestamp) -> bool {
        self.requests.iter_mut().map(|request| request.arrive(vehicle, now)).fold(false, |any, one| any | one)
    }

    pub fn forgive(&mut self) {
        (self.blocked_until, self.last_call) = (Timestamp::MIN, None);
        self.requests
            .iter_mut()
            .for_each(|request| (request.blocked_until, request.last_show) = (Timestamp::MIN, None));
    }

    pub fn summary(&self) -> Value {
        json!({"login": self.login, "sa": self.sa, "requests": self.requests.len(), "balance": roubles(self.kopecks)})
    }
}

fn roubles(kopecks: i64) -> String {
    format!("{}{}.{:02}", if kopecks < 0 { "-" } else { "" }, kopecks.abs() / 100, kopecks.abs() % 100)
}

fn too_early(last: Option<Timestamp>, now: Timestamp, floor: std::time::Duration, sim: &AltaSim) -> Option<String> {
    let waited = now.since(last?);
    (waited + sim.tolerance < floor).then(|| format!("{waited:?} instead of {floor:?}"))
}

fn daily(request: &Request, at: Timestamp, price: i64) -> Booking {
    Booking {
        n: 0,
        at,
        vendor: "alta".into(),
        op: "daily".into(),
        key: request.numbers().join(","),
        remote_id: request.hash.clone(),
        token: Some(request.name.clone()).filter(|name| !name.is_empty()),
        price,
        request_id: 0,
    }
}
