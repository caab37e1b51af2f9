//! The five methods, once a request is known to be in order.

use serde_json::{Value, json};

use super::{PoisonRule, Readd, Rlab, Track, done, failed, items, partly, refuse, track_of};
use crate::simulator::call::{Call, Refusal, Reply};
use crate::simulator::ledger::Booking;
use crate::simulator::world::Desk;

const LONGEST_ORDER_NUMBER: usize = 40;
const LONGEST_DESCRIPTION: usize = 200;

/// What is to become of one item of an `addtrack`.
enum Verdict<'a> {
    New(&'a Value),
    Known,
    Bad,
}

impl Rlab {
    pub fn add(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        if self.sim.expired {
            return refuse(Refusal::AccessEnded);
        }
        let trial = call.json["testMode"] == true;
        if !trial {
            call.keys.iter().for_each(|track| *self.attempts.entry(track.as_str().into()).or_default() += 1);
        }
        let verdicts: Vec<_> = items(&call.json).map(|item| self.judge(item)).collect();
        let bad = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Bad)).count();
        if bad > 0 && (bad == verdicts.len() || self.sim.poison == PoisonRule::Whole) {
            return failed(&format!("Данные не добавлены в базу, ошибок {bad}"));
        }
        let fresh: Vec<&Value> = verdicts.iter().filter_map(Verdict::fresh).collect();
        let affordable = self.sim.balance.map_or(fresh.len(), |left| fresh.len().min(left.max(0) as usize));
        if affordable == 0 && !fresh.is_empty() {
            return refuse(Refusal::NoMoney);
        }
        let errors = bad + fresh.len() - affordable;
        if !trial {
            self.take(&fresh[..affordable], call, desk);
        }
        match errors {
            0 => done("Данные успешно добавлены в базу", Value::Null),
            _ => partly(&format!("Часть данных добавлены в базу, ошибок {errors}")),
        }
    }

    fn judge<'a>(&self, item: &'a Value) -> Verdict<'a> {
        let track = track_of(item);
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        let too_long = text("trackingUserClientOrderNumber").chars().count() > LONGEST_ORDER_NUMBER
            || text("trackingUserClientDescription").chars().count() > LONGEST_DESCRIPTION;
        let phone = text("trackingUserClientPhone");
        let phone_is_wrong = phone.len() != 11 || !phone.bytes().all(|byte| byte.is_ascii_digit());
        if track.is_empty() || too_long || phone_is_wrong || self.sim.poisoned.contains(track) {
            Verdict::Bad
        } else if !self.tracks.contains_key(track) {
            Verdict::New(item)
        } else if self.sim.readd == Readd::Accept {
            Verdict::Known
        } else {
            Verdict::Bad
        }
    }

    /// Books first, all with one fsync; a track that stands twice in one batch is one track.
    fn take(&mut self, fresh: &[&Value], call: &Call, desk: &Desk<'_>) {
        let mut bookings: Vec<Booking> = Vec::new();
        for item in fresh {
            let track = track_of(item);
            let text = |name: &str| item[name].as_str().unwrap_or_default();
            let parcel = Track::new(desk.now, text("trackingUserClientPhone"), text("trackingUserClientEmail"));
            if self.tracks.insert(track.into(), parcel).is_some() {
                continue;
            }
            let mut booking = desk.booking(call, "rlab", track, track, 1);
            booking.token = Some(text("trackingUserClientOrderNumber").to_owned()).filter(|number| !number.is_empty());
            bookings.push(booking);
        }
        if let Some(left) = &mut self.sim.balance {
            *left -= bookings.len() as i64;
        }
        desk.ledger.book(bookings);
    }

    /// Tracks that are not in the account are left out, and nothing says so.
    pub fn info(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        let mut rows = Vec::new();
        for number in &call.keys {
            let Some(track) = self.tracks.get_mut(number.as_str()) else {
                continue;
            };
            let waited = desk.now.since(track.last_poll);
            if waited < self.sim.min_poll {
                desk.log.violation(desk.now, call, number, format!("asked about again after {waited:?}"));
            }
            track.last_poll = desk.now;
            rows.push(track.row(number, &self.sim, desk));
        }
        done("Запрос выполнен", Value::Array(rows))
    }

    /// Empty strings leave what is there alone.
    pub fn update(&mut self, call: &Call) -> Reply {
        let mut errors = 0;
        for item in items(&call.json) {
            let Some(track) = self.tracks.get_mut(track_of(item)) else {
                errors += 1;
                continue;
            };
            if call.json["testMode"] == true {
                continue;
            }
            let given = |name: &str| item[name].as_str().filter(|value| !value.is_empty());
            given("trackingUserClientPhone").into_iter().for_each(|phone| track.phone = phone.into());
            given("trackingUserClientEmail").into_iter().for_each(|email| track.email = email.into());
        }
        match errors {
            0 => done(" Данные успешно добавлены в очередь на обновление", Value::Null),
            all if all == call.keys.len() => failed(" Данные не обновлены"),
            some => partly(&format!(" Часть данных обновлена в базе, ошибок {some}")),
        }
    }

    /// What is deleted stays paid.
    pub fn delete(&mut self, call: &Call) -> Reply {
        let known = |number: &&String| self.tracks.contains_key(number.as_str());
        let errors = call.keys.iter().filter(|number| !known(number)).count();
        if call.json["testMode"] != true {
            call.keys.iter().for_each(|number| drop(self.tracks.remove(number.as_str())));
        }
        match errors {
            0 => done("Треки успешно удалены из базы", Value::Null),
            all if all == call.keys.len() => failed("Треки не найдены"),
            some => partly(&format!("Часть треков удалены, ошибок {some}")),
        }
    }

    pub fn user_info(&self) -> Reply {
        let sim = &self.sim;
        let data = json!({
            "userExpireDate": sim.expires.as_deref().unwrap_or("Бессрочный"),
            // What the vendor says of an account without limit.
            "userBalance": sim.balance.unwrap_or(1),
            "userExpired": sim.expired,
            "userBalanceUnlimited": sim.balance.is_none(),
            "userDateUnlimited": sim.expires.is_none(),
        });
        done("Запрос выполнен", data)
    }
}

impl<'a> Verdict<'a> {
    fn fresh(&self) -> Option<&'a Value> {
        match self {
            Verdict::New(item) => Some(item),
            Verdict::Known | Verdict::Bad => None,
        }
    }
}
