//! The judge. It knows nothing of the daemon's code: it reads the vendors' ledger, what the consumers wrote down, what was
//! ordered, and the two database files by SQL of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection};

/// Which invariant was broken, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub invariant: &'static str,
    pub evidence: String,
}

/// What the invariants say, for the report.
pub const INVARIANTS: [(&str, &str); 10] = [
    ("I1", "no order is booked twice"),
    ("I2", "what was acknowledged is there"),
    ("I3", "every job has ended, is parked, or has a time"),
    ("I4", "a success has one result, and it is the vendor's for this order"),
    ("I5", "events tell each job's way through the state graph, each step once"),
    ("I6", "consumers saw every event, in order, without a gap"),
    ("I7", "what counts as accepted was booked; what is parked asks its question"),
    ("I8", "both databases are sound"),
    ("I9", "once the faults are over, everything ends in time"),
    ("I10", "nothing was booked before its intent was durable"),
];

const STATES: [&str; 9] =
    ["queued", "submitting", "waiting", "in_doubt", "succeeded", "failed", "cancelled", "expired", "rejected"];

#[derive(Debug)]
struct Job {
    id: i64,
    state: usize,
    due: bool,
    uid: Option<String>,
    dedupe: Option<String>,
    remote: Option<String>,
    result: Option<String>,
    reason: Option<String>,
}

#[derive(Debug)]
struct Attempt {
    job: i64,
    at: i64,
    unclear: bool,
    outcome: Option<String>,
}

#[derive(Debug)]
struct Event {
    seq: i64,
    kind: String,
    job: Option<i64>,
    uid: Option<String>,
    mailbox_seq: Option<i64>,
}

/// All that there is to judge by.
#[derive(Debug)]
struct Evidence {
    ledger: Vec<Value>,
    orders: Vec<Value>,
    liveness: Value,
    stream: Vec<Value>,
    mailbox_seen: Vec<Value>,
    hooks: Vec<Value>,
    jobs: Vec<Job>,
    attempts: Vec<Attempt>,
    events: Vec<Event>,
    taken: BTreeMap<String, Option<i64>>,
    mailbox_rows: BTreeMap<String, (String, Option<i64>)>,
    mailbox_events: Vec<(i64, String, String)>,
    unsound: Vec<String>,
}

type Judged = Vec<Breach>;

fn breach(found: &mut Judged, invariant: &'static str, evidence: String) {
    found.push(Breach { invariant, evidence });
}

/// Judges a world whose daemon has been stopped.
pub async fn check(dir: &Path) -> Result<Vec<Breach>, sqlx::Error> {
    let evidence = gather(dir).await?;
    let mut found = Vec::new();
    paid_once(&evidence, &mut found);
    nothing_lost(&evidence, &mut found);
    nothing_stuck(&evidence, &mut found);
    results(&evidence, &mut found);
    ways(&evidence, &mut found);
    seen(&evidence, &mut found);
    told(&evidence, &mut found);
    questions(&evidence, &mut found);
    evidence.unsound.iter().for_each(|what| breach(&mut found, "I8", what.clone()));
    if evidence.liveness["rested"] != true {
        breach(&mut found, "I9", format!("after {} s: {}", evidence.liveness["seconds"], evidence.liveness["open"]));
    }
    intents(&evidence, &mut found);
    Ok(found)
}

async fn gather(dir: &Path) -> Result<Evidence, sqlx::Error> {
    let mut store = open(&dir.join("store/opros.db")).await?;
    let mut mailbox = open(&dir.join("mailbox/mailbox.db")).await?;
    let mut unsound = sound(&mut store, "store").await?;
    unsound.extend(sound(&mut mailbox, "mailbox").await?);
    Ok(Evidence {
        ledger: lines(&dir.join("ledger.ndjson")),
        orders: lines(&dir.join("orders.ndjson")),
        liveness: lines(&dir.join("liveness.ndjson")).pop().unwrap_or_default(),
        stream: lines(&dir.join("stream.ndjson")),
        mailbox_seen: lines(&dir.join("mailbox.ndjson")),
        hooks: lines(&dir.join("hooks.ndjson")),
        jobs: jobs(&mut store).await?,
        attempts: attempts(&mut store).await?,
        events: events(&mut store).await?,
        taken: taken(&mut store).await?,
        mailbox_rows: mailbox_rows(&mut mailbox).await?,
        mailbox_events: mailbox_events(&mut mailbox).await?,
        unsound,
    })
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5)).connect().await
}

async fn sound(conn: &mut SqliteConnection, name: &str) -> Result<Vec<String>, sqlx::Error> {
    let words: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *conn).await?;
    let keys = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *conn).await?.len();
    let mut wrong: Vec<String> =
        words.into_iter().filter(|word| word != "ok").map(|word| format!("{name}: {word}")).collect();
    if keys > 0 {
        wrong.push(format!("{name}: {keys} rows refer to nothing"));
    }
    Ok(wrong)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn jobs(conn: &mut SqliteConnection) -> Result<Vec<Job>, sqlx::Error> {
    let query = "SELECT id, state, due_at IS NOT NULL, mailbox_uid, dedupe_key, remote_id, b.result, reason_code \
        FROM jobs LEFT JOIN bodies AS b ON b.job_id = jobs.id ORDER BY id";
    let rows = sqlx::query(query).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Job {
                id: row.try_get(0)?,
                state: usize::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default(),
                due: row.try_get(2)?,
                uid: row.try_get(3)?,
                dedupe: row.try_get(4)?,
                remote: row.try_get(5)?,
                result: row.try_get(6)?,
                reason: row.try_get(7)?,
            })
        })
        .collect()
}

async fn attempts(conn: &mut SqliteConnection) -> Result<Vec<Attempt>, sqlx::Error> {
    let query = "SELECT job_id, intent_at, unclear_at IS NOT NULL, outcome FROM attempts ORDER BY intent_at";
    let rows = sqlx::query(query).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let (job, at, unclear, outcome) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            Ok(Attempt { job, at, unclear, outcome })
        })
        .collect()
}

async fn events(conn: &mut SqliteConnection) -> Result<Vec<Event>, sqlx::Error> {
    let query = "SELECT seq, type, job_id, uid, mailbox_seq FROM events ORDER BY seq";
    let rows = sqlx::query(query).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let (seq, kind, job) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(Event { seq, kind, job, uid: row.try_get(3)?, mailbox_seq: row.try_get(4)? })
        })
        .collect()
}

async fn taken(conn: &mut SqliteConnection) -> Result<BTreeMap<String, Option<i64>>, sqlx::Error> {
    let rows = sqlx::query("SELECT uid, job_id FROM mailbox_rows").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn mailbox_rows(conn: &mut SqliteConnection) -> Result<BTreeMap<String, (String, Option<i64>)>, sqlx::Error> {
    let rows = sqlx::query("SELECT uid, state, job_id FROM jobs").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

async fn mailbox_events(conn: &mut SqliteConnection) -> Result<Vec<(i64, String, String)>, sqlx::Error> {
    let rows = sqlx::query("SELECT seq, type, event_id FROM events ORDER BY seq").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

// ---- the invariants -------------------------------------------------------------------------------------------------

impl Evidence {
    /// The jobs that stand for an order: one, if all is well.
    fn of_order(&self, name: &str) -> Vec<&Job> {
        let same = |text: &Option<String>| text.as_deref() == Some(name);
        self.jobs.iter().filter(|job| same(&job.uid) || same(&job.dedupe)).collect()
    }

    /// Paid orders only: what Alta charges day by day belongs to them.
    fn bookings(&self, vendor: &str, key: &str) -> Vec<&Value> {
        let paid = self.ledger.iter().filter(|booking| booking["op"] != "daily");
        paid.filter(|booking| booking["vendor"] == vendor && booking["key"] == key).collect()
    }

    fn events_of(&self, job: i64) -> Vec<&str> {
        self.events.iter().filter(|event| event.job == Some(job)).map(|event| event.kind.as_str()).collect()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn paid_once(all: &Evidence, found: &mut Judged) {
    for order in all.orders.iter().filter(|order| !text(order, "key").is_empty()) {
        let bookings = all.bookings(text(order, "vendor"), text(order, "key"));
        if bookings.len() > 1 {
            let told = bookings.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" ");
            breach(found, "I1", format!("order {}: booked {} times: {told}", text(order, "name"), bookings.len()));
        }
        let jobs = all.of_order(text(order, "name")).len();
        if jobs > 1 {
            breach(found, "I1", format!("order {}: {jobs} jobs", text(order, "name")));
        }
    }
}

fn nothing_lost(all: &Evidence, found: &mut Judged) {
    for order in all.orders.iter().filter(|order| !order["acknowledged"].is_null()) {
        let name = text(order, "name");
        let there = match order["door"].as_str() {
            Some("mailbox") => {
                let (row, job) = (all.mailbox_rows.get(name), all.taken.get(name));
                let known = job.is_some_and(|job| job.is_none_or(|id| all.jobs.iter().any(|job| job.id == id)));
                // Its row shows the same job and the same state as the store.
                let agree = row.is_some_and(|(state, id)| match all.of_order(name).first() {
                    Some(job) => *id == Some(job.id) && STATES.get(job.state) == Some(&state.as_str()),
                    None => state == "rejected",
                });
                known && agree
            }
            _ => all.jobs.iter().any(|job| Some(job.id) == order["acknowledged"].as_i64()),
        };
        if !there {
            let row = all.mailbox_rows.get(name);
            breach(found, "I2", format!("order {name} was acknowledged and is not there as it was: row {row:?}"));
        }
    }
}

fn nothing_stuck(all: &Evidence, found: &mut Judged) {
    for job in &all.jobs {
        let parked = job.state == 3 && job.reason.is_some();
        if job.state < 4 && !job.due && !parked {
            let state = STATES.get(job.state);
            breach(found, "I3", format!("job {} is {state:?} and nothing will ever touch it", job.id));
        }
    }
}

fn results(all: &Evidence, found: &mut Judged) {
    for order in &all.orders {
        let (name, vendor, key) = (text(order, "name"), text(order, "vendor"), text(order, "key"));
        for job in all.of_order(name).into_iter().filter(|job| job.state == 4) {
            let bookings = all.bookings(vendor, key);
            let result = job.result.as_deref().unwrap_or_default();
            // A wagon's tracking may end before its first report.
            let no_report = vendor == "alta" && (result.is_empty() || result.contains("no data"));
            if !result.contains(key) && !no_report {
                breach(found, "I4", format!("order {name}: the result is not about {key}: {result:.200}"));
            }
            let ids: Vec<&str> = bookings.iter().map(|booking| text(booking, "remote_id")).collect();
            let remote = job.remote.as_deref().unwrap_or_default();
            if vendor != "vagvin" && !ids.contains(&remote) {
                breach(found, "I4", format!("order {name}: succeeded as {remote:?}, the vendor booked {ids:?}"));
            }
        }
    }
}

fn ways(all: &Evidence, found: &mut Judged) {
    for job in &all.jobs {
        let told = all.events_of(job.id);
        let count = |kind: &str| told.iter().filter(|event| **event == kind).count();
        let ends: Vec<usize> = (0..told.len()).filter(|at| is_end(told[*at])).collect();
        let state = STATES.get(job.state).copied().unwrap_or_default();
        let wrong = match (job.state >= 4, ends.as_slice()) {
            (true, [end]) if told[*end] != format!("job.{state}") => Some("its end is told as another"),
            (true, [end]) if told[end + 1..].iter().any(|event| *event != "job.updated") => {
                Some("it goes on after its end")
            }
            (true, [_]) => None,
            (true, _) => Some("its end is not told exactly once"),
            (false, []) => None,
            (false, _) => Some("an end is told and it has not ended"),
        };
        let of_job = || all.attempts.iter().filter(|attempt| attempt.job == job.id);
        let accepted = of_job().filter(|attempt| attempt.outcome.as_deref() == Some("accepted")).count();
        let unclear = of_job().filter(|attempt| attempt.unclear).count();
        let open = of_job().filter(|attempt| attempt.outcome.is_none()).count();
        let wrong = wrong
            .or((count("job.accepted") != accepted).then_some("acceptances and their events differ in number"))
            .or((count("job.in_doubt") != unclear).then_some("doubts and their events differ in number"))
            .or((matches!(job.state, 2 | 4) && accepted != 1).then_some("it was not accepted exactly once"))
            .or((open != usize::from(matches!(job.state, 1 | 3))).then_some("an attempt is open that should not be"));
        if let Some(wrong) = wrong {
            let what = format!(
                "job {} ({state}): {wrong}: {told:?}, {accepted} accepted, {unclear} unclear, {open} open",
                job.id
            );
            breach(found, "I5", what);
        }
    }
}

fn is_end(kind: &str) -> bool {
    ["job.succeeded", "job.failed", "job.cancelled", "job.expired", "job.rejected"].contains(&kind)
}

fn seen(all: &Evidence, found: &mut Judged) {
    let want: Vec<(i64, String)> = all.events.iter().map(|event| (event.seq, event.kind.clone())).collect();
    compare(found, "the stream", &all.stream, &want);
    let want: Vec<(i64, String)> = all.mailbox_events.iter().map(|(seq, kind, _)| (*seq, kind.clone())).collect();
    compare(found, "the mailbox", &all.mailbox_seen, &want);
    let told: BTreeSet<(i64, &str)> = all
        .events
        .iter()
        .filter(|event| event.uid.is_some())
        .filter_map(|event| Some((event.mailbox_seq?, event.kind.as_str())))
        .collect();
    let written: BTreeSet<(i64, &str)> =
        all.mailbox_events.iter().map(|(seq, kind, _)| (*seq, kind.as_str())).collect();
    if told != written {
        let differ: Vec<_> = told.symmetric_difference(&written).take(5).collect();
        breach(found, "I6", format!("store and mailbox tell different events: {differ:?}"));
    }
    let ids: BTreeSet<&str> = all.mailbox_events.iter().map(|(.., id)| id.as_str()).collect();
    if ids.len() != all.mailbox_events.len() {
        breach(found, "I6", "two events of the mailbox have one id".to_owned());
    }
}

/// A webhook tells at least once, under the event's own id, and the events of one job in their order.
fn told(all: &Evidence, found: &mut Judged) {
    let mut first: BTreeMap<i64, usize> = BTreeMap::new();
    for (at, hook) in all.hooks.iter().enumerate() {
        let seq = hook["seq"].as_i64().unwrap_or(-1);
        first.entry(seq).or_insert(at);
        let event = all.events.iter().find(|event| event.seq == seq);
        if event.is_none_or(|event| event.kind != text(hook, "type")) {
            breach(found, "I6", format!("the webhook told {hook}, the store has {event:?}"));
        }
    }
    let mut before: BTreeMap<i64, usize> = BTreeMap::new();
    for event in &all.events {
        let Some(at) = first.get(&event.seq) else {
            breach(found, "I6", format!("the webhook never told of event {} ({})", event.seq, event.kind));
            continue;
        };
        let job = event.job.unwrap_or_default();
        if before.insert(job, *at).is_some_and(|before| before > *at) && job > 0 {
            breach(found, "I6", format!("the webhook told event {} of job {job} out of its order", event.seq));
        }
    }
}

/// Numbers from 1 on without a gap, each seen once by a consumer that remembers, and as the database has them.
fn compare(found: &mut Judged, whose: &str, seen: &[Value], want: &[(i64, String)]) {
    let seen: Vec<(i64, String)> =
        seen.iter().map(|event| (event["seq"].as_i64().unwrap_or(-1), text(event, "type").to_owned())).collect();
    if let Some(at) = want.iter().zip(1..).position(|((seq, _), n)| *seq != n) {
        breach(found, "I6", format!("{whose}: numbers have a gap at {}", at + 1));
    }
    if seen != want {
        let at = seen.iter().zip(want).position(|(a, b)| a != b).unwrap_or(seen.len().min(want.len()));
        let (saw, is) = (seen.get(at), want.get(at));
        breach(
            found,
            "I6",
            format!(
                "{whose}: of {} events {} were seen; first difference: saw {saw:?}, is {is:?}",
                want.len(),
                seen.len()
            ),
        );
    }
}

fn questions(all: &Evidence, found: &mut Judged) {
    for order in &all.orders {
        let (name, vendor, key) = (text(order, "name"), text(order, "vendor"), text(order, "key"));
        for job in all.of_order(name) {
            let mut of_job = all.attempts.iter().filter(|attempt| attempt.job == job.id);
            let accepted = of_job.any(|attempt| attempt.outcome.as_deref() == Some("accepted"));
            if accepted && all.bookings(vendor, key).is_empty() {
                breach(found, "I7", format!("order {name} counts as accepted, and the vendor has no booking"));
            }
            if job.state == 3 && !all.events_of(job.id).contains(&"job.in_doubt") {
                breach(found, "I7", format!("order {name} is parked without a word"));
            }
        }
    }
}

fn intents(all: &Evidence, found: &mut Judged) {
    for order in all.orders.iter().filter(|order| !text(order, "key").is_empty()) {
        let name = text(order, "name");
        let jobs: Vec<i64> = all.of_order(name).iter().map(|job| job.id).collect();
        for booking in all.bookings(text(order, "vendor"), text(order, "key")) {
            let at = booking["at"].as_i64().unwrap_or_default();
            let mut intents = all.attempts.iter().filter(|attempt| jobs.contains(&attempt.job));
            if !intents.any(|attempt| attempt.at <= at) {
                breach(found, "I10", format!("order {name} was booked at {at}, and no intent is older: {booking}"));
            }
        }
    }
}
