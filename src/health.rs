//! The board on which parts of the daemon post what is wrong, by key, until they clear it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something needs an eye; the rest works.
    Degraded,
    /// Nothing can be committed.
    Blocked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A stable word for programs, such as `mailbox_locked`; with what it is about after a colon where there can be several.
    pub key: String,
    pub severity: Severity,
    /// A sentence for people.
    pub what: String,
    pub since: Timestamp,
}

/// Shared by everything that can be in trouble; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HealthBoard {
    causes: Arc<Mutex<BTreeMap<String, Cause>>>,
}

impl HealthBoard {
    /// Posts a cause or renews its words; `since` stays what it was when it was first posted. True when it is new.
    pub fn post(&self, key: &str, severity: Severity, what: impl Into<String>, since: Timestamp) -> bool {
        let what = what.into();
        let mut causes = self.lock();
        if let Some(cause) = causes.get_mut(key) {
            cause.severity = severity;
            cause.what = what;
            return false;
        }
        causes.insert(key.to_owned(), Cause { key: key.to_owned(), severity, what, since });
        true
    }

    /// True when the cause was there.
    pub fn clear(&self, key: &str) -> bool {
        self.lock().remove(key).is_some()
    }

    /// In the order of their keys.
    pub fn causes(&self) -> Vec<Cause> {
        self.lock().values().cloned().collect()
    }

    /// Every change is one assignment: a panic elsewhere leaves the board usable.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Cause>> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{HealthBoard, Severity};
    use crate::domain::Timestamp;

    #[test]
    fn a_cause_that_is_posted_again_keeps_the_time_of_its_beginning() {
        let board = HealthBoard::default();
        let (first, later) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
        assert!(board.post("mailbox_locked", Severity::Degraded, "locked for 1 s", first));
        assert!(!board.post("mailbox_locked", Severity::Degraded, "locked for 2 s", later));
        let causes = board.causes();
        assert_eq!((causes[0].since, causes[0].what.as_str()), (first, "locked for 2 s"));
        assert!(board.clear("mailbox_locked"));
        assert!(!board.clear("mailbox_locked"));
        assert!(board.causes().is_empty());
    }
}
