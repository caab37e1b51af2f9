use proptest::prelude::*;

use super::*;

fn ready() -> &'static str {
    fixture!("checkqueue_ready.json")
}

#[test]
fn a_report_is_checked_then_fetched_and_both_answers_are_kept() {
    let mut story = Story::report();
    assert_eq!(story.mode(), "checkqueue");
    let pending = story.poll(fixture!("checkqueue_pending.json"), 10);
    assert_eq!(pending, Outcome::Unchanged { memo: None, next_at: Some(after(20)) });
    let progressed = story.poll(ready(), 310);
    assert!(matches!(progressed, Outcome::Progressed { next_at, .. } if next_at == after(310)), "{progressed:?}");
    assert_eq!(story.mode(), "getresult");
    let result = result(story.poll(fixture!("getresult.json"), 311));
    assert_eq!(result["report"]["cars"][0]["vin"], "XTA210990Y2765432");
    assert_eq!(result["url"], "https://data.tronk.info/report/123.pdf");
    assert_eq!(result["id"], "123");
    assert_eq!(result["raw"], json!({ "check": ready(), "get": fixture!("getresult.json") }));
}

#[test]
fn the_steps_follow_the_age_of_the_order() {
    for (age, next) in [(0, 10), (299, 309), (300, 330), (899, 929), (900, 960), (3599, 3659)] {
        let outcome = Story::report().poll(fixture!("checkqueue_pending.json"), age);
        assert_eq!(outcome, Outcome::Unchanged { memo: None, next_at: Some(after(next)) }, "at {age} s");
    }
    let over = Story::report().poll(fixture!("checkqueue_pending.json"), 3600);
    assert_eq!(over, Outcome::Unchanged { memo: None, next_at: None });
}

#[test]
fn a_report_that_is_ready_after_the_plan_is_still_taken() {
    let outcome = Story::report().poll(ready(), 90_000);
    assert!(matches!(outcome, Outcome::Progressed { .. }), "{outcome:?}");
}

#[test]
fn pace_follows_the_steps_and_keeps_the_last_one_in_an_outage() {
    let story = Story::report();
    for (age, next) in [(0, 10), (300, 330), (900, 960), (100_000, 100_060)] {
        assert_eq!(story.driver.pace(Call::Poll, &story.view(), after(age)), after(next), "at {age} s");
    }
}

#[test]
fn a_report_in_a_string_that_would_take_too_much_memory_stays_the_text_that_it_is() {
    // Each `{"":0},` takes a hundred times its seven bytes once it is a value.
    let heavy = format!("[{}{{}}]", r#"{"":0},"#.repeat(60_000));
    let answer =
        json!({ "id": 123, "status": 1, "resultJson": heavy, "url": "https://data.tronk.info/report/123.pdf" });
    let result = result(Story::report().poll(&answer.to_string(), 10));
    assert_eq!(result["report"], heavy);
}

#[test]
fn a_missing_link_is_asked_for_three_times_and_then_done_without() {
    let mut story = Story::report();
    story.poll(ready(), 60);
    for seconds in [60, 70] {
        let outcome = story.poll(fixture!("getresult_without_url.json"), seconds);
        assert!(
            matches!(outcome, Outcome::Progressed { next_at, .. } if next_at == after(seconds + 10)),
            "{outcome:?}"
        );
    }
    let result = result(story.poll(fixture!("getresult_without_url.json"), 80));
    assert_eq!(result["url"], Value::Null);
    assert_eq!(result["report"]["phone"], "79990000111");
}

#[test]
fn an_error_of_getresult_loses_no_report_that_is_in_hand() {
    let mut story = Story::report();
    story.poll(ready(), 60);
    story.poll(fixture!("error.json"), 60);
    story.poll(fixture!("error.json"), 70);
    assert_eq!(result(story.poll(fixture!("error.json"), 80))["report"]["phone"], "79990000111");
}

#[test]
fn a_page_of_html_past_the_plan_does_not_keep_a_report_back() {
    let mut story = Story::report();
    story.poll(ready(), 3599);
    let early = only(story.reading(500, "<html>", 3599));
    assert!(matches!(early, Outcome::Unclear { .. }), "{early:?}");
    assert_eq!(result(only(story.reading(500, "<html>", 3601)))["url"], Value::Null);
}

#[test]
fn ended_access_at_any_poll_holds_the_account() {
    let mut story = Story::report();
    for seconds in [50, 60] {
        let reading = story.reading(200, fixture!("error_access_ended.json"), seconds);
        assert!(matches!(reading.account, Some(AccountNews::Pause { submits_only: false, .. })), "{reading:?}");
        assert!(matches!(only(reading), Outcome::AccountHeld { .. }));
        story.poll(ready(), 55);
    }
}

#[test]
fn an_error_of_checkqueue_that_nobody_understands_does_not_end_a_paid_job_by_itself() {
    let unknown = |outcome| match outcome {
        Outcome::UnknownError { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(unknown(Story::report().poll(fixture!("error.json"), 20)).code, "vendor_refused");
    assert_eq!(unknown(Story::report_json().poll(r#"{"Error":true,"ErrorMsg":"нет"}"#, 20)).message, "нет");
}

#[test]
fn what_passes_by_itself_ends_no_paid_job() {
    for text in [
        "Сервис временно недоступен",
        "Слишком много запросов",
        "лимит запросов",
        "Timeout expired. The timeout period elapsed prior to obtaining a connection from the pool.",
        "Время ожидания истекло",
    ] {
        let body = json!({ "error": true, "error_msg": text }).to_string();
        for mut story in [Story::report(), Story::report_json()] {
            let outcome = story.poll(&body, 20);
            assert!(matches!(outcome, Outcome::NotTaken { again_at: None, .. }), "{text}: {outcome:?}");
        }
    }
}

#[test]
fn readiness_shows_in_the_status_in_the_report_or_in_the_link() {
    for body in [
        r#"{"error":null,"status":1,"id":123}"#,
        r#"{"error":null,"status":"1","id":"123"}"#,
        r#"{"error":null,"status":7,"id":123,"resultJson":"{\"a\":1}"}"#,
        r#"{"error":null,"status":"готово","id":123,"url":"https://x"}"#,
        r#"{"error":null,"id":123,"RESULTJSON":{"a":1}}"#,
    ] {
        let outcome = Story::report().poll(body, 10);
        assert!(matches!(outcome, Outcome::Progressed { .. }), "{body}: {outcome:?}");
    }
    for body in [
        r#"{"error":null,"status":2,"id":123,"resultJson":"","url":""}"#,
        r#"{"error":null,"status":"готовится","id":123,"resultJson":"{}"}"#,
        r#"{"error":null,"status":null,"id":123,"resultJson":"null","msg":7}"#,
    ] {
        let outcome = Story::report().poll(body, 10);
        assert!(matches!(outcome, Outcome::Unchanged { next_at: Some(_), .. }), "{body}: {outcome:?}");
    }
}

#[test]
fn a_report_with_its_link_needs_no_second_call() {
    let body = r#"{"error":null,"status":1,"id":123,"resultJson":"plain text","url":"https://x"}"#;
    let result = result(Story::report().poll(body, 10));
    assert_eq!((&result["report"], &result["url"]), (&json!("plain text"), &json!("https://x")));
    assert_eq!(result["raw"], json!({ "check": body, "get": null }));
}

#[test]
fn a_link_without_a_report_is_a_result() {
    let mut story = Story::report();
    story.poll(r#"{"error":null,"status":1,"id":123}"#, 10);
    let result = result(story.poll(fixture!("getresult.json"), 11));
    assert_eq!((&result["report"], result["url"].is_string()), (&Value::Null, true));
}

#[test]
fn ready_with_nothing_to_show_is_asked_on_until_the_plan_is_over() {
    let mut story = Story::report();
    story.poll(r#"{"error":null,"status":1,"id":123}"#, 10);
    for seconds in [10, 20] {
        story.poll(fixture!("getresult_without_url.json"), seconds);
    }
    let outcome = story.poll(fixture!("getresult_without_url.json"), 30);
    assert!(matches!(outcome, Outcome::Unchanged { next_at: Some(at), .. } if at == after(40)), "{outcome:?}");
    let outcome = story.poll(fixture!("getresult_without_url.json"), 3600);
    assert!(matches!(outcome, Outcome::Unchanged { next_at: None, .. }), "{outcome:?}");
}

#[test]
fn a_status_that_the_operator_called_hopeless_fails_the_job() {
    let mut story = Story::report();
    story.driver.settings.failed_statuses = vec![5];
    let reason = failure(story.poll(r#"{"error":null,"status":5,"id":123,"msg":"нет машины"}"#, 10));
    assert_eq!(reason.code, "report_failed");
    assert!(reason.message.contains("нет машины"), "{reason:?}");
}

#[test]
fn an_answer_about_another_task_or_about_none_is_no_answer() {
    for body in [
        ready().replace("123", "124"),
        "{}".to_owned(),
        r#"{"message":"Internal Server Error"}"#.to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
    ] {
        let outcome = Story::report().poll(&body, 4000);
        assert!(matches!(outcome, Outcome::Unclear { .. }), "{body}: {outcome:?}");
    }
}

#[test]
fn a_job_whose_kept_answer_is_gone_checks_again() {
    let mut story = Story::report();
    story.poll(ready(), 10);
    story.partial = None;
    assert_eq!(story.mode(), "checkqueue");
    let outcome = story.poll(ready(), 20);
    assert!(matches!(outcome, Outcome::Progressed { partial: Some(_), .. }), "{outcome:?}");
}

// ---- report_json ---------------------------------------------------------------------------------------------------

#[test]
fn blocks_start_the_clock_anew_and_the_result_waits_for_them() {
    let mut story = Story::report_json();
    assert_eq!(story.mode(), "check");
    let pending = story.poll(fixture!("create.json"), 3000);
    assert_eq!(pending, Outcome::Unchanged { memo: None, next_at: Some(after(3060)) });
    let refreshing = story.poll(fixture!("check_refreshing.json"), 3060);
    assert!(matches!(refreshing, Outcome::Unchanged { next_at: Some(at), .. } if at == after(3070)), "{refreshing:?}");
    assert_eq!(story.driver.pace(Call::Poll, &story.view(), after(3070)), after(3080));
    story.poll(fixture!("check_complete.json"), 3070);
    assert_eq!(story.mode(), "result");
    let result = result(story.poll(fixture!("result.json"), 3070));
    assert_eq!(result["report"]["ReportNumber"], "77-1");
    assert_eq!((&result["task"]["ID"], &result["id"]), (&json!(77), &json!("77")));
    assert_eq!(result["raw"]["result"], fixture!("result.json"));
    assert_eq!(result["raw"]["check"], fixture!("check_complete.json"));
}

#[test]
fn blocks_that_are_late_by_the_whole_plan_are_not_waited_for() {
    let mut story = Story::report_json();
    story.poll(fixture!("check_refreshing.json"), 100);
    let outcome = story.poll(fixture!("check_refreshing.json"), 3700);
    assert!(matches!(outcome, Outcome::Progressed { .. }), "{outcome:?}");
    assert_eq!(story.mode(), "result");
}

#[test]
fn a_cancelled_block_is_not_waited_for() {
    let body = fixture!("check_refreshing.json").replacen(
        r#""IsComplete":false,"IsCancel":false"#,
        r#""IsComplete":false,"IsCancel":true"#,
        1,
    );
    assert!(matches!(Story::report_json().poll(&body, 100), Outcome::Progressed { .. }));
}

#[test]
fn a_result_that_is_not_there_yet_is_fetched_again_and_then_by_the_plan() {
    let empty = r#"{"Error":false,"Task":{"ID":77,"Status":1},"Result":{"data":null}}"#;
    let mut story = Story::report_json();
    story.poll(fixture!("check_complete.json"), 100);
    for seconds in [100, 110] {
        let outcome = story.poll(empty, seconds);
        assert!(
            matches!(outcome, Outcome::Progressed { next_at, .. } if next_at == after(seconds + 10)),
            "{outcome:?}"
        );
    }
    let outcome = story.poll(empty, 120);
    assert!(matches!(outcome, Outcome::Unchanged { next_at: Some(_), .. }), "{outcome:?}");
    assert_eq!(story.mode(), "result", "the stage is kept");
    assert!(matches!(story.poll(empty, 3700), Outcome::Unchanged { next_at: None, .. }));
}

proptest! {
    #[test]
    fn no_poll_answer_makes_a_reader_panic(body: Vec<u8>, status in 200u16..600, seconds in 0u64..10_000) {
        for mut story in [Story::report(), Story::report_json()] {
            let _ = story.reading(status, &String::from_utf8_lossy(&body), seconds);
            story.job.memo = Some(String::from_utf8_lossy(&body).into_owned());
            story.partial = story.job.memo.clone();
            let _ = story.reading(status, &String::from_utf8_lossy(&body), seconds);
        }
    }
}
