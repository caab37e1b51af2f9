//! A harness that finds nothing proves nothing: eight mistakes are planted in the daemon, and each must be caught. The same
//! scripts are played with the daemon as it is: they must find nothing there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use opros::clock::{Clock, SystemClock};
use opros::crash::Mutant;
use opros::simulator::{Fault, FaultPlan, FaultRule};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Settings;
use super::client::{self, Shared};
use super::play::{NEVER, Plan, play};
use super::script;
use super::world::{Failure, World, nap, terminate};

/// Longer than a rescuer's patience, shorter than a call's time-out.
const SLOW: Duration = Duration::from_millis(700);

#[derive(Debug)]
pub struct Tooth {
    mutant: &'static str,
    /// The invariants that it broke, and one piece of evidence.
    caught_by: BTreeSet<String>,
    evidence: String,
    /// What the same scripts found in the daemon as it is.
    false_alarms: Vec<String>,
}

impl Tooth {
    pub fn bites(&self) -> bool {
        !self.caught_by.is_empty() && self.false_alarms.is_empty()
    }

    pub fn json(&self) -> Value {
        json!({ "mutant": self.mutant, "caught_by": self.caught_by, "evidence": self.evidence, "false_alarms": self.false_alarms })
    }
}

pub async fn all(settings: &Settings) -> Result<bool, Failure> {
    let teeth = bite(settings).await?;
    if let Some(path) = &settings.json {
        let board = json!(teeth.iter().map(Tooth::json).collect::<Vec<_>>());
        std::fs::write(path, serde_json::to_string_pretty(&board)?)?;
    }
    Ok(teeth.iter().all(Tooth::bites))
}

pub async fn bite(settings: &Settings) -> Result<Vec<Tooth>, Failure> {
    println!("\nplanted mistakes:");
    let mut teeth = Vec::new();
    for (name, mutant) in Mutant::ALL {
        let tooth = match mutant {
            Mutant::SynchronousNormal => disk(name).await?,
            _ => scripts(name, mutant, settings).await?,
        };
        let verdict = if tooth.caught_by.is_empty() { "NOT CAUGHT" } else { "caught by" };
        let invariants: Vec<&str> = tooth.caught_by.iter().map(String::as_str).collect();
        println!("  {name:<26} {verdict} {:<14} {:.150}", invariants.join(" "), tooth.evidence);
        tooth.false_alarms.iter().for_each(|what| println!("  {name:<26} FALSE ALARM without it: {what}"));
        teeth.push(tooth);
    }
    let biting = teeth.iter().filter(|tooth| tooth.bites()).count();
    println!("  {biting} of {} caught", teeth.len());
    Ok(teeth)
}

/// The worlds in which this mistake shows.
fn worlds(mutant: Mutant) -> Vec<Plan> {
    let plan = |n: u64, deaths: Vec<String>| Plan::new(n, 0, deaths);
    let faulty = |vendor: &str, fault: Fault| Some(FaultPlan::one(FaultRule::on(vendor, "submit", fault).first(4)));
    let never = || vec![NEVER.to_owned()];
    let slow = || Fault::Slow { ms: SLOW.as_millis() as u64 };
    match mutant {
        Mutant::NaiveResend => (1..=4).map(|n| plan(n, vec![format!("name:submit.answered:{n}")])).collect(),
        Mutant::EventOutsideTransaction => {
            (8..=18).step_by(2).map(|n| plan(n, vec![format!("name:store.committed:{n}")])).collect()
        }
        Mutant::SettleZero => {
            // Well within the settle time, and long enough for the look-ups of a busy machine.
            let late = FaultRule::on("alta", "submit", Fault::LateBooking { after_ms: 600 }).first(1);
            vec![Plan { faults: Some(FaultPlan::one(late)), ..plan(1, never()) }]
        }
        Mutant::FollowRedirects => {
            let redirect = Fault::Redirect { location: None, code: 307, book: true };
            let once = FaultRule::on("tronk", "submit", redirect).first(1);
            vec![Plan { faults: Some(FaultPlan::one(once)), ..plan(1, never()) }]
        }
        Mutant::CommitAfterSend | Mutant::RescueByTime => {
            vec![Plan { faults: faulty("tronk", slow()), ..plan(1, never()) }]
        }
        Mutant::CancelCutsSubmit => {
            let faults = faulty("tronk", slow());
            vec![Plan { faults, stop_at_submit: Some("tronk"), ..plan(1, never()) }]
        }
        Mutant::SynchronousNormal => Vec::new(),
    }
}

async fn scripts(name: &'static str, mutant: Mutant, settings: &Settings) -> Result<Tooth, Failure> {
    let mut running = JoinSet::new();
    for plan in worlds(mutant) {
        running.spawn(play(Plan { mutant: Some(name), ..plan.clone() }, settings.keep));
        running.spawn(play(plan, settings.keep));
    }
    let (mut caught_by, mut evidence, mut false_alarms) = (BTreeSet::new(), String::new(), Vec::new());
    while let Some(played) = running.join_next().await {
        let outcome = played??;
        for breach in outcome.breaches.into_iter().filter(|_| !outcome.void) {
            let words = format!("{} {}", breach.invariant, breach.evidence);
            if outcome.plan.mutant.is_none() {
                false_alarms.push(words);
                continue;
            }
            if evidence.is_empty() {
                evidence = words;
            }
            caught_by.insert(breach.invariant.to_owned());
        }
    }
    Ok(Tooth { mutant: name, caught_by, evidence, false_alarms })
}

/// A kill leaves the page cache alone, so no kill can show this one. What shows it is whether the kernel was asked to
/// write: strace counts the fsyncs of the store's WAL, and each commit must have had one of its own.
async fn disk(name: &'static str) -> Result<Tooth, Failure> {
    let tooth = |caught: Option<String>, false_alarms| Tooth {
        mutant: name,
        caught_by: caught.iter().map(|_| "R1".to_owned()).collect(),
        evidence: caught.unwrap_or_default(),
        false_alarms,
    };
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return Ok(tooth(
            None,
            vec!["strace is not installed, and nothing else shows this one: apt-get install strace".to_owned()],
        ));
    }
    let (commits, syncs) = count_syncs(Some(name)).await?;
    let caught = (syncs < commits).then(|| format!("R1 {commits} commits of the store, {syncs} fsyncs of its WAL"));
    let (commits, syncs) = count_syncs(None).await?;
    let alarm =
        (syncs < commits || commits == 0).then(|| format!("{commits} commits of the store, {syncs} fsyncs of its WAL"));
    Ok(tooth(caught, alarm.into_iter().collect()))
}

/// Commits that the store's writer made, and fsyncs of the store's WAL that the kernel saw, over one orderly run.
async fn count_syncs(mutant: Option<&'static str>) -> Result<(u64, u64), Failure> {
    let world = World::new(1, FaultPlan::default(), mutant).await?;
    let trace = world.path("trace");
    let mut child = world.start(None, Some(&trace))?;
    let orders = script::orders(SystemClock.now(), true, 0);
    let memory = Shared::default();
    let world = &world;
    let stopped = async {
        nap(4_000).await;
        // strace itself ignores it; the daemon is its child.
        stop_traced(&child);
        tokio::time::timeout(Duration::from_secs(20), child.wait()).await
    };
    let ordering = async {
        client::order(world, &orders, &memory).await?;
        std::future::pending::<Result<(), Failure>>().await
    };
    tokio::select! {
        stopped = stopped => drop(stopped??),
        failed = ordering => failed?,
    }
    let commits = world.counts()["by_point"]["store.committed"].as_u64().unwrap_or_default();
    let syncs = std::fs::read_to_string(Path::new(&trace))?;
    let syncs = syncs.lines().filter(|line| line.contains("sync(") && line.contains("opros.db-wal>")).count();
    Ok((commits, syncs as u64))
}

fn stop_traced(strace: &tokio::process::Child) {
    let Some(parent) = strace.id() else { return };
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if children.is_empty() {
        terminate(strace);
    }
}
