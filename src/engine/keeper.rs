//! Looks after what the accounts' loops cannot see: a store that must not be written to any more stops the daemon, whoever found
//! out, and also when nothing is due. So does a clock that was set back: everything waits for times that it has shown already.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::account::Shared;
use crate::store::StoreHealth;

/// The real clock counts: a disk does not wait for a simulated one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// More than a clock is corrected by in good health.
const SET_BACK: Duration = Duration::from_secs(60);

/// Until `stop`, or until the daemon must stop.
pub async fn run(shared: Shared, stop: CancellationToken) {
    let mut latest = shared.clock.now();
    while !shared.failstop.is_raised() {
        let now = shared.clock.now();
        if now + SET_BACK < latest {
            shared.failstop.raise(format!(
                "the clock was set back from {latest} to {now}; the next start plans anew what was planned by the old time"
            ));
            return;
        }
        latest = latest.max(now);
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
