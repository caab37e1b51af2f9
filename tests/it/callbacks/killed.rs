//! The real binary, killed while call-backs come in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use opros::cli::client::Client;
use opros::simulator::{CallbackStyle, CallbackWhen, SimConfig, Simulator, VagvinSim};
use serde_json::{Value, json};

use super::house::{SECRET, until, vin};

struct World {
    dir: tempfile::TempDir,
    simulator: Simulator,
    door: SocketAddr,
    daemon: Option<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

impl World {
    async fn new() -> World {
        let style = CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() };
        let vagvin = VagvinSim { styles: vec![style], ..VagvinSim::default() };
        let simulator = Simulator::start(SimConfig { vagvin, ..SimConfig::default() }).await.unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = free.local_addr().unwrap();
        World { dir: tempfile::tempdir().unwrap(), simulator, door, daemon: None }
    }

    fn config(&self) -> PathBuf {
        let (path, dir) = (self.dir.path().join("opros.toml"), self.dir.path().display());
        let text = format!(
            "[store]\npath = \"{dir}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
             [admin]\nsocket = \"{dir}/admin.sock\"\n[callbacks]\nlisten = \"{}\"\n[accounts.vagvin]\nvendor = \"vagvin\"\n\
             base_url = \"{}\"\ntoken = \"{}\"\ncallback_secret = \"{SECRET}\"\n",
            self.door,
            self.simulator.base_url("vagvin"),
            VagvinSim::default().token,
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&mut self, binary: &Path) {
        let mut command = Command::new(binary);
        command.arg("--config").arg(self.config()).arg("serve").stdin(Stdio::null());
        self.daemon = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Option<Value> {
        Client::new(self.dir.path().join("admin.sock")).unwrap().get(path, query).await.ok()?.read().ok()
    }

    async fn order(&self, n: usize) {
        let params = json!({ "vin": vin(n), "check_type": "check_CarVertical", "report_language": "Русский" });
        let order = json!({ "kind": "vagvin.report", "params": params });
        Client::new(self.dir.path().join("admin.sock")).unwrap().post(&["v1", "jobs"], &order).await.unwrap();
    }

    async fn count(&self, state: &str) -> usize {
        let query = [("state", state.to_owned()), ("limit", "1000".to_owned())];
        let page = self.get(&["v1", "jobs"], &query).await;
        page.and_then(|page| page["jobs"].as_array().map(Vec::len)).unwrap_or_default()
    }
}

/// Sends reports one after another until the daemon is gone; notes those that were answered 200.
#[expect(clippy::disallowed_methods, reason = "this is the vendor's client")]
async fn send(url: String, cars: std::ops::Range<usize>, taken: Arc<Mutex<Vec<usize>>>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for n in cars {
        let report = json!({ "vin": vin(n), "status": "done" }).to_string();
        let sent = client.post(&url).header("content-type", "application/json").body(report).send().await;
        match sent {
            Ok(answer) if answer.status() == 200 => taken.lock().unwrap().push(n),
            Ok(_) | Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_back_that_was_answered_200_reaches_its_job_after_a_sigkill() {
    const JOBS: usize = 120;
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_opros"));
    let mut world = World::new().await;
    world.start(&binary);
    until("the daemon answers", async || world.get(&["v1", "health"], &[]).await.is_some()).await;
    for n in 0..JOBS {
        world.order(n).await;
    }
    until("all are ordered", async || world.count("waiting").await == JOBS).await;

    let (url, taken) = (format!("http://{}/callbacks/vagvin/{SECRET}", world.door), Arc::default());
    let senders = [0..40, 40..80, 80..120].map(|cars| tokio::spawn(send(url.clone(), cars, Arc::clone(&taken))));
    until("some are taken", async || taken.lock().unwrap().len() >= 15).await;
    world.kill();
    for sender in senders {
        sender.await.unwrap();
    }
    let taken = taken.lock().unwrap().clone();
    assert!(taken.len() < JOBS, "it was killed in the middle");

    world.start(&binary);
    until("the daemon answers again", async || world.get(&["v1", "health"], &[]).await.is_some()).await;
    // What was stored and not answered may be there besides.
    until("their jobs have them", async || world.count("succeeded").await >= taken.len()).await;
    let done = world.get(&["v1", "jobs"], &[("state", "succeeded".to_owned()), ("limit", "1000".to_owned())]).await;
    let done = done.unwrap()["jobs"].to_string();
    assert!(taken.iter().all(|n| done.contains(&vin(*n))), "{taken:?}");
}
