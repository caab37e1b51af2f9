//! `tronk.report_json`: the report is ready first and its blocks are refreshed afterwards; the result is fetched once
//! every block is through, or once the plan is over.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::cadence::{FETCH_TRIES, Memo, Stage};
use super::queue::about_this_job;
use super::wire::{Reply, as_written, has_content};
use super::{Flow, JobView, Tronk};
use crate::domain::exchange::Answer;
use crate::domain::state::{End, Outcome};
use crate::domain::{Reason, Timestamp};
use crate::vendors::{Reading, lenient};

impl Tronk {
    pub(super) fn read_blocks_poll(
        &self,
        job: &JobView<'_>,
        reply: Result<Reply, Reason>,
        answer: &Answer,
        now: Timestamp,
    ) -> Reading {
        let reply = match reply.and_then(|reply| about_this_job(job, reply)) {
            Ok(reply) => reply,
            Err(reason) => return Reading::one(lenient::unclear(reason)),
        };
        if let Some(message) = reply.error() {
            return self.complained(message);
        }
        if let Some(end) = self.hopeless(&reply) {
            return Reading::one(end);
        }
        let memo = Memo::of(job);
        let text = lenient::answer_text(answer).into_owned();
        Reading::one(match (memo.stage, job.partial) {
            (Stage::Get, Some(checked)) => self.read_result(job, memo, checked, &reply, text, now),
            (Stage::Check | Stage::Get, _) => self.read_check(job, memo, &reply, text, now),
        })
    }

    fn read_check(&self, job: &JobView<'_>, memo: Memo, reply: &Reply, text: String, now: Timestamp) -> Outcome {
        if !self.is_ready(reply) {
            return self.pending(job, None, now);
        }
        // The vendor's clock starts when the report is ready and its blocks are not.
        let ready_at = memo.ready_at.unwrap_or(now);
        let memo = Memo { ready_at: Some(ready_at), ..memo };
        match self.cadence().next(now.since(ready_at), now) {
            Some(next_at) if !reply.blocks_settled() => {
                Outcome::Unchanged { memo: memo.text(), next_at: Some(next_at) }
            }
            // Blocks that are late by the whole plan are not waited for: what is there was paid for.
            Some(_) | None => Outcome::Progressed { partial: Some(text), memo: memo.fetch(0).text(), next_at: now },
        }
    }

    fn read_result(
        &self,
        job: &JobView<'_>,
        memo: Memo,
        checked: &str,
        reply: &Reply,
        text: String,
        now: Timestamp,
    ) -> Outcome {
        if let Some(report) = reply.result().filter(has_content) {
            return finished(job, &report, reply, checked, &text);
        }
        let tries = memo.tries.saturating_add(1);
        if tries < FETCH_TRIES {
            let next_at = self.cadence().fetch_again(now);
            return Outcome::Progressed { partial: None, memo: memo.fetch(tries).text(), next_at };
        }
        self.pending(job, Some(memo.fetch(tries)), now)
    }
}

fn finished(job: &JobView<'_>, report: &Value, reply: &Reply, checked: &str, fetched: &str) -> Outcome {
    let result = BlocksResult {
        id: job.job.remote_id.as_deref(),
        raw: json!({ "check": checked, "result": fetched }),
        report: as_written(Flow::Blocks, &[fetched], report),
        task: reply.task_as_it_came(),
    };
    Outcome::Ended(End::Success { result: serde_json::to_string(&result).unwrap_or_default() })
}

#[derive(Serialize)]
struct BlocksResult<'a> {
    id: Option<&'a str>,
    raw: Value,
    report: Option<Box<RawValue>>,
    task: Value,
}
