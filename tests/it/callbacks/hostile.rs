//! Whoever else calls at the door.

use std::time::Duration;

use opros::simulator::{CallbackStyle, CallbackWhen};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{House, SECRET, multipart, vin};

fn silent() -> CallbackStyle {
    CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }
}

/// Sends bytes, and reads what comes until the other side closes.
async fn raw(house: &House, request: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(house.door()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_know_the_secret_learns_nothing_and_leaves_nothing() {
    let house = House::new(silent()).await;
    let door = house.door();
    let body = json!({ "vin": vin(1) }).to_string();
    let near = format!("{}x", &SECRET[..SECRET.len() - 1]);
    for path in [
        format!("/callbacks/vagvin/{near}"),
        format!("/callbacks/vagvin/{SECRET}x"),
        format!("/callbacks/vagvin/{SECRET}/"),
        format!("/callbacks/Vagvin/{SECRET}"),
        format!("/callbacks/tronk/{SECRET}"),
        format!("/callbacks/vagvin%2F{SECRET}"),
        format!("/callbacks/{}/{}", "a".repeat(5000), "b".repeat(5000)),
        "/callbacks/vagvin/".to_owned(),
        "/callbacks/vagvin".to_owned(),
        "/v1/jobs".to_owned(),
        "/".to_owned(),
    ] {
        assert_eq!(house.post(&format!("http://{door}{path}"), "application/json", body.clone()).await, 404, "{path}");
    }
    let get = format!("GET /callbacks/vagvin/{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(raw(&house, get.as_bytes(), Duration::from_secs(5)).await.starts_with("HTTP/1.1 404"));
    assert!(house.callbacks().await.is_empty());
    assert_eq!(house.post(&house.url(SECRET), "application/json", body).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_the_vendor_is_not() {
    let house = House::new(silent()).await;
    let mut statuses = Vec::new();
    for _ in 0..1_100 {
        statuses.push(house.post(&house.url("not-the-secret"), "application/json", "{}").await);
    }
    assert_eq!((statuses[0], statuses.last()), (404, Some(&429)));
    assert_eq!(house.post_json(&json!({ "vin": vin(1) })).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_the_largest_is_taken() {
    let house = House::new(silent()).await;
    let most = 32 << 20;
    assert_eq!(house.post(&house.url(SECRET), "application/pdf", vec![b'x'; most]).await, 200);
    assert_eq!(house.post(&house.url(SECRET), "application/pdf", vec![b'x'; most + 1]).await, 413);
    let form = format!("vin={}&x={}", vin(1), "y".repeat(5 << 20));
    assert_eq!(house.post(&house.url(SECRET), "application/x-www-form-urlencoded", form).await, 413);
    // JSON beyond what may become a result is kept as it came, and shown as unreadable.
    let json = json!({ "vin": vin(1), "x": "y".repeat(5 << 20) }).to_string();
    assert_eq!(house.post(&house.url(SECRET), "application/json", json).await, 200);
    let stored = house.callbacks().await;
    assert_eq!(stored.len(), 2);
    assert!(stored[0].facts.unreadable.as_ref().unwrap().contains("bytes of JSON"), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tricks_in_file_names_reach_no_path() {
    let house = House::new(silent()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    let names =
        ["../../../../etc/cron.d/evil", "/etc/passwd", "..\\..\\win.ini", ".bashrc", "a.pdf", "A.PDF", "%2e%2e%2fx"];
    let contents: Vec<Vec<u8>> = (0..names.len()).map(|n| format!("%PDF {n}").into_bytes()).collect();
    let files: Vec<(&str, &[u8])> = names.iter().copied().zip(contents.iter().map(Vec::as_slice)).collect();
    let body = multipart("b", &[("vin", &vin(1))], &files);
    assert_eq!(house.post(&house.url(SECRET), "multipart/form-data; boundary=b", body).await, 200);
    house.until_state(job, "succeeded").await;
    let shown: Vec<String> = house.store().job_files(job).await.unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(shown, ["A (2).PDF", "_2e_2e_2fx", "a.pdf", "bashrc", "evil", "passwd", "win.ini"]);
    let root = house.dir.path().join("store/files");
    let on_disk = house.files_on_disk();
    assert_eq!(on_disk.len(), names.len());
    for path in on_disk {
        let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
        assert!(relative.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'/'), "{relative}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_bodies_are_kept_and_are_nobodys() {
    let house = House::new(silent()).await;
    let cut = multipart("b", &[("vin", &vin(1))], &[("a.pdf", b"%PDF")]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (kind, body) in [
        ("multipart/form-data; boundary=b", cut[..cut.len() - 8].to_vec()),
        ("multipart/form-data; boundary=zzz", cut.clone()),
        ("multipart/form-data", b"no boundary".to_vec()),
        ("application/json", b"{\"vin\":".to_vec()),
        ("application/json", deep.into_bytes()),
        ("application/json", Vec::new()),
    ] {
        assert_eq!(house.post(&house.url(SECRET), kind, body).await, 200, "{kind}");
    }
    let stored = house.until_callbacks(6).await;
    assert!(stored.iter().all(|it| it.belongs.is_none() && it.facts.unreadable.is_some()), "{stored:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_or_stops_coming_is_cut_and_leaves_nothing() {
    let house = House::new(silent()).await;
    let head = format!("POST /callbacks/vagvin/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{\"vin\":");
    let mut broken = TcpStream::connect(house.door()).await.unwrap();
    broken.write_all(head.as_bytes()).await.unwrap();
    drop(broken);
    let begun = tokio::time::Instant::now();
    let answer = raw(&house, head.as_bytes(), Duration::from_secs(25)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(house.callbacks().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn good_ones_among_hostile_ones_are_all_stored() {
    const GOOD: usize = 200;
    let house = House::new(silent()).await;
    let hostile = async {
        for n in 0..GOOD / 10 {
            let (url, wrong) = (house.url(SECRET), house.url("wrong"));
            match n % 4 {
                0 => drop(house.post(&wrong, "application/json", "{}").await),
                1 => drop(house.post(&url, "multipart/form-data; boundary=x", format!("broken {n}")).await),
                2 => drop(house.post(&url, "application/x-www-form-urlencoded", vec![b'a'; (4 << 20) + 1]).await),
                _ => drop(TcpStream::connect(house.door()).await.unwrap().write_all(b"POST / HTT").await),
            }
        }
    };
    let good = (0..GOOD).map(|n| {
        let house = &house;
        async move { assert_eq!(house.post_json(&json!({ "vin": vin(n), "n": n })).await, 200) }
    });
    tokio::join!(futures_util::future::join_all(good), hostile);
    let stored = house.callbacks().await;
    assert_eq!(stored.iter().filter(|it| it.facts.vin.is_some()).count(), GOOD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_address_counts_only_from_a_proxy_that_is_configured() {
    for (proxies, expected) in [("[]", "127.0.0.1"), ("[\"127.0.0.1\"]", "203.0.113.9")] {
        let house = House::behind(proxies, silent()).await;
        let head = format!(
            "POST /callbacks/vagvin/{SECRET} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        assert!(raw(&house, head.as_bytes(), Duration::from_secs(5)).await.starts_with("HTTP/1.1 200"));
        assert_eq!(house.callbacks().await[0].peer, expected);
    }
}
