//! Reads of the cost ledger and of the balances beside it.

use serde_json::{Value, json};
use sqlx::sqlite::SqlitePool;

use super::{sort_error, sql};
use crate::domain::reconcile::{Ordered, Reading};
use crate::domain::spending::{Amount, Sure};
use crate::domain::{JobId, Timestamp};
use crate::store::StoreError;
use crate::store::costs::{CostLine, CostQuery, CostSum};

const HOUR_MS: i64 = 3_600_000;
/// Hourly readings of a year.
const MOST_READINGS: i64 = 9_000;

type SumRow = (Option<String>, Option<String>, Option<String>, Option<i64>, Option<i64>, String, i64, i64, i64, i64);

pub async fn sums(pool: &SqlitePool, query: CostQuery) -> Result<Vec<CostSum>, StoreError> {
    let CostQuery { from, to, account, kind, tag, by, utc_offset, limit } = query;
    let rows: Vec<SumRow> = sqlx::query_as(sql::COSTS)
        .bind(by.account)
        .bind(by.kind)
        .bind(by.tag)
        .bind(by.day)
        .bind(i64::from(utc_offset) * HOUR_MS)
        .bind(by.job)
        .bind(from.as_millis())
        .bind(to.as_millis())
        .bind(account)
        .bind(kind)
        .bind(tag)
        .bind(limit as i64)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    rows.into_iter().map(sum).collect()
}

fn sum((account, kind, tag, day, job, sure, orders, amount, unpriced, first): SumRow) -> Result<CostSum, StoreError> {
    Ok(CostSum {
        account,
        kind,
        tag,
        day: day.map(Timestamp::from_millis),
        job: job.map(JobId),
        sure: certainty(0, sure)?,
        orders,
        amount: Amount(amount),
        unpriced,
        first_at: Timestamp::from_millis(first),
    })
}

fn certainty(id: i64, sure: String) -> Result<Sure, StoreError> {
    let known = Sure::ALL.into_iter().find(|known| known.as_str() == sure);
    known.ok_or(StoreError::Corrupt { table: "costs", column: "sure", id, what: sure })
}

type LineRow = (i64, i64, i64, String, String, Option<String>, Option<i64>, String, Option<i64>);

/// Lines after that number, oldest first.
pub async fn lines(pool: &SqlitePool, after: i64, limit: usize) -> Result<Vec<CostLine>, StoreError> {
    let query = sqlx::query_as(sql::EXPORT_COSTS).bind(after).bind(limit as i64);
    let rows: Vec<LineRow> = query.fetch_all(pool).await.map_err(sort_error)?;
    let line = |(id, at, job, account, kind, tag, price, sure, decided): LineRow| {
        let (at, decided_at) = (Timestamp::from_millis(at), decided.map(Timestamp::from_millis));
        let (job, price, sure) = (JobId(job), price.map(Amount), certainty(id, sure)?);
        Ok(CostLine { id, at, job, account, kind, tag, price, sure, decided_at })
    };
    rows.into_iter().map(line).collect()
}

pub async fn balances(
    pool: &SqlitePool,
    account: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<(Vec<Reading>, Vec<Ordered>), StoreError> {
    let rows: Vec<(i64, f64, String)> = sqlx::query_as(sql::BALANCES)
        .bind(account)
        .bind(from.as_millis())
        .bind(to.as_millis())
        .bind(MOST_READINGS)
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    let spans: Vec<Value> = rows.windows(2).map(|pair| json!([pair[0].0, pair[1].0])).collect();
    let ordered: Vec<(i64, i64, i64, i64)> = sqlx::query_as(sql::ORDERED_BETWEEN)
        .bind(account)
        .bind(Value::from(spans).to_string())
        .fetch_all(pool)
        .await
        .map_err(sort_error)?;
    let reading = |(at, amount, unit)| Reading { at: Timestamp::from_millis(at), amount, unit };
    let between = |(orders, amount, unpriced, unsure)| Ordered { orders, amount: Amount(amount), unpriced, unsure };
    Ok((rows.into_iter().map(reading).collect(), ordered.into_iter().map(between).collect()))
}
