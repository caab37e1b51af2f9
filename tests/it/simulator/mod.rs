//! The vendors that the project plays to itself, held to the vendors' pages over real HTTP.

mod alta;
mod client;
mod control;
mod faults;
mod rlab;
mod tronk;
mod vagvin;

use std::time::Duration;

use opros::clock::ManualClock;
use opros::domain::Timestamp;
use opros::simulator::{SimConfig, Simulator};

/// Friday, 21 August 2026, ten o'clock in Moscow.
pub fn friday_morning() -> ManualClock {
    ManualClock::new(Timestamp::parse_rfc3339("2026-08-21T07:00:00Z").unwrap())
}

pub async fn start(clock: &ManualClock, change: impl FnOnce(&mut SimConfig)) -> Simulator {
    let mut config = SimConfig { clock: std::sync::Arc::new(clock.clone()), ..SimConfig::default() };
    change(&mut config);
    Simulator::start(config).await.unwrap()
}

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// Waits for a fact that another task brings about; the limit only keeps a broken test from hanging.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(20), waiting).await.unwrap_or_else(|_| panic!("{what} never came about"));
}
