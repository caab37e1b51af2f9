use serde_json::{Value, json};

use super::client::post;
use super::{friday_morning, hours, seconds, start};
use opros::simulator::{Change, InfoForm, PoisonRule, Simulator};

const FIRST: &str = "19527937484546";
const SECOND: &str = "63010828068631";
const BOTH_KEY: &str = "8e093b01b18e3272a7d615704cc1502a";
const FIRST_KEY: &str = "2be12f3b62faff8808849ec5b5b67a26";

fn request(key: &str, tracks: &[&str]) -> Value {
    let items: Vec<_> = tracks.iter().map(|track| item(track)).collect();
    json!({"trackingUserId": 1, "trackingRequestKey": key, "testMode": false, "trackingData": items})
}

fn item(track: &str) -> Value {
    json!({"trackingUserClientPhone": "79000000000", "trackingUserClientTrack": track, "trackingUserClientEmail": "",
        "trackingUserClientName": "", "trackingUserClientItemCost": 0, "trackingUserClientOrderNumber": "4321",
        "trackingUserClientDescription": "", "trackingUserClientDeliveryServiceId": 0})
}

async fn call(sim: &Simulator, method: &str, body: &Value) -> Value {
    let path = format!("/{method}.ashx");
    post(sim.addr(), &path, "text/plain; charset=utf-8", body.to_string().as_bytes()).await.json()
}

#[tokio::test]
async fn the_key_covers_the_tracks_in_the_order_of_the_request() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let added = call(&sim, "rlab/addtrack", &request(BOTH_KEY, &[FIRST, SECOND])).await;
    assert_eq!(added, json!({"resultState": 0, "resultInfo": "Данные успешно добавлены в базу", "resultData": null}));
    let wrong = call(&sim, "rlab/addtrack", &request(BOTH_KEY, &[SECOND, FIRST])).await;
    let documented =
        r#"{"resultState":2," resultInfo ":"Некорректный ключ запроса в trackingRequestKey","resultData":null}"#;
    assert_eq!(wrong, serde_json::from_str::<Value>(documented).unwrap());
    let turned = request("f9435fe0c4859aac0c373501d0b6150c", &[SECOND, FIRST]);
    assert_eq!(call(&sim, "rlab/gettrackinfo", &turned).await["resultState"], 0);
    let user =
        json!({"trackingUserId": "1", "trackingRequestKey": "4be008375662d5c8e7cb4eba945e7b4c", "trackingData": null});
    let info = call(&sim, "rlab/getuserinfo", &user).await;
    assert_eq!(info["resultData"]["userExpireDate"], "Бессрочный");
    assert_eq!(
        (&info["resultData"]["userBalance"], &info["resultData"]["userBalanceUnlimited"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn a_track_is_booked_once_however_often_it_is_sent() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.rlab.balance = Some(10)).await;
    for _ in 0..3 {
        assert_eq!(call(&sim, "rlab/addtrack", &request(FIRST_KEY, &[FIRST])).await["resultState"], 0);
    }
    let ledger = sim.ledger();
    assert_eq!((ledger.len(), ledger[0].key.as_str(), ledger[0].token.as_deref()), (1, FIRST, Some("4321")));
    assert_eq!(sim.control().rlab_attempts(FIRST), 3);
    let user = json!({"trackingUserId": 1, "trackingRequestKey": "4be008375662d5c8e7cb4eba945e7b4c"});
    assert_eq!(call(&sim, "rlab/getuserinfo", &user).await["resultData"]["userBalance"], 9);
    let mut trial = request(BOTH_KEY, &[FIRST, SECOND]);
    trial["testMode"] = json!(true);
    assert_eq!(call(&sim, "rlab/addtrack", &trial).await["resultState"], 0);
    assert_eq!(sim.ledger().len(), 1);
}

#[tokio::test]
async fn a_poisoned_track_spoils_its_part_or_the_whole() {
    let clock = friday_morning();
    for (rule, state, booked) in [(PoisonRule::Partial, 1, 1), (PoisonRule::Whole, 2, 0)] {
        let sim = start(&clock, |config| {
            config.rlab.poisoned.insert(SECOND.to_owned());
            config.rlab.poison = rule;
        })
        .await;
        let answer = call(&sim, "rlab/addtrack", &request(BOTH_KEY, &[FIRST, SECOND])).await;
        assert_eq!(answer["resultState"], state);
        assert!(answer[" resultInfo "].as_str().unwrap().ends_with("ошибок 1"));
        assert_eq!(sim.ledger().len(), booked);
    }
}

#[tokio::test]
async fn unknown_tracks_are_left_out_and_known_ones_live() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.rlab.form = InfoForm::Old).await;
    call(&sim, "rlab/addtrack", &request(FIRST_KEY, &[FIRST])).await;
    let ask = request(BOTH_KEY, &[FIRST, SECOND]);
    let fresh = call(&sim, "rlab/gettrackinfo", &ask).await;
    let expected = json!([{"trackNumber": FIRST, "trackInfo": "", "trackMainStatus": 0,
        "trackCreateDate": "21.08.2026 10:00:00", "trackUpdateDate": null}]);
    assert_eq!(fresh["resultData"], expected);
    let mut seen = Vec::new();
    for _ in 0..14 {
        clock.advance(hours(12));
        let row = call(&sim, "rlab/gettrackinfo", &ask).await["resultData"][0].clone();
        assert!(row["trackInfo"].as_str().unwrap().starts_with("Операция:"));
        seen.push(row["trackMainStatus"].as_i64().unwrap());
    }
    seen.dedup();
    assert_eq!(seen, [4, 2, 1]);
    sim.control().apply(Change::RlabStatus { track: FIRST.to_owned(), status: 3 }).unwrap();
    let back = call(&sim, "rlab/gettrackinfo", &ask).await;
    assert_eq!(back["resultData"][0]["trackMainStatus"], 3);
    assert!(sim.control().apply(Change::RlabStatus { track: SECOND.to_owned(), status: 3 }).is_err());
}

#[tokio::test]
async fn the_new_form_is_a_phrase_with_more_beside_it() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.rlab.form = InfoForm::New).await;
    call(&sim, "rlab/addtrack", &request(FIRST_KEY, &[FIRST])).await;
    clock.advance(hours(1));
    let row = call(&sim, "rlab/gettrackinfo", &request(FIRST_KEY, &[FIRST])).await["resultData"][0].clone();
    assert_eq!(row["trackInfo"], "Приём отправления почтовым отделением");
    assert_eq!(row["trackRecepDate"], "21.08.2026 10:20:00");
    assert_eq!((&row["trackExtraData"], &row["trackingUserClientPhone"]), (&Value::Null, &json!("79000000000")));
}

#[tokio::test]
async fn deleting_updating_and_the_reserve_work_on_the_same_account() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    call(&sim, "rlab/addtrack", &request(FIRST_KEY, &[FIRST])).await;
    let both = request(BOTH_KEY, &[FIRST, SECOND]);
    let updated = call(&sim, "rlab-reserve/updatetrack", &both).await;
    assert_eq!(updated[" resultInfo "], " Часть данных обновлена в базе, ошибок 1");
    let deleted = call(&sim, "rlab-reserve/deltrack", &both).await;
    assert_eq!(deleted[" resultInfo "], "Часть треков удалены, ошибок 1");
    assert_eq!(call(&sim, "rlab/gettrackinfo", &both).await["resultData"], json!([]));
    assert_eq!(sim.ledger().len(), 1);
    let vendors: Vec<_> = sim.requests().iter().map(|request| request.vendor).collect();
    assert_eq!(vendors, ["rlab", "rlab-reserve", "rlab-reserve", "rlab"]);
}

#[tokio::test]
async fn more_than_a_hundred_tracks_and_hasty_questions_are_bad_manners() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.rlab.user_key = String::new()).await;
    let tracks: Vec<String> = (0..101).map(|number| format!("{number:014}")).collect();
    let tracks: Vec<&str> = tracks.iter().map(String::as_str).collect();
    // md5("1:" + the 101 tracks + ":"), made with another program.
    let answer = call(&sim, "rlab/gettrackinfo", &request("c39d0a7001ca59761e707574a0840b3a", &tracks)).await;
    assert_eq!(answer["resultState"], 2);
    // md5("1:" + FIRST + ":")
    let one = request("f98ea185678a96c1c2cf244bacc9542d", &[FIRST]);
    call(&sim, "rlab/addtrack", &one).await;
    call(&sim, "rlab/gettrackinfo", &one).await;
    clock.advance(seconds(5));
    call(&sim, "rlab/gettrackinfo", &one).await;
    assert_eq!(sim.violations().len(), 2, "{:?}", sim.violations());
}

#[tokio::test]
async fn bodies_with_a_bom_or_single_quotes_are_understood() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let strict = request(FIRST_KEY, &[FIRST]).to_string();
    for odd in [format!("\u{feff}{strict}"), strict.replace('"', "'")] {
        let answer = post(sim.addr(), "/rlab/addtrack.ashx", "application/x-www-form-urlencoded", odd.as_bytes()).await;
        assert_eq!(answer.json()["resultState"], 0);
    }
    let nonsense = post(sim.addr(), "/rlab/addtrack.ashx", "application/json", b"{").await;
    assert_eq!(nonsense.json()["resultState"], 2);
}
