//! The course of a world: lives that end in a kill, then a life without faults in which everything must come to its end.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opros::cli::client::Client;
use opros::clock::{Clock, SystemClock};
use opros::simulator::{CallbackStyle, Change, FaultPlan};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Child;

use super::checker::{self, Breach};
use super::client::{self, Memory, Shared};
use super::evidence::AGAIN;
use super::neighbours;
use super::script::{self, BOOKS_LATE_BY, Door, Order};
use super::world::{Failure, World, nap, terminate};

/// A death that does not come: the life ends at rest.
pub const NEVER: &str = "never";
/// A life that neither dies nor rests after this is stuck.
const STUCK: Duration = Duration::from_secs(40);
/// I9: from the end of the faults until everything has ended, with the longest back-off that a few errors can bring.
const IN_TIME: Duration = Duration::from_secs(40);
/// A stop waits for calls under way.
const STOPS_IN: Duration = Duration::from_secs(20);

/// What is to happen in a world.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub seed: u64,
    pub variant: u64,
    /// One life each; see `CRASHTEST_DIE_AT`.
    pub deaths: Vec<String>,
    pub short: bool,
    /// Stay until the calendar has struck.
    pub wait_for_minute: bool,
    pub mutant: Option<&'static str>,
    /// Instead of the variant's.
    #[serde(skip)]
    pub faults: Option<FaultPlan>,
    /// The first life is asked to stop as soon as this vendor has seen a submit.
    pub stop_at_submit: Option<&'static str>,
}

impl Plan {
    pub fn new(seed: u64, variant: u64, deaths: Vec<String>) -> Plan {
        let (short, wait_for_minute) = (false, false);
        Plan { seed, variant, deaths, short, wait_for_minute, mutant: None, faults: None, stop_at_submit: None }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    pub sort: String,
    pub name: String,
    pub n: u64,
    pub life: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub plan: Plan,
    pub kills: Vec<Kill>,
    /// Lives that ended before their time to die came.
    pub missed: usize,
    pub breaches: Vec<Breach>,
    /// The counts of the last life that was to end, and ended in order.
    pub counts: Value,
    /// Every named point that any of its lives passed.
    pub passed: BTreeSet<String>,
    pub seconds: f64,
    /// The vendor booked later than the settle time that it was given: nothing can be said.
    pub void: bool,
    pub kept: Option<PathBuf>,
}

enum End {
    Died(Kill),
    Orderly,
    Wrong(String),
}

pub async fn play(plan: Plan, keep: bool) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let faults = plan.faults.clone().unwrap_or_else(|| script::faults(plan.variant));
    let world = World::new(plan.seed, faults, plan.mutant).await?;
    let orders = script::orders(SystemClock.now(), plan.short, plan.variant);
    let memory = Shared::default();
    let (mut kills, mut missed, mut breaches, mut counts) = (Vec::new(), 0, Vec::new(), Value::Null);
    let mut passed = BTreeSet::new();
    for (life, death) in plan.deaths.iter().enumerate() {
        let end = one_life(&world, &orders, &memory, Some(death), &plan, life).await?;
        passed.extend(world.counts()["by_point"].as_object().into_iter().flat_map(|names| names.keys().cloned()));
        match end {
            End::Died(kill) => kills.push(kill),
            End::Orderly => {
                missed += usize::from(death != NEVER);
                counts = world.counts();
            }
            End::Wrong(what) => breaches.push(Breach { invariant: "I9", evidence: format!("life {life}: {what}") }),
        }
    }
    // Liveness: no faults any more; what is still on its way to the vendors arrives first.
    breaches.extend(judge(&world, &orders, &memory, &plan).await?);
    let void = !breaches.is_empty() && booked_too_late(&world);
    let seconds = begun.elapsed().as_secs_f64();
    let kept = (keep && !breaches.is_empty()).then(|| world.keep());
    Ok(Outcome { plan, kills, missed, breaches, counts, passed, seconds, void, kept })
}

/// The last life, without faults, in which everything must come to its end; and what the judge says of it all.
pub async fn judge(world: &World, orders: &[Order], memory: &Shared, plan: &Plan) -> Result<Vec<Breach>, Failure> {
    let mut breaches = Vec::new();
    world.sim.control().clear_faults();
    tokio::time::sleep(BOOKS_LATE_BY + Duration::from_millis(50)).await;
    let calm = Plan { stop_at_submit: None, wait_for_minute: false, ..plan.clone() };
    if let End::Wrong(what) = one_life(world, orders, memory, None, &calm, plan.deaths.len()).await? {
        breaches.push(Breach { invariant: "I9", evidence: format!("the last life: {what}") });
    }
    if let Err(error) = client::read_mailbox(world).await {
        breaches.push(Breach { invariant: "I8", evidence: format!("the mailbox cannot be read: {error}") });
    }
    write_evidence(world, orders, memory)?;
    match checker::check(&world.path("."), world.data()).await {
        Ok(found) => breaches.extend(found),
        Err(error) => {
            breaches.push(Breach { invariant: "I8", evidence: format!("a database cannot be read: {error}") })
        }
    }
    Ok(breaches)
}

async fn one_life(
    world: &World,
    orders: &[Order],
    memory: &Shared,
    death: Option<&str>,
    plan: &Plan,
    life: usize,
) -> Result<End, Failure> {
    world.unlink_store().await;
    let mut child = world.start(death.filter(|death| *death != NEVER), None)?;
    let ordered = AtomicBool::new(false);
    let (clients, beside) = (
        everyone(world, orders, memory, &ordered, death.is_none()),
        neighbours(world, orders, memory, plan, (life, death.is_none())),
    );
    let mut busy = std::pin::pin!(async { tokio::try_join!(clients, beside).map(drop) });
    let stop_now = async {
        match plan.stop_at_submit.filter(|_| life == 0) {
            Some(vendor) => until_submitted(world, vendor).await,
            None => at_rest(world, &ordered, death.is_none(), plan.wait_for_minute).await,
        }
    };
    let limit =
        if death.is_none() { IN_TIME } else { STUCK + Duration::from_secs(u64::from(plan.wait_for_minute) * 70) };
    let begun = Instant::now();
    let came_to = tokio::select! {
        status = child.wait() => return Ok(ended(world, status?, life)),
        failed = &mut busy => return Err(failed.err().unwrap_or_else(|| "the clients stopped".into())),
        rested = tokio::time::timeout(limit, stop_now) => rested.is_ok(),
    };
    if death.is_none() {
        let open = if came_to { Value::Null } else { still_open(world).await };
        let line = json!({ "rested": came_to, "seconds": begun.elapsed().as_secs(), "open": open });
        std::fs::write(world.path("liveness.ndjson"), format!("{line}\n"))?;
    } else if !came_to {
        let open = still_open(world).await;
        kill(&mut child).await?;
        return Ok(End::Wrong(format!("neither dead nor at rest after {limit:?}: {open}")));
    }
    terminate(&child);
    let status = tokio::select! {
        status = tokio::time::timeout(STOPS_IN, child.wait()) => status,
        failed = &mut busy => return Err(failed.err().unwrap_or_else(|| "the clients stopped".into())),
    };
    match status {
        Ok(status) => Ok(ended(world, status?, life)),
        Err(_) => {
            kill(&mut child).await?;
            Ok(End::Wrong(format!("it did not stop within {STOPS_IN:?}")))
        }
    }
}

/// Those who share the machine with the daemon.
async fn neighbours(
    world: &World,
    orders: &[Order],
    memory: &Shared,
    plan: &Plan,
    (life, calm): (usize, bool),
) -> Result<(), Failure> {
    let seed = plan.seed.wrapping_add(life as u64);
    let tidy = async {
        match calm {
            // A stop that finds the file locked leaves the last facts to the next start, and here there is none.
            true => std::future::pending().await,
            false => neighbours::tidy_mailbox(world, seed).await,
        }
    };
    let second = async {
        match plan.variant.is_multiple_of(3) && life <= 1 && !world.has_own_disk() {
            true => neighbours::second_daemon(world).await,
            false => std::future::pending().await,
        }
    };
    tokio::try_join!(tidy, neighbours::ask_again(world, orders, memory, seed), second).map(drop)
}

/// Those around the daemon, until the world ends: they order, decide, and read.
pub async fn everyone(
    world: &World,
    orders: &[Order],
    memory: &Shared,
    ordered: &AtomicBool,
    calm: bool,
) -> Result<(), Failure> {
    let ordering = async {
        client::order(world, orders, memory).await?;
        ordered.store(true, Ordering::SeqCst);
        std::future::pending::<Result<(), Failure>>().await
    };
    let (stream, mailbox) = (client::follow_stream(world), client::follow_mailbox(world));
    tokio::try_join!(ordering, operate(world, orders, calm), stream, mailbox).map(drop)
}

pub async fn kill(child: &mut Child) -> std::io::Result<()> {
    child.start_kill()?;
    child.wait().await.map(drop)
}

fn ended(world: &World, status: ExitStatus, life: usize) -> End {
    let counts = world.counts();
    let died = &counts["died"];
    match (status.code(), status.signal(), died.is_object()) {
        (None, Some(9), true) => End::Died(Kill {
            sort: died["sort"].as_str().unwrap_or_default().to_owned(),
            name: died["name"].as_str().unwrap_or_default().to_owned(),
            n: died["n"].as_u64().unwrap_or_default(),
            life,
        }),
        (Some(0), ..) => End::Orderly,
        _ => {
            let log = std::fs::read_to_string(world.path("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            End::Wrong(format!("it ended by itself ({status}): {}", last.join(" | ")))
        }
    }
}

async fn all_jobs(client: &Client) -> Option<Vec<Value>> {
    let page: Value = client.get(&["v1", "jobs"], &[("limit", "100".to_owned())]).await.ok()?.read().ok()?;
    page["jobs"].as_array().cloned()
}

fn is_final(job: &Value) -> bool {
    ["succeeded", "failed", "cancelled", "expired", "rejected"].iter().any(|end| job["state"] == *end)
}

/// Waits until nothing will happen any more: everything has ended or, while faults may still happen, is parked.
pub async fn at_rest(world: &World, ordered: &AtomicBool, calm: bool, wait_for_minute: bool) {
    let Ok(client) = world.client() else { return std::future::pending().await };
    loop {
        nap(30).await;
        if !ordered.load(Ordering::SeqCst) {
            continue;
        }
        let Some(jobs) = all_jobs(&client).await else { continue };
        let parked = |job: &Value| !calm && job["state"] == "in_doubt" && job["next_at"].is_null();
        // VagVin's call-back may be lost with the daemon that was to take it: then only an operator can ask for it.
        let waits = |job: &Value| !calm && job["kind"] == "vagvin.report" && job["state"] == "waiting";
        let rests = jobs.iter().all(|job| is_final(job) || parked(job) || waits(job));
        let told = !calm || client::was_told_everything(world);
        if rests && told && client::has_caught_up(world, &client).await {
            break;
        }
    }
    if wait_for_minute {
        let left = 60_000 - SystemClock.now().as_millis().rem_euclid(60_000);
        nap(u64::try_from(left).unwrap_or_default() + 700).await;
    }
}

async fn still_open(world: &World) -> Value {
    let Ok(client) = world.client() else { return Value::Null };
    let jobs = all_jobs(&client).await.unwrap_or_default();
    let open = jobs.iter().filter(|job| !is_final(job));
    open.map(|job| json!([job["id"], job["kind"], job["state"], job["why"], job["next_at"]])).collect()
}

async fn until_submitted(world: &World, vendor: &str) {
    let seen = || {
        let requests = world.sim.requests();
        requests.iter().any(|request| request.vendor == vendor && request.class == opros::simulator::OpClass::Submit)
    };
    while !seen() {
        nap(5).await;
    }
    nap(50).await;
}

/// Decides what only a person can decide, by the vendor's own books; and asks VagVin for what it sent in vain.
async fn operate(world: &World, orders: &[Order], calm: bool) -> Result<(), Failure> {
    let client = world.client()?;
    let mut has_enabled = !calm;
    loop {
        nap(150).await;
        if !has_enabled {
            has_enabled = enable_webhook(&client).await;
        }
        for job in all_jobs(&client).await.unwrap_or_default().iter().filter(|job| !is_final(job)) {
            let name = job["uid"].as_str().unwrap_or_default();
            let name = name.strip_prefix(AGAIN).unwrap_or(name);
            let Some(order) = orders.iter().find(|order| order.name == name) else { continue };
            let ledger = world.sim.ledger();
            let booked =
                ledger.iter().find(|it| it.vendor == order.vendor() && it.key == order.key && it.op != "daily");
            let parked = job["state"] == "in_doubt" && job["next_at"].is_null();
            let decision = match (order.vendor(), booked) {
                ("vagvin", Some(_)) => {
                    let send = Change::VagvinSend { vin: order.key.to_owned(), style: CallbackStyle::default() };
                    // An error would say that nobody ordered it.
                    let _ = world.sim.control().apply(send);
                    continue;
                }
                _ if !parked => continue,
                // It may still be booked.
                (_, None) if !calm => continue,
                ("vagvin", None) => json!({ "action": "fail" }),
                (_, Some(booking)) => json!({ "action": "adopt", "remote_id": booking.remote_id }),
                // By the books nothing was paid, however shortly after the last time.
                (_, None) => json!({ "action": "resubmit", "again": true }),
            };
            let id = job["id"].to_string();
            // A double click. 409: it has moved on meanwhile.
            let path = ["v1", "jobs", &id, "resolve"];
            let _ = tokio::join!(client.post(&path, &decision), client.post(&path, &decision));
        }
    }
}

/// What failed twice while connections could not be made waits five minutes by the published schedule, and rightly so: an
/// operator who knows that the receiver is back says so, once. What would be lost then is lost all the same.
async fn enable_webhook(client: &Client) -> bool {
    let answer = client.post(&["v1", "webhooks", "shop", "enable"], &json!({})).await;
    answer.is_ok_and(|answer| answer.read::<Value>().is_ok())
}

fn write_evidence(world: &World, orders: &[Order], memory: &Shared) -> Result<(), Failure> {
    let memory: Memory = memory.lock().map_err(|_| "a client panicked")?.clone();
    let lines = |all: Vec<Value>| all.iter().map(|line| format!("{line}\n")).collect::<String>();
    let told = orders.iter().flat_map(|order| {
        let acknowledged = memory.acknowledged.get(order.name);
        // What never goes out by itself is booked for the order that repeats it.
        let key = if order.again { "" } else { order.key };
        let again = order.again.then(|| (format!("{AGAIN}{}", order.name), order.key, memory.again.get(order.name)));
        std::iter::once((order.name.to_owned(), key, acknowledged)).chain(again).map(|(name, key, acknowledged)| {
            json!({
                "name": name, "vendor": order.vendor(), "kind": order.kind, "key": key,
                "door": if order.door == Door::Mailbox { "mailbox" } else { "socket" },
                "acknowledged": acknowledged,
            })
        })
    });
    let orders: Vec<Value> = told.collect();
    std::fs::write(world.path("orders.ndjson"), lines(orders))?;
    let ledger = world.sim.ledger().iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    std::fs::write(world.path("ledger.ndjson"), lines(ledger))?;
    Ok(())
}

/// A late booking that came later than it was told to, because this machine was busy: then the vendor broke its word.
pub fn booked_too_late(world: &World) -> bool {
    let requests = world.sim.requests();
    let late = requests.iter().filter(|request| request.fault == Some("late_booking"));
    let ledger = world.sim.ledger();
    late.into_iter().any(|request| {
        let booking = ledger.iter().find(|booking| booking.request_id == request.n);
        booking.is_some_and(|booking| booking.at.since(request.at) >= script::SETTLE)
    })
}
