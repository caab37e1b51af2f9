//! `tronk.report`: checkqueue until the report is there, then getresult for its link.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::cadence::{FETCH_TRIES, Memo, Stage, clock_start};
use super::wire::{Reply, as_written, has_content};
use super::{Flow, JobView, Tronk};
use crate::domain::exchange::Answer;
use crate::domain::state::{End, Outcome};
use crate::domain::{Reason, Timestamp};
use crate::vendors::{Reading, lenient};

/// What the job ends with. `checked` and `fetched` are the answers as they came.
struct Finished<'a> {
    report: Option<Value>,
    url: Option<String>,
    checked: &'a str,
    fetched: Option<&'a str>,
}

impl Finished<'_> {
    fn outcome(self, job: &JobView<'_>) -> Outcome {
        let texts: Vec<&str> = [Some(self.checked), self.fetched].into_iter().flatten().collect();
        let written = self.report.as_ref().and_then(|report| as_written(Flow::Queue, &texts, report));
        let result = ReportResult {
            id: job.job.remote_id.as_deref(),
            raw: json!({ "check": self.checked, "get": self.fetched }),
            report: written,
            url: self.url,
        };
        Outcome::Ended(End::Success { result: serde_json::to_string(&result).unwrap_or_default() })
    }
}

#[derive(Serialize)]
struct ReportResult<'a> {
    id: Option<&'a str>,
    raw: Value,
    report: Option<Box<RawValue>>,
    url: Option<String>,
}

impl Tronk {
    pub(super) fn read_queue_poll(
        &self,
        job: &JobView<'_>,
        reply: Result<Reply, Reason>,
        answer: &Answer,
        now: Timestamp,
    ) -> Reading {
        let memo = Memo::of(job);
        let text = lenient::answer_text(answer).into_owned();
        match (memo.stage, job.partial) {
            (Stage::Get, Some(checked)) => self.read_getresult(job, memo, checked, reply, &text, now),
            (Stage::Check | Stage::Get, _) => self.read_checkqueue(job, memo, reply, text, now),
        }
    }

    fn read_checkqueue(
        &self,
        job: &JobView<'_>,
        memo: Memo,
        reply: Result<Reply, Reason>,
        text: String,
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
        let (report, url) = (reply.report(), reply.url());
        let ready = self.is_ready(&reply) || report.as_ref().is_some_and(has_content) || url.is_some();
        Reading::one(if !ready {
            self.pending(job, None, now)
        } else if report.is_some() && url.is_some() {
            Finished { report, url, checked: &text, fetched: None }.outcome(job)
        } else {
            Outcome::Progressed { partial: Some(text), memo: memo.fetch(0).text(), next_at: now }
        })
    }

    /// The report itself is in hand by now, and paid for: nothing short of the account's fault may lose it.
    fn read_getresult(
        &self,
        job: &JobView<'_>,
        memo: Memo,
        checked: &str,
        reply: Result<Reply, Reason>,
        text: &str,
        now: Timestamp,
    ) -> Reading {
        let kept = Reply::kept(Flow::Queue, checked);
        let report = kept.as_ref().and_then(Reply::report);
        let over = self.cadence().next(now.since(clock_start(job)), now).is_none();
        let reply = match reply.and_then(|reply| about_this_job(job, reply)) {
            Ok(reply) => Some(reply),
            Err(_) if over && report.is_some() => None,
            Err(reason) => return Reading::one(lenient::unclear(reason)),
        };
        let refusal = reply.as_ref().and_then(Reply::error).map(|message| self.complained(message));
        if let Some(refusal) = refusal.filter(|refusal| refusal.account.is_some() || report.is_none()) {
            return refusal;
        }
        let report = report.or_else(|| reply.as_ref().and_then(Reply::report));
        let url = reply.as_ref().and_then(Reply::url).or_else(|| kept.as_ref().and_then(Reply::url));
        let tries = memo.tries.saturating_add(1);
        Reading::one(if url.is_some() || (report.is_some() && (over || tries >= FETCH_TRIES)) {
            Finished { report, url, checked, fetched: Some(text) }.outcome(job)
        } else if tries < FETCH_TRIES {
            let next_at = self.cadence().fetch_again(now);
            Outcome::Progressed { partial: None, memo: memo.fetch(tries).text(), next_at }
        } else {
            // Ready, they say, but neither report nor link: ask on by the plan.
            self.pending(job, Some(memo.fetch(tries)), now)
        })
    }

    /// Not yet: again by the plan, or never again once the plan is over.
    pub(super) fn pending(&self, job: &JobView<'_>, memo: Option<Memo>, now: Timestamp) -> Outcome {
        let next_at = self.cadence().next(now.since(clock_start(job)), now);
        Outcome::Unchanged { memo: memo.and_then(Memo::text), next_at }
    }
}

/// An answer that names another task than the one asked about, or none and no state of one, says nothing of this job.
pub(super) fn about_this_job(job: &JobView<'_>, reply: Reply) -> Result<Reply, Reason> {
    if reply.error().is_none() && !reply.is_about_a_task() {
        let what = format!("the answer speaks of no task: {}", reply.excerpt());
        return Err(Reason::new("unexpected_answer", what));
    }
    match (job.job.remote_id.as_deref(), reply.id()) {
        (Some(ours), Some(theirs)) if !same_id(ours, &theirs) => {
            let what = format!("asked about task {ours}, the vendor answered about task {theirs}");
            Err(Reason::new("other_task", what))
        }
        _ => Ok(reply),
    }
}

/// 7 and "007" are one task.
fn same_id(ours: &str, theirs: &str) -> bool {
    ours.trim().trim_start_matches('0') == theirs.trim_start_matches('0')
}
