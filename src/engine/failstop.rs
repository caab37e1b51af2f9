//! The end that is better than going on: a store that cannot be trusted stops the daemon with a named reason.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Shared by everything that may find that the daemon must not go on.
#[derive(Debug, Clone, Default)]
pub struct FailStop {
    reason: Arc<OnceLock<String>>,
    raised: CancellationToken,
}

impl FailStop {
    /// Stops the daemon; the first reason stays.
    pub fn raise(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(reason, "opros stops, so that nothing is paid twice or lost");
        let _ = self.reason.set(reason);
        self.raised.cancel();
    }

    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    pub fn is_raised(&self) -> bool {
        self.raised.is_cancelled()
    }

    pub async fn raised(&self) {
        self.raised.cancelled().await;
    }
}
