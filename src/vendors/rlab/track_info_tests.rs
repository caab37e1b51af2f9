use super::*;
use crate::vendors::rlab::tests::{FIRST, SECOND, answer};
use crate::vendors::salvage::Last;

fn reply(body: &str) -> Reply {
    Reply::read(&answer(body), Last::IsBroken).unwrap_or_else(|reason| panic!("{reason:?}"))
}

fn one(item: Value) -> Sight {
    sight("X1", &item)
}

#[test]
fn the_documented_sample_is_read_and_taken_apart() {
    let reply = reply(include_str!("fixtures/gettrackinfo.json"));
    let items = Items::of(&reply).expect("a list");
    assert!(items.complete);
    let first = sight(FIRST, items.get(FIRST).expect("the first track"));
    assert_eq!(
        first.data,
        json!({
            "track": FIRST,
            "status": 0,
            "status_name": "none",
            "status_text": "отсутствует основной статус",
            "info": "Операция:Обработка\r\nДата:24.06.2013 0:00:00\r\nМесто проведения операции:Мытищи СЦ\r\nАтрибут операции:Покинуло сортировочный центр\r\nИндекс:141027\r\n",
            "parsed": {
                "operation": "Обработка",
                "date": "2013-06-23T20:00:00.000Z",
                "date_text": "24.06.2013 0:00:00",
                "place": "Мытищи СЦ",
                "attribute": "Покинуло сортировочный центр",
                "index": "141027",
            },
            "trackCreateDate": "28.11.2014 12:50:04",
            "create_date": "2014-11-28T09:50:04.000Z",
            "trackUpdateDate": "27.11.2014 19:54:00",
            "update_date": "2014-11-27T16:54:00.000Z",
        })
    );
    let second = sight(SECOND, items.get(SECOND).expect("the second track"));
    // The vendor's own sample lost the break before the index.
    assert_eq!(second.data["parsed"]["attribute"], "Сортировка");
    assert_eq!(second.data["parsed"]["index"], "104001");
}

#[test]
fn the_newer_form_keeps_its_phrase_and_every_new_field_but_the_echoes() {
    let reply = reply(include_str!("fixtures/gettrackinfo_newer.json"));
    let items = Items::of(&reply).expect("a list");
    let sight = sight(FIRST, items.get(FIRST).expect("the track"));
    assert_eq!(
        sight.data,
        json!({
            "track": FIRST,
            "status": 4,
            "status_name": "in_transit",
            "status_text": "прием почтовым отделением (посылка в пути)",
            "info": "Приём отправления почтовым отделением",
            "trackCreateDate": "28.11.2017 12:50:04",
            "create_date": "2017-11-28T09:50:04.000Z",
            "trackUpdateDate": null,
            "update_date": null,
            "trackEventDate": "29.11.2017 9:05:00",
            "event_date": "2017-11-29T06:05:00.000Z",
            "trackRecepDate": "29.11.2017 09:05:00",
            "recep_date": "2017-11-29T06:05:00.000Z",
            "trackExtraData": null,
            "trackAdditionalStatus": 0,
        })
    );
}

#[test]
fn numbers_are_compared_without_regard_to_blanks_and_case() {
    let body = r#"{"resultState":0,"resultInfo":"","resultData":[{"trackNumber":" rr473124829ru "}]}"#;
    let reply = reply(body);
    assert!(Items::of(&reply).is_ok_and(|items| items.get("RR473124829RU").is_some()));
}

#[test]
fn of_two_items_with_one_number_the_later_update_counts() {
    let (old, new) = (
        json!({"trackNumber": "X1", "trackUpdateDate": "01.01.2024 00:00:00", "trackMainStatus": 4}),
        json!({"trackNumber": "X1", "trackUpdateDate": "02.01.2024 00:00:00", "trackMainStatus": 1}),
    );
    for list in [json!([old, new]), json!([new, old])] {
        let reply = reply(&json!({"resultState": 0, "resultData": list}).to_string());
        let items = Items::of(&reply).expect("a list");
        assert_eq!(items.get("X1"), Some(&new));
    }
}

#[test]
fn the_data_may_be_null_an_array_an_object_or_json_in_a_string() {
    let table = [
        (json!({"resultState": 0, "resultData": null}), Some((false, false))),
        (json!({"resultState": 0, "resultData": ""}), Some((false, false))),
        (json!({"resultState": 0, "resultData": []}), Some((true, false))),
        (json!({"resultState": 0, "resultData": {"trackNumber": "X1"}}), Some((true, true))),
        (json!({"resultState": 0, "resultData": "[{\"trackNumber\":\"X1\"}]"}), Some((true, true))),
        (json!({"resultState": 1, "resultData": [{"trackNumber": "X1"}]}), Some((false, true))),
        (json!({"resultState": 0, "resultData": [{"trackNumber": "X1"}, 7]}), Some((false, true))),
        (json!({"resultState": 0}), None),
        (json!({"resultState": 0, "resultData": 7}), None),
        (json!({"resultState": 0, "resultData": "oops"}), None),
    ];
    for (body, expected) in table {
        let reply = reply(&body.to_string());
        let found = Items::of(&reply).ok().map(|items| (items.complete, items.get("X1").is_some()));
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn only_the_date_of_the_last_update_is_no_news() {
    let item = json!({"trackNumber": "X1", "trackInfo": "Приём", "trackMainStatus": 4, "trackUpdateDate": null});
    let changed = |name: &str, value: Value| {
        let mut item = item.clone();
        item[name] = value;
        one(item).fingerprint
            != one(json!({"trackNumber": "X1", "trackInfo": "Приём", "trackMainStatus": 4})).fingerprint
    };
    assert!(!changed("trackUpdateDate", json!("27.11.2014 19:54:00")));
    assert!(!changed("trackingUserClientPhone", json!("79000000000")));
    assert!(!changed("trackMainStatus", json!("4")));
    assert!(changed("trackInfo", json!("Вручено")));
    assert!(changed("trackMainStatus", json!(5)));
    assert!(changed("trackAdditionalStatus", json!(3)));
    assert!(changed("trackEventDate", json!("27.11.2014 19:54:00")));
}

#[test]
fn a_status_that_the_table_lacks_is_kept_and_called_unknown() {
    let sight = one(json!({"trackMainStatus": 12}));
    assert_eq!((sight.status, &sight.data["status_name"]), (Some(12), &json!("unknown")));
    let sight = one(json!({"trackMainStatus": "вручено?"}));
    assert_eq!((sight.status, &sight.data["trackMainStatus"]), (None, &json!("вручено?")));
}

#[test]
fn info_of_another_form_is_not_taken_apart() {
    for info in ["Приём отправления", "Операция:x Индекс:1", "Дата:1 Операция:2", ""]
    {
        assert!(one(json!({"trackInfo": info})).data.get("parsed").is_none(), "{info}");
    }
}
