//! Answers in other charsets, and nearly JSON: what can be read is read, record by record, by every vendor's reader.

use encoding_rs::Encoding;
use opros::domain::Call;
use opros::domain::exchange::Answer;
use opros::domain::state::{End, Outcome};
use opros::vendors::{KindSpec, Reading, Vendor, Verdict, registry};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::vendors::play::{NOW, Party, answer, carry_out, params};
use crate::vendors::samples;

/// How a body travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Utf8,
    Bom,
    NulsBehind,
    Cp1251,
    Cp1251Undeclared,
    Koi8,
    Utf16,
}
use Way::{Bom, Cp1251, Cp1251Undeclared, Koi8, NulsBehind, Utf8, Utf16};

const WAYS: [Way; 7] = [Utf8, Bom, NulsBehind, Cp1251, Cp1251Undeclared, Koi8, Utf16];

fn sent(body: &str, way: Way) -> Answer {
    let encoded = |label: &str| Encoding::for_label(label.as_bytes()).unwrap().encode(body).0.into_owned();
    let (bytes, declared) = match way {
        Utf8 => (body.as_bytes().to_vec(), None),
        Bom => (format!("\u{feff}{body}").into_bytes(), Some("application/json; charset=utf-8")),
        NulsBehind => (format!("{body}\0\0\r\n").into_bytes(), None),
        Cp1251 => (encoded("windows-1251"), Some("text/html; charset=windows-1251")),
        Cp1251Undeclared => (encoded("windows-1251"), Some("application/json")),
        Koi8 => (encoded("koi8-r"), Some("application/json; charset=\"KOI8-R\"")),
        Utf16 => (body.encode_utf16().flat_map(u16::to_le_bytes).collect(), Some("text/plain;charset=utf-16le")),
    };
    Answer { content_type: declared.map(str::to_owned), ..answer(200, bytes) }
}

/// What a program may make of one text inside a record, and how it is read.
const READABLE: [(&str, &str); 12] = [
    ("Сортировка", "Сортировка"),
    ("Две\nстроки\r\n\tи табуляция", "Две\nстроки\r\n\tи табуляция"),
    ("Звонок\u{7}\u{0}", "Звонок\u{7}\u{0}"),
    (r"Половина \ud83d смайла", r"Половина \ud83d смайла"),
    (r"Вторая \udc00", r"Вторая \udc00"),
    (r"Целый \ud83d\ude00", "Целый 😀"),
    (r"Путь C:\Данные \x41", r"Путь C:\Данные \x41"),
    (r"ООО \'Ромашка\'", "ООО 'Ромашка'"),
    (r#"ООО "Ромашка""#, r#"ООО "Ромашка""#),
    (r#"ООО "Ромашка", Тверь"#, r#"ООО "Ромашка", Тверь"#),
    (r"Короткий \u12 код", r"Короткий \u12 код"),
    (r"С новой \n строки", "С новой \n строки"),
];

/// What stands behind the fields of a record, whose number the first part is.
const TAILS: [&str; 10] = [
    "",
    ",",
    r#","extra":NaN"#,
    r#","extra":-Infinity,"#,
    r#","extra":undefined"#,
    r#","extra":1e400"#,
    r#","extra":12345678901234567890123"#,
    r#","extra":0.10"#,
    r#","extra":[1,2,],"more":{"a":[],}"#,
    r#","events":[{"a":1},{"b":2},{"c":"},{"}]"#,
];

/// Records that nobody can read.
const BROKEN: [&str; 7] =
    ["{NUMBER 'x'", "\"a\":{", "\"a\":'single'", "\"a\":0123", "\"a\" 1", "\"a\":x\"y", "\"a\":\"no end"];

fn spec(kind: &str) -> (Box<dyn Vendor>, &'static KindSpec) {
    let driver = samples::open(kind.split('.').next().unwrap(), "canary-of-the-nearly");
    (driver, registry::kind(kind).unwrap())
}

fn party(kind: &str, call: Call, count: usize) -> (Box<dyn Vendor>, Party) {
    let (driver, spec) = spec(kind);
    let own = params(driver.as_ref(), spec);
    (driver, Party::new(spec, call, vec![own; count]))
}

fn read(driver: &dyn Vendor, party: &Party, answer: &Answer, told: &str) -> Reading {
    let reading = driver.read(party.call, &party.views(), answer, NOW);
    carry_out(driver, party, &reading, told);
    reading
}

/// The numbers under which the jobs of a party are known.
fn track(at: usize) -> String {
    if at == 0 { "123".to_owned() } else { format!("123{}", at + 1) }
}

fn rlab_record(at: usize, text: &str, tail: &str) -> String {
    format!(r#"{{"trackNumber":"{}","trackInfo":"{text}","trackMainStatus":4{tail}}}"#, track(at))
}

fn rlab_list(records: &[String]) -> String {
    format!(r#"{{"resultState":0," resultInfo ":"Запрос выполнен","resultData":[{}]}}"#, records.join(",\r\n"))
}

fn info(verdict: &Verdict) -> Option<&Value> {
    match verdict {
        Verdict::Seen(seen) => Some(&seen.data["info"]),
        Verdict::Outcome(_) | Verdict::Split { .. } => None,
    }
}

#[test]
fn every_oddity_in_every_charset_is_read_by_rlab_beside_a_record_that_cannot_be() {
    let (driver, party) = party("rlab.track", Call::Poll, 3);
    for (turn, way) in WAYS.into_iter().enumerate() {
        for (at, (written, meant)) in READABLE.into_iter().enumerate() {
            // Each with each in some charset; all with all would take long.
            for (step, tail) in TAILS.into_iter().enumerate().filter(|(step, _)| (turn + at + step) % 3 == 0) {
                for broken in [None, Some(BROKEN[(turn + at + step / 3) % BROKEN.len()])] {
                    let mut records = vec![rlab_record(0, written, tail), rlab_record(2, "Вручено", "")];
                    records.extend(broken.map(|broken| format!(r#"{{"trackNumber":"{}",{broken}}}"#, track(1))));
                    let body = rlab_list(&records);
                    let reading = read(driver.as_ref(), &party, &sent(&body, way), &body);
                    assert!(reading.readable && reading.account.is_none());
                    // KOI8-R and windows-1251 have no smile; it travels as an escape.
                    assert_eq!(info(&reading.verdicts[0]), Some(&json!(meant)), "{way:?} {tail} {broken:?}: {body}");
                    assert_eq!(info(&reading.verdicts[2]), Some(&json!("Вручено")), "{way:?} {broken:?}: {body}");
                    let code = match &reading.verdicts[1] {
                        Verdict::Outcome(Outcome::Unclear { reason }) => reason.code.as_str(),
                        Verdict::Outcome(Outcome::Unchanged { .. }) => "missing",
                        other => panic!("{other:?}: {body}"),
                    };
                    assert_eq!(code, if broken.is_some() { "incomplete_list" } else { "missing" }, "{way:?}: {body}");
                }
            }
        }
    }
}

fn done(verdict: &Verdict) -> (Value, String) {
    match verdict {
        Verdict::Outcome(Outcome::Ended(End::Success { result })) => {
            (serde_json::from_str(result).expect("a result is JSON"), result.clone())
        }
        other => panic!("a success was expected: {other:?}"),
    }
}

#[test]
fn a_paid_report_is_read_whatever_stands_beside_it() {
    let (driver, party) = party("tronk.report", Call::Poll, 1);
    let report = r#"{"owner":"Иванов","price":0.10,"vin":12345678901234567890123,"sum":1234567890123456.78}"#;
    let quoted = Value::from(report).to_string();
    for (turn, way) in WAYS.into_iter().enumerate() {
        for (at, (written, _)) in READABLE.into_iter().enumerate() {
            for (_, tail) in TAILS.into_iter().enumerate().filter(|(step, _)| (turn + at + step) % 3 == 0) {
                for report in [quoted.as_str(), report] {
                    let body = format!(
                        r#"{{"error":null,"status":1,"id":123,"msg":"{written}","url":"https://x/1","resultJson":{report}{tail}}}"#
                    );
                    let reading = read(driver.as_ref(), &party, &sent(&body, way), &body);
                    let (result, text) = done(&reading.verdicts[0]);
                    assert_eq!(result["report"]["owner"], "Иванов", "{way:?}: {body}");
                    for number in [":0.10,", ":12345678901234567890123,", ":1234567890123456.78}"] {
                        assert!(text.contains(number), "{number} as it is written, {way:?}: {body}: {text}");
                    }
                    assert!(!text.contains('\u{fffd}'));
                    assert_eq!(result["raw"]["check"].as_str().unwrap().trim_end_matches(['\0', '\r', '\n']), body);
                }
            }
        }
    }
}

#[test]
fn a_report_that_is_nearly_json_itself_is_read_too() {
    let (driver, party) = party("tronk.report", Call::Poll, 1);
    for (written, meant) in READABLE {
        let report = format!("\u{feff}{{\"note\":\"{written}\",\"n\":[NaN,1e400,0.10,],}}");
        let body =
            json!({ "error": null, "status": 1, "id": 123, "url": "https://x/1", "resultJson": report }).to_string();
        let (result, text) = done(&read(driver.as_ref(), &party, &sent(&body, Utf8), &body).verdicts[0]);
        assert_eq!(result["report"], json!({ "note": meant, "n": [null, "1e400", 0.1] }), "{body}");
        assert!(text.contains("0.10") || written.contains("1e400"));
    }
    // What is no JSON at all stays the text that it is.
    let body =
        json!({ "error": null, "status": 1, "id": 123, "url": "https://x/1", "resultJson": "<b>x</b>" }).to_string();
    let (result, _) = done(&read(driver.as_ref(), &party, &sent(&body, Utf8), &body).verdicts[0]);
    assert_eq!(result["report"], "<b>x</b>");
}

#[test]
fn alta_s_vehicles_and_lists_are_read_record_by_record() {
    let (driver, spec) = spec("alta.show");
    let own = params(driver.as_ref(), spec);
    let party = Party::new(spec, Call::Poll, vec![own]);
    for (turn, way) in WAYS.into_iter().enumerate() {
        for (at, (written, meant)) in READABLE.into_iter().enumerate() {
            for (step, tail) in TAILS.into_iter().enumerate().filter(|(step, _)| (turn + at + step) % 3 == 0) {
                let broken = BROKEN[(turn + at + step / 3) % BROKEN.len()];
                let good = format!(r#"{{"num":"54676515","station_name":"{written}","on_track":1{tail}}}"#);
                let body = format!(
                    r#"[{{"status":"ok","descr":"Обработан","query_status":"4"}},{{"num":"1",{broken}}},{good},{{"num":"AMFU8899067"}}]"#
                );
                let (result, _) = done(&read(driver.as_ref(), &party, &sent(&body, way), &body).verdicts[0]);
                let vehicles = &result["vehicles"];
                assert_eq!(vehicles["54676515"]["station_name"], meant.trim(), "{way:?}: {body}");
                assert_eq!(vehicles["AMFU8899067"]["num"], "AMFU8899067", "{way:?}: {body}");
                assert_eq!(result["unreadable"].as_object().map(|all| all.len()), Some(1), "{result}: {body}");
            }
        }
    }
}

/// PHP's list with holes, from a list.
fn with_holes(list: &[Value]) -> Value {
    let numbers = [0, 2, 3, 7, 11, 100];
    Value::Object(numbers.iter().zip(list).map(|(number, item)| (number.to_string(), item.clone())).collect())
}

#[test]
fn lists_with_holes_are_lists() {
    let hash = "ebc356dfa5beee7d3844ccacf535410c";
    let head = json!({ "status": "ok", "descr": "Обработан", "query_status": "4" });
    let outcome = |kind: &str, call: Call, body: Value| {
        let (driver, party) = party(kind, call, 1);
        read(driver.as_ref(), &party, &answer(200, body.to_string()), &body.to_string()).verdicts.swap_remove(0)
    };
    // show, as PHP numbers it, and with the fields of the status element beside the numbers.
    let vehicle = json!({ "num": "54676515", "on_track": 1 });
    let mut beside = head.clone();
    beside["1"] = vehicle.clone();
    for body in [with_holes(&[head.clone(), vehicle.clone()]), json!({ "0": head, "1": vehicle }), beside] {
        let (result, _) = done(&outcome("alta.show", Call::Poll, body));
        assert_eq!(result["vehicles"]["54676515"]["on_track"], 1, "{result}");
        assert_eq!(result["status"]["query_status"], "4");
    }
    // add
    let (driver, spec) = spec("alta.track");
    let mut ordered = crate::vendors::play::example(spec);
    ordered["wagons"] = json!(["54676515"]);
    let ordered = crate::vendors::play::checked(driver.as_ref(), spec, &ordered);
    let body = json!({ "0": { "status": "ok", "hash": hash } }).to_string();
    let party = Party::new(spec, Call::Submit, vec![ordered.clone()]);
    let reading = read(driver.as_ref(), &party, &answer(200, body.clone()), &body);
    assert!(matches!(&reading.verdicts[0], Verdict::Outcome(Outcome::Accepted { .. })), "{reading:?}");
    // track_list, asked for what was lost: found, or proven to be absent.
    let party = Party::new(spec, Call::LookUp, vec![ordered]);
    for (comment, found) in [("opros:token-1 x", true), ("another's", false)] {
        let line = |comment: &str| json!({ "hash": hash, "comment": comment, "status": 4 });
        let body = with_holes(&[json!({ "status": "ok" }), line("x"), line(comment)]).to_string();
        let reading = read(driver.as_ref(), &party, &answer(200, body.clone()), &body);
        match &reading.verdicts[0] {
            Verdict::Outcome(Outcome::Found { remote_id, .. }) => assert!(found && remote_id == hash),
            Verdict::Outcome(Outcome::Absent { .. }) => assert!(!found),
            other => panic!("{other:?}"),
        }
    }
    // carr_list
    let body = with_holes(&[
        json!({ "status": "ok" }),
        json!({ "group_id": 7, "carrs": { "0": "54676515", "2": "AMFU8899067" } }),
    ]);
    let (result, _) = done(&outcome("alta.carr_list", Call::Submit, body));
    assert_eq!(result["carrs"], json!(["54676515", "AMFU8899067"]));
    // R-Lab
    let item = json!({ "trackNumber": "123", "trackMainStatus": 4, "trackInfo": "x" });
    for data in [with_holes(std::slice::from_ref(&item)), json!({ "1": item }), json!({ "3": item }).to_string().into()]
    {
        let body = json!({ "resultState": 0, "resultInfo": "", "resultData": data });
        assert_eq!(info(&outcome("rlab.track", Call::Poll, body)), Some(&json!("x")));
    }
    // PHP's empty list, made an object: nothing is there, and it proves nothing to a look-up.
    let body = json!({ "resultState": 0, "resultInfo": "", "resultData": {} });
    let polled = outcome("rlab.track", Call::Poll, body.clone());
    assert!(matches!(polled, Verdict::Outcome(Outcome::Unchanged { .. })), "{polled:?}");
    let looked_up = outcome("rlab.track", Call::LookUp, body);
    assert!(matches!(looked_up, Verdict::Outcome(Outcome::Unclear { .. })), "{looked_up:?}");
    // Tronk's blocks
    let block = |complete: bool| json!({ "IsComplete": complete, "IsCancel": false });
    for (all, settled) in [([true, true], true), ([true, false], false)] {
        let blocks = with_holes(&all.map(block));
        let task = json!({ "ID": 123, "Status": 1, "StatusServices": blocks });
        let read = outcome("tronk.report_json", Call::Poll, json!({ "Error": false, "Task": task }));
        let progressed = matches!(read, Verdict::Outcome(Outcome::Progressed { .. }));
        assert_eq!(progressed, settled, "{read:?}");
    }
    // VagVin, whose lists of one are unwrapped
    let body = json!({ "0": { "error": "Марка не поддерживается" } });
    let refused = outcome("vagvin.report", Call::Submit, body);
    assert!(matches!(refused, Verdict::Outcome(Outcome::Accepted { .. } | Outcome::Ended(End::Failure { .. }))));
}

#[test]
fn words_in_a_declared_charset_are_understood() {
    let held = |kind: &str, body: &str, way: Way| {
        let (driver, party) = party(kind, Call::Submit, 1);
        let reading = read(driver.as_ref(), &party, &sent(body, way), body);
        assert!(reading.account.is_some(), "{kind} {way:?}: {reading:?}");
        assert!(!format!("{reading:?}").contains('\u{fffd}'));
    };
    for way in WAYS {
        held("tronk.report", r#"{"error":true,"error_msg":"Закончился доступ или запросы"}"#, way);
        held("alta.track", r#"[{"status":"error","descr":"Недостаточно средств на счету"}]"#, way);
        held("rlab.track", r#"{"resultState":2,"resultInfo":"Некорректный ключ запроса"}"#, way);
        held("vagvin.report", r#"{"error":"Неверный токен доступа"}"#, way);
    }
}

#[derive(Debug, Clone)]
struct Record {
    text: usize,
    tail: usize,
    broken: Option<usize>,
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (0..READABLE.len(), 0..TAILS.len(), prop::option::weighted(0.2, 0..BROKEN.len()))
        .prop_map(|(text, tail, broken)| Record { text, tail, broken });
    prop::collection::vec(record, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However many records of a batch are odd or broken: each that can be read is.
    #[test]
    fn no_readable_record_is_lost_beside_unreadable_ones(records in records(), way in 0..WAYS.len()) {
        let (driver, party) = party("rlab.track", Call::Poll, records.len());
        let written: Vec<String> = records.iter().enumerate().map(|(at, record)| match record.broken {
            Some(broken) => format!(r#"{{"trackNumber":"{}",{}}}"#, track(at), BROKEN[broken]),
            None => rlab_record(at, READABLE[record.text].0, TAILS[record.tail]),
        }).collect();
        let body = rlab_list(&written);
        let reading = read(driver.as_ref(), &party, &sent(&body, WAYS[way]), &body);
        let none_is_whole = records.iter().all(|record| record.broken.is_some());
        for (record, verdict) in records.iter().zip(&reading.verdicts) {
            match record.broken {
                None => prop_assert_eq!(info(verdict), Some(&json!(READABLE[record.text].1)), "{}", body),
                Some(_) => prop_assert!(matches!(verdict, Verdict::Outcome(Outcome::Unclear { .. })), "{:?}: {}", verdict, body),
            }
        }
        prop_assert_eq!(reading.readable, !none_is_whole, "{}", body);
    }
}
