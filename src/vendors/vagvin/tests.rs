use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::exchange::{Body, Method};
use crate::domain::state::{Begin, Input, step};
use crate::domain::{JobId, account::Balance};
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

// ---- params --------------------------------------------------------------------------------------------------------

#[test]
fn the_examples_pass_as_they_stand() {
    for kind in KINDS {
        let params: Value = serde_json::from_str(kind.example).unwrap();
        let checked = driver().check(kind.name, &params).unwrap();
        assert_eq!(checked, Checked::new(params), "{}", kind.name);
        assert_eq!(registry_kind(kind.name), kind.name);
    }
}

fn registry_kind(name: &str) -> &'static str {
    crate::vendors::registry::kind(name).unwrap().name
}

#[test]
fn every_documented_combination_passes_in_the_vendors_spelling() {
    for check in catalogue::CHECKS {
        let brands: &[&str] = match check.brands {
            catalogue::Brands::Of(brands) => brands,
            catalogue::Brands::Any => &["Lada"],
        };
        for brand in brands {
            for language in check.languages {
                let given = with(
                    json!({"check_type": check.name.to_uppercase(), "car_brand": brand, "report_language": language}),
                );
                let passed = self::check(given).unwrap().params;
                assert_eq!(passed["check_type"], check.name);
                assert_eq!(passed["car_brand"], *brand);
                assert_eq!(passed["report_language"], *language);
            }
        }
    }
}

#[test]
fn the_table_is_that_of_the_page() {
    let page: String = include_str!("fixtures/page.txt").to_lowercase();
    for check in catalogue::CHECKS {
        let about = page.split("тип запроса \"").find(|part| part.starts_with(&check.name.to_lowercase())).unwrap();
        if let catalogue::Brands::Of(brands) = check.brands {
            assert!(brands.iter().all(|brand| about.contains(&brand.to_lowercase())), "{}", check.name);
        }
        for language in ["Русский", "Английский", "Польский", "Румынский", "Французский", "Немецкий"]
        {
            let offered = about.split("доступны языки").nth(1).unwrap().lines().next().unwrap();
            assert_eq!(
                check.languages.contains(&language),
                offered.contains(&language.to_lowercase()),
                "{}",
                check.name
            );
        }
    }
}

#[test]
fn brands_are_matched_by_sense_and_sent_as_the_vendor_spells_them() {
    let spelled = |check_type: &str, brand: &str| {
        let given = with(json!({"check_type": check_type, "car_brand": brand, "report_language": "en"}));
        check(given).unwrap().params["car_brand"].as_str().unwrap().to_owned()
    };
    for (check_type, typed, sent) in [
        ("check_elsa_pro_full", "vw", "Volkswagen"),
        ("check_elsa_pro_full", "Škoda", "SKODA"),
        ("check_elsa_pro_full", " seat ", "SEAT"),
        ("check_data_multibr_zapros", "LANDROVER", "Land Rover"),
        ("check_data_multibr_zapros", "land-rover", "Land Rover"),
        ("check_data_multibr_zapros", "Mercedes", "Mercedes-Benz"),
        ("check_data_multibr_zapros", "Hyundai", "hyundai"),
        ("check_data_multibr_zapros", "Citroën", "Citroen"),
        ("check_nomer_dws", "mercedes-benz", "Mercedes"),
        ("check_data_bmw_full", "ВМW", "BMW"),
    ] {
        assert_eq!(spelled(check_type, typed), sent, "{typed}");
    }
}

#[test]
fn what_the_table_does_not_have_is_refused_with_what_it_has() {
    let (pointer, message) = problem(with(json!({"car_brand": "Lada"})));
    assert_eq!(pointer, "/params/car_brand");
    assert!(message.contains("Audi, SKODA, SEAT, Volkswagen") && message.contains("force"), "{message}");

    let (pointer, message) = problem(with(json!({"check_type": "check_erwin_full"})));
    assert_eq!(pointer, "/params/report_language");
    assert!(message.contains("Английский") && message.contains("Русский"), "{message}");

    let (pointer, message) = problem(with(json!({"check_type": "check_all"})));
    assert_eq!(pointer, "/params/check_type");
    assert!(catalogue::CHECKS.iter().all(|check| message.contains(check.name)), "{message}");

    let (_, message) = problem(with(json!({"check_type": "get_balance"})));
    assert!(message.contains("vagvin.balance"));
}

#[test]
fn force_sends_it_anyway_but_never_a_false_vin() {
    let forced = json!({"check_type": "check_new", "car_brand": "Lada", "report_language": "Эсперанто", "force": true});
    let passed = check(with(forced.clone())).unwrap().params;
    for (name, value) in forced.as_object().unwrap() {
        assert_eq!(&passed[name], value);
    }
    assert_eq!(problem(with(json!({"vin": "WAUZZZ8K9BA01234", "force": true}))).0, "/params/vin");
    assert_eq!(problem(with(json!({"force": "perhaps"}))).0, "/params/force");
    assert_eq!(problem(with(json!({"check_type": "get_balance", "force": true}))).0, "/params/check_type");
}

#[test]
fn car_vertical_takes_any_brand_or_none() {
    let bare = json!({"vin": "WAUZZZ8K9BA012345", "check_type": "check_carvertical", "report_language": "de"});
    let passed = check(bare).unwrap().params;
    assert_eq!(passed["check_type"], "check_CarVertical");
    assert_eq!(passed["report_language"], "Немецкий");
    assert!(passed.get("car_brand").is_none());
}

#[test]
fn a_vin_is_normalised_and_its_faults_are_named() {
    // Typed with Cyrillic А, К and В, in lower case, with blanks.
    let passed = check(with(json!({"vin": " wаuzzz 8к9вa012345 "}))).unwrap();
    assert_eq!(passed.params["vin"], "WAUZZZ8K9BA012345");
    for (vin, says) in [
        ("WAUZZZ8K9BAO12345", "letter O"),
        ("WAUZZZ8K9BAО12345", "letter O"),
        ("WAUZZZ8K9BA01234", "has 16"),
        ("WAUZZZ8K9BA0123456", "has 18"),
        ("WAUZZZ8K9BA01234Ж", "'Ж'"),
        ("WAUZZZ-8K9BA01234", "'-'"),
    ] {
        let (pointer, message) = problem(with(json!({"vin": vin})));
        assert!(pointer == "/params/vin" && message.contains(says), "{vin}: {message}");
    }
}

#[test]
fn a_check_digit_is_a_doubt_and_only_where_makers_set_it() {
    let warnings = |vin: &str| check(with(json!({"vin": vin}))).unwrap().warnings;
    for good in ["1M8GDM9AXKP042788", "11111111111111111", "5GZCZ43D13S812715", "WAUZZZ8K9BA012345"] {
        assert!(warnings(good).is_empty(), "{good}");
    }
    let doubt = warnings("1M8GDM9A1KP042788");
    assert!(doubt.len() == 1 && doubt[0].contains("is 1, and X would be right"), "{doubt:?}");
}

#[test]
fn every_missing_param_is_named_at_once() {
    let pointers: Vec<String> = check(json!({})).unwrap_err().into_iter().map(|problem| problem.pointer).collect();
    assert_eq!(pointers, ["/params/vin", "/params/check_type", "/params/report_language"]);
    assert_eq!(check(json!([])).unwrap_err()[0].pointer, "/params");
}

#[test]
fn strange_params_are_refused() {
    assert_eq!(problem(with(json!({"colour": "red"}))).0, "/params/colour");
    assert_eq!(problem(with(json!({"token": "mine"}))).0, "/params/token");
    assert_eq!(problem(with(json!({"telegram_id": ["1"]}))).0, "/params/telegram_id");
    assert_eq!(problem(with(json!({"telegram_id": "1\n2"}))).0, "/params/telegram_id");
    for wrong in ["client", "a@b", "a@@b.ru", "a@b.ru, c@d.ru", "@b.ru"] {
        assert_eq!(problem(with(json!({ "client_email": wrong }))).0, "/params/client_email");
    }
    assert!(driver().check(BALANCE, &json!({"vin": "x"})).is_err());
    assert!(driver().check("vagvin.nothing", &json!({})).is_err());
}

// ---- requests ------------------------------------------------------------------------------------------------------

fn body_of(request: &Request) -> Value {
    match &request.body {
        Body::Json { value, .. } => value.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_is_the_pages_sample() {
    let given = with(json!({"telegram_id": 79_990_000_111_i64, "client_email": "client@example.com",
        "your_email": "dealer@example.com", "force": true}));
    let params = check(given).unwrap().params;
    let job = job(REPORT, State::Queued);
    let request = driver().request(Call::Submit, &[JobView { job: &job, params: &params, partial: None }], NOW);
    assert_eq!(
        (request.op, request.method, request.path.as_str()),
        ("processing_queue", Method::Post, "/api/processing_queue")
    );
    let sample: Value = serde_json::from_str(include_str!("fixtures/order.json")).unwrap();
    assert_eq!(body_of(&request), sample);
    assert_eq!(request.secrets(), [TOKEN]);
    assert!(request.query.is_empty());
}

#[test]
fn the_token_is_no_part_of_what_is_stored() {
    let job = job(REPORT, State::Queued);
    let view = JobView { job: &job, params: &order(), partial: None };
    let other = VagVin::new(Settings::new(driver().settings.common, SecretString::from("another-token")));
    let request = driver().request(Call::Submit, &[view], NOW);
    let changed = other.request(Call::Submit, &[view], NOW);
    assert_eq!(request.hash(), changed.hash());
    assert!(!format!("{:?} {request:?}", driver()).contains(TOKEN));
}

#[test]
fn our_token_travels_only_where_the_account_says_that_it_is_echoed() {
    let mut settings = driver().settings;
    settings.echo_fields = vec!["uid".into(), "vin".into(), "token".into(), "car_brand".into()];
    let job = job(REPORT, State::Queued);
    let params = json!({"vin": "WAUZZZ8K9BA012345"});
    let request =
        VagVin::new(settings).request(Call::Submit, &[JobView { job: &job, params: &params, partial: None }], NOW);
    let uid = "opros-812-1790000000000";
    assert_eq!(body_of(&request), json!({"token": TOKEN, "vin": "WAUZZZ8K9BA012345", "uid": uid}));
}

#[test]
fn a_balance_is_asked_for_with_the_token_only() {
    let job = job(BALANCE, State::Queued);
    let view = JobView { job: &job, params: &json!({}), partial: None };
    for request in
        [driver().request(Call::Submit, &[view], NOW), driver().account_request(AccountCall::Balance, NOW).unwrap()]
    {
        assert_eq!(body_of(&request), json!({"token": TOKEN, "check_type": "get_balance"}));
        assert_eq!(request.secrets(), [TOKEN]);
    }
    assert!(driver().account_request(AccountCall::Credentials, NOW).is_none());
}

// ---- answers -------------------------------------------------------------------------------------------------------

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
    let refusal = include_str!("fixtures/refusal.json").trim();
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
        (401, include_str!("fixtures/refusal_token.json")),
        (400, include_str!("fixtures/refusal_token.json")),
        (200, include_str!("fixtures/refusal_money.json")),
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
        ("12.5", 12.5, ""),
        ("1500 руб", 1500.0, "RUB"),
    ] {
        assert_eq!(found(body), Some((amount, unit.to_owned())), "{body}");
    }
    for body in [r#"{"status": "ok"}"#, "", "много", r#"{"balance": null}"#] {
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

// ---- life ----------------------------------------------------------------------------------------------------------

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
    assert_eq!(driver().due(&waiting, due_at - Duration::from_millis(1)), Due::Nothing);
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

// ---- properties ----------------------------------------------------------------------------------------------------

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("error".to_owned()),
        Just("data".to_owned()),
        Just("id".to_owned()),
        Just("balance".to_owned()),
        Just("status".to_owned()),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from(r#"{"data": "{}"}"#)),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_makes_a_reader_panic(status in 100_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(REPORT, status, body.clone()).verdicts.len(), 1);
        prop_assert_eq!(read(BALANCE, status, body.clone()).verdicts.len(), 1);
        let _ = driver().read_account(AccountCall::Balance, &answer(status, body), NOW);
    }

    #[test]
    fn no_json_makes_a_reader_panic_and_only_2xx_accepts(status in 100_u16..600, value in any_json()) {
        let outcome = outcome(status, value.to_string());
        if !(200..300).contains(&status) {
            let accepts = matches!(outcome, Outcome::Accepted { .. });
            prop_assert!(!accepts);
        }
        let _ = read(BALANCE, status, value.to_string());
        let _ = driver().read_account(AccountCall::Balance, &answer(status, value.to_string()), NOW);
    }

    #[test]
    fn a_cut_answer_is_never_an_acceptance(value in any_json(), part in 0.0..1.0_f64) {
        let whole = json!({"status": "ok", "answer": value}).to_string();
        let mut cut = 1 + (part * (whole.len() - 1) as f64) as usize;
        while !whole.is_char_boundary(cut) { cut -= 1 }
        let accepts = matches!(outcome(200, whole[..cut].to_owned()), Outcome::Accepted { .. });
        prop_assert!(!accepts, "{}", &whole[..cut]);
    }

    #[test]
    fn what_passed_passes_again_unchanged(params in any_json(), vin in "[A-HJ-NPR-Z0-9]{17}", force in any::<bool>()) {
        let _ = check(params.clone());
        let given = json!({"vin": vin, "check_type": "check_etka_full", "car_brand": "vw", "report_language": "ru",
            "telegram_id": 5, "force": force});
        let once = check(given).unwrap();
        prop_assert_eq!(check(once.params.clone()).unwrap(), once);
    }
}
