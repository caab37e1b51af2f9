//! Rows that come with the token of another order: `INSERT OR REPLACE`, or a program that counts its tokens from one again.
//!
//! The same order under the same token is the same order, and gets its answer. Another order is rejected as a duplicate, and
//! gets a token of its own, so that the first order's row can stand beside it again. Which it is, is asked only of rows
//! whose token the store knows, and whose number is new: a row that was seen before is the first order's, whatever another
//! program wrote into it, and is written over.

use super::session::Session;
use super::trouble::Trouble;
use crate::domain::exchange::sha256_hex;
use crate::domain::repeat::Asked;
use crate::domain::{JobId, NewJob, Reason};
use crate::store::{Accepted, RejectedRow};

impl Session {
    /// Rows whose token belongs to another order. A row that cannot be understood does not get that order's answer either.
    pub(super) async fn tell_apart(
        &mut self,
        ids: &[i64],
        jobs: &[NewJob],
        verdicts: &[Option<Accepted>],
        misfits: Vec<(i64, RejectedRow)>,
        refused: &[Accepted],
    ) -> Result<(), Trouble> {
        let mut rejected = Vec::new();
        for ((id, job), verdict) in ids.iter().zip(jobs).zip(verdicts) {
            let Some(Accepted::Reused(Some(first))) = verdict else { continue };
            let Some(uid) = job.mailbox_uid.clone().filter(|_| *id > self.compared) else { continue };
            let reason = Reason::new("uid_reused", belongs_to(&uid, *first));
            rejected.push(self.apart(*id, uid, Some(job.kind.clone()), reason, *first));
        }
        for ((id, row), verdict) in misfits.into_iter().zip(refused) {
            let Accepted::Reused(Some(first)) = verdict else { continue };
            if id > self.compared {
                let told = format!("{}; and {}", row.reason.message, belongs_to(&row.uid, *first));
                rejected.push(self.apart(id, row.uid, row.kind, Reason::new(&row.reason.code, told), *first));
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
        let asked = Asked { row: Some(id), ..Asked::default() };
        RejectedRow { uid: own, kind, reason, duplicate_of: Some(first), asked }
    }
}

fn belongs_to(uid: &str, first: JobId) -> String {
    format!(
        "the uid {uid:?} belongs to job {first}, which ordered something else. Nothing is ordered for this row; insert it \
         again with a uid of its own, or without one"
    )
}
