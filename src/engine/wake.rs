//! Waking an account's loop, and knowing whether it rests and until when.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::Timestamp;

/// What a loop does at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It looks for work, or was woken and will.
    Working,
    /// It looks again then, unless it is woken sooner.
    Until(Timestamp),
    /// It has nothing to look for until it is woken.
    Woken,
}

/// A loop's alarm. Wakings that come together are one.
#[derive(Debug, Default)]
pub struct Wake {
    notify: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often it was woken, and how many of those the newest look has heard of.
    asked: u64,
    heard: u64,
    rest: Option<Rest>,
}

impl Wake {
    pub fn notify_one(&self) {
        self.state().asked += 1;
        self.notify.notify_one();
    }

    /// A look begins: it sees whatever anybody was woken for so far.
    pub fn begin_look(&self) {
        let mut state = self.state();
        state.heard = state.asked;
        state.rest = None;
    }

    /// The look has ended with this.
    pub fn rest(&self, rest: Rest) {
        self.state().rest = Some(rest);
    }

    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    pub fn resting(&self) -> Rest {
        let state = self.state();
        state.rest.filter(|_| state.heard == state.asked).unwrap_or(Rest::Working)
    }

    /// Every change is one assignment: a panic elsewhere leaves it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
