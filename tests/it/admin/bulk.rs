use proptest::prelude::*;
use serde_json::{Value, json};

use super::house::{House, PLAIN};

fn statuses(verdicts: &[Value]) -> Vec<(u64, u64)> {
    verdicts.iter().map(|v| (v["line"].as_u64().unwrap(), v["status"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn bad_lines_in_the_middle_of_a_bulk_disturb_no_other() {
    let house = House::open().await;
    let long = json!({"kind": "tronk.report", "params": {"phone": "x".repeat(200_000)}});
    let mut body = Vec::new();
    for line in
        [PLAIN, "nonsense", PLAIN, &long.to_string(), "", PLAIN, r#"{"kind":"tronk.report","params":{"vin":5}}"#]
    {
        body.extend_from_slice(line.as_bytes());
        body.push(b'\n');
    }
    body.extend_from_slice(b"{\"kind\":\"\xff\"}\r\n[]\n");
    body.extend_from_slice(PLAIN.as_bytes());
    let answer = house.ndjson(body).await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/x-ndjson"));
    let lines = answer.lines();
    assert_eq!(
        statuses(&lines),
        [(1, 201), (2, 422), (3, 201), (4, 422), (6, 201), (7, 422), (8, 422), (9, 422), (10, 201)]
    );
    assert_eq!(lines[1]["problem"]["column"], 2);
    assert_eq!(lines[3]["problem"]["errors"][0]["code"], "line_too_long");
    assert_eq!(lines[5]["problem"]["pointer"], "/params/vin");
    assert!(lines[8]["id"].is_i64() && lines[8].get("problem").is_none());
    assert_eq!(house.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn an_array_is_answered_with_an_array_and_the_same_key_twice_makes_one_job() {
    let house = House::open().await;
    let keyed = r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"dedupe_key":"k"}"#;
    let answer = house.post("/v1/jobs", format!(" [{keyed}, {keyed} ,7,{PLAIN}]")).await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    let verdicts = answer.json().as_array().unwrap().clone();
    assert_eq!(statuses(&verdicts), [(1, 201), (2, 200), (3, 422), (4, 201)]);
    assert_eq!(verdicts[0]["id"], verdicts[1]["id"]);
    assert_eq!(house.post("/v1/jobs", "[]").await.json(), json!([]));
    assert_eq!(house.post("/v1/jobs", "[7]]").await.status, 400);
    let crowd = house.post("/v1/jobs", format!("[{}7]", "7,".repeat(600_000))).await;
    assert_eq!((crowd.status, crowd.json()["errors"][0]["code"].clone()), (422, json!("too_many")));
}

#[tokio::test]
async fn verdicts_come_while_lines_are_still_being_sent() {
    let house = House::open().await;
    let (lines, body) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    lines.send(Ok(format!("{PLAIN}\n"))).await.unwrap();
    let request = house.request("POST", "/v1/jobs").header("content-type", "application/x-ndjson").body(body);
    let mut response = request.send().await.unwrap();
    for n in 1..=3 {
        let verdict = response.chunk().await.unwrap().expect("a verdict");
        assert_eq!(serde_json::from_slice::<Value>(&verdict).unwrap()["line"], n);
        lines.send(Ok(format!("{PLAIN}\n"))).await.unwrap();
    }
    drop(lines);
    let rest = response.text().await.unwrap();
    assert_eq!(rest.lines().count(), 1, "{rest}");
}

#[tokio::test]
async fn a_long_bulk_is_answered_in_order_with_consecutive_ids() {
    let house = House::open().await;
    let answer = house.ndjson(format!("{PLAIN}\n").repeat(3000)).await;
    let lines = answer.lines();
    assert_eq!(lines.len(), 3000);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!((line["line"].as_u64(), line["status"].as_u64()), (Some(index as u64 + 1), Some(201)));
        assert_eq!(line["id"].as_i64(), Some(index as i64 + 1));
    }
    let all = house.get("/v1/jobs?limit=1000").await.json();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1000);
    assert!(all["next"].is_string());
}

#[tokio::test]
async fn a_line_that_was_cut_off_with_its_connection_is_not_taken() {
    let house = House::open().await;
    let pieces = [Ok(format!("{PLAIN}\n{PLAIN}")), Err(std::io::Error::other("the client dies"))];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = house.request("POST", "/v1/jobs").header("content-type", "application/x-ndjson").body(body);
    // Whether an answer begins before the end of the connection is seen is a race; what is stored is none.
    let _ = request.send().await;
    let mut commits = house.store.commits();
    let one = async {
        while house.store.counts().await.unwrap().is_empty() {
            commits.changed().await.unwrap();
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), one).await;
    let jobs = house.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len();
    assert!(jobs <= 1, "{jobs} jobs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_body_whatever_it_holds_brings_a_5xx(
        bodies in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "\\PC{0,80}".prop_map(String::into_bytes),
                any::<(i64, f64, String)>().prop_map(|(a, b, c)| {
                    json!({"kind": c, "params": {"phone": a}, "deadline": b, "action": c, "reason": a, c: b}).to_string().into_bytes()
                }),
            ],
            8,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::open().await;
            let id = house.in_doubt().await;
            for body in bodies {
                for kind in ["application/json", "application/x-ndjson", "text/plain"] {
                    for path in ["/v1/jobs", "/v1/jobs/1/cancel", "/v1/jobs/1/retry", "/v1/jobs/1/resolve", "/v1/accounts/tronk/pause"] {
                        let request = house.request("POST", path).header("content-type", kind).body(body.clone());
                        let answer = house.send(request).await;
                        assert!(answer.status < 500, "{path} {kind} {body:?}: {}", answer.text);
                        assert!(answer.status == 200 || answer.status == 202 || answer.kind == "application/problem+json");
                    }
                }
            }
            assert_eq!(house.get(&format!("/v1/jobs/{id}")).await.status, 200);
        });
    }
}
