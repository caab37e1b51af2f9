//! What is remembered of rows that are worked with: unfinished jobs as their rows stand, what was ordered, and how often and
//! when jobs are asked about, which the file learns a moment later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::agenda::Place;
use super::rows::Changed;
use crate::domain::{Job, JobId, State, Timestamp};
use crate::store::{DueJob, Lane, OrderBody};

/// Some 8 MB of each. Tests run out of room with a few jobs.
const MOST: usize = if cfg!(test) { 16 } else { 8_192 };

/// Shared by the writer, which says how rows stand once they are committed, and by those who read what is due. A call begins
/// and ends within moments, and five thousand jobs share one list.
#[derive(Debug, Default, Clone)]
pub struct Hot(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    /// Nothing but the writer changes a row, and what could not be committed empties this.
    jobs: HashMap<i64, Arc<Job>>,
    /// Jobs whose pace is not in the file yet, as they stand: these are never forgotten.
    behind: BTreeMap<i64, Arc<Job>>,
    bodies: HashMap<i64, Arc<OrderBody>>,
    /// How many are reading the file now; while somebody does, the writer notes what it changes.
    readers: usize,
    changed: HashSet<i64>,
    /// Raised when all was forgotten: what was read before is not remembered after.
    forgotten: u64,
}

/// Somebody reads rows from the file, to remember them.
#[derive(Debug)]
pub struct Reading {
    hot: Hot,
    forgotten: u64,
}

/// Its time in that lane has come.
pub fn is_due(job: &Job, lane: Lane, now: Timestamp) -> bool {
    let waits = match lane {
        Lane::Submit => job.state == State::Queued,
        Lane::Free => matches!(job.state, State::Waiting | State::InDoubt),
    };
    waits && job.due_at.is_some_and(|at| at <= now)
}

impl Hot {
    fn with<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that are known, and the ids of those that are to be read.
    pub fn find(&self, ids: Vec<i64>) -> (Vec<Arc<Job>>, Vec<i64>) {
        self.with(|rows| {
            let unknown = ids.iter().copied().filter(|id| rows.job(*id).is_none()).collect();
            (ids.iter().filter_map(|id| rows.job(*id).map(Arc::clone)).collect(), unknown)
        })
    }

    /// Of waiting jobs: those of which everything is known and which are still due, and the ids of those that are to be read.
    pub fn due(&self, ids: Vec<i64>, now: Timestamp) -> (Vec<DueJob>, Vec<i64>) {
        self.with(|rows| {
            let (mut due, mut unknown) = (Vec::with_capacity(ids.len()), Vec::new());
            for id in ids {
                match (rows.job(id), rows.bodies.get(&id)) {
                    (Some(job), Some(body)) if is_due(job, Lane::Free, now) => {
                        due.push(DueJob { job: Arc::clone(job), body: Arc::clone(body) });
                    }
                    // It moved on since it was listed.
                    (Some(_), Some(_)) => {}
                    _ => unknown.push(id),
                }
            }
            (due, unknown)
        })
    }

    /// Before the file is read: what changes meanwhile is noted.
    pub fn read(&self) -> Reading {
        let forgotten = self.with(|rows| {
            rows.readers += 1;
            rows.forgotten
        });
        Reading { hot: self.clone(), forgotten }
    }

    /// A job as it stands, where the file is behind.
    pub fn ahead_of_file(&self, id: JobId) -> Option<Arc<Job>> {
        self.with(|rows| rows.behind.get(&id.0).map(Arc::clone))
    }

    /// What the file does not have yet, in the order of its rows.
    pub fn behind(&self) -> Vec<Arc<Job>> {
        self.with(|rows| rows.behind.values().map(Arc::clone).collect())
    }

    /// Where an account's jobs stand that the file has elsewhere.
    pub fn unwritten(&self, account: &str) -> Vec<Place> {
        self.with(|rows| {
            let of_account = rows.behind.values().filter(|job| job.account == account);
            of_account.filter_map(|job| Place::of(job)).collect()
        })
    }

    /// When the first of them is due, of those that are due later than `after`.
    pub fn next_unwritten(&self, account: &str, lane: Lane, after: Timestamp) -> Option<Timestamp> {
        let places = self.unwritten(account).into_iter().filter(|place| place.is_in(lane));
        places.map(Place::at).filter(|at| *at > after).min()
    }

    pub fn count_behind(&self) -> usize {
        self.with(|rows| rows.behind.len())
    }

    /// The file has it now, unless it moved on since.
    pub fn caught_up(&self, written: &[Arc<Job>]) {
        self.with(|rows| {
            for job in written {
                if rows.behind.get(&job.id.0).is_some_and(|behind| Arc::ptr_eq(behind, job)) {
                    rows.behind.remove(&job.id.0);
                }
                if rows.readers > 0 {
                    // Whoever reads it now may have read it as it was before.
                    rows.changed.insert(job.id.0);
                }
            }
        });
    }

    /// How rows stand while their pace is not in the file yet.
    pub fn keep_behind(&self, jobs: Vec<(Arc<Job>, Changed)>) {
        self.with(|rows| {
            let changed = jobs.iter().filter(|(_, changed)| *changed != Changed::Nothing);
            rows.behind.extend(changed.map(|(job, _)| (job.id.0, Arc::clone(job))));
        });
        self.keep_all(jobs, &[]);
    }

    /// How rows stand after a commit, and of which jobs the bodies changed.
    pub fn keep(&self, jobs: Vec<(Arc<Job>, Changed)>, changed_bodies: &[i64]) {
        self.with(|rows| {
            let written = jobs.iter().filter(|(_, changed)| *changed != Changed::Nothing);
            written.for_each(|(job, _)| drop(rows.behind.remove(&job.id.0)));
        });
        self.keep_all(jobs, changed_bodies);
    }

    fn keep_all(&self, jobs: Vec<(Arc<Job>, Changed)>, changed_bodies: &[i64]) {
        self.with(|rows| {
            if rows.readers > 0 {
                rows.changed.extend(jobs.iter().map(|(job, _)| job.id.0).chain(changed_bodies.iter().copied()));
            }
            changed_bodies.iter().for_each(|id| drop(rows.bodies.remove(id)));
            rows.make_room(jobs.len());
            for (job, _) in jobs {
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
            rows.forgotten += 1;
        });
    }

    #[cfg(test)]
    pub fn evict(&self) {
        self.with(|rows| rows.make_room(MOST + 1));
    }
}

impl Rows {
    fn job(&self, id: i64) -> Option<&Arc<Job>> {
        self.behind.get(&id).or_else(|| self.jobs.get(&id))
    }

    fn make_room(&mut self, more: usize) {
        if self.jobs.len() + more > MOST {
            self.jobs.clear();
        }
        if self.bodies.len() + more > MOST {
            self.bodies.clear();
        }
    }
}

impl Reading {
    /// Remembers what was read, and puts in its place what is known to be newer. What changed while it was read may be older
    /// or newer than that: such rows are taken out, and their ids are returned, to be read again.
    pub fn finish(self, read: &mut Vec<DueJob>) -> Vec<i64> {
        self.hot.with(|rows| {
            let mut again = Vec::new();
            read.retain(|due| {
                let is_sure = !rows.changed.contains(&due.job.id.0);
                if !is_sure {
                    again.push(due.job.id.0);
                }
                is_sure
            });
            if rows.forgotten == self.forgotten {
                rows.make_room(read.len());
                for due in read.iter().take(MOST) {
                    let id = due.job.id.0;
                    rows.bodies.insert(id, Arc::clone(&due.body));
                    if !rows.behind.contains_key(&id) {
                        rows.jobs.entry(id).or_insert_with(|| Arc::clone(&due.job));
                    }
                }
            }
            for due in read {
                if let Some(job) = rows.job(due.job.id.0) {
                    due.job = Arc::clone(job);
                }
            }
            again
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.hot.with(|rows| {
            rows.readers -= 1;
            if rows.readers == 0 {
                rows.changed = HashSet::new();
            }
        });
    }
}
