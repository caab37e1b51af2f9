//! Encoders that go over a text one after the other, as vendors' programs do, and what may be read of it afterwards.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Masker, Masks, Stream};
use crate::domain::exchange::hex;

fn masker(secrets: &[&str]) -> Masker {
    Masker::new(secrets.iter().copied())
}

/// What may go over a text before it reaches us. The number in it decides about each character.
#[derive(Debug, Clone, Copy)]
enum Encoder {
    /// serde, PHP with `JSON_UNESCAPED_SLASHES`.
    Json,
    /// PHP: `\/`, and every letter that is not ASCII as `\uXXXX`.
    Php,
    /// Any character as `\uXXXX`, in any case.
    Numbers(u64),
    /// Any byte as `%XX`, in any case.
    Percent(u64),
    Form,
    /// Signs by name.
    Html,
    /// Any character as `&#N;` or `&#xN;`, with leading zeros.
    Entities(u64),
}

/// Decides about the character of this number.
fn dice(seed: u64, index: usize) -> u64 {
    let mixed = seed.wrapping_add(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn in_some_case(text: String, dice: u64) -> String {
    text.char_indices()
        .map(|(at, c)| if dice >> (at % 16) & 1 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect()
}

fn unit(unit: u16, dice: u64) -> String {
    format!("\\u{}", in_some_case(format!("{unit:04x}"), dice))
}

fn as_units(c: char, dice: u64) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|half| unit(*half, dice)).collect()
}

impl Encoder {
    fn encode(self, text: &str) -> String {
        let each = |one: &dyn Fn(usize, char) -> String| text.chars().enumerate().map(|(n, c)| one(n, c)).collect();
        match self {
            Encoder::Json => each(&|_, c| bare(c)),
            Encoder::Php => each(&|_, c| match c {
                '/' => "\\/".to_owned(),
                c if !c.is_ascii() => as_units(c, 0),
                c => bare(c),
            }),
            Encoder::Numbers(seed) => each(&|n, c| match dice(seed, n) {
                dice if dice % 3 == 0 => as_units(c, dice >> 8),
                _ => bare(c),
            }),
            Encoder::Percent(seed) => each(&|n, c| match dice(seed, n) {
                dice if dice % 3 == 0 || "%+ &=".contains(c) => {
                    let bytes = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02x}")).collect();
                    in_some_case(bytes, dice >> 8)
                }
                _ => c.to_string(),
            }),
            Encoder::Form => url::form(text),
            Encoder::Html => each(&|_, c| match c {
                '&' => "&amp;".to_owned(),
                '<' => "&lt;".to_owned(),
                '>' => "&gt;".to_owned(),
                '"' => "&quot;".to_owned(),
                '\'' => "&apos;".to_owned(),
                c => c.to_string(),
            }),
            Encoder::Entities(seed) => each(&|n, c| match dice(seed, n) {
                dice if dice % 4 == 0 => format!("&#{:0>1$};", c as u32, (dice >> 8) as usize % 8),
                dice if dice % 4 == 1 || c == '&' => {
                    format!("&#x{};", in_some_case(format!("{:04x}", c as u32), dice >> 8))
                }
                _ => c.to_string(),
            }),
        }
    }

    /// What a program that expects this encoding makes of a text; what is wrong in it stays as it is.
    fn decode(self, text: &str) -> String {
        match self {
            Encoder::Json | Encoder::Php | Encoder::Numbers(_) => {
                let exact = serde_json::from_str(&format!("\"{text}\""));
                // Where a secret ends with a backslash, how many of a row are its own is anybody's guess.
                exact.unwrap_or_else(|_| text.replace("\\/", "/").replace("\\\\", "\\"))
            }
            Encoder::Percent(_) => url::percent(text),
            Encoder::Form => url::percent(&text.replace('+', " ")),
            Encoder::Html | Encoder::Entities(_) => entities(text),
        }
    }
}

/// As JSON must have it.
fn bare(c: char) -> String {
    let quoted = json!(c.to_string()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

mod url {
    pub fn form(text: &str) -> String {
        let each = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(each).collect()
    }

    pub fn percent(text: &str) -> String {
        let (mut bytes, text) = (Vec::new(), text.as_bytes());
        let mut at = 0;
        while at < text.len() {
            let two = text.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
            match two.filter(|_| text[at] == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
                Some(byte) => (bytes.push(byte), at += 3).0,
                None => (bytes.push(text[at]), at += 1).0,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn entities(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let read = part.split_once(';').and_then(|(name, rest)| {
            let number = match name.strip_prefix("#x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
            };
            let named = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
            let named = named.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
            Some((number.and_then(char::from_u32).or(named)?, rest))
        });
        match read {
            Some((c, rest)) => plain.extend([c.to_string().as_str(), rest]),
            None => plain.extend(["&", part]),
        }
    }
    plain
}

fn encoder() -> impl Strategy<Value = Encoder> {
    prop_oneof![
        Just(Encoder::Json),
        Just(Encoder::Php),
        any::<u64>().prop_map(Encoder::Numbers),
        any::<u64>().prop_map(Encoder::Percent),
        Just(Encoder::Form),
        Just(Encoder::Html),
        any::<u64>().prop_map(Encoder::Entities),
    ]
}

/// Whatever a key may be made of, signs that encoders care for above all.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"[A-Za-z0-9]{6,32}"#,
        r#"[!-~]{6,24}"#,
        r#"[a-z/\\%&+"'<> =;#u0-9]{6,16}"#,
        r#"[а-яa-z0-9/+]{6,12}"#,
        r#"[a-c😀/]{6,10}"#,
    ]
    // A secret of digits has rules of its own.
    .prop_filter("digits", |secret| !secret.bytes().all(|byte| byte.is_ascii_digit()))
}

fn around() -> impl Strategy<Value = String> {
    prop_oneof![r#"[ -~а-я\n\t]{0,20}"#, r#"[\\%&+"/u0-9a-f;#]{0,12}"#]
}

proptest! {
    #[test]
    fn no_encoder_and_no_three_of_them_bring_a_secret_out(
        secret in secret(), before in around(), after in around(), stack in prop::collection::vec(encoder(), 0..=3),
    ) {
        let plain = format!("{before}{secret}{after}");
        let sent = stack.iter().fold(plain, |text, encoder| encoder.encode(&text));
        let masker = masker(&[&secret]);
        let masked = String::from_utf8(masker.bytes(sent.as_bytes()).unwrap_or_else(|| sent.clone().into_bytes())).unwrap();
        let mut read = masked.clone();
        prop_assert!(!read.contains(&secret), "{sent} → {masked}");
        for encoder in stack.iter().rev() {
            read = encoder.decode(&read);
            prop_assert!(!read.contains(&secret), "{sent} → {masked} reads {read}");
        }
    }

    #[test]
    fn a_text_without_the_secret_stays_as_it_is(
        secret in "[A-Za-z0-9/+]{8,32}", text in r#"[ -~а-я\n]{0,200}"#, stack in prop::collection::vec(encoder(), 0..=3),
    ) {
        prop_assume!(!secret.bytes().all(|byte| byte.is_ascii_digit()));
        let sent = stack.iter().fold(text, |text, encoder| encoder.encode(&text));
        prop_assert_eq!(masker(&[&secret]).bytes(sent.as_bytes()), None);
    }

    #[test]
    fn digits_change_no_number(secret in "[0-9]{1,5}", number in any::<i64>(), float in any::<f64>(), date in "[0-3][0-9]\\.[01][0-9]\\.20[0-9]{2} [0-2][0-9]:[0-5][0-9]") {
        let value = json!({ "group_id": number, "sum": float, "at": date, "phone": format!("7{number}") });
        let masker = masker(&[&secret]);
        let text = value.to_string();
        prop_assert_eq!(masker.bytes(text.as_bytes()), None);
        let mut masked = value.clone();
        masker.value(&mut masked);
        prop_assert_eq!(masked, value);
    }

    #[test]
    fn what_was_json_is_json_still(secret in secret().prop_map(|secret| secret.replace('\\', "x")), digits in "[0-9]{6,9}", filler in around(), nested in any::<bool>()) {
        let number: u64 = digits.parse().unwrap();
        let mut value = json!({ "a": format!("{filler}{secret}"), "n": number, "list": [number, format!("{secret}{filler}")], "z": 1 });
        if nested {
            value = json!({ "data": value.to_string(), "n": [number] });
        }
        let masked = masker(&[&secret, &digits]).bytes(value.to_string().as_bytes());
        let masked = masked.unwrap_or_else(|| value.to_string().into_bytes());
        let read: Result<Value, _> = serde_json::from_slice(&masked);
        prop_assert!(read.is_ok(), "{}", String::from_utf8_lossy(&masked));
        if let Some(inner) = read.unwrap()["data"].as_str() {
            prop_assert!(serde_json::from_str::<Value>(inner).is_ok(), "{inner}");
        }
    }

    #[test]
    fn base64_and_hex_hide_nothing(secret in "[!-~]{6,24}", before in "[ -~]{0,5}", after in "[ -~]{0,5}", in_json in any::<bool>()) {
        prop_assume!(!secret.bytes().all(|byte| byte.is_ascii_digit()));
        let plain = format!("{before}{secret}{after}");
        let masker = masker(&[&secret]);
        for encoded in [hex(plain.as_bytes()), hex(plain.as_bytes()).to_uppercase(), base64(&plain, false), base64(&plain, true)] {
            let sent = if in_json { Encoder::Php.encode(&encoded) } else { encoded };
            let masked = masker.text(&sent).into_owned();
            prop_assert!(masked.contains("***"), "{sent} → {masked}");
        }
    }

    #[test]
    fn pieces_are_masked_as_the_whole(
        secret in secret(), texts in prop::collection::vec(around(), 1..5), sizes in prop::collection::vec(1_usize..200_000, 1..8),
    ) {
        let filler = "x-".repeat(50_000);
        let whole: String = texts.iter().map(|text| format!("{text}{}{filler}", Encoder::Php.encode(&secret))).collect();
        let masker = Arc::new(masker(&[&secret]));
        let mut stream = Stream::new(Arc::clone(&masker));
        let (mut masked, mut rest, mut turn) = (Vec::new(), whole.as_bytes(), 0);
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(sizes[turn % sizes.len()].min(rest.len()));
            masked.extend(stream.push(piece));
            (rest, turn) = (more, turn + 1);
        }
        masked.extend(stream.finish());
        let expected = masker.bytes(whole.as_bytes()).unwrap_or_else(|| whole.clone().into_bytes());
        prop_assert!(masked == expected);
    }
}

fn base64(plain: &str, in_urls: bool) -> String {
    if in_urls { URL_SAFE.encode(plain) } else { STANDARD.encode(plain) }
}

#[test]
fn spellings_that_vendors_were_seen_to_write() {
    let masker = masker(&["Tr0nk/Canary+Key77"]);
    for spelt in [
        "Tr0nk/Canary+Key77",
        r"Tr0nk\/Canary+Key77",
        r"Tr0nk\\\/Canary+Key77",
        r"Tr0nk\\\\\\\/Canary+Key77",
        "Tr0nk%2FCanary%2BKey77",
        "Tr0nk%2fCanary%2bKey77",
        "Tr0nk%252fCanary%252BKey77",
        "%54r0nk/Canar%79+Key77",
        r"Tr0nk/Canary\u002BKey77",
        r"\u0054\u0072\u0030nk\u002fCanary+Key77",
        r"Tr0nk\u00252fCanary+Key77",
        r"Tr0nk\\u002fCanary+Key77",
        "Tr0nk&#47;Canary&#43;Key77",
        "Tr0nk&#x2F;Canary&#x0002b;Key77",
        "Tr0nk&sol;Canary&plus;Key77",
        "Tr0nk&amp;#47;Canary+Key77",
        "Tr0nk%5C/Canary+Key77",
        "Tr0nk%5Cu002fCanary+Key77",
        r"\u005c\u0075\u0030\u0030\u0035\u0034r0nk/Canary+Key77",
        "VHIwbmsvQ2FuYXJ5K0tleTc3",
        r"VHIwbmsvQ2FuYXJ5K0tleTc3=",
        "5472306e6b2f43616e6172792b4b65793737",
    ] {
        let masked = masker.text(spelt);
        assert!(masked.trim_end_matches('=') == "***", "{spelt} → {masked}");
        let within = masker.text(&format!("?key={spelt}&x=1")).into_owned();
        assert_eq!(within.replace('=', ""), "?key***&x1", "{spelt}");
    }
}

#[test]
fn what_is_short_is_masked_alone_and_digits_only_whole() {
    let masker = masker(&["ab1d", "151900", "1519"]);
    let masked = |text| masker.text(text).into_owned();
    assert_eq!(masked("?key=ab1d&x=crab1d ab1d"), "?key=***&x=crab1d ***");
    assert_eq!(masked("29.07.1519 21:52 pw 1519"), "29.07.1519 21:52 pw 1519");
    assert_eq!(masked("1519007 id151900 151900.5 0,151900"), "1519007 id*** 151900.5 0,151900");
    let mut value = json!({ "a": 151900, "b": 1519001, "151900": "151900" });
    masker.value(&mut value);
    assert_eq!(value, json!({ "a": "***", "b": 1519001, "***": "***" }));
}

#[test]
fn the_beginning_of_a_secret_is_masked_where_a_text_was_cut() {
    let masker = masker(&["Tr0nk/Canary+Key77"]);
    assert_eq!(masker.text("no such key: Tr0nk/Can…"), "no such key: ***…");
    assert_eq!(masker.text(r"no such key: Tr0nk\/Can…"), "no such key: ***…");
    assert_eq!(masker.text("no such key: Tr…"), "no such key: Tr…");
}

#[test]
fn a_process_learns_secrets_and_forgets_none() {
    let masks = Masks::of(["first-secret".to_owned()]);
    let handle = masks.clone();
    masks.learn(["second-secret".to_owned()]);
    assert_eq!(handle.text("first-secret, second-secret, third"), "***, ***, third");
    let mut text = "first-secret and of-this-request".to_owned();
    masks.with(vec!["of-this-request".to_owned()]).string(&mut text);
    assert_eq!(text, "*** and ***");
    assert!(!format!("{masks:?}").contains("secret"));
}

/// Texts that are made to be read in many ways cost no more than their length.
#[test]
fn a_page_of_escapes_ends() {
    let masker = masker(&[r"a\\\/secret%25&amp;", "another/secret"]);
    for unit in [r"\", "%25", "&amp;", r"\u005c", r"\\\/", "&#38;#38;", "%5c%5C", r"\\\\\\\\\\\\\\\\x", "+"] {
        let page = unit.repeat((64 << 10) / unit.len());
        assert_eq!(masker.bytes(page.as_bytes()), None, "{unit}");
    }
}
