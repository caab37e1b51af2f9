//! The OpenAPI page says what is served.

use std::collections::BTreeSet;

use opros::admin::openapi;
use opros::domain::State;
use serde_json::Value;

use super::house::{House, PLAIN};

fn page() -> Value {
    serde_json::from_str(&openapi()).unwrap()
}

fn words(schema: &Value) -> BTreeSet<String> {
    // An optional parameter's words may stand one level deeper, beside null.
    let deep = schema["oneOf"].as_array().or(schema["anyOf"].as_array()).into_iter().flatten();
    let all = std::iter::once(schema).chain(deep);
    all.flat_map(|schema| schema["enum"].as_array().into_iter().flatten())
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect()
}

fn parameter(page: &Value, path: &str, name: &str) -> Value {
    let all = page["paths"][path]["get"]["parameters"].as_array().unwrap();
    all.iter().find(|found| found["name"] == name).unwrap_or_else(|| panic!("{path} {name}"))["schema"].clone()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn parameters_with_a_few_words_name_them_and_each_is_read() {
    let (page, house) = (page(), House::open().await);
    let states = words(&parameter(&page, "/v1/jobs", "state"));
    assert_eq!(states, State::ALL.iter().map(|state| state.as_str().to_owned()).collect());
    let sorts = words(&parameter(&page, "/v1/export/{what}", "what"));
    let forms = words(&parameter(&page, "/v1/export/{what}", "format"));
    assert_eq!((sorts.clone(), forms.clone()), (set(&["jobs", "events", "costs"]), set(&["ndjson", "csv"])));
    for state in states {
        assert_eq!(house.get(&format!("/v1/jobs?state={state}")).await.status, 200, "{state}");
    }
    for (sort, form) in sorts.iter().flat_map(|sort| forms.iter().map(move |form| (sort, form))) {
        let answer = house.get(&format!("/v1/export/{sort}?format={form}")).await;
        assert_eq!(answer.status, 200, "{sort} {form}");
        let kind = answer.kind.split(';').next().unwrap().to_owned();
        let known = &page["paths"]["/v1/export/{what}"]["get"]["responses"]["200"]["content"];
        assert!(known.get(&kind).is_some(), "{kind} is not described: {known}");
    }
}

#[tokio::test]
async fn a_job_is_described_as_strictly_and_as_leniently_as_it_is_read() {
    let (page, house) = (page(), House::open().await);
    let body = &page["components"]["schemas"]["JobBody"];
    assert_eq!(body["additionalProperties"], false, "{body}");
    let described: BTreeSet<String> = body["properties"].as_object().unwrap().keys().cloned().collect();
    // A job of each field alone beside what is needed is understood; the daemon names its fields when it refuses one.
    let refused = house.post("/v1/jobs", r#"{"kind":"tronk.report","params":{},"nonsense":1}"#).await;
    let detail = refused.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
    let named = detail.split("Its fields are ").nth(1).unwrap_or_default();
    assert_eq!(described, named.split(", ").map(str::to_owned).collect(), "{detail}");
    let json = page["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"].to_string();
    let handed = page["components"]["schemas"]["Handed"].to_string();
    assert!(json.contains("Handed") && handed.contains("\"array\""), "{json} {handed}");
    let time = page["components"]["schemas"]["TimeWord"].to_string();
    assert!(time.contains("\"integer\"") && time.contains("\"string\""), "{time}");
    for at in ["1800000000000", "\"2027-01-15T08:00:00Z\""] {
        let order = PLAIN.replace("\"kind\"", &format!("\"not_before\":{at},\"kind\""));
        assert_eq!(house.post("/v1/jobs", order).await.status, 201, "{at}");
    }
}

#[tokio::test]
async fn what_is_served_and_what_may_be_refused_is_described() {
    let (page, house) = (page(), House::open().await);
    for path in ["/metrics", "/v1/metrics", "/openapi.json", "/v1/openapi.json"] {
        assert!(page["paths"][path]["get"].is_object(), "{path}");
        assert_eq!(house.get(path).await.status, 200, "{path}");
    }
    assert_eq!(house.get("/openapi.json").await.json(), page);
    assert_eq!(page["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    // With a token or, on a socket, without.
    assert!(
        page["security"].as_array().unwrap().iter().any(|one| one.as_object().unwrap().is_empty()),
        "{}",
        page["security"]
    );
    let file = &page["paths"]["/v1/jobs/{id}/files/{name}"]["get"]["responses"]["200"]["content"];
    assert!(file.get("*/*").is_some(), "{file}");
    for (path, item) in page["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in ["400", "401", "403", "421", "500", "503"] {
                let response = &operation["responses"][status];
                assert!(response.is_object(), "{method} {path} does not say what {status} is");
            }
        }
    }
}
