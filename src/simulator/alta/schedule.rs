//! When reports are made: some times of day on some days of the week, Moscow time, and a few minutes of work each.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::simulator::text::{self, MOSCOW_MS};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// The first of January 1970 was a Thursday; the vendor counts from Sunday.
const WEEKDAY_OF_DAY_ZERO: i64 = 4;

#[derive(Debug, Clone)]
pub struct Schedule {
    /// Minutes of the Moscow day, sorted.
    minutes: Vec<i64>,
    /// One bit per weekday, Sunday lowest.
    days: u8,
    /// Makes the length of each report's work its own.
    salt: u64,
    takes: (Duration, Duration),
}

/// One scheduled moment and the moment when its report is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub slot: Timestamp,
    pub done: Timestamp,
}

impl Schedule {
    /// `times` wins where it lists fewer than `per_day`; what is listed beyond it is cut.
    pub fn parse(times: &str, per_day: &str, days: &str) -> Result<Self, &'static str> {
        let listed: Option<Vec<i64>> = times.split(',').map(|time| minute_of_day(time.trim())).collect();
        let mut minutes = listed.ok_or("Неверно указан параметр times")?;
        let per_day: usize = per_day.parse().map_err(|_| "Неверно указан параметр times_per_day")?;
        if minutes.len() > 3 || !(1..=3).contains(&per_day) {
            return Err("Можно указать до 3-х обновлений в сутки");
        }
        minutes.truncate(per_day);
        minutes.sort_unstable();
        minutes.dedup();
        let mut bits = 0;
        for day in days.split(',') {
            let day = day.trim().parse::<u8>().ok().filter(|day| *day < 7).ok_or("Неверно указан параметр days")?;
            bits |= 1 << day;
        }
        Ok(Self { minutes, days: bits, salt: 0, takes: (Duration::ZERO, Duration::ZERO) })
    }

    #[must_use]
    pub fn working(mut self, salt: u64, takes: (Duration, Duration)) -> Self {
        (self.salt, self.takes) = (salt, takes);
        self
    }

    /// The first slot after that moment.
    pub fn next_after(&self, at: Timestamp) -> Report {
        let from = day_of(at);
        let slots = (from..=from + 7).flat_map(|day| self.slots_of(day));
        self.report(slots.into_iter().find(|slot| *slot > at).unwrap_or(Timestamp::MAX))
    }

    /// The last slot at or before that moment.
    pub fn last_before(&self, at: Timestamp) -> Option<Report> {
        let to = day_of(at);
        let slots = (to - 7..=to).rev().flat_map(|day| self.slots_of(day).into_iter().rev());
        slots.into_iter().find(|slot| *slot <= at).map(|slot| self.report(slot))
    }

    /// The last report that is there at that moment.
    pub fn last_done(&self, at: Timestamp) -> Option<Report> {
        let mut report = self.last_before(at)?;
        while report.done > at {
            report = self.last_before(report.slot - Duration::from_millis(1))?;
        }
        Some(report)
    }

    /// The first report that is made at or after that moment.
    pub fn first_done_from(&self, at: Timestamp) -> Report {
        let mut report = self.next_after(at - self.takes.1 - Duration::from_millis(1));
        while report.done < at {
            report = self.next_after(report.slot);
        }
        report
    }

    /// The first slot of a later Moscow day.
    pub fn next_day_after(&self, slot: Timestamp) -> Report {
        self.next_after(Timestamp::from_millis((day_of(slot) + 1) * DAY_MS - MOSCOW_MS - 1))
    }

    fn slots_of(&self, day: i64) -> Vec<Timestamp> {
        let weekday = (day + WEEKDAY_OF_DAY_ZERO).rem_euclid(7);
        if self.days & (1 << weekday) == 0 {
            return Vec::new();
        }
        let midnight = day * DAY_MS - MOSCOW_MS;
        self.minutes.iter().map(|minute| Timestamp::from_millis(midnight + minute * MINUTE_MS)).collect()
    }

    fn report(&self, slot: Timestamp) -> Report {
        let (least, most) = self.takes;
        let span = most.saturating_sub(least).as_millis() as u64;
        let extra = text::spread(self.salt ^ slot.as_millis() as u64) % (span + 1);
        Report { slot, done: slot + least + Duration::from_millis(extra) }
    }
}

fn day_of(at: Timestamp) -> i64 {
    (at.as_millis() + MOSCOW_MS).div_euclid(DAY_MS)
}

fn minute_of_day(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (hour.parse::<i64>().ok()?, minute.parse::<i64>().ok()?);
    ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn slots_are_moscow_times_on_the_chosen_days() {
        // 21 August 2026 is a Friday.
        let schedule = Schedule::parse("13:00,9:00,18:00", "2", "1,2,3,4,5").unwrap();
        assert_eq!(schedule.next_after(at("2026-08-21T05:59:59Z")).slot, at("2026-08-21T06:00:00Z"));
        assert_eq!(schedule.next_after(at("2026-08-21T06:00:00Z")).slot, at("2026-08-21T10:00:00Z"));
        assert_eq!(schedule.next_after(at("2026-08-21T10:00:00Z")).slot, at("2026-08-24T06:00:00Z"));
        assert_eq!(schedule.last_before(at("2026-08-23T12:00:00Z")).unwrap().slot, at("2026-08-21T10:00:00Z"));
        assert_eq!(schedule.next_day_after(at("2026-08-20T06:00:00Z")).slot, at("2026-08-21T06:00:00Z"));
    }

    #[test]
    fn a_report_takes_its_time() {
        let schedule = Schedule::parse("09:00", "1", "0,1,2,3,4,5,6").unwrap().working(7, (minutes(1), minutes(5)));
        let slot = at("2026-08-21T06:00:00Z");
        let report = schedule.last_before(slot).unwrap();
        assert!(report.done >= slot + minutes(1) && report.done <= slot + minutes(5));
        let before = report.done - Duration::from_millis(1);
        assert_eq!(schedule.last_done(before).unwrap().slot, at("2026-08-20T06:00:00Z"));
        assert_eq!(schedule.last_done(report.done), Some(report));
        assert_eq!(schedule.first_done_from(report.done), report);
        assert_eq!(schedule.first_done_from(report.done + minutes(1)).slot, at("2026-08-22T06:00:00Z"));
    }

    #[test]
    fn nonsense_is_refused() {
        for (times, per_day, days) in [
            ("25:00", "1", "1"),
            ("9:00", "4", "1"),
            ("9:00", "1", "7"),
            ("1:00,2:00,3:00,4:00", "3", "1"),
            ("", "1", "1"),
        ] {
            assert!(Schedule::parse(times, per_day, days).is_err(), "{times} {per_day} {days}");
        }
    }
}
