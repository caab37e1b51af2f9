//! How accounts stand: limits, moods, money, and how far behind their work is.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::seconds;
use crate::admin::state::AdminState;
use crate::domain::Timestamp;
use crate::domain::spending::Span;
use crate::engine::account::Runner;
use crate::meters::{Book, Float};
use crate::store::{Lane, Store, StoreError};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AccountLabels {
    account: String,
    vendor: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BalanceLabels {
    account: String,
    unit: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LaneLabels {
    account: String,
    lane: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WindowLabels {
    account: String,
    window: &'static str,
}

#[derive(Debug, Default)]
pub struct Accounts {
    in_flight: Family<AccountLabels, Gauge>,
    in_flight_limit: Family<AccountLabels, Gauge>,
    paused: Family<AccountLabels, Gauge>,
    frozen: Family<AccountLabels, Gauge>,
    breaker_open: Family<AccountLabels, Gauge>,
    failures: Family<AccountLabels, Gauge>,
    last_success: Family<AccountLabels, Float>,
    balance: Family<BalanceLabels, Float>,
    balance_at: Family<BalanceLabels, Float>,
    balance_low: Family<BalanceLabels, Float>,
    due_lag: Family<LaneLabels, Float>,
    spent_submissions: Family<WindowLabels, Gauge>,
    spent_amount: Family<WindowLabels, Float>,
    budget_submissions: Family<WindowLabels, Gauge>,
    budget_amount: Family<WindowLabels, Float>,
}

impl Accounts {
    pub async fn fill(&self, state: &AdminState) -> Result<(), StoreError> {
        let store = state.engine().store();
        for runner in state.engine().runners() {
            self.mood(&runner);
            self.money(&runner, store.as_ref()).await?;
            self.lag(&runner, store.as_ref()).await?;
        }
        Ok(())
    }

    fn mood(&self, runner: &Runner) {
        let (account, setup, now) = (runner.account(), runner.setup(), runner.now());
        let labels = AccountLabels { account: runner.name().to_owned(), vendor: setup.vendor };
        self.in_flight.get_or_create(&labels).set(runner.requests_in_flight() as i64);
        self.in_flight_limit.get_or_create(&labels).set(setup.limits.max_in_flight as i64);
        self.paused.get_or_create(&labels).set(account.pause.is_some().into());
        self.frozen.get_or_create(&labels).set(account.frozen_until.is_some_and(|until| until > now).into());
        self.breaker_open.get_or_create(&labels).set(account.breaker.open_since.is_some().into());
        self.failures.get_or_create(&labels).set(account.breaker.failures.into());
        if let Some(at) = account.last_success_at {
            self.last_success.get_or_create(&labels).set(seconds(at));
        }
        if let Some(balance) = account.balance {
            let labels = BalanceLabels { account: labels.account, unit: balance.unit };
            self.balance.get_or_create(&labels).set(balance.amount);
            self.balance_at.get_or_create(&labels).set(seconds(balance.at));
            if let Some(low) = runner.driver().balance_low() {
                self.balance_low.get_or_create(&labels).set(low);
            }
        }
    }

    /// By the ledger, in the calendar of the account's budget.
    async fn money(&self, runner: &Runner, store: &dyn Store) -> Result<(), StoreError> {
        let rules = &runner.setup().spending;
        let spent = store.spent(rules, runner.now()).await?;
        for span in Span::ALL {
            let labels = WindowLabels { account: runner.name().to_owned(), window: span.as_str() };
            let sum = spent.of(span);
            self.spent_submissions.get_or_create(&labels).set(sum.submissions);
            self.spent_amount.get_or_create(&labels).set(sum.amount.units());
            if let Some(most) = rules.budget.submissions(span) {
                self.budget_submissions.get_or_create(&labels).set(most.into());
            }
            if let Some(most) = rules.budget.amount(span) {
                self.budget_amount.get_or_create(&labels).set(most.units());
            }
        }
        Ok(())
    }

    /// The first entry of an index for each lane.
    async fn lag(&self, runner: &Runner, store: &dyn Store) -> Result<(), StoreError> {
        for (lane, name) in [(Lane::Submit, "submit"), (Lane::Free, "free")] {
            let due = store.next_due(runner.name(), lane, Timestamp::MIN).await?;
            // Durations begin at nothing: what is due later has no lag.
            let lag = due.map_or(0.0, |due| runner.now().since(due).as_secs_f64());
            self.due_lag.get_or_create(&LaneLabels { account: runner.name().to_owned(), lane: name }).set(lag);
        }
        Ok(())
    }

    pub fn register(&self, book: &mut Book) {
        book.add("calls_in_flight", "Requests on their way to the vendor", self.in_flight.clone());
        book.add(
            "calls_in_flight_limit",
            "How many of them there may be: limits.max_in_flight",
            self.in_flight_limit.clone(),
        );
        book.add("account_paused", "1 while the account is paused, or its new orders are", self.paused.clone());
        book.add("account_frozen", "1 while the vendor wants silence", self.frozen.clone());
        book.add(
            "account_breaker_open",
            "1 while the vendor does not answer and is only probed",
            self.breaker_open.clone(),
        );
        book.add("account_failures", "Calls in a row without a readable answer", self.failures.clone());
        let help = "When a whole readable answer came last";
        book.add("account_last_success_timestamp_seconds", help, self.last_success.clone());
        book.add("account_balance", "What the vendor said is left, in its unit", self.balance.clone());
        book.add("account_balance_timestamp_seconds", "When the vendor said so", self.balance_at.clone());
        book.add(
            "account_balance_low",
            "At or below this the balance is announced: balance_low",
            self.balance_low.clone(),
        );
        let help = "How long the job that has been due longest has waited for its turn; 0 when none is due";
        book.add("due_lag_seconds", help, self.due_lag.clone());
        let help = "Orders in the running window that cost, or may have, by the ledger";
        book.add("spent_submissions", help, self.spent_submissions.clone());
        let help = "What they cost at the configured prices, in the account's unit";
        book.add("spent_amount", help, self.spent_amount.clone());
        book.add(
            "budget_submissions",
            "How many there may be, where a budget says so",
            self.budget_submissions.clone(),
        );
        book.add("budget_amount", "What they may cost, where a budget says so", self.budget_amount.clone());
    }
}
