//! Any interleaving of repeats over all doors pays once.

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::upkeep::house::{House, until};

/// How an order is handed in.
#[derive(Debug, Clone, Copy)]
enum Door {
    Body,
    Header,
    Array,
    Lines,
    Row,
}

#[derive(Debug, Clone)]
enum Step {
    /// One after another.
    Ask(Door, u8),
    /// All of them at once.
    Storm(Vec<(Door, u8)>),
    /// Until everything that was ordered has ended.
    Wait,
    Restart,
}

fn any_door() -> impl Strategy<Value = Door> {
    prop_oneof![Just(Door::Body), Just(Door::Header), Just(Door::Array), Just(Door::Lines), Just(Door::Row)]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any_door(), 0_u8..3).prop_map(|(door, n)| Step::Ask(door, n)),
        3 => prop::collection::vec((any_door(), 0_u8..3), 2..8).prop_map(Step::Storm),
        1 => Just(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

fn order(n: u8) -> Value {
    json!({ "uid": format!("order-{n}"), "kind": "tronk.report", "params": { "phone": format!("7999000010{n}") } })
}

#[expect(clippy::disallowed_methods, reason = "this client speaks to our own socket")]
fn client(house: &House) -> reqwest::Client {
    reqwest::Client::builder().unix_socket(house.path("admin.sock")).no_proxy().build().unwrap()
}

async fn ask(house: &House, door: Door, n: u8) {
    let client = client(house);
    let post = |kind: &str, body: String| {
        client.post("http://opros/v1/jobs").header("content-type", kind.to_owned()).body(body)
    };
    let order = order(n);
    let request = match door {
        Door::Body => post("application/json", order.to_string()),
        Door::Header => {
            let mut plain = order.clone();
            plain.as_object_mut().unwrap().remove("uid");
            post("application/json", plain.to_string()).header("Idempotency-Key", format!("order-{n}"))
        }
        Door::Array => post("application/json", json!([order]).to_string()),
        Door::Lines => post("application/x-ndjson", format!("{order}\n")),
        Door::Row => {
            let insert = "INSERT OR IGNORE INTO jobs (uid, kind, params) VALUES ($1, 'tronk.report', $2)";
            let query = sqlx::query(insert).bind(format!("order-{n}")).bind(order["params"].to_string());
            query.execute(&mut house.mailbox().await).await.unwrap();
            return;
        }
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(matches!(status, 200 | 201) && !text.contains("problem"), "{door:?} {n}: {status} {text}");
}

async fn all_ended(house: &House, asked: &[bool; 3]) {
    for n in (0..3).filter(|n| asked[*n]) {
        until("the order has ended", async || {
            let found = house.client().get(&["v1", "jobs"], &[("uid", format!("order-{n}"))]).await.unwrap();
            let found: Value = found.read().unwrap();
            found["jobs"][0]["state"] == "succeeded"
        })
        .await;
    }
}

async fn play(steps: Vec<Step>) {
    let mut house = House::new("").await;
    let mut asked = [false; 3];
    for step in steps {
        match step {
            Step::Ask(door, n) => {
                asked[usize::from(n)] = true;
                ask(&house, door, n).await;
            }
            Step::Storm(all) => {
                all.iter().for_each(|(_, n)| asked[usize::from(*n)] = true);
                join_all(all.into_iter().map(|(door, n)| ask(&house, door, n))).await;
            }
            Step::Wait => all_ended(&house, &asked).await,
            Step::Restart => {
                house.stop().await;
                house.start().await;
            }
        }
    }
    all_ended(&house, &asked).await;
    // Every row that was inserted shows the one job of its uid.
    until("the rows are answered", async || {
        let open = "SELECT count(*) FROM jobs WHERE state <> 'succeeded'";
        sqlx::query_scalar::<_, i64>(open).fetch_one(&mut house.mailbox().await).await.unwrap() == 0
    })
    .await;
    let orders = asked.iter().filter(|asked| **asked).count();
    assert_eq!(house.simulator.ledger().len(), orders, "payments");
    let jobs = house.get(&["v1", "jobs"]).await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), orders, "jobs");
    house.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn however_repeats_follow_one_another_over_all_doors_each_order_is_paid_once(
        steps in prop::collection::vec(any_step(), 1..10),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}
