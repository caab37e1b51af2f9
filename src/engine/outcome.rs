//! An outcome that the store refuses for what it is: everything but the one change at fault is saved, and that one is settled as
//! a crash would leave it.

use super::account::Runner;
use super::bisect::{Fate, SetId};
use super::claim::Claimed;
use super::quarantine::set_aside;
use super::step::{committed, store_failed};
use crate::domain::state::Input;
use crate::domain::{Call, JobId};
use crate::store::{Batch, Change, StoreError};

/// So often in a row the store may refuse an outcome with an error of its content's before it is taken apart.
pub const REFUSALS: u32 = 4;

/// Offers the parts of a batch one by one.
pub async fn take_apart(runner: &Runner, batch: Batch) {
    let Batch { at, changes, accounts, call, downloads, spending, .. } = batch;
    for change in changes {
        let wishes = downloads.iter().filter(|wish| wish.job == change.job).cloned().collect();
        let job = change.job;
        let alone =
            Batch { at, changes: vec![change], downloads: wishes, spending: spending.clone(), ..Batch::default() };
        if !offered(runner, alone).await {
            settle(runner, job).await;
        }
    }
    let rest = [Batch { at, accounts, ..Batch::default() }, Batch { at, call, ..Batch::default() }];
    for batch in rest {
        offered(runner, batch).await;
    }
}

/// False: the store refuses it.
async fn offered(runner: &Runner, batch: Batch) -> bool {
    match runner.shared.store.apply(batch).await {
        Ok(results) => {
            committed(runner, results);
            true
        }
        Err(error @ (StoreError::Refused(_) | StoreError::Other(_))) => {
            tracing::error!(account = runner.name(), error = %error, "the store refuses this part of an outcome");
            false
        }
        // It cannot tell now; the next start finds the job as it stands.
        Err(error) => {
            store_failed(runner, &error, "a part of an outcome is not stored");
            true
        }
    }
}

/// The store refuses to note that a call begins, for what it is: of many jobs it is found for which one, and that one is left.
pub async fn not_begun(runner: &Runner, call: Call, set: Option<SetId>, jobs: &[Claimed]) {
    let fate = match jobs {
        [claimed] if runner.quarantine.strike(claimed.job.id) => {
            settle(runner, claimed.job.id).await;
            Fate::Failed
        }
        [_] => Fate::Untouched,
        _ => Fate::Split,
    };
    let fates: Vec<(JobId, Fate)> = jobs.iter().map(|claimed| (claimed.job.id, fate)).collect();
    runner.bisect.learn(set, call, &fates);
}

/// The answer cannot be kept. A submit may have been paid for and is in doubt, as after a crash; nothing more is done with the job.
async fn settle(runner: &Runner, job: JobId) {
    let aside = set_aside(job, "the store refuses to write down what became of this job");
    let inputs = [Input::Recover, aside];
    let mut is_settled = false;
    for input in inputs {
        let applied = runner.shared.store.apply(Batch::of(runner.now(), vec![Change { job, input }])).await;
        is_settled = matches!(applied.as_deref(), Ok([Ok(_)]));
    }
    if !is_settled {
        // Not even that can be written about it: it is not called about again while this process lives.
        runner.bar(job);
    }
    tracing::error!(
        account = runner.name(),
        job = job.0,
        is_settled,
        "what became of a job cannot be stored; the job is set aside: see opros explain {job}"
    );
}
