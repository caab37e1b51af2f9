use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use opros::clock::ManualClock;
use opros::sinks::{Format, TransportSetup};
use secrecy::SecretString;
use sha2::Sha256;

use super::house::{House, Receiver, Reply, SECRET, Seen, start_of_time, webhook};

const NEXT_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A receiver's side of Standard Webhooks, written from its text.
fn verifies(secret: &str, id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    signatures.split(' ').any(|signature| signature == expected)
}

fn check(secret: &str, seen: &Seen) -> bool {
    let header = |name: &str| seen.header(name).to_owned();
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    verifies(secret, &id, &at, &header("webhook-signature"), &seen.body)
}

async fn one(format: Format, secrets: &[&str]) -> Seen {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::Status(200)).await;
    let mut setup = webhook("shop", &receiver.url());
    if let TransportSetup::Webhook { format: wanted, secrets: keys, .. } = &mut setup.transport {
        (*wanted, *keys) = (format, secrets.iter().map(|secret| SecretString::from(*secret)).collect());
    }
    let house = House::new(clock, vec![setup]).await;
    house.followed(None).await;
    house.until("it arrives", async || house.sink("shop").await.delivered == 1).await;
    receiver.seen().remove(0)
}

#[tokio::test]
async fn every_flipped_byte_of_body_id_timestamp_and_signature_is_refused() {
    let seen = one(Format::Standard, &[SECRET]).await;
    assert!(check(SECRET, &seen));
    assert_eq!(seen.header("webhook-timestamp"), (start_of_time().as_millis() / 1000).to_string());
    assert_eq!(seen.header("content-type"), "application/json");
    for at in 0..seen.body.len() {
        let mut flipped = seen.clone();
        flipped.body[at] ^= 1;
        assert!(!check(SECRET, &flipped), "byte {at} of the body");
    }
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        for at in 0..seen.header(name).len() {
            let mut flipped = seen.clone();
            let mut value = seen.header(name).as_bytes().to_vec();
            value[at] ^= 1;
            flipped.headers.insert(name, value.try_into().unwrap());
            assert!(!check(SECRET, &flipped), "byte {at} of {name}");
        }
    }
}

#[tokio::test]
async fn while_a_secret_is_replaced_either_one_verifies_and_a_third_does_not() {
    let seen = one(Format::Standard, &[SECRET, NEXT_SECRET]).await;
    assert!(check(SECRET, &seen) && check(NEXT_SECRET, &seen));
    assert!(!check("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &seen));
}

#[tokio::test]
async fn a_cloud_event_is_signed_too_and_has_the_streams_shape() {
    let seen = one(Format::CloudEvents, &[SECRET]).await;
    assert!(check(SECRET, &seen));
    assert_eq!(seen.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let event = seen.json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], seen.header("webhook-id"));
    assert_eq!((event["type"].as_str(), event["sequence"].as_str()), (Some("job.accepted"), Some("1")));
    assert_eq!(event["data"]["kind"], "alta.track");
}
