//! `vendor = "rlab"`.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::hidden;
use crate::config::base_url::{BaseUrl, or_empty};
use crate::config::duration;

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
