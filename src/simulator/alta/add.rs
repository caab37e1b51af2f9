//! `add`: puts wagons and containers on track. A mixed list becomes two requests with two hashes; a second `add` of the
//! same vehicles is a second request, charged again.

use serde_json::{Value, json};

use super::account::{Account, TEST_CONTAINER, TEST_WAGON};
use super::journey::Journey;
use super::requests::{Request, Stop, Vehicle};
use super::schedule::Schedule;
use super::{AltaSim, failure, php};
use crate::simulator::call::{Call, Params, Refusal, Reply};
use crate::simulator::text;
use crate::simulator::world::Desk;

impl Account {
    pub fn add(&mut self, sim: &AltaSim, call: &Call, desk: &Desk<'_>) -> Reply {
        let drafts = match self.drafts(sim, &call.params, desk) {
            Ok(drafts) => drafts,
            Err(why) => return failure(why, sim.error_code),
        };
        // The first day must be affordable, or the voyage.
        let cost: i64 = drafts.iter().map(|draft| draft.price(sim) * draft.vehicles.len() as i64).sum();
        if !self.is_test && cost > self.kopecks {
            return super::refuse(call, Refusal::NoMoney, sim.error_code);
        }
        let mut head = json!({"status": "ok", "descr": "Запрос успешно сохранен"});
        for mut draft in drafts {
            draft.hash = self.hash_for(&draft, desk);
            let now_due =
                if draft.voyage && !self.is_test { draft.price(sim) * draft.vehicles.len() as i64 } else { 0 };
            let mut booking = desk.booking(call, "alta", &draft.numbers().join(","), &draft.hash, now_due);
            booking.token = Some(draft.name.clone()).filter(|name| !name.is_empty());
            desk.ledger.book(vec![booking]);
            self.kopecks -= now_due;
            head[if draft.container { "cont_hash" } else { "hash" }] = Value::from(draft.hash.clone());
            self.keep(draft);
        }
        php(&json!([head]))
    }

    /// What is to be tracked, wagons and containers apart; or what is wrong with the request.
    fn drafts(&self, sim: &AltaSim, params: &Params, desk: &Desk<'_>) -> Result<Vec<Request>, &'static str> {
        let listed: Vec<&str> = params.get("wagons").unwrap_or_default().split(',').map(str::trim).collect();
        if listed.iter().any(|number| !is_wagon(number) && !is_container(number)) {
            return Err("Неверно указан номер вагона/контейнера");
        }
        if self.is_test && listed.iter().any(|number| ![TEST_WAGON.0, TEST_CONTAINER.0].contains(number)) {
            return Err("Номер недоступен для тестового аккаунта");
        }
        [false, true]
            .into_iter()
            .filter_map(|container| {
                let mine: Vec<&str> =
                    listed.iter().copied().filter(|number| is_container(number) == container).collect();
                (!mine.is_empty()).then(|| draft(sim, params, desk, container, &mine))
            })
            .collect()
    }

    fn hash_for(&self, draft: &Request, desk: &Desk<'_>) -> String {
        if self.is_test {
            return if draft.container { TEST_CONTAINER.1 } else { TEST_WAGON.1 }.to_owned();
        }
        text::md5_hex(&format!("{} {} {}", desk.seed, self.requests.len(), draft.container))
    }
}

fn draft(
    sim: &AltaSim,
    params: &Params,
    desk: &Desk<'_>,
    container: bool,
    numbers: &[&str],
) -> Result<Request, &'static str> {
    let given = |name| params.get(name).unwrap_or_default();
    let schedule = Schedule::parse(given("times"), given("times_per_day"), given("days"))?;
    let salt = text::chance(desk.seed, numbers[0]);
    let mut request = Request::draft(schedule.working(salt, sim.report_takes), desk.now);
    (request.region, request.track_state) = match (given("track_state"), given("state")) {
        region @ (("ru", "20") | ("sng", "22")) => (region.1.to_owned(), region.0.to_owned()),
        _ => return Err("Неверно указан регион слежения"),
    };
    request.voyage = match given("track_type") {
        "2" => false,
        "3" => true,
        _ => return Err("Неверно указан тип слежения"),
    };
    request.stop = match given("stop_station") {
        "no" => Stop::Never,
        "yes" => Stop::AtDestination,
        code if code.len() == 5 && digits(code) => Stop::AtStation(code.to_owned()),
        _ => return Err("Неверно указан параметр stop_station"),
    };
    (request.container, request.name, request.emails) =
        (container, given("comment").to_owned(), given("emails").to_owned());
    let journey = |number: &str| Journey::of(number, desk.seed, desk.now, sim.leg);
    request.vehicles = numbers.iter().map(|number| Vehicle::new((*number).to_owned(), journey(number))).collect();
    Ok(request.begun())
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_wagon(number: &str) -> bool {
    number.len() == 8 && digits(number)
}

fn is_container(number: &str) -> bool {
    number.len() == 11
        && number.as_bytes()[..4].iter().all(u8::is_ascii_uppercase)
        && number.as_bytes()[4..].iter().all(u8::is_ascii_digit)
}
