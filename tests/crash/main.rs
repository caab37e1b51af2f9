//! The crash harness: kills the daemon everywhere, starts it again, and judges what it left. See docs/reliability.md.
//!
//! `cargo run --release --features crashtest --bin crashtest -- ci`

mod campaign;
mod checker;
mod client;
mod evidence;
mod machine;
mod neighbours;
mod play;
mod score;
mod script;
mod teeth;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use opros::config::Sources;

/// Kills opros everywhere and judges what it left.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon under test; the harness starts it.
    #[command(hide = true)]
    Daemon { config: PathBuf },
    /// One run without a kill: how many points and suspensions there are.
    Count(Settings),
    /// A kill at every point and at every suspension, then more kills in the recovery.
    Every(Settings),
    /// A kill at every pair (i, j) of points of a short script, j while the daemon recovers from i.
    Pairs(Settings),
    /// Kills drawn from a seed.
    Random(Settings),
    /// Plants eight mistakes, one after the other; each must be caught.
    Teeth(Settings),
    /// What CI runs: every point, 2,000 kills, and the teeth.
    Ci(Settings),
    #[command(flatten)]
    Machine(machine::Machine),
}

#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// What everything that looks random follows from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stop after so many kills.
    #[arg(long)]
    pub kills: Option<usize>,
    /// Worlds at a time; they mostly wait.
    #[arg(long, default_value_t = 6)]
    pub jobs: usize,
    /// Plays one world again: what a breach was reported with, such as `seed=7 variant=2 deaths=point:40,suspension:9`.
    #[arg(long)]
    pub replay: Option<String>,
    /// Writes the scoreboard as JSON to this file, too.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Leaves the directories of worlds in which something broke.
    #[arg(long)]
    pub keep: bool,
    /// Says what happens in each world.
    #[arg(long, short)]
    pub verbose: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("crashtest cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let passed = match cli.command {
            Command::Daemon { config } => {
                let code = opros::lifecycle::serve(Sources::from_process(Some(config), Vec::new())).await;
                opros::crash::report();
                return code;
            }
            Command::Count(settings) => campaign::count(&settings).await,
            Command::Every(settings) => campaign::every(&settings).await,
            Command::Pairs(settings) => campaign::pairs(&settings).await,
            Command::Random(settings) => campaign::random(&settings).await,
            Command::Teeth(settings) => teeth::all(&settings).await,
            Command::Ci(settings) => campaign::ci(&settings).await,
            Command::Machine(machine) => machine::run(machine).await,
        };
        match passed {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("crashtest stopped: {error}");
                ExitCode::FAILURE
            }
        }
    });
    runtime.shutdown_background();
    code
}
