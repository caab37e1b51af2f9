use std::time::Duration;

use opros::store::Retention;
use serde_json::{Value, json};

use super::house::House;

/// One block of an SSE stream.
#[derive(Debug, PartialEq)]
struct Frame {
    id: String,
    event: String,
    data: Value,
}

struct Sse {
    response: reqwest::Response,
    text: String,
}

impl Sse {
    async fn open(house: &House, path: &str, last: Option<&str>) -> Sse {
        let mut request = house.request("GET", path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Sse { response, text: String::new() }
    }

    /// The next frame; none at the stream's end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
                };
                let frame = (!frame.starts_with(':')).then(|| Frame {
                    id: field("id").to_owned(),
                    event: field("event").to_owned(),
                    data: serde_json::from_str(field("data")).expect("JSON in data"),
                });
                self.text = rest.to_owned();
                match frame {
                    Some(frame) => return Some(frame),
                    None => continue,
                }
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

fn sequences(page: &Value) -> Vec<i64> {
    page["events"].as_array().unwrap().iter().map(|e| e["sequence"].as_str().unwrap().parse().unwrap()).collect()
}

async fn forget_events(house: &House) {
    house.clock.advance(Duration::from_secs(60));
    let second = Duration::from_secs(1);
    let year = Duration::from_secs(31_536_000);
    let retention = Retention::by_age(year, second, year);
    use opros::clock::Clock;
    while house.store.retain(retention, house.clock.now()).await.unwrap().more {}
}

#[tokio::test]
async fn events_come_in_pages_that_follow_each_other() {
    let house = House::open().await;
    assert_eq!(house.get("/v1/events").await.text, r#"{"events":[],"next":0}"#);
    let ids = house.events(7).await;
    let first = house.get("/v1/events?limit=5").await.json();
    assert_eq!((sequences(&first), first["next"].clone()), (vec![1, 2, 3, 4, 5], json!(5)));
    let rest = house.get("/v1/events?after=5").await.json();
    assert_eq!((sequences(&rest), rest["next"].clone()), (vec![6, 7], json!(7)));
    let end = house.get("/v1/events?after=7").await.json();
    assert_eq!((sequences(&end), end["next"].clone()), (vec![], json!(7)));
    let of_one = house.get(&format!("/v1/events?job={}", ids[3])).await.json();
    assert_eq!((sequences(&of_one), of_one["next"].clone()), (vec![4], json!(7)));
}

#[tokio::test]
async fn an_event_is_a_cloud_event() {
    let house = House::open().await;
    let id = house.events(1).await[0];
    house.post("/v1/accounts/tronk/pause", "").await;
    let page = house.get("/v1/events").await;
    let instance = house.store.instance();
    let event = &page.json()["events"][0];
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], format!("{instance}-1"));
    assert_eq!(event["source"], format!("/opros/{instance}"));
    assert_eq!(event["type"], "job.cancelled");
    assert_eq!(event["subject"], id.to_string());
    assert_eq!(event["time"], "2027-01-15T08:00:00.000Z");
    assert_eq!(event["sequence"], "1");
    assert_eq!(event["datacontenttype"], "application/json");
    assert_eq!(event["data"]["kind"], "tronk.report");
    let paused = &page.json()["events"][1];
    assert_eq!((&paused["type"], &paused["subject"]), (&json!("account.paused"), &json!("account/tronk")));
}

#[tokio::test]
async fn a_stream_begins_now_and_resumes_after_the_last_event_that_was_seen() {
    let house = House::open().await;
    house.events(3).await;
    let mut now = Sse::open(&house, "/v1/events", None).await;
    let mut resumed = Sse::open(&house, "/v1/events?after=0", Some("2")).await;
    let mut whole = Sse::open(&house, "/v1/events?after=0", None).await;
    house.events(1).await;
    let frame = now.next().await.unwrap();
    assert_eq!((frame.id.as_str(), frame.event.as_str()), ("4", "job.cancelled"));
    assert_eq!(frame.data["sequence"], "4");
    for id in ["3", "4"] {
        assert_eq!(resumed.next().await.unwrap().id, id);
    }
    for id in ["1", "2", "3", "4"] {
        assert_eq!(whole.next().await.unwrap().id, id);
    }
    let bad = house.request("GET", "/v1/events").header("accept", "text/event-stream").header("last-event-id", "x");
    assert_eq!(house.send(bad).await.status, 400);
}

#[tokio::test]
async fn a_reader_behind_retention_is_told_so() {
    let house = House::open().await;
    house.events(5).await;
    forget_events(&house).await;
    house.events(2).await;
    let page = house.get("/v1/events?after=2").await;
    assert_eq!((page.status, page.json()["oldest"].clone()), (410, json!(6)));
    let oldest = house.get("/v1/events").await.json();
    assert_eq!((sequences(&oldest), oldest["next"].clone()), (vec![6, 7], json!(7)));
    let mut sse = Sse::open(&house, "/v1/events?after=2", None).await;
    let gap = sse.next().await.unwrap();
    assert_eq!((gap.event.as_str(), gap.id.as_str()), ("gap", "5"));
    assert_eq!(gap.data, json!({"after": 2, "oldest": 6}));
    assert_eq!(sse.next().await.unwrap().id, "6");
}

#[tokio::test]
async fn ndjson_streams_the_same_events_and_a_limit_ends_it() {
    let house = House::open().await;
    let ids = house.events(4).await;
    let request = |path: &str| house.request("GET", path).header("accept", "application/x-ndjson");
    let answer = house.send(request("/v1/events?after=1&limit=2")).await;
    assert_eq!(answer.kind, "application/x-ndjson");
    assert_eq!(answer.lines().iter().map(|e| e["sequence"].clone()).collect::<Vec<_>>(), ["2", "3"]);
    let one = house.send(request(&format!("/v1/events?after=0&limit=1&job={}", ids[2]))).await;
    assert_eq!(one.lines()[0]["sequence"], "3");
}

#[tokio::test]
async fn a_stop_ends_streams_first_and_answers_what_is_under_way() {
    let house = House::open().await;
    let mut sse = Sse::open(&house, "/v1/events", None).await;
    house.stop.cancel();
    assert_eq!(sse.next().await, None);
    house.served.await.expect("the listener ends");
    assert!(!house.dir.path().join("admin.sock").exists());
}

/// However many events of others lie between: one page, and the end of it is the end.
#[tokio::test]
async fn the_events_of_one_job_are_found_among_any_number_of_others() {
    let house = House::open().await;
    let wanted = house.events(1).await[0];
    for _ in 0..12 {
        house.events(2_000).await;
    }
    let resumed = house.events(1).await[0];
    let path = |job: i64, more: &str| format!("/v1/events?job={job}{more}");
    let page = house.get(&path(resumed, "&limit=1")).await.json();
    assert_eq!((sequences(&page), page["next"].clone()), (vec![24_002], json!(24_002)));
    let rest = house.get(&path(wanted, "&after=1")).await.json();
    assert_eq!(
        (sequences(&rest), rest["next"].clone()),
        (vec![], json!(24_002)),
        "nothing more of it, and none is passed over"
    );
    let mut sse = Sse::open(&house, &path(resumed, "&after=0"), None).await;
    assert_eq!(sse.next().await.unwrap().id, "24002");
    let ahead = house.get(&path(wanted, "&after=99999")).await;
    assert_eq!((ahead.status, ahead.json()["last"].clone()), (409, json!(24_002)));
}

#[tokio::test]
async fn the_events_of_one_job_behind_retention_are_told_as_gone() {
    let house = House::open().await;
    let ids = house.events(3).await;
    forget_events(&house).await;
    house.events(1).await;
    let path = format!("/v1/events?job={}", ids[1]);
    let page = house.get(&path).await.json();
    assert_eq!((sequences(&page), page["next"].clone()), (vec![], json!(4)));
    assert_eq!(house.get(&format!("{path}&after=1")).await.status, 410);
}
