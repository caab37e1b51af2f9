//! Rows that cannot be read: a disk that lost some bits, a hand that wrote what no opros writes. Each is left alone by itself,
//! said once, and shown in health; its neighbours go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::SharedClock;
use crate::domain::{JobId, Timestamp};
use crate::store::{StoreError, StoreWarning};

/// So many are named; the rest is counted.
const NAMED: usize = 5;

/// Shared by all who read jobs. A restart looks at them again.
#[derive(Debug, Clone)]
pub struct Quarantine {
    jobs: Arc<Mutex<BTreeMap<i64, Timestamp>>>,
    clock: SharedClock,
}

impl Quarantine {
    pub fn new(clock: SharedClock) -> Self {
        Self { jobs: Arc::default(), clock }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<i64, Timestamp>) -> T) -> T {
        work(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The job if it can be read; what is wrong with its row is said once. Other errors stay errors.
    pub fn sort<T>(&self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(StoreError::Corrupt { table: "jobs", column, id, what }) => {
                let now = self.clock.now();
                if self.with(|jobs| jobs.insert(id, now).is_none()) {
                    tracing::error!(
                        job = id,
                        column,
                        what,
                        "a job's row cannot be read and is left alone: nothing is sent for it, nothing is lost by it"
                    );
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub fn holds(&self, id: i64) -> bool {
        self.with(|jobs| jobs.contains_key(&id))
    }

    pub fn jobs(&self) -> Vec<JobId> {
        self.with(|jobs| jobs.keys().copied().map(JobId).collect())
    }

    pub fn warning(&self) -> Option<StoreWarning> {
        self.with(|jobs| {
            let since = jobs.values().min().copied()?;
            let named: Vec<String> = jobs.keys().take(NAMED).map(ToString::to_string).collect();
            let (named, count) = (named.join(", "), jobs.len());
            let more = if count > NAMED { ", …" } else { "" };
            let what = format!(
                "{count} rows of the store cannot be read (jobs {named}{more}): nothing is sent for them, and the others go on. The disk \
                 may be failing: make a backup now, and look at the columns that the log names"
            );
            Some(StoreWarning { code: "rows_unreadable", what, since })
        })
    }
}
