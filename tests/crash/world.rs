//! One world: simulated vendors, a directory, and a daemon that is started, killed and started again in it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use opros::cli::client::Client;
use opros::simulator::{AltaSim, FaultPlan, RlabSim, SimConfig, Simulator, TronkSim, VagvinSim};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, RwLock};
use tokio_util::task::AbortOnDropHandle;

use super::client;
use super::script::{self, CALLBACK_SECRET, SETTLE, TIMEOUT};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub struct World {
    dir: tempfile::TempDir,
    pub sim: Simulator,
    pub port: u16,
    /// The planted mistake, where there is one.
    pub mutant: Option<&'static str>,
    /// Where store and mailbox lie; the evidence lies elsewhere if the disk is to be cut off.
    data: PathBuf,
    /// The daemon under test: ourselves, with crash points, unless it is a released binary.
    released: Option<PathBuf>,
    /// Held by whoever has the mailbox open; whoever takes the disk away waits for them.
    pub disk: RwLock<()>,
    /// Takes the webhook's deliveries; dead with the world, not with the daemon.
    _receiver: AbortOnDropHandle<()>,
    hook: SocketAddr,
    /// A second daemon on the same store by another name.
    second: Mutex<Option<Child>>,
}

impl World {
    pub async fn new(seed: u64, plan: FaultPlan, mutant: Option<&'static str>) -> Result<World, Failure> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("opros-world-").tempdir_in(base)?;
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}/callbacks/vagvin/{CALLBACK_SECRET}");
        let sim = Simulator::start(SimConfig {
            seed,
            tronk: script::tronk(),
            alta: script::alta(),
            rlab: script::rlab(),
            vagvin: script::vagvin(url),
            faults: plan,
            ..SimConfig::default()
        })
        .await?;
        let receiver = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let hook = receiver.local_addr()?;
        let taking = client::take_hooks(receiver, dir.path().join("hooks.ndjson"));
        let receiver = AbortOnDropHandle::new(tokio::spawn(taking));
        let (data, released, disk) = (dir.path().to_owned(), None, RwLock::new(()));
        let second = Mutex::new(None);
        let world = World { dir, sim, port, mutant, data, released, disk, _receiver: receiver, hook, second };
        world.write_config()?;
        Ok(world)
    }

    /// Store and mailbox lie there from now on.
    pub fn move_data(&mut self, data: PathBuf) -> Result<(), Failure> {
        self.data = data;
        self.write_config()
    }

    /// Plays a released binary instead of ourselves.
    pub fn release(&mut self, binary: &Path) {
        self.released = Some(binary.to_owned());
    }

    fn write_config(&self) -> Result<(), Failure> {
        Ok(std::fs::write(self.path("opros.toml"), self.config())?)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn mailbox(&self) -> PathBuf {
        self.data.join("mailbox/mailbox.db")
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(self.path("admin.sock")).map_err(|failure| format!("{failure:?}").into())
    }

    /// Starts the daemon, which dies at `die_at`.
    pub fn start(&self, die_at: Option<&str>, tracer: Option<&Path>) -> Result<Child, Failure> {
        let strace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o"];
        let wrapper = tracer.map(|trace| strace.iter().map(OsString::from).chain([trace.into()]).collect::<Vec<_>>());
        let mut command = self.command(&wrapper.unwrap_or_default())?;
        command.env("CRASHTEST_DIE_AT", die_at.unwrap_or_default());
        Ok(command.spawn()?)
    }

    /// Store and mailbox lie on a disk that is taken away and given back.
    pub fn has_own_disk(&self) -> bool {
        self.data != self.dir.path()
    }

    /// The store by another name, in a directory of its own.
    pub fn link_store(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(self.path("other"))?;
        std::fs::hard_link(self.data.join("store/opros.db"), self.path("other/opros.db"))
    }

    /// Nobody else is there any more, and the store has one name again.
    pub async fn unlink_store(&self) {
        if let Some(mut second) = self.second.lock().await.take() {
            let _ = second.kill().await;
        }
        let _ = std::fs::remove_dir_all(self.path("other"));
    }

    /// A daemon of its own in all but the store.
    pub async fn start_second(&self) -> Result<(), Failure> {
        let (config, file) = (self.config(), self.path("other/opros.toml"));
        let other = self.path("other").display().to_string();
        let config = config
            .replace(&format!("{}/store", self.data.display()), &other)
            .replace(&format!("{}/mailbox", self.data.display()), &format!("{other}/mailbox"))
            .replace(&format!("{}/admin.sock", self.dir.path().display()), &format!("{other}/admin.sock"))
            .replace(&format!("listen = \"127.0.0.1:{}\"", self.port), "listen = \"127.0.0.1:0\"");
        std::fs::write(&file, config)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("daemon").arg(&file);
        let log = OpenOptions::new().create(true).append(true).open(self.path("second.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        *self.second.lock().await = Some(command.spawn()?);
        Ok(())
    }

    /// How the second daemon ended.
    pub async fn second_ends(&self) -> Option<std::process::ExitStatus> {
        match self.second.lock().await.as_mut() {
            Some(second) => second.wait().await.ok(),
            None => None,
        }
    }

    /// The daemon as a command, behind a wrapper such as strace.
    pub fn command(&self, wrapper: &[OsString]) -> Result<Command, Failure> {
        let log = OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let program = match &self.released {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?,
        };
        let mut words = wrapper.iter().cloned().chain([program.into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        match self.released {
            Some(_) => command.args(["serve", "--config"]).arg(self.path("opros.toml")),
            None => command.arg("daemon").arg(self.path("opros.toml")),
        };
        command.env("CRASHTEST_COUNTS", self.path("counts.json"));
        command.env("CRASHTEST_MUTANT", self.mutant.unwrap_or_default());
        let _ = std::fs::remove_file(self.path("counts.json"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        Ok(command)
    }

    /// What the last life counted, and where it died.
    pub fn counts(&self) -> Value {
        let text = std::fs::read_to_string(self.path("counts.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Leaves the directory for whoever looks into what went wrong.
    pub fn keep(self) -> PathBuf {
        let kept = self.dir.keep();
        let _ = File::create(kept.join("KEPT-BY-CRASHTEST"));
        kept
    }

    fn config(&self) -> String {
        let (dir, data) = (self.dir.path().display(), self.data.display());
        let base = |vendor: &str| self.sim.base_url(vendor);
        let (tronk, alta, rlab) = (TronkSim::default(), AltaSim::default(), RlabSim::default());
        let common = format!("timeout = \"{}ms\"", TIMEOUT.as_millis());
        let settle = format!("settle = \"{}ms\"", SETTLE.as_millis());
        format!(
            r#"
[store]
path = "{data}/store/opros.db"
allow_network_fs = true
free_floor = "2MiB"
ballast = "1MiB"
[mailbox]
path = "{data}/mailbox/mailbox.db"
[admin]
socket = "{dir}/admin.sock"
[callbacks]
listen = "127.0.0.1:{}"
[log]
filter = "warn"
[[webhooks]]
name = "shop"
url = "http://{}/hook"
secret = "whsec_Y3Jhc2gtaGFybmVzcy13ZWJob29rLXNlY3JldC0xMjM="
allow_http = true
allow_private = true
[accounts.tronk]
vendor = "tronk"
base_url = "{}"
key = "{}"
poll = [{{ every = "60ms", for = "10m" }}]
{common}
[accounts.alta]
vendor = "alta"
base_url = "{}"
login = "{}"
sa = "{}"
password = "{}"
show_every = "200ms"
idle_every = "200ms"
limits = {{ max_in_flight = 4, min_interval = "0s" }}
balance_every = "1m"
resubmit = true
{common}
{settle}
[accounts.rlab]
vendor = "rlab"
base_url = "{}"
user_id = {}
user_key = "{}"
poll_first = "60ms"
poll_factor = 1.0
poll_ceiling = "150ms"
poll_at_counter = "60ms"
batch_wait = "20ms"
grace = "300ms"
{common}
{settle}
[accounts.vagvin]
vendor = "vagvin"
base_url = "{}"
token = "{}"
callback_secret = "{CALLBACK_SECRET}"
{common}
"#,
            self.port,
            self.hook,
            base("tronk"),
            tronk.key,
            base("alta"),
            alta.login,
            alta.sa,
            alta.password,
            base("rlab"),
            rlab.user_id,
            rlab.user_key,
            base("vagvin"),
            VagvinSim::default().token,
        )
    }
}

/// The same port in every life: the vendor was given the address once. Below the range from which the kernel picks ports
/// for clients, so that none is taken while the daemon is dead.
fn free_port() -> Result<u16, Failure> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 16) as u16 * 1_000;
    for _ in 0..1_000 {
        let port = first + NEXT.fetch_add(1, Ordering::SeqCst) % 1_000;
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port for call-backs between 10000 and 26000".into())
}

/// Asks it to stop, as systemd does.
pub fn terminate(child: &Child) {
    send(child, Signal::TERM);
}

pub fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub async fn nap(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
