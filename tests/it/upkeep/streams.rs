//! Exports, and what is refused at the doors.

use opros::cli::failure::Failure;
use serde_json::{Value, json};

use super::house::House;

async fn export(house: &House, what: &str, query: &[(&str, String)]) -> String {
    let mut response = house.client().stream(&["v1", "export", what], query, "*/*").await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn exports_are_whole_and_in_order() {
    let house = House::new("").await;
    for n in 0..30 {
        let job = house.order(json!({ "phone": format!("799900001{n:02}") })).await;
        house.until_state(job, "succeeded").await;
    }
    let jobs = export(&house, "jobs", &[]).await;
    let numbers: Vec<i64> =
        jobs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=30).collect::<Vec<i64>>());
    let csv = export(&house, "jobs", &[("format", "csv".to_owned())]).await;
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("id,kind,account,state,params,"));
    assert!(
        lines[1].starts_with("1,tronk.report,tronk,succeeded,\"{\"\"phone\"\":\"\"79990000100\"\"}\",,5,"),
        "{}",
        lines[1]
    );
    assert_eq!(lines.len(), 32);
    let events = export(&house, "events", &[]).await;
    let sequence: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sequence, (1..=60).map(|n| n.to_string()).collect::<Vec<_>>());
    let later = [("since", "2999-01-01T00:00:00Z".to_owned()), ("format", "csv".to_owned())];
    assert_eq!(export(&house, "events", &later).await, "seq,id,type,time,job,account,data\r\n");
    assert_eq!(export(&house, "jobs", &later[..1]).await, "");
    let nothing = house.client().get(&["v1", "export", "money"], &[]).await.unwrap_err();
    assert!(matches!(nothing, Failure::Refused { status: 404, .. }));
}

#[tokio::test]
async fn the_ledger_is_exported_line_by_line() {
    let mut house = House::new("").await;
    let job = house.order(json!({ "phone": "79990000100" })).await;
    house.until_state(job, "succeeded").await;
    house.limits = "prices = { \"tronk.report\" = 30.5 }".to_owned();
    house.write();
    house.client().post(&["v1", "reload"], &json!({})).await.unwrap();
    let tagged = json!({ "kind": "tronk.report", "params": { "phone": "79990000101" }, "tag": "a, \"b\"" });
    house.client().post(&["v1", "jobs"], &tagged).await.unwrap();
    house.until_state(2, "succeeded").await;
    let lines = export(&house, "costs", &[]).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |line: &Value| (line["job"].as_i64(), line["price"].as_f64(), line["sure"].as_str().map(str::to_owned));
    let booked = || Some("booked".to_owned());
    assert_eq!(
        lines.iter().map(told).collect::<Vec<_>>(),
        [(Some(1), None, booked()), (Some(2), Some(30.5), booked())]
    );
    let at = lines[1]["at"].as_str().unwrap().to_owned();
    let csv = export(&house, "costs", &[("format", "csv".to_owned()), ("since", at.clone())]).await;
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!((rows[0], rows.len()), ("id,job,account,kind,tag,price,sure,at,decided_at", 3));
    assert!(rows[1].starts_with(&format!("2,2,tronk,tronk.report,\"a, \"\"b\"\"\",30.5,booked,{at},")), "{csv}");
}

#[tokio::test]
async fn a_reader_that_is_ahead_of_the_stream_is_told() {
    let house = House::new("").await;
    let job = house.order(json!({ "phone": "79990000111" })).await;
    house.until_state(job, "succeeded").await;
    let after = [("after", "99".to_owned())];
    let refused = house.client().get(&["v1", "events"], &after).await.unwrap_err();
    let Failure::Refused { status: 409, problem } = refused else { panic!("{refused}") };
    let raw: Value = serde_json::from_str(&problem.raw.unwrap()).unwrap();
    assert_eq!((&raw["type"], &raw["last"]), (&json!("urn:opros:problem:events-ahead"), &json!(2)));
    let mut stream = house.client().stream(&["v1", "events"], &after, "text/event-stream").await.unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    assert_eq!(&first[..], b"id: 2\nevent: gap\ndata: {\"after\":99,\"last\":2}\n\n");
}

#[tokio::test]
async fn a_param_that_is_given_twice_is_refused_at_both_doors() {
    let house = House::new("").await;
    let twice = r#"{"kind":"tronk.report","params":{"phone":"79990000111","phone":"79990000222"}}"#;
    let body = reqwest::Body::from(twice);
    let refused = house.client().upload(&["v1", "jobs"], "application/json", body).await.unwrap_err();
    let Failure::Refused { status: 422, problem } = refused else { panic!("{refused}") };
    let raw: Value = serde_json::from_str(&problem.raw.unwrap()).unwrap();
    assert_eq!((&raw["pointer"], &raw["errors"][0]["code"]), (&json!("/params/phone"), &json!("given_twice")));
    let insert = "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"1\",\"phone\":\"2\"}')";
    sqlx::query(insert).execute(&mut house.mailbox().await).await.unwrap();
    super::house::until("the row is rejected", async || {
        let row: (String, Option<String>) =
            sqlx::query_as("SELECT state, error FROM jobs").fetch_one(&mut house.mailbox().await).await.unwrap();
        row.0 == "rejected" && row.1.is_some_and(|error| error.contains("phone is given twice"))
    })
    .await;
}

#[tokio::test]
async fn the_mailbox_takes_no_number_from_others_not_even_0_or_minus_1() {
    let house = House::new("").await;
    let mut mailbox = house.mailbox().await;
    for id in ["0", "-1", "7", "-2"] {
        let insert = format!("INSERT INTO jobs (id, kind, params) VALUES ({id}, 'tronk.report', '{{}}')");
        let error = sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut mailbox).await.unwrap_err();
        assert!(error.to_string().contains("the mailbox gives the number"), "{id}: {error}");
    }
    let insert = "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}')";
    assert_eq!(sqlx::query(insert).execute(&mut mailbox).await.unwrap().last_insert_rowid(), 1);
}

#[tokio::test]
async fn a_table_starts_no_formula_in_a_spreadsheet_unless_it_is_wanted_raw() {
    let house = House::new("").await;
    for tag in ["=HYPERLINK(\"http://evil.example\")", "+7(999)", "-2+3", "@SUM(1)", "-5", "plain"] {
        let order = json!({ "kind": "tronk.report", "params": { "phone": "79990000111" }, "tag": tag });
        house.client().post(&["v1", "jobs"], &order).await.unwrap();
    }
    let csv = |query: Vec<(&'static str, String)>| {
        let house = &house;
        async move { export(house, "jobs", &[vec![("format", "csv".to_owned())], query].concat()).await }
    };
    let (safe, raw) = (csv(Vec::new()).await, csv(vec![("raw", "true".to_owned())]).await);
    for cell in ["\"'=HYPERLINK(", ",'+7(999),", ",'-2+3,", ",'@SUM(1),", ",-5,", ",plain,"] {
        assert!(safe.contains(cell), "{cell}: {safe}");
    }
    for cell in ["\"=HYPERLINK(", ",+7(999),", ",-2+3,", ",@SUM(1),", ",-5,"] {
        assert!(raw.contains(cell), "{cell}: {raw}");
    }
    let lines = export(&house, "jobs", &[]).await;
    assert!(lines.contains("\"tag\":\"=HYPERLINK("), "NDJSON is as it is: {lines}");
    let undecodable = house.client().get(&["v1", "export", "jobs"], &[("raw", "x".to_owned())]).await.unwrap_err();
    assert!(matches!(undecodable, Failure::Refused { status: 400, .. }));
}
