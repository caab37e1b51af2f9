//! The vendor's ways of calling back, and what becomes of the job.

use std::collections::BTreeSet;

use opros::simulator::{CallbackForm, CallbackStyle, CallbackWhen, Change, Fault, FaultPlan, FaultRule};
use opros::store::callbacks::How;
use serde_json::json;

use super::house::{House, until, vin};

fn style(form: CallbackForm) -> CallbackStyle {
    CallbackStyle { form, ..CallbackStyle::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_comes_in_every_form_and_ends_its_job() {
    for form in [CallbackForm::Json, CallbackForm::Nested, CallbackForm::Urlencoded, CallbackForm::Multipart] {
        let house = House::new(style(form)).await;
        let job = house.order(&vin(1)).await;
        house.until_state(job, "succeeded").await;
        let result = house.result(job).await;
        assert_eq!(result["vin"], vin(1));
        assert!(result["url"].as_str().unwrap().starts_with("http://"), "{result}");
        assert_eq!(house.event_types(job).await, ["job.accepted", "job.succeeded"]);
        let files = result["files"].as_array().unwrap();
        assert_eq!(files.len(), usize::from(form == CallbackForm::Multipart), "{result}");
        assert_eq!(house.files_on_disk().len(), files.len());
        if form == CallbackForm::Multipart {
            assert_eq!(files[0]["name"], format!("{}.pdf", vin(1)));
            let stored = std::fs::read(&house.files_on_disk()[0]).unwrap();
            assert!(stored.starts_with(b"%PDF"));
            assert_eq!(opros::domain::exchange::sha256_hex(&stored), files[0]["sha256"]);
        }
        assert_eq!(house.callbacks().await[0].belongs.as_ref().map(|it| (it.job, it.how)), Some((job, How::Matched)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_overtakes_the_answer_to_its_order_is_kept_for_it() {
    let house = House::new(CallbackStyle { when: CallbackWhen::Early, ..style(CallbackForm::Json) }).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "succeeded").await;
    assert_eq!(house.event_types(job).await, ["job.accepted", "job.succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_there_before_its_job_is_kept_for_it() {
    let house = House::new(CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }).await;
    assert_eq!(house.post_json(&json!({ "vin": vin(7), "status": "done" })).await, 200);
    house.until_callbacks(1).await;
    let job = house.order(&vin(7)).await;
    house.until_state(job, "succeeded").await;
}

/// Nobody but the next event of its job would have come back to it: of a job that waits for this very report there is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_could_not_be_read_when_its_job_moved_is_tried_again() {
    let house = House::new(CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }).await;
    // Large enough to lie in a file of its own.
    let report = json!({ "vin": vin(7), "status": "done", "text": "x".repeat(100_000) });
    assert_eq!(house.post_json(&report).await, 200);
    house.until_callbacks(1).await;
    let file = house.files_on_disk().remove(0);
    let away = house.dir.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    let job = house.order(&vin(7)).await;
    house.until_state(job, "waiting").await;
    // Whoever gave this one to its job has seen that the other job moved.
    let second = house.order(&vin(8)).await;
    house.until_state(second, "waiting").await;
    house.post_json(&json!({ "vin": vin(8), "status": "done" })).await;
    house.until_state(second, "succeeded").await;

    std::fs::rename(&away, &file).unwrap();
    house.post_json(&json!({ "vin": vin(9) })).await;
    house.until_state(job, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_changes_nothing_and_is_answered_200() {
    let house = House::new(CallbackStyle { repeats: 3, ..style(CallbackForm::Multipart) }).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "succeeded").await;
    let sent = || house.simulator.control().vagvin_callbacks();
    until("all four were sent", async || sent().len() == 4).await;
    assert!(sent().iter().all(|callback| callback.status == Some(200)));
    let stored = house.callbacks().await;
    assert_eq!((stored.len(), stored[0].repeats), (1, 3));
    assert_eq!(house.event_types(job).await, ["job.accepted", "job.succeeded"]);
    assert_eq!(house.files_on_disk().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_wrong_secrets_leave_the_job_alone() {
    let (stranger_too, wrong_secret_too) = (true, true);
    let house = House::new(CallbackStyle { stranger_too, wrong_secret_too, ..style(CallbackForm::Json) }).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "succeeded").await;
    let sent = || house.simulator.control().vagvin_callbacks();
    until("all three were sent", async || sent().len() == 3).await;
    let mut statuses: Vec<_> = sent().iter().map(|callback| callback.status).collect();
    statuses.sort();
    assert_eq!(statuses, [Some(200), Some(200), Some(404)]);
    let stored = house.callbacks().await;
    let owners: BTreeSet<_> = stored.iter().map(|callback| callback.belongs.as_ref().map(|it| it.job)).collect();
    assert_eq!(owners, [Some(job), None].into(), "the stranger's is kept and is nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_check_type_the_oldest_waiting_job_of_the_car_has_it() {
    let house = House::new(CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }).await;
    let jobs = [house.order(&vin(1)).await, house.order(&vin(1)).await];
    for job in jobs {
        house.until_state(job, "waiting").await;
    }
    house.post_json(&json!({ "vin": vin(1).to_lowercase(), "status": "first" })).await;
    house.until_state(jobs[0], "succeeded").await;
    assert_eq!(house.job(jobs[1]).await.job.state.as_str(), "waiting");
    house.post_json(&json!({ "vin": vin(1), "status": "second" })).await;
    house.until_state(jobs[1], "succeeded").await;
    assert_eq!(house.result(jobs[0]).await["status"], "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_after_giving_up_is_attached_and_announced() {
    let late = CallbackStyle { when: CallbackWhen::Late, ..style(CallbackForm::Multipart) };
    let house = House::with(late, "give_up = \"100ms\"").await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "expired").await;
    until("the report is attached", async || house.job(job).await.result.is_some()).await;
    assert_eq!(house.job(job).await.job.state.as_str(), "expired");
    assert_eq!(house.event_types(job).await, ["job.accepted", "job.expired", "job.updated"]);
    assert_eq!(house.result(job).await["files"][0]["name"], format!("{}.pdf", vin(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_doubt_is_settled_by_its_report() {
    let house = House::new(CallbackStyle { when: CallbackWhen::Late, ..style(CallbackForm::Json) }).await;
    let rule = FaultRule::on("vagvin", "submit", Fault::DropAfter {});
    house.simulator.control().set_faults(FaultPlan::one(rule)).unwrap();
    let job = house.order(&vin(1)).await;
    house.until_state(job, "in_doubt").await;
    house.simulator.control().clear_faults();
    let style = CallbackStyle::default();
    house.simulator.control().apply(Change::VagvinSend { vin: vin(1), style }).unwrap();
    house.until_state(job, "succeeded").await;
    assert_eq!(house.event_types(job).await, ["job.in_doubt", "job.accepted", "job.succeeded"]);
    assert_eq!(house.simulator.ledger().len(), 1, "paid once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_from_the_supplier_fails_the_job_and_keeps_his_words() {
    let house = House::new(CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    house.post_json(&json!({ "vin": vin(1), "error": "Нет данных по VIN" })).await;
    house.until_state(job, "failed").await;
    assert_eq!(house.result(job).await["error"], "Нет данных по VIN");
}
