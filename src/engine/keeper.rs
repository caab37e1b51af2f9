//! Looks after what the accounts' loops cannot see: a store that must not be written to any more stops the daemon, whoever found
//! out, and also when nothing is due.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::account::Shared;
use crate::store::StoreHealth;

/// The real clock counts: a disk does not wait for a simulated one.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Until `stop`, or until the daemon must stop.
pub async fn run(shared: Shared, stop: CancellationToken) {
    while !shared.failstop.is_raised() {
        if let StoreHealth::Blocked { reason, fatal: true, .. } = shared.store.health() {
            shared.failstop.raise(reason);
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
