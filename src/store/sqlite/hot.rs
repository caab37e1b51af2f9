//! What the writer remembers of the rows that it wrote.

use std::collections::HashMap;

use crate::domain::Job;

/// Some 8 MB.
const MOST: usize = 8_192;

/// Unfinished jobs as the newest commit left their rows: a call begins and ends within moments, and five thousand of them
/// in one list. Nothing but this writer changes a row, and what could not be committed empties it.
#[derive(Debug, Default)]
pub struct Hot(HashMap<i64, Job>);

impl Hot {
    /// Those that are known, and the ids of those that are to be read.
    pub fn find(&self, ids: Vec<i64>) -> (Vec<Job>, Vec<i64>) {
        let unknown = ids.iter().copied().filter(|id| !self.0.contains_key(id)).collect();
        (ids.iter().filter_map(|id| self.0.get(id).cloned()).collect(), unknown)
    }

    pub fn keep(&mut self, jobs: Vec<Job>) {
        if self.0.len() + jobs.len() > MOST {
            self.0.clear();
        }
        for job in jobs {
            if job.state.is_final() || self.0.len() >= MOST {
                self.0.remove(&job.id.0);
            } else {
                self.0.insert(job.id.0, job);
            }
        }
    }

    pub fn forget(&mut self) {
        self.0.clear();
    }
}
