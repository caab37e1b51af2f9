//! A file, the unwritten paces and the agenda, all at once: whatever happens in whatever order, nothing that is due is missed,
//! nothing is listed twice, and no older row is taken for how a job stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::super::agenda::{CHUNK, Moves, Place};
use super::super::draft::fresh_job;
use super::super::rows::Changed;
use super::*;
use crate::domain::repeat::Asked;
use crate::domain::{Job, NewJob, State, Traits};
use crate::store::OrderBody;

#[derive(Debug, Clone)]
enum Step {
    Accept {
        count: usize,
        due: i64,
        priority: Option<u8>,
    },
    /// Free calls begin: of those that are due, some from the nth on.
    Begin {
        nth: usize,
        count: usize,
        ahead: i64,
    },
    /// An answer that changes nothing, or a commit that changes the row; none: it ends.
    Unchanged {
        nth: usize,
    },
    Change {
        nth: usize,
        due: Option<i64>,
    },
    CatchUp,
    Fail,
    Evict,
    Pass(i64),
}

/// What the writer says once a transaction is in the file.
struct Committed {
    behind: Vec<Arc<Job>>,
    jobs: Vec<(Arc<Job>, Changed)>,
    moves: Moves,
}

#[derive(Default)]
struct World {
    file: BTreeMap<i64, Job>,
    /// Paces that are not in the file.
    unwritten: BTreeMap<i64, Job>,
    /// The file has it, and nobody was told yet.
    committed: Option<Committed>,
    hot: Hot,
    agenda: Agenda,
    now: i64,
    last: i64,
    /// Happens while the file is being read.
    meanwhile: VecDeque<Step>,
}

#[derive(Default)]
struct Model(Mutex<World>);

fn body() -> Arc<OrderBody> {
    Arc::new(OrderBody::new("{}".to_owned(), String::new(), None))
}

fn new_job(priority: Option<u8>, due: i64) -> NewJob {
    NewJob {
        kind: "k".to_owned(),
        account: "a".to_owned(),
        traits: Traits::default(),
        params: "{}".to_owned(),
        priority: priority.unwrap_or(5),
        not_before: Some(Timestamp::from_millis(due)),
        deadline: None,
        dedupe_key: None,
        tag: None,
        mailbox_uid: None,
        retry_of: None,
        asked: Asked::default(),
        follow: priority.is_none().then(|| "track".to_owned()),
    }
}

impl World {
    fn truth(&self) -> BTreeMap<i64, Job> {
        let mut truth = self.file.clone();
        truth.extend(self.unwritten.clone());
        truth
    }

    /// As the writer finds it: at hand, or in the file.
    fn load(&self, id: i64) -> Job {
        let (known, unknown) = self.hot.find(vec![id]);
        let found = known.first().map_or_else(|| self.file[&id].clone(), |job| Job::clone(job));
        assert_eq!(known.len() + unknown.len(), 1);
        assert_eq!(found, self.truth()[&id], "the writer takes an older row for how the job stands");
        found
    }

    fn tell(&mut self) {
        if let Some(Committed { behind, jobs, moves }) = self.committed.take() {
            self.hot.caught_up(&behind);
            self.hot.keep(jobs, &[]);
            self.agenda.note(moves);
        }
    }

    /// Into the file at once; the others hear of it at the next step.
    fn commit(&mut self, jobs: Vec<(Option<Job>, Job, Changed)>, catch_up: bool) {
        let behind = if catch_up { self.hot.behind() } else { Vec::new() };
        for job in &behind {
            self.file.insert(job.id.0, Job::clone(job));
            self.unwritten.remove(&job.id.0);
        }
        let (mut moves, mut left) = (Moves::default(), Vec::new());
        for (was, is, changed) in jobs {
            moves.add(&is.account, was.as_ref().and_then(Place::of), Place::of(&is));
            if changed != Changed::Nothing {
                self.unwritten.remove(&is.id.0);
                self.file.insert(is.id.0, is.clone());
            }
            if was.is_some() {
                left.push((Arc::new(is), changed));
            }
        }
        self.committed = Some(Committed { behind, jobs: left, moves });
    }

    fn nth(&self, nth: usize, only_due: bool) -> Vec<Job> {
        let now = Timestamp::from_millis(self.now);
        let mut jobs: Vec<Job> = self.truth().into_values().filter(|job| job.state == State::Waiting).collect();
        jobs.retain(|job| !only_due || is_due(job, Lane::Free, now));
        if !jobs.is_empty() {
            let count = jobs.len();
            jobs.rotate_left(nth % count);
        }
        jobs
    }

    fn carry_out(&mut self, step: Step) {
        self.tell();
        match step {
            Step::Accept { count, due, priority } => {
                let mut fresh = Vec::new();
                for _ in 0..count {
                    self.last += 1;
                    let job = fresh_job(JobId(self.last), new_job(priority, due), Timestamp::from_millis(0));
                    fresh.push((None, job, Changed::Row));
                }
                self.commit(fresh, false);
            }
            Step::Begin { nth, count, ahead } => self.begin(nth, count, ahead),
            Step::Unchanged { nth } => {
                if let Some(job) = self.nth(nth, false).first() {
                    let job = self.load(job.id.0);
                    self.commit(vec![(Some(job.clone()), job, Changed::Nothing)], false);
                }
            }
            Step::Change { nth, due } => {
                if let Some(job) = self.nth(nth, false).first() {
                    let was = self.load(job.id.0);
                    let state = if due.is_some() { State::Waiting } else { State::Cancelled };
                    let is = Job { due_at: due.map(Timestamp::from_millis), state, turn: was.turn + 1, ..was.clone() };
                    self.commit(vec![(Some(was), is, Changed::Row)], nth.is_multiple_of(2));
                }
            }
            Step::CatchUp => self.commit(Vec::new(), true),
            Step::Fail => {
                self.hot.forget();
                self.agenda.forget();
            }
            Step::Evict => self.hot.evict(),
            Step::Pass(ms) => self.now += ms,
        }
    }

    fn begin(&mut self, nth: usize, count: usize, ahead: i64) {
        let (mut moves, mut jobs) = (Moves::default(), Vec::new());
        for job in self.nth(nth, true).into_iter().take(count) {
            let was = self.load(job.id.0);
            let due_at = Some(Timestamp::from_millis(self.now + ahead));
            let is = Job { due_at, turn: was.turn + 1, polls: was.polls + 1, ..was.clone() };
            moves.add(&is.account, Place::of(&was), Place::of(&is));
            self.unwritten.insert(is.id.0, is.clone());
            jobs.push((Arc::new(is), Changed::Pace));
        }
        self.hot.keep_behind(jobs);
        self.agenda.note(moves);
    }

    fn some_of_meanwhile(&mut self) {
        for _ in 0..2 {
            if let Some(step) = self.meanwhile.pop_front() {
                self.carry_out(step);
            }
        }
    }

    fn expected(&self, lane: Lane, limit: usize, under_way: &[JobId]) -> Vec<Job> {
        let now = Timestamp::from_millis(self.now);
        let mut due: Vec<Job> = self.truth().into_values().filter(|job| is_due(job, lane, now)).collect();
        due.retain(|job| !under_way.contains(&job.id));
        due.sort_by_key(|job| (if lane == Lane::Submit { job.priority } else { 0 }, job.due_at, job.id));
        due.truncate(limit);
        due
    }
}

impl DueFile for &Model {
    async fn slots(self, _: &str, missing: Missing, after: Slot) -> Result<Vec<Slot>, StoreError> {
        let mut world = self.world();
        world.some_of_meanwhile();
        let in_lane = |job: &&Job| match missing.lane() {
            Lane::Free => matches!(job.state, State::Waiting | State::InDoubt),
            Lane::Submit => job.state == State::Queued && i64::from(job.priority) == missing.priority(),
        };
        let slot = |job: &Job| Some((job.due_at?.as_millis(), job.id.0));
        let mut slots: Vec<Slot> = world.file.values().filter(in_lane).filter_map(slot).collect();
        slots.retain(|slot| *slot > after);
        slots.sort_unstable();
        slots.truncate(CHUNK);
        world.some_of_meanwhile();
        Ok(slots)
    }

    async fn rows(self, ids: &[i64]) -> Result<Vec<DueJob>, StoreError> {
        let mut world = self.world();
        world.some_of_meanwhile();
        let read = ids.iter().filter_map(|id| world.file.get(id)).cloned();
        let read = read.map(|job| DueJob { job: Arc::new(job), body: body() }).collect();
        world.some_of_meanwhile();
        Ok(read)
    }

    fn unreadable(self) -> Vec<JobId> {
        Vec::new()
    }

    async fn next(self, _: &str, lane: Lane, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let world = self.world();
        let waits = |job: &&Job| is_due(job, lane, Timestamp::MAX);
        Ok(world.file.values().filter(waits).filter_map(|job| job.due_at).filter(|at| *at > after).min())
    }
}

impl Model {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, step: Step) {
        self.world().carry_out(step);
    }

    fn due(&self, lane: Lane, limit: usize, under_way: &[JobId]) -> Vec<DueJob> {
        let (agenda, hot, now) = {
            let world = self.world();
            (world.agenda.clone(), world.hot.clone(), Timestamp::from_millis(world.now))
        };
        let one = tokio::sync::Mutex::default();
        let schedule = Schedule { file: self, agenda: &agenda, one: &one, hot: &hot };
        let due = run(schedule.due("a", lane, now, limit, under_way)).expect("the model reads");
        let ids: BTreeSet<JobId> = due.iter().map(|due| due.job.id).collect();
        assert_eq!(ids.len(), due.len(), "a job is listed twice");
        due
    }

    fn next(&self, lane: Lane) -> Option<Timestamp> {
        let (agenda, hot, now) = {
            let world = self.world();
            (world.agenda.clone(), world.hot.clone(), Timestamp::from_millis(world.now))
        };
        let one = tokio::sync::Mutex::default();
        let schedule = Schedule { file: self, agenda: &agenda, one: &one, hot: &hot };
        run(schedule.next_due("a", lane, now)).expect("the model reads")
    }

    /// Everything that happens has happened: what is said is what is so.
    fn check(&self, limit: usize, under_way: &[JobId]) {
        {
            let mut world = self.world();
            while let Some(step) = world.meanwhile.pop_front() {
                world.carry_out(step);
            }
            world.tell();
        }
        for lane in [Lane::Free, Lane::Submit] {
            let said: Vec<Job> = self.due(lane, limit, under_way).iter().map(|due| Job::clone(&due.job)).collect();
            let world = self.world();
            assert_eq!(said, world.expected(lane, limit, under_way), "{lane:?}");
            let now = Timestamp::from_millis(world.now);
            let waiting: Vec<Job> =
                world.truth().into_values().filter(|job| is_due(job, lane, Timestamp::MAX)).collect();
            drop(world);
            let next = waiting.iter().filter_map(|job| job.due_at).filter(|at| *at > now).min();
            let said = self.next(lane);
            // Sooner costs a look; later is a job that waits.
            assert!(next.is_none() || said.is_some_and(|said| Some(said) <= next), "{lane:?}: {said:?}, not {next:?}");
        }
    }
}

/// Nothing in the model waits for anything.
fn run<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("nothing is waited for")
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_usize..12, 0_i64..60, prop::option::of(0_u8..3))
            .prop_map(|(count, due, priority)| Step::Accept { count, due, priority }),
        6 => (0_usize..40, 1_usize..9, prop::sample::select(vec![1_i64, 5, 20, 200]))
            .prop_map(|(nth, count, ahead)| Step::Begin { nth, count, ahead }),
        2 => (0_usize..40).prop_map(|nth| Step::Unchanged { nth }),
        2 => (0_usize..40, prop::option::weighted(0.8, 0_i64..200)).prop_map(|(nth, due)| Step::Change { nth, due }),
        2 => Just(Step::CatchUp),
        1 => Just(Step::Fail),
        1 => Just(Step::Evict),
        2 => prop::sample::select(vec![1_i64, 10, 100]).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_due_is_missed_and_nothing_is_listed_twice(
        rounds in prop::collection::vec(
            (prop::collection::vec(steps(), 0..6), prop::collection::vec(steps(), 0..8), 1_usize..10, 0_i64..9), 1..25)
    ) {
        let model = Model::default();
        for (before, meanwhile, limit, skipped) in rounds {
            before.into_iter().for_each(|step| model.carry_out(step));
            model.world().meanwhile = meanwhile.into();
            let under_way: Vec<JobId> = (1..100).filter(|id| id % 9 == skipped).map(JobId).collect();
            // What moves while it is looked for may be in it or not; it is there once.
            model.due(Lane::Free, limit, &under_way);
            model.due(Lane::Submit, limit, &under_way);
            model.check(limit, &under_way);
        }
    }
}

/// Fault B1: the lane is read on while paces beyond its end are not in the file, and these are written afterwards.
#[test]
fn a_backlog_that_is_begun_chunk_by_chunk_comes_due_again_as_a_whole() {
    for (count, catch_up_after) in (1..40).flat_map(|count| (0..14).map(move |after| (count, after))) {
        let model = Model::default();
        model.carry_out(Step::Accept { count, due: 0, priority: None });
        for round in 0.. {
            let due = model.due(Lane::Free, 3, &[]).len();
            if due == 0 {
                break;
            }
            model.carry_out(Step::Begin { nth: 0, count: due, ahead: 100 });
            if round == catch_up_after {
                model.carry_out(Step::CatchUp);
            }
        }
        model.carry_out(Step::CatchUp);
        model.carry_out(Step::Pass(1_000));
        assert_eq!(model.due(Lane::Free, 100, &[]).len(), count, "written after {catch_up_after} batches");
    }
}

/// Fault B2: everything is forgotten while the file is behind.
#[test]
fn after_an_error_the_file_does_not_hide_what_is_due_behind_old_slots() {
    let model = Model::default();
    model.carry_out(Step::Accept { count: 40, due: 0, priority: None });
    model.carry_out(Step::Begin { nth: 0, count: 12, ahead: 100 });
    model.carry_out(Step::Fail);
    assert_eq!(model.due(Lane::Free, 6, &[]).len(), 6, "28 others are due");
    assert_eq!(model.next(Lane::Free), Some(Timestamp::from_millis(100)));
    model.carry_out(Step::CatchUp);
    model.carry_out(Step::Pass(100));
    assert_eq!(model.due(Lane::Free, 100, &[]).len(), 40);
}

/// Fault B21: a row was read before its pace was written, and remembered after.
#[test]
fn a_row_that_was_caught_up_while_it_was_read_is_not_remembered_as_it_was() {
    let model = Model::default();
    model.carry_out(Step::Accept { count: 3, due: 0, priority: None });
    model.carry_out(Step::Begin { nth: 0, count: 1, ahead: 0 });
    // While its row is read from the file: the pace is written, then all that can be is let go to make room.
    let hot = model.world().hot.clone();
    let reading = hot.read();
    let old = model.world().file[&1].clone();
    model.carry_out(Step::CatchUp);
    model.carry_out(Step::Evict);
    let mut read = vec![DueJob { job: Arc::new(old), body: body() }];
    let again = reading.finish(&mut read);
    assert_eq!((read.len(), again), (0, vec![1]));
    let (known, unknown) = hot.find(vec![1]);
    assert_eq!((known.len(), unknown), (0, vec![1]), "an older row is taken for how the job stands");
}
