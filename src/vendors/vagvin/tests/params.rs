use super::*;

#[test]
fn the_examples_pass_as_they_stand() {
    for kind in KINDS {
        let params: Value = serde_json::from_str(kind.example).unwrap();
        let checked = driver().check(kind.name, &params).unwrap();
        assert_eq!(checked, Checked::new(params), "{}", kind.name);
        assert_eq!(registry_kind(kind.name), kind.name);
    }
}

fn registry_kind(name: &str) -> &'static str {
    crate::vendors::registry::kind(name).unwrap().name
}

#[test]
fn every_documented_combination_passes_in_the_vendors_spelling() {
    for check in catalogue::CHECKS {
        let brands: &[&str] = match check.brands {
            catalogue::Brands::Of(brands) => brands,
            catalogue::Brands::Any => &["Lada"],
        };
        for brand in brands {
            for language in check.languages {
                let given = with(
                    json!({"check_type": check.name.to_uppercase(), "car_brand": brand, "report_language": language}),
                );
                let passed = self::check(given).unwrap().params;
                assert_eq!(passed["check_type"], check.name);
                assert_eq!(passed["car_brand"], *brand);
                assert_eq!(passed["report_language"], *language);
            }
        }
    }
}

#[test]
fn the_table_is_that_of_the_page() {
    let page: String = include_str!("../fixtures/page.txt").to_lowercase();
    for check in catalogue::CHECKS {
        let about = page.split("тип запроса \"").find(|part| part.starts_with(&check.name.to_lowercase())).unwrap();
        if let catalogue::Brands::Of(brands) = check.brands {
            assert!(brands.iter().all(|brand| about.contains(&brand.to_lowercase())), "{}", check.name);
        }
        for language in ["Русский", "Английский", "Польский", "Румынский", "Французский", "Немецкий"]
        {
            let offered = about.split("доступны языки").nth(1).unwrap().lines().next().unwrap();
            assert_eq!(
                check.languages.contains(&language),
                offered.contains(&language.to_lowercase()),
                "{}",
                check.name
            );
        }
    }
}

#[test]
fn brands_are_matched_by_sense_and_sent_as_the_vendor_spells_them() {
    let spelled = |check_type: &str, brand: &str| {
        let given = with(json!({"check_type": check_type, "car_brand": brand, "report_language": "en"}));
        check(given).unwrap().params["car_brand"].as_str().unwrap().to_owned()
    };
    for (check_type, typed, sent) in [
        ("check_elsa_pro_full", "vw", "Volkswagen"),
        ("check_elsa_pro_full", "Škoda", "SKODA"),
        ("check_elsa_pro_full", " seat ", "SEAT"),
        ("check_data_multibr_zapros", "LANDROVER", "Land Rover"),
        ("check_data_multibr_zapros", "land-rover", "Land Rover"),
        ("check_data_multibr_zapros", "Mercedes", "Mercedes-Benz"),
        ("check_data_multibr_zapros", "Hyundai", "hyundai"),
        ("check_data_multibr_zapros", "Citroën", "Citroen"),
        ("check_nomer_dws", "mercedes-benz", "Mercedes"),
        ("check_data_bmw_full", "ВМW", "BMW"),
    ] {
        assert_eq!(spelled(check_type, typed), sent, "{typed}");
    }
}

#[test]
fn what_the_table_does_not_have_is_refused_with_what_it_has() {
    let (pointer, message) = problem(with(json!({"car_brand": "Lada"})));
    assert_eq!(pointer, "/params/car_brand");
    assert!(message.contains("Audi, SKODA, SEAT, Volkswagen") && message.contains("force"), "{message}");

    let (pointer, message) = problem(with(json!({"check_type": "check_erwin_full"})));
    assert_eq!(pointer, "/params/report_language");
    assert!(message.contains("Английский") && message.contains("Русский"), "{message}");

    let (pointer, message) = problem(with(json!({"check_type": "check_all"})));
    assert_eq!(pointer, "/params/check_type");
    assert!(catalogue::CHECKS.iter().all(|check| message.contains(check.name)), "{message}");

    let (_, message) = problem(with(json!({"check_type": "get_balance"})));
    assert!(message.contains("vagvin.balance"));
}

#[test]
fn force_sends_it_anyway_but_never_a_false_vin() {
    let forced = json!({"check_type": "check_new", "car_brand": "Lada", "report_language": "Эсперанто", "force": true});
    let passed = check(with(forced.clone())).unwrap().params;
    for (name, value) in forced.as_object().unwrap() {
        assert_eq!(&passed[name], value);
    }
    assert_eq!(problem(with(json!({"vin": "WAUZZZ8K9BA01234", "force": true}))).0, "/params/vin");
    assert_eq!(problem(with(json!({"force": "perhaps"}))).0, "/params/force");
    assert_eq!(problem(with(json!({"check_type": "get_balance", "force": true}))).0, "/params/check_type");
}

#[test]
fn car_vertical_takes_any_brand_or_none() {
    let bare = json!({"vin": "WAUZZZ8K9BA012345", "check_type": "check_carvertical", "report_language": "de"});
    let passed = check(bare).unwrap().params;
    assert_eq!(passed["check_type"], "check_CarVertical");
    assert_eq!(passed["report_language"], "Немецкий");
    assert!(passed.get("car_brand").is_none());
}

#[test]
fn a_vin_is_normalised_and_its_faults_are_named() {
    // Typed with Cyrillic А, К and В, in lower case, with blanks.
    let passed = check(with(json!({"vin": " wаuzzz 8к9вa012345 "}))).unwrap();
    assert_eq!(passed.params["vin"], "WAUZZZ8K9BA012345");
    for (vin, says) in [
        ("WAUZZZ8K9BAO12345", "letter O"),
        ("WAUZZZ8K9BAО12345", "letter O"),
        ("WAUZZZ8K9BA01234", "has 16"),
        ("WAUZZZ8K9BA0123456", "has 18"),
        ("WAUZZZ8K9BA01234Ж", "'Ж'"),
        ("WAUZZZ-8K9BA01234", "'-'"),
    ] {
        let (pointer, message) = problem(with(json!({"vin": vin})));
        assert!(pointer == "/params/vin" && message.contains(says), "{vin}: {message}");
    }
}

#[test]
fn a_check_digit_is_a_doubt_and_only_where_makers_set_it() {
    let warnings = |vin: &str| check(with(json!({"vin": vin}))).unwrap().warnings;
    for good in ["1M8GDM9AXKP042788", "11111111111111111", "5GZCZ43D13S812715", "WAUZZZ8K9BA012345"] {
        assert!(warnings(good).is_empty(), "{good}");
    }
    let doubt = warnings("1M8GDM9A1KP042788");
    assert!(doubt.len() == 1 && doubt[0].contains("is 1, and X would be right"), "{doubt:?}");
}

#[test]
fn every_missing_param_is_named_at_once() {
    let pointers: Vec<String> = check(json!({})).unwrap_err().into_iter().map(|problem| problem.pointer).collect();
    assert_eq!(pointers, ["/params/vin", "/params/check_type", "/params/report_language"]);
    assert_eq!(check(json!([])).unwrap_err()[0].pointer, "/params");
}

#[test]
fn strange_params_are_refused() {
    assert_eq!(problem(with(json!({"colour": "red"}))).0, "/params/colour");
    assert_eq!(problem(with(json!({"token": "mine"}))).0, "/params/token");
    assert_eq!(problem(with(json!({"telegram_id": ["1"]}))).0, "/params/telegram_id");
    assert_eq!(problem(with(json!({"telegram_id": "1\n2"}))).0, "/params/telegram_id");
    for wrong in ["client", "a@b", "a@@b.ru", "a@b.ru, c@d.ru", "@b.ru"] {
        assert_eq!(problem(with(json!({ "client_email": wrong }))).0, "/params/client_email");
    }
    assert!(driver().check(BALANCE, &json!({"vin": "x"})).is_err());
    assert!(driver().check("vagvin.nothing", &json!({})).is_err());
}
