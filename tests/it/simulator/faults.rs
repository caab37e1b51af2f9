use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::client::{Answer, begin, get};
use super::{eventually, friday_morning, seconds, start};
use opros::clock::ManualClock;
use opros::simulator::{Change, Fault, FaultPlan, FaultRule, Simulator};

const SET: &str = "/tronk/reportphone.ashx?key=867983b5-d66d-44d7-b440-5bd00b0b8203&mode=setqueue&phone=79990000111";

async fn with(clock: &ManualClock, then: Value) -> Simulator {
    let plan = json!({"rules": [{"vendor": "tronk", "op": "setqueue", "then": then}]});
    let plan: FaultPlan = serde_json::from_value(plan).unwrap();
    start(clock, |config| config.faults = plan).await
}

/// What the first set under that fault gets, and how many bookings there are afterwards.
async fn meet(then: Value) -> (Answer, usize) {
    let clock = friday_morning();
    let sim = with(&clock, then).await;
    let answer = get(sim.addr(), SET).await;
    (answer, sim.ledger().len())
}

#[tokio::test]
async fn dropped_connections_book_or_do_not() {
    for (then, booked, reset) in [
        (json!("drop_before"), 0, false),
        (json!("drop_after"), 1, false),
        (json!({"kind": "rst"}), 0, true),
        (json!({"kind": "rst", "book": true}), 1, true),
    ] {
        let (answer, bookings) = meet(then.clone()).await;
        assert!(answer.is_nothing(), "{then}: {answer:?}");
        assert_eq!((bookings, answer.reset), (booked, reset), "{then}");
    }
}

#[tokio::test]
async fn a_late_booking_comes_after_the_client_has_gone() {
    let clock = friday_morning();
    let sim = with(&clock, json!({"kind": "late_booking", "after_ms": 60_000})).await;
    assert!(get(sim.addr(), SET).await.is_nothing());
    clock.advance(seconds(59));
    tokio::task::yield_now().await;
    assert_eq!(sim.ledger().len(), 0);
    clock.advance(seconds(1));
    eventually("the late booking", || sim.ledger().len() == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_at_once_has_paid_all_the_same() {
    let clock = friday_morning();
    let sim = with(&clock, json!({"kind": "slow", "ms": 3_600_000})).await;
    let stream = begin(sim.addr(), "GET", SET, "", b"").await;
    drop(stream);
    eventually("the booking", || sim.ledger().len() == 1).await;
}

#[tokio::test]
async fn answers_of_no_use_come_as_told_and_book_as_told() {
    for book in [false, true] {
        let cases = [
            (json!({"kind": "html", "book": book}), 200, "<!DOCTYPE html>"),
            (json!({"kind": "empty", "book": book}), 200, ""),
            (json!({"kind": "wrong_shape", "book": book}), 200, "{\"result\":[["),
            (json!({"kind": "status", "code": 502, "body": "bad gateway", "book": book}), 502, "bad gateway"),
        ];
        for (then, status, start) in cases {
            let (answer, bookings) = meet(then.clone()).await;
            assert_eq!((answer.status, bookings), (status, usize::from(book)), "{then}");
            assert!(answer.whole && answer.text().starts_with(start), "{then}: {answer:?}");
        }
    }
    let (answer, _) = meet(json!({"kind": "garbage"})).await;
    assert!(answer.status == 200 && String::from_utf8(answer.body).is_err());
    let (answer, _) = meet(json!({"kind": "status", "code": 429, "retry_after": "17", "content_type": "text/x"})).await;
    assert_eq!((answer.header("retry-after"), answer.header("content-type")), (Some("17"), Some("text/x")));
    let (answer, bookings) = meet(json!("bom")).await;
    assert_eq!((&answer.body[..4], bookings), (&b"\xef\xbb\xbf{"[..], 1));
}

#[tokio::test]
async fn a_redirect_leads_back_to_where_it_came_from_unless_told_otherwise() {
    let (answer, bookings) = meet(json!({"kind": "redirect"})).await;
    assert_eq!((answer.status, answer.header("location"), bookings), (307, Some(SET), 0));
    let (answer, _) = meet(json!({"kind": "redirect", "code": 302, "location": "http://127.0.0.1:1/x"})).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://127.0.0.1:1/x")));
}

#[tokio::test]
async fn a_truncated_answer_is_the_first_half_of_the_true_one() {
    let (cut, bookings) = meet(json!("truncated")).await;
    assert_eq!((cut.status, cut.whole, bookings), (200, false, 1));
    assert!(cut.text().starts_with("{\"end\"") && !cut.body.is_empty(), "{cut:?}");
    let (clean, bookings) = meet(json!({"kind": "truncated", "clean": true, "book": false})).await;
    assert_eq!((clean.whole, bookings), (true, 0));
    assert!(serde_json::from_slice::<Value>(&clean.body).is_err());
}

#[tokio::test]
async fn huge_answers_and_bombs_are_as_big_as_told() {
    let (huge, _) = meet(json!({"kind": "huge", "bytes": 3_000_000})).await;
    assert!(huge.whole && huge.body.len() == 3_000_000);
    let (bomb, bookings) = meet(json!({"kind": "gzip_bomb", "bytes": 50_000_000, "book": true})).await;
    assert_eq!((bomb.header("content-encoding"), bookings), (Some("gzip"), 1));
    assert!(bomb.whole && bomb.body.len() < 400_000);
    let size = u32::from_le_bytes(bomb.body[bomb.body.len() - 4..].try_into().unwrap());
    assert!((50_000_000..50_010_000).contains(&size));
}

#[tokio::test]
async fn slow_is_late_but_right_and_a_hang_never_answers() {
    let began = Instant::now();
    let (slow, bookings) = meet(json!({"kind": "slow", "ms": 60})).await;
    assert!(began.elapsed().as_millis() >= 60);
    assert_eq!((slow.json()["status"].clone(), bookings), (json!(0), 1));
    let clock = friday_morning();
    let sim = with(&clock, json!({"kind": "hang", "book": true})).await;
    let mut stream = begin(sim.addr(), "GET", SET, "", b"").await;
    eventually("the booking", || sim.ledger().len() == 1).await;
    let mut byte = [0];
    assert!(futures_util::FutureExt::now_or_never(stream.read(&mut byte)).is_none());
    sim.stop().await;
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn refusals_come_in_each_vendors_own_form() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    for (fault, words) in [
        (Fault::BadKey {}, ["Неверный ключ", "авторизации", "Некорректный ключ", "токен"]),
        (Fault::AccessEnded {}, ["Закончился доступ", "Доступ", "тарифа", "Доступ"]),
        (Fault::NoMoney {}, ["запросы", "средств", "средств", "средств"]),
    ] {
        sim.control().set_faults(FaultPlan::one(FaultRule::on("*", "submit", fault.clone()))).unwrap();
        for (answer, word) in submits(sim.addr()).await.into_iter().zip(words) {
            assert!(answer.text().contains(word), "{fault:?}: {}", answer.text());
        }
    }
    assert!(sim.ledger().is_empty());
}

async fn submits(addr: SocketAddr) -> Vec<Answer> {
    let bodies = [("/alta/rail_tracking/api_v2.php", "action=add"), ("/rlab/addtrack.ashx", "{}")];
    let mut answers = vec![get(addr, SET).await];
    for (path, body) in bodies.into_iter().chain([("/vagvin/api/processing_queue", "{}")]) {
        answers.push(super::client::post(addr, path, "", body.as_bytes()).await);
    }
    answers
}

#[tokio::test]
async fn one_host_of_two_can_be_down() {
    let clock = friday_morning();
    let sim = start(&clock, |config| {
        config.faults = FaultPlan::one(FaultRule::on("rlab", "*", Fault::DropBefore {}).first(2));
    })
    .await;
    sim.control().apply(Change::RlabPlant { track: "19527937484546".to_owned() }).unwrap();
    let body = br#"{"trackingUserId":1,"trackingRequestKey":"2be12f3b62faff8808849ec5b5b67a26",
        "trackingData":[{"trackingUserClientTrack":"19527937484546"}]}"#;
    let ask = async |host: &str| super::client::post(sim.addr(), &format!("/{host}/gettrackinfo.ashx"), "", body).await;
    assert!(ask("rlab").await.is_nothing());
    assert_eq!(ask("rlab-reserve").await.json()["resultState"], 0);
    assert!(ask("rlab").await.is_nothing());
    assert_eq!(ask("rlab").await.json()["resultData"][0]["trackNumber"], "19527937484546");
}
