//! The course of a world under a machine's faults: lives in trouble, then one without, then the judge.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use opros::clock::{Clock, SystemClock};
use opros::lifecycle::{EXIT_CONFIG, EXIT_FAILSTOP, EXIT_START};
use rustix::process::Signal;
use tokio::process::Child;

use super::clock::Setting;
use super::disk::Disk;
use super::syscalls::Injection;
use crate::checker::Breach;
use crate::client::Shared;
use crate::play;
use crate::script::{self, Order};
use crate::world::{Failure, World, nap, send};

/// A stop that is asked for under faults: the longest call, and patience with a slow disk.
const STOPS_IN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub enum Trouble {
    PowerCut { after: Duration },
    Syscall(Injection),
    Clock(Vec<Setting>),
}

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub number: u64,
    pub variant: u64,
    pub troubles: Vec<Trouble>,
}

/// A fault that happened, and how the life ended in which it did.
#[derive(Debug)]
pub struct Fault {
    pub what: String,
    pub end: String,
    /// How often it struck: a system call can fail many times in a life.
    pub times: usize,
}

#[derive(Debug)]
pub struct Outcome {
    pub plan: Plan,
    pub faults: Vec<Fault>,
    /// Lives that ended before their trouble came.
    pub missed: usize,
    pub breaches: Vec<Breach>,
    pub seconds: f64,
    pub void: bool,
    pub kept: Option<PathBuf>,
}

/// Who ended a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Itself,
    Us,
    /// It was asked to stop, and did not.
    UsAtLast,
}

/// What is played, and who plays.
struct Stage {
    world: World,
    orders: Vec<Order>,
    memory: Shared,
    disk: Option<Disk>,
}

pub async fn play(plan: Plan, binary: PathBuf, keep: bool) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let seed = plan.seed.wrapping_add(plan.number);
    let mut world = World::new(seed, script::faults(plan.variant), None).await?;
    world.release(&binary);
    let cut = plan.troubles.iter().any(|trouble| matches!(trouble, Trouble::PowerCut { .. }));
    let disk = if cut { Some(Disk::new(&world.path("disk")).await?) } else { None };
    if let Some(disk) = &disk {
        world.move_data(disk.directory().to_owned())?;
    }
    let orders = script::orders(SystemClock.now(), false, plan.variant);
    let stage = Stage { world, orders, memory: Shared::default(), disk };
    let (mut faults, mut breaches) = (Vec::new(), Vec::new());
    for (life, trouble) in plan.troubles.iter().enumerate() {
        let (fault, wrong) = stage.live(trouble, life).await?;
        faults.extend(fault);
        breaches.extend(wrong.map(|what| Breach { invariant: "I9", evidence: format!("life {life}: {what}") }));
    }
    let calm = play::Plan::new(seed, plan.variant, Vec::new());
    breaches.extend(play::judge(&stage.world, &stage.orders, &stage.memory, &calm).await?);
    if plan.troubles.iter().any(|trouble| matches!(trouble, Trouble::Clock(_))) {
        // The vendor kept true time, the daemon did not: which was first cannot be told from their times.
        breaches.retain(|breach| breach.invariant != "I10");
    }
    breaches.extend(panics(&stage.world));
    let void = !breaches.is_empty() && play::booked_too_late(&stage.world);
    let missed = plan.troubles.len() - faults.len();
    let Stage { world, disk, .. } = stage;
    let kept = if keep && !breaches.is_empty() {
        if let Some(disk) = &disk {
            disk.copy_out(&world.path("data")).await;
        }
        drop(disk);
        Some(world.keep())
    } else {
        None
    };
    Ok(Outcome { plan, faults, missed, breaches, seconds: begun.elapsed().as_secs_f64(), void, kept })
}

/// Whatever fails, nothing panics.
fn panics(world: &World) -> Option<Breach> {
    let log = std::fs::read_to_string(world.path("log")).unwrap_or_default();
    let line = log.lines().find(|line| line.contains("panicked"))?;
    Some(Breach { invariant: "I9", evidence: format!("panicked: {line:.300}") })
}

impl Stage {
    /// One life in trouble. Says what struck, if it did, and what was wrong about the life's end.
    async fn live(&self, trouble: &Trouble, life: usize) -> Result<(Option<Fault>, Option<String>), Failure> {
        let world = &self.world;
        let trace = world.path(&format!("trace-{life}"));
        let before = log_length(world);
        let mut child = match trouble {
            Trouble::PowerCut { .. } => world.command(&[])?.spawn()?,
            Trouble::Syscall(injection) => world.command(&injection.wrapper(&trace, world.data()))?.spawn()?,
            Trouble::Clock(_) => super::clock::fake(world.command(&[])?, &world.path("clock"))?.spawn()?,
        };
        let ordered = AtomicBool::new(false);
        let busy = play::everyone(world, &self.orders, &self.memory, &ordered, false);
        let course = async {
            match trouble {
                Trouble::PowerCut { after } => {
                    self.cut(&mut child, *after).await.map(|()| (Some(1), "cut off".to_owned()))
                }
                Trouble::Syscall(injection) => {
                    let (end, by) = self.end(&mut child, &ordered, injection.lasts, injection.by_force).await?;
                    let killed = by == By::Itself && end.signal() == Some(9);
                    let struck = super::syscalls::struck(&trace) + usize::from(killed);
                    Ok((Some(struck).filter(|times| *times > 0), said(end, by)))
                }
                Trouble::Clock(settings) => {
                    let struck = super::clock::set(settings, &world.path("clock")).await?;
                    let (end, by) = self.end(&mut child, &ordered, Duration::from_secs(6), false).await?;
                    Ok((Some(struck), said(end, by)))
                }
            }
        };
        let (struck, end): (Option<usize>, String) = tokio::select! {
            ended = course => ended?,
            failed = busy => return Err(failed.err().unwrap_or_else(|| "the clients stopped".into())),
        };
        let wrong = self.wrong(&end, before);
        let name = |times| Fault { what: trouble.name(), end: end.clone(), times };
        Ok((struck.map(name), wrong))
    }

    /// Until it ends by itself or is at rest, or the time is over; then it is told to end.
    async fn end(
        &self,
        child: &mut Child,
        ordered: &AtomicBool,
        lasts: Duration,
        by_force: bool,
    ) -> Result<(ExitStatus, By), Failure> {
        let rested = tokio::time::timeout(lasts, play::at_rest(&self.world, ordered, false, false));
        tokio::select! {
            status = child.wait() => return Ok((status?, By::Itself)),
            _ = rested => {}
        }
        send(child, if by_force { Signal::KILL } else { Signal::TERM });
        match tokio::time::timeout(STOPS_IN, child.wait()).await {
            Ok(status) => Ok((status?, By::Us)),
            Err(_) => {
                send(child, Signal::KILL);
                Ok((child.wait().await?, By::UsAtLast))
            }
        }
    }

    /// The daemon stands still first: an acknowledgement that is on its way when the power goes would be judged by luck.
    async fn cut(&self, child: &mut Child, after: Duration) -> Result<(), Failure> {
        nap(after.as_millis() as u64).await;
        send(child, Signal::STOP);
        nap(20).await;
        let Some(disk) = &self.disk else { return Err("a power cut needs a disk".into()) };
        let _nobody_has_it_open = self.world.disk.write().await;
        disk.cut().await?;
        play::kill(child).await?;
        disk.again().await
    }

    /// It may end by itself only as the documentation says, and with a word.
    fn wrong(&self, end: &str, log_before: usize) -> Option<String> {
        let documented = [EXIT_START, EXIT_CONFIG, EXIT_FAILSTOP].iter().any(|code| end == format!("exit code {code}"));
        // The loader could not read a library: there was no daemon yet.
        if end == "exit code 127" && self.log_from(log_before).contains("error while loading shared libraries") {
            return None;
        }
        // strace got stuck over a delay of its own, and with it what it held.
        if self.log_from(log_before).contains("strace: dispatch_event") {
            return None;
        }
        // Under strace a start takes seconds on a busy machine: it was told to end before it could hear.
        if end == BEFORE_IT_LISTENED && self.log_from(log_before).trim().is_empty() {
            return None;
        }
        let ok = ["cut off", "SIGKILL", "killed by us", "stopped in order"].contains(&end);
        if ok || !documented {
            return (!ok).then(|| format!("it ended with {end}: {}", self.log_from(log_before)));
        }
        let words = self.log_from(log_before);
        (words.trim().len() < 20).then(|| format!("it ended with {end} and without a word"))
    }

    fn log_from(&self, at: usize) -> String {
        let log = std::fs::read_to_string(self.world.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.get(at..).unwrap_or_default().lines().rev().take(3).collect();
        lines.join(" | ")
    }
}

const BEFORE_IT_LISTENED: &str = "signal 15 before it listened";

fn log_length(world: &World) -> usize {
    std::fs::metadata(world.path("log")).map_or(0, |file| file.len() as usize)
}

fn said(end: ExitStatus, by: By) -> String {
    match (end.code(), end.signal(), by) {
        (.., By::UsAtLast) => format!("no end within {} s of being asked to", STOPS_IN.as_secs()),
        (Some(0), ..) => "stopped in order".to_owned(),
        (Some(code), ..) => format!("exit code {code}"),
        (None, Some(9), By::Us) => "killed by us".to_owned(),
        (None, Some(9), By::Itself) => "SIGKILL".to_owned(),
        (None, Some(15), By::Us) => BEFORE_IT_LISTENED.to_owned(),
        (None, signal, _) => format!("signal {}", signal.unwrap_or_default()),
    }
}

impl Trouble {
    fn name(&self) -> String {
        match self {
            Trouble::PowerCut { .. } => "power cut".to_owned(),
            Trouble::Syscall(injection) => injection.name(),
            Trouble::Clock(settings) => super::clock::name(settings),
        }
    }

    /// All that a reader needs to see what was done.
    pub fn words(&self) -> String {
        match self {
            Trouble::PowerCut { after } => format!("cut after {} ms", after.as_millis()),
            Trouble::Syscall(injection) => injection.words(),
            Trouble::Clock(settings) => {
                let each = |it: &Setting| format!("{} after {} ms", it.clock, it.after.as_millis());
                settings.iter().map(each).collect::<Vec<_>>().join(", ")
            }
        }
    }
}
