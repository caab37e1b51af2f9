use serde_json::json;

use super::*;
use crate::domain::State;
use crate::domain::{Call, Job};
use crate::vendors::rlab::tests::{FIRST, NOW, SECOND, answer, driver, job};
use crate::vendors::{AccountCall, Vendor, Verdict};

fn read(kind: &str, params: Value, body: &str) -> Reading {
    let job: Job = job(1, kind, State::Submitting);
    driver().read(Call::Submit, &[JobView { job: &job, params: &params, partial: None }], &answer(body), NOW)
}

fn result(reading: &Reading) -> Value {
    match &reading.verdicts[..] {
        [Verdict::Outcome(Outcome::Ended(End::Success { result }))] => serde_json::from_str(result).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

/// The code of whatever is no success.
fn code(reading: &Reading) -> String {
    match &reading.verdicts[..] {
        [Verdict::Outcome(Outcome::Ended(End::Failure { reason, .. }))] => format!("failed {}", reason.code),
        [Verdict::Outcome(Outcome::Unclear { reason })] => format!("unclear {}", reason.code),
        [Verdict::Outcome(Outcome::AccountHeld { reason })] => format!("held {}", reason.code),
        [Verdict::Outcome(Outcome::NotTaken { reason, .. })] => format!("not taken {}", reason.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn info_shows_what_the_vendor_has_and_names_what_it_lacks() {
    let params = json!({"tracks": [SECOND, "X1", FIRST]});
    let result = result(&read("rlab.info", params, include_str!("fixtures/gettrackinfo.json")));
    assert_eq!(result["missing"], json!(["X1"]));
    assert_eq!(result["tracks"][0]["track"], SECOND);
    assert_eq!(result["tracks"][1]["parsed"]["place"], "Мытищи СЦ");
}

#[test]
fn a_part_that_holds_none_of_the_tracks_says_nothing_of_them() {
    let params = json!({"tracks": [FIRST, SECOND]});
    for data in ["null", "[]", r#"[{"trackNumber":"X1"}]"#] {
        let body = format!(r#"{{"resultState":1,"resultInfo":"Часть","resultData":{data}}}"#);
        assert_eq!(code(&read("rlab.info", params.clone(), &body)), "failed partial", "{data}");
    }
    let body = format!(r#"{{"resultState":1,"resultInfo":"Часть","resultData":[{{"trackNumber":"{FIRST}"}}]}}"#);
    assert_eq!(result(&read("rlab.info", params, &body))["missing"], json!([SECOND]));
}

#[test]
fn an_unclear_answer_in_the_vendors_own_form_is_readable() {
    let own = [
        ("rlab.info", r#"{"resultState":0,"resultInfo":"","resultData":["?"]}"#, "unclear incomplete_list"),
        ("rlab.delete", r#"{"resultState":0,"resultInfo":"ошибок 1"}"#, "unclear contradiction"),
        ("rlab.update", r#"{"resultState":0}"#, "unclear contradiction"),
    ];
    for (kind, body, expected) in own {
        let reading = read(kind, json!({"tracks": [FIRST]}), body);
        assert_eq!((code(&reading).as_str(), reading.readable), (expected, true), "{kind}");
        assert!(!read(kind, json!({"tracks": [FIRST]}), "<html>").readable, "{kind}");
    }
}

#[test]
fn deletions_and_updates_end_with_the_vendors_words() {
    let params = json!({"tracks": [FIRST]});
    let deleted = result(&read("rlab.delete", params.clone(), include_str!("fixtures/deltrack_done.json")));
    assert_eq!(deleted["answer"]["resultInfo"], "Треки успешно удалены из базы");
    assert_eq!(deleted["tracks"], json!([FIRST]));
    let partial = read("rlab.delete", params, include_str!("fixtures/deltrack_partial.json"));
    assert_eq!(code(&partial), "failed partial");
    let params = json!({"track": FIRST});
    let updated = result(&read("rlab.update", params.clone(), include_str!("fixtures/updatetrack_done.json")));
    assert_eq!(updated["tracks"], json!([FIRST]));
    let partial = read("rlab.update", params, include_str!("fixtures/updatetrack_partial.json"));
    assert_eq!(code(&partial), "failed partial");
}

#[test]
fn a_one_shots_refusal_is_sorted_like_any_other() {
    let table = [
        (include_str!("fixtures/refused_key.json"), "held bad_credentials"),
        (r#"{"resultState":2,"resultInfo":"Нет такого трека"}"#, "failed vendor_refused"),
        (r#"{"resultState":2,"resultInfo":"Повторите позже"}"#, "not taken vendor_busy"),
        ("<html>", "unclear html_answer"),
    ];
    for kind in ["rlab.info", "rlab.delete", "rlab.update", "rlab.user_info"] {
        for (body, expected) in table {
            assert_eq!(code(&read(kind, json!({"tracks": [FIRST]}), body)), expected, "{kind} {body}");
        }
    }
}

#[test]
fn the_user_info_samples_are_read() {
    let dated = read("rlab.user_info", json!({}), include_str!("fixtures/getuserinfo.json"));
    let shown = result(&dated);
    assert_eq!(shown["balance"], 384.0);
    assert_eq!(shown["expires"], "2015-04-12T21:00:00.000Z");
    assert!(matches!(dated.account, Some(AccountNews::Balance(Balance { amount: 384.0, .. }))));
    let endless = read("rlab.user_info", json!({}), include_str!("fixtures/getuserinfo_unlimited_date.json"));
    let shown = result(&endless);
    assert_eq!((&shown["balance"], &shown["expires"]), (&json!(60.0), &Value::Null));
    assert_eq!(shown["expires_text"], "Бессрочный");
}

fn asked(body: &str) -> AccountReading {
    driver().read_account(AccountCall::Balance, &answer(body), NOW)
}

#[test]
fn the_account_learns_its_balance_in_tracks_with_the_tariffs_end() {
    let reading = asked(include_str!("fixtures/getuserinfo.json"));
    let [AccountNews::Balance(balance), AccountNews::TariffEnds(_)] = &reading.news[..] else { panic!("{reading:?}") };
    assert_eq!((balance.amount, balance.unit.as_str()), (384.0, "tracks"));
    assert_eq!(balance.text.as_deref(), Some("384 tracks, tariff until 13.04.2015"));
}

#[test]
fn an_unlimited_balance_is_never_low_and_an_expired_tariff_pauses() {
    let body = |unlimited: bool, expired: bool| {
        json!({"resultState": 0, "resultInfo": "", "resultData": {"userBalance": 1, "userExpireDate": "13.04.2015",
            "userExpired": expired, "userBalanceUnlimited": unlimited, "userDateUnlimited": false}})
        .to_string()
    };
    let ends = Timestamp::parse_rfc3339("2015-04-13T00:00:00+03:00").unwrap();
    assert_eq!(asked(&body(true, false)).news, [AccountNews::TariffEnds(Some(ends))]);
    let expired = asked(&body(true, true));
    assert!(matches!(&expired.news[..], [_, AccountNews::Pause { submits_only: false, .. }]), "{expired:?}");
}

#[test]
fn a_bad_key_pauses_and_an_unreadable_answer_is_unclear() {
    let refused = asked(include_str!("fixtures/refused_key.json"));
    assert!(matches!(&refused.news[..], [AccountNews::Pause { .. }]) && refused.unclear.is_none());
    for body in ["", r#"{"resultState":0,"resultData":null}"#, r#"{"resultState":2,"resultInfo":"?"}"#] {
        let reading = asked(body);
        assert!(reading.news.is_empty() && reading.unclear.is_some(), "{body}");
    }
}
