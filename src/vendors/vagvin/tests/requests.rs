use super::*;
use crate::domain::exchange::{Body, Method};

fn body_of(request: &Request) -> Value {
    match &request.body {
        Body::Json { value, .. } => value.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_is_the_pages_sample() {
    let given = with(json!({"telegram_id": 79_990_000_111_i64, "client_email": "client@example.com",
        "your_email": "dealer@example.com", "force": true}));
    let params = check(given).unwrap().params;
    let job = job(REPORT, State::Queued);
    let request = driver().request(Call::Submit, &[JobView { job: &job, params: &params, partial: None }], NOW);
    assert_eq!(
        (request.op, request.method, request.path.as_str()),
        ("processing_queue", Method::Post, "/api/processing_queue")
    );
    let sample: Value = serde_json::from_str(include_str!("../fixtures/order.json")).unwrap();
    assert_eq!(body_of(&request), sample);
    assert_eq!(request.secrets(), [TOKEN]);
    assert!(request.query.is_empty());
}

#[test]
fn the_token_is_no_part_of_what_is_stored() {
    let job = job(REPORT, State::Queued);
    let view = JobView { job: &job, params: &order(), partial: None };
    let other = VagVin::new(Settings::new(driver().settings.common, SecretString::from("another-token")));
    let request = driver().request(Call::Submit, &[view], NOW);
    let changed = other.request(Call::Submit, &[view], NOW);
    assert_eq!(request.hash(), changed.hash());
    assert!(!format!("{:?} {request:?}", driver()).contains(TOKEN));
}

#[test]
fn our_token_travels_only_where_the_account_says_that_it_is_echoed() {
    let mut settings = driver().settings;
    settings.echo_fields = vec!["uid".into(), "vin".into(), "token".into(), "car_brand".into()];
    let job = job(REPORT, State::Queued);
    let params = json!({"vin": "WAUZZZ8K9BA012345"});
    let request =
        VagVin::new(settings).request(Call::Submit, &[JobView { job: &job, params: &params, partial: None }], NOW);
    let uid = "opros-812-1790000000000";
    assert_eq!(body_of(&request), json!({"token": TOKEN, "vin": "WAUZZZ8K9BA012345", "uid": uid}));
}

#[test]
fn a_balance_is_asked_for_with_the_token_only() {
    let job = job(BALANCE, State::Queued);
    let view = JobView { job: &job, params: &json!({}), partial: None };
    for request in
        [driver().request(Call::Submit, &[view], NOW), driver().account_request(AccountCall::Balance, NOW).unwrap()]
    {
        assert_eq!(body_of(&request), json!({"token": TOKEN, "check_type": "get_balance"}));
        assert_eq!(request.secrets(), [TOKEN]);
    }
    assert!(driver().account_request(AccountCall::Credentials, NOW).is_none());
}
