//! Sinks: what the writer does with them, and the reads.

use std::collections::HashSet;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::draft::Draft;
use super::rows::EventRow;
use super::sink_rows::{DeliveryRow, DueRow, SinkRow};
use super::writer::{Op, Reply};
use super::{SqliteStore, sort_error, sql, unexpected};
use crate::domain::delivery::{self, Delivery, Progress, Sink, SinkKind};
use crate::domain::{Event, EventType, Reason, Timestamp};
use crate::store::StoreError;
use crate::store::sinks::{DeliveryFilter, DueDelivery, Resent, Settlement, SinkStore, TakenIn};

/// How many rows one step of forgetting removes.
const STEP: i64 = 500;
/// Paid calls wait for each step of a replay.
const REPLAY_STEP: i64 = 1_000;

#[derive(Debug, Clone)]
pub enum SinkOp {
    Register(Vec<(String, SinkKind)>),
    TakeIn(TakenIn),
    Settle(Settlement),
    Enable(String, Timestamp),
    Replay(String, i64),
    Resend(String, i64, Timestamp),
    Forget(Timestamp),
}

impl SinkOp {
    pub fn weight(&self) -> usize {
        match self {
            SinkOp::TakeIn(taken) => taken.wanted.len() + 1,
            SinkOp::Register(_) | SinkOp::Settle(_) | SinkOp::Enable(..) | SinkOp::Resend(..) => 1,
            SinkOp::Replay(..) | SinkOp::Forget(_) => 500,
        }
    }
}

#[derive(Debug)]
pub enum SinkReply {
    Done(bool),
    Settled(Option<Reason>),
    Resent(Resent),
    Forgotten(u64),
    Replayed { exists: bool, more: bool },
}

// ---- in the writer's transaction -------------------------------------------------------------------------------------

pub async fn carry_out(conn: &mut SqliteConnection, draft: &mut Draft, op: &SinkOp) -> Result<SinkReply, StoreError> {
    match op {
        SinkOp::Register(sinks) => register(conn, draft, sinks).await,
        SinkOp::TakeIn(taken) => take_in(conn, taken).await,
        SinkOp::Settle(settlement) => settle(conn, draft, settlement).await,
        SinkOp::Enable(name, at) => enable(conn, name, *at).await,
        SinkOp::Replay(name, from) => replay(conn, name, *from).await,
        SinkOp::Resend(name, seq, at) => resend(conn, name, *seq, *at).await,
        SinkOp::Forget(before) => {
            let done = sqlx::query(sql::FORGET_DELIVERIES).bind(before.as_millis()).bind(STEP);
            Ok(SinkReply::Forgotten(done.execute(conn).await.map_err(sort_error)?.rows_affected()))
        }
    }
}

async fn register(
    conn: &mut SqliteConnection,
    draft: &Draft,
    sinks: &[(String, SinkKind)],
) -> Result<SinkReply, StoreError> {
    let rows: Vec<Value> = sinks.iter().map(|(name, kind)| json!([name, kind.as_str()])).collect();
    let rows = Value::from(rows).to_string();
    sqlx::query(sql::RETIRE_SINKS).execute(&mut *conn).await.map_err(sort_error)?;
    let query = sqlx::query(sql::REGISTER_SINKS).bind(rows).bind(draft.numbers.last_seq);
    query.execute(conn).await.map_err(sort_error)?;
    Ok(SinkReply::Done(true))
}

async fn take_in(conn: &mut SqliteConnection, taken: &TakenIn) -> Result<SinkReply, StoreError> {
    let moved = sqlx::query(sql::MOVE_CURSOR).bind(&taken.sink).bind(taken.from).bind(taken.to);
    if moved.execute(&mut *conn).await.map_err(sort_error)?.rows_affected() == 0 {
        return Ok(SinkReply::Done(false));
    }
    let mut lanes = HashSet::new();
    let rows: Vec<Value> = taken
        .wanted
        .iter()
        .map(|wanted| {
            let first = lanes.insert(&wanted.lane);
            json!([wanted.seq, wanted.kind, wanted.lane, wanted.job.map(|job| job.0), i64::from(first)])
        })
        .collect();
    if !rows.is_empty() {
        let meant = rows.len() as u64;
        let rows = Value::from(rows).to_string();
        let query = sqlx::query(sql::INSERT_DELIVERIES).bind(&taken.sink).bind(rows).bind(taken.at.as_millis());
        let added = query.execute(&mut *conn).await.map_err(sort_error)?.rows_affected();
        add_pending(&mut *conn, &taken.sink, added as i64).await?;
        if added < meant {
            // An operator had some of them sent already: what was to wait for those in its lane must not wait for ever.
            for lane in lanes {
                wake(&mut *conn, &taken.sink, lane, taken.at).await?;
            }
        }
    }
    Ok(SinkReply::Done(true))
}

/// The first of a lane that is left is due.
async fn wake(conn: &mut SqliteConnection, sink: &str, lane: &str, at: Timestamp) -> Result<(), StoreError> {
    let query = sqlx::query(sql::WAKE_LANE).bind(sink).bind(lane).bind(at.as_millis());
    query.execute(conn).await.map_err(sort_error)?;
    Ok(())
}

async fn add_pending(conn: &mut SqliteConnection, sink: &str, count: i64) -> Result<(), StoreError> {
    sqlx::query(sql::ADD_PENDING).bind(sink).bind(count).execute(conn).await.map_err(sort_error)?;
    Ok(())
}

async fn settle(
    conn: &mut SqliteConnection,
    draft: &mut Draft,
    settlement: &Settlement,
) -> Result<SinkReply, StoreError> {
    let row: Option<DeliveryRow> = sqlx::query_as(sql::GET_DELIVERY)
        .bind(&settlement.sink)
        .bind(settlement.seq)
        .fetch_optional(&mut *conn)
        .await
        .map_err(sort_error)?;
    let row = row.map(Delivery::try_from).transpose()?.filter(|row| row.progress == Progress::Pending);
    // Gone or ended: the sink was told to replay meanwhile.
    let (Some(mut row), Some(mut sink)) = (row, load(conn, &settlement.sink).await?) else {
        return Ok(SinkReply::Settled(None));
    };
    let disabled = delivery::settle(&mut sink, &mut row, settlement.attempt.clone(), settlement.at);
    save_delivery(conn, &sink.name, &row).await?;
    save(conn, &sink).await?;
    if row.progress != Progress::Pending {
        wake(conn, &sink.name, &row.lane, settlement.at).await?;
    }
    if let Some(reason) = &disabled {
        let data = json!({
            "webhook": sink.name,
            "transport": sink.kind.as_str(),
            "error": reason,
            "failing_since": sink.failing_since.map(Timestamp::to_rfc3339),
        });
        draft.announce_sink(EventType::WebhookDisabled, settlement.at, data);
    }
    Ok(SinkReply::Settled(disabled))
}

async fn enable(conn: &mut SqliteConnection, name: &str, at: Timestamp) -> Result<SinkReply, StoreError> {
    let Some(mut sink) = load(conn, name).await? else { return Ok(SinkReply::Done(false)) };
    delivery::enable(&mut sink);
    save(conn, &sink).await?;
    sqlx::query(sql::BRING_FORWARD).bind(name).bind(at.as_millis()).execute(conn).await.map_err(sort_error)?;
    Ok(SinkReply::Done(true))
}

/// A step of it, from the newest on: what has no row any more lies beyond the cursor in the same transaction, and is delivered
/// even if no step follows.
async fn replay(conn: &mut SqliteConnection, name: &str, from: i64) -> Result<SinkReply, StoreError> {
    let query = sqlx::query_as(sql::FORGET_DELIVERIES_FROM).bind(name).bind(from).bind(REPLAY_STEP);
    let gone: Vec<(i64, i64)> = query.fetch_all(&mut *conn).await.map_err(sort_error)?;
    let pending = gone.iter().filter(|(_, code)| *code == Progress::Pending.code()).count() as i64;
    let more = gone.len() as i64 == REPLAY_STEP;
    let first = gone.iter().map(|(seq, _)| *seq).min().filter(|_| more).unwrap_or(from);
    let moved = sqlx::query(sql::SET_CURSOR).bind(name).bind(first - 1).bind(pending);
    let moved = moved.execute(conn).await.map_err(sort_error)?.rows_affected();
    Ok(SinkReply::Replayed { exists: moved == 1, more })
}

async fn resend(conn: &mut SqliteConnection, name: &str, seq: i64, at: Timestamp) -> Result<SinkReply, StoreError> {
    if load(conn, name).await?.is_none() {
        return Ok(SinkReply::Resent(Resent::NoSink));
    }
    let event: Option<EventRow> =
        sqlx::query_as(sql::GET_EVENT).bind(seq).fetch_optional(&mut *conn).await.map_err(sort_error)?;
    let Some(event) = event.map(Event::try_from).transpose()? else {
        return Ok(SinkReply::Resent(Resent::NoEvent));
    };
    let lane = delivery::lane(seq, event.job, event.account.as_deref());
    let forgotten = sqlx::query_scalar(sql::FORGET_DELIVERY).bind(name).bind(seq);
    let forgotten: Option<i64> = forgotten.fetch_optional(&mut *conn).await.map_err(sort_error)?;
    let row = json!([[seq, event.kind.as_str(), &lane, event.job.map(|job| job.0), 1]]).to_string();
    let query = sqlx::query(sql::INSERT_DELIVERIES).bind(name).bind(row).bind(at.as_millis());
    query.execute(&mut *conn).await.map_err(sort_error)?;
    if forgotten != Some(Progress::Pending.code()) {
        add_pending(&mut *conn, name, 1).await?;
    }
    // It may be the first of its lane, with others behind it.
    wake(conn, name, &lane, at).await?;
    Ok(SinkReply::Resent(Resent::Queued))
}

async fn load(conn: &mut SqliteConnection, name: &str) -> Result<Option<Sink>, StoreError> {
    let row: Option<SinkRow> =
        sqlx::query_as(sql::GET_SINK).bind(name).fetch_optional(conn).await.map_err(sort_error)?;
    row.map(Sink::try_from).transpose()
}

async fn save(conn: &mut SqliteConnection, sink: &Sink) -> Result<(), StoreError> {
    let ms = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
    let error = sink.last_error.as_ref();
    let disabled = sink.disabled.as_ref();
    sqlx::query(sql::SAVE_SINK)
        .bind(&sink.name)
        .bind(ms(sink.rest_until))
        .bind(ms(sink.failing_since))
        .bind(ms(sink.last_success_at))
        .bind(ms(sink.last_error_at))
        .bind(error.map(|error| &error.code))
        .bind(error.map(|error| &error.message))
        .bind(ms(disabled.map(|disabled| disabled.at)))
        .bind(disabled.map(|disabled| &disabled.reason.code))
        .bind(disabled.map(|disabled| &disabled.reason.message))
        .bind(sink.pending)
        .bind(sink.delivered)
        .bind(sink.dead)
        .execute(conn)
        .await
        .map_err(sort_error)?;
    Ok(())
}

async fn save_delivery(conn: &mut SqliteConnection, sink: &str, row: &Delivery) -> Result<(), StoreError> {
    sqlx::query(sql::SAVE_DELIVERY)
        .bind(sink)
        .bind(row.seq)
        .bind(row.progress.code())
        .bind(row.due_at.map(Timestamp::as_millis))
        .bind(row.attempts)
        .bind(row.failures)
        .bind(row.updated_at.as_millis())
        .bind(row.status.map(i64::from))
        .bind(row.error.as_ref().map(|error| &error.code))
        .bind(row.error.as_ref().map(|error| &error.message))
        .execute(conn)
        .await
        .map_err(sort_error)?;
    Ok(())
}

// ---- the verbs -------------------------------------------------------------------------------------------------------

impl SqliteStore {
    async fn ask_sinks(&self, op: SinkOp) -> Result<SinkReply, StoreError> {
        match self.ask(Op::Sinks(Box::new(op))).await? {
            Reply::Sinks(reply) => Ok(reply),
            other => Err(unexpected(other)),
        }
    }

    async fn ask_done(&self, op: SinkOp) -> Result<bool, StoreError> {
        match self.ask_sinks(op).await? {
            SinkReply::Done(done) => Ok(done),
            other => Err(unexpected(Reply::Sinks(other))),
        }
    }
}

#[async_trait]
impl SinkStore for SqliteStore {
    async fn register_sinks(&self, sinks: Vec<(String, SinkKind)>) -> Result<(), StoreError> {
        self.ask_done(SinkOp::Register(sinks)).await.map(drop)
    }

    async fn take_in(&self, taken: TakenIn) -> Result<bool, StoreError> {
        self.ask_done(SinkOp::TakeIn(taken)).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Option<Reason>, StoreError> {
        match self.ask_sinks(SinkOp::Settle(settlement)).await? {
            SinkReply::Settled(disabled) => Ok(disabled),
            other => Err(unexpected(Reply::Sinks(other))),
        }
    }

    async fn enable_sink(&self, name: &str, at: Timestamp) -> Result<bool, StoreError> {
        self.ask_done(SinkOp::Enable(name.to_owned(), at)).await
    }

    async fn replay(&self, name: &str, from: i64) -> Result<bool, StoreError> {
        loop {
            match self.ask_sinks(SinkOp::Replay(name.to_owned(), from)).await? {
                SinkReply::Replayed { exists, more: false } => return Ok(exists),
                SinkReply::Replayed { more: true, .. } => {}
                other => return Err(unexpected(Reply::Sinks(other))),
            }
        }
    }

    async fn resend(&self, name: &str, seq: i64, at: Timestamp) -> Result<Resent, StoreError> {
        match self.ask_sinks(SinkOp::Resend(name.to_owned(), seq, at)).await? {
            SinkReply::Resent(resent) => Ok(resent),
            other => Err(unexpected(Reply::Sinks(other))),
        }
    }

    async fn forget_deliveries(&self, before: Timestamp) -> Result<u64, StoreError> {
        match self.ask_sinks(SinkOp::Forget(before)).await? {
            SinkReply::Forgotten(count) => Ok(count),
            other => Err(unexpected(Reply::Sinks(other))),
        }
    }

    async fn sink(&self, name: &str) -> Result<Option<Sink>, StoreError> {
        let query = sqlx::query_as(sql::GET_SINK).bind(name);
        let row: Option<SinkRow> = query.fetch_optional(&self.readers).await.map_err(sort_error)?;
        row.map(Sink::try_from).transpose()
    }

    async fn due_deliveries(
        &self,
        sink: &str,
        now: Timestamp,
        limit: usize,
        under_way: &[String],
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let rows: Vec<DueRow> = sqlx::query_as(sql::DUE_DELIVERIES)
            .bind(sink)
            .bind(now.as_millis())
            .bind(Value::from(under_way).to_string())
            .bind(limit as i64)
            .fetch_all(&self.readers)
            .await
            .map_err(sort_error)?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn next_delivery(&self, sink: &str, under_way: &[String]) -> Result<Option<Timestamp>, StoreError> {
        let query = sqlx::query_scalar(sql::NEXT_DELIVERY).bind(sink).bind(Value::from(under_way).to_string());
        let at: Option<i64> = query.fetch_optional(&self.readers).await.map_err(sort_error)?;
        Ok(at.map(Timestamp::from_millis))
    }

    async fn oldest_delivery(&self, sink: &str) -> Result<Option<Timestamp>, StoreError> {
        let query = sqlx::query_scalar(sql::OLDEST_DELIVERY).bind(sink);
        let at: Option<i64> = query.fetch_optional(&self.readers).await.map_err(sort_error)?;
        Ok(at.map(Timestamp::from_millis))
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Vec<Delivery>, StoreError> {
        let statement = match filter.progress {
            None => sql::LIST_DELIVERIES,
            Some(Progress::Pending) => sql::LIST_PENDING,
            Some(Progress::Dead) => sql::LIST_DEAD,
            Some(Progress::Delivered) => sql::LIST_DELIVERED,
        };
        let rows: Vec<DeliveryRow> = sqlx::query_as(statement)
            .bind(filter.sink)
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.limit as i64)
            .fetch_all(&self.readers)
            .await
            .map_err(sort_error)?;
        rows.into_iter().map(Delivery::try_from).collect()
    }
}
