//! The spending guard and the ledger: what the writer must know before an order may begin, and what is written of it.
//!
//! Architecture invariant: the guard and the intent are one transaction of the one writer, so that orders that begin at the
//! same moment cannot go over a budget together.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;
use sqlx::SqliteConnection;

use super::{sort_error, sql};
use crate::domain::spending::{Amount, Rules, Span, Spent, Sum, Sure};
use crate::domain::state::{AttemptEnd, Begin, Input};
use crate::domain::{Job, JobId, Reason, Timestamp};
use crate::store::{ApplyError, Batch, StoreError};

/// What the file says about orders that are about to begin.
#[derive(Debug, Default)]
pub struct Guard {
    spent: BTreeMap<String, Spent>,
    orders: HashMap<JobId, Order>,
    /// An operator let them go, whatever else is equal.
    released: HashSet<JobId>,
    /// What began in this transaction, by account, kind and params.
    begun: HashSet<(String, String, String)>,
}

#[derive(Debug)]
struct Order {
    params_hash: String,
    /// A job that ordered the same within the window.
    equal: Option<JobId>,
    released: bool,
}

impl Guard {
    /// Reads what the batches' orders need; nothing where no account has a budget or a window.
    pub async fn load(conn: &mut SqliteConnection, batches: &[&Batch]) -> Result<Guard, StoreError> {
        let mut guard = Guard::default();
        for batch in batches {
            let Some(rules) = &batch.spending else { continue };
            let orders: Vec<i64> = batch.changes.iter().filter(|c| is_order(&c.input)).map(|c| c.job.0).collect();
            if orders.is_empty() {
                continue;
            }
            if !rules.budget.is_none() && !guard.spent.contains_key(&rules.account) {
                let spent = spent(conn, rules, batch.at).await?;
                guard.spent.insert(rules.account.clone(), spent);
            }
            if !rules.same_order_window.is_zero() {
                guard.load_orders(conn, orders, batch.at - rules.same_order_window).await?;
            }
        }
        Ok(guard)
    }

    /// Which of these jobs an operator let go.
    pub async fn load_released(&mut self, conn: &mut SqliteConnection, jobs: Vec<i64>) -> Result<(), StoreError> {
        if !jobs.is_empty() {
            let query = sqlx::query_scalar(sql::FIND_RELEASED).bind(Value::from(jobs).to_string());
            let found: Vec<i64> = query.fetch_all(conn).await.map_err(sort_error)?;
            self.released.extend(found.into_iter().map(JobId));
        }
        Ok(())
    }

    /// An operator's word that comes before an order is held counts: it was sorted out while the hold was on its way.
    pub fn is_released(&self, job: JobId) -> bool {
        self.released.contains(&job)
    }

    pub fn release(&mut self, job: JobId) {
        self.released.insert(job);
    }

    async fn load_orders(
        &mut self,
        conn: &mut SqliteConnection,
        orders: Vec<i64>,
        after: Timestamp,
    ) -> Result<(), StoreError> {
        let rows: Vec<(i64, String, Option<i64>, bool)> = sqlx::query_as(sql::FIND_EQUAL)
            .bind(Value::from(orders).to_string())
            .bind(after.as_millis())
            .fetch_all(conn)
            .await
            .map_err(sort_error)?;
        self.orders.extend(rows.into_iter().map(|(job, params_hash, equal, released)| {
            (JobId(job), Order { params_hash, equal: equal.map(JobId), released })
        }));
        Ok(())
    }

    /// Whether the order may begin; what is free to repeat always may.
    pub fn check(&self, job: &Job, rules: &Rules, at: Timestamp) -> Result<(), ApplyError> {
        if job.traits.repeatable {
            return Ok(());
        }
        if let Some(order) = self.orders.get(&job.id).filter(|order| !order.released) {
            let just_now = self.begun.contains(&key(job, order));
            let equal = order.equal.map(|other| format!("job {other}"));
            if let Some(other) = equal.or_else(|| just_now.then(|| "a job that is being sent now".to_owned())) {
                return Err(ApplyError::Equal(equal_order(&other, job.id, rules)));
            }
        }
        let spent = self.spent.get(&rules.account).copied().unwrap_or_default();
        rules.refusal(&job.kind, &spent, at).map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// It began.
    pub fn count(&mut self, job: &Job, rules: &Rules) {
        if job.traits.repeatable {
            return;
        }
        if let Some(order) = self.orders.get(&job.id) {
            self.begun.insert(key(job, order));
        }
        self.spent.entry(rules.account.clone()).or_default().add(rules.price(&job.kind));
    }
}

fn key(job: &Job, order: &Order) -> (String, String, String) {
    (job.account.clone(), job.kind.clone(), order.params_hash.clone())
}

fn equal_order(other: &str, job: JobId, rules: &Rules) -> Reason {
    let seconds = rules.same_order_window.as_secs();
    let window = if seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") };
    Reason::new(
        "same_order",
        format!(
            "{other} ordered exactly the same less than {window} before, and same_order_window holds such orders; \
             opros release {job} sends it all the same, opros cancel {job} drops it"
        ),
    )
}

pub fn is_order(input: &Input) -> bool {
    matches!(input, Input::Begin(Begin::Submit { .. }))
}

/// What the account has ordered in the windows around that moment: the hours of a month at most.
pub async fn spent(conn: &mut SqliteConnection, rules: &Rules, at: Timestamp) -> Result<Spent, StoreError> {
    let [hour, day, month] = Span::ALL.map(|span| span.around(at, rules.budget.utc_offset).0.as_millis());
    let sums: (i64, i64, i64, i64, i64, i64) = sqlx::query_as(sql::SPENT)
        .bind(&rules.account)
        .bind(hour)
        .bind(day)
        .bind(month)
        .fetch_one(conn)
        .await
        .map_err(sort_error)?;
    let sum = |submissions, amount| Sum { submissions, amount: Amount(amount) };
    Ok(Spent { hour: sum(sums.0, sums.1), day: sum(sums.2, sums.3), month: sum(sums.4, sums.5) })
}

/// A line of the ledger as [`sql::INSERT_COSTS`] takes it. What was ordered is remembered where equal orders are held, and
/// where it is not known whether they are.
pub fn ordered_row<'a>(
    id: i64,
    job: &'a Job,
    token: &'a str,
    rules: Option<&Rules>,
    at: Timestamp,
) -> impl Serialize + 'a {
    let sure = Sure::Ordered.as_str();
    let price = rules.and_then(|rules| rules.price(&job.kind)).map(|price| price.0);
    let is_remembered = rules.is_none_or(|rules| !rules.same_order_window.is_zero());
    (id, job.id.0, token, at.as_millis(), &job.account, &job.kind, &job.tag, price, sure, is_remembered)
}

/// How sure an ended attempt is; [`sql::DECIDE_COSTS`] makes `settled` of what was in doubt before it was booked.
pub fn sure(end: AttemptEnd) -> Sure {
    match end {
        AttemptEnd::NotSent => Sure::NotSent,
        AttemptEnd::Accepted => Sure::Booked,
        AttemptEnd::Refused => Sure::Refused,
        AttemptEnd::Absent => Sure::Absent,
        AttemptEnd::Operator => Sure::Operator,
    }
}
