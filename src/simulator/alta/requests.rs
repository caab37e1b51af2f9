//! One tracking request: its vehicles, its reports so far, and what it has cost.

use std::time::Duration;

use serde_json::{Value, json};

use super::journey::Journey;
use super::schedule::{Report, Schedule};
use super::{AltaSim, Echo};
use crate::domain::Timestamp;
use crate::simulator::text::{self, dotted_minutes};

/// How old the facts in a report are.
const REPORT_LAG: Duration = Duration::from_secs(20 * 60);
/// From a scheduled moment until work on it begins.
const QUEUED_FOR: Duration = Duration::from_secs(15);

/// When a vehicle is taken off by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Never,
    AtDestination,
    AtStation(String),
}

#[derive(Debug)]
pub struct Vehicle {
    pub number: String,
    pub journey: Journey,
    /// The report that showed it where it was to be taken off, or the moment when it was cancelled.
    off_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Request {
    pub hash: String,
    pub group: u64,
    pub container: bool,
    pub voyage: bool,
    pub name: String,
    pub emails: String,
    pub region: String,
    pub track_state: String,
    pub stop: Stop,
    pub schedule: Schedule,
    pub added: Timestamp,
    pub vehicles: Vec<Vehicle>,
    /// The whole request is off from here on.
    ended: Option<Timestamp>,
    /// The report that costs money next; none for voyages.
    pub next_charge: Option<Report>,
    pub last_show: Option<Timestamp>,
    pub blocked_until: Timestamp,
}

impl Vehicle {
    pub fn new(number: String, journey: Journey) -> Self {
        Self { number, journey, off_at: None }
    }

    fn is_off(&self, at: Timestamp) -> bool {
        self.off_at.is_some_and(|off| off <= at)
    }
}

impl Request {
    /// Works out when it will end by itself: that is fixed from the beginning, unless somebody interferes.
    #[must_use]
    pub fn begun(mut self) -> Self {
        self.ended = None;
        self.next_charge = (!self.voyage).then(|| self.schedule.next_after(self.added));
        (self.last_show, self.blocked_until) = (None, Timestamp::MIN);
        self.plan_end();
        self
    }

    fn plan_end(&mut self) {
        let code = match &self.stop {
            Stop::Never => None,
            Stop::AtDestination => Some(None),
            Stop::AtStation(code) => Some(Some(code.as_str())),
        };
        if let Some(code) = code {
            for vehicle in &mut self.vehicles {
                let seen = vehicle.journey.reaches(code).map(|there| {
                    let known = (there + REPORT_LAG).max(self.added);
                    self.schedule.first_done_from(known).done
                });
                vehicle.off_at = [vehicle.off_at, seen].into_iter().flatten().min();
            }
        }
        let ends: Option<Vec<_>> = self.vehicles.iter().map(|vehicle| vehicle.off_at).collect();
        self.ended = ends.and_then(|ends| ends.into_iter().max());
    }

    pub fn is_on_track(&self, now: Timestamp) -> bool {
        self.ended.is_none_or(|ended| now < ended)
    }

    /// Takes off the vehicles listed, or all of them.
    pub fn cancel(&mut self, numbers: Option<&str>, now: Timestamp) {
        let listed = |number: &str| numbers.is_none_or(|list| list.split(',').any(|one| one.trim() == number));
        for vehicle in self.vehicles.iter_mut().filter(|vehicle| listed(&vehicle.number)) {
            vehicle.off_at = Some(vehicle.off_at.map_or(now, |off| off.min(now)));
        }
        self.plan_end();
    }

    pub fn arrive(&mut self, number: &str, now: Timestamp) -> bool {
        let mut found = false;
        for vehicle in self.vehicles.iter_mut().filter(|vehicle| vehicle.number == number) {
            vehicle.journey.arrive(now);
            found = true;
        }
        self.plan_end();
        found
    }

    /// The newest report at `now`: none is made after the end, nor one that could not be paid.
    fn last_report(&self, now: Timestamp) -> Option<Report> {
        let until = self.ended.map_or(now, |ended| ended.min(now));
        let unpaid = self.next_charge.filter(|report| report.done <= until);
        let until = unpaid.map_or(until, |report| report.done - Duration::from_millis(1));
        self.schedule.last_done(until).filter(|report| report.slot > self.added)
    }

    /// 1 queued, 2 being processed, 4 done.
    pub fn status(&self, now: Timestamp) -> i64 {
        let slot = self.schedule.last_before(now).filter(|report| report.slot > self.added);
        match slot {
            None => 1,
            Some(report) if report.done <= now || !self.is_on_track(now) => 4,
            Some(report) if now.since(report.slot) < QUEUED_FOR => 1,
            Some(_) => 2,
        }
    }

    /// The next charge that is due by now, with the number of vehicles that it is for.
    pub fn due_charge(&self, now: Timestamp) -> Option<(Report, usize)> {
        let until = self.ended.map_or(now, |ended| ended.min(now));
        let report = self.next_charge.filter(|report| report.done <= until)?;
        let just_before = report.done - Duration::from_millis(1);
        let vehicles = self.vehicles.iter().filter(|vehicle| !vehicle.is_off(just_before)).count();
        Some((report, vehicles))
    }

    pub fn charged(&mut self, report: Report) {
        self.next_charge = Some(self.schedule.next_day_after(report.slot));
    }

    pub fn modified(&self, now: Timestamp) -> Timestamp {
        self.last_report(now).map_or(self.added, |report| report.done)
    }

    pub fn numbers(&self) -> Vec<&str> {
        self.vehicles.iter().map(|vehicle| vehicle.number.as_str()).collect()
    }

    pub fn show(&self, sim: &AltaSim, now: Timestamp) -> Value {
        let records = self.last_report(now).map_or(Vec::new(), |report| self.records(sim, report, now));
        let status = self.status(now);
        let descr = match status {
            1 => "В очереди на обработку",
            2 => "Обрабатывается",
            _ => "Обработан",
        };
        let kind = if self.container { "2" } else { "1" };
        let head = json!({"status": "ok", "descr": descr, "query_status": status.to_string(), "pwd": "",
            "hash": self.hash, "type": kind, "count": records.len()});
        Value::Array(std::iter::once(head).chain(records).collect())
    }

    /// When reports came that showed something else than the ones before them: what a client should have noticed by now.
    pub fn news(&self, sim: &AltaSim, now: Timestamp) -> Vec<Timestamp> {
        let mut news = Vec::new();
        let mut before = Vec::new();
        let mut report = self.schedule.next_after(self.added);
        while report.done <= self.ended.map_or(now, |ended| ended.min(now)) {
            let records = self.records(sim, report, report.done);
            if !records.is_empty() && records != before {
                news.push(report.done);
                before = records;
            }
            report = self.schedule.next_after(report.slot);
        }
        news
    }

    fn records(&self, sim: &AltaSim, report: Report, now: Timestamp) -> Vec<Value> {
        let fresh = report.done >= self.added + sim.first_data_after;
        let as_of = report.done - REPORT_LAG;
        let of = |vehicle: &Vehicle| {
            let on_track = !vehicle.is_off(now);
            if fresh {
                return Some(vehicle.journey.record(&vehicle.number, &self.region, as_of, on_track));
            }
            // What comes too early is stale, or nothing; containers are worse off.
            let stale = !self.container && text::chance(1, &vehicle.number).is_multiple_of(2);
            stale.then(|| vehicle.journey.record(&vehicle.number, &self.region, self.added - sim.leg, on_track))
        };
        self.vehicles.iter().filter_map(of).collect()
    }

    pub fn listed(&self, echo: Echo, now: Timestamp) -> Value {
        let (name, comment) = match echo {
            Echo::Name => (self.name.as_str(), None),
            Echo::Comment => ("", Some(self.name.as_str())),
            Echo::Stripped => ("", None),
        };
        json!({
            "name": name, "comment": comment, "vagon_count": self.vehicles.len().to_string(), "email": self.emails,
            "phone": "", "hash": self.hash, "modify_date": dotted_minutes(self.modified(now)),
            "on_track": if self.is_on_track(now) { "1" } else { "0" },
            // Numbered otherwise than in `add`: 1 for permanent, 2 for a voyage.
            "track_type": if self.voyage { "2" } else { "1" },
            "state": self.region, "track_state": self.track_state, "status": self.status(now), "type": "group",
        })
    }

    /// For one vehicle: a day of it, or the whole voyage.
    pub fn price(&self, sim: &AltaSim) -> i64 {
        self.in_region(if self.voyage { sim.voyage_price } else { sim.day_price })
    }

    /// Tracking within Russia is the cheap one.
    pub fn in_region(&self, price: i64) -> i64 {
        if self.track_state == "ru" { price } else { price * 3 }
    }

    /// A request as it is when `add` has understood it; [`Request::begun`] fills in the rest.
    pub fn draft(schedule: Schedule, added: Timestamp) -> Self {
        Self {
            hash: String::new(),
            group: 0,
            container: false,
            voyage: false,
            name: String::new(),
            emails: String::new(),
            region: "20".to_owned(),
            track_state: "ru".to_owned(),
            stop: Stop::Never,
            schedule,
            added,
            vehicles: Vec::new(),
            ended: None,
            next_charge: None,
            last_show: None,
            blocked_until: Timestamp::MIN,
        }
    }
}
