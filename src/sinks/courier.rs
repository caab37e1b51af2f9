//! One sink's loop: reads events past its cursor, puts on their way what it wants, hands over what is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Post, Way, body};
use crate::crash;
use crate::domain::delivery::{Attempt, Sink, lane};
use crate::domain::{Event, Timestamp};
use crate::health::Severity;
use crate::store::sinks::{DueDelivery, Settlement, TakenIn, Wanted};
use crate::store::{Commit, EventPage, StoreError};

/// Events that are looked at together.
const PAGE: usize = 200;
/// With so many on their way no more are taken in: they wait in the event table, where they cost nothing.
const MOST_PENDING: i64 = 10_000;
/// A cursor that moves only past what the sink does not want is written after so many.
const UNWRITTEN: i64 = 500;
/// A store that does not answer is asked again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What is being handed over when the daemon stops has this long; what is cut is sent again, with the same id.
const FAREWELL: Duration = Duration::from_secs(3);
/// A sink that has failed for this long is shown in health.
const SHOWN_AFTER: Duration = Duration::from_secs(300);

pub struct Courier {
    post: Arc<Post>,
    way: watch::Receiver<Option<Arc<Way>>>,
    commits: watch::Receiver<Commit>,
    /// Up to where events were looked at; ahead of the stored cursor by what was not wanted.
    position: Option<i64>,
    /// The number beyond which a new event is a reason to look; none while none would be taken in.
    listens_after: Option<i64>,
    under_way: BTreeSet<String>,
    tasks: JoinSet<String>,
    /// Said once for each trouble: of the store, and of the receiver.
    troubled: bool,
    failing: bool,
}

impl Courier {
    pub fn new(post: Arc<Post>) -> Self {
        let (way, commits) = (post.way.subscribe(), post.shared.store.commits());
        let (under_way, tasks) = (BTreeSet::new(), JoinSet::new());
        let (position, listens_after) = (None, None);
        Self { post, way, commits, position, listens_after, under_way, tasks, troubled: false, failing: false }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let next = match self.look().await {
                Ok(next) => {
                    self.troubled = false;
                    next
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    if !std::mem::replace(&mut self.troubled, true) {
                        tracing::error!(sink = self.post.name, error = %error, "nothing is delivered while the store does not answer");
                    }
                    Some(self.now() + LOOK_AGAIN)
                }
            };
            self.rest(next, &stop).await;
        }
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::info!(
                sink = self.post.name,
                "deliveries are cut off; they are made again at the next start, with the same ids"
            );
        }
    }

    fn now(&self) -> Timestamp {
        self.post.shared.clock.now()
    }

    /// Until something may have changed.
    async fn rest(&mut self, next: Option<Timestamp>, stop: &CancellationToken) {
        let timer = async {
            match next {
                Some(at) => self.post.shared.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let after = self.listens_after;
        // Most commits bring no event: they are no reason to ask the store.
        let event = async {
            match after {
                Some(after) => self.commits.wait_for(|commit| commit.last_seq > after).await.map(drop),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.post.nudge.notified() => self.position = None,
            // What was looked at and not wanted is not looked at again by another filter: the position stays.
            _ = self.way.changed() => {}
            came = event => {
                if came.is_err() {
                    // The store is gone; the daemon is about to stop.
                    stop.cancelled().await;
                }
            }
            Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                Ok(lane) => {
                    self.under_way.remove(&lane);
                }
                Err(error) => {
                    // Its lane is not known: all of them are looked at anew once the others have ended.
                    tracing::error!(sink = self.post.name, error = %error, "a delivery's task broke");
                    while self.tasks.join_next().await.is_some() {}
                    self.under_way.clear();
                }
            },
            () = timer => {}
        }
    }

    /// Does what can be done now; says when to look again if nothing happens before.
    async fn look(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.listens_after = None;
        let store = Arc::clone(&self.post.shared.store);
        let Some(way) = self.way.borrow_and_update().clone() else {
            // What is under way ends and is recorded; the rest waits in the store until the sink is configured again.
            self.show_nothing();
            return Ok(None);
        };
        let Some(sink) = store.sink(&self.post.name).await? else { return Ok(None) };
        self.show(&sink);
        self.say(&sink);
        if sink.disabled.is_some() {
            return Ok(None);
        }
        let more = self.take_in(&way, &sink).await?;
        let now = self.now();
        if let Some(until) = sink.rest_until.filter(|until| *until > now) {
            return Ok(Some(until));
        }
        let room = way.max_in_flight.saturating_sub(self.under_way.len());
        if room == 0 {
            return Ok(None);
        }
        let lanes: Vec<String> = self.under_way.iter().cloned().collect();
        for due in store.due_deliveries(&self.post.name, now, room, &lanes).await? {
            self.hand_over(&way, due);
        }
        if more {
            return Ok(Some(now));
        }
        if self.under_way.len() >= way.max_in_flight {
            return Ok(None);
        }
        let lanes: Vec<String> = self.under_way.iter().cloned().collect();
        store.next_delivery(&self.post.name, &lanes).await
    }

    /// One page of events; true when there are more.
    async fn take_in(&mut self, way: &Way, sink: &Sink) -> Result<bool, StoreError> {
        let position = self.position.unwrap_or(sink.cursor).max(sink.cursor);
        self.position = Some(position);
        if sink.pending >= MOST_PENDING {
            return Ok(false);
        }
        self.listens_after = Some(position);
        if self.commits.borrow().last_seq <= position {
            return Ok(false);
        }
        let store = &self.post.shared.store;
        let (events, to) = match store.events(position, PAGE).await? {
            EventPage::Gone { oldest } => {
                tracing::warn!(
                    sink = self.post.name,
                    after = position,
                    oldest,
                    "retention has removed events that this sink was not told of"
                );
                (Vec::new(), oldest - 1)
            }
            // A cursor lies in the same file as the events: it is never ahead of them.
            EventPage::Ahead { .. } => (Vec::new(), position),
            EventPage::Events(events) => {
                let to = events.last().map_or(position, |last| last.seq);
                (events, to)
            }
        };
        let full = events.len() == PAGE;
        let wanted: Vec<Wanted> = events.iter().filter(|event| way.wants(event)).map(wanted).collect();
        if !wanted.is_empty() || to - sink.cursor >= UNWRITTEN {
            let (sink, from, at) = (sink.name.clone(), sink.cursor, self.now());
            if !store.take_in(TakenIn { sink, from, to, wanted, at }).await? {
                // An operator moved the cursor meanwhile.
                self.position = None;
                return Ok(true);
            }
            crash::point("sink.taken_in");
        }
        self.position = Some(to);
        self.listens_after = Some(to);
        self.post.looked.store(to, Relaxed);
        Ok(full)
    }

    fn hand_over(&mut self, way: &Arc<Way>, due: DueDelivery) {
        self.under_way.insert(due.lane.clone());
        let (post, way) = (Arc::clone(&self.post), Arc::clone(way));
        let work = async move {
            let lane = due.lane.clone();
            let attempt = match &due.event {
                Some(event) => {
                    let (parcel, begun) = (body::parcel(post.shared.store.instance(), event), Instant::now());
                    let attempt = way.transport.deliver(&parcel, post.shared.clock.now()).await;
                    post.meters.attempt(&post.name, attempt.as_str(), begun.elapsed());
                    attempt
                }
                None => Attempt::Forgotten,
            };
            crash::point("sink.delivered");
            post.settle(due, attempt).await;
            crash::point("sink.settled");
            lane
        };
        self.tasks.spawn(crash::watched("sinks.delivery", work));
    }

    /// One line when it begins to fail and one when it is over, however many deliveries fail in between.
    fn say(&mut self, sink: &Sink) {
        let failing = sink.failing_since.is_some();
        if std::mem::replace(&mut self.failing, failing) == failing {
            return;
        }
        if failing {
            let why = sink.last_error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
            tracing::warn!(sink = sink.name, why, "deliveries fail; they are tried again. See: opros webhooks");
        } else if sink.last_success_at > sink.last_error_at {
            tracing::info!(sink = sink.name, "deliveries succeed again");
        }
    }

    fn show_nothing(&self) {
        let Post { name, shared, .. } = self.post.as_ref();
        for cause in ["webhook_disabled", "webhook_failing"] {
            shared.board.clear(&format!("{cause}:{name}"));
        }
    }

    /// On the board of health.
    fn show(&self, sink: &Sink) {
        let Post { name, shared, .. } = self.post.as_ref();
        let (disabled, failing) = (format!("webhook_disabled:{name}"), format!("webhook_failing:{name}"));
        match &sink.disabled {
            Some(why) => {
                let what = format!(
                    "{} {name} is disabled and told of nothing: {}; mend it, then: opros webhooks enable {name}",
                    sink.kind.as_str(),
                    why.reason.message
                );
                shared.board.post(&disabled, Severity::Degraded, what, why.at);
            }
            None => {
                shared.board.clear(&disabled);
            }
        }
        match sink.failing_since.filter(|since| self.now().since(*since) >= SHOWN_AFTER && sink.disabled.is_none()) {
            Some(since) => {
                let why = sink.last_error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
                let what = format!(
                    "{} {name} has failed since {since}: {why}; {} events wait",
                    sink.kind.as_str(),
                    sink.pending
                );
                shared.board.post(&failing, Severity::Degraded, what, since);
            }
            None => {
                shared.board.clear(&failing);
            }
        }
    }
}

impl Post {
    /// Records what became of a delivery, for as long as it takes: what was acknowledged must not be sent again.
    async fn settle(&self, due: DueDelivery, attempt: Attempt) {
        tracing::debug!(sink = self.name, seq = due.seq, attempts = due.attempts + 1, ?attempt, "handed over");
        if attempt == Attempt::Forgotten {
            tracing::warn!(sink = self.name, seq = due.seq, "retention removed an event before it was delivered");
        }
        let mut is_told = false;
        loop {
            let (store, clock) = (&self.shared.store, &self.shared.clock);
            let (sink, seq, attempt, at) = (self.name.clone(), due.seq, attempt.clone(), clock.now());
            match store.settle(Settlement { sink, seq, attempt, at }).await {
                Ok(None) | Err(StoreError::Closed) => return,
                Ok(Some(reason)) => {
                    tracing::error!(
                        sink = self.name,
                        reason = reason.message,
                        "the sink is disabled; mend it, then: opros webhooks enable {}",
                        self.name
                    );
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::error!(
                            sink = self.name,
                            seq,
                            error = %error,
                            "the store did not note what became of a delivery; it is asked again until it does"
                        );
                    }
                    clock.sleep_until(at + LOOK_AGAIN).await;
                }
            }
        }
    }
}

fn wanted(event: &Event) -> Wanted {
    let lane = lane(event.seq, event.job, event.account.as_deref());
    Wanted { seq: event.seq, kind: event.kind.as_str(), lane, job: event.job }
}
