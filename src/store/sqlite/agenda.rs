//! What is due when: the next part of every lane in memory, so that nobody asks the file at each look.
//!
//! The writer says after each commit what moved; the file is asked only where memory ends. Of a lane everything up to
//! `until` is here, and nothing beyond it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Job, State, Timestamp};
use crate::store::Lane;

/// A due time in ms, and the job.
pub type Slot = (i64, i64);

/// So many are read from the file at a time. Tests meet the end of a chunk with a few jobs.
pub const CHUNK: usize = if cfg!(test) { 8 } else { 1_024 };
/// Beyond this a lane that grows is cut back; the file has the rest.
const MOST: usize = if cfg!(test) { 64 } else { 16_384 };
/// The lane of free calls, and one for each priority of submits.
const LANES: usize = 11;
const FREE: usize = 0;
const EVERYTHING: Slot = (i64::MAX, i64::MAX);
const NOTHING: Slot = (i64::MIN, i64::MIN);

/// Shared by the writer, who says what moved, and by those who ask what is due.
#[derive(Debug, Default, Clone)]
pub struct Agenda(Arc<Mutex<HashMap<String, Vec<Queue>>>>);

/// Where a job stands in the agenda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    queue: usize,
    slot: Slot,
}

impl Place {
    /// None: it is not due by itself.
    pub fn of(job: &Job) -> Option<Place> {
        let queue = match job.state {
            State::Queued => 1 + usize::from(job.priority.min(9)),
            State::Waiting | State::InDoubt => FREE,
            State::Submitting
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Expired
            | State::Rejected => return None,
        };
        Some(Place { queue, slot: (job.due_at?.as_millis(), job.id.0) })
    }

    pub fn is_in(self, lane: Lane) -> bool {
        queues_of(lane).contains(&self.queue)
    }

    pub fn at(self) -> Timestamp {
        Timestamp::from_millis(self.slot.0)
    }
}

/// What one commit moved, by account.
#[derive(Debug, Default)]
pub struct Moves(HashMap<String, Vec<WasAndIs>>);

type WasAndIs = (Option<Place>, Option<Place>);

impl Moves {
    pub fn add(&mut self, account: &str, was: Option<Place>, is: Option<Place>) {
        if was == is {
            return;
        }
        match self.0.get_mut(account) {
            Some(moves) => moves.push((was, is)),
            None => drop(self.0.insert(account.to_owned(), vec![(was, is)])),
        }
    }
}

#[derive(Debug)]
struct Queue {
    slots: BTreeSet<Slot>,
    until: Slot,
    /// While the file is being read: what moved meanwhile.
    moved: Option<Vec<Move>>,
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Out(Slot),
    In(Slot),
}

impl Default for Queue {
    fn default() -> Self {
        Self { slots: BTreeSet::new(), until: NOTHING, moved: None }
    }
}

impl Queue {
    fn place(&mut self, what: Move) {
        match what {
            Move::Out(slot) => drop(self.slots.remove(&slot)),
            Move::In(slot) if slot <= self.until => drop(self.slots.insert(slot)),
            Move::In(_) => {}
        }
    }

    fn carry_out(&mut self, what: Move) {
        self.place(what);
        if let Some(moved) = &mut self.moved {
            moved.push(what);
        } else if self.slots.len() > MOST
            && let Some(last) = self.slots.pop_last()
        {
            self.until = (last.0, last.1 - 1);
        }
    }
}

/// A lane that ends in memory before it is due; the file is to be asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    queue: usize,
}

impl Missing {
    pub fn lane(self) -> Lane {
        if self.queue == FREE { Lane::Free } else { Lane::Submit }
    }

    pub fn priority(self) -> i64 {
        self.queue as i64 - 1
    }
}

/// When the next job of a lane is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(Option<Timestamp>),
    /// Memory ends before that.
    Unknown,
}

fn queues_of(lane: Lane) -> std::ops::Range<usize> {
    match lane {
        Lane::Free => FREE..FREE + 1,
        Lane::Submit => FREE + 1..LANES,
    }
}

impl Agenda {
    fn with<T>(&self, account: &str, work: impl FnOnce(&mut [Queue]) -> T) -> T {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match accounts.get_mut(account) {
            Some(queues) => work(queues),
            None => work(
                accounts.entry(account.to_owned()).or_insert_with(|| (0..LANES).map(|_| Queue::default()).collect()),
            ),
        }
    }

    /// What a commit moved. Accounts that nobody has asked for are not kept.
    pub fn note(&self, moves: Moves) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, moves) in moves.0 {
            let Some(queues) = accounts.get_mut(&account) else { continue };
            for (was, is) in moves {
                if let Some(was) = was {
                    queues[was.queue].carry_out(Move::Out(was.slot));
                }
                if let Some(is) = is {
                    queues[is.queue].carry_out(Move::In(is.slot));
                }
            }
        }
    }

    /// The first `limit` due jobs of a lane that are not under way; or what has to be read first.
    pub fn due(
        &self,
        account: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
        under_way: &HashSet<i64>,
    ) -> Result<Vec<i64>, Missing> {
        let last = (now.as_millis(), i64::MAX);
        self.with(account, |queues| {
            let mut due = Vec::new();
            for queue in queues_of(lane) {
                let Queue { slots, until, .. } = &queues[queue];
                let open = slots.range(..=last).map(|slot| slot.1).filter(|id| !under_way.contains(id));
                due.extend(open.take(limit - due.len()));
                if due.len() >= limit {
                    break;
                }
                if *until < last {
                    return Err(Missing { queue });
                }
            }
            Ok(due)
        })
    }

    pub fn next(&self, account: &str, lane: Lane, after: Timestamp) -> Next {
        let from = (after.as_millis().saturating_add(1), i64::MIN);
        self.with(account, |queues| {
            let mut first: Option<i64> = None;
            for queue in &queues[queues_of(lane)] {
                match queue.slots.range(from..).next() {
                    Some(slot) => first = Some(first.map_or(slot.0, |first| first.min(slot.0))),
                    None if queue.until == EVERYTHING => {}
                    None => return Next::Unknown,
                }
            }
            Next::At(first.map(Timestamp::from_millis))
        })
    }

    /// From now on everything that moves is noted, until the file was read. `unwritten` says where the account's jobs stand
    /// that the file does not have so yet; it is asked only then, so that none falls between.
    pub fn read<'a>(&self, account: &'a str, missing: Missing, unwritten: impl FnOnce() -> Vec<Place>) -> Reading<'a> {
        let after = self.with(account, |queues| {
            let queue = &mut queues[missing.queue];
            queue.moved = Some(Vec::new());
            queue.until
        });
        Reading { agenda: self.clone(), account, missing, unwritten: unwritten(), after }
    }

    /// Nothing is known for sure any more.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The file is being read for a lane.
#[derive(Debug)]
pub struct Reading<'a> {
    agenda: Agenda,
    account: &'a str,
    missing: Missing,
    /// Where jobs stand whose pace the file does not have.
    unwritten: Vec<Place>,
    /// Slots after this one are wanted, up to [`CHUNK`] of them.
    pub after: Slot,
}

impl Reading<'_> {
    pub fn finish(mut self, slots: Vec<Slot>) {
        let unwritten = std::mem::take(&mut self.unwritten);
        let ahead: HashSet<i64> = unwritten.iter().map(|place| place.slot.1).collect();
        self.agenda.with(self.account, |queues| {
            let queue = &mut queues[self.missing.queue];
            // Nothing is noted any more where all was forgotten meanwhile.
            let Some(moved) = queue.moved.take() else { return };
            queue.until = if slots.len() < CHUNK { EVERYTHING } else { slots.last().copied().unwrap_or(EVERYTHING) };
            // Where the file has not heard of a pace, it says where the job stood before.
            queue.slots.extend(slots.into_iter().filter(|slot| !ahead.contains(&slot.1)));
            let here = unwritten.into_iter().filter(|place| place.queue == self.missing.queue);
            here.for_each(|place| queue.place(Move::In(place.slot)));
            // What moved while the file was read may or may not stand in what was read: the last word counts.
            moved.into_iter().for_each(|what| queue.place(what));
        });
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.agenda.with(self.account, |queues| queues[self.missing.queue].moved = None);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A file of jobs as the agenda sees it: due times of the free lane.
    #[derive(Default)]
    struct File(BTreeMap<i64, i64>);

    impl File {
        fn after(&self, slot: Slot) -> Vec<Slot> {
            let mut all: Vec<Slot> = self.0.iter().map(|(id, due)| (*due, *id)).filter(|other| *other > slot).collect();
            all.sort_unstable();
            all.truncate(CHUNK);
            all
        }

        fn set(&mut self, agenda: &Agenda, id: i64, due: Option<i64>) {
            let place = |due: Option<i64>| due.map(|due| Place { queue: FREE, slot: (due, id) });
            let was = match due {
                Some(due) => self.0.insert(id, due),
                None => self.0.remove(&id),
            };
            let mut moves = Moves::default();
            moves.add("a", place(was), place(due));
            agenda.note(moves);
        }
    }

    fn ask(agenda: &Agenda, file: &File, now: i64, limit: usize, under_way: &HashSet<i64>) -> Vec<i64> {
        loop {
            match agenda.due("a", Lane::Free, Timestamp::from_millis(now), limit, under_way) {
                Ok(due) => return due,
                Err(missing) => {
                    let reading = agenda.read("a", missing, Vec::new);
                    let slots = file.after(reading.after);
                    reading.finish(slots);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_agenda_says_what_the_file_would_say(
            steps in prop::collection::vec((0_i64..40, prop::option::of(0_i64..50), 0_i64..50, 1_usize..6, any::<bool>()), 1..200)
        ) {
            let (agenda, mut file) = (Agenda::default(), File::default());
            let under_way: HashSet<i64> = [3, 5, 7].into();
            for (id, due, now, limit, while_read) in steps {
                let missing = agenda.due("a", Lane::Free, Timestamp::from_millis(now), limit, &under_way).err();
                match missing.filter(|_| while_read) {
                    // It moves after the file was read and before that is known.
                    Some(missing) => {
                        let reading = agenda.read("a", missing, Vec::new);
                        let slots = file.after(reading.after);
                        file.set(&agenda, id, due);
                        reading.finish(slots);
                    }
                    None => file.set(&agenda, id, due),
                }
                let mut expected: Vec<Slot> = file.0.iter().map(|(id, due)| (*due, *id)).collect();
                expected.sort_unstable();
                let expected: Vec<i64> = expected.into_iter().filter(|(due, id)| *due <= now && !under_way.contains(id))
                    .map(|(_, id)| id).take(limit).collect();
                prop_assert_eq!(ask(&agenda, &file, now, limit, &under_way), expected);
                let next = file.0.values().copied().filter(|due| *due > now).min().map(Timestamp::from_millis);
                match agenda.next("a", Lane::Free, Timestamp::from_millis(now)) {
                    Next::At(at) => prop_assert_eq!(at, next),
                    Next::Unknown => {}
                }
            }
        }
    }

    #[test]
    fn a_lane_that_grows_is_cut_back_and_read_again() {
        let (agenda, mut file) = (Agenda::default(), File::default());
        let nobody = HashSet::new();
        assert!(ask(&agenda, &file, 0, 1, &nobody).is_empty());
        for id in 0..MOST as i64 + 500 {
            file.set(&agenda, id, Some(MOST as i64 * 2 - id));
        }
        let kept = agenda.with("a", |queues| queues[FREE].slots.len());
        assert!(kept <= MOST, "{kept}");
        let all = ask(&agenda, &file, i64::MAX, usize::MAX, &nobody);
        assert_eq!(all.len(), MOST + 500);
    }

    #[test]
    fn submits_go_by_priority_first() {
        let agenda = Agenda::default();
        let place = |priority: usize, due, id| Some(Place { queue: 1 + priority, slot: (due, id) });
        let now = Timestamp::from_millis(10);
        while let Err(missing) = agenda.due("a", Lane::Submit, now, 9, &HashSet::new()) {
            agenda.read("a", missing, Vec::new).finish(Vec::new());
        }
        let mut moves = Moves::default();
        moves.add("a", None, place(5, 1, 1));
        moves.add("a", None, place(0, 9, 2));
        moves.add("a", None, place(0, 11, 3));
        moves.add("unknown", None, place(0, 1, 4));
        agenda.note(moves);
        assert_eq!(agenda.due("a", Lane::Submit, now, 9, &HashSet::new()), Ok(vec![2, 1]));
        assert_eq!(agenda.next("a", Lane::Submit, now), Next::At(Some(Timestamp::from_millis(11))));
        agenda.forget();
        assert!(agenda.due("a", Lane::Submit, now, 9, &HashSet::new()).is_err());
    }
}
