//! Does everything still move? Asked by whoever tells the service manager so.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::account::Runner;
use crate::store::StoreError;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Returns once the store's writer has answered and every loop has looked for work after this was called; an idle one is
    /// woken for it. Where something hangs, this does not return.
    pub async fn heartbeat(&self) -> Result<(), StoreError> {
        self.store().heartbeat().await?;
        let deadlines = &self.inner.shared.deadlines;
        let asked: BTreeMap<String, u64> =
            self.runners().iter().map(|runner| (runner.name().to_owned(), runner.wake.ask())).collect();
        let deadline = deadlines.ask();
        let looked =
            |runner: &Arc<Runner>| asked.get(runner.name()).is_none_or(|ticket| runner.wake.has_looked(*ticket));
        loop {
            let mut rested = pin!(self.rested());
            rested.as_mut().enable();
            // Accounts that a reload took away meanwhile look for nothing any more, and tell nobody: hence the short wait.
            let all = deadlines.has_looked(deadline) && self.runners().iter().all(looked);
            if all || self.is_stopping() {
                return Ok(());
            }
            tokio::select! {
                () = rested => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.inner.stop.cancelled() => {}
            }
        }
    }
}
