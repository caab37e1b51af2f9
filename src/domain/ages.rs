//! Whether things may be removed for being old. A clock that leaps forward makes everything old at once: after a leap nothing is
//! removed by its age for a day, in which somebody can put the clock right. A daemon that was merely off for so long loses
//! nothing by it: what is old is removed a day later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The shortest retention that the defaults have is two of these.
pub const LEAP: Duration = Duration::from_secs(7 * 86_400);
pub const HELD_FOR: Duration = Duration::from_secs(86_400);
/// Of the day, a span between two looks counts for so much at most: a clock that is set again, or a daemon that is off, does not
/// end it.
const STEP: Duration = Duration::from_secs(3_600);

/// What is remembered of the clock, across restarts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ages {
    /// The time when it was last looked at.
    pub seen: Timestamp,
    pub held: Option<Held>,
}

/// Nothing is removed by its age, after this leap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub from: Timestamp,
    pub since: Timestamp,
    /// If opros runs until then and the clock is left alone.
    pub until: Timestamp,
}

impl Ages {
    pub fn new(seen: Timestamp) -> Ages {
        Ages { seen, held: None }
    }

    /// It is `now`.
    pub fn look(&mut self, now: Timestamp) {
        if now > self.seen + LEAP {
            // Of two leaps the time before the first is the one that was right, if any was.
            let from = self.held.map_or(self.seen, |held| held.from.min(self.seen));
            self.held = Some(Held { from, since: now, until: now + HELD_FOR });
        } else {
            self.held = self.held.and_then(|held| self.goes_on(held, now));
        }
        self.seen = now;
    }

    /// Until the clock is back where it was, or the day is over.
    fn goes_on(&self, held: Held, now: Timestamp) -> Option<Held> {
        let is_back = now <= held.from + LEAP;
        let left = held.until.since(self.seen).saturating_sub(now.since(self.seen).min(STEP));
        (!is_back && !left.is_zero()).then_some(Held { until: now + left, ..held })
    }

    pub fn may_remove(&self) -> bool {
        self.held.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn start() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn looks(ages: &mut Ages, at: Timestamp) -> bool {
        ages.look(at);
        ages.may_remove()
    }

    /// Looks every half an hour; says how long it was until something might be removed.
    fn runs(ages: &mut Ages, from: Timestamp) -> Duration {
        let mut passed = Duration::ZERO;
        while !looks(ages, from + passed) {
            passed += STEP / 2;
        }
        passed
    }

    #[test]
    fn a_leap_holds_removal_for_a_day_and_another_one_begins_it_anew() {
        let mut ages = Ages::new(start());
        assert!(looks(&mut ages, start() + LEAP), "off for a week");
        let leapt = start() + DAY * 1_000;
        assert!(!looks(&mut ages, leapt));
        assert_eq!(ages.held, Some(Held { from: start() + LEAP, since: leapt, until: leapt + DAY }));
        assert_eq!(runs(&mut ages, leapt), DAY);
        assert!(!looks(&mut ages, leapt + DAY * 9));
        assert!(!looks(&mut ages, leapt + DAY * 30), "another leap, and not the end of the day");
        assert_eq!(ages.held.unwrap().from, leapt + DAY, "the time before both");
        assert_eq!(runs(&mut ages, leapt + DAY * 30), DAY);
    }

    #[test]
    fn a_clock_that_is_put_right_ends_it() {
        let mut ages = Ages::new(start());
        assert!(!looks(&mut ages, start() + DAY * 8));
        assert!(!looks(&mut ages, start() + DAY * 8 - Duration::from_secs(90)), "corrected, and still wrong");
        assert!(looks(&mut ages, start() + Duration::from_secs(60)));
        assert!(looks(&mut ages, start() + DAY * 7));
        assert!(!looks(&mut ages, start() + DAY * 15));
    }

    /// Found by `crashtest clock`, with what had ended while the clock was years behind.
    #[test]
    fn a_clock_that_is_set_to_and_fro_by_days_does_not_end_it() {
        let mut ages = Ages::new(start());
        let leapt = start() + DAY * 1_000;
        assert!(!looks(&mut ages, leapt));
        assert!(!looks(&mut ages, leapt - DAY * 3) && !looks(&mut ages, leapt) && !looks(&mut ages, leapt + DAY * 3));
        let left = DAY - STEP * 2;
        assert_eq!(runs(&mut ages, leapt + DAY * 3), left, "two spans counted for an hour each");
    }

    #[test]
    fn a_machine_that_is_on_for_hours_only_comes_to_its_end_too() {
        let mut ages = Ages::new(start());
        let mut morning = start() + DAY * 10;
        let mut days = 0;
        while !ages.may_remove() || days == 0 {
            (0..=16_u32).for_each(|half| ages.look(morning + STEP / 2 * half));
            (morning, days) = (morning + DAY, days + 1);
        }
        assert_eq!(days, 3);
    }
}
