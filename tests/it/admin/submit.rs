use serde_json::json;

use super::house::{House, PLAIN};

#[tokio::test]
async fn a_job_that_is_handed_in_comes_back_with_every_field_in_its_order() {
    let house = House::open().await;
    let body = json!({
        "kind": "tronk.report", "params": {"phone": "79990000111"}, "account": "tronk", "tag": "order 7", "priority": 2,
        "dedupe_key": "k", "not_before": "2027-01-15T09:00:00+03:00", "deadline": 1_900_000_000_000_i64,
    });
    let answer = house.post("/v1/jobs", body.to_string()).await;
    assert_eq!((answer.status, answer.kind.as_str()), (201, "application/json"), "{}", answer.text);
    assert_eq!(answer.headers["location"], "/v1/jobs/1");
    let names = [
        "id",
        "kind",
        "account",
        "state",
        "params",
        "tag",
        "priority",
        "dedupe_key",
        "remote_id",
        "attempts",
        "polls",
        "errors",
        "result",
        "error",
        "why",
        "next_at",
        "created_at",
        "submitted_at",
        "updated_at",
        "finished_at",
        "mailbox_uid",
        "retry_of",
        "uid",
    ];
    let places: Vec<usize> = names.iter().map(|name| answer.text.find(&format!("\"{name}\":")).expect(name)).collect();
    assert!(places.is_sorted(), "{}", answer.text);
    let job = answer.json();
    assert_eq!(job.as_object().unwrap().len(), names.len());
    assert_eq!(job["state"], "queued");
    assert_eq!(job["params"], json!({"phone": "79990000111"}));
    assert_eq!(job["created_at"], "2027-01-15T08:00:00.000Z");
    assert_eq!(house.get("/v1/jobs/1").await.text, answer.text);
}

#[tokio::test]
async fn what_curl_sends_with_d_is_read_as_json() {
    let house = House::open().await;
    let form = house.request("POST", "/v1/jobs").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(house.send(form.body(PLAIN)).await.status, 201);
    assert_eq!(house.send(house.request("POST", "/v1/jobs").body(PLAIN)).await.status, 201);
}

#[tokio::test]
async fn a_second_submission_with_the_key_of_an_unfinished_job_answers_with_that_job() {
    let house = House::open().await;
    let body = r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"dedupe_key":"one"}"#;
    let first = house.post("/v1/jobs", body).await;
    let second = house.post("/v1/jobs", body).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json()["id"], second.json()["id"]);
}

#[tokio::test]
async fn every_mistake_in_a_job_is_told_with_its_place() {
    let house = House::open().await;
    let big = json!({"kind": "tronk.report", "params": {"phone": "7".repeat(70_000)}}).to_string();
    let huge = json!({"kind": "tronk.report", "params": {"phone": "7".repeat(300_000)}}).to_string();
    let deep = format!(r#"{{"kind":"tronk.report","params":{{"phone":{}{}}}}}"#, "[".repeat(5000), "]".repeat(5000));
    let cases = [
        (r#"{"params":{}}"#, "/kind", "missing"),
        (r#"{"kind":null}"#, "/kind", "missing"),
        (r#"{"kind":""}"#, "/kind", "unknown_kind"),
        (r#"{"kind":7}"#, "/kind", "wrong_type"),
        (r#"{"kind":"tronk.raport","params":{}}"#, "/kind", "unknown_kind"),
        (r#"{"kind":"tronk.report","params":[]}"#, "/params", "bad_params"),
        (r#"{"kind":"tronk.report","params":{"phone":"1e5"}}"#, "/params/phone", "bad_params"),
        (r#"{"kind":"tronk.report","params":{"phone":1e999}}"#, "/params", "bad_params"),
        (r#"{"kind":"tronk.report","params":{"phone":"\ud800"}}"#, "/params", "bad_params"),
        (&big, "/params", "params_too_large"),
        (&huge, "/params", "params_too_large"),
        (&deep, "/params", "bad_params"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"prioritty":1}"#, "/prioritty", "unknown_field"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"a/b~c":1}"#, "/a~1b~0c", "unknown_field"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"tag":"a","tag":"b"}"#, "/tag", "given_twice"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"priority":10}"#, "/priority", "bad_priority"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"priority":"5"}"#, "/priority", "wrong_type"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"tag":5}"#, "/tag", "wrong_type"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"dedupe_key":""}"#, "/dedupe_key", "bad_key"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"deadline":"soon"}"#, "/deadline", "bad_time"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"not_before":-1}"#, "/not_before", "bad_time"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"not_before":1.5}"#, "/not_before", "bad_time"),
        (r#"{"kind":"tronk.report","params":{"phone":"79990000111"},"account":"alto"}"#, "/account", "unknown_account"),
        ("7", "", "not_an_object"),
        ("\"text\"", "", "not_an_object"),
        ("null", "", "not_an_object"),
    ];
    for (body, pointer, code) in cases {
        let answer = house.post("/v1/jobs", body.to_owned()).await;
        let short: String = body.chars().take(100).collect();
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (422, "application/problem+json"),
            "{short}: {}",
            answer.text
        );
        let problem = answer.json();
        assert_eq!(problem["pointer"], pointer, "{short}: {problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{short}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
        assert_eq!(problem["status"], 422);
        assert!(problem["type"].is_string() && problem["title"].is_string() && problem["detail"].is_string());
    }
    assert!(house.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn all_mistakes_of_a_job_are_told_at_once_and_the_nearest_field_is_named() {
    let house = House::open().await;
    let body = r#"{"kind":"tronk.report","params":{"phone":"1"},"prioritty":1,"deadline":"x","priority":77}"#;
    let problem = house.post("/v1/jobs", body).await.json();
    let errors = problem["errors"].as_array().unwrap();
    let pointers: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/prioritty", "/deadline", "/priority", "/params/phone"]);
    assert!(errors[0]["detail"].as_str().unwrap().contains("did you mean \"priority\"?"), "{problem}");
}

#[tokio::test]
async fn bad_json_is_told_with_line_and_column_and_the_wrong_content_type_is_refused() {
    let house = House::open().await;
    let bad = house.post("/v1/jobs", "{\"kind\":\n  nonsense}").await;
    assert_eq!((bad.status, bad.json()["line"].clone()), (400, json!(2)));
    assert!(bad.json()["column"].is_u64());
    assert_eq!(house.post("/v1/jobs", "").await.status, 400);
    assert_eq!(house.post("/v1/jobs", " \n").await.status, 400);
    assert_eq!(house.post("/v1/jobs", "[{},").await.status, 400);
    assert_eq!(house.post("/v1/jobs", &b"{\"kind\":\"\xff\xfe\"}"[..]).await.status, 400);
    for kind in ["text/xml", "text/plain; charset=utf-8", "multipart/form-data", "application/octet-stream"] {
        let request = house.request("POST", "/v1/jobs").header("content-type", kind).body(PLAIN);
        let answer = house.send(request).await;
        assert_eq!((answer.status, answer.kind.as_str()), (415, "application/problem+json"), "{kind}");
    }
}

#[tokio::test]
async fn a_body_over_sixteen_mebibytes_is_refused_and_one_below_is_read() {
    let house = House::open().await;
    let answer = house.post("/v1/jobs", " ".repeat(17 << 20)).await;
    assert_eq!((answer.status, answer.kind.as_str()), (413, "application/problem+json"));
    let unannounced = futures_util::stream::iter((0..17).map(|_| Ok::<_, std::io::Error>(" ".repeat(1 << 20))));
    assert_eq!(house.post("/v1/jobs", reqwest::Body::wrap_stream(unannounced)).await.status, 413);
    let answer = house.post("/v1/jobs", format!("{}{PLAIN}", " ".repeat(15 << 20))).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

#[tokio::test]
async fn jobs_come_in_pages_newest_first_and_filters_choose_them() {
    let house = House::open().await;
    for n in 0..50 {
        let body = json!({"kind": "tronk.report", "params": {"phone": "79990000111"}, "tag": format!("t{}", n % 2)});
        assert_eq!(house.post("/v1/jobs", body.to_string()).await.status, 201);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=23&tag=t1".to_owned();
    loop {
        let page = house.get(&path).await.json();
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/jobs?limit=23&tag=t1&cursor={next}");
    }
    assert_eq!(seen, (1..=25).rev().map(|n| 2 * n).collect::<Vec<i64>>());
    let all = house.get("/v1/jobs?state=queued&kind=tronk.report&account=tronk&limit=1000").await.json();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 50);
    let none = house.get("/v1/jobs?state=failed").await;
    assert_eq!(none.text, r#"{"jobs":[],"next":null}"#);
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let house = House::open().await;
    let cases = [
        ("/v1/jobs?sate=queued", "sate"),
        ("/v1/jobs?state=queed", "state"),
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=1001", "limit"),
        ("/v1/jobs?limit=x", "limit"),
        ("/v1/jobs?tag=a&tag=b", "tag"),
        ("/v1/jobs?cursor=zzz", "cursor"),
        ("/v1/jobs?cursor=b-5", "cursor"),
        ("/v1/jobs/1?x=1", "x"),
        ("/v1/events?after=-1", "after"),
        ("/v1/events?after=x", "after"),
        ("/v1/events?job=x", "job"),
        ("/v1/accounts?x", "x"),
        ("/v1/health?x", "x"),
    ];
    for (path, parameter) in cases {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.kind.as_str()), (400, "application/problem+json"), "{path}");
        assert_eq!(answer.json()["parameter"], parameter, "{path}");
    }
    assert!(house.get("/v1/jobs?sate=queued").await.text.contains("did you mean \\\"state\\\""));
}

#[tokio::test]
async fn odd_paths_and_methods_are_problems_and_never_a_500() {
    let house = House::open().await;
    house.job().await;
    let missing = [
        "/",
        "/v2/jobs",
        "/v1/jobs/",
        "/v1/jobs/2",
        "/v1/jobs/0",
        "/v1/jobs/-1",
        "/v1/jobs/abc",
        "/v1/jobs/%31%30",
        "/v1/jobs/01",
        "/v1/jobs/99999999999999999999",
        "/v1/jobs/2/timeline",
        "/v1/jobs/%2e%2e",
        "/v1/jobs/1%2ftimeline",
        "/v1//jobs",
        "/v1/jobs/%00",
    ];
    for path in missing {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.kind.as_str()), (404, "application/problem+json"), "{path}: {}", answer.text);
    }
    assert_eq!(house.get("/v1/jobs/%31").await.status, 200, "a digit may be written with an escape");
    assert_eq!(house.get("/v1/jobs/%ff").await.status, 400);
    for (method, path, allow) in [
        ("DELETE", "/v1/jobs", "GET,HEAD,POST"),
        ("TRACE", "/v1/jobs/1", "GET,HEAD"),
        ("PUT", "/v1/jobs/1/cancel", "POST"),
        ("OPTIONS", "/metrics", "GET,HEAD"),
        ("BREW", "/v1/events", "GET,HEAD"),
        ("GET", "/v1/accounts/tronk/pause", "POST"),
    ] {
        let answer = house.send(house.request(method, path)).await;
        assert_eq!((answer.status, answer.kind.as_str()), (405, "application/problem+json"), "{method} {path}");
        let mut allowed: Vec<&str> = answer.headers["allow"].to_str().unwrap().split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
    for path in ["/v1/jobs", "/v1/jobs/1", "/v1/events", "/v1/accounts", "/v1/health", "/metrics", "/openapi.json"] {
        let head = house.send(house.request("HEAD", path)).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

/// As Windows' programs write it.
#[tokio::test]
async fn a_mark_of_the_encoding_before_the_json_is_passed_over_in_every_form() {
    let house = House::open().await;
    let marked = |text: &str| format!("\u{feff}{text}");
    assert_eq!(house.post("/v1/jobs", marked(PLAIN)).await.status, 201);
    let array = house.post("/v1/jobs", marked(&format!("[{PLAIN},{PLAIN}]"))).await;
    assert_eq!((array.status, array.json().as_array().map(Vec::len)), (200, Some(2)), "{}", array.text);
    let lines = house.ndjson(marked(&format!("{PLAIN}\n{PLAIN}\n"))).await;
    assert!(lines.lines().iter().all(|line| line["status"] == 201), "{}", lines.text);
    assert_eq!(house.post("/v1/jobs/1/cancel", marked("{}")).await.status, 202);
    assert_eq!(house.post("/v1/jobs/2/cancel", marked("")).await.status, 202);
    let only = house.post("/v1/jobs", marked("")).await;
    assert_eq!((only.status, only.json()["type"].clone()), (400, "urn:opros:problem:empty-body".into()));
}

#[tokio::test]
async fn a_path_that_is_no_text_is_a_problem_like_every_other() {
    let house = House::open().await;
    let paths = [
        ("GET", "/v1/export/%FF"),
        ("GET", "/v1/jobs/%FF"),
        ("GET", "/v1/jobs/1/files/%FF"),
        ("POST", "/v1/accounts/%FF/pause"),
        ("POST", "/v1/webhooks/%FF/enable"),
        ("POST", "/v1/callbacks/%FF/assign"),
    ];
    for (method, path) in paths {
        let answer = house.send(house.request(method, path)).await;
        assert_eq!((answer.status, answer.kind.as_str()), (400, "application/problem+json"), "{path}: {}", answer.text);
    }
}
