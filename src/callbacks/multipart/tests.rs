use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

fn read(body: &str, boundary: &str) -> Result<Vec<Part>, Broken> {
    parts(&Bytes::copy_from_slice(body.as_bytes()), boundary.as_bytes(), 64, 8192)
}

fn header(text: &str) -> (Option<String>, Option<String>) {
    let body = format!("--b\r\nContent-Disposition: {text}\r\n\r\nx\r\n--b--\r\n");
    let part = read(&body, "b").unwrap().remove(0);
    (part.name, part.file_name)
}

#[test]
fn fields_and_files_are_slices_of_the_body() {
    let body = Bytes::from_static(
        b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"vin\"\r\n\r\nWAUZ\r\n--b\r\n\
          content-disposition: form-data; name=report; filename=\"r.pdf\"\r\nContent-Type: application/pdf\r\n\r\n\
          %PDF\r\n--bb\r\n--b-\r\n\xff\r\n--b--\r\nepilogue",
    );
    let parts = parts(&body, b"b", 64, 8192).unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!((parts[0].name.as_deref(), &parts[0].body[..]), (Some("vin"), &b"WAUZ"[..]));
    assert_eq!(parts[1].file_name.as_deref(), Some("r.pdf"));
    assert_eq!(parts[1].content_type.as_deref(), Some("application/pdf"));
    assert_eq!(&parts[1].body[..], b"%PDF\r\n--bb\r\n--b-\r\n\xff");
    let whole = body.as_ptr_range();
    assert!(parts.iter().all(|part| whole.contains(&part.body.as_ptr())));
}

#[test]
fn bare_line_feeds_padding_and_a_missing_last_line_are_read() {
    for body in [
        "--b\nContent-Disposition: form-data; name=a\n\nx\n--b--\n",
        "--b  \r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b-- ",
        "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b\r\n",
        "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b",
    ] {
        let parts = read(body, "b").unwrap();
        assert_eq!((parts.len(), parts[0].name.as_deref(), &parts[0].body[..]), (1, Some("a"), &b"x"[..]), "{body:?}");
    }
    assert!(read("--b--\r\n", "b").unwrap().is_empty());
    let empty = read("--b\r\n\r\n--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--b--", "b").unwrap();
    assert_eq!(empty.iter().map(|part| part.body.len()).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn names_are_read_as_every_writer_writes_them() {
    let some = |name: &str, file: &str| (Some(name.to_owned()), Some(file.to_owned()));
    assert_eq!(header(r#"form-data; name="a"; filename="r.pdf""#), some("a", "r.pdf"));
    assert_eq!(header(r#"form-data;filename=r.pdf;name=a"#), some("a", "r.pdf"));
    assert_eq!(header(r#"form-data; name="a"; filename="Отчёт; \"x\".pdf""#), some("a", "Отчёт; \"x\".pdf"));
    assert_eq!(header(r#"form-data; name="a"; filename="C:\dir\r.pdf""#), some("a", r"C:\dir\r.pdf"));
    assert_eq!(
        header("form-data; name=\"a\"; filename*=utf-8''%D0%9E%D1%82%20%2e%2e%2Fx.pdf"),
        some("a", "От ../x.pdf")
    );
    assert_eq!(header("form-data; name=\"a\"; filename=x; filename*=utf-8''y"), some("a", "y"));
    assert_eq!(header("form-data; name=\"a\"; filename*=koi8-r''%FF"), (Some("a".into()), None));
    assert_eq!(header("form-data; name=\"filename=x\""), (Some("filename=x".into()), None));
    assert_eq!(header("form-data"), (None, None));
}

#[test]
fn what_is_broken_is_said() {
    let head = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    assert_eq!(read("nothing", "b"), Err(Broken::NoFirstBoundary));
    assert_eq!(read("--bx\r\n\r\n--bx--", "b"), Err(Broken::NoFirstBoundary));
    assert_eq!(read(&format!("{head}x"), "b"), Err(Broken::Unfinished));
    assert_eq!(read(&format!("{head}x\r\n--bb--"), "b"), Err(Broken::Unfinished));
    assert_eq!(read("--b\r\nContent-Disposition: form-data", "b"), Err(Broken::Headers(8192)));
    assert_eq!(read(&format!("--b\r\nX: {}\r\n\r\n\r\n--b--", "x".repeat(9000)), "b"), Err(Broken::Headers(8192)));
    assert_eq!(read(&format!("{}--b--", format!("{head}x\r\n").repeat(65)), "b"), Err(Broken::TooManyParts(64)));
}

#[test]
fn the_boundary_is_the_headers_or_the_bodys_own() {
    let named = |header: &str| boundary(Some(header), b"").map(|found| String::from_utf8(found).unwrap());
    assert_eq!(named("multipart/form-data; boundary=abc"), Ok("abc".into()));
    assert_eq!(named("multipart/form-data; charset=utf-8; Boundary=\"a b;c\""), Ok("a b;c".into()));
    assert_eq!(named("multipart/form-data"), Err(Broken::NoBoundary));
    assert_eq!(named("multipart/form-data; boundary="), Err(Broken::NoBoundary));
    assert_eq!(named(&format!("multipart/form-data; boundary={}", "x".repeat(201))), Err(Broken::NoBoundary));
    assert_eq!(boundary(Some("multipart/form-data"), b"--xyz\r\n"), Ok(b"xyz".to_vec()));
}

/// What multer makes of a body.
fn by_multer(body: Bytes, boundary: &str) -> Vec<(Option<String>, Option<String>, Bytes)> {
    let stream = futures_util::stream::once(async move { Ok::<_, std::io::Error>(body) });
    let mut multipart = multer::Multipart::new(stream, boundary);
    async {
        let mut parts = Vec::new();
        while let Some(field) = multipart.next_field().await.unwrap() {
            let names = (field.name().map(str::to_owned), field.file_name().map(str::to_owned));
            parts.push((names.0, names.1, field.bytes().await.unwrap()));
        }
        parts
    }
    .now_or_never()
    .unwrap()
}

proptest! {
    #[test]
    fn a_well_formed_body_is_read_as_multer_reads_it(
        given in prop::collection::vec(("[a-z_]{1,8}", prop::option::of("[a-zA-Zа-я ./;=]{1,12}"), prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "(\r\n|\n|-|--b|b|\r){0,12}".prop_map(String::into_bytes),
        ]), 0..6)
    ) {
        let boundary = "bXb";
        let mut body = Vec::new();
        for (name, file_name, content) in &given {
            body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes());
            if let Some(file_name) = file_name {
                body.extend_from_slice(format!("; filename=\"{file_name}\"").as_bytes());
            }
            body.extend_from_slice(b"\r\n\r\n");
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let body = Bytes::from(body);
        let ours: Vec<_> = parts(&body, boundary.as_bytes(), 64, 8192).unwrap().into_iter()
            .map(|part| (part.name, part.file_name, part.body)).collect();
        let sent: Vec<_> = given.into_iter().map(|(name, file, content)| (Some(name), file, Bytes::from(content))).collect();
        prop_assert_eq!(&ours, &sent);
        prop_assert_eq!(&by_multer(body, boundary), &sent);
    }

    #[test]
    fn no_bytes_make_it_panic_or_read_past_a_part(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "(--b|\r\n|\n|--|Content-Disposition: form-data; name=|filename|=|;|\"|\\\\|x|:|\\*|'|%|2e){0,60}".prop_map(String::into_bytes),
        ]
    ) {
        let body = Bytes::from(body);
        let _ = looks_like(&body);
        let _ = boundary(Some(&String::from_utf8_lossy(&body)), &body);
        if let Ok(parts) = parts(&body, b"b", 5, 100) {
            prop_assert!(parts.len() <= 5);
            prop_assert!(parts.iter().map(|part| part.body.len()).sum::<usize>() <= body.len());
        }
    }

    #[test]
    fn a_cut_body_is_never_read_with_a_cut_file(cut in 0_usize..1000) {
        let whole = b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"r.pdf\"\r\n\r\n0123456789\r\n--b--\r\n";
        let cut = cut % whole.len();
        if let Ok(parts) = parts(&Bytes::copy_from_slice(&whole[..cut]), b"b", 5, 100) {
            prop_assert!(parts.iter().all(|part| &part.body[..] == b"0123456789"));
        }
    }
}
