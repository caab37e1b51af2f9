//! R-Lab through the whole engine: batches, bisecting, pace, doubt, hosts, many tracks.

mod batches;
mod crowd;
mod hosts;
mod pace;

use opros::domain::JobId;
use opros::simulator::{Change, SimConfig};
use serde_json::{Value, json};

use crate::support::{TestDaemon, hours, rlab_account};

/// Numbers of no known form: they pass without check digits.
fn tracks(count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(|n| json!({ "track": number(n) }))
}

fn number(n: usize) -> String {
    format!("{n:010}")
}

/// A daemon with one R-Lab account, whose parcels stand still until they are moved.
async fn start(settings: &str, change: impl FnOnce(&mut SimConfig)) -> TestDaemon {
    let still = |config: &mut SimConfig| {
        config.rlab.first_status_after = hours(100_000);
        change(config);
    };
    TestDaemon::start(|sim| rlab_account(sim, settings), still).await
}

async fn add(daemon: &TestDaemon, count: usize) -> Vec<JobId> {
    let jobs = daemon.submit_all("rlab.track", tracks(count)).await;
    daemon.advance(crate::support::seconds(30)).await;
    jobs
}

/// The parcel stands at that status from now on.
fn stand(daemon: &TestDaemon, n: usize, status: u8) {
    daemon.sim.control().apply(Change::RlabStatus { track: number(n), status }).unwrap();
}

/// When the vendor was asked about that parcel, in minutes since the first time.
fn asked(daemon: &TestDaemon, n: usize) -> Vec<u64> {
    let requests = daemon.sim.requests();
    let about = requests.iter().filter(|request| request.op == "gettrackinfo" && request.keys.contains(&number(n)));
    let at: Vec<_> = about.map(|request| request.at).collect();
    at.iter().map(|time| time.since(at[0]).as_secs() / 60).collect()
}
