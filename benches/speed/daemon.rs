//! The real daemon in a process of its own, and what it costs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::now_us;

/// Kernel ticks a second, as `/proc/PID/stat` counts them.
const TICKS: f64 = 100.0;

#[derive(Debug, Clone)]
pub struct Setup {
    pub vendor: SocketAddr,
    pub in_flight: usize,
    pub mailbox: bool,
    /// More lines of configuration.
    pub more: String,
    /// Runs it under strace: fsyncs are written to this file, and take so many µs longer.
    pub fsyncs: Option<(PathBuf, u32)>,
}

impl Setup {
    pub fn new(vendor: SocketAddr) -> Self {
        Self { vendor, in_flight: 64, mailbox: false, more: String::new(), fsyncs: None }
    }
}

/// A directory with a configuration; the daemon comes and goes.
#[derive(Debug)]
pub struct House {
    pub dir: tempfile::TempDir,
    daemon: Option<Child>,
    under_strace: bool,
    wal: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.kill();
    }
}

impl House {
    pub fn new(setup: &Setup) -> House {
        let dir = tempfile::tempdir().expect("a directory");
        for part in ["store", "mailbox"] {
            std::fs::create_dir(dir.path().join(part)).expect("a directory");
        }
        let (wal, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        watch_wal(dir.path(), Arc::clone(&wal), Arc::clone(&stop));
        let house = House { dir, daemon: None, under_strace: false, wal, stop };
        house.configure(setup);
        house
    }

    /// What the next launch goes by.
    pub fn configure(&self, setup: &Setup) {
        let at = self.dir.path().display();
        let mailbox = if setup.mailbox { format!("{at}/mailbox/mailbox.db") } else { String::new() };
        let mut text = format!(
            "[store]\npath = \"{at}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"{mailbox}\"\n\
             [admin]\nsocket = \"{at}/admin.sock\"\n[log]\nfilter = \"warn\"\n"
        );
        let (vendor, in_flight) = (setup.vendor, setup.in_flight);
        let _ = write!(
            text,
            "[accounts.tronk]\nvendor = \"tronk\"\nkey = \"a-key-of-the-bench\"\nbase_url = \"http://{vendor}\"\n\
             limits = {{ max_in_flight = {in_flight} }}\npoll = [{{ every = \"1ms\", for = \"1d\" }}]\n{}",
            setup.more
        );
        let path = self.dir.path().join("opros.toml");
        std::fs::write(&path, text).expect("a configuration");
        // It holds a key.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    }

    pub async fn start(setup: &Setup) -> House {
        let mut house = House::new(setup);
        house.launch(setup);
        house.ready().await;
        house
    }

    /// Starts the daemon and does not wait for it.
    pub fn launch(&mut self, setup: &Setup) {
        let binary = env!("CARGO_BIN_EXE_opros");
        // What filled the store before is not the daemon's.
        self.wal.store(0, Relaxed);
        let mut command = match &setup.fsyncs {
            None => Command::new(binary),
            Some((file, delay)) => {
                let mut strace = Command::new("strace");
                strace.args(["-f", "--seccomp-bpf", "-q", "-e", "trace=fsync,fdatasync", "-o"]).arg(file);
                if *delay > 0 {
                    strace.arg("-e").arg(format!("inject=fsync,fdatasync:delay_enter={delay}"));
                }
                strace.arg(binary);
                strace
            }
        };
        self.under_strace = setup.fsyncs.is_some();
        command.arg("--config").arg(self.dir.path().join("opros.toml")).arg("serve");
        // As the unit sets it.
        command.env("MALLOC_ARENA_MAX", "2").stdout(Stdio::null()).stderr(Stdio::inherit());
        self.daemon = Some(command.spawn().expect("the daemon starts (for P2 and P3: under strace)"));
    }

    pub async fn ready(&self) {
        for _ in 0..12_000 {
            if let Ok(mut line) = Line::open(&self.socket()).await
                && line.call("GET", "/v1/health", "", Bytes::new()).await.0 == 200
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the daemon did not become ready within a minute");
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store/opros.db")
    }

    pub fn mailbox(&self) -> PathBuf {
        self.dir.path().join("mailbox/mailbox.db")
    }

    pub async fn line(&self) -> Line {
        Line::open(&self.socket()).await.expect("the socket answers")
    }

    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            if self.under_strace {
                // The child of strace; strace itself ends with it.
                let _ = Command::new("kill").args(["-9", &self.pid_of(&daemon).to_string()]).status();
            } else {
                let _ = daemon.kill();
            }
            let _ = daemon.wait();
        }
    }

    /// Ends it as systemd would.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = Command::new("kill").arg(self.pid_of(&daemon).to_string()).status();
            let _ = daemon.wait();
        }
    }

    fn pid_of(&self, daemon: &Child) -> u32 {
        let own = daemon.id();
        if !self.under_strace {
            return own;
        }
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(own)
    }

    fn proc(&self, what: &str) -> String {
        let pid = self.daemon.as_ref().map_or(0, |daemon| self.pid_of(daemon));
        std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default()
    }

    /// Seconds of CPU so far, its threads together.
    pub fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        (ticks(11) + ticks(12)) / TICKS
    }

    /// Proportional set size now, in MiB.
    pub fn pss(&self) -> f64 {
        kib(&self.proc("smaps_rollup"), "Pss:") / 1024.0
    }

    /// Resident size at its peak, in MiB.
    pub fn peak(&self) -> f64 {
        kib(&self.proc("status"), "VmHWM:") / 1024.0
    }

    /// The largest WAL so far, of store and mailbox, in MiB.
    pub fn largest_wal(&self) -> f64 {
        self.wal.load(Relaxed) as f64 / f64::from(1 << 20)
    }
}

fn kib(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

fn watch_wal(dir: &Path, largest: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let files = [dir.join("store/opros.db-wal"), dir.join("mailbox/mailbox.db-wal")];
    std::thread::spawn(move || {
        while !stop.load(Relaxed) {
            for file in &files {
                let size = std::fs::metadata(file).map_or(0, |meta| meta.len());
                largest.fetch_max(size, Relaxed);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// One connection to the socket.
#[derive(Debug)]
pub struct Line(SendRequest<Full<Bytes>>);

impl Line {
    pub async fn open(socket: &Path) -> std::io::Result<Line> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Line(sender))
    }

    async fn send(&mut self, method: &str, path: &str, kind: &str, body: Bytes) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(path).header("host", "opros");
        let request = match method {
            "POST" => request.header("content-type", kind),
            _ => request.header("accept", kind),
        };
        self.0.ready().await.expect("the connection stays");
        self.0.send_request(request.body(Full::new(body)).expect("a request")).await.expect("an answer")
    }

    pub async fn call(&mut self, method: &str, path: &str, kind: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
        let response = self.send(method, path, kind, body.into()).await;
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default())
    }

    /// Orders many jobs, a line each.
    pub async fn order(&mut self, lines: String) {
        let (status, body) = self.call("POST", "/v1/jobs", "application/x-ndjson", lines).await;
        assert!(status == 200 || status == 202, "{status} {}", String::from_utf8_lossy(&body));
    }

    /// Follows events from now on; `each` gets the text of every one with the time of its arrival in µs, until it says that it has
    /// enough.
    pub async fn follow(mut self, after: Option<i64>, mut each: impl FnMut(&str, u64) -> bool) {
        let path = after.map_or_else(|| "/v1/events".to_owned(), |after| format!("/v1/events?after={after}"));
        let mut body = self.send("GET", &path, "text/event-stream", Bytes::new()).await.into_body();
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let (Ok(data), at) = (frame.into_data(), now_us()) else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = rest.drain(..end + 2).collect();
                if !each(&String::from_utf8_lossy(&event), at) {
                    return;
                }
            }
        }
    }
}

/// The share of a second of CPU that was used over a while.
pub async fn idle_share(house: &House, span: Duration) -> f64 {
    let (begun, cpu) = (Instant::now(), house.cpu());
    tokio::time::sleep(span).await;
    (house.cpu() - cpu) / begun.elapsed().as_secs_f64()
}
