use std::os::unix::fs::{MetadataExt, PermissionsExt};

use opros::cli::client::Client;
use opros::cli::failure::Failure;
use opros::listener::unix;
use opros::telemetry::Out;
use serde_json::{Value, json};

use super::house::{House, Page, READ_TOKEN, TOKEN, listen};

fn order() -> Value {
    json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } })
}

fn status<T: std::fmt::Debug>(result: Result<T, Failure>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Failure::Refused { status, .. }) => status,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_socket_for_reading_answers_and_lets_nothing_be_changed() {
    let house = House::open("").await;
    let mode = std::fs::metadata(house.path("read.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let reader = house.reader();
    assert_eq!(status(reader.get(&["v1", "jobs"], &[]).await), 200);
    for path in [vec!["v1", "jobs"], vec!["v1", "accounts", "tronk", "pause"], vec!["v1", "reload"], vec!["no", "such"]]
    {
        let error = reader.post(&path, &order()).await.unwrap_err();
        assert!(error.to_string().contains("admin.socket"), "{error}");
        assert_eq!(status::<()>(Err(error)), 403, "{path:?}");
    }
    assert_eq!(status(reader.put(&["v1", "log"], &json!({ "filter": "trace" })).await), 403);
    assert_eq!(status(reader.delete(&["v1", "log"]).await), 403);
    let jobs: Value = house.socket().get(&["v1", "jobs"], &[]).await.unwrap().read().unwrap();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 0);
    house.daemon.stop().await;
}

#[tokio::test]
async fn tcp_is_for_whoever_shows_a_token_and_one_of_them_only_reads() {
    let page = Page::default();
    let _guard = listen("trace", Out::text(Box::new(page.clone()), false));
    let house = House::open("").await;
    let http = reqwest_client();
    let bare = http.get(format!("{}/v1/jobs", house.url())).send().await.unwrap();
    assert_eq!(bare.status(), 401);
    assert_eq!(bare.headers()["www-authenticate"], "Bearer realm=\"opros\"");
    assert_eq!(bare.headers()["content-type"], "application/problem+json");
    for wrong in ["Basic YTpi", "Bearer", "Bearer ", &format!("Bearer {TOKEN}x"), &format!("Basic {TOKEN}")] {
        let answer =
            http.get(format!("{}/openapi.json", house.url())).header("authorization", wrong).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{wrong}");
    }
    assert_eq!(status(house.tcp(TOKEN).post(&["v1", "jobs"], &order()).await), 200);
    let reader = house.tcp(READ_TOKEN);
    assert_eq!(status(reader.get(&["v1", "jobs"], &[]).await), 200);
    assert_eq!(status(reader.post(&["v1", "jobs"], &order()).await), 403);
    let metrics = house.socket().get(&["metrics"], &[]).await.unwrap().body;
    assert!(metrics.contains("opros_admin_refused_total{reason=\"token\"} 6"), "{metrics}");
    assert!(metrics.contains("opros_admin_refused_total{reason=\"read_only\"} 1"), "{metrics}");
    house.daemon.stop().await;
    let log = page.text();
    assert!(log.contains("showed no token, or a wrong one address=127.0.0.1:"), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("a job was handed in")).collect();
    assert!(lines.len() == 1 && lines[0].contains(" address=127.0.0.1:"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains(READ_TOKEN), "a token is in the log");
}

#[expect(clippy::disallowed_methods, reason = "this client speaks to our own door")]
fn reqwest_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_change_is_logged_with_the_users_number_process_and_name() {
    let page = Page::default();
    let _guard = listen("info", Out::text(Box::new(page.clone()), false));
    let house = House::open("").await;
    let socket = house.socket();
    assert_eq!(status(socket.post(&["v1", "accounts", "tronk", "pause"], &json!({})).await), 200);
    let job: Value = socket.post(&["v1", "jobs"], &order()).await.unwrap().read().unwrap();
    assert_eq!(status(socket.post(&["v1", "jobs", &job["id"].to_string(), "cancel"], &json!({})).await), 200);
    house.daemon.stop().await;
    let log = page.text();
    let uid = rustix::process::getuid().as_raw();
    let name = opros::people::user_name(uid).map(|name| format!(" user={name}")).unwrap_or_default();
    let who = format!(" uid={uid} pid={}{name}", std::process::id());
    for words in ["an operator paused an account", "a job was handed in", "an operator wished to cancel a job"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
        assert!(lines.len() == 1 && lines[0].contains(&who), "{words}: {who}: {log}");
    }
}

/// A new route that changes something has to say by whom: its handler asks for it and logs it.
#[test]
fn every_route_that_changes_something_says_who_ordered_it() {
    let admin = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
    let mut handlers = 0;
    for entry in std::fs::read_dir(admin).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&entry).unwrap();
        for part in text.split("#[utoipa::path(").skip(1) {
            let method = part.trim_start().split(',').next().unwrap();
            if !["post", "put", "delete", "patch"].contains(&method) {
                continue;
            }
            handlers += 1;
            let name = part.split("pub async fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap();
            let head = part.split("pub async fn ").nth(1).unwrap();
            assert!(head.contains("    who: Who,"), "{}: {name} does not ask who", entry.display());
            assert!(
                text.contains("audit!(who, ") || text.contains("bulk::"),
                "{}: {name} logs nothing",
                entry.display()
            );
        }
    }
    assert!(handlers >= 17, "{handlers}");
}

#[tokio::test]
async fn a_socket_can_be_given_to_another_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let own = rustix::process::getgid().as_raw();
    let _socket = unix::bind_for(&path, 0o660, Some(own)).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().gid(), own);
    if rustix::process::getuid().is_root() {
        let other = dir.path().join("b.sock");
        let _socket = unix::bind_for(&other, 0o660, Some(4711)).await.unwrap();
        assert_eq!(std::fs::metadata(&other).unwrap().gid(), 4711);
    }
}

/// Who may only read takes no place of who may order, and no stream takes that of an export.
#[tokio::test]
async fn readers_take_the_streams_of_readers() {
    let house = House::open("").await;
    let live = |client: Client| async move { client.stream(&["v1", "events"], &[], "text/event-stream").await };
    let export = |client: Client| async move { client.stream(&["v1", "export", "jobs"], &[], "*/*").await };
    let mut open = Vec::new();
    let (reader, tcp_reader) = (|| house.reader(), || house.tcp(READ_TOKEN));
    for client in [&reader as &dyn Fn() -> Client, &tcp_reader] {
        let refused = loop {
            match live(client()).await {
                Ok(stream) => open.push(stream),
                Err(refused) => break refused,
            }
            assert!(open.len() < 300, "there is no end of places");
        };
        assert!(matches!(refused, Failure::Refused { status: 503, .. }), "{refused}");
        assert_eq!(status(export(client()).await), 200, "an export has places of its own");
    }
    let (socket, tcp) = (|| house.socket(), || house.tcp(TOKEN));
    for client in [&socket as &dyn Fn() -> Client, &tcp] {
        for _ in 0..10 {
            open.push(live(client()).await.expect("a stream of who may order"));
        }
        assert_eq!(status(export(client()).await), 200);
    }
    drop(open);
    house.daemon.stop().await;
}
