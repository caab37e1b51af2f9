//! The driver against the documented answers, mangled ones and arbitrary ones.

mod flows;
mod inputs;
mod requests;
mod submits;

use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Job, JobId, State};
use crate::vendors::{AccountNews, Verdict};

const KEY: &str = "867983b5-d66d-44d7-b440-5bd00b0b8203";
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn common() -> Common {
    Common {
        settle: Duration::ZERO, resubmit: false, pause_on: vec!["Неверный ключ".into()], loopback: false
    }
}

fn tronk() -> Tronk {
    Tronk::new(Settings::new(common(), SecretString::from(KEY)))
}

fn job(kind: &str, remote_id: Option<&str>) -> Job {
    Job {
        id: JobId(1),
        kind: kind.into(),
        account: "tronk".into(),
        traits: TRAITS,
        state: if remote_id.is_some() { State::Waiting } else { State::Submitting },
        priority: 5,
        due_at: None,
        deadline: None,
        cancel_requested: false,
        dedupe_key: None,
        tag: None,
        remote_id: remote_id.map(str::to_owned),
        attempt: Some("a".into()),
        turn: 1,
        submissions: 1,
        polls: 0,
        errors: 0,
        unknown_errors: 0,
        absences: 0,
        doubt_since: None,
        memo: None,
        seen: None,
        reason: None,
        created_at: START,
        submitted_at: remote_id.map(|_| START),
        updated_at: START,
        finished_at: None,
        mailbox_uid: None,
        retry_of: None,
        observed_at: None,
        stale_since: None,
        uid: None,
    }
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer { status, content_type: None, retry_after: None, body: body.into() }
}

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// A job that is polled with one answer after the other; keeps memo and partial as the store does.
struct Story {
    driver: Tronk,
    job: Job,
    params: Value,
    partial: Option<String>,
}

impl Story {
    fn report() -> Self {
        Self { driver: tronk(), job: job(REPORT, Some("123")), params: json!({"phone": "79990000111"}), partial: None }
    }

    fn report_json() -> Self {
        let params = json!({"vin": "XTA210990Y2765432"});
        Self { driver: tronk(), job: job(REPORT_JSON, Some("77")), params, partial: None }
    }

    fn view(&self) -> JobView<'_> {
        JobView { job: &self.job, params: &self.params, partial: self.partial.as_deref() }
    }

    fn mode(&self) -> &'static str {
        self.driver.request(Call::Poll, &[self.view()], START).op
    }

    fn reading(&self, status: u16, body: &str, seconds: u64) -> Reading {
        self.driver.read(Call::Poll, &[self.view()], &answer(status, body.to_owned()), after(seconds))
    }

    fn poll(&mut self, body: &str, seconds: u64) -> Outcome {
        let reading = self.reading(200, body, seconds);
        assert_eq!(reading.account, None, "{reading:?}");
        let outcome = only(reading);
        match &outcome {
            Outcome::Progressed { partial, memo, .. } => {
                self.partial = partial.clone().or(self.partial.take());
                self.job.memo = memo.clone().or(self.job.memo.take());
            }
            Outcome::Unchanged { memo, .. } => self.job.memo = memo.clone().or(self.job.memo.take()),
            _ => {}
        }
        outcome
    }
}

fn only(reading: Reading) -> Outcome {
    match reading.verdicts.as_slice() {
        [Verdict::Outcome(outcome)] => outcome.clone(),
        other => panic!("one outcome was expected: {other:?}"),
    }
}

fn result(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Ended(End::Success { result }) => serde_json::from_str(&result).expect("a result is JSON"),
        other => panic!("a success was expected: {other:?}"),
    }
}

fn failure(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Ended(End::Failure { reason, .. }) => reason,
        other => panic!("a failure was expected: {other:?}"),
    }
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/vendors/tronk/fixtures/", $name))
    };
}
use fixture;
