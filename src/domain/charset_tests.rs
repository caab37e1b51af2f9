use encoding_rs::Encoding;
use proptest::prelude::*;

use super::*;

const RUSSIAN: &str = "Закончился доступ или запросы: «Ёлка» № 7";

fn encoded(text: &str, label: &str) -> Vec<u8> {
    match label {
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => Encoding::for_label(label.as_bytes()).unwrap().encode(text).0.into_owned(),
    }
}

#[test]
fn a_declared_charset_is_decoded_as_declared() {
    let table = [
        ("windows-1251", "Закончился доступ или запросы: «Ёлка» № 7"),
        ("cp1251", "да"),
        ("koi8-r", "Закончился доступ"),
        ("ibm866", "Закончился доступ"),
        ("iso-8859-5", "Закончился доступ"),
        ("x-mac-cyrillic", "Закончился доступ"),
        ("utf-16le", "{\"Закончился\":1}"),
        ("utf-16be", "{\"Закончился\":1}"),
        ("iso-8859-1", "café"),
        ("gbk", "通过"),
        ("utf-8", RUSSIAN),
    ];
    for (label, text) in table {
        let bytes = encoded(text, label);
        for spelt in [
            format!("application/json; charset={label}"),
            format!("application/json;CHARSET=\"{}\"", label.to_uppercase()),
            format!("text/html ; x=1; charset = '{label}' "),
        ] {
            let read = decode(&bytes, Some(&spelt));
            assert_eq!((read.text.as_ref(), read.guessed), (text, false), "{spelt}");
        }
    }
}

#[test]
fn what_nobody_declares_is_read_and_said_to_be_a_guess() {
    let cp1251 = encoded(RUSSIAN, "windows-1251");
    for content_type in [None, Some("application/json"), Some("a/b; charset=utf-8"), Some("a/b; charset=nobodys")] {
        let read = decode(&cp1251, content_type);
        assert_eq!((read.text.as_ref(), read.charset, read.guessed), (RUSSIAN, "windows-1251", true));
    }
    let read = decode(RUSSIAN.as_bytes(), None);
    assert_eq!((read.text.as_ref(), read.charset, read.guessed), (RUSSIAN, "UTF-8", false));
    // The server's own default, above what the program really sends.
    for declared in ["windows-1251", "iso-8859-1", "koi8-r"] {
        let read = decode(RUSSIAN.as_bytes(), Some(&format!("text/html; charset={declared}")));
        assert_eq!((read.text.as_ref(), read.charset), (RUSSIAN, "UTF-8"), "{declared}");
    }
    assert_eq!(decode(&cp1251, Some("text/html; charset=iso-8859-1")).text, RUSSIAN);
}

#[test]
fn boms_and_pages_say_what_they_are() {
    let with_bom = ["\u{feff}".as_bytes(), RUSSIAN.as_bytes()].concat();
    assert_eq!(decode(&with_bom, Some("a/b; charset=windows-1251")).text, RUSSIAN);
    let wide = [b"\xff\xfe".to_vec(), encoded(RUSSIAN, "utf-16le")].concat();
    assert_eq!(decode(&wide, Some("a/b; charset=utf-8")).text, RUSSIAN);
    assert_eq!(decode(&encoded("{\"a\":\"я\"}", "utf-16le"), None).text, "{\"a\":\"я\"}");
    for head in [
        "<html><META charset=\"koi8-r\"><title>",
        "<!DOCTYPE html><meta http-equiv=Content-Type content='text/html; charset=koi8-r'>",
        "<?xml version='1.0' encoding='KOI8-R'?>",
    ] {
        let page = [head.as_bytes(), &encoded("Доступ закрыт", "koi8-r")].concat();
        let read = decode(&page, None);
        assert_eq!((read.text.as_ref(), read.charset), (format!("{head}Доступ закрыт").as_str(), "KOI8-R"));
    }
}

#[test]
fn bytes_of_no_charset_stand_as_what_they_are() {
    let cut = b"{\"name\":\"\xd0\x98\xd0\xb2\xd0\xb0\xd0\",\"id\":1}";
    assert_eq!(decode(cut, None).text, "{\"name\":\"Ива\\xd0\",\"id\":1}");
    // Each text in a charset of its own.
    let both = [&b"{\"a\":\""[..], "Доступ".as_bytes(), b"\",\"b\":\"", &encoded("закрыт", "cp1251"), b"\"}"].concat();
    assert_eq!(decode(&both, None).text, "{\"a\":\"Доступ\",\"b\":\"закрыт\"}");
    // An image: a character a byte, and nothing grows without bounds.
    let image: Vec<u8> = (0..1_000_000_u32).map(|n| ((n * 37) >> 3) as u8 | 0x80).collect();
    assert!(decode(&image, None).text.len() <= 3 * image.len());
}

proptest! {
    #[test]
    fn nothing_is_ever_replaced(body in prop::collection::vec(any::<u8>(), 0..200), which in 0..6_usize) {
        let types = [None, Some("a"), Some("a; charset=windows-1251"), Some("a; charset=utf-16"), Some("a;charset=gbk"), Some("a; charset=")];
        let read = decode(&body, types[which]);
        let sent = String::from_utf8_lossy(&body).matches('\u{fffd}').count();
        let real = body.windows(3).filter(|three| *three == b"\xef\xbf\xbd").count();
        if sent == real && which == 0 && read.charset == "UTF-8" {
            prop_assert_eq!(read.text.as_ref(), std::str::from_utf8(without_bom(&body)).unwrap());
        }
        if read.charset == "UTF-8" || read.charset == "windows-1251" || read.charset == "mixed" {
            prop_assert_eq!(read.text.matches('\u{fffd}').count() > 0, real > 0 && read.text.contains('\u{fffd}'));
        }
    }

    #[test]
    fn windows_1251_can_be_had_back_byte_by_byte(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let read = decode(&body, Some("text/plain; charset=windows-1251"));
        if read.charset == "windows-1251" {
            let (back, _, lost) = WINDOWS_1251.encode(&read.text);
            prop_assert!(!lost);
            prop_assert_eq!(back.as_ref(), body.as_slice());
        }
    }
}
