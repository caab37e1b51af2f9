use serde_json::{Value, json};

use super::client::{Answer, get, post};
use super::{friday_morning, hours, seconds, start};
use opros::clock::ManualClock;
use opros::simulator::{Change, Echo, Simulator};

const TEST: &str = "login=alta@alta.ru&sa=sa000000&secret=bb92dcee8bf2b49287e1038b65a72b79";
const ADD: &str = "action=add&state=20&track_state=ru&stop_station=no&days=0,1,2,3,4,5,6";

/// md5("rail_tracking:sa000777:" + md5("tech-password")), which are the defaults.
const MINE: &str = "login=broker@example.ru&sa=sa000777&secret=df1686284fda42305d98b6a496c73415";

async fn form(sim: &Simulator, access: &str, rest: &str) -> Answer {
    let body = format!("{access}&{rest}");
    post(sim.addr(), "/alta/rail_tracking/api_v2.php", "application/x-www-form-urlencoded", body.as_bytes()).await
}

/// A second passes before every call, so that nobody is impatient by accident.
async fn call(sim: &Simulator, clock: &ManualClock, rest: &str) -> Value {
    clock.advance(seconds(1));
    form(sim, MINE, rest).await.json()
}

#[tokio::test]
async fn the_public_account_answers_as_the_page_shows() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let url = format!("/alta/rail_tracking/api_v2.php?{TEST}");
    assert_eq!(get(sim.addr(), &format!("{url}&action=test_secret")).await.json(), json!({"status": "ok"}));
    // The hex of the inner hash in capitals, and the recipe read literally.
    for wrong in ["db0b1d79a53c6029a91dc543bab591be", "2ecf9e9c76b7f9cb963591e6927182a5"] {
        let access = format!("login=alta@alta.ru&sa=sa000000&secret={wrong}");
        assert_eq!(form(&sim, &access, "action=test_secret").await.json(), json!({"status": "error"}));
        assert_eq!(form(&sim, &access, "action=balance").await.json()[0]["status"], "error");
    }
    clock.advance(seconds(1));
    let unsupported = get(sim.addr(), &format!("{url}&action=nonsense")).await.json();
    let documented = json!([{"status": "error", "descr": "Указан неподдерживаемый метод", "code": 15}]);
    assert_eq!(unsupported, documented);
    clock.advance(seconds(1));
    let list = form(&sim, TEST, "action=track_list").await.json();
    assert_eq!(list[0], json!({"status": "ok"}));
    let first = &list[1];
    assert_eq!(first["name"], "первое слежение");
    assert_eq!(
        (&first["comment"], &first["vagon_count"], &first["on_track"]),
        (&Value::Null, &json!("1"), &json!("1"))
    );
    assert_eq!((&first["status"], &first["track_type"]), (&json!(4), &json!("1")));
    clock.advance(seconds(1));
    let show = form(&sim, TEST, "action=show&hash=931700e35d7ff88a10bd5d680da50f02").await.json();
    assert_eq!((&show[0]["query_status"], &show[1]["num"]), (&json!("4"), &json!("AMFU8899067")));
    assert_eq!(show[1]["on_track"], 1);
    clock.advance(seconds(1));
    let carr = form(&sim, TEST, "action=carr_list&hash=931700e35d7ff88a10bd5d680da50f02").await.json();
    assert_eq!(carr[1]["carrs"], json!(["AMFU8899067"]));
    clock.advance(seconds(1));
    let balance = form(&sim, TEST, "action=balance").await.json();
    assert_eq!(
        balance,
        json!([{"status": "ok", "descr": "Ваш баланс: 0.00 руб. / Бонусы 0", "balans": "0.00",
        "bonus": 0, "sa": "sa000000"}])
    );
}

#[tokio::test]
async fn the_public_account_never_cancels_and_takes_no_other_vehicles() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let rest = format!("{ADD}&track_type=2&times=09:00&times_per_day=1&wagons=54676515,AMFU8899067");
    let added = form(&sim, TEST, &rest).await.json();
    assert_eq!(added[0]["hash"], "ebc356dfa5beee7d3844ccacf535410c");
    assert_eq!(added[0]["cont_hash"], "931700e35d7ff88a10bd5d680da50f02");
    clock.advance(seconds(1));
    let cancel = "action=cancel_track&hash=ebc356dfa5beee7d3844ccacf535410c";
    assert_eq!(form(&sim, TEST, cancel).await.json()[0]["status"], "ok");
    clock.advance(seconds(1));
    let list = form(&sim, TEST, "action=track_list").await.json();
    assert!(list.as_array().unwrap()[1..].iter().all(|row| row["on_track"] == "1"));
    clock.advance(seconds(1));
    let other = form(&sim, TEST, &rest.replace("54676515", "54676523")).await.json();
    assert_eq!(other[0]["status"], "error");
}

#[tokio::test]
async fn a_request_is_queued_processed_and_done_at_its_hours_and_charged_once_a_day() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.alta.report_takes = (seconds(120), seconds(120))).await;
    let rest = format!("{ADD}&track_type=2&times=11:00,13:00,18:00&times_per_day=2&wagons=54676515&comment=tok%2D1");
    let hash = call(&sim, &clock, &rest).await[0]["hash"].as_str().unwrap().to_owned();
    let show = format!("action=show&hash={hash}");
    let head = async || call(&sim, &clock, &show).await[0].clone();
    let first = head().await;
    assert_eq!((&first["query_status"], &first["count"]), (&json!("1"), &json!(0)));
    clock.set("2026-08-21T08:01:00Z".parse_time());
    assert_eq!(head().await["query_status"], "2");
    clock.set("2026-08-21T08:02:30Z".parse_time());
    assert_eq!(head().await["query_status"], "4");
    clock.set("2026-08-21T10:03:00Z".parse_time());
    let data = call(&sim, &clock, &show).await;
    assert_eq!((&data[0]["query_status"], &data[1]["num"]), (&json!("4"), &json!("54676515")));
    assert!(data[1]["op_date"].as_str().unwrap() > "2026-08-20");
    let row = call(&sim, &clock, "action=track_list").await[1].clone();
    assert_eq!((&row["name"], &row["modify_date"]), (&json!("tok-1"), &json!("21.08.2026 13:02")));
    clock.set("2026-08-23T20:00:00Z".parse_time());
    let ledger = sim.ledger();
    let booked: Vec<_> = ledger.iter().map(|it| (&*it.op, it.price, it.token.as_deref())).collect();
    let daily = ("daily", 4_000, Some("tok-1"));
    assert_eq!(booked, [("add", 0, Some("tok-1")), daily, daily, daily]);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

#[tokio::test]
async fn arrival_ends_a_request_that_stops_at_its_station() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let rest = format!("{ADD}&track_type=3&times=11:00&times_per_day=1&wagons=54676515")
        .replace("stop_station=no", "stop_station=yes");
    let hash = call(&sim, &clock, &rest).await[0]["hash"].as_str().unwrap().to_owned();
    clock.advance(hours(49));
    assert_eq!(call(&sim, &clock, "action=track_list").await[1]["on_track"], "1");
    sim.control().apply(Change::AltaArrive { vehicle: "54676515".to_owned() }).unwrap();
    clock.advance(hours(25));
    let row = call(&sim, &clock, "action=track_list").await[1].clone();
    assert_eq!((&row["on_track"], &row["track_type"]), (&json!("0"), &json!("2")));
    let shown = call(&sim, &clock, &format!("action=show&hash={hash}")).await;
    assert_eq!((&shown[0]["query_status"], &shown[1]["on_track"]), (&json!("4"), &json!(0)));
    let ledger = sim.ledger();
    assert_eq!((ledger.len(), ledger[0].price), (1, 60_000));
}

#[tokio::test]
async fn a_journey_ends_by_itself_within_two_weeks() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let rest = format!("{ADD}&track_type=2&times=9:00&times_per_day=1&wagons=54676515")
        .replace("stop_station=no", "stop_station=yes");
    call(&sim, &clock, &rest).await;
    clock.advance(hours(24 * 14));
    assert_eq!(call(&sim, &clock, "action=track_list").await[1]["on_track"], "0");
    let days = sim.ledger().iter().filter(|booking| booking.op == "daily").count();
    assert!((4..=13).contains(&days), "charged for {days} days");
}

#[tokio::test]
async fn a_report_that_comes_too_early_knows_nothing_of_a_container() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let rest = format!("{ADD}&track_type=2&times=11:00,14:00&times_per_day=2&wagons=AMFU8899067");
    let added = call(&sim, &clock, &rest).await;
    let show = format!("action=show&hash={}", added[0]["cont_hash"].as_str().unwrap());
    clock.advance(hours(2));
    assert_eq!(call(&sim, &clock, &show).await.as_array().unwrap().len(), 1);
    clock.advance(hours(3));
    assert_eq!(call(&sim, &clock, &show).await[1]["num"], "AMFU8899067");
}

#[tokio::test]
async fn cancelling_some_vehicles_leaves_the_others() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let rest = format!("{ADD}&track_type=2&times=11:00&times_per_day=1&wagons=54676515,54676523");
    let hash = call(&sim, &clock, &rest).await[0]["hash"].as_str().unwrap().to_owned();
    call(&sim, &clock, &format!("action=cancel_track&hash={hash}&wagons=54676523")).await;
    clock.advance(hours(6));
    assert_eq!(call(&sim, &clock, "action=track_list").await[1]["on_track"], "1");
    assert_eq!(sim.ledger().last().unwrap().price, 4_000);
    call(&sim, &clock, &format!("action=cancel_track&hash={hash}")).await;
    assert_eq!(call(&sim, &clock, "action=track_list").await[1]["on_track"], "0");
    clock.advance(hours(48));
    assert_eq!(sim.ledger().len(), 2);
}

#[tokio::test]
async fn the_impatient_are_written_down_and_turned_away_for_a_while() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let rest = format!("{ADD}&track_type=2&times=11:00&times_per_day=1&wagons=54676515");
    let hash = call(&sim, &clock, &rest).await[0]["hash"].as_str().unwrap().to_owned();
    let show = format!("action=show&hash={hash}");
    call(&sim, &clock, &show).await;
    clock.advance(seconds(60));
    assert_eq!(form(&sim, MINE, &show).await.status, 200);
    clock.advance(seconds(59));
    let turned_away = form(&sim, MINE, &show).await;
    assert_eq!((turned_away.status, turned_away.json()[0]["status"].clone()), (403, json!("error")));
    assert_eq!(form(&sim, MINE, "action=balance").await.status, 403);
    clock.advance(seconds(600));
    assert_eq!(form(&sim, MINE, &show).await.status, 200);
    let whats: Vec<_> = sim.violations().into_iter().map(|violation| violation.what).collect();
    assert_eq!(whats.len(), 2, "{whats:?}");
}

#[tokio::test]
async fn without_money_nothing_is_added_and_no_report_is_made() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.alta.balance = 4_000).await;
    let rest = format!("{ADD}&track_type=2&times=11:00&times_per_day=1&wagons=54676515");
    let refused = call(&sim, &clock, &rest.replace("54676515", "54676515,54676523")).await;
    assert!(refused[0]["descr"].as_str().unwrap().contains("средств"));
    let hash = call(&sim, &clock, &rest).await[0]["hash"].as_str().unwrap().to_owned();
    clock.advance(hours(26));
    let starved = call(&sim, &clock, &format!("action=show&hash={hash}")).await;
    assert!(starved[0]["descr"].as_str().unwrap().contains("средств"));
    sim.control().apply(Change::AltaBalance { kopecks: 4_000 }).unwrap();
    clock.advance(seconds(60));
    assert_eq!(call(&sim, &clock, &format!("action=show&hash={hash}")).await[0]["status"], "ok");
    assert_eq!(call(&sim, &clock, "action=balance").await[0]["balans"], "0.00");
}

#[tokio::test]
async fn the_list_may_lag_and_may_lose_the_comment() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.alta.list_lag = seconds(90)).await;
    call(&sim, &clock, &format!("{ADD}&track_type=2&times=9:00&times_per_day=1&wagons=54676515&comment=t")).await;
    assert_eq!(call(&sim, &clock, "action=track_list").await.as_array().unwrap().len(), 1);
    clock.advance(seconds(90));
    assert_eq!(call(&sim, &clock, "action=track_list").await[1]["name"], "t");
    sim.control().apply(Change::AltaEcho { echo: Echo::Comment }).unwrap();
    assert_eq!(call(&sim, &clock, "action=track_list").await[1]["comment"], "t");
    sim.control().apply(Change::AltaEcho { echo: Echo::Stripped }).unwrap();
    let row = call(&sim, &clock, "action=track_list").await[1].clone();
    assert_eq!((&row["name"], &row["comment"]), (&json!(""), &Value::Null));
}

#[tokio::test]
async fn hundreds_of_requests_over_weeks_cost_nothing_until_somebody_looks() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.log_requests = false).await;
    for number in 0..300 {
        let wagon = 50_000_000 + number;
        call(&sim, &clock, &format!("{ADD}&track_type=2&times=9:00,15:00&times_per_day=2&wagons={wagon}")).await;
    }
    clock.advance(hours(24 * 21));
    assert_eq!(call(&sim, &clock, "action=track_list").await.as_array().unwrap().len(), 301);
    // One add each, and a charge on 22 days.
    assert_eq!(sim.ledger().len(), 300 * 23);
    assert!(sim.requests().is_empty());
    assert_eq!(sim.control().state()["requests"]["alta.add"], 300);
}

trait ParseTime {
    fn parse_time(&self) -> opros::domain::Timestamp;
}

impl ParseTime for str {
    fn parse_time(&self) -> opros::domain::Timestamp {
        opros::domain::Timestamp::parse_rfc3339(self).unwrap()
    }
}
