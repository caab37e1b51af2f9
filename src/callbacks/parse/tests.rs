use proptest::prelude::*;

use super::*;

const VIN: &str = "WAUZZZ8K9BA012345";
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json; charset=utf-8");
const MULTIPART: Option<&str> = Some("multipart/form-data; boundary=----b");

fn read(content_type: Option<&str>, body: impl AsRef<[u8]>) -> Result<Callback, ParseError> {
    parse(content_type, &Bytes::copy_from_slice(body.as_ref()), &Limits::DEFAULT)
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend_from_slice(b"------b\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(headers.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"------b--\r\n");
    body
}

/// What every form of the same call-back has to say.
fn assert_facts(callback: &Callback) {
    assert_eq!(callback.vin.as_deref(), Some(VIN));
    assert_eq!(callback.check_type.as_deref(), Some("check_elsa_pro_full"));
    assert_eq!(callback.status.as_deref(), Some("done"));
    assert_eq!(callback.url.as_deref(), Some("https://vagvin.example/r/1.pdf"));
    assert_eq!(callback.ids, ["vv-1"]);
    assert_eq!(callback.error, None);
}

#[test]
fn the_same_facts_are_read_from_every_form() {
    let plain = json!({"vin": VIN, "check_type": "check_elsa_pro_full", "status": "done",
        "url": "https://vagvin.example/r/1.pdf", "uid": "vv-1"});
    let form = format!(
        "vin={VIN}&check_type=check_elsa_pro_full&status=done&url=https%3A%2F%2Fvagvin.example/r/1.pdf&uid=vv-1"
    );
    let parts: Vec<(String, String)> = plain
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (format!("name=\"{name}\""), value.as_str().unwrap().to_owned()))
        .collect();
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(head, value)| (head.as_str(), value.as_bytes())).collect();
    let loose = r#" {" VIN ": " wаuzzz 8к9ва012345", "Check_Type": "CHECK_elsa_pro_full", "STATUS": "done", "vin2": 1, "error": false,
        "url": "", "Link": "https://vagvin.example/r/1.pdf", "order_uuid": "vv-1"}"#;
    for (content_type, body) in [
        (JSON, plain.to_string()),
        (None, plain.to_string()),
        (Some("text/plain"), plain.to_string()),
        (FORM, plain.to_string()),
        (JSON, json!([plain]).to_string()),
        (JSON, json!(plain.to_string()).to_string()),
        (JSON, format!("\u{feff}{plain}\n")),
        (JSON, json!({"data": plain}).to_string()),
        (JSON, json!({"Data": plain.to_string()}).to_string()),
        (JSON, json!({"ok": true, "data": {"data": [plain]}}).to_string()),
        (JSON, loose.to_owned()),
        (FORM, form.clone()),
        (None, form.clone()),
        (Some("text/plain; charset=utf-8"), form),
        (FORM, format!("data={}", plain.to_string().replace('"', "%22").replace(' ', "+"))),
    ] {
        assert_facts(&read(content_type, body).unwrap());
    }
    let body = multipart(&parts);
    for content_type in [MULTIPART, None, Some("text/plain"), Some("multipart/form-data")] {
        assert_facts(&read(content_type, &body).unwrap());
    }
    let nested = plain.to_string();
    assert_facts(&read(MULTIPART, multipart(&[("name=\"data\"", nested.as_bytes())])).unwrap());
    let typed = multipart(&[("name=\"data\"\r\nContent-Type: application/json", nested.as_bytes())]);
    assert_facts(&read(MULTIPART, typed).unwrap());
}

#[test]
fn everything_else_is_kept() {
    let callback = read(JSON, r#"{"vin": "x", "mileage": 12, "data": "{\"a\": [1, null]}", "n": null}"#).unwrap();
    assert_eq!(Value::Object(callback.fields), json!({"vin": "x", "mileage": 12, "data": {"a": [1, null]}, "n": null}));
    let callback = read(FORM, "a=1&a=2&a=3&b&c=%D0%B9+%zz&=&a%5B%5D=x").unwrap();
    assert_eq!(
        Value::Object(callback.fields),
        json!({"a": ["1", "2", "3"], "b": "", "c": "й %zz", "": "", "a[]": "x"})
    );
    assert_eq!(Value::Object(read(JSON, "[1, {\"a\": 2}]").unwrap().fields), json!({"items": [1, {"a": 2}]}));
    assert_eq!(Value::Object(read(JSON, "\"done\"").unwrap().fields), json!({"value": "done"}));
}

#[test]
fn files_come_whole_with_harmless_names_told_apart() {
    let pdf = b"%PDF-1.7\r\n\xff\x00\r\n------\r\n%%EOF";
    let callback = read(
        MULTIPART,
        multipart(&[
            ("name=\"vin\"", VIN.as_bytes()),
            ("name=\"f\"; filename=\"../../etc/cron.d/Отчёт.pdf\"\r\nContent-Type: Application/PDF; x=1", pdf),
            ("name=\"f\"; filename=\"C:\\отчёт.PDF\"\r\nContent-Type: text/html\r\nX-Evil: 1", b"<html>"),
            ("name=\"empty\"; filename=\"\"", b""),
            ("name=\"bytes\"", b"\xff\xfe\x00"),
            ("name=\"p\"\r\nContent-Type: application/pdf", b"%PDF"),
            ("name=\"q\"; filename=\"..\"\r\nContent-Type: <script>", b"?"),
        ]),
    )
    .unwrap();
    let files: Vec<(&str, Option<&str>)> =
        callback.files.iter().map(|file| (file.name.as_str(), file.content_type.as_deref())).collect();
    assert_eq!(
        files,
        [
            ("Отчёт.pdf", Some("application/pdf")),
            ("отчёт (2).PDF", Some("text/html")),
            ("bytes", None),
            ("p", Some("application/pdf")),
            ("file", None),
        ]
    );
    assert_eq!(&callback.files[0].bytes[..], pdf);
    assert_eq!(Value::Object(callback.fields), json!({ "vin": VIN }));
}

#[test]
fn a_bare_document_is_a_file() {
    for (content_type, body, name) in [
        (Some("application/pdf"), "%PDF-1.4 a=b", "callback.pdf"),
        (None, "%PDF-1.4", "callback.pdf"),
        (Some("application/octet-stream"), "%PDF-1.4 =", "callback.pdf"),
        (Some("text/html; charset=utf-8"), "<html>", "callback.html"),
        (Some("image/png"), "--x\r\ncontent-disposition", "callback"),
        (None, "hello there", "callback"),
        (Some("text/plain"), "{not json", "callback"),
    ] {
        let callback = read(content_type, body).unwrap();
        assert_eq!((callback.files.len(), callback.files[0].name.as_str()), (1, name), "{body}");
        assert_eq!(callback.files[0].bytes, body);
    }
}

#[test]
fn errors_and_addresses_are_believed_only_when_they_are_some() {
    let error = |body: &str| read(JSON, body).unwrap().error;
    assert_eq!(error(r#"{"error": "VIN не найден"}"#).as_deref(), Some("VIN не найден"));
    assert_eq!(error(r#"{"data": {"Error": true, "message": "нет"}}"#).as_deref(), Some("нет"));
    for none in [r#"{"error": null}"#, r#"{"error": "0"}"#, r#"{"error": []}"#, r#"{"error": "None"}"#, "{}"] {
        assert_eq!(error(none), None, "{none}");
    }
    let url = |url: &str| read(JSON, json!({ "url": url }).to_string()).unwrap().url;
    assert_eq!(url("HTTPS://a.example/x").as_deref(), Some("HTTPS://a.example/x"));
    for none in ["javascript:alert(1)", "file:///etc/passwd", "/r/1.pdf", "https://", "", "x https://a"] {
        assert_eq!(url(none), None, "{none}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    assert_eq!(read(JSON, ""), Err(ParseError::Empty));
    assert_eq!(read(None, " \r\n"), Err(ParseError::Empty));
    assert!(matches!(read(JSON, r#"{"vin": "#), Err(ParseError::NoJson(_))));
    assert!(matches!(read(MULTIPART, "------b\r\n"), Ok(callback) if callback == Callback::default()));
    assert!(matches!(read(MULTIPART, "------b\r\n\r\nx"), Err(ParseError::Multipart(Broken::Unfinished))));
    assert!(matches!(read(MULTIPART, "vin=1"), Err(ParseError::Multipart(Broken::NoFirstBoundary))));
}

#[test]
fn the_limits_hold_wherever_the_bomb_is_hidden() {
    let limits = Limits { body: 100_000, file: 1000, parts: 3, values: 100, depth: 5, headers: 200, text: 100_000 };
    let small = |content_type, body: Vec<u8>| parse(content_type, &Bytes::from(body), &limits);
    let too_much = |content_type, body: Vec<u8>| match small(content_type, body) {
        Err(ParseError::TooMuch { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let wide = format!("[{}0]", "0,".repeat(200));
    let deep = format!("{}{}", "[".repeat(50), "]".repeat(50));
    assert_eq!(too_much(JSON, vec![b'x'; 100_001]), "bytes");
    assert_eq!(too_much(None, vec![b'x'; 1001]), "bytes in a file");
    assert_eq!(too_much(JSON, wide.clone().into()), "JSON values");
    assert_eq!(too_much(JSON, deep.clone().into()), "levels of JSON");
    assert_eq!(too_much(JSON, json!(wide).to_string().into()), "JSON values");
    assert_eq!(too_much(JSON, json!({ "data": wide }).to_string().into()), "JSON values");
    assert_eq!(too_much(JSON, json!({"data": {"data": deep}}).to_string().into()), "levels of JSON");
    assert_eq!(too_much(FORM, format!("data={wide}").into()), "JSON values");
    assert_eq!(too_much(FORM, "a=1&".repeat(101).into()), "fields");
    assert_eq!(too_much(MULTIPART, multipart(&[("name=\"data\"", wide.as_bytes())])), "JSON values");
    assert_eq!(too_much(MULTIPART, multipart(&[("name=\"f\"; filename=\"x\"", &[0; 1001])])), "bytes in a file");
    let four = multipart(&[("name=\"a\"", b"1"), ("name=\"a\"", b"1"), ("name=\"a\"", b"1"), ("name=\"a\"", b"1")]);
    assert_eq!(small(MULTIPART, four), Err(ParseError::Multipart(Broken::TooManyParts(3))));
    // A long text in JSON is no bomb.
    let page = json!({"vin": VIN, "html": "<p>,[{".repeat(10_000)}).to_string();
    assert_eq!(small(JSON, page.into()).unwrap().vin.as_deref(), Some(VIN));
}

#[test]
fn repeats_have_one_fingerprint_and_other_content_another() {
    let with = |boundary: &str, content: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"r.pdf\"\r\n\r\n{content}\r\n--{boundary}--"
        );
        read(Some(&format!("multipart/form-data; boundary={boundary}")), body).unwrap().fingerprint()
    };
    assert_eq!(with("a", "one"), with("b", "one"));
    assert_ne!(with("a", "one"), with("a", "two"));
    let json = |body: &str| read(JSON, body).unwrap().fingerprint();
    assert_eq!(json(r#"{"vin": "a", "status": "b"}"#), json(r#"{ "status":"b","vin":"a" }"#));
    assert_ne!(json(r#"{"vin": "a"}"#), json(r#"{"vin": "b"}"#));
}

proptest! {
    #[test]
    fn no_body_of_any_type_makes_it_panic(
        content_type in prop::option::of(prop_oneof![
            Just("application/json".to_owned()),
            Just("application/x-www-form-urlencoded".to_owned()),
            Just("multipart/form-data; boundary=b".to_owned()),
            Just("multipart/form-data".to_owned()),
            ".{0,30}",
        ]),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            r#"(\{|\}|\[|\]|"|data|:|,|\\|vin|url|error|1|null| ){0,60}"#.prop_map(String::into_bytes),
            "(--b|\r\n|Content-Disposition: form-data; name=\"data\"|; filename=\"|\\{|\"|/|\\.\\.|x){0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let limits = Limits { body: 250, file: 100, parts: 4, values: 30, depth: 4, headers: 80, text: 250 };
        if let Ok(callback) = parse(content_type.as_deref(), &Bytes::from(body), &limits) {
            let _ = callback.fingerprint();
            prop_assert!(callback.files.len() <= 4);
            for file in &callback.files {
                prop_assert!(file.bytes.len() <= 100);
                prop_assert!(!file.name.is_empty() && !file.name.contains(['/', '\\']) && !file.name.starts_with('.'));
            }
        }
    }
}

#[test]
fn text_that_would_become_part_of_a_result_is_limited_and_files_are_not() {
    let limits = Limits { text: 100, ..Limits::DEFAULT };
    let long = "x".repeat(200);
    for (kind, body) in [
        ("application/json", format!("{{\"a\":\"{long}\"}}")),
        ("application/x-www-form-urlencoded", format!("a={long}")),
        (
            "multipart/form-data; boundary=b",
            format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{long}\r\n--b--"),
        ),
    ] {
        assert!(
            matches!(parse(Some(kind), &body.into(), &limits), Err(ParseError::TooMuch { limit: 100, .. })),
            "{kind}"
        );
    }
    assert_eq!(parse(Some("application/pdf"), &long.clone().into(), &limits).unwrap().files[0].bytes, long);
    assert_eq!(unread(Some("application/json"), &long.into()).files[0].name, "callback");
}
