//! Jobs brought to the call in question by the state table itself, and readings carried out on them.

use opros::domain::exchange::Answer;
use opros::domain::state::{Begin, Input, Observation, Outcome, step};
use opros::domain::{Call, Job, JobId, Reason, State, Timestamp, Traits};
use opros::vendors::{Due, JobView, KindSpec, Reading, Vendor, Verdict};
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
        observed_at: None,
        stale_since: None,
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

pub fn example(kind: &KindSpec) -> Value {
    serde_json::from_str(kind.example).unwrap_or_else(|e| panic!("the example of {}: {e}", kind.name))
}

/// Params as the driver normalised its own example.
pub fn params(driver: &dyn Vendor, kind: &KindSpec) -> Value {
    checked(driver, kind, &example(kind))
}

pub fn checked(driver: &dyn Vendor, kind: &KindSpec, params: &Value) -> Value {
    driver.check(kind.name, params).unwrap_or_else(|e| panic!("{params} of {}: {e:?}", kind.name)).params
}

/// Jobs of one kind whose call of that kind has just begun, in one request.
#[derive(Debug)]
pub struct Party {
    pub call: Call,
    pub jobs: Vec<Job>,
    params: Vec<Value>,
}

impl Party {
    pub fn new(kind: &KindSpec, call: Call, params: Vec<Value>) -> Self {
        Self { call, jobs: (1..).take(params.len()).map(|id| begun(kind, call, id)).collect(), params }
    }

    pub fn views(&self) -> Vec<JobView<'_>> {
        let pairs = self.jobs.iter().zip(&self.params);
        pairs.map(|(job, params)| JobView { job, params, partial: None }).collect()
    }
}

/// Carries a reading out as the engine does; what it says must be legal for that call, and count once.
pub fn carry_out(driver: &dyn Vendor, party: &Party, reading: &Reading, told: &str) {
    assert_eq!(reading.verdicts.len(), party.jobs.len(), "one verdict for each job: {told}");
    for (job, verdict) in party.jobs.iter().zip(&reading.verdicts) {
        let Some(outcome) = outcome(driver, job, verdict) else {
            assert!(party.jobs.len() > 1, "one job cannot be halved: {told}");
            continue;
        };
        let input = Input::End { turn: job.turn, call: party.call, outcome };
        let carried = |job: Job| step(job, input.clone(), NOW);
        let after = carried(job.clone()).unwrap_or_else(|e| panic!("{e}: {input:?}: {told}"));
        if let Ok(again) = carried(after.job.clone()) {
            assert_eq!((&again.job, again.events.len()), (&after.job, 0), "it counts twice: {told}");
        }
        has_something_to_do_when_due(driver, &after.job, told);
    }
}

/// None for a batch that is to be halved.
fn outcome(driver: &dyn Vendor, job: &Job, verdict: &Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Outcome(outcome) => Some(outcome.clone()),
        Verdict::Seen(seen) => Some(Outcome::Observed {
            observation: Observation {
                fingerprint: seen.fingerprint.clone(),
                data: seen.data.to_string(),
                changes: driver.changes(&job.kind, None, &seen.data),
                raw: seen.raw.clone(),
            },
            memo: seen.memo.clone(),
            next_at: seen.next_at,
            end: seen.end.clone().map(Box::new),
        }),
        Verdict::Split { .. } => None,
    }
}

/// A due job that needs nothing and is put off to no later time would be looked at in a tight loop.
pub fn has_something_to_do_when_due(driver: &dyn Vendor, job: &Job, told: &str) {
    let Some(due_at) = job.due_at else { return };
    match driver.due(job, due_at) {
        Due::Nothing => panic!("due, and nothing to do: {job:?}: {told}"),
        Due::Later(until) => {
            assert!(until > due_at, "put off to the past: {job:?}: {told}");
            let put_off = must(job.clone(), Input::Postpone { until });
            let then = driver.due(&put_off, until);
            assert!(!matches!(then, Due::Later(_) | Due::Nothing), "put off again, {then:?}: {job:?}: {told}");
        }
        Due::Call(_) | Due::GiveUp(_) => {}
    }
}
