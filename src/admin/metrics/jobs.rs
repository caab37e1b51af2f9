//! Jobs by state, events, and the daemon's health in a number.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::admin::health;
use crate::admin::state::AdminState;
use crate::meters::Book;
use crate::store::StoreError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JobLabels {
    account: String,
    kind: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabel {
    cause: String,
}

#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Family<JobLabels, Gauge>,
    events: Counter,
    commits: Counter,
    health: Gauge,
    causes: Family<CauseLabel, Gauge>,
}

impl Jobs {
    pub async fn fill(&self, state: &AdminState) -> Result<(), StoreError> {
        let store = state.engine().store();
        // Kept by deltas in the transactions that move jobs.
        for count in store.counts().await? {
            let labels = JobLabels { account: count.account, kind: count.kind, state: count.state.as_str() };
            self.jobs.get_or_create(&labels).set(count.jobs);
        }
        let commit = store.commits().borrow().clone();
        self.events.inc_by(u64::try_from(commit.last_seq).unwrap_or_default());
        self.commits.inc_by(commit.number);
        let view = health::look(state).await;
        self.health.set(view.level());
        for cause in view.codes() {
            self.causes.get_or_create(&CauseLabel { cause: cause.to_owned() }).set(1);
        }
        Ok(())
    }

    pub fn register(&self, book: &mut Book) {
        book.add("jobs", "Jobs in the store, finished ones until retention removes them", self.jobs.clone());
        book.add("events", "Events so far: the number of the newest one", self.events.clone());
        book.add("store_commits", "Commits of the store since the start", self.commits.clone());
        book.add("health", "0 ready, 1 degraded, 2 blocked", self.health.clone());
        book.add("health_cause", "1 for each cause that opros health names", self.causes.clone());
    }
}
