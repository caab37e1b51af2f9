//! A week of five thousand requests followed at the simulated Alta: three reports a day each, one request a second.
//!
//! `cargo bench --bench alta_week` (`-- HASHES DAYS` for others). Real engine, real store, real HTTP; only the clock is moved
//! by hand. Prints what the vendor and the listener would ask about, and fails where manners were broken or news was missed.

#[path = "../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

#[path = "../tests/it/support/alta_watch.rs"]
mod alta_watch;

use std::process::ExitCode;
use std::time::Instant;

use alta_watch::Watch;
use support::{TestDaemon, alta_account, hours};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let (hashes, days) = (numbers.next().unwrap_or(5_000), numbers.next().unwrap_or(7));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    if runtime.block_on(week(hashes, days as u64)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn week(hashes: usize, days: u64) -> bool {
    let began = Instant::now();
    let mut daemon = TestDaemon::start(|sim| alta_account(sim, ""), |config| config.log_requests = false).await;
    let jobs = alta_watch::order(&daemon, hashes).await;
    for day in 1..=days {
        daemon.advance(hours(24)).await;
        eprintln!("day {day} after {:.1} s", began.elapsed().as_secs_f64());
    }
    let watch = Watch::of(&daemon, &jobs).await;
    let per_day = |calls: u64| calls as f64 / hashes as f64 / days as f64;
    println!("{hashes} hashes, {days} days, in {:.1} s", began.elapsed().as_secs_f64());
    println!("show per hash and day       {:.2}", per_day(daemon.calls("alta.show")));
    println!("all requests per hash, day  {:.2}", per_day(daemon.requests("alta")));
    println!("track_list per day          {:.0}", daemon.calls("alta.track_list") as f64 / days as f64);
    println!("news told                   {} of {}", watch.told, watch.news);
    println!("greatest lag of an event    {} min", watch.greatest_lag.as_secs() / 60);
    println!("violations                  {}", daemon.sim.violations().len());
    daemon.restart().await;
    watch.told == watch.news && daemon.sim.violations().is_empty()
}
