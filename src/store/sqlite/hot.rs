//! What is remembered of rows that are worked with: unfinished jobs as their rows stand, and what was ordered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Job, State, Timestamp};
use crate::store::{DueJob, OrderBody};

/// Some 8 MB of each.
const MOST: usize = 8_192;

/// Shared by the writer, which says how rows stand once they are committed, and by those who read what is due. A call begins
/// and ends within moments, and five thousand jobs share one list.
#[derive(Debug, Default, Clone)]
pub struct Hot(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    /// Nothing but the writer changes a row, and what could not be committed empties this.
    jobs: HashMap<i64, Job>,
    bodies: HashMap<i64, Arc<OrderBody>>,
    /// Raised when a body changed: what was read before is not remembered after.
    bodies_changed: u64,
}

/// Bodies as they stood at some time.
#[derive(Debug, Clone, Copy)]
pub struct BodiesAsOf(u64);

/// It waits to be asked about, and its time has come.
pub fn is_due(job: &Job, now: Timestamp) -> bool {
    matches!(job.state, State::Waiting | State::InDoubt) && job.due_at.is_some_and(|at| at <= now)
}

impl Hot {
    fn with<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that are known, and the ids of those that are to be read.
    pub fn find(&self, ids: Vec<i64>) -> (Vec<Job>, Vec<i64>) {
        self.with(|rows| {
            let unknown = ids.iter().copied().filter(|id| !rows.jobs.contains_key(id)).collect();
            (ids.iter().filter_map(|id| rows.jobs.get(id).cloned()).collect(), unknown)
        })
    }

    /// Of waiting jobs: those of which everything is known and which are still due, and the ids of those that are to be read.
    pub fn due(&self, ids: Vec<i64>, now: Timestamp) -> (Vec<DueJob>, Vec<i64>, BodiesAsOf) {
        self.with(|rows| {
            let (mut due, mut unknown) = (Vec::with_capacity(ids.len()), Vec::new());
            for id in ids {
                match (rows.jobs.get(&id), rows.bodies.get(&id)) {
                    (Some(job), Some(body)) if is_due(job, now) => {
                        due.push(DueJob { job: job.clone(), body: Arc::clone(body) });
                    }
                    // It moved on since the file was asked.
                    (Some(_), Some(_)) => {}
                    _ => unknown.push(id),
                }
            }
            (due, unknown, BodiesAsOf(rows.bodies_changed))
        })
    }

    /// Remembers what was ordered, as it was read after `as_of`.
    pub fn keep_bodies(&self, due: &[DueJob], as_of: BodiesAsOf) {
        self.with(|rows| {
            if rows.bodies_changed != as_of.0 {
                return;
            }
            if rows.bodies.len() + due.len() > MOST {
                rows.bodies.clear();
            }
            rows.bodies.extend(due.iter().take(MOST).map(|due| (due.job.id.0, Arc::clone(&due.body))));
        });
    }

    /// How rows stand after a commit, and of which jobs the bodies changed.
    pub fn keep(&self, jobs: Vec<Job>, changed_bodies: &[i64]) {
        self.with(|rows| {
            rows.bodies_changed += u64::from(!changed_bodies.is_empty());
            changed_bodies.iter().for_each(|id| drop(rows.bodies.remove(id)));
            if rows.jobs.len() + jobs.len() > MOST {
                rows.jobs.clear();
            }
            for job in jobs {
                if job.state.is_final() {
                    rows.bodies.remove(&job.id.0);
                }
                if job.state.is_final() || rows.jobs.len() >= MOST {
                    rows.jobs.remove(&job.id.0);
                } else {
                    rows.jobs.insert(job.id.0, job);
                }
            }
        });
    }

    pub fn forget(&self) {
        self.with(|rows| {
            rows.jobs.clear();
            rows.bodies.clear();
            rows.bodies_changed += 1;
        });
    }
}
