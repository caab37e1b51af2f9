//! 500 call-backs a second for ten seconds, one in ten hostile, at the real daemon in a process of its own.
//! Prints what docs/callbacks.md quotes. `cargo bench --bench callbacks`

use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use opros::cli::client::Client;
use opros::simulator::{CallbackStyle, CallbackWhen, SimConfig, Simulator, VagvinSim};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const SECRET: &str = "call-back-secret-0123456789";
const RATE: u32 = 500;
const SECONDS: u32 = 10;
/// Of the cars that are reported on, so many have a waiting job.
const JOBS: usize = 300;
const REPORT: usize = 20 << 10;
/// Attackers that send what is too large without saying how large it is: few, since it is the sender that sweats.
const ENDLESS_EVERY: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Json,
    Report,
    WrongSecret,
    BrokenMultipart,
    PathTricks,
    Oversized,
    Slow,
}

impl Kind {
    /// Every tenth is hostile, in turn each way; every fifth of the others brings a report.
    fn of(n: usize) -> Kind {
        const HOSTILE: [Kind; 5] =
            [Kind::WrongSecret, Kind::BrokenMultipart, Kind::PathTricks, Kind::Oversized, Kind::Slow];
        match n % 10 {
            9 => HOSTILE[n / 10 % HOSTILE.len()],
            4 => Kind::Report,
            _ => Kind::Json,
        }
    }

    fn is_good(self) -> bool {
        matches!(self, Kind::Json | Kind::Report)
    }
}

#[derive(Debug)]
struct Seen {
    kind: Kind,
    status: Option<u16>,
    took: Duration,
}

struct House {
    dir: tempfile::TempDir,
    daemon: Child,
    door: SocketAddr,
    _vendors: Simulator,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn vin(n: usize) -> String {
    format!("WVWZZZ1KZAW{n:06}")
}

async fn start() -> House {
    let style = CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() };
    let vagvin = VagvinSim { styles: vec![style], ..VagvinSim::default() };
    let vendors = Simulator::start(SimConfig { vagvin, ..SimConfig::default() }).await.expect("the vendors play");
    let dir = tempfile::tempdir().expect("a directory");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let door = free.local_addr().expect("its number");
    drop(free);
    let config = dir.path().join("opros.toml");
    let text = format!(
        "[store]\npath = \"{dir}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
         [admin]\nsocket = \"{dir}/admin.sock\"\n[callbacks]\nlisten = \"{door}\"\n[accounts.vagvin]\nvendor = \"vagvin\"\n\
         base_url = \"{}\"\ntoken = \"{}\"\ncallback_secret = \"{SECRET}\"\n",
        vendors.base_url("vagvin"),
        VagvinSim::default().token,
        dir = dir.path().display(),
    );
    std::fs::write(&config, text).expect("a configuration");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_opros"));
    daemon.arg("--config").arg(&config).arg("serve").stdout(Stdio::null()).stderr(Stdio::null());
    let house = House { daemon: daemon.spawn().expect("the binary starts"), dir, door, _vendors: vendors };
    while house.client().get(&["v1", "health"], &[]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house
}

impl House {
    fn client(&self) -> Client {
        Client::new(self.dir.path().join("admin.sock")).expect("a client")
    }

    async fn order(&self) {
        for n in 0..JOBS {
            let params = json!({ "vin": vin(n * 10), "check_type": "check_CarVertical", "report_language": "Русский" });
            let order = json!({ "kind": "vagvin.report", "params": params });
            self.client().post(&["v1", "jobs"], &order).await.expect("an order");
        }
        while self.count("waiting").await < JOBS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn count(&self, state: &str) -> usize {
        let query = [("state", state.to_owned()), ("limit", "1000".to_owned())];
        let page: Value = self.client().get(&["v1", "jobs"], &query).await.expect("jobs").read().expect("JSON");
        page["jobs"].as_array().map_or(0, Vec::len)
    }

    /// Stored ones that say which car they are about, with those that have a job.
    async fn stored(&self) -> (usize, usize) {
        let (mut stored, mut matched, mut cursor) = (0, 0, None::<String>);
        loop {
            let mut query = vec![("limit", "1000".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Value =
                self.client().get(&["v1", "callbacks"], &query).await.expect("a page").read().expect("JSON");
            let rows = page["callbacks"].as_array().cloned().unwrap_or_default();
            let is_good = |row: &&Value| row["status"] == "good";
            stored += rows.iter().filter(is_good).count();
            matched += rows.iter().filter(|row| !row["job"].is_null()).count();
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return (stored, matched),
            }
        }
    }

    /// VmRSS or VmHWM, in MiB.
    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
        kib / 1024.0
    }
}

fn multipart(n: usize, name: &str, whole: bool) -> Vec<u8> {
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"vin\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; \
         name=\"status\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/pdf\r\n\r\n%PDF-1.4 {n} ",
        vin(n),
        if name == "report.pdf" { "good" } else { "tricks" },
    )
    .into_bytes();
    body.resize(body.len() + REPORT, b'x');
    if whole {
        body.extend(b"\r\n--b--\r\n");
    }
    body
}

fn request(secret: &str, kind: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /callbacks/vagvin/{secret} HTTP/1.1\r\nHost: opros\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn message(n: usize, kind: Kind) -> Vec<u8> {
    let form = "multipart/form-data; boundary=b";
    let plain = json!({ "vin": vin(n), "status": "good", "url": format!("https://example.org/{n}.pdf") }).to_string();
    let whole = |secret, kind, body: Vec<u8>| request(secret, kind, body.len(), &body);
    match kind {
        Kind::Json => whole(SECRET, "application/json", plain.into_bytes()),
        Kind::Report => whole(SECRET, form, multipart(n, "report.pdf", true)),
        Kind::WrongSecret => whole("call-back-secret-9876543210", "application/json", plain.into_bytes()),
        Kind::BrokenMultipart => whole(SECRET, form, multipart(n, "broken.pdf", false)),
        Kind::PathTricks => whole(SECRET, form, multipart(n, "../../../../etc/cron.d/evil", true)),
        Kind::Oversized => request(SECRET, "application/pdf", 64 << 20, &[b'x'; 256 << 10]),
        Kind::Slow => request(SECRET, "application/json", 1000, b"{\"vin\":"),
    }
}

async fn post(door: SocketAddr, message: &[u8], endless: bool) -> Option<u16> {
    let mut stream = TcpStream::connect(door).await.ok()?;
    // A refusal may come before all of it is written.
    let _ = stream.write_all(message).await;
    if endless {
        let piece = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        for _ in 0..(33 << 20) / 0x10000 {
            if stream.write_all(&piece).await.is_err() {
                break;
            }
        }
    }
    let mut answer = Vec::new();
    while answer.len() < 12 && stream.read_buf(&mut answer).await.ok()? > 0 {}
    std::str::from_utf8(&answer).ok()?.get(9..12)?.parse().ok()
}

async fn send(door: SocketAddr, n: usize) -> Seen {
    let kind = Kind::of(n);
    let endless = kind == Kind::Oversized && n / 10 % ENDLESS_EVERY < 5;
    let message = match endless {
        true => format!(
            "POST /callbacks/vagvin/{SECRET} HTTP/1.1\r\nHost: opros\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        .into_bytes(),
        false => message(n, kind),
    };
    let begun = Instant::now();
    let status = tokio::time::timeout(Duration::from_secs(30), post(door, &message, endless)).await.ok().flatten();
    Seen { kind, status, took: begun.elapsed() }
}

async fn load(house: &House) -> (Vec<Seen>, f64) {
    let (mut sent, mut seen, mut peak) = (JoinSet::new(), Vec::new(), 0.0_f64);
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
    for n in 0..(RATE * SECONDS) as usize {
        tick.tick().await;
        sent.spawn(send(house.door, n));
        if n % 50 == 0 {
            peak = peak.max(house.memory("VmRSS"));
        }
        while let Some(done) = sent.try_join_next() {
            seen.push(done.expect("no panic"));
        }
    }
    while let Some(done) = sent.join_next().await {
        seen.push(done.expect("no panic"));
    }
    (seen, peak)
}

fn report(seen: &[Seen]) -> usize {
    let mut good: Vec<Duration> = Vec::new();
    let mut kinds: std::collections::BTreeMap<(Kind, Option<u16>), usize> = Default::default();
    for one in seen {
        *kinds.entry((one.kind, one.status)).or_default() += 1;
        if one.kind.is_good() && one.status == Some(200) {
            good.push(one.took);
        }
    }
    for ((kind, status), count) in kinds {
        println!(
            "  {kind:<16} {:<10} {count}",
            status.map_or("no answer".to_owned(), |code| code.to_string()),
            kind = format!("{kind:?}")
        );
    }
    good.sort();
    let at =
        |share: f64| good.get(((good.len() as f64 * share) as usize).min(good.len() - 1)).copied().unwrap_or_default();
    println!("good ones: p50 {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0));
    good.len()
}

#[tokio::main]
async fn main() -> ExitCode {
    let house = start().await;
    house.order().await;
    let before = house.memory("VmRSS");
    println!("{RATE} call-backs a second for {SECONDS} s, one in ten hostile; {JOBS} of the cars have a waiting job");
    let begun = Instant::now();
    let (seen, sampled) = load(&house).await;
    let took = begun.elapsed();
    let answered = report(&seen);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (stored, matched) = house.stored().await;
    let expected = (0..(RATE * SECONDS) as usize).filter(|n| Kind::of(*n).is_good()).count();
    println!(
        "good ones: {expected} sent, {answered} answered 200, {stored} stored, {matched} with their jobs; all over after {took:.1?}"
    );
    let (now, peak) = (house.memory("VmRSS"), house.memory("VmHWM"));
    println!("RSS: {before:.0} MiB before, {sampled:.0} MiB sampled, {now:.0} MiB after, {peak:.0} MiB at its peak");
    let alive = house.client().get(&["v1", "health"], &[]).await.is_ok();
    if stored == expected && answered == expected && alive && peak < 128.0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
