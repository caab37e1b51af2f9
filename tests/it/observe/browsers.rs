//! A browser that another page has led to an admin door: it reads nothing, and nothing is ordered or changed. On the socket, the
//! socket for reading and TCP; what programs send goes on as ever.

use std::collections::BTreeSet;

use opros::admin::openapi;
use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::house::{House, Page, TOKEN, listen};
use opros::telemetry::Out;

/// The doors, by the name of the listener.
const DOORS: [&str; 3] = ["admin", "read", "tcp"];
const ORDER: &str = r#"{"kind":"tronk.report","params":{"phone":"79990000111"}}"#;

struct Answer {
    status: u16,
    /// Of the problem, if it is one.
    word: String,
    head: String,
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    // A refusal may come before everything was sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let word = problem["type"].as_str().unwrap_or_default().trim_start_matches("urn:opros:problem:").to_owned();
    Answer { status: status.unwrap_or_else(|| panic!("{request:?}: {text:?}")), word, head: head.to_ascii_lowercase() }
}

impl House {
    /// A request as it is written, without `Connection` and, on TCP, without the token.
    async fn ask(&self, door: &str, first: &str, headers: &str, body: &str) -> Answer {
        let token = if door == "tcp" { format!("Authorization: Bearer {TOKEN}\r\n") } else { String::new() };
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request = format!("{first}\r\n{headers}{token}{length}Connection: close\r\n\r\n{body}");
        match door {
            "admin" => exchange(UnixStream::connect(self.path("admin.sock")).await.unwrap(), &request).await,
            "read" => exchange(UnixStream::connect(self.path("read.sock")).await.unwrap(), &request).await,
            _ => exchange(TcpStream::connect(self.daemon.admin_address().unwrap()).await.unwrap(), &request).await,
        }
    }

    /// What a change would show in: jobs, the account, the log, the sinks.
    async fn state(&self) -> Vec<String> {
        let socket = self.socket();
        let mut state = Vec::new();
        for path in [&["v1", "jobs"][..], &["v1", "accounts"], &["v1", "log"], &["v1", "webhooks"], &["v1", "events"]] {
            state.push(socket.get(path, &[]).await.map(|answer| answer.body).unwrap_or_default());
        }
        state
    }
}

fn lines(headers: &[&str]) -> String {
    headers.iter().map(|line| format!("{line}\r\n")).collect()
}

/// Status and, of a refusal, its word. `+` stands for what a program gets.
#[tokio::test]
async fn the_host_must_be_an_address_localhost_a_configured_name_or_for_programs_opros() {
    let house = House::open_with("hosts = [\"Opros.LAN\", \"ferry.example.\"]", "").await;
    let good = [
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "192.0.2.7:1",
        "localhost",
        "localhost:8080",
        "LocalHost",
        "localhost.",
        "a.localhost",
        "a.b.localhost:7",
        "opros.lan",
        "OPROS.LAN:8443",
        "opros.lan.",
        "ferry.example",
    ];
    let bad = [
        "evil.example",
        "evil.example:8080",
        "127.evil.com",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "evillocalhost",
        ".localhost",
        "localhost@evil.com",
        "user@localhost",
        "user:pw@127.0.0.1",
        "0x7f.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "::1",
        "[::1",
        "[::1]evil",
        "localhost:80:80",
        "localhost:x",
        "localhost, evil.com",
        "evil.com localhost",
        "xn--opros.lan",
        "opros.lan.evil.com",
        "sub.opros.lan",
        "opros.evil",
        "",
    ];
    for door in DOORS {
        for host in good {
            let answer = house.ask(door, "GET /v1/health HTTP/1.1", &format!("Host: {host}\r\n"), "").await;
            assert_eq!(answer.status, 200, "{door} {host}");
            let browser = format!("Host: {host}\r\nSec-Fetch-Site: same-origin\r\n");
            assert_eq!(house.ask(door, "GET /v1/health HTTP/1.1", &browser, "").await.status, 200, "{door} {host}");
        }
        for host in bad {
            let answer = house.ask(door, "GET /v1/health HTTP/1.1", &format!("Host: {host}\r\n"), "").await;
            assert_eq!((answer.status, answer.word.as_str()), (421, "wrong_host"), "{door} {host}");
        }
        // Whatever a page may call it, nobody but programs knows it as that.
        for name in ["opros", "OPROS", "opros:80", "opros."] {
            let program = format!("Host: {name}\r\n");
            assert_eq!(house.ask(door, "GET /v1/health HTTP/1.1", &program, "").await.status, 200, "{door} {name}");
            for header in
                ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Origin: http://opros", "Sec-Fetch-Site: none"]
            {
                let answer = house.ask(door, "GET /v1/health HTTP/1.1", &format!("{program}{header}\r\n"), "").await;
                assert_eq!((answer.status, answer.word.as_str()), (421, "wrong_host"), "{door} {name} {header}");
            }
        }
        // Two hosts, none, one in the request line, one that is no text.
        for (first, headers, status) in [
            ("GET /v1/health HTTP/1.0", "", 200),
            ("GET /v1/health HTTP/1.0", "Host: evil.example\r\n", 421),
            ("GET /v1/health HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n", 421),
            ("GET /v1/health HTTP/1.1", "Host: evil.example\r\nHost: localhost\r\n", 421),
            ("GET http://evil.example/v1/health HTTP/1.1", "Host: localhost\r\n", 421),
            ("GET http://localhost/v1/health HTTP/1.1", "Host: evil.example\r\n", 421),
            ("GET http://user@localhost/v1/health HTTP/1.1", "Host: localhost\r\n", 421),
            ("GET http://localhost/v1/health HTTP/1.1", "Host: localhost\r\n", 200),
            ("GET http://opros/v1/health HTTP/1.1", "Host: opros\r\n", 200),
            ("CONNECT evil.example:443 HTTP/1.1", "Host: evil.example:443\r\n", 421),
        ] {
            assert_eq!(house.ask(door, first, headers, "").await.status, status, "{door} {first} {headers:?}");
        }
    }
    house.daemon.stop().await;
}

/// Method, path, headers after a good host; what comes of it.
type Case = (&'static str, &'static str, &'static [&'static str], (u16, &'static str));

const SITES: &[Case] = &[
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-origin"], (200, "")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"], (200, "")),
    ("HEAD", "/v1/health", &["Sec-Fetch-Site: cross-site"], (403, "")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: cross-site"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-site"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: SAME-ORIGIN"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: "], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-origin, none"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-origin"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"], (403, "cross_site")),
    (
        "GET",
        "/v1/health",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (403, "cross_site"),
    ),
    (
        "GET",
        "/metrics",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
        (403, "cross_site"),
    ),
    ("GET", "/v1/events", &["Sec-Fetch-Site: cross-site", "Accept: text/event-stream"], (403, "cross_site")),
    (
        "GET",
        "/v1/events",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
        (403, "cross_site"),
    ),
    // A link to the pages for people, and nothing that looks like one.
    (
        "GET",
        "/",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (404, "not-found"),
    ),
    (
        "GET",
        "/ui/jobs?x=1",
        &["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (404, "not-found"),
    ),
    (
        "GET",
        "/ui/",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"],
        (403, "cross_site"),
    ),
    (
        "GET",
        "/ui/",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: document"],
        (403, "cross_site"),
    ),
    ("GET", "/ui/", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document"], (403, "cross_site")),
    (
        "POST",
        "/ui/",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (403, "cross_site"),
    ),
    (
        "HEAD",
        "/ui/",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (403, ""),
    ),
    (
        "GET",
        "/uix",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (403, "cross_site"),
    ),
    (
        "GET",
        "/v1/jobs/../ui/",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        (403, "cross_site"),
    ),
    (
        "GET",
        "/ui/",
        &[
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Mode: navigate",
            "Sec-Fetch-Dest: document",
            "Origin: http://evil.example",
        ],
        (403, "cross_site"),
    ),
    // Browsers that send no Sec-Fetch-Site, as all do to an address that is not secure.
    ("GET", "/v1/health", &["Origin: http://localhost:8080"], (200, "")),
    ("GET", "/v1/health", &["Origin: http://LOCALHOST:8080"], (200, "")),
    ("GET", "/v1/health", &["Origin: http://localhost"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: https://localhost:8080"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://127.0.0.1:8080"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://a.localhost:8080"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://evil.example"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: null"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: "], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: file://"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: chrome-extension://localhost:8080"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://localhost:8080/"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://localhost:8080 http://evil.example"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://localhost:8080", "Origin: http://localhost:8080"], (403, "cross_site")),
    ("GET", "/v1/health", &["Origin: http://localhost:8080", "Origin: http://evil.example"], (403, "cross_site")),
    (
        "GET",
        "/v1/events",
        &["Origin: http://evil.example", "Upgrade: websocket", "Connection: Upgrade"],
        (403, "cross_site"),
    ),
    // Both, and they do not agree; and behind a proxy with TLS.
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-origin", "Origin: http://evil.example"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: none", "Origin: null"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: cross-site", "Origin: http://localhost:8080"], (403, "cross_site")),
    ("GET", "/v1/health", &["Sec-Fetch-Site: same-origin", "Origin: https://localhost:8080"], (200, "")),
    // A preflight is answered like every other request of a foreign page, and never with leave.
    (
        "OPTIONS",
        "/v1/jobs",
        &["Origin: http://evil.example", "Access-Control-Request-Method: POST"],
        (403, "cross_site"),
    ),
    ("OPTIONS", "/v1/jobs", &["Sec-Fetch-Site: same-origin"], (405, "wrong-method")),
];

#[tokio::test]
async fn a_page_of_another_site_reads_nothing() {
    let house = House::open("").await;
    for door in DOORS {
        for (method, path, headers, expected) in SITES {
            let headers = format!("Host: localhost:8080\r\n{}", lines(headers));
            let answer = house.ask(door, &format!("{method} {path} HTTP/1.1"), &headers, "").await;
            let expected = if (door, *method, *path) == ("read", "OPTIONS", "/v1/jobs") && expected.0 == 405 {
                (403, "read-only")
            } else {
                *expected
            };
            assert_eq!((answer.status, answer.word.as_str()), expected, "{door} {method} {path} {headers}");
            assert!(!answer.head.contains("access-control-"), "{door} {}", answer.head);
        }
    }
    let metrics = house.socket().get(&["metrics"], &[]).await.unwrap().body;
    assert!(metrics.lines().any(|line| line.starts_with("opros_admin_refused_total{reason=\"origin\"} ")), "{metrics}");
    house.daemon.stop().await;
}

const OWN: &[&str] = &["Host: localhost:8080", "Sec-Fetch-Site: same-origin", "Origin: http://localhost:8080"];

#[tokio::test]
async fn a_browsers_change_needs_json_and_its_own_header() {
    let house = House::open("").await;
    let json = "Content-Type: application/json";
    let asked = "Opros-Request: 1";
    let refused: &[(&[&str], u16, &str)] = &[
        (&[json], 403, "cross_site"),
        (&[json, "Opros-Request: 0"], 403, "cross_site"),
        (&[json, "Opros-Request: true"], 403, "cross_site"),
        (&[json, asked, asked], 403, "cross_site"),
        (&[asked], 415, "wrong-content-type"),
        (&[], 415, "wrong-content-type"),
        (&[asked, "Content-Type: text/plain"], 415, "wrong-content-type"),
        (&[asked, "Content-Type: text/plain;application/json"], 415, "wrong-content-type"),
        (&[asked, "Content-Type: application/x-www-form-urlencoded"], 415, "wrong-content-type"),
        (&[asked, "Content-Type: multipart/form-data; boundary=x"], 415, "wrong-content-type"),
        (&[asked, "Content-Type: application/x-ndjson"], 415, "wrong-content-type"),
        (&[asked, "Content-Type: application/jsonp"], 415, "wrong-content-type"),
        (&[asked, json, "Content-Type: text/plain"], 415, "wrong-content-type"),
    ];
    let before = house.state().await;
    for door in DOORS {
        for (headers, status, word) in refused {
            for body in ["", ORDER] {
                // Of a browser that sends both headers, and of one that sends Origin alone.
                for own in [OWN, &[OWN[0], OWN[2]]] {
                    let headers = format!("{}{}", lines(own), lines(headers));
                    let answer = house.ask(door, "POST /v1/jobs HTTP/1.1", &headers, body).await;
                    assert_eq!((answer.status, answer.word.as_str()), (*status, *word), "{door} {headers} {body}");
                }
            }
        }
    }
    assert_eq!(house.state().await, before);
    for door in ["admin", "tcp"] {
        let headers = format!("{}{}", lines(OWN), lines(&["Content-Type: Application/JSON; charset=utf-8", asked]));
        assert_eq!(house.ask(door, "POST /v1/jobs HTTP/1.1", &headers, ORDER).await.status, 201, "{door}");
        let headers = format!("{}{}", lines(&[OWN[0], OWN[2]]), lines(&[json, asked]));
        assert_eq!(house.ask(door, "POST /v1/accounts/tronk/pause HTTP/1.1", &headers, "").await.status, 200, "{door}");
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn programs_go_on_as_ever() {
    let house = House::open("").await;
    for (door, order) in [("admin", 201), ("read", 403), ("tcp", 201)] {
        // curl -d, a script that says nothing of the type, Prometheus, and a program that asks to upgrade.
        for kind in ["Content-Type: application/x-www-form-urlencoded\r\n", "", "Content-Type: application/json\r\n"] {
            for host in ["Host: opros\r\n", "Host: localhost\r\n", "Host: 127.0.0.1:8078\r\n"] {
                let headers = format!("{host}User-Agent: curl/8.5.0\r\nAccept: */*\r\n{kind}");
                assert_eq!(
                    house.ask(door, "POST /v1/jobs HTTP/1.1", &headers, ORDER).await.status,
                    order,
                    "{door} {headers}"
                );
            }
        }
        assert_eq!(house.ask(door, "POST /v1/jobs HTTP/1.0", "", ORDER).await.status, order, "{door}");
        let scrape = "Host: 127.0.0.1:8078\r\nUser-Agent: Prometheus/3.5.0\r\nAccept: application/openmetrics-text;version=1.0.0\r\n";
        assert_eq!(house.ask(door, "GET /metrics HTTP/1.1", scrape, "").await.status, 200, "{door}");
        let upgrade = "Host: opros\r\nUpgrade: h2c\r\n";
        assert_eq!(house.ask(door, "GET /v1/health HTTP/1.1", upgrade, "").await.status, 200, "{door}");
    }
    house.daemon.stop().await;
}

/// Every method and path that the daemon says it serves, with numbers and names that exist, and what it serves besides.
fn routes() -> BTreeSet<(String, String)> {
    let contract: Value = serde_json::from_str(&openapi()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in contract["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "1").replace("{name}", "tronk").replace("{what}", "jobs");
        assert!(!path.contains('{'), "{path}");
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            routes.insert((method.to_uppercase(), path.clone()));
        }
    }
    assert!(routes.len() > 30, "{routes:?}");
    for (method, path) in [
        ("GET", "/openapi.json"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/metrics"),
        ("PATCH", "/v1/jobs"),
        ("POST", "/no/such"),
    ] {
        routes.insert((method.to_owned(), path.to_owned()));
    }
    routes
}

#[tokio::test]
async fn no_route_of_any_door_is_without_the_guard() {
    let page = Page::default();
    let _guard = listen("info", Out::text(Box::new(page.clone()), false));
    let house = House::open("").await;
    // Nothing moves by itself while the account is paused, and a resume would show.
    for path in ["/v1/accounts/tronk/pause", "/v1/jobs"] {
        let body = if path == "/v1/jobs" { ORDER } else { "" };
        let answer = house.ask("admin", &format!("POST {path} HTTP/1.1"), "Host: opros\r\n", body).await;
        assert!(answer.status < 300, "{path}");
    }
    let before = house.state().await;
    let foreign: [(&[&str], u16); 5] = [
        (&["Host: evil.example"], 421),
        (&["Host: localhost", "Sec-Fetch-Site: cross-site", "Content-Type: application/json", "Opros-Request: 1"], 403),
        (&["Host: localhost", "Origin: http://evil.example", "Content-Type: text/plain"], 403),
        (&["Host: localhost", "Origin: null", "Content-Type: application/x-www-form-urlencoded"], 403),
        (&["Host: 127.0.0.1", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"], 403),
    ];
    let mut asked = 0;
    for door in DOORS {
        for (method, path) in routes() {
            for (headers, status) in foreign {
                let body = if method == "GET" { "" } else { ORDER };
                let answer = house.ask(door, &format!("{method} {path} HTTP/1.1"), &lines(headers), body).await;
                assert_eq!(answer.status, status, "{door} {method} {path} {headers:?}");
                assert!(!answer.head.contains("access-control-"), "{door} {method} {path}: {}", answer.head);
                asked += 1;
            }
        }
    }
    assert_eq!(house.state().await, before, "after {asked} requests of foreign pages");
    house.daemon.stop().await;
    let log = page.text();
    let told = log.lines().filter(|line| line.contains("requests refused: sent by a web page of another site")).count();
    assert!((1..=asked / 100).contains(&told), "{asked} refusals are told {told} times");
}

/// Without a token a foreign page learns no more than with one, and wrong ones are not counted for it.
#[tokio::test]
async fn the_guard_stands_before_the_token() {
    let house = House::open("").await;
    let stream = TcpStream::connect(house.daemon.admin_address().unwrap()).await.unwrap();
    let answer = exchange(stream, "GET /v1/jobs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!((answer.status, answer.word.as_str()), (421, "wrong_host"));
    assert!(!answer.head.contains("www-authenticate"), "{}", answer.head);
    house.daemon.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// However the headers are mixed: what says that it comes from another page orders nothing.
    #[test]
    fn no_mixture_of_headers_lets_a_foreign_page_order(
        picks in prop::collection::vec((0_usize..12, any::<bool>()), 0..8),
        foreign in prop::sample::select(vec!["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]),
        host in prop::sample::select(vec!["localhost", "127.0.0.1", "opros", "evil.example", "[::1]:80"]),
        at in 0_usize..8,
    ) {
        let more = [
            "Content-Type: application/json", "Content-Type: text/plain", "Opros-Request: 1", "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Site: none", "Origin: http://localhost", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
            "Sec-Fetch-User: ?1", "Referer: http://localhost/", "X-Requested-With: XMLHttpRequest", "Upgrade: websocket",
        ];
        let mut headers: Vec<String> = picks
            .iter()
            .map(|(pick, upper)| if *upper { more[*pick].to_uppercase() } else { more[*pick].to_owned() })
            .collect();
        headers.insert(at.min(headers.len()), foreign.to_owned());
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::open("").await;
            for door in DOORS {
                let headers = format!("Host: {host}\r\n{}", lines(&headers));
                let answer = house.ask(door, "POST /v1/jobs HTTP/1.1", &headers, ORDER).await;
                assert!(matches!(answer.status, 403 | 421), "{door} {headers}: {}", answer.status);
            }
            let jobs: Value = house.socket().get(&["v1", "jobs"], &[]).await.unwrap().read().unwrap();
            assert_eq!(jobs["jobs"].as_array().unwrap().len(), 0);
            house.daemon.stop().await;
        });
    }
}
