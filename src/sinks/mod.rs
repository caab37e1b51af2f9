//! Sinks: who is told of events without asking. Webhooks and commands share cursor, order, schedule and bookkeeping; what
//! differs is how one event is handed over.
//!
//! Architecture invariant: a sink's loop holds nothing that the store does not know. What is due, in which order, and when
//! again stands in rows; a loop that is killed anywhere goes on from them, and sends at most what was not recorded yet.

mod body;
mod command;
mod courier;
mod signature;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::body::Format;
pub use self::command::Command;
use self::courier::Courier;
pub use self::signature::{Signer, WrongSecret};
pub use self::webhook::Webhook;
use crate::clock::SharedClock;
use crate::crash;
use crate::domain::delivery::{Attempt, Filter, Sink, SinkKind};
use crate::domain::masking::Masks;
use crate::domain::{Event, Timestamp};
pub use crate::guard::{Names, SystemNames};
use crate::health::HealthBoard;
use crate::http::ClientError;
use crate::meters::SinkMeters;
use crate::store::{Store, StoreError, random_hex};

/// A sink as the configuration has it.
#[derive(Debug)]
pub struct SinkSetup {
    pub name: String,
    pub transport: TransportSetup,
    pub filter: Filter,
    /// Deliveries at a time.
    pub max_in_flight: usize,
    /// Of one delivery.
    pub timeout: Duration,
}

#[derive(Debug)]
pub enum TransportSetup {
    Webhook { url: SecretString, secrets: Vec<SecretString>, format: Format, allowed: crate::guard::Allowed },
    Command { run: Vec<String> },
}

/// What all sinks share.
#[derive(Debug, Clone)]
pub struct Shared {
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub board: HealthBoard,
    /// How names become addresses.
    pub names: Arc<dyn Names>,
}

/// What the configuration says of sinks; a reload brings another.
#[derive(Debug)]
pub struct Plan {
    pub sinks: Vec<SinkSetup>,
    /// What is masked in what a command says.
    pub masks: Masks,
    /// How long the story of a delivery is kept.
    pub kept: Duration,
}

/// A plan that was found good: nothing of it can fail any more.
#[derive(Debug)]
pub struct Checked {
    ways: BTreeMap<String, Arc<Way>>,
    kept: Duration,
}

#[derive(Debug)]
enum Transport {
    Webhook(Webhook),
    Command(Command),
}

impl Transport {
    fn kind(&self) -> SinkKind {
        match self {
            Transport::Webhook(_) => SinkKind::Webhook,
            Transport::Command(_) => SinkKind::Command,
        }
    }

    async fn deliver(&self, parcel: &Parcel, now: Timestamp) -> Attempt {
        match self {
            Transport::Webhook(webhook) => webhook.deliver(parcel, now).await,
            Transport::Command(command) => command.deliver(parcel).await,
        }
    }
}

/// One event, ready to be handed over.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The event's stable id.
    pub id: String,
    /// `job.succeeded`, or `opros.test`.
    pub kind: String,
    pub at: Timestamp,
    /// A CloudEvent, as the stream shows it.
    pub cloud_event: String,
    /// The event's data, JSON.
    pub data: String,
}

/// How one sink is told, and of what: all that a reload may change. A delivery under way keeps the one that it began with.
#[derive(Debug)]
struct Way {
    transport: Transport,
    filter: Filter,
    max_in_flight: usize,
}

/// One sink, for its loop and for operators.
#[derive(Debug)]
struct Post {
    name: String,
    /// None while the configuration does not name it. Its loop stays, so that deliveries under way end as they began, and
    /// none of them is made twice should it come back meanwhile.
    way: watch::Sender<Option<Arc<Way>>>,
    shared: Shared,
    /// An operator changed something.
    nudge: Notify,
    /// Up to where events were looked at; the stored cursor may lie behind by what was not wanted.
    looked: AtomicI64,
    meters: SinkMeters,
}

/// The sinks of this daemon; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sinks {
    shared: Shared,
    inner: Arc<Mutex<Inner>>,
    /// How long the story of a delivery is kept.
    kept: Arc<watch::Sender<Duration>>,
    meters: SinkMeters,
}

#[derive(Debug, Default)]
struct Inner {
    /// Every sink that was ever configured in this process.
    posts: BTreeMap<String, Arc<Post>>,
    /// Where loops run, once they do.
    running: Option<(TaskTracker, CancellationToken)>,
}

/// What an operator sees of a sink.
#[derive(Debug, Clone)]
pub struct Standing {
    pub sink: Sink,
    /// Where it goes: an address without path and query, or a program.
    pub target: String,
    pub filter: Filter,
}

impl Sinks {
    /// Sets them up and makes them known to the store. Nothing is delivered before [`Sinks::start`].
    pub async fn new(shared: Shared, plan: Plan) -> Result<Sinks, SinksError> {
        let kept = Arc::new(watch::Sender::new(plan.kept));
        let sinks = Sinks { shared, inner: Arc::default(), kept, meters: SinkMeters::default() };
        let checked = sinks.check(plan)?;
        sinks.change(checked).await?;
        Ok(sinks)
    }

    /// Makes everything that a plan needs, and changes nothing.
    pub fn check(&self, plan: Plan) -> Result<Checked, SinksError> {
        let way = |setup: SinkSetup| {
            let transport = transport(&setup, &self.shared, &plan.masks)?;
            let way = Way { transport, filter: setup.filter, max_in_flight: setup.max_in_flight.max(1) };
            Ok((setup.name, Arc::new(way)))
        };
        Ok(Checked { ways: plan.sinks.into_iter().map(way).collect::<Result<_, SinksError>>()?, kept: plan.kept })
    }

    /// Goes on by this plan: cursors, what is pending, and what is disabled stay as they are.
    pub async fn change(&self, Checked { mut ways, kept }: Checked) -> Result<(), StoreError> {
        let known = ways.iter().map(|(name, way)| (name.clone(), way.transport.kind())).collect();
        self.shared.store.register_sinks(known).await?;
        self.kept.send_replace(kept);
        let mut inner = self.inner();
        for post in inner.posts.values() {
            post.way.send_replace(ways.remove(&post.name));
        }
        for (name, way) in ways {
            let (nudge, looked) = (Notify::new(), AtomicI64::new(0));
            let way = watch::Sender::new(Some(way));
            let (shared, meters) = (self.shared.clone(), self.meters.clone());
            let post = Arc::new(Post { name: name.clone(), way, shared, nudge, looked, meters });
            if let Some((tasks, stop)) = &inner.running {
                tasks.spawn(crash::watched("sinks.courier", Courier::new(Arc::clone(&post)).run(stop.clone())));
            }
            inner.posts.insert(name, post);
        }
        Ok(())
    }

    /// One loop for each sink: a slow one harms no other.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let mut inner = self.inner();
        for post in inner.posts.values() {
            tasks.spawn(crash::watched("sinks.courier", Courier::new(Arc::clone(post)).run(stop.clone())));
        }
        inner.running = Some((tasks.clone(), stop.clone()));
        tasks.spawn(crash::watched("sinks.tidy", self.clone().keep_tidy(stop.clone())));
    }

    pub fn meters(&self) -> &SinkMeters {
        &self.meters
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a sink that is configured.
    fn post(&self, name: &str) -> Option<Arc<Post>> {
        self.inner().posts.get(name).filter(|post| post.way().is_some()).cloned()
    }

    /// Those that are configured.
    pub fn names(&self) -> BTreeSet<String> {
        let inner = self.inner();
        inner.posts.values().filter(|post| post.way().is_some()).map(|post| post.name.clone()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.post(name).is_some()
    }

    pub async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let mut standings = Vec::new();
        for name in self.names() {
            standings.extend(self.standing(&name).await?);
        }
        Ok(standings)
    }

    pub async fn standing(&self, name: &str) -> Result<Option<Standing>, StoreError> {
        let Some((post, way)) = self.post(name).and_then(|post| Some((Arc::clone(&post), post.way()?))) else {
            return Ok(None);
        };
        Ok(self.shared.store.sink(name).await?.map(|sink| post.standing(&way, sink)))
    }

    /// Lets a disabled sink go on, and tries at once what waits for its time.
    pub async fn enable(&self, name: &str) -> Result<(), StoreError> {
        self.shared.store.enable_sink(name, self.shared.clock.now()).await?;
        self.nudge(name);
        Ok(())
    }

    pub async fn replay(&self, name: &str, from: i64) -> Result<(), StoreError> {
        self.shared.store.replay(name, from).await?;
        if let Some(post) = self.post(name) {
            post.looked.store(0, Relaxed);
        }
        self.nudge(name);
        Ok(())
    }

    pub async fn resend(&self, name: &str, seq: i64) -> Result<crate::store::sinks::Resent, StoreError> {
        let resent = self.shared.store.resend(name, seq, self.shared.clock.now()).await?;
        self.nudge(name);
        Ok(resent)
    }

    /// Hands over an event that never happened, now, whatever the sink's state; nothing of it is stored.
    pub async fn test(&self, name: &str) -> Option<Attempt> {
        let way = self.post(name)?.way()?;
        let now = self.shared.clock.now();
        let parcel = body::test_parcel(self.shared.store.instance(), &random_hex(8), name, now);
        Some(way.transport.deliver(&parcel, now).await)
    }

    fn nudge(&self, name: &str) {
        if let Some(post) = self.post(name) {
            post.nudge.notify_one();
        }
    }

    /// How many stories were forgotten.
    async fn forget(&self, now: Timestamp, before: Timestamp) -> Result<u64, StoreError> {
        let store = &self.shared.store;
        if store.may_remove(now).await? { store.forget_deliveries(before).await } else { Ok(0) }
    }

    /// Forgets the stories of old deliveries, in small steps.
    async fn keep_tidy(self, stop: CancellationToken) {
        const EVERY: Duration = Duration::from_secs(3600);
        loop {
            let now = self.shared.clock.now();
            let kept = *self.kept.borrow();
            match self.forget(now, now - kept).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(StoreError::Closed) => return,
                Err(error) => tracing::error!(error = %error, "old deliveries could not be forgotten"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.clock.sleep_until(now + EVERY) => {}
            }
        }
    }
}

impl Post {
    fn way(&self) -> Option<Arc<Way>> {
        self.way.borrow().clone()
    }

    fn standing(&self, way: &Way, mut sink: Sink) -> Standing {
        sink.cursor = sink.cursor.max(self.looked.load(Relaxed));
        let target = match &way.transport {
            Transport::Webhook(webhook) => webhook.shown().to_owned(),
            Transport::Command(command) => command.shown().to_owned(),
        };
        Standing { sink, target, filter: way.filter.clone() }
    }
}

impl Way {
    /// Whether this sink is to be told.
    fn wants(&self, event: &Event) -> bool {
        let inside = if self.filter.looks_inside() { body::Inside::of(event) } else { body::Inside::default() };
        self.filter.wants(event.kind, event.account.as_deref(), inside.kind.as_deref(), inside.tag.as_deref())
    }
}

fn transport(setup: &SinkSetup, shared: &Shared, masks: &Masks) -> Result<Transport, SinksError> {
    let told = |what: String| SinksError::Setup { name: setup.name.clone(), what };
    match &setup.transport {
        TransportSetup::Webhook { url, secrets, format, allowed } => {
            let names = Arc::clone(&shared.names);
            let signer = Signer::new(secrets).map_err(|error| told(error.to_string()))?;
            let made = Webhook::new(url, *allowed, signer, *format, setup.timeout, names);
            Ok(Transport::Webhook(made.map_err(told)??))
        }
        TransportSetup::Command { run } => {
            let made = Command::new(run.clone(), setup.timeout, masks.clone());
            Ok(Transport::Command(made.ok_or_else(|| told("run must name a program".to_owned()))?))
        }
    }
}

/// Why sinks cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SinksError {
    #[error("the sink {name} cannot be set up: {what}")]
    Setup { name: String, what: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the store does not work: {0}")]
    Store(#[from] StoreError),
}

/// The type of what [`Sinks::test`] sends.
pub const TEST: &str = "opros.test";
