//! Sinks: who is told of events without asking. Webhooks and commands share cursor, order, schedule and bookkeeping; what
//! differs is how one event is handed over.
//!
//! Architecture invariant: a sink's loop holds nothing that the store does not know. What is due, in which order, and when
//! again stands in rows; a loop that is killed anywhere goes on from them, and sends at most what was not recorded yet.

mod body;
mod command;
mod courier;
mod names;
mod signature;
mod webhook;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::body::Format;
pub use self::command::Command;
use self::courier::Courier;
pub use self::names::{Names, SystemNames};
pub use self::signature::{Signer, WrongSecret};
pub use self::webhook::Webhook;
use crate::clock::SharedClock;
use crate::crash;
use crate::domain::delivery::{Attempt, Filter, Sink, SinkKind};
use crate::domain::{Event, Timestamp};
use crate::health::HealthBoard;
use crate::http::ClientError;
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
    /// Spellings of secrets, to be masked in what a command says.
    pub secrets: Arc<Vec<String>>,
    /// How long the story of a delivery is kept.
    pub kept: Duration,
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

/// One sink, for its loop and for operators.
#[derive(Debug)]
struct Post {
    name: String,
    transport: Transport,
    filter: Filter,
    max_in_flight: usize,
    shared: Shared,
    /// An operator changed something.
    nudge: Notify,
    /// Up to where events were looked at; the stored cursor may lie behind by what was not wanted.
    looked: AtomicI64,
}

/// The sinks of this daemon; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sinks {
    posts: Arc<BTreeMap<String, Arc<Post>>>,
    store: Arc<dyn Store>,
    clock: SharedClock,
    kept: Duration,
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
    pub async fn new(shared: Shared, setups: Vec<SinkSetup>) -> Result<Sinks, SinksError> {
        let mut posts = BTreeMap::new();
        for setup in setups {
            let post = Post {
                transport: transport(&setup, &shared)?,
                name: setup.name.clone(),
                filter: setup.filter,
                max_in_flight: setup.max_in_flight.max(1),
                shared: shared.clone(),
                nudge: Notify::new(),
                looked: AtomicI64::new(0),
            };
            posts.insert(setup.name, Arc::new(post));
        }
        let known = posts.values().map(|post| (post.name.clone(), post.transport.kind())).collect();
        shared.store.register_sinks(known).await?;
        let Shared { store, clock, kept, .. } = shared;
        Ok(Sinks { posts: Arc::new(posts), store, clock, kept })
    }

    /// One loop for each sink: a slow one harms no other.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for post in self.posts.values() {
            tasks.spawn(crash::watched("sinks.courier", Courier::new(Arc::clone(post)).run(stop.clone())));
        }
        if !self.posts.is_empty() {
            tasks.spawn(crash::watched("sinks.tidy", self.clone().keep_tidy(stop.clone())));
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.posts.keys().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.posts.contains_key(name)
    }

    pub async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let mut standings = Vec::new();
        for post in self.posts.values() {
            if let Some(sink) = self.store.sink(&post.name).await? {
                standings.push(post.standing(sink));
            }
        }
        Ok(standings)
    }

    pub async fn standing(&self, name: &str) -> Result<Option<Standing>, StoreError> {
        let Some(post) = self.posts.get(name) else { return Ok(None) };
        Ok(self.store.sink(name).await?.map(|sink| post.standing(sink)))
    }

    /// Lets a disabled sink go on, and tries at once what waits for its time.
    pub async fn enable(&self, name: &str) -> Result<(), StoreError> {
        self.store.enable_sink(name, self.clock.now()).await?;
        self.nudge(name);
        Ok(())
    }

    pub async fn replay(&self, name: &str, from: i64) -> Result<(), StoreError> {
        self.store.replay(name, from).await?;
        if let Some(post) = self.posts.get(name) {
            post.looked.store(0, Relaxed);
        }
        self.nudge(name);
        Ok(())
    }

    pub async fn resend(&self, name: &str, seq: i64) -> Result<crate::store::sinks::Resent, StoreError> {
        let resent = self.store.resend(name, seq, self.clock.now()).await?;
        self.nudge(name);
        Ok(resent)
    }

    /// Hands over an event that never happened, now, whatever the sink's state; nothing of it is stored.
    pub async fn test(&self, name: &str) -> Option<Attempt> {
        let post = self.posts.get(name)?;
        let now = self.clock.now();
        let parcel = body::test_parcel(self.store.instance(), &random_hex(8), &post.name, now);
        Some(post.transport.deliver(&parcel, now).await)
    }

    fn nudge(&self, name: &str) {
        if let Some(post) = self.posts.get(name) {
            post.nudge.notify_one();
        }
    }

    /// Forgets the stories of old deliveries, in small steps.
    async fn keep_tidy(self, stop: CancellationToken) {
        const EVERY: Duration = Duration::from_secs(3600);
        loop {
            let now = self.clock.now();
            match self.store.forget_deliveries(now - self.kept).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(StoreError::Closed) => return,
                Err(error) => tracing::error!(error = %error, "old deliveries could not be forgotten"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(now + EVERY) => {}
            }
        }
    }
}

impl Post {
    fn standing(&self, mut sink: Sink) -> Standing {
        sink.cursor = sink.cursor.max(self.looked.load(Relaxed));
        let target = match &self.transport {
            Transport::Webhook(webhook) => webhook.shown().to_owned(),
            Transport::Command(command) => command.shown().to_owned(),
        };
        Standing { sink, target, filter: self.filter.clone() }
    }

    /// Whether this sink is to be told.
    fn wants(&self, event: &Event) -> bool {
        let inside = if self.filter.looks_inside() { body::Inside::of(event) } else { body::Inside::default() };
        self.filter.wants(event.kind, event.account.as_deref(), inside.kind.as_deref(), inside.tag.as_deref())
    }
}

fn transport(setup: &SinkSetup, shared: &Shared) -> Result<Transport, SinksError> {
    let told = |what: String| SinksError::Setup { name: setup.name.clone(), what };
    match &setup.transport {
        TransportSetup::Webhook { url, secrets, format, allowed } => {
            let names = Arc::clone(&shared.names);
            let signer = Signer::new(secrets).map_err(|error| told(error.to_string()))?;
            let made = Webhook::new(url, *allowed, signer, *format, setup.timeout, names);
            Ok(Transport::Webhook(made.map_err(told)??))
        }
        TransportSetup::Command { run } => {
            let made = Command::new(run.clone(), setup.timeout, Arc::clone(&shared.secrets));
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
