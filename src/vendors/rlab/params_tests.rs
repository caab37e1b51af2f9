use serde_json::json;

use super::*;

fn good(params: Value) -> Value {
    track(&params).unwrap_or_else(|problems| panic!("{params}: {problems:?}")).params
}

fn messages(checked: Result<Checked, Vec<ParamProblem>>) -> Vec<(String, String)> {
    checked.err().into_iter().flatten().map(|problem| (problem.pointer, problem.message)).collect()
}

/// The one problem of these params.
fn problem(mut params: Value) -> (String, String) {
    params["track"] = Value::from(params.get("track").and_then(Value::as_str).unwrap_or("63010828068631"));
    let mut found = messages(track(&params));
    assert_eq!(found.len(), 1, "{params}: {found:?}");
    found.remove(0)
}

#[test]
fn silence_means_no_sms_and_no_mail() {
    assert_eq!(good(json!({"track": "63010828068631"})), json!({"track": "63010828068631", "phone": "79000000000"}));
    assert_eq!(good(json!({"track": "63010828068631", "phone": "", "email": null}))["phone"], "79000000000");
    assert!(update(&json!({"track": "63010828068631"})).is_ok_and(|checked| checked.params.get("phone").is_none()));
}

#[test]
fn the_vendors_names_are_as_good_as_the_plain_ones() {
    let plain = json!({
        "track": "63010828068631", "phone": "79150000000", "email": "support@r-lab.biz", "name": "Василий",
        "item_cost": 623.12, "order_number": "4331", "description": "книги", "delivery_service_id": 0,
        "send_to_user_email": true, "send_to_admin_email": false, "test_mode": true
    });
    let vendors = json!({
        "trackingUserClientTrack": "63010828068631", "trackingUserClientPhone": "79150000000",
        "trackingUserClientEmail": "support@r-lab.biz", "trackingUserClientName": "Василий",
        "trackingUserClientItemCost": 623.12, "trackingUserClientOrderNumber": "4331",
        "trackingUserClientDescription": "книги", "trackingUserClientDeliveryServiceId": 0,
        "sendToUserEmailFullTracking": true, "sendToAdminEmailFullTracking": false, "testMode": true
    });
    assert_eq!(good(plain.clone()), good(vendors));
    assert_eq!(good(plain.clone()), plain);
}

#[test]
fn every_refusal_names_the_field_and_what_to_do() {
    let long = "я".repeat(41);
    let table = [
        (json!({"phone": "12345"}), "/params/phone", "begin with 7"),
        (json!({"phone": true}), "/params/phone", "must be text"),
        (json!({"trackingUserClientPhone": "x"}), "/params/trackingUserClientPhone", "79160000000"),
        (json!({"email": "nobody"}), "/params/email", "client@example.com"),
        (json!({"email": "a@b.ru, c@d.ru"}), "/params/email", "one address"),
        (json!({"name": []}), "/params/name", "must be text"),
        (json!({"item_cost": "дорого"}), "/params/item_cost", "decimal"),
        (json!({"item_cost": -1}), "/params/item_cost", "not negative"),
        (json!({"item_cost": "1e3"}), "/params/item_cost", "decimal"),
        (json!({"item_cost": "1234567890123.456"}), "/params/item_cost", "15 digits"),
        (json!({"order_number": long}), "/params/order_number", "41 characters, R-Lab takes 40"),
        (json!({"description": long.repeat(5)}), "/params/description", "205 characters, R-Lab takes 200"),
        (json!({"delivery_service_id": "Голуби"}), "/params/delivery_service_id", "0 Почта России"),
        (json!({"delivery_service_id": -1}), "/params/delivery_service_id", "number"),
        (json!({"send_to_user_email": "maybe"}), "/params/send_to_user_email", "true or false"),
        (json!({"test_mode": 2}), "/params/test_mode", "true or false"),
        (json!({"phone": "79160000000", "trackingUserClientPhone": "79160000000"}), "/params/phone", "given twice"),
        (json!({"order_nubmer": "1"}), "/params/order_nubmer", "did you mean \"order_number\"?"),
        (json!({"a/b": 1}), "/params/a~1b", "the params are track"),
        (json!({"track": "63010828068632"}), "/params/track", "would be 1, not 2"),
        (json!({"track": "ПОСЫЛКА"}), "/params/track", "Latin letters"),
    ];
    for (params, pointer, words) in table {
        let (at, message) = problem(params.clone());
        assert_eq!(at, pointer, "{params}");
        assert!(message.contains(words), "{params}: {message}");
    }
    assert_eq!(messages(track(&json!([])))[0].0, "/params");
    assert_eq!(messages(track(&json!({})))[0].0, "/params/track");
    assert!(messages(none(&json!({"x": 1})))[0].1.contains("takes none"));
}

#[test]
fn a_wrong_check_digit_passes_by_force_or_as_another_carriers_number() {
    let forced = good(json!({"track": "63010828068632", "force": true}));
    assert_eq!(forced["force"], true);
    assert_eq!(good(json!({"track": "63010828068632", "delivery_service_id": "DPD"}))["delivery_service_id"], 8);
}

#[test]
fn a_track_is_trimmed_and_upper_case_and_may_be_a_number() {
    assert_eq!(good(json!({"track": " rr473124829ru "}))["track"], "RR473124829RU");
    assert_eq!(good(json!({"track": 63010828068631i64}))["track"], "63010828068631");
}

#[test]
fn delivery_services_go_by_number_or_by_name() {
    let id =
        |service: Value| good(json!({"track": "X1", "delivery_service_id": service}))["delivery_service_id"].clone();
    for (number, own, latin) in DELIVERY_SERVICES {
        assert_eq!(id(json!(number)), number);
        assert_eq!(id(json!(own.to_uppercase())), number);
        if !latin.is_empty() {
            assert_eq!(id(json!(latin)), number);
        }
    }
    assert_eq!(id(json!("14")), 14, "numbers that the table lacks pass");
    assert_eq!(id(json!(99)), 99);
}

#[test]
fn phones_are_read_as_people_write_them() {
    for phone in ["79160000000", "+7 (916) 000-00-00", "8 916 000 00 00", "9160000000"] {
        assert_eq!(good(json!({"track": "X1", "phone": phone}))["phone"], "79160000000", "{phone}");
    }
    for phone in ["380501112233", "7916000000", "+8 916 000 00 00", "79160000000 доб. 1"] {
        assert_eq!(problem(json!({"phone": phone})).0, "/params/phone", "{phone}");
    }
}

#[test]
fn costs_are_sent_with_the_digits_that_were_given() {
    let table = [
        (json!(123.45), "123.45"),
        (json!("123,45"), "123.45"),
        (json!("0.10"), "0.1"),
        (json!("1000"), "1000"),
        (json!(1000.0), "1000"),
        (json!("9999999999999.99"), "9999999999999.99"),
        (json!("0"), "0"),
        (json!(".5"), ""),
        (json!("007.07"), "7.07"),
    ];
    for (given, sent) in table {
        let cost = exact_decimal(&given).map(|number| number.to_string()).unwrap_or_default();
        assert_eq!(cost, sent, "{given}");
    }
}

#[test]
fn lists_hold_up_to_a_hundred_different_numbers() {
    let tracks = |params: Value| list(&params).map(|checked| checked.params["tracks"].clone());
    assert_eq!(tracks(json!({"tracks": ["a1", "A1", "b2"]})), Ok(json!(["A1", "B2"])));
    assert_eq!(tracks(json!({"track": "a1"})), Ok(json!(["A1"])));
    let table = [
        (json!({}), "/params/tracks"),
        (json!({"tracks": []}), "/params/tracks"),
        (json!({"tracks": "A1"}), "/params/tracks"),
        (json!({"tracks": ["A1"], "track": "B2"}), "/params/track"),
        (json!({"tracks": ["A1", "63010828068632"]}), "/params/tracks/1"),
        (json!({"tracks": (0..101).map(|n| format!("T{n}")).collect::<Vec<_>>()}), "/params/tracks"),
    ];
    for (params, pointer) in table {
        assert_eq!(messages(list(&params))[0].0, pointer, "{params}");
    }
}
