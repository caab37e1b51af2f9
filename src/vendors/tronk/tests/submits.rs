use proptest::prelude::*;

use super::*;

fn read(kind: &str, status: u16, body: &[u8]) -> Reading {
    let job = job(kind, None);
    let params = json!({});
    let view = JobView { job: &job, params: &params, partial: None };
    tronk().read(Call::Submit, &[view], &answer(status, body.to_vec()), START)
}

fn accepted(kind: &str, status: u16, body: &str) -> Option<String> {
    match only(read(kind, status, body.as_bytes())) {
        Outcome::Accepted { remote_id, next_at, .. } => {
            assert_eq!(next_at, after(10), "the first poll goes out after ten seconds");
            remote_id
        }
        _ => None,
    }
}

#[test]
fn the_documented_answers_are_accepted() {
    assert_eq!(accepted(REPORT, 200, fixture!("setqueue.json")).as_deref(), Some("123"));
    assert_eq!(accepted(REPORT_JSON, 200, fixture!("create.json")).as_deref(), Some("77"));
}

#[test]
fn an_acceptance_is_recognised_in_odd_clothes() {
    let twice = serde_json::to_string(fixture!("setqueue.json")).expect("text is JSON");
    for body in [
        "\u{feff}{\"id\":123,\"error\":null}",
        "{\" ID \":\"123\",\"Error\":\"false\"}",
        "{\"id\":123.0,\"error\":0}",
        &twice,
    ] {
        assert_eq!(accepted(REPORT, 200, body).as_deref(), Some("123"), "{body}");
    }
    assert_eq!(accepted(REPORT, 500, fixture!("setqueue.json")).as_deref(), Some("123"), "the body counts first");
}

#[test]
fn an_error_is_a_refusal_whatever_the_http_status() {
    for status in [200, 400, 404, 500] {
        let reason = failure(only(read(REPORT, status, fixture!("error.json").as_bytes())));
        assert_eq!((reason.code.as_str(), reason.message.as_str()), ("vendor_refused", "Нет данных"));
    }
    for body in [r#"{"error":1,"id":5}"#, r#"{"Error":"true"}"#, r#"{"error":true,"id":5,"status":1}"#] {
        assert_eq!(failure(only(read(REPORT, 200, body.as_bytes()))).code, "vendor_refused", "{body}");
    }
    let reason = failure(only(read(REPORT_JSON, 200, r#"{"Error":true,"ErrorMsg":"нет"}"#.as_bytes())));
    assert_eq!(reason.message, "нет");
}

#[test]
fn ended_access_and_a_bad_key_hold_the_account_and_keep_the_job() {
    let cases = [
        (fixture!("error_access_ended.json"), "access_ended"),
        (r#"{"error":true,"error_msg":"У Вас ЗАКОНЧИЛИСЬ Запросы"}"#, "access_ended"),
        (r#"{"error":true,"error_msg":"неверный ключ"}"#, "bad_key"),
    ];
    for (body, code) in cases {
        let reading = read(REPORT, 200, body.as_bytes());
        match &reading.account {
            Some(AccountNews::Pause { reason, submits_only: false }) => assert_eq!(reason.code, code),
            other => panic!("the account must pause: {other:?}"),
        }
        assert!(matches!(only(reading), Outcome::AccountHeld { .. }));
    }
}

#[test]
fn words_that_only_look_like_a_key_fail_one_job_and_pause_nothing() {
    for text in [
        "Заключение не найдено",
        "Нет подключения к источнику, номер некорректен",
        "Исключение: неверный формат номера",
        "Услуга не включена, некорректный тариф",
        "Ключевой параметр не найден",
        "Данный ключ отсутствует в словаре.",
        "Нет данных",
    ] {
        let reading = read(REPORT, 200, json!({ "error": true, "error_msg": text }).to_string().as_bytes());
        assert_eq!(reading.account, None, "{text}");
        assert_eq!(failure(only(reading)).code, "vendor_refused", "{text}");
    }
}

#[test]
fn come_later_leaves_the_order_in_the_queue_and_what_broke_off_is_in_doubt() {
    for text in ["Слишком много запросов", "Сервис временно недоступен", "лимит запросов", "Try again later"]
    {
        let body = json!({ "error": true, "error_msg": text }).to_string();
        let outcome = only(read(REPORT, 200, body.as_bytes()));
        assert!(
            matches!(&outcome, Outcome::NotTaken { reason, again_at: None } if reason.code == "vendor_busy"),
            "{text}: {outcome:?}"
        );
    }
    let body = json!({ "error": true, "error_msg": "Execution Timeout Expired" }).to_string();
    let reading = read(REPORT, 200, body.as_bytes());
    assert!(reading.readable);
    assert!(matches!(only(reading), Outcome::Unclear { .. }));
}

#[test]
fn a_refusal_is_kept_as_it_came() {
    let body =
        r#"{"start":"2026-02-01T10:00:00","vin":"X","gosnumber":"А001АА77","error":true,"error_msg":"Нет данных"}"#;
    match only(read(REPORT, 200, body.as_bytes())) {
        Outcome::Ended(End::Failure { result: Some(result), .. }) => {
            let result: Value = serde_json::from_str(&result).expect("a result is JSON");
            assert_eq!(result["answer"], body);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_neither_stays_in_doubt() {
    for body in [
        "",
        "[]",
        "{}",
        "null",
        "123",
        "\"123\"",
        "<html>502</html>",
        r#"{"id":123"#,
        r#"{"id":0,"error":null}"#,
        r#"{"id":-3,"error":null}"#,
        r#"{"id":null,"error":null,"status":0}"#,
        r#"{"id":"","error":null}"#,
        r#"{"id":"abc","error":null}"#,
        r#"{"id":true}"#,
        r#"{"id":[123]}"#,
        r#"{"id":1.5}"#,
        r#"{"id":1e40}"#,
        r#"[{"id":123,"error":null,"status":0}]"#,
        r#"{"data":{"id":123}}"#,
        r#"{"id":123,"error":"not now"}"#,
        r#"{"id":123,"error":{}}"#,
        r#"{"error_msg":"text without the mark"}"#,
    ] {
        let outcome = only(read(REPORT, 200, body.as_bytes()));
        assert!(matches!(outcome, Outcome::Unclear { .. }), "{body}: {outcome:?}");
    }
    let outcome = only(read(REPORT, 502, br#"{"id":123}"#));
    assert!(matches!(outcome, Outcome::Unclear { .. }), "a gateway's incident number is no task: {outcome:?}");
    let outcome = only(read(REPORT, 502, br#"{"error":true}"#));
    assert!(matches!(outcome, Outcome::Unclear { .. }), "a gateway's error mark is no refusal: {outcome:?}");
    let outcome = only(read(REPORT_JSON, 200, br#"{"ID":5,"Status":0}"#));
    assert!(matches!(outcome, Outcome::Unclear { .. }), "reportjson names its task in Task: {outcome:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(body: Vec<u8>, status in 100u16..600) {
        for kind in [REPORT, REPORT_JSON] {
            prop_assert_eq!(read(kind, status, &body).verdicts.len(), 1);
        }
    }

    #[test]
    fn an_acceptance_that_lost_its_tail_is_never_one(cut in 1usize..100, queue: bool) {
        let (kind, whole) =
            if queue { (REPORT, fixture!("setqueue.json")) } else { (REPORT_JSON, fixture!("create.json")) };
        let whole = whole.trim_end().as_bytes();
        let outcome = only(read(kind, 200, &whole[..whole.len() - cut]));
        prop_assert!(matches!(outcome, Outcome::Unclear { .. }), "{:?}", outcome);
    }

    #[test]
    fn an_acceptance_with_an_overwritten_byte_keeps_its_id_or_is_none(at in 0usize..140, byte: u8) {
        let mut body = fixture!("setqueue.json").trim_end().as_bytes().to_vec();
        let digits = body.windows(3).position(|three| three == b"123").expect("the id is there");
        prop_assume!(at < body.len() && !(digits..digits + 3).contains(&at));
        // A digit put right beside the id changes the id itself: no reader can tell.
        prop_assume!(at + 1 != digits && at != digits + 3);
        body[at] = byte;
        if let Outcome::Accepted { remote_id, .. } = only(read(REPORT, 200, &body)) {
            prop_assert_eq!(remote_id.as_deref(), Some("123"));
        }
    }
}
