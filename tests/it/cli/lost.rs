//! What is told, and done, when an answer does not come: whatever was asked for may have been done.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use opros::cli::Exit;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::fake::{Ran, job, run};

/// What becomes of a request that was read whole.
#[derive(Debug, Clone)]
enum Does {
    /// Nothing, for ever.
    Hangs,
    /// The connection is cut.
    Breaks,
    /// The head of an answer, and then the connection is cut.
    BreaksLate,
    Answers(u16, String),
}

/// A socket that does one thing after another; the last goes on.
struct Server {
    dir: tempfile::TempDir,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(script: &[Does]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("admin.sock")).unwrap();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (mut script, notes) = (VecDeque::from(script.to_vec()), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let does = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
                tokio::spawn(serve(stream, does.unwrap(), Arc::clone(&notes)));
            }
        });
        Server { dir, heard, task }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    async fn run(&self, words: &[&str]) -> Ran {
        run(&self.socket(), &[&["--patience", "300ms"], words].concat()).await
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// The tokens that came, in order.
    fn keys(&self) -> Vec<String> {
        let key = |request: String| {
            let line = request.lines().find(|line| line.to_lowercase().starts_with("idempotency-key:"));
            line.map(|line| line.split_once(':').unwrap().1.trim().trim_matches('"').to_owned())
        };
        self.heard().into_iter().filter_map(key).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Head and body; a body of unknown length ends with its last chunk.
async fn read_whole(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        text.extend_from_slice(&buffer[..read]);
        let seen = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = seen.split_once("\r\n\r\n") else { if read == 0 { return seen } else { continue } };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let is_whole = match length {
            Some(length) => body.len() >= length,
            None => !head.to_lowercase().contains("chunked") || body.contains("\r\n0\r\n\r\n") || body == "0\r\n\r\n",
        };
        if is_whole || read == 0 {
            return seen;
        }
    }
}

async fn serve(mut stream: UnixStream, does: Does, heard: Arc<Mutex<Vec<String>>>) {
    let request = read_whole(&mut stream).await;
    heard.lock().unwrap().push(request);
    match does {
        Does::Hangs => std::future::pending().await,
        Does::Breaks => {}
        Does::BreaksLate => {
            let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":";
            stream.write_all(head.as_bytes()).await.unwrap();
        }
        Does::Answers(status, body) => {
            let kind = if body.starts_with("{\"line\"") { "application/x-ndjson" } else { "application/json" };
            let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    }
}

fn good() -> Does {
    Does::Answers(201, job(812, "queued", json!({})).to_string())
}

const ORDERS: [&[&str]; 3] =
    [&["submit", "tronk.report", "phone=79990000111"], &["retry", "5"], &["resolve", "5", "--resubmit"]];

#[tokio::test]
async fn an_answer_that_never_comes_is_never_told_as_cannot_be_reached() {
    for words in ORDERS {
        for does in [Does::Hangs, Does::Breaks, Does::BreaksLate] {
            let server = Server::start(std::slice::from_ref(&does));
            let ran = server.run(words).await;
            assert_eq!(ran.exit, Exit::Unanswered, "{words:?} {does:?}: {}", ran.err);
            let keys = server.keys();
            assert!(keys.len() > 1 && keys.iter().all(|key| *key == keys[0]), "it was asked for again: {keys:?}");
            let told = format!("opros jobs --uid {}", keys[0]);
            assert!(ran.err.contains("may have been taken") && ran.err.contains(&told), "{}", ran.err);
        }
    }
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_asked_for_again_under_the_same_token_until_it_comes() {
    for words in ORDERS {
        for does in [Does::Hangs, Does::Breaks, Does::BreaksLate] {
            let busy = Does::Answers(503, json!({ "title": "opros is stopping" }).to_string());
            let server = Server::start(&[does, busy, good()]);
            let ran = server.run(words).await;
            assert_eq!(ran.exit, Exit::Ok, "{words:?}: {}", ran.err);
            assert!(ran.out.starts_with("Job 812 is queued."), "{}", ran.out);
            let keys = server.keys();
            assert_eq!((keys.len(), keys.iter().filter(|key| **key == keys[0]).count()), (3, 3), "{keys:?}");
        }
    }
}

#[tokio::test]
async fn each_command_has_a_token_of_its_own_unless_one_is_given() {
    let server = Server::start(&[good()]);
    for _ in 0..2 {
        server.run(ORDERS[0]).await;
    }
    server.run(&["submit", "tronk.report", "phone=79990000111", "--uid", "lead 17 \"ы\\"]).await;
    let keys = server.keys();
    assert!(keys[0] != keys[1] && keys.iter().take(2).all(|key| key.len() > 20), "{keys:?}");
    assert_eq!(keys[2], "lead 17 \\\"ы\\\\");
}

#[tokio::test]
async fn nobody_there_is_still_nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    for words in ORDERS {
        assert_eq!(run(&dir.path().join("none.sock"), words).await.exit, Exit::Unreachable);
    }
    let server = Server::start(&[Does::Hangs]);
    let ran = server.run(&["jobs"]).await;
    assert_eq!(
        (ran.exit, server.heard().len()),
        (Exit::Unreachable, 1),
        "a look that is late has done nothing: {}",
        ran.err
    );
}

#[tokio::test]
async fn a_move_that_is_harmless_to_repeat_says_so() {
    for words in [&["cancel", "5"][..], &["release", "5"]] {
        let server = Server::start(&[Does::Hangs]);
        let ran = server.run(words).await;
        assert_eq!((ran.exit, ran.err.contains("may have been done")), (Exit::Unanswered, true), "{}", ran.err);
        assert!(ran.err.contains("opros show 5"), "{}", ran.err);
    }
    for words in [&["pause", "tronk"][..], &["resume", "tronk"], &["reload"], &["purge", "--job", "5"]] {
        let server = Server::start(&[Does::Breaks]);
        let ran = server.run(words).await;
        assert!(!matches!(ran.exit, Exit::Ok | Exit::Unreachable), "{words:?}: {:?} {}", ran.exit, ran.err);
    }
}

fn file(lines: &[Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn uids(request: &str) -> Vec<String> {
    let lines = request.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line.get("uid")?.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn lines_without_a_verdict_are_sent_again_under_the_same_tokens() {
    let line = |n: u32| json!({ "kind": "tronk.report", "params": { "phone": format!("7999000011{n}") } });
    let file = file(&[line(1), json!({ "uid": "mine", "kind": "tronk.report", "params": {} }), line(3)]);
    let verdict = |line: u32, id: u32| json!({ "line": line, "status": 201, "id": id }).to_string();
    // The first verdict comes, the others are lost; then all that is left is answered.
    let first = Does::Answers(200, format!("{}\n", verdict(1, 11)));
    let rest = Does::Answers(200, format!("{}\n{}\n", verdict(1, 12), verdict(2, 13)));
    let server = Server::start(&[first, Does::Breaks, rest]);
    let path = file.path().to_str().unwrap();
    let ran = server.run(&["submit", "--json", "--uid", "batch", "--file", path]).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let heard: Vec<Vec<String>> = server.heard().iter().map(|request| uids(request)).collect();
    assert_eq!(heard[0], ["batch-1", "mine", "batch-3"]);
    assert_eq!(heard[1..], [["mine", "batch-3"], ["mine", "batch-3"]]);
    let numbers: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["line"].clone()).collect();
    assert_eq!(numbers, [json!(1), json!(2), json!(3)], "numbers of the file's lines");
}

#[tokio::test]
async fn a_bulk_that_nobody_answers_tells_how_to_go_on() {
    let file = file(&[json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } })]);
    for does in [Does::Hangs, Does::Breaks] {
        let server = Server::start(&[does]);
        let ran = server.run(&["submit", "--uid", "batch", "--file", file.path().to_str().unwrap()]).await;
        assert_eq!(ran.exit, Exit::Unanswered, "{}", ran.err);
        assert!(ran.err.contains("may have been taken") && ran.err.contains("--uid batch"), "{}", ran.err);
        let heard = server.heard();
        assert!(heard.iter().all(|request| uids(request) == ["batch-1"]), "{heard:?}");
    }
}

#[tokio::test]
async fn a_line_that_opros_did_not_take_because_it_stops_is_sent_again() {
    let file = file(&[json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } })]);
    let stopping = json!({ "line": 1, "status": 503, "problem": { "title": "opros is stopping" } });
    let taken = json!({ "line": 1, "status": 201, "id": 1 });
    let server =
        Server::start(&[Does::Answers(200, format!("{stopping}\n")), Does::Answers(200, format!("{taken}\n"))]);
    let ran = server.run(&["submit", "--file", file.path().to_str().unwrap()]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "1 lines: 1 new, 0 known already, 0 refused\n"), "{}", ran.err);
}

#[tokio::test]
async fn jobs_are_looked_up_by_their_token() {
    let found = json!({ "jobs": [job(7, "waiting", json!({ "uid": "lead-17" }))], "next": null }).to_string();
    let server =
        Server::start(&[Does::Answers(200, found), Does::Answers(200, job(7, "waiting", json!({})).to_string())]);
    let ran = server.run(&["show", "--uid", "lead 17"]).await;
    assert_eq!((ran.exit, ran.out.starts_with("Job 7 waiting")), (Exit::Ok, true), "{} {}", ran.out, ran.err);
    assert!(server.heard()[0].starts_with("GET /v1/jobs?uid=lead+17 "), "{}", server.heard()[0]);
    let server = Server::start(&[Does::Answers(200, r#"{"jobs":[],"next":null}"#.to_owned())]);
    assert_eq!(server.run(&["show", "--uid", "nobody"]).await.exit, Exit::NotFound);
    assert_eq!(server.run(&["jobs", "--uid", "nobody"]).await.exit, Exit::Ok);
}

/// The daemon of the default socket would be asked in place of the one that was meant.
#[tokio::test]
async fn a_named_configuration_that_cannot_be_read_ends_every_client_command_with_2() {
    let server = Server::start(&[good()]);
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("opros.tmol").to_str().unwrap().to_owned();
    let broken = dir.path().join("broken.toml").to_str().unwrap().to_owned();
    std::fs::write(&broken, "[admin\nkey = \"s3cr3t\"").unwrap();
    for file in [missing.as_str(), broken.as_str(), dir.path().to_str().unwrap()] {
        for words in [&["submit", "tronk.report", "phone=79990000111"][..], &["jobs"], &["retry", "5"], &["health"]] {
            let ran = server.run(&[&["--config", file], words].concat()).await;
            assert_eq!(ran.exit, Exit::Usage, "{file} {words:?}: {}", ran.err);
            assert!(ran.err.contains(file) && !ran.err.contains("s3cr3t"), "{}", ran.err);
        }
    }
    assert!(server.heard().is_empty(), "nothing was sent");
    let good = dir.path().join("opros.toml");
    std::fs::write(&good, "[admin]\nsocket = \"/nowhere\"\n").unwrap();
    assert_eq!(server.run(&["--config", good.to_str().unwrap(), "retry", "5"]).await.exit, Exit::Ok);
}
