//! THE table: the life of a job as one function over every (state, input) pair.
//!
//! Workers, recovery, operators, deadlines and call-backs all go through [`step`]; nothing else changes a job's state.
//! It is pure: the store loads the row, asks [`step`], and writes what it says in one transaction.

use std::time::Duration;

use serde_json::{Value, json};

use super::event::{EventType, NewEvent};
use super::policy::{Growth, UNKNOWN_ERRORS_TOLERATED, retry_at, unknown_error_wait};
use super::{Call, Job, Reason, State, Timestamp};

/// What happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A call is about to be made. Committed before the first byte leaves.
    Begin(Begin),
    /// The call of that turn came to its end.
    End { turn: u32, call: Call, outcome: Outcome },
    /// The vendor delivered by itself (a call-back).
    Delivered { remote_id: Option<String>, end: End },
    /// The daemon starts and finds a call that has no end.
    Recover,
    /// The store was put back from an older copy: what is queued or in doubt in it may have been sent, or sent again, since.
    Restored { token: String },
    /// The job's deadline has passed.
    Expire,
    /// There is nothing left to ask, by the vendor's policy.
    GiveUp { reason: Reason },
    /// It cannot be carried out and nothing may be sent (damaged params).
    Abandon { reason: Reason },
    /// A stored wish of a client or an operator.
    Cancel,
    /// An operator's word on a job in doubt.
    Resolve(Resolution),
    /// Bring the job's next touch forward.
    Wake,
    /// There is nothing to do before then.
    Postpone { until: Timestamp },
    /// Its account wants a tracker to be observed at least this often, and this one was not.
    Stale { after: Duration },
    /// It is not sent until an operator lets it go, and why.
    Hold { reason: Reason },
    /// An operator lets it go.
    Release,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    Submit {
        token: String,
        request_hash: String,
    },
    /// A free call. `next_at` is when the job is due again if this call brings nothing new or never comes back.
    Free {
        call: Call,
        next_at: Timestamp,
    },
}

/// What one call brought, as the driver read it and the engine classed it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Proven: the request never left, or was not taken (429, bare 503). `again_at` is given when the account as a whole
    /// keeps silent until then; without it the job backs off.
    NotTaken { reason: Reason, again_at: Option<Timestamp> },
    /// The account is at fault (key, access, money): the job waits for it.
    AccountHeld { reason: Reason },
    /// No whole readable answer.
    Unclear { reason: Reason },
    /// The vendor answered in its own form with an error whose meaning nobody knows. A submit ends by it; what is paid
    /// already is asked about again some times first ([`UNKNOWN_ERRORS_TOLERATED`]).
    UnknownError { reason: Reason },
    /// The call was begun and then not made: nothing was asked, and it counts as if it had not begun. The job is as due as
    /// it was before.
    NotMade { due_at: Timestamp },
    /// The vendor took the submit.
    Accepted { remote_id: Option<String>, memo: Option<String>, next_at: Timestamp },
    /// Nothing new. No `next_at`: there is nothing left to ask.
    Unchanged { memo: Option<String>, next_at: Option<Timestamp> },
    /// A new observation of a tracker.
    Observed { observation: Observation, memo: Option<String>, next_at: Timestamp, end: Option<Box<End>> },
    /// A one-shot has come a step further; `partial` is kept until it ends.
    Progressed { partial: Option<String>, memo: Option<String>, next_at: Timestamp },
    /// The final answer.
    Ended(End),
    /// A look-up found the request.
    Found { remote_id: String, memo: Option<String>, next_at: Timestamp },
    /// A complete look-up found nothing.
    Absent { settle: Duration, resubmit: bool, memo: Option<String> },
    /// The vendor was told of the cancellation; or it refused to hear of it, and why.
    Told { refused: Option<Reason> },
}

/// How a job ends by the vendor's word.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// `result` is JSON.
    Success { result: String },
    /// The vendor refused or failed it, in its own form.
    Failure { reason: Reason, result: Option<String> },
}

/// One distinct answer of the vendor to a tracker.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub fingerprint: String,
    /// What is known now, JSON.
    pub data: String,
    /// What changed from what, JSON; goes into `job.updated`.
    pub changes: Value,
    /// The answer as it came, or the part of it that is about this job.
    pub raw: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Send it again: the operator says that it was not paid, or wants to pay again.
    Resubmit,
    /// The vendor has it under this id.
    Adopt(String),
    /// Give it up.
    Fail,
}

/// What the ledger learns of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptChange {
    Open {
        token: String,
        request_hash: String,
    },
    /// Still open: the answer was lost.
    Unclear {
        token: String,
    },
    Close {
        token: String,
        end: AttemptEnd,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Never left, or provably not taken.
    NotSent,
    Accepted,
    Refused,
    /// Two complete look-ups found nothing.
    Absent,
    /// An operator decided without evidence of the vendor.
    Operator,
}

impl AttemptEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptEnd::NotSent => "not_sent",
            AttemptEnd::Accepted => "accepted",
            AttemptEnd::Refused => "refused",
            AttemptEnd::Absent => "absent",
            AttemptEnd::Operator => "operator",
        }
    }
}

/// What the store writes in one transaction.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Step {
    pub job: Job,
    pub events: Vec<NewEvent>,
    pub attempt: Option<AttemptChange>,
    pub observation: Option<Observation>,
    pub partial: Option<String>,
    pub result: Option<String>,
}

/// The pair is not legal; nothing is to be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("job {job} is {state}: {what} is not possible")]
    Illegal { job: i64, state: State, what: &'static str },
    #[error("job {job}: the answer belongs to call {turn}, and call {current} has begun since")]
    Stale { job: i64, turn: u32, current: u32 },
    #[error("job {job} has ended ({state}): nothing changes any more")]
    Final { job: i64, state: State },
    #[error("job {job}: its deadline {deadline} has passed, so that it is not submitted any more")]
    Overdue { job: i64, deadline: Timestamp },
}

/// Complete look-ups without a find, `settle` apart, that prove a request absent.
const ABSENCES: u32 = 2;

/// The code of a job that was taken out of work because opros fails on it each time; an operator lets it go again.
pub const QUARANTINED: &str = "quarantined";

fn deadline_reason() -> Reason {
    Reason::new("deadline", "the job's deadline passed")
}

fn absent_reason() -> Reason {
    Reason::new("absent", "two complete look-ups at the vendor, far enough apart, did not find the request")
}

/// The one function that owns the life of a job.
pub fn step(job: Job, input: Input, now: Timestamp) -> Result<Step, Refused> {
    let mut next = Next::new(job, now);
    match input {
        Input::Begin(begin) => next.begin(begin)?,
        Input::End { turn, call, outcome } => next.end_call(turn, call, outcome)?,
        Input::Delivered { remote_id, end } => next.delivered(remote_id, end)?,
        Input::Recover => next.recover()?,
        Input::Restored { token } => next.restored(token)?,
        Input::Expire => next.expire()?,
        Input::GiveUp { reason } => next.give_up(reason)?,
        Input::Abandon { reason } => next.abandon(reason)?,
        Input::Cancel => next.cancel_wished()?,
        Input::Resolve(resolution) => next.resolve(resolution)?,
        Input::Wake => next.touch_at(now, "waking")?,
        Input::Postpone { until } => next.touch_at(until, "postponing")?,
        Input::Stale { after } => next.stale(after)?,
        Input::Hold { reason } => next.hold(reason)?,
        Input::Release => next.release()?,
    }
    Ok(next.step)
}

impl Job {
    /// When to try again: at the time that the account's silence ends, which costs the job nothing, or after an error's wait.
    fn again(&mut self, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        at.unwrap_or_else(|| {
            self.errors += 1;
            retry_at(self.errors, self.id, now)
        })
    }
}

/// A step in the making.
struct Next {
    step: Step,
    now: Timestamp,
    /// When the job was last observed before this step.
    observed: Timestamp,
}

impl Next {
    fn new(mut job: Job, now: Timestamp) -> Self {
        let observed = job.last_observed();
        job.updated_at = now;
        Self {
            step: Step { job, events: Vec::new(), attempt: None, observation: None, partial: None, result: None },
            now,
            observed,
        }
    }

    fn job(&mut self) -> &mut Job {
        &mut self.step.job
    }

    fn state(&self) -> State {
        self.step.job.state
    }

    fn illegal(&self, what: &'static str) -> Refused {
        let (job, state) = (self.step.job.id.0, self.state());
        if state.is_final() { Refused::Final { job, state } } else { Refused::Illegal { job, state, what } }
    }

    fn emit(&mut self, kind: EventType, data: Value) {
        self.step.events.push(NewEvent { kind, data });
    }

    // ---- calls begin -------------------------------------------------------------------------------------------

    fn begin(&mut self, begin: Begin) -> Result<(), Refused> {
        match begin {
            Begin::Submit { token, request_hash } => {
                if self.state() != State::Queued || self.step.job.cancel_requested {
                    return Err(self.illegal("a submit"));
                }
                self.in_time()?;
                let job = self.job();
                job.state = State::Submitting;
                job.due_at = None;
                job.turn += 1;
                job.submissions += 1;
                job.attempt = Some(token.clone());
                self.step.attempt = Some(AttemptChange::Open { token, request_hash });
            }
            Begin::Free { call, next_at } => {
                if self.step.job.next_call() != Some(call) || call == Call::Submit {
                    return Err(self.illegal("this call"));
                }
                let observed = self.observed;
                let job = self.job();
                job.turn += 1;
                job.due_at = Some(next_at);
                if call == Call::Poll {
                    job.polls += 1;
                    job.observed_at = Some(observed);
                }
            }
        }
        Ok(())
    }

    /// Whoever hands in a time means it: nothing is sent before `not_before`, while it is held, or from the deadline on.
    fn in_time(&self) -> Result<(), Refused> {
        let job = &self.step.job;
        match job.deadline {
            Some(deadline) if deadline <= self.now => Err(Refused::Overdue { job: job.id.0, deadline }),
            _ if job.due_at.is_none_or(|due| due > self.now) => Err(self.illegal("a submit before its time")),
            _ => Ok(()),
        }
    }

    // ---- calls end ---------------------------------------------------------------------------------------------

    fn end_call(&mut self, turn: u32, call: Call, outcome: Outcome) -> Result<(), Refused> {
        if self.state().is_final() {
            return Err(self.illegal("an answer"));
        }
        if self.step.job.turn != turn {
            return Err(Refused::Stale { job: self.step.job.id.0, turn, current: self.step.job.turn });
        }
        let nothing_new = matches!(outcome, Outcome::Unchanged { next_at: Some(_), .. });
        match (self.state(), call) {
            (State::Submitting, Call::Submit) => self.submit_ended(outcome)?,
            (State::Waiting, Call::Poll) => self.poll_ended(outcome)?,
            (State::Waiting, Call::Cancel) => self.cancel_ended(outcome)?,
            (State::InDoubt, Call::LookUp) => self.look_up_ended(outcome)?,
            _ => return Err(self.illegal("the end of such a call")),
        }
        // A call ends once, unless it brought nothing. The same answer, offered again by a writer that does not know whether it was committed,
        // must miss: one empty look-up counted twice would prove a paid request absent.
        if !nothing_new {
            self.job().turn += 1;
        }
        Ok(())
    }

    fn submit_ended(&mut self, outcome: Outcome) -> Result<(), Refused> {
        match outcome {
            Outcome::NotTaken { reason, again_at } => {
                self.close_attempt(AttemptEnd::NotSent);
                self.job().submissions -= 1;
                self.back_to_queue(reason, again_at);
            }
            Outcome::AccountHeld { reason } => {
                self.close_attempt(AttemptEnd::Refused);
                self.job().submissions -= 1;
                let now = self.now;
                self.back_to_queue(reason, Some(now));
            }
            Outcome::Unclear { reason } if self.step.job.traits.repeatable => {
                self.close_attempt(AttemptEnd::NotSent);
                self.job().submissions -= 1;
                self.back_to_queue(reason, None);
            }
            Outcome::Unclear { reason } => self.fall_into_doubt(reason),
            Outcome::Accepted { remote_id, memo, next_at } => {
                self.close_attempt(AttemptEnd::Accepted);
                self.accepted(remote_id, memo, next_at);
            }
            Outcome::Ended(End::Failure { reason, result }) => {
                self.close_attempt(AttemptEnd::Refused);
                self.end_by_vendor(End::Failure { reason, result });
            }
            Outcome::UnknownError { reason } => {
                self.close_attempt(AttemptEnd::Refused);
                self.end_by_vendor(End::Failure { reason, result: None });
            }
            Outcome::Ended(end @ End::Success { .. }) => {
                self.close_attempt(AttemptEnd::Accepted);
                self.job().submitted_at = Some(self.now);
                self.end_by_vendor(end);
            }
            Outcome::NotMade { .. }
            | Outcome::Unchanged { .. }
            | Outcome::Observed { .. }
            | Outcome::Progressed { .. }
            | Outcome::Found { .. }
            | Outcome::Absent { .. }
            | Outcome::Told { .. } => return Err(self.illegal("such an answer to a submit")),
        }
        Ok(())
    }

    fn poll_ended(&mut self, outcome: Outcome) -> Result<(), Refused> {
        match outcome {
            Outcome::NotTaken { reason, again_at } => self.poll_failed(reason, again_at),
            Outcome::Unclear { reason } => self.poll_failed(reason, None),
            Outcome::UnknownError { reason } => {
                if self.unknown_error(reason.clone()) {
                    self.end_by_vendor(End::Failure { reason, result: None });
                }
            }
            Outcome::NotMade { due_at } => {
                let job = self.job();
                job.polls = job.polls.saturating_sub(1);
                self.not_made(due_at);
            }
            Outcome::AccountHeld { reason } => {
                let now = self.now;
                let job = self.job();
                job.reason = Some(reason);
                // The pause holds it back; once that is lifted, no sooner than the pace allowed when the call began.
                job.due_at = Some(job.due_at.map_or(now, |paced| paced.max(now)));
            }
            Outcome::Unchanged { memo, next_at: Some(next_at) } => self.polled(memo, next_at),
            Outcome::Unchanged { next_at: None, .. } => self.finish(
                State::Expired,
                Some(Reason::new("gave_up", "the vendor had no answer within the time that its account gives it")),
            ),
            Outcome::Observed { observation, memo, next_at, end } => {
                self.polled(memo, next_at);
                self.observed(observation);
                if let Some(end) = end {
                    self.end_by_vendor(*end);
                }
            }
            Outcome::Progressed { partial, memo, next_at } => {
                self.polled(memo, next_at);
                self.step.partial = partial;
            }
            Outcome::Ended(end) => self.end_by_vendor(end),
            Outcome::Accepted { .. } | Outcome::Found { .. } | Outcome::Absent { .. } | Outcome::Told { .. } => {
                return Err(self.illegal("such an answer to a poll"));
            }
        }
        Ok(())
    }

    fn cancel_ended(&mut self, outcome: Outcome) -> Result<(), Refused> {
        match outcome {
            Outcome::Told { refused } => self.finish(State::Cancelled, refused),
            Outcome::NotTaken { reason, again_at } => self.poll_failed(reason, again_at),
            Outcome::Unclear { reason } | Outcome::AccountHeld { reason } => self.poll_failed(reason, None),
            // What goes on at the vendor may go on being billed: it is told again before its word is taken for a no.
            Outcome::UnknownError { reason } => {
                if self.unknown_error(reason.clone()) {
                    self.finish(State::Cancelled, Some(reason));
                }
            }
            Outcome::NotMade { due_at } => self.not_made(due_at),
            Outcome::Ended(End::Failure { reason, .. }) => self.finish(State::Cancelled, Some(reason)),
            // One of several things that have to be called off is; the wish stands, so the next is told at once.
            Outcome::Progressed { memo, next_at, .. } => self.polled(memo, next_at),
            Outcome::Accepted { .. }
            | Outcome::Unchanged { .. }
            | Outcome::Observed { .. }
            | Outcome::Ended(End::Success { .. })
            | Outcome::Found { .. }
            | Outcome::Absent { .. } => return Err(self.illegal("such an answer to a cancellation")),
        }
        Ok(())
    }

    fn look_up_ended(&mut self, outcome: Outcome) -> Result<(), Refused> {
        match outcome {
            Outcome::Found { remote_id, memo, next_at } => {
                self.close_attempt(AttemptEnd::Accepted);
                self.accepted(Some(remote_id), memo, next_at);
            }
            Outcome::Absent { settle, resubmit, memo } => {
                if memo.is_some() {
                    self.job().memo = memo;
                }
                self.absent(settle, resubmit);
            }
            Outcome::NotTaken { reason: _, again_at } => {
                let now = self.now;
                let job = self.job();
                job.due_at = Some(job.again(again_at, now));
            }
            // Proves nothing, however often it is said.
            Outcome::Unclear { .. } | Outcome::UnknownError { .. } | Outcome::AccountHeld { .. } => {
                let now = self.now;
                let job = self.job();
                job.due_at = Some(job.again(None, now));
            }
            Outcome::NotMade { due_at } => self.job().due_at = Some(due_at),
            Outcome::Accepted { .. }
            | Outcome::Unchanged { .. }
            | Outcome::Observed { .. }
            | Outcome::Progressed { .. }
            | Outcome::Ended(_)
            | Outcome::Told { .. } => return Err(self.illegal("such an answer to a look-up")),
        }
        Ok(())
    }

    // ---- what happens without a call ----------------------------------------------------------------------------

    fn delivered(&mut self, remote_id: Option<String>, end: End) -> Result<(), Refused> {
        match self.state() {
            State::Waiting => self.end_by_vendor(end),
            State::InDoubt => {
                self.close_attempt(AttemptEnd::Accepted);
                let now = self.now;
                self.job().submitted_at = Some(now);
                if remote_id.is_some() {
                    self.job().remote_id = remote_id;
                }
                self.emit(EventType::JobAccepted, json!({ "settled_by": "delivery" }));
                self.end_by_vendor(end);
            }
            State::Succeeded | State::Failed | State::Cancelled | State::Expired => self.attach_late(end),
            State::Queued | State::Submitting | State::Rejected => {
                return Err(self.illegal("a delivery"));
            }
        }
        Ok(())
    }

    /// The job has ended already: what comes now is kept and announced, and the state stays.
    fn attach_late(&mut self, end: End) {
        let (result, failed) = match end {
            End::Success { result } => (Some(result), false),
            End::Failure { result, .. } => (result, true),
        };
        // A good result that was paid for is not covered by a later complaint.
        if !(failed && self.state() == State::Succeeded) {
            self.step.result = result;
        }
        self.emit(EventType::JobUpdated, json!({ "late": true }));
    }

    fn recover(&mut self) -> Result<(), Refused> {
        if self.state() != State::Submitting {
            return Err(self.illegal("recovery"));
        }
        let reason = Reason::new(
            "interrupted",
            "opros stopped while the request may have been on its way; whether the vendor took it is not known",
        );
        if self.step.job.traits.repeatable {
            self.close_attempt(AttemptEnd::NotSent);
            self.job().submissions -= 1;
            self.back_to_queue(reason, Some(self.now));
        } else {
            self.fall_into_doubt(reason);
        }
        Ok(())
    }

    /// It may have been sent since under a token that is not known any more: no look-up can prove anything, only a person can.
    fn restored(&mut self, token: String) -> Result<(), Refused> {
        if self.step.job.traits.repeatable {
            return Err(self.illegal("doubt after a restore"));
        }
        let reason = Reason::new(
            "restored",
            "the store was put back from an older copy, in which this was not settled; whether it was sent since is not \
             known. Ask the vendor, then resolve it",
        );
        match self.state() {
            State::Queued => {
                let job = self.job();
                job.turn += 1;
                job.submissions += 1;
                job.attempt = Some(token.clone());
                self.fall_into_doubt(reason);
                self.step.attempt = Some(AttemptChange::Open { token, request_hash: String::new() });
            }
            State::Submitting => self.fall_into_doubt(reason),
            State::InDoubt => self.job().reason = Some(reason),
            State::Waiting | State::Succeeded | State::Failed | State::Cancelled | State::Expired | State::Rejected => {
                return Err(self.illegal("doubt after a restore"));
            }
        }
        self.job().due_at = None;
        Ok(())
    }

    fn expire(&mut self) -> Result<(), Refused> {
        match self.state() {
            State::Queued | State::Waiting => {
                self.finish(State::Expired, Some(deadline_reason()));
                Ok(())
            }
            State::Submitting
            | State::InDoubt
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Expired
            | State::Rejected => Err(self.illegal("expiry")),
        }
    }

    fn give_up(&mut self, reason: Reason) -> Result<(), Refused> {
        if self.state() != State::Waiting {
            return Err(self.illegal("giving up"));
        }
        self.finish(State::Expired, Some(reason));
        Ok(())
    }

    fn abandon(&mut self, reason: Reason) -> Result<(), Refused> {
        if self.state() != State::Queued {
            return Err(self.illegal("abandoning"));
        }
        self.finish(State::Failed, Some(reason));
        Ok(())
    }

    fn cancel_wished(&mut self) -> Result<(), Refused> {
        if self.state().is_final() {
            return Err(self.illegal("cancelling"));
        }
        self.job().cancel_requested = true;
        match self.state() {
            State::Queued => self.finish(State::Cancelled, None),
            State::Waiting => self.carry_out_wish(),
            // Both look-ups found nothing before the wish came: there is nothing left to settle.
            State::InDoubt if self.step.job.absences >= ABSENCES => self.proven_absent(),
            // The wish stays on the row until the open question is settled.
            State::Submitting | State::InDoubt => {}
            State::Succeeded | State::Failed | State::Cancelled | State::Expired | State::Rejected => {}
        }
        Ok(())
    }

    fn resolve(&mut self, resolution: Resolution) -> Result<(), Refused> {
        if self.state() != State::InDoubt {
            return Err(self.illegal("resolving"));
        }
        let now = self.now;
        match resolution {
            Resolution::Resubmit => {
                self.close_attempt(AttemptEnd::Operator);
                self.back_to_queue(Reason::new("resubmit", "an operator ordered it to be sent again"), Some(now));
            }
            Resolution::Adopt(remote_id) => {
                self.close_attempt(AttemptEnd::Accepted);
                self.accepted(Some(remote_id), None, now);
            }
            Resolution::Fail => {
                self.close_attempt(AttemptEnd::Operator);
                self.finish(
                    State::Failed,
                    Some(Reason::new("given_up", "an operator ended it; whether the vendor was paid is not known")),
                );
            }
        }
        Ok(())
    }

    fn touch_at(&mut self, at: Timestamp, what: &'static str) -> Result<(), Refused> {
        match self.state() {
            State::Queued | State::Waiting => {
                self.job().due_at = Some(at);
                Ok(())
            }
            State::Submitting
            | State::InDoubt
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Expired
            | State::Rejected => Err(self.illegal(what)),
        }
    }

    fn stale(&mut self, after: Duration) -> Result<(), Refused> {
        let (now, since) = (self.now, self.observed);
        let job = &self.step.job;
        let watched = job.state == State::Waiting && job.traits.tracker && job.stale_since.is_none();
        if !watched || now.since(since) < after {
            return Err(self.illegal("calling it stale"));
        }
        let data = json!({ "observed_at": since.to_rfc3339(), "error": job.reason });
        let job = self.job();
        // Announcing it is no observation.
        job.observed_at = Some(since);
        job.stale_since = Some(now);
        self.emit(EventType::JobStale, data);
        Ok(())
    }

    fn hold(&mut self, reason: Reason) -> Result<(), Refused> {
        // An order may be held for many reasons; what is at the vendor only when opros itself fails on it.
        let may = match self.state() {
            State::Queued => true,
            State::Waiting | State::InDoubt => reason.code == QUARANTINED,
            State::Submitting
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Expired
            | State::Rejected => false,
        };
        if !may {
            return Err(self.illegal("holding"));
        }
        let data = json!({ "error": reason });
        let observed = self.observed;
        let job = self.job();
        if job.state == State::Waiting {
            // Setting it aside is no observation.
            job.observed_at = Some(observed);
        }
        job.due_at = None;
        job.reason = Some(reason);
        self.emit(EventType::JobHeld, data);
        Ok(())
    }

    fn release(&mut self) -> Result<(), Refused> {
        let quarantined = self.step.job.reason.as_ref().is_some_and(|reason| reason.code == QUARANTINED);
        match self.state() {
            State::Queued => {}
            State::Waiting | State::InDoubt if quarantined => {}
            _ => return Err(self.illegal("releasing")),
        }
        let now = self.now;
        let job = self.job();
        // One that is not held keeps its time: it is let go in advance.
        if job.due_at.is_none() {
            job.due_at = Some(now);
            job.reason = None;
        }
        Ok(())
    }

    // ---- the moves ---------------------------------------------------------------------------------------------

    fn close_attempt(&mut self, end: AttemptEnd) {
        if let Some(token) = self.step.job.attempt.clone() {
            self.step.attempt = Some(AttemptChange::Close { token, end });
        }
    }

    fn back_to_queue(&mut self, reason: Reason, again_at: Option<Timestamp>) {
        let now = self.now;
        let job = self.job();
        job.doubt_since = None;
        job.absences = 0;
        if job.cancel_requested {
            self.finish(State::Cancelled, None);
            return;
        }
        job.state = State::Queued;
        if job.deadline.is_some_and(|deadline| deadline <= now) {
            // It may not be sent any more, so it does not come back to be sent.
            self.finish(State::Expired, Some(deadline_reason()));
            return;
        }
        job.due_at = Some(job.again(again_at, now));
        job.reason = Some(reason);
    }

    fn fall_into_doubt(&mut self, reason: Reason) {
        let now = self.now;
        let data = json!({ "error": reason });
        let job = self.job();
        job.state = State::InDoubt;
        job.doubt_since = Some(now);
        job.absences = 0;
        job.due_at = job.traits.look_up.then_some(now);
        job.reason = Some(reason);
        if let Some(token) = job.attempt.clone() {
            self.step.attempt = Some(AttemptChange::Unclear { token });
        }
        self.emit(EventType::JobInDoubt, data);
    }

    fn accepted(&mut self, remote_id: Option<String>, memo: Option<String>, next_at: Timestamp) {
        let now = self.now;
        let job = self.job();
        job.state = State::Waiting;
        job.submitted_at = Some(now);
        job.remote_id = remote_id.or_else(|| job.remote_id.take());
        job.memo = memo;
        job.due_at = Some(next_at);
        job.errors = 0;
        job.unknown_errors = 0;
        job.absences = 0;
        job.doubt_since = None;
        job.reason = None;
        self.emit(EventType::JobAccepted, json!({}));
        if self.step.job.cancel_requested {
            self.carry_out_wish();
        }
    }

    /// A waiting job that is to be cancelled: tell the vendor where it can be told.
    fn carry_out_wish(&mut self) {
        if self.step.job.traits.tell_cancel {
            let now = self.now;
            self.job().due_at = Some(now);
        } else {
            self.finish(State::Cancelled, None);
        }
    }

    fn absent(&mut self, settle: Duration, resubmit: bool) {
        let now = self.now;
        let job = self.job();
        job.errors = 0;
        let settled_at = job.doubt_since.unwrap_or(now) + settle;
        if now < settled_at {
            job.due_at = Some(settled_at);
            return;
        }
        job.absences += 1;
        if job.absences < ABSENCES {
            job.due_at = Some(now + settle);
            return;
        }
        if resubmit || job.cancel_requested {
            self.proven_absent();
        } else {
            job.due_at = None;
            job.reason = Some(absent_reason());
        }
    }

    /// The vendor has no such request: it is sent again, or never again where a wish to cancel stands.
    fn proven_absent(&mut self) {
        self.close_attempt(AttemptEnd::Absent);
        self.job().submissions -= 1;
        self.back_to_queue(absent_reason(), Some(self.now));
    }

    fn poll_failed(&mut self, reason: Reason, again_at: Option<Timestamp>) {
        let now = self.now;
        let job = self.job();
        job.reason = Some(reason);
        // A look that brought nothing counts, whoever says when the next one is: drivers wait ever longer by this count.
        job.errors += 1;
        let retry = again_at.unwrap_or_else(|| retry_at(job.errors, job.id, now));
        // Never sooner than the vendor's pace allowed when the call began; but a pace of hours is no reason to leave a lost
        // answer for hours.
        let floor = job.due_at.unwrap_or(retry).min(now + Growth::ERRORS.ceiling);
        job.due_at = Some(retry.max(floor));
    }

    /// One more error of unknown meaning; true when it was the last one that is put up with. A tracker is asked on: it is
    /// paid for by the day, and nothing that cannot be understood proves that it is over.
    fn unknown_error(&mut self, reason: Reason) -> bool {
        let now = self.now;
        let job = self.job();
        job.unknown_errors = job.unknown_errors.saturating_add(1);
        let wanted = job.traits.tracker && !job.cancel_requested;
        if job.unknown_errors > UNKNOWN_ERRORS_TOLERATED && !wanted {
            return true;
        }
        let again_at = now + unknown_error_wait(job.unknown_errors, job.id);
        self.poll_failed(reason, Some(again_at));
        false
    }

    /// Until it is asked about it stands as not observed.
    fn not_made(&mut self, due_at: Timestamp) {
        let job = self.job();
        job.due_at = Some(due_at);
        job.reason.get_or_insert_with(|| Reason::new("regrouped", "not asked: its batch changed"));
    }

    fn polled(&mut self, memo: Option<String>, next_at: Timestamp) {
        let now = self.now;
        if let Some(since) = self.job().stale_since.take() {
            self.emit(EventType::JobFresh, json!({ "stale_since": since.to_rfc3339() }));
        }
        let job = self.job();
        job.errors = 0;
        job.unknown_errors = 0;
        job.reason = None;
        if memo.is_some() {
            job.memo = memo;
        }
        // A wish that came while the call was out is carried out next.
        job.due_at = Some(if job.cancel_requested { now } else { next_at });
    }

    fn observed(&mut self, observation: Observation) {
        self.job().seen = Some(observation.fingerprint.clone());
        self.emit(EventType::JobUpdated, json!({ "changes": observation.changes }));
        self.step.result = Some(observation.data.clone());
        self.step.observation = Some(observation);
    }

    fn end_by_vendor(&mut self, end: End) {
        match end {
            End::Success { result } => {
                self.step.result = Some(result);
                self.finish(State::Succeeded, None);
            }
            End::Failure { reason, result } => {
                if result.is_some() {
                    self.step.result = result;
                }
                self.finish(State::Failed, Some(reason));
            }
        }
    }

    fn finish(&mut self, state: State, reason: Option<Reason>) {
        let now = self.now;
        let data = reason.as_ref().map_or(json!({}), |reason| json!({ "error": reason }));
        let job = self.job();
        job.state = state;
        job.due_at = None;
        job.doubt_since = None;
        job.finished_at = Some(now);
        job.reason = reason;
        let kind = match state {
            State::Succeeded => EventType::JobSucceeded,
            State::Failed => EventType::JobFailed,
            State::Cancelled => EventType::JobCancelled,
            State::Expired => EventType::JobExpired,
            State::Rejected => EventType::JobRejected,
            State::Queued | State::Submitting | State::Waiting | State::InDoubt => {
                unreachable!("finish is called with final states only")
            }
        };
        self.emit(kind, data);
    }
}
