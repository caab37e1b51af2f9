//! Facts that consumers read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JobId, Timestamp};

macro_rules! event_types {
    ($($variant:ident = $text:literal),+ $(,)?) => {
        /// The names are public: they stand in the mailbox, on the stream and in webhooks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum EventType { $(#[serde(rename = $text)] $variant),+ }

        impl EventType {
            pub const ALL: &'static [EventType] = &[$(EventType::$variant),+];
            pub const fn as_str(self) -> &'static str { match self { $(EventType::$variant => $text),+ } }
        }
    };
}

event_types! {
    JobAccepted = "job.accepted",
    JobUpdated = "job.updated",
    JobSucceeded = "job.succeeded",
    JobFailed = "job.failed",
    JobCancelled = "job.cancelled",
    JobExpired = "job.expired",
    JobRejected = "job.rejected",
    JobInDoubt = "job.in_doubt",
    JobStale = "job.stale",
    JobFresh = "job.fresh",
    JobHeld = "job.held",
    AccountPaused = "account.paused",
    AccountResumed = "account.resumed",
    AccountUnreachable = "account.unreachable",
    AccountRecovered = "account.recovered",
    AccountBalanceLow = "account.balance_low",
    WebhookDisabled = "webhook.disabled",
    AccountBudgetSpent = "account.budget_spent",
}

impl EventType {
    /// True of the one event that ends a job.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            EventType::JobSucceeded
                | EventType::JobFailed
                | EventType::JobCancelled
                | EventType::JobExpired
                | EventType::JobRejected
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event is called {0:?}")]
pub struct UnknownEventType(pub String);

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownEventType(text.to_owned()))
    }
}

/// A fact before it has its number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub kind: EventType,
    /// What is particular to this event; the job's or account's own fields are added where it is stored.
    pub data: Value,
}

impl NewEvent {
    pub fn bare(kind: EventType) -> Self {
        Self { kind, data: Value::Object(Default::default()) }
    }
}

/// A fact with its number: consecutive, never reused.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: i64,
    pub kind: EventType,
    pub at: Timestamp,
    pub job: Option<JobId>,
    pub account: Option<String>,
    /// JSON object.
    pub data: String,
    /// The consecutive number in the mailbox, for events of mailbox jobs.
    pub mailbox_seq: Option<i64>,
}
