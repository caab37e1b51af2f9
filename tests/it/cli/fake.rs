//! A scripted daemon on a Unix socket, and the command line with its streams caught.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use clap::Parser;
use opros::cli::output::Term;
use opros::cli::{Cli, Command, Exit};
use opros::clock::{ManualClock, SharedClock};
use opros::domain::Timestamp;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What time it is in these tests.
pub const NOW: &str = "2026-11-22T03:00:00Z";

pub fn clock() -> SharedClock {
    Arc::new(ManualClock::new(Timestamp::parse_rfc3339(NOW).expect("a time")))
}

/// A request as the daemon saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// `POST /v1/jobs?limit=1`.
    pub call: String,
    pub body: Value,
}

type Script = Arc<dyn Fn(&Seen) -> Response + Send + Sync>;

pub struct Daemon {
    pub socket: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
    _dir: Option<tempfile::TempDir>,
}

impl Daemon {
    pub fn start(script: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Daemon {
        let dir = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::at(&dir.path().join("admin.sock"), script);
        Daemon { _dir: Some(dir), ..daemon }
    }

    pub fn at(socket: &Path, script: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Daemon {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, notes): (Script, _) = (Arc::new(script), seen.clone());
        let serve = move |request: Request| answer(script.clone(), notes.clone(), request);
        Daemon::serving(socket, Router::new().fallback(serve), seen)
    }

    pub fn serving(socket: &Path, router: Router, seen: Arc<Mutex<Vec<Seen>>>) -> Daemon {
        let listener = UnixListener::bind(socket).expect("a socket");
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Daemon { socket: socket.to_owned(), seen, server, _dir: None }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    pub fn calls(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.call).collect()
    }

    /// Stops listening and takes the socket away; connections that are open stay open.
    pub async fn stop_listening(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        std::fs::remove_file(&self.socket).expect("the socket was there");
    }

    /// Runs `opros --socket … WORDS`.
    pub async fn run(&self, words: &[&str]) -> Ran {
        run(&self.socket, words).await
    }
}

async fn answer(script: Script, notes: Arc<Mutex<Vec<Seen>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.expect("a whole body");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let seen = Seen { call: format!("{} {}", head.method, head.uri), body };
    notes.lock().expect("no panic").push(seen.clone());
    script(&seen)
}

/// How a command ended and what it printed, without colours.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
    /// With colours.
    pub raw: String,
}

pub async fn run(socket: &Path, words: &[&str]) -> Ran {
    let (out, err) = (Caught::default(), Caught::default());
    let exit = run_into(socket, words, Box::new(out.clone()), Box::new(err.clone())).await;
    let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
    Ran { exit, out: plain(&out.text()), err: plain(&err.text()), raw: out.text() }
}

pub async fn run_into(socket: &Path, words: &[&str], out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Exit {
    let socket = socket.to_str().expect("UTF-8");
    let words = [&["opros", "--socket", socket], words].concat();
    let cli = Cli::try_parse_from(words).expect("a command line");
    let Command::Client(command) = cli.command else { panic!("not a client's command") };
    let mut term = Term::captured(cli.globals.json, out, err);
    opros::cli::run_on(&mut term, &clock(), &cli.globals, command).await
}

/// A stream that keeps what is written.
#[derive(Debug, Clone, Default)]
pub struct Caught(Arc<Mutex<Vec<u8>>>);

impl Caught {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that goes away after so many lines, as `head` does.
#[derive(Debug, Clone)]
pub struct Head {
    pub caught: Caught,
    pub lines: usize,
}

impl Head {
    pub fn of(lines: usize) -> Head {
        Head { caught: Caught::default(), lines }
    }
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.caught.text().lines().count() >= self.lines && self.caught.text().ends_with('\n') {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.caught.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn answer_json(status: u16, body: &Value) -> Response {
    respond(status, "application/json", body.to_string())
}

pub fn problem(status: u16, body: &Value) -> Response {
    respond(status, "application/problem+json", body.to_string())
}

pub fn respond(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub fn not_found() -> Response {
    problem(404, &json!({ "title": "Not found", "detail": "there is no such job" }))
}

/// An open event stream: what is sent here arrives there; dropping it ends the stream.
pub fn live() -> (mpsc::UnboundedSender<String>, Response) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<String>();
    let frames = futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|frame| frame.map(|frame| Ok::<_, io::Error>(Bytes::from(frame))))
    });
    (sender, respond(200, "text/event-stream", Body::from_stream(frames)))
}

/// An event stream that says this and then ends.
pub fn frames(frames: &[String]) -> Response {
    respond(200, "text/event-stream", frames.concat())
}

pub fn event(seq: i64, kind: &str, job: i64, data: Value) -> String {
    let event = json!({
        "specversion": "1.0", "id": format!("test-{seq}"), "source": "/opros/test", "type": kind, "subject": job.to_string(),
        "time": NOW, "sequence": seq.to_string(), "datacontenttype": "application/json", "data": data,
    });
    format!("id: {seq}\nevent: {kind}\ndata: {event}\n\n")
}

/// A job with these fields over the usual ones.
pub fn job(id: i64, state: &str, more: Value) -> Value {
    let mut job = json!({
        "id": id, "kind": "tronk.report", "account": "tronk", "state": state, "params": { "phone": "79990000111" },
        "tag": null, "priority": 5, "dedupe_key": null, "remote_id": null, "attempts": 1, "polls": 3, "errors": 0,
        "result": null, "error": null, "why": null, "next_at": null, "created_at": "2026-11-22T02:59:00Z",
        "submitted_at": null, "updated_at": NOW, "finished_at": null, "mailbox_uid": null, "retry_of": null,
    });
    let fields = job.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    job
}
