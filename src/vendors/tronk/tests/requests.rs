use super::*;

fn pairs(request: &Request) -> Vec<(&'static str, String)> {
    request.query.iter().map(|field| (field.name, field.value.clone())).collect()
}

fn submit(kind: &str, params: Value) -> Request {
    let job = job(kind, None);
    tronk().request(Call::Submit, &[JobView { job: &job, params: &params, partial: None }], START)
}

#[test]
fn each_identifier_goes_to_its_own_address() {
    for (kind, name, path, mode) in [
        (REPORT, "phone", "/reportphone.ashx", "setqueue"),
        (REPORT, "gosnumber", "/reportrequest.ashx", "setqueue"),
        (REPORT, "vin", "/reportrequest.ashx", "setqueue"),
        (REPORT, "frame", "/reportrequestframe.ashx", "setqueue"),
        (REPORT_JSON, "gosnumber", "/reportjson.ashx", "create"),
        (REPORT_JSON, "vin", "/reportjson.ashx", "create"),
        (REPORT_JSON, "frame", "/reportjson.ashx", "create"),
    ] {
        let request = submit(kind, json!({ name: "X" }));
        assert_eq!((request.method, request.path.as_str(), request.body.clone()), (Method::Get, path, Body::Empty));
        let expected = vec![("key", KEY.to_owned()), ("mode", mode.to_owned()), (name, "X".to_owned())];
        assert_eq!(pairs(&request), expected);
    }
}

#[test]
fn force_is_for_us_and_is_not_sent() {
    let request = submit(REPORT, json!({ "vin": "SHORT", "force": true }));
    assert!(request.query.iter().all(|field| field.name != "force"), "{:?}", pairs(&request));
}

#[test]
fn a_poll_names_the_task_and_nothing_personal() {
    let story = Story::report();
    let request = story.driver.request(Call::Poll, &[story.view()], START);
    let expected = vec![("key", KEY.to_owned()), ("mode", "checkqueue".to_owned()), ("id", "123".to_owned())];
    assert_eq!(pairs(&request), expected);
    assert_eq!(request.path, "/reportphone.ashx");
}

#[test]
fn the_key_is_a_secret_of_every_request_and_in_no_debug_output() {
    let request = submit(REPORT, json!({ "phone": "79990000111" }));
    assert_eq!(request.secrets(), vec![KEY.to_owned()]);
    assert!(!format!("{request:?} {:?} {:?}", request.query, tronk()).contains(KEY));
}
