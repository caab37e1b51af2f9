//! Where a vehicle is: a route of stations, a departure and an arrival at each, all told by the clock.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::Timestamp;
use crate::simulator::text::{self, dashed};

#[derive(Debug)]
struct Station {
    code: &'static str,
    name: &'static str,
    lat: &'static str,
    lon: &'static str,
    road: &'static str,
}

const fn station(
    code: &'static str,
    name: &'static str,
    lat: &'static str,
    lon: &'static str,
    road: &'static str,
) -> Station {
    Station { code, name, lat, lon, road }
}

/// From the Pacific to Moscow; every vehicle travels a part of it, one way or the other.
const LINE: [Station; 10] = [
    station("98470", "НАХОДКА-ВОСТОЧНАЯ", "42.764312", "133.052411", "ДАЛЬНЕВОСТОЧНАЯ"),
    station("97000", "ХАБАРОВСК 2", "48.503110", "135.102877", "ДАЛЬНЕВОСТОЧНАЯ"),
    station("94000", "ЧИТА 1", "52.027450", "113.493012", "ЗАБАЙКАЛЬСКАЯ"),
    station("93000", "ИРКУТСК-СОРТИРОВОЧНЫЙ", "52.291870", "104.229911", "ВОСТОЧНО-СИБИРСКАЯ"),
    station("89000", "КРАСНОЯРСК-ВОСТОЧНЫЙ", "56.031245", "93.031877", "КРАСНОЯРСКАЯ"),
    station("85000", "НОВОСИБИРСК-ВОСТОЧНЫЙ", "55.049201", "82.967710", "ЗАПАДНО-СИБИРСКАЯ"),
    station("83000", "ОМСК-ВОСТОЧНЫЙ", "54.960122", "73.446571", "ЗАПАДНО-СИБИРСКАЯ"),
    station("78020", "ЕКАТЕРИНБУРГ-СОРТИРОВОЧНЫЙ", "56.871030", "60.522904", "СВЕРДЛОВСКАЯ"),
    station("24160", "ОРЕХОВО-ЗУЕВО", "55.799184", "38.984410", "МОСКОВСКАЯ"),
    station("23600", "МОСКВА-ТОВАРНАЯ-ПАВЕЛЕЦКАЯ", "55.715201", "37.644803", "МОСКОВСКАЯ"),
];

#[derive(Debug, Clone)]
pub struct Journey {
    starts: Timestamp,
    leg: Duration,
    /// Places on the line, first and last station included.
    from: usize,
    to: usize,
    luck: u64,
    /// Set through the control plane.
    arrived: Option<Timestamp>,
}

impl Journey {
    /// The same vehicle under the same seed always takes the same way.
    pub fn of(vehicle: &str, seed: u64, added: Timestamp, leg: Duration) -> Self {
        let luck = text::chance(seed, vehicle);
        let length = 3 + (luck % 5) as usize;
        let start = (luck >> 8) as usize % (LINE.len() - length);
        let (low, high) = (start, start + length);
        let (from, to) = if luck & (1 << 40) == 0 { (low, high) } else { (high, low) };
        // Under way within the first half of a leg.
        let starts = added + leg.mul_f64(((luck >> 16) % 100) as f64 / 200.0);
        Self { starts, leg, from, to, luck, arrived: None }
    }

    fn legs(&self) -> u32 {
        self.from.abs_diff(self.to) as u32
    }

    fn place(&self, leg: u32) -> usize {
        if self.from < self.to { self.from + leg as usize } else { self.from - leg as usize }
    }

    /// When it is at that station; at its last one without a code. None: its way does not lead there.
    pub fn reaches(&self, code: Option<&str>) -> Option<Timestamp> {
        let leg = match code {
            None => self.legs(),
            Some(code) => (0..=self.legs()).find(|leg| LINE[self.place(*leg)].code == code)?,
        };
        let by_clock = self.starts + self.leg * leg;
        Some(self.arrived.map_or(by_clock, |arrived| arrived.min(by_clock)))
    }

    pub fn arrive(&mut self, now: Timestamp) {
        self.arrived = Some(now);
    }

    /// The vendor's record as things stood at `at`; whatever happened since is not known there.
    pub fn record(&self, vehicle: &str, region: &str, at: Timestamp, on_track: bool) -> Value {
        let (leg, since, moving) = self.position(at);
        let here = &LINE[self.place(leg)];
        let end = leg == self.legs();
        let operation = match (moving, end, leg) {
            (true, ..) => "ОТПРАВЛЕНИЕ ВАГОНА СО СТАНЦИИ",
            (false, false, 0) => "ПОГРУЗКА",
            (false, ..) => "ПРИБЫТИЕ С ПОЕЗДОМ НА СТАНЦИЮ",
        };
        let country = if region == "20" { "Россия" } else { "СНГ" };
        let departed = if leg == 0 && !moving { String::new() } else { dashed(self.starts) };
        json!({
            "num": vehicle, "on_track": i64::from(on_track), "station": here.code, "station_name": here.name,
            "state": region, "state_name": country, "lon": here.lon, "lat": here.lat, "road_name": here.road,
            "op_date": dashed(since), "departure_date": departed, "route_start_date": "", "operation": operation,
            "nakl_nom": "", "okpo": format!("{:08}", self.luck % 100_000_000), "owner": null, "kgro": "1386",
            "kgrp": "7575", "train_index": format!("{:05}-{:03}-{}", 18290, self.luck % 1000, LINE[self.to].code),
            "train_number": format!("{}", 1000 + self.luck % 2000), "fraight": "51403",
            "fraight_name": "ИЗДЕЛИЯ ИЗ МЕТАЛЛА",
        })
    }

    /// The last station, since when it is so, and whether it has left it already.
    fn position(&self, at: Timestamp) -> (u32, Timestamp, bool) {
        if let Some(arrived) = self.arrived.filter(|arrived| *arrived <= at) {
            return (self.legs(), arrived, false);
        }
        if at < self.starts {
            return (0, self.starts - self.leg, false);
        }
        let travelled = at.since(self.starts).as_millis() / self.leg.as_millis().max(1);
        let leg = travelled.min(u128::from(self.legs())) as u32;
        let came = self.starts + self.leg * leg;
        // A third of each leg is spent standing.
        let leaves = came + self.leg / 3;
        if leg < self.legs() && at >= leaves { (leg, leaves, true) } else { (leg, came, false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_goes_on_and_arrives_and_stays() {
        let added = Timestamp::from_millis(1_700_000_000_000);
        let hour = Duration::from_secs(3600);
        let journey = Journey::of("54676515", 1, added, hour);
        let end = journey.reaches(None).unwrap();
        let at_end = journey.record("54676515", "20", end, true);
        assert_eq!(at_end["station"], LINE[journey.to].code);
        assert_eq!(at_end, journey.record("54676515", "20", end + hour * 100, true));
        let before = journey.record("54676515", "20", end - Duration::from_millis(1), true);
        assert_ne!(before["station"], at_end["station"]);
        assert_eq!(journey.reaches(Some(LINE[journey.to].code)), Some(end));
        assert_eq!(journey.reaches(Some("00000")), None);
    }
}
