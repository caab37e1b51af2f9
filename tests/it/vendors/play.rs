//! Jobs brought to the call in question by the state table itself, and readings carried out on them.

use opros::domain::exchange::Answer;
use opros::domain::state::{Begin, Input, Observation, Outcome, Step, step};
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
        unknown_errors: 0,
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
        uid: None,
    }
}

fn must(job: Job, input: Input, now: Timestamp) -> Job {
    step(job, input, now).expect("the way to a call is legal").job
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
    let must = |job, input| must(job, input, NOW);
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

/// The kind's example with these params instead.
pub fn patched(driver: &dyn Vendor, kind: &KindSpec, patch: &Value) -> Value {
    let mut example = example(kind);
    for (name, value) in patch.as_object().expect("a patch is an object") {
        example[name] = value.clone();
    }
    checked(driver, kind, &example)
}

/// Jobs of one kind whose call of that kind has just begun, in one request.
#[derive(Debug)]
pub struct Party {
    pub call: Call,
    pub jobs: Vec<Job>,
    params: Vec<Value>,
    now: Timestamp,
    /// What the store keeps beside a job that is alone.
    partial: Option<String>,
    observed: Option<Value>,
}

impl Party {
    pub fn new(kind: &KindSpec, call: Call, params: Vec<Value>) -> Self {
        let jobs = (1..).take(params.len()).map(|id| begun(kind, call, id)).collect();
        Self { call, jobs, params, now: NOW, partial: None, observed: None }
    }

    pub fn views(&self) -> Vec<JobView<'_>> {
        let pairs = self.jobs.iter().zip(&self.params);
        pairs.map(|(job, params)| JobView { job, params, partial: self.partial.as_deref() }).collect()
    }

    pub fn read(&self, driver: &dyn Vendor, answer: &Answer) -> Reading {
        driver.read(self.call, &self.views(), answer, self.now)
    }

    /// The first of the jobs by itself, its next call begun when it is due; none when there is nothing to ask any more.
    pub fn then(&self, driver: &dyn Vendor, after: Step) -> Option<Party> {
        let mut job = after.job;
        let mut now = self.now.max(job.due_at?);
        if let Due::Later(until) = driver.due(&job, now) {
            job = must(job, Input::Postpone { until }, now);
            now = until;
        }
        let call = match driver.due(&job, now) {
            Due::Call(call) => call,
            Due::GiveUp(reason) => {
                must(job, Input::GiveUp { reason }, now);
                return None;
            }
            other => panic!("due, and then {other:?}: {job:?}"),
        };
        let observed = after.observation.and_then(|seen| serde_json::from_str(&seen.data).ok());
        let mut party = Party {
            call,
            jobs: vec![job],
            params: self.params[..1].to_vec(),
            now,
            partial: after.partial.or_else(|| self.partial.clone()),
            observed: observed.or_else(|| self.observed.clone()),
        };
        let begin = match call {
            Call::Submit => Begin::Submit { token: format!("token-{}", now.as_millis()), request_hash: "hash".into() },
            Call::Poll | Call::LookUp | Call::Cancel => {
                let next_at = driver.pace(call, &party.views()[0], now);
                assert!(next_at > now, "a call that never comes back is made in a tight loop: {party:?}");
                Begin::Free { call, next_at }
            }
        };
        party.jobs = party.jobs.into_iter().map(|job| must(job, Input::Begin(begin.clone()), now)).collect();
        let _ = driver.request(call, &party.views(), now);
        Some(party)
    }
}

/// Carries a reading out as the engine does; what it says must be legal for that call, and count once.
/// What becomes of each job; none where its batch is to be halved.
pub fn carry_out(driver: &dyn Vendor, party: &Party, reading: &Reading, told: &str) -> Vec<Option<Step>> {
    assert_eq!(reading.verdicts.len(), party.jobs.len(), "one verdict for each job: {told}");
    let each = party.jobs.iter().zip(&reading.verdicts);
    each.map(|(job, verdict)| carry_out_one(driver, party, job, verdict, told)).collect()
}

fn carry_out_one(driver: &dyn Vendor, party: &Party, job: &Job, verdict: &Verdict, told: &str) -> Option<Step> {
    let Some(outcome) = outcome(driver, job, verdict, party.observed.as_ref()) else {
        assert!(party.jobs.len() > 1, "one job cannot be halved: {told}");
        return None;
    };
    let input = Input::End { turn: job.turn, call: party.call, outcome };
    let carried = |job: Job| step(job, input.clone(), party.now);
    let after = carried(job.clone()).unwrap_or_else(|e| panic!("{e}: {input:?}: {told}"));
    if let Ok(again) = carried(after.job.clone()) {
        assert_eq!((&again.job, again.events.len()), (&after.job, 0), "it counts twice: {told}");
    }
    has_something_to_do_when_due(driver, &after.job, told);
    Some(after)
}

/// None for a batch that is to be halved.
fn outcome(driver: &dyn Vendor, job: &Job, verdict: &Verdict, before: Option<&Value>) -> Option<Outcome> {
    match verdict {
        Verdict::Outcome(outcome) => Some(outcome.clone()),
        Verdict::Seen(seen) => Some(Outcome::Observed {
            observation: Observation {
                fingerprint: seen.fingerprint.clone(),
                data: seen.data.to_string(),
                changes: driver.changes(&job.kind, before, &seen.data),
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
            let put_off = must(job.clone(), Input::Postpone { until }, due_at);
            let then = driver.due(&put_off, until);
            assert!(!matches!(then, Due::Later(_) | Due::Nothing), "put off again, {then:?}: {job:?}: {told}");
        }
        Due::Call(_) | Due::GiveUp(_) => {}
    }
}
