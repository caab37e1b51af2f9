//! What was ordered and what it cost, by the ledger; beside it what the vendors say is left, and what budgets have room for.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::Problem;
use super::state::AdminState;
use super::views::time;
use crate::domain::reconcile::{Reading, reconcile};
use crate::domain::spending::{Rules, Span, Spent, Sure};
use crate::domain::{JobId, Timestamp};
use crate::engine::account::Runner;
use crate::store::StoreError;
use crate::store::costs::{CostQuery, CostSum, CostsBy};

/// Without `from`, so many days are shown.
const DAYS: u64 = 30;
/// The vendors' calendar, where nothing else is said.
const MOSCOW: i32 = 3;
/// The most sums that one answer carries.
const MOST: usize = 10_000;

/// What was ordered, summed up.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct CostsView {
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    from: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    to: Option<Timestamp>,
    costs: Vec<CostView>,
    /// There is more than one answer carries: ask for a shorter time.
    more: bool,
    /// Where the vendor says what is left: whether that agrees.
    balances: Vec<BalanceView>,
    /// What is used of the budgets that are configured.
    budgets: Vec<BudgetView>,
}

/// Orders that are alike in all that was asked to be told apart.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct CostView {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-08-21")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<i64>,
    /// When the first of them was ordered.
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    first_at: Option<Timestamp>,
    /// Orders that cost, or may have.
    orders: i64,
    /// Of those that have a configured price, in the account's unit.
    amount: f64,
    /// Orders without a configured price.
    unpriced: i64,
    /// Of `orders`: those of which nobody knows for certain that the vendor took them.
    unsure: i64,
    unsure_amount: f64,
    /// Refused, never sent, or proven absent: these cost nothing and are in no other number.
    free: i64,
    /// Orders by how sure they are.
    sure: std::collections::BTreeMap<&'static str, i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerBalanceView)]
pub struct BalanceView {
    account: String,
    unit: String,
    first: ReadingView,
    last: ReadingView,
    readings: usize,
    orders: i64,
    ordered: f64,
    paid_in: f64,
    /// What left the account beyond what was ordered; negative where less left.
    difference: f64,
    agrees: bool,
    /// The same for people.
    words: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReadingView {
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    at: Option<Timestamp>,
    amount: f64,
}

impl From<Reading> for ReadingView {
    fn from(reading: Reading) -> Self {
        Self { at: Some(reading.at), amount: reading.amount }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetView {
    account: String,
    /// `hour`, `day` or `month`.
    window: &'static str,
    /// `submissions` or `amount`.
    what: &'static str,
    used: f64,
    most: f64,
    /// When the next window begins.
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    until: Option<Timestamp>,
}

/// What was ordered, at what price, how sure; whether balances agree; what budgets have left.
#[utoipa::path(
    get, path = "/v1/costs", tag = "accounts",
    params(
        ("by" = Option<String>, Query, description = "Of account, kind, tag, day, job, with commas; account,kind if nothing is said"),
        ("from" = Option<String>, Query, description = "A day or an RFC 3339 time; 30 days ago if nothing is said"),
        ("to" = Option<String>, Query, description = "A day or an RFC 3339 time, not included; now if nothing is said"),
        ("account" = Option<String>, Query, description = "Only of this account"),
        ("kind" = Option<String>, Query, description = "Only of this kind"),
        ("tag" = Option<String>, Query, description = "Only with this tag"),
        ("utc_offset" = Option<i32>, Query, description = "Whose midnight begins a day: hours before UTC's; 3 if nothing is said"),
    ),
    responses((status = 200, description = "The sums", body = CostsView))
)]
pub async fn costs(State(state): State<AdminState>, params: Params) -> Result<Json<CostsView>, Problem> {
    let params = params.only(&["by", "from", "to", "account", "kind", "tag", "utc_offset"])?;
    let (now, offset) = (state.engine().now(), params.parse::<i32>("utc_offset")?.unwrap_or(MOSCOW));
    if !(-12..=14).contains(&offset) {
        return Err(Problem::bad_query("utc_offset", format!("utc_offset is from -12 to 14, not {offset}")));
    }
    let ago = now - std::time::Duration::from_secs(DAYS * 86_400);
    let query = CostQuery {
        from: moment(&params, "from", offset)?.unwrap_or(Span::Day.around(ago, offset).0),
        to: moment(&params, "to", offset)?.unwrap_or(now + std::time::Duration::from_millis(1)),
        account: params.text("account"),
        kind: params.text("kind"),
        tag: params.text("tag"),
        by: by(&params)?,
        utc_offset: offset,
        limit: MOST + 1,
    };
    if let Some(name) = query.account.as_deref().filter(|name| state.engine().runner(name).is_none()) {
        // Orders of an account that is configured no more are still in the ledger.
        tracing::debug!(account = name, "costs of an account that is not configured were asked for");
    }
    let mut view = CostsView { from: Some(query.from), to: Some(query.to), ..CostsView::default() };
    let wanted = |runner: &std::sync::Arc<Runner>| query.account.as_deref().is_none_or(|name| name == runner.name());
    for runner in state.engine().runners().into_iter().filter(wanted) {
        view.balances.extend(balance(&runner, query.from, query.to).await?);
        view.budgets.extend(budgets(&runner, now).await?);
    }
    let mut sums = state.engine().store().costs(query).await?;
    view.more = sums.len() > MOST;
    sums.truncate(MOST);
    view.costs = merged(sums, offset);
    Ok(Json(view))
}

/// Sums that differ in their certainty alone are one line.
fn merged(sums: Vec<CostSum>, offset: i32) -> Vec<CostView> {
    let mut lines: Vec<CostView> = Vec::new();
    for sum in sums {
        let day = sum.day.map(|at| date(at, offset));
        let job = sum.job.map(|JobId(id)| id);
        let same = |line: &CostView| {
            (&line.account, &line.kind, &line.tag, &line.day, line.job)
                == (&sum.account, &sum.kind, &sum.tag, &day, job)
        };
        if !lines.last().is_some_and(same) {
            let (account, kind, tag) = (sum.account.clone(), sum.kind.clone(), sum.tag.clone());
            lines.push(CostView { account, kind, tag, day, job, ..CostView::default() });
        }
        if let Some(line) = lines.last_mut() {
            line.add(&sum);
        }
    }
    lines
}

impl CostView {
    fn add(&mut self, sum: &CostSum) {
        *self.sure.entry(sum.sure.as_str()).or_default() += sum.orders;
        self.first_at = Some(self.first_at.map_or(sum.first_at, |at| at.min(sum.first_at)));
        if !sum.sure.counts() {
            self.free += sum.orders;
            return;
        }
        self.orders += sum.orders;
        self.amount += sum.amount.units();
        self.unpriced += sum.unpriced;
        if !matches!(sum.sure, Sure::Booked | Sure::Settled) {
            self.unsure += sum.orders;
            self.unsure_amount += sum.amount.units();
        }
    }
}

async fn balance(runner: &Runner, from: Timestamp, to: Timestamp) -> Result<Option<BalanceView>, StoreError> {
    let (readings, between) = runner.shared.store.balances(runner.name(), from, to).await?;
    let Some(both) = reconcile(&readings, &between) else { return Ok(None) };
    Ok(Some(BalanceView {
        account: runner.name().to_owned(),
        unit: both.last.unit.clone(),
        readings: both.readings,
        orders: both.ordered.orders,
        ordered: both.ordered.amount.units(),
        paid_in: both.paid_in,
        difference: both.difference,
        agrees: both.agrees(),
        words: both.sentence(),
        first: both.first.into(),
        last: both.last.into(),
    }))
}

async fn budgets(runner: &Runner, now: Timestamp) -> Result<Vec<BudgetView>, StoreError> {
    let rules = runner.setup().spending.clone();
    if rules.budget.is_none() {
        return Ok(Vec::new());
    }
    let spent = runner.shared.store.spent(&rules, now).await?;
    Ok(Span::ALL.iter().flat_map(|span| of_span(&rules, *span, &spent, now)).collect())
}

fn of_span(rules: &Rules, span: Span, spent: &Spent, now: Timestamp) -> Vec<BudgetView> {
    let until = Some(span.around(now, rules.budget.utc_offset).1);
    let sum = spent.of(span);
    let view = |what, used, most| BudgetView {
        account: rules.account.clone(),
        window: span.as_str(),
        what,
        used,
        most,
        until,
    };
    let submissions =
        rules.budget.submissions(span).map(|most| view("submissions", sum.submissions as f64, f64::from(most)));
    let amount = rules.budget.amount(span).map(|most| view("amount", sum.amount.units(), most.units()));
    submissions.into_iter().chain(amount).collect()
}

fn by(params: &Params) -> Result<CostsBy, Problem> {
    let text = params.text("by").unwrap_or_else(|| "account,kind".to_owned());
    let mut by = CostsBy::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "account" => by.account = true,
            "kind" => by.kind = true,
            "tag" => by.tag = true,
            "day" => by.day = true,
            "job" => by.job = true,
            other => {
                let other: String = other.chars().take(60).collect();
                let what = format!("by is some of account, kind, tag, day and job, with commas, not {other:?}");
                return Err(Problem::bad_query("by", what));
            }
        }
    }
    Ok(by)
}

/// `2026-08-21`, or a time.
fn moment(params: &Params, name: &str, offset: i32) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = params.text(name) else { return Ok(None) };
    let hours = std::time::Duration::from_secs(u64::from(offset.unsigned_abs()) * 3_600);
    let day = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
    let day = day.map(|day| if offset < 0 { day + hours } else { day - hours });
    day.or_else(|_| Timestamp::parse_rfc3339(&text)).map(Some).map_err(|_| {
        let text: String = text.chars().take(60).collect();
        Problem::bad_query(name, format!("{name} is a day such as 2026-08-21, or an RFC 3339 time, not {text:?}"))
    })
}

fn date(at: Timestamp, offset: i32) -> String {
    let hours = std::time::Duration::from_secs(u64::from(offset.unsigned_abs()) * 3_600);
    let here = if offset < 0 { at - hours } else { at + hours };
    here.to_rfc3339().chars().take(10).collect()
}
