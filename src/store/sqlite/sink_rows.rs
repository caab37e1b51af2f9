//! Rows of sinks and deliveries, and what they mean.

use sqlx::FromRow;

use super::rows::{EventRow, reason};
use crate::domain::delivery::{Delivery, Disabled, Progress, Sink, SinkKind};
use crate::domain::{Event, JobId, Timestamp};
use crate::store::StoreError;
use crate::store::sinks::DueDelivery;

#[derive(Debug, FromRow)]
pub struct SinkRow {
    name: String,
    transport: String,
    cursor: i64,
    rest_until: Option<i64>,
    failing_since: Option<i64>,
    last_success_at: Option<i64>,
    last_error_at: Option<i64>,
    last_code: Option<String>,
    last_error: Option<String>,
    disabled_at: Option<i64>,
    disabled_code: Option<String>,
    disabled: Option<String>,
    pending: i64,
    delivered: i64,
    dead: i64,
}

impl TryFrom<SinkRow> for Sink {
    type Error = StoreError;
    fn try_from(row: SinkRow) -> Result<Sink, StoreError> {
        let at = |ms: Option<i64>| ms.map(Timestamp::from_millis);
        let what = format!("{}: {:?} is no transport", row.name, row.transport);
        let corrupt = StoreError::Corrupt { table: "sinks", column: "transport", id: 0, what };
        let disabled = at(row.disabled_at).zip(reason(row.disabled_code, row.disabled));
        Ok(Sink {
            kind: SinkKind::from_name(&row.transport).ok_or(corrupt)?,
            name: row.name,
            cursor: row.cursor,
            rest_until: at(row.rest_until),
            failing_since: at(row.failing_since),
            last_success_at: at(row.last_success_at),
            last_error: reason(row.last_code, row.last_error),
            last_error_at: at(row.last_error_at),
            disabled: disabled.map(|(at, reason)| Disabled { at, reason }),
            pending: row.pending,
            delivered: row.delivered,
            dead: row.dead,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct DeliveryRow {
    seq: i64,
    #[sqlx(rename = "type")]
    kind: String,
    lane: String,
    job_id: Option<i64>,
    state: i64,
    due_at: Option<i64>,
    attempts: i64,
    failures: i64,
    created_at: i64,
    updated_at: i64,
    status: Option<i64>,
    code: Option<String>,
    error: Option<String>,
}

fn count(column: &'static str, seq: i64, n: i64) -> Result<u32, StoreError> {
    let what = format!("{n} is no count");
    u32::try_from(n).map_err(|_| StoreError::Corrupt { table: "deliveries", column, id: seq, what })
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;
    fn try_from(row: DeliveryRow) -> Result<Delivery, StoreError> {
        let what = format!("{} is no state of a delivery", row.state);
        let corrupt = StoreError::Corrupt { table: "deliveries", column: "state", id: row.seq, what };
        Ok(Delivery {
            seq: row.seq,
            kind: row.kind,
            lane: row.lane,
            job: row.job_id.map(JobId),
            progress: Progress::from_code(row.state).ok_or(corrupt)?,
            due_at: row.due_at.map(Timestamp::from_millis),
            attempts: count("attempts", row.seq, row.attempts)?,
            failures: count("failures", row.seq, row.failures)?,
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            error: reason(row.code, row.error),
        })
    }
}

#[derive(Debug, FromRow)]
pub struct DueRow {
    seq: i64,
    lane: String,
    attempts: i64,
    #[sqlx(rename = "type")]
    kind: Option<String>,
    at: Option<i64>,
    job_id: Option<i64>,
    account: Option<String>,
    mailbox_seq: Option<i64>,
    data: Option<String>,
}

impl TryFrom<DueRow> for DueDelivery {
    type Error = StoreError;
    fn try_from(row: DueRow) -> Result<DueDelivery, StoreError> {
        let DueRow { seq, lane, attempts, kind, at, job_id, account, mailbox_seq, data } = row;
        let event = match (kind, at, data) {
            (Some(kind), Some(at), Some(data)) => {
                Some(Event::try_from(EventRow { seq, kind, at, job_id, account, mailbox_seq, data })?)
            }
            _ => None,
        };
        Ok(DueDelivery { seq, lane, attempts: count("attempts", seq, attempts)?, event })
    }
}
