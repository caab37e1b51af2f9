//! A person's data that came by a call-back, gone from the store's and the files' bytes.

use std::path::PathBuf;

use opros::simulator::{CallbackForm, CallbackStyle};
use serde_json::{Value, json};

use super::house::{House, until, vin};

const CUSTOMER: &str = "customer-of-79161234567";

/// Files of the daemon's, and their names, that hold this text.
fn files_with(house: &House, text: &str) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![house.dir.path().to_owned()]);
    while let Some(directory) = left.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            if path.is_dir() {
                left.push(path);
            } else if holds(path.to_string_lossy().as_bytes()) || std::fs::read(&path).is_ok_and(|all| holds(&all)) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_job_leaves_nothing_of_its_call_backs_and_files_and_keeps_its_line_in_the_ledger() {
    let style = CallbackStyle { form: CallbackForm::Multipart, repeats: 1, ..CallbackStyle::default() };
    let mut house = House::with(style, "prices = { \"vagvin.report\" = 250 }").await;
    let params = json!({ "vin": vin(1), "check_type": "check_elsa_pro_full", "car_brand": "Audi", "report_language": "Русский" });
    let order = json!({ "kind": "vagvin.report", "params": params, "tag": CUSTOMER });
    house.client().post(&["v1", "jobs"], &order).await.unwrap();
    let job = opros::domain::JobId(1);
    house.until_state(job, "succeeded").await;
    until("the vendor's second call-back is counted", async || house.callbacks().await[0].repeats >= 1).await;
    let kept = house.order(&vin(2)).await;
    house.until_state(kept, "succeeded").await;
    assert_eq!(house.files_on_disk().len(), 2);
    assert!(!files_with(&house, &vin(1)).is_empty() && !files_with(&house, CUSTOMER).is_empty());

    let purged: Value = house.client().post(&["v1", "jobs", "1", "purge"], &json!({})).await.unwrap().read().unwrap();
    let counts = (&purged["callbacks"], &purged["files"], &purged["log_emptied"]);
    assert_eq!(counts, (&json!(1), &json!(1), &json!(true)), "{purged}");
    for trace in [&vin(1), CUSTOMER] {
        assert_eq!(files_with(&house, trace), Vec::<PathBuf>::new(), "{trace}");
    }
    assert_eq!(house.files_on_disk().len(), 1, "the other job's report stays");

    // That it was ordered and paid for stays; for whom is gone.
    let costs: Value =
        house.client().get(&["v1", "costs"], &[("by", "job,tag".to_owned())]).await.unwrap().read().unwrap();
    let line = costs["costs"].as_array().unwrap().iter().find(|line| line["job"] == 1).unwrap();
    assert_eq!((&line["amount"], &line["orders"], &line["tag"]), (&json!(250.0), &json!(1), &Value::Null));
    house.stop().await;
    assert_eq!(files_with(&house, &vin(1)), Vec::<PathBuf>::new());
    assert!(!files_with(&house, &vin(2)).is_empty());
}
