use proptest::prelude::*;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("error".to_owned()),
        Just("data".to_owned()),
        Just("id".to_owned()),
        Just("balance".to_owned()),
        Just("status".to_owned()),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from(r#"{"data": "{}"}"#)),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_makes_a_reader_panic(status in 100_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(REPORT, status, body.clone()).verdicts.len(), 1);
        prop_assert_eq!(read(BALANCE, status, body.clone()).verdicts.len(), 1);
        let _ = driver().read_account(AccountCall::Balance, &answer(status, body), NOW);
    }

    #[test]
    fn no_json_makes_a_reader_panic_and_only_2xx_accepts(status in 100_u16..600, value in any_json()) {
        let outcome = outcome(status, value.to_string());
        if !(200..300).contains(&status) {
            let accepts = matches!(outcome, Outcome::Accepted { .. });
            prop_assert!(!accepts);
        }
        let _ = read(BALANCE, status, value.to_string());
        let _ = driver().read_account(AccountCall::Balance, &answer(status, value.to_string()), NOW);
    }

    #[test]
    fn a_cut_answer_is_never_an_acceptance(value in any_json(), part in 0.0..1.0_f64) {
        let whole = json!({"status": "ok", "answer": value}).to_string();
        let mut cut = 1 + (part * (whole.len() - 1) as f64) as usize;
        while !whole.is_char_boundary(cut) { cut -= 1 }
        let accepts = matches!(outcome(200, whole[..cut].to_owned()), Outcome::Accepted { .. });
        prop_assert!(!accepts, "{}", &whole[..cut]);
    }

    #[test]
    fn what_passed_passes_again_unchanged(params in any_json(), vin in "[A-HJ-NPR-Z0-9]{17}", force in any::<bool>()) {
        let _ = check(params.clone());
        let given = json!({"vin": vin, "check_type": "check_etka_full", "car_brand": "vw", "report_language": "ru",
            "telegram_id": 5, "force": force});
        let once = check(given).unwrap();
        prop_assert_eq!(check(once.params.clone()).unwrap(), once);
    }
}
