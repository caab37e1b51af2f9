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
    /// Of those, what the newest look that came to its end had heard of.
    looked: u64,
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
        let mut state = self.state();
        state.looked = state.heard;
        state.rest = Some(rest);
    }

    /// Wakes the loop and returns by what [`Wake::has_looked`] knows whether it did anything about that.
    pub fn ask(&self) -> u64 {
        let ticket = {
            let mut state = self.state();
            state.asked += 1;
            state.asked
        };
        self.notify.notify_one();
        ticket
    }

    /// Whether a look that began after [`Wake::ask`] returned this has come to its end.
    pub fn has_looked(&self, ticket: u64) -> bool {
        self.state().looked >= ticket
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

#[cfg(test)]
mod tests {
    use super::{Rest, Wake};

    #[test]
    fn only_a_whole_look_that_began_after_the_question_answers_it() {
        let wake = Wake::default();
        wake.begin_look();
        let ticket = wake.ask();
        wake.rest(Rest::Woken);
        assert!(!wake.has_looked(ticket), "that look had begun before");
        wake.begin_look();
        assert!(!wake.has_looked(ticket), "a look that hangs answers nothing");
        wake.rest(Rest::Woken);
        assert!(wake.has_looked(ticket));
        assert!(!wake.has_looked(wake.ask()));
    }
}
