//! Rows that come with the token of another order: `INSERT OR REPLACE`, or a program that counts its tokens from one again.
//!
//! The same order under the same token is the same order, and gets its answer. Another order is rejected as a duplicate, and
//! gets a token of its own, so that the first order's row can stand beside it again. Which it is, is asked only of rows
//! whose token the store knows, and whose number is new: a row that was seen before is the first order's, whatever another
//! program wrote into it, and is written over.

use super::session::Session;
use super::trouble::Trouble;
use crate::domain::exchange::sha256_hex;
use crate::domain::{JobId, NewJob, Reason};
use crate::store::{Accepted, RejectedRow};

impl Session {
    /// Of rows that cannot be understood: one whose token belongs to a job does not get that job's answer.
    pub(super) async fn tell_misfits_apart(
        &mut self,
        rejected: Vec<(i64, RejectedRow)>,
    ) -> Result<Vec<RejectedRow>, Trouble> {
        if rejected.is_empty() {
            return Ok(Vec::new());
        }
        let uids: Vec<String> = rejected.iter().map(|(_, row)| row.uid.clone()).collect();
        let known = self.engine.store().mailbox_rows(&uids).await?;
        let mut all = Vec::with_capacity(rejected.len());
        for (id, row) in rejected {
            let first = known.get(&row.uid).filter(|known| known.ordered.is_some() && id > self.compared);
            match first.and_then(|first| first.job) {
                Some(first) => {
                    let told = format!("{}; and {}", row.reason.message, belongs_to(&row.uid, first));
                    all.push(self.apart(id, row.uid, row.kind, Reason::new(&row.reason.code, told), first));
                }
                None => all.push(row),
            }
        }
        Ok(all)
    }

    /// Of rows that were understood and whose token was known: those that order something else than its job.
    pub(super) async fn tell_others_apart(
        &mut self,
        ids: &[i64],
        jobs: &[NewJob],
        verdicts: &[Option<Accepted>],
    ) -> Result<(), Trouble> {
        let mut rejected = Vec::new();
        for ((id, job), verdict) in ids.iter().zip(jobs).zip(verdicts) {
            let Some(Accepted::Taken(Some(first))) = verdict else { continue };
            let Some(uid) = job.mailbox_uid.clone() else { continue };
            let Some(known) = self.engine.store().job(*first).await? else { continue };
            // The token of a row that was rejected as a duplicate leads to a job that is not its own.
            let is_its_own = known.job.mailbox_uid.as_ref() == Some(&uid);
            let is_same = known.job.kind == job.kind && known.job.account == job.account && known.params == job.params;
            if is_its_own && !is_same && *id > self.compared {
                let reason = Reason::new("duplicate", belongs_to(&uid, *first));
                rejected.push(self.apart(*id, uid, Some(job.kind.clone()), reason, *first));
            }
        }
        if !rejected.is_empty() {
            tracing::warn!(rows = rejected.len(), "mailbox rows came with the uid of other orders; rejected");
            self.engine.store().reject(rejected, self.engine.now()).await?;
        }
        Ok(())
    }

    fn apart(&mut self, id: i64, uid: String, kind: Option<String>, reason: Reason, first: JobId) -> RejectedRow {
        // The same row gets the same token again, after a crash too.
        let own = format!("reused:{id}:{}", &sha256_hex(uid.as_bytes())[..16]);
        self.ids.remove(&uid);
        self.ids.insert(own.clone(), id);
        self.pending.insert(own.clone());
        // The first order's row was replaced: it is put back.
        self.pending.insert(uid.clone());
        self.apart.insert(own.clone(), uid);
        RejectedRow { uid: own, kind, reason, duplicate_of: Some(first) }
    }
}

fn belongs_to(uid: &str, first: JobId) -> String {
    format!(
        "the uid {uid:?} belongs to job {first}, which ordered something else. Nothing is ordered for this row; insert it \
         again with a uid of its own, or without one"
    )
}
