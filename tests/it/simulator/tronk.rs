use serde_json::{Value, json};

use super::client::{get, post};
use super::{friday_morning, hours, seconds, start};
use opros::simulator::{Change, OpClass, Simulator};

const KEY: &str = "867983b5-d66d-44d7-b440-5bd00b0b8203";

async fn phone(sim: &Simulator, rest: &str) -> Value {
    get(sim.addr(), &format!("/tronk/reportphone.ashx?key={KEY}&{rest}")).await.json()
}

async fn blocks(sim: &Simulator, rest: &str) -> Value {
    get(sim.addr(), &format!("/tronk/reportjson.ashx?key={KEY}&{rest}")).await.json()
}

#[tokio::test]
async fn a_report_is_queued_generated_and_fetched_as_the_page_has_it() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.tronk.ready_after = seconds(90)).await;
    let set = phone(&sim, "mode=setqueue&phone=79990000111").await;
    assert_eq!((&set["error"], &set["status"], &set["phone"]), (&Value::Null, &json!(0), &json!("79990000111")));
    assert!(set["msg"].is_number());
    let id = &set["id"];
    let check = phone(&sim, &format!("mode=checkqueue&id={id}")).await;
    assert_eq!((&check["error"], &check["status"], &check["resultJson"]), (&Value::Null, &json!(0), &Value::Null));
    assert!(check["msg"].is_string());
    clock.advance(seconds(90));
    let check = phone(&sim, &format!("mode=checkqueue&id={id}")).await;
    assert_eq!(check["status"], 1);
    let report: Value = serde_json::from_str(check["resultJson"].as_str().unwrap()).unwrap();
    assert_eq!(report["phone"], "79990000111");
    let result = phone(&sim, &format!("mode=getresult&id={id}")).await;
    assert!(result["msg"].is_number());
    let path = result["url"].as_str().unwrap().split_once("/tronk").unwrap().1.to_owned();
    let page = get(sim.addr(), &format!("/tronk{path}")).await;
    assert!(page.text().contains("79990000111") && page.header("content-type").unwrap().starts_with("text/html"));
    let file = get(sim.addr(), &format!("/tronk{}", path.replace(".html", ".pdf"))).await;
    assert!(file.body.starts_with(b"%PDF-"));
}

#[tokio::test]
async fn every_accepted_set_is_paid_and_nothing_makes_it_idempotent() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    phone(&sim, "mode=setqueue&phone=79990000111").await;
    let query = format!("/tronk/reportphone.ashx?key={KEY}&mode=setqueue&phone=79990000111");
    let again = post(sim.addr(), &query, "", b"").await.json();
    phone(&sim, "mode=setqueue&phone=12").await;
    let ledger = sim.ledger();
    assert_eq!(ledger.len(), 2);
    let last = &ledger[1];
    assert_eq!((last.n, &*last.vendor, &*last.op, last.key.as_str()), (2, "tronk", "setqueue", "79990000111"));
    assert_eq!(last.remote_id, again["id"].to_string());
    let requests = sim.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!((requests[1].n, requests[1].class), (last.request_id, OpClass::Submit));
    assert_eq!(requests[1].keys, ["79990000111"]);
}

#[tokio::test]
async fn errors_are_true_and_never_false_and_carry_the_fields_of_the_page() {
    let clock = friday_morning();
    let sim = start(&clock, |config| {
        config.tronk.requests_left = Some(1);
        config.tronk.no_data.insert("79990000222".to_owned());
    })
    .await;
    let none = phone(&sim, "mode=setqueue&phone=79990000222").await;
    assert_eq!(none["error"], true);
    assert_eq!(phone(&sim, "mode=setqueue&phone=79990000111").await["error"], Value::Null);
    let ended = phone(&sim, "mode=setqueue&phone=79990000111").await;
    assert_eq!(ended["error_msg"], "Закончился доступ или запросы");
    assert_eq!(ended["phone"], "79990000111");
    let unknown = phone(&sim, "mode=checkqueue&id=5").await;
    assert_eq!((&unknown["error"], &unknown["vin"], &unknown["gosnumber"]), (&json!(true), &json!(""), &json!("")));
    let key = get(sim.addr(), "/tronk/reportphone.ashx?key=no&mode=setqueue&phone=79990000111").await;
    assert_eq!((key.status, key.json()["error"].clone()), (200, json!(true)));
    assert_eq!(sim.ledger().len(), 1);
}

#[tokio::test]
async fn report_json_is_pascal_case_and_completes_block_by_block() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let created = blocks(&sim, "mode=create&gosnumber=%D0%90111%D0%90%D0%90777").await;
    assert_eq!((&created["Error"], &created["Task"]["Status"]), (&json!(false), &json!(0)));
    let id = &created["Task"]["ID"];
    let complete = |task: &Value| {
        let services = task["StatusServices"].as_array().unwrap().clone();
        services.iter().filter(|service| service["IsComplete"] == true).count()
    };
    clock.advance(seconds(90));
    let ready = blocks(&sim, &format!("mode=check&id={id}")).await;
    assert_eq!((&ready["Task"]["Status"], complete(&ready["Task"])), (&json!(1), 0));
    clock.advance(seconds(30));
    assert_eq!(complete(&blocks(&sim, &format!("mode=check&id={id}")).await["Task"]), 2);
    clock.advance(seconds(30));
    let result = blocks(&sim, &format!("mode=result&id={id}")).await;
    assert_eq!(complete(&result["Task"]), 4);
    assert!(result["Result"]["data"]["Vin"].is_string());
    assert_eq!(sim.ledger()[0].key, "А111АА777");
}

#[tokio::test]
async fn asking_sooner_than_the_pace_is_a_violation_and_a_forced_status_stays() {
    let clock = friday_morning();
    let sim = start(&clock, |_| {}).await;
    let id = phone(&sim, "mode=setqueue&phone=79990000111").await["id"].to_string();
    for pause in [10, 10, 5] {
        clock.advance(seconds(pause));
        phone(&sim, &format!("mode=checkqueue&id={id}")).await;
    }
    let violations = sim.violations();
    assert_eq!((violations.len(), violations[0].key.as_str()), (1, id.as_str()));
    sim.control().apply(Change::TronkStatus { key: id.clone(), status: 7 }).unwrap();
    clock.advance(hours(1));
    assert_eq!(phone(&sim, &format!("mode=checkqueue&id={id}")).await["status"], 7);
    sim.control().apply(Change::TronkReady { key: "79990000111".to_owned() }).unwrap();
    clock.advance(hours(1));
    assert_eq!(phone(&sim, &format!("mode=checkqueue&id={id}")).await["status"], 1);
    assert!(sim.control().apply(Change::TronkReady { key: "nobody".to_owned() }).is_err());
}
