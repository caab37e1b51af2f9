//! What a machine does to a daemon: power that goes, system calls that fail, a clock that is set, causes that health must
//! name. Here the plain release binary runs, in the same worlds and before the same judge as under `super::campaign`.

mod board;
mod causes;
mod clock;
mod disk;
mod life;
mod power;
mod syscalls;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use tokio::task::JoinSet;

use self::board::Board;
use self::life::{Outcome, Plan, Trouble};
use super::campaign::Dice;
use super::script::VARIANTS;
use super::world::Failure;

#[derive(Debug, Subcommand)]
pub enum Machine {
    /// Power cuts under store and mailbox, on an ext4 of their own (needs root and a loop device).
    Power(Settings),
    /// System calls that fail, kill or take long (needs strace).
    Syscalls(Settings),
    /// The clock is set by a thousand days, to and fro, and runs a hundred times too fast (needs libfaketime).
    Clock(Settings),
    /// Each thing that can be wrong with disk, mailbox and vendor: is it named by health within ten seconds, and does all go on
    /// when it is over?
    Causes(Settings),
}

#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// What everything that looks random follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The released daemon.
    #[arg(long, default_value = "target/release/opros")]
    binary: PathBuf,
    /// Stop after so many faults.
    #[arg(long)]
    faults: Option<usize>,
    /// Worlds at a time; they mostly wait.
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Plays one world of the seed again, by its number.
    #[arg(long)]
    replay: Option<u64>,
    /// Writes the scoreboard as JSON to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leaves the directories of worlds in which something broke.
    #[arg(long)]
    keep: bool,
    /// Says what happens in each world.
    #[arg(long, short)]
    verbose: bool,
}

/// One sort of fault.
struct Campaign {
    name: &'static str,
    /// Why it cannot be run on this machine.
    missing: Option<String>,
    /// Faults, unless the command line says how many.
    enough: usize,
    /// Lives in a world before the last.
    lives: u64,
    draw: fn(&mut Dice) -> Trouble,
}

pub async fn run(machine: Machine) -> Result<bool, Failure> {
    match machine {
        Machine::Power(settings) => {
            let missing = disk::missing().await;
            play(Campaign { name: "power", missing, enough: 200, lives: 5, draw: power::draw }, settings).await
        }
        Machine::Syscalls(settings) => {
            let missing = syscalls::missing();
            play(Campaign { name: "syscalls", missing, enough: 2_000, lives: 6, draw: syscalls::draw }, settings).await
        }
        Machine::Clock(settings) => {
            let missing = clock::missing();
            play(Campaign { name: "clock", missing, enough: 200, lives: 3, draw: clock::draw }, settings).await
        }
        Machine::Causes(settings) => causes::all(&found(&settings.binary)?, settings.json.as_deref()).await,
    }
}

fn found(binary: &Path) -> Result<PathBuf, Failure> {
    let missing = |error| format!("{}: {error}; build it, or give --binary", binary.display());
    Ok(std::fs::canonicalize(binary).map_err(missing)?)
}

/// World `number` of a seed is the same in every run.
fn plan(campaign: &Campaign, seed: u64, number: u64) -> Plan {
    let mut dice = Dice(seed ^ number.wrapping_mul(0xA076_1D64_78BD_642F));
    let troubles = (0..campaign.lives).map(|_| (campaign.draw)(&mut dice)).collect();
    Plan { seed, number, variant: number % VARIANTS, troubles }
}

async fn play(campaign: Campaign, settings: Settings) -> Result<bool, Failure> {
    if let Some(why) = &campaign.missing {
        println!("{}: skipped, {why}", campaign.name);
        return Ok(true);
    }
    let binary = found(&settings.binary)?;
    let begun = Instant::now();
    let mut board = Board::new(campaign.name, settings.seed);
    let numbers = match settings.replay {
        Some(number) => number..number + 1,
        None => 0..u64::MAX,
    };
    let enough = settings.faults.unwrap_or(campaign.enough);
    worlds(&campaign, &settings, &binary, numbers, enough, &mut board).await?;
    board.print(begun.elapsed());
    if let Some(path) = &settings.json {
        std::fs::write(path, serde_json::to_string_pretty(&board.json(begun.elapsed()))?)?;
    }
    Ok(board.is_clean())
}

async fn worlds(
    campaign: &Campaign,
    settings: &Settings,
    binary: &Path,
    mut numbers: std::ops::Range<u64>,
    enough: usize,
    board: &mut Board,
) -> Result<(), Failure> {
    let (mut playing, mut told) = (JoinSet::new(), 0);
    loop {
        while playing.len() < settings.jobs.max(1) && board.faults() < enough {
            let Some(number) = numbers.next() else { break };
            let plan = plan(campaign, settings.seed, number);
            playing.spawn(life::play(plan, binary.to_owned(), settings.keep));
        }
        let Some(played) = playing.join_next().await else { return Ok(()) };
        let outcome: Outcome = played??;
        if settings.verbose || !outcome.breaches.is_empty() {
            board::tell(&outcome);
        }
        board.add(&outcome);
        if board.faults() / 100 > told {
            told = board.faults() / 100;
            println!("{} faults, {}", board.faults(), if board.is_clean() { "all held" } else { "BROKEN" });
        }
    }
}
