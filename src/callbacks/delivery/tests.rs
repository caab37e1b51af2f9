use bytes::Bytes;

use super::super::parse::{Limits, parse};
use super::*;

fn callback(body: Value) -> Callback {
    parse(Some("application/json"), &Bytes::from(body.to_string()), &Limits::DEFAULT).unwrap()
}

fn pdf() -> Kept {
    let file =
        File { name: "r.pdf".into(), content_type: Some("application/pdf".into()), bytes: Bytes::from_static(b"%PDF") };
    Kept::new(&file, "abc")
}

#[test]
fn a_call_back_is_the_answer_whatever_its_status_says() {
    for body in [json!({"vin": "X", "status": "done"}), json!({"vin": "X", "url": "https://a.example"}), json!({})] {
        let Some(End::Success { result }) = end(&callback(body.clone()), &[], &[]) else { panic!("{body}") };
        assert_eq!(serde_json::from_str::<Value>(&result).unwrap()["fields"], body);
    }
}

#[test]
fn an_error_is_a_failure_unless_a_report_came_with_it() {
    let error = json!({"vin": "X", "error": "Нет данных"});
    let Some(End::Failure { reason, result }) = end(&callback(error.clone()), &[], &[]) else { panic!("no failure") };
    assert!(reason.code == "vendor_failed" && reason.message.contains("Нет данных") && result.is_some());
    assert!(matches!(end(&callback(error), &[pdf()], &[]), Some(End::Success { .. })));
    let linked = json!({"url": "https://a.example", "error": "только на английском"});
    assert!(matches!(end(&callback(linked), &[], &[]), Some(End::Success { result }) if result.contains("английском")));
}

#[test]
fn a_configured_status_of_progress_is_no_answer_but_a_report_is() {
    let progress = ["В работе".to_owned()];
    let body = json!({"vin": "X", "status": "в работе "});
    assert_eq!(end(&callback(body.clone()), &[], &progress), None);
    assert!(end(&callback(body), &[pdf()], &progress).is_some());
    assert!(end(&callback(json!({"vin": "X", "status": "готово"})), &[], &progress).is_some());
}

#[test]
fn the_result_names_the_files() {
    let shown = result(&callback(json!({"vin": "wauzzz8k9ba012345", "n": 1})), &[pdf()]);
    assert_eq!(
        shown,
        json!({"vin": "WAUZZZ8K9BA012345", "check_type": null, "status": null, "url": null, "error": null,
            "files": [{"name": "r.pdf", "content_type": "application/pdf", "size": 4, "sha256": "abc"}],
            "fields": {"vin": "wauzzz8k9ba012345", "n": 1}})
    );
}
