//! 200,000 parcels on one daemon: `cargo bench --bench rlab` prints figures, `-- 20000` does it with fewer.
//!
//! The engine, the store on a real file and the simulated vendor run in this process, on a clock that jumps from one due
//! time to the next; so the seconds are those of work, and memory and CPU are those of daemon and vendor together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use opros::domain::{EventType, JobId, State};
use opros::simulator::Change;
use opros::store::EventPage;
use serde_json::json;

#[path = "../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod support;

use support::{TestDaemon, hours, minutes, rlab_account, seconds};

const TRACKS: usize = 200_000;
const CHANGES: usize = 1_000;
/// One simulated hour of quiet ends it, and more of them while it is younger than this.
const LONGEST: Duration = Duration::from_secs(100);

fn main() {
    let wanted = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(wanted.unwrap_or(TRACKS)));
}

async fn run(tracks: usize) {
    let began = Instant::now();
    let still = |config: &mut opros::simulator::SimConfig| {
        config.rlab.first_status_after = hours(100_000);
        config.log_requests = false;
    };
    let daemon = TestDaemon::start(|sim| rlab_account(sim, ""), still).await;
    println!("{tracks} tracks; memory before: {}", memory());

    let mut stage = Stage::begin(&daemon, "rlab.addtrack");
    let mut jobs = Vec::with_capacity(tracks);
    for first in (0..tracks).step_by(5_000) {
        let some = (first..tracks.min(first + 5_000)).map(|n| json!({ "track": number(n) }));
        jobs.extend(daemon.submit_all("rlab.track", some).await);
    }
    daemon.advance(seconds(30)).await;
    stage.end("added", tracks);
    assert_eq!((daemon.count(State::Waiting).await, daemon.sim.ledger().len()), (tracks, tracks));

    stage = Stage::begin(&daemon, "rlab.gettrackinfo");
    daemon.advance(minutes(23)).await;
    let fill = stage.end("first sweep: each asked for once, over 15 simulated minutes", tracks);
    assert!(fill >= 0.97, "{fill}");

    let seen = last_event(&daemon);
    let changes = CHANGES.min(tracks / 10);
    let step = tracks / changes;
    for n in 0..changes {
        daemon.sim.control().apply(Change::RlabStatus { track: number(n * step), status: 4 }).unwrap();
    }
    stage = Stage::begin(&daemon, "rlab.gettrackinfo");
    daemon.advance(minutes(31)).await;
    let fill = stage.end("second sweep: each asked for once more", tracks);
    assert!(fill >= 0.97, "{fill}");
    let told = told(&daemon, seen).await;
    let expected: BTreeMap<JobId, usize> = (0..changes).map(|n| (jobs[n * step], 1)).collect();
    assert!(told == expected, "{} changes were told of {changes}", told.len());
    println!("{changes} distinct changes found and told exactly once each");

    quiet(&daemon, tracks, began).await;
    assert_eq!(daemon.sim.violations(), []);
    println!("{:.0} s in all", began.elapsed().as_secs_f64());
}

/// Simulated time in which nothing happens at the vendor: an hour, and more as long as there is real time for it.
async fn quiet(daemon: &TestDaemon, tracks: usize, began: Instant) {
    let (from, start, cpu) = (daemon.now(), Instant::now(), cpu());
    let before = daemon.calls("rlab.gettrackinfo");
    daemon.advance(hours(1)).await;
    while began.elapsed() < LONGEST && daemon.now().since(from) < hours(24) {
        daemon.advance(minutes(30)).await;
    }
    let simulated = daemon.now().since(from).as_secs_f64() / 3_600.0;
    let requests = daemon.calls("rlab.gettrackinfo") - before;
    let used = (self::cpu() - cpu).as_secs_f64();
    println!(
        "quiet: {simulated:.1} simulated hours in {:.1} s, {requests} requests, {:.2} s of CPU a simulated hour",
        start.elapsed().as_secs_f64(),
        used / simulated,
    );
    let plan = tracks as f64 / 100.0 * 24.0 / 6.0;
    println!("plan in the steady state (every 6 h): {plan:.0} requests a day; memory: {}", memory());
}

struct Stage<'a> {
    daemon: &'a TestDaemon,
    name: &'static str,
    calls: u64,
    start: Instant,
    cpu: Duration,
}

impl<'a> Stage<'a> {
    fn begin(daemon: &'a TestDaemon, name: &'static str) -> Self {
        Self { daemon, name, calls: daemon.calls(name), start: Instant::now(), cpu: cpu() }
    }

    /// Prints the stage's figures and returns how full its requests were, were each track asked for once.
    fn end(&self, what: &str, tracks: usize) -> f64 {
        let requests = self.daemon.calls(self.name) - self.calls;
        let fill = tracks as f64 / (requests as f64 * 100.0);
        let (real, used) = (self.start.elapsed().as_secs_f64(), (cpu() - self.cpu).as_secs_f64());
        println!(
            "{what}: {real:.1} s, {requests} requests, {:.1} % full, {:.0} tracks/s, CPU {used:.1} s; memory: {}",
            fill * 100.0,
            tracks as f64 / real,
            memory(),
        );
        fill
    }
}

fn number(n: usize) -> String {
    format!("{n:010}")
}

fn last_event(daemon: &TestDaemon) -> i64 {
    daemon.engine().store().commits().borrow().last_seq
}

/// How often each job's change was told after that event.
async fn told(daemon: &TestDaemon, mut after: i64) -> BTreeMap<JobId, usize> {
    let mut told = BTreeMap::new();
    while let EventPage::Events(page) = daemon.engine().store().events(after, 5_000).await.unwrap() {
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in page.iter().filter(|event| event.kind == EventType::JobUpdated) {
            *told.entry(event.job.unwrap()).or_default() += 1;
        }
    }
    told
}

/// Resident now and at most, of this process.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1_024
    };
    format!("{} MiB (peak {} MiB)", mib("VmRSS:"), mib("VmHWM:"))
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string(Path::new("/proc/self/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    // Linux counts in hundredths of a second.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
