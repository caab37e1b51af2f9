//! What the vendor reported, held against what the daemon told.

use std::collections::HashMap;
use std::time::Duration;

use opros::domain::{EventType, JobId, State, Timestamp};
use serde_json::json;

use crate::support::{TestDaemon, seconds, wagon};

/// Three reports a day.
pub const THRICE: &[&str] = &["09:00", "14:00", "19:00"];

/// Puts that many wagons on tracking, each with a hash and a job of its own, and waits until the vendor has them all.
pub async fn order(daemon: &TestDaemon, hashes: usize, times: &[&str]) -> Vec<JobId> {
    let order = |n| {
        json!({ "wagons": [wagon(n)], "track_state": "ru", "track_type": 2, "times": times,
            "stop_station": "no" })
    };
    let jobs = daemon.submit_all("alta.track", (0..hashes).map(order)).await;
    while daemon.count(State::Waiting).await < hashes {
        daemon.advance(seconds(60)).await;
    }
    jobs
}

#[derive(Debug, Default)]
pub struct Watch {
    /// Reports that showed something else than the ones before them, and how many of them became an event.
    pub news: usize,
    pub told: usize,
    /// Events that the vendor gave no cause for.
    pub noise: usize,
    /// From the vendor's report to our event.
    pub greatest_lag: Duration,
}

impl Watch {
    /// News younger than two hours may still be on their way: the watch ends when there are none.
    pub async fn of(daemon: &TestDaemon, jobs: &[JobId]) -> Watch {
        let mut told: HashMap<JobId, Vec<Timestamp>> = HashMap::new();
        for event in daemon.events_of(EventType::JobUpdated).await {
            told.entry(event.job.unwrap()).or_default().push(event.at);
        }
        let mut watch = Watch::default();
        for job in jobs {
            let hash = daemon.job(*job).await.remote_id.unwrap();
            let told = told.remove(job).unwrap_or_default();
            watch.compare(&daemon.sim.control().alta_news(&hash).unwrap(), &told);
        }
        watch
    }

    /// A report counts as told when an event came before the next one.
    fn compare(&mut self, news: &[Timestamp], told: &[Timestamp]) {
        let mut events = told.iter().peekable();
        for (at, report) in news.iter().enumerate() {
            let next = news.get(at + 1).copied().unwrap_or(Timestamp::MAX);
            self.news += 1;
            let Some(event) = events.next_if(|event| (*report..next).contains(*event)) else { continue };
            self.told += 1;
            self.greatest_lag = self.greatest_lag.max(event.since(*report));
            while events.next_if(|event| **event < next).is_some() {
                self.noise += 1;
            }
        }
        self.noise += events.count();
    }
}
