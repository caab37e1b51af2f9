//! Nothing that a vendor says makes opros call sooner than its own backoff, at whatever call.

use std::time::Duration;

use opros::domain::policy::Growth;
use opros::simulator::{Fault, FaultPlan, FaultRule};
use serde_json::json;

use super::{phone, tronk};
use crate::support::{TestDaemon, hours, minutes, rlab_account, seconds};

/// Each of them asks for no wait at all; the last stands for every later call, too.
const NOTHING: [Option<&str>; 8] = [
    Some("0"),
    Some(" 0 "),
    Some("-5"),
    Some("+0"),
    Some("0.0"),
    Some("Wed, 01 Jan 2020 00:00:00 GMT"),
    None,
    Some("00"),
];

fn refuses(code: u16, retry_after: Option<&str>) -> Fault {
    let retry_after = retry_after.map(str::to_owned);
    Fault::Status { code, body: String::new(), content_type: None, retry_after, book: false }
}

/// Every call of that name is refused, each in another spelling.
fn refuse(daemon: &TestDaemon, vendor: &str, op: &str, code: u16) {
    let each = NOTHING.iter().zip(1..).map(|(text, n)| FaultRule::on(vendor, op, refuses(code, *text)).nth([n]));
    let rules = each.chain([FaultRule::on(vendor, op, refuses(code, Some("0")))]).collect();
    daemon.sim.control().set_faults(FaultPlan { rules }).unwrap();
}

/// The waits between the calls of that name grow at least as our own backoff does.
#[track_caller]
fn keeps_its_own_pace(daemon: &TestDaemon, op: &str, own: Growth, what: &str) {
    let times: Vec<_> = daemon.sim.requests().iter().filter(|seen| seen.op == op).map(|seen| seen.at).collect();
    assert!(times.len() > 3, "{what}: only {} calls", times.len());
    for (pair, n) in times.windows(2).zip(1..) {
        let wait = pair[1].since(pair[0]);
        assert!(wait >= own.nth(n), "{what}: the {n}th wait is {wait:?}, and ours is {:?}", own.nth(n));
    }
}

const STATUSES: [(u16, Growth); 2] = [(429, Growth::SILENCES), (503, Growth::PROBES)];

#[tokio::test(flavor = "multi_thread")]
async fn submits_and_polls_wait_as_long_as_our_own_backoff_whatever_retry_after_says() {
    for (code, own) in STATUSES {
        for op in ["setqueue", "checkqueue"] {
            let daemon = TestDaemon::start(|sim| tronk(sim, ""), |_| {}).await;
            refuse(&daemon, "tronk", op, code);
            daemon.submit("tronk.report", phone(1)).await;
            daemon.advance(minutes(50)).await;
            keeps_its_own_pace(&daemon, op, own, &format!("{op} {code}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_and_cancellations_do_so_too() {
    for (code, own) in STATUSES {
        let daemon = TestDaemon::start(
            |sim| rlab_account(sim, ""),
            |config| config.faults = FaultPlan::one(FaultRule::on("rlab", "addtrack", Fault::DropAfter {})),
        )
        .await;
        daemon.submit("rlab.track", json!({ "track": "0000000001" })).await;
        let drop = FaultRule::on("rlab", "addtrack", Fault::DropAfter {});
        let each = NOTHING
            .iter()
            .zip(1..)
            .map(|(text, n)| FaultRule::on("rlab", "gettrackinfo", refuses(code, *text)).nth([n]));
        let rules = each.chain([FaultRule::on("rlab", "gettrackinfo", refuses(code, Some("0"))), drop]).collect();
        daemon.sim.control().set_faults(FaultPlan { rules }).unwrap();
        daemon.advance(hours(1)).await;
        keeps_its_own_pace(&daemon, "gettrackinfo", own, &format!("look-up {code}"));

        let daemon = TestDaemon::start(|sim| rlab_account(sim, ""), |_| {}).await;
        let job = daemon.submit("rlab.track", json!({ "track": "0000000001" })).await;
        daemon.advance(seconds(60)).await;
        refuse(&daemon, "rlab", "deltrack", code);
        daemon.engine().cancel(job).await.unwrap();
        daemon.advance(hours(1)).await;
        keeps_its_own_pace(&daemon, "deltrack", own, &format!("cancellation {code}"));
    }
}

/// A moment's outage is over in a moment.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_cut_together_silence_the_account_for_seconds_only() {
    for in_flight in [4, 8, 16] {
        let more = format!("limits = {{ max_in_flight = {in_flight} }}\npoll = [{{ every = \"1s\", for = \"10m\" }}]");
        let daemon = TestDaemon::start(|sim| tronk(sim, &more), |_| {}).await;
        daemon.submit_all("tronk.report", (0..in_flight).map(phone)).await;
        daemon.settle().await;
        let cut = FaultRule::on("tronk", "checkqueue", Fault::Rst { book: false }).first(u64::from(in_flight));
        daemon.sim.control().set_faults(FaultPlan::one(cut)).unwrap();
        daemon.advance(seconds(2)).await;
        let failed = daemon.calls("tronk.checkqueue");
        assert!(failed >= 3, "{failed}");
        daemon.advance(seconds(6)).await;
        assert!(daemon.calls("tronk.checkqueue") > failed, "{in_flight} in flight: no probe within 6 s");
        assert!(daemon.engine().runner("tronk").unwrap().account().breaker.open_since.is_none(), "it is well again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_wait_that_the_vendor_asks_for_is_kept() {
    let daemon = TestDaemon::start(|sim| tronk(sim, ""), |_| {}).await;
    let rule = FaultRule::on("tronk", "setqueue", refuses(429, Some("1000"))).first(1);
    daemon.sim.control().set_faults(FaultPlan::one(rule)).unwrap();
    daemon.submit("tronk.report", phone(1)).await;
    daemon.advance(Duration::from_secs(999)).await;
    assert_eq!(daemon.calls("tronk.setqueue"), 1);
    daemon.advance(seconds(1)).await;
    assert_eq!(daemon.calls("tronk.setqueue"), 2);
}
