//! Tronk: paid reports on a phone, a car's plate, its VIN or its body number. What the vendor says is in `README.md`.

mod blocks;
mod cadence;
mod params;
mod queue;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use self::cadence::Cadence;
use self::wire::{Complaint, Reply};
use super::{Checked, Common, JobView, KindSpec, ParamProblem, Reading, Vendor, lenient};
use crate::domain::exchange::{Answer, Body, Field, Host, Method, Request};
use crate::domain::policy::PollStep;
use crate::domain::state::{End, Outcome};
use crate::domain::{Call, Reason, Timestamp, Traits};

/// The vendor's own host.
pub const BASE_URL: &str = "https://data.tronk.info";

pub(crate) const REPORT: &str = "tronk.report";
pub(crate) const REPORT_JSON: &str = "tronk.report_json";

/// A lost submit is lost: the vendor has no list to look in, no token of ours and no way to cancel.
const TRAITS: Traits = Traits { repeatable: false, look_up: false, tell_cancel: false, tracker: false };

pub const KINDS: &[KindSpec] = &[
    KindSpec {
        name: REPORT,
        traits: TRAITS,
        summary: "A report on one phone, plate, VIN or body number (setqueue, checkqueue, getresult).",
        params: &["phone", "gosnumber", "vin", "frame", "force"],
        example: r#"{"phone":"79990000111"}"#,
    },
    KindSpec {
        name: REPORT_JSON,
        traits: TRAITS,
        summary: "A report in blocks on one plate, body number or VIN (create, check, result).",
        params: &["gosnumber", "frame", "vin", "force"],
        example: r#"{"vin":"XTA210990Y2765432"}"#,
    },
];

/// What one account is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub common: Common,
    /// The access key, a GUID in the vendor's samples. It travels in the query, so the whole URL is a secret.
    pub key: SecretString,
    /// How often to ask, and for how long; after the last step the job expires.
    pub poll: Vec<PollStep>,
    /// Values of `status` that mean "ready". Only 1 is known.
    pub ready_statuses: Vec<i64>,
    /// Values of `status` that mean "will never be ready". None is known; every other value means "not yet".
    pub failed_statuses: Vec<i64>,
    /// Whether the page behind a report's `url` is kept too.
    pub download: bool,
}

impl Settings {
    /// The documented defaults.
    pub fn new(common: Common, key: SecretString) -> Self {
        Self {
            common,
            key,
            poll: default_poll(),
            ready_statuses: vec![1],
            failed_statuses: Vec::new(),
            download: false,
        }
    }
}

/// 10 s for 5 minutes, 30 s to the 15th, then once a minute until an hour is over: the vendor's page on reportjson
/// gives these intervals, and for the other reports it says only "with some interval".
pub fn default_poll() -> Vec<PollStep> {
    let step =
        |every, minutes: u64| PollStep { every: Duration::from_secs(every), span: Duration::from_secs(60 * minutes) };
    vec![step(10, 5), step(30, 10), step(60, 45)]
}

#[derive(Debug)]
pub struct Tronk {
    settings: Settings,
}

impl Tronk {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn cadence(&self) -> Cadence<'_> {
        Cadence::new(&self.settings.poll)
    }

    fn read_one(&self, call: Call, job: &JobView<'_>, answer: &Answer, now: Timestamp) -> Reading {
        let flow = Flow::of(job);
        let reply = Reply::read(flow, answer);
        match (call, flow) {
            (Call::Submit, _) => self.read_submit(reply, answer, now),
            (Call::Poll, Flow::Queue) => self.read_queue_poll(job, reply, answer, now),
            (Call::Poll, Flow::Blocks) => self.read_blocks_poll(job, reply, answer, now),
            // Neither trait is set, so the state table never asks for these.
            (Call::LookUp | Call::Cancel, _) => Reading::one(lenient::unclear(Reason::new(
                "no_such_call",
                "the vendor can neither be asked for lost requests nor be told of a cancellation",
            ))),
        }
    }

    /// Only a task id without an error is an acceptance, only the error mark is a refusal; the rest stays in doubt.
    fn read_submit(&self, reply: Result<Reply, Reason>, answer: &Answer, now: Timestamp) -> Reading {
        let reply = match reply {
            Ok(reply) => reply,
            Err(reason) => return Reading::one(lenient::unclear(reason)),
        };
        if let Some(message) = reply.error() {
            return self.refused(message, answer);
        }
        match reply.accepted_id() {
            Ok(id) => {
                let next_at = self.cadence().next(Duration::ZERO, now).unwrap_or_else(|| self.cadence().pace(now, now));
                Reading::one(Outcome::Accepted { remote_id: Some(id), memo: None, next_at })
            }
            Err(what) => Reading::one(lenient::unclear(wire::odd(answer, &what))),
        }
    }

    /// The vendor's own error in answer to an order: the account's fault, "come later", or the end of the job. Where it broke
    /// off at the vendor's, the order may have been booked.
    fn refused(&self, message: &str, answer: &Answer) -> Reading {
        match wire::complaint(message, &self.settings.common.pause_on) {
            Complaint::Account(reason) => Reading::held(1, reason),
            Complaint::Later(reason) => Reading::one(Outcome::NotTaken { reason, again_at: None }),
            Complaint::Broken(reason) => Reading { readable: true, ..Reading::one(lenient::unclear(reason)) },
            Complaint::Other(reason) => {
                // What else stands in it (dates, the car) has no other place.
                let result = json!({ "answer": lenient::answer_text(answer) }).to_string();
                Reading::one(Outcome::Ended(End::Failure { reason, result: Some(result) }))
            }
        }
    }

    /// The same about a report that is paid for: what is no fault of the account's may pass.
    fn complained(&self, message: &str) -> Reading {
        match wire::complaint(message, &self.settings.common.pause_on) {
            Complaint::Account(reason) => Reading::held(1, reason),
            Complaint::Later(reason) | Complaint::Broken(reason) => {
                Reading::one(Outcome::NotTaken { reason, again_at: None })
            }
            Complaint::Other(reason) => Reading::one(Outcome::UnknownError { reason }),
        }
    }

    /// The end of the job when its `status` is one of those that the operator declared hopeless.
    fn hopeless(&self, reply: &Reply) -> Option<Outcome> {
        let status = reply.status().filter(|status| self.settings.failed_statuses.contains(status))?;
        let said = reply.message().map(|text| format!(": {text}")).unwrap_or_default();
        let message = format!("the vendor gave the report status {status}, which failed_statuses lists{said}");
        Some(Outcome::Ended(End::Failure { reason: Reason::new("report_failed", message), result: None }))
    }

    fn is_ready(&self, reply: &Reply) -> bool {
        reply.status().is_some_and(|status| self.settings.ready_statuses.contains(&status))
    }
}

/// Which three modes carry a job: the two families of reports differ in modes, in the case of their keys and in shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// setqueue, checkqueue, getresult.
    Queue,
    /// create, check, result.
    Blocks,
}

impl Flow {
    fn of(job: &JobView<'_>) -> Self {
        if job.job.kind == REPORT_JSON { Flow::Blocks } else { Flow::Queue }
    }
}

impl Vendor for Tronk {
    fn kinds(&self) -> &'static [KindSpec] {
        KINDS
    }

    fn check(&self, kind: &str, params: &Value) -> Result<Checked, Vec<ParamProblem>> {
        match KINDS.iter().find(|spec| spec.name == kind) {
            Some(spec) => params::check(spec, params).map(Checked::new),
            None => Err(vec![ParamProblem::at("", format!("tronk has no kind {kind:?}"))]),
        }
    }

    fn request(&self, call: Call, jobs: &[JobView<'_>], _now: Timestamp) -> Request {
        let (path, mode, subject) = wire::target(call, jobs.first());
        let mut query = vec![Field::secret("key", self.settings.key.expose_secret()), Field::open("mode", mode)];
        query.extend(subject);
        Request { op: mode, method: Method::Get, host: Host::Primary, path: path.to_owned(), query, body: Body::Empty }
    }

    fn pace(&self, _call: Call, job: &JobView<'_>, now: Timestamp) -> Timestamp {
        self.cadence().pace(cadence::clock_start(job), now)
    }

    fn attachment(&self, kind: &str, result: &str) -> Option<String> {
        let wanted = self.settings.download && kind == REPORT;
        let result: Value = wanted.then(|| serde_json::from_str(result).ok())??;
        lenient::string_field(&result, "url")
    }

    fn read(&self, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        let mut whole = Reading { account: None, readable: false, verdicts: Vec::with_capacity(jobs.len()) };
        for job in jobs {
            let one = self.read_one(call, job, answer, now);
            whole.account = whole.account.or(one.account);
            whole.readable |= one.readable;
            whole.verdicts.extend(one.verdicts);
        }
        whole
    }
}
