//! Every secret and every personal datum is a marker. The real binary logs at TRACE, and its vendors echo whatever they are
//! sent; then the markers are looked for wherever they must not be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opros::cli::client::Client;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "canary+key/of=tronk&1";
const PASSWORD: &str = "canary\"password\\of-alta-2";
const USER_KEY: &str = "canary-key-of-rlab-3";
const TOKEN: &str = "canary-token-of-vagvin-4";
const CALLBACK_SECRET: &str = "canary-callback-secret-5-0123456789";
const SECRETS: [&str; 5] = [KEY, PASSWORD, USER_KEY, TOKEN, CALLBACK_SECRET];

fn phone(n: usize) -> String {
    format!("7999333{n:04}")
}

fn vin(n: usize) -> String {
    format!("WVWZZZ1KZAW93{n:04}")
}

fn mail(n: usize) -> String {
    format!("canary.mail{n:04}@example.org")
}

const NAME: &str = "Канарейкина Прасковья";

/// What must stand in no log, metric or list of accounts.
fn personal() -> Vec<String> {
    let all = (0..40).flat_map(|n| [phone(n), vin(n), mail(n)]);
    all.chain([NAME.to_owned(), "Канарейкина".to_owned(), "canary.mail".to_owned()]).collect()
}

/// A text of JSON, spelt as one of the vendors' programs would.
fn spelt(text: &str, way: usize) -> String {
    let each = |one: &dyn Fn(char) -> String| text.chars().map(one).collect::<String>();
    let number = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect::<String>();
    let percent = |c: char| c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    match way {
        // PHP.
        0 => json!(text).to_string().replace('/', "\\/"),
        // .NET, and whoever trusts no character at all.
        1 => format!("\"{}\"", each(&number)),
        // A query, in small letters, as JSON.
        2 => json!(each(&|c| if c.is_ascii_alphanumeric() { c.to_string() } else { percent(c) })).to_string(),
        // A page.
        3 => json!(each(&|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("&#{};", c as u32) }))
            .to_string(),
        // JSON in JSON, of PHP both times.
        4 => json!(json!(text).to_string().replace('/', "\\/")).to_string().replace('/', "\\/"),
        _ => json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)).to_string(),
    }
}

/// Ways of [`spelt`].
const SPELLINGS: usize = 6;

/// How a vendor answers what it was sent: each time in the next way, and with all of it.
fn echo(request: &str, turn: usize) -> Vec<u8> {
    // What was ordered first: of an answer that cannot be read only the beginning is shown.
    let line = request.lines().next().unwrap_or_default().to_owned();
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or_default();
    let request = format!("{body}{}{head} {}", if body.is_empty() { "" } else { " " }, SECRETS.join(" "));
    let request = request.as_str();
    let quoted = match turn.checked_sub(PLAIN) {
        Some(way) => spelt(&format!("{} {request}", SECRETS.join("/")), way % SPELLINGS),
        None => Value::from(request).to_string(),
    };
    // In each spelling once as a refusal and once as a report.
    let form = if turn < PLAIN {
        turn
    } else if turn < PLAIN + SPELLINGS {
        1
    } else {
        5
    };
    let (status, body) = match form {
        0 => (200, format!("<html><body>{request}</body></html>")),
        1 => (
            200,
            format!(
                r#"{{"error":true,"error_msg":{quoted},"resultState":2,"resultInfo":{quoted},"status":"error","descr":{quoted}}}"#
            ),
        ),
        2 => (500, format!(r#"{{"error":{quoted}}}"#)),
        3 => (200, format!("[{{\"status\":\"error\",\"code\":7,\"descr\":{quoted}}}]")),
        4 => (400, quoted),
        5 => (
            200,
            format!(
                r#"{{"error":null,"id":{turn},"status":1,"resultJson":{quoted},"url":{quoted},"resultState":0,"resultInfo":{quoted}}}"#
            ),
        ),
        6 => (503, request.to_owned()),
        7 => (200, request.chars().take(request.chars().count() / 2).collect()),
        _ => (302, request.to_owned()),
    };
    let length = body.len() + if turn % TURNS == 7 { 100 } else { 0 };
    // Also in a header.
    format!("HTTP/1.1 {status} {line}\r\nX-Echo: {line}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// Ways to answer: with what was sent as it was, and in every spelling.
const TURNS: usize = PLAIN + 2 * SPELLINGS;
const PLAIN: usize = 9;

/// What was sent so far, by vendor and way.
type Sent = Arc<Mutex<Vec<(usize, String)>>>;

/// Answers everything in one way: the first answer of each account counts, since some of them pause it.
async fn vendor(sent: Sent, turn: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, turn, Arc::clone(&sent)));
        }
    });
    url
}

async fn answer(mut stream: TcpStream, turn: usize, sent: Sent) {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        sent.lock().unwrap().push((turn, text.clone()));
        let _ = stream.write_all(&echo(&text, turn % TURNS)).await;
        let _ = stream.shutdown().await;
        return;
    }
}

struct World {
    dir: tempfile::TempDir,
    daemon: Child,
    sent: Sent,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let sent = Sent::default();
        let mut urls = Vec::new();
        for turn in 0..4 * TURNS {
            urls.push(vendor(Arc::clone(&sent), turn).await);
        }
        let config = dir.path().join("opros.toml");
        std::fs::write(&config, settings(dir.path(), &urls)).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let daemon = Command::new(env!("CARGO_BIN_EXE_opros"))
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let world = World { dir, daemon, sent };
        until("the socket answers", async || world.get(&["v1", "health"]).await.is_some()).await;
        world
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path().join("admin.sock")).unwrap()
    }

    async fn get(&self, path: &[&str]) -> Option<String> {
        let answer: Option<Value> = self.client().get(path, &[]).await.ok()?.read().ok();
        answer.map(|answer| answer.to_string())
    }

    /// An order at the account of that vendor that is answered in that way.
    async fn order(&self, vendor: usize, turn: usize, kind: &str, params: Value) {
        let account = format!("a{}", vendor * TURNS + turn);
        let order = json!({ "kind": kind, "params": params, "account": account });
        let answer = self.client().post(&["v1", "jobs"], &order).await;
        assert!(answer.is_ok(), "{kind}: {answer:?}");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap_or_default()
    }

    fn proc(&self, name: &str) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/{name}", self.daemon.id())).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn settings(dir: &Path, urls: &[String]) -> String {
    let (key, password) = (json!(KEY), json!(PASSWORD));
    let dir = dir.display();
    let mut text = format!(
        "[store]\npath = \"{dir}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"{dir}/mailbox/mailbox.db\"\n\
         [admin]\nsocket = \"{dir}/admin.sock\"\n[log]\nformat = \"json\"\nfilter = \"trace\"\n\
         [callbacks]\nlisten = \"127.0.0.1:0\"\n"
    );
    let own = [
        format!("vendor = \"tronk\"\nkey = {key}\n"),
        format!("vendor = \"alta\"\nlogin = \"login\"\nsa = \"sa000000\"\npassword = {password}\nsettle = \"1s\"\n"),
        format!("vendor = \"rlab\"\nuser_id = 1\nuser_key = \"{USER_KEY}\"\nbatch_wait = \"0s\"\n"),
        format!("vendor = \"vagvin\"\ntoken = \"{TOKEN}\"\ncallback_secret = \"{CALLBACK_SECRET}\"\n"),
    ];
    for (n, url) in urls.iter().enumerate() {
        text += &format!("[accounts.a{n}]\nbase_url = \"{url}\"\n{}", own[n / TURNS]);
    }
    text
}

async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !fact().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The markers that stand in there, in any spelling: as it is, and decoded again and again by whatever could decode it.
fn hits(hay: &[u8], markers: &[String]) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut read = hay.to_vec();
    for _ in 0..4 {
        let stands = |needle: &[u8]| memchr::memmem::find(&read, needle).is_some();
        found.extend(markers.iter().filter(|marker| stands(marker.as_bytes()) || stands(middle(marker).as_bytes())));
        let decoded = decoded(&read);
        if decoded == read {
            break;
        }
        read = decoded;
    }
    found.into_iter().cloned().collect()
}

/// Most of a marker in base64, as it stands where it begins a group of three bytes. The markers are long and the texts
/// around them many: each of them begins one somewhere.
fn middle(marker: &str) -> String {
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, marker);
    encoded[..encoded.len() - 2].to_owned()
}

/// One round of escapes of JSON, of URLs and of HTML taken off, wherever they stand.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(text.len());
    let mut at = 0;
    let digits = |at: usize, count: usize| {
        let digits = std::str::from_utf8(text.get(at..at + count)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    while let Some(byte) = text.get(at) {
        let entity = || {
            let end = text[at..].iter().take(12).position(|byte| *byte == b';')?;
            let number = std::str::from_utf8(text.get(at + 2..at + end)?).ok()?.parse().ok()?;
            Some((number, end + 1))
        };
        let (number, length) = match (byte, text.get(at + 1)) {
            (b'\\', Some(b'u')) => (digits(at + 2, 4), 6),
            (b'\\', Some(sign @ (b'/' | b'"' | b'\\'))) => (Some(u32::from(*sign)), 2),
            (b'%', _) => (digits(at + 1, 2), 3),
            (b'&', Some(b'#')) => entity().map_or((None, 1), |(number, length)| (Some(number), length)),
            _ => (None, 1),
        };
        match number.and_then(char::from_u32) {
            Some(c) if byte == &b'%' => read.push(c as u8),
            Some(c) => read.extend(c.to_string().bytes()),
            None => read.push(*byte),
        }
        at += if number.and_then(char::from_u32).is_some() { length } else { 1 };
    }
    read
}

async fn order_everything(world: &World) {
    let track = ["19527937484546", "63010828068631", "AB123456785RU"];
    for n in 0..TURNS {
        world.order(0, n, "tronk.report", json!({ "phone": phone(n) })).await;
        world.order(0, n, "tronk.report_json", json!({ "vin": vin(n) })).await;
        let wagons = json!({ "wagons": ["54676515"], "track_state": "ru", "track_type": 2, "times": ["09:00"],
            "emails": [mail(n)], "comment": format!("для {}", phone(n)) });
        world.order(1, n, "alta.track", wagons).await;
        world
            .order(
                3,
                n,
                "vagvin.report",
                json!({ "vin": vin(n + 20), "check_type": "check_elsa_pro_full", "car_brand": "Audi",
            "report_language": "Русский", "your_email": mail(n + 20),
            "client_email": mail(n + 20), "telegram_id": phone(n + 20) }),
            )
            .await;
        let parcel = json!({ "track": track[n % 3], "phone": phone(n + 10), "email": mail(n + 10), "name": NAME });
        world.order(2, n, "rlab.track", parcel).await;
    }
    // By the mailbox too, good ones and bad ones.
    let path = world.dir.path().join("mailbox/mailbox.db");
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(20));
    let mut conn = options.connect().await.unwrap();
    for params in [
        json!({ "phone": phone(30) }),
        json!({ "phone": format!("{}00", phone(31)) }),
        json!({ "vin": format!("{}x", vin(32)) }),
        json!({ "fone": phone(33), "e-mail": mail(33) }),
    ] {
        let insert = sqlx::query("INSERT INTO jobs (kind, params, uid, account) VALUES ('tronk.report', $1, $2, 'a5')");
        insert
            .bind(params.to_string())
            .bind(mail(34) + &params.to_string().len().to_string())
            .execute(&mut conn)
            .await
            .unwrap();
    }
}

/// Table and column of every text that holds one of the markers.
async fn columns(file: &Path, markers: &[String]) -> BTreeSet<String> {
    let mut conn = SqliteConnectOptions::new().filename(file).read_only(true).connect().await.unwrap();
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'").fetch_all(&mut conn).await.unwrap();
    let mut found = BTreeSet::new();
    for table in tables {
        let all = sqlx::AssertSqlSafe(format!("SELECT * FROM \"{table}\""));
        for row in sqlx::query(all).fetch_all(&mut conn).await.unwrap() {
            for column in row.columns() {
                let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(sqlx::Column::ordinal(column)).ok().flatten();
                if bytes.is_some_and(|bytes| !hits(&bytes, markers).is_empty()) {
                    found.insert(format!("{table}.{}", sqlx::Column::name(column)));
                }
            }
        }
    }
    found
}

/// Where personal data may lie: what was ordered, what was answered, why it ended, and what tells of that.
const MEANT: [&str; 14] = [
    "bodies.params",
    "bodies.result",
    "bodies.partial",
    "jobs.memo",
    "jobs.reason",
    "jobs.mailbox_uid",
    "jobs.uid",
    "uids.uid",
    "uids.message",
    "attempts.detail",
    "calls.note",
    "events.data",
    "events.uid",
    "observations.raw",
];
const MEANT_IN_MAILBOX: [&str; 5] = ["jobs.params", "jobs.uid", "jobs.error", "jobs.result", "events.data"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_anywhere_and_no_personal_datum_beyond_its_columns() {
    let world = World::new().await;
    order_everything(&world).await;
    until("every account has asked and was answered", async || {
        let sent = world.sent.lock().unwrap();
        // Some answers pause an account before it orders anything.
        let asked = sent.iter().map(|(turn, _)| *turn).collect::<BTreeSet<_>>().len();
        let orders = ["mode=setqueue", "mode=create", "action=add", "addtrack", "check_type"];
        let ordered = sent.iter().filter(|(_, text)| orders.iter().any(|order| text.to_lowercase().contains(order)));
        ordered.map(|(turn, _)| *turn).collect::<BTreeSet<_>>().len() >= 3 * TURNS && asked == 4 * TURNS
    })
    .await;
    until("nothing is being sent", async || {
        let jobs = world.get(&["v1", "jobs"]).await.unwrap();
        !jobs.contains("\"submitting\"") && !jobs.contains("\"state\":\"new\"")
    })
    .await;

    // What is derived from the secrets and travels: taken from what the vendors were sent.
    let mut secrets: Vec<String> = SECRETS.iter().map(|secret| (*secret).to_owned()).collect();
    for (_, request) in world.sent.lock().unwrap().iter() {
        for (before, after) in [("secret=", '&'), ("RequestKey\":\"", '"')] {
            let derived = request.split(before).skip(1).filter_map(|rest| rest.split(after).next());
            secrets.extend(derived.filter(|text| text.len() >= 16).map(str::to_owned));
        }
    }
    secrets.sort();
    secrets.dedup();
    assert!(secrets.len() > SECRETS.len(), "Alta's secret and R-Lab's keys were sent");

    let shown = [
        ("jobs", world.get(&["v1", "jobs"]).await.unwrap()),
        ("events", world.get(&["v1", "events"]).await.unwrap()),
        ("callbacks", world.get(&["v1", "callbacks"]).await.unwrap_or_default()),
    ];
    let impersonal = [
        ("accounts", world.get(&["v1", "accounts"]).await.unwrap()),
        ("health", world.get(&["v1", "health"]).await.unwrap()),
        ("metrics", String::from_utf8_lossy(&metrics(&world).await).into_owned()),
        ("cmdline", String::from_utf8_lossy(&world.proc("cmdline")).into_owned()),
        ("environ", String::from_utf8_lossy(&world.proc("environ")).into_owned()),
        ("the log", String::from_utf8_lossy(&world.read("log")).into_owned()),
    ];
    let mut wrong = Vec::new();
    for (name, text) in shown.iter().chain(&impersonal) {
        wrong.extend(
            hits(text.as_bytes(), &secrets)
                .iter()
                .map(|hit| format!("{name} shows the secret {hit}: {}", around(text, hit))),
        );
    }
    let personal = personal();
    for (name, text) in &impersonal {
        wrong.extend(
            hits(text.as_bytes(), &personal).iter().map(|hit| format!("{name} shows {hit}: {}", around(text, hit))),
        );
    }
    let log = &impersonal[5].1;
    assert!(log.lines().count() > 100, "{} lines; it logs at TRACE", log.lines().count());

    for file in ["store/opros.db", "store/opros.db-wal", "mailbox/mailbox.db", "mailbox/mailbox.db-wal"] {
        wrong.extend(hits(&world.read(file), &secrets).iter().map(|hit| format!("{file} holds the secret {hit}")));
    }
    let (store, mailbox): (PathBuf, PathBuf) =
        (world.dir.path().join("store/opros.db"), world.dir.path().join("mailbox/mailbox.db"));
    let beyond = |found: BTreeSet<String>, meant: &[&str]| {
        found.into_iter().filter(|column| !meant.contains(&column.as_str())).collect::<Vec<_>>()
    };
    wrong.extend(beyond(columns(&store, &personal).await, &MEANT).iter().map(|at| format!("the store's {at}")));
    wrong.extend(
        beyond(columns(&mailbox, &personal).await, &MEANT_IN_MAILBOX).iter().map(|at| format!("the mailbox's {at}")),
    );
    assert!(wrong.is_empty(), "{} finds:\n{}", wrong.len(), wrong.join("\n"));
}

/// Some of the text before the first of them.
fn around(text: &str, hit: &str) -> String {
    let at = text.find(hit).or_else(|| text.find(&hit[..6])).unwrap_or(0);
    let start = text[..at].char_indices().rev().nth(300).map_or(0, |(at, _)| at);
    text[start..].chars().take(420).collect()
}

async fn metrics(world: &World) -> Vec<u8> {
    let mut stream = tokio::net::UnixStream::connect(world.dir.path().join("admin.sock")).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: opros\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}
