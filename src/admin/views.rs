//! The JSON shapes on the socket, in the order in which people read them. They are public: fields are added, never changed.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::files::FileView;
use crate::domain::{Event, Reason, Timestamp};
use crate::engine::Engine;
use crate::store::callbacks::JobFile;
use crate::store::{JobDetails, StoredCall, TimelineEntry};

pub type Json = Option<Box<RawValue>>;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    id: i64,
    /// `vendor.operation`.
    kind: String,
    account: String,
    #[schema(example = "waiting")]
    state: &'static str,
    #[schema(value_type = Object)]
    params: Json,
    tag: Option<String>,
    /// 0 first … 9.
    priority: u8,
    dedupe_key: Option<String>,
    /// What the vendor calls it.
    remote_id: Option<String>,
    /// Submissions, which the vendor may have billed.
    attempts: u32,
    polls: u32,
    /// In a row.
    errors: u32,
    #[schema(value_type = Option<Object>)]
    result: Json,
    error: Option<ReasonView>,
    /// Why it is not done and what happens next.
    why: String,
    /// When opros touches it next by itself.
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Option<Timestamp>,
    /// When the vendor took it.
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    submitted_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// The row's token, when the job came through the mailbox.
    mailbox_uid: Option<String>,
    /// The job that this one orders again.
    retry_of: Option<i64>,
    /// The client's own token, whichever door it came through.
    uid: Option<String>,
    /// Files that came with the result; shown of a single job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReasonView {
    code: String,
    message: String,
}

impl From<Reason> for ReasonView {
    fn from(reason: Reason) -> Self {
        Self { code: reason.code, message: reason.message }
    }
}

impl JobView {
    pub fn new(engine: &Engine, details: JobDetails) -> Self {
        let JobDetails { job, params, result } = details;
        let why = engine.why(&job);
        Self {
            id: job.id.0,
            kind: job.kind,
            account: job.account,
            state: job.state.as_str(),
            params: raw(params),
            tag: job.tag,
            priority: job.priority,
            dedupe_key: job.dedupe_key,
            remote_id: job.remote_id,
            attempts: job.submissions,
            polls: job.polls,
            errors: job.errors,
            result: result.and_then(raw),
            error: job.reason.map(ReasonView::from),
            why: why.sentence,
            next_at: why.next_at,
            created_at: Some(job.created_at),
            submitted_at: job.submitted_at,
            updated_at: Some(job.updated_at),
            finished_at: job.finished_at,
            uid: job.uid.or_else(|| job.mailbox_uid.clone()),
            mailbox_uid: job.mailbox_uid,
            retry_of: job.retry_of.map(|id| id.0),
            files: Vec::new(),
        }
    }

    /// With the files that came with its result, and how its document stands.
    pub fn with_files(mut self, files: Vec<JobFile>, document: Option<String>) -> Self {
        self.files = files.into_iter().map(FileView::from).collect();
        if let Some(sentence) = document {
            self.why.push(' ');
            self.why.push_str(&sentence);
        }
        self
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobPageView {
    jobs: Vec<JobView>,
    /// Pass as `cursor`; null on the last page.
    next: Option<String>,
}

/// Everything that happened to a job, in order.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineView {
    timeline: Vec<TimelineEntryView>,
}

/// What happened: an `event`, an `observation` or a `call`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineEntryView {
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    at: Option<Timestamp>,
    #[serde(flatten)]
    entry: EntryView,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
enum EntryView {
    Event {
        seq: i64,
        #[serde(rename = "type")]
        kind: &'static str,
        #[schema(value_type = Object)]
        data: Json,
    },
    Observation {
        #[schema(value_type = Object)]
        data: Json,
        /// The vendor's own words.
        raw: String,
    },
    Call {
        call: Option<String>,
        /// The vendor's name of the operation.
        op: String,
        /// How many jobs shared the request.
        jobs: i64,
        /// HTTP status; null when no answer came.
        status: Option<i64>,
        outcome: String,
        note: Option<String>,
        took_ms: u64,
    },
}

impl TimelineView {
    pub fn new(entries: Vec<TimelineEntry>) -> Self {
        let view = |entry: TimelineEntry| TimelineEntryView { at: Some(entry.at()), entry: entry.into() };
        Self { timeline: entries.into_iter().map(view).collect() }
    }
}

impl From<TimelineEntry> for EntryView {
    fn from(entry: TimelineEntry) -> Self {
        match entry {
            TimelineEntry::Event(Event { seq, kind, data, .. }) => {
                EntryView::Event { seq, kind: kind.as_str(), data: self::raw(data) }
            }
            TimelineEntry::Observation { data, raw, .. } => EntryView::Observation { data: self::raw(data), raw },
            TimelineEntry::Call(StoredCall { call, op, jobs, status, outcome, note, took, .. }) => {
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                EntryView::Call { call, op, jobs, status, outcome, note, took_ms }
            }
        }
    }
}

/// A fact as a CloudEvent 1.0.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    #[schema(example = "1.0")]
    specversion: &'static str,
    /// The same for ever: `<instance>-<seq>`.
    id: String,
    source: String,
    #[serde(rename = "type")]
    #[schema(example = "job.succeeded")]
    kind: &'static str,
    /// The job's number; `account/<name>` for events of an account; missing where an event is about neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    time: Option<Timestamp>,
    /// Consecutive.
    sequence: String,
    datacontenttype: &'static str,
    #[schema(value_type = Object)]
    data: Json,
}

impl EventView {
    pub fn new(instance: &str, event: Event) -> Self {
        let account = event.account.map(|name| format!("account/{name}"));
        Self {
            specversion: "1.0",
            id: format!("{instance}-{}", event.seq),
            source: format!("/opros/{instance}"),
            kind: event.kind.as_str(),
            subject: event.job.map(|id| id.to_string()).or(account),
            time: Some(event.at),
            sequence: event.seq.to_string(),
            datacontenttype: "application/json",
            data: raw(event.data),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EventPageView {
    pub events: Vec<EventView>,
    /// Pass as `after`.
    pub next: i64,
}

/// Stored JSON as it is; what is none (a damaged row) is shown as null.
pub fn raw(text: String) -> Json {
    RawValue::from_string(text).ok()
}

/// RFC 3339 with milliseconds, UTC.
pub fn time<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => out.serialize_str(&at.to_rfc3339()),
        None => out.serialize_none(),
    }
}
