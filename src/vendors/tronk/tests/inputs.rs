use proptest::prelude::*;

use super::*;

fn good(kind: &str, params: Value) -> Value {
    tronk().check(kind, &params).unwrap_or_else(|problems| panic!("{params}: {problems:?}")).params
}

fn bad(kind: &str, params: Value) -> Vec<ParamProblem> {
    tronk().check(kind, &params).err().unwrap_or_else(|| panic!("{params} must not pass"))
}

#[test]
fn phones_are_tidied() {
    for text in ["79990000111", "+7 999 000-01-11", "8 (999) 000 01 11", "8-999-000-01-11", " 7.999.000.01.11 "] {
        assert_eq!(good(REPORT, json!({ "phone": text })), json!({ "phone": "79990000111" }), "{text}");
    }
    assert_eq!(good(REPORT, json!({ "phone": 79990000111_i64 })), json!({ "phone": "79990000111" }));
}

#[test]
fn plates_are_sent_in_cyrillic() {
    for (text, sent) in [
        ("а123вс77", "А123ВС77"),
        ("A123BC777", "А123ВС777"),
        ("a 123 bc 77", "А123ВС77"),
        ("АВ12377", "АВ12377"),
        ("AB1234 77", "АВ123477"),
        ("1234AB77", "1234АВ77"),
        ("А1234 77", "А123477"),
        ("АВ 123 С 77", "АВ123С77"),
    ] {
        assert_eq!(good(REPORT, json!({ "gosnumber": text })), json!({ "gosnumber": sent }), "{text}");
    }
}

#[test]
fn vins_and_body_numbers_are_sent_in_latin() {
    assert_eq!(good(REPORT, json!({ "vin": "хта210990y2765432" })), json!({ "vin": "XTA210990Y2765432" }));
    assert_eq!(good(REPORT_JSON, json!({ "frame": "gx110-6012345" })), json!({ "frame": "GX110-6012345" }));
    assert_eq!(good(REPORT, json!({ "frame": "GX110–6012345" })), json!({ "frame": "GX110-6012345" }));
}

#[test]
fn a_mistyped_identifier_costs_nothing() {
    for (name, text) in [
        ("phone", "9990000111"),
        ("phone", "+89990000111"),
        ("phone", "799900001112"),
        ("phone", "7999000011a"),
        ("phone", "٧٩٩٩٠٠٠٠١١١"),
        ("vin", "XTA210990Y276543"),
        ("vin", "XTA210990Y27654321"),
        ("vin", "XTO210990Y2765432"),
        ("vin", "XTЖ210990Y2765432"),
        ("gosnumber", "А123ВС"),
        ("gosnumber", "Б123ВС77"),
        ("gosnumber", "А123ВС7777"),
        ("frame", "GX1"),
        ("frame", "GXGXGX"),
        ("frame", "-GX110"),
        ("frame", "GX110-6012345-6012345"),
    ] {
        let problems = bad(REPORT, json!({ name: text }));
        assert_eq!(problems[0].pointer, format!("/params/{name}"));
        assert!(problems[0].message.contains("force"), "{}", problems[0]);
        assert_eq!(good(REPORT, json!({ name: text, "force": true }))[name], text);
    }
    for empty in [json!(""), json!("  "), json!(true), json!([]), json!({})] {
        bad(REPORT, json!({ "phone": empty, "force": true }));
    }
}

#[test]
fn exactly_one_identifier_is_needed() {
    assert_eq!(bad(REPORT, json!({}))[0].pointer, "/params");
    assert_eq!(bad(REPORT, json!({ "phone": null }))[0].pointer, "/params");
    let problems = bad(REPORT, json!({ "vin": "XTA210990Y2765432", "phone": "79990000111" }));
    assert_eq!(problems[0].pointer, "/params/vin");
    for other in [json!([]), json!("x"), json!(null)] {
        assert_eq!(bad(REPORT, other)[0].pointer, "/params");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    let problems = bad(REPORT, json!({ "phon": "79990000111" }));
    assert_eq!((problems.len(), problems[0].pointer.as_str()), (1, "/params/phon"));
    assert!(problems[0].message.contains("did you mean phone?"), "{}", problems[0]);
    assert!(bad(REPORT, json!({ "zzz": 1 }))[0].message.contains("phone, gosnumber, vin, frame"));
    let problems = bad(REPORT_JSON, json!({ "phone": "79990000111" }));
    assert_eq!(problems[0].pointer, "/params/phone", "reportjson takes no phone");
    assert_eq!(bad(REPORT, json!({ "phone": "79990000111", "a/b~": 1 }))[0].pointer, "/params/a~1b~0");
    assert_eq!(bad("tronk.nothing", json!({}))[0].pointer, "/params");
}

#[test]
fn force_is_a_yes_or_a_no() {
    assert_eq!(good(REPORT, json!({ "vin": "x", "force": "true" })), json!({ "vin": "x", "force": true }));
    assert_eq!(good(REPORT, json!({ "phone": "79990000111", "force": false })), json!({ "phone": "79990000111" }));
    assert_eq!(bad(REPORT, json!({ "phone": "79990000111", "force": 3 }))[0].pointer, "/params/force");
}

proptest! {
    #[test]
    fn what_passed_passes_again_unchanged(name in "phone|gosnumber|vin|frame", text in "\\PC{0,24}", force: bool) {
        if let Ok(once) = tronk().check(REPORT, &json!({ name: text, "force": force })) {
            let twice = tronk().check(REPORT, &once.params);
            prop_assert_eq!(twice.map(|checked| checked.params), Ok(once.params));
        }
    }

    #[test]
    fn plates_in_either_alphabet_are_one_plate(text in "[ABEKMHOPCTYX][0-9]{3}[ABEKMHOPCTYX]{2}[0-9]{2,3}") {
        let latin = good(REPORT, json!({ "gosnumber": text }));
        prop_assert_eq!(good(REPORT, latin.clone()), latin.clone());
        prop_assert!(latin["gosnumber"].as_str().is_some_and(|sent| sent.chars().all(|c| !c.is_ascii_alphabetic())));
    }
}
