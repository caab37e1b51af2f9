//! Reading what every account has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Account, AccountCommon, AccountKind, Budget, Limits};
use crate::config::findings::nearest;
use crate::config::reader::Section;

/// One line per vendor: its name, and who reads the rest of its accounts.
type ReadKind = fn(&Section<'_>, &AccountCommon) -> AccountKind;
pub(super) const VENDORS: [(&str, ReadKind); 4] = [
    ("tronk", |section, common| AccountKind::Tronk(super::tronk::read(section, common))),
    ("alta", |section, common| AccountKind::Alta(super::alta::read(section, common))),
    ("rlab", |section, common| AccountKind::Rlab(super::rlab::read(section, common))),
    ("vagvin", |section, common| AccountKind::Vagvin(super::vagvin::read(section, common))),
];

/// Vendors whose taken work cannot be looked up: `settle` and `resubmit` never come to bear.
const CANNOT_BE_ASKED: [&str; 2] = ["tronk", "vagvin"];

/// Any call needs some time; less is a slip of the hand.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// All four vendors bill by Moscow's days.
const MOSCOW: i32 = 3;
/// Sums of many of these stay far from overflow.
const MOST_MONEY: f64 = 1e9;
const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 86_400);

/// More than any vendor stands, and far below what the process may open.
const MOST_IN_FLIGHT: i64 = 256;

impl Account {
    /// `None` when the vendor is not known: then nothing else in the table can be judged.
    pub(in crate::config) fn read(section: &Section<'_>) -> Option<Self> {
        let given = section.value("vendor").map(|vendor| vendor.as_str().unwrap_or_default());
        let Some((vendor, read_kind)) = VENDORS.iter().find(|(vendor, _)| Some(*vendor) == given) else {
            let all = VENDORS.map(|(vendor, _)| vendor.to_owned());
            let verb = if given.is_some() { "must be" } else { "is required:" };
            let message = format!("{verb} one of {}", all.join(", "));
            // Without a vendor the account's name is the best guess, since most are called after it.
            section.problem_near("vendor", message, nearest(given.unwrap_or(section.name()), all));
            return None;
        };
        let common = common(section, vendor);
        let kind = read_kind(section, &common);
        section.finish();
        Some(Self { name: section.name().to_owned(), kind, common })
    }
}

fn common(section: &Section<'_>, vendor: &str) -> AccountCommon {
    let allow_http = section.flag("allow_http");
    let common = AccountCommon {
        base_url: section.url("base_url", allow_http),
        allow_http,
        timeout: section.duration_from("timeout", SHORTEST_TIMEOUT),
        limits: limits(section),
        settle: section.duration("settle"),
        resubmit: section.flag("resubmit"),
        pause_on: section.texts("pause_on"),
        prices: prices(section, vendor),
        budget: budget(section),
        same_order_window: section.duration("same_order_window"),
    };
    let has_amounts = common.budget.amount_per_day.is_some() || common.budget.amount_per_month.is_some();
    if has_amounts && common.prices.is_empty() && section.is_sound("prices") {
        section
            .problem("budget", "has an amount, so prices must say what an order costs; nothing would be sent without");
    }
    if common.same_order_window > LONGEST_WINDOW {
        section.problem("same_order_window", "must be at most \"31d\"");
    }
    if common.timeout > LONGEST_TIMEOUT {
        section.problem("timeout", "must be at most \"10m\"");
    }
    if common.resubmit && CANNOT_BE_ASKED.contains(&vendor) {
        section.warning("resubmit", "has no effect: this vendor cannot be asked what it has taken");
    }
    common
}

/// Keys are kinds; whether there is such a kind is the daemon's to say.
fn prices(section: &Section<'_>, vendor: &str) -> BTreeMap<String, f64> {
    let section = section.section("prices");
    let mut prices = BTreeMap::new();
    for kind in section.keys() {
        let is_kind = kind.strip_prefix(vendor).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1);
        if is_kind {
            prices.insert(kind.clone(), section.number(kind, 0.0..=MOST_MONEY));
        } else {
            // Asked for, so that it is not complained of twice.
            section.value(kind);
            let shape = format!("must be a kind of this vendor in quotes, such as \"{vendor}.report\" = 30.0");
            section.problem(kind, shape);
        }
    }
    prices
}

fn budget(section: &Section<'_>) -> Budget {
    let section = section.section("budget");
    let given = |key: &str| section.value(key).is_some();
    let count = |key: &str| given(key).then(|| section.whole(key, 1..=i64::from(u32::MAX)));
    let money = |key: &str| given(key).then(|| section.number(key, 0.01..=MOST_MONEY));
    let budget = Budget {
        per_hour: count("per_hour"),
        per_day: count("per_day"),
        per_month: count("per_month"),
        amount_per_day: money("amount_per_day"),
        amount_per_month: money("amount_per_month"),
        utc_offset: if given("utc_offset") { section.whole("utc_offset", -12..=14) } else { MOSCOW },
    };
    section.finish();
    budget
}

fn limits(section: &Section<'_>) -> Limits {
    let section = section.section("limits");
    let limits = Limits {
        max_in_flight: section.whole("max_in_flight", 1..=MOST_IN_FLIGHT),
        min_interval: section.duration("min_interval"),
    };
    section.finish();
    limits
}
