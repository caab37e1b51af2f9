//! A week of five thousand requests followed at the simulated Alta, one request a second.
//!
//! Between the reports a request is looked after every two hours. `cargo bench --bench alta_week` (`-- HASHES DAYS REPORTS` for others than 5000 hashes, 7 days, one report a day each; up to
//! three). Real engine, real store, real HTTP; only the clock is moved by hand, and the store's file lies in memory where the
//! machine has a place for that: what is measured is the pace towards the vendor, not the disk. Prints what the vendor and
//! the listener would ask about, and fails where manners were broken or news was missed.

#[path = "../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

#[path = "../tests/it/support/alta_watch.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod alta_watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use alta_watch::Watch;
use opros::simulator::SimConfig;
use support::{TestDaemon, alta_account, hours};

/// The first comes soon after all were added.
const TIMES: [&str; 3] = ["11:30", "17:00", "22:00"];
const IN_MEMORY: &str = "/dev/shm";

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let (hashes, days, reports) = (number(5_000), number(7), number(1).min(TIMES.len()));
    if std::path::Path::new(IN_MEMORY).is_dir() {
        tempfile::env::override_temp_dir(std::path::Path::new(IN_MEMORY)).expect("nothing was made before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    if runtime.block_on(week(hashes, days as u64, &TIMES[..reports])) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn simulated(config: &mut SimConfig) {
    config.log_requests = false;
    config.alta.first_data_after = Duration::ZERO;
}

async fn week(hashes: usize, days: u64, times: &[&str]) -> bool {
    let began = Instant::now();
    let mut daemon = TestDaemon::start(|sim| alta_account(sim, "idle_every = \"2h\""), simulated).await;
    let jobs = alta_watch::order(&daemon, hashes, times).await;
    for day in 1..=days {
        daemon.advance(hours(24)).await;
        eprintln!("day {day} after {:.1} s", began.elapsed().as_secs_f64());
    }
    let watch = Watch::of(&daemon, &jobs).await;
    let per_day = |calls: u64| calls as f64 / hashes as f64 / days as f64;
    println!("{hashes} hashes, {days} days, {} reports a day, in {:.1} s", times.len(), began.elapsed().as_secs_f64());
    println!("show per hash and day       {:.2}", per_day(daemon.calls("alta.show")));
    println!("all requests per hash, day  {:.2}", per_day(daemon.requests("alta")));
    println!("track_list per day          {:.0}", daemon.calls("alta.track_list") as f64 / days as f64);
    println!("news told                   {} of {}", watch.told, watch.news);
    println!("greatest lag of an event    {} min", watch.greatest_lag.as_secs() / 60);
    println!("violations                  {}", daemon.sim.violations().len());
    daemon.restart().await;
    watch.told == watch.news && daemon.sim.violations().is_empty()
}
