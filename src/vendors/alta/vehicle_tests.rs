use super::*;
use crate::vendors::lenient::parse;

const SHOW: &str = include_str!("fixtures/show_container.json");

fn read(text: &str) -> Dislocation {
    let Some(Value::Array(mut all)) = parse(text) else { panic!("no array: {text}") };
    let head = all.remove(0);
    Dislocation::read(&head, all)
}

fn one(record: Value) -> Dislocation {
    Dislocation::read(&json!({ "status": "ok" }), vec![record])
}

#[test]
fn the_documented_container_is_read_field_by_field() {
    let found = read(SHOW);
    assert_eq!(found.query_status, Some(4));
    let vehicle = &found.vehicles["AMFU8899067"];
    assert_eq!((vehicle.on_track, vehicle.lon, vehicle.lat), (Some(0), Some(40.764762), Some(55.498762)));
    assert_eq!(vehicle.station.as_deref(), Some("24160"));
    assert_eq!(vehicle.operation.as_deref(), Some("ПРИБЫТИЕ С ПОЕЗДОМ НА СТАНЦИЮ"));
    assert_eq!((&vehicle.owner, &vehicle.nakl_nom, &vehicle.route_start_date), (&None, &None, &None));
    assert!(vehicle.extra.is_empty());
}

#[test]
fn what_nobody_knows_is_kept_and_counts_as_data() {
    let before = one(json!({ "num": "54676515", "dest_station": "12345" }));
    let after = one(json!({ "num": "54676515", "dest_station": "54321" }));
    assert_eq!(before.data()["vehicles"]["54676515"]["dest_station"], "12345");
    assert_ne!(before.fingerprint(), after.fingerprint());
}

#[test]
fn a_known_field_of_a_strange_type_stays_as_it_came() {
    let found = one(json!({ "num": 54676515, "station": { "code": "24160" }, "lon": "east" }));
    let data = &found.data()["vehicles"]["54676515"];
    assert_eq!(data["station"], json!({ "code": "24160" }));
    assert_eq!(data["lon"], "east");
}

#[test]
fn the_same_fact_in_another_dress_is_no_change() {
    let one_way =
        one(json!({ "num": "54676515", "on_track": "1", "lon": "40.5", "owner": null, "x": "", "station": "24160 " }));
    let another = one(json!({ "station": 24160, "lon": 40.5, "on_track": 1, "num": "54676515", "nakl_nom": "" }));
    assert_eq!(one_way.fingerprint(), another.fingerprint());
    let mut processing = another.clone();
    processing.query_status = Some(2);
    assert_eq!(another.fingerprint(), processing.fingerprint());
}

#[test]
fn records_without_a_number_or_with_the_same_one_are_not_lost() {
    let found = Dislocation::read(
        &json!({}),
        vec![json!({ "num": "54676515" }), json!({ "num": "54676515" }), json!({ "station": "1" }), json!("noise")],
    );
    assert_eq!(found.vehicles.keys().collect::<Vec<_>>(), ["#3", "54676515", "54676515#2"]);
}

#[test]
fn changes_name_vehicles_and_fields_with_both_values() {
    let before = one(json!({ "num": "54676515", "station": "24160", "operation": "ПРИБЫТИЕ" })).data();
    let after = one(json!({ "num": "54676515", "station": "24170", "operation": "ПРИБЫТИЕ" })).data();
    assert_eq!(
        changes(Some(&before), &after),
        json!({ "vehicles": { "54676515": { "station": { "from": "24160", "to": "24170" } } } })
    );
    assert_eq!(changes(None, &after)["vehicles"]["54676515"]["station"], json!({ "from": null, "to": "24170" }));
    let gone = json!({ "vehicles": {} });
    assert_eq!(changes(Some(&after), &gone)["vehicles"]["54676515"]["num"], json!({ "from": "54676515", "to": null }));
    assert_eq!(changes(Some(&after), &after), json!({ "vehicles": {} }));
}

#[test]
fn vehicles_behind_a_refused_hash_have_not_gone() {
    let mut after = one(json!({ "num": "54676515" }));
    after.unreadable.insert("h".into(), "why".into());
    let before = one(json!({ "num": "54676515" })).join(one(json!({ "num": "AMFU8899067" }))).data();
    let found = changes(Some(&before), &after.data());
    assert_eq!(found, json!({ "vehicles": {}, "unreadable": { "from": null, "to": { "h": "why" } } }));
}

#[test]
fn a_station_is_met_with_and_without_its_check_digit() {
    let at = |station: &str| Vehicle { station: Some(station.into()), ..Vehicle::default() }.is_at("24160");
    assert!(at("24160") && at("241608"));
    assert!(!at("24161") && !at("2416") && !at("24160999"));
}
