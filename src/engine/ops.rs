//! What clients and operators do: hand in, cancel, retry, resolve, pause, resume.

use std::sync::Arc;

use serde_json::Value;

use super::Engine;
use super::intake::{FieldProblem, JobRequest};
use crate::crash;
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
    #[error(transparent)]
    Store(#[from] StoreError),
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

    pub async fn resolve(&self, id: JobId, resolution: Resolution) -> Result<Job, OpError> {
        if let Resolution::Adopt(remote_id) = &resolution {
            self.check_free(id, remote_id).await?;
        }
        crash::point("resolve.before");
        let job = self.apply(id, Input::Resolve(resolution)).await?;
        crash::point("resolve.committed");
        self.wake(&job.account);
        Ok(job)
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

    /// Orders the same again as a new job.
    pub async fn retry(&self, id: JobId, force: bool) -> Result<Accepted, OpError> {
        let Some(JobDetails { job, params, .. }) = self.inner.shared.store.job(id).await? else {
            return Err(OpError::NoJob(id));
        };
        match job.state {
            State::InDoubt => {
                return Err(OpError::Conflict(format!(
                    "job {id} is in doubt: the vendor may have been paid. Decide first: opros resolve {id} --resubmit | --adopt REMOTE_ID | --fail"
                )));
            }
            State::Queued | State::Submitting | State::Waiting => {
                return Err(OpError::Conflict(format!("job {id} is {}: it has not ended yet", job.state)));
            }
            State::Succeeded if !force => {
                return Err(OpError::Conflict(format!(
                    "job {id} has succeeded: ordering it again costs again. Say force (--force) if that is meant"
                )));
            }
            State::Succeeded | State::Failed | State::Cancelled | State::Expired | State::Rejected => {}
        }
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
        };
        let mut again = self.intake().understand(&request).map_err(OpError::Problems)?;
        again.retry_of = Some(id);
        let guarded = self.runner(&again.account).is_some_and(|it| !it.setup().spending.same_order_window.is_zero());
        let accepted = self.submit(vec![again]).await?.into_iter().next();
        let accepted = accepted.ok_or_else(|| StoreError::Other("no verdict came back".to_owned()))?;
        if let Accepted::New(id) = accepted
            && guarded
        {
            // An operator means it: it is not held for being equal. One that was sent already needs no word.
            match self.release(id).await {
                Ok(_) | Err(OpError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(accepted)
    }

    /// Lets a held job go, although an equal order was sent shortly before.
    pub async fn release(&self, id: JobId) -> Result<Job, OpError> {
        let job = self.apply(id, Input::Release).await?;
        self.wake(&job.account);
        Ok(job)
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
        let batch = Batch::of(self.now(), vec![Change { job: id, input }]);
        let result = self.inner.shared.store.apply(batch).await?.into_iter().next();
        match result {
            Some(Ok(job)) => {
                super::log::log_end(&job);
                Ok(Arc::unwrap_or_clone(job))
            }
            Some(Err(ApplyError::NotFound(id))) => Err(OpError::NoJob(id)),
            Some(Err(ApplyError::Refused(refused))) => Err(OpError::Conflict(advice(&refused))),
            Some(Err(error @ (ApplyError::Spent(_) | ApplyError::Equal(_)))) => {
                Err(OpError::Conflict(error.to_string()))
            }
            None => Err(StoreError::Other("no verdict came back".to_owned()).into()),
        }
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
        Refused::Stale { .. } => refused.to_string(),
    }
}
