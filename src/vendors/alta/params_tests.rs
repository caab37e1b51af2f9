use proptest::prelude::*;

use super::*;
use crate::domain::Timestamp;

fn order(change: Value) -> Value {
    let mut params = json!({ "wagons": ["54676515"], "track_state": "ru", "track_type": 2, "times": ["09:00"] });
    for (name, value) in change.as_object().unwrap() {
        params[name] = value.clone();
    }
    params
}

fn good(params: &Value) -> Checked {
    check_track(params).unwrap_or_else(|problems| panic!("{params}: {problems:?}"))
}

fn pointers(params: &Value) -> Vec<String> {
    let problems = check_track(params).expect_err(&format!("{params} passed"));
    problems.into_iter().map(|problem| problem.pointer).collect()
}

fn fields(params: &Value) -> Vec<(&'static str, String)> {
    super::super::terms::add_fields(params, Some("t0")).into_iter().map(|field| (field.name, field.value)).collect()
}

#[test]
fn an_order_is_normalised_with_safe_defaults() {
    let checked = good(&order(json!({})));
    assert_eq!(checked.follow, None);
    assert_eq!(
        checked.params,
        json!({ "wagons": ["54676515"], "track_state": "ru", "state": 20, "track_type": 2, "times": ["09:00"],
            "times_per_day": 1, "days": [0, 1, 2, 3, 4, 5, 6], "stop_station": "yes", "until": "untracked" })
    );
}

#[test]
fn the_vendors_own_example_becomes_the_vendors_fields() {
    let params = json!({ "wagons": "AMFU8899067", "state": "20", "track_type": "2", "comment": "первое слежение (конт)",
        "days": "1,2,3,4,5", "times_per_day": "2", "times": "09:00,13:00", "track_state": "ru", "stop_station": "no",
        "emails": "alta@alta.ru,mymail@mymail.com" });
    assert_eq!(
        fields(&good(&params).params),
        [
            ("wagons", "AMFU8899067"),
            ("state", "20"),
            ("track_state", "ru"),
            ("track_type", "2"),
            ("stop_station", "no"),
            ("times_per_day", "2"),
            ("times", "09:00,13:00"),
            ("days", "1,2,3,4,5"),
            ("comment", "opros:t0 первое слежение (конт)"),
            ("emails", "alta@alta.ru,mymail@mymail.com"),
            ("email_report_type", "2"),
            ("attach_excel", "0"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
    );
}

#[test]
fn without_emails_nothing_about_emails_is_sent() {
    let sent = fields(&good(&order(json!({ "emails": [] }))).params);
    assert!(sent.iter().all(|(name, _)| !name.contains("email") && *name != "attach_excel"), "{sent:?}");
}

#[test]
fn what_decides_the_price_is_never_guessed() {
    for name in ["wagons", "track_state", "track_type", "times"] {
        let mut params = order(json!({}));
        params.as_object_mut().unwrap().remove(name);
        assert_eq!(pointers(&params), [format!("/params/{name}")]);
    }
}

#[test]
fn region_names_and_codes_agree() {
    assert_eq!(good(&order(json!({ "track_state": "sng" }))).params["state"], 22);
    assert_eq!(good(&order(json!({ "track_state": null, "state": "22" }))).params["track_state"], "sng");
    assert_eq!(pointers(&order(json!({ "track_state": "sng", "state": 20 }))), ["/params/state"]);
    assert_eq!(pointers(&order(json!({ "state": 21 }))), ["/params/state"]);
    assert_eq!(pointers(&order(json!({ "track_state": "eu" }))), ["/params/track_state"]);
}

#[test]
fn words_for_numbers_are_understood() {
    assert_eq!(good(&order(json!({ "track_type": "daily" }))).params["track_type"], 2);
    assert_eq!(good(&order(json!({ "track_type": "Voyage" }))).params["track_type"], 3);
    assert_eq!(good(&order(json!({ "times": "9:05" }))).params["times"], json!(["09:05"]));
    assert_eq!(good(&order(json!({ "stop_station": "24160" }))).params["stop_station"], "24160");
    assert_eq!(good(&order(json!({ "stop_station": false }))).params["stop_station"], "no");
    assert_eq!(good(&order(json!({ "days": "6,0,6" }))).params["days"], json!([0, 6]));
    assert_eq!(good(&order(json!({ "wagons": 54676515 }))).params["wagons"], json!(["54676515"]));
    let twice = good(&order(json!({ "wagons": "54676515; AMFU8899067, 54676515" })));
    assert_eq!(twice.params["wagons"], json!(["54676515", "AMFU8899067"]));
}

#[test]
fn every_bad_value_is_refused_at_its_place() {
    for (change, pointer) in [
        (json!({ "wagons": [] }), "/params/wagons"),
        (json!({ "wagons": ["54676514"] }), "/params/wagons"),
        (json!({ "wagons": [["54676515"]] }), "/params/wagons"),
        (json!({ "track_type": 1 }), "/params/track_type"),
        (json!({ "times": [] }), "/params/times"),
        (json!({ "times": "09:00,10:00,11:00,12:00" }), "/params/times"),
        (json!({ "times": "09:00,09:00" }), "/params/times"),
        (json!({ "times": "24:00" }), "/params/times"),
        (json!({ "times_per_day": 4 }), "/params/times_per_day"),
        (json!({ "days": [7] }), "/params/days"),
        (json!({ "days": [] }), "/params/days"),
        (json!({ "stop_station": "2416" }), "/params/stop_station"),
        (json!({ "emails": "somebody" }), "/params/emails"),
        (json!({ "emails": ["a@b.ru\nBcc: c@d.ru"] }), "/params/emails"),
        (json!({ "attach_excel": true }), "/params/attach_excel"),
        (json!({ "comment": { "a": 1 } }), "/params/comment"),
        (json!({ "until": "tomorrow" }), "/params/until"),
        (json!({ "until": "arrived", "stop_station": "no" }), "/params/until"),
        (json!({ "force": "yes" }), "/params/force"),
        (json!({ "wagon": "54676515" }), "/params/wagon"),
    ] {
        assert!(pointers(&order(change.clone())).contains(&pointer.to_owned()), "{change}");
    }
    assert_eq!(pointers(&json!("hello"))[0], "/params");
}

#[test]
fn a_failed_check_digit_names_the_number_and_force_overrides_it() {
    let problems = check_track(&order(json!({ "wagons": ["54676515", "54676510"] }))).unwrap_err();
    assert!(problems[0].message.contains("54676510") && problems[0].message.contains("force"));
    let forced = good(&order(json!({ "wagons": ["54676510"], "force": true })));
    assert_eq!(forced.params["wagons"], json!(["54676510"]));
    assert!(fields(&forced.params).iter().all(|(name, _)| *name != "force"));
}

#[test]
fn a_hash_alone_follows_and_orders_nothing() {
    let hash = "EBC356DFA5BEEE7D3844CCACF535410C";
    let lower = hash.to_lowercase();
    assert_eq!(good(&json!({ "hash": hash })).follow.as_deref(), Some(lower.as_str()));
    let other = "931700e35d7ff88a10bd5d680da50f02";
    let both = good(&json!({ "hash": hash, "cont_hash": other, "times": "09:00", "days": "1,2" }));
    assert_eq!(both.follow, Some(format!("{lower}+{other}")));
    assert_eq!(good(&json!({ "cont_hash": other })).follow.as_deref(), Some(other));
    assert_eq!(pointers(&json!({ "hash": "ebc3" })), ["/params/hash"]);
    assert_eq!(pointers(&json!({ "hash": hash, "cont_hash": hash })), ["/params/cont_hash"]);
    assert_eq!(pointers(&json!({ "hash": hash, "wagons": "54676515" })), ["/params/wagons"]);
    assert_eq!(pointers(&json!({ "hash": hash, "days": "1" })), ["/params/days"]);
    assert_eq!(pointers(&json!({ "hash": hash, "stop_station": "yes" })), ["/params/stop_station"]);
}

#[test]
fn only_the_times_that_the_vendor_gives_are_waited_for() {
    let terms = Terms::of(&good(&order(json!({ "times": "09:00,13:00,18:00", "times_per_day": 2 }))).params);
    let noon = Timestamp::parse_rfc3339("2026-03-10T14:00:00+03:00").unwrap();
    let next = Timestamp::parse_rfc3339("2026-03-11T09:00:00+03:00").unwrap();
    assert_eq!(terms.schedule().next(noon), Some(next));
}

#[test]
fn an_end_in_time_is_a_point_in_time() {
    let checked = good(&order(json!({ "until": "2026-12-31T18:00:00+03:00" })));
    assert_eq!(checked.params["until"], "2026-12-31T15:00:00.000Z");
    let at = Timestamp::parse_rfc3339("2026-12-31T15:00:00Z").unwrap();
    assert_eq!(Terms::of(&checked.params).until(), Until::Time(at));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["54676515", "09:00", "ru", "yes", "1,2", "first_report"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(TRACK).prop_map(str::to_owned), inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_params_panic_and_what_passes_once_passes_again(params in any_json()) {
        if let Ok(checked) = check_track(&params) {
            prop_assert_eq!(check_track(&checked.params), Ok(checked.clone()));
        }
    }

    #[test]
    fn any_change_of_a_good_order_is_checked_without_panic(name in prop::sample::select(TRACK), value in any_json()) {
        if let Ok(checked) = check_track(&order(json!({ name: value }))) {
            prop_assert_eq!(check_track(&checked.params), Ok(checked.clone()));
            let _ = Terms::of(&checked.params).schedule();
        }
    }
}
