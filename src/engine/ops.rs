//! What clients and operators do: hand in, cancel, retry, resolve, pause, resume.

use std::sync::Arc;

use serde_json::Value;

use super::Engine;
use super::account::Occupied;
use super::intake::{FieldProblem, JobRequest};
use crate::crash;
use crate::domain::repeat::Asked;
use crate::domain::state::{Input, Refused, Resolution};
use crate::domain::{Job, JobId, NewJob, PauseSource, Reason, State};
use crate::store::callbacks::CandidateQuery;
use crate::store::{Accepted, ApplyError, Batch, Change, JobDetails, StoreError};
use crate::vendors::AccountCall;

/// Why an operator's move was not made.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    #[error("there is no job {0}")]
    NoJob(JobId),
    #[error("no account is called {0:?}")]
    NoAccount(String),
    /// The state does not allow it; what to do instead.
    #[error("{0}")]
    Conflict(String),
    #[error("the request cannot be understood")]
    Problems(Vec<FieldProblem>),
    /// The token was given for something else: for that job.
    #[error("the uid was given for something else before")]
    Reused(Option<JobId>),
    /// What the token was given for is not known any more.
    #[error("what this uid was given for is past retention")]
    Gone(Option<JobId>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a client asks for a move that may cost money.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its own token: the same token, the same move.
    pub uid: Option<String>,
    /// It is meant, although the same was done already.
    pub again: bool,
}

/// A job after a move.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    pub job: Job,
    /// False: it was made before.
    pub is_new: bool,
}

impl Engine {
    /// Takes checked jobs in and wakes their accounts.
    pub async fn submit(&self, jobs: Vec<NewJob>) -> Result<Vec<Accepted>, StoreError> {
        let mut accounts: Vec<String> = jobs.iter().map(|job| job.account.clone()).collect();
        accounts.dedup();
        let has_deadline = jobs.iter().any(|job| job.deadline.is_some());
        crash::point("accept.before");
        let accepted = self.inner.shared.store.accept(jobs, self.now()).await?;
        crash::point("accept.committed");
        for account in accounts {
            self.wake(&account);
        }
        if has_deadline {
            self.inner.shared.deadlines.notify_one();
        }
        Ok(accepted)
    }

    pub async fn cancel(&self, id: JobId) -> Result<Job, OpError> {
        crash::point("cancel.before");
        let job = self.apply(id, Input::Cancel).await?;
        crash::point("cancel.committed");
        self.wake(&job.account);
        Ok(job)
    }

    /// Many wishes in one commit. Says how many came too late: those jobs have ended, or are not there any more.
    pub async fn cancel_all(&self, ids: &[JobId]) -> Result<usize, StoreError> {
        crash::point("cancel.before");
        let changes = ids.iter().map(|id| Change { job: *id, input: Input::Cancel }).collect();
        let done = self.inner.shared.store.apply(Batch::of(self.now(), changes)).await?;
        crash::point("cancel.committed");
        let late = done.iter().filter(|verdict| verdict.is_err()).count();
        let mut accounts = std::collections::BTreeSet::new();
        for job in done.into_iter().flatten() {
            super::log::log_end(&job);
            accounts.insert(job.account.clone());
        }
        accounts.iter().for_each(|account| self.wake(account));
        Ok(late)
    }

    /// Settles a job in doubt, however often it is asked for.
    pub async fn resolve(&self, id: JobId, resolution: Resolution) -> Result<Job, OpError> {
        let wish = Wish { uid: None, again: true };
        Ok(self.resolve_once(id, resolution, wish).await?.job)
    }

    /// Settles a job in doubt. With the same `uid` it is settled once: afterwards the answer is the job as it stands.
    pub async fn resolve_once(&self, id: JobId, resolution: Resolution, wish: Wish) -> Result<Moved, OpError> {
        let means = match &resolution {
            Resolution::Resubmit => format!("resolve {id} resubmit"),
            Resolution::Adopt(remote_id) => format!("resolve {id} adopt {remote_id}"),
            Resolution::Fail => format!("resolve {id} fail"),
        };
        let asked = Asked::of_move(wish.uid, means, wish.again);
        let _turn = self.inner.decisions.lock().await;
        if self.known(&asked).await?.is_some() {
            return Ok(Moved { job: self.job(id).await?, is_new: false });
        }
        if let Resolution::Adopt(remote_id) = &resolution {
            self.check_free(id, remote_id).await?;
        }
        let _still = self.hold_still(id).await?;
        crash::point("resolve.before");
        let moved = self.apply_once(id, Input::Resolve(resolution), asked).await?;
        crash::point("resolve.committed");
        self.wake(&moved.job.account);
        Ok(moved)
    }

    async fn job(&self, id: JobId) -> Result<Job, OpError> {
        let found = self.inner.shared.store.job(id).await?;
        found.map(|details| details.job).ok_or(OpError::NoJob(id))
    }

    /// What a token was given for before, where it is the same; what was given for something else is refused.
    async fn known(&self, asked: &Asked) -> Result<Option<Accepted>, OpError> {
        let Some(uid) = &asked.uid else { return Ok(None) };
        let known = self.inner.shared.store.known(&[asked]).await?.remove(uid);
        match known {
            Some(Accepted::Reused(first)) => Err(OpError::Reused(first)),
            Some(Accepted::Gone(job)) => Err(OpError::Gone(job)),
            known => Ok(known),
        }
    }

    /// No call about the job begins until this is dropped. What a call that is under way finds out may make the operator's
    /// decision needless, or wrong: a look-up that finds the order while it is sent again means that it is paid for twice.
    async fn hold_still(&self, id: JobId) -> Result<Option<Occupied>, OpError> {
        let Some(details) = self.inner.shared.store.job(id).await? else { return Err(OpError::NoJob(id)) };
        if details.job.state != State::InDoubt {
            // The table says what is possible then.
            return Ok(None);
        }
        // Of an account that is not configured any more no call begins, but one may be under way.
        let accounts = self.accounts();
        let account = &details.job.account;
        let Some(runner) = accounts.runners.get(account).or_else(|| accounts.retired.get(account)) else {
            return Ok(None);
        };
        runner.hold_still(id).map(Some).ok_or_else(|| {
            OpError::Conflict(format!(
                "job {id}: a look-up of it is under way at the vendor, and its answer may settle this. Try again in a moment"
            ))
        })
    }

    /// What the vendor calls one job cannot be another's: its answer would be somebody else's.
    async fn check_free(&self, id: JobId, remote_id: &str) -> Result<(), OpError> {
        let Some(details) = self.inner.shared.store.job(id).await? else { return Err(OpError::NoJob(id)) };
        let job = details.job;
        // Some vendors' ids are what was ordered, and may be ordered again: there nothing is mixed up.
        if job.traits.tracker {
            return Ok(());
        }
        let query = CandidateQuery {
            account: &job.account,
            kind: &job.kind,
            vin: None,
            ids: &[remote_id.to_owned()],
            jobs: &[],
            limit: 2,
        };
        let others = self.inner.shared.store.candidates(query).await?;
        match others.iter().find(|other| other.job.id != id && other.job.remote_id.as_deref() == Some(remote_id)) {
            None => Ok(()),
            Some(other) => Err(OpError::Conflict(format!(
                "{remote_id} is job {} already: adopting it would give job {id} the answer to another order. \
                 Look for the vendor's id of this one, or resolve it with --fail or --resubmit",
                other.job.id
            ))),
        }
    }

    /// Orders the same again as a new job. While the newest retry of a job is unfinished, that one is the answer.
    pub async fn retry(&self, id: JobId, force: bool) -> Result<Accepted, OpError> {
        self.retry_once(id, force, Wish::default()).await
    }

    /// The same by a client's wish: with the same `uid` it is ordered once.
    pub async fn retry_once(&self, id: JobId, force: bool, wish: Wish) -> Result<Accepted, OpError> {
        let asked = Asked::of_move(wish.uid, format!("retry {id}"), wish.again);
        if let Some(known) = self.known(&asked).await? {
            return Ok(known);
        }
        let Some(details) = self.inner.shared.store.job(id).await? else {
            return Err(OpError::NoJob(id));
        };
        may_be_retried(&details.job, force)?;
        let again = self.ordered_again(details, asked)?;
        let accepted = self.submit(vec![again]).await?.into_iter().next();
        match accepted.ok_or_else(|| StoreError::Other("no verdict came back".to_owned()))? {
            Accepted::Reused(first) => Err(OpError::Reused(first)),
            Accepted::Gone(job) => Err(OpError::Gone(job)),
            accepted => Ok(accepted),
        }
    }

    /// The same order, as it is understood today.
    fn ordered_again(&self, details: JobDetails, asked: Asked) -> Result<NewJob, OpError> {
        let JobDetails { job, params, .. } = details;
        let id = job.id;
        let params: Value = serde_json::from_str(&params)
            .map_err(|_| OpError::Conflict(format!("the stored params of job {id} are damaged; order it anew")))?;
        let request = JobRequest {
            kind: job.kind,
            params,
            account: Some(job.account),
            dedupe_key: job.dedupe_key,
            priority: Some(i64::from(job.priority)),
            not_before: None,
            deadline: None,
            tag: job.tag,
            uid: None,
        };
        let again = self.intake().understand(&request).map_err(OpError::Problems)?;
        Ok(NewJob { retry_of: Some(id), asked, ..again })
    }

    /// Lets a held job go, although an equal order was sent shortly before; once it was let go, nothing more happens.
    pub async fn release(&self, id: JobId) -> Result<Moved, OpError> {
        let moved = self.apply_once(id, Input::Release, Asked::default()).await?;
        if let Some(runner) = self.runner(&moved.job.account) {
            runner.quarantine.forget(id);
        }
        self.wake(&moved.job.account);
        Ok(moved)
    }

    pub async fn pause(&self, account: &str, reason: Option<String>) -> Result<(), OpError> {
        let runner = self.runner(account).ok_or_else(|| OpError::NoAccount(account.to_owned()))?;
        let reason = Reason::new("operator", reason.unwrap_or_else(|| "paused by an operator".to_owned()));
        self.store_account(runner.pause(PauseSource::Operator, reason, false)).await
    }

    pub async fn resume(&self, account: &str) -> Result<(), OpError> {
        let runner = self.runner(account).ok_or_else(|| OpError::NoAccount(account.to_owned()))?;
        runner.reopen_budget();
        self.store_account(runner.resume()).await?;
        // Where the vendor can be asked for nothing, the first call tells whether the cause is mended.
        if runner.driver().account_request(AccountCall::Credentials, self.now()).is_some() {
            runner.add_chore(AccountCall::Credentials);
        }
        runner.wake.notify_one();
        Ok(())
    }

    async fn store_account(&self, change: Option<crate::store::AccountChange>) -> Result<(), OpError> {
        if let Some(change) = change {
            let batch = Batch { at: self.now(), accounts: vec![change], ..Batch::default() };
            self.inner.shared.store.apply(batch).await?;
        }
        Ok(())
    }

    /// Carries one input through the state table.
    pub async fn apply(&self, id: JobId, input: Input) -> Result<Job, OpError> {
        let moved = self.carry(Batch::of(self.now(), vec![Change { job: id, input }]), id).await?;
        Ok(moved.job)
    }

    /// The same, where asking for it again must change nothing more.
    async fn apply_once(&self, id: JobId, input: Input, asked: Asked) -> Result<Moved, OpError> {
        let batch = Batch::of(self.now(), vec![Change { job: id, input }]);
        self.carry(Batch { asked: Some(asked), ..batch }, id).await
    }

    async fn carry(&self, batch: Batch, id: JobId) -> Result<Moved, OpError> {
        let result = self.inner.shared.store.apply(batch).await?.into_iter().next();
        match result {
            Some(Ok(job)) => {
                if job.deadline.is_some() && !job.state.is_final() {
                    // In doubt no deadline counts: what comes out of it is looked at from now on.
                    self.inner.shared.deadlines.notify_one();
                }
                super::log::log_end(&job);
                Ok(Moved { job: Arc::unwrap_or_clone(job), is_new: true })
            }
            Some(Err(ApplyError::Already(job))) => Ok(Moved { job: Arc::unwrap_or_clone(job), is_new: false }),
            Some(Err(ApplyError::NotFound(id))) => Err(OpError::NoJob(id)),
            Some(Err(ApplyError::Refused(refused))) => Err(OpError::Conflict(advice(&refused))),
            Some(Err(ApplyError::Reused(first))) => Err(OpError::Reused(first)),
            Some(Err(ApplyError::JustNow(_))) => Err(OpError::Conflict(format!(
                "job {id} was resubmitted less than a minute ago and is in doubt once more: the vendor may have been paid \
                 twice already. If it is to be sent again all the same, say again (\"again\": true)"
            ))),
            Some(Err(error @ (ApplyError::Spent(_) | ApplyError::Equal(_) | ApplyError::Unreadable(_)))) => {
                Err(OpError::Conflict(error.to_string()))
            }
            None => Err(StoreError::Other("no verdict came back".to_owned()).into()),
        }
    }
}

/// Whether the same may be ordered again as a new job.
fn may_be_retried(job: &Job, force: bool) -> Result<(), OpError> {
    let id = job.id;
    match job.state {
        State::InDoubt => Err(OpError::Conflict(format!(
            "job {id} is in doubt: the vendor may have been paid. Decide first: opros resolve {id} --resubmit | --adopt REMOTE_ID | --fail"
        ))),
        State::Queued | State::Submitting | State::Waiting => {
            Err(OpError::Conflict(format!("job {id} is {}: it has not ended yet", job.state)))
        }
        State::Succeeded if !force => Err(OpError::Conflict(format!(
            "job {id} has succeeded: ordering it again costs again. Say force (--force) if that is meant"
        ))),
        State::Succeeded | State::Failed | State::Cancelled | State::Expired | State::Rejected => Ok(()),
    }
}

fn advice(refused: &Refused) -> String {
    match refused {
        Refused::Final { job, state } => format!("job {job} has ended already ({state})"),
        Refused::Illegal { job, state, what } => match *what {
            "releasing" => format!("job {job} is {state}: only a job that is queued can be released"),
            "resolving" => format!("job {job} is {state}: only a job that is in_doubt can be resolved"),
            _ => format!("job {job} is {state}: {what} is not possible now"),
        },
        Refused::Stale { .. } | Refused::Overdue { .. } => refused.to_string(),
    }
}
