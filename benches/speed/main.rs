//! How fast, and at what cost: the real daemon against an instant vendor, next to what this machine can do at best.
//! Prints the table that docs/performance.md quotes. `cargo bench --bench speed`, or only some: `… -- P1 P6`

mod daemon;
mod fill;
mod limits;
mod vendor;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use self::daemon::{House, Setup, idle_share};
use self::vendor::Vendor;

/// Jobs of the runs that count whole jobs.
const JOBS: usize = 20_000;
/// The same with 10 ms more a fsync.
const SLOW_JOBS: usize = 6_000;
const IN_FLIGHT: usize = 64;
const BULK: usize = 200_000;
const SAMPLES: usize = 400;
const TRACKS: usize = 50_000;
const MILLION: u64 = 1_000_000;
const DAY_MS: u64 = 86_400_000;

/// Wall clock, in µs: what two processes can compare.
#[expect(clippy::disallowed_methods, reason = "finer than the daemon's clock, and of no concern to it")]
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// One line of the table.
struct Row {
    name: &'static str,
    what: &'static str,
    figure: String,
    /// Must, ambitious.
    goals: [&'static str; 2],
    met: [bool; 2],
}

#[derive(Default)]
struct Table(Vec<Row>);

impl Table {
    /// `value` is to reach the goals; with `below` it is to stay under them.
    fn add(
        &mut self,
        name: &'static str,
        what: &'static str,
        figure: String,
        value: f64,
        goals: [(f64, &'static str); 2],
        below: bool,
    ) {
        let met = goals.map(|(goal, _)| if below { value <= goal } else { value >= goal });
        let row = Row { name, what, figure, goals: goals.map(|(_, text)| text), met };
        println!("{}", row.line());
        self.0.push(row);
    }
}

impl Row {
    fn line(&self) -> String {
        let said = match self.met {
            [_, true] => "ambitious",
            [true, false] => "must",
            [false, false] => "NOT REACHED",
        };
        format!("| {} | {} | {} | {} | {} | {said} |", self.name, self.what, self.figure, self.goals[0], self.goals[1])
    }
}

fn percentiles(values: &mut [f64]) -> (f64, f64) {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() as f64 * share) as usize).min(values.len() - 1)];
    (at(0.5), at(0.99))
}

fn phone(n: u64) -> u64 {
    79_000_000_000 + n
}

fn lines(from: u64, count: usize, more: &str) -> String {
    let mut text = String::with_capacity(count * 96);
    for n in from..from + count as u64 {
        let phone = phone(n);
        let _ = writeln!(
            text,
            "{{\"kind\":\"tronk.report\",\"params\":{{\"phone\":\"{phone}\"}},\"tag\":\"{phone}\"{more}}}"
        );
    }
    text
}

/// Counts ended jobs on the stream until there are so many.
fn ended(house: &House, count: usize) -> tokio::task::JoinHandle<()> {
    let socket = house.socket();
    tokio::spawn(async move {
        let line = daemon::Line::open(&socket).await.expect("the socket answers");
        let mut left = count;
        line.follow(Some(0), |event, _| {
            left -= usize::from(event.contains("event: job.succeeded"));
            left > 0
        })
        .await;
    })
}

/// Whole jobs a second, and CPU µs of the daemon a job.
async fn whole_jobs(house: &House, jobs: usize) -> (f64, f64) {
    let done = ended(house, jobs);
    let mut line = house.line().await;
    let (begun, cpu) = (Instant::now(), house.cpu());
    line.order(lines(0, jobs, "")).await;
    done.await.expect("all ended");
    let took = begun.elapsed().as_secs_f64();
    (jobs as f64 / took, (house.cpu() - cpu) * 1e6 / jobs as f64)
}

async fn p1_p9(table: &mut Table, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    let bare = limits::requests(address, IN_FLIGHT, 4 * JOBS).await;
    let house = House::start(&Setup::new(address)).await;
    let (jobs, cpu) = whole_jobs(&house, JOBS).await;
    let ratio = 2.0 * jobs / bare;
    let figure = format!("{ratio:.2} ({jobs:.0} jobs/s of 2 requests each; bare reqwest {bare:.0} requests/s)");
    table.add("P1", "whole jobs ÷ bare requests, 64 in flight", figure, ratio, [(0.35, "0.35"), (0.55, "0.55")], false);
    table.add("P9", "CPU µs a job", format!("{cpu:.0}"), cpu, [(250.0, "250"), (120.0, "120")], true);
    walls.push(("P1", house.largest_wal()));
}

async fn p2_p3(table: &mut Table, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut rates = Vec::new();
    for delay in [0, 10_000] {
        let file = dir.path().join(format!("fsyncs-{delay}"));
        let setup = Setup { fsyncs: Some((file.clone(), delay)), ..Setup::new(address) };
        let house = House::start(&setup).await;
        let before = count_fsyncs(&file);
        let (rate, _) = whole_jobs(&house, SLOW_JOBS).await;
        let each = (count_fsyncs(&file) - before) as f64 / SLOW_JOBS as f64;
        rates.push((rate, each));
        walls.push(("P3", house.largest_wal()));
    }
    let each = rates[0].1;
    table.add("P2", "fsyncs a job, 64 in flight", format!("{each:.3}"), each, [(0.10, "0.10"), (0.03, "0.03")], true);
    let ratio = rates[1].0 / rates[0].0;
    let figure = format!("{ratio:.2} ({:.0} jobs/s ÷ {:.0}, both under strace)", rates[1].0, rates[0].0);
    table.add("P3", "the same with +10 ms a fsync ÷ without", figure, ratio, [(0.3, "0.3"), (0.6, "0.6")], false);
}

fn count_fsyncs(file: &std::path::Path) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| line.contains("sync(")).count()
}

/// Jobs that are over when they come: each is an event at once.
const OVER: &str = ",\"deadline\":\"2020-01-01T00:00:00Z\"";

/// Jobs that are not due for a year: what is measured is the way in.
const LATER: &str = ",\"not_before\":\"2036-01-01T00:00:00Z\"";

async fn p4(table: &mut Table, address: SocketAddr) {
    let house = House::start(&Setup::new(address)).await;
    let insert = limits::autocommit(house.dir.path());
    let (begun, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..16 {
        let (mut line, count) = (house.line().await, Arc::clone(&count));
        clients.spawn(async move {
            let mut n = client * 10_000_000;
            while begun.elapsed() < Duration::from_secs(4) {
                let order = lines(n, 1, LATER);
                let (status, body) = line.call("POST", "/v1/jobs", "application/json", order).await;
                assert!(status == 201 || status == 202, "{status} {}", String::from_utf8_lossy(&body));
                count.fetch_add(1, Relaxed);
                n += 1;
            }
        });
    }
    while clients.join_next().await.is_some() {}
    let rate = count.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
    let ratio = rate / insert;
    let figure = format!("{ratio:.1} ({rate:.0} POSTs/s ÷ {insert:.0} INSERTs/s)");
    table.add("P4", "durable POSTs, 16 clients ÷ autocommit INSERTs", figure, ratio, [(2.0, "2"), (4.0, "4")], false);
}

fn mailbox(house: &House) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(house.mailbox()).expect("the mailbox opens");
    conn.busy_timeout(Duration::from_secs(10)).expect("a time-out");
    conn
}

fn mailbox_insert(conn: &rusqlite::Connection, n: u64, not_before: Option<i64>) {
    let insert = "INSERT INTO jobs (kind, params, tag, not_before) VALUES ('tronk.report', ?1, ?2, ?3)";
    let mut statement = conn.prepare_cached(insert).expect("a statement");
    statement.execute((format!("{{\"phone\":\"{}\"}}", phone(n)), phone(n).to_string(), not_before)).expect("a row");
}

async fn p5(table: &mut Table, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    let setup = Setup { mailbox: true, ..Setup::new(address) };
    let mut house = House::start(&setup).await;
    let bare = limits::thousands(house.dir.path());
    let orders = lines(0, BULK, LATER);
    let begun = Instant::now();
    // A body may have 16 MiB.
    for piece in orders.as_bytes().split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>().chunks(100_000) {
        house.line().await.order(String::from_utf8_lossy(&piece.concat()).into_owned()).await;
    }
    let bulk = BULK as f64 / begun.elapsed().as_secs_f64();
    let ratio = bulk / bare;
    let figure = format!("{ratio:.2} ({bulk:.0} lines/s ÷ {bare:.0} rows/s)");
    table.add("P5a", "bulk NDJSON ÷ 1000-row transactions", figure, ratio, [(0.5, "0.5"), (0.8, "0.8")], false);
    house.stop();
    let conn = mailbox(&house);
    conn.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
    (0..BULK as u64 / 2).for_each(|n| mailbox_insert(&conn, n, Some(2_082_758_400_000)));
    conn.execute_batch("COMMIT").expect("a commit");
    house.launch(&setup);
    let left = || {
        conn.query_row("SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'new')", (), |row| row.get::<_, i64>(0))
    };
    let total = left().expect("a count");
    while left().expect("a count") == total {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (begun, first) = (Instant::now(), left().expect("a count"));
    while left().expect("a count") > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let taken = first as f64 / begun.elapsed().as_secs_f64();
    let ratio = taken / bare;
    let figure = format!("{ratio:.2} ({taken:.0} rows/s)");
    table.add("P5b", "mailbox rows taken ÷ the same", figure, ratio, [(0.25, "0.25"), (0.5, "0.5")], false);
    walls.push(("P5", house.largest_wal()));
}

/// ms from the commit in the mailbox to the request at the vendor, and from the vendor's last word to the event.
async fn latencies(house: &House, vendor: &Vendor, from: u64) -> (Vec<f64>, Vec<f64>) {
    vendor.remembers.store(true, Relaxed);
    let told = Arc::new(Mutex::new(HashMap::new()));
    let (line, heard) = (house.line().await, Arc::clone(&told));
    let reader = tokio::spawn(line.follow(None, move |event, at| {
        if event.contains("event: job.succeeded")
            && let Some(tag) = event.split("\"tag\":\"").nth(1).and_then(|rest| rest.split('"').next())
        {
            heard.lock().expect("no panic").insert(tag.to_owned(), at);
        }
        true
    }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let conn = mailbox(house);
    let mut committed = HashMap::new();
    for n in from..from + SAMPLES as u64 {
        mailbox_insert(&conn, n, None);
        committed.insert(phone(n).to_string(), now_us());
        tokio::time::sleep(Duration::from_millis(15 + n % 11)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    reader.abort();
    vendor.remembers.store(false, Relaxed);
    let (seen, told) = (vendor.take(), told.lock().expect("no panic").clone());
    let between = |later: &HashMap<String, u64>, earlier: &HashMap<String, u64>| {
        earlier
            .iter()
            .filter_map(|(key, at)| Some(later.get(key)?.saturating_sub(*at) as f64 / 1e3))
            .collect::<Vec<_>>()
    };
    let (wire, events) = (between(&seen.submits, &committed), between(&told, &seen.polls));
    assert!(
        wire.len() == SAMPLES && events.len() == SAMPLES,
        "{} of {SAMPLES} came to the vendor, {} events",
        wire.len(),
        events.len()
    );
    (wire, events)
}

async fn p6_p7(table: &mut Table, vendor: &Vendor, address: SocketAddr) {
    let setup = Setup { mailbox: true, ..Setup::new(address) };
    let house = House::start(&setup).await;
    latencies(&house, vendor, 0).await;
    let (mut wire, mut events) = latencies(&house, vendor, 100_000).await;
    let (p50, p99) = percentiles(&mut wire);
    let value = (p50 / 5.0).max(p99 / 25.0);
    let ambitious = (p50 / 2.0).max(p99 / 5.0);
    let figure = format!("{p50:.1} / {p99:.1}");
    both(
        table,
        "P6",
        "mailbox commit → request on the wire, p50 / p99 ms",
        figure,
        [value, ambitious],
        ["5 / 25", "2 / 5"],
    );
    let (p50, p99) = percentiles(&mut events);
    let value = (p50 / 3.0).max(p99 / 20.0);
    let ambitious = p50.max(p99 / 5.0);
    let figure = format!("{p50:.1} / {p99:.1}");
    both(table, "P7", "vendor answered → event on SSE, p50 / p99 ms", figure, [value, ambitious], ["3 / 20", "1 / 5"]);
}

/// A line whose two goals are about several figures: each share of its goal is to be at most one.
fn both(
    table: &mut Table,
    name: &'static str,
    what: &'static str,
    figure: String,
    shares: [f64; 2],
    goals: [&'static str; 2],
) {
    let row = Row { name, what, figure, goals, met: shares.map(|share| share <= 1.0) };
    println!("{}", row.line());
    table.0.push(row);
}

async fn p8(table: &mut Table, vendor: &Vendor, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    let more = format!(
        "[accounts.rlab]\nvendor = \"rlab\"\nuser_id = 7\nuser_key = \"a-user-key-of-the-bench\"\nbase_url = \"http://{address}\"\n\
         limits = {{ max_in_flight = 8 }}\npoll_first = \"1s\"\npoll_factor = 1.0\npoll_ceiling = \"1s\"\nbatch_wait = \"0s\"\n"
    );
    let house = House::start(&Setup { more, ..Setup::new(address) }).await;
    let mut text = String::new();
    for n in 0..TRACKS {
        let _ = writeln!(text, "{{\"kind\":\"rlab.track\",\"params\":{{\"track\":\"T{n:012}Z\",\"force\":true}}}}");
    }
    house.line().await.order(text).await;
    // Until every track was looked at once.
    while vendor.tracks.load(Relaxed) < 3 * TRACKS as u64 / 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (name, what, moving, goals) in [
        ("P8a", "R-Lab tracks refreshed a second, unchanged", false, [(100_000.0, "100,000"), (300_000.0, "300,000")]),
        ("P8b", "R-Lab tracks refreshed a second, all changed", true, [(20_000.0, "20,000"), (50_000.0, "50,000")]),
    ] {
        vendor.moving.store(moving, Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (begun, before, cpu) = (Instant::now(), vendor.tracks.load(Relaxed), house.cpu());
        tokio::time::sleep(Duration::from_secs(6)).await;
        let seen = (vendor.tracks.load(Relaxed) - before) as f64;
        let rate = seen / begun.elapsed().as_secs_f64();
        let cost = (house.cpu() - cpu) * 1e6 / seen;
        let figure = format!("{rate:.0} ({cost:.1} µs of CPU each)");
        table.add(name, what, figure, rate, goals, false);
    }
    vendor.moving.store(false, Relaxed);
    walls.push(("P8", house.largest_wal()));
}

/// A thousand, a hundred thousand and a million waiting jobs, side by side.
async fn p10_p6(table: &mut Table, vendor: &Vendor, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    for jobs in [1_000, 100_000, MILLION] {
        let setup = Setup { mailbox: true, ..Setup::new(address) };
        let mut house = House::new(&setup);
        fill::waiting(&house.store(), jobs, now_us() / 1000 + DAY_MS, 10).await;
        let bytes = std::fs::metadata(house.store()).map_or(0, |meta| meta.len()) as f64 / jobs as f64;
        // One of them is due.
        let conn = rusqlite::Connection::open(house.store()).expect("the store opens");
        conn.execute("UPDATE jobs SET due_at = 1 WHERE id = 1", ()).expect("a row");
        drop(conn);
        vendor.remembers.store(true, Relaxed);
        vendor.take();
        let begun = now_us();
        house.launch(&setup);
        house.ready().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let first = vendor.take().first.map_or(f64::INFINITY, |at| (at - begun) as f64 / 1e3);
        vendor.remembers.store(false, Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (idle, pss) = (idle_share(&house, Duration::from_secs(20)).await * 100.0, house.pss());
        let cpu = house.cpu();
        let (mut wire, _) = latencies(&house, vendor, 500_000_000).await;
        // Taken in, claimed, sent, asked about, told: one at a time, as it is when little happens.
        let each = (house.cpu() - cpu) * 1e6 / SAMPLES as f64;
        let (p50, p99) = percentiles(&mut wire);
        let figure = format!(
            "{jobs} waiting: {pss:.1} MB · {idle:.2} % · {first:.0} ms · {bytes:.0} B; then P6 {p50:.1} / {p99:.1} ms, {each:.0} µs of CPU a job"
        );
        walls.push(("P10", house.largest_wal()));
        if jobs < MILLION {
            println!("|  | {figure} |");
            continue;
        }
        let shares = [[40.0, 0.3, 500.0, 900.0], [20.0, 0.05, 50.0, 500.0]].map(|goals| {
            [pss, idle, first, bytes].iter().zip(goals).map(|(value, goal)| value / goal).fold(0.0, f64::max)
        });
        both(
            table,
            "P10",
            "1,000,000 waiting: PSS · idle CPU · exec → first request · store bytes a job",
            figure,
            shares,
            ["40 MB · 0.3 % · 500 ms · 900 B", "20 MB · 0.05 % · 50 ms · 500 B"],
        );
    }
}

/// So many that a few slow fsyncs of the machine do not decide what the slowest hundredth is.
async fn long_latencies(house: &House, vendor: &Vendor, from: u64) -> Vec<f64> {
    let mut wire = Vec::new();
    for round in 0..4 {
        wire.extend(latencies(house, vendor, from + round * 1_000_000).await.0);
    }
    wire
}

/// P6 while a million finished jobs are removed, and without.
async fn p6_beside_retention(
    table: &mut Table,
    vendor: &Vendor,
    address: SocketAddr,
    walls: &mut Vec<(&'static str, f64)>,
) {
    let kept = |age: &str| format!("[retention]\nfinished = \"{age}\"\nevents = \"{age}\"\ncalls = \"{age}\"\n");
    let setup = Setup { mailbox: true, more: kept("36500d"), ..Setup::new(address) };
    let mut house = House::new(&setup);
    fill::waiting(&house.store(), MILLION, now_us() / 1000 + DAY_MS, 10).await;
    fill::end_all(&house.store());
    let size =
        |house: &House| std::fs::metadata(house.store()).map_or(0, |meta| meta.len()) as f64 / f64::from(1 << 20);
    let left = |house: &House| {
        let conn = rusqlite::Connection::open(house.store()).expect("the store opens");
        conn.query_row("SELECT count(*) FROM jobs WHERE id <= ?1", [MILLION as i64], |row| row.get::<_, i64>(0))
            .expect("a count")
    };
    let before = size(&house);
    house.launch(&setup);
    house.ready().await;
    latencies(&house, vendor, 600_000_000).await;
    let mut alone = long_latencies(&house, vendor, 700_000_000).await;
    house.stop();
    house.configure(&Setup { more: kept("1h"), ..setup.clone() });
    house.launch(&setup);
    house.ready().await;
    // It begins with the full minute.
    while left(&house) == MILLION as i64 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (begun, first) = (Instant::now(), left(&house));
    let mut beside = long_latencies(&house, vendor, 800_000_000).await;
    let (still, took) = (left(&house), begun.elapsed().as_secs_f64());
    let rate = (first - still) as f64 / took;
    assert!(still > 0, "the removal was over before its effect could be measured");
    let (after, (_, alone), (p50, p99)) = (size(&house), percentiles(&mut alone), percentiles(&mut beside));
    let figure = format!(
        "{:.2} ({p50:.1} / {p99:.1} ms beside it, p99 {alone:.1} without; {rate:.0} jobs/s removed for {took:.0} s, file {before:.0} → {after:.0} MiB)",
        p99 / alone
    );
    table.add(
        "P15",
        "P6 p99 while retention removes a million ÷ without",
        figure,
        p99 / alone,
        [(2.0, "2"), (1.2, "1.2")],
        true,
    );
    walls.push(("P15", house.largest_wal()));
}

/// A million wait, a thousand a second are due.
async fn p11(table: &mut Table, vendor: &Vendor, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    let setup = Setup::new(address);
    let mut house = House::new(&setup);
    let far = now_us() / 1000 + DAY_MS;
    fill::waiting(&house.store(), MILLION, far, 10).await;
    let (due, count) = (now_us() / 1000 + 4_000, 20_000_u64);
    // Scattered over the table, as those that are due at one time are.
    let conn = rusqlite::Connection::open(house.store()).expect("the store opens");
    let text = "UPDATE jobs SET due_at = ?1 + id / 50 WHERE id % 50 = 0 AND id <= ?2";
    conn.execute(text, (due as i64, (count * 50) as i64)).expect("rows");
    drop(conn);
    vendor.remembers.store(true, Relaxed);
    vendor.take();
    house.launch(&setup);
    house.ready().await;
    tokio::time::sleep(Duration::from_secs(26)).await;
    vendor.remembers.store(false, Relaxed);
    let seen = vendor.take();
    let mut late: Vec<f64> = (1..=count)
        .filter_map(|n| Some(*seen.polls.get(&phone(n * 50).to_string())? as f64 / 1e3 - (due + n) as f64))
        .collect();
    assert!(late.len() as u64 == count, "{} of {count} were asked about", late.len());
    let (p50, p99) = percentiles(&mut late);
    let figure = format!("{p99:.1} (p50 {p50:.1})");
    table.add(
        "P11",
        "1,000,000 waiting, 1,000 due a second: lateness p99 ms",
        figure,
        p99,
        [(100.0, "100"), (25.0, "25")],
        true,
    );
    walls.push(("P11", house.largest_wal()));
}

/// INSERTs a second by another program, each its own transaction.
fn insert_rate(house: &House, from: u64) -> f64 {
    let conn = mailbox(house);
    let (begun, mut n) = (Instant::now(), from);
    while begun.elapsed() < Duration::from_secs(4) {
        mailbox_insert(&conn, n, None);
        n += 1;
    }
    (n - from) as f64 / begun.elapsed().as_secs_f64()
}

async fn p12(table: &mut Table, address: SocketAddr, walls: &mut Vec<(&'static str, f64)>) {
    let setup = Setup { mailbox: true, ..Setup::new(address) };
    let mut house = House::start(&setup).await;
    house.stop();
    let alone = tokio::task::block_in_place(|| insert_rate(&house, 0));
    house.launch(&setup);
    house.ready().await;
    let beside = tokio::task::block_in_place(|| insert_rate(&house, 1_000_000));
    let ratio = beside / alone;
    let figure = format!("{ratio:.2} ({beside:.0}/s ÷ {alone:.0}/s)");
    table.add(
        "P12",
        "foreign INSERTs while the daemon drains ÷ stopped",
        figure,
        ratio,
        [(0.5, "0.5"), (0.8, "0.8")],
        false,
    );
    walls.push(("P12", house.largest_wal()));
}

async fn p13(table: &mut Table, address: SocketAddr) {
    const READERS: usize = 100;
    let house = House::start(&Setup::new(address)).await;
    house.line().await.order(lines(0, 1_000, LATER)).await;
    let (before, begun) = (house.peak(), now_us());
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    // Asks, and never reads: its connection stays.
    let mut stuck = tokio::net::UnixStream::connect(house.socket()).await.expect("the socket answers");
    let ask = b"GET /v1/events HTTP/1.1\r\nhost: opros\r\naccept: text/event-stream\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stuck, ask).await.expect("it is sent");
    for _ in 1..READERS {
        let (line, stop) = (house.line().await, Arc::clone(&stop));
        readers.spawn(async move {
            let mut lags = Vec::new();
            let follow = line.follow(None, |event, at| {
                if lags.len() < 400_000
                    && let Some(stamp) = event.split("\"tag\":\"at-").nth(1).and_then(|rest| rest.split('"').next())
                    && let Ok(stamp) = stamp.parse::<u64>()
                {
                    lags.push(at.saturating_sub(stamp) as f64 / 1e3);
                }
                !stop.load(Relaxed)
            });
            let _ = tokio::time::timeout(Duration::from_secs(12), follow).await;
            lags
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut line = house.line().await;
    let (mut tick, mut sent) = (tokio::time::interval(Duration::from_millis(10)), 0_u64);
    while sent < 25_000 {
        tick.tick().await;
        let mut text = String::new();
        for _ in 0..50 {
            let (phone, at) = (phone(2_000 + sent), now_us());
            let order = format!(
                "{{\"kind\":\"tronk.report\",\"params\":{{\"phone\":\"{phone}\"}},\"tag\":\"at-{at}\"{OVER}}}\n"
            );
            text.push_str(&order);
            sent += 1;
        }
        line.order(text).await;
    }
    let rate = sent as f64 / ((now_us() - begun) as f64 / 1e6 - 0.5);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Relaxed);
    line.order(lines(5_000_000, 1, OVER)).await;
    let mut worst: f64 = 0.0;
    let mut healthy = 0;
    while let Some(lags) = readers.join_next().await {
        let mut lags = lags.expect("no panic");
        assert!(lags.len() as u64 == sent, "a reader saw {} of {sent}", lags.len());
        healthy += 1;
        worst = worst.max(percentiles(&mut lags).1);
    }
    drop(stuck);
    let grown = house.peak() - before;
    let figure = format!("{worst:.1} ms; +{grown:.1} MB ({healthy} healthy readers, {rate:.0} events/s)");
    let shares = [(worst / 50.0).max(grown / 20.0), (worst / 10.0).max(grown / 5.0)];
    both(
        table,
        "P13",
        "100 SSE readers, one stuck: slowest healthy lag p99; memory",
        figure,
        shares,
        ["50 ms; +20 MB", "10 ms; +5 MB"],
    );
}

#[tokio::main]
async fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).map(|arg| arg.to_uppercase()).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let (vendor, address) = Vendor::start().await;
    let (mut table, mut walls) = (Table::default(), Vec::new());
    println!("| | what | figure | must | ambitious | reached |\n| --- | --- | --- | --- | --- | --- |");
    if wants("P1") || wants("P9") {
        p1_p9(&mut table, address, &mut walls).await;
    }
    if wants("P2") || wants("P3") {
        p2_p3(&mut table, address, &mut walls).await;
    }
    if wants("P4") {
        p4(&mut table, address).await;
    }
    if wants("P5") {
        p5(&mut table, address, &mut walls).await;
    }
    if wants("P6") || wants("P7") {
        p6_p7(&mut table, &vendor, address).await;
    }
    if wants("P8") {
        p8(&mut table, &vendor, address, &mut walls).await;
    }
    if wants("P10") {
        p10_p6(&mut table, &vendor, address, &mut walls).await;
    }
    if wants("P15") {
        p6_beside_retention(&mut table, &vendor, address, &mut walls).await;
    }
    if wants("P11") {
        p11(&mut table, &vendor, address, &mut walls).await;
    }
    if wants("P12") {
        p12(&mut table, address, &mut walls).await;
    }
    if wants("P13") {
        p13(&mut table, address).await;
    }
    if !walls.is_empty() {
        let (when, wal) =
            walls.iter().copied().fold(("nothing", 0.0), |most, next| if next.1 > most.1 { next } else { most });
        table.add(
            "P14",
            "largest WAL under all of it",
            format!("{wal:.1} MiB (in {when})"),
            wal,
            [(64.0, "64 MiB"), (16.0, "16 MiB")],
            true,
        );
    }
    let missed = table.0.iter().filter(|row| !row.met[0]).count();
    println!("{} figures, {missed} below what they must reach", table.0.len());
}
