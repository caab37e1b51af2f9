//! `vendor = "rlab"`.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::{AccountCommon, hidden};
use crate::config::base_url::{BaseUrl, or_empty};
use crate::config::duration;
use crate::config::reader::Section;

#[derive(Debug, Clone, Serialize)]
pub struct RlabAccount {
    pub user_id: u64,
    /// Used as it is given: the vendor's key is not hashed again.
    #[serde(serialize_with = "hidden")]
    pub user_key: SecretString,
    /// `None` when it is "": there is no reserve.
    #[serde(serialize_with = "or_empty")]
    pub reserve_url: Option<BaseUrl>,
    /// The primary silent this long: the reserve is used, and the primary tried again this often.
    #[serde(with = "duration")]
    pub reserve_after: Duration,
    /// No host answered this long: the account is announced as unreachable.
    #[serde(with = "duration")]
    pub alert_after: Duration,
    /// Polls whose answer lacks the track, until the job fails.
    pub unknown_after: u32,
    #[serde(with = "duration")]
    pub poll_first: Duration,
    /// The wait grows by this while nothing changes.
    pub poll_factor: f64,
    #[serde(with = "duration")]
    pub poll_ceiling: Duration,
    /// A tracker that was not observed for this long is announced; `None` when it is "0s".
    #[serde(with = "duration::or_never")]
    pub stale_after: Option<Duration>,
    /// While the parcel lies at the counter (statuses 2 and 8).
    #[serde(with = "duration")]
    pub poll_at_counter: Duration,
    /// How long a due track may wait for others to share its request.
    #[serde(with = "duration")]
    pub batch_wait: Duration,
    /// Statuses 3 and 9 end the job after this long without change.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Sent as `Content-Type`.
    pub content_type: String,
    /// `None` when it is "0s": the balance is not asked for.
    #[serde(with = "duration::or_never")]
    pub balance_every: Option<Duration>,
    /// At or below this the balance is announced as low.
    pub balance_low: f64,
}

/// A vendor is not asked more often, except on this machine.
const FLOOR: Duration = Duration::from_secs(1);

/// The vendor serves it without TLS only, so naming it is the opt-in.
const VENDORS_RESERVE: &str = "http://api-r-lab-b.1gb.ru";

pub(super) fn read(section: &Section<'_>, common: &AccountCommon) -> RlabAccount {
    let floor = common.floor(FLOOR);
    let account = RlabAccount {
        user_id: section.whole("user_id", 1..=i64::MAX),
        user_key: section.secret("user_key"),
        reserve_url: reserve_url(section, common),
        reserve_after: section.duration_from("reserve_after", floor),
        alert_after: section.duration_from("alert_after", floor),
        unknown_after: section.whole("unknown_after", 1..=i64::from(u32::MAX)),
        poll_first: section.duration_from("poll_first", floor),
        poll_factor: section.number("poll_factor", 1.0..=100.0),
        poll_ceiling: section.duration_from("poll_ceiling", floor),
        stale_after: section.duration_or_never("stale_after", floor),
        poll_at_counter: section.duration_from("poll_at_counter", floor),
        batch_wait: section.duration("batch_wait"),
        grace: section.duration("grace"),
        content_type: section.text("content_type"),
        balance_every: section.duration_or_never("balance_every", floor),
        balance_low: section.number("balance_low", f64::MIN..=f64::MAX),
    };
    section.not_below("poll_ceiling", account.poll_ceiling, "poll_first", account.poll_first);
    if let Some(after) = account.stale_after {
        // Sooner, a parcel that is asked about as seldom as it should be would be called stale.
        section.not_below("stale_after", after, "poll_ceiling", account.poll_ceiling);
    }
    let is_header = |text: &str| text.contains('/') && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if section.is_sound("content_type") && !is_header(&account.content_type) {
        section.problem("content_type", "must be a content type such as \"application/json; charset=utf-8\"");
    }
    account
}

fn reserve_url(section: &Section<'_>, common: &AccountCommon) -> Option<BaseUrl> {
    let text = section.value("reserve_url").and_then(|url| url.as_str()).unwrap_or_default();
    if text.is_empty() && section.holds_text("reserve_url") {
        return None;
    }
    let is_vendors = BaseUrl::parse(text).is_ok_and(|url| url.as_str() == VENDORS_RESERVE);
    Some(section.url("reserve_url", common.allow_http || is_vendors))
}
