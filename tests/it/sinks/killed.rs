//! The real binary, killed while it tells a webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};

use opros::cli::client::Client;
use opros::clock::ManualClock;
use opros::simulator::{SimConfig, Simulator, TronkSim};
use serde_json::{Value, json};

use super::house::{Receiver, Reply, SECRET, start_of_time};

const JOBS: usize = 60;

struct World {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl World {
    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opros"));
        command.arg("--config").arg(self.dir.path().join("opros.toml")).arg("serve").stdin(Stdio::null());
        self.daemon = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path().join("admin.sock")).unwrap()
    }

    async fn get(&self, path: &[&str]) -> Option<Value> {
        self.client().get(path, &[("limit", "1000".to_owned())]).await.ok()?.read().ok()
    }

    async fn answers(&self) {
        until("the socket answers", async || self.client().get(&["v1", "health"], &[]).await.is_ok()).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn until(what: &str, fact: impl AsyncFn() -> bool) {
    let wait = async {
        while !fact().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    assert!(tokio::time::timeout(patience, wait).await.is_ok(), "it never came to be: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_tells_everything_at_least_once_with_the_same_ids_and_in_order_per_job() {
    let tronk = TronkSim { ready_after: std::time::Duration::from_millis(20), ..TronkSim::default() };
    let simulator = Simulator::start(SimConfig { tronk, ..SimConfig::default() }).await.unwrap();
    let receiver = Receiver::start(ManualClock::new(start_of_time()), |_| Reply::Status(200)).await;
    let mut world = World { dir: tempfile::tempdir().unwrap(), daemon: None };
    let dir = world.dir.path().display();
    let config = format!(
        "[store]\npath = \"{dir}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
         [admin]\nsocket = \"{dir}/admin.sock\"\n[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{}\"\nkey = \"{}\"\n\
         poll = [{{ every = \"30ms\", for = \"10m\" }}]\n[[webhooks]]\nname = \"shop\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n\
         allow_http = true\nallow_private = true\n",
        simulator.base_url("tronk"),
        TronkSim::default().key,
        receiver.url(),
    );
    std::fs::write(world.dir.path().join("opros.toml"), config).unwrap();
    world.start();
    world.answers().await;
    for _ in 0..JOBS {
        let order = json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } });
        world.client().post(&["v1", "jobs"], &order).await.unwrap();
    }
    until("some are told", async || receiver.seen().len() >= 20).await;
    world.kill();
    world.start();
    world.answers().await;
    // What was cut off in doubt stays so; every event that there is must come.
    until("all is told", async || {
        let page = world.get(&["v1", "jobs"]).await.unwrap_or_default();
        let busy =
            |job: &Value| ["queued", "submitting", "waiting"].contains(&job["state"].as_str().unwrap_or_default());
        let quiet = page["jobs"].as_array().is_some_and(|jobs| jobs.len() == JOBS && !jobs.iter().any(busy));
        let events = world.get(&["v1", "events"]).await.unwrap_or_default();
        let known: BTreeSet<String> = receiver.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
        quiet && events["events"].as_array().is_some_and(|all| all.len() == known.len())
    })
    .await;
    let mut bodies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut firsts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let events = world.get(&["v1", "events"]).await.unwrap();
    let jobs: BTreeMap<&str, &Value> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["id"].as_str().unwrap(), &event["subject"]))
        .collect();
    for seen in receiver.seen() {
        let id = seen.header("webhook-id").to_owned();
        match bodies.get(&id) {
            Some(body) => assert_eq!(*body, seen.body, "the same id is the same event"),
            None => {
                firsts.entry(jobs[id.as_str()].to_string()).or_default().push(seen.seq());
                bodies.insert(id, seen.body);
            }
        }
    }
    assert!(firsts.values().all(|seqs| seqs.is_sorted()), "{firsts:?}");
}
