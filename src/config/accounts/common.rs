//! Reading what every account has.

use std::time::Duration;

use super::{Account, AccountCommon, AccountKind, Limits};
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
    };
    if common.timeout > LONGEST_TIMEOUT {
        section.problem("timeout", "must be at most \"10m\"");
    }
    if common.resubmit && CANNOT_BE_ASKED.contains(&vendor) {
        section.warning("resubmit", "has no effect: this vendor cannot be asked what it has taken");
    }
    common
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
