//! What the engine promises of every account, played with a real store and simulated vendors.

mod backoff;
mod deadlines;
mod operators;
mod panics;
mod refused_outcomes;
mod stopped_orders;
mod unknown_errors;
mod whole_batches;

use opros::domain::{JobId, Timestamp};
use opros::engine::intake::JobRequest;
use opros::simulator::{Fault, FaultPlan, FaultRule, Simulator, TronkSim};
use serde_json::{Value, json};

use crate::support::TestDaemon;

fn tronk(sim: &Simulator, more: &str) -> String {
    let (url, key) = (sim.base_url("tronk"), TronkSim::default().key);
    format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"{key}\"\n{more}\n")
}

fn phone(n: u32) -> Value {
    json!({ "phone": format!("7999{n:07}") })
}

fn fault(daemon: &TestDaemon, rule: FaultRule) {
    daemon.sim.control().set_faults(FaultPlan::one(rule)).unwrap();
}

/// An answer of the vendor's own in which nothing was done.
fn says(body: &Value) -> Fault {
    let (body, content_type) = (body.to_string(), Some("application/json".to_owned()));
    Fault::Status { code: 200, body, content_type, retry_after: None, book: false }
}

/// Orders with these times.
async fn order(daemon: &TestDaemon, n: u32, not_before: Option<Timestamp>, deadline: Option<Timestamp>) -> JobId {
    let request =
        JobRequest { kind: "tronk.report".to_owned(), params: phone(n), not_before, deadline, ..JobRequest::default() };
    let new = daemon.engine().intake().understand(&request).unwrap();
    daemon.engine().submit(vec![new]).await.unwrap()[0].job().unwrap()
}
