use super::*;
use crate::domain::account::Balance;

#[test]
fn every_2xx_that_can_be_read_accepts_and_is_kept() {
    for (status, body) in [
        (200, r#"{"status": "ok", "message": "Запрос добавлен в очередь на обработку"}"#),
        (201, "{}"),
        (202, "[]"),
        (204, ""),
        (200, ""),
        (200, "ok"),
        (200, "Принято в работу"),
        (200, r#"{"error": null}"#),
        (200, r#"{"error": false, "msg": "принято"}"#),
        (200, "\u{feff}{\"error\": \"\"}"),
        (200, r#""ok""#),
    ] {
        let (remote_id, memo) = accepted(status, body);
        assert_eq!(remote_id, None, "{body}");
        assert_eq!(memo["answer"], body.trim_start_matches('\u{feff}'));
    }
}

#[test]
fn an_id_of_theirs_becomes_the_remote_id() {
    for (body, id) in [
        (r#"{"id": 77}"#, "77"),
        (r#"{"UID": "a-1"}"#, "a-1"),
        (r#"{"order_uiid": "b"}"#, "b"),
        (r#"{"order_uuid": "c"}"#, "c"),
        (r#"{"data": {"id": "d"}}"#, "d"),
        (r#"{"data": "{\"uid\": \"e\"}"}"#, "e"),
        (r#"{"id": 1, "uid": "f"}"#, "1"),
        (r#"{"uid": "opros-812-1790000000000", "order_uiid": "g"}"#, "g"),
    ] {
        assert_eq!(accepted(200, body).0.as_deref(), Some(id), "{body}");
    }
    assert_eq!(accepted(200, r#"{"id": 1, "uid": "f"}"#).1["ids"], json!(["1", "f"]));
}

#[test]
fn the_vendors_own_form_of_a_refusal_fails_the_job_whatever_the_status() {
    let refusal = include_str!("../fixtures/refusal.json").trim();
    for status in [200, 400, 403, 404, 422, 500, 503] {
        match outcome(status, refusal) {
            Outcome::Ended(End::Failure { reason, result }) => {
                assert_eq!(reason.code, "vendor_refused");
                assert!(reason.message.contains("Марка не поддерживается"), "{reason:?}");
                assert!(result.unwrap().contains("Марка не поддерживается"));
            }
            other => panic!("HTTP {status}: {other:?}"),
        }
    }
    for body in [
        r#"{"error": true, "error_msg": "Нет такого VIN"}"#,
        r#"{"Error": "Нет такого VIN", "status": "error", "code": 7}"#,
        r#"{"error": {"message": "Нет такого VIN"}}"#,
        r#"{"error": "Нет такого VIN", "id": null, "success": false, "status": 400}"#,
    ] {
        assert!(
            matches!(outcome(200, body), Outcome::Ended(End::Failure { reason, .. }) if reason.message.contains("Нет такого VIN")),
            "{body}"
        );
    }
}

#[test]
fn key_access_and_money_hold_the_account_and_keep_the_job() {
    for (status, body) in [
        (401, include_str!("../fixtures/refusal_token.json")),
        (400, include_str!("../fixtures/refusal_token.json")),
        (200, include_str!("../fixtures/refusal_money.json")),
        (402, r#"{"error": "оплатите"}"#),
        (401, r#"{"detail": "Authentication credentials were not provided."}"#),
        (400, r#"{"error": "абонемент истёк"}"#),
        (403, r#"{"error": "Доступ закрыт"}"#),
    ] {
        let reading = read(REPORT, status, body);
        assert!(matches!(reading.account, Some(AccountNews::Pause { submits_only: false, .. })), "{status} {body}");
        assert!(matches!(reading.verdicts[..], [Verdict::Outcome(Outcome::AccountHeld { .. })]), "{status} {body}");
    }
    // Words that stand in other refusals too.
    for body in [
        r#"{"error": "Для этой марки доступны языки: Английский"}"#,
        r#"{"error": "Недостаточно данных о транспортном средстве"}"#,
    ] {
        assert!(matches!(outcome(403, body), Outcome::Ended(End::Failure { .. })), "{body}");
    }
}

#[test]
fn what_is_neither_leaves_the_job_in_doubt() {
    for (status, body) in [
        (200, "<html>Вход</html>"),
        (200, r#"{"status": "ok", "id": "#),
        (200, r#"{"error": "Очередь переполнена", "id": 77}"#),
        (200, r#"{"error": "x", "status": "ok"}"#),
        (200, r#"{"success": false, "message": "Недостаточно средств"}"#),
        (200, r#"{"status": "error"}"#),
        (200, "\u{0}\u{1}"),
        (400, ""),
        (400, "VIN?"),
        (400, r#"{"detail": "VIN?"}"#),
        (403, "<html>cloud</html>"),
        (500, r#"{"error": "Internal Server Error"}"#),
        (502, "Bad Gateway"),
        (503, ""),
    ] {
        assert!(matches!(outcome(status, body), Outcome::Unclear { .. }), "{status} {body}");
    }
    assert!(matches!(outcome(200, &b"\xcf\xf0\xe8\xed\xff\xf2\xee"[..]), Outcome::Unclear { .. }));
}

#[test]
fn a_balance_is_found_wherever_it_is_likely_to_stand() {
    let found = |body: &str| {
        let reading = read(BALANCE, 200, body.to_owned());
        assert!(matches!(reading.verdicts[..], [Verdict::Outcome(Outcome::Ended(End::Success { .. }))]), "{body}");
        match reading.account {
            Some(AccountNews::Balance(Balance { amount, unit, .. })) => Some((amount, unit)),
            _ => None,
        }
    };
    for (body, amount, unit) in [
        (r#"{"balance": 1500.5}"#, 1500.5, ""),
        (r#"{"Balance": "1 500,50 руб."}"#, 1500.5, "RUB"),
        (r#"{"баланс": "-20"}"#, -20.0, ""),
        (r#"{"data": {"user_balance": {"amount": 7}}}"#, 7.0, ""),
        (r#"{"status": "ok", "message": "Ваш баланс: 300 ₽"}"#, 300.0, "RUB"),
        ("Баланс на 01.02.2026: 1500 руб", 1500.0, "RUB"),
        ("Баланс на 01.02.2026 12:30 составляет 1 500,50 ₽", 1500.5, "RUB"),
        ("Баланс 2026-02-01: 20", 20.0, ""),
        ("Баланс: осталось 3 проверки, 450 руб.", 450.0, "RUB"),
        (r#"{"message": "Баланс на 01.02.2026: -7 руб"}"#, -7.0, "RUB"),
        ("12.5", 12.5, ""),
        ("1500 руб", 1500.0, "RUB"),
        ("1 500,50 ₽", 1500.5, "RUB"),
        ("-20 Руб.", -20.0, "RUB"),
    ] {
        assert_eq!(found(body), Some((amount, unit.to_owned())), "{body}");
    }
    for body in [
        r#"{"status": "ok"}"#,
        "",
        "много",
        r#"{"balance": null}"#,
        "502 Bad Gateway",
        "2024-05-20 12:00",
        "1e999",
        r#"{"balance": "14.11.2023"}"#,
        r#"{"balance": null, "order": 77}"#,
        r#"{"balance_updated_at": "2024-05-20"}"#,
    ] {
        assert_eq!(found(body), None, "{body}");
    }
}

#[test]
fn the_accounts_own_question_tells_balance_and_faults() {
    let ask = |status, body: &str| driver().read_account(AccountCall::Balance, &answer(status, body.to_owned()), NOW);
    assert!(matches!(ask(200, r#"{"balance": 5}"#).news[..], [AccountNews::Balance(_)]));
    assert!(matches!(ask(401, r#"{"error": "Неверный токен"}"#).news[..], [AccountNews::Pause { .. }]));
    for (status, body) in [(200, "<html>"), (200, "{}"), (400, r#"{"error": "Ой"}"#), (502, "")] {
        let reading = ask(status, body);
        assert!(reading.news.is_empty() && reading.unclear.is_some(), "{body}");
    }
}
