mod answers;
mod params;
mod properties;
mod requests;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::domain::JobId;
use crate::domain::state::{Begin, Input, step};
use crate::vendors::Verdict;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const TOKEN: &str = "ваш_токен";

fn driver() -> VagVin {
    let common =
        Common { settle: Duration::ZERO, resubmit: false, pause_on: vec!["Абонемент".into()], loopback: true };
    VagVin::new(Settings::new(common, SecretString::from(TOKEN)))
}

fn job(kind: &str, state: State) -> Job {
    Job {
        id: JobId(812),
        kind: kind.into(),
        account: "vagvin".into(),
        traits: KINDS.iter().find(|spec| spec.name == kind).unwrap().traits,
        state,
        priority: 5,
        due_at: Some(NOW),
        deadline: None,
        cancel_requested: false,
        dedupe_key: None,
        tag: None,
        remote_id: None,
        attempt: None,
        turn: 1,
        submissions: 0,
        polls: 0,
        errors: 0,
        unknown_errors: 0,
        absences: 0,
        doubt_since: None,
        memo: None,
        seen: None,
        reason: None,
        created_at: NOW,
        submitted_at: None,
        updated_at: NOW,
        finished_at: None,
        mailbox_uid: None,
        retry_of: None,
        observed_at: None,
        stale_since: None,
        uid: None,
    }
}

fn order() -> Value {
    json!({"vin": "WAUZZZ8K9BA012345", "check_type": "check_elsa_pro_full", "car_brand": "Audi", "report_language": "Русский"})
}

fn with(changes: Value) -> Value {
    let mut order = order();
    for (name, value) in changes.as_object().unwrap() {
        order[name] = value.clone();
    }
    order
}

fn check(params: Value) -> Result<Checked, Vec<ParamProblem>> {
    driver().check(REPORT, &params)
}

fn problem(params: Value) -> (String, String) {
    let mut problems = check(params).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = problems.remove(0);
    (problem.pointer, problem.message)
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer { status, content_type: None, retry_after: None, body: body.into() }
}

fn read(kind: &str, status: u16, body: impl Into<Bytes>) -> Reading {
    let (job, params) = (job(kind, State::Submitting), order());
    let view = JobView { job: &job, params: &params, partial: None };
    driver().read(Call::Submit, &[view], &answer(status, body), NOW)
}

fn outcome(status: u16, body: impl Into<Bytes>) -> Outcome {
    let mut reading = read(REPORT, status, body);
    match reading.verdicts.remove(0) {
        Verdict::Outcome(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn accepted(status: u16, body: &str) -> (Option<String>, Value) {
    match outcome(status, body.to_owned()) {
        Outcome::Accepted { remote_id, memo, next_at } => {
            assert_eq!(next_at, NOW + Duration::from_secs(48 * 3600));
            (remote_id, serde_json::from_str(&memo.unwrap()).unwrap())
        }
        other => panic!("HTTP {status} {body:?}: {other:?}"),
    }
}

#[test]
fn a_report_waits_for_its_call_back_and_expires_without_one() {
    let queued = job(REPORT, State::Queued);
    assert_eq!(driver().due(&queued, NOW), Due::Call(Call::Submit));
    let begin = Input::Begin(Begin::Submit { token: "t".into(), request_hash: "h".into() });
    let submitting = step(queued, begin, NOW).unwrap().job;
    let turn = submitting.turn;
    let input = Input::End { turn, call: Call::Submit, outcome: outcome(200, r#"{"id": 77}"#) };
    let waiting = step(submitting, input, NOW).unwrap().job;
    assert_eq!((waiting.state, waiting.remote_id.as_deref()), (State::Waiting, Some("77")));

    let due_at = waiting.due_at.unwrap();
    assert_eq!(due_at, NOW + Settings::GIVE_UP);
    // Woken or adopted too soon, it is put back to the one time at which there is something to do.
    let woken = step(waiting.clone(), Input::Wake, NOW).unwrap().job;
    for now in [NOW, due_at - Duration::from_millis(1)] {
        assert_eq!(driver().due(&woken, now), Due::Later(due_at));
    }
    assert_eq!(step(woken, Input::Postpone { until: due_at }, NOW).unwrap().job, waiting);
    let Due::GiveUp(reason) = driver().due(&waiting, due_at) else { panic!("not given up") };
    assert!(reason.message.contains("48 h"), "{reason:?}");
    assert_eq!(step(waiting, Input::GiveUp { reason }, due_at).unwrap().job.state, State::Expired);
}

#[test]
fn a_report_in_doubt_is_never_asked_for_nor_sent_again() {
    let doubtful = job(REPORT, State::InDoubt);
    assert_eq!(driver().due(&doubtful, NOW), Due::Nothing);
    let view = JobView { job: &doubtful, params: &order(), partial: None };
    for call in [Call::Poll, Call::LookUp, Call::Cancel] {
        let reading = driver().read(call, &[view, view], &answer(200, "{}"), NOW);
        assert_eq!(reading.verdicts.len(), 2);
        assert!(reading.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Outcome(Outcome::Unclear { .. }))));
    }
}
