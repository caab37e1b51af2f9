use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::{Answer, post};
use super::{eventually, friday_morning, hours, seconds, start};
use opros::clock::ManualClock;
use opros::simulator::{CallbackForm, CallbackStyle, CallbackWhen, Change, Simulator};

const VIN: &str = "WVWZZZ1KZAW123456";

/// A place where call-backs arrive: request head and body, one connection each.
#[derive(Debug, Clone)]
struct Door {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Door {
    async fn open(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self { addr: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = door.seen.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = Vec::new();
                while !is_whole(&text) {
                    assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
                }
                let text = String::from_utf8_lossy(&text).into_owned();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                seen.lock().unwrap().push((head.to_owned(), body.to_owned()));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        door
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }
}

fn is_whole(text: &[u8]) -> bool {
    let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    text.len() == end + 4 + length.parse::<usize>().unwrap()
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

async fn order(sim: &Simulator, change: impl FnOnce(&mut Value)) -> Answer {
    let mut body = json!({"token": "vagvin-test-token", "vin": VIN, "check_type": "check_elsa_pro_full",
        "car_brand": "SKODA", "report_language": "Русский"});
    change(&mut body);
    post(sim.addr(), "/vagvin/api/processing_queue", "application/json", body.to_string().as_bytes()).await
}

async fn simulator(clock: &ManualClock, door: &Door, style: CallbackStyle) -> Simulator {
    let url = format!("http://{}/callbacks/vagvin/s3cret", door.addr);
    start(clock, |config| {
        config.vagvin.callback_url = Some(url);
        config.vagvin.answer_after = hours(1);
        config.vagvin.styles = vec![style];
    })
    .await
}

#[tokio::test]
async fn an_order_is_paid_and_a_wrong_one_is_refused_in_words() {
    let clock = friday_morning();
    let sim = start(&clock, |config| config.vagvin.balance = Some(100_000)).await;
    assert_eq!(order(&sim, |_| {}).await.status, 200);
    let poor = order(&sim, |_| {}).await;
    assert!(poor.status >= 400 && poor.json()["error"].is_string());
    for (field, wrong) in [("vin", "WVWZZZ1KZAO12345I"), ("check_type", "?"), ("car_brand", ""), ("token", "x")] {
        let refused = order(&sim, |body| body[field] = json!(wrong)).await;
        assert!(refused.status >= 400 && refused.json()["error"].is_string(), "{field}");
    }
    let balance = order(&sim, |body| *body = json!({"token": "vagvin-test-token", "check_type": "get_balance"})).await;
    assert_eq!(balance.json()["balance"], 100.0);
    let ledger = sim.ledger();
    assert_eq!((ledger.len(), ledger[0].key.as_str(), ledger[0].price), (1, VIN, 90_000));
}

#[tokio::test]
async fn reports_come_back_in_every_form() {
    let clock = friday_morning();
    for form in [CallbackForm::Json, CallbackForm::Nested, CallbackForm::Urlencoded, CallbackForm::Multipart] {
        let door = Door::open(TAKEN).await;
        let sim = simulator(&clock, &door, CallbackStyle { form, ..CallbackStyle::default() }).await;
        order(&sim, |_| {}).await;
        assert!(door.seen().is_empty());
        clock.advance(hours(1));
        eventually("the call-back", || sim.control().vagvin_callbacks().len() == 1).await;
        let (head, body) = door.seen().remove(0);
        assert!(head.starts_with("POST /callbacks/vagvin/s3cret HTTP/1.1"));
        assert!(body.contains(VIN) && body.contains("check_elsa_pro_full"), "{body}");
        let expected = match form {
            CallbackForm::Json => "{\"",
            CallbackForm::Nested => "{\"data\":\"{",
            CallbackForm::Urlencoded => "vin=",
            CallbackForm::Multipart => "--",
        };
        assert!(body.starts_with(expected), "{body}");
        assert_eq!(body.contains("%PDF-1.4"), form == CallbackForm::Multipart);
        assert_eq!(sim.control().vagvin_callbacks()[0].status, Some(200));
    }
}

#[tokio::test]
async fn an_early_report_is_there_before_the_order_is_answered() {
    let clock = friday_morning();
    let door = Door::open(TAKEN).await;
    let style = CallbackStyle { when: CallbackWhen::Early, repeats: 1, ..CallbackStyle::default() };
    let sim = simulator(&clock, &door, style).await;
    order(&sim, |_| {}).await;
    assert_eq!(door.seen().len(), 2);
}

#[tokio::test]
async fn strangers_and_wrong_secrets_come_before_the_true_report() {
    let clock = friday_morning();
    let door = Door::open(TAKEN).await;
    let (stranger_too, wrong_secret_too) = (true, true);
    let when = CallbackWhen::Early;
    let style = CallbackStyle { when, stranger_too, wrong_secret_too, no_check_type: true, ..CallbackStyle::default() };
    let sim = simulator(&clock, &door, style).await;
    order(&sim, |_| {}).await;
    let seen = door.seen();
    assert!(!seen[0].1.contains(VIN));
    assert!(seen[1].0.starts_with("POST /callbacks/vagvin/not-the-secret "));
    assert!(seen[2].1.contains(VIN) && !seen[2].1.contains("check_type"));
    let last = CallbackStyle { form: CallbackForm::Urlencoded, ..CallbackStyle::default() };
    sim.control().apply(Change::VagvinSend { vin: "WAUZZZ8K9BA000001".to_owned(), style: last }).unwrap();
    eventually("the call-back out of the blue", || door.seen().len() == 4).await;
}

#[tokio::test]
async fn a_report_that_nobody_takes_is_sent_again() {
    let clock = friday_morning();
    let door = Door::open("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let sim = simulator(&clock, &door, CallbackStyle::default()).await;
    order(&sim, |_| {}).await;
    clock.advance(hours(1));
    for count in 1..=3 {
        eventually("one more try", || sim.control().vagvin_callbacks().len() == count).await;
        // The next try is planned just after the last one was written down: move on until it comes.
        clock.advance(seconds(60));
        eventually("its successor", || {
            clock.advance(seconds(1));
            sim.control().vagvin_callbacks().len() > count
        })
        .await;
    }
    assert!(sim.control().vagvin_callbacks().iter().all(|sent| sent.status == Some(503)));
}
