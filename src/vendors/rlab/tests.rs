//! Requests, kinds and batching; what every other test of this driver builds its jobs with.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::exchange::{Body, Host};
use crate::domain::state::Outcome;
use crate::domain::{Job, JobId, Reason, State};
use crate::vendors::registry::{self, VENDORS};
use crate::vendors::{Due, Verdict};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
pub(super) const FIRST: &str = "19527937484546";
pub(super) const SECOND: &str = "63010828068631";

/// The account of the vendor's samples: the user key is md5("key").
pub(super) fn settings() -> Settings {
    Settings::new(1, "3c6e0b8a9c15224a8228b9a98ca1531d".into())
}

pub(super) fn driver() -> Rlab {
    Rlab::new(settings())
}

pub(super) fn job(id: i64, kind: &str, state: State) -> Job {
    let traits = KINDS.iter().find(|spec| spec.name == kind).expect("a kind of R-Lab's").traits;
    Job {
        id: JobId(id),
        kind: kind.to_owned(),
        account: "rlab".to_owned(),
        traits,
        state,
        priority: 5,
        due_at: (state == State::Queued).then_some(NOW),
        deadline: None,
        cancel_requested: false,
        dedupe_key: None,
        tag: None,
        remote_id: None,
        attempt: None,
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

pub(super) fn with_reason(mut job: Job, code: &str) -> Job {
    job.reason = Some(Reason::new(code, "as the state table or an earlier answer left it"));
    job
}

/// A track's job with its params.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) job: Job,
    pub(super) params: Value,
}

impl Parcel {
    pub(super) fn new(id: i64, track: &str, state: State) -> Parcel {
        Parcel::with(id, json!({ "track": track, "phone": wire::NO_SMS_PHONE }), state)
    }

    pub(super) fn with(id: i64, params: Value, state: State) -> Parcel {
        Parcel { job: job(id, TRACK, state), params }
    }

    pub(super) fn view(&self) -> JobView<'_> {
        JobView { job: &self.job, params: &self.params, partial: None }
    }
}

pub(super) fn views(parcels: &[Parcel]) -> Vec<JobView<'_>> {
    parcels.iter().map(Parcel::view).collect()
}

pub(super) fn answer(body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: 200, content_type: None, retry_after: None, body: Bytes::from(body.into()) }
}

fn body(request: &Request) -> &Value {
    match &request.body {
        Body::Json { value, .. } => value,
        Body::Empty | Body::Form(_) => panic!("R-Lab takes JSON"),
    }
}

fn key(request: &Request) -> &str {
    body(request)["trackingRequestKey"].as_str().expect("a key")
}

fn for_tracks(call: Call, tracks: &[&str]) -> Request {
    let parcels: Vec<Parcel> =
        tracks.iter().enumerate().map(|(at, track)| Parcel::new(at as i64, track, State::Queued)).collect();
    driver().request(call, &views(&parcels), NOW)
}

#[test]
fn request_keys_are_those_of_the_sheet() {
    let table: [(&[&str], &str); 4] = [
        (&[FIRST, SECOND], "8e093b01b18e3272a7d615704cc1502a"),
        (&[SECOND, FIRST], "f9435fe0c4859aac0c373501d0b6150c"),
        (&[FIRST], "2be12f3b62faff8808849ec5b5b67a26"),
        (&[SECOND], "d11796daa1d00641fafd586f454a04b7"),
    ];
    for (tracks, md5) in table {
        for call in Call::ALL {
            assert_eq!(key(&for_tracks(call, tracks)), md5, "{call} {tracks:?}");
        }
    }
    let info = driver().account_request(AccountCall::Balance, NOW).expect("R-Lab tells the balance");
    assert_eq!(key(&info), "4be008375662d5c8e7cb4eba945e7b4c");
    assert_eq!(body(&info)["trackingData"], Value::Null);
    assert_eq!(info.path, "/getuserinfo.ashx");
}

#[test]
fn an_add_is_the_vendors_sample_with_the_phone_that_means_no_sms() {
    let checked = driver()
        .check(TRACK, &json!({"track": FIRST, "name": "Дмитрий", "item_cost": "123.45", "order_number": 4321}))
        .expect("good params");
    let parcel = Parcel::with(1, checked.params, State::Queued);
    let request = driver().request(Call::Submit, &[parcel.view()], NOW);
    assert_eq!((request.op, request.path.as_str(), request.host), ("addtrack", "/addtrack.ashx", Host::Primary));
    assert_eq!(
        *body(&request),
        json!({
            "trackingUserId": 1,
            "trackingRequestKey": "2be12f3b62faff8808849ec5b5b67a26",
            "testMode": false,
            "trackingData": [{
                "trackingUserClientPhone": "79000000000",
                "trackingUserClientTrack": FIRST,
                "trackingUserClientEmail": "",
                "trackingUserClientName": "Дмитрий",
                "trackingUserClientItemCost": 123.45,
                "sendToUserEmailFullTracking": false,
                "sendToAdminEmailFullTracking": false,
                "trackingUserClientOrderNumber": "4321",
                "trackingUserClientDescription": "",
            }],
        })
    );
}

#[test]
fn an_update_leaves_empty_what_is_not_given() {
    let checked = driver().check("rlab.update", &json!({"track": FIRST, "name": "Николай"})).expect("good params");
    let update = job(1, "rlab.update", State::Queued);
    let view = JobView { job: &update, params: &checked.params, partial: None };
    let request = driver().request(Call::Submit, &[view], NOW);
    assert_eq!(request.op, "updatetrack");
    let item = &body(&request)["trackingData"][0];
    assert_eq!(item["trackingUserClientPhone"], "");
    assert_eq!(item["trackingUserClientItemCost"], 0);
    assert_eq!(item["trackingUserClientName"], "Николай");
}

#[test]
fn reading_and_deleting_send_the_number_and_no_personal_data() {
    let params = json!({"track": FIRST, "phone": "79160000000", "email": "a@b.ru", "name": "Дмитрий"});
    let parcel = Parcel::with(1, params, State::Waiting);
    for (call, op) in [(Call::Poll, "gettrackinfo"), (Call::LookUp, "gettrackinfo"), (Call::Cancel, "deltrack")] {
        let request = driver().request(call, &[parcel.view()], NOW);
        assert_eq!(request.op, op);
        assert_eq!(body(&request)["trackingData"], json!([wire::bare_item(FIRST)]));
    }
}

#[test]
fn two_jobs_on_one_track_share_an_item() {
    let request = for_tracks(Call::Submit, &[FIRST, SECOND, FIRST]);
    assert_eq!(body(&request)["trackingData"].as_array().map(Vec::len), Some(2));
    assert_eq!(key(&request), "8e093b01b18e3272a7d615704cc1502a");
}

#[test]
fn the_key_is_a_secret_and_the_same_jobs_make_the_same_request() {
    let request = for_tracks(Call::Submit, &[FIRST]);
    assert_eq!(request.secrets(), ["2be12f3b62faff8808849ec5b5b67a26"]);
    let mut other = settings();
    other.user_key = "another".into();
    let parcel = Parcel::new(0, FIRST, State::Queued);
    let signed_otherwise = Rlab::new(other).request(Call::Submit, &[parcel.view()], NOW);
    assert_eq!(request.hash(), signed_otherwise.hash());
    assert_eq!(body(&request).to_string(), body(&for_tracks(Call::Submit, &[FIRST])).to_string());
    assert!(!format!("{request:?} {:?}", driver()).contains("3c6e0b8a"));
}

#[test]
fn the_content_type_is_configurable() {
    let content_type = |request: Request| match request.body {
        Body::Json { content_type, .. } => content_type,
        Body::Empty | Body::Form(_) => String::new(),
    };
    assert_eq!(content_type(for_tracks(Call::Poll, &[FIRST])), "application/json; charset=utf-8");
    let mut text = settings();
    text.content_type = "text/plain".to_owned();
    let parcel = Parcel::new(0, FIRST, State::Waiting);
    assert_eq!(content_type(Rlab::new(text).request(Call::Poll, &[parcel.view()], NOW)), "text/plain");
}

#[test]
fn calls_travel_by_the_hundred_and_apart_from_test_mode() {
    let parcel = Parcel::new(1, FIRST, State::Waiting);
    let test = Parcel::with(2, json!({"track": FIRST, "test_mode": true}), State::Waiting);
    let table = [
        (Call::Submit, "add", "add_test"),
        (Call::Poll, "get", "get_test"),
        (Call::LookUp, "get", "get_test"),
        (Call::Cancel, "del", "del_test"),
    ];
    for (call, plain, testing) in table {
        let batch = driver().batch(&parcel.view(), call);
        assert_eq!((batch.key, batch.max), (plain, 100));
        let wait = if call == Call::LookUp { Duration::from_secs(1) } else { Duration::from_secs(30) };
        assert_eq!(batch.wait, wait);
        assert_eq!(driver().batch(&test.view(), call).key, testing);
        assert_eq!(body(&driver().request(call, &[test.view()], NOW))["testMode"], true);
    }
    let update = job(3, "rlab.update", State::Queued);
    let view = JobView { job: &update, params: &test.params, partial: None };
    assert_eq!(driver().batch(&view, Call::Submit), Batch::SINGLE);
}

#[test]
fn what_is_added_again_and_what_was_half_deleted_travel_by_themselves() {
    let mut parcel = Parcel::new(1, FIRST, State::Queued);
    for (stage, key, max) in
        [("usual", "add", 100), ("apart", "add_apart", 100), ("alone", "", 1), ("alone_again", "", 1)]
    {
        parcel.job.memo = Some(json!({ "adding": stage }).to_string());
        let batch = driver().batch(&parcel.view(), Call::Submit);
        assert_eq!((batch.key, batch.max), (key, max), "{stage}");
    }
    parcel.job = with_reason(parcel.job, tracks::PARTLY_DELETED);
    assert_eq!(driver().batch(&parcel.view(), Call::Cancel).key, "del_check");
    assert_eq!(driver().request(Call::Cancel, &[parcel.view()], NOW).op, "gettrackinfo");
    parcel.job = with_reason(parcel.job, tracks::STILL_THERE);
    assert_eq!(driver().batch(&parcel.view(), Call::Cancel), Batch::SINGLE);
    assert_eq!(driver().request(Call::Cancel, &[parcel.view()], NOW).op, "deltrack");
}

#[test]
fn every_kinds_example_passes_and_stays_as_it_is_when_checked_again() {
    for spec in KINDS {
        let params: Value = serde_json::from_str(spec.example).expect("an example is JSON");
        let checked = driver().check(spec.name, &params).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(driver().check(spec.name, &checked.params), Ok(checked));
    }
    assert!(driver().check("rlab.nothing", &json!({})).is_err());
}

#[test]
fn the_registry_opens_it() {
    assert!(VENDORS.iter().any(|entry| entry.name == "rlab" && entry.base_url == Some(BASE_URL)));
    let vendor = registry::open(registry::Settings::Rlab(settings()));
    assert_eq!(vendor.due(&job(1, TRACK, State::Queued), NOW), Due::Call(Call::Submit));
    assert_eq!(vendor.balance_low(), Some(100.0));
}

// ---- whatever comes --------------------------------------------------------------------------------------------

/// Any JSON, shaped often enough like the vendor's to get far into the readers.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..12).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[ -~а-я]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![FIRST, SECOND, "28.11.2014 12:50:04", "Операция:", "0"]).prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "resultState",
        " resultInfo ",
        "resultData",
        "trackNumber",
        "trackInfo",
        "trackMainStatus",
        "trackUpdateDate",
        "userBalance",
        "x",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| json!(fields)),
        ]
    })
}

/// An answer in the vendor's envelope around anything.
fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        (any_json(), any_json(), any_json()).prop_map(|(state, info, data)| {
            json!({"resultState": state, " resultInfo ": info, "resultData": data}).to_string().into_bytes()
        }),
    ]
}

fn is_accepted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Outcome(Outcome::Accepted { .. }))
}

proptest! {
    #[test]
    fn no_answer_makes_a_reader_panic_and_each_job_has_its_verdict(bytes in any_answer(), status in 100u16..600) {
        let parcels = [Parcel::new(1, FIRST, State::Waiting), Parcel::new(2, SECOND, State::Waiting)];
        let answer = Answer { status, ..answer(bytes) };
        for call in Call::ALL {
            let reading = driver().read(call, &views(&parcels), &answer, NOW);
            prop_assert_eq!(reading.verdicts.len(), 2);
        }
        for spec in KINDS {
            let job = job(3, spec.name, State::Submitting);
            let view = JobView { job: &job, params: &parcels[0].params, partial: None };
            prop_assert_eq!(driver().read(Call::Submit, &[view], &answer, NOW).verdicts.len(), 1);
        }
        driver().read_account(AccountCall::Credentials, &answer, NOW);
    }

    #[test]
    fn an_answer_whose_state_is_not_zero_accepts_nothing(state in any_json(), status in 100u16..600) {
        let zero = matches!(lenient::integer(&state), Some(0));
        let body = json!({"resultState": state, "resultInfo": "Данные успешно добавлены в базу", "resultData": null});
        let parcel = Parcel::new(1, FIRST, State::Submitting);
        let answer = Answer { status, ..answer(body.to_string()) };
        let reading = driver().read(Call::Submit, &[parcel.view()], &answer, NOW);
        prop_assert_eq!(is_accepted(&reading.verdicts[0]), zero && (200..300).contains(&status));
    }

    #[test]
    fn an_acceptance_that_was_cut_or_changed_into_something_else_is_none(cut in 0usize..107, junk in any::<u8>()) {
        let whole = include_str!("fixtures/addtrack_done.json").trim_end().as_bytes();
        let parcel = Parcel::new(1, FIRST, State::Submitting);
        let mut bytes = whole[..cut.min(whole.len() - 1)].to_vec();
        let reading = driver().read(Call::Submit, &[parcel.view()], &answer(bytes.clone()), NOW);
        prop_assert!(!is_accepted(&reading.verdicts[0]));
        bytes.push(if junk == b'}' { b'x' } else { junk });
        let reading = driver().read(Call::Submit, &[parcel.view()], &answer(bytes), NOW);
        prop_assert!(!is_accepted(&reading.verdicts[0]));
    }

    #[test]
    fn no_params_make_the_check_panic_and_what_passes_once_passes_again(params in any_json(), track in "[ -~]{0,16}") {
        for spec in KINDS {
            for params in [params.clone(), json!({"track": track}), json!({"track": FIRST, "item_cost": params})] {
                if let Ok(checked) = driver().check(spec.name, &params) {
                    prop_assert_eq!(driver().check(spec.name, &checked.params), Ok(checked));
                }
            }
        }
    }
}
