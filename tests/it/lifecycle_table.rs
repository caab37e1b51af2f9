//! The life of a job as a table that a reader can check against the contract, and as laws over any sequence of inputs.

mod inputs;
mod properties;

use std::fmt::Write;
use std::time::Duration;

use opros::domain::policy::{UNKNOWN_ERRORS_TOLERATED, retry_at};
use opros::domain::state::{Begin, Input, Outcome, QUARANTINED, Refused, Step, step};
use opros::domain::{Call, EventType, Job, JobId, State, Timestamp, Traits};

use inputs::{LATER, every_input, reason};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const PLAIN: Traits = Traits { repeatable: false, look_up: false, tell_cancel: false, tracker: false };
const ASKABLE: Traits = Traits { repeatable: false, look_up: true, tell_cancel: true, tracker: true };
const REPEATABLE: Traits = Traits { repeatable: true, look_up: false, tell_cancel: false, tracker: false };

/// A job as it stands in that state after one submission; one in doubt has had one empty look-up an hour ago.
pub(crate) fn job(state: State, traits: Traits) -> Job {
    let (begun, long_ago) = (state != State::Queued, Timestamp::from_millis(NOW.as_millis() - 3_600_000));
    Job {
        id: JobId(1),
        kind: "vendor.kind".into(),
        account: "account".into(),
        traits,
        state,
        priority: 5,
        due_at: matches!(state, State::Queued | State::Waiting).then_some(NOW),
        deadline: None,
        cancel_requested: false,
        dedupe_key: None,
        tag: None,
        remote_id: (state == State::Waiting).then(|| "1".into()),
        attempt: begun.then(|| "token".into()),
        turn: u32::from(begun),
        submissions: u32::from(begun),
        polls: 0,
        errors: 0,
        unknown_errors: 0,
        absences: u32::from(state == State::InDoubt),
        doubt_since: (state == State::InDoubt).then_some(long_ago),
        memo: None,
        seen: None,
        reason: None,
        created_at: long_ago,
        submitted_at: (state == State::Waiting).then_some(long_ago),
        updated_at: long_ago,
        finished_at: state.is_final().then_some(long_ago),
        mailbox_uid: None,
        retry_of: None,
        observed_at: None,
        stale_since: None,
        uid: None,
    }
}

/// One letter for the state that follows, small ones for `job.accepted`, `job.updated` and `job.in_doubt`.
fn cell(step: &Step) -> String {
    let state = match step.job.state {
        State::Queued => 'Q',
        State::Submitting => 'B',
        State::Waiting => 'W',
        State::InDoubt => 'D',
        State::Succeeded => 'S',
        State::Failed => 'F',
        State::Cancelled => 'C',
        State::Expired => 'X',
        State::Rejected => 'R',
    };
    let news = step.events.iter().filter_map(|event| match event.kind {
        EventType::JobAccepted => Some('a'),
        EventType::JobUpdated => Some('u'),
        EventType::JobInDoubt => Some('d'),
        _ => None,
    });
    std::iter::once(state).chain(news).collect()
}

type Row = (&'static str, [String; 9]);

fn rows(traits: Traits, wish: bool) -> Vec<Row> {
    let answer = |state, input: &Input| {
        let mut before = job(state, traits);
        before.cancel_requested = wish && !state.is_final();
        step(before, input.clone(), NOW).map_or_else(|_| ".".to_owned(), |step| cell(&step))
    };
    every_input()
        .into_iter()
        .map(|(name, make)| (name, State::ALL.map(|state| answer(state, &make(&job(state, traits))))))
        .collect()
}

/// One line for each input; an input that no state takes is named below the table.
fn print(rows: &[Row], unless: &[Row]) -> String {
    let mut text = String::from("\n");
    let mut refused = Vec::new();
    for row in rows.iter().filter(|row| !unless.contains(row)) {
        if row.1.iter().all(|cell| cell == ".") {
            refused.push(row.0);
            continue;
        }
        let cells: String = row.1.iter().map(|cell| format!("{cell:<4}")).collect();
        writeln!(text, "{:<32}{}", row.0, cells.trim_end()).expect("a String takes everything");
    }
    for name in refused {
        writeln!(text, "{name:<32}never").expect("a String takes everything");
    }
    text
}

#[track_caller]
fn assert_table(actual: &str, expected: &str) {
    assert!(actual == expected, "the table has changed; it is now:\n{actual}");
}

/// The columns: queued, submitting, waiting, in doubt, succeeded, failed, cancelled, expired, rejected.
const WITHOUT_TRAITS: &str = "
begin submit                    B   .   .   .   .   .   .   .   .
begin poll                      .   .   W   .   .   .   .   .   .
submit: not taken               .   Q   .   .   .   .   .   .   .
submit: account held            .   Q   .   .   .   .   .   .   .
submit: unclear                 .   Dd  .   .   .   .   .   .   .
submit: accepted                .   Wa  .   .   .   .   .   .   .
submit: success                 .   S   .   .   .   .   .   .   .
submit: failure                 .   F   .   .   .   .   .   .   .
submit: unknown error           .   F   .   .   .   .   .   .   .
poll: not taken                 .   .   W   .   .   .   .   .   .
poll: account held              .   .   W   .   .   .   .   .   .
poll: unclear                   .   .   W   .   .   .   .   .   .
poll: unchanged                 .   .   W   .   .   .   .   .   .
poll: nothing left to ask       .   .   X   .   .   .   .   .   .
poll: observed                  .   .   Wu  .   .   .   .   .   .
poll: observed, the last        .   .   Su  .   .   .   .   .   .
poll: progressed                .   .   W   .   .   .   .   .   .
poll: success                   .   .   S   .   .   .   .   .   .
poll: failure                   .   .   F   .   .   .   .   .   .
poll: unknown error             .   .   W   .   .   .   .   .   .
poll: not made                  .   .   W   .   .   .   .   .   .
look_up: not taken              .   .   .   D   .   .   .   .   .
look_up: account held           .   .   .   D   .   .   .   .   .
look_up: unclear                .   .   .   D   .   .   .   .   .
look_up: found                  .   .   .   Wa  .   .   .   .   .
look_up: absent twice           .   .   .   D   .   .   .   .   .
look_up: absent twice, resubmit .   .   .   Q   .   .   .   .   .
look_up: unknown error          .   .   .   D   .   .   .   .   .
look_up: not made               .   .   .   D   .   .   .   .   .
cancel: not taken               .   .   W   .   .   .   .   .   .
cancel: account held            .   .   W   .   .   .   .   .   .
cancel: unclear                 .   .   W   .   .   .   .   .   .
cancel: progressed              .   .   W   .   .   .   .   .   .
cancel: failure                 .   .   C   .   .   .   .   .   .
cancel: told                    .   .   C   .   .   .   .   .   .
cancel: told, refused           .   .   C   .   .   .   .   .   .
cancel: unknown error           .   .   W   .   .   .   .   .   .
cancel: not made                .   .   W   .   .   .   .   .   .
delivered success               .   .   S   Sa  Su  Fu  Cu  Xu  .
delivered failure               .   .   F   Fa  Su  Fu  Cu  Xu  .
recover                         .   Dd  .   .   .   .   .   .   .
restored                        Dd  Dd  .   D   .   .   .   .   .
expire                          X   .   X   .   .   .   .   .   .
give up                         .   .   X   .   .   .   .   .   .
cancel                          C   B   C   D   .   .   .   .   .
resolve: resubmit               .   .   .   Q   .   .   .   .   .
resolve: adopt                  .   .   .   Wa  .   .   .   .   .
resolve: fail                   .   .   .   F   .   .   .   .   .
wake                            Q   .   W   .   .   .   .   .   .
postpone                        Q   .   W   .   .   .   .   .   .
hold                            Q   .   .   .   .   .   .   .   .
quarantine                      Q   .   W   D   .   .   .   .   .
release                         Q   .   .   .   .   .   .   .   .
begin submit as a free call     never
begin look-up                   never
begin cancel                    never
submit: unchanged               never
submit: nothing left to ask     never
submit: observed                never
submit: observed, the last      never
submit: progressed              never
submit: found                   never
submit: absent twice            never
submit: absent twice, resubmit  never
submit: told                    never
submit: told, refused           never
submit: not made                never
poll: accepted                  never
poll: found                     never
poll: absent twice              never
poll: absent twice, resubmit    never
poll: told                      never
poll: told, refused             never
look_up: accepted               never
look_up: unchanged              never
look_up: nothing left to ask    never
look_up: observed               never
look_up: observed, the last     never
look_up: progressed             never
look_up: success                never
look_up: failure                never
look_up: told                   never
look_up: told, refused          never
cancel: accepted                never
cancel: unchanged               never
cancel: nothing left to ask     never
cancel: observed                never
cancel: observed, the last      never
cancel: success                 never
cancel: found                   never
cancel: absent twice            never
cancel: absent twice, resubmit  never
";

#[test]
fn the_table_of_a_job_that_can_neither_be_looked_up_nor_called_off() {
    assert_table(&print(&rows(PLAIN, false), &[]), WITHOUT_TRAITS);
}

/// Only what differs from the table above.
const LOOK_UP_AND_TELL_CANCEL: &str = "
begin look-up                   .   .   .   D   .   .   .   .   .
cancel                          C   B   W   D   .   .   .   .   .
";

#[test]
fn a_vendor_that_can_be_asked_and_told_adds_these() {
    assert_table(&print(&rows(ASKABLE, false), &rows(PLAIN, false)), LOOK_UP_AND_TELL_CANCEL);
}

const REPEATABLE_CALLS: &str = "
submit: unclear                 .   Q   .   .   .   .   .   .   .
recover                         .   Q   .   .   .   .   .   .   .
restored                        never
";

#[test]
fn a_repeatable_call_never_comes_into_doubt() {
    let rows_of_it = rows(REPEATABLE, false);
    assert_table(&print(&rows_of_it, &rows(PLAIN, false)), REPEATABLE_CALLS);
    // Nothing leads there; what stands in that column is for rows that cannot be.
    for (name, cells) in rows_of_it {
        for (column, cell) in cells.iter().enumerate().filter(|(column, _)| State::ALL[*column] != State::InDoubt) {
            assert!(!cell.starts_with('D'), "{name} brings {} into doubt", State::ALL[column]);
        }
    }
}

const WISHED: &str = "
submit: not taken               .   C   .   .   .   .   .   .   .
submit: account held            .   C   .   .   .   .   .   .   .
submit: accepted                .   Ca  .   .   .   .   .   .   .
look_up: found                  .   .   .   Ca  .   .   .   .   .
look_up: absent twice           .   .   .   C   .   .   .   .   .
look_up: absent twice, resubmit .   .   .   C   .   .   .   .   .
resolve: resubmit               .   .   .   C   .   .   .   .   .
resolve: adopt                  .   .   .   Ca  .   .   .   .   .
begin submit                    never
";

#[test]
fn a_wish_to_cancel_changes_these() {
    assert_table(&print(&rows(PLAIN, true), &rows(PLAIN, false)), WISHED);
}

const WISHED_AND_TOLD: &str = "
begin cancel                    .   .   W   .   .   .   .   .   .
submit: not taken               .   C   .   .   .   .   .   .   .
submit: account held            .   C   .   .   .   .   .   .   .
look_up: absent twice           .   .   .   C   .   .   .   .   .
look_up: absent twice, resubmit .   .   .   C   .   .   .   .   .
resolve: resubmit               .   .   .   C   .   .   .   .   .
begin submit                    never
begin poll                      never
";

#[test]
fn a_wish_that_the_vendor_can_be_told_changes_these() {
    assert_table(&print(&rows(ASKABLE, true), &rows(ASKABLE, false)), WISHED_AND_TOLD);
}

#[test]
fn the_event_that_ends_a_job_is_the_one_of_its_state_and_comes_once() {
    for traits in [PLAIN, ASKABLE, REPEATABLE] {
        for (name, make) in every_input() {
            for state in State::ALL {
                let before = job(state, traits);
                let Ok(step) = step(before.clone(), make(&before), NOW) else { continue };
                let ends: Vec<_> = step.events.iter().filter(|event| event.kind.is_terminal()).collect();
                let ended_now = step.job.state.is_final() && !state.is_final();
                assert_eq!(ends.len(), usize::from(ended_now), "{name} on {state}");
                assert!(
                    ends.iter().all(|end| end.kind.as_str() == format!("job.{}", step.job.state)),
                    "{name} on {state}"
                );
            }
        }
    }
}

/// A poll that begins now and may be repeated at `paced`.
fn polling(paced: Timestamp) -> Job {
    let begin = Begin::Free { call: Call::Poll, next_at: paced };
    step(job(State::Waiting, PLAIN), Input::Begin(begin), NOW).expect("a waiting job is polled").job
}

#[test]
fn a_lost_poll_is_repeated_at_the_vendors_pace_but_after_five_minutes_at_the_latest() {
    let minutes = |count: u64| NOW + Duration::from_secs(60 * count);
    let due = |errors: u32, paced: Timestamp, outcome: &Outcome| {
        let job = Job { errors, ..polling(paced) };
        let end = Input::End { turn: job.turn, call: Call::Poll, outcome: outcome.clone() };
        let after = step(job, end, NOW).expect("legal").job;
        assert_eq!((after.errors, after.reason), (errors + 1, Some(reason())), "it counts, and says why");
        after.due_at.expect("a waiting job is due")
    };
    let unclear = Outcome::Unclear { reason: reason() };
    let unsent = Outcome::NotTaken { reason: reason(), again_at: None };
    let silent = Outcome::NotTaken { reason: reason(), again_at: Some(minutes(120)) };
    for lost in [unclear, unsent] {
        assert_eq!(due(0, NOW, &lost), retry_at(1, JobId(1), NOW));
        assert_eq!(due(0, minutes(1), &lost), minutes(1));
        assert_eq!(due(0, minutes(360), &lost), minutes(5));
        assert_eq!(due(20, minutes(1), &lost), retry_at(21, JobId(1), NOW));
    }
    for paced in [NOW, minutes(1), minutes(360)] {
        assert_eq!(due(0, paced, &silent), minutes(120));
    }
}

#[test]
fn waking_and_postponing_move_the_due_time_and_nothing_else() {
    for state in [State::Queued, State::Waiting] {
        for (input, due) in [(Input::Wake, NOW), (Input::Postpone { until: LATER }, LATER)] {
            let before = Job { due_at: Some(NOW - Duration::from_secs(5)), ..job(state, PLAIN) };
            let step = step(before.clone(), input, NOW).expect("legal");
            assert_eq!(step.job, Job { due_at: Some(due), updated_at: NOW, ..before });
            assert!(step.events.is_empty() && step.attempt.is_none());
        }
    }
}

#[test]
fn an_empty_look_up_leaves_the_drivers_notes_on_the_row() {
    for (memo, expected) in [(None, Some("old")), (Some("new"), Some("new"))] {
        for resubmit in [false, true] {
            let before = Job { memo: Some("old".into()), ..job(State::InDoubt, ASKABLE) };
            let settle = Duration::from_secs(60);
            let outcome = Outcome::Absent { settle, resubmit, memo: memo.map(str::to_owned) };
            let end = Input::End { turn: before.turn, call: Call::LookUp, outcome };
            let after = step(before, end, NOW).expect("legal").job;
            assert_eq!(after.memo.as_deref(), expected, "the driver reads them when {} goes on", after.state);
        }
    }
}

#[test]
fn a_job_held_as_absent_ends_when_it_is_cancelled() {
    let mut held = job(State::InDoubt, ASKABLE);
    (held.absences, held.due_at) = (2, None);
    let step = step(held, Input::Cancel, NOW).expect("cancelling is legal");
    assert_eq!((step.job.state, step.job.submissions), (State::Cancelled, 0), "no look-up is due that could end it");
}

#[test]
fn after_a_restore_no_look_up_settles_what_may_have_been_sent_again() {
    for state in [State::Queued, State::Submitting, State::InDoubt] {
        let before = Job { due_at: Some(NOW), ..job(state, ASKABLE) };
        let after = step(before, Input::Restored { token: "new".into() }, NOW).unwrap().job;
        assert_eq!((after.state, after.due_at, after.submissions), (State::InDoubt, None, 1), "{state}");
        assert_eq!(after.attempt.as_deref(), Some(if state == State::Queued { "new" } else { "token" }));
    }
}

#[test]
fn a_waiting_tracker_goes_stale_once_after_its_last_good_look_and_the_next_good_look_makes_it_fresh() {
    let hour = Duration::from_secs(3600);
    let tracker = Traits { tracker: true, ..PLAIN };
    let quiet = Job { updated_at: NOW - hour, ..job(State::Waiting, tracker) };
    let stale = |job: &Job, after| step(job.clone(), Input::Stale { after }, NOW);
    assert!(stale(&quiet, hour * 2).is_err(), "it was observed since");
    assert!(stale(&Job { traits: PLAIN, ..quiet.clone() }, hour).is_err(), "no tracker");
    let announced = stale(&quiet, hour).unwrap();
    assert_eq!(announced.events[0].kind, EventType::JobStale);
    assert_eq!((announced.job.stale_since, announced.job.last_observed()), (Some(NOW), NOW - hour));
    assert!(stale(&announced.job, hour).is_err(), "announced once");
    let begin = Input::Begin(Begin::Free { call: Call::Poll, next_at: NOW + hour });
    let polling = step(announced.job, begin, NOW).unwrap().job;
    let outcome = Outcome::Unchanged { memo: None, next_at: Some(NOW + hour) };
    let fresh = step(polling.clone(), Input::End { turn: polling.turn, call: Call::Poll, outcome }, NOW).unwrap();
    assert_eq!(fresh.events[0].kind, EventType::JobFresh);
    assert!(fresh.job.stale_since.is_none());
}

#[test]
fn a_look_that_fails_is_no_observation() {
    let hour = Duration::from_secs(3600);
    let waiting = Job { updated_at: NOW - hour, ..job(State::Waiting, PLAIN) };
    let begin = Input::Begin(Begin::Free { call: Call::Poll, next_at: NOW + hour });
    let polling = step(waiting, begin, NOW).unwrap().job;
    let outcome = Outcome::Unclear { reason: reason() };
    let failed = step(polling.clone(), Input::End { turn: polling.turn, call: Call::Poll, outcome }, NOW).unwrap().job;
    assert_eq!(failed.last_observed(), NOW - hour);
}

// ---- times ----------------------------------------------------------------------------------------------------------

/// Whatever happens to a job whose deadline has come: nothing leads into a submit or back to the queue.
#[test]
fn from_its_deadline_on_no_input_submits_a_job_or_queues_it_again() {
    for traits in [PLAIN, ASKABLE, REPEATABLE] {
        for past in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(86_400)] {
            for (name, make) in every_input() {
                for (state, wish) in State::ALL.into_iter().flat_map(|state| [(state, false), (state, true)]) {
                    let mut before = job(state, traits);
                    before.deadline = Some(NOW - past);
                    before.cancel_requested = wish && !state.is_final();
                    let Ok(step) = step(before.clone(), make(&before), NOW) else { continue };
                    let submitted = step.job.state == State::Submitting && state != State::Submitting;
                    let queued = step.job.state == State::Queued && state != State::Queued;
                    assert!(!submitted && !queued, "{name} on {state} leads to {}", step.job.state);
                    if let Some(attempt) = &step.attempt {
                        assert_ne!(cell(&step), "Q", "{attempt:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_submit_is_refused_from_the_deadline_on_and_the_refusal_says_so() {
    let at = |deadline| step(Job { deadline, ..job(State::Queued, PLAIN) }, inputs::submit("token"), NOW);
    assert!(at(Some(NOW + Duration::from_millis(1))).is_ok() && at(None).is_ok());
    for deadline in [NOW, NOW - Duration::from_secs(3600)] {
        assert_eq!(at(Some(deadline)), Err(Refused::Overdue { job: 1, deadline }));
    }
}

/// `not_before`, a backoff and a hold are times, too: a stale choice does not get around them.
#[test]
fn a_submit_is_refused_before_its_time_and_while_it_is_held() {
    for due_at in [None, Some(NOW + Duration::from_millis(1))] {
        let early = Job { due_at, ..job(State::Queued, PLAIN) };
        assert!(step(early, inputs::submit("token"), NOW).is_err(), "{due_at:?}");
    }
}

#[test]
fn what_comes_back_from_a_submit_after_its_deadline_expires_and_is_settled() {
    let unclear = Outcome::Unclear { reason: reason() };
    let unsent = Outcome::NotTaken { reason: reason(), again_at: None };
    let held = Outcome::AccountHeld { reason: reason() };
    let end = |call, outcome: &Outcome| Input::End { turn: 1, call, outcome: outcome.clone() };
    let absent = Outcome::Absent { settle: Duration::from_secs(60), resubmit: true, memo: None };
    let cases = [
        (State::Submitting, PLAIN, end(Call::Submit, &unsent)),
        (State::Submitting, PLAIN, end(Call::Submit, &held)),
        (State::Submitting, REPEATABLE, end(Call::Submit, &unclear)),
        (State::Submitting, REPEATABLE, Input::Recover),
        (State::InDoubt, ASKABLE, end(Call::LookUp, &absent)),
        (State::InDoubt, PLAIN, Input::Resolve(opros::domain::state::Resolution::Resubmit)),
    ];
    for (state, traits, input) in cases {
        let late = Job { deadline: Some(NOW), ..job(state, traits) };
        let step = step(late, input.clone(), NOW).expect("legal");
        assert_eq!((step.job.state, step.job.due_at), (State::Expired, None), "{input:?}");
        assert_eq!(step.job.reason.as_ref().map(|reason| reason.code.as_str()), Some("deadline"));
        assert!(step.attempt.is_some(), "the attempt is closed: {input:?}");
        assert_eq!(step.events.iter().filter(|event| event.kind == EventType::JobExpired).count(), 1);
    }
}

// ---- errors of unknown meaning -----------------------------------------------------------------------------------------

fn unknown_error(job: Job, call: Call) -> Job {
    let begin = Input::Begin(Begin::Free { call, next_at: NOW });
    let begun = step(job, begin, NOW).expect("it may begin").job;
    let end = Input::End { turn: begun.turn, call, outcome: Outcome::UnknownError { reason: reason() } };
    step(begun, end, NOW).expect("it may end").job
}

#[test]
fn a_paid_job_survives_some_errors_of_unknown_meaning_with_growing_waits_and_then_fails_with_the_vendors_words() {
    let mut polled = job(State::Waiting, PLAIN);
    let mut waits = Vec::new();
    for n in 1..=UNKNOWN_ERRORS_TOLERATED {
        polled = unknown_error(polled, Call::Poll);
        assert_eq!((polled.state, polled.unknown_errors, polled.reason.clone()), (State::Waiting, n, Some(reason())));
        waits.push(polled.due_at.expect("it is due again").since(NOW));
    }
    assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
    let patience: Duration = waits.iter().sum();
    assert!(patience >= Duration::from_secs(15 * 60), "{patience:?}");
    let failed = unknown_error(polled, Call::Poll);
    assert_eq!((failed.state, failed.reason), (State::Failed, Some(reason())));
}

#[test]
fn a_good_answer_starts_the_count_anew_and_a_lost_one_leaves_it() {
    let before = Job { unknown_errors: 4, errors: 9, ..job(State::Waiting, PLAIN) };
    let after = |outcome| {
        let end = Input::End { turn: before.turn, call: Call::Poll, outcome };
        step(before.clone(), end, NOW).expect("legal").job.unknown_errors
    };
    assert_eq!(after(Outcome::Unchanged { memo: None, next_at: Some(LATER) }), 0);
    assert_eq!(after(Outcome::Progressed { partial: None, memo: None, next_at: LATER }), 0);
    assert_eq!(after(Outcome::Unclear { reason: reason() }), 4);
    assert_eq!(after(Outcome::NotTaken { reason: reason(), again_at: None }), 4);
}

/// It is paid for by the day, and an error that nobody understands does not prove that it is over.
#[test]
fn a_tracker_is_asked_on_whatever_the_vendor_complains_of() {
    let mut tracked = job(State::Waiting, ASKABLE);
    for _ in 0..50 {
        tracked = unknown_error(tracked, Call::Poll);
    }
    assert_eq!((tracked.state, tracked.unknown_errors), (State::Waiting, 50));
    let wait = tracked.due_at.expect("due again").since(NOW);
    assert!((Duration::from_secs(15 * 60)..=Duration::from_secs(20 * 60)).contains(&wait), "{wait:?}");
}

/// What the vendor was not told goes on being billed.
#[test]
fn a_cancellation_that_meets_unknown_errors_is_told_again_before_it_counts_as_refused() {
    let mut wished = Job { cancel_requested: true, ..job(State::Waiting, ASKABLE) };
    for _ in 0..UNKNOWN_ERRORS_TOLERATED {
        wished = unknown_error(wished, Call::Cancel);
        assert_eq!(wished.state, State::Waiting);
    }
    let ended = unknown_error(wished, Call::Cancel);
    assert_eq!((ended.state, ended.reason), (State::Cancelled, Some(reason())));
}

#[test]
fn an_unknown_error_at_a_look_up_proves_nothing() {
    let mut doubtful = job(State::InDoubt, ASKABLE);
    for _ in 0..50 {
        doubtful = unknown_error(doubtful, Call::LookUp);
    }
    assert_eq!((doubtful.state, doubtful.absences), (State::InDoubt, 1));
}

// ---- calls that were not made ------------------------------------------------------------------------------------------

#[test]
fn a_free_call_that_was_begun_and_not_made_counts_as_if_it_had_not_begun() {
    let cases = [
        (Call::Poll, job(State::Waiting, ASKABLE)),
        (Call::LookUp, job(State::InDoubt, ASKABLE)),
        (Call::Cancel, Job { cancel_requested: true, ..job(State::Waiting, ASKABLE) }),
    ];
    for (call, before) in cases {
        let begin = Input::Begin(Begin::Free { call, next_at: LATER });
        let begun = step(before.clone(), begin, NOW).expect("it may begin").job;
        let end = Input::End { turn: begun.turn, call, outcome: Outcome::NotMade { due_at: NOW } };
        let after = step(begun, end, NOW).expect("it may end").job;
        assert_eq!((after.state, after.due_at), (before.state, Some(NOW)), "{call}: it is as due as it was");
        let counters = |job: &Job| (job.polls, job.errors, job.absences, job.submissions, job.unknown_errors);
        assert_eq!(counters(&after), counters(&before), "{call}");
        if call == Call::Poll {
            assert_eq!(after.last_observed(), before.last_observed(), "it was not looked at");
        }
    }
}

// ---- quarantine -------------------------------------------------------------------------------------------------------

#[test]
fn what_is_set_aside_is_touched_by_nobody_until_it_is_released() {
    let aside = Input::Hold { reason: opros::domain::Reason::new(QUARANTINED, "why") };
    for state in [State::Queued, State::Waiting, State::InDoubt] {
        let before = job(state, ASKABLE);
        let held = step(before.clone(), aside.clone(), NOW).expect("legal");
        assert_eq!((held.job.state, held.job.due_at), (state, None));
        assert_eq!(held.events[0].kind, EventType::JobHeld);
        let free = step(held.job, Input::Release, NOW).expect("an operator lets it go").job;
        assert_eq!((free.state, free.due_at, free.reason), (state, Some(NOW), None));
    }
    // What is in doubt for another reason is not looked up for an operator's release: there may be nothing to find it by.
    assert!(step(job(State::InDoubt, PLAIN), Input::Release, NOW).is_err());
}
