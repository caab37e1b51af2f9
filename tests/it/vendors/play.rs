//! Jobs brought to the call in question by the state table itself, and readings carried out on them.

use opros::domain::exchange::Answer;
use opros::domain::state::{Begin, Input, Observation, Outcome, Step, step};
use opros::domain::{Call, Job, JobId, Reason, State, Timestamp, Traits};
use opros::vendors::{JobView, KindSpec, Reading, Vendor, Verdict};
use serde_json::Value;

pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// What the vendor is taken to have called the job.
pub const REMOTE_ID: &str = "123";

fn queued(kind: &KindSpec, id: i64) -> Job {
    Job {
        id: JobId(id),
        kind: kind.name.into(),
        account: "account".into(),
        traits: kind.traits,
        state: State::Queued,
        priority: 5,
        due_at: Some(NOW),
        deadline: None,
        cancel_requested: false,
        dedupe_key: None,
        tag: None,
        remote_id: None,
        attempt: None,
        turn: 0,
        submissions: 0,
        polls: 0,
        errors: 0,
        absences: 0,
        doubt_since: None,
        memo: None,
        seen: None,
        reason: None,
        created_at: NOW,
        submitted_at: None,
        updated_at: NOW,
        finished_at: None,
        mailbox_uid: None,
        retry_of: None,
    }
}

fn must(job: Job, input: Input) -> Job {
    step(job, input, NOW).expect("the way to a call is legal").job
}

/// The calls that jobs of this kind can need.
pub fn calls(traits: Traits) -> Vec<Call> {
    let possible = |call: &Call| match call {
        Call::Submit | Call::Poll => true,
        Call::LookUp => traits.look_up,
        Call::Cancel => traits.tell_cancel,
    };
    Call::ALL.into_iter().filter(possible).collect()
}

/// A job whose call of that kind has just begun.
pub fn begun(kind: &KindSpec, call: Call, id: i64) -> Job {
    let submit = Begin::Submit { token: format!("token-{id}"), request_hash: "hash".into() };
    let job = must(queued(kind, id), Input::Begin(submit));
    let turn = job.turn;
    let ended = move |outcome| Input::End { turn, call: Call::Submit, outcome };
    let remote_id = Some(format!("{REMOTE_ID}{}", if id == 1 { String::new() } else { id.to_string() }));
    let accepted = ended(Outcome::Accepted { remote_id, memo: None, next_at: NOW });
    let ready = match call {
        Call::Submit => return job,
        Call::Poll => must(job, accepted),
        Call::LookUp => must(job, ended(Outcome::Unclear { reason: Reason::new("lost", "lost") })),
        Call::Cancel => must(must(job, accepted), Input::Cancel),
    };
    must(ready, Input::Begin(Begin::Free { call, next_at: NOW }))
}

pub fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, content_type: None, retry_after: None, body: body.into().into() }
}

/// Params as the driver normalised its own example.
pub fn params(driver: &dyn Vendor, kind: &KindSpec) -> Value {
    let example = serde_json::from_str(kind.example).unwrap_or_else(|e| panic!("the example of {}: {e}", kind.name));
    driver.check(kind.name, &example).unwrap_or_else(|e| panic!("the example of {}: {e:?}", kind.name)).params
}

pub fn views<'a>(jobs: &'a [Job], params: &'a Value) -> Vec<JobView<'a>> {
    jobs.iter().map(|job| JobView { job, params, partial: None }).collect()
}

/// Carries a reading out as the engine does; what it says must be legal for that call. Splits come back as none.
pub fn carry_out(driver: &dyn Vendor, call: Call, jobs: &[Job], reading: &Reading, told: &str) -> Vec<Option<Step>> {
    assert_eq!(reading.verdicts.len(), jobs.len(), "one verdict for each job: {told}");
    jobs.iter()
        .zip(&reading.verdicts)
        .map(|(job, verdict)| {
            let outcome = match verdict {
                Verdict::Outcome(outcome) => outcome.clone(),
                Verdict::Seen(seen) => Outcome::Observed {
                    observation: Observation {
                        fingerprint: seen.fingerprint.clone(),
                        data: seen.data.to_string(),
                        changes: driver.changes(&job.kind, None, &seen.data),
                        raw: seen.raw.clone(),
                    },
                    memo: seen.memo.clone(),
                    next_at: seen.next_at,
                    end: seen.end.clone().map(Box::new),
                },
                Verdict::Split { .. } => {
                    assert!(jobs.len() > 1, "one job cannot be halved: {told}");
                    return None;
                }
            };
            let input = Input::End { turn: job.turn, call, outcome };
            Some(step(job.clone(), input.clone(), NOW).unwrap_or_else(|e| panic!("{e}: {input:?}: {told}")))
        })
        .collect()
}
