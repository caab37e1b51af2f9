//! The same jobs by three runners, round-robin in one run, against one instant vendor in a process of its own:
//!
//! * **opros**: the release binary, jobs over its socket as NDJSON, and as mailbox rows;
//! * **apalis**: apalis-sqlite at its best settings (synchronous=FULL, batches of 100, 64 at a time, each in a task of its own).
//!   Its jobs are put in before the clock starts; opros takes its own in while the clock runs;
//! * **bare**: reqwest and sqlx with a group commit: taken in, intent, result and event durable, and nothing else.
//!
//! `cargo build --release` in the repository, then here: `cargo run --release -- [--jobs 5000] [--rounds 5] [--opros PATH]`.
//! Prints medians and the ratios to apalis. Every figure of CPU and memory is the runner's own process.

mod apalis_runner;
mod bare;
mod opros;
mod process;
mod vendor;

use std::path::PathBuf;
use std::process::ExitCode;

use process::Measured;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// In flight at the vendor, for every runner.
pub const IN_FLIGHT: usize = 64;

/// What a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// One request.
    One,
    /// A submit and the check that brings the report.
    Two,
}

struct Options {
    jobs: usize,
    rounds: usize,
    opros: PathBuf,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options { jobs: 5_000, rounds: 5, opros: PathBuf::from("../../target/release/opros") };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--jobs" => options.jobs = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--opros" => options.opros = PathBuf::from(value),
            _ => return Err(format!("unknown option {name}; there are --jobs, --rounds, --opros").into()),
        }
    }
    if !options.opros.is_file() {
        return Err(format!("{} is missing: build it with cargo build --release", options.opros.display()).into());
    }
    Ok(options)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let run = match args.next().as_deref() {
        Some("vendor") => vendor::serve().await,
        Some("apalis") => apalis_runner::work(args.collect()).await,
        Some("bare") => bare::work(args.collect()).await,
        first => match options(first.map(str::to_owned).into_iter().chain(args)) {
            Ok(options) => compare(options).await,
            Err(error) => Err(error),
        },
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

const ROWS: [&str; 7] = [
    "apalis, one request",
    "bare, one request",
    "opros, one request, socket",
    "opros, one request, mailbox",
    "apalis, two requests as two jobs",
    "opros, submit and check, socket",
    "opros, submit and check, mailbox",
];

async fn compare(options: Options) -> Result<(), Failure> {
    let vendor = process::Vendor::start().await?;
    let mut all: Vec<Vec<Measured>> = ROWS.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        for (row, measured) in all.iter_mut().enumerate() {
            let one = run(row, &options, vendor.port).await?;
            println!("  {:<34} {:>7.0} jobs/s {:>6.0} µs {:>6.1} MiB", ROWS[row], one.rate, one.cpu, one.pss);
            measured.push(one);
        }
    }
    let medians: Vec<Measured> = all.iter().map(|runs| process::median(runs)).collect();
    println!("\n{} jobs, {IN_FLIGHT} in flight, medians of {} rounds\n", options.jobs, options.rounds);
    println!(
        "| runner | jobs/s | CPU µs a job | fsyncs a job | PSS MiB | ÷ apalis |\n| --- | --- | --- | --- | --- | --- |"
    );
    for (row, measured) in medians.iter().enumerate() {
        let base = &medians[if row < 4 { 0 } else { 4 }];
        let fsyncs = process::fsyncs(row, &options.opros, vendor.port, options.jobs).await?;
        let fsyncs = fsyncs.map_or("no strace".to_owned(), |each| format!("{each:.3}"));
        println!(
            "| {} | {:.0} | {:.0} | {fsyncs} | {:.1} | {:.2} |",
            ROWS[row],
            measured.rate,
            measured.cpu,
            measured.pss,
            measured.rate / base.rate
        );
    }
    println!(
        "\nmailbox ÷ socket: one request {:.2}, submit and check {:.2}",
        medians[3].rate / medians[2].rate,
        medians[6].rate / medians[5].rate
    );
    Ok(())
}

async fn run(row: usize, options: &Options, port: u16) -> Result<Measured, Failure> {
    run_under(row, &options.opros, port, options.jobs, None).await
}

/// One run of one row, its runner behind a wrapper (strace) or not.
pub async fn run_under(
    row: usize,
    opros: &std::path::Path,
    port: u16,
    jobs: usize,
    trace: Option<&std::path::Path>,
) -> Result<Measured, Failure> {
    match row {
        0 => process::worker("apalis", port, jobs, 1, trace).await,
        1 => process::worker("bare", port, jobs, 1, trace).await,
        2 => opros::run(opros, port, jobs, Work::One, false, trace).await,
        3 => opros::run(opros, port, jobs, Work::One, true, trace).await,
        // Two of its jobs for each order: the rate is of orders.
        4 => process::worker("apalis", port, jobs, 2, trace).await,
        5 => opros::run(opros, port, jobs, Work::Two, false, trace).await,
        _ => opros::run(opros, port, jobs, Work::Two, true, trace).await,
    }
}
