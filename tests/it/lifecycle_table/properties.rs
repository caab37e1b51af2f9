//! Laws that hold over any sequence of inputs, possible or not.

use std::time::Duration;

use opros::domain::state::{AttemptChange, AttemptEnd, Begin, End, Input, Outcome, Refused, Resolution, Step, step};
use opros::domain::{Call, Job, State, Timestamp, Traits};
use proptest::prelude::*;

use super::inputs::{every_outcome, failure, reason, success};
use super::{NOW, job};

/// A move in the game; what it needs of the job (its turn, its next call) is filled in when it is played.
#[derive(Debug, Clone)]
enum Move {
    /// The call that the job needs next.
    BeginNext,
    Begin(Call),
    /// The newest call ends; `stale` of them were begun since.
    End {
        call: Call,
        outcome: Outcome,
        stale: u32,
    },
    /// The newest call ends with something that its kind of call can bring.
    Answer(Outcome),
    Delivered(End),
    Recover,
    Expire,
    GiveUp,
    Cancel,
    Resolve(Resolution),
    Wake,
    /// So many seconds from now.
    Postpone(u64),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => prop::sample::select(every_outcome()),
        1 => (0u64..120, any::<bool>())
            .prop_map(|(settle, resubmit)| Outcome::Absent { settle: Duration::from_secs(settle), resubmit, memo: None }),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(success()), Just(failure())]
}

fn any_move() -> impl Strategy<Value = Move> {
    let call = || prop::sample::select(Call::ALL.to_vec());
    let resolution =
        prop_oneof![Just(Resolution::Resubmit), Just(Resolution::Adopt("2".into())), Just(Resolution::Fail)];
    prop_oneof![
        12 => Just(Move::BeginNext),
        1 => call().prop_map(Move::Begin),
        2 => (call(), outcome(), 0u32..3).prop_map(|(call, outcome, stale)| Move::End { call, outcome, stale }),
        14 => outcome().prop_map(Move::Answer),
        1 => end().prop_map(Move::Delivered),
        1 => Just(Move::Recover),
        1 => Just(Move::Expire),
        1 => Just(Move::GiveUp),
        1 => Just(Move::Cancel),
        1 => resolution.prop_map(Move::Resolve),
        1 => Just(Move::Wake),
        1 => (0u64..600).prop_map(Move::Postpone),
    ]
}

fn moves() -> impl Strategy<Value = Vec<(Move, u64)>> {
    // Seconds between the moves: look-ups need some to settle.
    prop::collection::vec((any_move(), 0u64..300), 1..60)
}

fn traits() -> impl Strategy<Value = Traits> {
    (0i64..16).prop_map(Traits::from_bits)
}

/// A job and what an honest book-keeper would write beside it.
#[derive(Debug, Clone)]
struct World {
    job: Job,
    now: Timestamp,
    /// The call of the newest turn.
    newest: Option<Call>,
    /// The attempt whose end is not known.
    open: Option<String>,
    tokens: u32,
    begun: (u32, u32),
    endings: u32,
}

impl World {
    fn new(traits: Traits) -> Self {
        let job = job(State::Queued, traits);
        Self { job, now: NOW, newest: None, open: None, tokens: 0, begun: (0, 0), endings: 0 }
    }

    fn input(&mut self, made: Move) -> Option<Input> {
        Some(match made {
            Move::BeginNext => self.begin(self.job.next_call()?),
            Move::Begin(call) => self.begin(call),
            Move::End { call, outcome, stale } => Input::End { turn: self.job.turn.checked_sub(stale)?, call, outcome },
            Move::Answer(outcome) => Input::End { turn: self.job.turn, call: self.newest?, outcome },
            Move::Delivered(end) => Input::Delivered { remote_id: None, end },
            Move::Recover => Input::Recover,
            Move::Expire => Input::Expire,
            Move::GiveUp => Input::GiveUp { reason: reason() },
            Move::Cancel => Input::Cancel,
            Move::Resolve(resolution) => Input::Resolve(resolution),
            Move::Wake => Input::Wake,
            Move::Postpone(seconds) => Input::Postpone { until: self.now + Duration::from_secs(seconds) },
        })
    }

    fn begin(&mut self, call: Call) -> Input {
        self.tokens += 1;
        let next_at = self.now + Duration::from_secs(60);
        Input::Begin(match call {
            Call::Submit => Begin::Submit { token: format!("t{}", self.tokens), request_hash: "h".into() },
            Call::Poll | Call::LookUp | Call::Cancel => Begin::Free { call, next_at },
        })
    }

    /// Plays one move and holds the step to the law.
    fn play(&mut self, input: Input) -> Result<(), TestCaseError> {
        let before = self.job.clone();
        let stale = matches!(&input, Input::End { turn, .. } if *turn != before.turn);
        let next = match step(before.clone(), input.clone(), self.now) {
            Ok(step) => step,
            Err(refused) => {
                let known = !stale || matches!(refused, Refused::Stale { .. } | Refused::Final { .. });
                prop_assert!(known, "{:?}", refused);
                return Ok(());
            }
        };
        prop_assert!(!stale, "a stale answer changed something: {:?}", input);
        if let Input::End { .. } = input {
            offered_twice(&input, &next, self.now)?;
        }
        if let Input::End { call: Call::Poll, outcome: Outcome::AccountHeld { .. }, .. } = input {
            prop_assert!(next.job.due_at >= before.due_at, "sooner than the pace of the call that was held");
        }
        counters(&before, &input, &next)?;
        a_final_state_stays(&before, &next)?;
        times_are_kept(&before, &next, self.now)?;
        doubt_needs_proof(&before, &input, &next)?;
        somebody_will_touch_it(&next.job)?;
        self.the_ledger_balances(&next)?;
        self.endings += next.events.iter().filter(|event| event.kind.is_terminal()).count() as u32;
        prop_assert_eq!(self.endings, u32::from(next.job.state.is_final()), "one ending event for each ended job");
        match &input {
            Input::Begin(Begin::Submit { .. }) => (self.newest, self.begun.0) = (Some(Call::Submit), self.begun.0 + 1),
            Input::Begin(Begin::Free { call, .. }) => {
                self.newest = Some(*call);
                self.begun.1 += u32::from(*call == Call::Poll);
            }
            // Nothing new leaves the call open: whatever comes of it besides still counts.
            Input::End { .. } if brings_nothing(&input) => {}
            Input::End { call: Call::Poll, outcome: Outcome::NotMade { .. }, .. } => {
                self.newest = None;
                self.begun.1 = self.begun.1.saturating_sub(1);
            }
            Input::End { .. } => self.newest = None,
            _ => {}
        }
        self.job = next.job;
        prop_assert!(self.job.submissions <= self.begun.0, "more submissions than submits");
        prop_assert_eq!(self.job.polls, self.begun.1, "polls are the polls that were begun");
        Ok(())
    }

    /// Never two attempts at once: the second would be paid before the first is known not to be.
    fn the_ledger_balances(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match &step.attempt {
            Some(AttemptChange::Open { token, .. }) => {
                prop_assert_eq!(self.open.take(), None, "a second attempt while one is open");
                self.open = Some(token.clone());
            }
            Some(AttemptChange::Unclear { token }) => prop_assert_eq!(self.open.as_ref(), Some(token)),
            Some(AttemptChange::Close { token, .. }) => prop_assert_eq!(self.open.take(), Some(token.clone())),
            None => {}
        }
        let unsettled = matches!(step.job.state, State::Submitting | State::InDoubt);
        prop_assert_eq!(self.open.is_some(), unsettled, "open attempt, state {}", step.job.state);
        prop_assert_eq!(step.job.doubt_since.is_some(), step.job.state == State::InDoubt);
        Ok(())
    }

    fn run(&mut self, moves: Vec<(Move, u64)>) -> Result<(), TestCaseError> {
        for (made, seconds) in moves {
            self.now = self.now + Duration::from_secs(seconds);
            if let Some(input) = self.input(made) {
                self.play(input)?;
            }
        }
        Ok(())
    }
}

fn brings_nothing(input: &Input) -> bool {
    matches!(input, Input::End { outcome: Outcome::Unchanged { next_at: Some(_), .. }, .. })
}

/// A writer that does not know whether an answer was committed offers it again: it must miss, or change nothing at all.
fn offered_twice(input: &Input, after: &Step, now: Timestamp) -> Result<(), TestCaseError> {
    let again = step(after.job.clone(), input.clone(), now);
    if !brings_nothing(input) {
        prop_assert!(again.is_err(), "the same answer counted twice: {:?}", input);
        return Ok(());
    }
    prop_assert!(after.events.is_empty(), "nothing new is no event");
    let nothing = Step {
        job: after.job.clone(),
        events: Vec::new(),
        attempt: None,
        observation: None,
        partial: None,
        result: None,
    };
    prop_assert_eq!(again, Ok(nothing));
    Ok(())
}

fn counters(before: &Job, input: &Input, step: &Step) -> Result<(), TestCaseError> {
    let (submit, poll) = match input {
        Input::Begin(Begin::Submit { .. }) => (1, 0),
        Input::Begin(Begin::Free { call: Call::Poll, .. }) => (0, 1),
        _ => (0, 0),
    };
    let after = &step.job;
    let moves_on = matches!(input, Input::Begin(_) | Input::End { .. }) && !brings_nothing(input);
    prop_assert_eq!(after.turn, before.turn + u32::from(moves_on), "turns count beginnings and ends");
    let not_made = matches!(input, Input::End { call: Call::Poll, outcome: Outcome::NotMade { .. }, .. });
    prop_assert_eq!(after.polls, (before.polls + poll).saturating_sub(u32::from(not_made)));
    prop_assert!(after.submissions <= before.submissions + submit);
    if submit == 1 {
        prop_assert_eq!(after.submissions, before.submissions + 1);
    }
    // Taken off only by proof that nothing was taken.
    if after.submissions < before.submissions {
        let proof = match input {
            Input::End { call: Call::Submit, outcome, .. } => match outcome {
                Outcome::NotTaken { .. } | Outcome::AccountHeld { .. } => true,
                Outcome::Unclear { .. } => before.traits.repeatable,
                _ => false,
            },
            Input::End { call: Call::LookUp, outcome: Outcome::Absent { .. }, .. } => before.absences >= 1,
            Input::Cancel => before.absences >= 2,
            Input::Recover => before.traits.repeatable,
            _ => false,
        };
        prop_assert!(proof, "{:?} took a submission off", input);
    }
    // The counter and the ledger tell one story.
    if let Some(AttemptChange::Close { end: AttemptEnd::NotSent | AttemptEnd::Absent, .. }) = &step.attempt {
        prop_assert_eq!(after.submissions + 1, before.submissions, "{:?}", input);
    }
    Ok(())
}

/// Whoever gives a job a time means it: nothing is submitted before it is due or once its deadline has passed, and nothing
/// comes back to the queue from then on.
fn times_are_kept(before: &Job, step: &Step, now: Timestamp) -> Result<(), TestCaseError> {
    let in_time = before.deadline.is_none_or(|deadline| deadline > now);
    if step.job.state == State::Submitting && before.state != State::Submitting {
        prop_assert!(in_time, "submitted after its deadline");
        prop_assert!(before.due_at.is_some_and(|due| due <= now), "submitted before it was due");
    }
    if step.job.state == State::Queued && before.state != State::Queued {
        prop_assert!(in_time, "queued after its deadline");
    }
    Ok(())
}

fn a_final_state_stays(before: &Job, step: &Step) -> Result<(), TestCaseError> {
    if before.state.is_final() {
        let after = Job { updated_at: before.updated_at, ..step.job.clone() };
        prop_assert_eq!(&after, before, "what has ended changes no more");
        prop_assert!(step.attempt.is_none());
    }
    Ok(())
}

fn doubt_needs_proof(before: &Job, input: &Input, step: &Step) -> Result<(), TestCaseError> {
    if before.state != State::InDoubt || step.job.state == State::InDoubt {
        return Ok(());
    }
    let proof = match input {
        Input::End { call: Call::LookUp, outcome, .. } => match outcome {
            Outcome::Found { .. } => true,
            Outcome::Absent { resubmit, .. } => before.absences >= 1 && (*resubmit || before.cancel_requested),
            _ => false,
        },
        // Proven absent before: cancelling sends nothing.
        Input::Cancel => before.absences >= 2 && step.job.state == State::Cancelled,
        Input::Delivered { .. } | Input::Resolve(_) => true,
        _ => false,
    };
    prop_assert!(proof, "{:?} led out of doubt", input);
    Ok(())
}

/// A due time, an open call, or a hold that an operator sees: never none of them.
fn somebody_will_touch_it(job: &Job) -> Result<(), TestCaseError> {
    match job.state {
        State::Queued | State::Waiting => prop_assert!(job.due_at.is_some(), "{} without a due time", job.state),
        State::Submitting => prop_assert!(job.due_at.is_none() && job.attempt.is_some()),
        // Held for an operator: the vendor cannot be asked, or it was asked twice and has nothing.
        State::InDoubt => prop_assert!(job.due_at.is_some() || !job.traits.look_up || job.absences >= 2),
        _ => prop_assert!(job.due_at.is_none() && job.finished_at.is_some()),
    }
    Ok(())
}

/// The engine, vendors that answer at last, and an operator who looks after what is in doubt.
fn to_the_end(world: &mut World, submit_taken: bool) -> Result<(), TestCaseError> {
    for _ in 0..12 {
        world.now = world.now + Duration::from_secs(600);
        let end = |world: &World, call, outcome| Input::End { turn: world.job.turn, call, outcome };
        let input = match (world.job.state, world.job.next_call()) {
            (State::Submitting, _) if submit_taken => end(world, Call::Submit, every_outcome()[3].clone()),
            (State::Submitting, _) => end(world, Call::Submit, every_outcome()[2].clone()),
            (State::InDoubt, Some(_)) if world.job.due_at.is_none() => {
                return Err(TestCaseError::fail("asked twice, found absent, wished away, and nobody will touch it"));
            }
            (State::InDoubt, None) => Input::Resolve(Resolution::Adopt("2".into())),
            (state, _) if state.is_final() => return Ok(()),
            (_, Some(call)) => {
                let begin = world.begin(call);
                prop_assert!(call != Call::Submit, "a submit in spite of the wish");
                world.play(begin)?;
                end(
                    world,
                    call,
                    match call {
                        Call::LookUp => {
                            Outcome::Absent { settle: Duration::from_secs(60), resubmit: false, memo: None }
                        }
                        _ => Outcome::Told { refused: None },
                    },
                )
            }
            (state, None) => return Err(TestCaseError::fail(format!("{state} with a wish, and nothing to do"))),
        };
        world.play(input)?;
    }
    Err(TestCaseError::fail(format!("the wish was not carried out: {:?}", world.job)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_over_any_sequence_of_inputs(
        traits in traits(), moves in moves(), deadline in prop::option::of(0u64..3000),
    ) {
        let mut world = World::new(traits);
        world.job.deadline = deadline.map(|seconds| NOW + Duration::from_secs(seconds));
        world.run(moves)?;
    }

    #[test]
    fn a_wish_to_cancel_ends_every_job_and_submits_nothing(
        traits in traits(), before in moves(), after in moves(), submit_taken: bool,
    ) {
        let mut world = World::new(traits);
        world.run(before)?;
        let _ = world.play(Input::Cancel);
        let submits = world.begun.0;
        world.run(after)?;
        prop_assert!(world.job.state.is_final() || world.job.cancel_requested, "a wish is never forgotten");
        to_the_end(&mut world, submit_taken)?;
        prop_assert_eq!(world.begun.0, submits, "a submit after the wish");
    }

    #[test]
    fn two_empty_look_ups_prove_absence_only_when_they_are_settle_apart(
        settle in 1u64..600, gaps in prop::collection::vec(0u64..900, 2..20),
    ) {
        let traits = Traits { look_up: true, ..Traits::default() };
        let mut world = World::new(traits);
        let submit = world.begin(Call::Submit);
        world.play(submit)?;
        world.play(Input::End { turn: 1, call: Call::Submit, outcome: Outcome::Unclear { reason: reason() } })?;
        let sent = world.now;
        let mut counted: Option<Timestamp> = None;
        for gap in gaps {
            // The engine touches a job no sooner than it is due.
            world.now = (world.now + Duration::from_secs(gap)).max(world.job.due_at.unwrap_or(world.now));
            let begin = world.begin(Call::LookUp);
            world.play(begin)?;
            let absent = Outcome::Absent { settle: Duration::from_secs(settle), resubmit: true, memo: None };
            world.play(Input::End { turn: world.job.turn, call: Call::LookUp, outcome: absent })?;
            if world.job.state == State::Queued {
                let first = counted.expect("a first empty look-up was counted before");
                prop_assert!(first.since(sent) >= Duration::from_secs(settle));
                prop_assert!(world.now.since(first) >= Duration::from_secs(settle));
                return Ok(());
            }
            counted = counted.or((world.job.absences == 1).then_some(world.now));
        }
    }
}
