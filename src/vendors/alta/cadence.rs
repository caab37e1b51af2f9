//! When to ask: the times of reports in Moscow, the account's common ticks, the floor between two `show` of a hash.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::exchange::sha256_hex;

/// The vendor blocks whoever shows a hash more often. Not to be configured away, but on a loopback address.
pub const SHOW_FLOOR: Duration = Duration::from_secs(60);

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// Moscow has been UTC+3 all year round since October 2014. Five thousand schedules are computed a minute: no zone tables.
const MOSCOW: i64 = 3 * 60 * MINUTE;
/// The first of January 1970 was a Thursday; Alta counts from Sunday.
const FIRST_WEEKDAY: i64 = 4;

/// When the vendor makes its reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    /// Milliseconds after midnight in Moscow.
    times: Vec<i64>,
    /// From Sunday.
    days: [bool; 7],
}

impl Schedule {
    /// `times` as `H:i`; what cannot be read is left out. No days are all days.
    pub fn new(times: &[String], days: &[u8]) -> Self {
        let times = times.iter().filter_map(|time| minutes(time)).map(|minutes| i64::from(minutes) * MINUTE).collect();
        let mut mask = [days.is_empty(); 7];
        for day in days {
            if let Some(on) = mask.get_mut(usize::from(*day)) {
                *on = true;
            }
        }
        Self { times, days: mask }
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The newest report time that has come.
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.as_millis() + MOSCOW;
        let today = local.div_euclid(DAY);
        (0..=7).find_map(|back| self.on_day(today - back).filter(|at| *at <= local).max()).map(from_local)
    }

    /// The next report time.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.as_millis() + MOSCOW;
        let today = local.div_euclid(DAY);
        (0..=7).find_map(|ahead| self.on_day(today + ahead).filter(|at| *at > local).min()).map(from_local)
    }

    fn on_day(&self, day: i64) -> impl Iterator<Item = i64> {
        let weekday = (day + FIRST_WEEKDAY).rem_euclid(7) as usize;
        let on = self.days.get(weekday).copied().unwrap_or(false);
        self.times.iter().filter(move |_| on).map(move |time| day * DAY + time)
    }
}

fn from_local(local: i64) -> Timestamp {
    Timestamp::from_millis(local - MOSCOW)
}

/// `H:i` as minutes after midnight.
pub fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let plain = |part: &str| !part.is_empty() && part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(hours) || minutes.len() != 2 || !plain(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// An account's pace.
#[derive(Debug, Clone)]
pub struct Cadence {
    pub show_every: Duration,
    pub due_window: Duration,
    pub idle_every: Duration,
    /// Where in the minute this account's ticks fall: not every installation asks at :00.
    offset: i64,
}

impl Cadence {
    pub fn new(
        show_every: Duration,
        due_window: Duration,
        idle_every: Duration,
        loopback: bool,
        account: &str,
    ) -> Self {
        let floor = if loopback { Duration::from_millis(1) } else { SHOW_FLOOR };
        let show_every = show_every.max(floor);
        let idle_every = idle_every.max(show_every);
        let scattered = sha256_hex(account.as_bytes());
        let scattered = i64::from_str_radix(scattered.get(..8).unwrap_or("0"), 16).unwrap_or(0);
        Self { show_every, due_window, idle_every, offset: scattered % millis(show_every) }
    }

    /// Between the beginnings of two `show` of one hash. A claimed call may leave a second late, hence a sixtieth more.
    pub fn between_shows(&self) -> Duration {
        self.show_every + self.show_every / 60
    }

    /// The account's next common moment while something is due; jobs that meet there share one `track_list`.
    pub fn busy_tick(&self, now: Timestamp) -> Timestamp {
        self.tick(now, self.show_every)
    }

    /// The account's next common moment while nothing is due.
    pub fn idle_tick(&self, now: Timestamp) -> Timestamp {
        self.tick(now, self.idle_every)
    }

    fn tick(&self, now: Timestamp, every: Duration) -> Timestamp {
        let every = millis(every);
        let passed = (now.as_millis() - self.offset).div_euclid(every);
        Timestamp::from_millis((passed + 1) * every + self.offset)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn schedule(times: &[&str], days: &[u8]) -> Schedule {
        Schedule::new(&times.iter().map(|time| (*time).to_owned()).collect::<Vec<_>>(), days)
    }

    #[test]
    fn report_times_are_moscow_times() {
        let daily = schedule(&["09:00", "18:30"], &[]);
        assert_eq!(daily.last(at("2026-03-10T06:00:00Z")), Some(at("2026-03-10T09:00:00+03:00")));
        assert_eq!(daily.last(at("2026-03-10T05:59:59Z")), Some(at("2026-03-09T18:30:00+03:00")));
        assert_eq!(daily.next(at("2026-03-10T06:00:00Z")), Some(at("2026-03-10T18:30:00+03:00")));
        assert_eq!(daily.next(at("2026-03-10T20:59:59Z")), Some(at("2026-03-11T09:00:00+03:00")));
    }

    #[test]
    fn reports_fall_on_the_days_that_are_asked_for() {
        // 2026-03-13 is a Friday.
        let weekdays = schedule(&["09:00"], &[1, 2, 3, 4, 5]);
        assert_eq!(weekdays.next(at("2026-03-13T09:00:00+03:00")), Some(at("2026-03-16T09:00:00+03:00")));
        assert_eq!(weekdays.last(at("2026-03-15T23:00:00+03:00")), Some(at("2026-03-13T09:00:00+03:00")));
        let sundays = schedule(&["00:00"], &[0]);
        assert_eq!(sundays.next(at("2026-03-15T00:00:00+03:00")), Some(at("2026-03-22T00:00:00+03:00")));
        assert_eq!(sundays.last(at("2026-03-15T00:00:00+03:00")), Some(at("2026-03-15T00:00:00+03:00")));
        assert_eq!(schedule(&[], &[]).next(at("2026-03-15T00:00:00Z")), None);
    }

    #[test]
    fn times_are_read_as_the_vendor_writes_them() {
        assert_eq!(minutes("09:05"), Some(545));
        assert_eq!(minutes("9:05"), Some(545));
        for wrong in ["24:00", "09:60", "9", "09:5", "+9:00", "", ":", "09:00:00"] {
            assert_eq!(minutes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_floor_gives_way_on_a_loopback_address_only() {
        let fast = Duration::from_millis(500);
        assert_eq!(Cadence::new(fast, fast, fast, false, "a").show_every, SHOW_FLOOR);
        assert_eq!(Cadence::new(fast, fast, fast, true, "a").show_every, fast);
    }

    proptest! {
        #[test]
        fn a_tick_is_ahead_and_never_further_than_its_interval(now in 0_i64..4_000_000_000_000, every in 1_u64..4_000_000) {
            let span = Duration::from_millis(every);
            let cadence = Cadence::new(span, span, span, true, "account");
            let now = Timestamp::from_millis(now);
            let tick = cadence.busy_tick(now);
            prop_assert!(tick > now || now < Timestamp::from_millis(cadence.offset));
            prop_assert!(tick.since(now) <= span + Duration::from_millis(cadence.offset as u64));
            prop_assert_eq!(cadence.busy_tick(tick), tick + span);
        }
    }
}
