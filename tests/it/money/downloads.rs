//! The document behind a Tronk report's `url`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use opros::callbacks::files::{FileHash, FileStore};
use opros::clock::SystemClock;
use opros::domain::masking::Masks;
use opros::domain::{EventType, JobId, State};
use opros::downloads::{Downloads, Rules};
use opros::guard::Names;
use opros::http::{AnswerBudget, Client, ClientSettings};
use opros::simulator::{Fault, FaultPlan, FaultRule, TronkSim};
use opros::store::TimelineEntry;
use opros::store::callbacks::JobFile;
use serde_json::{Value, json};

use crate::support::{TestDaemon, hours, minutes, seconds};

struct House {
    daemon: TestDaemon,
    files: FileStore,
    most: u64,
    _dir: tempfile::TempDir,
}

impl House {
    async fn start() -> House {
        let account = |sim: &opros::simulator::Simulator| {
            let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
            format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\ndownload = true\n")
        };
        let daemon = TestDaemon::start(account, |_| {}).await;
        let dir = tempfile::tempdir().unwrap();
        let files = FileStore::open(dir.path().join("files"), 32 << 20).unwrap();
        House { daemon, files, most: 32 << 20, _dir: dir }
    }

    fn downloads(&self) -> Downloads {
        let rules = BTreeMap::from([("tronk".to_owned(), Rules { most: self.most, loopback: true })]);
        Downloads::new(self.daemon.engine().clone(), self.files.clone(), rules, Masks::of([TronkSim::default().key]))
    }

    /// A report whose answer is in.
    async fn report(&self) -> JobId {
        let job = self.daemon.submit("tronk.report", json!({ "phone": "79990000001" })).await;
        self.daemon.advance(minutes(3)).await;
        assert_eq!(self.daemon.job(job).await.state, State::Succeeded);
        job
    }

    async fn look(&self) {
        self.downloads().round().await.unwrap();
    }

    async fn files_of(&self, job: JobId) -> Vec<JobFile> {
        self.daemon.engine().store().job_files(job).await.unwrap()
    }

    /// Outcomes of the tries, and what was said of them.
    async fn tries(&self, job: JobId) -> Vec<(String, String)> {
        let entries = self.daemon.timeline(job).await;
        let calls = entries.into_iter().filter_map(|entry| match entry {
            TimelineEntry::Call(call) if call.op == "download" => Some((call.outcome, call.note.unwrap_or_default())),
            _ => None,
        });
        calls.collect()
    }

    /// What `job.updated` said of the document.
    async fn told(&self) -> Vec<Value> {
        let events = self.daemon.events_of(EventType::JobUpdated).await;
        events.iter().map(|event| serde_json::from_str::<Value>(&event.data).unwrap()["download"].clone()).collect()
    }

    fn fault(&self, fault: Fault) {
        self.daemon.sim.control().set_faults(FaultPlan::one(FaultRule::on("tronk", "file", fault))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_behind_a_report_is_kept_under_a_name_of_ours_and_announced() {
    let house = House::start().await;
    let job = house.report().await;
    house.look().await;
    let [file] = house.files_of(job).await.try_into().unwrap();
    assert_eq!((file.name.as_str(), file.content_type.as_deref()), ("report.html", Some("text/html; charset=utf-8")));
    let hash: FileHash = file.sha256.parse().unwrap();
    let content = house.files.get(&hash).unwrap().unwrap();
    assert_eq!(content.len() as u64, file.size);
    assert!(String::from_utf8(content).unwrap().contains("Отчет"));
    assert_eq!(house.tries(job).await, [("saved".to_owned(), String::new())]);
    assert_eq!(house.told().await[0]["sha256"], json!(file.sha256));
    house.look().await;
    assert_eq!(house.daemon.calls("tronk.file"), 1, "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_had_is_tried_at_growing_intervals_and_given_up_and_the_job_stays_succeeded() {
    let house = House::start().await;
    let broken = Fault::Status { code: 500, body: String::new(), content_type: None, retry_after: None, book: false };
    house.fault(broken);
    let job = house.report().await;
    house.look().await;
    house.look().await;
    assert_eq!(house.daemon.calls("tronk.file"), 1, "not before its time");
    house.daemon.advance(seconds(29)).await;
    house.look().await;
    assert_eq!(house.daemon.calls("tronk.file"), 1);
    for _ in 0..20 {
        house.daemon.advance(hours(1)).await;
        house.look().await;
    }
    assert_eq!(house.daemon.calls("tronk.file"), 10);
    let tries = house.tries(job).await;
    assert_eq!((tries.len(), tries[0].0.as_str(), tries[9].0.as_str()), (10, "failed", "given_up"));
    assert!(tries[0].1.contains("HTTP 500"), "{tries:?}");
    assert_eq!(house.told().await[0]["state"], "given_up");
    let details = house.daemon.details(job).await;
    assert_eq!(details.job.state, State::Succeeded);
    assert!(details.result.unwrap().contains("/tronk/files/"), "the address stays in the result");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_or_is_too_large_or_leads_elsewhere_leaves_no_file() {
    let mut house = House::start().await;
    let job = house.report().await;
    house.fault(Fault::Truncated { clean: false, book: true });
    house.look().await;
    house.fault(Fault::Redirect { location: None, code: 302, book: false });
    house.daemon.advance(hours(1)).await;
    house.look().await;
    let tries = house.tries(job).await;
    assert!(tries[1].1.contains("HTTP 302"), "{tries:?}");
    assert!(house.daemon.calls("tronk.file") == 2 && house.files_of(job).await.is_empty());
    // Larger than the account takes: no try will ever bring it.
    house.daemon.sim.control().clear_faults();
    house.most = 100;
    house.daemon.advance(hours(1)).await;
    house.look().await;
    let tries = house.tries(job).await;
    assert_eq!(tries[2].0, "given_up");
    assert!(tries[2].1.contains("larger than 100 bytes"), "{tries:?}");
    assert!(house.files_of(job).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_survives_a_kill_between_the_answer_and_the_download() {
    let mut house = House::start().await;
    let job = house.report().await;
    house.daemon.crash().await;
    house.look().await;
    assert_eq!(house.files_of(job).await.len(), 1);
    let state = house.daemon.engine().store().download(job).await.unwrap().unwrap();
    assert!(state.saved && state.due_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_fetched() {
    let account = |sim: &opros::simulator::Simulator| {
        let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
        format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n")
    };
    let daemon = TestDaemon::start(account, |_| {}).await;
    let job = daemon.submit("tronk.report", json!({ "phone": "79990000001" })).await;
    daemon.advance(minutes(3)).await;
    assert_eq!(daemon.engine().store().download(job).await.unwrap(), None);
}

/// Names that lead to where a test wants them.
#[derive(Debug)]
struct Told(Vec<IpAddr>);

#[async_trait::async_trait]
impl Names for Told {
    async fn addresses(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

/// What fetching a document from a name with these addresses brings, for an account whose vendor is there.
async fn fetched(base_url: &str, addresses: &[&str], port: u16) -> String {
    let settings = ClientSettings {
        base_url: base_url.to_owned(),
        reserve_url: None,
        timeout: seconds(5),
        masks: Masks::default(),
        names: Arc::new(Told(addresses.iter().map(|address| address.parse().unwrap()).collect())),
    };
    let client = Client::new(settings, AnswerBudget::default(), SystemClock::shared()).unwrap();
    let (pieces, _arriving) = tokio::sync::mpsc::channel(4);
    let url = format!("http://files.example:{port}/report").parse().unwrap();
    client.fetch(url, 1 << 20, pieces).await.map_or_else(|error| error.what, |document| document.status.to_string())
}

#[tokio::test]
async fn a_document_is_not_fetched_from_a_private_address_behind_a_name() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["10.0.0.7"],
        &["169.254.169.254"],
        &["::ffff:127.0.0.1"],
        &["fd00::1"],
        &["8.8.8.8", "127.0.0.1"],
    ] {
        let said = fetched("https://vendor.example", addresses, port).await;
        assert!(said.contains("private network"), "{addresses:?}: {said}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
    // A vendor on this machine may have its documents on this machine.
    listener.set_nonblocking(false).unwrap();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    assert_eq!(fetched("http://127.0.0.1:1", &["127.0.0.1"], port).await, "200");
    answers.join().unwrap();
}
