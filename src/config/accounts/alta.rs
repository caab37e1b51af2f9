//! `vendor = "alta"`.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::{AccountCommon, hidden};
use crate::config::duration;
use crate::config::reader::Section;

#[derive(Debug, Clone, Serialize)]
pub struct AltaAccount {
    #[serde(serialize_with = "hidden")]
    pub login: SecretString,
    /// The contract's number.
    #[serde(serialize_with = "hidden")]
    pub sa: SecretString,
    /// The technical password, not that of the web site.
    #[serde(serialize_with = "hidden")]
    pub password: SecretString,
    /// Per hash, while a report is due.
    #[serde(with = "duration")]
    pub show_every: Duration,
    /// How long after each of `times` a report is expected.
    #[serde(with = "duration")]
    pub due_window: Duration,
    /// Per hash, outside the windows.
    #[serde(with = "duration")]
    pub idle_every: Duration,
    /// A tracker that was not observed for this long is announced; `None` when it is "0s".
    #[serde(with = "duration::or_never")]
    pub stale_after: Option<Duration>,
    /// What the vendor's error codes mean; one that is not here goes by its text.
    pub codes: BTreeMap<i64, CodeMeaning>,
    /// `None` when it is "0s": the balance is not asked for.
    #[serde(with = "duration::or_never")]
    pub balance_every: Option<Duration>,
    /// At or below this the balance is announced as low.
    pub balance_low: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeMeaning {
    /// Try again later.
    Transient,
    /// The job has failed.
    Permanent,
    /// The account must stop: key, access or money.
    Pause,
}

/// The vendor's own: a hash is asked about at most once a minute. It cannot be configured away.
const FLOOR: Duration = Duration::from_secs(60);

const MEANINGS: [(&str, CodeMeaning); 3] =
    [("transient", CodeMeaning::Transient), ("permanent", CodeMeaning::Permanent), ("pause", CodeMeaning::Pause)];

pub(super) fn read(section: &Section<'_>, common: &AccountCommon) -> AltaAccount {
    let floor = common.floor(FLOOR);
    let account = AltaAccount {
        login: section.identity("login"),
        sa: section.identity("sa"),
        password: section.secret("password"),
        show_every: section.duration_from("show_every", floor),
        due_window: section.duration("due_window"),
        idle_every: section.duration_from("idle_every", floor),
        stale_after: section.duration_or_never("stale_after", floor),
        codes: codes(&section.section("codes")),
        balance_every: section.duration_or_never("balance_every", floor),
        balance_low: section.number("balance_low", f64::MIN..=f64::MAX),
    };
    if let Some(after) = account.stale_after {
        // Sooner, an order that is asked about as seldom as it should be would be called stale.
        section.not_below("stale_after", after, "idle_every", account.idle_every);
    }
    account
}

fn codes(section: &Section<'_>) -> BTreeMap<i64, CodeMeaning> {
    let mut codes = BTreeMap::new();
    for code in section.keys() {
        let meaning = section.one_of(code, &MEANINGS, CodeMeaning::Permanent);
        match code.parse() {
            Ok(code) => drop(codes.insert(code, meaning)),
            Err(_) => section.problem(code, "must be a whole number: one of the vendor's codes"),
        }
    }
    codes
}
