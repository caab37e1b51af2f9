//! Gives stored call-backs to their jobs: when they come, when a job of theirs moves, at the start, and by an operator's word.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::delivery;
use super::files::FileStore;
use super::matching::{Candidate, Match, choose};
use super::parse::{self, Limits};
use super::{CallbackError, Callbacks, display_name};
use crate::crash;
use crate::domain::masking::{Mask, Masking};
use crate::domain::state::{Input, Refused};
use crate::domain::{Job, JobId, State, Timestamp};
use crate::store::callbacks::{Callback, CandidateQuery, Delivered, Delivery, How, JobFile, RawBody, Unmatched};
use crate::store::{EventPage, StoreError};
use crate::vendors::vagvin;

/// Jobs of one car that are looked at; unfinished ones first.
const CANDIDATES: usize = 500;
/// Rows that one read brings.
const PAGE: usize = 200;
/// Commits come in crowds; one look serves them all.
const GATHER: Duration = Duration::from_millis(10);
const AGAIN: Duration = Duration::from_secs(1);
/// What could not be given away because of the disk is tried again this often.
const RETRY: Duration = Duration::from_secs(30);
/// A report cannot come before its order; this much is for orders that were entered late. Older call-backs of a car belong
/// to orders of former times.
const BEFORE_ITS_ORDER: Duration = Duration::from_secs(3600);
/// A job may move between the look and the step; it moves a few times in its life.
const TRIES: usize = 5;

/// Where the matcher stands.
#[derive(Debug)]
struct Round {
    /// Events up to here were heeded.
    cursor: i64,
    /// Call-backs up to here were looked at.
    looked_at: i64,
    /// Some call-back has no job: events matter.
    open: bool,
    failed: bool,
}

/// Why an operator's word was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    #[error("there is no call-back {0}; retention may have removed it")]
    NoCallback(i64),
    #[error("there is no job {0}; retention may have removed it")]
    NoJob(JobId),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Failed(#[from] CallbackError),
}

impl From<StoreError> for AssignError {
    fn from(error: StoreError) -> Self {
        AssignError::Failed(error.into())
    }
}

impl Callbacks {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut commits = self.store().commits();
        let mut round = Round { cursor: commits.borrow().last_seq, looked_at: 0, open: true, failed: false };
        while !stop.is_cancelled() {
            let last_seq = commits.borrow_and_update().last_seq;
            let rest = match self.round(&mut round, last_seq).await {
                Ok(()) if round.failed => RETRY,
                Ok(()) => Duration::MAX,
                Err(error) => {
                    tracing::error!(error = %error, "call-backs wait: the store does not answer");
                    // Events that were heeded already are not seen again: whatever waits is looked at anew.
                    round.looked_at = 0;
                    AGAIN
                }
            };
            if round.failed {
                round.looked_at = 0;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.arrived.notified() => {}
                changed = commits.changed(), if round.open && !round.failed => match changed {
                    Ok(()) => tokio::time::sleep(GATHER).await,
                    Err(_) => return,
                },
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn round(&self, round: &mut Round, last_seq: i64) -> Result<(), StoreError> {
        self.look(round, last_seq).await?;
        // While no call-back waits for its job, nobody's commit is a reason to look.
        round.open = round.failed || !self.store().unmatched_callbacks(Unmatched::After(0), 1).await?.is_empty();
        Ok(())
    }

    async fn look(&self, round: &mut Round, last_seq: i64) -> Result<(), StoreError> {
        round.failed = false;
        if round.open {
            for job in self.moved(round).await? {
                round.failed |= !self.job_moved(job).await?;
            }
        } else {
            round.cursor = last_seq;
        }
        loop {
            let page = self.store().unmatched_callbacks(Unmatched::After(round.looked_at), PAGE).await?;
            let Some(last) = page.last().map(|callback| callback.id) else { return Ok(()) };
            for callback in &page {
                match self.consider(callback).await {
                    Ok(_) => {}
                    Err(CallbackError::Store(error)) => return Err(error),
                    Err(error) => {
                        tracing::error!(callback = callback.id, error = %error, "a call-back could not be given to its job; it is tried again");
                        round.failed = true;
                    }
                }
            }
            round.looked_at = last;
        }
    }

    /// Jobs of these accounts that moved since the last look.
    async fn moved(&self, round: &mut Round) -> Result<BTreeSet<JobId>, StoreError> {
        let mut moved = BTreeSet::new();
        loop {
            let events = match self.store().events(round.cursor, PAGE).await? {
                EventPage::Events(events) => events,
                EventPage::Gone { oldest } => {
                    // Too far behind to know which jobs moved: everything is looked at again.
                    (round.cursor, round.looked_at) = (oldest - 1, 0);
                    continue;
                }
                EventPage::Ahead { last } => {
                    (round.cursor, round.looked_at) = (last, 0);
                    continue;
                }
            };
            let Some(last) = events.last() else { return Ok(moved) };
            round.cursor = last.seq;
            let rules = self.rules();
            let ours = events
                .iter()
                .filter(|event| event.account.as_ref().is_some_and(|account| rules.accounts.contains(account)));
            moved.extend(ours.filter_map(|event| event.job));
        }
    }

    /// A call-back that came before its job was ready for it may be this job's. False: one could not be given away because of
    /// the disk.
    async fn job_moved(&self, id: JobId) -> Result<bool, StoreError> {
        let Some(details) = self.store().job(id).await? else { return Ok(true) };
        if details.job.kind != vagvin::REPORT {
            return Ok(true);
        }
        let mut is_well = true;
        let params: Value = serde_json::from_str(&details.params).unwrap_or_default();
        let vin = params.get("vin").and_then(Value::as_str).unwrap_or_default();
        let of_car = Unmatched::OfCar { account: &details.job.account, vin };
        for callback in self.store().unmatched_callbacks(of_car, PAGE).await? {
            match self.consider(&callback).await {
                Ok(_) => {}
                Err(CallbackError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(callback = callback.id, error = %error, "a call-back could not be given to its job; it is tried again");
                    is_well = false;
                }
            }
        }
        Ok(is_well)
    }

    /// Gives a call-back to its job, if it has one; says whether it did.
    async fn consider(&self, callback: &Callback) -> Result<bool, CallbackError> {
        for _ in 0..TRIES {
            let candidates = self.candidates(callback).await?;
            let state = |id| candidates.iter().find(|found| found.id == id).map(|found| found.state);
            let (job, how) = match choose(&facts(callback), &candidates) {
                Match::Job(job) => (job, How::Matched),
                Match::Answered(job) => (job, How::Answered),
                Match::Later(_) | Match::Nobody => return Ok(false),
            };
            let Some(expected) = state(job) else { return Ok(false) };
            crash::point("callback.matched");
            let given = self.give(callback, Gift { job, expected, how, even_matched: false }).await?;
            crash::point("callback.delivered");
            match given {
                Delivered::Moved(_) => continue,
                Delivered::Done(_) | Delivered::Taken(_) => return Ok(true),
                Delivered::NoCallback | Delivered::NoJob | Delivered::Refused(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn candidates(&self, callback: &Callback) -> Result<Vec<Candidate>, StoreError> {
        let Facts { vin, ids, .. } = Facts::of(callback);
        let jobs: Vec<JobId> = ids.iter().filter_map(|id| our_number(id)).collect();
        let query = CandidateQuery {
            account: &callback.account,
            kind: vagvin::REPORT,
            vin,
            ids,
            jobs: &jobs,
            limit: CANDIDATES,
        };
        let found = self.store().candidates(query).await?;
        // The order of the two hangs on no clock, which may have been set between them.
        let was_there = |job: &Job| callback.after_job.is_some_and(|last| job.id <= last);
        let in_time = found
            .into_iter()
            .filter(|found| was_there(&found.job) || found.job.created_at <= callback.at + BEFORE_ITS_ORDER);
        Ok(in_time
            .map(|found| {
                let params: Value = serde_json::from_str(&found.params).unwrap_or_default();
                Candidate::new(&found.job, &params, found.served)
            })
            .collect())
    }

    /// An operator says whose it is; also of one that was given away before.
    pub async fn assign(&self, id: i64, job: JobId) -> Result<(), AssignError> {
        let callback = self.store().callback(id).await?.ok_or(AssignError::NoCallback(id))?;
        for _ in 0..TRIES {
            let details = self.store().job(job).await?.ok_or(AssignError::NoJob(job))?;
            if details.job.account != callback.account {
                let (theirs, ours) = (&details.job.account, &callback.account);
                return Err(AssignError::Conflict(format!(
                    "job {job} is of the account {theirs}, and the call-back came for {ours}"
                )));
            }
            let gift = Gift { job, expected: details.job.state, how: How::Assigned, even_matched: true };
            match self.give(&callback, gift).await? {
                Delivered::Done(_) => return Ok(()),
                Delivered::Moved(_) => continue,
                Delivered::Taken(job) => {
                    return Err(AssignError::Conflict(format!("call-back {id} belongs to job {job} already")));
                }
                Delivered::NoCallback => return Err(AssignError::NoCallback(id)),
                Delivered::NoJob => return Err(AssignError::NoJob(job)),
                Delivered::Refused(refused) => return Err(AssignError::Conflict(advice(&refused))),
            }
        }
        Err(AssignError::Conflict(format!("job {job} moves too fast; try again")))
    }

    async fn give(&self, callback: &Callback, gift: Gift) -> Result<Delivered, CallbackError> {
        let _turn = self.inner.giving.lock().await;
        let at = self.inner.clock.now();
        let (input, files) = match gift.how {
            How::Answered => (None, Vec::new()),
            How::Matched | How::Assigned => self.unpack(callback, gift.job).await?,
        };
        let Gift { job, expected, how, even_matched } = gift;
        let delivery = Delivery { callback: callback.id, job, how, at, expected, input, files, even_matched };
        let delivered = self.store().deliver(delivery).await?;
        if let Delivered::Done(job) = &delivered {
            tell(callback, how, job.as_deref(), expected, at);
        }
        Ok(delivered)
    }

    /// What it means for the job, its files in the file store.
    async fn unpack(&self, callback: &Callback, job: JobId) -> Result<(Option<Input>, Vec<JobFile>), CallbackError> {
        let there = self.store().job_files(job).await?.into_iter().map(|file| file.name).collect();
        let raw = self.store().callback_body(callback.id).await?.ok_or(CallbackError::NoBody(callback.id))?;
        let (id, content_type) = (callback.id, callback.content_type.clone());
        // What was stored is masked; what reading makes of it is masked once more, by what is a secret now.
        let masking = Masking::by(self.inner.masks.masker());
        let unpacked = self.on_disk(move |files| {
            let body = match raw {
                RawBody::Inline(body) => Some(body),
                RawBody::File(sha256) => match sha256.parse() {
                    Ok(hash) => files.get(&hash)?.map(Bytes::from),
                    Err(_) => None,
                },
            };
            body.map(|body| unpack(files, content_type.as_deref(), &body, there, &masking)).transpose()
        });
        unpacked.await?.ok_or(CallbackError::NoBody(id))
    }
}

/// To whom a call-back goes, and how that was found.
#[derive(Debug, Clone, Copy)]
struct Gift {
    job: JobId,
    expected: State,
    how: How,
    even_matched: bool,
}

fn unpack(
    files: &FileStore,
    content_type: Option<&str>,
    body: &Bytes,
    mut taken: Vec<String>,
    masking: &Masking,
) -> Result<(Option<Input>, Vec<JobFile>), super::files::FileError> {
    let read = parse::parse(content_type, body, &Limits::DEFAULT);
    let mut callback = read.unwrap_or_else(|_| parse::unread(content_type, body));
    callback.mask(masking);
    let mut kept = Vec::new();
    for file in &mut callback.files {
        file.name = display_name::unique(&file.name, &taken);
        taken.push(file.name.clone());
        let stored = files.put(&file.bytes)?;
        crash::point("callback.file_put");
        kept.push(delivery::Kept::new(file, stored.hash.as_str()));
    }
    let remote_id = callback.ids.iter().find(|id| our_number(id).is_none()).cloned();
    let end = delivery::end(&callback, &kept, &[]);
    let input = end.map(|end| Input::Delivered { remote_id, end });
    let files = kept.into_iter().map(|file| JobFile {
        name: file.name,
        sha256: file.sha256,
        content_type: file.content_type,
        size: file.size,
    });
    Ok((input, files.collect()))
}

/// What matching looks at.
struct Facts<'a> {
    vin: Option<&'a str>,
    ids: &'a [String],
}

impl<'a> Facts<'a> {
    fn of(callback: &'a Callback) -> Self {
        Self { vin: callback.facts.vin.as_deref(), ids: &callback.facts.ids }
    }
}

fn facts(callback: &Callback) -> parse::Callback {
    let facts = callback.facts.clone();
    parse::Callback { vin: facts.vin, check_type: facts.check_type, ids: facts.ids, ..parse::Callback::default() }
}

/// The job's number in a token of ours.
fn our_number(id: &str) -> Option<JobId> {
    let (number, _) = id.strip_prefix("opros-")?.split_once('-')?;
    number.parse().ok().map(JobId)
}

fn advice(refused: &Refused) -> String {
    match refused {
        Refused::Illegal { job, state, .. } => {
            format!("job {job} is {state}: it was not sent to the vendor, so no report can be for it yet")
        }
        Refused::Final { .. } | Refused::Stale { .. } | Refused::Overdue { .. } => refused.to_string(),
    }
}

fn tell(callback: &Callback, how: How, job: Option<&Job>, before: State, at: Timestamp) {
    let waited_ms = at.since(callback.at).as_millis() as u64;
    let (id, how) = (callback.id, how.as_str());
    match job {
        Some(job) => {
            let (state, before) = (job.state.as_str(), before.as_str());
            tracing::info!(callback = id, job = job.id.0, how, before, state, waited_ms, "a call-back is with its job");
        }
        None => tracing::info!(callback = id, how, waited_ms, "a call-back is with its job, which has its answer"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::callbacks::Settings;
    use crate::clock::{ManualClock, SharedClock};
    use crate::domain::Timestamp;
    use crate::store::Store;
    use crate::store::callbacks::{Facts, NewCallback, RawBody};
    use crate::store::sqlite::SqliteStore;

    /// Fault core B19: with an account of VagVin every commit of anybody cost looks at events and call-backs.
    #[tokio::test]
    async fn commits_matter_only_while_some_call_back_waits_for_its_job() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let clock: SharedClock = Arc::new(ManualClock::new(now));
        let store = SqliteStore::open(&dir.path().join("opros.db"), true, Arc::clone(&clock)).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let settings = Settings {
            files: FileStore::open(dir.path().join("files"), 1 << 20).unwrap(),
            accounts: ["vagvin".to_owned()].into(),
            masks: Default::default(),
            retention: Duration::from_secs(60),
        };
        let callbacks = Callbacks::new(Arc::clone(&store), clock, settings);
        let mut round = Round { cursor: 0, looked_at: 0, open: true, failed: false };
        callbacks.round(&mut round, 0).await.unwrap();
        assert!(!round.open, "none waits");
        let facts = Facts { vin: Some("XTA210990Y1234567".to_owned()), ..Facts::default() };
        store
            .keep_callback(NewCallback {
                account: "vagvin".to_owned(),
                at: now,
                peer: "127.0.0.1".to_owned(),
                content_type: None,
                size: 2,
                fingerprint: "f".to_owned(),
                body: RawBody::Inline(b"{}".as_slice().into()),
                facts,
            })
            .await
            .unwrap();
        callbacks.round(&mut round, 5).await.unwrap();
        assert!(round.open, "one waits for its job");
        callbacks.round(&mut round, 5).await.unwrap();
        assert!(round.open);
        store.forget_callbacks(now + Duration::from_secs(9)).await.unwrap();
        callbacks.round(&mut round, 9).await.unwrap();
        assert!(!round.open);
    }
}
