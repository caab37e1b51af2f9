//! When the freshness of trackers is to be looked at.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Job, JobId, Timestamp};

/// A watch is set when a tracker begins to wait, looked at when it is due, and set anew from what is known then: a tracker
/// costs one look in each span of its account's objective, however often it is polled.
#[async_trait]
pub trait WatchStore: Send + Sync + Debug {
    /// Trackers whose watch is due, as their rows stand.
    async fn due_watches(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, StoreError>;

    async fn next_watch(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Sets watches anew; those with no time are taken away.
    async fn watch_again(&self, watches: Vec<(JobId, Option<Timestamp>)>) -> Result<(), StoreError>;

    /// An account's trackers are looked at no later than `after` their last good look: its objective may be a new one. Costs no
    /// write where it is not.
    async fn watch_within(&self, account: &str, after: Duration) -> Result<(), StoreError>;
}
