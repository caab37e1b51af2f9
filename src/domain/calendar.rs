//! When a cron pattern comes due, by the clock on a wall somewhere.
//!
//! croner knows patterns; the wall clock's gap and fold are resolved here, because a firing may cost money: every time is
//! one instant, later than the one before. A fixed time that falls into the gap comes due when the gap ends; one that the
//! fold shows twice comes due once, the first time. A pattern that repeats within the hour goes by instants: it has none in
//! the gap and comes due in both passes of the fold.

use std::str::FromStr;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, JobType};

use super::Timestamp;

/// No zone in use moves its clock by more than this at a time, but for those that change their day.
const SHIFT: TimeDelta = TimeDelta::hours(2);
/// Samoa skipped a whole day.
const LONGEST_GAP_MINUTES: usize = 26 * 60;
/// How far back the newest past time is looked for, in ever wider steps.
const LOOKS: [Duration; 6] = [
    Duration::from_secs(2 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
    Duration::from_secs(32 * 86_400),
    Duration::from_secs(400 * 86_400),
    Duration::from_secs(20 * 366 * 86_400),
];
/// Missed times are counted up to this.
pub const MOST_COUNTED: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    #[error(
        "must be a cron pattern of five fields (minute hour day month weekday) or six (second first), such as \
         \"30 8 * * mon-fri\": {0}"
    )]
    Pattern(String),
    #[error("must be a time zone by its IANA name, such as \"Europe/Moscow\" or \"UTC\"")]
    Zone,
    #[error("never comes due")]
    Never,
}

/// A pattern at a place.
#[derive(Debug, Clone)]
pub struct Calendar {
    cron: Cron,
    zone: Tz,
}

impl Calendar {
    pub fn parse(pattern: &str, zone: &str) -> Result<Calendar, CalendarError> {
        let zone = Tz::from_str(zone).map_err(|_| CalendarError::Zone)?;
        // croner passes over an empty place: "0, 30 8 * * *" would be second 0 of 08:30, and a field of commas alone
        // is no time at all, for which it searches three thousand years minute by minute.
        if pattern.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
            return Err(CalendarError::Pattern(
                "a comma has nothing before or after it; lists are written 0,30".into(),
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(pattern).map_err(|error| CalendarError::Pattern(error.to_string()))?;
        let calendar = Calendar { cron, zone };
        if !calendar.has_days() {
            return Err(CalendarError::Never);
        }
        // Any moment does: what never comes due after one never does.
        let from = Timestamp::from_millis(1_767_225_600_000);
        if calendar.after(from).is_none() { Err(CalendarError::Never) } else { Ok(calendar) }
    }

    /// Whether there is a day for it at all; croner alone would search up to the year 5000, for a second and more.
    fn has_days(&self) -> bool {
        // A leap day falls on every day of the week within 28 years.
        const LOOKED_AT: usize = 30 * 366;
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap_or_default();
        let pattern = &self.cron.pattern;
        first.iter_days().take(LOOKED_AT).any(|day| {
            pattern.month_match(day.month()).unwrap_or(false)
                && pattern.day_match(day.year(), day.month(), day.day()).unwrap_or(false)
        })
    }

    /// The pattern in words.
    pub fn words(&self) -> String {
        self.cron.describe()
    }

    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// That moment as the clock on the wall shows it.
    pub fn on_the_wall(&self, at: Timestamp) -> String {
        at.to_utc().with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// The first time after that one.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        // Whole seconds: a time must be the same instant whenever it is asked for, or it would be made twice.
        let start = at.to_utc().with_nanosecond(0)?.with_timezone(&self.zone);
        let wall = start.naive_local();
        let next = self.next_on_wall(wall)?;
        let offset = |at: DateTime<Tz>| at.offset().fix();
        let calm = offset(start - SHIFT) == offset(start);
        if let MappedLocalTime::Single(found) = self.zone.from_local_datetime(&next)
            && calm
            && offset(found) == offset(start)
        {
            return Some(found.to_utc().into());
        }
        self.after_beside_a_shift(at, wall)
    }

    /// Near a shift what the wall shows next need not be what comes next: all around it is looked at.
    fn after_beside_a_shift(&self, at: Timestamp, wall: NaiveDateTime) -> Option<Timestamp> {
        let (mut on_wall, until) = (wall - SHIFT, wall + SHIFT + SHIFT);
        let mut best: Option<Timestamp> = None;
        loop {
            let Some(next) = self.next_on_wall(on_wall) else { return best };
            if next > until && best.is_some() {
                return best;
            }
            let later = self.instants(next).into_iter().flatten().filter(|instant| *instant > at);
            best = best.into_iter().chain(later).min();
            on_wall = next;
        }
    }

    /// When the wall shows this, as far as it counts.
    fn instants(&self, wall: NaiveDateTime) -> [Option<Timestamp>; 2] {
        let fixed = self.cron.determine_job_type() == JobType::FixedTime;
        match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(at) => [Some(at.to_utc().into()), None],
            MappedLocalTime::Ambiguous(first, _) if fixed => [Some(first.to_utc().into()), None],
            MappedLocalTime::Ambiguous(first, second) => [Some(first.to_utc().into()), Some(second.to_utc().into())],
            MappedLocalTime::None if fixed => [self.end_of_gap(wall), None],
            MappedLocalTime::None => [None, None],
        }
    }

    /// The first instant after the gap in which this lies. Gaps end on whole minutes.
    fn end_of_gap(&self, wall: NaiveDateTime) -> Option<Timestamp> {
        let whole = wall - TimeDelta::seconds(wall.and_utc().timestamp().rem_euclid(60));
        (1..=LONGEST_GAP_MINUTES).find_map(|minutes| {
            let later = whole + TimeDelta::minutes(minutes as i64);
            self.zone.from_local_datetime(&later).earliest().map(|at| at.to_utc().into())
        })
    }

    /// The next match as if no clock were ever shifted.
    fn next_on_wall(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let next: DateTime<Utc> = self.cron.find_next_occurrence(&wall.and_utc(), false).ok()?;
        Some(next.naive_utc())
    }

    /// The newest time after `after`, up to and with `until`.
    pub fn newest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        LOOKS.into_iter().find_map(|look| {
            let from = after.max(until - look);
            self.from(from).take_while(|at| *at <= until).last()
        })
    }

    /// How many times lie after `after`, up to and with `until`; no more than [`MOST_COUNTED`] are counted.
    pub fn count(&self, after: Timestamp, until: Timestamp) -> usize {
        self.from(after).take_while(|at| *at <= until).take(MOST_COUNTED).count()
    }

    /// All times after that one.
    pub fn from(&self, at: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(at), |at| self.after(*at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Calendar, CalendarError};
    use crate::domain::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn times(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::parse(pattern, zone).unwrap();
        calendar.from(at(from)).take(count).map(|at| at.to_rfc3339().replace(":00.000Z", "Z")).collect()
    }

    #[test]
    fn a_fixed_time_in_the_gap_comes_due_when_the_gap_ends() {
        // Berlin, 28 March 2027: 02:00 CET is 03:00 CEST, 01:00 UTC.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00Z", 3),
            ["2027-03-27T01:30Z", "2027-03-28T01:00Z", "2027-03-29T00:30Z"]
        );
    }

    #[test]
    fn a_fixed_time_in_the_fold_comes_due_once() {
        // Berlin, 31 October 2027: 03:00 CEST is 02:00 CET, 01:00 UTC.
        let expected = ["2027-10-31T00:30Z", "2027-11-01T01:30Z"];
        assert_eq!(times("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00Z", 2), expected);
        // Also for whoever begins to look between the two.
        for from in ["2027-10-31T00:30:00Z", "2027-10-31T01:10:00Z", "2027-10-31T01:30:00Z"] {
            assert_eq!(times("30 2 * * *", "Europe/Berlin", from, 1), expected[1..]);
        }
    }

    #[test]
    fn what_repeats_within_the_hour_goes_by_instants_through_gap_and_fold() {
        assert_eq!(
            times("*/30 * * * *", "Europe/Berlin", "2027-10-30T23:59:00Z", 6),
            [
                "2027-10-31T00:00Z",
                "2027-10-31T00:30Z",
                "2027-10-31T01:00Z",
                "2027-10-31T01:30Z",
                "2027-10-31T02:00Z",
                "2027-10-31T02:30Z"
            ]
        );
        assert_eq!(
            times("*/30 * * * *", "Europe/Berlin", "2027-03-28T00:15:00Z", 3),
            ["2027-03-28T00:30Z", "2027-03-28T01:00Z", "2027-03-28T01:30Z"]
        );
    }

    #[test]
    fn five_and_six_fields_are_read_and_nonsense_is_explained() {
        assert_eq!(times("*/20 * * * * *", "UTC", "2027-01-01T00:00:00Z", 2)[1], "2027-01-01T00:00:40.000Z");
        assert!(Calendar::parse("30 8 * * mon-fri", "Europe/Moscow").unwrap().words().contains("08:30"));
        for never in ["0 0 30 2 *", "* * * 31 2,4,6,9,11 *", "0 0 30 2 +1"] {
            assert_eq!(Calendar::parse(never, "UTC").unwrap_err(), CalendarError::Never, "{never}");
        }
        for rare in ["0 0 29 2 +mon", "0 0 29 2 +sun", "0 0 31 * +fri", "0 0 * 2 tue#5", "0 0 15W * *"] {
            assert!(Calendar::parse(rare, "UTC").is_ok(), "{rare}");
        }
        assert_eq!(Calendar::parse("* * * * *", "Moscow").unwrap_err(), CalendarError::Zone);
        let commas = [",", "0, 30 8 * * *", ", 3 * * *", ", * * * * *", ",,, * * * *", "1,,2 * * * *", "* * ,1 * *"];
        for wrong in ["", "* *", "61 * * * *", "0 0 0 1 1 * 2030", "every day"].into_iter().chain(commas) {
            assert!(matches!(Calendar::parse(wrong, "UTC"), Err(CalendarError::Pattern(_))), "{wrong:?}");
        }
    }

    #[test]
    fn the_newest_missed_time_is_found_however_long_ago_it_was() {
        let calendar = Calendar::parse("0 8 * * *", "UTC").unwrap();
        let (after, until) = (at("2020-01-01T00:00:00Z"), at("2027-01-01T07:59:00Z"));
        assert_eq!(calendar.newest(after, until), Some(at("2026-12-31T08:00:00Z")));
        assert_eq!(calendar.newest(at("2026-12-31T08:00:00Z"), until), None);
        assert_eq!(calendar.count(after, until), 1_000);
        let yearly = Calendar::parse("0 0 29 2 *", "UTC").unwrap();
        assert_eq!(yearly.newest(after, until), Some(at("2024-02-29T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn time_only_moves_on(
            pattern in r"(\*/20 )?(\*/7|30|0) (\*|2|\*/3) \* \* (\*|sun)",
            zone in "Europe/Berlin|America/New_York|Australia/Lord_Howe|Asia/Tehran|UTC",
            day in 0_i64..800, ms in 0_i64..86_400_000,
        ) {
            let calendar = Calendar::parse(&pattern, &zone).unwrap();
            let mut last = Timestamp::from_millis(1_767_225_600_000 + day * 86_400_000 + ms);
            let whole = Timestamp::from_millis(last.as_millis() / 1_000 * 1_000);
            prop_assert_eq!(calendar.after(last), calendar.after(whole), "however the second is hit");
            for _ in 0..40 {
                let next = calendar.after(last).unwrap();
                prop_assert!(next > last, "{pattern} in {zone}: {next} after {last}");
                prop_assert_eq!(next.as_millis() % 1_000, 0);
                prop_assert_eq!(calendar.newest(last, next), Some(next));
                last = next;
            }
        }
    }
}
