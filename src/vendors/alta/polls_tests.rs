//! One tracked job, poll by poll.

use super::*;
use crate::domain::state::{Begin, Input, Observation, step};

/// A job that was accepted at midnight, and the answers it gets.
struct Tracked {
    alta: Alta,
    job: Job,
    params: Value,
    partial: Option<String>,
    seen: Option<Value>,
    result: Option<Value>,
    now: Timestamp,
}

fn line(hash: &str, modified: &str, status: i64, on_track: &str) -> Value {
    json!({ "hash": hash, "name": "x", "modify_date": modified, "status": status, "on_track": on_track })
}

fn list(lines: &[Value]) -> String {
    let mut all = vec![json!({ "status": "ok" })];
    all.extend_from_slice(lines);
    Value::Array(all).to_string()
}

fn show(num: &str, station: &str, on_track: u8) -> String {
    json!([{ "status": "ok", "query_status": "4" }, { "num": num, "station": station, "on_track": on_track }])
        .to_string()
}

impl Tracked {
    fn new(change: Value) -> Self {
        let mut params = json!({ "wagons": ["54676515"], "track_state": "ru", "track_type": 2, "times": ["09:00"] });
        for (name, value) in change.as_object().unwrap() {
            params[name] = value.clone();
        }
        let mut job = job(TRACK, State::Waiting);
        job.remote_id = Some(WAGON.into());
        job.submitted_at = Some(job.created_at);
        let now = job.created_at;
        Self { alta: alta(), job, params: checked(TRACK, params), partial: None, seen: None, result: None, now }
    }

    fn mixed() -> Self {
        let mut tracked = Self::new(json!({ "wagons": ["54676515", "AMFU8899067"] }));
        tracked.job.remote_id = Some(format!("{WAGON}+{CONTAINER}"));
        tracked
    }

    fn view(&self) -> JobView<'_> {
        JobView { job: &self.job, params: &self.params, partial: self.partial.as_deref() }
    }

    /// Waits until the job is due, checks what it asks for, and answers.
    fn poll(&mut self, asks: &str, body: &str) -> &mut Self {
        self.now = self.now.max(self.job.due_at.unwrap());
        let call = self.job.next_call().unwrap();
        let request = self.alta.request(call, &[self.view()], self.now);
        let sent = form(&request);
        let hash = sent.iter().find(|(name, _)| *name == "hash").map(|(_, hash)| hash.as_str()).unwrap_or_default();
        assert_eq!(format!("{} {hash}", request.op).trim_end(), asks, "at {}", self.now);
        let next_at = self.alta.pace(call, &self.view(), self.now);
        self.apply(Input::Begin(Begin::Free { call, next_at }));
        let reading = self.alta.read(call, &[self.view()], &answer(body), self.now);
        let outcome = self.outcome(reading.verdicts.into_iter().next().unwrap());
        self.apply(Input::End { turn: self.job.turn, call, outcome });
        self
    }

    fn lose(&mut self) -> &mut Self {
        self.now = self.now.max(self.job.due_at.unwrap());
        let next_at = self.alta.pace(Call::Poll, &self.view(), self.now);
        self.apply(Input::Begin(Begin::Free { call: Call::Poll, next_at }));
        let outcome = Outcome::Unclear { reason: Reason::new("lost", "cut") };
        self.apply(Input::End { turn: self.job.turn, call: Call::Poll, outcome });
        self
    }

    fn outcome(&mut self, verdict: Verdict) -> Outcome {
        match verdict {
            Verdict::Outcome(outcome) => outcome,
            Verdict::Split { reason } => panic!("{reason:?}"),
            Verdict::Seen(seen) => {
                assert_ne!(Some(&seen.fingerprint), self.job.seen.as_ref());
                let changes = self.alta.changes(TRACK, self.seen.as_ref(), &seen.data);
                let data = seen.data.to_string();
                self.seen = Some(seen.data);
                let observation = Observation { fingerprint: seen.fingerprint, data, changes, raw: seen.raw };
                Outcome::Observed { observation, memo: seen.memo, next_at: seen.next_at, end: seen.end.map(Box::new) }
            }
        }
    }

    fn apply(&mut self, input: Input) {
        let step = step(self.job.clone(), input, self.now).unwrap();
        self.job = step.job;
        self.partial = step.partial.or(self.partial.take());
        self.result = step.result.map(|text| serde_json::from_str(&text).unwrap()).or(self.result.take());
    }

    fn ended(&self) -> (&str, Option<&str>) {
        (self.job.state.as_str(), self.result.as_ref().and_then(|result| result["ended"].as_str()))
    }
}

#[test]
fn a_hash_is_shown_when_the_list_tells_of_something_new_and_not_otherwise() {
    let show_wagon = format!("show {WAGON}");
    let mut tracked = Tracked::new(json!({}));
    tracked
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:00", 1, "1")]))
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:00", 2, "1")]))
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]))
        .poll(&show_wagon, &show("54676515", "1", 1));
    assert_eq!(tracked.seen.as_ref().unwrap()["vehicles"]["54676515"]["station"], "1");
    // The first data are in and no report is due: the next look is half an hour away.
    assert!(tracked.job.due_at.unwrap().since(tracked.now) > Duration::from_secs(60));
    tracked.now = at("2026-03-10T09:00:00+03:00");
    tracked.poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]));
    assert!(tracked.job.due_at.unwrap().since(tracked.now) <= Duration::from_secs(60));
    tracked
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 09:01", 4, "1")]))
        .poll(&show_wagon, &show("54676515", "2", 1));
    assert!(tracked.job.due_at.unwrap().since(tracked.now) > Duration::from_secs(60));
    assert_eq!(tracked.job.polls, 7);
}

#[test]
fn a_report_that_the_list_missed_is_looked_for_once_when_its_window_closes() {
    let calm = list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]);
    let show_wagon = format!("show {WAGON}");
    let mut tracked = Tracked::new(json!({}));
    tracked.poll("track_list", &calm).poll(&show_wagon, &show("54676515", "1", 1));
    tracked.now = at("2026-03-10T09:15:00+03:00");
    tracked.poll("track_list", &calm).poll(&show_wagon, &show("54676515", "1", 1)).poll("track_list", &calm);
    assert!(tracked.job.due_at.unwrap().since(tracked.now) > Duration::from_secs(60));
}

#[test]
fn a_list_that_fails_twice_or_lacks_the_hash_gives_way_to_plain_shows() {
    let show_wagon = format!("show {WAGON}");
    let mut tracked = Tracked::new(json!({}));
    tracked.lose().lose();
    tracked.poll(&show_wagon, &show("54676515", "1", 1)).poll(&show_wagon, &show("54676515", "1", 1));
    let mut lacking = Tracked::new(json!({}));
    lacking.poll("track_list", &list(&[])).poll(&show_wagon, &show("54676515", "1", 1));
    lacking.now = at("2026-03-10T09:00:00+03:00");
    lacking.poll("show ebc356dfa5beee7d3844ccacf535410c", &show("54676515", "1", 1)).poll("track_list", &list(&[]));
    let mut refused = Tracked::new(json!({}));
    refused.poll("track_list", ERROR_15).poll(&show_wagon, &show("54676515", "1", 1));
}

#[test]
fn both_hashes_of_a_mixed_order_make_one_observation() {
    let news = list(&[line(WAGON, "10.03.2026 00:03", 4, "1"), line(CONTAINER, "10.03.2026 00:00", 4, "1")]);
    let mut tracked = Tracked::mixed();
    tracked
        .poll("track_list", &news)
        .poll(&format!("show {WAGON}"), &show("54676515", "1", 1))
        .poll(&format!("show {CONTAINER}"), &show("AMFU8899067", "2", 1));
    let vehicles = tracked.seen.as_ref().unwrap()["vehicles"].as_object().unwrap();
    assert_eq!(vehicles.keys().collect::<Vec<_>>(), ["54676515", "AMFU8899067"]);
    tracked.poll("track_list", &news);
    assert_eq!(tracked.job.polls, 4);
}

#[test]
fn a_hash_that_the_vendor_refuses_does_not_hide_the_other_one() {
    let news = list(&[line(WAGON, "10.03.2026 00:03", 4, "1"), line(CONTAINER, "10.03.2026 00:00", 4, "1")]);
    let refusal = json!([{ "status": "error", "descr": "нет данных" }]).to_string();
    let second = format!("show {CONTAINER}");
    let mut tracked = Tracked::mixed();
    tracked.poll("track_list", &news).poll(&format!("show {WAGON}"), &show("54676515", "1", 1));
    tracked.poll(&second, &refusal).poll(&second, &refusal);
    assert_eq!(tracked.job.seen, None);
    tracked.poll(&second, &refusal);
    let seen = tracked.seen.as_ref().unwrap();
    assert_eq!(seen["vehicles"]["54676515"]["station"], "1");
    assert!(seen["unreadable"][CONTAINER].as_str().unwrap().contains("нет данных"));
}

#[test]
fn a_refused_show_is_tried_again_ever_more_slowly() {
    let show_wagon = format!("show {WAGON}");
    let refusal = json!([{ "status": "error", "descr": "что-то", "code": 77 }]).to_string();
    let mut tracked = Tracked::new(json!({}));
    tracked.poll("track_list", &list(&[line(WAGON, "x", 4, "1")]));
    for minutes in [5, 10, 20, 20] {
        tracked.poll(&show_wagon, &refusal);
        assert_eq!(tracked.job.due_at.unwrap().since(tracked.now), Duration::from_secs(minutes * 60));
    }
    assert_eq!(tracked.job.reason.as_ref().unwrap().code, "vendor_refused");
    tracked.poll(&show_wagon, ERROR_15);
    assert_eq!(tracked.job.state, State::Failed);
}

#[test]
fn polls_without_money_go_on_while_new_orders_stop() {
    let mut tracked = Tracked::new(json!({}));
    tracked.poll("track_list", &list(&[line(WAGON, "x", 4, "1")]));
    let body = json!([{ "status": "error", "descr": "Недостаточно средств" }]).to_string();
    let reading = tracked.alta.read(Call::Poll, &[tracked.view()], &answer(&body), tracked.now);
    assert!(matches!(reading.account, Some(AccountNews::Pause { submits_only: true, .. })));
    assert!(matches!(outcome(reading), Outcome::NotTaken { .. }));
}

#[test]
fn off_track_in_the_list_is_the_end_after_a_last_show() {
    let mut tracked = Tracked::new(json!({}));
    tracked
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]))
        .poll(&format!("show {WAGON}"), &show("54676515", "1", 1))
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "0")]))
        .poll(&format!("show {WAGON}"), &show("54676515", "9", 0));
    assert_eq!(tracked.ended(), ("succeeded", Some("untracked")));
    assert_eq!(tracked.result.unwrap()["vehicles"]["54676515"]["station"], "9");
}

#[test]
fn a_new_request_that_is_not_yet_on_track_is_no_end() {
    let mut tracked = Tracked::new(json!({}));
    tracked.poll("track_list", &list(&[line(WAGON, "10.03.2026 00:00", 1, "0")]));
    // Stale records of an earlier trip say 0 as well.
    tracked
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]))
        .poll(&format!("show {WAGON}"), &show("54676515", "1", 0));
    assert_eq!(tracked.job.state, State::Waiting);
}

#[test]
fn vehicles_that_left_tracking_end_the_job_without_the_lists_word() {
    let mut tracked = Tracked::new(json!({}));
    let show_wagon = format!("show {WAGON}");
    tracked.poll("track_list", &list(&[]));
    tracked.poll(&show_wagon, &show("54676515", "1", 1)).poll(&show_wagon, &show("54676515", "1", 0));
    assert_eq!(tracked.ended(), ("succeeded", Some("untracked")));
}

#[test]
fn what_left_the_list_altogether_gets_a_last_show() {
    let mut tracked = Tracked::new(json!({}));
    tracked
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]))
        .poll(&format!("show {WAGON}"), &show("54676515", "1", 0))
        .poll("track_list", &list(&[]))
        .poll(&format!("show {WAGON}"), &show("54676515", "1", 0));
    assert_eq!(tracked.ended(), ("succeeded", Some("untracked")));
}

#[test]
fn arrival_is_the_station_that_was_named() {
    let mut tracked = Tracked::new(json!({ "until": "arrived", "stop_station": "24160" }));
    tracked
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]))
        .poll(&format!("show {WAGON}"), &show("54676515", "11111", 1))
        .poll("track_list", &list(&[line(WAGON, "10.03.2026 09:03", 4, "1")]))
        .poll(&format!("show {WAGON}"), &show("54676515", "24160", 1));
    assert_eq!(tracked.ended(), ("succeeded", Some("arrived")));
}

#[test]
fn the_first_report_is_the_first_one_after_the_order() {
    let mut tracked = Tracked::new(json!({ "until": "first_report" }));
    tracked.poll("track_list", &list(&[line(WAGON, "10.03.2026 00:03", 4, "1")])).poll(&format!("show {WAGON}"), SHOWN);
    assert_eq!(tracked.job.state, State::Waiting, "records of 2017 are stale");
    tracked.poll("track_list", &list(&[line(WAGON, "10.03.2026 09:02", 4, "1")])).poll(&format!("show {WAGON}"), SHOWN);
    assert_eq!(tracked.ended(), ("succeeded", Some("first_report")));
}

#[test]
fn at_the_users_time_a_last_show_ends_the_job() {
    let mut tracked = Tracked::new(json!({ "until": "2026-03-10T03:10:00+03:00" }));
    let calm = list(&[line(WAGON, "10.03.2026 00:03", 4, "1")]);
    tracked.poll("track_list", &calm).poll(&format!("show {WAGON}"), &show("54676515", "1", 1));
    while tracked.job.due_at.unwrap() < at("2026-03-10T03:10:00+03:00") {
        tracked.poll("track_list", &calm);
    }
    tracked.poll("track_list", &calm).poll(&format!("show {WAGON}"), &show("54676515", "1", 1));
    assert_eq!(tracked.ended(), ("succeeded", Some("until")));
    assert!(tracked.now < at("2026-03-10T03:12:00+03:00"));
}

#[test]
fn a_cancellation_tells_the_vendor_and_believes_it() {
    let mut tracked = Tracked::new(json!({}));
    tracked.apply(Input::Cancel);
    tracked.poll(&format!("cancel_track {WAGON}"), include_str!("fixtures/cancel_track.json"));
    assert_eq!((tracked.job.state, &tracked.job.reason), (State::Cancelled, &None));
}

#[test]
fn a_mixed_request_is_cancelled_hash_by_hash() {
    let tracked = Tracked::mixed();
    let ok = answer(include_str!("fixtures/cancel_track.json"));
    let first = outcome(tracked.alta.read(Call::Cancel, &[tracked.view()], &ok, tracked.now));
    let Outcome::Progressed { memo, .. } = first else { panic!("{first:?}") };
    let told = Job { memo, ..tracked.job.clone() };
    let view = JobView { job: &told, ..tracked.view() };
    let request = tracked.alta.request(Call::Cancel, &[view], tracked.now);
    assert!(form(&request).contains(&("hash", CONTAINER.to_owned())));
    let refused = answer(r#"[{"status":"error","descr":"не найден"}]"#);
    let last = outcome(tracked.alta.read(Call::Cancel, &[view], &refused, tracked.now));
    assert!(matches!(last, Outcome::Told { refused: Some(_) }));
}
