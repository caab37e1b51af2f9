//! What may be spent: prices, budgets by calendar window, and whether an equal order is held. Pure; the store keeps the sums.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, TimeZone, Timelike, Utc};
use serde::{Deserialize, Serialize};

use super::{Reason, Timestamp};

/// Money, or whatever else the vendor counts in, in millionths of its unit: sums of it are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub i64);

impl Amount {
    const ONE: f64 = 1e6;

    pub fn of(units: f64) -> Amount {
        // Casts saturate: what no vendor asks is no danger either.
        Amount((units * Self::ONE).round() as i64)
    }

    pub fn units(self) -> f64 {
        self.0 as f64 / Self::ONE
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.units());
        f.pad(text.strip_suffix(".00").unwrap_or(&text))
    }
}

/// A calendar window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    Hour,
    Day,
    Month,
}

impl Span {
    pub const ALL: [Span; 3] = [Span::Hour, Span::Day, Span::Month];

    pub const fn as_str(self) -> &'static str {
        match self {
            Span::Hour => "hour",
            Span::Day => "day",
            Span::Month => "month",
        }
    }

    /// The window around `now`, of a calendar that is `hours` before UTC's: its start, and the start of the next.
    pub fn around(self, now: Timestamp, hours: i32) -> (Timestamp, Timestamp) {
        let offset = FixedOffset::east_opt(hours.clamp(-23, 23) * 3_600).unwrap_or_else(utc);
        let here = now.to_utc().with_timezone(&offset);
        let day = here.with_hour(0).and_then(|at| at.with_minute(0)).and_then(start_of_minute).unwrap_or(here);
        let next_month = || {
            let (year, month) = if day.month() == 12 { (day.year() + 1, 1) } else { (day.year(), day.month() + 1) };
            offset.with_ymd_and_hms(year, month, 1, 0, 0, 0).single()
        };
        let (start, end) = match self {
            Span::Hour => {
                let start = here.with_minute(0).and_then(start_of_minute).unwrap_or(here);
                (start, Some(start + chrono::Duration::hours(1)))
            }
            Span::Day => (day, Some(day + chrono::Duration::days(1))),
            Span::Month => (day.with_day(1).unwrap_or(day), next_month()),
        };
        let stamp = |at: DateTime<FixedOffset>| Timestamp::from(at.with_timezone(&Utc));
        (stamp(start), end.map_or(Timestamp::MAX, stamp))
    }
}

fn utc() -> FixedOffset {
    use chrono::Offset;
    Utc.fix()
}

fn start_of_minute(at: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
    at.with_second(0)?.with_nanosecond(0)
}

/// The most that an account may order in a window. What is none is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    pub per_hour: Option<u32>,
    pub per_day: Option<u32>,
    pub per_month: Option<u32>,
    pub amount_per_day: Option<Amount>,
    pub amount_per_month: Option<Amount>,
    /// Whose midnight begins a day: hours before UTC's. Moscow is 3.
    pub utc_offset: i32,
}

impl Budget {
    pub fn is_none(&self) -> bool {
        Span::ALL.iter().all(|span| self.submissions(*span).is_none() && self.amount(*span).is_none())
    }

    fn has_amounts(&self) -> bool {
        self.amount_per_day.is_some() || self.amount_per_month.is_some()
    }

    pub fn submissions(&self, span: Span) -> Option<u32> {
        match span {
            Span::Hour => self.per_hour,
            Span::Day => self.per_day,
            Span::Month => self.per_month,
        }
    }

    pub fn amount(&self, span: Span) -> Option<Amount> {
        match span {
            Span::Hour => None,
            Span::Day => self.amount_per_day,
            Span::Month => self.amount_per_month,
        }
    }
}

/// What one account's orders cost and how many there may be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    pub account: String,
    /// By kind; a kind that is missing has an unknown price.
    pub prices: BTreeMap<String, Amount>,
    pub budget: Budget,
    /// An order equal to one that was sent this recently is held. Zero: none is.
    pub same_order_window: Duration,
}

/// What was ordered in a window so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub submissions: i64,
    pub amount: Amount,
}

/// What was ordered in the windows around one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    pub hour: Sum,
    pub day: Sum,
    pub month: Sum,
}

impl Spent {
    pub fn of(&self, span: Span) -> Sum {
        match span {
            Span::Hour => self.hour,
            Span::Day => self.day,
            Span::Month => self.month,
        }
    }

    pub fn add(&mut self, price: Option<Amount>) {
        for sum in [&mut self.hour, &mut self.day, &mut self.month] {
            sum.submissions += 1;
            sum.amount.0 = sum.amount.0.saturating_add(price.unwrap_or_default().0);
        }
    }
}

/// Why nothing more may be ordered now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.message)]
pub struct BudgetSpent {
    pub reason: Reason,
    /// The window that is full.
    pub span: Span,
    /// When it was found to be full.
    pub since: Timestamp,
    /// When the next window begins.
    pub until: Timestamp,
}

impl Rules {
    pub fn price(&self, kind: &str) -> Option<Amount> {
        self.prices.get(kind).copied()
    }

    /// Whether one more order of this kind may be sent now; the window that opens last speaks.
    pub fn refusal(&self, kind: &str, spent: &Spent, now: Timestamp) -> Option<BudgetSpent> {
        let price = self.price(kind);
        let budget = &self.budget;
        if budget.has_amounts() && price.is_none() {
            let (_, until) = Span::Day.around(now, budget.utc_offset);
            let message = format!(
                "the account {} has a budget of money and no price for {kind}: add it to [accounts.{}.prices], and start opros again",
                self.account, self.account
            );
            return Some(BudgetSpent { reason: Reason::new("no_price", message), span: Span::Day, since: now, until });
        }
        let full = Span::ALL.into_iter().rev().find_map(|span| Some((span, self.over(span, price, spent.of(span))?)));
        full.map(|(span, what)| {
            let (_, until) = span.around(now, budget.utc_offset);
            BudgetSpent {
                reason: Reason::new("budget_spent", format!("{what}; next at {until}")),
                span,
                since: now,
                until,
            }
        })
    }

    fn over(&self, span: Span, price: Option<Amount>, sum: Sum) -> Option<String> {
        let word = span.as_str();
        let a = if span == Span::Hour { "an" } else { "a" };
        if let Some(most) = self.budget.submissions(span).filter(|most| sum.submissions >= i64::from(*most)) {
            return Some(format!("the budget of {most} submissions {a} {word} is spent"));
        }
        let most = self.budget.amount(span)?;
        let price = price.unwrap_or_default();
        (sum.amount.0.saturating_add(price.0) > most.0).then(|| {
            format!("the budget of {most} {a} {word} is spent: {} are ordered, and one more costs {price}", sum.amount)
        })
    }
}

/// How sure it is that an order costs what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sure {
    /// The intent is on disk; the request may be on its way.
    Ordered,
    /// The vendor took it.
    Booked,
    /// Its answer was lost.
    InDoubt,
    /// It was in doubt, and the vendor has it.
    Settled,
    /// It was in doubt, and an operator ended that without the vendor's word: it may have been paid.
    Operator,
    /// The vendor refused it.
    Refused,
    /// It never left, or was provably not taken.
    NotSent,
    /// It was in doubt, and the vendor does not have it.
    Absent,
}

impl Sure {
    pub const ALL: [Sure; 8] = [
        Sure::Ordered,
        Sure::Booked,
        Sure::InDoubt,
        Sure::Settled,
        Sure::Operator,
        Sure::Refused,
        Sure::NotSent,
        Sure::Absent,
    ];

    /// The word in the store and on the socket.
    pub const fn as_str(self) -> &'static str {
        match self {
            Sure::Ordered => "ordered",
            Sure::Booked => "booked",
            Sure::InDoubt => "in_doubt",
            Sure::Settled => "settled",
            Sure::Operator => "operator",
            Sure::Refused => "refused",
            Sure::NotSent => "not_sent",
            Sure::Absent => "absent",
        }
    }

    /// Whether it may have cost money; what provably did not is given back to the budget.
    pub const fn counts(self) -> bool {
        match self {
            Sure::Ordered | Sure::Booked | Sure::InDoubt | Sure::Settled | Sure::Operator => true,
            Sure::Refused | Sure::NotSent | Sure::Absent => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_day_begins_at_the_midnight_of_its_calendar() {
        let now = at("2026-08-21T22:30:15.250Z");
        let around = |span: Span, hours| {
            let (start, end) = span.around(now, hours);
            (start.to_rfc3339(), end.to_rfc3339())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(around(Span::Hour, 3), pair("2026-08-21T22:00:00.000Z", "2026-08-21T23:00:00.000Z"));
        assert_eq!(around(Span::Day, 3), pair("2026-08-21T21:00:00.000Z", "2026-08-22T21:00:00.000Z"));
        assert_eq!(around(Span::Day, 0), pair("2026-08-21T00:00:00.000Z", "2026-08-22T00:00:00.000Z"));
        assert_eq!(around(Span::Month, 3), pair("2026-07-31T21:00:00.000Z", "2026-08-31T21:00:00.000Z"));
        assert_eq!(Span::Month.around(at("2026-12-31T23:00:00Z"), 0).1, at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn the_window_that_opens_last_speaks_and_says_when() {
        let budget = Budget { per_hour: Some(2), per_day: Some(2), utc_offset: 3, ..Budget::default() };
        let rules = Rules { account: "tronk".into(), budget, ..Rules::default() };
        let (now, mut spent) = (at("2026-08-21T07:00:00Z"), Spent::default());
        assert_eq!(rules.refusal("tronk.report", &spent, now), None);
        spent.add(None);
        spent.add(None);
        let refusal = rules.refusal("tronk.report", &spent, now).unwrap();
        assert_eq!((refusal.span, refusal.until), (Span::Day, at("2026-08-21T21:00:00Z")));
        assert_eq!(
            refusal.reason.message,
            "the budget of 2 submissions a day is spent; next at 2026-08-21T21:00:00.000Z"
        );
    }

    #[test]
    fn money_is_not_spent_where_the_price_is_unknown() {
        let budget = Budget { amount_per_day: Some(Amount::of(100.0)), ..Budget::default() };
        let prices = BTreeMap::from([("tronk.report".to_owned(), Amount::of(30.1))]);
        let rules = Rules { account: "tronk".into(), prices, budget, ..Rules::default() };
        let (now, mut spent) = (at("2026-08-21T07:00:00Z"), Spent::default());
        assert_eq!(rules.refusal("tronk.report_json", &spent, now).unwrap().reason.code, "no_price");
        for _ in 0..3 {
            assert_eq!(rules.refusal("tronk.report", &spent, now), None);
            spent.add(rules.price("tronk.report"));
        }
        let message = rules.refusal("tronk.report", &spent, now).unwrap().reason.message;
        assert!(
            message.starts_with("the budget of 100 a day is spent: 90.30 are ordered, and one more costs 30.10"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_windows_and_they_nest(ms in 0_i64..4_000_000_000_000, hours in -12_i32..=14) {
            let now = Timestamp::from_millis(ms);
            let windows = Span::ALL.map(|span| span.around(now, hours));
            for (start, end) in windows {
                prop_assert!(start <= now && now < end);
                prop_assert_eq!(start.as_millis() % 3_600_000, 0, "windows begin with an hour, as the store counts");
            }
            prop_assert!(windows[2].0 <= windows[1].0 && windows[1].0 <= windows[0].0);
            prop_assert!(windows[0].1 <= windows[1].1 && windows[1].1 <= windows[2].1);
        }

        #[test]
        fn no_number_of_orders_goes_over_the_budget(most in 0_u32..50, orders in 0_usize..100) {
            let budget = Budget { per_month: Some(most), ..Budget::default() };
            let rules = Rules { budget, ..Rules::default() };
            let mut spent = Spent::default();
            for _ in 0..orders {
                if rules.refusal("k", &spent, Timestamp::MIN).is_none() {
                    spent.add(None);
                }
            }
            prop_assert!(spent.month.submissions <= i64::from(most));
        }
    }
}
