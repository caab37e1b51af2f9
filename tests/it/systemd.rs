//! What passes between systemd and the daemon, with the test in systemd's place: notifications, the watchdog, a socket handed over.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use opros::cli::client::Client;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

/// Facts are waited for this long; a healthy machine needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Manager {
    dir: tempfile::TempDir,
    notifications: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let dir = tempfile::tempdir().unwrap();
        let notifications = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = format!(
            "[store]\npath = \"{0}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
             [admin]\nsocket = \"{0}/admin.sock\"\n\
             [accounts.tronk]\nvendor = \"tronk\"\nkey = \"not-a-key\"\nbase_url = \"http://127.0.0.1:9\"\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("opros.toml"), text).unwrap();
        Manager { dir, notifications }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `opros serve` by a shell, which can give descriptor 3 and its own number to what it becomes.
    fn serve(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_opros"), "--config"])
            .arg(self.path("opros.toml"))
            .arg("serve")
            .env("NOTIFY_SOCKET", self.path("notify"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap());
        command
    }

    /// Standard input, handed over as systemd hands over sockets.
    fn hand_over(&self, socket: OwnedFd) -> Command {
        let mut command = self.serve("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null");
        command.stdin(Stdio::from(socket));
        command
    }

    /// Reads on until a notification has a line that begins so; returns the line.
    fn told(&self, line: &str) -> String {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < PATIENCE {
            let Some(lines) = self.next(PATIENCE) else { break };
            if let Some(found) = lines.iter().find(|told| told.starts_with(line)) {
                return found.clone();
            }
            seen.extend(lines);
        }
        panic!("never told {line}, but {seen:?}; {}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    fn next(&self, patience: Duration) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        self.notifications.set_read_timeout(Some(patience)).unwrap();
        let length = self.notifications.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect())
    }

    async fn get(&self, socket: &Path) -> Value {
        Client::new(socket.to_owned()).unwrap().get(&["v1", "health"], &[]).await.expect("an answer").read().unwrap()
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn end(&mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.0.wait().expect("its end").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn refused(mut command: Command) -> Output {
    command.stderr(Stdio::piped()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_readiness_of_the_work_and_of_the_end() {
    let manager = Manager::new();
    let mut daemon = Running(manager.serve("exec \"$@\"").spawn().unwrap());
    manager.told("READY=1");
    assert_eq!(manager.told("STATUS=0"), "STATUS=0 queued, 0 waiting, 0 in doubt, 0 calls under way");
    daemon.end();
    manager.told("STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_while_idle_and_not_while_the_writer_hangs() {
    let manager = Manager::new();
    let mut serve = manager.serve("exec \"$@\"");
    let _daemon = Running(serve.env("WATCHDOG_USEC", "600000").spawn().unwrap());
    manager.told("READY=1");
    for _ in 0..3 {
        manager.told("WATCHDOG=1");
    }
    // Nobody else may write to the store; whoever does all the same keeps the writer from its next commit.
    let mut intruder: SqliteConnection =
        SqliteConnectOptions::new().filename(manager.path("store/opros.db")).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut intruder).await.unwrap();
    let client = Client::new(manager.path("admin.sock")).unwrap();
    let ordering = tokio::spawn(async move {
        let order = json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } });
        client.post(&["v1", "jobs"], &order).await
    });
    // SQLite gives up after five seconds; until then the writer stands still for longer than the watchdog allows.
    let begun = Instant::now();
    while manager.next(Duration::from_millis(1_200)).is_some() {
        assert!(begun.elapsed() < PATIENCE, "it is fed for ever");
    }
    sqlx::query("ROLLBACK").execute(&mut intruder).await.unwrap();
    manager.told("WATCHDOG=1");
    ordering.await.unwrap().expect("taken once the writer can write");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_systemd_listens_at_is_served_and_stays() {
    let manager = Manager::new();
    let socket = manager.path("admin.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut daemon = Running(manager.hand_over(listener.into()).spawn().unwrap());
    manager.told("READY=1");
    assert_eq!(manager.get(&socket).await["status"], "ready");
    daemon.end();
    assert!(socket.exists(), "it is systemd's");
}

#[tokio::test]
async fn what_is_handed_over_and_is_no_listening_unix_stream_socket_is_a_wrong_configuration() {
    let manager = Manager::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UnixDatagram::bind(manager.path("datagrams")).unwrap();
    let (connected, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for wrong in [OwnedFd::from(tcp), datagrams.into(), connected.into(), file.into()] {
        let output = refused(manager.hand_over(wrong));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("one listening Unix stream socket"), "{said}");
    }
    let two = manager.serve("LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"");
    assert_eq!(refused(two).status.code(), Some(78));
}
