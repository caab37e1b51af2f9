//! The words that parameters and fields may have, for the OpenAPI page. A test holds them to what is really read.

use utoipa::ToSchema;

/// The states of a job.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words that are read elsewhere")]
pub enum StateWord {
    Queued,
    Submitting,
    Waiting,
    InDoubt,
    Succeeded,
    Failed,
    Cancelled,
    Expired,
    Rejected,
}

/// What can be exported.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words that are read elsewhere")]
pub enum ExportWord {
    Jobs,
    Events,
    Costs,
}

/// The form of an export.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words that are read elsewhere")]
pub enum FormatWord {
    Ndjson,
    Csv,
}

/// How a job in doubt is settled.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words that are read elsewhere")]
pub enum ActionWord {
    Resubmit,
    Adopt,
    Fail,
}

/// A time: RFC 3339, or Unix milliseconds.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what is read by hand")]
pub enum TimeWord {
    #[schema(value_type = String, format = DateTime)]
    Text(String),
    Milliseconds(u64),
}
