//! Days of tracking against a vendor that blocks whoever shows a hash twice within a minute.

use std::collections::HashMap;

use super::*;
use crate::domain::state::{Begin, Input, Observation, step};

const SECOND: Duration = Duration::from_secs(1);
const TIMES: [&str; 3] = ["09:00", "14:00", "18:00"];

/// The vendor: each report is ready some minutes after its time, and moves the wagon by a station.
struct Alta2 {
    start: Timestamp,
    last_show: HashMap<String, Timestamp>,
    shows: u32,
    lists: u32,
    violations: u32,
    hashes: Vec<String>,
    list_broken: bool,
}

impl Alta2 {
    /// How many reports of this hash are ready, and when the newest was.
    fn reports(&self, hash: usize, now: Timestamp) -> (u32, Timestamp) {
        let delay = Duration::from_secs(60 + 37 * (hash as u64 % 8));
        let mut newest = (0, self.start);
        for day in 0..60 {
            for hour in [9, 14, 18] {
                let ready = self.start + Duration::from_secs((day * 24 + hour) * 3600) + delay;
                if ready <= now {
                    newest = (newest.0 + 1, ready);
                }
            }
        }
        newest
    }

    fn list(&mut self, now: Timestamp) -> String {
        self.lists += 1;
        if self.list_broken {
            return "<html>".into();
        }
        let mut all = vec![json!({ "status": "ok" })];
        for (at, hash) in self.hashes.iter().enumerate() {
            let local = self.reports(at, now).1 + Duration::from_secs(3 * 3600);
            let modified = local.to_utc().format("%d.%m.%Y %H:%M").to_string();
            all.push(json!({ "hash": hash, "modify_date": modified, "status": 4, "on_track": "1" }));
        }
        Value::Array(all).to_string()
    }

    fn show(&mut self, hash: &str, now: Timestamp) -> String {
        self.shows += 1;
        let before = self.last_show.insert(hash.to_owned(), now);
        self.violations += u32::from(before.is_some_and(|before| now.since(before) < SHOW_FLOOR));
        let at = self.hashes.iter().position(|known| known == hash).unwrap();
        let (count, _) = self.reports(at, now);
        json!([{ "status": "ok", "query_status": "4" }, { "num": "54676515", "on_track": 1, "station": count }])
            .to_string()
    }
}

struct World {
    driver: Alta,
    vendor: Alta2,
    jobs: Vec<Job>,
    params: Value,
    /// Every so many calls the answer is lost.
    lose: u32,
    calls: u32,
    greatest_lag: Duration,
    observations: u32,
}

impl World {
    fn new(count: usize) -> Self {
        let start = at("2026-03-10T00:00:00+03:00");
        let hashes: Vec<String> = (0..count).map(|number| format!("{number:032x}")).collect();
        let jobs = hashes
            .iter()
            .enumerate()
            .map(|(number, hash)| {
                let mut job = job(TRACK, State::Waiting);
                job.id = JobId(number as i64);
                job.remote_id = Some(hash.clone());
                job.submitted_at = Some(start);
                job
            })
            .collect();
        let params = json!({ "wagons": ["54676515"], "track_state": "ru", "track_type": 2, "times": TIMES });
        let vendor =
            Alta2 { start, last_show: HashMap::new(), shows: 0, lists: 0, violations: 0, hashes, list_broken: false };
        let params = checked(TRACK, params);
        Self { driver: alta(), vendor, jobs, params, lose: 0, calls: 0, greatest_lag: Duration::ZERO, observations: 0 }
    }

    fn run(&mut self, mut now: Timestamp, until: Timestamp) {
        while now < until {
            let first = (0..self.jobs.len()).min_by_key(|at| self.jobs[*at].due_at).unwrap();
            now = now.max(self.jobs[first].due_at.unwrap());
            let key = self.driver.batch(&view(&self.jobs[first], &self.params), Call::Poll);
            let batch: Vec<usize> = if key.max == 1 {
                vec![first]
            } else {
                let fits = |job: &Job| {
                    job.due_at.unwrap() <= now && self.driver.batch(&view(job, &self.params), Call::Poll) == key
                };
                (0..self.jobs.len()).filter(|at| fits(&self.jobs[*at])).collect()
            };
            self.call(&batch, now);
            now = now + SECOND;
        }
    }

    fn call(&mut self, batch: &[usize], now: Timestamp) {
        self.calls += 1;
        let jobs: Vec<Job> = batch.iter().map(|at| self.jobs[*at].clone()).collect();
        let views: Vec<JobView<'_>> = jobs.iter().map(|job| view(job, &self.params)).collect();
        let request = self.driver.request(Call::Poll, &views, now);
        for (at, one) in batch.iter().zip(&views) {
            let next_at = self.driver.pace(Call::Poll, one, now);
            let begun = Input::Begin(Begin::Free { call: Call::Poll, next_at });
            self.jobs[*at] = step(self.jobs[*at].clone(), begun, now).unwrap().job;
        }
        // The request may be nearly a second on its way, and its answer too.
        let arrives = now + Duration::from_millis(u64::from(self.calls * 7 % 10) * 90);
        let body = match form(&request).into_iter().find(|(name, _)| *name == "hash") {
            Some((_, hash)) => self.vendor.show(&hash, arrives),
            None => self.vendor.list(arrives),
        };
        let now = arrives;
        let lost = self.lose > 0 && self.calls.is_multiple_of(self.lose);
        // A crash is a loss that nobody even notes down.
        if lost && self.calls.is_multiple_of(2) {
            return;
        }
        let reading = self.driver.read(Call::Poll, &views, &answer(&body), now);
        for (at, verdict) in batch.iter().zip(reading.verdicts) {
            let outcome = if lost {
                Outcome::Unclear { reason: Reason::new("lost", "cut") }
            } else {
                self.outcome(*at, verdict, now)
            };
            let turn = self.jobs[*at].turn;
            let end = Input::End { turn, call: Call::Poll, outcome };
            self.jobs[*at] = step(self.jobs[*at].clone(), end, now).unwrap().job;
        }
    }

    fn outcome(&mut self, at: usize, verdict: Verdict, now: Timestamp) -> Outcome {
        let seen = match verdict {
            Verdict::Outcome(outcome) => return outcome,
            Verdict::Split { reason } => panic!("{reason:?}"),
            Verdict::Seen(seen) => seen,
        };
        self.observations += 1;
        if self.jobs[at].seen.is_some() {
            self.greatest_lag = self.greatest_lag.max(now.since(self.vendor.reports(at, now).1));
        }
        let observation =
            Observation { fingerprint: seen.fingerprint, data: String::new(), changes: Value::Null, raw: seen.raw };
        Outcome::Observed { observation, memo: seen.memo, next_at: seen.next_at, end: None }
    }
}

#[test]
fn three_reports_a_day_cost_three_shows_a_day() {
    let mut world = World::new(60);
    let start = world.vendor.start;
    world.run(start, start + Duration::from_secs(3 * 24 * 3600));
    assert_eq!(world.vendor.violations, 0);
    // The state at the order, and nine reports.
    assert_eq!(world.observations, 60 * 10);
    assert!(world.vendor.shows <= 60 * 11, "{} shows", world.vendor.shows);
    assert!(world.vendor.lists < 3 * 150, "{} lists", world.vendor.lists);
    assert!(world.greatest_lag < Duration::from_secs(240), "{:?}", world.greatest_lag);
}

#[test]
fn lost_answers_and_crashes_never_break_the_floor() {
    for lose in [2, 3, 5, 7] {
        let mut world = World::new(40);
        world.lose = lose;
        let start = world.vendor.start;
        world.run(start, start + Duration::from_secs(2 * 24 * 3600));
        assert_eq!(world.vendor.violations, 0, "every {lose}th answer lost");
        assert!(world.observations >= 40 * 6, "{} observations, every {lose}th lost", world.observations);
    }
}

#[test]
fn without_a_readable_list_plain_shows_go_on_at_the_cadence() {
    let mut world = World::new(20);
    world.vendor.list_broken = true;
    let start = world.vendor.start;
    world.run(start, start + Duration::from_secs(2 * 24 * 3600));
    assert_eq!(world.vendor.violations, 0);
    assert_eq!(world.observations, 20 * 7);
    assert!(world.greatest_lag < Duration::from_secs(600), "{:?}", world.greatest_lag);
    let daily = world.vendor.shows / 2 / 20;
    assert!(daily < 24 * 60 / 5, "{daily} shows a hash and day");
}
