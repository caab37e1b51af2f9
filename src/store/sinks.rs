//! What the store keeps of sinks: how far each was told, and what is still on its way.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::delivery::{Attempt, Delivery, Progress, Sink, SinkKind};
use crate::domain::{Event, JobId, Reason, Timestamp};

/// The verbs for sinks; whatever they write is durable when they return.
#[async_trait]
pub trait SinkStore: Send + Sync + Debug {
    /// These are the sinks from now on. A new one begins with the next event; one that is missing holds up no retention any
    /// more, and goes on where it stood when it comes back.
    async fn register_sinks(&self, sinks: Vec<(String, SinkKind)>) -> Result<(), StoreError>;

    /// Puts events on their way and moves the cursor past them; nothing, and false, when it stands elsewhere.
    async fn take_in(&self, taken: TakenIn) -> Result<bool, StoreError>;

    /// Writes what an attempt brought; says why, when that disabled the sink (then `webhook.disabled` is announced).
    async fn settle(&self, settlement: Settlement) -> Result<Option<Reason>, StoreError>;

    /// Lets a disabled sink go on; what is pending goes out at once. False when there is no such sink.
    async fn enable_sink(&self, name: &str, at: Timestamp) -> Result<bool, StoreError>;

    /// The sink is told again of everything from `from` on, or skips what lies before it.
    async fn replay(&self, name: &str, from: i64) -> Result<bool, StoreError>;

    /// One event is sent (again), whatever the filter says.
    async fn resend(&self, name: &str, seq: i64, at: Timestamp) -> Result<Resent, StoreError>;

    /// Forgets some deliveries that ended before then; says how many.
    async fn forget_deliveries(&self, before: Timestamp) -> Result<u64, StoreError>;

    async fn sink(&self, name: &str) -> Result<Option<Sink>, StoreError>;

    /// What is due, in order, without lanes in which something is under way.
    async fn due_deliveries(
        &self,
        sink: &str,
        now: Timestamp,
        limit: usize,
        under_way: &[String],
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// When the next one is due, of lanes in which nothing is under way.
    async fn next_delivery(&self, sink: &str, under_way: &[String]) -> Result<Option<Timestamp>, StoreError>;

    /// Since when the oldest delivery that is pending has waited.
    async fn oldest_delivery(&self, sink: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Newest events first.
    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Vec<Delivery>, StoreError>;
}

/// A part of the events that a sink has looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenIn {
    pub sink: String,
    /// Where the cursor stood, and where it stands from now on.
    pub from: i64,
    pub to: i64,
    pub wanted: Vec<Wanted>,
    pub at: Timestamp,
}

/// An event that the sink wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub seq: i64,
    pub kind: &'static str,
    pub lane: String,
    pub job: Option<JobId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    pub sink: String,
    pub seq: i64,
    pub attempt: Attempt,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DueDelivery {
    pub seq: i64,
    pub lane: String,
    pub attempts: u32,
    /// None when retention has removed it.
    pub event: Option<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resent {
    Queued,
    NoSink,
    NoEvent,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeliveryFilter {
    pub sink: String,
    pub progress: Option<Progress>,
    /// Those of events with a smaller number than this.
    pub before: Option<i64>,
    pub limit: usize,
}
