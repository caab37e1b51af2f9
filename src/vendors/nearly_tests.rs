use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Option<Value> {
    let mended = mended(text, Long::Text)?;
    Some(serde_json::from_str(&mended).unwrap_or_else(|error| panic!("{error}: {mended} of {text}")))
}

#[test]
fn what_can_be_read_in_one_way_only_is_read() {
    let table = [
        ("{\"a\":\"x\ny\r\n\tz\u{1}\0\u{7f}\"}", json!({ "a": "x\ny\r\n\tz\u{1}\0\u{7f}" })),
        (r#"{"a":"\ud83d"}"#, json!({ "a": "\\ud83d" })),
        (r#"{"a":"\udc00\ud800!"}"#, json!({ "a": "\\udc00\\ud800!" })),
        (r#"{"a":"\ud83d\ud83d\ude00"}"#, json!({ "a": "\\ud83d😀" })),
        (r#"{"a":"\uD83D\uDE00\u0041"}"#, json!({ "a": "😀A" })),
        (r#"{"a":"\u12"}"#, json!({ "a": "\\u12" })),
        (r#"{"a":"\u12я4"}"#, json!({ "a": "\\u12я4" })),
        (r#"{"a":"C:\Data \x41 it\'s"}"#, json!({ "a": "C:\\Data \\x41 it's" })),
        (r#"{"\ud800":"\\ud800"}"#, json!({ "\\ud800": "\\ud800" })),
        (
            "{\"a\":NaN,\"b\":-Infinity,\"c\":undefined,\"d\":TRUE,\"e\":None}",
            json!({ "a": null, "b": "-Infinity", "c": null, "d": true, "e": null }),
        ),
        ("[1e400,-1E+999]", json!(["1e400", "-1E+999"])),
        ("[1,2,]", json!([1, 2])),
        ("[,1,,2]", json!([1, 2])),
        ("{\"a\":{\"b\":[],},}", json!({ "a": { "b": [] } })),
        ("\u{feff}\u{feff} {\"a\":1}\u{0}\u{0}\n\u{feff}", json!({ "a": 1 })),
        ("\0{\u{a0}\"a\"\u{feff}:\u{b}1\u{c}}", json!({ "a": 1 })),
        (
            "{\"n\":12345678901234567890123,\"m\":1234567890123456.78}",
            json!({ "n": "12345678901234567890123", "m": "1234567890123456.78" }),
        ),
        (
            "[0.10,1.0,1e3,18446744073709551615,-9223372036854775808,0.1]",
            json!([0.1, 1.0, 1e3, 18_446_744_073_709_551_615_u64, i64::MIN, 0.1]),
        ),
        (r#"{"a":"ООО "Ромашка", г. Москва","b":1}"#, json!({ "a": "ООО \"Ромашка\", г. Москва", "b": 1 })),
        (r#"{"a":"сказал "да"","b":["x "y" z","w"]}"#, json!({ "a": "сказал \"да\"", "b": ["x \"y\" z", "w"] })),
        ("NaN", Value::Null),
    ];
    for (text, value) in table {
        assert_eq!(read(text), Some(value), "{text}");
    }
}

#[test]
fn what_breaks_off_or_means_two_things_is_not_read() {
    let table = [
        "",
        " ",
        "\0",
        "{",
        "{\"",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "[1",
        "[1,",
        "{\"a\":\"x",
        "{\"a\":\"x\\",
        "{\"a\":\"\\ud83d",
        "[{\"n\":1,\"a\" 1},{\"n\":2}]",
        "[{\"n\":1,\"a\":\"x\" y},{\"n\":2}]",
        "[{\"n\":1,\"a\":\"no end},{\"n\":2}]",
        "{a:1}",
        "{'a':1}",
        "{\"a\":0123}",
        "{\"a\":0x7b}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{}{}",
        "{} x",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{/*x*/\"a\":1}",
        "[1}",
        "{\"a\":1]",
        ":",
        "\\",
        "ok",
        "callback({})",
        "{\0}",
    ];
    for text in table {
        assert_eq!(mended(text, Long::Text), None, "{text}");
    }
    assert_eq!(mended(&"[".repeat(100_000), Long::Text), None);
    assert_eq!(mended(&format!("[\"{}\"]", "\0".repeat(8 << 20)), Long::Text), None, "it would grow sixfold");
}

#[test]
fn numbers_stay_as_they_are_where_they_are_only_read_by_people() {
    let text = r#"{"n":12345678901234567890123,"m":0.10,"o":1e400}"#;
    assert_eq!(mended(text, Long::Number).as_deref(), Some(text));
    assert!(has_long_numbers(text) && !has_long_numbers(r#"{"a":"12345678901234567890123","b":123456.789,"c":[1,2]}"#));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (any::<i32>(), 0..9).prop_map(|(n, places)| Value::from(f64::from(n) / 10_f64.powi(places))),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn json_means_what_it_meant_before(value in json_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let mended = mended(&text, Long::Number).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&mended).unwrap(), value.clone());
        }
    }

    #[test]
    fn whatever_is_mended_is_json(text in "[\\[\\]{}\",:0-9a-z\\\\u\u{0}-\u{20}eENI.+-]{0,60}") {
        if let Some(mended) = mended(&text, Long::Text) {
            prop_assert!(serde_json::from_str::<Value>(&mended).is_ok(), "{} of {}", mended, text);
        }
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let read = read(&text);
            prop_assert!(read.is_some(), "{}", value);
        }
    }

    #[test]
    fn a_text_that_breaks_off_is_never_mended(value in json_value(), cut in any::<prop::sample::Index>()) {
        let text = json!([value]).to_string();
        let mut at = cut.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        prop_assert_eq!(mended(&text[..at], Long::Text), None);
    }
}
