use std::time::Duration;

use serde_json::json;

use super::*;
use crate::domain::State;
use crate::vendors::Vendor;
use crate::vendors::rlab::tests::{FIRST, NOW, Parcel, SECOND, answer, driver, settings, views, with_reason};

const DONE: &str = include_str!("fixtures/addtrack_done.json");
const PARTIAL: &str = include_str!("fixtures/addtrack_partial.json");
const KEY: &str = include_str!("fixtures/refused_key.json");
const REFUSED: &str = r#"{"resultState":2," resultInfo ":"Некорректный трек номер","resultData":null}"#;
const MINUTE: Duration = Duration::from_secs(60);

fn pair(state: State) -> [Parcel; 2] {
    [Parcel::new(1, FIRST, state), Parcel::new(2, SECOND, state)]
}

/// A track that is added again in that way.
fn at_stage(track: &str, adding: Adding) -> Parcel {
    let mut parcel = Parcel::new(1, track, State::Submitting);
    parcel.job.memo = Memo { adding, ..Memo::default() }.to_json();
    parcel
}

fn read(call: Call, parcels: &[Parcel], body: &str) -> Reading {
    driver().read(call, &views(parcels), &answer(body), NOW)
}

/// What each verdict is called, in short.
fn names(reading: &Reading) -> Vec<String> {
    let name = |verdict: &Verdict| match verdict {
        Verdict::Seen(seen) => format!("seen{}", if seen.end.is_some() { " and ended" } else { "" }),
        Verdict::Split { reason } => format!("split {}", reason.code),
        Verdict::Outcome(outcome) => match outcome {
            Outcome::Accepted { remote_id, .. } => format!("accepted {}", remote_id.clone().unwrap_or_default()),
            Outcome::Unclear { reason } => format!("unclear {}", reason.code),
            Outcome::NotTaken { reason, .. } => format!("not taken {}", reason.code),
            Outcome::AccountHeld { reason } => format!("held {}", reason.code),
            Outcome::Ended(End::Failure { reason, .. }) => format!("failed {}", reason.code),
            Outcome::Ended(End::Success { .. }) => "succeeded".to_owned(),
            Outcome::Found { remote_id, .. } => format!("found {remote_id}"),
            Outcome::Absent { resubmit, .. } => format!("absent {resubmit}"),
            Outcome::Unchanged { .. } => "unchanged".to_owned(),
            Outcome::Told { refused } => format!("told {}", refused.as_ref().map_or("", |reason| &reason.code)),
            Outcome::UnknownError { reason } => format!("unknown error {}", reason.code),
            Outcome::Observed { .. } | Outcome::Progressed { .. } | Outcome::NotMade { .. } => {
                "never said here".to_owned()
            }
        },
    };
    reading.verdicts.iter().map(name).collect()
}

fn list(items: &[Value]) -> String {
    json!({"resultState": 0, "resultInfo": "Запрос выполнен", "resultData": items}).to_string()
}

fn item(track: &str, status: i64) -> Value {
    json!({"trackNumber": track, "trackInfo": "", "trackMainStatus": status, "trackUpdateDate": null})
}

// ---- addtrack --------------------------------------------------------------------------------------------------

#[test]
fn a_success_accepts_every_track_under_its_number() {
    let reading = read(Call::Submit, &pair(State::Submitting), DONE);
    assert_eq!(names(&reading), [format!("accepted {FIRST}"), format!("accepted {SECOND}")]);
}

#[test]
fn a_success_that_contradicts_itself_is_in_doubt() {
    let table = [
        (200, r#"{"resultState":0,"resultInfo":"Данные добавлены, ошибок 1"}"#),
        (200, r#"{"resultState":0}"#),
        (500, DONE),
    ];
    for (status, body) in table {
        let answer = Answer { status, ..answer(body) };
        let reading = driver().read(Call::Submit, &views(&pair(State::Submitting)), &answer, NOW);
        assert_eq!(names(&reading), ["unclear contradiction", "unclear contradiction"], "{status} {body}");
    }
}

#[test]
fn what_cannot_be_read_is_in_doubt() {
    for (body, code) in [
        ("", "empty_answer"),
        ("<html>", "html_answer"),
        ("{", "unreadable_answer"),
        ("[]", "wrong_shape"),
        (r#"{"resultState":3,"resultInfo":"?"}"#, "wrong_shape"),
        (r#"{"resultState":null,"resultInfo":"?"}"#, "wrong_shape"),
    ] {
        let reading = read(Call::Submit, &pair(State::Submitting), body);
        assert_eq!(names(&reading), [format!("unclear {code}"), format!("unclear {code}")], "{body}");
    }
}

#[test]
fn a_wrong_key_pauses_the_account_whatever_was_asked() {
    for call in Call::ALL {
        let reading = read(call, &pair(State::Waiting), KEY);
        assert_eq!(names(&reading), ["held bad_credentials", "held bad_credentials"]);
        assert!(matches!(reading.account, Some(AccountNews::Pause { submits_only: false, .. })), "{call}");
    }
}

#[test]
fn without_money_only_adding_stops_as_long_as_reading_is_answered() {
    let body = r#"{"resultState":2,"resultInfo":"Закончился баланс треков"}"#;
    for (call, submits) in [(Call::Submit, true), (Call::Poll, false)] {
        let reading = read(call, &pair(State::Waiting), body);
        assert!(
            matches!(reading.account, Some(AccountNews::Pause { submits_only, .. }) if submits_only == submits),
            "{call}"
        );
    }
}

#[test]
fn a_refused_request_of_many_is_halved_and_of_one_fails_with_the_vendors_words() {
    assert_eq!(
        names(&read(Call::Submit, &pair(State::Submitting), REFUSED)),
        ["split vendor_refused", "split vendor_refused"]
    );
    let reading = read(Call::Submit, &pair(State::Submitting)[..1], REFUSED);
    let [Verdict::Outcome(Outcome::Ended(End::Failure { reason, .. }))] = &reading.verdicts[..] else {
        panic!("{reading:?}")
    };
    assert_eq!(reason.code, "vendor_refused");
    assert!(reason.message.contains("Некорректный трек номер"));
}

#[test]
fn a_track_that_the_vendor_has_already_is_looked_up_once() {
    let body = r#"{"resultState":2,"resultInfo":"Трек уже добавлен"}"#;
    let [parcel, _] = pair(State::Submitting);
    assert_eq!(names(&read(Call::Submit, std::slice::from_ref(&parcel), body)), ["unclear already_there"]);
    // Sent alone again because it was absent after such words, it fails with them.
    for (stage, expected) in [(Adding::Alone, "unclear already_there"), (Adding::AloneAgain, "failed vendor_refused")] {
        assert_eq!(names(&read(Call::Submit, &[at_stage(FIRST, stage)], body)), [expected]);
    }
}

#[test]
fn two_jobs_on_one_bad_track_cannot_be_halved() {
    let twins = [Parcel::new(1, FIRST, State::Submitting), Parcel::new(2, FIRST, State::Submitting)];
    assert_eq!(names(&read(Call::Submit, &twins, REFUSED)), ["failed vendor_refused", "failed vendor_refused"]);
}

#[test]
fn a_vendor_that_asks_to_come_later_has_taken_nothing() {
    let body = r#"{"resultState":2,"resultInfo":"Сервис временно недоступен, повторите запрос позже"}"#;
    let reading = read(Call::Submit, &pair(State::Submitting), body);
    assert_eq!(names(&reading), ["not taken vendor_busy", "not taken vendor_busy"]);
}

#[test]
fn a_partial_success_is_settled_by_looking_up() {
    assert_eq!(names(&read(Call::Submit, &pair(State::Submitting), PARTIAL)), ["unclear partial", "unclear partial"]);
    let looked = read(Call::LookUp, &pair(State::InDoubt), &list(&[item(SECOND, 0)]));
    assert_eq!(names(&looked), ["absent true".to_owned(), format!("found {SECOND}")]);
}

#[test]
fn a_track_that_goes_alone_is_told_alone() {
    let uncounted = r#"{"resultState":1,"resultInfo":"Часть данных добавлены в базу"}"#;
    let table = [
        (Adding::Usual, "unclear partial"),
        (Adding::Apart, "unclear partial"),
        (Adding::Alone, "failed vendor_refused"),
        (Adding::AloneAgain, "failed vendor_refused"),
    ];
    for (stage, expected) in table {
        assert_eq!(names(&read(Call::Submit, &[at_stage(FIRST, stage)], uncounted)), [expected], "{stage:?}");
    }
    let counted = [at_stage(FIRST, Adding::Apart), at_stage(SECOND, Adding::Apart)];
    assert_eq!(names(&read(Call::Submit, &counted, PARTIAL)), ["unclear partial"; 2]);
}

#[test]
fn an_answer_in_the_vendors_own_form_is_readable_even_where_it_settles_nothing() {
    let own = [
        (Call::Submit, PARTIAL),
        (Call::Submit, r#"{"resultState":0,"resultInfo":"Данные добавлены, ошибок 1"}"#),
        (Call::Submit, r#"{"resultState":2,"resultInfo":"Трек уже добавлен"}"#),
        (Call::LookUp, r#"{"resultState":1,"resultInfo":"","resultData":[]}"#),
        (Call::LookUp, REFUSED),
        (Call::Poll, r#"{"resultState":0,"resultInfo":"","resultData":["?"]}"#),
        (Call::Cancel, r#"{"resultState":2,"resultInfo":"Нет такого трека"}"#),
    ];
    for (call, body) in own {
        for count in 1..=2 {
            assert!(read(call, &pair(State::Waiting)[..count], body).readable, "{call} {body}");
        }
    }
    for body in ["", "<html>", "{}", r#"{"resultState":7,"resultInfo":""}"#] {
        for call in Call::ALL {
            assert!(!read(call, &pair(State::Waiting), body).readable, "{call} {body}");
        }
    }
    assert!(!read(Call::Poll, &pair(State::Waiting), r#"{"resultState":0,"resultInfo":""}"#).readable, "no list");
}

#[test]
fn one_track_of_which_one_failed_is_refused() {
    let body = r#"{"resultState":1," resultInfo ":"Часть данных добавлены в базу, ошибок 1","resultData":null}"#;
    assert_eq!(names(&read(Call::Submit, &pair(State::Submitting)[..1], body)), ["failed vendor_refused"]);
}

#[test]
fn a_checked_track_is_not_followed() {
    let test = |track: &str| Parcel::with(1, json!({"track": track, "test_mode": true}), State::Submitting);
    assert_eq!(names(&read(Call::Submit, &[test(FIRST)], DONE)), ["succeeded"]);
    assert_eq!(names(&read(Call::Submit, &[test(FIRST), test(SECOND)], PARTIAL)), ["split vendor_refused"; 2]);
    assert_eq!(names(&read(Call::Submit, &[test(FIRST)], PARTIAL)), ["failed vendor_refused"]);
    // The parcel in the list is another job's.
    assert_eq!(names(&read(Call::LookUp, &[test(FIRST)], &list(&[item(FIRST, 4)]))), ["absent true"]);
}

// ---- gettrackinfo ----------------------------------------------------------------------------------------------

#[test]
fn a_look_up_proves_absence_only_by_a_whole_list() {
    let parcels = pair(State::InDoubt);
    let table = [
        (json!({"resultState": 0, "resultInfo": "", "resultData": null}), ["unclear incomplete_look_up"; 2]),
        (json!({"resultState": 0, "resultInfo": "", "resultData": ""}), ["unclear incomplete_look_up"; 2]),
        (json!({"resultState": 0, "resultInfo": "", "resultData": []}), ["absent true", "absent true"]),
        (json!({"resultState": 0, "resultInfo": ""}), ["unclear wrong_shape", "unclear wrong_shape"]),
        (json!({"resultState": 0, "resultData": [{"x": 1}]}), ["unclear incomplete_look_up"; 2]),
        (json!({"resultState": 1, "resultData": []}), ["unclear incomplete_look_up"; 2]),
    ];
    for (body, expected) in table {
        assert_eq!(names(&read(Call::LookUp, &parcels, &body.to_string())), expected, "{body}");
    }
    assert_eq!(names(&read(Call::LookUp, &parcels, REFUSED)), ["split vendor_refused"; 2]);
    assert_eq!(names(&read(Call::LookUp, &parcels[..1], REFUSED)), ["unclear vendor_refused"]);
}

#[test]
fn answers_are_matched_by_number_and_never_by_place() {
    let parcels = pair(State::Waiting);
    let reading = read(Call::Poll, &parcels, &list(&[item(SECOND, 5), item(FIRST, 4)]));
    let status = |at: usize| match &reading.verdicts[at] {
        Verdict::Seen(seen) => seen.data["status"].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((status(0), status(1)), (json!(4), json!(5)));
}

/// A parcel that was seen in this state, between two polls.
fn seen(status: i64, memo: Memo) -> Parcel {
    let mut parcel = Parcel::new(1, FIRST, State::Waiting);
    parcel.job.polls = 4;
    parcel.job.due_at = Some(NOW + 30 * MINUTE);
    parcel.job.seen = Some(sight(FIRST, &item(FIRST, status)).fingerprint);
    parcel.job.memo = Memo { status: Some(status), ..memo }.to_json();
    parcel
}

#[test]
fn an_unchanged_answer_writes_nothing() {
    let parcel = seen(4, Memo::default());
    let reading = read(Call::Poll, std::slice::from_ref(&parcel), &list(&[item(FIRST, 4)]));
    let unchanged = Outcome::Unchanged { memo: None, next_at: parcel.job.due_at };
    assert_eq!(reading.verdicts, [unchanged.into()]);
}

#[test]
fn a_change_is_told_from_what_to_what_and_starts_the_waits_over() {
    let parcel = seen(4, Memo::default());
    let reading = read(Call::Poll, std::slice::from_ref(&parcel), &list(&[item(FIRST, 5)]));
    let [Verdict::Seen(news)] = &reading.verdicts[..] else { panic!("{reading:?}") };
    assert_eq!(news.memo.as_deref(), Some(r#"{"base":4,"status":5}"#));
    assert!(news.next_at.since(NOW) <= settings().poll_first);
    assert_eq!(news.end, None);
    let before = sight(FIRST, &item(FIRST, 4)).data;
    let changes = driver().changes("rlab.track", Some(&before), &news.data);
    assert_eq!(changes["status"], json!({"from": 4, "to": 5}));
    assert_eq!(changes["status_text"]["to"], "экспорт в Россию");
    assert_eq!(changes.as_object().map(serde_json::Map::len), Some(3));
}

#[test]
fn delivery_ends_the_job_with_status_and_text() {
    let reading = read(Call::Poll, &[seen(4, Memo::default())], &list(&[item(FIRST, 1)]));
    let [Verdict::Seen(Seen { end: Some(End::Success { result }), .. })] = &reading.verdicts[..] else {
        panic!("{reading:?}")
    };
    let result: Value = serde_json::from_str(result).expect("JSON");
    assert_eq!((&result["status"], &result["status_text"]), (&json!(1), &json!("вручено")));
}

#[test]
fn return_and_overdue_are_news_at_once_and_the_end_after_the_grace() {
    for status in [3, 9] {
        let news = read(Call::Poll, &[seen(4, Memo::default())], &list(&[item(FIRST, status)]));
        assert_eq!(names(&news), ["seen"]);
        let since = |age: Duration| Memo { since: Some(NOW - age), ..Memo::default() };
        let young = seen(status, since(settings().grace - MINUTE));
        assert_eq!(names(&read(Call::Poll, &[young], &list(&[item(FIRST, status)]))), ["unchanged"]);
        let old = || seen(status, since(settings().grace));
        assert_eq!(names(&read(Call::Poll, &[old()], &list(&[item(FIRST, status)]))), ["succeeded"]);
        assert_eq!(names(&read(Call::Poll, &[old()], &list(&[item(FIRST, 4)]))), ["seen"]);
    }
}

#[test]
fn a_missing_track_is_pending_at_first_and_then_unknown_to_the_vendor() {
    let mut parcel = Parcel::new(1, FIRST, State::Waiting);
    for count in 1..settings().unknown_after {
        let reading = read(Call::Poll, std::slice::from_ref(&parcel), &list(&[]));
        let [Verdict::Outcome(Outcome::Unchanged { memo: Some(memo), .. })] = &reading.verdicts[..] else {
            panic!("{reading:?}")
        };
        parcel.job.memo = Some(memo.clone());
        assert_eq!(Memo::of(&parcel.job).missing, count);
    }
    assert_eq!(names(&read(Call::Poll, &[parcel], &list(&[]))), ["failed unknown_to_vendor"]);
}

#[test]
fn a_track_that_turns_up_again_is_no_longer_counted_as_missing() {
    let parcel = seen(4, Memo { missing: 9, ..Memo::default() });
    let reading = read(Call::Poll, &[parcel], &list(&[item(FIRST, 4)]));
    let [Verdict::Outcome(Outcome::Unchanged { memo: Some(memo), .. })] = &reading.verdicts[..] else {
        panic!("{reading:?}")
    };
    assert_eq!(memo, r#"{"status":4}"#);
}

#[test]
fn a_list_with_an_unreadable_item_counts_nobody_as_missing() {
    let reading = read(Call::Poll, &pair(State::Waiting), &list(&[item(FIRST, 4), json!("?")]));
    assert_eq!(names(&reading), ["seen", "unclear incomplete_list"]);
}

#[test]
fn a_refused_poll_harms_the_job_only_when_it_goes_on() {
    assert_eq!(names(&read(Call::Poll, &pair(State::Waiting), REFUSED)), ["split vendor_refused"; 2]);
    assert_eq!(names(&read(Call::Poll, &[seen(4, Memo::default())], REFUSED)), ["unchanged"]);
    let last = seen(4, Memo { missing: 9, ..Memo::default() });
    assert_eq!(names(&read(Call::Poll, &[last], REFUSED)), ["failed vendor_refused"]);
}

#[test]
fn a_track_adopted_under_another_number_is_followed_under_it() {
    let mut parcel = Parcel::new(1, FIRST, State::Waiting);
    parcel.job.remote_id = Some(SECOND.to_owned());
    assert_eq!(names(&read(Call::Poll, &[parcel], &list(&[item(SECOND, 4)]))), ["seen"]);
}

// ---- deltrack --------------------------------------------------------------------------------------------------

#[test]
fn a_deletion_is_told_and_a_refused_one_says_why() {
    let parcels = pair(State::Waiting);
    assert_eq!(names(&read(Call::Cancel, &parcels, include_str!("fixtures/deltrack_done.json"))), ["told "; 2]);
    assert_eq!(names(&read(Call::Cancel, &parcels, REFUSED)), ["split vendor_refused"; 2]);
    assert_eq!(names(&read(Call::Cancel, &parcels[..1], REFUSED)), ["told vendor_refused"]);
}

#[test]
fn after_a_partial_deletion_those_that_are_left_are_deleted_alone() {
    let partial = include_str!("fixtures/deltrack_partial.json");
    assert_eq!(names(&read(Call::Cancel, &pair(State::Waiting), partial)), ["not taken partly_deleted"; 2]);
    let halves = pair(State::Waiting).map(|parcel| Parcel { job: with_reason(parcel.job, PARTLY_DELETED), ..parcel });
    let checked = read(Call::Cancel, &halves, &list(&[item(SECOND, 4)]));
    assert_eq!(names(&checked), ["told ", "not taken still_there"]);
    assert_eq!(names(&read(Call::Cancel, &pair(State::Waiting)[..1], partial)), ["told vendor_refused"]);
}
