//! Instruments: what parts of the daemon count and measure while they work. Each part owns its own; `/metrics` reads them all.
//!
//! What the store or an account knows anyway has no instrument: `admin/metrics` asks for it at each scrape, so that no second
//! number can disagree with the first.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// A registry that remembers what was written into it.
#[derive(Debug)]
pub struct Book {
    registry: Registry,
    entries: Vec<Entry>,
}

/// One metric, as Prometheus shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    pub help: &'static str,
}

impl Book {
    const PREFIX: &'static str = "opros";

    pub fn new() -> Self {
        Self { registry: Registry::with_prefix(Self::PREFIX), entries: Vec::new() }
    }

    /// `name` without prefix and without the suffix of its type.
    pub fn add(&mut self, name: &str, help: &'static str, metric: impl Metric) {
        let (kind, suffix) = match metric.metric_type() {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Gauge => ("gauge", ""),
            MetricType::Histogram => ("histogram", ""),
            MetricType::Info => ("info", "_info"),
            MetricType::Unknown => ("unknown", ""),
        };
        self.entries.push(Entry { name: format!("{}_{name}{suffix}", Self::PREFIX), kind, help });
        self.registry.register(name, help, metric);
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

/// A gauge that holds fractions.
pub type Float = Gauge<f64, AtomicU64>;

/// A histogram for each set of labels.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// From what a disk takes to what it takes when it is ill.
fn commits() -> Histogram {
    Histogram::new([0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
}

/// Vendors answer within moments or not at all; the longest time-out is ten minutes.
fn calls() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0])
}

/// From nothing to the hour that a full queue at a slow limit brings.
fn waits() -> Histogram {
    Histogram::new([0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0])
}

/// From a minute to a week: what trackers are observed at.
fn ages() -> Histogram {
    Histogram::new([60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0])
}

fn sizes() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0])
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AccountLabel {
    pub account: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CallLabels {
    pub account: String,
    /// `submit`, `poll`, `look_up`, `cancel`; `account` for what concerns no job, such as a balance.
    pub call: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabels {
    pub account: String,
    pub call: &'static str,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindLabels {
    pub account: String,
    pub kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SinkLabel {
    pub sink: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SinkOutcomeLabels {
    pub sink: String,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CallbackLabels {
    pub account: String,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

/// Of the store's writer.
#[derive(Debug, Clone)]
pub struct StoreMeters {
    pub commit_seconds: Histogram,
    pub commit_requests: Histogram,
    pub commit_failures: Counter,
}

impl Default for StoreMeters {
    fn default() -> Self {
        Self { commit_seconds: commits(), commit_requests: sizes(), commit_failures: Counter::default() }
    }
}

impl StoreMeters {
    /// A transaction ended.
    pub fn commit(&self, requests: usize, took: Duration, committed: bool) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_requests.observe(requests as f64);
        if !committed {
            self.commit_failures.inc();
        }
    }

    pub fn register(&self, book: &mut Book) {
        let help = "How long a transaction of the store took, its fsync included";
        book.add("store_commit_seconds", help, self.commit_seconds.clone());
        let help = "How many requests one transaction of the store carried";
        book.add("store_commit_requests", help, self.commit_requests.clone());
        let help = "Transactions of the store that failed";
        book.add("store_commit_failures", help, self.commit_failures.clone());
    }
}

/// Of the engine: requests to vendors, and what they brought.
#[derive(Debug, Clone)]
pub struct EngineMeters {
    pub requests: Family<OutcomeLabels, Counter>,
    pub request_seconds: Histograms<CallLabels>,
    pub limiter_wait_seconds: Histograms<AccountLabel>,
    pub turn_wait_seconds: Histograms<CallLabels>,
    pub submissions: Family<KindLabels, Counter>,
    pub observation_age_seconds: Histograms<KindLabels>,
    pub last_observation: Family<KindLabels, Float>,
    pub stale: Family<AccountLabel, Counter>,
}

impl Default for EngineMeters {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(calls),
            limiter_wait_seconds: Family::new_with_constructor(waits),
            turn_wait_seconds: Family::new_with_constructor(waits),
            submissions: Family::default(),
            observation_age_seconds: Family::new_with_constructor(ages),
            last_observation: Family::default(),
            stale: Family::default(),
        }
    }
}

impl EngineMeters {
    /// A request ended, with an answer or without.
    pub fn request(&self, account: &str, call: &'static str, outcome: &'static str, took: Duration) {
        let account = account.to_owned();
        self.request_seconds.get_or_create(&CallLabels { account: account.clone(), call }).observe(took.as_secs_f64());
        self.requests.get_or_create(&OutcomeLabels { account, call, outcome }).inc();
    }

    /// The account's `min_interval` held a request up for so long.
    pub fn limited(&self, account: &str, waited: Duration) {
        let labels = AccountLabel { account: account.to_owned() };
        self.limiter_wait_seconds.get_or_create(&labels).observe(waited.as_secs_f64());
    }

    /// The oldest job of a request had been due for so long when the request began.
    pub fn turn(&self, account: &str, call: &'static str, waited: Duration) {
        let labels = CallLabels { account: account.to_owned(), call };
        self.turn_wait_seconds.get_or_create(&labels).observe(waited.as_secs_f64());
    }

    /// The intent to submit a job was committed.
    pub fn submission(&self, account: &str, kind: &str) {
        self.submissions.get_or_create(&kind_labels(account, kind)).inc();
    }

    /// A tracker was looked at; what was known of it was so old.
    pub fn observed(&self, account: &str, kind: &str, at_seconds: f64, age: Duration) {
        let labels = kind_labels(account, kind);
        self.last_observation.get_or_create(&labels).set(at_seconds);
        self.observation_age_seconds.get_or_create(&labels).observe(age.as_secs_f64());
    }

    pub fn went_stale(&self, account: &str) {
        self.stale.get_or_create(&AccountLabel { account: account.to_owned() }).inc();
    }

    pub fn register(&self, book: &mut Book) {
        let help = "Requests to vendors, by what they brought; one request may carry many jobs";
        book.add("requests", help, self.requests.clone());
        let help = "How long requests to vendors took";
        book.add("request_seconds", help, self.request_seconds.clone());
        let help = "How long requests that were ready waited for the distance that min_interval asks for";
        book.add("limiter_wait_seconds", help, self.limiter_wait_seconds.clone());
        let help = "How long the oldest job of a request had been due when the request began";
        book.add("turn_wait_seconds", help, self.turn_wait_seconds.clone());
        let help = "Submissions whose intent was committed, each of which may cost money";
        book.add("submissions", help, self.submissions.clone());
        let help = "How old what was known of a tracker was when a look renewed it";
        book.add("observation_age_seconds", help, self.observation_age_seconds.clone());
        let help = "When a tracker of the kind was observed last, by this run";
        book.add("last_observation_timestamp_seconds", help, self.last_observation.clone());
        let help = "Trackers that were announced as not observed for longer than stale_after";
        book.add("trackers_went_stale", help, self.stale.clone());
    }
}

fn kind_labels(account: &str, kind: &str) -> KindLabels {
    KindLabels { account: account.to_owned(), kind: kind.to_owned() }
}

/// Of webhooks and commands.
#[derive(Debug, Clone)]
pub struct SinkMeters {
    pub attempts: Family<SinkOutcomeLabels, Counter>,
    pub attempt_seconds: Histograms<SinkLabel>,
}

impl Default for SinkMeters {
    fn default() -> Self {
        Self { attempts: Family::default(), attempt_seconds: Family::new_with_constructor(calls) }
    }
}

impl SinkMeters {
    pub fn attempt(&self, sink: &str, outcome: &'static str, took: Duration) {
        let sink = sink.to_owned();
        self.attempt_seconds.get_or_create(&SinkLabel { sink: sink.clone() }).observe(took.as_secs_f64());
        self.attempts.get_or_create(&SinkOutcomeLabels { sink, outcome }).inc();
    }

    pub fn register(&self, book: &mut Book) {
        let help = "Attempts to tell a webhook or a command of an event";
        book.add("sink_attempts", help, self.attempts.clone());
        let help = "How long such attempts took";
        book.add("sink_attempt_seconds", help, self.attempt_seconds.clone());
    }
}

/// Of the door that vendors call back at.
#[derive(Debug, Clone, Default)]
pub struct CallbackMeters {
    pub received: Family<CallbackLabels, Counter>,
    pub refused: Counter,
}

impl CallbackMeters {
    pub fn count(&self, account: &str, outcome: &'static str) {
        self.received.get_or_create(&CallbackLabels { account: account.to_owned(), outcome }).inc();
    }

    pub fn register(&self, book: &mut Book) {
        let help = "Call-backs that came with the right secret, by what became of them";
        book.add("callbacks", help, self.received.clone());
        let help = "Call-backs with a wrong account or secret";
        book.add("callbacks_refused", help, self.refused.clone());
    }
}

/// Of one listener.
#[derive(Debug, Clone, Default)]
pub struct ListenerMeters {
    pub connections: Gauge,
    pub connections_limit: Gauge,
    /// Silent connections that were closed for others.
    pub made_room: Counter,
}

/// Of the admin's doors.
#[derive(Debug, Clone, Default)]
pub struct AdminMeters {
    pub refused: Family<ReasonLabel, Counter>,
}

impl AdminMeters {
    pub fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn register(&self, book: &mut Book) {
        let help = "Requests that were refused: read_only, token, host, origin";
        book.add("admin_refused", help, self.refused.clone());
    }
}
