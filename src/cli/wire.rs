//! What opros says on the socket, read leniently: a field that is missing hides no other.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::problem::Problem;
use super::when::lenient;
use crate::domain::{State, Timestamp};

/// A stored code and sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reason {
    pub code: Option<String>,
    pub message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    pub id: i64,
    pub state: State,
    #[serde(flatten)]
    pub rest: JobRest,
}

/// Everything that a sentence can do without.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JobRest {
    pub kind: Option<String>,
    pub account: Option<String>,
    pub params: Value,
    pub tag: Option<String>,
    pub priority: Option<i64>,
    pub dedupe_key: Option<String>,
    pub remote_id: Option<String>,
    pub attempts: Option<i64>,
    pub polls: Option<i64>,
    pub errors: Option<i64>,
    pub result: Value,
    pub error: Option<Reason>,
    pub why: Option<String>,
    pub mailbox_uid: Option<String>,
    pub uid: Option<String>,
    pub retry_of: Option<i64>,
    pub files: Vec<JobFile>,
    #[serde(deserialize_with = "lenient")]
    pub next_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub deadline: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub submitted_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub finished_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub struct JobPage {
    pub jobs: Vec<Box<RawValue>>,
    #[serde(default)]
    pub next: Value,
}

#[derive(Debug, Deserialize)]
pub struct Timeline {
    pub timeline: Vec<Box<RawValue>>,
}

/// What a vendor sent by itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Callback {
    pub id: i64,
    pub account: String,
    #[serde(deserialize_with = "lenient")]
    pub at: Option<Timestamp>,
    pub from: Option<String>,
    pub content_type: Option<String>,
    pub size: Option<u64>,
    pub vin: Option<String>,
    pub check_type: Option<String>,
    pub status: Option<String>,
    pub unreadable: Option<String>,
    pub repeats: i64,
    pub job: Option<i64>,
    pub how: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct CallbackPage {
    pub callbacks: Vec<Box<RawValue>>,
    #[serde(default)]
    pub next: Value,
}

/// What was ordered; numbers are absent where nothing is known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Costs {
    pub costs: Vec<Box<RawValue>>,
    pub balances: Vec<CostBalance>,
    pub budgets: Vec<CostBudget>,
    pub more: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CostLine {
    pub account: Option<String>,
    pub kind: Option<String>,
    pub tag: Option<String>,
    pub day: Option<String>,
    pub job: Option<i64>,
    pub orders: i64,
    pub amount: f64,
    pub unsure: i64,
    pub unsure_amount: f64,
    pub unpriced: i64,
    pub free: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CostBalance {
    pub account: String,
    pub words: String,
    pub agrees: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CostBudget {
    pub account: String,
    pub window: String,
    pub what: String,
    pub used: f64,
    pub most: f64,
}

/// A file that came with a job's result.
#[derive(Debug, Clone, Deserialize)]
pub struct JobFile {
    pub name: String,
    #[serde(default)]
    pub size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct JobFiles {
    pub files: Vec<JobFile>,
}

/// One line's fate in a bulk submit.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    pub status: u16,
    #[serde(default)]
    pub problem: Option<Problem>,
}

/// A CloudEvent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    pub subject: Option<String>,
    pub sequence: Option<Value>,
    #[serde(deserialize_with = "lenient")]
    pub time: Option<Timestamp>,
    pub data: Value,
}

impl Event {
    /// Text by CloudEvents' rules; a number is understood too.
    pub fn seq(&self) -> Option<i64> {
        match self.sequence.as_ref()? {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        }
    }

    pub fn job(&self) -> Option<i64> {
        self.kind.starts_with("job.").then_some(self.subject.as_deref()?)?.parse().ok()
    }
}

#[derive(Debug, Deserialize)]
pub struct Accounts {
    pub accounts: Vec<Box<RawValue>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    pub name: String,
    pub vendor: Option<String>,
    pub paused: Option<Pause>,
    #[serde(deserialize_with = "lenient")]
    pub frozen_until: Option<Timestamp>,
    pub breaker: Option<Breaker>,
    pub limits: Option<Limits>,
    pub in_flight: Option<i64>,
    pub queued: Option<i64>,
    pub waiting: Option<i64>,
    pub followed: Option<i64>,
    pub balance: Option<Balance>,
    pub budget_spent: Option<Reason>,
    pub last_error: Option<LastError>,
    #[serde(deserialize_with = "lenient")]
    pub last_success_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub next_call_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pause {
    pub by: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Breaker {
    pub open: bool,
    pub failures: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub probe_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub max_in_flight: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Balance {
    pub amount: Value,
    pub unit: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LastError {
    pub code: Option<String>,
    pub message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub struct Webhooks {
    pub webhooks: Vec<Box<RawValue>>,
}

/// A webhook or a command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Webhook {
    pub name: String,
    pub transport: String,
    pub to: String,
    pub state: String,
    pub cursor: i64,
    pub lag: i64,
    pub pending: i64,
    pub delivered: i64,
    pub dead: i64,
    pub last_error: Option<Reason>,
    pub disabled: Option<Reason>,
    #[serde(deserialize_with = "lenient")]
    pub failing_since: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub rest_until: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub disabled_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub struct Deliveries {
    pub deliveries: Vec<Box<RawValue>>,
    #[serde(default)]
    pub next: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Delivery {
    pub seq: i64,
    #[serde(rename = "type")]
    pub kind: String,
    pub job: Option<i64>,
    pub state: String,
    pub attempts: i64,
    pub status: Option<i64>,
    pub error: Option<Reason>,
    #[serde(deserialize_with = "lenient")]
    pub due_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct WebhookTest {
    pub delivered: bool,
    #[serde(default)]
    pub status: Option<i64>,
    #[serde(default)]
    pub error: Option<Reason>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Health {
    pub status: String,
    #[serde(default)]
    pub causes: Vec<Cause>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cause {
    pub what: String,
    pub code: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub since: Option<Timestamp>,
}
