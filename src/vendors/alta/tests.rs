use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::exchange::Body;
use crate::domain::state::End;
use crate::domain::{Job, JobId, State};
use crate::vendors::{ParamProblem, Verdict};

#[path = "polls_tests.rs"]
mod polls;
#[path = "weeks_tests.rs"]
mod weeks;

const WAGON: &str = "ebc356dfa5beee7d3844ccacf535410c";
const CONTAINER: &str = "931700e35d7ff88a10bd5d680da50f02";
const TEST_SECRET: &str = "bb92dcee8bf2b49287e1038b65a72b79";
const LIST: &str = include_str!("fixtures/track_list.json");
const SHOWN: &str = include_str!("fixtures/show_container.json");
const ERROR_15: &str = include_str!("fixtures/error_15.json");

fn settings() -> Settings {
    Settings::new("alta@alta.ru", "sa000000", SecretString::from("alta_test"))
}

fn alta() -> Alta {
    Alta::new(settings())
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn answer(body: &str) -> Answer {
    Answer { status: 200, content_type: None, retry_after: None, body: body.to_owned().into() }
}

fn job(kind: &str, state: State) -> Job {
    let traits = KINDS.iter().find(|spec| spec.name == kind).unwrap().traits;
    let now = at("2026-03-10T00:00:00+03:00");
    Job {
        id: JobId(1),
        kind: kind.into(),
        account: "alta".into(),
        traits,
        state,
        priority: 5,
        due_at: Some(now),
        deadline: None,
        cancel_requested: false,
        dedupe_key: None,
        tag: None,
        remote_id: None,
        attempt: Some("t0ken".into()),
        turn: 0,
        submissions: 0,
        polls: 0,
        errors: 0,
        unknown_errors: 0,
        absences: 0,
        doubt_since: None,
        memo: None,
        seen: None,
        reason: None,
        created_at: now,
        submitted_at: None,
        updated_at: now,
        finished_at: None,
        mailbox_uid: None,
        retry_of: None,
        observed_at: None,
        stale_since: None,
        uid: None,
    }
}

fn checked(kind: &str, params: Value) -> Value {
    alta().check(kind, &params).unwrap().params
}

fn order(numbers: &[&str]) -> Value {
    checked(TRACK, json!({ "wagons": numbers, "track_state": "ru", "track_type": 2, "times": ["09:00"] }))
}

fn view<'a>(job: &'a Job, params: &'a Value) -> JobView<'a> {
    JobView { job, params, partial: None }
}

fn form(request: &Request) -> Vec<(&'static str, String)> {
    let Body::Form(fields) = &request.body else { panic!("no form") };
    fields.iter().map(|field| (field.name, field.value.clone())).collect()
}

fn outcome(reading: Reading) -> Outcome {
    let [Verdict::Outcome(outcome)] = reading.verdicts.as_slice() else { panic!("{reading:?}") };
    outcome.clone()
}

fn read(call: Call, job: &Job, params: &Value, body: &str) -> Reading {
    alta().read(call, &[view(job, params)], &answer(body), at("2026-03-10T12:00:00+03:00"))
}

fn added(numbers: &[&str], body: &str) -> Outcome {
    outcome(read(Call::Submit, &job(TRACK, State::Submitting), &order(numbers), body))
}

// ---- the secret -------------------------------------------------------------------------------------------------

#[test]
fn the_secret_is_the_vendors_own_vector() {
    assert_eq!(wire::md5_hex("alta_test"), "6631ed36054f56790c59c56551bc9fb4");
    assert_eq!(wire::md5_hex("key"), "3c6e0b8a9c15224a8228b9a98ca1531d");
    let request = alta().account_request(AccountCall::Credentials, Timestamp::MIN).unwrap();
    assert_eq!(request.secrets(), [TEST_SECRET]);
    let upper = wire::md5_hex(&format!("rail_tracking:sa000000:{}", wire::md5_hex("alta_test").to_uppercase()));
    assert_eq!(upper, "db0b1d79a53c6029a91dc543bab591be");
    assert_eq!(wire::md5_hex("rail_tracking:sa000000:md5('alta_test')"), "2ecf9e9c76b7f9cb963591e6927182a5");
}

#[test]
fn every_request_is_a_post_form_and_shows_its_secret_to_nobody() {
    let alta = alta();
    for spec in KINDS {
        let checked = alta.check(spec.name, &serde_json::from_str(spec.example).unwrap()).unwrap();
        let job = job(spec.name, State::Queued);
        let request = alta.request(Call::Submit, &[view(&job, &checked.params)], Timestamp::MIN);
        assert_eq!((request.path.as_str(), request.query.len()), ("/rail_tracking/api_v2.php", 0));
        assert_eq!(request.method, crate::domain::exchange::Method::Post);
        assert!(!format!("{request:?} {:?} {alta:?}", request.body).contains(TEST_SECRET));
        assert_eq!(form(&request)[..3].iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["action", "login", "sa"]);
        assert_eq!(form(&request)[3], ("secret", TEST_SECRET.to_owned()));
    }
    assert!(!format!("{:?}", settings()).contains("alta_test\""));
}

#[test]
fn one_shots_send_the_methods_own_fields() {
    let params = checked("alta.cancel_track", json!({ "hash": WAGON, "wagons": "54676515" }));
    let job = job("alta.cancel_track", State::Queued);
    let request = alta().request(Call::Submit, &[view(&job, &params)], Timestamp::MIN);
    assert_eq!(form(&request)[0], ("action", "cancel_track".into()));
    assert_eq!(form(&request)[4..], [("hash", WAGON.to_owned()), ("wagons", "54676515".to_owned())]);
}

#[test]
fn one_shots_check_what_they_are_given() {
    let bad = |kind: &str, params: Value| -> Vec<ParamProblem> { alta().check(kind, &params).unwrap_err() };
    assert_eq!(bad("alta.show", json!({}))[0].pointer, "/params/hash");
    assert_eq!(bad("alta.show", json!({ "hash": "no" }))[0].pointer, "/params/hash");
    assert_eq!(bad("alta.balance", json!({ "hash": WAGON }))[0].pointer, "/params/hash");
    assert_eq!(bad("alta.cancel_track", json!({ "hash": WAGON, "wagons": ["1"] }))[0].pointer, "/params/wagons");
    assert_eq!(bad("alta.nothing", json!({}))[0].pointer, "/kind");
}

// ---- add --------------------------------------------------------------------------------------------------------

#[test]
fn the_documented_acceptances_give_their_hashes() {
    for (number, body, hash) in [
        ("54676515", include_str!("fixtures/add_wagon.json"), WAGON),
        ("AMFU8899067", include_str!("fixtures/add_container.json"), CONTAINER),
    ] {
        let Outcome::Accepted { remote_id, .. } = added(&[number], body) else { panic!("{body}") };
        assert_eq!(remote_id.as_deref(), Some(hash));
    }
}

#[test]
fn a_mixed_order_has_two_hashes_and_one_of_them_is_not_enough() {
    let mixed = ["54676515", "AMFU8899067"];
    let both = json!([{ "status": "ok", "hash": WAGON, "cont_hash": CONTAINER }]).to_string();
    let Outcome::Accepted { remote_id, .. } = added(&mixed, &both) else { panic!() };
    assert_eq!(remote_id, Some(format!("{WAGON}+{CONTAINER}")));
    assert!(matches!(added(&mixed, include_str!("fixtures/add_wagon.json")), Outcome::Unclear { .. }));
}

#[test]
fn the_order_carries_the_attempts_token_beside_the_users_words() {
    let mut params = json!({ "wagons": ["54676515"], "track_state": "ru", "track_type": 2, "times": ["09:00"] });
    params["comment"] = json!("вагон Петрова");
    let params = checked(TRACK, params);
    let job = job(TRACK, State::Submitting);
    let sent = form(&alta().request(Call::Submit, &[view(&job, &params)], Timestamp::MIN));
    assert!(sent.contains(&("comment", "opros:t0ken вагон Петрова".into())), "{sent:?}");
}

#[test]
fn a_refusal_in_the_vendors_form_fails_the_order() {
    let Outcome::Ended(End::Failure { reason, .. }) = added(&["54676515"], ERROR_15) else { panic!() };
    assert_eq!(reason.code, "vendor_refused");
    assert!(reason.message.contains("неподдерживаемый") && reason.message.contains("15"));
    let unknown = r#"{"status":"fail","descr":"что-то","Code":"99"}"#;
    assert!(matches!(added(&["54676515"], unknown), Outcome::Ended(End::Failure { .. })));
}

#[test]
fn no_money_stops_new_orders_and_a_bad_key_stops_everything() {
    let params = order(&["54676515"]);
    let submit = |text: &str| {
        let body = json!([{ "status": "error", "descr": text, "code": 3 }]).to_string();
        read(Call::Submit, &job(TRACK, State::Submitting), &params, &body)
    };
    for (text, only) in [("Недостаточно средств", true), ("Ошибка авторизации", false)]
    {
        let reading = submit(text);
        assert!(matches!(reading.account, Some(AccountNews::Pause { submits_only, .. }) if submits_only == only));
        assert!(matches!(outcome(reading), Outcome::AccountHeld { .. }));
    }
}

#[test]
fn answers_that_prove_nothing_leave_the_order_in_doubt() {
    for body in [
        "",
        "[]",
        "null",
        "<html>502</html>",
        "ok",
        r#"{"status":"ok"}"#,
        r#"[{"status":"ok","hash":"ebc356"}]"#,
        r#"[{"status":"ok","hash":null}]"#,
        r#"[{"hash":"ebc356dfa5beee7d3844ccacf535410c"}]"#,
        r#"[[{"status":"ok","hash":"ebc356dfa5beee7d3844ccacf535410c"}]]"#,
        r#"[{"status":4,"hash":"ebc356dfa5beee7d3844ccacf535410c"}]"#,
    ] {
        assert!(matches!(added(&["54676515"], body), Outcome::Unclear { .. }), "{body}");
    }
}

// ---- look-up ----------------------------------------------------------------------------------------------------

fn looked_up(numbers: &[&str], list: &Value) -> Outcome {
    let mut lost = job(TRACK, State::InDoubt);
    lost.doubt_since = Some(at("2026-03-10T11:59:00+03:00"));
    outcome(read(Call::LookUp, &lost, &order(numbers), &list.to_string()))
}

#[test]
fn a_lost_order_is_found_by_its_token_in_name_or_comment() {
    for field in ["name", "comment"] {
        let list = json!([{ "status": "ok" }, { "hash": CONTAINER, "name": "opros:t0ken2 x" },
            { "hash": WAGON, field: "opros:t0ken вагон" }]);
        let Outcome::Found { remote_id, .. } = looked_up(&["54676515"], &list) else { panic!("{field}") };
        assert_eq!(remote_id, WAGON);
    }
}

#[test]
fn absence_is_proven_by_a_complete_list_only() {
    let complete = serde_json::from_str(LIST).unwrap();
    let Outcome::Absent { settle, resubmit, .. } = looked_up(&["54676515"], &complete) else { panic!() };
    assert_eq!((settle, resubmit), (Duration::from_secs(120), false));
    let cut = json!([{ "status": "ok" }, { "name": "a line without its hash" }]);
    assert!(matches!(looked_up(&["54676515"], &cut), Outcome::Unclear { .. }));
    assert!(matches!(looked_up(&["54676515"], &json!([])), Outcome::Unclear { .. }));
}

#[test]
fn the_second_hash_of_a_mixed_order_gets_its_time_to_appear() {
    let half = json!([{ "status": "ok" }, { "hash": WAGON, "name": "opros:t0ken" }]);
    assert!(matches!(looked_up(&["54676515", "AMFU8899067"], &half), Outcome::NotTaken { .. }));
    let both = json!([{ "status": "ok" }, { "hash": WAGON, "name": "opros:t0ken" },
        { "hash": CONTAINER, "comment": "opros:t0ken" }]);
    let Outcome::Found { remote_id, .. } = looked_up(&["54676515", "AMFU8899067"], &both) else { panic!() };
    assert_eq!(remote_id, format!("{WAGON}+{CONTAINER}"));
}

// ---- one-shots and the account ----------------------------------------------------------------------------------

fn one_shot(kind: &str, body: &str) -> Value {
    let Outcome::Ended(End::Success { result }) =
        outcome(read(Call::Submit, &job(kind, State::Submitting), &json!({}), body))
    else {
        panic!("{kind}: {body}")
    };
    serde_json::from_str(&result).unwrap()
}

#[test]
fn every_documented_answer_of_a_one_shot_becomes_its_result() {
    assert_eq!(one_shot("alta.track_list", LIST)["requests"][1]["hash"], CONTAINER);
    let cars = one_shot("alta.carr_list", include_str!("fixtures/carr_list.json"));
    assert_eq!(cars, json!({ "group_id": 1519743, "carrs": ["AMFU8899067"] }));
    assert_eq!(one_shot("alta.balance", include_str!("fixtures/balance.json"))["balans"], "0.00");
    let ok = include_str!("fixtures/test_secret_ok.json");
    assert_eq!(one_shot("alta.test_secret", ok), json!({ "status": "ok" }));
    assert_eq!(one_shot("alta.cancel_track", include_str!("fixtures/cancel_track.json"))["status"], "ok");
    let shown = one_shot("alta.show", SHOWN);
    assert_eq!(shown["vehicles"]["AMFU8899067"]["station"], "24160");
    assert_eq!(shown["status"]["descr"], "Обработан");
}

#[test]
fn a_single_show_keeps_its_pace_as_a_poll() {
    let checked = alta().check(SHOW, &json!({ "hash": CONTAINER })).unwrap();
    assert_eq!(checked.follow.as_deref(), Some(CONTAINER));
    let mut waiting = job(SHOW, State::Waiting);
    waiting.remote_id = checked.follow;
    let view = view(&waiting, &checked.params);
    let now = at("2026-03-10T12:00:00Z");
    assert_eq!(form(&alta().request(Call::Poll, &[view], now))[4], ("hash", CONTAINER.to_owned()));
    assert_eq!(alta().pace(Call::Poll, &view, now), now + Duration::from_secs(61));
    assert!(matches!(
        outcome(alta().read(Call::Poll, &[view], &answer(SHOWN), now)),
        Outcome::Ended(End::Success { .. })
    ));
}

#[test]
fn a_refused_one_shot_fails_and_a_bad_secret_pauses_the_account() {
    let submitting = job("alta.track_list", State::Submitting);
    let failed = read(Call::Submit, &submitting, &json!({}), ERROR_15);
    assert!(matches!(outcome(failed), Outcome::Ended(End::Failure { .. })));
    let bad = include_str!("fixtures/test_secret_error.json");
    let reading = read(Call::Submit, &job("alta.test_secret", State::Submitting), &json!({}), bad);
    assert!(matches!(&reading.account, Some(AccountNews::Pause { submits_only: false, .. })));
    assert!(matches!(outcome(reading), Outcome::Ended(End::Failure { .. })));
}

#[test]
fn the_account_tells_its_credentials_and_its_balance() {
    let now = Timestamp::from_millis(5);
    let ask = |call, body: &str| alta().read_account(call, &answer(body), now);
    assert_eq!(ask(AccountCall::Credentials, include_str!("fixtures/test_secret_ok.json")), AccountReading::default());
    let bad = ask(AccountCall::Credentials, include_str!("fixtures/test_secret_error.json"));
    assert!(matches!(bad.news.as_slice(), [AccountNews::Pause { submits_only: false, .. }]));
    assert!(ask(AccountCall::Credentials, "<html>").unclear.is_some());
    let wrong = ask(AccountCall::Credentials, r#"[{"status":"error","descr":"Неверный пароль","code":3}]"#);
    assert!(matches!(wrong.news.as_slice(), [AccountNews::Pause { submits_only: false, .. }]));
    let balance = ask(AccountCall::Balance, include_str!("fixtures/balance.json"));
    let text = Some("Ваш баланс: 0.00 руб. / Бонусы 0".to_owned());
    assert_eq!(balance.news, [AccountNews::Balance(Balance { amount: 0.0, unit: "RUB".into(), text, at: now })]);
    assert!(ask(AccountCall::Balance, r#"[{"status":"ok"}]"#).unclear.is_some());
}

#[test]
fn a_refusal_of_test_secret_is_about_the_secret_only_if_it_says_so_or_says_nothing() {
    let mut settings = settings();
    settings.codes.insert(7, CodeClass::Transient);
    let alta = Alta::new(settings);
    let now = Timestamp::from_millis(5);
    for body in [
        r#"{"status":"error","descr":"Сервис временно недоступен"}"#,
        r#"{"status":"fail","descr":"Слишком много запросов, повторите позже"}"#,
        r#"[{"status":"error","descr":"Ведутся технические работы"}]"#,
        r#"{"status":"error","descr":"Время ожидания истекло"}"#,
        r#"{"status":"error","descr":"Что-то пошло не так"}"#,
        r#"{"status":"error","descr":"Внутреннее исключение"}"#,
        r#"{"status":"error","code":7}"#,
        r#"{"status":"error","descr":"Указан неподдерживаемый метод","code":15}"#,
    ] {
        let reading = alta.read_account(AccountCall::Credentials, &answer(body), now);
        assert!(reading.news.is_empty() && reading.unclear.is_some(), "{body}: {reading:?}");
        let job = job("alta.test_secret", State::Submitting);
        let params = json!({});
        let reading = alta.read(Call::Submit, &[view(&job, &params)], &answer(body), now);
        assert_eq!(reading.account, None, "{body}");
    }
    // A gateway's word is not the vendor's.
    let of_gateway = Answer { status: 502, ..answer(r#"{"status":"error"}"#) };
    let reading = alta.read_account(AccountCall::Credentials, &of_gateway, now);
    assert!(reading.news.is_empty() && reading.unclear.is_some(), "{reading:?}");
    for body in
        [r#"{"status":"error"}"#, r#"{"status":"error","code":99}"#, r#"{"status":"error","descr":"Неверный секрет"}"#]
    {
        let reading = alta.read_account(AccountCall::Credentials, &answer(body), now);
        assert!(matches!(reading.news.as_slice(), [AccountNews::Pause { .. }]), "{body}: {reading:?}");
    }
}

#[test]
fn come_later_leaves_a_paid_order_in_the_queue_and_what_broke_off_is_looked_up() {
    let params = order(&["54676515"]);
    let submit = |text: &str| {
        let body = json!([{ "status": "error", "descr": text, "code": 3 }]).to_string();
        outcome(read(Call::Submit, &job(TRACK, State::Submitting), &params, &body))
    };
    for text in ["Слишком много запросов", "Сервис временно недоступен", "Too many requests"]
    {
        assert!(matches!(submit(text), Outcome::NotTaken { again_at: None, .. }), "{text}");
    }
    assert!(matches!(submit("Время ожидания истекло"), Outcome::Unclear { .. }));
    assert!(matches!(submit("Неверный номер вагона"), Outcome::Ended(End::Failure { .. })));
}

#[test]
fn a_balance_that_somebody_asks_for_is_the_accounts_too() {
    let body = include_str!("fixtures/balance.json");
    let reading = read(Call::Submit, &job("alta.balance", State::Submitting), &json!({}), body);
    assert!(matches!(&reading.account, Some(AccountNews::Balance(balance)) if balance.amount == 0.0), "{reading:?}");
}

// ---- whatever comes -----------------------------------------------------------------------------------------------

/// The documented acceptance with one byte changed, one part cut out, or a tail cut off.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let sound = include_str!("fixtures/add_wagon.json").as_bytes();
    (0..sound.len(), any::<u8>(), 0..3_u8, 1..40_usize).prop_map(move |(place, byte, how, length)| {
        let mut bytes = sound.to_vec();
        match how {
            0 => bytes.truncate(place),
            1 => drop(bytes.drain(place..(place + length).min(sound.len()))),
            _ => bytes[place] = byte,
        }
        bytes
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    prop::sample::select(Call::ALL.as_slice())
}

proptest! {
    #[test]
    fn a_mangled_acceptance_is_accepted_only_with_ok_and_a_whole_hash(body in mangled()) {
        let job = job(TRACK, State::Submitting);
        let params = order(&["54676515"]);
        let reading = alta().read(Call::Submit, &[view(&job, &params)], &Answer { body: body.clone().into(), ..answer("") }, Timestamp::MIN);
        if let Outcome::Accepted { remote_id, .. } = outcome(reading) {
            let value = lenient::parse(&lenient::text(&body)).unwrap();
            prop_assert!(value[0]["status"].as_str().unwrap().trim().eq_ignore_ascii_case("ok"));
            prop_assert_eq!(remote_id.map(|id| id.len()), Some(32));
        }
    }

    #[test]
    fn no_reader_panics_and_every_job_gets_its_verdict(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "\\[\\{\"status\":\"(ok|error|fail)\"(,\"(code|hash|query_status|descr)\":(1|null|\"x\"|\\[\\])){0,3}\\}(,\\{\"(num|hash)\":(1|\"a\"|null)\\}){0,3}\\]".prop_map(String::into_bytes),
        ],
        call in any_call(),
        status in 200_u16..600,
        kind in prop::sample::select(KINDS.iter().map(|spec| spec.name).collect::<Vec<_>>()),
        errors in 0_u32..5,
        memo in prop::option::of(".{0,20}|\\{\"show\":[0-9]{1,3},\"told\":[0-9]\\}"),
        partial in prop::option::of(".{0,20}"),
    ) {
        let mut any = job(kind, State::Waiting);
        any.remote_id = Some(format!("{WAGON}+{CONTAINER}"));
        any.errors = errors;
        any.memo = memo;
        let params = json!({});
        let view = JobView { job: &any, params: &params, partial: partial.as_deref() };
        let alta = alta();
        let now = at("2026-03-10T12:00:00Z");
        let _ = (alta.batch(&view, call), alta.request(call, &[view], now), alta.pace(call, &view, now));
        let reading = alta.read(call, &[view], &Answer { status, ..answer("") }, now);
        prop_assert_eq!(reading.verdicts.len(), 1);
        let reading = alta.read(call, &[view], &Answer { status, body: body.into(), ..answer("") }, now);
        prop_assert_eq!(reading.verdicts.len(), 1);
        for account in [AccountCall::Balance, AccountCall::Credentials] {
            let _ = alta.read_account(account, &answer("[]"), now);
        }
    }
}
