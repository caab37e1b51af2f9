//! What is logged, by the word of an operator on the socket.

use std::time::Duration;

use crate::admin::{LogSwitch, LogView};
use crate::domain::Timestamp;
use crate::telemetry::{AUDIT, LogControl};

impl LogSwitch for LogControl {
    fn look(&self) -> LogView {
        let (configured, changed) = LogControl::look(self);
        let is_changed = changed.is_some();
        let filter = changed.unwrap_or_else(|| configured.clone());
        LogView { filter, configured, changed: is_changed, format: self.format() }
    }

    fn set(&self, filter: &str, lasts: Option<Duration>) -> Result<(), String> {
        let change = LogControl::set(self, filter).map_err(|error| error.to_string())?;
        if let Some(lasts) = lasts {
            let control = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(lasts).await;
                if control.reset_change(change) {
                    tracing::info!(target: AUDIT, "the time of the changed log is over: the configured one holds again");
                }
            });
        }
        Ok(())
    }

    fn reset(&self) {
        LogControl::reset(self);
    }

    fn lines(&self) -> [(&'static str, u64); 5] {
        LogControl::lines(self).all()
    }

    fn lost(&self) -> [(&'static str, u64); 2] {
        let [log, audit] = self.queue().lost();
        [("log", log), ("audit", audit)]
    }

    fn stuck_since(&self) -> Option<Timestamp> {
        self.queue().stuck().map(|stuck| stuck.since)
    }
}
