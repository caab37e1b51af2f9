//! Finding the one job for whose sake a vendor refuses a whole batch, at the price of few requests.
//!
//! The refused jobs go back to the queue, and only this memory knows who is suspected: a restart forgets it, which costs
//! nothing, since a refused batch did nothing. One request of a set of suspects is out at a time:
//!
//! * Half of the suspects are sent. Taken, they are suspected no longer. Refused, the other half are believed innocent.
//! * The innocent ride with the next half, so that they need no request of their own. That they do is only a belief: should
//!   all suspects be taken in the end, there were several bad jobs, and the rest is searched strictly, without riders.
//! * The last two go alone, and so does the last one: alone, the driver fails the bad one with the vendor's words.
//!
//! A single bad job among 100 costs at most 8 requests more than none, whatever its place; in 4 places of 100 a ninth where
//! the account has nothing else to send in which the innocent could travel.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{Call, JobId};

/// More sets than this at a time are not remembered: the oldest is forgotten, and its jobs are ordinary again.
const MOST_SETS: usize = 64;

/// Which set of suspects a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId(u64);

#[derive(Debug)]
struct Suspects {
    id: SetId,
    call: Call,
    suspected: HashSet<JobId>,
    /// Refused together with suspects, and believed to be innocent.
    riders: HashSet<JobId>,
    /// The belief was wrong once: now nobody rides.
    strict: bool,
    in_flight: bool,
}

/// What became of one job of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The vendor refused the request as a whole.
    Split,
    /// It is as it was before: not sent, not taken, or held for the account's sake.
    Untouched,
    Failed,
    /// Taken, answered, or in doubt: it was not what the request was refused for.
    Other,
}

/// The suspects of one account.
#[derive(Debug, Default)]
pub struct Bisect {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    sets: Vec<Suspects>,
    next: u64,
}

impl Bisect {
    /// Whether a due job belongs to a set, and so must not travel with others.
    pub fn set_of(&self, call: Call, job: JobId) -> Option<SetId> {
        let memory = self.lock();
        memory.sets.iter().find(|set| set.call == call && set.has(job)).map(|set| set.id)
    }

    /// Of the due jobs of a set those that go in its next request; none while one is out.
    pub fn next_of(&self, id: SetId, due: &[JobId]) -> HashSet<JobId> {
        let memory = self.lock();
        let Some(set) = memory.sets.iter().find(|set| set.id == id && !set.in_flight) else { return HashSet::new() };
        let (suspects, riders): (Vec<JobId>, Vec<JobId>) = due.iter().partition(|job| set.suspected.contains(job));
        let half = (suspects.len() / 2).max(1);
        let mut next: HashSet<JobId> = suspects.iter().take(half).copied().collect();
        let alone = set.strict || matches!(suspects.len(), 1 | 2);
        if !alone {
            next.extend(riders);
        }
        next
    }

    /// How many jobs may be due and yet held back.
    pub fn held(&self) -> usize {
        self.lock().sets.iter().map(|set| set.suspected.len() + set.riders.len()).sum()
    }

    pub fn begin(&self, id: SetId) {
        self.lock().sets.iter_mut().filter(|set| set.id == id).for_each(|set| set.in_flight = true);
    }

    /// The request is over, whatever came of it.
    pub fn end(&self, id: SetId) {
        self.lock().sets.iter_mut().filter(|set| set.id == id).for_each(|set| set.in_flight = false);
    }

    /// Learns from a request of a set, or from an ordinary one that was refused as a whole.
    pub fn learn(&self, from: Option<SetId>, call: Call, fates: &[(JobId, Fate)]) {
        let mut memory = self.lock();
        let split = fates.iter().any(|(_, fate)| *fate == Fate::Split);
        let Some(id) = from else {
            if split {
                memory.suspect(call, fates.iter().map(|(job, _)| *job).collect());
            }
            return;
        };
        let Some(at) = memory.sets.iter().position(|set| set.id == id) else { return };
        let set = &mut memory.sets[at];
        if split {
            set.refused(fates.iter().map(|(job, _)| *job).collect());
        } else {
            set.told(fates);
        }
        if set.is_done() {
            memory.sets.remove(at);
        }
    }

    /// Every change leaves a usable memory: a panic elsewhere costs at most a few requests.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn suspect(&mut self, call: Call, suspected: HashSet<JobId>) {
        if self.sets.len() >= MOST_SETS {
            self.sets.remove(0);
        }
        self.next += 1;
        let (id, riders) = (SetId(self.next), HashSet::new());
        self.sets.push(Suspects { id, call, suspected, riders, strict: false, in_flight: false });
    }
}

impl Suspects {
    fn has(&self, job: JobId) -> bool {
        self.suspected.contains(&job) || self.riders.contains(&job)
    }

    /// The bad one is among those that were sent; of them the suspects stay suspected.
    fn refused(&mut self, sent: HashSet<JobId>) {
        let cleared: Vec<JobId> = self.suspected.difference(&sent).copied().collect();
        self.suspected.retain(|job| sent.contains(job));
        if self.suspected.is_empty() {
            // Only riders were due, and one of them is bad: it is searched for among them.
            self.riders.retain(|job| !sent.contains(job));
            self.suspected = sent;
            self.strict = true;
        }
        if self.strict {
            // Whoever is not suspected is an ordinary job again.
            self.riders.clear();
        } else {
            self.riders.extend(cleared);
        }
    }

    fn told(&mut self, fates: &[(JobId, Fate)]) {
        let found = fates.len() == 1 && fates[0].1 == Fate::Failed;
        for (job, _) in fates.iter().filter(|(_, fate)| *fate != Fate::Untouched) {
            self.suspected.remove(job);
            self.riders.remove(job);
        }
        if found {
            // The bad one: all others are ordinary jobs again.
            self.suspected.clear();
            self.riders.clear();
        } else if self.suspected.is_empty() {
            self.suspected = std::mem::take(&mut self.riders);
            self.strict = true;
        }
    }

    fn is_done(&self) -> bool {
        self.suspected.is_empty() && self.riders.is_empty()
    }
}

#[cfg(test)]
#[path = "bisect_tests.rs"]
mod tests;
